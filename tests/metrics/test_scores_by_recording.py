"""Where the class is of the recording, recordings are scored beside beats, over the same patients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import PTB_CLASSES
from ecg_lightning.metrics.catalogue import metric_at
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.report.elsewhere import elsewhere_section
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.tables import by_recording, run_section
from ecg_lightning.report.verdict import verdict
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.predictions import score_predictions, write_predictions
from ecg_lightning.runs.schema import RunRecord

OF_RECORD = np.repeat(np.arange(40), 5)  # 40 recordings of 20 people, five beats each
LABELS = (OF_RECORD // 2 % 2).astype(np.int64)
RECORDS = np.array([f"r{i:02}" for i in OF_RECORD])


def beats(labels: Any = LABELS) -> Beats:
    n = len(labels)
    return Beats(
        signals=np.zeros((n, 1, 4), dtype=np.float32), lengths=np.full(n, 4), lead_names=("II",), labels=labels,
        classes=PTB_CLASSES, fs=125.0, records=RECORDS, patients=np.array([f"p{i // 2:02}" for i in OF_RECORD]),
        samples=np.arange(n),
    )  # fmt: skip


def predicted(gain: float = 1.0, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    logit = gain * (LABELS - 0.5) + rng.normal(size=len(LABELS)) + 0.8 * rng.normal(size=40)[OF_RECORD]
    p = 1 / (1 + np.exp(-logit))
    return np.stack([1 - p, p], axis=1)


def test_a_recording_has_the_mean_probability_of_its_beats() -> None:
    probabilities = predicted()
    found = score_beats(beats(), probabilities, "MI")["recordings"]
    mean, true = probabilities[:, 1].reshape(40, 5).mean(axis=1), LABELS[::5]
    assert (found["n"], found["n_positive"]) == (40, 20)
    assert found["auroc"] == pytest.approx(roc_auc_score(true, mean))
    assert found["recall"] == (mean[true == 1] > 0.5).mean() and found["specificity"] == (mean[true == 0] <= 0.5).mean()
    assert found["accuracy"] == ((mean > 0.5) == true).mean()


def test_sensitivity_at_90_percent_specificity_is_that_of_the_best_threshold_that_reaches_it() -> None:
    probabilities = predicted().round(1)  # with ties
    scores = score_beats(beats(), probabilities, "MI")
    wrong, right, _ = roc_curve(LABELS, probabilities[:, 1], drop_intermediate=False)
    assert scores["recall_at_90_specificity"] == pytest.approx(right[wrong <= 0.1 + 1e-9].max())
    low, high = scores["intervals"]["recall_at_90_specificity"]
    assert low < scores["recall_at_90_specificity"] <= high


def test_intervals_by_recording_resample_patients_and_not_recordings() -> None:
    one = score_beats(beats(), predicted(), "MI")
    alone = Beats.concatenate([beats()]).select(np.arange(0, 200, 5))  # a beat of each, with the mean probability
    mean = predicted().reshape(40, 5, 2).mean(axis=1)
    other = score_beats(alone, mean, "MI")
    assert one["intervals"]["n_resampled"] == 20
    for name in ("auroc", "recall", "specificity"):
        assert one["intervals"]["recordings"][name] == pytest.approx(other["intervals"]["per_class"]["MI"][name])


def test_beats_of_two_classes_in_one_recording_have_no_scores_by_recording() -> None:
    mixed = LABELS.copy()
    mixed[0] = 1 - mixed[0]
    scores = score_beats(beats(mixed), predicted(), "MI")
    assert "recordings" not in scores and "recordings" not in scores["intervals"]


def test_recordings_are_recomputed_from_predictions_and_compared_in_pairs(tmp_path: Path) -> None:
    for name, gain in (("good", 3.0), ("bad", 0.2)):
        write_predictions(tmp_path / f"{name}.parquet", beats(), predicted(gain), positive="MI")
    assert score_predictions(tmp_path / "good.parquet") == score_beats(beats(), predicted(3.0), "MI")
    found = compare(tmp_path / "good.parquet", tmp_path / "bad.parquet")["differences"]["recordings"]["auroc"]
    assert found["difference"] > 0.1 and found["interval"][0] > 0 and found["p"] < 0.05
    only = compare(tmp_path / "good.parquet", tmp_path / "bad.parquet", metrics=[("recordings", "auroc")])
    assert only["differences"] == {"recordings": {"auroc": found}}


def test_recordings_are_in_the_record_the_printed_tables_and_the_verdict(
    make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    made = make_record("mi", test=score_beats(beats(), predicted(), "MI"), n={"train": 9, "validation": 1, "test": 200})
    made.write(tmp_path / "scores.json")
    record = RunRecord.read(tmp_path / "scores.json")
    shown = metric_at(("recordings", "auroc")).text(record.test["recordings"]["auroc"])
    for section in (run_section(record), elsewhere_section(None, {"ptbxl": record})):
        *_, table = section.tables
        assert [str(row.cells[1].content) for row in table.rows] == ["200", "40"]
        assert str(table.rows[1].cells[2].content) == shown
    assert 'data-figure="test.recordings.auroc"' in verdict(record, Numbers(record.plain()))[0]
    others = make_record("mi")
    assert "recordings" not in others.test and not by_recording(Numbers(others.plain()))
