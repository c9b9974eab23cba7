"""WFDB records through `wfdb`: every signal format, several samples a frame, segments, annotations.

Header, signal and annotation files are described in PhysioNet's header(5), signal(5) and annot(5).
"""

import re
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers.base import RecordingFile, Signal, is_present, to_millivolts
from ecg_lightning.data.recording import Annotations

# Notes of an annotation file on itself; wfdb never returns from any other that begins with ##.
OWN_NOTES = re.compile(rb"## (?!time resolution: \d|annotation type definitions|end of definitions)")
# Lines of a header as header(5) has them. wfdb takes a field that it does not know for one that is left out.
RECORD = re.compile(r"([^\s/]+)(/(\d+))?\s+(\d+)(\s+(\d+\.?\d*|\.\d+)(/\S+)?(\s+\d+(\s.*)?)?)?")
GAIN = r"-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?(\(-?\d+\))?(/[\w^?%/-]*)?"
SIGNAL = re.compile(
    rf"\S+\s+\d+(x\d+)?(:\d+)?(\+\d+)?(\s+{GAIN}(\s+\d+(\s+-?\d+(\s+-?\d+(\s+-?\d+(\s+\d+(\s.*)?)?)?)?)?)?)?"
)
SEGMENT = re.compile(r"\S+\s+\d+")
MOST_SIGNALS = 1000  # wfdb reads a header in a time that grows with their square
NO_FILE = "~"  # name of a segment that is a gap, and of the signal file of a layout


def header_lines(header: Path) -> list[str]:
    """The lines of a header without comments."""
    text = header.read_text(errors="replace").splitlines()
    return [line.strip() for line in text if line.strip() and not line.startswith("#")]


def files_of(record: Path, annotator: str | None = None, *, is_segment: bool = False) -> list[Path]:
    """The header of a record (without extension), its segments, signals and annotations; DataError if one is absent.

    Headers are read as plain text: every start does this for every record, and calling wfdb takes longer than the rest.
    """
    header = record.with_name(f"{record.name}.hea")
    if not is_present(header):
        raise DataError(f"{header} is not there")
    lines = header_lines(header)
    first = RECORD.fullmatch(lines[0]) if lines else None
    if first is None or first[1] != record.name:
        raise DataError(
            f"{header} is no readable WFDB header: it does not begin with {record.name}, a number of signals and a rate"
        )
    kind, n = (SEGMENT, int(first[3])) if first[2] else (SIGNAL, int(first[4]))
    if (malformed := next((line for line in lines[1:] if not kind.fullmatch(line)), None)) is not None:
        raise DataError(f"{header} is no readable WFDB header: no such line is known: {malformed[:80]}")
    if len(lines) - 1 != n:
        raise DataError(f"{header} states {n} signals or segments, and describes {len(lines) - 1}; is it damaged?")
    if not first[2] and n > MOST_SIGNALS:
        raise DataError(f"{header} states {n} signals, expected at most {MOST_SIGNALS}; split the record")
    names = sorted({line.split()[0] for line in lines[1:]} - {NO_FILE})
    if outside := next((name for name in names if name.startswith("/") or ".." in name.split("/")), None):
        raise DataError(f"{header} names {outside}, which is outside its folder; expected files beside the header")
    if first[2] and is_segment:
        raise DataError(f"{header} is a segment of another record, and has segments itself: WFDB knows no such records")
    if first[2]:
        parts = [files_of(header.parent / name, is_segment=True) for name in names]
        paths = [header, *(path for part in parts for path in part)]
    else:
        paths = [header, *(header.parent / name for name in names)]
    if annotator is not None:
        paths.append(header.with_suffix(f".{annotator}"))
    for path in paths:
        if not is_present(path):
            raise DataError(f"record {record.name}: {path} is not there")
    return paths


class WfdbFile(RecordingFile):
    """A WFDB record, of one segment or of several; `path` is without extension.

    Units become millivolts. Segments that are absent, and samples with the invalid value of their format, are NaN.
    """

    def __init__(self, path: Path, *, is_segment: bool = False) -> None:
        self.path, self.name = path, path.name
        self.files = tuple(files_of(path, is_segment=is_segment))
        header = _header(path)
        self.frame_rate = float(header.fs)
        self.comments = tuple(header.comments)
        begin = header.base_datetime or header.base_time  # without a date, or neither
        self.start = None if begin is None else begin.isoformat(timespec="seconds")
        self._header = header
        self._segments: list[tuple[int, int, WfdbFile | None]] = []  # first frame, frames, segment
        self._sums: dict[int, int] = {}
        self._summed = 0
        self._whole: tuple[list[int], Any] | None = None  # channels, and the record of wfdb
        if hasattr(header, "seg_name"):
            self._open_segments(header)
            self.stated_fs = self.fs(range(len(self.lead_names)))
            return
        self.lead_names = tuple(name or f"lead {at}" for at, name in enumerate(header.sig_name or ()))
        self.samples_per_frame = tuple(header.samps_per_frame or ())
        if not self.lead_names:
            raise DataError(f"{path}.hea states no signal: it is no recording")
        self.stated_fs, self.stated_units = self.fs(range(len(self.lead_names))), tuple(header.units)
        self.n_frames = int(header.sig_len) if header.sig_len else self._length_of_files()
        if (late := max(skew or 0 for skew in header.skew)) >= self.n_frames:
            raise DataError(f"{path}.hea states a delay of {late} frames, and {self.n_frames} frames; is it damaged?")

    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        if self._segments:
            return self._read_segments(positions, start, stop)
        scales = [
            to_millivolts(self._header.units[at], lead=self.lead_names[at], where=f"{self.path}.hea")
            for at in positions
        ]
        channels = sorted(positions)
        skews = {at: self._header.skew[at] or 0 for at in channels}  # frames by which a signal is late in its file
        reach = min(stop + max(skews.values()), self.n_frames)
        try:
            loaded = self._load(channels, start, reach)
            physical = dict(zip(channels, loaded.dac(expanded=True), strict=True))
        except Exception as error:  # wfdb raises whatever its parsing stumbles over
            raise DataError(
                f"the signal of {self.path} cannot be read: its file does not hold the {self.n_frames} samples that "
                f"the header states, or is damaged ({error})"
            ) from error
        self._check_sums(channels, loaded.e_d_signal, start, stop)
        signals = []
        for at, scale in zip(positions, scales, strict=True):
            rate = self.samples_per_frame[at]
            signal = physical[at][skews[at] * rate :][: (stop - start) * rate]
            if skews[at]:  # its end is not in the file
                signal = np.pad(signal, (0, (stop - start) * rate - len(signal)), constant_values=np.nan)
            signals.append(signal * scale if scale != 1 else signal)
        return signals

    def _load(self, channels: list[int], start: int, stop: int) -> Any:
        """Digital signals as a record of wfdb, each at its own rate and not moved by its skew."""
        import wfdb

        formats = {self._header.fmt[at] for at in channels}

        def load(**part: int) -> Any:
            # wfdb gives format 61 as millivolts alone: it stumbles over the byte order of the digital values.
            loaded = wfdb.rdrecord(
                str(self.path),
                channels=channels,
                physical="61" in formats,
                smooth_frames=False,
                ignore_skew=True,
                **part,
            )
            if "61" in formats:
                loaded.adc(expanded=True, inplace=True)
            return loaded

        # Format 8 stores differences: what is read from the middle has no beginning. Of a header without a length wfdb
        # reads everything or nothing.
        if self._header.sig_len and "8" not in formats:
            return load(sampfrom=start, sampto=stop)
        if self._whole is None or self._whole[0] != channels:
            self._whole = (channels, load())
        loaded = copy(self._whole[1])
        loaded.e_d_signal = [
            signal[start * self.samples_per_frame[at] : stop * self.samples_per_frame[at]]
            for at, signal in zip(channels, loaded.e_d_signal, strict=True)
        ]
        return loaded

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        path = self.path.parent / f"{self.name}.{annotator}"
        if not is_present(path):
            raise DataError(f"{path} is not there: record {self.name} has no annotations by {annotator}")
        annotations, clock = read_annotation_file(path)
        return annotations, clock or self.frame_rate

    def _check_sums(self, channels: Sequence[int], digital: Sequence[Any], start: int, stop: int) -> None:
        """Compare the sum of each signal with the checksum (modulo 2^16) of its header, once all of it was read."""
        if start == 0:
            self._sums, self._summed = dict.fromkeys(channels, 0), 0
        if not start <= self._summed <= stop or self._sums.keys() != set(channels):
            return
        for at, values in zip(channels, digital, strict=True):
            known, wanted = ((frame - start) * self.samples_per_frame[at] for frame in (self._summed, stop))
            self._sums[at] += int(values[known:wanted].sum(dtype=np.int64))
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
        start, layout, total = 0, None, sum(header.seg_len)
        if header.sig_len not in (None, 0, total):
            raise DataError(f"{self.path}.hea states {header.sig_len} samples, and segments of {total} in all")
        for name, length in zip(header.seg_name, header.seg_len, strict=True):
            path = self.path.parent / name
            if name != NO_FILE and not length:
                layout = _header(path)
            segment = WfdbFile(path, is_segment=True) if name != NO_FILE and length else None
            if segment is not None and (segment.n_frames, segment.frame_rate) != (length, self.frame_rate):
                raise DataError(
                    f"{path}.hea states {segment.n_frames} samples, record {self.name} {length} of it, at "
                    f"{segment.frame_rate:g} and {self.frame_rate:g} Hz"
                )
            self._segments.append((start, int(length), segment))
            start += int(length)
        first = next((segment for _, _, segment in self._segments if segment is not None), None)
        if first is None:
            raise DataError(f"{self.path}.hea lists no segment with signals")
        self._by_name, self.n_frames, self.stated_units = layout is not None, start, first.stated_units
        self.lead_names = first.lead_names if layout is None else tuple(layout.sig_name)
        self.samples_per_frame = first.samples_per_frame if layout is None else tuple(layout.samps_per_frame)

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
            parts = segment.read_frames([*at_place], begin - first, end - first) if at_place else []
            for (own, number), part in zip(at_place.items(), parts, strict=True):
                if segment.samples_per_frame[own] != rates[number]:
                    raise DataError(f"{segment.path}.hea has another number of samples a frame than record {self.name}")
                signals[number][(begin - start) * rates[number] : (end - start) * rates[number]] = part
        return signals


def read_annotation_file(path: Path) -> tuple[Annotations, float | None]:
    """The annotations of a file, and the rate in Hz of their clock; None if neither it nor a header states that."""
    import wfdb

    # Annotation files end with a zero word; wfdb reads one that was cut off without an error.
    content = path.read_bytes()
    if not content.endswith(b"\0\0"):
        raise DataError(f"{path} is cut off: it does not end with the end mark of an annotation file")
    if OWN_NOTES.search(content):
        raise DataError(f"{path} is no readable annotation file: a note that begins with ## states no known fact")
    try:
        found = wfdb.rdann(str(path.with_suffix("")), path.suffix[1:])
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{path} is no readable annotation file: {error}") from error
    return Annotations(
        samples=np.asarray(found.sample, dtype=np.int64),
        symbols=[str(symbol) for symbol in found.symbol],
        notes=[str(note).strip("\0 ") for note in found.aux_note],
        subtypes=np.asarray(found.subtype, dtype=np.int64),
    ), float(found.fs) if found.fs else None


def rate_and_length(record: Path) -> tuple[float, int | None]:
    """The sampling rate in Hz that a header states, and its samples where it states them; `record` is without ending.

    DataError if it is absent or damaged.
    """
    header = _header(record)
    return float(header.fs), int(header.sig_len) if header.sig_len else None


def _header(record: Path) -> Any:
    import wfdb

    try:
        return wfdb.rdheader(str(record))
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{record}.hea is no readable WFDB header: {error}") from error
