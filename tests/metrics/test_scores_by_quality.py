"""Scores of beats of good and bad signal, in a run's record and from its predictions."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ecg_lightning.data.beats import Beats
from ecg_lightning.metrics.scoring import score, score_beats
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.tables import by_quality
from ecg_lightning.runs.predictions import read_predictions, score_predictions, write_predictions
from ecg_lightning.runs.schema import RunRecord

CLASSES = ("N", "S", "V", "F", "Q")
QUALITY = np.tile(np.array([0.1, 0.5, 0.9, 1.0], dtype=np.float32), 100)


@pytest.fixture
def beats(make_beats: Callable[..., Beats]) -> Beats:
    """400 beats, a quarter of each quality."""
    labels = np.random.default_rng(0).integers(5, size=400)
    return make_beats(labels, CLASSES, records=np.full(400, "100"), samples=np.arange(400), quality=QUALITY)


@pytest.fixture
def probabilities(beats: Beats) -> np.ndarray:
    """Right where quality is high, guessed where it is low."""
    raw = np.random.default_rng(1).random((400, 5)) + 2 * (QUALITY > 0.5)[:, None] * np.eye(5)[beats.known_labels]
    return (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def test_each_bin_has_the_scores_of_its_beats_alone(beats: Beats, probabilities: np.ndarray) -> None:
    bins = score_beats(beats, probabilities)["by_quality"]
    assert [(one["above"], one["to"], one["beats"]) for one in bins] == [(0, 0.5, 100), (0.5, 0.8, 100), (0.8, 1, 200)]
    assert bins[2]["accuracy"] == bins[2]["macro_f1"] == bins[2]["V"] == 1 and bins[0]["accuracy"] < 0.5
    for one, rows in zip(bins, (QUALITY < 0.5, QUALITY == 0.5, QUALITY > 0.8), strict=True):
        alone = score(beats.known_labels[rows], probabilities[rows], CLASSES)
        assert (one["macro_f1"], one["S"]) == (alone["macro_f1"], alone["ec57"]["S"]["f1"])


def test_scores_by_quality_are_recomputed_to_the_digit_from_predictions(
    beats: Beats, probabilities: np.ndarray, tmp_path: Path
) -> None:
    write_predictions(tmp_path / "p.parquet", beats, probabilities)
    assert score_predictions(tmp_path / "p.parquet") == score_beats(beats, probabilities)
    np.testing.assert_array_equal(read_predictions(tmp_path / "p.parquet")[0]["quality"], QUALITY)


def test_predictions_without_quality_have_no_scores_by_it(
    beats: Beats, probabilities: np.ndarray, tmp_path: Path
) -> None:
    unknown = dataclasses.replace(beats, quality=None)
    write_predictions(tmp_path / "p.parquet", unknown, probabilities)
    assert "quality" not in read_predictions(tmp_path / "p.parquet")[0]
    assert "by_quality" not in score_predictions(tmp_path / "p.parquet")


def test_a_record_keeps_them_and_the_table_of_the_page_shows_them(
    beats: Beats, probabilities: np.ndarray, make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    record = make_record(test=score_beats(beats, probabilities))
    record.write(tmp_path / "scores.json")
    table = by_quality(Numbers(RunRecord.read(tmp_path / "scores.json").plain()))
    assert table is not None
    assert [str(cell.content) for cell in table.rows[0].cells] == ["0.8 to 1", "200", *["100.00"] * 4]
    assert by_quality(Numbers(make_record().plain())) is None
