"""A database that does not fit into memory goes through training, test, scores and report like any other."""

from pathlib import Path

import numpy as np
import pytest

from ecg_lightning.data.beats import Beats
from ecg_lightning.data.stored import StoredSignals
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.pipeline.train import train
from ecg_lightning.report import write_report
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
    write_report([run], embedding=False)
    assert "Saliency" in (run / "report.html").read_text(encoding="utf-8")

    in_memory, stored = beats_of(run), beats_of(run, NOTHING_FITS)
    assert isinstance(stored.signals, StoredSignals) and isinstance(in_memory.signals, np.ndarray)
    assert stored.fingerprint == in_memory.fingerprint
    predict = load_predictor(run)
    np.testing.assert_array_equal(predict.of(stored), predict.of(in_memory))


def test_a_baseline_and_resampling_take_its_training_beats_into_memory(run: Path, tmp_path: Path) -> None:
    words = [*SMALL[:4], f"cache_dir={run / 'cache'}", "augmentation=random_over", "model=majority"]
    found = [
        train(compose([*words, *own], output_dir=tmp_path / str(at))) for at, own in enumerate(([], [NOTHING_FITS]))
    ]
    assert found[0].test == found[1].test
