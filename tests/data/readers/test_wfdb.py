"""WFDB records in all their notations: the same heartbeats, or a sentence on what cannot be read."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import DIGITAL, FS, GAIN, MILLIVOLTS, PEAKS, SYMBOLS, N, beats_in, refusal_of, same_beats, wfdb_record

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers import open_recording, read_recording

Digital = npt.NDArray[np.int64]


def written(folder: Path, header: str, digital: Digital = DIGITAL, **annotations: object) -> Path:
    """A record of samples in format 16 with a header of one's own, and its annotations."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "r1.hea").write_text(header)
    digital.astype("<i2").tofile(folder / "r1.dat")
    wfdb.wrann("r1", "atr", PEAKS, SYMBOLS, write_dir=str(folder), **annotations)
    return folder / "r1"


def half(folder: Path, number: int) -> str:
    wfdb_record(folder, f"part{number}", digital=DIGITAL[N // 2 * number : N // 2 * (number + 1)])
    return f"part{number} {N // 2}\n"


def segments(folder: Path) -> Path:
    folder.mkdir()
    parts = half(folder, 0) + half(folder, 1)
    (folder / "r1.hea").write_text(f"r1/2 2 {FS} {N}\n{parts}")
    wfdb.wrann("r1", "atr", PEAKS, SYMBOLS, write_dir=str(folder))
    return folder / "r1"


def frames_of_four(folder: Path) -> Path:
    """Four samples of each lead in a frame; the annotations count samples."""
    interleaved = np.concatenate([DIGITAL[:, lead].reshape(-1, 4) for lead in range(2)], 1)
    return written(folder, f"r1 2 {FS // 4} {N // 4}\nr1.dat 16x4 200\nr1.dat 16x4 200\n", interleaved, fs=FS)


def late_lead(folder: Path) -> Path:
    """The first lead comes 7 frames late in the file, as its header states."""
    late = DIGITAL.copy()
    late[7:, 0] = DIGITAL[:-7, 0]
    return written(folder, f"r1 2 {FS} {N}\nr1.dat 16:7 200\nr1.dat 16:3 200\n", late)


LEADS = "r1.dat 16 200\nr1.dat 16 200\n"
TWINS: dict[str, Callable[[Path], Path]] = {
    "annotations on a clock of half the rate": lambda f: wfdb_record(f, samples=PEAKS // 2, clock=FS / 2),
    "annotations on a clock of twice the rate": lambda f: wfdb_record(f, samples=PEAKS * 2, clock=FS * 2),
    "microvolts": lambda f: wfdb_record(f, gain=GAIN / 1000, units=["uV"] * 2),
    "volts": lambda f: wfdb_record(f, gain=GAIN * 1000, units=["V"] * 2),
    "four samples a frame": frames_of_four,
    "segments": segments,
    "a lead that comes late": late_lead,
    "no length": lambda f: written(f, f"r1 2 {FS}\n{LEADS}"),
    "neither gain nor unit": lambda f: written(f, f"r1 2 {FS} {N}\nr1.dat 16\nr1.dat 16\n"),
    "gain 0, not calibrated": lambda f: written(f, f"r1 2 {FS} {N}\nr1.dat 16 0\nr1.dat 16 0\n"),
    "a counter, date and comments": lambda f: written(f, f"# x\nr1 2 {FS}/9(5) {N} 1:2:3 4/5/2006\n{LEADS}# age 60\n"),
    "a single lead": lambda f: wfdb_record(f, digital=DIGITAL[:, :1]),
    "lines ended as on Windows": lambda f: written(f, f"r1 2 {FS} {N}\r\n" + LEADS.replace("\n", "\r\n")),
    "24 bits": lambda f: wfdb_record(f, fmt=["24"] * 2),
    "FLAC": lambda f: wfdb_record(f, fmt=["516"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS.keys())
def test_another_notation_gives_the_same_beats_to_the_bit(tmp_path: Path, twin: Callable[[Path], Path]) -> None:
    plain = beats_in(wfdb_record(tmp_path / "plain"))
    assert same_beats(beats_in(twin(tmp_path / "twin")), plain)


def test_bytes_before_the_signal_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, f"r1 2 {FS} {N - 3}\n" + LEADS.replace("16", "16+12"))
    np.testing.assert_array_equal(open_recording(path).read([0, 1]), MILLIVOLTS[:, 3:])


def test_another_annotator_is_named_by_its_extension(tmp_path: Path) -> None:
    path = wfdb_record(tmp_path, annotator="ecg")
    assert same_beats(beats_in(path, "ecg"), beats_in(wfdb_record(tmp_path / "plain")))
    with pytest.raises(DataError, match=r"r1\.atr is not there: record r1 has no annotations by atr"):
        beats_in(path)


SMALL = (np.cumsum(np.random.default_rng(1).integers(-3, 4, (3001, 2)), axis=0) + 20).clip(-100, 100)


def packed(digital: Digital, fmt: str) -> bytes:
    """The samples in one of the formats that wfdb reads and does not write."""
    flat = digital.reshape(-1)
    if fmt == "8":
        return np.diff(digital, axis=0, prepend=digital[:1]).astype("i1").tobytes()
    if fmt == "61":
        return flat.astype(">i2").tobytes()
    if fmt == "160":
        return (flat + 32768).astype("<u2").tobytes()
    a, b, c = np.pad(flat & 0x3FF, (0, -len(flat) % 3)).reshape(-1, 3).T
    words = a | b << 10 | c << 20  # 311: three samples of 10 bits from the lowest on
    if (
        fmt == "310"
    ):  # two words of 16 bits: 11 bits hold a sample above a bit that is not used, 5 bits half of the third
        words = (a << 1 | (c & 0x1F) << 11) | (b << 1 | (c >> 5) << 11) << 16
    return words.astype("<u4").tobytes()


@pytest.mark.parametrize("fmt", ["8", "16", "24", "32", "61", "80", "160", "212", "310", "311", "508", "516", "524"])
def test_every_signal_format_is_read_at_once_or_in_pieces(tmp_path: Path, fmt: str) -> None:
    n = len(SMALL)
    if fmt in ("8", "61", "160", "310", "311"):
        lines = [f"r1.dat {fmt} 200 12 0 {SMALL[0, at]} {SMALL[:, at].sum() % 65536} 0 x{at}\n" for at in (0, 1)]
        (tmp_path / "r1.hea").write_text(f"r1 2 {FS} {n}\n" + "".join(lines))
        (tmp_path / "r1.dat").write_bytes(packed(SMALL, fmt))
    else:
        wfdb.wrsamp(
            "r1", fs=FS, units=["mV"] * 2, sig_name=["a", "b"], d_signal=SMALL, fmt=[fmt] * 2, adc_gain=[200.0] * 2,
            baseline=[0] * 2, write_dir=str(tmp_path),
        )  # fmt: skip
    file = open_recording(tmp_path / "r1")
    np.testing.assert_array_equal(file.read([0, 1]), SMALL.T / 200)
    pieces = [np.stack(file.read_frames([1, 0], start, min(start + 701, n))) for start in range(0, n, 701)]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), SMALL.T[::-1] / 200)


def test_gaps_between_segments_and_absent_leads_are_gaps(tmp_path: Path) -> None:
    wfdb_record(tmp_path, "part0", digital=DIGITAL[:1000], sig_name=["V1", "II"])
    wfdb_record(tmp_path, "part1", digital=DIGITAL[1000:1500], sig_name=["II", "III"])
    (tmp_path / "layout.hea").write_text(f"layout 2 {FS} 0\n~ 0 1/mV 0 0 0 0 0 II\n~ 0 1/mV 0 0 0 0 0 V1\n")
    (tmp_path / "r1.hea").write_text(f"r1/4 2 {FS} 1600\nlayout 0\npart0 1000\n~ 100\npart1 500\n")
    file = open_recording(tmp_path / "r1")
    assert file.lead_names == ("II", "V1")
    expected = np.full((2, 1600), np.nan)
    expected[0, :1000], expected[1, :1000], expected[0, 1100:] = (
        MILLIVOLTS[1, :1000],
        MILLIVOLTS[0, :1000],
        MILLIVOLTS[0, 1000:1500],
    )
    np.testing.assert_array_equal(file.read([0, 1]), expected)
    np.testing.assert_array_equal(file.read([1]), expected[1:])  # which a segment does not have


def test_the_invalid_value_of_a_format_is_a_gap(tmp_path: Path) -> None:
    digital = DIGITAL.copy()
    digital[500:503, 0] = -32768
    signal = open_recording(written(tmp_path, f"r1 2 {FS} {N}\n{LEADS}", digital)).read([0])[0]
    assert np.flatnonzero(np.isnan(signal)).tolist() == [500, 501, 502]


def test_leads_of_different_rates_are_read_at_the_finest(tmp_path: Path) -> None:
    frames = np.concatenate([DIGITAL[:, 0].reshape(-1, 2), DIGITAL[::2, 1:]], 1)
    file = open_recording(written(tmp_path, f"r1 2 {FS // 2} {N // 2}\nr1.dat 16x2 200\nr1.dat 16 200\n", frames))
    assert (file.fs([0, 1]), file.fs([0]), file.fs([1])) == (FS, FS, FS / 2)
    both = file.read([0, 1])
    np.testing.assert_array_equal(both[0], MILLIVOLTS[0])
    assert np.abs(both[1] - MILLIVOLTS[1])[100:-100].max() < 0.03


def test_of_two_leads_of_one_name_the_first_is_found_by_name_and_the_second_by_position(tmp_path: Path) -> None:
    file = open_recording(wfdb_record(tmp_path, sig_name=["II", "ii"]))
    assert file.positions((("II",), (1,))) == [0, 1]


def test_a_lead_that_is_found_by_its_second_choice_has_its_own_name(tmp_path: Path) -> None:
    path = wfdb_record(tmp_path)
    assert read_recording(path, leads=[[5, "V1"]]).lead_names == ("V1",)
    assert read_recording(path, leads=[["V9", "V1"]]).lead_names == ("V9",)  # places are called by their first name


def test_without_a_beat_the_symbols_that_are_there_are_named(tmp_path: Path) -> None:
    path = wfdb_record(tmp_path)
    wfdb.wrann("r1", "qrs", np.array([100, 900]), ["+", "~"], aux_note=["(N", ""], write_dir=str(tmp_path))
    with pytest.raises(DataError, match=r"have no beat, but \+ \(1\), ~ \(1\); dataset.class_map names the symbols"):
        read_recording(path, annotator="qrs")


def test_leads_without_names_are_counted(tmp_path: Path) -> None:
    assert open_recording(written(tmp_path, f"r1 2 {FS} {N}\n{LEADS}")).lead_names == ("lead 0", "lead 1")


REFUSED = {
    "a unit of another kind": (f"r1 2 {FS} {N}\nr1.dat 16 200/mmHg\nr1.dat 16 200\n", "lead lead 0 is in 'mmHg'"),
    "samples that are not there": (f"r1 2 {FS} {N + 9}\n{LEADS}", f"does not hold the {N + 9} samples"),
    "a length of years": (f"r1 2 {FS} {10**12}\n{LEADS}", "1,000,000,000,000 frames at 360 Hz, more than 60 days"),
    "a wrong checksum": (f"r1 2 {FS} {N}\nr1.dat 16 200 16 0 0 7 0 I\nr1.dat 16 200\n", "lead I do not add up"),
    "an unknown format": (f"r1 2 {FS} {N}\nr1.dat 17 200\nr1.dat 17 200\n", "cannot be read"),
    "no signal": (f"r1 0 {FS} {N}\n", "r1.hea states no signal"),
    "no rate": (f"r1 2 0 {N}\n{LEADS}", "a sampling rate of 0 Hz; expected one from 20"),
    "another name inside": (f"r2 2 {FS} {N}\n{LEADS}", "does not begin with r1"),
    "itself as a segment": (f"r1/1 2 {FS} {N}\nr1 {N}\n", "has segments itself"),
    "an absent segment": (f"r1/1 2 {FS} {N}\nr9 {N}\n", "r9.hea is not there"),
    "an absent signal": (f"r1 1 {FS} {N}\nr9.dat 16 200\n", "r9.dat is not there"),
}  # fmt: skip


@pytest.mark.parametrize(("header", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path, header: str, said: str) -> None:
    path = written(tmp_path, header)
    with pytest.raises(DataError) as error:
        open_recording(path).read([0])
    assert said in str(error.value) and str(path.parent) in str(error.value) and "\n" not in str(error.value)


def test_a_segment_of_another_length_than_the_record_states_is_refused(tmp_path: Path) -> None:
    path = segments(tmp_path / "twin")
    path.with_suffix(".hea").write_text(f"r1/2 2 {FS} {N - 9}\npart0 {N // 2}\npart1 {N // 2 - 9}\n")
    with pytest.raises(DataError, match=f"part1.hea states {N // 2} samples, record r1 {N // 2 - 9}"):
        open_recording(path)


def test_annotations_cut_off_in_a_copy_are_refused(tmp_path: Path) -> None:
    path = wfdb_record(tmp_path).with_suffix(".atr")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"r1\.atr is cut off"):
        beats_in(tmp_path / "r1")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (".", "there is no"), ("absent", r"absent is no recording: there is no absent\.hea"),
        ("absent.hea", r"there is no absent\.hea"), ("absent.edf", r"absent\.edf is not there"),
        ("folder.csv", r"folder\.csv is not there, or is a folder"),
    ],
)  # fmt: skip
def test_a_path_that_is_no_recording_is_refused_by_name(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=said):
        open_recording(tmp_path / name)


@given(
    which=st.sampled_from(["hea", "dat", "atr"]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.none() | st.integers(0, 200),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, which: str, changes: list[tuple[int, int]], cut: int | None
) -> None:
    path = wfdb_record(tmp_path, digital=DIGITAL[:1000], samples=np.sort(PEAKS % 900))
    damaged = path.with_suffix(f".{which}")
    content = bytearray(damaged.read_bytes()[:cut])
    for at, value in changes if content else ():
        content[at % len(content)] = value
    damaged.write_bytes(content)
    refusal = refusal_of(lambda: read_recording(path, annotator="atr"))
    assert refusal is None or str(tmp_path) in refusal or "record r1" in refusal
