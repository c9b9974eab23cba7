"""The published table run again: what is averaged, what is kept apart, and what was not run."""

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import PHRASES
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics.catalogue import dig
from ecg_lightning.runs.collect import collect
from ecg_lightning.runs.predictions import score_predictions
from ecg_lightning.runs.published import published_row
from ecg_lightning.runs.schema import ContextInfo, RunRecord
from ecg_lightning.runs.store import save_run
from ecg_lightning.runs.tidy import frame, published_table

Leave = Callable[..., Path]


def metric_of(table: pd.DataFrame, name: str = "macro_f1", of: str = "overall") -> pd.DataFrame:
    return table[(table["class"] == of) & (table["metric"] == name)]


def read(folder: Path, *path: str) -> float:
    return float(dig(RunRecord.read(folder / "scores.json").test, path))


def test_repetitions_are_one_row_with_mean_and_deviation(tmp_path: Path, leave_run: Leave) -> None:
    folders = [leave_run(f"sweep/job{seed}", seed=seed, noise=1.2 + seed / 10) for seed in (2, 0, 1)]
    table = published_table(tmp_path, only_run=True)
    for path, shown in (
        (("macro_f1",), metric_of(table)),
        (("per_class", "S", "recall"), metric_of(table, "recall", "S")),
    ):
        values = [read(folder, *path) for folder in folders]
        (row,) = shown.to_dict("records")
        assert row["value"] == pytest.approx(statistics.fmean(values)) and row["value"] < 1
        assert row["sd"] == pytest.approx(statistics.stdev(values)) and row["sd"] > 0
        assert (row["n_seeds"], row["seeds"], row["status"]) == (3, "0, 1, 2", "run")
        assert set(row["runs"].split("; ")) == set(map(str, folders))


def test_every_published_row_is_there_and_says_whether_it_was_run(tmp_path: Path, leave_run: Leave) -> None:
    leave_run("a", noise=1.2)
    leave_run("b", task="mi", transfer="head_only", noise=1.2)
    table = published_table(tmp_path)
    rows = table.drop_duplicates(["task", "network", "resampling", "transfer"])
    assert len(rows) == 8 + 8 + 2
    run = rows[rows["status"] == "run"]
    assert run[["task", "network", "resampling", "transfer"]].to_numpy().tolist() == [
        ["arrhythmia", "cnet", "none", "none"],
        ["mi", "cnet", "none", "head_only"],
    ]
    unrun = table[table["status"] == "not run"]
    assert unrun["value"].isna().all() and unrun["runs"].isna().all() and unrun["published"].notna().all()
    for record in metric_of(table, "f1", "MI").to_dict("records"):
        row = published_row("mi", record["network"], record["resampling"], pretrained=record["transfer"] != "none")
        assert row and record["published"] == row["f1"]
    assert set(published_table(tmp_path, only_run=True)["status"]) == {"run"}


def test_what_does_not_belong_together_is_another_table(tmp_path: Path, leave_run: Leave) -> None:
    thirty = Protocol(name="random", by="beats", seed=4, test_fraction=0.3, validation_fraction=0.1)
    differing: list[dict[str, Any]] = [
        {},
        {"fingerprint": "other"},
        {"dataset": "mitbih"},
        {"split": "patient"},
        {"protocol": thirty},
        {"fold": "validation"},
        {"dataset": "synthetic", "synthetic": True},
    ]
    for seed, fields in enumerate(differing):
        leave_run(f"{seed}", seed=seed, noise=1.2 + seed / 10, **fields)
    collection = collect(tmp_path, only_run=True)
    assert len(collection.tables) == len(differing)
    table = frame(collection)
    assert (metric_of(table)["n_seeds"] == 1).all() and metric_of(table)["sd"].isna().all()
    compared = metric_of(table)[metric_of(table)["published"].notna()]
    assert sorted(compared["seeds"]) == ["0", "1", "2", "4"]
    assert [table.n_test for table in collection.tables if table.tested == "validation"] == [[300]]


def test_of_runs_that_nothing_published_compares_with_it_is_said(tmp_path: Path, leave_run: Leave) -> None:
    leave_run("a", split="patient")
    leave_run("b", synthetic=True)
    collection = collect(tmp_path)
    assert not any(block.published for table in collection.tables for block in table.blocks)
    assert len(collection.remarks) == 1 and "published" in collection.remarks[0]


def test_seeds_of_run_and_split_are_told_apart(tmp_path: Path, leave_run: Leave) -> None:
    for seed in (0, 1):
        protocol = Protocol(name="random", by="beats", seed=0, test_fraction=0.2, validation_fraction=0.1)
        leave_run(f"a{seed}", seed=seed, noise=1.2 + seed / 10, protocol=protocol)
    leave_run("b", seed=2, noise=1.3)
    (row,) = collect(tmp_path, only_run=True).tables[0].rows
    assert row.seeds == ["0", "1/0", "2"] and row.split_seeds == [0, 0, 2]


def test_other_settings_make_other_rows_named_by_them(tmp_path: Path, leave_run: Leave) -> None:
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            optimizer = {"optimizer": {"lr": lr, "weight_decay": 0}, "cache_dir": str(tmp_path / f"{seed}")}
            leave_run(f"{lr}_{seed}", seed=seed, noise=1.2 + lr + seed / 10, config=optimizer)
    transforms = {"augmentation": {"name": "light", "transforms": {"noise": {"sigma": 0.02}, "shift": None}}}
    leave_run("light", config={"optimizer": {"lr": 0.1, "weight_decay": 0}} | transforms)
    rows = metric_of(published_table(tmp_path, only_run=True))
    assert dict(zip(rows["settings"], rows["n_seeds"], strict=True)) == {
        "optimizer.lr=0.1": 2,
        "optimizer.lr=0.2": 2,
        "optimizer.lr=0.1, augmentation=light": 1,
    }
    assert rows["published"].nunique() == 1


def test_a_seed_that_is_there_twice_is_not_averaged_and_a_copy_counts_once(tmp_path: Path, leave_run: Leave) -> None:
    first = leave_run("sweep/a")
    shutil.copy(first / "scores.json", tmp_path / "committed.json")
    collection = collect(tmp_path, first)
    assert metric_of(frame(collection))["runs"].dropna().tolist() == [str(first)]
    assert any(str(tmp_path / "committed.json") in remark for remark in collection.remarks)
    second = leave_run("sweep/b", noise=1.3)
    collection = collect(tmp_path, only_run=True)
    rows = metric_of(frame(collection))
    assert (rows["n_seeds"] == 1).all() and set(rows["settings"]) == {str(first), str(second)}
    assert any("Not averaged" in remark for remark in collection.remarks)


def test_each_seed_may_start_from_weights_of_its_own(tmp_path: Path, leave_run: Leave) -> None:
    def start(name: str, seed: int, checkpoint: str) -> None:
        config = {"transfer": {"mode": "head_only", "checkpoint": checkpoint}}
        leave_run(
            name,
            task="mi",
            transfer="head_only",
            seed=seed,
            noise=1.2 + len(list(tmp_path.iterdir())) / 20,
            config=config,
        )

    start("a", 0, "pretrained_0")
    start("b", 1, "pretrained_1")
    (row,) = metric_of(published_table(tmp_path, only_run=True)).to_dict("records")
    assert (row["n_seeds"], row["transfer"]) == (2, "head_only")
    start("c", 0, "longer")
    start("d", 1, "pretrained_0")
    assert sorted(metric_of(published_table(tmp_path, only_run=True))["n_seeds"]) == [1, 1, 2]
    for name in "bd":
        shutil.rmtree(tmp_path / name)
    assert set(metric_of(published_table(tmp_path, only_run=True))["settings"]) == {"pretrained_0", "longer"}


def test_only_a_frozen_backbone_stands_beside_the_published_pretrained_row(tmp_path: Path, leave_run: Leave) -> None:
    for mode in ("none", "head_only", "last_layer", "finetune"):
        leave_run(mode, task="mi", transfer=mode)
    rows = metric_of(published_table(tmp_path, only_run=True), "f1", "MI").set_index("transfer")["published"]
    assert rows["none"] == 0.9971479 and rows["head_only"] == rows["last_layer"] == pytest.approx(0.966399493)
    assert pd.isna(rows["finetune"])


def test_a_part_of_the_training_beats_is_no_run_of_a_published_row(tmp_path: Path, leave_run: Leave) -> None:
    protocol = Protocol(
        name="random", by="beats", seed=0, test_fraction=0.2, validation_fraction=0.1, train_size=100,
        n_train_units=5460,
    )  # fmt: skip
    leave_run("a", protocol=protocol, config={"split": {"train_size": 100}})
    rows = metric_of(published_table(tmp_path))
    part = rows[rows["status"] == "run"]
    assert part["settings"].tolist() == ["split.train_size=100"] and part["published"].isna().all()
    assert ((rows["network"] == "cnet") & (rows["resampling"] == "none") & (rows["status"] == "not run")).any()


def test_folds_are_scored_as_one_and_missing_ones_are_named(
    tmp_path: Path, make_record: Callable[..., RunRecord], make_beats: Callable[..., Beats]
) -> None:
    files = []
    for fold in (0, 2):
        labels, chance = np.arange(40) % 2, np.random.default_rng(fold).random(40)
        origin = {"records": np.full(40, "r"), "patients": np.arange(40).astype(str)}
        beats = make_beats(labels, ("normal", "MI"), samples=np.arange(40) + 40 * fold, **origin)
        protocol = Protocol(
            name="patient", by="patients", seed=0, fold=fold, n_folds=3,
            patients={"train": 30 + fold, "validation": 5, "test": 9},
        )  # fmt: skip
        config = {"seed": 0, "split": {"seed": "${seed}", "fold": fold, "n_folds": 3}}
        record = make_record("mi", seed=0, protocol=protocol, noise=1.2 + fold, config=config)
        save_run(tmp_path / f"{fold}", record, beats, np.stack([1 - chance, chance], axis=1))
        files.append(tmp_path / f"{fold}" / "predictions.parquet")
    collection = collect(tmp_path)
    (row,) = metric_of(frame(collection), "f1", "MI").to_dict("records")
    pooled = score_predictions(*files)
    assert row["value"] == pooled["f1"] and (row["n_seeds"], row["folds"]) == (1, "0, 2 of 3")
    assert [row["low"], row["high"]] == pooled["intervals"]["per_class"]["MI"]["f1"]
    assert collection.tables[0].rows[0].missing_folds == [1]


def test_what_is_no_run_is_left_out_or_named(tmp_path: Path, leave_run: Leave) -> None:
    run = leave_run("deep/er/run")
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "pooled.json").write_text('{"pooled": [], "repeated": []}')
    leave_run("evaluation", kind="evaluation", checkpoint="best.ckpt", fold="validation")
    collection = collect(tmp_path)
    assert metric_of(frame(collection))["runs"].dropna().tolist() == [str(run)]
    assert len(collection.remarks) == 2 and "pooled.json" in collection.remarks[0]
    assert "evaluation" in collection.remarks[1]


def test_nothing_to_collect_is_one_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError, match=str(folder)):
            collect(folder)


# Other protocols


@pytest.fixture
def apart(leave_run: Leave) -> None:
    """Runs on DS1 and DS2: three seeds of cnet alone and with context, two baselines alone, one with context."""
    with_rhythm = {"context": ContextInfo(rhythm=True), "fingerprint": "of beats with context"}
    for seed in range(3):
        leave_run(f"alone{seed}", seed=seed, split="ds1_ds2", noise=1.5 + seed / 10)
        leave_run(f"context{seed}", seed=seed, split="ds1_ds2", noise=1.1 + seed / 10, **with_rhythm)
    baseline = {"split": "ds1_ds2", "baseline": True, "n_parameters": None, "epochs": None}
    leave_run("boosting", model="gradient_boosting", noise=1.3, **baseline)
    leave_run("regression", model="logistic_regression", noise=1.7, **baseline)
    leave_run("regression_context", model="logistic_regression", noise=1.6, **baseline, **with_rhythm)


def test_contexts_and_baselines_are_rows_of_one_table(tmp_path: Path, apart: None) -> None:
    collection = collect(tmp_path)
    (table,) = collection.tables
    assert [(block.context, block.network) for block in table.blocks] == [
        ("none", "cnet"),
        ("none", "gradient_boosting"),
        ("none", "logistic_regression"),
        ("rhythm", "cnet"),
        ("rhythm", "logistic_regression"),
    ]
    rows = metric_of(frame(collection)).query("status == 'run'")
    assert rows["fingerprint"].tolist() == 3 * ["0123456789abcdef"] + 2 * ["of beats with context"]
    assert set(rows["left_out"]) == {9} and set(rows["class_map"]) == {PHRASES["aami"]}
    assert rows["n_seeds"].tolist() == [3, 1, 1, 3, 1] and rows["sd"].notna().tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert [row.is_baseline for row in table.rows] == [False, True, True, False, True]
    assert collection.remarks == ()


def test_what_others_printed_stands_below_runs_of_the_same_protocol(
    tmp_path: Path, apart: None, leave_run: Leave
) -> None:
    others = frame(collect(tmp_path)).query("status == 'published elsewhere'")
    assert set(others["network"]) == {"Niu 2020", "Guo 2018", "Wang 2021", "Mondéjar 2019"}
    assert others.query("network == 'Niu 2020' and `class` == 'S'")["published"].tolist() == [0.766]
    assert "published elsewhere" not in set(frame(collect(tmp_path, only_run=True))["status"])
    for fields in ({"synthetic": True}, {"fold": "validation"}):
        leave_run(f"{fields}", split="ds1_ds2", noise=1.9, **fields)
    assert sorted(bool(table.elsewhere) for table in collect(tmp_path).tables) == [False, False, True]


def test_other_recordings_are_not_taken_for_another_context(tmp_path: Path, apart: None, leave_run: Leave) -> None:
    leave_run("other", split="ds1_ds2", fingerprint="of other recordings")
    assert len(collect(tmp_path).tables) == 3
