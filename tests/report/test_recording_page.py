"""The page of an annotated recording: numbers with their units and times, ECG paper to scale, text that is no HTML."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.weights import shipped_weights
from ecg_lightning.metrics.rhythm import summary_of
from ecg_lightning.report.recording_page import recording_page, write_recording_page
from ecg_lightning.report.recordings import recordings_table

HOSTILE = '<script>alert("1")</script>&'
CLASSES = "NNVVVNVNSNVNF" * 40
Make = Callable[..., tuple[Any, Any]]


@pytest.fixture
def draw(make_annotated: Make) -> Callable[..., str]:
    def page(classes: Any, **more: Any) -> str:
        beats, strip = make_annotated(classes, **more)
        return recording_page(beats, beats.attrs["about"], strip=strip)

    return page


def words(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page)).replace("\u202f", " ")


def test_the_page_is_one_file_without_scripts_and_says_what_it_is(make_annotated: Make, tmp_path: Path) -> None:
    beats, strip = make_annotated(CLASSES)
    path = write_recording_page(beats, beats.attrs["about"], tmp_path / "a folder" / "r1.html", strip=strip)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page and not re.search(r'(src|href)="(https?:|//)', page)
    assert "not a medical device" in page
    assert [*tmp_path.rglob("*")] == [path.parent, path]
    headings = re.findall("<h2[^>]*>(.*?)</h2>", page)
    assert headings[:2] == ["Overview", "Beats by class"] and "Events" in headings and "Typical beats" in headings


def test_a_page_by_weights_that_ship_says_what_to_expect_of_them(make_annotated: Make, tmp_path: Path) -> None:
    beats, strip = make_annotated(CLASSES)
    card = {key: value for key, value in shipped_weights("beats")["cnet"].items() if key != "hyperparameters"}
    path = write_recording_page(beats, {**beats.attrs["about"], "card": card}, tmp_path / "r1.html", strip=strip)
    page = words(path.read_text(encoding="utf-8"))
    assert "MIT-BIH Supraventricular Arrhythmia Database; 113 people" in page and "F1 of N 9" in page
    assert "ODC-By 1.0" in page


def test_the_headline_has_beats_burden_and_runs(draw: Callable[..., str]) -> None:
    page = words(draw(CLASSES))
    assert "520 beats in 6m57s: V 38.5 % (200), S 7.69 % (40)." in page
    assert "Runs of V: longest 3 beats at 75/min." in page
    assert "Mean heart rate 75/min." in page


def test_times_are_of_the_clock_where_the_start_is_known(draw: Callable[..., str]) -> None:
    assert "Longest run of V: 3 beats at 75/min, 0:00:02" in words(draw(CLASSES))
    page = words(draw(CLASSES, start="2024-03-01T23:59:58"))
    assert "recorded from 2024-03-01 23:59:58" in page
    assert "Longest run of V: 3 beats at 75/min, 00:00:00 (day 2)" in page


def test_strips_are_at_25_mm_a_second_with_the_class_of_each_beat(draw: Callable[..., str]) -> None:
    page = draw(CLASSES)
    strips = re.findall('<div class="strip".*?</div>', page, re.DOTALL)
    assert len(strips) > 12
    assert 'width="175mm"' in strips[0] and 'viewBox="0 0 700 ' in strips[0]
    assert "25 mm/s, 10 mm/mV" in strips[0]
    # From 1.1 to 8.1 s: the beats from 1.8 s on.
    assert "".join(re.findall(r'class="beat-mark c\d"[^>]*>(.)<', strips[0])) == CLASSES[1:9]


def test_a_gap_interrupts_the_trace_and_is_no_line(draw: Callable[..., str]) -> None:
    page = draw("N" * 9 + "VVV" + "N" * 30)  # the run is at 8.2 s, the gap from 10 s on
    traces = re.findall('class="trace" d="([^"]*)"', page)
    assert traces[0].count("M") == 2
    assert "nan" not in page


def test_stretches_without_signal_are_listed_and_beats_in_noise_stand_out_nowhere(make_annotated: Make) -> None:
    beats, strip = make_annotated("N" * 200, unusable=[[20.0, 60.0, "flat line"]])
    beats.loc[100:150, "flag"] = "noisy"
    beats.loc[100:150, "class"] = "V"
    page = words(recording_page(beats, beats.attrs["about"], strip=strip))
    assert "Stretches without usable signal: 1, 40s in all." in page and "0:00:20 flat line 40.0" in page
    assert "25.5 % of beats noisy" in page and "75.2 % usable signal" in page
    assert "run of V" not in page


def test_of_infarction_the_probability_is_shown_and_no_burden(make_annotated: Make) -> None:
    beats, strip = make_annotated(["MI"] * 30 + ["normal"] * 10, names=("normal", "MI"), task="mi")
    page = words(recording_page(beats, beats.attrs["about"], strip=strip))
    assert f"MI 75.0 %, mean probability of MI {beats['p_MI'].mean():.2f}." in page
    assert "ventricular" not in page and "Variability is not computed" in page


@pytest.mark.parametrize("n", [0, 1, 2, 12])
def test_a_recording_of_few_beats_has_a_page(draw: Callable[..., str], n: int) -> None:
    page = words(draw("N" * n))
    assert f"{n} beats in" in page and ("no beats" in page) == (n == 0)


def test_names_are_text(draw: Callable[..., str]) -> None:
    page = draw(CLASSES, record=HOSTILE, path=HOSTILE, model=HOSTILE, command=HOSTILE, card={"title": HOSTILE})
    assert "<script" not in page and "&lt;script&gt;" in page


def test_a_day_fits_a_page_of_three_megabytes(make_annotated: Make) -> None:
    classes = np.random.default_rng(0).choice([*"NSVFQ"], 100_000, p=[0.9, 0.04, 0.04, 0.01, 0.01])
    beats, strip = make_annotated(classes, rr=0.86)
    beats["time_s"] += np.random.default_rng(1).uniform(-0.2, 0.2, len(beats))
    page = recording_page(beats, beats.attrs["about"], strip=strip)
    assert len(page.encode()) < 3_000_000
    assert "100,000 beats in 23h53m" in words(page)


def test_the_table_of_many_recordings_names_those_that_failed(make_annotated: Make) -> None:
    beats, _ = make_annotated(CLASSES)
    about = beats.attrs["about"]
    table = recordings_table([(about, summary_of(beats, about)), ({"record": "r2", "error": "r2.dat is cut"}, None)])
    first, second = ([str(cell.content) for cell in row.cells] for row in table.rows)
    assert first == ["r1", "7.0", "520", "38.46", "7.69", "75", "0.80", "100.0", ""]
    assert second[0] == "r2" and second[-1] == "r2.dat is cut" and len(second) == len(table.columns)


def test_the_table_of_many_recordings_states_the_share_of_each_class_of_another_task(make_annotated: Make) -> None:
    beats, _ = make_annotated(["normal"] * 30 + ["MI"] * 10, names=("normal", "MI"))
    about = beats.attrs["about"]
    table = recordings_table([(about, summary_of(beats, about))])
    cells = {column.name: cell for column, cell in zip(table.columns, table.rows[0].cells, strict=True)}
    assert str(cells["MI %"].content) == "25.00" and not {"V %", "S %"} & cells.keys()
