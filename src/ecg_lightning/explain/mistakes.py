"""The most confident mistakes of a model, and the plain values, ready for JSON, that a test beat is shown by."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.metrics.confusion import Numbers, Probabilities

N_MISTAKES = 12
MOST_OF_RECORD = 2
"""Mistakes of one record that are shown while there are others to show."""


@dataclass(frozen=True, kw_only=True)
class ShownBeat:
    """A beat of the test, with what was predicted.

    Attributes:
        row: where it stands among the test beats.
        record: its record, or None where it is not known.
        patient: its patient, or None likewise.
        sample: its R peak in the record, at the record's own rate, or None likewise.
        seconds: the same in seconds from the record's start, or None where that rate is not known.
        signals: the samples of each lead, without the padding.
        true: its class.
        predicted: the class that was predicted.
        probabilities: class → probability.
    """

    row: int
    record: str | None
    patient: str | None
    sample: int | None
    seconds: float | None
    signals: list[list[float]]
    true: str
    predicted: str
    probabilities: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A beat whose predicted class is not its own.

    Attributes:
        beat: the beat.
        mistaken_for: by lead, the mean of the test beats of the same record that are of the predicted class and were
            recognised; None where there are none, or no records.
    """

    beat: ShownBeat
    mistaken_for: list[list[float]] | None


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The most confident mistakes of a test.

    Attributes:
        n: how many mistakes there are.
        n_beats: of how many beats.
        pairs: true class, predicted class, number of such mistakes; the most frequent first.
        shown: some of them, by pair in that order, the most confident first.
    """

    n: int
    n_beats: int
    pairs: list[tuple[str, str, int]]
    shown: list[Mistake]


def find_mistakes(beats: Beats, probabilities: Probabilities, *, n: int = N_MISTAKES) -> Mistakes:
    """The most confident mistakes, spread over kinds of mistakes and over records.

    Kinds (true class, predicted class) take turns, the most frequent one first; each gives the mistake with the
    highest probability of the wrong class, but none of a record that it has given one of before, or of which
    `MOST_OF_RECORD` are chosen, while it has others.

    Args:
        beats: the test beats.
        probabilities: ``[n, classes]``, in their order.
        n: how many to choose.

    Raises:
        DataError: probabilities of other beats.
    """
    check(beats, probabilities)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != beats.known_labels)
    waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in wrong[np.argsort(-confidence[wrong], kind="stable")].tolist():
        waiting[int(beats.known_labels[row]), int(predicted[row])].append(row)
    kinds = sorted(waiting, key=lambda kind: (-len(waiting[kind]), kind))
    pairs = [(beats.classes[true], beats.classes[called], len(waiting[true, called])) for true, called in kinds]

    chosen: dict[tuple[int, int], list[int]] = {kind: [] for kind in kinds}
    of_record: Counter[str] = Counter()
    for _ in range(min(n, len(wrong))):
        # Whose turn it is: the kind that has given least, of those that have any left.
        kind = min((kind for kind in kinds if waiting[kind]), key=lambda kind: len(chosen[kind]))
        row = waiting[kind][0]
        if beats.records is not None:
            given = {str(beats.records[at]) for at in chosen[kind]}
            names = ((at, str(beats.records[at])) for at in waiting[kind])
            row = next((at for at, name in names if name not in given and of_record[name] < MOST_OF_RECORD), row)
            of_record[str(beats.records[row])] += 1
        waiting[kind].remove(row)
        chosen[kind].append(row)
    rows = [row for kind in kinds for row in sorted(chosen[kind], key=lambda at: (-confidence[at], at))]
    mistakes = [
        Mistake(beat=shown(beats, probabilities, row), mistaken_for=_mistaken_for(beats, predicted, row))
        for row in rows
    ]
    return Mistakes(n=len(wrong), n_beats=len(beats), pairs=pairs, shown=mistakes)


def _mistaken_for(beats: Beats, predicted: IntArray, row: int) -> list[list[float]] | None:
    if beats.records is None:
        return None
    called = predicted[row]
    alike = np.flatnonzero(
        (beats.records == beats.records[row]) & (beats.known_labels == called) & (predicted == called)
    )
    if not len(alike):
        return None
    return [plain(lead) for lead in _mean_beat(beats.signals[alike], beats.lengths[alike])]


def _mean_beat(signals: npt.NDArray[np.float32], lengths: IntArray) -> Numbers:
    """``[n, leads, length]`` → ``[leads, t]``: at each instant over the beats that last so long, while half of them
    do."""
    lasting = (lengths[:, None] > np.arange(signals.shape[2])).sum(axis=0)
    until = int((lasting >= len(signals) / 2).sum())
    mean: Numbers = signals.sum(axis=0, dtype=np.float64)[:, :until] / lasting[:until]
    return mean


def shown(beats: Beats, probabilities: Probabilities, row: int) -> ShownBeat:
    """What is known of the beat in this row."""
    sample = None if beats.samples is None else int(beats.samples[row])
    rate = _rate_of_records(beats)
    return ShownBeat(
        row=row,
        record=None if beats.records is None else str(beats.records[row]),
        patient=None if beats.patients is None else str(beats.patients[row]),
        sample=sample,
        seconds=None if sample is None or rate is None else sample / rate,
        signals=[plain(lead[: beats.lengths[row]]) for lead in beats.signals[row]],
        true=beats.classes[beats.known_labels[row]],
        predicted=beats.classes[probabilities[row].argmax()],
        probabilities={name: float(value) for name, value in zip(beats.classes, probabilities[row], strict=True)},
    )


def _rate_of_records(beats: Beats) -> float | None:
    """Sampling rate of the records in Hz, where it is known."""
    origin = beats.origin
    rate = origin.get("fs") if isinstance(origin.get("cut"), Mapping) else origin.get("recorded_fs")
    return None if rate is None else float(rate)


def plain(values: npt.NDArray[np.floating]) -> list[float]:
    """An array as JSON takes it."""
    return [float(value) for value in values]


def check(beats: Beats, probabilities: Probabilities) -> None:
    """Refuse probabilities that are not of these beats.

    Raises:
        DataError: their shape is another.
    """
    if probabilities.shape != (len(beats), len(beats.classes)):
        raise DataError(
            f"probabilities of shape {probabilities.shape}: expected one row a beat and one column a class, "
            f"{(len(beats), len(beats.classes))}"
        )
