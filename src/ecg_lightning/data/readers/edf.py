"""EDF, EDF+ and BDF recordings through `edfio`, a few data records at a time.

Kemp et al., "A simple format for exchange of digitized polygraphic recordings", 1992; Kemp & Olivan, "European data
format 'plus'", 2003. A file is a header and data records of one length; in each, every signal has its own number of
samples. In a discontinuous file (``EDF+D``) each data record states when it begins.
"""

import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers.annotations import annotations_beside, from_text
from ecg_lightning.data.readers.base import CHUNK_S, RecordingFile, Signal, to_millivolts
from ecg_lightning.data.recording import Annotations

INSIDE = "edf"  # annotator of the annotations in the file itself
HEADER = 256  # bytes, and as many again for each signal
BEGIN = re.compile(rb"([+-]\d+(?:\.\d*)?)\x14\x14\0")  # of a data record, in seconds after the start of the file


class EdfFile(RecordingFile):
    """A recording in an EDF, EDF+ or BDF file; a lead called ``ECG V1`` by the standard is ``V1``.

    A frame is the shortest time in which each lead has a whole number of samples. What lies between the data records
    of a discontinuous file is a gap, NaN.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name, self.files = path, path.stem, (path,)
        try:
            with path.open("rb") as file:
                header = file.read(HEADER)
                if len(header) < HEADER:
                    raise ValueError(f"it has {len(header)} bytes, a header has {HEADER} and more")
                header += file.read(HEADER * int(header[252:256]))
            self._header, self._n_bytes = header, 3 if header[:1] == b"\xff" else 2
            self._encoding = "utf-8" if _is_utf8(header[8:]) else "latin-1"
            edf = self._parse(b"", 0)
            self._parts = [at for at in range(int(header[252:256])) if not _label(header, at).endswith(b" Annotations")]
            sizes = _sizes(header)
            self._bytes_per_record = sum(sizes) * self._n_bytes
            self._samples = [int(signal.samples_per_data_record) for signal in edf.signals]
            self._duration = float(edf.data_record_duration)
            stated = int(header[236:244])
            units = [signal.physical_dimension for signal in edf.signals]
            labels = [signal.label for signal in edf.signals]
            self.start = _start(edf)
            people = (edf.local_patient_identification, edf.local_recording_identification)
        except Exception as error:  # edfio raises whatever its parsing stumbles over
            raise DataError(f"{path} is no readable EDF or BDF file: {error}") from error
        if not (self._duration > 0 and self._samples and min(self._samples) > 0 and min(sizes) > 0):
            raise DataError(
                f"{path} states {len(self._samples)} signals in data records of {self._duration:g} s; expected signals "
                "with samples, and some duration"
            )
        held, rest = divmod(path.stat().st_size - len(header), self._bytes_per_record)
        self._n_records = held if stated == -1 else stated  # -1: the recorder was stopped before it knew
        if held < 1 or held != self._n_records or (rest and stated != -1):
            raise DataError(f"{path} is cut off or damaged: it states {stated} data records, and holds {held}")
        self.lead_names = tuple(
            re.sub(r"^(ECG|EKG) +(?=\S)", "", label) or f"lead {at}" for at, label in enumerate(labels)
        )
        self._units = [unit or "no unit" for unit in units]
        per_frame = gcd(*self._samples)
        self.samples_per_frame = tuple(n // per_frame for n in self._samples)
        self.frame_rate = per_frame / self._duration
        self.stated_fs, self.stated_units = max(self._samples) / self._duration, self._units
        self.comments = tuple(
            f"{key}: {value}"
            for key, value in zip(("patient", "recording"), people, strict=True)
            if value.removeprefix("Startdate ").split()[:1] not in ([], ["X"])  # anonymised
        )
        self._begins = np.arange(self._n_records) * self._duration  # seconds
        if header[192:197] in (b"EDF+D", b"BDF+D"):
            self._begins = self._stated_begins(sizes)
        self.n_frames = round((self._begins[-1] + self._duration) * self.frame_rate)

    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        signals = [np.full((stop - start) * self.samples_per_frame[at], np.nan) for at in positions]
        first = int(np.searchsorted(self._begins, (start - 1) / self.frame_rate - self._duration))
        last = int(np.searchsorted(self._begins, (stop + 1) / self.frame_rate))
        if first >= last:
            return signals
        scales = [to_millivolts(self._units[at], lead=self.lead_names[at], where=str(self.path)) for at in positions]
        try:
            edf = self._parse(self._records(first, last), last - first)
            limit = 2 ** (8 * self._n_bytes - 1)
            for signal in (edf.signals[at] for at in positions):
                low, high = signal.digital_range
                if not (-limit <= low < high < limit and 0 < abs(np.subtract(*signal.physical_range)) < np.inf):
                    raise ValueError(f"{signal.label} ranges from {signal.physical_range} at {signal.digital_range}")
            loaded = [np.asarray(edf.signals[at].data).reshape(last - first, -1) for at in positions]
        except Exception as error:  # edfio raises whatever its parsing stumbles over
            raise DataError(f"{self.path} cannot be read: {error}") from error
        for at, signal, values, scale in zip(positions, signals, loaded, scales, strict=True):
            rate = self.frame_rate * self.samples_per_frame[at]
            begins = np.round(self._begins[first:last] * rate).astype(np.int64) - start * self.samples_per_frame[at]
            # All samples of all data records, where they fall into what is asked for.
            places = begins[:, None] + np.arange(self._samples[at])
            inside = (places >= 0) & (places < len(signal))
            signal[places[inside]] = values[inside] * scale
        return signals

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        clock = self.frame_rate * max(self.samples_per_frame)
        if annotator != INSIDE:
            return annotations_beside(self.path, annotator, clock)
        onsets: list[float] = []
        texts: list[str] = []
        step = max(1, round(CHUNK_S / self._duration))
        for first in range(0, self._n_records, step):
            last = min(first + step, self._n_records)
            try:
                found = self._parse(self._records(first, last), last - first).annotations
            except Exception as error:  # edfio raises whatever its parsing stumbles over
                raise DataError(f"the annotations in {self.path} cannot be read: {error}") from error
            # edfio counts from where the first of these data records begins.
            onsets += [float(self._begins[first]) + one.onset for one in found if one.text]
            texts += [one.text for one in found if one.text]
        order = np.argsort(onsets, kind="stable")
        return from_text(np.asarray(onsets)[order] * clock, [texts[at] for at in order]), clock

    def _parse(self, records: bytes, n_records: int) -> Any:
        """The file, as if it consisted of these data records."""
        from edfio import read_bdf, read_edf

        header = self._header[:236] + f"{n_records:<8}".encode() + self._header[244:]
        read = read_bdf if self._n_bytes == 3 else read_edf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(header + records, header_encoding=self._encoding)

    def _records(self, first: int, last: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(len(self._header) + first * self._bytes_per_record)
            return file.read((last - first) * self._bytes_per_record)

    def _stated_begins(self, sizes: list[int]) -> Signal:
        """When each data record begins, in seconds after the first."""
        clock = next((at for at in range(len(sizes)) if at not in self._parts), None)
        if clock is None:
            raise DataError(f"{self.path} is discontinuous, but has no signal of annotations that states when")
        offset, begins = sum(sizes[:clock]) * self._n_bytes, []
        with self.path.open("rb") as file:
            for record in range(self._n_records):
                file.seek(len(self._header) + record * self._bytes_per_record + offset)
                hit = BEGIN.match(file.read(sizes[clock] * self._n_bytes))
                begins.append(float(hit[1]) if hit else np.nan)
        seconds = np.asarray(begins) - begins[0]
        late = np.diff(seconds, prepend=-self._duration) - self._duration
        follows = late > -0.5 / (self.frame_rate * max(self.samples_per_frame))  # not where it is NaN
        if not follows.all():
            at = int(np.argmin(follows)) + 1
            raise DataError(f"{self.path}: data record {at} does not begin after the one before; the file is damaged")
        return seconds


def _start(edf: Any) -> str | None:
    """When it begins; without the date if that is anonymised, None if the header states nonsense."""
    with warnings.catch_warnings(action="ignore"):
        for name in ("startdatetime", "starttime"):
            with suppress(Exception):  # edfio raises whatever its parsing stumbles over
                return str(getattr(edf, name).isoformat(timespec="seconds"))
    return None


def _label(header: bytes, at: int) -> bytes:
    return header[HEADER + 16 * at : HEADER + 16 * (at + 1)].rstrip()


def _sizes(header: bytes) -> list[int]:
    """Samples of each signal in a data record, those of annotations included, which edfio does not show."""
    n = int(header[252:256])
    return [int(header[HEADER + 216 * n + 8 * at :][:8]) for at in range(n)]


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
