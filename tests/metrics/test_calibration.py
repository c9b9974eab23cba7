"""Calibration: what its temperature, its curve and its statement say, on beats of known probabilities."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics.calibration import Calibration

CLASSES = ("N", "S", "V")
PATIENTS = Protocol(name="patient", seed=0, by="patients", test_fraction=0.2)


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def overconfident(make_beats: Callable[..., Any]) -> tuple[Any, Any]:
    """Beats and probabilities of a model whose logits are twice as large as they should be."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (6000, 3))
    labels = (softmax(logits).cumsum(axis=1) < generator.random((6000, 1))).sum(axis=1).clip(max=2)
    people = np.array([f"p{i % 7}" for i in range(6000)])
    return make_beats(labels, CLASSES, patients=people, records=people), softmax(2 * logits)


def test_the_temperature_undoes_overconfidence_and_changes_no_class(overconfident: tuple[Any, Any]) -> None:
    beats, probabilities = overconfident
    found = Calibration.fit(beats, probabilities, protocol=PATIENTS)
    assert found.temperature == pytest.approx(2, rel=0.05)
    assert found.ece < 0.02 < 0.1 < found.ece_before
    calibrated = found.apply(probabilities)
    assert calibrated.dtype == np.float32 and np.allclose(calibrated.sum(axis=1), 1)
    assert (calibrated.argmax(axis=1) == probabilities.argmax(axis=1)).all()


def test_the_curve_counts_the_beats_that_reach_each_threshold(overconfident: tuple[Any, Any]) -> None:
    beats, probabilities = overconfident
    found = Calibration.fit(beats, probabilities, protocol=PATIENTS)
    confidence = found.apply(probabilities).max(axis=1)
    wrong = probabilities.argmax(axis=1) != beats.labels
    assert 40 < len(found.threshold_at) <= 50
    for threshold in found.threshold_at:
        kept = confidence >= threshold
        assert found.promise(threshold) == pytest.approx((kept.mean(), wrong[kept].mean()))
    assert found.promise(0)[0] == 1 and found.promise(0)[1] == pytest.approx(wrong.mean())
    assert found.promise(1.01)[0] == 0
    threshold = found.threshold(0.9)
    assert (confidence >= threshold).mean() >= 0.9 > (confidence >= threshold + 0.05).mean()
    assert found.promise(threshold)[1] < wrong.mean()
    assert found.threshold(0.9999) == pytest.approx(confidence.min())


def test_it_states_the_people_it_was_fitted_on_only_where_the_split_keeps_them_apart(
    overconfident: tuple[Any, Any],
) -> None:
    beats, probabilities = overconfident
    found = Calibration.fit(beats, probabilities, protocol=PATIENTS)
    assert (found.beats, found.patients, found.fold, found.protocol) == (6000, 7, "validation", "patient")
    assert "6,000 validation beats of 7 other patients" in found.sentence()
    mixed = Calibration.fit(beats, probabilities, protocol=Protocol(name="random", seed=0, by="beats"))
    assert mixed.patients is None and "patients" not in mixed.sentence()


def test_without_a_wrong_beat_nothing_is_sharpened(make_beats: Callable[..., Any]) -> None:
    probabilities = np.tile(np.float32([0.6, 0.3, 0.1]), (4, 1))
    found = Calibration.fit(make_beats([0, 0, 0, 0], CLASSES), probabilities, protocol=PATIENTS)
    assert found.temperature == 1 and np.allclose(found.apply(probabilities), probabilities)
    assert (found.coverage, found.error) == ((1.0,), (0.0,))


def test_probabilities_of_zero_stay_finite(make_beats: Callable[..., Any]) -> None:
    probabilities = np.float32([[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    found = Calibration.fit(make_beats([0, 1, 2], CLASSES), probabilities, protocol=PATIENTS)
    assert np.isfinite(found.apply(probabilities)).all() and found.temperature > 1


def test_it_survives_json_and_refuses_what_is_malformed(overconfident: tuple[Any, Any]) -> None:
    found = Calibration.fit(*overconfident, protocol=PATIENTS)
    plain = json.loads(json.dumps(found.plain()))
    assert Calibration.from_plain(plain) == found
    with pytest.raises(ConfigError, match=r"calibration.temperature=0"):
        Calibration.from_plain({**plain, "temperature": 0})
    with pytest.raises(ConfigError, match=r"calibration.coverage"):
        Calibration.from_plain({**plain, "coverage": ["all"]})
