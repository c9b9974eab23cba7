"""Pictures are used in papers and in the README: they must come out for every run, and be small enough to be kept."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import DataError
from ecg_lightning.pipeline.preview import Panel, Preview
from ecg_lightning.report.plots import (
    ROLES,
    augmentation_picture,
    confusion_picture,
    learning_curves_picture,
    low_data_picture,
    per_class_picture,
)
from ecg_lightning.runs.aggregate import low_data, read_runs
from ecg_lightning.runs.schema import RunRecord

Make = Callable[..., RunRecord]
MakeRun = Callable[..., Path]


def size_of_png(path: Path) -> tuple[int, int]:
    """Width and height from the header, after the signature of the format and the limit on its size are checked."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) < 120_000
    assert [file.name for file in path.parent.iterdir() if "partial" in file.name] == []
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
@pytest.mark.parametrize("picture", [confusion_picture, per_class_picture])
def test_scores_are_drawn(tmp_path: Path, make_record: Make, picture: Callable[..., None], task: str) -> None:
    path = tmp_path / "pictures" / "scores.png"
    picture(make_record(task, model="net$_{"), path)
    width, height = size_of_png(path)
    assert 400 < width < 1200
    assert 300 < height < 1000


@pytest.mark.parametrize("picture", [confusion_picture, per_class_picture])
def test_synthetic_beats_are_marked_in_the_picture(
    tmp_path: Path, make_record: Make, picture: Callable[..., None]
) -> None:
    from PIL import Image

    def vermilion(synthetic: bool) -> int:
        path = tmp_path / "picture.png"
        picture(make_record(synthetic=synthetic), path)
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        return int((np.abs(pixels - [0xD5, 0x5E, 0x00]).sum(axis=2) < 40).sum())

    assert vermilion(synthetic=True) > 100
    assert vermilion(synthetic=False) == 0


def test_a_class_without_beats_is_drawn_too(tmp_path: Path, make_record: Make) -> None:
    record = make_record()
    record.test["confusion"][4] = [0] * 5
    confusion_picture(record, tmp_path / "confusion.png")
    assert size_of_png(tmp_path / "confusion.png")[0] > 400


def test_learning_curves_come_from_the_sparse_table_of_the_csv_logger(tmp_path: Path, make_record: Make) -> None:
    metrics = tmp_path / "metrics.csv"
    metrics.write_text(
        "epoch,step,lr,train/loss,val/loss,val/macro_f1,test/macro_f1\n"
        "1,50,.001,,,,\n1,99,,,.5,.6,\n1,99,,.7,,,\n"
        "2,150,.001,,,,\n2,199,,,.4,.8,\n2,199,,.5,,,\n"
        "3,200,,,,,.7\n"
    )
    learning_curves_picture(make_record(), metrics, tmp_path / "curves.png")
    both, _ = size_of_png(tmp_path / "curves.png")

    metrics.write_text("epoch,step,train/loss\n1,99,.7\n")
    learning_curves_picture(make_record(), metrics, tmp_path / "loss.png")
    loss_only, _ = size_of_png(tmp_path / "loss.png")
    assert loss_only < 0.6 * both


@pytest.mark.parametrize("content", ["", "epoch,step,lr\n1,1,.1\n", "epoch,step,val/loss\n1,1,\n"])
def test_metrics_without_an_epoch_are_refused_and_leave_nothing(
    tmp_path: Path, make_record: Make, content: str
) -> None:
    metrics = tmp_path / "metrics.csv"
    metrics.write_text(content)
    with pytest.raises(DataError, match=r"metrics\.csv"):
        learning_curves_picture(make_record(), metrics, tmp_path / "curves.png")
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        learning_curves_picture(make_record(), tmp_path / "nowhere.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_scores_by_size_of_the_training_set_are_drawn(make_run: MakeRun, tmp_path: Path) -> None:
    for size in (100, 1000):
        for seed in (0, 1):
            make_run(f"{size}_{seed}", task="mi", train_size=size, seed=seed, skill=0.4 + size / 4000)
    curves = low_data(read_runs(tmp_path / "runs"))
    # A score that is not defined must not stop the picture.
    curves[0]["points"][0]["mean"]["auroc"] = curves[0]["points"][0]["runs"][0]["test"]["auroc"] = None
    low_data_picture(curves, tmp_path / "low_data.png")
    assert size_of_png(tmp_path / "low_data.png")[0] > 600
    with pytest.raises(DataError, match="train_size"):
        low_data_picture([], tmp_path / "none.png")


def test_augmented_beats_are_drawn_a_row_a_class_with_gaps_where_a_class_has_nothing_to_show(tmp_path: Path) -> None:
    signal = (0.5 + 0.5 * np.sin(np.linspace(0, 9, 120))).astype(np.float32)

    def size(rows: dict[str, list[Panel]], name: str) -> tuple[int, int]:
        augmentation = {
            "name": "strong",
            "resampling": "none",
            "transforms": {f"shift{i}": {"s": 1} for i in range(20)},
        }
        preview = Preview(
            rows=rows, fs=125, length=187, scaling="none", augmentation=augmentation, data="beats", synthetic=False
        )
        augmentation_picture(preview, tmp_path / name)
        return size_of_png(tmp_path / name)

    full = [Panel(role, [(role, signal), ("training beat", signal[:50])]) for role in ROLES]
    width, height = size({"N\n100\nbeats": full, "S": [full[0], Panel("", []), full[1]]}, "two.png")
    narrower, lower = size({"N\n100\nbeats": full[:2]}, "one.png")
    assert width > 2.5 * narrower
    assert height > 1.1 * lower


def test_a_picture_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path, make_record: Make) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write .*confusion\.png"):
        confusion_picture(make_record(), tmp_path / "file" / "confusion.png")


def test_the_command_draws_what_is_asked_for_where_it_is_asked_for(make_run: MakeRun, tmp_path: Path) -> None:
    def names(*arguments: object) -> list[str]:
        ran = CliRunner().invoke(app, ["plot", *map(str, arguments)])
        assert ran.exit_code == 0, ran.output
        files = [Path(line) for line in ran.stdout.split()]
        assert all(size_of_png(file) for file in files)
        return [str(file.relative_to(tmp_path)) for file in files]

    one, two = make_run("one"), make_run("two", seed=1)
    whole = [f"runs/one/{name}.png" for name in ("confusion", "per_class", "learning_curves")]
    assert names(one) == whole
    assert names(one, "--what", "confusion", "-o", tmp_path / "x.png") == ["x.png"]
    assert names(one, two, "--what", "per-class", "-o", tmp_path / "all") == [
        "all/one_per_class.png",
        "all/two_per_class.png",
    ]
    (two / "metrics.csv").unlink()
    assert len(names(two)) == 2
    for arguments in (
        [one, two, "-o", tmp_path / "x.png"],
        [one, "--what", "low-data"],
        [two, "--what", "learning-curves"],
    ):
        ran = CliRunner().invoke(app, ["plot", *map(str, arguments)])
        assert ran.exit_code == 2 and ran.stderr.startswith("error: ") and len(ran.stderr.splitlines()) == 1
    assert not list(tmp_path.rglob("low_data.png"))
