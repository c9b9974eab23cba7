"""From a continuous recording to beats: resampling, cutting at the R peaks, scaling and padding.

The defaults rebuild the beats of the Kaggle files (Fazeli, "ECG Heartbeat Categorization Dataset"), after Kachuee,
Fazeli & Sarrafzadeh, ICHI 2018, section III-A: cut from an R peak to 1.2 times the interval to the next one and
zero-padded to 187 samples at 125 Hz; from MIT-BIH they give exactly the published number of each class. The
paper scales by 10 s windows; the released files hold beats scaled one by one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.recording import Recording

Scaling = Literal["beat", "record", "none"]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How beats are cut out of a recording.

    Attributes:
        fs: sampling rate of the beats in Hz.
        length: samples a beat, padding included.
        rr_factor: a beat ends this multiple of its RR interval (to the next R peak) after its R peak …
        margin: … less this many samples.
        before: seconds before the R peak at which a beat starts.
        scaling: to [0, 1] by the minimum and maximum of the ``beat``, of the ``record``, or ``none`` (mV).
    """

    fs: float = 125.0
    length: int = 187
    rr_factor: float = 1.2
    margin: int = 3
    before: float = 0.0
    scaling: Scaling = "beat"

    def __post_init__(self) -> None:
        # 125 and 125.0 are one setting: they must not make two caches.
        for name in ("fs", "rr_factor", "before"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.fs <= 0 or self.length < 2 or self.rr_factor <= 0 or self.margin < 0 or self.before < 0:
            raise ConfigError(f"a beat needs fs > 0, length >= 2, rr_factor > 0, margin >= 0 and before >= 0: {self}")
        if self.scaling not in ("beat", "record", "none"):
            raise ConfigError(f"scaling={self.scaling!r} is unknown; choose beat, record or none")


def resample(signal: npt.NDArray[np.floating[Any]], fs: float, new_fs: float) -> FloatArray:
    """Polyphase resampling of ``[t]`` from `fs` to `new_fs` (both Hz), with scipy's zero-phase anti-aliasing filter."""
    from scipy.signal import resample_poly

    ratio = (Fraction(new_fs) / Fraction(fs)).limit_denominator(10_000)
    resampled: FloatArray = resample_poly(signal, ratio.numerator, ratio.denominator, padtype="line")
    return resampled.astype(np.float32, copy=False)


def scale_to_unit(signal: FloatArray) -> FloatArray:
    """To [0, 1] by the signal's own minimum and maximum; a flat line becomes zeros."""
    low, high = signal.min(), signal.max()
    return (signal - low) / (high - low) if high > low else np.zeros_like(signal)


def cut(recording: Recording, how: Cut) -> tuple[FloatArray, IntArray]:
    """Cut every beat that has a next R peak out of a recording.

    Returns:
        The beats ``[n, how.length]`` and, for each, its position ``[n]`` among ``recording.peaks``. The last beat has
        no RR interval and is left out, and so is a beat whose signal is flat (the lead was off): it has no shape.
    """
    signal = resample(recording.signal, recording.fs, how.fs)
    if how.scaling == "record":
        signal = scale_to_unit(signal)
    peaks = np.round(recording.peaks * (how.fs / recording.fs)).astype(np.int64)
    starts = peaks[:-1] - round(how.before * how.fs)
    lengths = (how.rr_factor * np.diff(peaks)).astype(np.int64) - how.margin + (peaks[:-1] - starts)

    signals = np.zeros((len(starts), how.length), dtype=np.float32)
    kept = []
    for row, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
        # An end before the recording must not count from its other end, as a negative index would.
        beat = signal[max(start, 0) : max(start + min(length, how.length), 0)]
        if len(beat) < 2 or beat.max() == beat.min():
            continue
        offset = max(-start, 0)
        signals[row, offset : offset + len(beat)] = scale_to_unit(beat) if how.scaling == "beat" else beat
        kept.append(row)
    positions = np.asarray(kept, dtype=np.int64)
    return signals[positions], positions


def beats_of(
    recordings: Iterable[Recording],
    *,
    how: Cut,
    classes: tuple[str, ...],
    origin: dict[str, Any],
    context: Context = NO_CONTEXT,
) -> Beats:
    """Cut all recordings and join their beats, with as much of their context as is wanted.

    Raises:
        DataError: no recording held a beat.
    """
    parts = []
    for recording in recordings:
        signals, positions = cut(recording, how)
        n = len(positions)
        resampled = resample(recording.signal, recording.fs, how.fs) if context.likeness else recording.signal
        around = context.of(recording.peaks, recording.fs, resampled, how.fs)
        parts.append(
            Beats(
                signals=signals,
                labels=recording.labels[positions],
                classes=classes,
                fs=how.fs,
                records=np.full(n, recording.record),
                patients=np.full(n, recording.patient),
                samples=recording.peaks[positions],
                context=None if around is None else around[positions],
                context_names=context.names,
                origin=origin,
            )
        )
    if not any(len(part) for part in parts):
        raise DataError(f"{len(parts)} recordings held no beat to cut out")
    return Beats.concatenate(parts)
