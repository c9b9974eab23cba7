"""Folds as one, spread over seeds, curves over training beats: against what is computed by hand."""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rich.console import Console

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.metrics.scoring import score
from ecg_lightning.report.plots import low_data_picture
from ecg_lightning.report.tables import pooled_tables
from ecg_lightning.runs.aggregate import pool, read_runs, varying_overrides
from ecg_lightning.runs.predictions import read_predictions, write_predictions

CLASSES = {"mi": ("normal", "MI"), "arrhythmia": ("N", "S", "V", "F", "Q")}

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Leave the folder of a finished job of a sweep in ``tmp_path``, with 40 test beats of its fold and seed."""

    def make(
        *, task: str = "mi", model: str = "cnet", arm: str = "none", seed: int = 0, fold: int | None = None,
        n_folds: int = 3, train_size: int | None = None, noise: float = 1.5, first_sample: int | None = None,
        n_train: int = 900, **entries: Any,
    ) -> Path:  # fmt: skip
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}_{task}_{model}"
        classes = CLASSES[task]
        positive = "MI" if task == "mi" else None
        rng = np.random.default_rng((seed, fold or 0, len(arm), train_size or 0))
        labels = rng.permutation(np.arange(40) % len(classes))
        raw = np.eye(len(classes))[labels] + noise * rng.random((40, len(classes)))
        probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
        start = 40 * (fold or 0) if first_sample is None else first_sample
        beats = Beats(
            signals=np.ones((40, 1, 3), dtype=np.float32), lengths=np.full(40, 3), lead_names=("II",),
            labels=labels, classes=classes, fs=125.0,
            records=np.full(40, "r1"), patients=np.full(40, f"p{fold}"), samples=np.arange(start, start + 40),
        )  # fmt: skip
        write_predictions(folder / "predictions.parquet", beats, probabilities, positive=positive)
        scores = {
            "task": task, "model": model, "dataset": "ptbdb", "source": "physionet", "synthetic": False,
            "split": "patient", "augmentation": "none", "resampling": "none", "transfer": arm, "seed": seed,
            "fingerprint": "0123456789abcdef", "n": {"train": train_size or n_train, "validation": 20, "test": 40},
            "val": {"macro_f1": 0.9}, "wall_s": 1.0, "test": score(labels, probabilities, classes, positive),
        } | entries  # fmt: skip
        (folder / "scores.json").write_text(json.dumps(scores))
        config = {
            "task": {"name": task}, "model": {"name": model}, "transfer": {"arm": arm}, "seed": seed,
            "split": {"seed": "${seed}", "fold": fold, "n_folds": n_folds, "train_size": train_size},
        }  # fmt: skip
        overrides = [f"task={task}", f"model={model}", f"transfer={arm}", f"seed={seed}"]
        overrides += [] if fold is None else [f"split.fold={fold}", f"split.n_folds={n_folds}"]
        overrides += [] if train_size is None else [f"++split.train_size={train_size}"]
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
        return folder

    return make


def printed(pooled: dict[str, Any], width: int = 80) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(pooled_tables(pooled))
    return capture.get()


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

    tests = [json.loads((folder / "scores.json").read_text())["test"] for folder in folders]
    for path in (["macro_f1"], ["accuracy"], ["per_class", CLASSES[task][1], "recall"]):
        values = [_dig(test, path) for test in tests]
        assert _dig(entry["mean"], path) == pytest.approx(sum(values) / 3)
        assert _dig(entry["sd"], path) == pytest.approx(np.std(values, ddof=1))
    assert "confusion" not in entry["sd"] and "support" not in entry["mean"]["per_class"][CLASSES[task][1]]
    assert json.loads(json.dumps(pooled)) == pooled

    text = printed(pooled)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    assert "(901 training beats)" in " ".join(text.split())
    for name, scores in (("3 folds pooled", entry["test"]), ("mean of folds", entry["mean"]), ("sd of", entry["sd"])):
        (line,) = (line for line in text.splitlines() if name in line)
        assert f"{100 * scores['macro_f1']:.2f}" in line and f"{100 * scores['accuracy']:.2f}" in line
    assert "ptbdb from physionet, split patient" in text and "without fold" not in text


def _dig(scores: Any, path: list[str]) -> float:
    for key in path:
        scores = scores[key]
    return float(scores)


def test_only_what_differs_in_the_fold_alone_is_pooled(make_run: MakeRun, tmp_path: Path) -> None:
    for fold in (0, 1):
        for arm in ("none", "finetune"):
            make_run(fold=fold, arm=arm)
    make_run(fold=2, fingerprint="other data")
    make_run(fold=2, n_folds=5)
    make_run()
    pooled = pool(read_runs(tmp_path))["pooled"]
    assert [(entry["transfer"], entry["folds"], len(entry["jobs"])) for entry in pooled] == [
        ("none", [0, 1], 2),
        ("finetune", [0, 1], 2),
    ]
    assert printed({"pooled": pooled, "repeated": []}, width=200).count("without fold 2 of 3") == 2


def test_a_figure_that_a_fold_does_not_have_is_left_out_of_the_mean(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run(fold=fold) for fold in range(3)]
    for folder in folders[:2]:
        scores = json.loads((folder / "scores.json").read_text())
        scores["test"]["auroc"] = None
        (folder / "scores.json").write_text(json.dumps(scores))
    (entry,) = pool(read_runs(tmp_path))["pooled"]
    assert entry["mean"]["auroc"] == json.loads((folders[2] / "scores.json").read_text())["test"]["auroc"]
    assert entry["sd"]["auroc"] is None
    assert printed({"pooled": [entry], "repeated": []})


def test_a_beat_or_a_fold_that_is_there_twice_is_an_error(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(fold=0)
    again = make_run(fold=1, first_sample=39)
    with pytest.raises(DataError, match=r"1 beats stand in two .* such as sample 39 of record r1"):
        pool(read_runs(tmp_path))
    (again / "scores.json").unlink()
    make_run(fold=0)
    with pytest.raises(DataError, match="are the same fold 0 of the same settings"):
        pool(read_runs(tmp_path))


def test_repetitions_with_other_seeds_have_mean_and_standard_deviation(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run(seed=seed, n_train=100 + seed) for seed in range(3)]
    make_run(seed=0, arm="finetune")
    pooled = pool(read_runs(tmp_path))
    assert pooled["pooled"] == pooled["low_data"] == []
    (entry,) = pooled["repeated"]
    assert entry["seeds"] == [0, 1, 2] and entry["n_train"] == 101 and entry["transfer"] == "none"
    f1 = [json.loads((folder / "scores.json").read_text())["test"]["f1"] for folder in folders]
    assert entry["mean"]["f1"] == pytest.approx(statistics.fmean(f1))
    assert entry["sd"]["f1"] == pytest.approx(statistics.stdev(f1)) and entry["sd"]["f1"] > 0
    text = printed(pooled)
    assert "mean, 3 seeds" in text and f"{100 * entry['sd']['f1']:.2f}" in text
    assert "seed=" not in text and "transfer=none" in text


def test_over_seeds_it_is_the_pooled_scores_that_vary(make_run: MakeRun, tmp_path: Path) -> None:
    folders = {seed: [make_run(seed=seed, fold=fold) for fold in range(3)] for seed in (0, 1)}
    pooled = pool(read_runs(tmp_path))
    assert [entry["seed"] for entry in pooled["pooled"]] == [0, 1]
    (entry,) = pooled["repeated"]
    values = [by_hand(of_seed, "mi")["auroc"] for of_seed in folders.values()]
    assert [run["test"]["auroc"] for run in entry["runs"]] == values
    assert entry["sd"]["auroc"] == pytest.approx(statistics.stdev(values))


def test_a_run_that_was_scored_before_there_were_other_figures_is_averaged_over_those_it_has(
    make_run: MakeRun, tmp_path: Path
) -> None:
    for seed in (0, 1):
        folder = make_run(task="arrhythmia", seed=seed)
    scores = json.loads((folder / "scores.json").read_text())
    for figure in ("kappa", "ec57", "j_kappa", "ece"):
        del scores["test"][figure]
    (folder / "scores.json").write_text(json.dumps(scores))
    (entry,) = pool(read_runs(tmp_path))["repeated"]
    assert "kappa" not in entry["mean"] and "ec57" not in entry["mean"]
    assert entry["sd"]["macro_f1"] > 0


def test_runs_of_several_sizes_make_a_curve_for_each_network_and_arm(make_run: MakeRun, tmp_path: Path) -> None:
    for arm in ("none", "finetune"):
        for size in (1000, 100, None):
            for seed in (0, 1, 2):
                make_run(arm=arm, train_size=size, seed=seed, n_train=5000 + seed)
    make_run(model="seq")
    pooled = pool(read_runs(tmp_path))
    assert len(pooled["repeated"]) == 6
    assert [curve["label"] for curve in pooled["low_data"]] == ["cnet, from scratch", "cnet, finetune"]
    for curve in pooled["low_data"]:
        assert [point["n_train"] for point in curve["points"]] == [100, 1000, 5001]
        for point in curve["points"]:
            f1 = [run["test"]["f1"] for run in point["runs"]]
            assert point["mean"]["f1"] == pytest.approx(statistics.fmean(f1)) and len(f1) == 3
    low_data_picture(pooled["low_data"], tmp_path / "low_data.png")
    content = (tmp_path / "low_data.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and 10_000 < len(content) < 120_000


def test_curves_of_equal_name_are_told_apart_by_what_was_typed(make_run: MakeRun, tmp_path: Path) -> None:
    for size in (100, 1000):
        for lr in (1, 2):
            folder = make_run(train_size=size)
            config = yaml.safe_load((folder / ".hydra" / "config.yaml").read_text())
            (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config | {"optimizer": {"lr": lr}}))
            overrides = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text())
            (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([*overrides, f"optimizer.lr={lr}"]))
    runs = read_runs(tmp_path)
    curves = pool(runs)["low_data"]
    assert [curve["label"] for curve in curves] == [f"cnet, from scratch optimizer.lr={lr}" for lr in (1, 2)]
    assert list(varying_overrides(runs).values())[:2] == [f"++split.train_size=100 optimizer.lr={lr}" for lr in (1, 2)]
    # One seed and one size missing here and there must not stop the picture; nor a score that is not defined.
    curves[0]["points"][0]["mean"]["auroc"] = curves[0]["points"][0]["runs"][0]["test"]["auroc"] = None
    low_data_picture(curves, tmp_path / "low_data.png")
    assert (tmp_path / "low_data.png").stat().st_size > 10_000


def test_jobs_come_in_the_order_of_their_start_and_damaged_ones_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run(seed=seed) for seed in range(11)]
    assert [run.folder for run in read_runs(tmp_path)] == folders  # by number, as the time is not told
    started = [make_run(seed=seed, started=f"2026-11-22T10:{20 - seed}:00.000+00:00") for seed in range(11, 14)]
    assert [run.folder for run in read_runs(tmp_path)] == folders + started[::-1]
    (folders[4] / ".hydra" / "config.yaml").unlink()
    with pytest.raises(DataError, match=r"4_mi_cnet/\.hydra holds no configuration of a run"):
        read_runs(tmp_path)
