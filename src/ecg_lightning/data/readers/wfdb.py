"""WFDB records through `wfdb`: every signal format, several samples a frame, segments, annotations.

Header, signal and annotation files are described in PhysioNet's header(5), signal(5) and annot(5).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers.base import RecordingFile, Signal, to_millivolts
from ecg_lightning.data.recording import Annotations

NO_FILE = "~"  # name of a segment that is a gap, and of the signal file of a layout


def files_of(record: Path, annotator: str | None = None) -> list[Path]:
    """The header of a record (without extension), its segments, signal and annotation files; DataError if one is absent.

    Headers are read as plain text: every start does this for every record, and calling wfdb takes longer than the rest.
    """
    header = record.with_name(f"{record.name}.hea")
    if not header.is_file():
        raise DataError(f"{header} is not there")
    text = header.read_text(errors="replace").splitlines()
    lines = [line for line in text if line.strip() and not line.startswith("#")]
    first = re.fullmatch(r"([^\s/]+)(/\d+)?(\s.*)?", lines[0].strip()) if lines else None
    if first is None or first[1] != record.name:
        raise DataError(f"{header} is no readable WFDB header: it does not begin with {record.name}")
    names = sorted({line.split()[0] for line in lines[1:]} - {NO_FILE})
    if first[2]:
        parts = [files_of(header.with_name(name)) for name in names if name != record.name]
        paths = [header, *(path for part in parts for path in part)]
    else:
        paths = [header, *(header.with_name(name) for name in names)]
    if annotator is not None:
        paths.append(header.with_suffix(f".{annotator}"))
    for path in paths:
        if not path.is_file():
            raise DataError(f"record {record.name}: {path} is not there")
    return paths


class WfdbFile(RecordingFile):
    """A WFDB record, of one segment or of several; `path` is without extension.

    Units become millivolts. Segments that are absent, and samples with the invalid value of their format, are NaN.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name
        header = _header(path)
        if not header.fs > 0:
            raise DataError(f"{path}.hea states a sampling rate of {header.fs:g} Hz, expected one above 0")
        self.frame_rate = float(header.fs)
        self.comments = tuple(header.comments)
        self.files = tuple(files_of(path))
        self._header = header
        self._segments: list[tuple[int, int, WfdbFile | None]] = []  # first frame, frames, segment
        self._sums: dict[int, int] = {}
        self._summed = 0
        if hasattr(header, "seg_name"):
            self._open_segments(header)
            return
        self.lead_names = tuple(name or f"lead {at}" for at, name in enumerate(header.sig_name or ()))
        self.samples_per_frame = tuple(header.samps_per_frame or ())
        self.n_frames = int(header.sig_len) if header.sig_len else self._length_of_files()

    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        if self._segments:
            return self._read_segments(positions, start, stop)
        import wfdb

        channels = sorted(positions)
        scales = [
            to_millivolts(self._header.units[at], lead=self.lead_names[at], where=f"{self.path}.hea") for at in positions
        ]
        try:
            loaded = wfdb.rdrecord(
                str(self.path), sampfrom=start, sampto=stop, channels=channels, physical=False, smooth_frames=False
            )
            physical = loaded.dac(expanded=True)
        except Exception as error:  # wfdb raises whatever its parsing stumbles over
            raise DataError(
                f"the signal of {self.path} cannot be read: its file does not hold the {self.n_frames} samples that "
                f"the header states, or is damaged ({error})"
            ) from error
        self._check_sums(channels, loaded.e_d_signal, start, stop)
        by_channel = dict(zip(channels, physical, strict=True))
        return [by_channel[at] * scale if scale != 1 else by_channel[at] for at, scale in zip(positions, scales, strict=True)]  # fmt: skip

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        path = self.path.with_name(f"{self.name}.{annotator}")
        if not path.is_file():
            raise DataError(f"{path} is not there: record {self.name} has no annotations by {annotator}")
        annotations, clock = read_annotation_file(path)
        return annotations, clock or self.frame_rate

    def _check_sums(self, channels: Sequence[int], digital: Sequence[Any], start: int, stop: int) -> None:
        """Compare the sum of each signal with the checksum (modulo 2^16) of its header, once all of it was read."""
        if start == 0:
            self._sums, self._summed = dict.fromkeys(channels, 0), 0
        if start != self._summed or self._sums.keys() != set(channels):
            return
        for at, values in zip(channels, digital, strict=True):
            self._sums[at] += int(values.sum(dtype=np.int64))
        self._summed = stop
        for at in channels if stop == self.n_frames else ():
            checksum = self._header.checksum[at]
            if checksum is not None and (self._sums[at] - checksum) % 65_536:
                raise DataError(
                    f"the signal of {self.path} is damaged: the values of lead {self.lead_names[at]} do not add up to "
                    "the checksum of its header"
                )

    def _length_of_files(self) -> int:
        """Frames of a record whose header does not state its length."""
        import wfdb

        try:
            return int(wfdb.rdrecord(str(self.path), physical=False, smooth_frames=False).sig_len)
        except Exception as error:
            raise DataError(f"the signal of {self.path} cannot be read ({error})") from error

    def _open_segments(self, header: Any) -> None:
        start, layout = 0, None
        for name, length in zip(header.seg_name, header.seg_len, strict=True):
            segment = None if name == NO_FILE else WfdbFile(self.path.with_name(name)) if length else None
            if name != NO_FILE and not length:
                layout = _header(self.path.with_name(name))
            self._segments.append((start, int(length), segment))
            start += int(length)
        held = [segment for _, _, segment in self._segments if segment is not None]
        if not held:
            raise DataError(f"{self.path}.hea lists no segment with signals")
        if layout is not None:
            self.lead_names = tuple(layout.sig_name)
            self.samples_per_frame = tuple(layout.samps_per_frame)
        else:
            self.lead_names, self.samples_per_frame = held[0].lead_names, held[0].samples_per_frame
        self._by_name = layout is not None
        self.n_frames = start
        for segment in held:
            if segment.frame_rate != self.frame_rate:
                raise DataError(
                    f"{segment.path}.hea states {segment.frame_rate:g} Hz, the record {self.name} that it is a segment "
                    f"of {self.frame_rate:g} Hz"
                )

    def _read_segments(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        rates = [self.samples_per_frame[at] for at in positions]
        signals = [np.full((stop - start) * rate, np.nan) for rate in rates]
        for first, length, segment in self._segments:
            begin, end = max(start, first), min(stop, first + length)
            if segment is None or begin >= end:
                continue
            at_place = {}  # position in the segment → number of the lead that is asked for
            for number, position in enumerate(positions):
                name = self.lead_names[position]
                if not self._by_name and position < len(segment.lead_names):
                    at_place[position] = number
                elif self._by_name and name in segment.lead_names:
                    at_place[segment.lead_names.index(name)] = number
            for (own, number), part in zip(
                at_place.items(), segment.read_frames([*at_place], begin - first, end - first), strict=True
            ):
                if segment.samples_per_frame[own] != rates[number]:
                    raise DataError(f"{segment.path}.hea has another number of samples a frame than record {self.name}")
                signals[number][(begin - start) * rates[number] : (end - start) * rates[number]] = part
        return signals


def read_annotation_file(path: Path) -> tuple[Annotations, float | None]:
    """The annotations of a WFDB annotation file, and the rate in Hz of their clock; None if neither it nor a header states it."""
    import wfdb

    # Annotation files end with a zero word; wfdb reads one that was cut off without an error.
    if not path.read_bytes().endswith(b"\0\0"):
        raise DataError(f"{path} is cut off: it does not end with the end mark of an annotation file")
    try:
        found = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{path} is no readable annotation file: {error}") from error
    return Annotations(
        samples=np.asarray(found.sample, dtype=np.int64),
        symbols=[str(symbol) for symbol in found.symbol],
        notes=[str(note).strip("\0 ") for note in found.aux_note],
    ), float(found.fs) if found.fs else None


def _header(record: Path) -> Any:
    import wfdb

    try:
        return wfdb.rdheader(str(record))
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{record}.hea is no readable WFDB header: {error}") from error
