"""Context of a beat beyond its own samples: its rhythm, and its morphology compared with the beats around it.

A supraventricular beat comes early and looks like the others, a ventricular one comes early and does not. Both are
measured against the same recording, as numbers without a unit that lie around 0 in sinus rhythm. They depend on no
label and no other patient, but on later beats: they are for whole recordings, not for a bedside monitor.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.options import options
from ecg_lightning.data.beats import FloatArray, IntArray

RHYTHM = (  # what `rhythm` computes, in order
    "previous RR to local mean",
    "next RR to local mean",
    "previous RR to the record's mean",
    "local mean to the record's",
    "irregularity",
    "previous RR from local mean, beside irregularity",
    "next RR from local mean, beside irregularity",
    "previous RR from the record's mean, beside irregularity",
)

DISTANCE = ("distance of the QRS complex",)  # what `distance` computes, of all leads together

MORPHOLOGY = (  # what `morphology` computes, in order
    "missing correlation",
    "missing correlation of the P wave",
    "missing correlation of the QRS complex",
    "difference of the P wave",
    "difference of the QRS complex",
    "difference of ST segment and T wave",
)

SHORTEST, LONGEST = 0.2, 3.0  # seconds to which RR intervals are clipped: longer ones are mostly gaps
LOCAL_INTERVALS = 10  # RR intervals on each side of the one before a beat that are local to it
RESOLUTION = 0.004  # seconds added to the spread of RR intervals, about as finely as R peaks are annotated
DOUBT = 0.02  # seconds added to the spread that an interval has to exceed, or a regular rhythm exaggerates
LOCAL_BEATS = 50  # beats on each side of a beat that make up its reference
FARTHEST = 3.0  # to which `distance` is clipped
STRIDE = 10  # beats that share a reference: it changes slowly
BEAT_FROM, BEAT_TO = -0.272, 0.408  # seconds around the R peak within which beats are compared
QRS_FROM, QRS_TO = -0.08, 0.112  # the QRS complex; before it is the P wave, after it ST segment and T wave


@options("context")
class Context:
    """Which context comes with each beat: `rhythm` and `distance`, and `morphology` of each lead."""

    rhythm: bool = False
    distance: bool = False
    morphology: bool = False

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Self:
        """The choices that these are the names of."""
        return cls(
            rhythm=any(name in RHYTHM for name in names),
            distance=any(name in DISTANCE for name in names),
            morphology=any(name.endswith(MORPHOLOGY) for name in names),
        )

    def names(self, lead_names: Sequence[str]) -> tuple[str, ...]:
        """What each number is; of several leads, each number of one lead with its name before it."""
        leads = [""] if len(lead_names) == 1 else [f"{lead}: " for lead in lead_names]
        own = tuple(f"{lead}{name}" for lead in leads for name in self.morphology * MORPHOLOGY)
        return self.rhythm * RHYTHM + self.distance * DISTANCE + own

    def of(self, peaks: IntArray, fs: float, signals: FloatArray, signal_fs: float) -> FloatArray | None:
        """The numbers ``[b - 1, k]`` of every beat but the last of a recording; None if nothing was chosen.

        R peaks ``[b]`` are at `fs` Hz, ascending; `signals` ``[leads, t]`` are at `signal_fs` Hz.
        """
        at = np.round(peaks * (signal_fs / fs)).astype(np.int64)
        parts = [rhythm(peaks, fs)] * self.rhythm + [part[:-1] for part in self.of_signals(at, signals, signal_fs)]
        return np.concatenate(parts, axis=1) if parts else None

    def of_signals(self, peaks: IntArray, signals: FloatArray, fs: float) -> list[FloatArray]:
        """The parts ``[b, ...]`` that depend on no more than `LOCAL_BEATS` beats on each side, and the RR before them.

        A piece of a recording has the numbers of the whole, if it begins at a multiple of `STRIDE` beats.
        """
        parts = [distance(signals, peaks, fs)] if self.distance else []
        return parts + [morphology(signal, peaks, fs) for signal in signals if self.morphology]


NO_CONTEXT = Context()


def rhythm(peaks: IntArray, fs: float) -> FloatArray:
    """The `RHYTHM` of every beat but the last, which has no next RR interval.

    Logarithms of ratios of RR intervals, after de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004; and
    how far an interval is from the mean, relative to the spread of its neighbours, since in atrial fibrillation an
    early beat means little. Means, not medians: where most beats are early, as in bigeminy, the pauses after them still
    make the mean longer than an early interval.

    R peaks ``[b]`` are ascending samples at `fs` Hz; the result is ``[b - 1, 8] float32``. The first beat has its next
    RR interval in place of the unknown previous one.
    """
    after = np.clip(np.diff(peaks) / fs, SHORTEST, LONGEST)
    if not len(after):
        return np.zeros((0, len(RHYTHM)), dtype=np.float32)
    before = np.concatenate([after[:1], after[:-1]])
    around = _windows(before, LOCAL_INTERVALS, LOCAL_INTERVALS)
    steps = np.abs(np.diff(before, append=before[-1:]))
    spread = np.nanmedian(_windows(steps, LOCAL_INTERVALS, LOCAL_INTERVALS - 1), axis=1)
    local, record = np.nanmean(around, axis=1), before.mean()
    # Scaled so that each lies about between -1 and 1: quarters of an octave, and irregularity about its usual value.
    ratios = (before / local, after / local, before / record, local / record)
    irregularity = (np.log2((spread + RESOLUTION) / np.nanmedian(around, axis=1)) + 4.5) / 1.5
    distances = [np.tanh(by / (spread + DOUBT) / 4) for by in (before - local, after - local, before - record)]
    return np.stack([*(4 * np.log2(ratio) for ratio in ratios), irregularity, *distances], axis=1).astype(np.float32)


def distance(signals: FloatArray, peaks: IntArray, fs: float) -> FloatArray:
    """How far the QRS complex of every beat is from the typical one around it, in all leads together.

    The typical beat is the median of the later half of those around: of the beats with the longer RR intervals before
    them. Where half of the beats or more are ventricular, as in bigeminy and in runs, these are still the conducted
    ones. The distance is the mean square difference, relative to the mean square of the typical beat and added up over
    leads; its logarithm is compared with the median of the later half, halved and clipped.

    R peaks ``[b]`` are ascending samples of the signals ``[leads, t]`` at `fs` Hz; the result is ``[b, 1] float32``,
    from -`FARTHEST` to `FARTHEST`: about 0 for typical beats, 1 for beats at e² times their distance.
    """
    offsets = np.arange(round(QRS_FROM * fs), round(QRS_TO * fs))
    beats = signals[:, np.clip(peaks[:, None] + offsets, 0, signals.shape[1] - 1)]
    beats = beats - np.median(beats, axis=2, keepdims=True)
    before = np.clip(np.diff(peaks) / fs, SHORTEST, LONGEST)
    before = np.concatenate([before[:1], before]) if len(before) else np.full(len(peaks), LONGEST)
    result = np.zeros((len(peaks), 1), dtype=np.float32)
    for start in range(0, len(peaks), STRIDE):
        around = slice(max(0, start - LOCAL_BEATS), start + LOCAL_BEATS + STRIDE)
        own = slice(start - around.start, start - around.start + STRIDE)
        later = np.argsort(-before[around], kind="stable")[: (len(before[around]) + 1) // 2]
        typical = _median(beats[:, around][:, later])
        off = ((beats[:, around] - typical) ** 2).mean(axis=2) / ((typical**2).mean(axis=2) + 1e-4)
        logarithm = np.log(off.sum(axis=0) + 1e-3)
        result[start : start + STRIDE, 0] = (logarithm[own] - np.median(logarithm[later])) / 2
    return np.clip(result, -FARTHEST, FARTHEST)


def morphology(signal: FloatArray, peaks: IntArray, fs: float) -> FloatArray:
    """The `MORPHOLOGY` of every beat of one lead compared with its reference, the median of the hundred around it.

    Each beat is scaled to [0, 1] first. A missing correlation is 1 - Pearson's, a difference five times the mean
    absolute difference.

    R peaks ``[b]`` are ascending samples of the signal ``[t]`` at `fs` Hz; the result is ``[b, 6] float32``: 0 where a
    beat equals its reference; a flat part correlates with nothing, 1.
    """
    offsets = np.arange(round(BEAT_FROM * fs), round(BEAT_TO * fs))
    beats = signal[np.clip(peaks[:, None] + offsets, 0, len(signal) - 1)]
    low, high = beats.min(axis=1, keepdims=True), beats.max(axis=1, keepdims=True)
    beats = (beats - low) / np.maximum(high - low, 1e-6)
    reference = np.empty_like(beats)
    for start in range(0, len(beats), STRIDE):
        reference[start : start + STRIDE] = _median(beats[max(0, start - LOCAL_BEATS) : start + LOCAL_BEATS + STRIDE])

    qrs = slice(*np.searchsorted(offsets, (round(QRS_FROM * fs), round(QRS_TO * fs))))
    p_wave, rest = slice(0, qrs.start), slice(qrs.stop, None)
    missing = [1 - _correlation(beats[:, part], reference[:, part]) for part in (slice(None), p_wave, qrs)]
    differences = [5 * np.abs(beats[:, part] - reference[:, part]).mean(axis=1) for part in (p_wave, qrs, rest)]
    return np.stack([*missing, *differences], axis=1).astype(np.float32)


def _windows(values: npt.NDArray[np.float64], before: int, after: int) -> npt.NDArray[np.float64]:
    """``[n, before + 1 + after]``: each value with those around it, NaN beyond the ends."""
    padded = np.pad(values, (before, after), constant_values=np.nan)
    return np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after)


def _median(beats: FloatArray) -> FloatArray:
    """Of beats ``[..., b, t]``, ``[..., 1, t]``; numpy sorts rows several times as fast as it finds their middle."""
    n = beats.shape[-2]
    ordered = np.sort(np.ascontiguousarray(np.moveaxis(beats, -2, -1)), axis=-1)
    median: FloatArray = ordered[..., [(n - 1) // 2, n // 2]].sum(axis=-1)[..., None, :] / 2
    return median


def _correlation(one: FloatArray, other: FloatArray) -> FloatArray:
    one, other = (part - part.mean(axis=1, keepdims=True) for part in (one, other))
    norm = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1) + 1e-6)
    correlation: FloatArray = (one * other).sum(axis=1) / norm
    return correlation
