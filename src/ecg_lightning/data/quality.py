"""Signal quality of each beat, from 0 (no usable signal) to 1: flat line, clipping, noise and baseline wander.

The four are those of the signal quality indices of Clifford et al., Physiol. Meas. 33(9), 2012: the share of flat line
(fSQI), the power of the QRS against that of noise (pSQI) and of the baseline (basSQI). There they are of ten seconds
and for 24 h of a patient's monitor; here they are measured in the time around one beat, and by formulas of our own:

- the share of the window that is a flat line, lost entirely;
- samples at the rails of the recording: `CLIPPED_S` of them, as long as a QRS complex, are a lost beat;
- ``a² / (a² + (n / NOISE)²)``, where ``n`` is the standard deviation above `NOISE_HZ` outside of all QRS complexes and
  ``a`` the height of the beat's own, less what noise adds to it: ½ is at a ratio of 17 dB, as the MIT-BIH Noise Stress
  Test Database counts it (``a² / 8`` to ``n²``);
- ``a² / (a² + (w / WANDER)²)``, where ``w`` is the range of the signal below `WANDER_HZ`.

Quality is their product. It does not depend on class or shape, and does not see what looks like an ECG but is none,
such as artefacts of moving electrodes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.data.recording import Recording

WINDOW_S = (0.25, 0.45)  # before and after the R peak: P wave to T wave
QRS_S = 0.08  # on each side of the R peak
FLAT_S = 0.15  # of equal samples, longer than any part of an ECG is at the resolution of its recorder
RAIL_S = 0.02  # of equal samples at the lowest or highest value of the recording; a peak is there for less
CLIPPED_S = 0.1
NOISE_HZ, WANDER_HZ = 25.0, 0.7
NOISE, WANDER = 0.05, 1.0  # heights, as parts of that of the QRS complex, at which quality is halved
POOR = 0.5  # quality below which a beat's signal is poor
RANGE = 4.0  # of noise in a QRS complex, in standard deviations

Signal = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.float64]


class Stretches:
    """Where one lead is a flat line, the same for `FLAT_S`, and where it is clipped, at its rails for `RAIL_S`.

    The lead comes in pieces, at its own rate `fs`. A gap, NaN, is neither.
    """

    def __init__(self, fs: float) -> None:
        self._flat, self._railed = max(FLAT_S * fs, 3), max(RAIL_S * fs, 3)  # samples
        self._n, self._last, self._open = 0, np.nan, 0  # samples so far, the last of them, where its run began
        self._low, self._high = np.inf, -np.inf
        self._runs: list[npt.NDArray[np.float64]] = []  # first sample, the one after the last, value

    def push(self, signal: Signal) -> None:
        """The next samples ``[t]``."""
        before = np.concatenate([[self._last], signal])
        starts = self._n + np.flatnonzero(signal != before[:-1])  # of runs of equal samples
        self._keep(np.concatenate([[self._open], starts[:-1]])[: len(starts)], starts, before)
        self._low, self._high = np.fmin.reduce(signal, initial=self._low), np.fmax.reduce(signal, initial=self._high)
        self._n += len(signal)
        self._open, self._last = (int(starts[-1]) if len(starts) else self._open), before[-1]

    def finish(self) -> tuple[IntArray, IntArray]:
        """Flat and clipped stretches ``[k, 2]``: first sample, and the one after the last."""
        self._keep(np.array([self._open]), np.array([self._n]), np.array([self._last]))
        starts, stops, values = np.concatenate(self._runs, axis=1)
        at_rail = (values == self._low) | (values == self._high)
        runs = np.stack([starts, stops], axis=1).astype(np.int64)
        return runs[stops - starts >= self._flat], runs[at_rail]

    def _keep(self, starts: IntArray, stops: IntArray, before: Signal) -> None:
        """Of runs that end, those that last; `before` are the samples up to them from the one before this piece."""
        lasting = stops - starts >= min(self._flat, self._railed)
        starts, stops = starts[lasting], stops[lasting]
        values = before[stops - self._n]  # a run ends with the sample before its stop
        self._runs.append(np.stack([starts, stops, values]))


def flat_and_clipped(signal: Signal, fs: float) -> tuple[IntArray, IntArray]:
    """The `Stretches` ``[k, 2]`` of one lead ``[t]`` at its own rate."""
    stretches = Stretches(fs)
    stretches.push(signal)
    return stretches.finish()


def merged(stretches: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The stretches ``[k, 2]`` that are in any of these, ascending and disjoint."""
    every = np.concatenate([np.empty((0, 2), dtype=np.int64), *stretches])
    every = every[every[:, 0].argsort(kind="stable")]
    ends = np.maximum.accumulate(every[:, 1])
    first = np.flatnonzero(np.concatenate([[True], every[1:, 0] > ends[:-1]])[: len(every)])
    last = np.append(first[1:], len(every))[: len(first)] - 1
    return np.stack([every[first, 0], ends[last]], axis=1)


def samples_in(stretches: IntArray, starts: IntArray, stops: IntArray) -> IntArray:
    """Samples ``[b]`` in ascending, disjoint stretches ``[k, 2]`` of each window, from starts ``[b]`` to stops."""
    before = np.concatenate([[0], np.cumsum(stretches[:, 1] - stretches[:, 0])])
    ends = np.concatenate([[0], stretches[:, 1]])

    def up_to(at: IntArray) -> IntArray:
        begun = np.searchsorted(stretches[:, 0], at)
        counted: IntArray = before[begun] - np.maximum(ends[begun] - at, 0)
        return counted

    return up_to(stops) - up_to(starts)


def quality_of_beats(recording: Recording, resampled: FloatArray, fs: float) -> FloatArray:
    """Quality ``[b]`` of the beat at each R peak, that of the worst lead, as a model sees all of them.

    `resampled` are the signals ``[leads, t]`` in mV at the rate `fs` of the beats, without gaps.
    """
    peaks = recording.peaks / recording.fs
    quality = np.ones(len(peaks))
    for lead, signal in zip(recording.signals, resampled, strict=True):
        held = signal_held(peaks, flat_and_clipped(lead, recording.fs), len(lead), recording.fs)
        quality = np.minimum(quality, held * purity(signal, peaks, fs, recording.fs))
    return quality.astype(np.float32)


def signal_held(peaks: Numbers, stretches: tuple[IntArray, IntArray], n: int, fs: float) -> Numbers:
    """How much signal ``[b]``, 0 to 1, flat line and clipping leave around R peaks at these seconds.

    `stretches` are those of `flat_and_clipped` in a lead of `n` samples.
    """
    starts, stops = _windows(peaks, fs, n)
    length = stops - starts
    flat, clipped = (
        np.divide(samples_in(own, starts, stops), length, out=np.ones(len(peaks)), where=length > 0)
        for own in stretches
    )
    held: Numbers = np.clip(1 - flat - clipped * sum(WINDOW_S) / CLIPPED_S, 0, 1)
    return held


def _windows(peaks: Numbers, fs: float, n: int) -> tuple[IntArray, IntArray]:
    """First and last sample, less one, of the stretch around each R peak in a signal of `n` samples."""
    before, after = WINDOW_S
    starts = np.clip(np.round((peaks - before) * fs), 0, n).astype(np.int64)
    return starts, np.clip(np.round((peaks + after) * fs) + 1, 0, n).astype(np.int64)


def purity(signal: FloatArray, peaks: Numbers, fs: float, recorded_fs: float) -> Numbers:
    """The factors of noise and wander ``[b]`` of one lead ``[t]`` at `fs`, at R peaks in seconds from its start."""
    from scipy.signal import butter, sosfiltfilt

    n = len(signal)
    reach, at = max(round(QRS_S * fs), 1), np.clip(np.round(peaks * fs).astype(np.int64), 0, n - 1)
    qrs = np.clip(at[:, None] + np.arange(-reach, reach + 1), 0, n - 1)
    height = np.ptp(signal[qrs], axis=1)

    between = np.ones(n, dtype=bool)
    between[qrs] = False
    top_hz, pad = min(fs, recorded_fs) / 2, min(n - 1, round(fs))
    noise_hz = min(NOISE_HZ, 0.8 * top_hz)
    wander_hz = min(WANDER_HZ, noise_hz)
    rest = np.abs(sosfiltfilt(butter(2, noise_hz, "highpass", fs=fs, output="sos"), signal, padlen=pad))
    starts, stops = _windows(peaks, fs, n)

    def total(values: npt.NDArray[Any]) -> Numbers:
        running = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        summed: Numbers = running[stops] - running[starts]
        return summed

    counted = total(between)
    # The mean absolute value is that of normal noise times √(2/π), and small spikes of a pacemaker do not count much.
    noise = np.sqrt(np.pi / 2) * total(rest * between) / np.maximum(counted, 1)
    noise /= np.sqrt(1 - noise_hz / top_hz)  # white noise below `NOISE_HZ` is not in it

    baseline = sosfiltfilt(butter(1, wander_hz, fs=fs, output="sos"), signal, padlen=pad)
    baseline = baseline[np.clip(np.stack([starts, at, stops]), 0, n - 1)]
    power = np.maximum(np.square(height) - np.square(RANGE * noise), 0)
    factors = [power + np.square(other) for other in (noise / NOISE, np.ptp(baseline, axis=0) / WANDER)]
    purity: Numbers = np.prod(
        [np.divide(power, one, out=np.zeros(len(peaks)), where=one > 0) for one in factors], axis=0
    )
    return purity
