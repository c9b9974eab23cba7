"""What a card states about each record, patient, diagnosis and fold, and how it is refused where that is not there."""

from pathlib import Path
from typing import Any

import pytest
from made import card

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.databases.card import Card
from ecg_lightning.data.databases.metadata import Metadata

TABLE = """\ufefffilename,patient_id,scp_codes,strat_fold,diagnosis
records500/00000/00001_hr,15709.0,"{'NORM': 100.0, 'LVOLT': 0.0}",3,healthy
records500/00000/00002_hr.hea,13243.0,"{'IMI': 35.0, 'NORM': 0.0}",10,"infarction; old"
records500/00000/00003_hr,15709.0,{'AFIB': 0.0},3,
"""


def metadata(folder: Path, **changes: Any) -> Metadata:
    (folder / "table.csv").write_text(TABLE, encoding="utf-8")
    return Metadata(Card.model_validate(card("mitbih", **{"patients": None} | changes)), folder)


def column(name: str, **changes: str) -> dict[str, str]:
    return {"table": "table.csv", "record": "filename", "column": name} | changes


RECORD = Path("records500/00000")


@pytest.mark.parametrize(
    ("patients", "comments", "expected"),
    [
        ("record", (), "00002_hr"),
        ("folder", (), "00000"),
        ({"same": {"00002_hr": "00001_hr"}}, (), "00001_hr"),
        ({"same": {202: 201}}, (), "00002_hr"),
        ({"comment": "patient: *(\\w+)"}, ("age: 60", "patient: 17 (male)"), "17"),
        ({"record": "^(\\d+)_"}, (), "00002"),
        ({"table": column("patient_id")}, (), "13243"),
        (None, (), None),
    ],
    ids=str,
)
def test_the_patient_is_known_in_the_way_that_the_card_states(
    patients: Any, comments: tuple[str, ...], expected: str | None, tmp_path: Path
) -> None:
    found = metadata(tmp_path, patients=patients)
    assert found.patient(tmp_path / RECORD / "00002_hr", "00002_hr", comments) == expected


@pytest.mark.parametrize(
    ("patients", "said"),
    [
        ({"comment": "patient: (.+)"}, "no header comment of .*00009_hr fits 'patient: .*correct dataset.patients"),
        ({"record": "^p(.+)"}, "name of record 00009_hr does not fit '.p.*correct dataset.patients"),
        ({"table": column("patient_id")}, "no row of record records500/00000/00009_hr in column filename"),
        ({"table": column("person")}, "table.csv has no row of record"),
        ({"record": "^0+9(x)?"}, "name of record 00009_hr does not fit"),  # a group that is not there names nobody
        ({"table": column("patient_id", record="file")}, "table.csv has no column 'file'; it has filename, patient_id"),
    ],
    ids=str,
)
def test_a_patient_that_is_not_stated_is_refused(patients: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        metadata(tmp_path, patients=patients).patient(tmp_path / RECORD / "00009_hr", "00009_hr", ("age: 60",))


def test_a_column_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'person'; it has filename, patient_id, scp_codes"):
        metadata(tmp_path, patients={"table": column("person")}).patient(tmp_path / RECORD / "00001_hr", "00001_hr", ())


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("r1,\n", "table.csv: column who is empty for record r1"),
        ("r1\n", "table.csv: column who is empty for record r1"),
        ("r1,nan\n", "table.csv: column who is empty for record r1"),
        ("r1,a\nr1,b\n", "table.csv has both 'a' and 'b' in column who of record r1; expected one"),
    ],
)
def test_a_table_that_names_nobody_or_two_is_refused(rows: str, said: str, tmp_path: Path) -> None:
    found = metadata(tmp_path, patients={"table": column("who", record="record")})
    (tmp_path / "table.csv").write_text("record,who\n" + rows)
    with pytest.raises(DataError, match=said):
        found.patient(tmp_path / "r1", "r1", ())


@pytest.mark.parametrize("stated", ["(IMI)", "('IMI')", "(1)", "{[]: 1}", "(" * 1000])
def test_text_that_only_begins_like_a_list_is_a_code_of_its_own(stated: str, tmp_path: Path) -> None:
    found = metadata(tmp_path, diagnoses={"comment": "Dx", "classes": {"n": ["I", "1"], "MI": [stated]}})
    assert found.diagnosis(tmp_path / "x", (f"Dx: {stated}",)) == ("MI", stated)


CODES = {"normal": ["NORM"], "MI": ["IMI", "AMI"]}


@pytest.mark.parametrize(
    ("how", "record", "comments", "expected"),
    [
        ({"table": column("scp_codes"), "classes": CODES}, "00001_hr", (), "normal"),
        ({"table": column("scp_codes"), "classes": CODES}, "00002_hr", (), "MI"),  # of two that fit, the last
        ({"table": column("scp_codes"), "classes": CODES}, "00003_hr", (), None),
        ({"table": column("diagnosis"), "classes": {"n": ["healthy"], "MI": ["infarction"]}}, "00002_hr", (), "MI"),
        ({"table": column("diagnosis"), "classes": {"n": ["healthy"], "MI": ["infarction"]}}, "00003_hr", (), None),
        ({"comment": "Dx", "classes": {"n": [426783006], "MI": [164865005]}}, "x", ("Dx: 59118001,164865005",), "MI"),
        ({"comment": "dx", "classes": {"n": ["SR"], "MI": ["MI"]}}, "x", ("Dx: AFIB",), None),
        ({"folder": True, "classes": {"n": ["00000"], "MI": ["mi"]}}, "x", (), "n"),
    ],
    ids=str,
)
def test_the_diagnosis_is_that_of_the_codes(
    how: Any, record: str, comments: tuple[str, ...], expected: str | None, tmp_path: Path
) -> None:
    found = metadata(tmp_path, annotator=None, class_map=None, diagnoses=how)
    assert found.diagnosis(tmp_path / RECORD / record, comments)[0] == expected


def test_a_record_without_the_comment_is_refused(tmp_path: Path) -> None:
    found = metadata(tmp_path, diagnoses={"comment": "Dx", "classes": CODES})
    with pytest.raises(DataError, match="x has no header comment 'Dx', which states the diagnosis; take"):
        found.diagnosis(tmp_path / "x", ("Dx:", "age: 60"))


def test_folds_are_those_of_the_publisher_and_each_table_is_one_file(tmp_path: Path) -> None:
    found = metadata(tmp_path, folds=column("strat_fold"), patients={"table": column("patient_id")})
    assert [found.fold(tmp_path / RECORD / f"0000{number}_hr") for number in (1, 2, 3)] == ["3", "10", "3"]
    assert found.tables == [tmp_path / "table.csv"]
    assert metadata(tmp_path).fold(tmp_path / "x") is None


def test_people_can_be_those_of_another_database(tmp_path: Path) -> None:
    assert metadata(tmp_path, patients="record").own_people == "mitbih"
    assert metadata(tmp_path, patients={"record": "^(...)", "database": "svdb"}).own_people == "svdb"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patients": {"same": {}, "record": "(.)"}}, "patients are known by one of same, comment, record and table"),
        ({"diagnoses": {"comment": "Dx", "folder": True, "classes": CODES}}, "diagnoses come from one of"),
        ({"patients": {"same": {"a": "b", "b": "c"}}}, "names the patient of a record by record b, and that of b by c"),
        ({"patients": {"record": "(("}}, "patients has no regular expression: missing \\)"),
        ({"diagnoses": {"classes": CODES}}, "diagnoses come from one of comment, table and folder: true"),
    ],
    ids=str,
)
def test_a_card_that_contradicts_itself_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        metadata(tmp_path, **changes)
