"""Predictors: models that are called with arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.load import load_beats, load_checkpoint
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.pipeline.train import train
from ecg_lightning.training.checkpoint import add_fitted, read_checkpoint

SMALL = ["dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1"]
SETTINGS = [*SMALL, "trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=2", "report=none", "split=patient"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs of a network and a baseline, both with context, and their cache."""
    folder = tmp_path_factory.mktemp("runs")
    for model in (["model=cnet", "model.channels=8"], ["model=logistic_regression", "model.max_iter=5"]):
        name = model[0].removeprefix("model=")
        train(compose([*SETTINGS, *model, "context=rr", f"cache_dir={folder / 'cache'}"], output_dir=folder / name))
    return folder


@pytest.mark.parametrize("name", ["cnet", "logistic_regression"])
def test_a_run_gives_its_calibrated_probabilities_for_arrays(name: str, runs: Path) -> None:
    beats = load_beats("synthetic", *SMALL[1:], "context=rr", f"cache_dir={runs / 'cache'}").select(np.arange(300))
    predict = load_predictor(runs / name)
    assert (predict.name, predict.task, predict.classes) == (name, "arrhythmia", ("N", "S", "V", "F", "Q"))
    assert predict.input.length == beats.length and predict.input.context == beats.context_names
    assert predict.calibration is not None and predict.calibration.patients == 1
    found = predict(beats.signals, beats.lengths, beats.context)
    expected = load_checkpoint(runs / name, device="cpu").predict_proba(beats)
    assert found.dtype == np.float32
    assert np.allclose(found, predict.calibration.apply(expected), atol=1e-5)
    assert not np.allclose(found, expected, atol=1e-3)
    alone = predict(beats.signals[7:8], beats.lengths[7:8], beats.context[7:8])  # type: ignore[index]
    assert np.allclose(alone[0], found[7], atol=1e-6)
    assert predict(beats.signals[:0], beats.lengths[:0], beats.context[:0]).shape == (0, 5)  # type: ignore[index]


def test_arrays_of_another_shape_are_refused_with_the_expected_one(runs: Path) -> None:
    predict = load_predictor(runs / "cnet")
    signals, lengths = np.zeros((4, 1, 187)), np.full(4, 187)
    for given, message in (
        ((signals[:, :, 1:], lengths, None), r"signals of shape \(4, 1, 186\) for cnet: expected \(4, 1, 187\)"),
        ((signals, lengths[1:], None), r"lengths of shape \(3,\)"),
        ((signals, lengths, None), r"context of shape None for cnet: expected \(4, \d+\)"),
    ):
        with pytest.raises(ConfigError, match=message):
            predict(*given)


def test_a_checkpoint_without_calibration_gives_the_probabilities_of_the_network(runs: Path, tmp_path: Path) -> None:
    content = torch.load(runs / "cnet" / "checkpoints" / "best.ckpt", weights_only=True)
    own = Calibration.from_plain(content["ecg_lightning"].pop("calibration"))
    torch.save(content, tmp_path / "old.ckpt")
    old, new = load_predictor(tmp_path / "old.ckpt"), load_predictor(runs / "cnet")
    assert old.calibration is None and new.calibration == own
    beats = np.random.default_rng(0).random((5, 1, 187)), np.full(5, 187), np.zeros((5, len(new.input.context)))
    assert np.allclose(own.apply(old(*beats)), new(*beats), atol=1e-6)
    assert read_checkpoint(tmp_path / "old.ckpt").calibration is None


def test_a_checkpoint_that_is_saved_again_keeps_its_calibration(runs: Path, tmp_path: Path) -> None:
    for name in ("cnet", "logistic_regression"):
        load_checkpoint(runs / name, device="cpu").save(tmp_path / f"{name}.ckpt")
        assert load_predictor(tmp_path / f"{name}.ckpt").calibration == load_predictor(runs / name).calibration


def test_a_malformed_calibration_is_named_with_its_file(runs: Path, tmp_path: Path) -> None:
    path = tmp_path / "wrong.ckpt"
    path.write_bytes((runs / "cnet" / "checkpoints" / "best.ckpt").read_bytes())
    add_fitted(path, calibration={"temperature": -1.0})
    with pytest.raises(CheckpointError, match=r"wrong\.ckpt has a calibration that is malformed"):
        load_predictor(path)
