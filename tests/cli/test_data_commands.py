"""The commands of ``ecg-lightning data`` on a user's own folder, and the tutorial that shows them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
import yaml
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.data.databases.card import Card
from ecg_lightning.pipeline.cards import load_cards, source_of

DOCS = Path(__file__).parents[2] / "docs"


def write_record(
    folder: Path,
    name: str,
    *,
    symbols: str = "",
    annotator: str = "atr",
    comments: Sequence[str] = (),
    leads: Sequence[str] = ("II", "V1"),
    gain: float = 1.0,
) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = np.random.default_rng([*name.encode()]).uniform(-gain, gain, size=(2_500, len(leads)))
    wfdb.wrsamp(
        path.name, fs=250, units=["mV"] * len(leads), sig_name=[*leads], p_signal=signal, fmt=["16"] * len(leads),
        comments=[*comments], write_dir=str(path.parent),
    )  # fmt: skip
    if symbols:
        samples = np.arange(1, len(symbols) + 1) * 200
        wfdb.wrann(path.name, annotator, samples, symbol=[*symbols], write_dir=str(path.parent))


def draft(folder: Path, *options: str) -> tuple[dict[str, Any], Card, str]:
    """The card that ``data new`` writes for a folder: as YAML, composed, and its text."""
    output = folder.parent / "conf"
    run = CliRunner().invoke(app, ["data", "new", str(folder), "--output", str(output), *options])
    assert run.exit_code == 0, run.stderr
    (path,) = (output / "dataset").glob("*.yaml")
    return yaml.safe_load(path.read_text()), load_cards(output, [path.stem])[path.stem], path.read_text()


def test_a_folder_becomes_a_database_that_check_reads(tmp_path: Path) -> None:
    for number in range(4):
        comments = ["age: 60", f"Patient ID: K-{number // 2}"]
        write_record(tmp_path / "Holter 2024", f"h{number}", symbols="NNAVB", comments=comments)
    card, composed, text = draft(tmp_path / "Holter 2024")
    assert (card["name"], card["reader"], card["annotator"], card["class_map"]) == (
        "holter_2024",
        "wfdb",
        "atr",
        "aami",
    )
    assert (card["leads"], card["recorded_fs"]) == (["II"], 250)
    assert "# Annotations: N (8), A (4), V (4), B (4)" in text
    assert "# People: a header comment of each recording, 2 people" in text
    beats = source_of(composed, tmp_path).read()
    assert set(beats.patients.tolist()) == {"K-0", "K-1"}  # type: ignore[union-attr]

    run = CliRunner().invoke(app, ["data", "check", "holter_2024", "--config-dir", str(tmp_path / "conf")])
    assert run.exit_code == 0
    assert "beats without class, part of the rhythm alone: B (4)" in run.stdout


def test_the_printed_commands_run_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_record(tmp_path / "a folder", "h1", symbols="NNV")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["data", "new", "a folder", "--output", "my conf"])
    (command,) = re.findall(r"ecg-lightning (data check .*)", run.stdout)
    assert command == "data check a_folder --config-dir 'my conf'"


@pytest.mark.parametrize(
    ("records", "expected", "evidence"),
    [
        (["patient1/a", "patient1/b", "patient2/a"], "folder", "2 folders with numbers, such as patient1"),
        (["p1_a", "p1_b", "p2_a"], None, "names begin with 2 different words, such as p1"),
        (["x", "y"], None, "neither folders, header comments nor a table name them"),
    ],
)
def test_people_are_taken_from_folders_and_never_guessed_from_names(
    tmp_path: Path, records: list[str], expected: str | None, evidence: str
) -> None:
    """A wrong guess would put a person on both sides of a split."""
    for name in records:
        write_record(tmp_path / "data", name, symbols="NNV")
    card, _, text = draft(tmp_path / "data")
    assert card["patients"] == expected
    assert evidence in text
    assert ("split=patient is refused" in text) == (expected is None)


def test_people_in_a_table_are_found_by_its_columns(tmp_path: Path) -> None:
    for name in ("r1", "r2", "r3"):
        write_record(tmp_path / "data", name, symbols="NNV")
    (tmp_path / "data" / "people.csv").write_text("age,Subject ID,file\n60,s7,r1.hea\n61,s7,r2.hea\n62,s9,r3.hea\n")
    card, composed, _ = draft(tmp_path / "data")
    assert card["patients"] == {"table": {"table": "people.csv", "record": "file", "column": "Subject ID"}}
    beats = source_of(composed, tmp_path).read()
    assert set(beats.patients.tolist()) == {"s7", "s9"}  # type: ignore[union-attr]


def test_the_annotator_with_the_most_beats_is_chosen_and_the_others_named(tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        write_record(tmp_path / "data", name, symbols="NNVNN", annotator="ecg")
        wfdb.wrann(name, "st", np.array([500, 900]), symbol=["s", "T"], write_dir=str(tmp_path / "data"))
    card, _, text = draft(tmp_path / "data")
    assert card["annotator"] == "ecg"
    assert "# Other annotators: st (4)" in text


def test_edf_files_with_annotations_inside_become_a_database(tmp_path: Path) -> None:
    """Their texts are the classes until the user joins them; who it is, the header says."""
    from edfio import Edf, EdfAnnotation, EdfSignal, Patient

    (tmp_path / "holter").mkdir()
    for number in range(3):
        signal = np.random.default_rng(number).normal(size=2_500)
        ecg = EdfSignal(signal, sampling_frequency=250, label="ECG II", physical_dimension="mV")
        texts = [EdfAnnotation(0.8 * at, None, text) for at, text in enumerate(("normal", "pvc", "normal"), start=1)]
        who = Patient(code=f"P{number // 2}")
        Edf([ecg], annotations=texts, patient=who).write(tmp_path / "holter" / f"h{number}.edf")
    card, composed, _ = draft(tmp_path / "holter")
    assert (card["reader"], card["annotator"], card["leads"]) == ("edf", "edf", ["II"])
    assert card["class_map"] == {"normal": ["normal"], "pvc": ["pvc"]}
    beats = source_of(composed, tmp_path).read()
    assert set(beats.patients.tolist()) == {"P0", "P1"}  # type: ignore[union-attr]


def test_a_table_with_ragged_rows_is_a_table_of_people(tmp_path: Path) -> None:
    write_record(tmp_path / "own", "a")
    (tmp_path / "own" / "who.csv").write_text("record,patient\na,p1,,\nb\n")
    assert draft(tmp_path / "own")[0]["patients"]["table"]["table"] == "who.csv"


def test_a_first_signal_that_is_no_ecg_hides_nothing_else(tmp_path: Path) -> None:
    import edfio

    folder, signals = tmp_path / "sleep", [np.sin(np.arange(2000.0) / 9), np.linspace(90, 99, 20)]
    folder.mkdir()
    made = [
        edfio.EdfSignal(values, fs, label=label, physical_dimension=unit)
        for values, fs, label, unit in zip(signals, (200, 2), ("ECG II", "SpO2"), ("mV", "%"), strict=True)
    ]
    edfio.Edf(made[::-1]).write(folder / "n1.edf")
    _, _, text = draft(folder)
    assert "# Leads: SpO2+II (1)" in text and "lead SpO2 is in '%', expected a unit of voltage" in text


def test_csv_files_with_tables_of_beats_become_a_database(tmp_path: Path) -> None:
    """Neither the beats of a recording nor the table of people is taken for a recording."""
    folder = tmp_path / "watch"
    folder.mkdir()
    for name in ("r1", "r2"):
        signal = np.random.default_rng([*name.encode()]).normal(size=2_500)
        rows = "".join(f"{at / 250:.3f},{value:.3f}\n" for at, value in enumerate(signal))
        (folder / f"{name}.csv").write_text(f"time,ECG (mV)\n{rows}")
        (folder / f"{name}_beats.csv").write_text("sample,symbol\n200,N\n400,V\n600,N\n")
    (folder / "people.csv").write_text("file,patient\nr1,a\nr2,b\n")
    card, composed, _ = draft(folder)
    assert (card["reader"], card["annotator"], card["recorded_fs"]) == ("csv", "_beats.csv", 250)
    beats = source_of(composed, tmp_path).read()
    assert set(beats.patients.tolist()) == {"a", "b"}  # type: ignore[union-attr]
    run = CliRunner().invoke(app, ["data", "check", "watch", "--config-dir", str(tmp_path / "conf")])
    assert run.exit_code == 0, run.stdout


def test_folders_by_class_become_diagnoses(tmp_path: Path) -> None:
    for name in ("healthy/a", "healthy/b", "infarction/c", "infarction/d"):
        write_record(tmp_path / "data", name)
    card, _, _ = draft(tmp_path / "data")
    assert card["diagnoses"] == {"folder": True, "classes": {"healthy": ["healthy"], "infarction": ["infarction"]}}


def test_what_the_draft_leaves_open_it_says(tmp_path: Path) -> None:
    """Comments that may hold the diagnosis are listed; the check then says what is missing."""
    for number, reason in enumerate(["Infarction", "Healthy", "Healthy", "Infarction"]):
        leads = ("I", "II") if number else ("aVR", "II")
        write_record(tmp_path / "data", f"r{number}", comments=[f"Reason: {reason}"], leads=leads, gain=1000.0)
    card, _, text = draft(tmp_path / "data", "--name", "clinic")
    assert "# Header comment Reason: Infarction (2), Healthy (2)" in text
    assert card["leads"] == ["II"]  # the one that all have
    assert re.search(r"spans 2e\+03 mV in ten seconds \(median\); usual is", text)
    run = CliRunner().invoke(app, ["data", "check", "clinic", "--config-dir", str(tmp_path / "conf")])
    assert run.exit_code == 2
    assert (
        "expected either dataset.annotator with dataset.class_map (annotated beats) or dataset.diagnoses" in run.stderr
    )


def test_whatever_is_in_the_files_the_draft_is_a_card(tmp_path: Path) -> None:
    """Names and comments of a user's files are data: no interpolation, no line break, no escape sequence."""
    folder = tmp_path / "da${seed}ta"
    for name in ("ill: yes/a", "ill: yes/b", "#none/c", "#none/d"):
        write_record(folder, name, comments=["Reason: \x1b[31m#x", "note: {"])
    card, composed, _ = draft(folder, "--name", "clinic")
    assert composed.folder == str(folder)
    assert card["diagnoses"]["classes"] == {"#none": ["#none"], "ill: yes": ["ill: yes"]}


def test_recordings_that_cannot_be_opened_are_named_in_the_draft(tmp_path: Path) -> None:
    write_record(tmp_path / "data", "r1", symbols="NNV")
    (tmp_path / "data" / "r2.hea").write_text("<html>")
    _, _, text = draft(tmp_path / "data")
    assert "recordings: 2, of which opened: 1" in text
    assert re.search(r"# Cannot be read: .*r2", text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--name", "mitbih"], "there is a database mitbih already"),
        (["--name", "clinic"], "there is a database clinic already"),
        (["--name", "my clinic"], "expected lower-case letters, digits and underscores"),
    ],
)
def test_a_card_is_never_written_over_another(tmp_path: Path, options: list[str], said: str) -> None:
    write_record(tmp_path / "data", "r1", symbols="NNV")
    card = tmp_path / "conf" / "dataset" / "clinic.yaml"
    card.parent.mkdir(parents=True)
    card.write_text("mine")
    run = CliRunner().invoke(app, ["data", "new", str(tmp_path / "data"), "--output", str(tmp_path / "conf"), *options])
    assert run.exit_code == 2
    assert said in run.stderr
    assert card.read_text() == "mine" and len(list(card.parent.iterdir())) == 1


def test_a_folder_without_recordings_is_one_sentence(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["data", "new", str(tmp_path / "nowhere")])
    assert run.exit_code == 2
    assert "holds no recordings; expected a folder with files such as .hea" in run.stderr


def test_the_list_shows_counts_licence_and_citation(tmp_path: Path) -> None:
    write_record(tmp_path / "svdb", "800", symbols="N")
    arguments = ["data", "list", "--data-dir", str(tmp_path)]
    run = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    table = run.stdout.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    svdb, incartdb = (next(line for line in table if line.startswith(name)) for name in ("svdb", "incartdb"))
    assert svdb.split() == ["svdb", "78", "78", "184,582", "128", "0", "yes", "real"]
    assert incartdb.split() == ["incartdb", "75", "32", "-", "257", "II", "no", "simulated"]
    assert "incartdb: " in run.stdout and run.stdout.count("ODC-By 1.0") > 1
    assert "mitbih: MIT-BIH Arrhythmia Database (100 MB). N 90,631 beats, S 2,781 beats" in run.stdout
    assert "Moody & Mark, The impact of the MIT-BIH Arrhythmia Database" in run.stdout

    listed = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert listed["ptbxl"]["licence"] == "CC BY 4.0"
    assert (listed["ptbxl"]["records"], listed["ptbxl"]["patients"], listed["ptbxl"]["fs"]) == (21_799, 18_869, 500)
    assert listed["svdb"]["here"] is True and listed["ptbxl"]["here"] is False
