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

from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.errors import ConfigError, DataError

Scaling = Literal["beat", "record", "none"]

INTERVALS = ("previous", "next", "local mean", "record mean")
"""What `rr_intervals` tells of a beat, after de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004."""

LOCAL_INTERVALS = 10
"""RR intervals in a local mean, half of them before the beat's R peak."""

SHORTEST, LONGEST = 0.2, 3.0
"""Seconds within which RR intervals are held: longer ones are mostly gaps, where flutter, say, has no beats."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """One lead of one record with its annotated or detected beats.

    Attributes:
        record: name of the record.
        patient: name of the patient; several records may share one.
        signal: ``[t]`` in mV.
        fs: sampling rate in Hz.
        peaks: ``[b] int64``, sample of each R peak, ascending.
        labels: ``[b] int64``, class of each beat.
    """

    record: str
    patient: str
    signal: npt.NDArray[np.floating[Any]]
    fs: float
    peaks: IntArray
    labels: IntArray


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


def rr_intervals(peaks: IntArray, fs: float) -> FloatArray:
    """The `INTERVALS` around every beat but the last, in seconds.

    Args:
        peaks: ``[b]`` R peaks, ascending; annotations that are no beats are not among them.
        fs: their sampling rate in Hz.

    Returns:
        ``[b - 1, 4] float32``: the interval from the R peak before and to the one after, the mean of the ten around the
        beat (five before its R peak, five after; near an end of the recording of those there are), and the mean of
        the recording. The first beat has none before, and its local mean in place of it.
    """
    between = np.clip(np.diff(peaks) / fs, SHORTEST, LONGEST)
    n = len(between)
    first = np.maximum(np.arange(n) - LOCAL_INTERVALS // 2, 0)
    last = np.minimum(np.arange(n) + LOCAL_INTERVALS // 2, n)
    until = np.concatenate([[0.0], np.cumsum(between)])
    local = (until[last] - until[first]) / (last - first)
    previous = np.concatenate([local[:1], between[:-1]])
    of_record = np.full(n, until[-1] / max(n, 1))
    return np.stack([previous, between, local, of_record], axis=1).astype(np.float32)


def beats_of(
    recordings: Iterable[Recording],
    *,
    how: Cut,
    classes: tuple[str, ...],
    origin: dict[str, Any],
    intervals: bool = False,
) -> Beats:
    """Cut all recordings and join their beats, with their `rr_intervals` if wanted.

    Raises:
        DataError: no recording held a beat.
    """
    parts = []
    for recording in recordings:
        signals, positions = cut(recording, how)
        n = len(positions)
        parts.append(
            Beats(
                signals=signals,
                labels=recording.labels[positions],
                classes=classes,
                fs=how.fs,
                records=np.full(n, recording.record),
                patients=np.full(n, recording.patient),
                samples=recording.peaks[positions],
                intervals=rr_intervals(recording.peaks, recording.fs)[positions] if intervals else None,
                interval_names=INTERVALS if intervals else (),
                origin=origin,
            )
        )
    if not any(len(part) for part in parts):
        raise DataError(f"{len(parts)} recordings held no beat to cut out")
    return Beats.concatenate(parts)
