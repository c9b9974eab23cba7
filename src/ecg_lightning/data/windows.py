"""From a continuous recording to beats: resampling, cutting at the R peaks, scaling and padding.

The defaults rebuild the beats of the Kaggle files (Fazeli, "ECG Heartbeat Categorization Dataset"), after Kachuee,
Fazeli & Sarrafzadeh, ICHI 2018, section III-A: cut from an R peak to 1.2 times the interval to the next one and
zero-padded to 187 samples at 125 Hz; from MIT-BIH they give exactly the published number of each class. The
paper scales by 10 s windows; the released files hold beats scaled one by one.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.options import Hertz, Natural, Positive, Seconds, options
from ecg_lightning.data.beats import Beats, BoolArray, FloatArray, IntArray, added_up
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.names import Names
from ecg_lightning.data.quality import quality_of_beats
from ecg_lightning.data.recording import Recording

log = logging.getLogger(__name__)


@options("dataset.cut")
class Cut:
    """How beats are cut out of a recording."""

    fs: Hertz = 125.0  # sampling rate of the beats in Hz
    length: Annotated[int, Field(ge=2, le=10_000)] = 187  # samples a beat, with padding and what is before the R peak
    rr_factor: Positive = 1.2  # a beat ends this multiple of its RR interval (to the next R peak) after its R peak …
    margin: Natural = 3  # … less this many samples
    before: Seconds = 0.0  # seconds before the R peak at which a beat starts
    scaling: Literal["beat", "record", "none"] = "beat"  # to [0, 1] by minimum and maximum of either, or none (mV)


CUT_AT_ONCE = 4096  # beats, which bounds the memory
FILTER_REACH = 11  # samples of the lower rate on each side that scipy's resampling filter sees


def resample(signal: npt.NDArray[np.floating[Any]], fs: float, new_fs: float) -> FloatArray:
    """Polyphase resampling of ``[t]`` from `fs` to `new_fs` (both Hz), with scipy's zero-phase anti-aliasing filter."""
    from scipy.signal import resample_poly

    ratio = (Fraction(new_fs) / Fraction(fs)).limit_denominator(10_000)
    resampled: FloatArray = resample_poly(signal, ratio.numerator, ratio.denominator, padtype="line")
    return resampled.astype(np.float32, copy=False)


def bridged(
    signal: npt.NDArray[np.floating[Any]],
) -> tuple[npt.NDArray[np.floating[Any]], BoolArray | None]:
    """A signal ``[t]`` with straight lines through its gaps (NaN), and where these are; None without any."""
    gaps = ~np.isfinite(signal)
    if not gaps.any():
        return signal, None
    if gaps.all():
        return np.zeros_like(signal), gaps
    filled = signal.copy()
    filled[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), signal[~gaps])
    return filled, gaps


def at_rate(recording: Recording, fs: float) -> FloatArray:
    """The signals ``[leads, t]`` of a recording at another sampling rate in Hz; NaN wherever a gap has an influence."""
    return np.stack([resample_around_gaps(signal, recording.fs, fs) for signal in recording.signals])


def resample_around_gaps(signal: npt.NDArray[np.floating[Any]], fs: float, new_fs: float) -> FloatArray:
    """`resample` of a signal ``[t]`` with gaps, NaN; wherever one has an influence, the result is NaN."""
    filled, gaps = bridged(signal)
    resampled = resample(filled, fs, new_fs)
    if gaps is not None:
        for first, last in around_gaps(gaps, new_fs / fs):
            resampled[max(0, int(np.floor(first))) : int(np.ceil(last))] = np.nan
    return resampled


def around_gaps(gaps: BoolArray, ratio: float) -> npt.NDArray[np.float64]:
    """Where gaps ``[t]`` have an influence at `ratio` times the rate: ``[n, 2]``, first sample and the one after."""
    reach = FILTER_REACH * max(ratio, 1)
    edges = np.flatnonzero(np.diff(gaps, prepend=False, append=False)).reshape(-1, 2) * ratio
    influenced: npt.NDArray[np.float64] = edges + np.array([-reach, reach])
    return influenced


def scale_to_unit(signals: FloatArray) -> FloatArray:
    """Each lead of ``[leads, t]`` to [0, 1] by its own minimum and maximum; a flat one becomes zeros."""
    # A gap, NaN, is neither; fmin and fmax pass over it without the copies that nanmin makes.
    low, high = (extreme.reduce(signals, axis=1, keepdims=True) for extreme in (np.fmin, np.fmax))
    scaled: FloatArray = np.divide(signals - low, high - low, out=np.zeros_like(signals), where=high > low)
    return scaled


def cut(recording: Recording, how: Cut, resampled: FloatArray | None = None) -> tuple[FloatArray, IntArray, IntArray]:
    """`cut_at` the R peaks of a recording; `resampled` are its signals at the rate of the beats."""
    signals = at_rate(recording, how.fs) if resampled is None else resampled
    return cut_at(peaks_at(recording.peaks, recording.fs, how.fs), signals, how)


def peaks_at(peaks: IntArray, fs: float, new_fs: float) -> IntArray:
    """R peaks ``[b]``, samples at one rate, as samples at another."""
    return np.round(peaks * (new_fs / fs)).astype(np.int64)


def cut_at(peaks: IntArray, signals: FloatArray, how: Cut) -> tuple[FloatArray, IntArray, IntArray]:
    """Cut every beat that has a next R peak out of signals ``[leads, t]`` at the rate of the beats, as are the peaks.

    Returns:
        Beats ``[n, leads, how.length]``, lengths ``[n]`` and positions ``[n]`` in `peaks`, without the last beat, which
        has no RR interval, without beats that are flat in every lead (electrodes off), and without beats that touch a
        gap.
    """
    if how.scaling == "record":
        signals = scale_to_unit(signals)
    starts, wanted = _windows(peaks, how)
    wanted = np.minimum(wanted, how.length)
    # An end before the recording must not count from its other end, as a negative index would.
    first, last = np.maximum(starts, 0), np.clip(starts + wanted, 0, signals.shape[1])
    usable = last - first >= 2
    parts = [
        _cut(signals, starts[rows], first[rows], last[rows], how)
        for rows in np.array_split(np.flatnonzero(usable), len(starts) // CUT_AT_ONCE + 1)
    ]
    beats, kept = (np.concatenate(part) for part in zip(*parts, strict=True))
    rows = np.flatnonzero(usable)[kept]
    lengths = (last - starts)[rows]
    # A beat scaled by itself may end on its minimum, 0 in every lead. The Kaggle files, where nothing but zeros marks
    # the end, count that as padding, so it counts here too: beats of both sources have equal lengths.
    return beats, lengths_before_zeros(beats) if how.scaling == "beat" else lengths, rows


def _cut(
    signals: FloatArray, starts: IntArray, first: IntArray, last: IntArray, how: Cut
) -> tuple[FloatArray, BoolArray]:
    """Beats ``[k, leads, how.length]`` with the samples from `first` to `last` of each, and which ``[n]`` these are.

    Those with a gap, and those that are flat in every lead, are none.
    """
    at = starts[:, None] + np.arange(how.length)
    # Beyond the ends of a beat its last samples are repeated, which leaves its minimum and maximum alone.
    inside = (at >= first[:, None]) & (at < last[:, None])
    at = np.clip(at, first[:, None], last[:, None] - 1)
    beats = np.stack([signal[at] for signal in signals], axis=1)
    low, high = beats.min(axis=2, keepdims=True), beats.max(axis=2, keepdims=True)
    kept = (np.isfinite(high - low).all(axis=1) & (high > low).any(axis=1))[:, 0]
    if not kept.all():
        beats, inside, low, high = beats[kept], inside[kept], low[kept], high[kept]
    if how.scaling == "beat":
        beats -= low
        beats /= np.where(high > low, high - low, 1)
    np.copyto(beats, 0, where=~inside[:, None])
    return beats, kept


def lengths_before_zeros(signals: FloatArray) -> IntArray:
    """Samples ``[n]`` up to the last that is not zero in every lead of ``[n, leads, length]``.

    For files without lengths and beats just scaled to [0, 1]; other code that changes beats changes their lengths.
    """
    filled = (signals != 0).any(axis=1)
    lengths: IntArray = np.where(filled.any(axis=1), signals.shape[2] - filled[:, ::-1].argmax(axis=1), 0)
    return lengths


def _windows(peaks: IntArray, how: Cut) -> tuple[IntArray, IntArray]:
    """Start and wanted length of each beat but the last, ``[b - 1]``; all in samples at the rate of the beats."""
    starts = peaks[:-1] - round(how.before * how.fs)
    return starts, (how.rr_factor * np.diff(peaks)).astype(np.int64) - how.margin + (peaks[:-1] - starts)


def beats_of(
    recordings: Iterable[Recording],
    *,
    how: Cut,
    classes: tuple[str, ...],
    origin: dict[str, Any],
    context: Context = NO_CONTEXT,
) -> Beats:
    """Cut all recordings and join their beats: see `beats_of_one` and `checked`."""
    parts = (beats_of_one(one, how=how, classes=classes, origin=origin, context=context) for one in recordings)
    return Beats.concatenate(list(checked(parts)))


def checked(parts: Iterable[Beats]) -> Iterator[Beats]:
    """The beats of recordings as they come; the log states what was dropped. A `DataError` if none held a beat."""
    sizes, origins = [], []
    for part in parts:
        yield part
        sizes.append(len(part))
        origins.append(part.origin.get("dropped", {}))
    if not any(sizes):
        raise DataError(f"{len(sizes)} recordings held no beat to cut out")
    dropped = added_up(origins)
    if counts := dropped.get("without class"):
        log.info("%d beats have no class and are part of the rhythm alone: %s", sum(counts.values()), counts)
    if in_gaps := dropped.get("touching a gap"):
        log.info("%d beats touch a gap in their recording and are left out", in_gaps)


def beats_of_one(
    recording: Recording,
    *,
    how: Cut,
    classes: tuple[str, ...],
    origin: dict[str, Any],
    context: Context = NO_CONTEXT,
) -> Beats:
    """Cut the beats of a recording.

    Beats without class are part of the rhythm, and of the morphology around, but are not among the beats. How many
    there were of each symbol, and how many beats touch a gap, is in ``origin["dropped"]``.
    """
    dropped: dict[str, Any] = {}
    resampled = at_rate(recording, how.fs)
    signals, lengths, positions = cut(recording, how, resampled)
    if not np.isfinite(resampled).all():
        starts, wanted = _windows(peaks_at(recording.peaks, recording.fs, how.fs), how)
        before = np.concatenate([[0], np.cumsum(~np.isfinite(resampled).all(axis=0))])  # samples in gaps
        first, last = np.clip([starts, starts + np.minimum(wanted, how.length)], 0, resampled.shape[1])
        if in_gaps := int((before[last] > before[first]).sum()):
            dropped["touching a gap"] = in_gaps
        resampled = np.stack([bridged(signal)[0] for signal in resampled])
    around = context.of(recording.peaks, recording.fs, resampled, how.fs)
    if recording.labels is not None and (recording.labels < 0).any():
        nameless = np.flatnonzero(recording.labels < 0)
        symbols = recording.symbols or ["?"] * len(recording.peaks)
        dropped["without class"] = Counter([symbols[at] for at in nameless.tolist()])
        with_class = recording.labels[positions] >= 0
        signals, lengths, positions = signals[with_class], lengths[with_class], positions[with_class]
    n, quality = len(positions), quality_of_beats(recording, resampled, how.fs)
    return Beats(
        signals=signals,
        lengths=lengths,
        lead_names=recording.lead_names,
        labels=None if recording.labels is None else recording.labels[positions],
        classes=classes,
        fs=how.fs,
        records=Names.full(n, recording.record),
        patients=None if recording.patient is None else Names.full(n, recording.patient),
        samples=recording.peaks[positions],
        context=None if around is None else around[positions],
        context_names=context.names(recording.lead_names),
        folds=None if recording.fold is None else Names.full(n, recording.fold),
        quality=quality[positions],
        origin=origin | ({"dropped": dropped} if dropped else {}),
    )
