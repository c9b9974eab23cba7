"""What a person reads when a run or a sweep ends: all of it must be there, in 80 columns, in a terminal or a log."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.report import render
from ecg_lightning.report.cells import Section
from ecg_lightning.report.comparison import compare_section
from ecg_lightning.report.tables import pooled_sections, run_section, sweep_sections
from ecg_lightning.runs.aggregate import pool, read_runs
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.schema import ContextInfo, RunRecord, Validation

Make = Callable[..., RunRecord]
MakeRun = Callable[..., Path]


def printed(*sections: Section, color: str | None = None) -> str:
    console = Console(width=80, force_terminal=color is not None, color_system=color)  # type: ignore[arg-type]
    with console.capture() as capture:
        console.print(render.Terminal(*sections))
    text = capture.get()
    if color is None:
        assert "…" not in text and max(map(len, text.splitlines())) <= 80
    return text


def words(text: str) -> str:
    return " ".join(text.split())


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def read(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "scores.json")


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
def test_a_run_is_shown_by_class_with_its_intervals(make_run: MakeRun, task: str) -> None:
    record = read(make_run("a", task=task))
    text = printed(run_section(record))
    for name, one in record.test["per_class"].items():
        shown = [f"{100 * one[metric]:.2f}" for metric in ("precision", "recall", "f1")]
        assert row(text, name)[:5] == [name, *shown, str(one["support"])]
    low, high = record.test["intervals"]["macro_f1"]
    assert f"macro-F1 {100 * record.test['macro_f1']:.2f} ({100 * low:.1f}–{100 * high:.1f})" in words(text)
    assert "12 patients" in words(text) and "1,200 test beats" in words(text) and "epoch 2" in words(text)
    assert ("EC57" in text) == (task == "arrhythmia")
    if task == "arrhythmia":
        counted = record.test["ec57"]["S"]
        values = [f"{100 * counted[name]:.2f}" for name in ("sensitivity", "positive_predictivity", "f1")]
        assert row(text.partition("EC57, gross")[2], "S")[1:4] == values
        assert "without 232" in text
    else:
        assert f"AUROC of MI {100 * record.test['auroc']:.2f}" in words(text)


def test_published_metrics_are_next_to_those_of_the_same_row(make_record: Make) -> None:
    record = make_record(noise=2.0)
    record.test["per_class"]["S"] |= {"precision": 0.91, "recall": 0.84, "f1": 0.8765303}
    assert row(printed(run_section(record)), "S") == [
        *("S", "91.00", "84.00", "87.65", "80", "90.75", "82.91", "86.65", "+1.00")
    ]
    assert "99.57 99.38 99.06" in words(printed(run_section(make_record("mi", resampling="smote_tomek"))))
    assert "96.71 96.57 96.64" in words(printed(run_section(make_record("mi", transfer="head_only"))))
    for other in ({"resampling": "smote"}, {"synthetic": True}, {"fold": "validation"}, {"transfer": "finetune"}):
        assert "publ" not in printed(run_section(make_record("mi", **other))).lower()
    cautions = [note.text for note in run_section(make_record(split="ds1_ds2")).notes if note.mark == "caution"]
    assert len(cautions) == 1 and "ds1_ds2" in cautions[0]
    context = make_record(context=ContextInfo(rhythm=True))
    assert ["rhythm" in note.text for note in run_section(context).notes if note.mark == "caution"] == [True]


def test_synthetic_beats_are_marked(make_record: Make) -> None:
    assert "SYNTHETIC BEATS" in printed(run_section(make_record(synthetic=True)))
    assert "SYNTHETIC" not in printed(run_section(make_record()))


def test_a_class_that_does_not_occur_has_no_metrics(make_run: MakeRun, make_record: Make) -> None:
    assert row(printed(run_section(read(make_run("a", lacking="Q")))), "Q")[:5] == ["Q", "-", "-", "-", "0"]
    assert "None" not in printed(
        run_section(make_record(model="majority", baseline=True, best_epoch=None, wall_s=None))
    )


def test_jobs_are_ordered_by_validation_and_the_best_of_a_column_is_marked(make_record: Make) -> None:
    jobs = {
        "model=seq": make_record(model="seq", noise=4.0, val=Validation(macro_f1=0.8123)),
        "model=cnet": make_record(noise=1.5, val=Validation(macro_f1=0.95), wall_s=3725.0),
        "debug": make_record(val=Validation(), model="logistic_regression", n_parameters=None, baseline=True),
    }
    text = printed(*sweep_sections(jobs))
    assert row(text, "1")[1:3] == ["cnet", "95.00"] and row(text, "1")[-1] == "1h02m"
    assert row(text, "2")[1:3] == ["seq", "81.23"] and "regression" in row(text, "3")
    assert text.index("1 model=cnet") < text.index("2 model=seq") < text.index("3 debug")
    assert "\x1b[1;32m95.00" in printed(*sweep_sections(jobs), color="standard")


def test_failed_jobs_are_named_with_the_first_line_of_their_error(make_record: Make) -> None:
    failures = {"x=[red]": "\nConfigError: [bold] no batch\n  File train.py, line 3"}
    text = printed(*sweep_sections({"trainer.devices=[0]": make_record()}, failures))
    assert "1 of 2 jobs" in text and "x=[red]: ConfigError: [bold] no batch\n" in text and "train.py" not in text
    assert "trainer.devices=[0]" in text
    assert "1 of 1 jobs" in printed(*sweep_sections({}, failures))


def test_what_does_not_compare_among_jobs_is_marked(make_record: Make) -> None:
    def cautions(**jobs: RunRecord) -> int:
        return sum(note.mark == "caution" for one in sweep_sections(jobs) for note in one.notes)

    assert cautions(a=make_record(), b=make_record(split="patient")) == 1
    assert cautions(a=make_record(), b=make_record(seed=2)) == 0
    assert len(sweep_sections({"a": make_record(), "b": make_record("mi"), "c": make_record(fold="validation")})) == 3
    text = printed(*sweep_sections({"a": make_record(), "b": make_record(synthetic=True)}))
    assert "b SYNTHETIC BEATS" in text and "a SYNTHETIC" not in text


def test_folds_are_pooled_and_seeds_have_their_spread(make_run: MakeRun, tmp_path: Path) -> None:
    for seed in (0, 1):
        for fold in (0, 1):
            make_run(f"{seed}{fold}", task="mi", split="patient", fold=fold, seed=seed, skill=0.6 + seed / 10)
    pooled = pool(read_runs(tmp_path / "runs"))
    text = printed(*pooled_sections(pooled))
    for entry in pooled["pooled"]:
        assert f"{100 * entry['test']['auroc']:.2f}" in text
        assert f"{100 * entry['mean']['macro_f1']:.2f}" in text and f"{100 * entry['sd']['macro_f1']:.2f}" in text
    assert f"{100 * pooled['repeated'][0]['mean']['macro_f1']:.2f}" in text
    assert pooled_sections({"pooled": [], "repeated": [], "low_data": []}) == []


def test_two_runs_are_compared_with_what_is_significant_in_bold(make_run: MakeRun) -> None:
    answer = compare(make_run("good", skill=0.9), make_run("bad", skill=0.3, model="seq"))
    section = compare_section(answer)
    text = printed(section)
    one = answer["differences"]["macro_f1"]
    assert row(text, "macro-F1")[1:4] == [
        f"{100 * one['first']:.2f}", f"{100 * one['second']:.2f}", f"{100 * one['difference']:+.2f}"
    ]  # fmt: skip
    assert (
        float(row(text, "macro-F1")[-1].lstrip("<")) < 0.01 and section.tables[0].rows[0].cells[0].mark == "significant"
    )
    assert "12 patients" in words(text) and f"{answer['mcnemar']['only_first']:,} beats" in words(text)


def test_the_command_prints_the_comparison_or_refuses_in_one_line(make_run: MakeRun, tmp_path: Path) -> None:
    good, bad = make_run("good", skill=0.9), make_run("bad", skill=0.3, synthetic=True)
    ran = CliRunner().invoke(app, ["compare", str(good), str(bad)], env={"COLUMNS": "80"})
    assert ran.exit_code == 0 and "SYNTHETIC" in ran.stdout and max(map(len, ran.stdout.splitlines())) <= 80
    assert json.loads(CliRunner().invoke(app, ["compare", str(good), str(bad), "--json"]).stdout)["n"] == 1200
    refused = CliRunner().invoke(app, ["compare", str(good), str(tmp_path / "nothing")])
    assert refused.exit_code == 2 and refused.stderr.startswith("error: ") and len(refused.stderr.splitlines()) == 1
