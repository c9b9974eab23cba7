"""Context of a beat beyond its own samples: its rhythm, and its morphology compared with the beats around it.

A supraventricular beat comes early and looks like the others, a ventricular one comes early and does not. Both are
measured against the same recording, as numbers without a unit that lie around 0 in sinus rhythm. They depend on no
label and no other patient, but on later beats: they are for whole recordings. For a bedside monitor, `causal` ones
depend on earlier beats alone.
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
NEXT = "next RR"  # begins the names of those that need the next R peak

DISTANCE = ("distance of the QRS complex",)  # what `distance` computes, of all leads together
WAVES = ("distance of the P wave", "distance of ST segment and T wave")  # what `waves` computes, likewise

MORPHOLOGY = (  # what `morphology` computes, in order
    "missing correlation",
    "missing correlation of the P wave",
    "missing correlation of the QRS complex",
    "difference of the P wave",
    "difference of the QRS complex",
    "difference of ST segment and T wave",
)

EARLIER = ", from earlier beats"  # ends the names of causal numbers
SHORTEST, LONGEST = 0.2, 3.0  # seconds to which RR intervals are clipped: longer ones are mostly gaps
LOCAL_INTERVALS = 10  # RR intervals on each side of the one before a beat that are local to it
RESOLUTION = 0.004  # seconds added to the spread of RR intervals, about as finely as R peaks are annotated
DOUBT = 0.02  # seconds added to the spread that an interval has to exceed, or a regular rhythm exaggerates
LOCAL_BEATS = 50  # beats on each side of a beat that make up its reference
FARTHEST = 3.0  # to which `distance` is clipped
FAINT = 0.03  # mV; a wave that is smaller than that in a lead counts little
STRIDE = 10  # beats that share a reference: it changes slowly
BEAT_FROM, BEAT_TO = -0.272, 0.408  # seconds around the R peak within which beats are compared
QRS_FROM, QRS_TO = QRS = -0.08, 0.112  # the QRS complex; before it is the P wave, after it ST segment and T wave
P_WAVE, ST_T = (BEAT_FROM, QRS_FROM), (QRS_TO, BEAT_TO)


@options("context")
class Context:
    """Which context comes with each beat: `rhythm`, `distance` and `waves`, and `morphology` of each lead.

    Of the numbers that are `causal` none depends on later beats, except among the first `STRIDE`; the next RR interval
    is none of them.
    """

    rhythm: bool = False
    distance: bool = False
    waves: bool = False
    morphology: bool = False
    causal: bool = False

    @classmethod
    def of_names(cls, names: Sequence[str]) -> Self:
        """The choices that these are the names of."""
        plain = [name.removesuffix(EARLIER) for name in names]
        return cls(
            rhythm=any(name in RHYTHM for name in plain),
            distance=any(name in DISTANCE for name in plain),
            waves=any(name in WAVES for name in plain),
            morphology=any(name.endswith(MORPHOLOGY) for name in plain),
            causal=any(name.endswith(EARLIER) for name in names),
        )

    def names(self, lead_names: Sequence[str]) -> tuple[str, ...]:
        """What each number is; of several leads, each number of one lead with its name before it."""
        leads = [""] if len(lead_names) == 1 else [f"{lead}: " for lead in lead_names]
        own = tuple(f"{lead}{name}" for lead in leads for name in self.morphology * MORPHOLOGY)
        names = self.rhythm * RHYTHM + self.distance * DISTANCE + self.waves * WAVES + own
        return tuple(f"{name}{EARLIER}" for name in names if not name.startswith(NEXT)) if self.causal else names

    def of(self, peaks: IntArray, fs: float, signals: FloatArray, signal_fs: float) -> FloatArray | None:
        """The numbers ``[b - 1, k]`` of every beat but the last of a recording; None if nothing was chosen.

        R peaks ``[b]`` are at `fs` Hz, ascending; `signals` ``[leads, t]`` are at `signal_fs` Hz.
        """
        at = np.round(peaks * (signal_fs / fs)).astype(np.int64)
        parts = [rhythm(peaks, fs, causal=self.causal)] if self.rhythm else []
        parts += [part[:-1] for part in self.of_signals(at, signals, signal_fs)]
        return np.concatenate(parts, axis=1) if parts else None

    def of_signals(self, peaks: IntArray, signals: FloatArray, fs: float) -> list[FloatArray]:
        """The parts ``[b, ...]`` that depend on the signals.

        A piece of a recording has the numbers of the whole if it begins at a multiple of `STRIDE`, except for the first
        2 `LOCAL_BEATS` + `STRIDE` and the last `LOCAL_BEATS` + `STRIDE` beats.
        """
        parts = [QRS] * self.distance + [P_WAVE, ST_T] * self.waves
        found = [distance(signals, peaks, fs, parts, causal=self.causal)] if parts else []
        return found + [morphology(signal, peaks, fs, causal=self.causal) for signal in signals if self.morphology]


NO_CONTEXT = Context()


def rhythm(peaks: IntArray, fs: float, *, causal: bool = False) -> FloatArray:
    """The `RHYTHM` of every beat but the last, which has no next RR interval.

    Logarithms of ratios of RR intervals, after de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004; and
    how far an interval is from the mean, relative to the spread of its neighbours, since in atrial fibrillation an
    early beat means little. Means, not medians: where most beats are early, as in bigeminy, the pauses after them still
    make the mean longer than an early interval.

    R peaks ``[b]`` are ascending samples at `fs` Hz; the result is ``[b - 1, 8] float32``, 6 if `causal`. The first
    beat has its next RR interval in place of the unknown previous one.
    """
    after = np.clip(np.diff(peaks) / fs, SHORTEST, LONGEST)
    if not len(after):
        return np.zeros((0, 6 if causal else len(RHYTHM)), dtype=np.float32)
    before = np.concatenate([after[:1], after[:-1]])
    earlier, later = (2 * LOCAL_INTERVALS, 0) if causal else (LOCAL_INTERVALS, LOCAL_INTERVALS)
    around = _windows(before, earlier, later)
    steps = np.abs(np.diff(before, prepend=before[:1])) if causal else np.abs(np.diff(before, append=before[-1:]))
    spread = np.nanmedian(_windows(steps, earlier, max(later - 1, 0)), axis=1)
    local = np.nanmean(around, axis=1)
    record = np.cumsum(before) / np.arange(1, len(before) + 1) if causal else before.mean()
    # Scaled so that each lies about between -1 and 1: quarters of an octave, and irregularity about its usual value.
    ratios = (before / local, after / local, before / record, local / record)
    irregularity = (np.log2((spread + RESOLUTION) / np.nanmedian(around, axis=1)) + 4.5) / 1.5
    distances = [np.tanh(by / (spread + DOUBT) / 4) for by in (before - local, after - local, before - record)]
    found = np.stack([*(4 * np.log2(ratio) for ratio in ratios), irregularity, *distances], axis=1).astype(np.float32)
    return found[:, [not name.startswith(NEXT) for name in RHYTHM]] if causal else found


def distance(
    signals: FloatArray,
    peaks: IntArray,
    fs: float,
    parts: Sequence[tuple[float, float]] = (QRS,),
    *,
    causal: bool = False,
) -> FloatArray:
    """How far parts of every beat are from those of the typical one around it, in all leads together.

    The typical beat is the median of the later half of the hundred around (if `causal`, before): of those with the
    longer RR intervals before them. Where half of the beats or more are ventricular, as in bigeminy and in runs, these
    are still the conducted ones. The distance is the mean square difference, relative to the mean square of the typical
    part and added up over leads; its logarithm is compared with the median of the later half, halved and clipped.

    R peaks ``[b]`` are ascending samples of the signals ``[leads, t]`` in mV at `fs` Hz, `parts` are from and to
    seconds after the R peak; the result is ``[b, parts] float32``, from -`FARTHEST` to `FARTHEST`: about 0 for typical
    beats, 1 for beats at e² times their distance.
    """
    before = np.clip(np.diff(peaks) / fs, SHORTEST, LONGEST)
    before = np.concatenate([before[:1], before]) if len(before) else np.full(len(peaks), LONGEST)
    result = np.zeros((len(peaks), len(parts)), dtype=np.float32)
    for column, (first, last) in enumerate(parts):
        offsets = np.arange(round(first * fs), round(last * fs))
        beats = signals[:, np.clip(peaks[:, None] + offsets, 0, signals.shape[1] - 1)]
        beats = beats - np.median(beats, axis=2, keepdims=True)
        for start in range(0, len(peaks), STRIDE):
            own, around = slice(start, start + STRIDE), _around(start, causal)
            later = np.argsort(-before[around], kind="stable")[: (len(before[around]) + 1) // 2]
            typical = beats[:, around][:, later]
            compared = np.concatenate([beats[:, own], typical], axis=1)
            typical = _median(typical)
            off = ((compared - typical) ** 2).mean(axis=2) / ((typical**2).mean(axis=2) + FAINT**2)
            logarithm = np.log(off.sum(axis=0) + 1e-3)
            n = len(before[own])
            result[own, column] = (logarithm[:n] - np.median(logarithm[n:])) / 2
    return np.clip(result, -FARTHEST, FARTHEST)


def morphology(signal: FloatArray, peaks: IntArray, fs: float, *, causal: bool = False) -> FloatArray:
    """The `MORPHOLOGY` of every beat of one lead compared with its reference, the median of the hundred around it
    (if `causal`, before it).

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
        reference[start : start + STRIDE] = _median(beats[_around(start, causal)])

    qrs = slice(*np.searchsorted(offsets, (round(QRS_FROM * fs), round(QRS_TO * fs))))
    p_wave, rest = slice(0, qrs.start), slice(qrs.stop, None)
    missing = [1 - _correlation(beats[:, part], reference[:, part]) for part in (slice(None), p_wave, qrs)]
    differences = [5 * np.abs(beats[:, part] - reference[:, part]).mean(axis=1) for part in (p_wave, qrs, rest)]
    return np.stack([*missing, *differences], axis=1).astype(np.float32)


def _around(start: int, causal: bool) -> slice:
    """The hundred beats that the `STRIDE` beats from `start` on are compared with."""
    if causal:
        return slice(max(0, start - 2 * LOCAL_BEATS), max(start, STRIDE))
    return slice(max(0, start - LOCAL_BEATS), start + LOCAL_BEATS + STRIDE)


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
