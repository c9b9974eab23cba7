"""Context of a beat beyond its own samples: its rhythm, and its morphology compared with the beats around it.

A supraventricular beat comes early and looks like the others, a ventricular one comes early and does not. Both are
measured against the same recording, as numbers without a unit that lie around 0 in sinus rhythm; no label and no other
patient has a part in them. Later beats do: this is for a whole recording, not for a monitor at the bedside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import FloatArray, IntArray

RHYTHM = (
    "previous RR to local mean",
    "next RR to local mean",
    "previous RR to the record's mean",
    "local mean to the record's",
    "irregularity",
    "previous RR from local mean, beside irregularity",
    "next RR from local mean, beside irregularity",
    "previous RR from the record's mean, beside irregularity",
)
"""What `rhythm` computes, in order."""

MORPHOLOGY = (
    "missing correlation",
    "missing correlation of the P wave",
    "missing correlation of the QRS complex",
    "difference of the P wave",
    "difference of the QRS complex",
    "difference of ST segment and T wave",
)
"""What `morphology` computes, in order."""

SHORTEST, LONGEST = 0.2, 3.0
"""Seconds within which RR intervals are held: longer ones are mostly gaps, where flutter, say, has no beats."""

LOCAL_INTERVALS = 10
"""RR intervals on each side of the one before a beat that are local to it."""

RESOLUTION = 0.004
"""Seconds added to the spread of RR intervals, about as finely as R peaks are annotated."""

DOUBT = 0.02
"""Seconds added to the spread that an interval has to exceed, so that a regular rhythm does not make much of little."""

LOCAL_BEATS = 50
"""Beats on each side of a beat that make up the typical one that it is held against."""

STRIDE = 10
"""Beats that share a typical one: it changes slowly."""

BEAT_FROM, BEAT_TO = -0.272, 0.408
"""Seconds around the R peak within which beats are compared."""

QRS_FROM, QRS_TO = -0.08, 0.112
"""Seconds around the R peak in which the QRS complex lies; before it is the P wave, after it ST segment and T wave."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """Which context comes with each beat.

    Attributes:
        rhythm: the numbers that `RHYTHM` names.
        morphology: the numbers that `MORPHOLOGY` names, of each lead.
    """

    rhythm: bool = False
    morphology: bool = False

    def __post_init__(self) -> None:
        for name, wanted in self.chosen.items():
            if type(wanted) is not bool:
                raise ConfigError(f"context.{name}={wanted}: expected true or false")

    @property
    def chosen(self) -> dict[str, bool]:
        """The choices by name."""
        return {"rhythm": self.rhythm, "morphology": self.morphology}

    def names(self, lead_names: Sequence[str]) -> tuple[str, ...]:
        """What each number is; of several leads, each number of `MORPHOLOGY` with its lead before it."""
        leads = [""] if len(lead_names) == 1 else [f"{lead}: " for lead in lead_names]
        return self.rhythm * RHYTHM + tuple(f"{lead}{name}" for lead in leads for name in self.morphology * MORPHOLOGY)

    def of(self, peaks: IntArray, fs: float, signals: FloatArray, signal_fs: float) -> FloatArray | None:
        """The numbers ``[b - 1, k]`` of every beat but the last of a recording; None if nothing was chosen.

        Args:
            peaks: ``[b]`` R peaks, ascending.
            fs: their sampling rate in Hz.
            signals: ``[leads, t]``.
            signal_fs: its sampling rate in Hz.
        """
        parts = [rhythm(peaks, fs)] if self.rhythm else []
        if self.morphology:
            at = np.round(peaks * (signal_fs / fs)).astype(np.int64)
            parts += [morphology(signal, at, signal_fs)[:-1] for signal in signals]
        return np.concatenate(parts, axis=1) if parts else None


NO_CONTEXT = Context()


def rhythm(peaks: IntArray, fs: float) -> FloatArray:
    """The `RHYTHM` of every beat but the last, which has no next RR interval.

    Logarithms of ratios of RR intervals, after de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004; and
    how far an interval is from the mean beside the spread of its neighbours, since in atrial fibrillation an early beat
    means little. Means, not medians: where early beats are the greater part, as in bigeminy and sick sinus syndrome,
    the pauses after them still make the mean longer than what is early.

    Args:
        peaks: ``[b]`` R peaks, ascending; annotations that are no beats are not among them.
        fs: their sampling rate in Hz.

    Returns:
        ``[b - 1, 8] float32``. The first beat has its next RR interval for the previous one, which is not known.
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
    distances = (before - local, after - local, before - record)
    columns = (
        *(4 * np.log2(ratio) for ratio in ratios),
        irregularity,
        *(np.tanh(distance / (spread + DOUBT) / 4) for distance in distances),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def morphology(signal: FloatArray, peaks: IntArray, fs: float) -> FloatArray:
    """The `MORPHOLOGY` of every beat of one lead against the typical one around it, the median of a hundred.

    Each beat is scaled to [0, 1] first. What is missing of a correlation is 1 less Pearson's; differences are the mean
    absolute one, five times.

    Args:
        signal: ``[t]``.
        peaks: ``[b]`` R peaks, as samples of `signal`, ascending.
        fs: its sampling rate in Hz.

    Returns:
        ``[b, 6] float32``; 0 where a beat is as the typical one; a flat part correlates with nothing, 1.
    """
    offsets = np.arange(round(BEAT_FROM * fs), round(BEAT_TO * fs))
    beats = signal[np.clip(peaks[:, None] + offsets, 0, len(signal) - 1)]
    low, high = beats.min(axis=1, keepdims=True), beats.max(axis=1, keepdims=True)
    beats = (beats - low) / np.maximum(high - low, 1e-6)
    typical = np.empty_like(beats)
    for start in range(0, len(beats), STRIDE):
        around = beats[max(0, start - LOCAL_BEATS) : start + LOCAL_BEATS + STRIDE]
        typical[start : start + STRIDE] = np.median(around, axis=0)

    qrs = slice(*np.searchsorted(offsets, (round(QRS_FROM * fs), round(QRS_TO * fs))))
    p_wave, rest = slice(0, qrs.start), slice(qrs.stop, None)
    missing = [1 - _correlation(beats[:, part], typical[:, part]) for part in (slice(None), p_wave, qrs)]
    differences = [5 * np.abs(beats[:, part] - typical[:, part]).mean(axis=1) for part in (p_wave, qrs, rest)]
    return np.stack([*missing, *differences], axis=1).astype(np.float32)


def _windows(values: npt.NDArray[np.float64], before: int, after: int) -> npt.NDArray[np.float64]:
    """``[n, before + 1 + after]``: each value among those around it, NaN beyond the ends."""
    padded = np.pad(values, (before, after), constant_values=np.nan)
    return np.lib.stride_tricks.sliding_window_view(padded, before + 1 + after)


def _correlation(one: FloatArray, other: FloatArray) -> FloatArray:
    one, other = (part - part.mean(axis=1, keepdims=True) for part in (one, other))
    norm = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1) + 1e-6)
    correlation: FloatArray = (one * other).sum(axis=1) / norm
    return correlation
