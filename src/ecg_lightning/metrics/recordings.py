"""Recordings instead of beats: where all beats of a recording have one class, it is scored by its mean probability."""

from dataclasses import dataclass

import numpy as np

from ecg_lightning.data.beats import IntArray
from ecg_lightning.data.names import Column, numbered
from ecg_lightning.metrics.confusion import Probabilities

WHERE = "recordings"  # their place in the scores
METRICS = ("auroc", "recall_at_90_specificity", "recall", "specificity", "precision", "f1", "accuracy")


@dataclass(frozen=True, kw_only=True)
class Recordings:
    """What `by_recording` makes of ``n`` beats of ``m`` recordings."""

    labels: IntArray  # [m]
    probabilities: Probabilities  # [m, classes], means over the beats of each
    first: IntArray  # [m], index of a beat of each, for its patient


def by_recording(labels: IntArray, probabilities: Probabilities, records: Column | None) -> Recordings | None:
    """The recordings of beats that are of one of two classes by their recording, as with diagnoses; None of others.

    `labels` ``[n]``, `probabilities` ``[n, classes]``, `records` ``[n]``. A mean of probabilities weighs all beats
    equally; one bad beat moves it little, where a product of probabilities would follow it.
    """
    if records is None or probabilities.shape[1] != 2:
        return None
    _, first, beats = np.unique(record := numbered(records)[1], return_index=True, return_counts=True)
    if len(first) == len(records) or (labels != labels[first][record]).any():
        return None
    sums = [np.bincount(record, column.astype(np.float64)) for column in probabilities.T]
    return Recordings(labels=labels[first], probabilities=np.stack(sums, axis=1) / beats[:, None], first=first)
