"""Folds as one, spread over seeds, curves over training beats: compared with what is computed by hand."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics.catalogue import dig
from ecg_lightning.metrics.scoring import score
from ecg_lightning.runs.aggregate import pool, read_runs, varying_overrides
from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run

CLASSES = {"mi": ("normal", "MI"), "arrhythmia": ("N", "S", "V", "F", "Q")}

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, make_record: Callable[..., RunRecord], make_beats: Callable[..., Beats]) -> MakeRun:
    """Leave the folder of a finished job of a sweep in ``tmp_path``, with 40 test beats of its fold and seed."""

    def make(
        *, task: str = "mi", model: str = "cnet", transfer: str = "none", seed: int = 0, fold: int | None = None,
        n_folds: int = 3, train_size: int | None = None, noise: float = 1.5, first_sample: int | None = None,
        n_train: int = 900, lr: float | None = None, test: Callable[[dict[str, Any]], Any] | None = None, **fields: Any,
    ) -> Path:  # fmt: skip
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}_{task}_{model}"
        classes = CLASSES[task]
        rng = np.random.default_rng((seed, fold or 0, len(transfer), train_size or 0))
        labels = rng.permutation(np.arange(40) % len(classes))
        raw = np.eye(len(classes))[labels] + noise * rng.random((40, len(classes)))
        probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
        start = 40 * (fold or 0) if first_sample is None else first_sample
        origin = {"records": np.full(40, "r1"), "patients": np.full(40, f"p{fold}")}
        beats = make_beats(labels, classes, **origin, samples=np.arange(start, start + 40))
        scores = score(labels, probabilities, classes, "MI" if task == "mi" else None)
        if test is not None:
            test(scores)
        overrides = [f"task={task}", f"model={model}", f"transfer={transfer}", f"seed={seed}"]
        overrides += [] if fold is None else [f"split.fold={fold}", f"split.n_folds={n_folds}"]
        overrides += [] if train_size is None else [f"++split.train_size={train_size}"]
        overrides += [] if lr is None else [f"optimizer.lr={lr}"]
        record = make_record(
            task,
            model=model,
            transfer=transfer,
            seed=seed,
            dataset={"arrhythmia": "mitbih", "mi": "ptbdb"}[task],
            test=scores,
            n={"train": train_size or n_train, "validation": 20, "test": 40},
            protocol=Protocol(
                name="patient", by="patients", seed=seed, fold=fold, n_folds=None if fold is None else n_folds,
                test_fraction=0.2 if fold is None else None, train_size=train_size, n_train_units=train_size and 9000,
            ),
            config={
                "task": {"name": task}, "model": {"name": model}, "transfer": {"mode": transfer}, "seed": seed,
                "split": {"seed": "${seed}", "fold": fold, "n_folds": n_folds, "train_size": train_size},
                "optimizer": {"lr": lr},
            },
            overrides=tuple(overrides),
            **fields,
        )  # fmt: skip
        save_run(folder, record, beats, probabilities)
        return folder

    return make


def read(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "scores.json")


def by_hand(folders: list[Path], task: str) -> dict[str, Any]:
    labels, probabilities = [], []
    for folder in folders:
        table, _ = read_predictions(folder / "predictions.parquet")
        labels += [CLASSES[task].index(name) for name in table["true"]]
        probabilities.append(table.iloc[:, -len(CLASSES[task]) :].to_numpy())
    positive, records = ("MI" if task == "mi" else None), np.full(len(labels), "r1")
    return score(np.array(labels), np.concatenate(probabilities), CLASSES[task], positive, records=records)


@pytest.mark.parametrize("task", ["mi", "arrhythmia"])
def test_folds_are_scored_as_one_with_their_spread_beside_it(make_run: MakeRun, tmp_path: Path, task: str) -> None:
    folders = [make_run(task=task, model="bilstm", fold=fold, n_train=900 + fold) for fold in (2, 0, 1)]
    pooled = pool(read_runs(tmp_path))
    (entry,) = pooled["pooled"]
    assert pooled["repeated"] == pooled["low_data"] == []
    intervals = entry["test"].pop("intervals")
    assert entry["test"] == by_hand([folders[1], folders[2], folders[0]], task)
    assert (intervals["resampled"], intervals["n_resampled"]) == ("patients", 3)
    assert intervals["macro_f1"][0] <= entry["test"]["macro_f1"] <= intervals["macro_f1"][1]
    assert entry["mean"].keys().isdisjoint({"intervals", "confusion", "reliability"})
    assert (entry["folds"], entry["n_folds"], entry["n"]) == ([0, 1, 2], 3, {"train": 901, "test": 120})
    assert "split.fold" not in " ".join(entry["overrides"])

    tests = [read(folder).test for folder in folders]
    for path in (["macro_f1"], ["accuracy"], ["per_class", CLASSES[task][1], "recall"]):
        values = [dig(test, path) for test in tests]
        assert dig(entry["mean"], path) == pytest.approx(sum(values) / 3)
        assert dig(entry["sd"], path) == pytest.approx(np.std(values, ddof=1))
    assert "confusion" not in entry["sd"] and "support" not in entry["mean"]["per_class"][CLASSES[task][1]]
    assert json.loads(json.dumps(pooled)) == pooled


def test_only_what_differs_in_the_fold_alone_is_pooled(make_run: MakeRun, tmp_path: Path) -> None:
    for fold in (0, 1):
        for transfer in ("none", "finetune"):
            make_run(fold=fold, transfer=transfer)
    make_run(fold=2, fingerprint="other data")
    make_run(fold=2, n_folds=5)
    make_run()
    pooled = pool(read_runs(tmp_path))["pooled"]
    assert [(entry["transfer"], entry["folds"], len(entry["jobs"])) for entry in pooled] == [
        ("none", [0, 1], 2),
        ("finetune", [0, 1], 2),
    ]


def test_a_metric_that_a_fold_does_not_have_is_left_out_of_the_mean(make_run: MakeRun, tmp_path: Path) -> None:
    def without(test: dict[str, Any]) -> None:
        test["auroc"] = None

    folders = [make_run(fold=fold, test=without if fold < 2 else None) for fold in range(3)]
    (entry,) = pool(read_runs(tmp_path))["pooled"]
    assert entry["mean"]["auroc"] == read(folders[2]).test["auroc"]
    assert entry["sd"]["auroc"] is None


def test_a_beat_or_a_fold_that_is_there_twice_is_an_error(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(fold=0)
    again = make_run(fold=1, first_sample=39)
    with pytest.raises(DataError, match=r"1 beats are in two .* such as sample 39 of record r1"):
        pool(read_runs(tmp_path))
    (again / "scores.json").unlink()
    make_run(fold=0)
    with pytest.raises(DataError, match="are the same fold 0 of the same settings"):
        pool(read_runs(tmp_path))


def test_repetitions_with_other_seeds_have_mean_and_standard_deviation(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run(seed=seed, n_train=100 + seed) for seed in range(3)]
    make_run(seed=0, transfer="finetune")
    pooled = pool(read_runs(tmp_path))
    assert pooled["pooled"] == pooled["low_data"] == []
    (entry,) = pooled["repeated"]
    assert entry["seeds"] == [0, 1, 2] and entry["n_train"] == 101 and entry["transfer"] == "none"
    f1 = [read(folder).test["f1"] for folder in folders]
    assert entry["mean"]["f1"] == pytest.approx(statistics.fmean(f1))
    assert entry["sd"]["f1"] == pytest.approx(statistics.stdev(f1)) and entry["sd"]["f1"] > 0
    assert entry["overrides"] == ["task=mi", "model=cnet", "transfer=none"]


def test_over_seeds_it_is_the_pooled_scores_that_vary(make_run: MakeRun, tmp_path: Path) -> None:
    folders = {seed: [make_run(seed=seed, fold=fold) for fold in range(3)] for seed in (0, 1)}
    pooled = pool(read_runs(tmp_path))
    assert [entry["seed"] for entry in pooled["pooled"]] == [0, 1]
    (entry,) = pooled["repeated"]
    values = [by_hand(of_seed, "mi")["auroc"] for of_seed in folders.values()]
    assert [run["test"]["auroc"] for run in entry["runs"]] == values
    assert entry["sd"]["auroc"] == pytest.approx(statistics.stdev(values))


def test_a_run_that_lacks_metrics_is_averaged_over_those_it_has(make_run: MakeRun, tmp_path: Path) -> None:
    def without(test: dict[str, Any]) -> None:
        for metric in ("kappa", "ec57", "j_kappa", "ece"):
            del test[metric]

    for seed in (0, 1):
        make_run(task="arrhythmia", seed=seed, test=without if seed else None)
    (entry,) = pool(read_runs(tmp_path))["repeated"]
    assert "kappa" not in entry["mean"] and "ec57" not in entry["mean"]
    assert entry["sd"]["macro_f1"] > 0


def test_runs_of_several_sizes_make_a_curve_for_each_network_and_transfer(make_run: MakeRun, tmp_path: Path) -> None:
    for transfer in ("none", "finetune"):
        for size in (1000, 100, None):
            for seed in (0, 1, 2):
                make_run(transfer=transfer, train_size=size, seed=seed, n_train=5000 + seed)
    make_run(model="seq")
    pooled = pool(read_runs(tmp_path))
    assert len(pooled["repeated"]) == 6
    assert [curve["label"] for curve in pooled["low_data"]] == ["cnet, from scratch", "cnet, finetune"]
    for curve in pooled["low_data"]:
        assert [point["n_train"] for point in curve["points"]] == [100, 1000, 5001]
        for point in curve["points"]:
            f1 = [run["test"]["f1"] for run in point["runs"]]
            assert point["mean"]["f1"] == pytest.approx(statistics.fmean(f1)) and len(f1) == 3


def test_curves_of_equal_name_are_told_apart_by_what_was_typed(make_run: MakeRun, tmp_path: Path) -> None:
    for size in (100, 1000):
        for lr in (1, 2):
            make_run(train_size=size, lr=lr)
    runs = read_runs(tmp_path)
    curves = pool(runs)["low_data"]
    assert [curve["label"] for curve in curves] == [f"cnet, from scratch optimizer.lr={lr}" for lr in (1, 2)]
    assert list(varying_overrides(runs).values())[:2] == [f"++split.train_size=100 optimizer.lr={lr}" for lr in (1, 2)]


def test_jobs_come_in_the_order_of_their_start_and_damaged_ones_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run(seed=seed) for seed in range(11)]
    assert [run.folder for run in read_runs(tmp_path)] == folders  # by number, as the time is not known
    started = [make_run(seed=seed, started=f"2026-11-22T10:{20 - seed}:00.000+00:00") for seed in range(11, 14)]
    assert [run.folder for run in read_runs(tmp_path)] == folders + started[::-1]
    (folders[4] / "scores.json").write_text("{}")
    with pytest.raises(DataError, match=r"4_mi_cnet/scores\.json"):
        read_runs(tmp_path)
