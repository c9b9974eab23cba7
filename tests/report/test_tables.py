"""What a person reads when a run or a sweep ends: all of it must be there, at any width, in a terminal or a log."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rich.console import Console, RenderableType

from ecg_lightning.data.beats import Beats
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.report.tables import comparison_table, run_table

Make = Callable[..., dict[str, Any]]


def printed(table: RenderableType, width: int = 100, color: str | None = None) -> str:
    console = Console(width=width, force_terminal=color is not None, color_system=color)  # type: ignore[arg-type]
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [name])


def test_run_is_shown_by_class_in_percent_beside_the_published_figures(make_scores: Make) -> None:
    scores = make_scores(noise=2.0)
    scores["test"]["per_class"]["S"] |= {"precision": 0.91, "recall": 0.84, "f1": 0.8765303}
    text = printed(run_table(scores))

    assert row(text, "S") == ["S", "91.00", "84.00", "87.65", "80", "90.75", "82.91", "86.65", "+1.00"]
    assert f"{100 * scores['test']['accuracy']:.2f}" in text
    assert "92.83" in row(text, "macro")
    assert "F1 of macro precision and recall" in text


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
def test_intervals_and_ec57_stand_below_in_80_columns(make_scores: Make, task: str) -> None:
    scores = make_scores(task, noise=2.0)
    labels = np.repeat(np.arange(len(scores["test"]["confusion"])), np.sum(scores["test"]["confusion"], axis=1))
    rng = np.random.default_rng(0)
    classes = tuple(scores["test"]["per_class"])
    raw = rng.random((400, len(classes))) + 0.8 * np.eye(len(classes))[labels]
    beats = Beats(
        signals=np.zeros((400, 1, 1), dtype=np.float32), lengths=np.full(400, 1), lead_names=("II",),
            labels=labels, classes=classes, fs=125.0,
        records=np.where(np.arange(400) % 3, "232", "100"), patients=np.arange(400) % 7,
    )  # fmt: skip
    scores["test"] = score_beats(beats, raw / raw.sum(axis=1, keepdims=True), "MI" if task == "mi" else None)
    text = printed(run_table(scores), width=80)

    ends = scores["test"]["intervals"]["macro_f1"]
    together = " ".join(text.split())
    assert f"95 % intervals (7 patients): macro-F1 {100 * ends[0]:.2f}-{100 * ends[1]:.2f}" in together
    assert f"kappa {100 * scores['test']['kappa']:.2f}" in together
    if task == "mi":
        assert "EC57, gross" not in text
        return
    sensitivity, interval, predictivity, _, rate, beats_of_s = row(text.partition("EC57, gross")[2], "S")[1:]
    told = scores["test"]["ec57"]["S"]
    assert sensitivity == f"{100 * told['sensitivity']:.2f}"
    low, high = scores["test"]["intervals"]["ec57"]["S"]["sensitivity"]
    assert interval == f"{100 * low:.2f}-{100 * high:.2f}"
    assert predictivity == f"{100 * told['positive_predictivity']:.2f}"
    assert (rate, beats_of_s) == (f"{100 * told['false_positive_rate']:.3f}", "80")
    without = scores["test"]["ec57"]["without_232"]["S"]
    assert f"{100 * without['sensitivity']:.2f}" in next(line for line in text.splitlines() if "without 232" in line)


def test_scores_from_before_there_were_intervals_are_shown_as_they_were(make_scores: Make) -> None:
    scores = make_scores()
    for figure in ("ec57", "j_kappa", "kappa", "balanced_accuracy", "macro_auroc", "ece"):
        del scores["test"][figure]
    text = printed(run_table(scores))
    assert "EC57, gross" not in text and "intervals" not in text and "kappa" not in text


def test_a_baseline_has_no_epoch(make_scores: Make) -> None:
    assert "epoch None" not in printed(run_table(make_scores(model="majority", best_epoch=None)))


def test_caption_says_what_the_figures_depend_on(make_scores: Make) -> None:
    text = " ".join(printed(run_table(make_scores())).split())
    for part in ("mitbih from kaggle", "400 test beats", "seed 1234", "Split random: 20% of each class to test"):
        assert part in text
    assert "AAMI EC57 with e and j in N" in text
    assert "epoch chosen on the test file" in text


def test_synthetic_beats_are_called_so_and_held_against_nothing(make_scores: Make) -> None:
    text = printed(run_table(make_scores(synthetic=True, source="synthetic")))
    assert "SYNTHETIC BEATS" in text
    assert "publ" not in text.lower()
    assert "SYNTHETIC" not in printed(run_table(make_scores()))


def test_a_run_without_a_published_row_is_shown_alone(make_scores: Make) -> None:
    text = printed(run_table(make_scores(resampling="smote")))
    assert "publ" not in text.lower()
    assert len(row(text, "V")) == 5


def test_split_by_patient_is_not_passed_off_as_the_published_protocol(make_scores: Make) -> None:
    assert "harder question" in " ".join(printed(run_table(make_scores(split="ds1_ds2"))).split())
    assert "harder question" not in printed(run_table(make_scores()))


def test_mi_shows_its_own_figures_and_the_misprint(make_scores: Make) -> None:
    text = " ".join(printed(run_table(make_scores("mi", resampling="smote_tomek"))).split())
    assert "AUROC" in text
    assert "specificity" in text
    assert "99.57 99.38 99.06" in text
    assert "pretrained" not in text
    assert "its own precision and recall give 99.47" in text
    assert "AAMI" not in text


def test_run_from_pretrained_weights_stands_beside_the_row_that_did_the_same(make_scores: Make) -> None:
    text = " ".join(printed(run_table(make_scores("mi", transfer="head_only"))).split())
    assert "96.71 96.57 96.64" in text
    assert "from pretrained weights" in text


def test_class_that_does_not_occur_has_no_figures(make_scores: Make) -> None:
    scores = make_scores()
    scores["test"]["per_class"]["Q"] |= {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0, "predicted": 0}
    assert row(printed(run_table(scores)), "Q") == [
        *("Q", "-", "-", "-", "0"),
        *("98.94", "98.94", "98.94", "-"),
    ]


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
def test_tables_fit_80_columns_without_a_figure_cut_off(make_scores: Make, task: str) -> None:
    scores = make_scores(task, wall_s=36_000.0)
    jobs = {f"model={name},augmentation=smote_tomek,seed=1": scores | {"model": name} for name in ("cnet", "bilstm")}
    for table in (run_table(scores), comparison_table(jobs)):
        text = printed(table, width=80)
        assert "…" not in text
        assert max(map(len, text.splitlines())) <= 80


def test_jobs_are_ordered_by_validation_and_the_best_of_a_column_is_bold(make_scores: Make) -> None:
    jobs = {
        "model=seq": make_scores(model="seq", noise=4.0, val={"macro_f1": 0.8123}),
        "model=cnet": make_scores(model="cnet", noise=1.5, val={"macro_f1": 0.95}, wall_s=3725.0),
    }
    text = printed(comparison_table(jobs))
    assert row(text, "1")[1:3] == ["cnet", "95.00"]
    assert row(text, "2")[1:3] == ["seq", "81.23"]
    assert row(text, "1")[-1] == "1h02m"
    assert f"{100 * jobs['model=seq']['test']['per_class']['F']['f1']:.2f}" in row(text, "2")
    assert "1 model=cnet\n" in text

    bold = "\x1b[1;32m"
    coloured = printed(comparison_table(jobs), color="standard")
    assert f"{bold}95.00" in coloured
    assert f"{bold}81.23" not in coloured


def test_failed_jobs_are_named_with_the_first_line_of_their_error(make_scores: Make) -> None:
    failures = {"model=bigru": "\nConfigError: batch_size=0 makes no batch\n  File train.py, line 3"}
    text = printed(comparison_table({"model=cnet": make_scores()}, failures))
    assert "1 of 2 jobs failed" in text
    assert "model=bigru: ConfigError: batch_size=0 makes no batch\n" in text
    assert "train.py" not in text
    assert "1 of 1 jobs failed" in printed(comparison_table({}, failures))


def test_tasks_get_tables_of_their_own_columns(make_scores: Make) -> None:
    text = printed(comparison_table({"task=arrhythmia": make_scores(), "task=mi": make_scores("mi")}))
    arrhythmia, mi = text.split("mi: 1 job")
    assert "arrhythmia: 1 job" in arrhythmia
    assert "AUROC" not in arrhythmia
    assert "AUROC" in mi


def test_jobs_that_left_the_test_beats_alone_say_so(make_scores: Make) -> None:
    screened = make_scores(fold="validation")
    text = printed(comparison_table({"screened": screened, "tested": make_scores()}))
    assert text.count("arrhythmia: 1 job") == 2
    assert " ".join(text.split()).count("on validation; the test beats were left alone") == 1
    assert "publ" not in printed(run_table(screened))


def test_synthetic_and_unlike_splits_are_marked_among_jobs(make_scores: Make) -> None:
    jobs = {"a": make_scores(), "b": make_scores(synthetic=True, split="patient")}
    text = printed(comparison_table(jobs))
    assert "b SYNTHETIC BEATS" in text
    assert "a SYNTHETIC BEATS" not in text
    assert "do not compare" in text
    assert "do not compare" not in printed(comparison_table({"a": make_scores(), "c": make_scores(seed=2)}))


def test_names_with_brackets_are_printed_as_they_are(make_scores: Make) -> None:
    # Overrides such as these are markup to rich, which would swallow them.
    text = printed(comparison_table({"trainer.devices=[0]": make_scores()}, {"x=[red]": "KeyError: [bold]"}))
    assert "trainer.devices=[0]" in text
    assert "x=[red]: KeyError: [bold]" in text


def test_jobs_that_kept_no_checkpoint_are_compared_too(make_scores: Make) -> None:
    """``-m debug=fast_dev_run`` leaves no validation score; its table still comes, those jobs last."""
    tried = make_scores() | {"val": {"macro_f1": None}}
    text = printed(comparison_table({"tried": tried, "trained": make_scores()}))
    assert text.index("1 trained") < text.index("2 tried")
