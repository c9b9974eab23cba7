"""Faults of text and MATLAB files: recordings, tables of beats, Kaggle's beats in rows."""

import gzip
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np

from campaigns.odd import FS, GAIN, Fault, N, Odd, cut_off, digital_of, flipped, matlab, no_file, peaks_of, sound

NOTATION = "separators, encodings, decimal signs and headers are recognised"
LEFT = "a text file has no checksum: numbers that are left are read as they stand"
GAPS = "an empty cell, NaN or NA is a gap"
SHAPE = "the longer side of a table is time"


def _text() -> str:
    return sound("csv")["r1.csv"].decode()


def _rows() -> list[str]:
    return _text().splitlines()


def _put(folder: Path, lines: list[str], encoding: str = "utf-8", end: str = "\n") -> None:
    (folder / "r1.csv").write_bytes("".join(line + end for line in lines).encode(encoding))


def notation(folder: Path, random: Random) -> Odd:
    lines = _rows()
    changes: list[tuple[str, Callable[[], None], str | None]] = [
        ("semicolons and decimal commas", lambda: _put(folder, [one.replace(",", ";").replace(".",
         ",") for one in lines]), NOTATION),
        ("tabs", lambda: _put(folder, [one.replace(",", "\t") for one in lines]), NOTATION),
        ("blanks between columns", lambda: _put(folder, [one.replace(",", " ") for one in lines]), None),
        ("bars between columns", lambda: _put(folder, [one.replace(",", "|") for one in lines]), None),
        ("UTF-16", lambda: _put(folder, lines, "utf-16"), NOTATION),
        ("UTF-16 without a BOM", lambda: _put(folder, lines, random.choice(["utf-16-le", "utf-16-be"])), NOTATION),
        ("UTF-32", lambda: _put(folder, lines, "utf-32"), None),
        ("a BOM", lambda: _put(folder, lines, "utf-8-sig"), NOTATION),
        ("EBCDIC", lambda: _put(folder, lines, "cp500"), None),
        ("CR LF", lambda: _put(folder, lines, end="\r\n"), NOTATION),
        ("CR", lambda: _put(folder, lines, end="\r"), NOTATION),
        ("blank lines", lambda: _put(folder, [part for one in lines for part in (one, "")]), NOTATION),
        ("quotes", lambda: _put(folder, [",".join(f'"{cell}"' for cell in one.split(",")) for one in lines]), NOTATION),
        ("a quote that is not closed", lambda: _put(folder, [*lines[:99], '"' + lines[99], *lines[100:]]), None),
        ("two headers", lambda: _put(folder, [lines[0], *lines]), NOTATION),
        ("units in brackets", lambda: _put(folder, ["time (s),MLII (mV),V1 (mV)", *lines[1:]]), NOTATION),
        ("names of escapes", lambda: _put(folder, ["time,\x1b[31m,[b]x[/b]<script>", *lines[1:]]), NOTATION),
        ("commas at the ends", lambda: _put(folder, [one + "," for one in lines]), NOTATION),
        ("comment lines", lambda: _put(folder, ["# made by hand", "", *lines]), NOTATION),
        ("a comment at the end", lambda: _put(folder, [*lines, "# the end"]), None),
    ]  # fmt: skip
    what, change, because = random.choice(changes)
    change()
    return Odd(f"CSV: {what}", because)


def cells(folder: Path, random: Random) -> Odd:
    lines, at = _rows(), random.randrange(1, N)
    time, _, two = lines[at].split(",")
    value, because = random.choice(
        [
            ("", GAPS), ("NaN", GAPS), ("NA", GAPS), ("inf", GAPS), ("-inf", GAPS), ("abc", None), ("1e400", GAPS),
            ("1e308", None),
            ("1,5", None), ("1.2.3", None), ("0x1F", None), ("--", None), ("1_000", None), ("\x00", None),
            ("\x1b[31m", None),
            ("1e5", None), ("\N{ARABIC-INDIC DIGIT ONE}", None), ("=1+1", None), ("9" * 1000, GAPS), ("true", None),
            ("x" * 200_000, None),
        ]
    )  # fmt: skip
    which = random.choice(["one cell", "one column", "all cells of a row"])
    if which == "one cell":
        lines[at] = f"{time},{value},{two}"
    elif which == "all cells of a row":
        lines[at] = f"{value},{value},{value}"
        because = None
    elif len(value) < 2000:
        lines[1:] = [f"{row.split(',')[0]},{value},{row.split(',')[2]}" for row in lines[1:]]
        because = "a column that holds no numbers is no lead, and the next one is the first" if because or value in (
            "abc", "1.2.3", "0x1F", "--", "1_000", "\x1b[31m", "=1+1", "true", "\N{ARABIC-INDIC DIGIT ONE}", "\x00"
        ) else None  # fmt: skip
    _put(folder, lines)
    return Odd(f"CSV: {which} {value[:20]!r} (row {at})", because)


def times(folder: Path, random: Random) -> Odd:
    """A column of time that is no steady clock."""
    lines, at = _rows(), random.randrange(10, N - 10)
    seconds = np.arange(N) / FS
    what, values, because = random.choice(
        [
            ("descending", seconds[::-1], None),
            ("constant", np.zeros(N), None),
            ("with a jump", np.where(np.arange(N) > at, seconds + 1, seconds), None),
            ("with a step back", np.where(np.arange(N) == at, seconds - 1, seconds), None),
            ("irregular", np.cumsum(np.random.default_rng(at).uniform(0.001, 0.01, N)), None),
            ("in milliseconds", seconds * 1000, None),
            ("negative", seconds - 100, "time may begin anywhere"),
            ("huge", seconds + 1.7e9, "time may begin anywhere"),
            ("of 1 Hz", np.arange(N), None),
            ("of 10^9 Hz", np.arange(N) / 1e9, None),
            ("NaN", np.where(np.arange(N) == at, np.nan, seconds), None),
        ]
    )  # fmt: skip
    lines[1:] = [f"{float(time)!r},{line.split(',', 1)[1]}" for time, line in zip(values, lines[1:], strict=True)]
    _put(folder, lines)
    return Odd(f"CSV: time is {what}", because)


def shapes(folder: Path, random: Random) -> Odd:
    lines, at = _rows(), random.randrange(200, N)
    what, changed, because = random.choice(
        [
            ("a row too short", [*lines[:at], "1.0,2", *lines[at:]], None),
            ("a row too long", [*lines[:at], lines[at] + ",1", *lines[at + 1 :]], None),
            ("no row", lines[:1], None),
            ("no byte", [], None),
            ("one row", lines[:2], None),
            ("two rows", lines[:3], "a short recording has no beats"),
            ("a second", lines[: FS + 1], "a short recording has no beats"),
            ("time alone", [line.split(",")[0] for line in lines], None),
            ("a column without time", ["MLII", *[line.split(",")[1] for line in lines[1:]]], None),
            ("no header", lines[1:], None),
            ("a million columns", [",".join(["1.5"] * 1_000_000)] * 2, None),
            ("a line of ten million characters", ["x" * 10_000_000], None),
            ("words", ["some words", "and others"], None),
            ("a page", ["<!DOCTYPE html>", "<html><body>404</body></html>"], None),
            ("time twice", ["time,time,MLII", *lines[1:]], "of several columns of a name the first counts"),
            ("microvolts without a unit", [lines[0], *[",".join([r.split(",")[0],
             *(f"{1000 * float(c):g}" for c in r.split(",")[1:])])
                                                       for r in lines[1:]]], None),
            ("another unit", ["time,MLII (furlong),V1", *lines[1:]],
             "what is in brackets behind a name and is no unit is part of the name"),
        ]
    )  # fmt: skip
    _put(folder, changed)
    return Odd(f"CSV: {what}", because)


def bytes_of_a_table(folder: Path, random: Random) -> Odd:
    path = folder / "r1.csv"
    match random.randrange(5):
        case 0:
            return Odd(f"CSV: {flipped(path, random)}", LEFT)
        case 1:
            return Odd(f"CSV: {cut_off(path, random)}", LEFT)
        case 2:
            return no_file(path, random)
        case 3:
            path.write_bytes(random.randbytes(random.randrange(5000)))
            return Odd("CSV: random bytes")
        case _:
            content = bytearray(path.read_bytes())
            at = random.randrange(len(content))
            content[at : at + 4] = b"\0\0\0\0"
            path.write_bytes(content)
            return Odd(f"CSV: NUL bytes at {at}", "NUL bytes in a name or before it are none of the numbers")


def packed(folder: Path, random: Random) -> Odd:
    """A compressed table, which stands for r1.csv; it keeps that name with its own suffix."""
    text = _text().encode()
    (folder / "r1.csv").unlink()
    held = BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(random.choice(["r1.csv", "../../r1.csv", "/etc/r1.csv"]), text)
        if two := random.random() < 0.3:
            archive.writestr("r2.csv", text)
    suffix, content = random.choice([(".zip", held.getvalue()), (".csv.gz", gzip.compress(text))])
    path = folder / f"r1{suffix}"
    path.write_bytes(content)
    match random.randrange(4):
        case 0:
            because = None if two and suffix == ".zip" else NOTATION
            return Odd(f"r1{suffix}, {'two files' if two else 'sound'}", because)
        case 1:
            return Odd(
                f"packed: {flipped(path, random)}",
                "bytes of names and dates of an archive say nothing about its content",
            )
        case 2:
            return Odd(f"packed: {cut_off(path, random)}")
        case _:
            path.write_bytes(
                gzip.compress(b"0\n" * 20_000_000, 1) if suffix != ".zip" and random.random() < 0.2 else text
            )
            return Odd(f"r1{suffix} is not packed, or a bomb")


def beats_in_a_table(folder: Path, random: Random) -> Odd:
    path = folder / "r1_beats.csv"
    lines = path.read_text().splitlines()
    early = "time stands for samples"
    what, changed, because = random.choice(
        [
            ("no header", lines[1:], None), ("no beat", lines[:1], None), ("no byte", [], None),
            ("descending", [lines[0], *lines[:0:-1]], None),
            ("before the beginning", [*lines, "-5,N"], None), ("after the end", [*lines, "99999999,N"], None),
            ("NaN", [*lines, "nan,N"], None), ("inf", [*lines, "inf,N"], None), ("1e300", [*lines, "1e300,N"], None),
            ("2^63", [*lines, f"{2**63},N"], None), ("text", [*lines, "x,N"], None),
            ("a row of one cell", [*lines, "7000"], None),
            ("half samples", [lines[0], *(line.replace(",", ".5,") for line in lines[1:])],
             "R peaks between samples are rounded"),
            ("unknown symbols", [*lines, "7300,hello", "7301,[b]", "7302,\x1b[31m"],
             "texts that are no symbols are notes"),
            ("seconds", ["time,symbol", *(f"{int(line.split(',')[0]) / FS},N" for line in lines[1:])], early),
            ("twice", [lines[0], *(line for one in lines[1:] for line in (one, one))],
             "two beats at one sample are read"),
            ("one beat", lines[:2], "a recording of one beat is short, not wrong"),
            ("other columns", ["a,b", *lines[1:]], None), ("samples alone", [line.split(",")[0] for line in lines],
             None),
        ]
    )  # fmt: skip
    path.write_text("".join(line + "\n" for line in changed))
    return Odd(f"table of beats: {what}", because)


def variables(folder: Path, random: Random) -> Odd:
    """What a MATLAB file may hold."""
    values = digital_of(1).T / GAIN
    one = "a single table of numbers is the recording, whatever its name"
    what, content, because = random.choice(
        [
            ("val of integers", {"val": digital_of(1).T}, "a unit that is given counts, whatever the numbers"),
            ("[t, leads]", {"val": values.T}, SHAPE),
            ("another name", {"x": values}, one),
            ("two tables", {"x": values, "y": values}, None),
            ("a struct", {"val": {"signal": values}}, None),
            ("a struct of another name", {"data": {"signal": values}}, None),
            ("cells", {"val": np.array([values, values], dtype=object)}, None),
            ("text", {"val": "abc"}, None),
            ("texts", {"val": np.array(["abc", "de"])}, None),
            ("complex numbers", {"val": values + 1j}, None),
            ("booleans", {"val": values > 0}, "small integers may be millivolts"),
            ("three dimensions", {"val": values[None]}, None),
            ("no value", {"val": np.empty((0, 0))}, None),
            ("a number", {"val": 5.0}, None),
            ("a row", {"val": values[:1]}, SHAPE),
            ("a square", {"val": values[:, :2]}, SHAPE),
            ("NaN", {"val": values * np.nan}, "NaN is a gap"),
            ("inf", {"val": values + np.inf}, "infinity is a gap"),
            ("huge numbers", {"val": values * 1e300}, None),
            ("8 bits", {"val": (values * 20).astype(np.int8)}, "small integers may be millivolts"),
            ("64 bits", {"val": (values * 20).astype(np.uint64)}, None),
            ("sparse", {"val": _sparse(values)}, None),
            ("nothing", {}, None),
        ]
    )  # fmt: skip
    (folder / "r1.mat").write_bytes(matlab(**content))
    return Odd(f"MATLAB: {what}", because)


def _sparse(values: np.ndarray) -> object:
    from scipy.sparse import csc_matrix

    return csc_matrix(values)


def bytes_of_a_matlab_file(folder: Path, random: Random) -> Odd:
    path = folder / "r1.mat"
    match random.randrange(6):
        case 0:
            return Odd(f"MATLAB: {flipped(path, random, last=400)}", LEFT)
        case 1:
            return Odd(f"MATLAB: {flipped(path, random)}", LEFT)
        case 2:
            return Odd(f"MATLAB: {cut_off(path, random)}")
        case 3:
            return no_file(path, random)
        case 4:
            path.write_bytes(
                b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + random.randbytes(900)
            )
            return Odd("MATLAB: version 7.3")
        case _:
            from scipy.io import savemat

            savemat(path, {"val": digital_of(1).T / GAIN}, format="4")
            if random.random() < 0.5:
                return Odd("MATLAB: version 4", "versions 4 to 7 are read")
            return Odd(f"MATLAB: version 4, {flipped(path, random, last=30, most=1)}", LEFT)


def kaggle_rows(n: int = 60, seed: int = 0) -> list[list[str]]:
    """Beats as in Kaggle's files: 187 samples in [0, 1] and the class."""
    rng = np.random.default_rng(seed)
    signal = digital_of(1)[:, 0]
    peaks = peaks_of(1)[:-2]
    rows = []
    for at in range(n):
        beat = signal[(peak := peaks[at % len(peaks)]) : peak + 374 : 2] + rng.normal(0, 1, 187)
        beat = (beat - beat.min()) / np.ptp(beat)
        beat[150 + at % 30 :] = 0
        rows.append([*(f"{value:.6f}" for value in beat), f"{at % 5}.0"])
    return rows


def beats_in_rows(folder: Path, random: Random) -> Odd:
    """A file in Kaggle's format, beats.csv."""
    path, rows = folder / "beats.csv", kaggle_rows()
    at, column = random.randrange(len(rows)), random.randrange(187)
    label = random.choice(["5", "-1", "1.5", "N?", "", "nan", "inf", "1e400", "0 1", "\x1b[31m", "True"])
    value = random.choice(["1.5", "-0.1", "nan", "inf", "", "x", "1e300", "0,5", "\x00"])
    rest = "rows, sound, some in other notation"
    few = "a file of beats needs neither many nor all classes to be tested on"

    def with_cell(position: int, cell: str) -> list[list[str]]:
        return [[*row[:position], cell, *row[position + 1 :]] if i == at else row for i, row in enumerate(rows)]

    what, changed, because = random.choice(
        [
            (f"label {label!r} in row {at}", with_cell(187, label), None),
            (f"value {value!r} in row {at}, column {column}", with_cell(column, value), None),
            ("a column too many", [[*row, "0"] for row in rows], None),
            ("a column too few", [row[1:] for row in rows], None),
            ("no label", [row[:-1] for row in rows], None), ("one row too short", [*rows[:at], rows[at][:99],
             *rows[at + 1 :]], None),
            ("one row too long", [*rows[:at], [*rows[at], "1"], *rows[at + 1 :]], None), ("no row", [], None),
            ("one row", rows[:1], few), ("two rows of one class", [rows[0], rows[5]], few),
            ("flat beats", [["0.5"] * 187 + ["0"]] * 9, None), ("zeros", [["0"] * 187 + ["0"]] * 9, None),
            ("a header", [[f"t{i}" for i in range(187)] + ["label"], *rows], rest),
            ("a header of numbers", [[str(i) for i in range(188)], *rows], None),
            ("0 to 1023", [[*(f"{1023 * float(c):.0f}" for c in row[:-1]), row[-1]] for row in rows], None),
            ("z-scores", [[*(f"{4 * float(c) - 1:.3f}" for c in row[:-1]), row[-1]] for row in rows], None),
            ("names of classes", [[*row[:-1], "NSVFQ"[int(float(row[-1]))]] for row in rows], rest),
            ("the same row always", [rows[1]] * 60, few), ("semicolons", [[";".join(row)] for row in rows], rest),
            ("decimal commas", [[";".join(row).replace(".", ",")] for row in rows], rest),
            ("tabs", [["\t".join(row)] for row in rows], rest),
            ("labels first", [[row[-1], *row[:-1]] for row in rows], None),
        ]
    )  # fmt: skip
    path.write_text("".join(",".join(row) + "\n" for row in changed))
    match random.randrange(5):
        case 0 if changed:
            return Odd(f"rows: {what}, {cut_off(path, random)}", because and LEFT)
        case 1 if changed:
            return Odd(f"rows: {what}, {flipped(path, random)}", because and LEFT)
    return Odd(f"rows: {what}", because)


FAULTS: dict[str, list[Fault]] = {
    "CSV": [notation, notation, cells, cells, times, shapes, shapes, bytes_of_a_table, packed],
    "CSV annotations": [beats_in_a_table],
    "MATLAB": [variables, variables, bytes_of_a_matlab_file],
}
ROWS: list[Fault] = [beats_in_rows]
