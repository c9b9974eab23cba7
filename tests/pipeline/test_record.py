"""What is filed of a run: its settings as fields, scores of its test, and nothing that JSON has no word for."""

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.pipeline.record import make_record
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run

CONFIG: dict[str, Any] = {
    "task": {"name": "mi"},
    "dataset": {
        "name": "ptbdb", "title": "PTB", "task": "mi", "leads": ["ii"],
        "diagnoses": {"comment": "Reason", "classes": {"normal": ["Healthy control"], "MI": ["Infarction"]}},
    },
    "context": {"rhythm": True, "morphology": False, "before": 0.2}, "loss": {"name": "focal"},
    "augmentation": {"name": "light", "resampling": {"method": "smote"}}, "transfer": {"mode": "none"},
    "trainer": {"precision": "bf16-mixed"}, "seed": 3, "monitor": "val/macro_f1",
}  # fmt: skip
TASK = SimpleNamespace(positive="MI")


@pytest.fixture
def arguments(make_beats: Callable[..., Beats]) -> dict[str, Any]:
    beats = make_beats([0, 1, 1], ("normal", "MI"), patients=np.array(["a", "a", "b"]))
    protocol = Protocol(name="patient", by="patients", seed=3, fold=0, n_folds=2)
    folds = SimpleNamespace(protocol=protocol, sizes=lambda: {"train": 5, "validation": 2, "test": 3})
    return {
        "config": CONFIG,
        "composed": CONFIG | {"seed": "${oc.env:SEED}"},
        "overrides": ["model=cnet"],
        "datamodule": SimpleNamespace(beats=beats, folds=folds, reach=0),
        "estimator": SimpleNamespace(name="cnet", baseline=False, n_parameters=7, task=TASK),
        "beats": beats,
        "probabilities": np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], dtype=np.float32),
        "fold": "test",
        "val": {"val/macro_f1": 0.5, "val/loss": math.inf},
    }


def test_settings_are_fields_and_scores_are_those_of_the_tested_beats(
    tmp_path: Path, arguments: dict[str, Any]
) -> None:
    record = make_record(**arguments, epochs=2, wall_s=1.2345)
    assert (record.model, record.dataset, record.loss, record.resampling) == ("cnet", "ptbdb", "focal", "smote")
    assert (record.title, record.class_map) == ("PTB", "MI by reason")
    assert (record.protocol.fold, record.n_tested, record.leads, record.positive) == (0, 3, ("MLII",), "MI")
    assert record.context.rhythm and record.context.before == 0.2 and not record.context.morphology
    assert record.test == score_beats(arguments["beats"], arguments["probabilities"], "MI")
    assert (record.val.macro_f1, record.val.accuracy, record.val.loss) == (0.5, None, None)
    assert record.config["seed"] == "${oc.env:SEED}" and record.wall_s == 1.23
    filed = save_run(tmp_path / "run", record, arguments["beats"], arguments["probabilities"])
    assert RunRecord.read(tmp_path / "run" / "scores.json") == filed


def test_a_baseline_records_only_resampling_as_augmentation(arguments: dict[str, Any]) -> None:
    estimator = SimpleNamespace(name="majority", baseline=True, n_parameters=2, task=TASK)
    record = make_record(**arguments | {"estimator": estimator})
    assert (record.baseline, record.augmentation, record.loss, record.precision) == (True, "smote", None, None)


def test_a_diverged_model_writes_no_record(arguments: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="diverged"):
        make_record(**arguments | {"probabilities": np.full((3, 2), np.nan)})
