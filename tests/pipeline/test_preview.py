"""What augmentation does is looked at before it is trusted: the picture shows training beats, and nothing made up."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.preview import DRAWS, panels, show
from ecg_lightning.report.plots import Panel

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"

Shown = dict[str, list[Panel]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that simulate a few hundred beats."""
    cache = tmp_path_factory.mktemp("cache")
    return ["source=synthetic", "source.patients=4", "source.minutes=1", f"cache_dir={cache}"]


@pytest.fixture(scope="module")
def shown(small: list[str]) -> Callable[..., tuple[BeatDataModule, Shown]]:
    """The datamodule of a configuration and what would be drawn of it."""

    def make(*overrides: str, n_beats: int = 2) -> tuple[BeatDataModule, Shown]:
        from omegaconf import OmegaConf

        cfg = compose([*small, *overrides], output_dir=".", config_dir=CONF)
        datamodule = make_datamodule(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
        datamodule.setup()
        torch.manual_seed(0)
        return datamodule, panels(datamodule, n_beats)

    return make


def roles(panel: Panel) -> list[str]:
    return [role for role, _ in panel.lines]


def test_each_class_shows_beats_of_the_training_fold_and_as_many_draws_of_each(
    shown: Callable[..., tuple[BeatDataModule, Shown]],
) -> None:
    datamodule, rows = shown("augmentation=strong")
    beats, train = datamodule.beats, datamodule.folds.train
    trained_on = {name: train[beats.known_labels[train] == label] for label, name in enumerate(beats.classes)}
    assert [title.split("\n")[0] for title in rows] == [name for name, of_class in trained_on.items() if len(of_class)]
    for title, of_class in rows.items():
        name, count, _ = title.split("\n")
        assert int(count.replace(",", "")) == len(trained_on[name])
        assert len(of_class) == min(2, len(trained_on[name]))
        for panel in of_class:
            assert roles(panel) == ["training beat", "after the transforms", *["other draws"] * (DRAWS - 1)]
            own, *drawn = (signal for _, signal in panel.lines)
            rows_of_length = [row for row in trained_on[name] if beats.lengths[row] == len(own)]
            assert any(np.array_equal(beats.signals[row, 0, : len(own)], own) for row in rows_of_length)
            assert len({one.tobytes() for one in drawn}) == DRAWS
            assert own.tobytes() not in {one.tobytes() for one in drawn}


def test_without_augmentation_beats_stand_alone(shown: Callable[..., tuple[BeatDataModule, Shown]]) -> None:
    _, rows = shown("augmentation=none", n_beats=3)
    assert {tuple(roles(panel)) for of_class in rows.values() for panel in of_class} == {("training beat",)}


def test_new_beats_are_those_that_were_not_recorded(shown: Callable[..., tuple[BeatDataModule, Shown]]) -> None:
    datamodule, rows = shown("augmentation=none", "augmentation.resampling.method=smote", "task=mi")
    beats = datamodule.beats
    recorded = {one[0, :n].tobytes() for one, n in zip(beats.signals, beats.lengths, strict=True)}
    grown = 0
    for title, (*_, panel) in rows.items():
        assert all(role == "new beats" and signal.tobytes() not in recorded for role, signal in panel.lines)
        grown += bool(panel.lines)
        assert ("→" in title) == bool(panel.lines)
    assert grown == 1  # the larger of two classes stays as it is


def test_a_mixed_beat_lies_between_its_own_and_its_partner(
    shown: Callable[..., tuple[BeatDataModule, Shown]],
) -> None:
    _, rows = shown("augmentation=none", "augmentation.mixup=1")
    for title, (*_, panel) in rows.items():
        own, partner, mixed = (signal for _, signal in panel.lines)
        assert roles(panel) == ["training beat", "partner", "mixed"]
        share, name = panel.title.split()[:2]
        assert title.startswith(name)
        assert len(mixed) == max(len(own), len(partner))
        own, partner = (np.pad(one, (0, len(mixed) - len(one))) for one in (own, partner))
        np.testing.assert_allclose(mixed, float(share) * own + (1 - float(share)) * partner, atol=0.01)


def test_the_command_writes_a_picture_named_after_the_augmentation_and_marks_simulated_beats(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    (tmp_path / "conf").symlink_to(CONF)
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["show", "augmentation=strong", "task=mi", "--beats", "1", *small])
    assert (run.exit_code, run.stdout) == (0, "augmentation_strong.png\n")
    pixels = np.asarray(Image.open("augmentation_strong.png").convert("RGB")).astype(int)
    assert (np.abs(pixels - [0xD5, 0x5E, 0x00]).sum(axis=2) < 40).sum() > 100

    same = ["show", "augmentation=strong", "task=mi", "--beats", "1", "--output", "again.png", *small]
    again = CliRunner().invoke(app, same)
    assert again.stdout == "again.png\n"
    assert Path("again.png").read_bytes() == Path("augmentation_strong.png").read_bytes()


def test_where_there_is_no_configuration_the_error_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no conf/train\.yaml in .*; run this in the project's folder"):
        show()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("augmentation=stong", "Could not find 'augmentation/stong' Available options"),
        ("augmentation.mixing=1", "Could not override 'augmentation.mixing'"),
        ("+augmentation.transforms.flip={}", "no transform 'flip'"),
        ("seed=${nowhere}", "nowhere"),
    ],
)
def test_settings_that_do_not_exist_are_refused_in_one_line(small: list[str], override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        show([*small, override], config_dir=CONF)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
