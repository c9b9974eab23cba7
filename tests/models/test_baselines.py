"""Reference models: probabilities from learnt arrays are those of scikit-learn, and settings are checked."""

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.models import check_settings, create_model, list_models, model_names, settings_of
from ecg_lightning.models.baselines import REFERENCE_MODELS, fit_reference, predict_reference

QUICK: dict[str, dict[str, Any]] = {"beat_length": {"max_iter": 10}, "gradient_boosting": {"max_iter": 10}}


def some_inputs(n_classes: int, n: int = 400) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Inputs in which a bump's height is the class; only classes 0, 2, 4 … occur."""
    rng = np.random.default_rng(0)
    labels = 2 * rng.integers(n_classes, size=n)
    x = rng.random((n, 12)).astype(np.float32)
    x[:, 5] += 0.3 * labels
    return x, labels


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_probabilities_from_arrays_equal_those_of_scikit_learn(name: str, n_classes: int) -> None:
    x, labels = some_inputs(n_classes)
    arrays = fit_reference(name, QUICK.get(name, {}), x, labels, seed=0)
    classifier = REFERENCE_MODELS[name].make(0, **QUICK.get(name, {})).fit(x.astype(np.float64), labels)
    unseen = np.random.default_rng(1).random((300, 12)).astype(np.float32)
    found = predict_reference(name, arrays, unseen, n_classes=6)
    expected = np.zeros((300, 6))
    expected[:, classifier.classes_] = classifier.predict_proba(unseen.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert (found[:, 1::2] == 0).all()  # classes that it has never seen


def test_values_at_a_threshold_fall_to_the_side_that_scikit_learn_chooses() -> None:
    x, labels = some_inputs(3)
    x = (x * 4).round() / 4
    arrays = fit_reference("gradient_boosting", {"max_iter": 20}, x, labels, seed=0)
    at = arrays["value"][arrays["feature"] >= 0].astype(np.float32)
    ties = np.repeat(at[:200, None], 12, axis=1)
    classifier = REFERENCE_MODELS["gradient_boosting"].make(0, max_iter=20).fit(x.astype(np.float64), labels)
    found = predict_reference("gradient_boosting", arrays, ties, n_classes=5)[:, ::2]
    np.testing.assert_allclose(found, classifier.predict_proba(ties.astype(np.float64)), rtol=0, atol=1e-12)


def test_many_beats_and_trees_take_seconds() -> None:
    x, labels = some_inputs(3)
    arrays = fit_reference("gradient_boosting", {"max_iter": 20}, x, labels, seed=0)
    started = time.perf_counter()
    predict_reference("gradient_boosting", arrays, np.tile(x, (50, 1)), n_classes=5)
    assert time.perf_counter() - started < 5  # 20,000 beats, 60 trees; 0.1 s on a quiet machine


def test_no_beats_have_no_probabilities() -> None:
    arrays = fit_reference("majority", {}, *some_inputs(2), seed=0)
    assert predict_reference("majority", arrays, np.zeros((0, 12), np.float32), n_classes=5).shape == (0, 5)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("gradient_boosting", {"max_leaf_nodes": 0}, "max_leaf_nodes"),
        ("gradient_boosting", {"max_iter": "many"}, "max_iter"),
        ("logistic_regression", {"C": -1}, "C"),
    ],
)
def test_settings_that_scikit_learn_refuses_are_one_error(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        fit_reference(name, settings, *some_inputs(2), seed=0)
    assert name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting", "beat_length"])
def test_a_single_class_cannot_be_learnt_from(name: str) -> None:
    x, labels = some_inputs(2)
    with pytest.raises(ConfigError, match=name):
        fit_reference(name, QUICK.get(name, {}), x[labels == 0], labels[labels == 0], seed=0)


def test_unknown_settings_are_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"majority .*width.*none"):
        check_settings("majority", {"width": 3})
    with pytest.raises(ConfigError, match=r"width.*C, inputs, max_iter"):
        check_settings("logistic_regression", {"width": 3})


def trees(**changes: Any) -> dict[str, npt.NDArray[Any]]:
    """One tree of a split and two leaves, of two classes."""
    arrays = {"classes": [0, 1], "start": [0], "feature": [3, -1, -1], "value": [0.5, 1.0, -1.0],
              "left": [1, -1, -1], "right": [2, -1, -1], "baseline": [0.0]}  # fmt: skip
    return {name: np.array(value) for name, value in (arrays | changes).items()}


@pytest.mark.parametrize(
    "changes",
    [
        {"left": [0, -1, -1]},
        {"left": [9, -1, -1]},
        {"feature": [30, -1, -1]},
        {"classes": [0, 7]},
        {"start": [12]},
        {"baseline": [0.0, 0.0, 0.0]},
        {"value": [0.5]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_arrays_that_contradict_each_other_are_refused(changes: dict[str, Any]) -> None:
    x = np.zeros((4, 12), np.float32)
    assert predict_reference("gradient_boosting", trees(), x, n_classes=2).shape == (4, 2)
    with pytest.raises(ConfigError, match="gradient_boosting"):
        predict_reference("gradient_boosting", trees(**changes), x, n_classes=2)


def test_one_list_has_all_models() -> None:
    assert set(list_models()) == {*model_names(), *REFERENCE_MODELS}
    assert list_models("*lstm") == ["bilstm"] and list_models("logistic*") == ["logistic_regression"]
    assert settings_of("majority") == [] and {"channels", "dropout"} <= set(settings_of("cnet"))
    with pytest.raises(ConfigError):
        create_model("majority", n_outputs=1, length=187)
