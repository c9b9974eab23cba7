"""Confidence intervals of metrics by bootstrap over the patients of the test beats.

Beats of one patient are alike, so a metric's uncertainty is that of the choice of patients. Where patients are not
known, beats are resampled, and the intervals are narrower than they should be. Efron & Tibshirani, An Introduction to
the Bootstrap, 1993, chapter 13 (percentiles); Field & Welsh, J. R. Stat. Soc. B 69(3), 2007 (clusters).
"""

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

import numpy as np

from ecg_lightning.core.progress import progress, tracked
from ecg_lightning.data.beats import IntArray
from ecg_lightning.data.names import Column, numbered
from ecg_lightning.metrics import confusion, ec57
from ecg_lightning.metrics.confusion import N_BINS, Numbers, Probabilities
from ecg_lightning.metrics.ranking import Ranking
from ecg_lightning.metrics.recordings import METRICS, WHERE, by_recording

RESAMPLES = 1000
LEVEL = 0.95
PER_CLASS = ("precision", "recall", "f1", "specificity")
AT_SPECIFICITY = ("recall_at_90_specificity",)  # of the second of two classes
CHUNK = 2**20  # weights of units in memory at once, 8 MB

Key = tuple[str, ...]  # place of a metric in the scores: ("per_class", "V", "f1")
Patients = Column | None  # [n], patient of each beat; None where patients are not known


def intervals(
    labels: IntArray,
    probabilities: Probabilities,
    classes: tuple[str, ...],
    patients: Patients = None,
    *,
    records: Column | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """95 % percentile intervals of the metrics of `scoring.score`, by bootstrap over patients.

    `labels` ``[n]`` are indices into `classes`, `probabilities` ``[n, classes]``, `patients` ``[n]``, None to resample
    beats, `records` ``[n]`` for the metrics by recording; the same seed gives the same intervals. Resamples that do not
    define a metric (the recall of a class of which they have no beat) are left out.

    Returns ``resampled`` (``patients`` or ``beats``), ``n_resampled`` (how many there are), ``resamples``, ``level``,
    ``seed``; and nested as the scores, low and high end of each metric, None if no resample defines it or there is a
    single patient.
    """
    resampled = resampled_metrics(
        labels, probabilities, classes, patients, records=records, resamples=resamples, seed=seed
    )
    how = how_resampled(len(labels), patients, resamples, seed)
    several = how["n_resampled"] > 1
    return how | nested({key: interval(values) if several else None for key, values in resampled.items()})


def how_resampled(n: int, patients: Patients, resamples: int, seed: int) -> dict[str, Any]:
    """What `intervals` returns besides the intervals, of `n` beats."""
    what, n_units = ("beats", n) if patients is None else ("patients", len(numbered(patients)[0]))
    return {"resampled": what, "n_resampled": n_units, "resamples": resamples, "level": LEVEL, "seed": seed}


def interval(values: Numbers) -> list[float] | None:
    """Low and high end of the middle 95 % of the values that are not NaN; None if all are."""
    defined = values[~np.isnan(values)]
    tail = (1 - LEVEL) / 2
    # Rounded because the last bits of a sum depend on the number of threads.
    return [round(float(end), 12) for end in np.quantile(defined, (tail, 1 - tail))] if len(defined) else None


def nested(flat: dict[Key, Any]) -> dict[str, Any]:
    """``(outer, inner)`` → value, as dictionaries in each other."""
    answer: dict[str, Any] = {}
    for (*outer, last), value in flat.items():
        at = answer
        for key in outer:
            at = at.setdefault(key, {})
        at[last] = value
    return answer


def resampled_metrics(
    labels: IntArray,
    probabilities: Probabilities,
    classes: tuple[str, ...],
    patients: Patients,
    *,
    records: Column | None = None,
    resamples: int,
    seed: int,
    wanted: Collection[Key] | None = None,
) -> dict[Key, Numbers]:
    """``[resamples]`` of each metric, NaN where it is not defined; arguments as `intervals`.

    The same seed and patients give the same resamples. `wanted` are the metrics to compute, None for all; average
    precision takes the longest by far. Metrics by recording need patients.
    """
    counted = _Counted(labels, probabilities, classes, patients)
    chunks = []
    with progress("computing intervals", resamples, "resamples") as step:
        for times in _resamples(counted.n_units, resamples, seed):
            chunks.append(counted.metrics(times, wanted))
            step.advance(len(times))
    found = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
    overall = ("accuracy", *AT_SPECIFICITY)
    inner = {(WHERE, one): (one,) if one in overall else ("per_class", classes[-1], one) for one in METRICS}
    asked = {key: inner[key] for key in inner if wanted is None or key in wanted}
    of = by_recording(labels, probabilities, records) if asked and patients is not None else None
    if of is not None and patients is not None:
        arrays = of.labels, of.probabilities, classes, patients[of.first]
        whole = resampled_metrics(*arrays, resamples=resamples, seed=seed, wanted=asked.values())
        found |= {key: whole[place] for key, place in asked.items()}
    return found


def _resamples(n_units: int, resamples: int, seed: int) -> Iterator[Numbers]:
    """How often each unit is in each resample: ``[some, n_units]`` at a time."""
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // n_units)
    for start in range(0, resamples, at_once):
        some = min(at_once, resamples - start)
        chosen = generator.integers(n_units, size=(some, n_units)) + np.arange(some)[:, None] * n_units
        yield np.bincount(chosen.ravel(), minlength=some * n_units).reshape(some, n_units).astype(np.float64)


class _Counted:
    """The predictions of one model, counted by unit, so that a resample is a sum."""

    def __init__(
        self, labels: IntArray, probabilities: Probabilities, classes: tuple[str, ...], patients: Patients
    ) -> None:
        units = np.arange(len(labels)) if patients is None else numbered(patients)[1]
        self.classes, self.n_units = classes, int(units.max()) + 1
        k, predicted = len(classes), probabilities.argmax(axis=1)
        confidence, bins = confusion.confidence_bins(probabilities)

        def by_unit(column: IntArray, width: int, values: Numbers | None = None) -> Numbers:
            sums = np.bincount(units * width + column, values, minlength=self.n_units * width)
            return sums.reshape(self.n_units, width).astype(np.float64)

        self.confusions = by_unit(labels * k + predicted, k * k)
        self.hits = by_unit(bins, N_BINS, (labels == predicted).astype(np.float64))
        self.confidences = by_unit(bins, N_BINS, confidence)
        self.errors = by_unit(np.zeros_like(units), 1, confusion.squared_errors(labels, probabilities))[:, 0]
        # Of two classes one ranking is the other's reverse, but average precision is not the same.
        shared = None if patients is None else units
        self.ranking = cache(lambda i: Ranking(labels == i, probabilities[:, i], shared))

    def metrics(self, times: Numbers, wanted: Collection[Key] | None) -> dict[Key, Numbers]:
        """``[resamples]`` of each metric, of ``[resamples, units]``."""
        k = len(self.classes)
        confusions = (times @ self.confusions).reshape(-1, k, k)
        n = confusions.sum(axis=(1, 2))
        overall, of_class = confusion.confusion_metrics(confusions, undefined=np.nan)
        found: dict[Key, Numbers] = {(name,): values for name, values in overall.items()}
        found["ece",] = confusion.calibration_error(times @ self.hits, times @ self.confidences, n)
        found["brier",] = times @ self.errors / n
        for i, name in enumerate(self.classes):
            for j, metric in enumerate(PER_CLASS):
                found["per_class", name, metric] = of_class[:, j, i]
        if ec57.applies(self.classes):
            found["j_kappa",] = confusion.j_kappa(overall, of_class, self.classes)
            for of in ec57.ECTOPIC:
                counted = ec57.counts(confusions, of, self.classes)
                for metric, values in zip(ec57.METRICS, ec57.metrics(counted).T, strict=True):
                    found["ec57", of, metric] = values
        for metric, compute in (("auroc", Ranking.aurocs), ("average_precision", Ranking.average_precisions)):
            mean, places = (f"macro_{metric}",), [("per_class", name, metric) for name in self.classes]
            if wanted is None or mean in wanted or any(place in wanted for place in places):
                doing = tracked(places, f"resampling {metric.replace('_', ' ')}", "classes")
                found |= {place: compute(self.ranking(i), times) for i, place in enumerate(doing)}
                found[mean] = _mean_of_defined(np.stack([found[place] for place in places], axis=-1))
        if k == 2 and (wanted is None or AT_SPECIFICITY in wanted):
            found[AT_SPECIFICITY] = self.ranking(1).recalls(times)
        return found if wanted is None else {key: values for key, values in found.items() if key in wanted}


def _mean_of_defined(values: Numbers) -> Numbers:
    """``[resamples, classes]`` → ``[resamples]``, over the classes that have a value."""
    defined = ~np.isnan(values)
    mean: Numbers = np.nansum(values, axis=1) / np.where(defined.any(axis=1), defined.sum(axis=1), np.nan)
    return mean
