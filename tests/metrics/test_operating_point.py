"""The operating point: which factors are chosen on beats of known probabilities, and that they are honest."""

import json
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.metrics.operating_point import OperatingPoint, choose

AAMI = ("N", "S", "V")


@pytest.fixture(scope="module")
def shifted() -> dict[str, Any]:
    """Beats of 20 people by a model that takes S for four times rarer than it is."""
    generator = np.random.default_rng(0)
    n = 4000
    labels = generator.choice(3, n, p=(0.8, 0.1, 0.1))
    logits = 2 * (2 * np.eye(3)[labels] + generator.normal(0, 1, (n, 3))) + np.log([0.8, 0.1, 0.1])
    powers = np.exp(logits) * [1, 0.25, 1]
    people = np.array([f"p{i % 20:02d}" for i in range(n)])
    return {
        "labels": labels, "probabilities": (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32),
        "classes": AAMI, "people": people, "folds": np.arange(n) % 20 // 4,
    }  # fmt: skip


@pytest.fixture(scope="module")
def chosen(shifted: dict[str, Any]) -> tuple[OperatingPoint, Any]:
    return choose(**shifted)


def test_a_class_that_the_model_takes_for_too_rare_gets_a_factor(
    shifted: dict[str, Any], chosen: tuple[OperatingPoint, Any]
) -> None:
    point, _ = chosen
    assert list(point.factors) == ["V", "S"]
    assert 2 < point.factors["S"] < 8
    assert point.between["S"][0] <= point.factors["S"] <= point.between["S"][1]
    assert (point.people, point.beats, point.folds) == (20, 4000, 5)
    found = point.apply(shifted["probabilities"], AAMI)
    assert found.dtype == np.float32 and np.allclose(found.sum(axis=1), 1, atol=1e-5)
    recall = [(one[shifted["labels"] == 1].argmax(axis=1) == 1).mean() for one in (shifted["probabilities"], found)]
    assert recall[1] > recall[0] + 0.1


def test_the_beats_of_a_fold_have_no_part_in_the_point_at_which_they_are_scored(
    shifted: dict[str, Any], chosen: tuple[OperatingPoint, Any]
) -> None:
    labels = shifted["labels"].copy()
    labels[shifted["folds"] == 0] = 0
    point, apart = chosen
    other_point, other = choose(**{**shifted, "labels": labels})
    own = shifted["folds"] == 0
    np.testing.assert_array_equal(apart[own], other[own])
    assert point.between != other_point.between


def test_one_person_alone_hardly_moves_the_point(shifted: dict[str, Any]) -> None:
    labels = np.where((shifted["labels"] == 1) & (shifted["people"] != "p00"), 0, shifted["labels"])
    assert choose(**{**shifted, "labels": labels})[0].factors["S"] < 1.5


def test_of_a_model_without_errors_the_most_probable_class_stays(shifted: dict[str, Any]) -> None:
    point, _ = choose(**{**shifted, "labels": shifted["probabilities"].argmax(axis=1)})
    assert point.factors == {"V": 1.0, "S": 1.0}
    assert "none is significantly better than the most probable class" in point.sentence()


def test_calibrated_probabilities_decide_as_the_others_do(
    shifted: dict[str, Any], chosen: tuple[OperatingPoint, Any]
) -> None:
    point, plain = chosen[0], shifted["probabilities"]
    calibrated = plain ** (1 / 1.7)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    found = point.apply(calibrated, AAMI, temperature=1.7).argmax(axis=1)
    assert (found == point.apply(plain, AAMI).argmax(axis=1)).mean() > 0.999


def test_of_two_classes_a_specificity_can_be_demanded(shifted: dict[str, Any]) -> None:
    two = {**shifted, "labels": (shifted["labels"] > 0).astype(int), "classes": ("normal", "MI")}
    two["probabilities"] = np.stack([shifted["probabilities"][:, 0], 1 - shifted["probabilities"][:, 0]], axis=1)
    for specificity in (0.9, 0.99):
        point, _ = choose(**two, specificity=specificity)
        negative = point.apply(two["probabilities"], two["classes"])[two["labels"] == 0]
        assert (negative.argmax(axis=1) == 0).mean() == pytest.approx(specificity, abs=0.01)
        assert point.objective == f"a specificity of {specificity}"
    assert choose(**two)[0].objective == "sensitivity + specificity"


def test_too_few_people_with_a_class_are_stated(shifted: dict[str, Any], chosen: tuple[OperatingPoint, Any]) -> None:
    few = np.where((shifted["labels"] == 1) & ~np.isin(shifted["people"], ["p00", "p07"]), 0, shifted["labels"])
    point, _ = choose(**{**shifted, "labels": few})
    assert point.people_with == {"V": 20, "S": 2}
    assert "doubtful, for there are only 2 with S" in point.sentence()
    assert "doubtful" not in chosen[0].sentence()


def test_it_survives_json_and_refuses_what_is_malformed(chosen: tuple[OperatingPoint, Any]) -> None:
    point, _ = chosen
    plain = json.loads(json.dumps(point.plain()))
    assert OperatingPoint.from_plain(plain) == point
    with pytest.raises(ConfigError, match=r"operating_point\.factors\.S=-1"):
        OperatingPoint.from_plain({**plain, "factors": {"S": -1.0}})
