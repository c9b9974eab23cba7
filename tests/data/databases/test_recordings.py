"""Databases of recordings: real ones give the published counts, a record that is not right is named and refused."""

import dataclasses
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from made import NO_CONTEXT, card, recordings

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.cache import cached_beats
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.labels import AAMI, AAMI_CLASSES
from ecg_lightning.data.readers import read_recording
from ecg_lightning.data.recording import WITHOUT_CLASS, Recording, make_leads
from ecg_lightning.data.rpeaks import detect_r_peaks


def source_of(folder: Path, **settings: Any) -> Recordings:
    return recordings(folder, **({"recorded_fs": 360.0 if folder.name == "mitdb" else None} | settings))


@pytest.mark.real_data("mitdb/100.dat")
def test_the_real_arrhythmia_database_gives_exactly_the_beats_of_the_kaggle_files(real_data_dir: Path) -> None:
    beats = source_of(real_data_dir / "mitdb").read()
    assert beats.counts() == {"N": 90_589, "S": 2_779, "V": 7_236, "F": 803, "Q": 8_039}
    assert beats.records is not None and beats.patients is not None and beats.samples is not None
    assert (len(np.unique(beats.records)), len(np.unique(beats.patients))) == (48, 47)
    assert set(beats.records[beats.patients == "201"]) == {"201", "202"}
    assert (beats.signals.min(), beats.signals.max()) == (0, 1)
    assert (beats.signals.max(axis=2) == 1).all()


@pytest.mark.real_data("ptbdb/RECORDS")
def test_the_real_infarction_records_have_one_label_each_and_whole_patients(real_data_dir: Path) -> None:
    beats = source_of(real_data_dir / "ptbdb", recorded_fs=1000.0).read()
    assert beats.records is not None and beats.patients is not None and beats.samples is not None
    assert (len(np.unique(beats.records)), len(np.unique(beats.patients))) == (83, 59)
    for name, column in (("record", beats.records), ("patient", beats.patients)):
        pairs = set(zip(column.tolist(), beats.known_labels.tolist(), strict=True))
        assert len(pairs) == len(np.unique(column)), f"a {name} with both labels"
    # 30 to 130 beats a minute in every record: the detector neither misses a rhythm nor sees T waves.
    for record in np.unique(beats.records):
        rr = np.diff(beats.samples[beats.records == record]) / 1000
        assert 0.4 < np.median(rr) < 2, record


def test_beats_are_cut_at_the_annotations_with_the_class_of_their_symbol(
    mitdb: Path, synthetic_recordings: dict[str, list[Recording]]
) -> None:
    beats = source_of(mitdb).read()
    first, second = synthetic_recordings["mitbih"]
    assert beats.classes == AAMI_CLASSES
    assert beats.records is not None and beats.patients is not None and beats.samples is not None
    assert set(beats.known_labels) == {0, 1, 2, 3, 4}
    for name, recording in (("201", first), ("202", second)):
        own = beats.records == name
        np.testing.assert_array_equal(beats.samples[own], recording.peaks[:-1])
        np.testing.assert_array_equal(beats.known_labels[own], recording.labels[:-1])
    assert set(beats.patients) == {"201"}, "records 201 and 202 are one person"
    assert not beats.synthetic


def test_hidden_files_are_no_recordings_and_names_may_have_spaces(mitdb: Path, tmp_path: Path) -> None:
    (mitdb / "RECORDS").unlink(missing_ok=True)
    (mitdb / "._201.hea").write_bytes(b"\0\5\x16\7")  # as a Mac leaves it
    assert [path.name for path in source_of(mitdb).records()] == ["201", "202"]
    (tmp_path / "own").mkdir()
    for name in ("r 1.csv", "r 2.csv", "RECORDS"):
        (tmp_path / "own" / name).write_text("r 1.csv\n\n")
    own = make_source(card("mitbih", reader="csv", folder=str(tmp_path / "own")), NO_CONTEXT, tmp_path)
    assert isinstance(own, Recordings)
    assert [path.name for path in own.records()] == ["r 1.csv"]


@pytest.mark.parametrize(("symbols", "label"), [(text, i) for i, text in enumerate(AAMI.values())])
def test_every_symbol_of_the_aami_table_counts_and_others_do_not(mitdb: Path, symbols: list[str], label: int) -> None:
    own = [*symbols, "~", "!", "x", "|", "+", "n"]
    samples = np.arange(1, len(own) + 1) * 300
    wfdb.wrann("201", "atr", samples, symbol=own, aux_note=["(N"] * len(own), write_dir=str(mitdb))
    recording = read_recording(mitdb / "201", annotator="atr")
    assert recording.labels is not None
    # A beat of none of the classes, n, is part of the rhythm; what is no beat is not.
    assert recording.peaks.tolist() == [*samples[: len(symbols)], samples[-1]]
    assert recording.labels.tolist() == [label] * len(symbols) + [WITHOUT_CLASS]


@pytest.mark.parametrize(
    ("leads", "signs"),
    [
        ([0], [1]),
        (["MLII"], [1]),
        (["mlii"], [1]),
        ([1], [-1]),
        (["V1"], [-1]),
        ([0, 1], [1, -1]),
        ([1, 0], [-1, 1]),
        ([["II", "MLII"], ["V5", "V1", 0]], [1, -1]),
        ([["II", 1], 0], [-1, 1]),
        (["MLII", ["V5", "MLII", "V1"]], [1, -1]),
    ],
    ids=str,
)
def test_leads_are_chosen_by_position_name_or_alternatives(
    mitdb: Path, synthetic_recordings: dict[str, list[Recording]], leads: list[Any], signs: list[int]
) -> None:
    recording = read_recording(mitdb / "201", leads=leads, fs=360.0)
    assert recording.fs == 360.0
    expected = np.array(signs)[:, None] * synthetic_recordings["mitbih"][0].signals
    np.testing.assert_allclose(recording.signals, expected, atol=0.003)  # 1/200 mV a step


def test_a_place_has_the_name_of_its_first_alternative(mitdb: Path) -> None:
    beats = source_of(mitdb, leads=[["II", "MLII"], 1]).read()
    assert beats.lead_names == ("II", "lead 1") and beats.signals.shape[1:] == (2, 187)
    first, second = (source_of(mitdb, leads=[lead]).read() for lead in ("MLII", "V1"))
    np.testing.assert_array_equal(beats.signals, np.concatenate([first.signals, second.signals], axis=1))
    assert beats.origin["leads"] == [["II", "MLII"], [1]]


@pytest.mark.parametrize("lead", ["V5", 2, ["V5", "V6"]])
def test_a_lead_that_is_not_there_is_refused_with_those_that_are(mitdb: Path, lead: Any) -> None:
    with pytest.raises(DataError, match=r"record 201 has no lead .*; it has MLII, V1"):
        source_of(mitdb, leads=[0, lead]).read()


@pytest.mark.parametrize("lead", [-1, "", "V\0"])
def test_what_no_lead_is_called_is_refused_before_anything_is_read(mitdb: Path, lead: Any) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.leads="):
        source_of(mitdb, leads=[0, lead])


def test_one_signal_is_not_two_leads(mitdb: Path) -> None:
    with pytest.raises(DataError, match=r"record 201 has no lead 'MLII' or 'II'.*MLII is taken"):
        source_of(mitdb, leads=[0, ["MLII", "II"]]).read()


@pytest.mark.parametrize("leads", [None, [], 0, "MLII", [[]], [1.0], [True], [None], ["II", ["II", 0]]], ids=str)
def test_what_is_no_list_of_leads_is_refused(leads: Any) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.leads="):
        make_leads(leads)


def test_a_header_that_names_no_lead_is_read_by_position(mitdb: Path) -> None:
    header = mitdb / "201.hea"
    header.write_text(header.read_text().replace(" MLII\n", "\n"))
    named, unnamed = (read_recording(mitdb / name, leads=[0]).signals for name in ("202", "201"))
    assert unnamed.shape == named.shape
    with pytest.raises(DataError, match=r"no lead 'MLII'; it has lead 0, V1"):
        read_recording(mitdb / "201", leads=["MLII"])


def test_another_sampling_rate_is_refused_unless_any_will_do(mitdb: Path) -> None:
    with pytest.raises(DataError, match="record 201 is sampled at 360 Hz, expected 250 Hz") as error:
        source_of(mitdb, recorded_fs=250.0).read()
    assert "recorded_fs=null" in str(error.value)
    assert source_of(mitdb, recorded_fs=None).read().fingerprint == source_of(mitdb).read().fingerprint


def test_infarction_records_carry_the_diagnosis_of_their_header_and_the_patient_of_their_folder(
    ptbdb: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        beats = source_of(ptbdb).read()
    assert beats.records is not None and beats.patients is not None
    found = set(zip(beats.records.tolist(), beats.patients.tolist(), beats.known_labels.tolist(), strict=True))
    assert found == {
        ("s0010_re", "patient001", 1),
        ("s0014lre", "patient001", 1),
        ("s0306lre", "patient104", 0),
    }
    assert "left out 1 records of other diagnoses: {'Cardiomyopathy': 1}" in caplog.text


def test_detected_r_peaks_are_those_that_were_simulated(synthetic_recordings: dict[str, list[Recording]]) -> None:
    recording = synthetic_recordings["ptbdb"][0]
    found = detect_r_peaks(recording.signals[0], recording.fs).samples
    inner = recording.peaks[(recording.peaks > 360) & (recording.peaks < recording.signals.shape[1] - 360)]
    nearest = np.abs(found[:, None] - inner).min(axis=0)
    assert nearest.max() <= 0.02 * recording.fs
    assert len(found) <= len(recording.peaks)


def test_a_card_can_choose_the_detector_and_beats_of_before_keep_their_key(ptbdb: Path) -> None:
    assert "detector" not in source_of(ptbdb).settings()
    chosen = source_of(ptbdb, detector="network")
    assert chosen.settings()["detector"] == "network"
    record = chosen.records()[0]
    found = chosen.recording(record).peaks
    np.testing.assert_array_equal(found, detect_r_peaks(*_first_lead(chosen, record)).samples)
    with pytest.raises(ConfigError, match=r"dataset\.detector=wavelet: expected network or sleepecg or xqrs"):
        source_of(ptbdb, detector="wavelet")


def _first_lead(source: Recordings, record: Path) -> tuple[Any, float]:
    recording = source.recording(record, detect=False)
    return recording.signals, recording.fs


def test_records_without_a_listing_are_found_by_their_headers(mitdb: Path, ptbdb: Path) -> None:
    for folder in (mitdb, ptbdb):
        listed = source_of(folder).read()
        (folder / "RECORDS").unlink()
        assert source_of(folder).read().fingerprint == listed.fingerprint


@pytest.mark.parametrize("listed", ["", "absent folder"])
def test_a_folder_without_records_names_the_command_that_gets_them(tmp_path: Path, listed: str) -> None:
    folder = tmp_path / "mitdb"
    if not listed:
        folder.mkdir()
    for ask in (source_of(folder).files, source_of(folder).read):
        with pytest.raises(DataError) as error:
            ask()
        assert str(folder) in str(error.value)
        assert f"ecg-lightning data fetch mitbih --data-dir {tmp_path}" in str(error.value)


@pytest.mark.parametrize("ending", ["hea", "dat", "atr"])
def test_a_missing_file_of_a_record_names_it_and_the_command_that_gets_it(
    mitdb: Path, tmp_path: Path, ending: str
) -> None:
    path = mitdb / f"202.{ending}"
    path.unlink()
    with pytest.raises(DataError) as error:
        cached_beats(source_of(mitdb), tmp_path / "cache")
    assert str(path) in str(error.value)
    assert f"ecg-lightning data fetch mitbih --data-dir {mitdb.parent}" in str(error.value)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(DataError, match="202"):
        source_of(mitdb).read()


def test_a_missing_ptb_signal_names_its_record_and_the_command_that_gets_it(ptbdb: Path) -> None:
    (ptbdb / "patient001" / "s0014lre.dat").unlink()
    with pytest.raises(DataError, match=r"s0014lre\.dat is not there; get it with: ecg-lightning data fetch ptbdb"):
        source_of(ptbdb).files()


def refused(folder: Path, tmp_path: Path) -> str:
    """The error that a user sees when the cache is to be built."""
    with pytest.raises(DataError) as error:
        cached_beats(source_of(folder), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.arrow"))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kept", [0, 3, 6, 1000, 0.5, -1, -2, -3])
@pytest.mark.parametrize("layout", ["mitdb", "ptbdb"])
def test_a_signal_cut_off_is_refused(request: pytest.FixtureRequest, tmp_path: Path, layout: str, kept: float) -> None:
    folder: Path = request.getfixturevalue(layout)
    path = folder / {"mitdb": "202.dat", "ptbdb": "patient104/s0306lre.dat"}[layout]
    size = path.stat().st_size
    os.truncate(path, size // 2 if kept == 0.5 else int(kept) % size)
    message = refused(folder, tmp_path)
    assert str(path.with_suffix("")) in message
    assert "samples that the header states" in message or "checksum" in message


def test_a_signal_with_one_wrong_bit_is_refused(mitdb: Path, tmp_path: Path) -> None:
    path = mitdb / "202.dat"
    content = bytearray(path.read_bytes())
    content[6000] ^= 4
    path.write_bytes(content)
    assert f"the signal of {mitdb / '202'} is damaged: the values of lead MLII" in refused(mitdb, tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 40, -1, -2])
def test_annotations_cut_off_are_refused(mitdb: Path, tmp_path: Path, kept: int) -> None:
    path = mitdb / "202.atr"
    os.truncate(path, kept % path.stat().st_size)
    assert f"{path} is cut off" in refused(mitdb, tmp_path)


def word(code: int, interval: int) -> bytes:
    """One annotation as WFDB writes it: six bits that tell the symbol, ten the samples since the last."""
    return (code << 10 | interval).to_bytes(2, "little")


N, END = word(1, 300), b"\0\0"

BAD_ANNOTATIONS = {
    "a code that is no symbol": (N + word(45, 100) + N + END, "unknown symbol 'nan' at sample 400"),
    "text": (b"this is no file of annotations!" + END, "no readable annotation file"),
    "no beat": (word(14, 300) + END, "by atr have no beat"),
    "nothing": (END, "by atr have no beat"),
    "a beat behind the end": (N + word(59, 0) + b"\x0f\x00\x00\x00" + N + END, "of a record of 10,800 samples"),
    "a beat before the start": (word(59, 0) + b"\xff\xff\x00\xf0" + N + N + END, "out of order"),
    "back in time": (N * 5 + word(59, 0) + b"\xff\xff\x00\xfe" + N + END, "out of order"),
}


@pytest.mark.parametrize(("content", "said"), BAD_ANNOTATIONS.values(), ids=BAD_ANNOTATIONS.keys())
def test_annotations_that_cannot_be_right_are_refused(mitdb: Path, tmp_path: Path, content: bytes, said: str) -> None:
    (mitdb / "202.atr").write_bytes(content)
    message = refused(mitdb, tmp_path)
    assert str(mitdb / "202") in message and "atr" in message
    assert said in message


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_never_taken_for_annotations(mitdb: Path, tmp_path: Path, seed: int) -> None:
    (mitdb / "202.atr").write_bytes(np.random.default_rng(seed).bytes(200) + END)
    assert str(mitdb / "202") in refused(mitdb, tmp_path)


def first_line(text: str) -> Callable[[str], str]:
    return lambda header: "\n".join([text, *header.splitlines()[1:]]) + "\n"


BAD_HEADERS: dict[str, tuple[Callable[[str], str], str]] = {
    "empty": (lambda header: "", "no readable WFDB header"),
    "blank": (lambda header: " \n\n", "no readable WFDB header"),
    "only a comment": (lambda header: "# nothing\n", "no readable WFDB header"),
    "a web page": (lambda header: "<!DOCTYPE html>\n<html>" + "x" * 400, "no readable WFDB header"),
    "binary": (lambda header: "\x00\xff\xfe" * 99, "no readable WFDB header"),
    "of another record": (first_line("100 2 360 10800"), "no readable WFDB header"),
    "no number of signals": (first_line("202 x 360 10800"), "no readable WFDB header"),
    "no signal": (lambda header: "202 0 360 10800\n", "states no signal"),
    "unknown signal format": (lambda header: header.replace(" 212 ", " xyz "), "no readable WFDB header"),
    "more signals than lines": (first_line("202 3 360 10800"), "states 3 signals or segments, and describes 2"),
    "more samples than there are": (first_line("202 2 360 20800"), "20800 samples that the header states"),
    "a rate of nothing": (first_line("202 2 0 10800"), "sampling rate of 0 Hz"),
}


@pytest.mark.parametrize(("change", "said"), BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_a_header_that_cannot_be_right_is_refused(
    mitdb: Path, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    path = mitdb / "202.hea"
    path.write_text(change(path.read_text()), encoding="latin-1")
    message = refused(mitdb, tmp_path)
    assert "202" in message
    assert said in message


def with_gap(ptbdb: Path) -> Path:
    """Ten samples of the first of two leads of a record are missing, around one of its beats."""
    folder, name = ptbdb / "patient104", "s0306lre"
    record = wfdb.rdrecord(str(folder / name))
    record.p_signal[1000:1010, 0] = np.nan
    wfdb.wrsamp(
        name, fs=record.fs, units=record.units, sig_name=record.sig_name, p_signal=record.p_signal, fmt=record.fmt,
        adc_gain=record.adc_gain, baseline=record.baseline, comments=record.comments, write_dir=str(folder),
    )  # fmt: skip
    return ptbdb


def test_beats_that_touch_a_gap_are_left_out_and_counted(ptbdb: Path) -> None:
    whole = source_of(ptbdb).read()
    beats = source_of(with_gap(ptbdb)).read()
    left_out = beats.origin["dropped"]["touching a gap"]
    assert left_out in (1, 2) and len(beats) == len(whole) - left_out
    assert np.isfinite(beats.signals).all()
    assert "dropped" not in source_of(ptbdb, leads=["i"]).read().origin


def test_recordings_with_a_gap_can_be_refused(ptbdb: Path) -> None:
    with_gap(ptbdb)
    with pytest.raises(DataError, match=r"record s0306lre: 10 of 10800 samples are missing; dataset\.gaps=leave_out"):
        source_of(ptbdb, gaps="refuse").read()
    assert len(source_of(ptbdb, leads=["i"], gaps="refuse").read()) > 0


@pytest.mark.parametrize("line", ["# Reason for admission: Healthy control", "# age: 60"])
def test_a_record_without_a_diagnosis_is_refused_and_one_without_an_age_is_not(ptbdb: Path, line: str) -> None:
    header = ptbdb / "patient104" / "s0306lre.hea"
    text = header.read_text()
    changed = "\n".join(own for own in text.splitlines() if own.replace("#", "# ").replace("#  ", "# ") != line)
    assert len(changed.splitlines()) == len(text.splitlines()) - 1
    header.write_text(changed + "\n")
    if "Reason" in line:
        with pytest.raises(DataError, match=r"s0306lre has no header comment 'Reason for admission'"):
            source_of(ptbdb).read()
    else:
        assert len(source_of(ptbdb).read()) > 0


def test_records_of_other_diagnoses_only_are_an_error(ptbdb: Path) -> None:
    (ptbdb / "RECORDS").write_text("patient200/s0400_re\n")
    with pytest.raises(DataError, match="is of normal or MI"):
        source_of(ptbdb).read()


def test_a_recording_too_short_for_r_peaks_is_named(
    ptbdb: Path, synthetic_recordings: dict[str, list[Recording]]
) -> None:
    recording = synthetic_recordings["ptbdb"][0]
    wfdb.wrsamp(
        "s0306lre", fs=360, units=["mV"], sig_name=["ii"], fmt=["16"], write_dir=str(ptbdb / "patient104"),
        p_signal=recording.signals[:, :100].T.astype(np.float64), comments=["Reason for admission: Healthy control"],
    )  # fmt: skip
    with pytest.raises(DataError, match=r"record s0306lre lasts 0\.28 s, too short"):
        source_of(ptbdb).read()


def test_settings_tell_all_that_the_beats_depend_on(mitdb: Path) -> None:
    source = source_of(mitdb, leads=["V1"], recorded_fs=None, cut={"scaling": "record"})
    assert source.read().origin == source.settings()
    assert source.settings()["leads"] == [["V1"]]
    assert source.settings()["cut"] == dataclasses.asdict(source.cut)


@pytest.mark.parametrize(
    "changed",
    [{"annotator": None}, {"class_map": None}, {"diagnoses": {"folder": True, "classes": {"N": ["a"], "V": ["b"]}}}],
    ids=str,
)
def test_beats_that_nothing_gives_a_class_are_refused(mitdb: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"annotator with dataset\.class_map"):
        source_of(mitdb, **changed)


def test_another_annotator_and_another_class_map_are_settings(mitdb: Path) -> None:
    (mitdb / "201.qrs").write_bytes((mitdb / "201.atr").read_bytes())
    (mitdb / "202.qrs").write_bytes((mitdb / "202.atr").read_bytes())
    beats = source_of(mitdb, annotator="qrs", class_map={"normal": "N", "ectopic": "AV"}, patients="record").read()
    usual = source_of(mitdb).read()
    assert beats.classes == ("normal", "ectopic") and beats.counts()["normal"] <= usual.counts()["N"]
    assert beats.patients is not None and set(beats.patients) == {"201", "202"}


@pytest.mark.parametrize(("folder", "dataset"), [("mitdb", "mitbih"), ("ptbdb", "ptbdb")])
def test_the_shipped_descriptions_read_the_databases(request: pytest.FixtureRequest, folder: str, dataset: str) -> None:
    data: Path = request.getfixturevalue(folder)
    made = make_source(card(dataset, recorded_fs=360.0), NO_CONTEXT, data.parent)
    assert made.read().fingerprint == source_of(data).read().fingerprint


def test_the_window_grows_by_what_is_before_the_r_peak(mitdb: Path) -> None:
    for before, length in ((0.0, 187), (0.272, 221)):
        context = NO_CONTEXT | {"before": before, "rhythm": True}
        source = make_source(card("mitbih"), context, mitdb.parent)
        beats = source.read()
        assert (beats.length, beats.origin["cut"]["before"], len(beats.context_names)) == (length, before, 8)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"class_map": "minnesota"}, "class_map=minnesota"),
        ({"patients": "header"}, "patients=header"),
        ({"patients": {"202": "201"}}, "patients="),
        ({"leads": [[]]}, "leads="),
        ({"cut": {"size": 3}}, r"cut\.size=3"),
    ],
    ids=str,
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_source(card("mitbih", **changed), NO_CONTEXT, tmp_path)


def test_a_record_that_is_listed_twice_or_copied_is_refused(mitdb: Path) -> None:
    (mitdb / "RECORDS").write_text("201\n202\n201\n")
    with pytest.raises(DataError, match="RECORDS lists 201 more than once: its beats would be on both sides"):
        source_of(mitdb).files()
    (mitdb / "RECORDS").write_text("201\n202\n203\n")
    for ending in ("dat", "atr"):
        shutil.copy(mitdb / f"201.{ending}", mitdb / f"203.{ending}")
    (mitdb / "203.hea").write_text((mitdb / "201.hea").read_text().replace("201", "203"))
    with pytest.raises(DataError, match=r"203 is a copy of .*201: its beats would be on both sides of a split; remove"):
        source_of(mitdb).read()
    listed, fitting = (source_of(mitdb, records=records).read() for records in (["201", "202"], "20[12]"))
    assert listed.fingerprint == fitting.fingerprint


def test_records_of_one_name_in_two_folders_are_two_records(mitdb: Path) -> None:
    for folder, record in (("ward_a", "201"), ("ward_b", "202")):
        (mitdb / folder).mkdir()
        for ending in ("dat", "atr", "hea"):
            content = (mitdb / f"{record}.{ending}").read_bytes()
            named = content.replace(record.encode(), b"rec") if ending == "hea" else content
            (mitdb / folder / f"rec.{ending}").write_bytes(named)
    (mitdb / "RECORDS").write_text("ward_a/rec\nward_b/rec\n")
    beats = source_of(mitdb, patients="folder").read()
    assert beats.records is not None and beats.patients is not None
    assert set(beats.records) == {"ward_a/rec", "ward_b/rec"}
    assert set(beats.patients) == {"ward_a", "ward_b"}


@pytest.mark.parametrize(
    ("patterns", "found"),
    [(None, 3), ("patient001/*", 2), (["*lre"], 2), (["patient104/s0306lre"], 1), (["patient1*", "*_re"], 2)],
    ids=str,
)
def test_patterns_choose_the_records(ptbdb: Path, patterns: Any, found: int) -> None:
    beats = source_of(ptbdb, records=patterns).read()
    assert beats.records is not None and len(np.unique(beats.records)) == found


def test_a_pattern_that_fits_no_record_is_refused(ptbdb: Path) -> None:
    with pytest.raises(DataError, match="holds no recording that ptbdb asks for"):
        source_of(ptbdb, records="records500/*").files()


def test_of_own_recordings_the_remedy_is_no_download(mitdb: Path) -> None:
    own = card("mitbih", name="mine", download=None)
    (mitdb / "202.dat").unlink()
    with pytest.raises(DataError) as error:
        make_source(own, NO_CONTEXT, mitdb.parent).files()
    assert "fetch" not in str(error.value)
    assert f"put the recordings into {mitdb}, or correct folder and records in the card of mine" in str(error.value)
    with pytest.raises(DataError, match="ecg-lightning data fetch mitbih"):
        source_of(mitdb).files()
