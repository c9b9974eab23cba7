"""`Recording`: a continuous signal with its beats, as every reader yields it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import IntArray


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
