"""What a network has to beat: classifiers of scikit-learn, trained and tested on the same folds by the same command.

They see what a network sees: the samples of a beat and its context, where it comes with any.
"""

import inspect
import logging
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats, FloatArray, IntArray

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

log = logging.getLogger(__name__)


def majority(seed: int) -> "ClassifierMixin":
    """Every beat is of the most frequent class; its probabilities are the classes' shares of the training beats."""
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def beat_length(seed: int, *, max_iter: int = 100) -> "ClassifierMixin":
    """Boosted trees that see nothing of a beat but how many samples it has before its zero padding.

    That is about 1.2 RR intervals: what can be told from it is told by the heart rate, not by the shape of the beat.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=max_iter, early_stopping=False, random_state=seed)


def logistic_regression(seed: int, *, C: float = 1.0, max_iter: int = 300) -> "ClassifierMixin":  # noqa: N803
    """Multinomial, on standardised samples and intervals; `C` as in scikit-learn, the inverse of the penalty."""
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
) -> "ClassifierMixin":
    """Boosted trees on samples and intervals (Ke et al., LightGBM, NeurIPS 2017, as scikit-learn has it).

    Validation chooses nothing here: `max_iter` trees for each class, whatever the beats.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=max_iter,
        learning_rate=learning_rate,
        max_leaf_nodes=max_leaf_nodes,
        max_features=max_features,
        l2_regularization=l2_regularization,
        early_stopping=False,  # it would choose on a random part of the training beats, whose patients it has seen
        random_state=seed,
    )


BASELINES: Mapping[str, Callable[..., "ClassifierMixin"]] = {
    baseline.__name__: baseline for baseline in (majority, beat_length, logistic_regression, gradient_boosting)
}
"""``model=name`` → what makes it."""


class Baseline:
    """A classifier that has learned from some beats.

    Args:
        name: one of `BASELINES`.
        settings: its own settings.
        beats: to learn from.
        seed: of what is random in it.

    Raises:
        ConfigError: unknown settings, settings that scikit-learn refuses, or beats of a single class.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], beats: Beats, *, seed: int) -> None:
        make = BASELINES[name]
        own = set(inspect.signature(make).parameters) - {"seed"}
        if unknown := sorted(set(settings) - own):
            has = f"it has {', '.join(sorted(own))}" if own else "it has none"
            raise ConfigError(f"baseline {name} has no setting {', '.join(unknown)}; {has}")
        self.n_classes = len(beats.classes)
        self.seen = _length if make is beat_length else _samples_and_context
        self.classifier: Any = make(seed, **settings)
        with warnings.catch_warnings(record=True) as advice:
            warnings.simplefilter("always")
            try:
                self.classifier.fit(self.seen(beats), beats.known_labels)
            except ValueError as error:
                reason = " ".join(str(error).split())
                raise ConfigError(f"baseline {name} cannot learn from {len(beats)} beats: {reason}") from error
        if any("converge" in str(one.message).lower() for one in advice):
            log.warning("%s has not converged; a larger model.max_iter lets it", name)

    def probabilities(self, beats: Beats) -> FloatArray:
        """``[n, classes]``; 0 for classes that it has never seen."""
        known: IntArray = self.classifier.classes_
        probabilities = np.zeros((len(beats), self.n_classes), dtype=np.float32)
        if len(beats):
            probabilities[:, known] = self.classifier.predict_proba(self.seen(beats))
        return probabilities


def _samples_and_context(beats: Beats) -> FloatArray:
    """``[n, leads · length]``, lead after lead; with ``k`` numbers of context ``[n, leads · length + k]``."""
    samples = beats.signals.reshape(len(beats), -1)
    return samples if beats.context is None else np.hstack([samples, beats.context])


def _length(beats: Beats) -> FloatArray:
    """``[n, 1]``, samples before the padding."""
    return beats.lengths[:, None].astype(np.float32)
