"""One recording in a text file: a column for each lead, one of time or a sampling rate, and units.

Read as they come: PhysioNet's ``rdsamp -c``, exports of watches (lines of ``key,value`` before the numbers), loggers
that write the integers of their converter.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers.annotations import annotations_beside
from ecg_lightning.data.readers.base import COUNTS, MILLIVOLTS, SLOWEST, Calibration, RecordingFile, Signal
from ecg_lightning.data.readers.delimited import Delimited, look_at
from ecg_lightning.data.recording import Annotations

SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "milliseconds": 1e-3, "millis": 1e-3,
           "us": 1e-6, "µs": 1e-6, "microseconds": 1e-6, "ns": 1e-9}  # fmt: skip
# A name with its unit in brackets, or as its last word; V as last word is a lead rather than volts.
WITH_UNIT = re.compile(r"(.+?)\s*(?:[(\[]\s*(\S+)\s*[)\]]|[\s_]+((?!v\b)[a-zµμ]+))", re.IGNORECASE)
TIME = re.compile(r"(elapsed[ _]?)?time([ _]?stamp)?|timestamp|t|" + "|".join(SECONDS), re.IGNORECASE)
RATE = re.compile(r"sampl.*(rate|freq).*|frequency|fs", re.IGNORECASE)
INDEX = re.compile(r"|sample([ _]?(#|number|index))?|index|no\.?|#", re.IGNORECASE)  # columns that count the rows


class CsvFile(RecordingFile):
    """A recording in a CSV file, in any of the layouts of `Delimited`. Empty cells are gaps, NaN.

    Args:
        path: of the file.
        fs: sampling rate in Hz, where the file states none; None computes it from the column of time, or takes it from
            a line before the header.
        time: name or position of the column of seconds, or of what its name says (``time (ms)``); None looks for one.
        calibration: of all leads; a unit of None is the one that the file states.
    """

    def __init__(self, path: Path, *, fs: float | None, time: str | int | None, calibration: Calibration) -> None:
        self.path, self.name, self.files = path, path.stem, (path,)
        self._layout = look_at(path)
        stated = {row[0].lower(): ", ".join(row[1:]) for row in self._layout.preamble if len(row) > 1}
        self.comments = tuple(f"{row[0]}: {', '.join(row[1:])}" for row in self._layout.preamble if len(row) == 2)
        names, units = _names_and_units(self._layout)
        timer = _time_column(path, names, units, time)
        self._columns = [
            column
            for column, name in enumerate(names)
            if column != timer and self._layout.numeric[column] and not (name is not None and INDEX.fullmatch(name))
        ]
        if not self._columns:
            raise DataError(f"{path} has no column of numbers beside time; its columns: {', '.join(map(str, names))}")
        lead = stated.get("lead") if len(self._columns) == 1 else None
        self.lead_names = tuple(names[column] or lead or f"lead {at}" for at, column in enumerate(self._columns))
        self._calibrations = [calibration] * len(self._columns)
        self.stated_units = [units[at] or stated.get("unit") for at in self._columns]
        if not (calibration.unit or calibration.gain):
            self._calibrations = [Calibration(unit=unit) for unit in self.stated_units]
        self.samples_per_frame = (1,) * len(self._columns)
        n_rows = 0
        with suppress(DataError) if fs is not None else nullcontext():  # then the user knows better than a bad clock
            if timer is not None:
                step = SECONDS.get((units[timer] or names[timer] or "s").lower(), 1.0)
                self.stated_fs, n_rows = self._rate_of(timer, step)
            else:
                self.stated_fs = self._rate_in(stated)
        self.frame_rate = float(fs or self.stated_fs or np.nan)
        self.n_frames = n_rows or sum(batch.shape[1] for batch in self._layout.batches(self._columns[:1]))
        self._open: tuple[list[int], Iterator[Signal]] | None = None  # columns, and what is left of them from …
        self._at, self._rest = 0, np.empty((0, 0))  # … this row on, of which these are read but not used

    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        columns = [self._columns[at] for at in positions]
        if self._open is None or self._open[0] != columns or start < self._at:
            self._open = (columns, self._layout.batches(columns))
            self._at, self._rest = 0, np.empty((len(columns), 0))
        parts = [self._rest[:, :0]]
        while self._at < stop:
            if not self._rest.shape[1]:
                self._rest = next(self._open[1], self._rest)
                if not self._rest.shape[1]:
                    raise DataError(f"{self.path} has fewer rows than when it was opened")
            taken, self._rest = np.split(self._rest, [stop - self._at], axis=1)
            parts.append(taken[:, max(start - self._at, 0) :])
            self._at += taken.shape[1]
        values = np.concatenate(parts, axis=1)
        return [
            self._calibrations[at].millivolts(row, lead=self.lead_names[at], where=str(self.path))
            for at, row in zip(positions, values, strict=True)
        ]

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        return annotations_beside(self.path, annotator, self.frame_rate)

    def _rate_in(self, stated: Mapping[str, str]) -> float:
        """The rate in Hz that a line before the numbers states, ``sample rate, 512 hertz``; DataError without any."""
        text = next((text for key, text in stated.items() if RATE.fullmatch(key)), "")
        hit = re.fullmatch(r"\D*(\d+(?:\.\d+)?)\D*", text)  # one number: 1,000 may be two or none
        if hit is None or float(hit[1]) < SLOWEST:
            what = (
                f"the sampling rate {text!r}, expected one number above {SLOWEST:g} (Hz)"
                if text
                else "neither time nor sampling rate"
            )
            raise DataError(f"{self.path} states {what}; set dataset.csv.fs (annotate: --fs) or dataset.csv.time")
        return float(hit[1])

    def _rate_of(self, column: int, step: float) -> tuple[float, int]:
        """The rate in Hz and the number of rows, from a column of time in units of `step` seconds.

        DataError where time is text, does not increase, jumps, or is not that of a steady clock.
        """
        if not self._layout.numeric[column]:
            raise DataError(f"{self.path}: column {column}, of time, holds text, not seconds; set dataset.csv.fs")
        times = np.concatenate([batch[0] for batch in self._layout.batches([column])])
        steps = np.diff(times)
        row = len(self._layout.preamble) + 1  # of the first time
        where, remedy = f"{self.path}: column {column}, of time,", "resample the recording, or set dataset.csv.fs"
        if len(times) < 2:
            raise DataError(f"{where} has {len(times)} rows, too few for a sampling rate; set dataset.csv.fs")
        if not (steps > 0).all():
            at = int(np.argmax(~(steps > 0)))
            raise DataError(
                f"{where} does not increase from {times[at]:.10g} in row {row + at} to {times[at + 1]:.10g}; {remedy}"
            )
        span = (times[-1] - times[0]) * step
        rate = (len(times) - 1) / span
        if abs(rate - round(rate)) * span < 1 and round(rate):  # less than a sample: times are rounded
            rate = float(round(rate))
        if rate < SLOWEST:
            raise DataError(
                f"{where} has {rate:.3g} rows a second; if it is in milliseconds, call it time_ms; or {remedy}"
            )
        off = times - times[0] - np.arange(len(times)) / (rate * step)
        jump = int(np.argmax(steps))
        if steps[jump] * step * rate > 1.75 or np.abs(off).max() * step * rate > 1:
            raise DataError(
                f"{where} is irregular: its largest step, after row {row + jump}, is {steps[jump] * step:.4g} s at "
                f"{rate:.4g} rows a second; {remedy}"
            )
        return rate, len(times)


def _names_and_units(layout: Delimited) -> tuple[list[str | None], list[str | None]]:
    """Name and unit of each column, from a header such as ``ECG (uV)`` and ``ecg_mV``, or a line of units below it."""
    header = layout.header
    if header is None:
        return [None] * len(layout.numeric), [None] * len(layout.numeric)
    above = layout.preamble[-2] if len(layout.preamble) > 1 else ()
    if len(above) == len(header) and all(_is_unit(field) or ":" in field or not field for field in header):
        return [*above], [field if _is_unit(field) else None for field in header]
    found = [WITH_UNIT.fullmatch(field) for field in header]
    units = [(hit[2] or hit[3]) if hit and _is_unit(hit[2] or hit[3]) else None for hit in found]
    return [hit[1] if hit and unit else field for hit, unit, field in zip(found, units, header, strict=True)], units


def _is_unit(text: str) -> bool:
    return text.lower() in (*MILLIVOLTS, *SECONDS, *COUNTS)


def _time_column(path: Path, names: list[str | None], units: list[str | None], time: str | int | None) -> int | None:
    """The column of time that the card asks for, or that is called so."""
    if time is None:
        return next((column for column, name in enumerate(names) if name and TIME.fullmatch(name)), None)
    known = [(name or "").lower() for name in names]
    column = time if isinstance(time, int) else known.index(time.lower()) if time.lower() in known else -1
    if not 0 <= column < len(names):
        raise DataError(
            f"{path} has no column {time!r}, which dataset.csv.time asks for; it has {len(names)}, counted from 0: "
            + ", ".join(map(str, names))
        )
    return column
