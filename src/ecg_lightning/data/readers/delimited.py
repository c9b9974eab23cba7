"""Delimited text files: what a file looks like (compression, encoding, columns, header), and its numbers in batches."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from statistics import mode
from typing import Any, BinaryIO, cast
from zipfile import BadZipFile, ZipFile

from ecg_lightning.core.errors import DataError

HEAD = 1 << 17  # bytes from which the layout is read
NULLS = ("", "NaN", "nan", "NA", "null", "NULL")
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
BROKEN = (
    OSError,
    EOFError,
    UnicodeError,
    zlib.error,
    BadZipFile,
    NotImplementedError,
    RuntimeError,
)  # of compressed files, too


@dataclass(frozen=True, kw_only=True)
class Delimited:
    """A file of rows of fields.

    Attributes:
        preamble: fields of the lines before the first row of numbers that are not blank; the last may be a header.
        skip: number of these lines, with blank ones.
        numeric: for each column, whether it holds numbers (or nothing) rather than text.
    """

    path: Path
    encoding: str
    delimiter: str
    decimal: str
    preamble: tuple[tuple[str, ...], ...]
    skip: int
    numeric: tuple[bool, ...]

    @property
    def header(self) -> tuple[str, ...] | None:
        """The line before the numbers, if it has as many fields as they."""
        last = self.preamble[-1] if self.preamble else ()
        return last if len(last) == len(self.numeric) else None

    def options(self, types: dict[str, Any], *, nulls: Sequence[str] = NULLS) -> dict[str, Any]:
        """Options of pyarrow's reader for these of the columns, which are named by their number."""
        from pyarrow import csv as arrow

        return {
            "read_options": arrow.ReadOptions(
                column_names=[str(at) for at in range(len(self.numeric))],
                skip_rows=self.skip,
                encoding="utf8" if self.encoding == "utf-8" else self.encoding,
                block_size=16 << 20,
            ),
            "parse_options": arrow.ParseOptions(
                delimiter=self.delimiter, ignore_empty_lines=len(self.numeric) > 1  # an only cell may be empty
            ),
            "convert_options": arrow.ConvertOptions(
                column_types=types,
                include_columns=[*types],
                null_values=[*nulls],
                decimal_point=self.decimal,
            ),
        }  # fmt: skip

    def batches(self, columns: Sequence[int]) -> Iterator[Any]:
        """The numbers of some columns as float64 ``[columns, rows]``, batch by batch; NaN where a cell is empty."""
        import numpy as np
        import pyarrow as pa
        from pyarrow import csv as arrow

        try:
            with open_binary(self.path) as stream:
                types = {str(at): pa.float64() for at in columns}
                for batch in arrow.open_csv(stream, **self.options(types)):
                    yield np.stack([batch.column(str(at)).to_numpy(zero_copy_only=False) for at in columns])
        except (pa.ArrowException, *BROKEN) as error:
            raise DataError(f"{self.path} {self.fault() or f'cannot be read: {error}'}") from error

    def fault(self, *, nulls: Sequence[str] = NULLS) -> str | None:
        """What is wrong with the first bad row, read line by line, because the fast parser does not report it."""
        row, n, found = 0, len(self.numeric), None
        try:
            for row, fields in enumerate(self.rows(), start=1):
                if found:
                    return found  # there is a row after it
                if row <= len(self.preamble):
                    continue
                cells = zip(fields, self.numeric, strict=False)
                text = [
                    field for field, number in cells if number and field not in nulls and not NUMBER.fullmatch(field)
                ]
                if len(fields) != n:
                    found = f"row {row} has {len(fields)} columns instead of {n}"
                elif text:
                    found = f"row {row} has {text[0][:30]!r} where a number is expected"
        except (csv.Error, *BROKEN) as error:
            return f"cannot be read after row {row}: {error}"
        return found and f"{found}; the file ends there, was it cut off?"

    def rows(self) -> Iterator[list[str]]:
        """The fields of each line that is not blank."""
        with open_binary(self.path) as stream, TextIOWrapper(stream, self.encoding, "replace", newline="") as text:
            for fields in csv.reader(text, delimiter=self.delimiter):
                if fields:
                    yield [_bare(field) for field in fields]


def open_binary(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked if it is a ``.gz`` or ``.zip``; DataError for a ``.zip`` of several files."""
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, gzip.open(path))
    if path.suffix.lower() != ".zip":
        return path.open("rb")
    archive = ZipFile(path)
    members = [one for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        raise DataError(f"{path} holds {len(members)} files, expected one; unpack it and name the file")
    return cast(BinaryIO, archive.open(members[0]))


def look_at(path: Path) -> Delimited:
    """The layout of a file, from its beginning; DataError without a row that has a number."""
    try:
        with open_binary(path) as stream:
            head = stream.read(HEAD)
    except BROKEN as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    encoding = _encoding(head)
    lines = re.split(r"\r\n|\n|\r", head.decode(encoding, errors="replace").removeprefix("\ufeff"))
    if len(head) == HEAD:
        lines.pop()  # cut off
    sample = [line for line in lines if line.strip()][-5:]
    delimiter = next((one for one in "\t;," if sample and all(one in line for line in sample)), ",")
    try:
        table = [tuple(map(_bare, fields)) for fields in csv.reader(lines, delimiter=delimiter)]
        table = table if len(table) == len(lines) else [tuple(map(_bare, line.split(delimiter))) for line in lines]
    except csv.Error as error:
        raise DataError(f"{path} is no text with columns: {error}") from error
    sampled = [fields for fields in table if any(fields)][-5:]
    width = mode(map(len, sampled)) if sampled else 0  # the last row may be cut off
    sampled = [fields for fields in sampled if len(fields) == width]
    kinds = [[_kind(fields[column]) for fields in sampled] for column in range(width)]
    numeric = tuple("number" in kind or "text" not in kind for kind in kinds)

    def is_data(fields: tuple[str, ...]) -> bool:
        found = [_kind(field) for field in fields]
        return len(fields) == width and "number" in found and not any(
            kind == "text" for kind, number in zip(found, numeric, strict=True) if number
        )  # fmt: skip

    skip = next((at for at, fields in enumerate(table) if is_data(fields)), None)
    if skip is None:
        start = next((line for line in lines if line.strip()), "")
        if len(head) == HEAD and not lines:
            raise DataError(f"{path} has a first line of over {HEAD:,} bytes; expected rows of a few columns")
        raise DataError(
            f"{path} {f'begins with {start[:30]!r} and has no row of numbers' if start else 'is empty'}; "
            "expected columns of numbers that comma, semicolon or tab separate"
        )
    commas = delimiter != "," and any(re.fullmatch(r"[+-]?\d*,\d+", field) for fields in sampled for field in fields)
    preamble = tuple(fields for fields in table[:skip] if any(fields))
    return Delimited(
        path=path, encoding=encoding, delimiter=delimiter, decimal="," if commas else ".", preamble=preamble,
        skip=skip, numeric=numeric,
    )  # fmt: skip


def _encoding(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in head[:200]:  # of ASCII in UTF-16, every other byte
        return "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
    try:
        head[:-4].decode()  # without a last character that may be cut off
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _bare(field: str) -> str:
    return field.strip().strip("'\"").strip()


def _kind(field: str) -> str:
    return "empty" if field in NULLS else "number" if NUMBER.fullmatch(field) else "text"
