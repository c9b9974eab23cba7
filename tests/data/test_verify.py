"""`ecg-lightning data check` on made data: each fault a user can have is found and named."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.data import verify as check_module
from ecg_lightning.data.verify import Count, check, check_heartbeat, check_mitdb, check_ptbdb

SYMBOLS = ["N"] * 6 + ["A", "V", "F", "/", "+"]


def _write_record(folder: Path, name: str, *, comments: list[str] | None = None, fmt: str = "212") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    signal = np.sin(np.arange(3_600) / 20)[:, None]
    wfdb.wrsamp(
        name, fs=360, units=["mV"], sig_name=["MLII"], p_signal=signal, fmt=[fmt], comments=comments or [],
        write_dir=str(folder),
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
        _write_record(folder / patient, name, comments=[f"Reason for admission: {diagnosis}"], fmt="16")
    (folder / "RECORDS").write_text("\n".join(records) + "\n")
    return folder


def _write_rows(path: Path, labels: list[int], columns: int = 188) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(["0.5"] * (columns - 1)) + f",{label}.0\n" for label in labels))


@pytest.fixture
def heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small Kaggle files, with the published counts set to theirs."""
    folder = tmp_path / "heartbeat"
    published = {}
    for name, labels in {"mitbih_train.csv": [0, 0, 1, 2, 3, 4], "mitbih_test.csv": [0, 1, 2, 3, 4]}.items():
        _write_rows(folder / name, labels)
        published[name] = {aami: labels.count(label) for label, aami in enumerate("NSVFQ")}
    for name, label, title in (("ptbdb_normal.csv", 0, "normal"), ("ptbdb_abnormal.csv", 1, "MI")):
        _write_rows(folder / name, [label] * 3)
        published[name] = {title: 3}
    monkeypatch.setattr(check_module, "HEARTBEAT_BEATS", published)
    return folder


def test_part_of_the_arrhythmia_database_is_counted_and_is_no_fault(mitdb: Path) -> None:
    result = check_mitdb(mitdb)
    assert result.problems == []
    assert Count("records", 2, 48) in result.counts
    assert [count.found for count in result.counts[1:]] == [12, 2, 2, 2, 2, 20]
    assert result.counts[-1].published == 109_494


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
def test_every_damage_to_a_record_is_named_with_what_mends_it(
    mitdb: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(mitdb)
    result = check_mitdb(mitdb)
    assert len(result.problems) == 1
    assert said in result.problems[0]
    assert result.fetch_command == f"ecg-lightning data fetch mitdb --data-dir {mitdb.parent} --records 100"


def _cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_annotations_of_another_edition_show_in_the_counts(mitdb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All records are there and each is well-formed, but the beats are not the published ones."""
    monkeypatch.setattr(check_module, "MITDB_RECORDS", 2)
    result = check_mitdb(mitdb)
    assert "12 N beats: published are 90,631" in result.problems[0]


def test_annotations_after_the_end_belong_to_another_record(mitdb: Path) -> None:
    wfdb.wrann("100", "atr", np.array([300, 999_999]), symbol=["N", "N"], write_dir=str(mitdb))
    assert "annotates sample 999,999 of a record of 3,600" in check_mitdb(mitdb).problems[0]


def test_records_that_no_list_names_are_mentioned(mitdb: Path) -> None:
    (mitdb / "RECORDS").write_text("100\n")
    result = check_mitdb(mitdb)
    assert result.counts[0].found == 1
    assert "not in RECORDS, and not used: 101" in result.notes[0]


def test_diagnoses_are_counted_by_record_and_by_patient(ptbdb: Path) -> None:
    result = check_ptbdb(ptbdb)
    assert result.problems == []
    assert {count.what: (count.found, count.published) for count in result.counts} == {
        "records": (4, 549),
        "records, Healthy control": (1, 80),
        "patients, Healthy control": (1, 52),
        "records, Myocardial infarction": (2, 368),
        "patients, Myocardial infarction": (1, 148),
        "records, other diagnoses (not used)": (1, 101),
    }


def test_a_record_without_diagnosis_is_a_fault(ptbdb: Path) -> None:
    header = ptbdb / "patient104" / "s0306lre.hea"
    header.write_text("\n".join(header.read_text().splitlines()[:2]) + "\n")
    assert "no comment 'Reason for admission'" in check_ptbdb(ptbdb).problems[0]


def test_whole_kaggle_files_have_the_published_rows(heartbeat: Path) -> None:
    result = check_heartbeat(heartbeat)
    assert result.problems == []
    assert Count("mitbih_train.csv, N", 2, 2) in result.counts
    assert len(result.counts) == 12


def test_one_pair_of_kaggle_files_is_enough(heartbeat: Path) -> None:
    for path in heartbeat.glob("ptbdb_*.csv"):
        path.unlink()
    result = check_heartbeat(heartbeat)
    assert result.problems == []
    assert "ptbdb_normal.csv" in result.notes[0]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "mitbih_test.csv").unlink(), "mitbih_test.csv is not there; the other file of its pair is"),
        (lambda f: _write_rows(f / "mitbih_test.csv", [0, 1, 2, 3]), "has 0 rows of Q, published are 1"),
        (lambda f: _write_rows(f / "mitbih_test.csv", [0, 1, 2, 3, 4, 7]), "row 6 has a label that is none of the"),
        (lambda f: _write_rows(f / "mitbih_test.csv", [0], columns=187), "row 1 has 187 columns"),
        (lambda f: _cut(f / "mitbih_test.csv", 1_000), "was it cut off?"),
        (lambda f: (f / "mitbih_test.csv").write_text(""), "is empty"),
        (lambda f: (f / "mitbih_test.csv").write_text(",".join(f"c{i}" for i in range(188)) + "\n"), "a header?"),
    ],
)  # fmt: skip
def test_every_damage_to_a_kaggle_file_is_named(heartbeat: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(heartbeat)
    problems = check_heartbeat(heartbeat).problems
    assert len(problems) == 1
    assert said in problems[0]


def test_a_script_reads_the_answer_as_json_and_exit_code(mitdb: Path, ptbdb: Path) -> None:
    arguments = ["data", "check", "--json", "--data-dir", str(mitdb.parent)]
    run = CliRunner().invoke(app, arguments)
    answer = json.loads(run.stdout)
    assert run.exit_code == 0
    assert answer["ok"] is True
    assert answer["datasets"]["mitdb"]["counts"]["records"] == {"found": 2, "published": 48}
    assert answer["datasets"]["heartbeat"]["present"] is False

    (mitdb / "100.dat").unlink()
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 1
    assert "100.dat" in json.loads(run.stdout)["datasets"]["mitdb"]["problems"][0]


def test_a_reader_sees_faults_and_the_commands_to_run(mitdb: Path) -> None:
    """Commands and paths stay on one line however narrow the terminal is, so that they can be copied."""
    for name in ("100.dat", "101.atr"):
        (mitdb / name).unlink()
    run = CliRunner().invoke(app, ["data", "check", "--data-dir", str(mitdb.parent)], env={"COLUMNS": "40"})
    assert run.exit_code == 1
    assert f"ecg-lightning data fetch mitdb --data-dir {mitdb.parent} --records 100,101" in run.stdout
    assert f"ecg-lightning data fetch ptbdb --data-dir {mitdb.parent}\n" in run.stdout
    assert "\x1b" not in run.stdout


def test_no_data_at_all_is_a_failure(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["data", "check", "--data-dir", str(tmp_path / "nowhere")])
    assert run.exit_code == 1
    assert run.stdout.count("is not there; get it with:") == 3
    assert not any(one.present for one in check(tmp_path / "nowhere"))
