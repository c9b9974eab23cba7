"""Is one run better than another? Sure where it is, unsure where it is not, and never of other beats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.runs.compare import compare, not_beaten
from ecg_lightning.runs.predictions import score_predictions, write_predictions

N, N_PATIENTS = 600, 12

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Leave the predictions of a run that is wrong about some of the same 600 beats of twelve patients."""

    def make(
        name: str, wrong: float, *, seed: int = 0, rows: Any = slice(None), known: bool = True, **about: Any
    ) -> Path:
        rng = np.random.default_rng(1)
        labels = rng.integers(5, size=N)
        rng = np.random.default_rng(seed)
        predicted = np.where(rng.random(N) < wrong, rng.integers(5, size=N), labels)
        raw = np.eye(5)[predicted] + 0.5 * rng.random((N, 5))
        patients = np.arange(N) % N_PATIENTS
        origin: dict[str, Any] = {
            "records": (100 + patients).astype(str), "patients": patients.astype(str), "samples": np.arange(N),
        }  # fmt: skip
        beats = Beats(
            signals=np.zeros((N, 1, 2), dtype=np.float32), lengths=np.full(N, 2), lead_names=("II",),
            labels=labels, classes=AAMI_CLASSES, fs=125.0,
            **(origin if known else {}),
        ).select(np.arange(N)[rows])  # fmt: skip
        file = tmp_path / name / "predictions.parquet"
        about = {"model": name.partition("/")[0], "fingerprint": "ab12", "protocol": "random", "fold": "test"} | about
        write_predictions(file, beats, (raw / raw.sum(axis=1, keepdims=True))[rows], about=about)
        return file.parent

    return make


def test_a_better_run_is_surely_better_and_the_other_surely_worse(make_run: MakeRun) -> None:
    good, bad = make_run("good", 0.1), make_run("bad", 0.3, seed=1)
    answer = compare(good, bad)
    one = answer["differences"]["macro_f1"]
    scores = [score_predictions(folder / "predictions.parquet")["macro_f1"] for folder in (good, bad)]
    assert (one["first"], one["second"], one["difference"]) == (*scores, scores[0] - scores[1])
    assert 0 < one["interval"][0] < one["difference"] < one["interval"][1]
    assert one["p"] < 0.01
    assert (answer["resampled"], answer["n_resampled"], answer["first"]["model"]) == ("patients", N_PATIENTS, "good")
    turned = compare(bad, good)["differences"]["macro_f1"]
    assert turned["interval"] == pytest.approx([-end for end in reversed(one["interval"])])


def test_runs_that_are_equally_good_are_not_told_apart(make_run: MakeRun) -> None:
    answer = compare(make_run("one", 0.2), make_run("other", 0.2, seed=1))
    one = answer["differences"]["accuracy"]
    assert one["interval"][0] < 0 < one["interval"][1]
    assert one["p"] > 0.05 and answer["mcnemar"]["p"] > 0.05
    same = compare(make_run("a", 0.2), make_run("b", 0.2))
    assert same["differences"]["accuracy"]["interval"] == [0, 0] and same["differences"]["accuracy"]["p"] == 1
    assert same["mcnemar"] == {"only_first": 0, "only_second": 0, "p": 1.0}


def test_what_only_one_run_called_right_is_counted(make_run: MakeRun) -> None:
    answer = compare(make_run("perfect", 0), make_run("bad", 0.3))
    missed = round(N * (1 - answer["differences"]["accuracy"]["second"]))
    assert answer["mcnemar"] == {"only_first": missed, "only_second": 0, "p": pytest.approx(2 * 0.5**missed)}


def test_the_order_of_the_beats_does_not_matter(make_run: MakeRun) -> None:
    in_order = compare(make_run("a", 0.1), make_run("b", 0.2, seed=1))
    shuffled = make_run("b", 0.2, seed=1, rows=np.random.default_rng(0).permutation(N))
    assert compare(make_run("a", 0.1), shuffled)["differences"] == in_order["differences"]


def test_runs_on_other_beats_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(DataError, match=r"not tested on the same beats: 600 and 500, of which 500 are common; .*seed"):
        compare(make_run("a", 0.1), make_run("b", 0.1, rows=slice(500)))
    with pytest.raises(DataError, match=r"holds no predictions\.parquet"):
        compare(make_run("a", 0.1), make_run("a", 0.1).parent / "nothing")


def test_beats_without_records_are_the_same_only_where_data_and_split_are(make_run: MakeRun) -> None:
    first = make_run("a", 0.1, known=False)
    answer = compare(first, make_run("b", 0.3, known=False))
    assert (answer["resampled"], answer["n_resampled"]) == ("beats", N)
    for told in ({"fingerprint": "cd34"}, {"protocol": "random, seed 1"}, {"fold": "validation"}):
        with pytest.raises(DataError, match="not tested on the same beats, or do not tell so"):
            compare(first, make_run("b", 0.3, known=False, **told))


def test_folds_are_compared_as_one(make_run: MakeRun, tmp_path: Path) -> None:
    for fold, rows in enumerate((slice(300), slice(300, None))):
        make_run(f"a/fold{fold}", 0.1, rows=rows)
        make_run(f"b/fold{fold}", 0.3, seed=1, rows=rows)
    whole = compare(make_run("whole_a", 0.1), make_run("whole_b", 0.3, seed=1))
    assert compare(tmp_path / "a", tmp_path / "b")["differences"] == whole["differences"]
    make_run("a/again", 0.2, rows=slice(300))
    with pytest.raises(DataError, match="300 beats stand in two of the 3 files"):
        compare(tmp_path / "a", tmp_path / "b")


def test_baselines_that_are_not_surely_beaten_are_named(make_run: MakeRun) -> None:
    run, weak = make_run("cnet", 0.1), make_run("majority", 0.6, seed=1)
    equal = make_run("gradient_boosting", 0.1, seed=2)
    (found,) = not_beaten(run, [weak, equal])
    assert found["model"] == "gradient_boosting" and found["interval"][0] <= 0
    assert not_beaten(run, [weak], figure="accuracy") == []
    with pytest.raises(DataError, match="no figure 'accurracy'"):
        not_beaten(run, [weak], figure="accurracy")


def test_the_command_says_it_in_80_columns(make_run: MakeRun) -> None:
    good, bad = make_run("good", 0.1), make_run("bad", 0.3, seed=1, synthetic=True)
    run = CliRunner().invoke(app, ["compare", str(good), str(bad)], env={"COLUMNS": "80"})
    assert run.exit_code == 0, run.output
    difference = compare(good, bad)["differences"]["macro_f1"]
    line = next(line for line in run.output.splitlines() if "macro-F1" in line)
    assert f"{100 * difference['difference']:+.2f}" in line and f"{100 * difference['interval'][1]:+.2f}" in line
    assert "1,000 resamples of 12 patients" in " ".join(run.output.split())
    assert run.output.count("SYNTHETIC BEATS") == 1
    refused = CliRunner().invoke(app, ["compare", str(good), str(good.parent / "nothing")])
    assert refused.exit_code == 2 and refused.stderr.startswith("error: ")
