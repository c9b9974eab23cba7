"""The page of a database: what it shows, and that names in it are text."""

import dataclasses
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.pipeline.data_report import DataReport, data_report
from ecg_lightning.report.data_page import RECORDS_SHOWN, data_page

SMALL = ["dataset.simulation.patients=3", "dataset.simulation.minutes=1"]
HOSTILE = "<script>alert(1)</script>&\u202e"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> DataReport:
    return data_report(["dataset=synthetic", *SMALL, f"cache_dir={tmp_path_factory.mktemp('cache')}"])


def headings(page: str) -> list[str]:
    return re.findall("<h2[^>]*>(.*?)</h2>", page)


def test_the_command_writes_one_page_that_needs_no_network(tmp_path: Path) -> None:
    output = tmp_path / "a folder" / "data.html"
    words = ["data", "report", "synthetic", *SMALL, f"cache_dir={tmp_path / 'cache'}", "-o", str(output)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    page = output.read_text()
    assert result.exit_code == 0 and str(output) in result.output
    assert headings(page) == ["Overview", "Classes", "Typical beats", "Rhythm", "Signal quality", "Records"]
    assert "SYNTHETIC BEATS" in page
    assert not re.search(r'(src|href|url)\s*[=(]\s*"?(https?:|//)', page) and "<script" not in page


def test_numbers_of_the_page_are_those_of_the_report(found: DataReport) -> None:
    page = data_page(found)
    assert f"{sum(one.n for one in found.classes):,} beats, 3 people, 3 records." in page
    for one in found.classes:
        assert f"median of {one.n_typical:,} beats" in page
    for record in found.records:
        assert f'<th scope="row" class="text">{record.record}</th>' in page
    assert "10 mm are 1 mV" in page or "5 mm are 1 mV" in page


def test_what_is_the_same_of_all_records_is_said_once(found: DataReport) -> None:
    page = data_page(found)
    assert "a record 1m00s<" in page and ">360 Hz<" in page
    assert not re.search("<th[^>]*>(Hz|length)<", page)
    other = dataclasses.replace(found.records[0], fs=128.0, seconds=90.0, used=("V5",))
    page = data_page(dataclasses.replace(found, records=[*found.records, other]))
    assert "a record 1m00s to 1m30s<" in page and "V5 (1)" in page
    assert all(re.search(f"<th[^>]*>{name}<", page) for name in ("Hz", "length"))


def test_a_class_without_a_whole_beat_around_its_r_peak_has_no_picture(found: DataReport) -> None:
    classes = [dataclasses.replace(one, typical=None, n_typical=0) for one in found.classes]
    assert "Typical beats" not in headings(data_page(dataclasses.replace(found, classes=classes)))


def test_names_from_headers_and_cards_are_text_and_never_markup(found: DataReport) -> None:
    record = dataclasses.replace(found.records[0], record=HOSTILE, patient=HOSTILE, leads=(HOSTILE,), used=(HOSTILE,))
    classes = [dataclasses.replace(one, name=HOSTILE + one.name) for one in found.classes]
    hostile = dataclasses.replace(
        found, title=HOSTILE, records=[record], classes=classes, odd=[HOSTILE], lead_names=(HOSTILE,),
        about={HOSTILE: {"citation": HOSTILE}}, dropped={HOSTILE: {HOSTILE: 1}}, class_map=HOSTILE,
    )  # fmt: skip
    page = data_page(hostile)
    assert "<script" not in page and "\u202e" not in page and "&lt;script&gt;" in page


def test_of_many_records_those_of_the_lowest_quality_are_shown(found: DataReport) -> None:
    many = [
        dataclasses.replace(found.records[0], record=f"r{at:03d}", quality=at / 200) for at in range(RECORDS_SHOWN + 30)
    ]
    page = data_page(dataclasses.replace(found, records=many))
    assert ">r000<" in page and f">r{RECORDS_SHOWN + 29}<" not in page
    assert f"Shown: {RECORDS_SHOWN} of {len(many)} records" in page


def test_beats_without_recordings_have_a_page_without_rhythm_and_records(found: DataReport) -> None:
    classes = [dataclasses.replace(one, quality=None, people=None) for one in found.classes]
    page = data_page(dataclasses.replace(found, records=[], quality=[], classes=classes, n_patients=None))
    assert headings(page) == ["Overview", "Classes", "Typical beats", "Signal quality"]
    assert "the height is not mV" in page and "It is not known" in page
