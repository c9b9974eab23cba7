"""How sure a figure is: intervals by resampling the patients of the test beats, with replacement.

Beats of one patient are alike, so that those of another one tell more than as many of the same: a figure's uncertainty
is that of the choice of patients. Where the source does not tell them, beats are resampled, and the intervals are
narrower than they should be. Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentiles);
Field & Welsh, J. R. Stat. Soc. B 69(3), 2007 (clusters).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import IntArray
from ecg_lightning.metrics import ec57
from ecg_lightning.metrics.confusion import (
    N_BINS,
    Numbers,
    Probabilities,
    calibration_error,
    confidence_bins,
    confusion_figures,
    j_kappa,
    squared_errors,
)
from ecg_lightning.metrics.ranking import Ranking

RESAMPLES = 1000
LEVEL = 0.95

PER_CLASS = ("precision", "recall", "f1", "specificity")

CHUNK = 2**20
"""About so many weights of beats are worked on at once, 8 MB of them."""


def intervals(
    labels: IntArray,
    probabilities: Probabilities,
    classes: tuple[str, ...],
    patients: npt.NDArray[Any] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """95 % percentile intervals of the figures of `scores.score`, by bootstrap over patients.

    What a resample does not define (the recall of a class of which it has no beat) is left out of the interval.

    Args:
        labels: ``[n]``, indices into `classes`.
        probabilities: ``[n, classes]``.
        classes: names of the classes.
        patients: ``[n]``, or None to resample beats.
        resamples: how many.
        seed: the same seed gives the same intervals.

    Returns:
        ``resampled`` (``patients`` or ``beats``), ``n_resampled`` (how many of them there are), ``resamples``,
        ``level``, ``seed``; and in the nesting of the scores, a list of low and high end for each figure, None if no
        resample defines it. With a single patient nothing can be resampled: None for all.
    """
    drawn = resampled_figures([probabilities], labels, classes, patients, resamples=resamples, seed=seed)[0]
    n_units = len(labels) if patients is None else len(np.unique(patients))
    about = {
        "resampled": "beats" if patients is None else "patients",
        "n_resampled": n_units,
        "resamples": resamples,
        "level": LEVEL,
        "seed": seed,
    }
    return about | nested({key: interval(values) if n_units > 1 else None for key, values in drawn.items()})


def interval(values: Numbers) -> list[float] | None:
    """Low and high end of the middle 95 % of what resamples gave; None if none gave anything."""
    defined = values[~np.isnan(values)]
    tail = (1 - LEVEL) / 2
    # The last bits of a sum depend on how many threads share it; the same predictions have the same intervals.
    return [round(float(end), 12) for end in np.quantile(defined, (tail, 1 - tail))] if len(defined) else None


def nested(flat: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    """``(outer, inner)`` → value, as dictionaries in each other."""
    answer: dict[str, Any] = {}
    for (*outer, last), value in flat.items():
        at = answer
        for key in outer:
            at = at.setdefault(key, {})
        at[last] = value
    return answer


def resampled_figures(
    answers: list[Probabilities],
    labels: IntArray,
    classes: tuple[str, ...],
    patients: npt.NDArray[Any] | None,
    *,
    resamples: int,
    seed: int,
) -> list[dict[tuple[str, ...], Numbers]]:
    """What each of several networks would have scored on resamples of the same beats, the same resamples for all.

    Args:
        answers: ``[n, classes]`` of each network.
        labels: ``[n]``.
        classes: names of the classes.
        patients: ``[n]``, or None to resample beats.
        resamples: how many.
        seed: of the resamples.

    Returns:
        For each network: place of a figure in the scores → ``[resamples]``, NaN where it is not defined.
    """
    n = len(labels)
    _, units = np.unique(np.arange(n) if patients is None else patients, return_inverse=True)
    counted = [_Counted(labels, probabilities, classes, units) for probabilities in answers]
    chunks: list[list[dict[tuple[str, ...], Numbers]]] = [[] for _ in answers]
    for times in _draws(int(units.max()) + 1, resamples, seed, at_once=max(1, CHUNK // n)):
        weights = times[:, units]
        for one, of_answer in zip(counted, chunks, strict=True):
            of_answer.append(one.figures(times, weights))
    return [{key: np.concatenate([chunk[key] for chunk in of_answer]) for key in of_answer[0]} for of_answer in chunks]


def _draws(n_units: int, resamples: int, seed: int, at_once: int) -> Iterator[Numbers]:
    """How often each unit is in each resample: ``[some, n_units]`` at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        drawn = generator.integers(n_units, size=(some, n_units)) + np.arange(some)[:, None] * n_units
        yield np.bincount(drawn.ravel(), minlength=some * n_units).reshape(some, n_units).astype(np.float64)


class _Counted:
    """What one network said of the beats, counted by unit, so that a resample is a sum."""

    def __init__(
        self, labels: IntArray, probabilities: Probabilities, classes: tuple[str, ...], units: IntArray
    ) -> None:
        k, n_units = len(classes), int(units.max()) + 1
        predicted = probabilities.argmax(axis=1)
        confidence, bins = confidence_bins(probabilities)
        self.classes = classes

        def by_unit(column: IntArray, width: int, values: Numbers | None = None) -> Numbers:
            sums = np.bincount(units * width + column, values, minlength=n_units * width)
            return sums.reshape(n_units, width).astype(np.float64)

        self.confusions = by_unit(labels * k + predicted, k * k)
        self.hits = by_unit(bins, N_BINS, (labels == predicted).astype(np.float64))
        self.confidences = by_unit(bins, N_BINS, confidence)
        self.errors = by_unit(np.zeros_like(units), 1, squared_errors(labels, probabilities))[:, 0]
        # Of two classes one ranking is the other's reverse, but average precision is not the same.
        self.rankings = [Ranking(labels == i, probabilities[:, i]) for i in range(k)]

    def figures(self, times: Numbers, weights: Numbers) -> dict[tuple[str, ...], Numbers]:
        k = len(self.classes)
        confusions = (times @ self.confusions).reshape(-1, k, k)
        n = confusions.sum(axis=(1, 2))
        overall, of_class = confusion_figures(confusions, undefined=np.nan)
        figures: dict[tuple[str, ...], Numbers] = {(name,): values for name, values in overall.items()}
        aurocs, precisions = np.moveaxis(np.stack([one.figures(weights) for one in self.rankings], axis=-1), 0, 0)
        figures["macro_auroc",] = _mean_of_defined(aurocs)
        figures["macro_average_precision",] = _mean_of_defined(precisions)
        figures["ece",] = calibration_error(times @ self.hits, times @ self.confidences, n)
        figures["brier",] = times @ self.errors / n
        for i, name in enumerate(self.classes):
            for j, figure in enumerate(PER_CLASS):
                figures["per_class", name, figure] = of_class[:, j, i]
            figures["per_class", name, "auroc"] = aurocs[:, i]
            figures["per_class", name, "average_precision"] = precisions[:, i]
        if ec57.applies_to(self.classes):
            figures["j_kappa",] = j_kappa(overall, of_class, self.classes)
            for of in ec57.ECTOPIC:
                for figure, values in zip(ec57.FIGURES, ec57.figures(ec57.counts(confusions, of)).T, strict=True):
                    figures["ec57", of, figure] = values
        return figures


def _mean_of_defined(values: Numbers) -> Numbers:
    """``[resamples, classes]`` → ``[resamples]``, over the classes that have a figure."""
    defined = ~np.isnan(values)
    mean: Numbers = np.nansum(values, axis=1) / np.where(defined.any(axis=1), defined.sum(axis=1), np.nan)
    return mean
