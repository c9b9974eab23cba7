"""Pictures stand in reports and in the README: they must come out for every run, and be small enough to be kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.report.plots import (
    ROLES,
    Panel,
    augmentation_picture,
    beats_picture,
    confusion_picture,
    learning_curves_picture,
    per_class_picture,
)

Make = Callable[..., dict[str, Any]]


def size_of_png(path: Path) -> tuple[int, int]:
    """Width and height from the header, after the signature of the format and the limit on its size are checked."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) < 120_000
    assert [file.name for file in path.parent.iterdir() if "partial" in file.name] == []
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
@pytest.mark.parametrize("picture", [confusion_picture, per_class_picture])
def test_scores_are_drawn(tmp_path: Path, make_scores: Make, picture: Callable[..., None], task: str) -> None:
    path = tmp_path / "pictures" / "scores.png"
    picture(make_scores(task), path)
    width, height = size_of_png(path)
    assert 400 < width < 1200
    assert 300 < height < 1000


@pytest.mark.parametrize("picture", [confusion_picture, per_class_picture])
def test_synthetic_beats_are_marked_in_the_picture(
    tmp_path: Path, make_scores: Make, picture: Callable[..., None]
) -> None:
    from PIL import Image

    def vermilion(synthetic: bool) -> int:
        path = tmp_path / "picture.png"
        picture(make_scores(synthetic=synthetic), path)
        pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
        return int((np.abs(pixels - [0xD5, 0x5E, 0x00]).sum(axis=2) < 40).sum())

    assert vermilion(synthetic=True) > 100
    assert vermilion(synthetic=False) == 0


def test_a_class_without_beats_is_drawn_too(tmp_path: Path, make_scores: Make) -> None:
    scores = make_scores()
    scores["test"]["confusion"][4] = [0] * 5
    confusion_picture(scores, tmp_path / "confusion.png")
    assert size_of_png(tmp_path / "confusion.png")[0] > 400


def test_learning_curves_come_from_the_sparse_table_of_the_csv_logger(tmp_path: Path, make_scores: Make) -> None:
    metrics = tmp_path / "metrics.csv"
    metrics.write_text(
        "epoch,step,lr,train/loss,val/loss,val/macro_f1,test/macro_f1\n"
        "0,50,.001,,,,\n0,99,,,.5,.6,\n0,99,,.7,,,\n"
        "1,150,.001,,,,\n1,199,,,.4,.8,\n1,199,,.5,,,\n"
        "2,200,,,,,.7\n"
    )
    learning_curves_picture(make_scores(), metrics, tmp_path / "curves.png")
    both, _ = size_of_png(tmp_path / "curves.png")

    metrics.write_text("epoch,step,train/loss\n0,99,.7\n")
    learning_curves_picture(make_scores(), metrics, tmp_path / "loss.png")
    loss_only, _ = size_of_png(tmp_path / "loss.png")
    assert loss_only < 0.6 * both


@pytest.mark.parametrize("content", ["", "epoch,step,lr\n0,1,.1\n", "epoch,step,val/loss\n0,1,\n"])
def test_metrics_without_an_epoch_are_refused_and_leave_nothing(
    tmp_path: Path, make_scores: Make, content: str
) -> None:
    metrics = tmp_path / "metrics.csv"
    metrics.write_text(content)
    with pytest.raises(DataError, match=r"metrics\.csv"):
        learning_curves_picture(make_scores(), metrics, tmp_path / "curves.png")
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        learning_curves_picture(make_scores(), tmp_path / "nowhere.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_beats_of_each_class_are_drawn_even_of_a_class_with_none(tmp_path: Path) -> None:
    phases = np.random.default_rng(0).random((60, 1))
    signals = (0.5 + 0.5 * np.sin(np.linspace(0, 9, 187) + phases)).astype(np.float32)
    signals[:, 120:] = 0
    signals[0] = 0
    beats = Beats(
        signals=signals[:, None],
        lengths=np.full(60, 120),
        lead_names=("II",),
        labels=np.arange(60) % 4,
        classes=AAMI_CLASSES,
        fs=125.0,
    )
    beats_picture(beats, tmp_path / "beats.png")
    width, height = size_of_png(tmp_path / "beats.png")
    assert width > height > 400


def test_augmented_beats_are_drawn_a_row_a_class_with_gaps_where_a_class_has_nothing_to_show(tmp_path: Path) -> None:
    signal = (0.5 + 0.5 * np.sin(np.linspace(0, 9, 187))).astype(np.float32)
    signal, silence = signal[:120], np.zeros(0, dtype=np.float32)

    def size(rows: dict[str, list[Panel]], name: str) -> tuple[int, int]:
        path = tmp_path / name
        about = ("Title", "settings " * 40)
        augmentation_picture(rows, path, fs=125, length=187, unit="mV", about=about, synthetic=False)
        return size_of_png(path)

    full = [Panel(role, [(role, signal), ("training beat", silence)]) for role in ROLES]
    width, height = size({"N\n100\nbeats": full, "S": [full[0], Panel("", []), full[1]]}, "two.png")
    narrower, lower = size({"N": full[:2]}, "one.png")
    assert width > 2.5 * narrower
    assert height > 1.2 * lower


def test_a_picture_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path, make_scores: Make) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot write .*confusion\.png"):
        confusion_picture(make_scores(), tmp_path / "file" / "confusion.png")
