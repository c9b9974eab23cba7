"""A recording in a MATLAB file without a WFDB header beside it, as of the challenges of Computing in Cardiology."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers.annotations import annotations_beside
from ecg_lightning.data.readers.base import Calibration, RecordingFile, Signal
from ecg_lightning.data.recording import Annotations


class MatFile(RecordingFile):
    """A recording in the variable ``val``, or the only table of numbers, ``[leads, t]`` or ``[t, leads]``.

    Args:
        path: of the file, of MATLAB's version 4 to 7.
        fs: sampling rate in Hz, which such a file does not state.
        calibration: of all leads.
    """

    def __init__(self, path: Path, *, fs: float | None, calibration: Calibration) -> None:
        from scipy.io import whosmat

        self.path, self.name, self.files = path, path.stem, (path,)
        try:
            found = {name: shape for name, shape, _ in whosmat(path)}
        except NotImplementedError as error:
            raise DataError(f"{path} is of MATLAB's version 7.3; save it with -v7, or as WFDB or CSV") from error
        except Exception as error:  # scipy raises whatever its parsing stumbles over
            raise DataError(f"{path} is no readable MATLAB file: {error}") from error
        tables = [name for name, shape in found.items() if len(shape) == 2 and min(shape) > 0 and max(shape) > 1]
        name = "val" if "val" in tables else tables[0] if len(tables) == 1 else None
        if name is None:
            raise DataError(f"{path} has the variables {', '.join(found) or 'of no name'}; expected the signals in val")
        if fs is None:
            raise DataError(
                f"{path} has no header {path.stem}.hea that states a sampling rate; set dataset.csv.fs (annotate: --fs)"
            )
        self._variable, shape = name, found[name]
        self.n_frames, n_leads = max(shape), min(shape)
        self.lead_names = tuple(f"lead {at}" for at in range(n_leads))
        self.samples_per_frame = (1,) * n_leads
        self.frame_rate = float(fs)
        self._calibration = calibration

    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        return [
            self._calibration.millivolts(
                self._values[at, start:stop].astype(np.float64), lead=self.lead_names[at], where=str(self.path)
            )
            for at in positions
        ]

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        return annotations_beside(self.path, annotator, self.frame_rate)

    @cached_property
    def _values(self) -> npt.NDArray[Any]:
        """All leads ``[leads, t]``, in the type of the file, which cannot be read in pieces."""
        from scipy.io import loadmat

        try:
            values = np.asarray(loadmat(self.path, variable_names=[self._variable])[self._variable])
            if values.dtype.kind not in "iuf":
                raise ValueError(f"{self._variable} holds {values.dtype}, not numbers")
        except Exception as error:  # scipy raises whatever its parsing stumbles over
            raise DataError(f"{self.path} cannot be read: {error}") from error
        return values if values.shape[0] <= values.shape[1] else values.T
