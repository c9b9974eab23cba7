"""Metrics of ranked probabilities, AUROC and average precision, of a thousand resamples at once."""

import numpy as np

from ecg_lightning.data.beats import BoolArray
from ecg_lightning.metrics.confusion import Numbers, Probabilities, ratio


class Ranking:
    """Beats in the order of one class's probability: AUROC and average precision for any weights of the beats.

    Args:
        is_positive: ``[n]``, whether a beat is of the class.
        probability: ``[n]``, of the class.
    """

    def __init__(self, is_positive: BoolArray, probability: Probabilities) -> None:
        order = np.argsort(-probability, kind="stable")
        falling, positive = probability[order], is_positive[order]
        # Beats of equal probability are one step of the curve; steps without a positive move neither figure.
        last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        of_step = np.searchsorted(last, np.flatnonzero(positive))
        ends = np.unique(of_step)
        self.order = order
        self.positives = order[positive]
        self.last = last[ends]
        self.before = np.where(ends > 0, last[ends - 1] + 1, 0)
        self.last_positive = np.searchsorted(of_step, ends, side="right") - 1

    def figures(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """AUROC and average precision (the mean of precision over the positives, not interpolated; scikit-learn's).

        Args:
            weights: ``[resamples, n]``, how often each beat counts.

        Returns:
            ``[resamples]`` each; NaN where all beats are of the class, or none is.
        """
        if len(self.positives) == 0:
            return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
        above = np.zeros((len(weights), len(self.order) + 1))
        np.cumsum(weights[:, self.order], axis=1, out=above[:, 1:])
        hits = weights[:, self.positives].cumsum(axis=1)[:, self.last_positive]
        called, total, all_hits = above[:, self.last + 1], above[:, -1], hits[:, -1]
        new = np.diff(hits, axis=1, prepend=0)
        precision = ratio(hits, called)
        average_precision = ratio(np.einsum("rt,rt->r", new, precision), all_hits, np.nan)
        # Negatives above a positive, half of those level with it.
        misses = (called - hits + above[:, self.before] - (hits - new)) / 2
        lost = ratio(np.einsum("rt,rt->r", new, misses), all_hits * (total - all_hits), np.nan)
        return 1 - lost, average_precision
