"""Beat-by-beat comparison of two annotators of one recording, as ANSI/AAMI EC57:2012, 4.3 has it.

A beat of the reference and a beat under test are the same if they are within 150 ms and neither is nearer to the next
one of the other. Each of them is counted once: in the matrix of reference × test, `LABELS`, whose last two stand for
no beat (O) and a stretch that the other annotator marks as shut down (X). The counts are those of ``bxb`` of the WFDB
Software Package (Moody, PhysioNet), whose rules these are.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import BoolArray, IntArray
from ecg_lightning.data.labels import AAMI_CLASSES, ClassMap
from ecg_lightning.data.recording import Annotations
from ecg_lightning.metrics import ec57

WINDOW_S = 0.15  # seconds within which two beats are the same
LEARNING_S = 300.0  # of the learning period, which the standard leaves out
ABSENT = ("O", "X")
LABELS = (*AAMI_CLASSES, *ABSENT)
Q, NO_BEAT, SHUT_DOWN = (LABELS.index(name) for name in "QOX")
MATCHED, MISSED, EXTRA = range(3)
QRS_METRICS = ("sensitivity", "positive_predictivity", "f1")
AVERAGED = ("sensitivity", "positive_predictivity", "false_positive_rate")  # over records, of V and S
FAR = 2**62  # samples: no beat, or the end of a stretch that nothing ends
UNREADABLE = 0x30  # bits of the subtype of a ``~`` that are both set where neither signal can be read
NOTHING: IntArray = np.empty((0, 2), dtype=np.int64)


class Annotated(NamedTuple):
    """What one annotator says of a recording."""

    samples: IntArray  # [b] of each beat, ascending
    labels: IntArray  # [b], indices into `LABELS`
    shut_down: IntArray = NOTHING  # [k, 2], first and last sample of each stretch
    fibrillation: IntArray = NOTHING  # [k, 2], ventricular fibrillation or flutter, in which no beat counts


class Comparison(NamedTuple):
    """The counts of one recording."""

    matrix: IntArray  # [7, 7] beats, reference × test, as `LABELS`
    rr_squares: float  # s², sum over the squared differences of RR intervals …
    n_rr: int  # … and their number
    shut_down_s: float  # seconds that the annotator under test shut down
    pairs: IntArray  # [p, 2], positions of the matched beats in reference and test


def match(reference: npt.NDArray[Any], test: npt.NDArray[Any], window: float) -> IntArray:
    """Which beats are the same: pairs ``[p, 2]`` of positions in `reference` and `test`, both in ascending order.

    These are samples or seconds, as `window`. Of the two earliest that are left, the earlier is matched with the later
    if they are at most `window` apart, unless the beat after the earlier one is nearer to the later; that one counts
    only if it has no nearer partner itself.
    """
    steps = _steps(reference, test, window)
    return steps[steps[:, 2] == MATCHED, :2]


def _steps(
    reference: npt.NDArray[Any], test: npt.NDArray[Any], window: float, first: tuple[int, int] = (0, 0)
) -> IntArray:
    """The course of a comparison from the `first` positions on, ``[e, 3]``: the next beat of each, and what is done.

    They are `MATCHED`, that of the reference is `MISSED`, or that under test is `EXTRA`. The position after the last
    beat stands for none.
    """
    ours, theirs = ([*samples.tolist(), FAR, FAR] for samples in (reference, test))
    (i, j), steps = first, []
    while i < len(reference) or j < len(test):
        is_extra = theirs[j] < ours[i]
        apart = abs(ours[i] - theirs[j])
        across = abs(ours[i] - theirs[j + 1]) if is_extra else abs(theirs[j] - ours[i + 1])
        is_pair = apart <= window and (apart < across or abs(ours[i + 1] - theirs[j + 1]) < across)
        steps.append((i, j, MATCHED if is_pair else EXTRA if is_extra else MISSED))
        i += is_pair or not is_extra
        j += is_pair or is_extra
    return np.asarray(steps, dtype=np.int64).reshape(-1, 3)


def annotated(annotations: Annotations, class_map: ClassMap, window: float) -> Annotated:
    """Beats and stretches of all annotations of a recording; a beat without class, or of none of AAMI's, is of Q.

    Beats between ``[`` and ``]`` are left out. Shut down is from a ``~`` of which neither signal is readable to the
    next ``~``; if something else comes next, from `window` samples after what was before, a beat or the end of
    fibrillation, to as many before it.
    """
    annotations = annotations.select(np.argsort(annotations.samples, kind="stable").tolist())
    symbols, times = annotations.symbols, [*annotations.samples.tolist(), FAR]
    counts, fibrillation, shut_down = np.ones(len(symbols), dtype=np.bool_), [], []
    for at in [at for at, symbol in enumerate(symbols) if symbol == "["]:
        if counts[at]:
            end = symbols.index("]", at) if "]" in symbols[at:] else len(symbols)
            counts[at:end] = False
            fibrillation.append((times[at], times[end]))
    beats, labels = class_map.beats(annotations.select(np.flatnonzero(counts).tolist()))

    noise = np.array([symbol == "~" for symbol in symbols], dtype=np.bool_)
    unreadable = np.zeros_like(noise)
    if annotations.subtypes is not None:
        unreadable = noise & counts & (annotations.subtypes & UNREADABLE == UNREADABLE)
    ends_it = np.append(noise & ~unreadable, True)
    for at in np.flatnonzero(unreadable).tolist():
        start, stop = times[at], times[at + 1]
        if not ends_it[at + 1]:
            ends = [end for _, end in fibrillation if end <= start]
            before = max([0, *beats.samples[beats.samples <= start][-1:].tolist(), *ends])
            stop -= int(window)
            start = min(before + int(window), stop)
        shut_down.append((start, stop))

    of_class = [LABELS.index(name) if name in AAMI_CLASSES else Q for name in class_map.classes]
    return Annotated(
        beats.samples,
        np.asarray([*of_class, Q])[labels],  # the label of a beat without class is -1
        np.asarray(shut_down, dtype=np.int64).reshape(-1, 2),
        np.asarray(fibrillation, dtype=np.int64).reshape(-1, 2),
    )


def compare(
    reference: Annotated,
    test: Annotated,
    fs: float,
    *,
    window_s: float = WINDOW_S,
    start_s: float = 0.0,
    end: int | None = None,
) -> Comparison:
    """Compare two annotators of one recording, whose samples are on one clock of `fs` Hz.

    Args:
        window_s: seconds within which two beats are the same.
        start_s: seconds from which on beats are counted.
        end: samples of the recording, where they are known: a beat after it counts only with a partner before it.
    """
    window, start, last = window_s * fs, round(start_s * fs), FAR - 1 if end is None else end
    first, before = _start(reference.samples, test.samples, window, start)
    steps = np.concatenate([before, _steps(reference.samples, test.samples, window, first)])
    times = np.stack([np.append(one.samples, FAR)[at] for one, at in zip((reference, test), steps.T[:2], strict=True)])
    steps = steps[times.min(axis=0) <= last]
    (ours, theirs, done), time = steps.T, times.min(axis=0)[times.min(axis=0) <= last]

    rows, columns = (np.append(one.labels, 0)[at] for one, at in ((reference, ours), (test, theirs)))
    columns = np.where(done == MISSED, np.where(_within(time, test.shut_down), SHUT_DOWN, NO_BEAT), columns)
    rows = np.where(done == EXTRA, np.where(_within(time, reference.shut_down), SHUT_DOWN, NO_BEAT), rows)
    counts = ~((done == EXTRA) & _within(time, reference.fibrillation))
    cells = len(LABELS) * rows[counts] + columns[counts]
    matrix = np.bincount(cells, minlength=len(LABELS) ** 2).reshape(len(LABELS), len(LABELS))

    # As bxb does, at every step: where a beat is missed or extra, the intervals that end at or after it differ, too.
    errors = (_intervals(reference)[ours] - _intervals(test)[theirs]) / fs
    errors = errors[~np.isnan(errors)]
    known = test.shut_down[test.shut_down.max(axis=1) < FAR] if end is None else np.minimum(test.shut_down, end)
    shut_down_s = float(np.diff(known).sum()) / fs
    return Comparison(matrix, float((errors**2).sum()), len(errors), shut_down_s, steps[done == MATCHED, :2])


def _start(reference: IntArray, test: IntArray, window: float, start: int) -> tuple[tuple[int, int], IntArray]:
    """The first beats that count from sample `start` on, and steps ``[0 or 1, 3]`` before them.

    The first beat of the reference may be the same as the last under test before; and a first one under test that is
    farther from it than the next is neither right nor wrong, since its partner may be before.
    """
    i, j = int(np.searchsorted(reference, start)), int(np.searchsorted(test, start))
    if start <= 0 or i == len(reference):
        return (i, j), np.empty((0, 3), dtype=np.int64)
    before, here, after = (
        abs(int(reference[i]) - (int(test[at]) if 0 <= at < len(test) else FAR)) for at in (j - 1, j, j + 1)
    )
    if before <= window and before < here:
        return (i + 1, j), np.array([[i, j - 1, MATCHED]])
    is_late = j < len(test) and test[j] - start <= window and after < here
    return (i, j + is_late), np.empty((0, 3), dtype=np.int64)


def _within(time: IntArray, stretches: IntArray) -> BoolArray:
    inside: BoolArray = np.any((stretches[:, :1] <= time) & (time <= stretches[:, 1:]), axis=0)
    return inside


def _intervals(one: Annotated) -> npt.NDArray[np.float64]:
    """RR interval before each beat in samples, ``[b + 1]``; NaN of the first, after the last and across a stretch."""
    intervals = np.diff(one.samples.astype(np.float64), prepend=np.nan, append=np.nan)
    for start, _ in np.concatenate([one.shut_down, one.fibrillation]):
        after = np.searchsorted(one.samples, start, side="right")
        if after < len(intervals):
            intervals[after] = np.nan
    return intervals


def summary(comparisons: Mapping[str, Comparison]) -> dict[str, Any]:
    """The counts and metrics of recordings by name, in plain values; None without a denominator.

    - ``V``, ``S``, ``without_232`` and ``per_record`` as `ec57.ec57`; ``QRS`` likewise, where there are no negatives;
    - ``matrix``: of all recordings, reference → test → beats, and of each of ``per_record``;
    - ``rms_rr_error_ms``, and ``shut_down_s`` of the annotator under test; of each of ``per_record`` too.
    """
    matrices = np.stack([one.matrix for one in comparisons.values()])
    answer = ec57.ec57(matrices, LABELS, np.array([*comparisons]), ABSENT)
    metrics = np.stack([[_qrs(one)[name] for name in QRS_METRICS] for one in matrices]).astype(np.float64)
    averages = {f"average_{name}": ec57.average(metrics[:, i]) for i, name in enumerate(QRS_METRICS[:2])}
    for of in ec57.ECTOPIC:
        rates = ec57.metrics(ec57.counts(matrices, of, LABELS, ABSENT))[:, ec57.METRICS.index(AVERAGED[2])]
        answer[of][f"average_{AVERAGED[2]}"] = ec57.average(rates)
    for one, entry in zip(comparisons.values(), answer["per_record"], strict=True):
        entry |= {"QRS": _qrs(one.matrix), **_of([one])}
    return {"QRS": _qrs(matrices.sum(axis=0)) | averages, **answer, **_of([*comparisons.values()])}


def _qrs(matrix: IntArray) -> dict[str, Any]:
    tp, fn, fp = (int(part.sum()) for part in (matrix[:NO_BEAT, :NO_BEAT], matrix[:, NO_BEAT:], matrix[NO_BEAT:]))
    parts = zip(QRS_METRICS, ((tp, tp + fn), (tp, tp + fp), (2 * tp, 2 * tp + fn + fp)), strict=True)
    return {"tp": tp, "fn": fn, "fp": fp} | {name: part / whole if whole else None for name, (part, whole) in parts}


def _of(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    matrix, n_rr = np.stack([one.matrix for one in comparisons]).sum(axis=0), sum(one.n_rr for one in comparisons)
    mean_square = sum(one.rr_squares for one in comparisons) / n_rr if n_rr else None
    return {
        "matrix": {row: dict(zip(LABELS, matrix[i].tolist(), strict=True)) for i, row in enumerate(LABELS)},
        "rms_rr_error_ms": None if mean_square is None else 1000 * mean_square**0.5,
        "shut_down_s": sum(one.shut_down_s for one in comparisons),
    }
