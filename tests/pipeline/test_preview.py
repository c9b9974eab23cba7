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
from ecg_lightning.pipeline.preview import DRAWS, Panel, panels, preview

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"

Shown = dict[str, list[Panel]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that simulate a few hundred beats."""
    cache = tmp_path_factory.mktemp("cache")
    return ["dataset=synthetic", "dataset.simulation.patients=4", "dataset.simulation.minutes=1", f"cache_dir={cache}"]


@pytest.fixture(scope="module")
def shown(small: list[str]) -> Callable[..., tuple[BeatDataModule, Shown]]:
    """The datamodule of a configuration and the panels of its preview."""

    def make(*overrides: str, n_beats: int = 2) -> tuple[BeatDataModule, Shown]:
        from omegaconf import OmegaConf

        cfg = compose([*small, *overrides], output_dir=".")
        datamodule = make_datamodule(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[arg-type]
        datamodule.setup()
        torch.manual_seed(0)
        return datamodule, panels(datamodule, n_beats)

    return make


def roles(panel: Panel) -> list[str]:
    return [role for role, _ in panel.lines]


def test_each_class_shows_training_beats_and_samples_of_each(
    shown: Callable[..., tuple[BeatDataModule, Shown]],
) -> None:
    datamodule, rows = shown("augmentation=strong")
    beats, train = datamodule.beats, datamodule.folds.train
    trained_on = {name: beats.signals[train[beats.labels[train] == label]] for label, name in enumerate(beats.classes)}
    assert [title.split("\n")[0] for title in rows] == [name for name, of_class in trained_on.items() if len(of_class)]
    for title, of_class in rows.items():
        name, count, _ = title.split("\n")
        assert int(count.replace(",", "")) == len(trained_on[name])
        assert len(of_class) == min(2, len(trained_on[name]))
        for panel in of_class:
            assert roles(panel) == ["training beat", "after the transforms", *["other draws"] * (DRAWS - 1)]
            own, *drawn = (signal for _, signal in panel.lines)
            assert (trained_on[name][:, 0, : len(own)] == own).all(axis=1).any()
            assert len({one.tobytes() for one in drawn}) == DRAWS and own.tobytes() not in {
                one.tobytes() for one in drawn
            }


def test_without_augmentation_only_the_beats_are_shown(shown: Callable[..., tuple[BeatDataModule, Shown]]) -> None:
    _, rows = shown("augmentation=none", n_beats=3)
    assert {tuple(roles(panel)) for of_class in rows.values() for panel in of_class} == {("training beat",)}


def test_new_beats_are_those_that_were_not_recorded(shown: Callable[..., tuple[BeatDataModule, Shown]]) -> None:
    datamodule, rows = shown("augmentation=none", "augmentation.resampling.method=smote", "dataset=synthetic_mi")
    beats = datamodule.beats
    recorded = {beats.signals[row, 0, : beats.lengths[row]].tobytes() for row in range(len(beats))}
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
        n = min(len(own), len(partner))
        np.testing.assert_allclose(mixed[:n], float(share) * own[:n] + (1 - float(share)) * partner[:n], atol=0.01)


def test_the_command_writes_a_picture_named_after_the_augmentation_and_marks_simulated_beats(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["show", "augmentation=strong", "dataset=synthetic_mi", "--beats", "1", *small])
    assert (run.exit_code, run.stdout) == (0, "augmentation_strong.png\n")
    pixels = np.asarray(Image.open("augmentation_strong.png").convert("RGB")).astype(int)
    assert (np.abs(pixels - [0xD5, 0x5E, 0x00]).sum(axis=2) < 40).sum() > 100

    same = ["show", "augmentation=strong", "dataset=synthetic_mi", "--beats", "1", "--output", "again.png", *small]
    again = CliRunner().invoke(app, same)
    assert again.stdout == "again.png\n"
    assert Path("again.png").read_bytes() == Path("augmentation_strong.png").read_bytes()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augmentation=stong", "Could not find 'augmentation/stong' Available options"),
        ("augmentation.mixing=1", "Could not override 'augmentation.mixing'"),
        ("+augmentation.transforms.flip={}", "no transform 'flip'"),
        ("seed=${nowhere}", "nowhere"),
    ],
)
def test_settings_that_do_not_exist_are_refused_in_one_line(small: list[str], override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        preview([*small, override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
