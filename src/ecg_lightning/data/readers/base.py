"""What a reader of a file format offers: a recording that is opened by its header and read in pieces."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.recording import Annotations, Leads

Signal = npt.NDArray[np.float64]

CHUNK_S = 600.0  # seconds that are read at once

# Factor from a unit to millivolts, by its name in lower case; µ has two code points.
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6,
              "millivolt": 1.0, "millivolts": 1.0, "microvolt": 1e-3, "microvolts": 1e-3, "volt": 1e3, "volts": 1e3}  # fmt: skip


class RecordingFile(ABC):
    """One recording on disk; its signals are not yet read.

    Time is counted in frames: a lead has `samples_per_frame` samples in each.

    Attributes:
        name: of the record.
        lead_names: of all its leads.
        frame_rate: frames a second, Hz.
        samples_per_frame: of each lead.
        n_frames: length of the recording.
        comments: lines of text of its header.
        files: all files that it consists of, without annotations.
    """

    path: Path
    name: str
    lead_names: tuple[str, ...]
    frame_rate: float
    samples_per_frame: tuple[int, ...]
    n_frames: int
    comments: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @abstractmethod
    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        """The leads at these positions from frame `start` to before `stop`, each at its own rate, in mV, NaN in gaps.

        DataError if the file is cut off or damaged, or a unit is none of voltage.
        """

    @abstractmethod
    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        """All annotations of an annotator, and the rate in Hz of the clock of their samples; DataError without them."""

    def fs(self, positions: Sequence[int]) -> float:
        """The sampling rate in Hz at which these leads are read together: that of the finest."""
        return self.frame_rate * max(self.samples_per_frame[position] for position in positions)

    def read(self, positions: Sequence[int]) -> Signal:
        """Leads ``[leads, t]`` of the whole recording at `fs`, in mV, NaN in gaps; read in pieces of `CHUNK_S`."""
        from ecg_lightning.data.windows import resample

        rates = [self.samples_per_frame[position] for position in positions]
        signals = [np.empty(self.n_frames * rate) for rate in rates]
        step = max(1, round(CHUNK_S * self.frame_rate))
        for start in range(0, self.n_frames, step):
            stop = min(start + step, self.n_frames)
            for signal, rate, part in zip(signals, rates, self.read_frames(positions, start, stop), strict=True):
                signal[start * rate : stop * rate] = part
        finest = max(rates)
        return np.stack(
            [signal if rate == finest else resample(signal, rate, finest) for signal, rate in zip(signals, rates, strict=True)]
        )  # fmt: skip

    def positions(self, leads: Leads) -> list[int]:
        """Where each place of `leads` is: the first alternative that is there and that no place before has taken."""
        by_name = {name.lower(): position for position, name in reversed([*enumerate(self.lead_names)])}
        positions: list[int] = []
        for place in leads:
            found = [lead if isinstance(lead, int) else by_name.get(lead.lower(), -1) for lead in place]
            position = next((at for at in found if 0 <= at < len(self.lead_names) and at not in positions), None)
            if position is None:
                taken = f", of which {', '.join(self.lead_names[at] for at in positions)} is taken" if positions else ""
                raise DataError(
                    f"record {self.name} has no lead {' or '.join(map(repr, place))}; it has "
                    f"{', '.join(self.lead_names)}{taken}. Choose dataset.leads=[…], or --leads '[…]' of evaluate"
                )
            positions.append(position)
        return positions


def to_millivolts(unit: Any, *, lead: str, where: str) -> float:
    """The factor from a unit to millivolts; DataError for one that is none of voltage."""
    factor = MILLIVOLTS.get(str(unit or "mV").strip().lower())
    if factor is None:
        raise DataError(
            f"{where}: lead {lead} is in {unit!r}, expected a unit of voltage (mV, uV, V or nV); "
            "correct the header, or choose other leads with dataset.leads=[…]"
        )
    return factor
