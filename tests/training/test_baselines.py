"""Baselines: what each may see, and that they stand beside networks wherever runs are put together."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.aggregate import pool, read_runs
from ecg_lightning.runs.collect import published_table
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.training.baselines import BASELINES, Baseline

CONF = Path(__file__).parents[2] / "conf"
QUICK = {"beat_length": {"max_iter": 10}, "gradient_boosting": {"max_iter": 10}}

MakeConfig = Callable[..., Any]


def some_beats(n: int = 300) -> Beats:
    """Beats of N, S and V: a bump whose height tells the class, zero-padded from a sample that tells it too."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=n, p=[0.6, 0.3, 0.1])
    signals = 0.5 + 0.1 * rng.random((n, 40))
    signals[:, 10] += labels
    lengths = 20 + 5 * labels
    signals *= np.arange(40) < lengths[:, None]
    return Beats(
        signals=signals.astype(np.float32)[:, None], lengths=lengths, lead_names=("II",), labels=labels,
        classes=AAMI_CLASSES, fs=125.0,
    )  # fmt: skip


def with_context(beats: Beats) -> Beats:
    """The same beats with two numbers of context, of which the first is shorter the higher the class."""
    previous = 0.9 - 0.2 * beats.labels + 0.05 * np.random.default_rng(3).random(len(beats))
    context = np.stack([previous, np.full(len(beats), 0.8)], axis=1).astype(np.float32)
    return replace(beats, context=context, context_names=("previous", "next"))


@pytest.mark.parametrize("name", BASELINES)
def test_probabilities_are_of_all_classes_and_zero_for_those_never_seen(name: str) -> None:
    beats = some_beats()
    probabilities = Baseline(name, QUICK.get(name, {}), beats, seed=0).probabilities(beats)
    assert probabilities.shape == (300, 5)
    assert (probabilities[:, 3:] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    right = (probabilities.argmax(axis=1) == beats.labels).mean()
    assert right == pytest.approx((beats.labels == 0).mean()) if name == "majority" else right > 0.95


def test_majority_says_how_frequent_the_classes_are() -> None:
    beats = some_beats()
    shares = np.bincount(beats.labels, minlength=5) / 300
    np.testing.assert_allclose(Baseline("majority", {}, beats, seed=0).probabilities(beats)[7], shares)


def test_beat_length_sees_nothing_but_the_length() -> None:
    beats = some_beats()
    baseline = Baseline("beat_length", QUICK["beat_length"], beats, seed=0)
    others = np.where(beats.signals != 0, np.random.default_rng(1).random(beats.signals.shape) + 0.1, 0)
    told = baseline.probabilities(beats)
    np.testing.assert_array_equal(baseline.probabilities(replace(beats, signals=others.astype(np.float32))), told)
    np.testing.assert_array_equal(baseline.probabilities(with_context(beats)), told)
    shorter = replace(beats, lengths=np.full(len(beats), 20))
    assert (baseline.probabilities(shorter).argmax(axis=1) == 0).all()


@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting"])
def test_what_learns_sees_the_rhythm_where_beats_come_with_it(name: str) -> None:
    """Beats that look alike, of which the interval before tells the class."""
    beats = replace(some_beats(), signals=np.random.default_rng(2).random((300, 1, 40)).astype(np.float32))
    early = with_context(beats)
    train, test = (early.select(np.arange(300) % 2 == side) for side in (0, 1))

    def hits(train: Beats, test: Beats) -> float:
        baseline = Baseline(name, QUICK.get(name, {}), train, seed=0)
        return float((baseline.probabilities(test).argmax(axis=1) == test.labels).mean())

    blind = [replace(side, context=None, context_names=()) for side in (train, test)]
    assert hits(train, test) > 0.8 > hits(*blind)


def test_the_length_of_a_beat_counts_its_samples_before_the_padding() -> None:
    beats = some_beats()
    alone = replace(beats.select(np.arange(4)), lengths=np.array([0, 7, 30, 40]))
    lengths = Baseline("beat_length", QUICK["beat_length"], beats, seed=0).seen(alone)
    assert lengths[:, 0].tolist() == [0, 7, 30, 40]


def test_settings_that_do_not_exist_or_make_no_sense_are_named() -> None:
    with pytest.raises(ConfigError, match=r"baseline majority has no setting width; it has none"):
        Baseline("majority", {"width": 3}, some_beats(), seed=0)
    with pytest.raises(ConfigError, match=r"baseline gradient_boosting cannot learn .*max_leaf_nodes"):
        Baseline("gradient_boosting", {"max_leaf_nodes": 0}, some_beats(), seed=0)
    alone = some_beats().select(some_beats().labels == 0)
    with pytest.raises(ConfigError, match=r"baseline logistic_regression cannot learn from \d+ beats: .*class"):
        Baseline("logistic_regression", {}, alone, seed=0)


@pytest.fixture(scope="module")
def make_config(tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    cache = tmp_path_factory.mktemp("cache")

    def make(*overrides: str, output_dir: Path) -> Any:
        small = [
            "source=synthetic",
            "source.patients=6",
            "source.minutes=1",
            "trainer=cpu",
            "trainer.max_epochs=1",
            "report=none",
        ]
        return compose([*small, f"cache_dir={cache}", *overrides], output_dir=output_dir, config_dir=CONF)

    return make


@pytest.mark.parametrize("task", ["arrhythmia", "mi"])
def test_a_baseline_is_tested_on_the_beats_of_a_network_and_leaves_its_files(
    task: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    for model in ("cnet", "beat_length"):
        scores = train(make_config(f"task={task}", f"model={model}", "split=patient", output_dir=tmp_path / model))
    folder = tmp_path / "beat_length"
    assert {file.name for file in folder.iterdir()} == {
        "scores.json", "predictions.parquet", "confusion.png", "per_class.png",
    }  # fmt: skip
    assert json.loads((folder / "scores.json").read_text()) == scores
    assert score_predictions(folder / "predictions.parquet") == scores["test"]
    network = json.loads((tmp_path / "cnet" / "scores.json").read_text())
    assert scores.keys() == network.keys()
    assert [scores[key] for key in ("n", "protocol", "fingerprint")] == [
        network[key] for key in ("n", "protocol", "fingerprint")
    ]
    assert scores["val"].keys() == network["val"].keys() and scores["augmentation"] == "none"
    assert compare(folder, tmp_path / "cnet")["n"] == scores["n"]["test"]
    table = published_table(tmp_path, only_run=True)
    assert set(table["network"]) == {"cnet", "beat_length"}
    macro = table[(table["network"] == "beat_length") & (table["figure"] == "macro_f1")]
    assert macro["value"].item() == scores["test"]["macro_f1"]


def test_folds_of_a_baseline_are_pooled_as_those_of_a_network(make_config: MakeConfig, tmp_path: Path) -> None:
    for fold in range(2):
        overrides = ["model=majority", "split=patient", "split.n_folds=2", f"split.fold={fold}"]
        cfg = make_config(*overrides, output_dir=tmp_path / str(fold))
        train(cfg)
        (tmp_path / str(fold) / ".hydra").mkdir()
        (tmp_path / str(fold) / ".hydra" / "overrides.yaml").write_text(json.dumps(overrides))
        from omegaconf import OmegaConf

        cfg.output_dir = "here"
        OmegaConf.save({key: cfg[key] for key in cfg if key != "hydra"}, tmp_path / str(fold) / ".hydra/config.yaml")
    (entry,) = pool(read_runs(tmp_path))["pooled"]
    tables = [read_predictions(tmp_path / str(fold) / "predictions.parquet")[0] for fold in range(2)]
    assert entry["n"]["test"] == sum(map(len, tables))
    assert set(tables[0]["patient"]).isdisjoint(tables[1]["patient"])
    assert entry["test"]["intervals"]["n_resampled"] == 6


def test_the_validation_fold_can_be_scored_and_resampling_reaches_it(make_config: MakeConfig, tmp_path: Path) -> None:
    plain = train(make_config("model=majority", "tested=validation", output_dir=tmp_path / "plain"))
    assert plain["fold"] == "validation" and plain["val"]["macro_f1"] == plain["test"]["macro_f1"]
    alike = ["augmentation=random_over", "augmentation.resampling.counts=null"]
    scores = train(make_config("model=majority", *alike, output_dir=tmp_path / "alike"))
    table, _ = read_predictions(tmp_path / "alike" / "predictions.parquet")
    np.testing.assert_allclose(table["probability_F"], 0.2, atol=1e-3)
    assert scores["resampling"] == scores["augmentation"] == "random_over"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["transfer=head_only", "transfer.checkpoint=somewhere"], "has no weights to take from transfer.checkpoint"),
        (["ckpt_path=last.ckpt"], "has no weights to take from ckpt_path"),
        (["monitor=val/auroc"], "monitor=val/auroc is not computed"),
        (["+model.width=3"], "baseline majority has no setting width"),
    ],
)
def test_what_makes_no_sense_of_a_baseline_is_refused(
    overrides: list[str], told: str, make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=told):
        train(make_config("model=majority", *overrides, output_dir=tmp_path))
    assert not (tmp_path / "scores.json").exists()


def test_a_baseline_has_no_network_to_build(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="model=majority is a baseline"):
        build(make_config("model=majority", output_dir=tmp_path))
