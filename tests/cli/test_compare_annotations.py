"""Two annotators are compared by one command: files, folders, tables, a database."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner, Result

from ecg_lightning.cli.main import app

FS = 360
SAMPLES = np.arange(1, 40) * FS
SYMBOLS = ["N", "V", "A"] * 13


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["compare-annotations", *map(str, arguments)])


def answer(*arguments: Any) -> dict[str, Any]:
    result = run(*arguments, "--from", "0", "--json")
    assert result.exit_code == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def write(folder: Path, record: str, annotator: str, samples: Any = SAMPLES, symbols: Any = SYMBOLS) -> Path:
    folder.mkdir(exist_ok=True)
    wfdb.wrann(record, annotator, np.asarray(samples), list(symbols), fs=FS, write_dir=str(folder))
    return folder / f"{record}.{annotator}"


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A folder of two records."""
    for record in ("r1", "r2"):
        write(tmp_path / "reference", record, "atr")
    return tmp_path / "reference"


def test_two_files_of_a_record_are_compared(reference: Path, tmp_path: Path) -> None:
    test = write(tmp_path / "test", "r1", "own", SAMPLES[1:] + 3, SYMBOLS[1:])
    found = answer(reference / "r1.atr", test)
    assert [found["QRS"][name] for name in ("tp", "fn", "fp")] == [38, 1, 0]
    assert (found["V"]["sensitivity"], found["S"]["positive_predictivity"]) == (1, 1)


def test_a_table_of_beats_is_compared_by_its_classes(reference: Path, tmp_path: Path) -> None:
    table = tmp_path / "r1.csv"
    classes = {"N": "N", "V": "V", "A": "S"}
    rows = [f"{at},{at / FS},{classes[symbol]},.9" for at, symbol in zip(SAMPLES, SYMBOLS, strict=True)]
    table.write_text("\n".join(["sample,time_s,class,confidence", *rows]))
    found = answer(reference / "r1.atr", table)
    assert found["S"]["tp"] == found["V"]["tp"] == 13


def test_folders_give_gross_average_and_each_record(reference: Path, tmp_path: Path) -> None:
    write(tmp_path / "test", "r1", "own")
    write(tmp_path / "test", "r2", "own", SAMPLES[:13], SYMBOLS[:13])
    found = answer(reference, tmp_path / "test")
    assert found["QRS"]["sensitivity"] == 52 / 78
    assert found["QRS"]["average_sensitivity"] == pytest.approx(2 / 3)
    assert [one["QRS"]["tp"] for one in found["per_record"]] == [39, 13]
    shown = run(reference, tmp_path / "test", "--from", "0").stdout
    assert all(word in shown for word in ("gross", "average", "r1", "window 150 ms", "from the start"))
    assert max(map(len, shown.splitlines())) <= 80


def test_records_that_were_not_annotated_are_named(reference: Path, tmp_path: Path) -> None:
    write(tmp_path / "test", "r2", "own")
    assert answer(reference, tmp_path / "test")["not_compared"] == ["r1"]
    assert "not in any number: r1" in run(reference, tmp_path / "test", "--from", "0").stdout


def test_annotations_in_edf_are_refused_as_such(reference: Path, tmp_path: Path) -> None:
    (tmp_path / "r1.annotations.edf").write_bytes(b"0".ljust(512))
    result = run(reference / "r1.atr", tmp_path / "r1.annotations.edf")
    assert result.exit_code == 2 and "annotations are not read from .edf" in result.stderr


def test_another_annotator_beside_the_reference_is_found_by_its_name(reference: Path) -> None:
    for record in ("r1", "r2"):
        write(reference, record, "own")
    assert answer(reference, "own")["QRS"]["tp"] == 78


def test_one_of_several_kinds_of_files_has_to_be_chosen(reference: Path, tmp_path: Path) -> None:
    for annotator in ("own", "other"):
        write(tmp_path / "test", "r1", annotator)
    result = run(reference, tmp_path / "test")
    assert result.exit_code == 2 and "1 files .other, 1 files .own" in result.stderr and "choose one" in result.stderr
    assert answer(reference, f"{tmp_path / 'test'}:own")["QRS"]["tp"] == 39


def test_a_learning_period_longer_than_the_record_is_said(reference: Path) -> None:
    result = run(reference, "atr")
    assert result.exit_code == 2 and "from second 300 on" in result.stderr and "--from 0" in result.stderr


def test_the_answer_is_written_where_it_is_wanted(reference: Path, tmp_path: Path) -> None:
    assert run(reference, "atr", "--from", "0", "--output", tmp_path / "out.json").exit_code == 0
    assert json.loads((tmp_path / "out.json").read_text())["QRS"]["tp"] == 78
    assert run(reference, "atr", "--from", "0", "--output", tmp_path / "out.md").exit_code == 0
    assert "| gross | 100.00 |" in (tmp_path / "out.md").read_text()
    assert "end it with .json, .md or .tex" in run(reference, "atr", "--from", "0", "-o", tmp_path / "out.pdf").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.atr", "own"), "nowhere.atr is not there"),
        (("nonsense", "own"), "there is no database 'nonsense'"),
        (("{reference}", "{reference}/r1.atr"), "the reference has 2 records"),
        (("{reference}", "gone"), "nor an annotator of the records"),
        (("{reference}:cnet", "atr"), "holds no file *.cnet"),
        (("{reference}", "elsewhere/r1.ecgl"), "elsewhere/r1.ecgl is neither a file nor a folder"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(
    reference: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run(*(argument.format(reference=reference) for argument in arguments))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ") and message in result.stderr


def test_a_table_of_other_classes_or_without_a_known_rate_is_refused(reference: Path, tmp_path: Path) -> None:
    table = tmp_path / "r1.csv"
    table.write_text("time,class\n1.0,normal\n2.0,normal\n")
    assert "unknown symbol 'normal'" in run(reference / "r1.atr", table).stderr
    table.write_text("time,class\n1.0,N\n2.0,N\n")
    assert "add --fs" in run(table, table).stderr
    assert run(table, table, "--fs", 250, "--from", "0").exit_code == 0
