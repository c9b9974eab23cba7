"""The pages: their numbers are those of the records, they need nothing from anywhere, and nothing is left out."""

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
from ecg_lightning.core.provenance import WITHOUT_EFFECT, without
from ecg_lightning.report import write_report
from ecg_lightning.report.charts import nice_ticks
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.run_page import run_report
from ecg_lightning.report.runs_page import runs_report
from ecg_lightning.report.verdict import against_baselines, deciding, people, verdict, warnings
from ecg_lightning.runs.collect import collect
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.predictions import score_predictions
from ecg_lightning.runs.schema import ContextInfo, RunRecord

MakeRun = Callable[..., Path]
ReadPage = Callable[[Path | str], Any]


def dig(nesting: Any, place: str) -> Any:
    for key in place.split("."):
        nesting = nesting[int(key)] if isinstance(nesting, list) else nesting[key]
    return nesting


def shown_as(value: float, words: str) -> bool:
    """Whether printed words are a number, perhaps in percent, rounded to the digits they have."""
    plain = words.replace(",", "").replace("−", "-").replace("+", "")
    digits = len(plain.partition(".")[2])
    return plain in (f"{value:.{digits}f}", f"{100 * value:.{digits}f}")


def read(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "scores.json")


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
def test_every_number_of_a_page_is_the_one_of_its_file(make_run: MakeRun, read_page: ReadPage, task: str) -> None:
    folder = make_run("one", task=task)
    record, page = read(folder).plain(), read_page(run_report(folder))
    assert {origin for origin, *_ in page.numbers} == {"figure"}
    for _, place, value, words in page.numbers:
        assert value == dig(record, place), place
        assert shown_as(value, words), (place, words, value)
    places = {place for _, place, *_ in page.numbers}
    last = record["classes"][1]
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


def test_a_screen_reader_finds_its_way(make_run: MakeRun, read_page: ReadPage) -> None:
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


def test_the_verdict_follows_from_the_metrics(make_run: MakeRun) -> None:
    def sentences(name: str, **more: Any) -> str:
        record = read(make_run(name, **more))
        return " ".join(verdict(record, Numbers(record.plain())))

    record = read(make_run("known"))
    low, high = (f"{100 * end:.1f}" for end in record.test["intervals"]["macro_f1"])
    text = re.sub("<[^>]*>", "", sentences("again"))
    assert f"{100 * record.test['macro_f1']:.1f} %" in text and f"12 patients: {low} to {high}" in text
    assert "92.83" in text  # published
    assert "<strong>fails</strong>" in sentences("bad", skill=0.1) and "fails" not in sentences("good", skill=3.0)
    assert "50 %" in sentences("guess", task="mi", skill=0.0) and "50 %" not in sentences("sure", task="mi", skill=5.0)
    for lacking in ("normal", "MI"):  # nothing to divide by
        text = re.sub("<[^>]*>", "", sentences(lacking, task="mi", lacking=lacking))
        assert ("specificity" in text) == (lacking == "MI") and ("detects" in text) == (lacking == "normal")
        assert "AUROC" not in text and "None" not in text and "–" not in text


def test_the_verdict_states_if_patients_are_in_the_training_set(make_run: MakeRun) -> None:
    def text(name: str, **more: Any) -> str:
        return people(read(make_run(name, **more)))

    assert "training set</strong>" in text("random") and "<strong>not</strong>" in text("apart", split="patient")
    assert "patients" in text("synthetic", synthetic=True) and "strong" not in text("synthetic2", synthetic=True)


def test_limits_are_listed(make_run: MakeRun) -> None:
    record = read(make_run("a", lacking="F", warning="tested on training beats"))
    found = list(warnings(record, Numbers(record.plain()), {}))
    support = record.test["per_class"]["Q"]["support"]
    assert any("class F" in one for one in found) and any("Q" in one and f"{support} " in one for one in found)
    assert any("Tested on training beats." in one for one in found)
    assert not [one for one in found if "scored" in one.lower()]


def test_baselines_are_compared_by_significance(make_run: MakeRun) -> None:
    run, weak, strong = make_run("a"), make_run("weak", skill=0.1), make_run("strong", skill=0.95)
    metric = deciding(Numbers(read(run).plain()))
    better, not_better = against_baselines("a", [compare(run, weak), compare(run, strong)], metric)
    assert "strong>" not in better and "significantly better" in better
    difference = compare(run, strong)["differences"]["macro_f1"]["difference"]
    assert not_better.startswith("<strong>") and f"{100 * difference:.1f}".replace("-", "−") in not_better


def test_a_metric_without_a_denominator_is_a_dash(make_run: MakeRun, read_page: ReadPage) -> None:
    page = read_page(run_report(make_run("a", lacking="Q")))
    places = {place for _, place, *_ in page.numbers}
    assert "test.per_class.Q.support" in places and "test.per_class.S.f1" in places
    assert not [place for place in places if re.fullmatch(r"test\.per_class\.Q\.(precision|recall|f1)", place)]


def test_simulated_beats_are_marked_at_the_top(make_run: MakeRun, read_page: ReadPage) -> None:
    page = run_report(make_run("made up", synthetic=True, dataset="synthetic"))
    assert "SYNTHETIC BEATS" in read_page(page).text and "(SYNTHETIC)</title>" in page


def test_without_predictions_the_page_is_shorter(make_run: MakeRun, read_page: ReadPage) -> None:
    folder = make_run("a")
    whole = read_page(run_report(folder))
    (folder / "predictions.parquet").unlink()
    (folder / "metrics.csv").unlink()
    bare = read_page(run_report(folder))
    assert len(bare.of("svg")) < len(whole.of("svg")) and "predictions.parquet" in bare.text
    assert [one["id"] for one in whole.of("section")][:8] == [one["id"] for one in bare.of("section")][:8]


def test_predictions_of_another_run_are_refused(make_run: MakeRun) -> None:
    folder, other = make_run("one"), make_run("two", skill=0.2)
    shutil.copy(other / "predictions.parquet", folder)
    for read in (run_report, collect):
        with pytest.raises(DataError, match="SHA-256"):
            read(folder)


def test_page_and_picture_name_the_epoch_of_the_record(make_run: MakeRun, read_page: ReadPage) -> None:
    folder = make_run("one", best_epoch=3)
    page = read_page(run_report(folder))
    assert "best epoch: 3" in page.text and "epoch 3" in page.text
    # Epochs are those of metrics.csv.
    (x,) = {line["x1"] for line in page.of("line") if line.get("class") == "mark"}
    ticks = [one for one in page.of("line") if one.get("class") == "tick" and one["x1"] == one["x2"]]
    assert x in {tick["x1"] for tick in ticks}
    single = make_run("two", epochs=1, best_epoch=1)
    (single / "metrics.csv").write_text("epoch,step,train/loss,val/loss\n1,99,,0.9\n1,99,1.0,\n")
    assert not [one for one in read_page(run_report(single)).of("line") if one.get("class") == "mark"]


def test_what_cannot_be_explained_is_stated(make_run: MakeRun, read_page: ReadPage) -> None:
    assert "missing" in {one["id"] for one in read_page(run_report(make_run("one"))).of("section")}


def test_names_are_text_and_never_markup(make_run: MakeRun, read_page: ReadPage) -> None:
    page = run_report(make_run("one", model="<img src=x>\x1b[1m", git="<b>&", overrides=("a=<i>",)))
    assert not {"img", "b", "i"} & {tag for tag, _ in read_page(page).tags}
    assert "&lt;img src=x&gt;" in page and "\x1b" not in page


def test_a_single_run_is_compared_with_baselines(make_run: MakeRun, read_page: ReadPage) -> None:
    run, weak = make_run("cnet"), make_run("weak", model="majority", baseline=True, skill=0.1)
    text = read_page(run_report(run, baselines=[weak])).text
    assert "majority" in text and "majority" not in read_page(run_report(run)).text


def test_infarction_is_decided_by_its_auroc(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    folders = [make_run("net", task="mi", skill=0.2)]
    folders.append(make_run("length", task="mi", model="beat_length", baseline=True, skill=0.6))
    page = read_page(runs_report(folders, output=tmp_path / "report.html"))
    auroc = read(folders[0]).test["macro_auroc"]
    assert f"cnet: AUROC {100 * auroc:.1f} %" in page.text
    (aside,) = page.of("aside")  # the baseline is better
    assert "baseline" in str(aside["aria-label"])


def test_several_runs_are_in_one_table(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    good, fair = make_run("good", skill=0.9), make_run("fair", model="seq", skill=0.4)
    baseline = make_run("baseline", model="gradient_boosting", baseline=True, skill=0.7)
    (good / "report.html").write_text("its own")
    html = runs_report([tmp_path / "runs"], output=tmp_path / "report.html")
    page = read_page(html)
    for folder in (good, fair, baseline):
        own = {
            place.partition(": ")[2]: (value, words)
            for _, place, value, words in page.numbers
            if place.startswith(f"{folder.name}: ")
        }
        assert own.keys() >= {
            "test.macro_f1", "test.per_class.S.f1", "test.ec57.V.sensitivity", "test.kappa", "test.j_kappa", "n.train",
        }  # fmt: skip
        for place, (value, words) in own.items():
            assert value == dig(read(folder).plain(), place) and shown_as(value, words), place
    best = f'<td class="best"><data value="{read(good).test["macro_f1"]!r}"'
    assert best in html and html.count('class="best"') >= 5
    answer = compare(good, fair)["differences"]
    values = [value for _, place, value, _ in page.numbers if place == "difference: macro_f1"]
    assert answer["macro_f1"]["difference"] in values
    assert "cnet" in page.text and "gradient_boosting" in page.text
    links = [one["href"] for one in page.of("a") if not str(one["href"]).startswith("#")]
    assert links == ["runs/good/report.html"]


def test_seeds_are_averaged_and_folds_are_pooled(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    runs = [make_run(f"seed{seed}", seed=seed, split_seed=0) for seed in (0, 1, 2)]
    page = read_page(runs_report(runs, output=tmp_path / "report.html"))
    values = [read(folder).test["macro_f1"] for folder in runs]
    found = {place: value for _, place, value, _ in page.numbers}
    assert found["mean of 3 seeds: test.macro_f1"] == pytest.approx(np.mean(values))
    assert found["sd of 3 seeds: test.macro_f1"] == pytest.approx(np.std(values, ddof=1))

    folds = [make_run(f"fold{fold}", task="mi", fold=fold, split="patient") for fold in (0, 1)]
    page = read_page(runs_report(folds, output=tmp_path / "report.html"))
    pooled = score_predictions(*(folder / "predictions.parquet" for folder in folds))["per_class"]["MI"]["auroc"]
    found = {place: value for _, place, value, _ in page.numbers}
    assert found["2 folds pooled: test.per_class.MI.auroc"] == pooled
    assert "2 folds pooled: test.intervals.per_class.MI.auroc.0" in found


def test_runs_that_do_not_compare_have_own_sections(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    make_run("random")
    make_run("patient", split="patient")
    make_run("more", fingerprint="fedcba9876543210", context=ContextInfo(rhythm=True, before=0.272), skill=0.9)
    page = read_page(runs_report([tmp_path / "runs"], output=tmp_path / "report.html"))
    assert [one["id"] for one in page.of("section")] == ["table-1", "table-2", "runs"]
    assert "cnet + rhythm + from −272 ms" in page.text


def test_scores_by_training_beats_are_drawn(make_run: MakeRun, read_page: ReadPage, tmp_path: Path) -> None:
    for size, skill in ((100, 0.3), (300, 0.5), (1000, 0.8)):
        make_run(f"size{size}", train_size=size, skill=skill)
    page = read_page(runs_report([tmp_path / "runs"], output=tmp_path / "report.html"))
    assert "low-data" in {one["id"] for one in page.of("section")}
    for size in (100, 300, 1000):
        value = read(tmp_path / "runs" / f"size{size}").test["macro_f1"]
        assert f"{size:,} beats {100 * value:.1f} %" in page.text


def test_the_command_writes_into_the_folder_of_the_run_or_to_output(make_run: MakeRun, tmp_path: Path) -> None:
    one, other = make_run("one"), make_run("two", model="seq")
    runner = CliRunner()
    ran = runner.invoke(app, ["report", str(one), "--brief"])
    assert (ran.exit_code, ran.stdout.strip()) == (0, str(one / "report.html"))
    assert 'id="verdict"' in (one / "report.html").read_text()
    ran = runner.invoke(app, ["report", str(one), str(other), "-o", str(tmp_path / "both.html")])
    assert ran.exit_code == 0 and 'id="table-1"' in (tmp_path / "both.html").read_text()
    ran = runner.invoke(app, ["report", str(tmp_path / "runs")])
    assert ran.exit_code == 0 and (tmp_path / "runs" / "report.html").is_file()
    ran = runner.invoke(app, ["report", str(tmp_path / "nothing")])
    assert ran.exit_code == 2 and ran.stderr.startswith("error: ") and len(ran.stderr.splitlines()) == 1
    with pytest.raises(ConfigError, match="baselines"):
        write_report([one, other], tmp_path / "x.html", baselines=[one])


def test_the_setting_changes_no_digest() -> None:
    assert without({"report": "none", "seed": 0}, WITHOUT_EFFECT) == {"seed": 0}


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.83, 0.97), (3, 3), (1, 40), (-0.2, 0.7)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 1 <= len(ticks) <= 11 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert len({round(after - before, 9) for before, after in pairwise(ticks)}) <= 1
