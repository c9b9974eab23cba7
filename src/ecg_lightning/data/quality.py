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

from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import BoolArray, FloatArray
from ecg_lightning.data.recording import Recording

WINDOW_S = (0.25, 0.45)  # before and after the R peak: P wave to T wave
QRS_S = 0.08  # on each side of the R peak
FLAT_S = 0.15  # of equal samples, longer than any part of an ECG is at the resolution of its recorder
RAIL_S = 0.02  # of equal samples at the lowest or highest value of the recording; a peak is there for less
CLIPPED_S = 0.1
NOISE_HZ, WANDER_HZ = 25.0, 0.7
NOISE, WANDER = 0.05, 1.0  # heights, as parts of that of the QRS complex, at which quality is halved
RANGE = 4.0  # of noise in a QRS complex, in standard deviations

Signal = npt.NDArray[np.floating[Any]]
Numbers = npt.NDArray[np.float64]


def flat_and_clipped(signal: Signal, fs: float) -> tuple[BoolArray, BoolArray]:
    """Where a signal ``[t]`` at its own rate stays the same for `FLAT_S`, and where it stays at its rails for `RAIL_S`.

    A gap, NaN, is neither.
    """
    same = np.concatenate([[False], signal[1:] == signal[:-1], [False]])
    edges = np.flatnonzero(same[1:] != same[:-1])
    starts, stops = edges[::2], edges[1::2] + 1
    lasting, low, high = stops - starts, np.fmin.reduce(signal), np.fmax.reduce(signal)
    long = lasting >= max(FLAT_S * fs, 3)
    railed = ((signal[starts] == low) | (signal[starts] == high)) & (lasting >= max(RAIL_S * fs, 3))
    flat, clipped = np.zeros((2, len(signal)), dtype=bool)
    for runs, where in ((long, flat), (railed, clipped)):
        for start, stop in zip(starts[runs], stops[runs], strict=True):
            where[start:stop] = True
    return flat, clipped


def quality_of_beats(recording: Recording, resampled: FloatArray, fs: float) -> FloatArray:
    """Quality ``[b]`` of the beat at each R peak, that of the worst lead, as a model sees all of them.

    `resampled` are the signals ``[leads, t]`` in mV at the rate `fs` of the beats, without gaps.
    """
    peaks = recording.peaks / recording.fs
    quality = np.ones(len(peaks))
    for lead, signal in zip(recording.signals, resampled, strict=True):
        flat, clipped = flat_and_clipped(lead, recording.fs)
        window = _Windows(peaks, recording.fs, len(lead))
        lost = window.share(flat) + window.share(clipped) * sum(WINDOW_S) / CLIPPED_S
        quality = np.minimum(quality, np.clip(1 - lost, 0, 1) * _purity(signal, peaks, fs, recording.fs))
    return quality.astype(np.float32)


class _Windows:
    """The stretches around R peaks, given in seconds, of a signal of `n` samples at a rate."""

    def __init__(self, peaks: Numbers, fs: float, n: int) -> None:
        before, after = WINDOW_S
        self.starts = np.clip(np.round((peaks - before) * fs), 0, n).astype(np.int64)
        self.stops = np.clip(np.round((peaks + after) * fs) + 1, 0, n).astype(np.int64)

    def sum(self, values: npt.NDArray[Any]) -> Numbers:
        """Of the values ``[t]`` in each stretch."""
        if not values.any():  # as most recordings have no flat line
            return np.zeros(len(self.starts))
        running = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
        total: Numbers = running[self.stops] - running[self.starts]
        return total

    def share(self, where: BoolArray) -> Numbers:
        """Of each stretch that is `where`; all of one outside of the signal."""
        n = self.stops - self.starts
        shares: Numbers = np.divide(self.sum(where), n, out=np.ones(len(n)), where=n > 0)
        return shares


def _purity(signal: FloatArray, peaks: Numbers, fs: float, recorded_fs: float) -> Numbers:
    """The factors of noise and wander ``[b]`` of one lead ``[t]``, recorded at another rate."""
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
    window = _Windows(peaks, fs, n)
    counted = window.sum(between)
    # The mean absolute value is that of normal noise times √(2/π), and small spikes of a pacemaker do not count much.
    noise = np.sqrt(np.pi / 2) * window.sum(rest * between) / np.maximum(counted, 1)
    noise /= np.sqrt(1 - noise_hz / top_hz)  # white noise below `NOISE_HZ` is not in it

    baseline = sosfiltfilt(butter(1, wander_hz, fs=fs, output="sos"), signal, padlen=pad)
    baseline = baseline[np.clip(np.stack([window.starts, at, window.stops]), 0, n - 1)]
    power = np.maximum(np.square(height) - np.square(RANGE * noise), 0)
    factors = [power + np.square(other) for other in (noise / NOISE, np.ptp(baseline, axis=0) / WANDER)]
    purity: Numbers = np.prod(
        [np.divide(power, one, out=np.zeros(len(peaks)), where=one > 0) for one in factors], axis=0
    )
    return purity
