"""Intervals of metrics by resampling the patients of the test beats with replacement.

Beats of one patient are alike, so that those of another one add more than as many of the same: a metric's uncertainty
is that of the choice of patients. Where the source does not state them, beats are resampled, and the intervals are
narrower than they should be. Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentiles);
Field & Welsh, J. R. Stat. Soc. B 69(3), 2007 (clusters).
"""

from collections.abc import Collection, Iterator
from functools import cache
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
    confusion_metrics,
    j_kappa,
    squared_errors,
)
from ecg_lightning.metrics.ranking import Ranking

RESAMPLES = 1000
LEVEL = 0.95

PER_CLASS = ("precision", "recall", "f1", "specificity")

CHUNK = 2**20
"""About so many weights of units are worked on at once, 8 MB of them."""


def intervals(
    labels: IntArray,
    probabilities: Probabilities,
    classes: tuple[str, ...],
    patients: npt.NDArray[Any] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """95 % percentile intervals of the metrics of `scoring.score`, by bootstrap over patients.

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
        ``level``, ``seed``; and in the nesting of the scores, a list of low and high end for each metric, None if no
        resample defines it. With a single patient nothing can be resampled: None for all.
    """
    resampled = resampled_metrics(probabilities, labels, classes, patients, resamples=resamples, seed=seed)
    n_units = len(labels) if patients is None else len(np.unique(patients))
    about = {
        "resampled": "beats" if patients is None else "patients",
        "n_resampled": n_units,
        "resamples": resamples,
        "level": LEVEL,
        "seed": seed,
    }
    return about | nested({key: interval(values) if n_units > 1 else None for key, values in resampled.items()})


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


def resampled_metrics(
    probabilities: Probabilities,
    labels: IntArray,
    classes: tuple[str, ...],
    patients: npt.NDArray[Any] | None,
    *,
    resamples: int,
    seed: int,
    wanted: Collection[tuple[str, ...]] | None = None,
) -> dict[tuple[str, ...], Numbers]:
    """What a model would have scored on resamples of its beats; the same seed and patients, the same resamples.

    Args:
        probabilities: ``[n, classes]``.
        labels: ``[n]``.
        classes: names of the classes.
        patients: ``[n]``, or None to resample beats.
        resamples: how many.
        seed: of the resamples.
        wanted: places of the metrics to compute; None for all. Average precision takes the longest by far.

    Returns:
        Place of a metric in the scores → ``[resamples]``, NaN where it is not defined.
    """
    n = len(labels)
    units = np.arange(n)
    if patients is not None:
        units = np.unique(patients, return_inverse=True)[1]
    counted = _Counted(labels, probabilities, classes, units, patients is not None)
    draws = _draws(int(units.max()) + 1, resamples, seed, at_once=max(1, CHUNK // int(units.max() + 1)))
    chunks = [counted.metrics(times, wanted) for times in draws]
    return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}


def _draws(n_units: int, resamples: int, seed: int, at_once: int) -> Iterator[Numbers]:
    """How often each unit is in each resample: ``[some, n_units]`` at a time."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        chosen = generator.integers(n_units, size=(some, n_units)) + np.arange(some)[:, None] * n_units
        yield np.bincount(chosen.ravel(), minlength=some * n_units).reshape(some, n_units).astype(np.float64)


class _Counted:
    """The predictions of one model, counted by unit, so that a resample is a sum."""

    def __init__(
        self,
        labels: IntArray,
        probabilities: Probabilities,
        classes: tuple[str, ...],
        units: IntArray,
        units_are_patients: bool,
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

        @cache
        def ranking(i: int) -> Ranking:
            # Of two classes one ranking is the other's reverse, but average precision is not the same.
            return Ranking(labels == i, probabilities[:, i], units if units_are_patients else None)

        self.ranking = ranking

    def metrics(
        self, times: Numbers, wanted: Collection[tuple[str, ...]] | None = None
    ) -> dict[tuple[str, ...], Numbers]:
        """``[resamples]`` of each metric.

        Args:
            times: ``[resamples, units]``.
            wanted: places of metrics; None for all.
        """
        k = len(self.classes)
        confusions = (times @ self.confusions).reshape(-1, k, k)
        n = confusions.sum(axis=(1, 2))
        overall, of_class = confusion_metrics(confusions, undefined=np.nan)
        found: dict[tuple[str, ...], Numbers] = {(name,): values for name, values in overall.items()}
        found["ece",] = calibration_error(times @ self.hits, times @ self.confidences, n)
        found["brier",] = times @ self.errors / n
        for i, name in enumerate(self.classes):
            for j, metric in enumerate(PER_CLASS):
                found["per_class", name, metric] = of_class[:, j, i]
        if ec57.applies_to(self.classes):
            found["j_kappa",] = j_kappa(overall, of_class, self.classes)
            for of in ec57.ECTOPIC:
                for metric, values in zip(ec57.METRICS, ec57.metrics(ec57.counts(confusions, of)).T, strict=True):
                    found["ec57", of, metric] = values
        for metric, compute in (("auroc", Ranking.aurocs), ("average_precision", Ranking.average_precisions)):
            mean, places = (f"macro_{metric}",), [("per_class", name, metric) for name in self.classes]
            if wanted is None or mean in wanted or any(place in wanted for place in places):
                found |= {place: compute(self.ranking(i), times) for i, place in enumerate(places)}
                found[mean] = _mean_of_defined(np.stack([found[place] for place in places], axis=-1))
        return found if wanted is None else {key: values for key, values in found.items() if key in wanted}


def _mean_of_defined(values: Numbers) -> Numbers:
    """``[resamples, classes]`` → ``[resamples]``, over the classes that have a value."""
    defined = ~np.isnan(values)
    mean: Numbers = np.nansum(values, axis=1) / np.where(defined.any(axis=1), defined.sum(axis=1), np.nan)
    return mean
