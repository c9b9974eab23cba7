"""CSV recordings as watches, loggers and spreadsheets write them: the same heartbeats, or a sentence."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import (
    DIGITAL,
    FS,
    MILLIVOLTS,
    PEAKS,
    SYMBOLS,
    N,
    beats_in,
    csv_record,
    refusal_of,
    same_beats,
    wfdb_record,
)

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.readers import open_recording, read_recording


def table(header: str, *columns: Any, sep: str = ",", end: str = "\n") -> str:
    lines = [sep.join(map(str, row)) for row in zip(*columns, strict=True)]
    return end.join([*([header] if header else []), *lines, ""])


TIME = [f"{at / FS:.4f}" for at in range(N)]
MS = [f"{at / FS * 1000:.0f}" for at in range(N)]
MV = [f"{value:.3f}" for value in MILLIVOLTS[0]]
UV = [f"{value * 1000:.0f}" for value in MILLIVOLTS[0]]
WATCH = f'Name,A B\nRecorded Date,2024-01-01\nDevice,"Watch6,1"\nSample Rate,{FS} hertz\n\n\nLead,Lead I\nUnit,µV\n\n'


PLAIN = table("time,MLII", TIME, MV)
TWINS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "time in seconds": (PLAIN, "utf-8", {}),
    "time in milliseconds": (table("time (ms),MLII", MS, MV), "utf-8", {}),
    "time in milliseconds, in one word": (table("time_ms,MLII_mV", MS, MV), "utf-8", {}),
    "a rate instead of time": (table("MLII", MV), "utf-8", {"fs": FS}),
    "no header": (table("", TIME, MV), "utf-8", {"time": 0}),
    "numbers alone": (table("", MV), "utf-8", {"fs": FS}),
    "a column by name": (table("a,b", MV, TIME), "utf-8", {"time": "b"}),
    "rows counted": (table(",ECG", range(N), MV), "utf-8", {"fs": FS}),
    "semicolons and decimal commas": (table("time;MLII", TIME, MV, sep=";").replace(".", ","), "utf-8", {}),
    "tabs": (table("time\tMLII", TIME, MV, sep="\t"), "utf-8", {}),
    "lines ended as on Windows": (table("time,MLII", TIME, MV, end="\r\n"), "utf-8", {}),
    "a mark of the byte order": (PLAIN, "utf-8-sig", {}),
    "UTF-16": (PLAIN, "utf-16", {}),
    "UTF-16 without a mark": (PLAIN, "utf-16-le", {}),
    "Latin-1": (table("time,ECG (µV)", TIME, UV), "latin-1", {}),
    "microvolts in the header": (table("time (s),ECG (uV)", TIME, UV), "utf-8", {}),
    "microvolts in the card": (table("time,MLII", TIME, UV), "utf-8", {"unit": "uV"}),
    "integers of a converter": (table("x", DIGITAL[:, 0] + 512), "utf-8", {"fs": FS, "gain": 200.0, "baseline": 512.0}),
    "names and units as rdsamp writes": (
        table("'sample #','MLII','V1'\n'sample #','mV','mV'", range(N), MV, MV), "utf-8", {"fs": FS},
    ),
    "a watch": (WATCH + table("", UV), "utf-8", {}),
    "a column of text": (table("time,MLII,note", TIME, MV, ["x"] * N), "utf-8", {}),
}  # fmt: skip


@pytest.mark.parametrize(("text", "encoding", "card"), TWINS.values(), ids=TWINS.keys())
def test_the_heartbeats_are_those_of_the_wfdb_record(
    tmp_path: Path, text: str, encoding: str, card: dict[str, Any]
) -> None:
    path = csv_record(tmp_path / "r1.csv", text, encoding=encoding)
    # The text holds every digit, but divides in another order.
    assert same_beats(beats_in(path, "_beats.csv", **card), beats_in(wfdb_record(tmp_path / "plain")), within=1e-6)


def test_compressed_files_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "r1.csv.gz").write_bytes(gzip.compress(PLAIN.encode()))
    with zipfile.ZipFile(tmp_path / "r1.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r1.csv", PLAIN)
        archive.writestr("__MACOSX/._r1.csv", "x")
    for name in ("r1.csv.gz", "r1.zip"):
        file = open_recording(tmp_path / name)
        assert (file.frame_rate, file.lead_names) == (FS, ("MLII",))
        np.testing.assert_array_equal(file.read([0]), MILLIVOLTS[:1])
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", PLAIN)
        archive.writestr("b.csv", PLAIN)
    with pytest.raises(DataError, match=r"two\.zip holds 2 files, expected one"):
        open_recording(tmp_path / "two.zip")


def test_leads_are_counted_without_time_and_found_by_name(tmp_path: Path) -> None:
    file = open_recording(csv_record(tmp_path / "r1.csv", table("time,II (mV),V1", TIME, MV, MV)))
    assert file.lead_names == ("II", "V1") and file.positions((("V1", "V2"), (0,))) == [1, 0]


def test_empty_cells_are_gaps(tmp_path: Path) -> None:
    gaps = {100: "", 101: "nan", 102: "NaN", 500: "NA"}
    values = [gaps.get(at, value) for at, value in enumerate(MV)]
    for header, columns, card in (("time,MLII", (TIME, values), {}), ("MLII", (values,), {"fs": FS})):
        path = csv_record(tmp_path / "r1.csv", table(header, *columns))
        signal = open_recording(path, **card).read([0])[0]
        assert len(signal) == N and np.flatnonzero(np.isnan(signal)).tolist() == [*gaps]


def test_what_stands_before_the_numbers_can_name_the_patient(tmp_path: Path) -> None:
    file = open_recording(csv_record(tmp_path / "r1.csv", WATCH + table("", UV)))
    assert "Name: A B" in file.comments and file.lead_names == ("Lead I",) and file.frame_rate == FS


def test_reading_in_pieces_is_reading_at_once_in_any_order(tmp_path: Path) -> None:
    file = open_recording(csv_record(tmp_path / "r1.csv", table("time,a,b", TIME, MV, MILLIVOLTS[1])))
    whole = file.read([1, 0])
    pieces = [np.stack(file.read_frames([1, 0], at, min(at + 701, N))) for at in range(0, N, 701)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)
    for start, stop in ((9000, 9100), (50, 60), (50, 60), (60, 61), (N - 5, N)):
        np.testing.assert_array_equal(np.stack(file.read_frames([1, 0], start, stop)), whole[:, start:stop])


def test_a_rounded_time_is_still_that_of_a_steady_clock(tmp_path: Path) -> None:
    assert open_recording(csv_record(tmp_path / "r1.csv", table("time_ms,a", MS, MV))).frame_rate == FS


jumping = [*TIME[:5000], *(f"{(at + 3000) / FS:.4f}" for at in range(5000, N))]
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a jump in time": (table("time,a", jumping, MV), {}, "is irregular: its largest step, after row 5001, is 8.33"),
    "a row that is missing": (
        table("time,a", TIME[:700] + TIME[701:], MV[1:]), {}, "is irregular: its largest step, after row 701",
    ),
    "time that stands still": (table("time,a", ["0"] * N, MV), {}, "does not increase from 0 in row 2 to 0"),
    "milliseconds called seconds": (table("time,a", MS, MV), {}, "has 0.36 rows a second; if it is in milliseconds"),
    "neither time nor rate": (table("a,b", MV, MV), {}, "time nor sampling rate; set dataset.csv.fs (annotate: --fs)"),
    "no such column": (PLAIN, {"time": "when"}, "has no column 'when', which dataset.csv.time asks for"),
    "no such position": (PLAIN, {"time": 7}, "has no column 7, which dataset.csv.time asks for; it has 2"),
    "integers without gain": (table("a", DIGITAL[:, 0] + 512), {"fs": FS}, "without a unit, which are no millivolts"),
    "units of a converter": (table("a (adu)", DIGITAL[:, 0]), {"fs": FS}, "in 'adu', which are no millivolts"),
    "a unit of another kind": (table("a", MV), {"fs": FS, "unit": "mmHg"}, "lead a is in 'mmHg'"),
    "text between numbers": (table("a", [*MV[:99], "abc", *MV[100:]]), {"fs": FS}, "row 101 has 'abc' where a number"),
    "a row with more": (table("a,b", [*MV[:99], "1,2", *MV[100:]], MV), {"fs": FS}, "row 101 has 3 columns"),
    "cut off": (PLAIN[:-9], {}, "the file ends there, was it cut off?"),
    "the frequency of the mains": ("Mains frequency,50\n" + table("a", MV), {}, "states neither time nor sampling"),
    "a rate that may be two": ('Sample rate,"1,000 Hz"\n' + table("a", MV), {}, "states the sampling rate '1,000 Hz'"),
    "time of day": (table("time,a", ["0:00.1"] * N, MV), {}, "column 0, of time, holds text, not seconds; set"),
    "time alone": (table("time", TIME), {}, "has no column of numbers beside time"),
    "text alone": ("a web page\n<p>\n", {"fs": FS}, "begins with 'a web page' and has no row of numbers"),
    "empty": ("", {"fs": FS}, "is empty"),
    "blank": ("\n\n", {"fs": FS}, "is empty"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "card", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_refused_in_a_sentence(
    tmp_path: Path, text: str, card: dict[str, Any], said: str
) -> None:
    path = csv_record(tmp_path / "r1.csv", text)
    with pytest.raises(DataError) as error:
        open_recording(path, **card).read([0])
    assert said in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("when,what\n1,N\n", "has the columns when, what; expected sample or time, and symbol"),
        ("sample,symbol\n5,N\nx,N\n9,N\n", "row 3 has 'x' where a number is expected"),
        ("", "is empty"),
    ],
)
def test_a_table_of_beats_that_cannot_be_read_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = csv_record(tmp_path / "r1.csv", PLAIN)
    (tmp_path / "r1_beats.csv").write_text(text)
    with pytest.raises(DataError, match=f"r1_beats.csv {said}"):
        beats_in(path, "_beats.csv")


def test_beats_may_be_annotated_in_seconds_or_milliseconds(tmp_path: Path) -> None:
    path = csv_record(tmp_path / "r1.csv", PLAIN)
    expected = beats_in(path, "_beats.csv")
    for unit, factor in (("time", 1), ("time_ms", 1000), ("onset (s)", 1)):
        rows = zip(PEAKS / FS * factor, SYMBOLS, strict=True)
        (tmp_path / "r1_b.csv").write_text(f"{unit},type\n" + "".join(f"{at:.6f},{symbol}\n" for at, symbol in rows))
        assert same_beats(beats_in(path, "_b.csv"), expected)


def test_a_card_of_a_folder_reads_recordings_and_neither_tables_nor_annotations(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        csv_record(tmp_path / f"{name}.csv", table("time,MLII", TIME, MV if name == "r1" else [*reversed(MV)]))
    (tmp_path / "people.csv").write_text("record,person\nr1.csv,Ada\nr2.csv,Bo\n")
    card = {
        "name": "own", "title": "own", "task": "arrhythmia", "reader": "csv", "folder": str(tmp_path), "leads": [0],
        "annotator": "_beats.csv", "class_map": "aami",
        "patients": {"table": {"table": "people.csv", "record": "record", "column": "person"}},
        "cut": {"fs": 125.0, "length": 187, "rr_factor": 1.2, "margin": 3, "scaling": "beat"},
    }  # fmt: skip
    source = make_source(card, {"rhythm": False, "morphology": False, "before": 0.0}, tmp_path)
    beats = source.read()
    assert {*zip(beats.records, beats.patients, strict=True)} == {("r1", "Ada"), ("r2", "Bo")}
    assert {path.name for path in source.files()} == {"r1.csv", "r2.csv", "r1_beats.csv", "r2_beats.csv", "people.csv"}


@given(
    values=st.lists(st.floats(-40, 40).map(lambda one: round(one, 3)) | st.just(float("nan")), min_size=2, max_size=60)
    .filter(lambda one: any(value == value for value in one[-5:]) and one[0] == one[0]),
    sep=st.sampled_from(",;\t"),
    decimal=st.sampled_from(".,"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read(tmp_path: Path, values: list[float], sep: str, decimal: str, encoding: str) -> None:
    decimal = "." if sep == "," else decimal
    cells = ["" if value != value else str(value).replace(".", decimal) for value in values]
    path = csv_record(tmp_path / "r1.csv", table(f"a{sep}b", cells, cells, sep=sep), encoding=encoding)
    np.testing.assert_array_equal(open_recording(path, fs=100.0).read([0, 1]), [values, values])


@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=5),
    cut=st.none() | st.integers(0, 500),
    packing=st.sampled_from([".csv", ".gz", ".zip"]),
)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int | None, packing: str
) -> None:
    text = table("time,MLII", TIME[:1500], MV[:1500])
    path = csv_record(tmp_path / f"r1{packing}", text)
    if packing == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif packing == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("r1.csv", text)
    content = bytearray(path.read_bytes()[:cut])
    for at, value in changes if content else ():
        content[at % len(content)] = value
    path.write_bytes(content)
    refusal = refusal_of(lambda: read_recording(path, leads=[0]))
    assert refusal is None or str(tmp_path) in refusal or "record r1" in refusal
