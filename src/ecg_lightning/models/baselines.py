"""Baselines that networks are compared with: scikit-learn fits them, plain arrays keep what they have learnt.

Probabilities are computed from these arrays alone: right after fitting, and from a checkpoint years and versions of
scikit-learn later, by the same few lines.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.progress import progress

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
Inputs = Literal["beat", "context"]  # its samples and context, or its context alone
Arrays = Mapping[str, Array]  # what a model has learnt, by name; all have ``classes [k]``, the labels it has seen


@dataclass(frozen=True, kw_only=True)
class ReferenceModel:
    """How a baseline is made, read out and evaluated."""

    build: Callable[..., Any]  # seed and settings → an unfitted scikit-learn classifier
    defaults: Mapping[str, Any]  # its settings
    learnt: Callable[[Any], Arrays]  # the fitted classifier → arrays, without ``classes``
    predict: Callable[[Arrays, Array], Array]  # arrays, inputs ``[n, d]`` → probabilities ``[n, k]`` of seen classes
    inputs: Inputs | Literal["length"] = "beat"  # what it takes of a beat, if its settings choose no `inputs`

    def make(self, seed: int, **settings: Any) -> Any:
        """An unfitted scikit-learn classifier; what is not set has its default."""
        return self.build(seed, **{**self.defaults, **settings})


def fit_reference(name: str, settings: Mapping[str, Any], x: Array, labels: Array, *, seed: int) -> dict[str, Array]:
    """Fit a baseline on inputs ``[n, d] float32`` and labels ``[n]``; 16 bytes an input are enough memory for it.

    Raises `ConfigError` if scikit-learn refuses the settings, or if all beats are of one class.
    """
    model = REFERENCE_MODELS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            classifier = model.make(seed, **settings)
            # One thread of BLAS: on these small matrices more are slower, and the sums would depend on their number.
            with progress(f"fitting {name} to {len(x):,} beats"), threadpool_limits(1, user_api="blas"):
                classifier.fit(x.astype(np.float64), labels)  # rounding in single precision depends on the version
            learnt = model.learnt(classifier)
        except (ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"model {name} cannot learn from {len(x)} beats: {reason}") from error
    if any("converge" in str(warning.message).lower() for warning in caught):
        log.warning("%s has not converged; increase model.max_iter", name)
    return {"classes": np.asarray(classifier.classes_, dtype=np.int64), **learnt}


def predict_reference(name: str, arrays: Arrays, x: Array, *, n_classes: int) -> Array:
    """Probabilities ``[n, n_classes]``, equal to scikit-learn's own; 0 for classes that were not in the training beats.

    Raises `ConfigError` for arrays of a damaged file, which do not fit each other or the inputs.
    """
    probabilities = np.zeros((len(x), n_classes))
    try:
        if len(x):
            probabilities[:, arrays["classes"]] = REFERENCE_MODELS[name].predict(arrays, x)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ConfigError(
            f"the arrays of {name} do not fit each other or beats of {x.shape[1]} numbers: {error}"
        ) from error
    return probabilities


def _majority(seed: int) -> Any:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def _logistic(seed: int, **settings: Any) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(copy=False), LogisticRegression(random_state=seed, **settings))


def _learnt_logistic(pipeline: Any) -> Arrays:
    scaler, regression = (step for _, step in pipeline.steps)
    return {"mean": scaler.mean_, "scale": scaler.scale_, "coef": regression.coef_, "intercept": regression.intercept_}


def _predict_logistic(arrays: Arrays, x: Array) -> Array:
    if not arrays["mean"].shape == arrays["scale"].shape == arrays["coef"].shape[1:] == x.shape[1:]:
        raise ValueError("their sizes differ")
    standardised = (x.astype(np.float64) - arrays["mean"]) / arrays["scale"]
    return _probabilities(standardised @ arrays["coef"].T + arrays["intercept"])


def _boosting(seed: int, **settings: Any) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Early stopping would choose on a random part of the training beats, whose patients it has seen.
    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **settings)


def _learnt_trees(classifier: Any) -> Arrays:
    """The nodes of all trees one after the other; tree ``t`` is of class ``t`` modulo the number of classes.

    A node is a split (index of its input, threshold, two children) or a leaf (``feature`` -1, its share of the logit in
    place of the threshold).
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
    children = np.stack([arrays["left"], arrays["right"]])
    split = arrays["feature"] >= 0
    if (children.min(axis=0)[split] <= np.flatnonzero(split)).any() or children.max() >= len(split):
        raise ValueError("its trees have circles")
    feature, value, left, right = (arrays[name].tolist() for name in ("feature", "value", "left", "right"))
    logits = np.tile(arrays["baseline"], (len(x), 1))

    def leaves(root: int, columns: Array) -> Iterator[tuple[int, Array]]:
        """The leaves of a tree, each with the rows that fall into it."""
        waiting = [(root, np.arange(columns.shape[1]))]
        while waiting:
            node, rows = waiting.pop()
            if feature[node] < 0:
                yield node, rows
            elif len(rows):
                goes_left = columns[feature[node]].take(rows) <= value[node]
                waiting += [(left[node], rows[goes_left]), (right[node], rows[~goes_left])]

    for first in range(0, len(x), chunk):
        part = logits[first : first + chunk]
        columns = np.ascontiguousarray(x[first : first + chunk].T, dtype=np.float64)
        for tree, root in enumerate(arrays["start"].tolist()):
            for node, rows in leaves(root, columns):
                part[rows, tree % part.shape[1]] += value[node]
    return _probabilities(logits)


def _probabilities(logits: Array) -> Array:
    """Logits ``[n, k]`` → softmax; a single column is the logit of the second of two classes."""
    if logits.shape[1] == 1:
        from scipy.special import expit

        second = expit(logits[:, 0])
        return np.stack([1 - second, second], axis=1)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


_TREES: dict[str, Any] = {"build": _boosting, "learnt": _learnt_trees, "predict": _predict_trees}

# Settings are named as in scikit-learn.
REFERENCE_MODELS: Mapping[str, ReferenceModel] = {
    # The class frequencies of the training beats, for every beat.
    "majority": ReferenceModel(
        build=_majority,
        defaults={},
        inputs="length",  # it looks at none, and this takes the least memory
        learnt=lambda classifier: {"priors": np.asarray(classifier.class_prior_)},
        predict=lambda arrays, x: np.tile(arrays["priors"], (len(x), 1)),
    ),
    # Boosted trees on the number of samples alone, about 1.2 RR intervals: the heart rate without the shape.
    "beat_length": ReferenceModel(defaults={"max_iter": 100}, inputs="length", **_TREES),
    # Multinomial, on standardised inputs; C is the inverse of the penalty.
    "logistic_regression": ReferenceModel(
        build=_logistic, defaults={"C": 1.0, "max_iter": 300}, learnt=_learnt_logistic, predict=_predict_logistic
    ),
    # Boosted trees (Ke et al., LightGBM, NeurIPS 2017); max_iter for each class, validation chooses nothing.
    "gradient_boosting": ReferenceModel(
        defaults={"max_iter": 300, "learning_rate": 0.1, "max_leaf_nodes": 31, "max_features": 0.2,
                  "l2_regularization": 1.0},
        **_TREES,
    ),
}  # fmt: skip
