"""A database that does not fit into memory goes through training, test, scores and report like any other."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.stored import StoredSignals
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.predictions import score_predictions
from ecg_lightning.runs.schema import RunRecord

SMALL = [
    "dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "split=patient",
    "trainer=cpu", "trainer.max_epochs=1", "optimizer.batch_size=32",
]  # fmt: skip
NOTHING_FITS = "storage.in_memory=1e-6"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(compose([*SMALL, NOTHING_FITS, f"cache_dir={folder / 'cache'}"], output_dir=folder))
    return folder


def beats_of(run: Path, *words: str) -> Beats:
    datamodule = make_datamodule(validated(compose([*SMALL, f"cache_dir={run / 'cache'}", *words], output_dir=run)))
    datamodule.setup()
    return datamodule.beats.select(datamodule.folds.test)


def test_its_metrics_are_those_of_its_predictions_and_of_beats_in_memory(run: Path) -> None:
    record = RunRecord.read(run / "scores.json")
    assert score_predictions(run / "predictions.parquet") == record.test
    assert evaluate(run, cache_dir=run / "cache", device="cpu").test == record.test
    in_memory, stored = beats_of(run), beats_of(run, NOTHING_FITS)
    assert isinstance(stored.signals, StoredSignals) and isinstance(in_memory.signals, np.ndarray)
    assert stored.fingerprint == in_memory.fingerprint
    predict = load_predictor(run)
    np.testing.assert_array_equal(predict.of(stored), predict.of(in_memory))


def test_its_report_reads_the_beats_from_the_cache_of_the_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECG_CACHE_DIR", str(tmp_path / "of the user"))
    words = ["report", str(run), "--brief", "--cache-dir", str(run / "cache"), "-o", str(tmp_path / "page.html")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert "Saliency" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not (tmp_path / "of the user").exists()  # where they would be cut again


@pytest.mark.parametrize("augmentation", ["smote", "adasyn", "smote_tomek"])
def test_resampling_without_room_for_it_says_what_to_do(run: Path, augmentation: str) -> None:
    with pytest.raises(ConfigError, match=r"storage\.in_memory=1e-06.*augmentation=balanced"):
        beats_of(run, NOTHING_FITS, f"augmentation={augmentation}")


def test_a_baseline_on_samples_learns_from_as_many_beats_as_fit_into_memory(run: Path, tmp_path: Path) -> None:
    words = [*SMALL[:4], f"cache_dir={run / 'cache'}", "context=none"]
    found = {}
    for model, in_memory in (("logistic_regression", 3e-4), ("majority", 1e-6), ("majority", 2)):
        own = [f"model={model}", f"storage.in_memory={in_memory}"]
        found[model, in_memory] = train(compose([*words, *own], output_dir=tmp_path / f"{model} {in_memory}"))
    some, counted, in_memory = found.values()
    assert some.n_fitted == int(3e-4 * 2**30 / (16 * 187)) < some.n["train"]
    assert (counted.n_fitted, counted.test) == (None, in_memory.test)  # it counts labels, of all
