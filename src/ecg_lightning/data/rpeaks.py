"""Detection of R peaks in a recording."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import IntArray
from ecg_lightning.data.windows import bridged, resample


def detect_r_peaks(signal: npt.NDArray[np.floating[Any]], fs: float) -> IntArray:
    """R peaks of ``[t]`` as sample indices, found by wfdb's XQRS and moved to the highest sample within 60 ms.

    XQRS runs at 250 Hz, the rate of its filters: at PTB's 1000 Hz it finds no beat in some records. In gaps, where the
    signal is NaN, there is none.
    """
    from wfdb.processing import xqrs_detect

    signal, gaps = bridged(signal)
    detected = xqrs_detect(resample(signal, fs, 250.0).astype(np.float64), fs=250, verbose=False) * (fs / 250.0)
    radius = round(0.06 * fs)
    starts = np.maximum(np.round(detected).astype(np.int64) - radius, 0)
    highest = [start + int(np.argmax(signal[start : start + 2 * radius + 1])) for start in starts]
    peaks = np.unique(np.asarray(highest, dtype=np.int64))
    return peaks if gaps is None else peaks[~gaps[peaks]]
