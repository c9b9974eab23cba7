"""EDF, EDF+ and BDF recordings: the heartbeats of the WFDB record, gaps where there are some, or a sentence."""

import datetime
from collections.abc import Callable
from pathlib import Path

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import (
    DIGITAL,
    FS,
    GAIN,
    MILLIVOLTS,
    PEAKS,
    SYMBOLS,
    N,
    beats_in,
    edf_record,
    refusal_of,
    same_beats,
    wfdb_record,
)

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers import open_recording, read_recording

QUANTUM = 1 / GAIN  # mV


def discontinuous(path: Path, kept: list[int], *, later: float = 0.0) -> Path:
    """An EDF+D file of some of the data records of an EDF+C file, from the third on `later` seconds later."""
    content = edf_record(path).read_bytes()
    signals = int(content[252:256])
    head, size = 256 * (signals + 1), (len(content) - 256 * (signals + 1)) // (N // FS)
    records = [content[head + at * size : head + (at + 1) * size] for at in kept]
    if later:
        moved = [
            record.replace(b"+%d\x14\x14\0" % at, b"+%g\x14\x14\0" % (at + later))[:size]
            for at, record in zip(kept, records, strict=True)
        ]
        records = records[:2] + moved[2:]
    header = content[:192] + b"EDF+D".ljust(44) + f"{len(kept):<8}".encode() + content[244:head]
    path.write_bytes(header + b"".join(records))
    return path


TWINS: dict[str, Callable[[Path], Path]] = {
    "EDF+": lambda f: edf_record(f / "r1.edf"),
    "BDF+": lambda f: edf_record(f / "r1.bdf"),
    "microvolts": lambda f: edf_record(f / "r1.edf", unit="uV", per_mv=1000),
    "data records of 0.1 s": lambda f: edf_record(f / "r1.edf", record_s=0.1),
    "all in one data record": lambda f: edf_record(f / "r1.edf", record_s=N / FS),
    "discontinuous without a gap": lambda f: discontinuous(f / "r1.edf", [*range(N // FS)]),
}


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS.keys())
def test_the_heartbeats_are_those_of_the_wfdb_record(tmp_path: Path, twin: Callable[[Path], Path]) -> None:
    # EDF states a range rather than a gain, which rounds otherwise.
    assert same_beats(beats_in(twin(tmp_path), "edf"), beats_in(wfdb_record(tmp_path / "plain")), within=1e-5)


def test_annotations_beside_the_file_are_named_by_the_end_of_their_name(tmp_path: Path) -> None:
    path = edf_record(tmp_path / "r1.edf")
    wfdb_record(tmp_path)
    table = "".join(f"{at / FS:.4f};{symbol}\n" for at, symbol in zip(PEAKS, SYMBOLS, strict=True))
    (tmp_path / "r1_beats.csv").write_text("time;symbol\n" + table)
    inside = beats_in(path, "edf")
    assert same_beats(beats_in(path, ".atr"), inside) and same_beats(beats_in(path, "atr"), inside)
    assert same_beats(beats_in(path, "_beats.csv"), inside)
    with pytest.raises(DataError, match=r"r1\.qrs is not there"):
        beats_in(path, ".qrs")


def test_what_lies_between_the_parts_of_a_discontinuous_file_is_a_gap(tmp_path: Path) -> None:
    kept = [*range(10), *range(15, 40)]
    file = open_recording(discontinuous(tmp_path / "r1.edf", kept))
    signal = file.read([0])[0]
    gap = np.isnan(signal)
    assert np.flatnonzero(gap).tolist() == [*range(10 * FS, 15 * FS)]
    np.testing.assert_allclose(signal[~gap], MILLIVOLTS[0][~gap], atol=QUANTUM / 2)
    annotations, clock = file.annotations("edf")
    samples = [int(peak) for peak in PEAKS if peak // FS in kept]
    assert clock == FS and annotations.samples.tolist() == samples  # on the clock with the gap


def test_a_gap_may_begin_between_two_samples(tmp_path: Path) -> None:
    signal = open_recording(discontinuous(tmp_path / "r1.edf", [0, 1, 2, 3], later=0.25)).read([0])[0]
    assert np.flatnonzero(np.isnan(signal)).tolist() == [*range(2 * FS, 2 * FS + FS // 4)]
    np.testing.assert_allclose(signal[2 * FS + FS // 4 :], MILLIVOLTS[0, 2 * FS : 4 * FS], atol=QUANTUM / 2)


def test_data_records_out_of_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data record 3 does not begin after the one before"):
        open_recording(discontinuous(tmp_path / "r1.edf", [0, 5, 3, 4]))


def test_signals_of_other_rates_are_read_with_the_finest(tmp_path: Path) -> None:
    time = np.arange(N) / FS
    sines = [np.sin(2 * np.pi * time[::step]) for step in (1, 4, 90)]
    labels = ("ECG II", "ECG V1", "SpO2")
    path = tmp_path / "r1.edf"
    edfio.Edf([
        edfio.EdfSignal(sine, FS / step, label=label, physical_dimension="mV" if label != "SpO2" else "%")
        for sine, step, label in zip(sines, (1, 4, 90), labels, strict=True)
    ]).write(path)  # fmt: skip
    file = open_recording(path)
    assert file.lead_names == ("II", "V1", "SpO2")
    assert [file.fs([at]) for at in range(3)] == [360, 90, 4] and file.fs([0, 1]) == 360
    leads = file.read([0, 1])
    np.testing.assert_allclose(leads[1][400:-400], leads[0][400:-400], atol=0.01)
    with pytest.raises(DataError, match="lead SpO2 is in '%', expected a unit of voltage"):
        file.read([2])


def test_reading_in_pieces_is_reading_at_once(tmp_path: Path) -> None:
    file = open_recording(discontinuous(tmp_path / "r1.edf", [0, 1, 2, 5, 6, 9], later=0.1))
    pieces = [
        np.stack(file.read_frames([1, 0], at, min(at + 257, file.n_frames))) for at in range(0, file.n_frames, 257)
    ]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), file.read([1, 0]))


@pytest.mark.parametrize(
    ("unit", "bytes_"), [("µV in Latin-1", b"\xb5V"), ("µV in UTF-8", b"\xc2\xb5V"), ("microvolt", b"uV")]
)
def test_microvolts_are_known_in_every_spelling(tmp_path: Path, unit: str, bytes_: bytes) -> None:
    path = edf_record(tmp_path / "r1.edf", unit="uV", per_mv=1000)
    path.write_bytes(path.read_bytes().replace(b"uV".ljust(8), bytes_.ljust(8)))
    np.testing.assert_allclose(open_recording(path).read([0])[0], MILLIVOLTS[0], atol=QUANTUM / 2)


def test_the_patient_of_the_header_can_be_asked_for_and_an_anonymous_one_is_nobody(tmp_path: Path) -> None:
    assert open_recording(edf_record(tmp_path / "r1.edf", patient="P7")).comments[0].startswith("patient: P7 ")
    assert open_recording(edf_record(tmp_path / "r2.edf")).comments == ()


def test_a_start_between_two_seconds_does_not_move_the_annotations(tmp_path: Path) -> None:
    signal = edfio.EdfSignal(np.sin(np.arange(10.0 * FS)), FS, label="ECG", physical_dimension="mV")
    notes = [
        edfio.EdfAnnotation(2.5, None, "N"),
        edfio.EdfAnnotation(7.0, None, "(AFIB"),
        edfio.EdfAnnotation(7.5, None, "V"),
    ]
    edfio.Edf([signal], annotations=notes, starttime=datetime.time(1, 2, 3, 250_000)).write(tmp_path / "r1.edf")
    annotations, _ = open_recording(tmp_path / "r1.edf").annotations("edf")
    assert annotations.samples.tolist() == [900, 2520, 2700]
    assert annotations.symbols == ["N", "+", "V"] and annotations.notes == ["", "(AFIB", ""]


def test_texts_that_are_no_beats_may_stand_among_the_beats_of_a_file(tmp_path: Path) -> None:
    signal = edfio.EdfSignal(np.sin(np.arange(10.0 * FS)), FS, label="ECG", physical_dimension="mV")
    notes = [edfio.EdfAnnotation(at, None, text) for at, text in ((0, "Recording starts"), (1, "N"), (2, "V"))]
    edfio.Edf([signal], annotations=notes).write(tmp_path / "r1.edf")
    recording = read_recording(tmp_path / "r1.edf", annotator="edf")
    assert recording.symbols == ["N", "V"] and recording.other_symbols == {"Recording starts": 1}


def test_a_discontinuous_file_of_one_record_needs_its_beginning_too(tmp_path: Path) -> None:
    path = discontinuous(tmp_path / "r1.edf", [0])
    path.write_bytes(path.read_bytes().replace(b"\x14\x14\0", b"\x14x\0", 1))
    with pytest.raises(DataError, match="data record 1 does not begin"):
        open_recording(path)


REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut off": (lambda content: content[:-5000], "it states 40 data records, and holds"),
    "longer than stated": (lambda content: content + bytes(90_000), "is cut off or damaged"),
    "a header alone": (lambda content: content[:1024], "is cut off or damaged: it states 40 data records, and holds 0"),
    "no header": (lambda content: b"time,ecg\n1,2\n", "is no readable EDF or BDF file"),
    "empty": (lambda content: b"", "is no readable EDF or BDF file: it has 0 bytes"),
    "no duration": (lambda content: content[:244] + b"0".ljust(8) + content[252:], "EDF"),
    "no unit": (lambda content: content.replace(b"mV".ljust(8), b" " * 8), "lead MLII is in 'no unit'"),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_refused_in_a_sentence(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    path = edf_record(tmp_path / "r1.edf")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as error:
        open_recording(path).read([0])
    assert said in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_recorder_that_was_stopped_left_the_number_of_records_open(tmp_path: Path) -> None:
    path = edf_record(tmp_path / "r1.edf")
    content = path.read_bytes()
    path.write_bytes(content[:236] + b"-1".ljust(8) + content[244:])
    assert open_recording(path).n_frames == N


@given(
    digital=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=20, max_size=60).filter(
        lambda one: min(one) < max(one)
    ),
    high=st.floats(0.1, 400),
    bdf=st.booleans(),
)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_within_half_a_step_of_the_converter(
    tmp_path: Path, digital: list[int], high: float, bdf: bool
) -> None:
    signal = np.asarray(digital) * (high / 2**15)
    kind, lead = (edfio.Bdf, edfio.BdfSignal) if bdf else (edfio.Edf, edfio.EdfSignal)
    path = tmp_path / ("r1.bdf" if bdf else "r1.edf")
    made = lead(signal, len(signal), label="ECG", physical_dimension="mV", physical_range=(-401, 401))
    kind([made]).write(path)
    np.testing.assert_allclose(open_recording(path).read([0])[0], signal, atol=802 / (2**16 - 1) / 2 * 1.001)


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 1100) | st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4
    ),
    cut=st.none() | st.integers(0, 2000),
    apart=st.booleans(),
)
@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int | None, apart: bool
) -> None:
    path = (
        discontinuous(tmp_path / "r1.edf", [0, 1, 2, 5]) if apart else edf_record(tmp_path / "r1.edf", digital=DIGITAL)
    )
    content = bytearray(path.read_bytes()[:cut])
    for at, value in changes if content else ():
        content[at % len(content)] = value
    path.write_bytes(content)
    refusal = refusal_of(lambda: read_recording(path, leads=[0], annotator="edf"))
    assert refusal is None or str(tmp_path) in refusal or "record r1" in refusal
