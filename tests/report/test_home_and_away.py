"""Home and away side by side, and what a reader must know of a database that lacks a class or knows no people."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecg_lightning.data.protocol import Protocol
from ecg_lightning.report.elsewhere import elsewhere_report, elsewhere_section
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.run_page import run_report
from ecg_lightning.report.tables import judged_by, missing_notes
from ecg_lightning.runs.schema import RunRecord

MakeRun = Callable[..., Path]
ALL = {"protocol": Protocol(name="all", seed=0, by="none"), "kind": "evaluation"}


def away(make_run: MakeRun, name: str, **fields: Any) -> RunRecord:
    record = RunRecord.read(make_run(name, **{"skill": 0.4} | fields) / "scores.json")
    return record.model_copy(update={"dataset": "svdb", "trained_on": record.dataset, **ALL})


def home(make_run: MakeRun, **fields: Any) -> RunRecord:
    return RunRecord.read(make_run("home", **fields) / "scores.json")


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.S).split())


@pytest.mark.parametrize(
    ("task", "heads"),
    [
        ("arrhythmia", ["macro-F1", "accuracy", "EC57 S sensitivity", "EC57 V F1"]),
        ("mi", ["macro-F1", "accuracy", "AUROC of MI", "recall of MI", "specificity of MI"]),
    ],
)
def test_the_table_has_home_first_then_each_database_with_beats_people_and_intervals(
    task: str, heads: list[str], make_run: MakeRun
) -> None:
    own, other = home(make_run, task=task), away(make_run, "other", task=task)
    table = elsewhere_section(own, {"svdb": other}).tables[0]
    assert [row.cells[0].content for row in table.rows] == [own.tested_on, "svdb"]
    assert [str(cell.content) for cell in table.rows[1].cells[1:3]] == ["1,200", "12"]
    names = [column.name for column in table.columns]
    assert set(heads) <= set(names)
    macro = table.rows[1].cells[names.index("macro-F1")]
    assert str(macro.content) == f"{100 * other.test['macro_f1']:.2f}" and macro.interval


def test_the_page_says_how_far_from_home_and_what_is_not_there(make_run: MakeRun) -> None:
    own, other = home(make_run), away(make_run, "other", lacking="Q")
    other = other.model_copy(update={"dropped": {"without class": {"B": 3, "?": 1200}}, "warning": "some were seen"})
    text = text_of(elsewhere_report(own, {"svdb": other}))
    points = 100 * (own.test["macro_f1"] - other.test["macro_f1"])
    assert f"{abs(points):.1f} points {'below' if points > 0 else 'above'} the" in text
    assert "No beats of Q are among those tested." in text and "without class (B 3, ? 1,200)" in text
    assert "svdb: some were seen." in text


def test_without_the_record_of_the_run_the_page_is_of_the_other_databases_alone(make_run: MakeRun) -> None:
    other = away(make_run, "other")
    text = text_of(elsewhere_report(None, {"svdb": other}))
    assert "its own test is not shown" in text and "points" not in text
    assert len(elsewhere_section(None, {"svdb": other}).tables[0].rows) == 1


def test_the_page_of_a_run_shows_its_tests_on_other_databases(make_run: MakeRun) -> None:
    folder = make_run("run")
    assert 'id="elsewhere"' not in run_report(folder, embedding=False)
    away(make_run, "other").write(folder / "on" / "svdb" / "scores.json")
    page = run_report(folder, embedding=False)
    assert 'id="elsewhere"' in page and "On svdb macro-F1 is" in text_of(page)
    assert 'data-figure="svdb: test.macro_f1"' in page  # which record a number is of


def test_absent_classes_are_said(make_run: MakeRun) -> None:
    assert missing_notes(away(make_run, "two", lacking="F")) == ["No beats of F are among those tested."]
    assert missing_notes(away(make_run, "all")) == []


@pytest.mark.parametrize("lacking", ["normal", "MI"])
def test_of_a_fold_with_one_class_alone_what_has_no_denominator_is_a_dash(lacking: str, make_run: MakeRun) -> None:
    numbers = Numbers(home(make_run, task="mi", lacking=lacking).plain())
    shown = {metric.key[0]: str(numbers.metric(metric)) for metric in judged_by(("normal", "MI"))}
    assert shown["specificity" if lacking == "normal" else "recall"] == "–"
    assert shown["recall" if lacking == "normal" else "specificity"] != "–"
