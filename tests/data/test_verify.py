"""`ecg-lightning data check` on made data: each fault a user can have is found and named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.data.databases.card import Patients, Table
from ecg_lightning.data.verify import Count, DatabaseCheck, check
from ecg_lightning.pipeline.cards import load_cards, source_of

SYMBOLS = ["N"] * 6 + ["A", "V", "F", "/", "+"]
CARDS = load_cards()


def checked(name: str, data_dir: Path, published: dict[str, object] | None = None) -> DatabaseCheck:
    """The check of a shipped card, with other published numbers."""
    card = CARDS[name]
    if published:
        about = card.about.model_copy(update={"published": card.about.published.model_copy(update=published)})
        card = card.model_copy(update={"about": about})
    return check(source_of(card, data_dir))


def counts(result: DatabaseCheck) -> dict[str, tuple[int, int | None]]:
    return {count.what: (count.found, count.published) for count in result.counts}


def _write_record(
    folder: Path, name: str, *, comments: list[str] | None = None, fmt: str = "212", fs: int = 360
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    signal = np.random.default_rng([*name.encode()]).normal(size=(10 * fs, 1))
    wfdb.wrsamp(
        name, fs=fs, units=["mV"], sig_name=["ii"], p_signal=signal, fmt=[fmt], adc_gain=[200.0], baseline=[0],
        comments=comments or [], write_dir=str(folder),
    )  # fmt: skip


@pytest.fixture
def mitdb(tmp_path: Path) -> Path:
    """Two records of 10 s in MIT-BIH's layout, each with six N and one beat of every other class."""
    folder = tmp_path / "mitdb"
    for name in ("100", "101"):
        _write_record(folder, name)
        wfdb.wrann(
            name, "atr", np.arange(1, 12) * 300, symbol=SYMBOLS, aux_note=[""] * 10 + ["(N"], write_dir=str(folder)
        )
    (folder / "RECORDS").write_text("100\n101\n")
    return folder


@pytest.fixture
def ptbdb(tmp_path: Path) -> Path:
    folder = tmp_path / "ptbdb"
    records = {
        "patient001/s0010_re": "Myocardial infarction",
        "patient001/s0014lre": "Myocardial infarction",
        "patient104/s0306lre": "Healthy control",
        "patient200/s0400_re": "Cardiomyopathy",
    }
    for record, diagnosis in records.items():
        patient, name = record.split("/")
        _write_record(folder / patient, name, comments=[f"Reason for admission: {diagnosis}"], fmt="16", fs=1000)
    (folder / "RECORDS").write_text("\n".join(records) + "\n")
    return folder


def _cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_part_of_the_arrhythmia_database_is_counted_and_is_no_fault(mitdb: Path) -> None:
    result = checked("mitbih", mitdb.parent)
    assert result.problems == []
    assert Count("records", 2, 48) in result.counts and Count("people", 2, 47) in result.counts
    assert [counts(result)[f"{name} beats"][0] for name in "NSVFQ"] == [12, 2, 2, 2, 2]
    assert counts(result)["beats"] == (20, 109_494)
    assert "annotations that are no beats: + (2)" in result.notes
    assert result.complete is False


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "100.dat").unlink(), "100.dat is not there"),
        (lambda folder: (folder / "100.hea").unlink(), "100.hea is not there"),
        (lambda folder: (folder / "100.atr").unlink(), "100.atr is not there"),
        (lambda folder: _cut(folder / "100.dat", 1_000), "its file does not hold the 3600 samples"),
        (lambda folder: _cut(folder / "100.atr", 11), "100.atr is cut off"),
        (lambda folder: (folder / "100.hea").write_text("<html>"), "100.hea is no readable WFDB header"),
        (lambda folder: (folder / "100.dat").write_bytes(bytes(5_400)), "do not add up to the checksum"),
    ],
)  # fmt: skip
def test_every_damage_to_a_record_is_named_with_what_repairs_it(
    mitdb: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(mitdb)
    result = checked("mitbih", mitdb.parent)
    assert len(result.problems) == 1
    assert said in result.problems[0]
    assert result.remedy == f"ecg-lightning data fetch mitbih --data-dir {mitdb.parent} --records 100"
    assert counts(result)["N beats"][0] == 6  # the other record is read all the same


def test_annotations_of_another_edition_show_in_the_counts(mitdb: Path) -> None:
    """All records are there and each is well-formed, but the beats are not the published ones."""
    result = checked("mitbih", mitdb.parent, {"records": 2, "patients": 2})
    assert "12 N beats: published are 90,631" in result.problems


def test_annotations_after_the_end_belong_to_another_record(mitdb: Path) -> None:
    wfdb.wrann("100", "atr", np.array([300, 999_999]), symbol=["N", "N"], write_dir=str(mitdb))
    assert "a beat at sample 999,999 of a record of 3,600" in checked("mitbih", mitdb.parent).problems[0]


def test_records_that_no_list_names_are_mentioned(mitdb: Path) -> None:
    (mitdb / "RECORDS").write_text("100\n")
    result = checked("mitbih", mitdb.parent)
    assert result.counts[0].found == 1
    assert "there but not in RECORDS, and not used: 101" in result.notes


def test_the_same_recording_under_two_names_is_a_fault(mitdb: Path) -> None:
    """Its beats would be on both sides of a split."""
    for suffix in (".dat", ".atr"):
        shutil.copy(mitdb / f"100{suffix}", mitdb / f"103{suffix}")
    (mitdb / "103.hea").write_text((mitdb / "100.hea").read_text().replace("100", "103"))
    (mitdb / "RECORDS").unlink()
    assert "103 is a copy of" in checked("mitbih", mitdb.parent).problems[0]


def test_beats_without_class_absent_classes_and_gaps_are_facts_and_no_faults(mitdb: Path) -> None:
    symbols = ["N"] * 8 + ["B", "?"]
    for name in ("100", "101"):
        wfdb.wrann(name, "atr", np.arange(1, 11) * 300, symbol=symbols, write_dir=str(mitdb))
    signal = np.sin(np.arange(3_600) / 20)[:, None]
    signal[100:110] = np.nan
    wfdb.wrsamp("101", fs=360, units=["mV"], sig_name=["MLII"], p_signal=signal, fmt=["16"], write_dir=str(mitdb))
    result = checked("mitbih", mitdb.parent)
    assert result.problems == []
    assert "beats without class, part of the rhythm alone: B (2), ? (2)" in result.notes
    assert "classes without a beat: S, V, F, Q" in result.notes
    assert "gaps: 10 samples are missing in 1 records" in result.notes
    assert "leads: ii (1), MLII (1)" in result.notes


def test_diagnoses_are_counted_by_record_and_by_person(ptbdb: Path) -> None:
    result = checked("ptbdb", ptbdb.parent)
    assert result.problems == []
    assert counts(result) == {
        "records": (4, 549),
        "people": (3, 290),
        "records of normal": (1, 80),
        "people of normal": (1, 52),
        "records of MI": (2, 368),
        "people of MI": (1, 148),
        "records left out": (1, 101),
    }
    assert "diagnoses left out: Cardiomyopathy (1)" in result.notes


def test_a_record_without_diagnosis_is_a_fault(ptbdb: Path) -> None:
    header = ptbdb / "patient104" / "s0306lre.hea"
    header.write_text("\n".join(header.read_text().splitlines()[:2]) + "\n")
    result = checked("ptbdb", ptbdb.parent)
    assert "no header comment 'Reason for admission'" in result.problems[0]
    assert result.damaged == ["patient104/s0306lre"]


def test_an_absent_table_is_one_problem_and_not_one_a_record(mitdb: Path) -> None:
    table = Table(table="people.csv", record="record", column="patient")
    card = CARDS["mitbih"].model_copy(update={"patients": Patients(table=table)})
    assert check(source_of(card, mitdb.parent)).problems == [f"{mitdb / 'people.csv'} is not there"]


def _write_rows(path: Path, labels: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(["0.5", "1.0"] * 93 + ["0.5"]) + f",{label}.0\n" for label in labels))


def test_the_rows_of_kaggle_files_are_counted_by_class_and_each_bad_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "heartbeat"
    _write_rows(folder / "mitbih_train.csv", [0, 0, 1, 2, 3, 4])
    _write_rows(folder / "mitbih_test.csv", [0, 1, 2, 3, 4])
    result = checked("kaggle_mitbih", tmp_path)
    assert [counts(result)[f"{name} beats"][0] for name in "NSVFQ"] == [3, 2, 2, 2, 2]
    assert not checked("kaggle_ptbdb", tmp_path).present

    _write_rows(folder / "mitbih_train.csv", [0, 7])
    (folder / "mitbih_test.csv").unlink()
    train, test = checked("kaggle_mitbih", tmp_path).problems
    assert "mitbih_train.csv" in train and "row 2" in train
    assert "mitbih_test.csv is not there" in test


def test_a_script_reads_the_answer_as_json_and_exit_code(mitdb: Path, ptbdb: Path) -> None:
    arguments = ["data", "check", "--json", "--data-dir", str(mitdb.parent)]
    run = CliRunner().invoke(app, arguments)
    answer = json.loads(run.stdout)
    assert run.exit_code == 0
    assert answer["ok"] is True
    assert answer["databases"].keys() == {"mitbih", "ptbdb"}
    assert answer["databases"]["mitbih"]["counts"]["records"] == {"found": 2, "published": 48}

    (mitdb / "100.dat").unlink()
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "100.dat" in json.loads(run.stdout)["databases"]["mitbih"]["problems"][0]


def test_a_reader_sees_faults_and_the_commands_to_run(mitdb: Path) -> None:
    """Commands and paths stay on one line however narrow the terminal is, so that they can be copied."""
    for name in ("100.dat", "101.atr"):
        (mitdb / name).unlink()
    arguments = ["data", "check", "mitbih", "ptbdb", "--data-dir", str(mitdb.parent)]
    run = CliRunner().invoke(app, arguments, env={"COLUMNS": "40"})
    assert run.exit_code == 1
    assert f"ecg-lightning data fetch mitbih --data-dir {mitdb.parent} --records 100,101" in run.stdout
    assert f"ecg-lightning data fetch ptbdb --data-dir {mitdb.parent}\n" in run.stdout
    assert "\x1b" not in run.stdout


def test_no_data_at_all_is_a_failure(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["data", "check", "--data-dir", str(tmp_path / "nowhere")])
    assert run.exit_code == 1
    assert "holds no database" in run.stdout


@pytest.mark.real_data("svdb/RECORDS")
def test_the_supraventricular_database_has_the_published_beats(real_data_dir: Path) -> None:
    result = checked("svdb", real_data_dir)
    assert result.problems == [] and result.complete
    assert [counts(result)[f"{name} beats"][0] for name in "NSVFQ"] == [162_339, 12_198, 9_943, 23, 79]
    assert counts(result)["people"] == (78, 78)
