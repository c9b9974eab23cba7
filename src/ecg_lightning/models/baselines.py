"""Reference models that networks are compared with: scikit-learn fits them, arrays hold what they learnt.

Each is a function of its settings that makes a scikit-learn classifier. What it learnt is read out of it into plain
arrays, and probabilities are computed from these arrays alone: right after fitting, and from a checkpoint years and
versions of scikit-learn later, by the same few lines.
"""

import inspect
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
"""What a model learnt, by name. All have ``classes [k]``, the labels it has seen."""


def majority(seed: int) -> Any:
    """Predicts the class frequencies of the training beats for every beat."""
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def beat_length(seed: int, *, max_iter: int = 100) -> Any:
    """Boosted trees whose only input is the number of samples of a beat.

    That is about 1.2 RR intervals: what can be predicted from it follows from the heart rate, not from the shape.
    """
    return _boosting(max_iter=max_iter, random_state=seed)


def logistic_regression(seed: int, *, C: float = 1.0, max_iter: int = 300) -> Any:  # noqa: N803
    """Multinomial, on standardised samples and context; `C` is the inverse of the penalty, as in scikit-learn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=max_iter, random_state=seed))


def gradient_boosting(
    seed: int,
    *,
    max_iter: int = 300,
    learning_rate: float = 0.1,
    max_leaf_nodes: int = 31,
    max_features: float = 0.2,
    l2_regularization: float = 1.0,
) -> Any:
    """Boosted trees on samples and context (Ke et al., LightGBM, NeurIPS 2017, as scikit-learn implements it).

    Validation chooses nothing here: `max_iter` trees for each class, whatever the beats.
    """
    return _boosting(
        max_iter=max_iter,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaf_nodes,
        max_features=max_features,
        l2_regularization=l2_regularization,
        random_state=seed,
    )


def _boosting(**settings: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Early stopping would choose on a random part of the training beats, whose patients it has seen.
    return HistGradientBoostingClassifier(early_stopping=False, **settings)


@dataclass(frozen=True, kw_only=True)
class ReferenceModel:
    """How a reference model is made, read out and evaluated.

    Attributes:
        make: seed and settings → an unfitted scikit-learn classifier.
        learnt: the fitted classifier → `Arrays`, without ``classes``.
        predict: arrays and inputs ``[n, d]`` → probabilities ``[n, k]`` of the classes it has seen.
        inputs: what it sees of a beat: its ``samples`` (with context where there is any), or its ``length`` alone.
    """

    make: Callable[..., Any]
    learnt: Callable[[Any], Arrays]
    predict: Callable[[Arrays, Array], Array]
    inputs: Literal["samples", "length"] = "samples"

    @property
    def settings(self) -> list[str]:
        """Names of its settings."""
        return sorted(set(inspect.signature(self.make).parameters) - {"seed"})


def fit_reference(name: str, settings: Mapping[str, Any], x: Array, labels: Array, *, seed: int) -> dict[str, Array]:
    """Fit a reference model.

    Args:
        name: one of `REFERENCE_MODELS`.
        settings: its own settings.
        x: ``[n, d] float32``, what it sees of each beat.
        labels: ``[n]``.
        seed: of what is random in it.

    Returns:
        What it learnt, for `predict_reference`.

    Raises:
        ConfigError: settings that scikit-learn refuses, or beats of a single class.
    """
    model = REFERENCE_MODELS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            classifier = model.make(seed, **settings)
            classifier.fit(x.astype(np.float64), labels)  # single precision would round as each version likes
            learnt = model.learnt(classifier)
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"model {name} cannot learn from {len(x)} beats: {' '.join(str(error).split())}"
            ) from error
    if any("converge" in str(one.message).lower() for one in caught):
        log.warning("%s has not converged; increase model.max_iter", name)
    return {"classes": np.asarray(classifier.classes_, dtype=np.int64), **learnt}


def predict_reference(name: str, arrays: Arrays, x: Array, *, n_classes: int) -> Array:
    """Probabilities ``[n, n_classes]``, equal to scikit-learn's own; 0 for classes that were not in the training beats.

    Raises:
        ConfigError: arrays that contradict each other or the inputs, as a damaged file has.
    """
    probabilities = np.zeros((len(x), n_classes))
    try:
        known = arrays["classes"]
        if len(x):
            probabilities[:, known] = REFERENCE_MODELS[name].predict(arrays, x)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ConfigError(
            f"the arrays of {name} do not fit each other or beats of {x.shape[1]} numbers: {error}"
        ) from error
    return probabilities


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse settings that a reference model does not have.

    Raises:
        ConfigError: it lists those that it has.
    """
    own = REFERENCE_MODELS[name].settings
    if unknown := sorted(set(settings) - set(own)):
        raise ConfigError(f"model {name} has no setting {', '.join(unknown)}; it has {', '.join(own) or 'none'}")


def _learnt_priors(classifier: Any) -> Arrays:
    return {"priors": np.asarray(classifier.class_prior_)}


def _predict_priors(arrays: Arrays, x: Array) -> Array:
    return np.tile(arrays["priors"], (len(x), 1))


def _learnt_logistic(pipeline: Any) -> Arrays:
    scaler, regression = (step for _, step in pipeline.steps)
    return {"mean": scaler.mean_, "scale": scaler.scale_, "coef": regression.coef_, "intercept": regression.intercept_}


def _predict_logistic(arrays: Arrays, x: Array) -> Array:
    if not arrays["mean"].shape == arrays["scale"].shape == arrays["coef"].shape[1:] == x.shape[1:]:
        raise ValueError("their sizes differ")
    standardised = (x.astype(np.float64) - arrays["mean"]) / arrays["scale"]
    return _probabilities(standardised @ arrays["coef"].T + arrays["intercept"])


def _learnt_trees(classifier: Any) -> Arrays:
    """The nodes of all trees one after the other; tree ``t`` is of class ``t`` modulo their number.

    A node is a split, with the index of its input, its threshold and its two children, or a leaf (``feature`` -1), with
    what it adds to the logit in place of the threshold.
    """
    if len(classifier.classes_) < 2:
        raise ValueError("it needs beats of at least two classes")
    nodes = [tree.nodes for iteration in classifier._predictors for tree in iteration]
    starts = np.cumsum([0, *map(len, nodes)])
    joined = np.concatenate(nodes)
    offset = np.repeat(starts[:-1], np.diff(starts))
    leaf = joined["is_leaf"].astype(bool)
    return {
        "start": starts[:-1].astype(np.int32),
        "feature": np.where(leaf, -1, joined["feature_idx"]).astype(np.int32),
        "value": np.where(leaf, joined["value"], joined["num_threshold"]),
        "left": np.where(leaf, -1, joined["left"] + offset).astype(np.int32),
        "right": np.where(leaf, -1, joined["right"] + offset).astype(np.int32),
        "baseline": np.asarray(classifier._baseline_prediction, dtype=np.float64).reshape(-1),
    }


def _predict_trees(arrays: Arrays, x: Array, *, chunk: int = 16384) -> Array:
    n_nodes, child = len(arrays["feature"]), np.minimum(arrays["left"], arrays["right"])
    split = arrays["feature"] >= 0
    if (child[split] <= np.flatnonzero(split)).any() or np.maximum(arrays["left"], arrays["right"]).max() >= n_nodes:
        raise ValueError("its trees have circles")
    feature, value, left, right = (arrays[name].tolist() for name in ("feature", "value", "left", "right"))
    logits = np.tile(arrays["baseline"], (len(x), 1))
    for first in range(0, len(x), chunk):
        part = logits[first : first + chunk]
        columns = np.ascontiguousarray(x[first : first + chunk].T, dtype=np.float64)
        everything = np.arange(len(part))
        for tree, root in enumerate(arrays["start"].tolist()):
            added = part[:, tree % part.shape[1]]
            for node, rows in _leaves(root, everything, feature, value, left, right, columns):
                added[rows] += value[node]
    return _probabilities(logits)


def _leaves(
    root: int, rows: Array, feature: list[int], value: list[float], left: list[int], right: list[int], columns: Array
) -> Iterator[tuple[int, Array]]:
    """The leaves of a tree, each with the rows that fall into it."""
    waiting = [(root, rows)]
    while waiting:
        node, rows = waiting.pop()
        if not len(rows):
            continue
        if feature[node] < 0:
            yield node, rows
            continue
        goes_left = columns[feature[node]].take(rows) <= value[node]
        waiting += [(left[node], rows[goes_left]), (right[node], rows[~goes_left])]


def _probabilities(logits: Array) -> Array:
    """Logits ``[n, k]`` → softmax; a single column is the logit of the second of two classes."""
    if logits.shape[1] == 1:
        from scipy.special import expit

        second = expit(logits[:, 0])
        return np.stack([1 - second, second], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


_TREES: dict[str, Any] = {"learnt": _learnt_trees, "predict": _predict_trees}

REFERENCE_MODELS: Mapping[str, ReferenceModel] = {
    "majority": ReferenceModel(make=majority, learnt=_learnt_priors, predict=_predict_priors),
    "beat_length": ReferenceModel(make=beat_length, inputs="length", **_TREES),
    "logistic_regression": ReferenceModel(make=logistic_regression, learnt=_learnt_logistic, predict=_predict_logistic),
    "gradient_boosting": ReferenceModel(make=gradient_boosting, **_TREES),
}
"""``model=name`` → the reference model."""
