"""An interval must hold what it promises: what resampling patients by hand gives, for every metric."""

import json
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.metrics.bootstrap import intervals
from ecg_lightning.metrics.ranking import Ranking
from ecg_lightning.metrics.scoring import score

CLASSES = {"arrhythmia": AAMI_CLASSES, "mi": PTB_CLASSES}


def of_patients(
    classes: tuple[str, ...], n_patients: int = 8, n: int = 400, unlike: float = 1.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Beats of patients, some of whom are far harder than others; probabilities in steps, so that many are equal."""
    rng = np.random.default_rng(5)
    patients = rng.integers(n_patients, size=n)
    labels = rng.integers(len(classes), size=n)
    ease = 1 + unlike * rng.random(n_patients)[patients, None]
    raw = rng.random((n, len(classes))) + ease * 0.4 * np.eye(len(classes))[labels]
    probabilities = np.round(20 * raw / raw.sum(axis=1, keepdims=True)) + 0.01
    return labels, probabilities / probabilities.sum(axis=1, keepdims=True), np.char.add("p", patients.astype(str))


def flat(scores: dict[str, Any], at: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    found = {}
    for key, value in scores.items():
        if isinstance(value, dict):
            found |= flat(value, (*at, key))
        elif isinstance(value, float):
            found[(*at, key)] = value
    return found


@pytest.mark.parametrize("over", ["patients", "beats"])
@pytest.mark.parametrize("task", list(CLASSES))
def test_ends_are_those_of_scoring_each_resample_from_its_beats(task: str, over: str) -> None:
    classes, resamples = CLASSES[task], 40
    labels, probabilities, patients = of_patients(classes)
    units = patients if over == "patients" else np.arange(len(labels))
    found = intervals(
        labels, probabilities, classes, patients if over == "patients" else None, resamples=resamples, seed=3
    )

    rng, names = np.random.default_rng(3), np.unique(units)
    rows_of = {name: np.flatnonzero(units == name) for name in names}
    by_hand = []
    for _ in range(resamples):
        rows = np.concatenate([rows_of[names[i]] for i in rng.integers(len(names), size=len(names))])
        by_hand.append(flat(score(labels[rows], probabilities[rows], classes)))
    assert found["resampled"] == over and found["n_resampled"] == len(names)
    compared = 0
    for path in by_hand[0]:
        if path[0] == "ec57" and len(path) != 3:
            continue
        ends: Any = found
        for key in path:
            ends = ends[key]
        expected = np.quantile([one[path] for one in by_hand], [0.025, 0.975])
        assert ends == pytest.approx(expected, abs=1e-9), path
        compared += 1
    assert compared == (13 + 1 + 5 * 6 + 2 * 5 if task == "arrhythmia" else 13 + 2 * 6)


def test_intervals_of_millions_of_beats_are_nearly_those_of_each_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities, patients = of_patients(AAMI_CLASSES, n_patients=1100, n=20_000)
    probabilities = probabilities + np.random.default_rng(0).random(probabilities.shape) / 20  # hardly any equal
    exact = flat_ends(intervals(labels, probabilities, AAMI_CLASSES, patients, resamples=100))
    monkeypatch.setattr("ecg_lightning.metrics.ranking.MOST_RANKED", 1000)
    monkeypatch.setattr("ecg_lightning.metrics.ranking.STEPS", 256)
    found = flat_ends(intervals(labels, probabilities, AAMI_CLASSES, patients, resamples=100))
    np.testing.assert_allclose(found, exact, atol=1e-3)
    assert not np.array_equal(found, exact)


def flat_ends(found: dict[str, Any]) -> list[float]:
    """Ends of the intervals of ranking metrics."""
    one = [found[f"macro_{metric}"] for metric in ("auroc", "average_precision")]
    of_class = [own[metric] for own in found["per_class"].values() for metric in ("auroc", "average_precision")]
    return [end for ends in (*one, *of_class) for end in ends]


@pytest.mark.parametrize("n_units", [None, 7, 300], ids=["beats", "few units", "units as many as beats"])
def test_ranking_with_weights_is_scikit_learns(n_units: int | None) -> None:
    rng = np.random.default_rng(1)
    positive, probability = rng.random(300) < 0.2, rng.integers(30, size=300) / 30
    units = None if n_units is None else np.concatenate([np.arange(n_units), rng.integers(n_units, size=300 - n_units)])
    times = rng.integers(4, size=(5, n_units or 300)).astype(float)
    ranking = Ranking(positive, probability, units)
    pairs = zip(times, ranking.aurocs(times), ranking.average_precisions(times), strict=True)
    for of_units, auroc, precision in pairs:
        weight = of_units if units is None else of_units[units]
        assert auroc == pytest.approx(roc_auc_score(positive, probability, sample_weight=weight))
        assert precision == pytest.approx(average_precision_score(positive, probability, sample_weight=weight))


def test_counting_by_patient_gives_the_digits_of_counting_by_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities, patients = of_patients(AAMI_CLASSES)
    by_patient = intervals(labels, probabilities, AAMI_CLASSES, patients, resamples=200)
    monkeypatch.setattr("ecg_lightning.metrics.ranking.MOST_CELLS", 0)
    assert intervals(labels, probabilities, AAMI_CLASSES, patients, resamples=200) == by_patient


def test_patients_who_differ_make_it_wider_than_beats_would() -> None:
    labels, probabilities, patients = of_patients(AAMI_CLASSES, unlike=6)
    over = [intervals(labels, probabilities, AAMI_CLASSES, who)["accuracy"] for who in (patients, None)]
    widths = [high - low for low, high in over]
    assert widths[0] > 1.5 * widths[1]


def test_the_same_seed_gives_the_same_however_many_are_worked_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = of_patients(PTB_CLASSES)
    first = intervals(data[0], data[1], PTB_CLASSES, data[2], seed=1)
    monkeypatch.setattr("ecg_lightning.metrics.bootstrap.CHUNK", 7 * 8)
    monkeypatch.setattr("ecg_lightning.metrics.ranking.CHUNK", 7 * 400)
    again = intervals(data[0], data[1], PTB_CLASSES, data[2], seed=1)
    assert again["macro_f1"] == pytest.approx(first["macro_f1"], rel=1e-12)
    assert again["macro_auroc"] == pytest.approx(first["macro_auroc"], rel=1e-12)
    assert intervals(data[0], data[1], PTB_CLASSES, data[2], seed=2)["macro_auroc"] != first["macro_auroc"]


def test_a_class_of_one_patient_has_the_interval_of_the_resamples_that_have_it() -> None:
    labels, probabilities, patients = of_patients(AAMI_CLASSES)
    labels = np.where((labels == 3) & (patients != "p0"), 0, labels)
    found = intervals(labels, probabilities, AAMI_CLASSES, patients)
    recall = score(labels, probabilities, AAMI_CLASSES)["per_class"]["F"]["recall"]
    assert found["per_class"]["F"]["recall"] == pytest.approx([recall, recall])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_one_patient_says_nothing_about_others() -> None:
    labels, probabilities, _ = of_patients(PTB_CLASSES)
    found = intervals(labels, probabilities, PTB_CLASSES, np.full(len(labels), "p1"))
    assert (found["n_resampled"], found["macro_f1"], found["per_class"]["MI"]["recall"]) == (1, None, None)
