"""The pages: their numbers are those of the files, they need nothing from anywhere, and they say what is to be said."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.core.provenance import without
from ecg_lightning.data.beats import Beats
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.pipeline import results
from ecg_lightning.report import run_report, runs_report, write_report
from ecg_lightning.report.charts import nice_ticks
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.predictions import score_predictions

MakeRun = Callable[..., Path]
ReadPage = Callable[[Path | str], Any]

PATIENT = "patient: 8 patients to train, 2 to validate, 12 to test, no patient on two sides, seed 0"


def dig(nesting: Any, place: str) -> Any:
    for key in place.split("."):
        nesting = nesting[int(key)] if isinstance(nesting, list) else nesting[key]
    return nesting


def shown_as(value: float, words: str) -> bool:
    """Whether printed words are a number, perhaps in percent, rounded to the digits they have."""
    plain = words.replace(",", "").replace("−", "-").replace("+", "")
    digits = len(plain.partition(".")[2])
    return plain in (f"{value:.{digits}f}", f"{100 * value:.{digits}f}")


def scores_of(folder: Path) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return scores


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
def test_every_number_of_a_page_is_the_one_of_its_file(make_run: MakeRun, read_page: ReadPage, task: str) -> None:
    folder = make_run("one", task=task)
    scores, page = scores_of(folder), read_page(run_report(folder))
    assert {origin for origin, *_ in page.numbers} == {"figure"}
    for _, place, value, words in page.numbers:
        assert value == dig(scores, place), place
        assert shown_as(value, words), (place, words, value)
    places = {place for _, place, *_ in page.numbers}
    last = list(scores["test"]["per_class"])[1]
    assert places >= {
        "test.macro_f1", "test.accuracy", "test.balanced_accuracy", "test.kappa", "test.ece", "test.brier", "n.test",
        "test.intervals.macro_f1.0", "test.intervals.macro_f1.1", f"test.intervals.per_class.{last}.recall.0",
        *(f"test.per_class.{last}.{figure}" for figure in ("precision", "recall", "f1", "specificity", "support")),
        "test.confusion.0.1", "val.macro_f1",
    }  # fmt: skip
    if task == "arrhythmia":
        assert places >= {
            "test.ec57.V.sensitivity", "test.ec57.S.positive_predictivity", "test.intervals.ec57.V.sensitivity.0",
            "test.ec57.without_232.S.f1", "test.ec57.per_record.3.V.tp", "test.j_kappa",
        }  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
def test_a_page_needs_nothing_from_anywhere(
    make_run: MakeRun, read_page: ReadPage, tmp_path: Path, several: bool
) -> None:
    folders = [make_run("one"), make_run("two", seed=1)]
    page = runs_report(folders, output=tmp_path / "report.html") if several else run_report(folders[0])
    found = read_page(page)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in found.tags}
    for _, attributes in found.tags:
        assert all((attributes.get(name) or "#").startswith("#") for name in ("src", "href", "xlink:href"))
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|@font-face|https?:", page)
    policy = next(one["content"] for one in found.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and "default-src 'none'" in policy
    assert len(page) < 1_000_000


def test_who_does_not_see_it_can_find_their_way(make_run: MakeRun, read_page: ReadPage) -> None:
    page = run_report(make_run("one"))
    found = read_page(page)
    headings = [int(tag[1]) for tag, _ in found.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    assert all("scope" in header for header in found.of("th"))
    ids = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = [one["aria-labelledby"] for one in found.of("svg") + found.of("section") if one.get("aria-labelledby")]
    assert labelled and all(name in ids for names in labelled for name in str(names).split())
    charts = [one for one in found.of("svg") if one.get("class") == "chart"]
    assert len(charts) >= 8 and page.count("<title id=") == page.count("<desc id=") == len(charts)
    targets = [str(one["href"])[1:] for one in found.of("a") if str(one.get("href")).startswith("#")]
    assert targets and set(targets) <= set(ids)


def test_the_verdict_says_how_good_how_sure_and_on_whom(make_run: MakeRun, read_page: ReadPage) -> None:
    folder = make_run("known people")
    scores, text = scores_of(folder), read_page(run_report(folder)).text
    low, high = (f"{100 * end:.1f}" for end in scores["test"]["intervals"]["macro_f1"])
    assert f"{100 * scores['test']['macro_f1']:.1f} % (95 % interval over 12 patients: {low} to {high}" in text
    assert "Other beats of the same patients were trained on" in text and "published macro-F1 is 92.83" in text
    q = scores["test"]["per_class"]["Q"]["support"]
    assert f"Class Q has only {q} test beats of" in text and "Take care" in text
    text = read_page(run_report(make_run("others", split="patient", protocol=PATIENT))).text
    assert "tested on people it has not learned from" in text and "were trained on" not in text
    assert "The published beats were split at random" in text and "published macro-F1 is" not in text
    shared = "ds1_ds2: 18 patients of DS1 to train, 201 (DS1) and 202 (DS2) are one person, as published, seed 0"
    text = read_page(run_report(make_run("ds", split="ds1_ds2", protocol=shared, left_out=8757))).text
    assert "but for one person, whose record 201 it learned from" in text and "8,757 beats, on no side" in text
    assert "AAMI EC57 with e and j in N" in text


def test_a_class_that_is_not_told_is_said_to_be(make_run: MakeRun, read_page: ReadPage) -> None:
    text = read_page(run_report(make_run("hardly", skill=0.1))).text
    assert "It tells no class well" in text and "It fails at supraventricular beats (S)" in text
    text = read_page(run_report(make_run("guessing", task="mi", skill=0.0))).text
    assert "Guessing, at 50 %, is not ruled out." in text
    text = read_page(run_report(make_run("perfect", task="mi", skill=5.0))).text
    assert "Guessing" not in text


def test_simulated_beats_are_marked_at_the_top(make_run: MakeRun, read_page: ReadPage) -> None:
    page = run_report(make_run("made up", synthetic=True, source="synthetic"))
    text = read_page(page).text
    assert "SYNTHETIC BEATS" in text and "(SYNTHETIC)</title>" in page
    assert "published macro-F1" not in text and "nothing about patients" in text


def test_a_run_of_an_older_version_gets_what_it_lacks_from_its_predictions(
    make_run: MakeRun, read_page: ReadPage
) -> None:
    folder = make_run("old")
    scores = scores_of(folder)
    new = ("balanced_accuracy", "kappa", "j_kappa", "ece", "brier", "reliability", "ec57", "intervals", "macro_auroc")
    scores["test"] = {key: value for key, value in scores["test"].items() if key not in new}
    for key in ("left_out", "context", "versions", "git", "steps"):
        del scores[key]
    (folder / "scores.json").write_text(json.dumps(scores))
    page = read_page(run_report(folder))
    again = {"test": score_predictions(folder / "predictions.parquet")}
    computed = {place: value for origin, place, value, _ in page.numbers if origin == "computed"}
    assert computed.keys() >= {"test.kappa", "test.ec57.V.sensitivity", "test.intervals.macro_f1.0", "test.ece"}
    assert all(value == dig(again, place) for place, value in computed.items())
    assert all(value == dig(scores, place) for origin, place, value, _ in page.numbers if origin == "figure")
    assert "is older" in page.text and "computed from its predictions" in page.text

    (folder / "predictions.parquet").unlink()
    (folder / "metrics.csv").unlink()
    bare = read_page(run_report(folder))
    assert not any(origin == "computed" for origin, *_ in bare.numbers)
    assert "Without the predictions.parquet of the run this cannot be drawn" in bare.text
    assert "This run left no learning curves" in bare.text


def test_a_single_epoch_is_said_to_make_no_curve(make_run: MakeRun, read_page: ReadPage) -> None:
    folder = make_run("one")
    (folder / "metrics.csv").write_text("epoch,step,train/loss,val/loss,val/macro_f1\n0,99,,0.9,0.4\n0,99,1.0,,\n")
    page = read_page(run_report(folder))
    assert "an epoch alone makes no curve" in page.text and "chosen by macro-F1 on validation" not in page.text


def test_predictions_of_another_run_are_refused(make_run: MakeRun) -> None:
    folder, other = make_run("one"), make_run("two", skill=0.2)
    scores = scores_of(folder)
    del scores["test"]["intervals"]
    (folder / "scores.json").write_text(json.dumps(scores))
    shutil.copy(other / "predictions.parquet", folder)
    with pytest.raises(DataError, match="they are of two runs"):
        run_report(folder)


def test_the_chosen_epoch_is_counted_as_people_count(make_run: MakeRun, read_page: ReadPage) -> None:
    text = read_page(run_report(make_run("one"))).text
    assert "epoch 2 chosen" in text and "of which validation chose 2" in text


def test_beats_that_are_not_there_are_said_to_be(make_run: MakeRun, read_page: ReadPage) -> None:
    page = read_page(run_report(make_run("one")))
    assert "Beats that cannot be shown" in page.text and "No beats can be shown:" in page.text


def test_names_are_text_and_never_markup(make_run: MakeRun, read_page: ReadPage) -> None:
    page = run_report(make_run("one", model="<img src=x>", git="<b>&"))
    assert not read_page(page).of("img") and not read_page(page).of("b")
    assert "&lt;img src=x&gt;" in page


def test_a_single_run_is_held_against_baselines(make_run: MakeRun, read_page: ReadPage) -> None:
    run, weak = make_run("cnet"), make_run("weak", model="majority", skill=0.1)
    strong = make_run("strong", model="gradient_boosting", skill=0.95)
    text = read_page(run_report(run, baselines=[weak, strong])).text
    assert "cnet beats majority by +" in text
    difference = compare(run, strong)["differences"]["macro_f1"]["difference"]
    assert f"cnet does not beat the baseline gradient_boosting: {100 * difference:+.1f}".replace("-", "−") in text


def test_infarction_is_told_by_its_auroc(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    folders = [make_run("net", task="mi", skill=0.2), make_run("length", task="mi", model="beat_length", skill=0.6)]
    page = read_page(runs_report(folders, output=tmp_path / "report.html"))
    auroc = scores_of(folders[0])["test"]["macro_auroc"]
    assert f"Best on validation is cnet: AUROC {100 * auroc:.1f} %" in page.text
    assert "cnet does not beat the baseline beat_length" in page.text and "points of AUROC" in page.text


def test_several_runs_stand_in_one_table(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    good, fair = make_run("good", skill=0.9), make_run("fair", model="seq", skill=0.4)
    baseline = make_run("baseline", model="gradient_boosting", skill=0.7)
    (good / "report.html").write_text("its own")
    html = runs_report([tmp_path / "runs"], output=tmp_path / "report.html")
    page = read_page(html)
    for folder in (good, fair, baseline):
        scores = scores_of(folder)
        own = {
            place.partition(": ")[2]: (value, words)
            for _, place, value, words in page.numbers
            if place.startswith(f"{folder.name}: ")
        }
        assert own.keys() >= {
            "test.macro_f1",
            "test.per_class.S.f1",
            "test.ec57.V.sensitivity",
            "test.kappa",
            "test.j_kappa",
            "n.train",
        }
        for place, (value, words) in own.items():
            assert value == dig(scores, place) and shown_as(value, words), place
    best = f'<td class="best"><data value="{scores_of(good)["test"]["macro_f1"]!r}"'
    assert best in html and html.count('class="best"') >= 5
    answer = compare(good, fair)["differences"]
    told = [value for _, place, value, _ in page.numbers if place == "difference: macro_f1"]
    assert answer["macro_f1"]["difference"] in told
    assert "Best on validation is cnet" in page.text and "The strongest baseline is gradient_boosting" in page.text
    assert "cnet beats gradient_boosting by +" in page.text and "seq does not beat the baseline" in page.text
    links = [one["href"] for one in page.of("a") if not str(one["href"]).startswith("#")]
    assert links == ["runs/good/report.html"]


def test_seeds_are_averaged_and_folds_are_pooled(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    runs = [make_run(f"seed{seed}", seed=seed, config={"split": {"seed": 0}}) for seed in (0, 1, 2)]
    page = read_page(runs_report(runs, output=tmp_path / "report.html"))
    values = [scores_of(folder)["test"]["macro_f1"] for folder in runs]
    told = {place: value for _, place, value, _ in page.numbers}
    assert told["mean of 3 seeds: test.macro_f1"] == pytest.approx(np.mean(values))
    assert told["sd of 3 seeds: test.macro_f1"] == pytest.approx(np.std(values, ddof=1))
    assert "3 seeds" in page.text and "standard deviation over seeds" in page.text

    protocol = "patient: fold {} of 2 (counted from 0), 8 patients to train, no patient on two sides, seed 0"
    folds = [
        make_run(f"fold{fold}", task="mi", fold=fold, split="patient", protocol=protocol.format(fold))
        for fold in (0, 1)
    ]
    page = read_page(runs_report(folds, output=tmp_path / "report.html"))
    pooled = score_predictions(*(folder / "predictions.parquet" for folder in folds))
    told = {place: value for _, place, value, _ in page.numbers}
    assert told["2 folds pooled: test.per_class.MI.auroc"] == pooled["per_class"]["MI"]["auroc"]
    assert (
        told["2 folds pooled: test.intervals.per_class.MI.auroc.0"]
        == pooled["intervals"]["per_class"]["MI"]["auroc"][0]
    )
    assert "2 of 2 folds pooled" in page.text


def test_what_does_not_compare_stands_apart(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    make_run("random")
    make_run("patient", split="patient", protocol=PATIENT)
    make_run(
        "more",
        fingerprint="fedcba9876543210",
        context="rhythm",
        skill=0.9,
        config={"dataset": {"context": {"rhythm": True}}},
    )
    page = read_page(runs_report([tmp_path / "runs"], output=tmp_path / "report.html"))
    assert "figures of different sections do not compare" in page.text
    headings = re.findall(r"MIT-BIH from PhysioNet, split (\w+)", page.text)
    assert set(headings) == {"random", "patient"}
    # What is seen of a beat changes the fingerprint and not the question: the same beats, in one table.
    assert "cnet + rhythm minus …" in page.text


def test_fewer_training_beats_make_a_curve(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    for size, skill in ((100, 0.3), (300, 0.6), (1000, 0.8)):
        told = f"random: patients on all sides, seed 0, trained on {size} of 4000 training beats"
        make_run(f"size{size}", train_size=size, skill=skill, protocol=told)
    page = read_page(runs_report([tmp_path / "runs"], output=tmp_path / "report.html"))
    assert "From how few beats on?" in page.text and "training beats" in page.text
    values = [100 * scores_of(tmp_path / "runs" / f"size{size}")["test"]["macro_f1"] for size in (100, 300, 1000)]
    assert f"100 beats {values[0]:.1f} %, 300 beats {values[1]:.1f} %, 1,000 beats {values[2]:.1f} %" in page.text


def test_the_command_writes_beside_the_run_or_where_it_is_told(make_run: MakeRun, tmp_path: Path) -> None:
    one, other = make_run("one"), make_run("two", model="seq")
    runner = CliRunner()
    ran = runner.invoke(app, ["report", str(one), "--brief"])
    assert (ran.exit_code, ran.stdout.strip()) == (0, str(one / "report.html"))
    assert "Report of a run" in (one / "report.html").read_text()
    ran = runner.invoke(app, ["report", str(one), str(other), "-o", str(tmp_path / "both.html")])
    assert ran.exit_code == 0 and "Report of several runs" in (tmp_path / "both.html").read_text()
    ran = runner.invoke(app, ["report", str(tmp_path / "runs")])
    assert ran.exit_code == 0 and (tmp_path / "runs" / "report.html").is_file()
    ran = runner.invoke(app, ["report", str(tmp_path / "nothing")])
    assert ran.exit_code == 2 and ran.stderr.startswith("error: ") and len(ran.stderr.splitlines()) == 1
    with pytest.raises(ConfigError, match="baselines"):
        write_report([one, other], tmp_path / "x.html", baselines=[one])


def test_a_report_that_fails_loses_no_run(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scores = scores_of(make_run("one"))
    beats = Beats(
        signals=np.ones((10, 1, 3), dtype=np.float32),
        lengths=np.full(10, 3),
        lead_names=("II",),
        labels=np.arange(10) % 5,
        classes=tuple("NSVFQ"),
        fs=125.0,
    )
    probabilities = np.full((10, 5), 0.2, dtype=np.float32)
    scores["test"] = score_beats(beats, probabilities)

    def failing(*_: object, **__: object) -> None:
        assert json.loads((tmp_path / "run" / "scores.json").read_text()) == scores
        raise ValueError("an ink bottle fell over")

    monkeypatch.setattr("ecg_lightning.report.write_report", failing)
    with caplog.at_level(logging.WARNING):
        results.write(tmp_path / "run", scores, beats, probabilities, positive=None, report="full")
    assert scores_of(tmp_path / "run") == scores and not (tmp_path / "run" / "report.html").exists()
    assert "an ink bottle fell over" in caplog.text and "ecg-lightning report" in caplog.text


def test_the_setting_changes_no_digest() -> None:
    from ecg_lightning.core.provenance import WITHOUT_EFFECT

    assert without({"report": "none", "seed": 0}, WITHOUT_EFFECT) == {"seed": 0}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.83, 0.97), (3, 3), (1, 40), (-0.2, 0.7)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 11 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert len({round(after - before, 9) for before, after in pairwise(ticks)}) <= 1
