"""What a reader of a file format offers: a recording that is opened by its header and read in pieces."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.recording import Annotations, Leads
from ecg_lightning.data.windows import resample_around_gaps

Signal = npt.NDArray[np.float64]

CHUNK_S = 600.0  # seconds that are read at once
LONGEST_S = 60 * 86_400.0  # seconds beyond which a stated length is an error rather than a recording

SLOWEST, FASTEST = 20.0, 100_000.0  # Hz, of an electrocardiogram; outside, a stated sampling rate is an error

LARGEST = 50.0  # mV; more, without a unit, is something else
IMPOSSIBLE = 10_000.0  # mV, with any offset of electrodes; single precision would lose more
COUNTS = ("adu", "raw", "counts", "lsb")  # units of a converter

# Factor from a unit to millivolts, by its name in lower case; µ has two code points.
MILLIVOLTS = {
    "mv": 1.0, "millivolt": 1.0, "millivolts": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "microvolt": 1e-3,
    "microvolts": 1e-3, "v": 1e3, "volt": 1e3, "volts": 1e3, "nv": 1e-6,
}  # fmt: skip


def is_present(path: Path, kind: Callable[[Path], bool] = Path.is_file) -> bool:
    """Whether there is a file, or another `kind`, of a name that may be too long for the disk or have a NUL."""
    with suppress(OSError, ValueError):
        return kind(path)
    return False


class RecordingFile(ABC):
    """One recording on disk; its signals are not yet read.

    Time is counted in frames: a lead has `samples_per_frame` samples in each.

    Attributes:
        name: of the record.
        lead_names: of all its leads.
        frame_rate: frames a second, Hz.
        samples_per_frame: of each lead.
        n_frames: length of the recording.
        stated_fs: sampling rate in Hz of the finest lead, as the file states it; None where it does not.
        stated_units: of each lead, as the file states them; None where it does not.
        comments: lines of text of its header.
        start: date and time of its beginning, as ISO 8601; None where the file does not say.
        files: all files that it consists of, without annotations.
    """

    path: Path
    name: str
    lead_names: tuple[str, ...]
    frame_rate: float
    samples_per_frame: tuple[int, ...]
    n_frames: int
    stated_fs: float | None = None
    stated_units: Sequence[str | None] = ()
    comments: tuple[str, ...] = ()
    start: str | None = None
    files: tuple[Path, ...] = ()

    @abstractmethod
    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        """The leads at these positions from frame `start` to before `stop`, each at its own rate, in mV, NaN in gaps.

        DataError if the file is cut off or damaged, or a unit is none of voltage.
        """

    def frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        """The same, after checks that all is there and of a size that a recording can have; infinity is a gap, too."""
        parts = [np.where(np.isinf(part), np.nan, part) for part in self.read_frames(positions, start, stop)]
        for at, part in zip(positions, parts, strict=True):
            if len(part) != (stop - start) * self.samples_per_frame[at]:
                raise DataError(f"{self.path} is cut off: it holds less than the {self.n_frames:,} frames it states")
            if (largest := np.abs(part).max(initial=0, where=np.isfinite(part))) > IMPOSSIBLE:
                raise DataError(
                    f"{self.path}: lead {self.lead_names[at]} reaches {largest:.3g} mV, which no ECG does; "
                    "correct the gain, baseline or unit that it states"
                )
        return parts

    @abstractmethod
    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        """All annotations of an annotator, and the rate in Hz of the clock of their samples; DataError without them."""

    def fs(self, positions: Sequence[int]) -> float:
        """The sampling rate in Hz at which these leads are read together: that of the finest."""
        return self.frame_rate * max(self.samples_per_frame[position] for position in positions)

    def read(self, positions: Sequence[int]) -> Signal:
        """Leads ``[leads, t]`` of the whole recording at `fs`, in mV, NaN in gaps; read in pieces of `CHUNK_S`."""
        rates = [self.samples_per_frame[position] for position in positions]
        finest = max(rates)
        if self.n_frames > LONGEST_S * self.frame_rate:
            raise DataError(f"{self.path} states {self.n_frames:,} frames at {self.frame_rate:g} Hz, more than 60 days")
        signals = np.empty((len(rates), self.n_frames * finest))
        coarser = {at: np.empty(self.n_frames * rate) for at, rate in enumerate(rates) if rate < finest}
        step = max(1, round(CHUNK_S * self.frame_rate))
        for start in range(0, self.n_frames, step):
            stop = min(start + step, self.n_frames)
            for at, part in enumerate(self.frames(positions, start, stop)):
                coarser.get(at, signals[at])[start * rates[at] : stop * rates[at]] = part
        for at, signal in coarser.items():
            signals[at] = resample_around_gaps(signal, rates[at], finest)
        return signals

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
                    f"{', '.join(self.lead_names)}{taken}. Choose dataset.leads=[…], or --leads '[…]' of evaluate "
                    "and annotate"
                )
            positions.append(position)
        return positions


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How the numbers of a file without a header of its own become millivolts.

    Attributes:
        unit: of voltage, or of a converter (``adu``); None is mV, if the numbers are small enough for it.
        gain: analog-to-digital units a millivolt, whatever the unit.
        baseline: analog-to-digital units at 0 mV.
    """

    unit: str | None = None
    gain: float | None = None
    baseline: float = 0.0

    def millivolts(self, values: Signal, *, lead: str, where: str) -> Signal:
        """Of `values` ``[t]``; DataError for a unit that is none of voltage, or one that is missing."""
        if self.gain is not None:
            return (values - self.baseline) / self.gain
        largest = float(np.abs(values).max(initial=0, where=np.isfinite(values)))
        unit = f"in {self.unit!r}" if self.unit else "without a unit"
        if (self.unit or "").lower() in COUNTS or (self.unit is None and largest > LARGEST):
            raise DataError(
                f"{where}: lead {lead} has values up to {largest:.6g} {unit}, which are no millivolts; set "
                "dataset.csv.unit (annotate: --unit) to mV, uV, V or nV, or dataset.csv.gain and baseline for "
                "units of a converter"
            )
        return values * to_millivolts(self.unit, lead=lead, where=where)


def to_millivolts(unit: Any, *, lead: str, where: str) -> float:
    """The factor from a unit to millivolts; DataError for one that is none of voltage."""
    factor = MILLIVOLTS.get(str(unit or "mV").strip().lower())
    if factor is None:
        raise DataError(
            f"{where}: lead {lead} is in {unit!r}, expected a unit of voltage (mV, uV, V or nV); "
            "correct the header, or choose other leads with dataset.leads=[…]"
        )
    return factor
