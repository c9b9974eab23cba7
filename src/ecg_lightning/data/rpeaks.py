"""Detection of R peaks in a recording."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.data.windows import bridged, resample

DETECTORS = ("network", "sleepecg", "xqrs")


class RPeaks(NamedTuple):
    """R peaks on the clock of a recording, ascending, and how probable each is."""

    samples: IntArray  # [b]
    probability: FloatArray  # [b]; 1 where the detector states none


def detect_r_peaks(signals: npt.NDArray[np.floating[Any]], fs: float, *, detector: str = "xqrs") -> RPeaks:
    """R peaks of ``[t]`` or ``[leads, t]`` as sample indices, found in the first lead. In gaps, NaN, there is none."""
    if detector not in DETECTORS:
        raise ConfigError(f"detector={detector}: expected {', '.join(DETECTORS)}")
    signal, gaps = bridged(np.atleast_2d(signals)[0])
    if detector == "sleepecg":
        from sleepecg import detect_heartbeats  # type: ignore[attr-defined]

        peaks = np.asarray(detect_heartbeats(signal.astype(np.float64), fs), dtype=np.int64)
    else:
        peaks = _xqrs(signal, fs)
    samples = peaks if gaps is None else peaks[~gaps[peaks]]
    return RPeaks(samples, np.ones(len(samples), dtype=np.float32))


def _xqrs(signal: npt.NDArray[np.floating[Any]], fs: float) -> IntArray:
    """Found by wfdb's XQRS at 250 Hz, the rate of its filters, and moved to the highest sample within 60 ms."""
    from wfdb.processing import xqrs_detect

    detected = xqrs_detect(resample(signal, fs, 250.0).astype(np.float64), fs=250, verbose=False) * (fs / 250.0)
    radius = round(0.06 * fs)
    starts = np.maximum(np.round(detected).astype(np.int64) - radius, 0)
    highest = [start + int(np.argmax(signal[start : start + 2 * radius + 1])) for start in starts]
    return np.unique(np.asarray(highest, dtype=np.int64))
