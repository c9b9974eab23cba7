"""The most confident mistakes of a model, in plain values that are ready for JSON."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.metrics.confusion import Probabilities

N_MISTAKES = 12
MOST_OF_RECORD = 2  # mistakes of one record, as long as other records have some


@dataclass(frozen=True, kw_only=True)
class ShownBeat:
    """A beat of the test with its true and its predicted class; None is unknown."""

    row: int  # position among the test beats
    record: str | None
    patient: str | None
    sample: int | None  # R peak in the record, at the record's own sampling rate
    seconds: float | None  # the same in time
    signals: list[list[float]]  # the samples of each lead, without padding
    true: str
    predicted: str
    probabilities: dict[str, float]  # by class


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A beat with a wrong prediction, and by lead the mean of the correct beats of its record and predicted class."""

    beat: ShownBeat
    mistaken_for: list[list[float]] | None  # None if there are no such beats


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The `n` mistakes of a test."""

    n: int
    n_beats: int
    pairs: list[tuple[str, str, int]]  # true class, predicted class, number of such mistakes; the most frequent first
    shown: list[Mistake]  # a selection, by pair in that order, the most confident first


def find_mistakes(beats: Beats, probabilities: Probabilities, *, n: int = N_MISTAKES) -> Mistakes:
    """Select the most confident mistakes, spread over kinds of mistakes and over records.

    Kinds (true class, predicted class) take turns, the most frequent one first. Each gives its mistake with the highest
    probability of the wrong class. A record that the kind has given before, or that has `MOST_OF_RECORD` selected
    mistakes, is skipped while the kind has others.

    Selects `n` mistakes; raises `DataError` if the probabilities ``[n, classes]`` are not of these test beats.
    """
    check(beats, probabilities)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    records = np.arange(len(beats)) if beats.records is None else beats.records
    wrong = np.flatnonzero(predicted != beats.known_labels)
    waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in wrong[np.argsort(-confidence[wrong], kind="stable")].tolist():
        waiting[int(beats.known_labels[row]), int(predicted[row])].append(row)
    kinds = sorted(waiting, key=lambda kind: (-len(waiting[kind]), kind))
    pairs = [(beats.classes[true], beats.classes[other], len(waiting[true, other])) for true, other in kinds]

    selected: dict[tuple[int, int], list[int]] = {kind: [] for kind in kinds}
    of_record: Counter[str] = Counter()
    for _ in range(min(n, len(wrong))):
        kind = min((kind for kind in kinds if waiting[kind]), key=lambda kind: len(selected[kind]))
        given = {records[row] for row in selected[kind]}
        others = (r for r in waiting[kind] if records[r] not in given and of_record[records[r]] < MOST_OF_RECORD)
        row = next(others, waiting[kind][0])
        waiting[kind].remove(row)
        selected[kind].append(row)
        of_record[records[row]] += 1
    rows = [row for kind in kinds for row in sorted(selected[kind], key=lambda row: (-confidence[row], row))]
    shown = []
    for row in rows:
        right = (beats.known_labels == predicted[row]) & (predicted == predicted[row]) & (records == records[row])
        mean = _mean_beat(beats, np.flatnonzero(right))
        shown.append(Mistake(beat=shown_beat(beats, probabilities, row), mistaken_for=mean))
    return Mistakes(n=len(wrong), n_beats=len(beats), pairs=pairs, shown=shown)


def _mean_beat(beats: Beats, rows: IntArray) -> list[list[float]] | None:
    """By lead, the mean at each sample over the beats that last so long, as long as half of them do."""
    if not len(rows):
        return None
    lasting = (beats.lengths[rows, None] > np.arange(beats.length)).sum(axis=0)
    end = int((lasting >= len(rows) / 2).sum())
    mean = beats.signals[rows].sum(axis=0, dtype=np.float64)[:, :end] / lasting[:end]
    return [lead.tolist() for lead in mean]


def shown_beat(beats: Beats, probabilities: Probabilities, row: int) -> ShownBeat:
    """The beat in this row with its prediction."""
    fs = _recorded_fs(beats, row)
    sample = None if beats.samples is None else int(beats.samples[row])
    return ShownBeat(
        row=row,
        record=None if beats.records is None else str(beats.records[row]),
        patient=None if beats.patients is None else str(beats.patients[row]),
        sample=sample,
        seconds=None if sample is None or fs is None else sample / fs,
        signals=[lead[: beats.lengths[row]].tolist() for lead in beats.signals[row]],
        true=beats.classes[beats.known_labels[row]],
        predicted=beats.classes[probabilities[row].argmax()],
        probabilities=dict(zip(beats.classes, probabilities[row].tolist(), strict=True)),
    )


def _recorded_fs(beats: Beats, row: int) -> float | None:
    """Sampling rate in Hz of the record of a beat, if its origin states one of all records."""
    origin = beats.origin
    if beats.databases is not None:
        origin = origin.get("databases", {}).get(str(beats.databases[row]), {})
    fs = origin.get("recorded_fs") or (origin.get("simulation") or {}).get("fs")
    return None if fs is None else float(fs)


def check(beats: Beats, probabilities: Probabilities) -> None:
    """Raise `DataError` if probabilities are not of these beats."""
    if probabilities.shape != (expected := (len(beats), len(beats.classes))):
        shape = f"one row a beat and one column a class, {expected}"
        raise DataError(f"probabilities of shape {probabilities.shape}: expected {shape}")
