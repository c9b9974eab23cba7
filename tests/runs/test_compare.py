"""Is one run better than another? Certain where it is, uncertain where it is not, and never of other beats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics.catalogue import dig
from ecg_lightning.runs.compare import Comparer, compare
from ecg_lightning.runs.predictions import score_predictions, write_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run

N, N_PATIENTS = 600, 12

PROTOCOL = Protocol(name="random", by="beats", seed=0, test_fraction=0.2)

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, make_beats: Callable[..., Beats]) -> MakeRun:
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
        beats = make_beats(labels, AAMI_CLASSES, **(origin if known else {})).select(np.arange(N)[rows])
        file = tmp_path / name / "predictions.parquet"
        about = {"model": name.partition("/")[0], "fingerprint": "ab12", "protocol": "random", "fold": "test"} | about
        write_predictions(file, beats, (raw / raw.sum(axis=1, keepdims=True))[rows], about=about)
        return file.parent

    return make


def test_a_better_run_is_significantly_better_and_the_other_worse(make_run: MakeRun) -> None:
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


def test_what_only_one_run_predicted_right_is_counted(make_run: MakeRun) -> None:
    answer = compare(make_run("perfect", 0), make_run("bad", 0.3))
    missed = round(N * (1 - answer["differences"]["accuracy"]["second"]))
    assert answer["mcnemar"] == {"only_first": missed, "only_second": 0, "p": pytest.approx(2 * 0.5**missed)}


def test_the_order_of_the_beats_does_not_matter(make_run: MakeRun) -> None:
    in_order = compare(make_run("a", 0.1), make_run("b", 0.2, seed=1))
    shuffled = make_run("b", 0.2, seed=1, rows=np.random.default_rng(0).permutation(N))
    assert compare(make_run("a", 0.1), shuffled)["differences"] == in_order["differences"]


def test_runs_on_other_beats_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(DataError, match=r"600 and 500, 500 in common.*seed"):
        compare(make_run("a", 0.1), make_run("b", 0.1, rows=slice(500)))
    with pytest.raises(DataError, match=r"holds no predictions\.parquet"):
        compare(make_run("a", 0.1), make_run("a", 0.1).parent / "nothing")


def test_beats_without_records_are_the_same_only_where_data_and_split_are(make_run: MakeRun) -> None:
    first = make_run("a", 0.1, known=False)
    answer = compare(first, make_run("b", 0.3, known=False))
    assert (answer["resampled"], answer["n_resampled"]) == ("beats", N)
    for about in ({"fingerprint": "cd34"}, {"protocol": "random, seed 1"}, {"fold": "validation"}):
        with pytest.raises(DataError, match="not tested on the same beats"):
            compare(first, make_run("b", 0.3, known=False, **about))


def test_folds_are_compared_as_one(make_run: MakeRun, tmp_path: Path) -> None:
    for fold, rows in enumerate((slice(300), slice(300, None))):
        make_run(f"a/fold{fold}", 0.1, rows=rows)
        make_run(f"b/fold{fold}", 0.3, seed=1, rows=rows)
    whole = compare(make_run("whole_a", 0.1), make_run("whole_b", 0.3, seed=1))
    assert compare(tmp_path / "a", tmp_path / "b")["differences"] == whole["differences"]
    make_run("a/again", 0.2, rows=slice(300))
    with pytest.raises(DataError, match="300 beats are in two of the 3 files"):
        compare(tmp_path / "a", tmp_path / "b")


def test_what_is_wanted_alone_has_the_same_digits(make_run: MakeRun) -> None:
    runs = [make_run(f"{i}", 0.1 * i, seed=i) for i in range(1, 4)]
    wanted = [("macro_f1",), ("per_class", "V", "f1"), ("macro_auroc",), ("ec57", "S", "f1")]
    comparer = Comparer(metrics=wanted)
    for i, first in enumerate(runs):
        for second in runs[i + 1 :]:
            alone, whole = comparer.compare(first, second), compare(first, second)
            assert [dig(alone["differences"], key) for key in wanted] == [
                dig(whole["differences"], key) for key in wanted
            ]
            assert alone["differences"].keys() == {"macro_f1", "per_class", "macro_auroc", "ec57"}
            assert alone["mcnemar"] == whole["mcnemar"]


def test_what_a_run_is_comes_from_its_record(
    tmp_path: Path, make_record: Callable[..., RunRecord], make_beats: Callable[..., Beats]
) -> None:
    beats = make_beats([0, 1], ("normal", "MI"))
    for name, seed in (("a", 0), ("b", 1)):
        record = make_record("mi", model=name, seed=seed, synthetic=True, protocol=PROTOCOL)
        save_run(tmp_path / name, record, beats, np.eye(2))
    answer = compare(tmp_path / "a", tmp_path / "b")
    assert (answer["first"]["model"], answer["second"]["seed"]) == ("a", 1)
    assert answer["first"]["synthetic"] is True and answer["first"]["protocol"] == PROTOCOL.sentence()
