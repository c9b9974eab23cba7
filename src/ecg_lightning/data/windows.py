"""From a continuous recording to beats: resampling, cutting at the R peaks, scaling and padding.

The defaults rebuild the beats of the Kaggle files (Fazeli, "ECG Heartbeat Categorization Dataset"), after Kachuee,
Fazeli & Sarrafzadeh, ICHI 2018, section III-A: cut from an R peak to 1.2 times the interval to the next one and
zero-padded to 187 samples at 125 Hz; from MIT-BIH they give exactly the published number of each class. The
paper scales by 10 s windows; the released files hold beats scaled one by one.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.options import Amount, Natural, Positive, options
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.recording import Recording


@options("dataset.cut")
class Cut:
    """How beats are cut out of a recording."""

    fs: Positive = 125.0  # sampling rate of the beats in Hz
    length: Annotated[int, Field(ge=2)] = 187  # samples a beat, padding and what is before the R peak included
    rr_factor: Positive = 1.2  # a beat ends this multiple of its RR interval (to the next R peak) after its R peak …
    margin: Natural = 3  # … less this many samples
    before: Amount = 0.0  # seconds before the R peak at which a beat starts
    scaling: Literal["beat", "record", "none"] = "beat"  # to [0, 1] by minimum and maximum of either, or none (mV)


def resample(signal: npt.NDArray[np.floating[Any]], fs: float, new_fs: float) -> FloatArray:
    """Polyphase resampling of ``[t]`` from `fs` to `new_fs` (both Hz), with scipy's zero-phase anti-aliasing filter."""
    from scipy.signal import resample_poly

    ratio = (Fraction(new_fs) / Fraction(fs)).limit_denominator(10_000)
    resampled: FloatArray = resample_poly(signal, ratio.numerator, ratio.denominator, padtype="line")
    return resampled.astype(np.float32, copy=False)


def at_rate(recording: Recording, fs: float) -> FloatArray:
    """The signals ``[leads, t]`` of a recording at another sampling rate in Hz."""
    return np.stack([resample(signal, recording.fs, fs) for signal in recording.signals])


def scale_to_unit(signals: FloatArray) -> FloatArray:
    """Each lead of ``[leads, t]`` to [0, 1] by its own minimum and maximum; a flat one becomes zeros."""
    low, high = signals.min(axis=1, keepdims=True), signals.max(axis=1, keepdims=True)
    scaled: FloatArray = np.divide(signals - low, high - low, out=np.zeros_like(signals), where=high > low)
    return scaled


def cut(recording: Recording, how: Cut, resampled: FloatArray | None = None) -> tuple[FloatArray, IntArray, IntArray]:
    """Cut every beat that has a next R peak out of a recording; `resampled` are its signals at the rate of the beats.

    Returns:
        Beats ``[n, leads, how.length]``, lengths ``[n]`` and positions ``[n]`` in ``recording.peaks``, without the
        last beat, which has no RR interval, and without beats that are flat in every lead (electrodes off).
    """
    signals = at_rate(recording, how.fs) if resampled is None else resampled
    if how.scaling == "record":
        signals = scale_to_unit(signals)
    peaks = np.round(recording.peaks * (how.fs / recording.fs)).astype(np.int64)
    starts = peaks[:-1] - round(how.before * how.fs)
    wanted = (how.rr_factor * np.diff(peaks)).astype(np.int64) - how.margin + (peaks[:-1] - starts)

    beats = np.zeros((len(starts), len(signals), how.length), dtype=np.float32)
    lengths = np.zeros(len(starts), dtype=np.int64)
    kept = []
    for row, (start, length) in enumerate(zip(starts.tolist(), wanted.tolist(), strict=True)):
        # An end before the recording must not count from its other end, as a negative index would.
        beat = signals[:, max(start, 0) : max(start + min(length, how.length), 0)]
        if beat.shape[1] < 2 or (beat == beat[:, :1]).all():
            continue
        offset = max(-start, 0)
        end = offset + beat.shape[1]
        beats[row, :, offset:end] = scale_to_unit(beat) if how.scaling == "beat" else beat
        lengths[row] = end
        kept.append(row)
    rows = np.asarray(kept, dtype=np.int64)
    beats, lengths = beats[rows], lengths[rows]
    # A beat scaled by itself may end on its minimum, 0 in every lead. The Kaggle files, where nothing but zeros marks
    # the end, count that as padding, so it counts here too: beats of both sources have equal lengths.
    return beats, lengths_before_zeros(beats) if how.scaling == "beat" else lengths, rows


def lengths_before_zeros(signals: FloatArray) -> IntArray:
    """Samples ``[n]`` up to the last that is not zero in every lead of ``[n, leads, length]``.

    For files without lengths and beats just scaled to [0, 1]; other code that changes beats changes their lengths.
    """
    filled = (signals != 0).any(axis=1)
    lengths: IntArray = (filled * np.arange(1, signals.shape[2] + 1)).max(axis=1, initial=0).astype(np.int64)
    return lengths


def beats_of(
    recordings: Iterable[Recording],
    *,
    how: Cut,
    classes: tuple[str, ...],
    origin: dict[str, Any],
    context: Context = NO_CONTEXT,
) -> Beats:
    """Cut all recordings and join their beats; a `DataError` if none held a beat or they differ in their leads."""
    parts = []
    for recording in recordings:
        resampled = at_rate(recording, how.fs)
        signals, lengths, positions = cut(recording, how, resampled)
        around = context.of(recording.peaks, recording.fs, resampled, how.fs)
        parts.append(
            Beats(
                signals=signals,
                lengths=lengths,
                lead_names=recording.lead_names,
                labels=None if recording.labels is None else recording.labels[positions],
                classes=classes,
                fs=how.fs,
                records=np.full(len(positions), recording.record),
                patients=np.full(len(positions), recording.patient),
                samples=recording.peaks[positions],
                context=None if around is None else around[positions],
                context_names=context.names(recording.lead_names),
                origin=origin,
            )
        )
    if not any(len(part) for part in parts):
        raise DataError(f"{len(parts)} recordings held no beat to cut out")
    return Beats.concatenate(parts)
