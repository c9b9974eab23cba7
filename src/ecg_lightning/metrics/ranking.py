"""Metrics of ranked probabilities, such as AUROC and average precision, of a thousand resamples at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ecg_lightning.data.beats import BoolArray, IntArray
from ecg_lightning.metrics.confusion import Numbers, Probabilities, ratio

SPECIFICITY = 0.9  # at which sensitivity is stated for a screening test

CHUNK = 2**18  # weights of beats in memory at once: 2 MB, which stay in a core's cache
CHUNK_COUNTED = 2**20  # sums by step: several resamples at once, or a product would be limited by memory
MOST_CELLS = 2**24  # beats times units up to which beats are counted by unit
MOST_RANKED = 2**17  # beats up to which a resample is exact with more units than can be counted
STEPS = 1024  # of more beats, at equal numbers of them, and three times as many at equal numbers of positives
FEW_UNITS = 1000  # of which all pairs are counted


class Ranking:
    """Beats in the order of one class's probability: its metrics for any weights of the beats.

    All beats of a unit have the same weight. Where units are few, the beats above each step of the ranking are counted
    by unit once, and a resample is a product of matrices; its sums are whole numbers, so they are exact. Where units
    and beats are many, those between two of 4 · `STEPS` thresholds count as equally probable, so that a resample takes
    the same time however many beats there are: AUROC and average precision change by about 1e-5 and 1e-4.

    `is_positive` ``[n]`` states whether a beat is of the class, `probability` ``[n]`` is that of the class, and `units`
    ``[n]`` count from 0; by default each beat is one.
    """

    def __init__(self, is_positive: BoolArray, probability: Probabilities, units: IntArray | None = None) -> None:
        n = len(is_positive)
        order = np.argsort(-probability, kind="stable")
        falling, positive = probability[order], is_positive[order]
        self.units = np.arange(n) if units is None else units
        self.n_units = int(self.units.max()) + 1
        countable = units is not None and n * self.n_units <= MOST_CELLS
        if coarse := units is not None and n > MOST_RANKED and not countable:
            falling = _coarse(falling, np.flatnonzero(positive))
        # Beats of equal probability are one step of the curve; steps without a positive move neither metric.
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        of_step = np.searchsorted(last, np.flatnonzero(positive))
        ends = np.unique(of_step)
        self.order = order
        self.positives = order[positive]
        self.last = last[ends]
        self.before = np.where(ends > 0, last[ends - 1] + 1, 0)
        self.last_positive = np.searchsorted(of_step, ends, side="right") - 1
        self._counted = self._count(np.float32 if coarse else np.float64) if countable or coarse else None

    def _count(self, dtype: type[np.floating[Any]]) -> tuple[Probabilities, Probabilities, Probabilities]:
        """By step and unit: beats down to the step, those above it, and positives down to it."""

        def cumulated(rows: IntArray, ends: IntArray) -> Probabilities:
            """Of the first `ends` rows."""
            reached, place = np.unique(ends, return_inverse=True)
            step = np.searchsorted(reached, np.arange(len(rows)), side="right")
            cells = np.bincount(step * self.n_units + self.units[rows], minlength=(len(reached) + 1) * self.n_units)
            return np.cumsum(cells.reshape(-1, self.n_units), axis=0)[place].astype(dtype)

        both = cumulated(self.order, np.concatenate([self.last + 1, self.before]))
        predicted, above = np.split(both, 2)
        return predicted, above, cumulated(self.positives, self.last_positive + 1)

    def aurocs(self, times: Numbers) -> Numbers:
        """AUROC ``[resamples]`` for ``[resamples, units]`` weights; NaN where all beats are of the class, or none."""
        if len(self.positives) == 0:
            return np.full(len(times), np.nan)
        if self._counted is not None and self.n_units <= FEW_UNITS:
            predicted, above, hits = self._counted
            new = np.diff(hits, axis=0, prepend=0)
            # By pairs of units: positives of the one below negatives of the other, half of those level with them.
            pairs = new.T @ ((predicted - hits + above - (hits - new)) / 2)
            lost = np.einsum("ru,ru->r", times @ pairs, times)
        else:
            lost = np.concatenate([self._lost(some) for some in self._chunks(times)])
        n_positive = times @ self._per_unit(self.positives)
        n_negative = times @ self._per_unit(self.order) - n_positive
        answer: Numbers = 1 - ratio(lost, n_positive * n_negative, np.nan)
        return answer

    def average_precisions(self, times: Numbers) -> Numbers:
        """Average precision ``[resamples]``, as in scikit-learn, not interpolated; NaN where no beat is of it."""
        if len(self.positives) == 0:
            return np.full(len(times), np.nan)
        sums = [
            np.einsum("rt,rt->r", np.diff(hits, axis=1, prepend=0), ratio(hits, predicted))
            for _, predicted, hits in self._curves(times)
        ]
        return ratio(np.concatenate(sums), times @ self._per_unit(self.positives), np.nan)

    def recalls(self, times: Numbers, specificity: float = SPECIFICITY) -> Numbers:
        """Largest recall ``[resamples]`` of a threshold with at least this specificity; NaN as `aurocs`.

        Beats of equal probability are on one side of every threshold, and nothing is interpolated.
        """
        if len(self.positives) == 0:
            return np.full(len(times), np.nan)
        found = []
        for some, predicted, hits in self._curves(times):
            positive = some @ self._per_unit(self.positives)
            negative = some @ self._per_unit(self.order) - positive
            allowed = predicted - hits <= (1 - specificity) * negative[:, None] + 1e-9
            best = (hits * allowed).max(axis=1)
            found.append(ratio(best, np.where(negative > 0, positive, 0), np.nan))
        return np.concatenate(found)

    def _curves(self, times: Numbers) -> Iterator[tuple[Numbers, Numbers, Numbers]]:
        """Some of the resamples at a time, and what `_above` returns of them."""
        for some in self._chunks(times):
            yield some, *self._above(some)

    def _per_unit(self, rows: IntArray) -> Numbers:
        return np.bincount(self.units[rows], minlength=self.n_units).astype(np.float64)

    def _chunks(self, times: Numbers) -> Iterator[Numbers]:
        one_by_one = self._counted is None
        at_once = max(1, CHUNK // len(self.order) if one_by_one else CHUNK_COUNTED // len(self.last))
        for start in range(0, len(times), at_once):
            yield times[start : start + at_once]

    def _above(self, times: Numbers) -> tuple[Numbers, Numbers]:
        """``[resamples, steps]``: beats down to each step, and positives among them."""
        if self._counted is not None:
            predicted, _, hits = self._counted
            return _product(times, predicted), _product(times, hits)
        cumulated, hits = self._cumulated(times)
        return cumulated[:, self.last + 1], hits

    def _cumulated(self, times: Numbers) -> tuple[Numbers, Numbers]:
        """``[resamples, beats + 1]``: beats before each place of the ranking; ``[resamples, steps]``: positives."""
        weights = times[:, self.units]
        cumulated = np.zeros((len(times), len(self.order) + 1))
        np.cumsum(weights[:, self.order], axis=1, out=cumulated[:, 1:])
        return cumulated, weights[:, self.positives].cumsum(axis=1)[:, self.last_positive]

    def _lost(self, times: Numbers) -> Numbers:
        if self._counted is not None:
            predicted, above, hits = (_product(times, table) for table in self._counted)
        else:
            cumulated, hits = self._cumulated(times)
            predicted, above = cumulated[:, self.last + 1], cumulated[:, self.before]
        new = np.diff(hits, axis=1, prepend=0)
        misses = (predicted - hits + above - (hits - new)) / 2
        lost: Numbers = np.einsum("rt,rt->r", new, misses)
        return lost


def _product(times: Numbers, table: Probabilities) -> Numbers:
    """``[resamples, steps]`` of ``[resamples, units]`` and ``[steps, units]``, in the precision of the latter."""
    product: Numbers = (times.astype(table.dtype, copy=False) @ table.T).astype(np.float64, copy=False)
    return product


def _coarse(falling: Probabilities, positives: IntArray) -> Probabilities:
    """Falling probabilities ``[n]``, each lowered to a threshold; `positives` are the positions of some among them."""
    places = np.linspace(0, len(falling) - 1, STEPS).astype(np.int64)
    if len(positives):
        chosen = np.linspace(0, len(positives) - 1, 3 * STEPS).astype(np.int64)
        places = np.concatenate([places, positives[chosen]])
    edges = np.unique(falling[places])
    lowered: Probabilities = edges[np.searchsorted(edges, falling, side="right") - 1]
    return lowered
