"""Nothing of whom is tested may reach what is learnt: no patient on two sides, no other beat in what training uses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from ecg_lightning.data import datamodule
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.splits import Folds, split
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.train import train
from ecg_lightning.training.baselines import Baseline

CONF = Path(__file__).parents[2] / "conf"

LISTS: Any = {**OmegaConf.to_container(OmegaConf.load(CONF / "split" / "ds1_ds2.yaml")), "seed": 0}
RECORDS = sorted(map(str, [*LISTS["train_records"], *LISTS["test_records"], *LISTS["left_out"]["paced"]]))

RULES: dict[str, list[dict[str, Any]]] = {
    "random": [{"protocol": "random", **changes} for changes in ({}, {"fold": 1})],
    "patient": [
        {"protocol": "patient", **changes}
        for changes in ({}, *({"fold": fold} for fold in range(5)), {"train_size": 9, "train_unit": "patients"})
    ],
    "ds1_ds2": [
        LISTS | changes
        for changes in (
            *({"shared_patients": where} for where in ("both", "train", "test", "neither")),
            {"train_size": 0.5},
        )
    ],
}
"""``split=`` → settings that change who is where."""


def like_mitbih(seed: int = 0) -> Beats:
    """Thirty beats of each of MIT-BIH's 48 records with context: N in all, the other classes in most."""
    records = np.repeat(RECORDS, 30)
    number, place = np.arange(len(records)) // 30, np.arange(len(records)) % 6
    rng = np.random.default_rng(seed)
    return Beats(
        signals=rng.uniform(0.01, 1, (len(records), 1, 187)).astype(np.float32),
        lengths=np.full(len(records), 187),
        lead_names=("MLII",),
        labels=np.where((place > 0) & (place <= number % 5 + 1) & (place < 5), place, 0),
        classes=AAMI_CLASSES,
        fs=125.0,
        records=records,
        patients=np.where(records == "202", "201", records),
        samples=np.arange(len(records)),
        context=rng.uniform(0.4, 1.2, (len(records), 2)).astype(np.float32),
        context_names=("previous", "next"),
    )


def assert_nobody_crosses(beats: Beats, folds: Folds) -> None:
    """But for those of whom the protocol says so itself."""
    assert beats.patients is not None
    sides = [set(beats.patients[rows].tolist()) for rows in folds.named().values()]
    crossing = {one for side in sides for one in side if sum(one in other for other in sides) > 1}
    if folds.protocol.by == "beats":
        assert crossing
    elif folds.protocol.shared_patients == "both" and folds.protocol.shared_records:
        assert crossing == {"201"} and not sides[0] & sides[1]
    else:
        assert not crossing


@pytest.mark.parametrize("protocol", RULES)
@pytest.mark.parametrize("seed", range(4))
def test_no_patient_crosses_by_any_protocol_unless_it_says_so(protocol: str, seed: int) -> None:
    beats = like_mitbih()
    for settings in RULES[protocol]:
        assert_nobody_crosses(beats, split(beats, **settings | {"seed": seed}))


@pytest.mark.real_data("mitdb")
def test_no_patient_crosses_among_those_who_were_recorded(real_data_dir: Path) -> None:
    data: Any = OmegaConf.to_container(OmegaConf.load(CONF / "dataset" / "mitbih.yaml"))
    none = {"rhythm": False, "morphology": False, "before": 0.0}
    beats = make_source({"name": "physionet"}, data, none, real_data_dir).read()
    for protocol in RULES:
        for settings in RULES[protocol]:
            assert_nobody_crosses(beats, split(beats, **settings))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def with_others_replaced(beats: Beats, folds: Folds) -> Beats:
    """Beats that are equal in the training fold, and of which nothing is left in the others."""
    others = np.setdiff1d(np.arange(len(beats)), folds.train)
    changed = like_mitbih(seed=1)
    rng = np.random.default_rng(2)
    signals, labels, context = changed.signals, beats.known_labels.copy(), changed.context
    assert beats.context is not None and context is not None
    signals[folds.train], context[folds.train] = beats.signals[folds.train], beats.context[folds.train]
    labels[others] = rng.integers(5, size=len(others))
    return replace(beats, signals=signals, labels=labels, context=context)


@pytest.fixture
def learnt(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Run with these overrides, and again with other beats in place of those not trained on; what both left."""

    def twice(protocol: str, *overrides: str, look: Callable[[Path], Any]) -> list[Any]:
        beats = like_mitbih()
        settings = {**RULES[protocol][-1], "validation_fraction": 0.2}
        folds = split(beats, **settings)
        monkeypatch.setattr(
            "ecg_lightning.pipeline.results.write", lambda *_, **__: None
        )  # tables and pictures take their time
        outcomes = []
        for number, served in enumerate((beats, with_others_replaced(beats, folds))):
            folder = tmp_path / f"{number}"
            monkeypatch.setattr(datamodule, "cached_beats", lambda *_, served=served: served)
            monkeypatch.setattr(datamodule, "split_beats", lambda *_, **__: folds)
            small = ["source=synthetic", "trainer=cpu", "trainer.max_epochs=1", f"cache_dir={cache}", *overrides]
            train(compose([*small, f"split={protocol}"], output_dir=folder, config_dir=CONF))
            outcomes.append(look(folder))
        return outcomes

    return twice


@pytest.mark.parametrize("protocol", RULES)
@pytest.mark.parametrize("augmentation", ["light", "smote"])
def test_weights_and_the_correction_of_priors_follow_from_training_beats_alone(
    protocol: str, augmentation: str, learnt: Callable[..., list[Any]]
) -> None:
    """To the bit: resampling, drawing, transforms, class counts and loss have seen nothing else."""

    def look(folder: Path) -> Any:
        checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        return checkpoint["state_dict"], checkpoint["hyper_parameters"]["class_counts"]

    (weights, counts), (again, counted_again) = learnt(protocol, f"augmentation={augmentation}", look=look)
    assert counts == counted_again and counts["training"] != counts["drawn"]
    assert weights.keys() == again.keys() and all(weights[name].equal(again[name]) for name in weights)


@pytest.mark.parametrize("protocol", RULES)
@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting"])
def test_a_baseline_follows_from_training_beats_alone(
    protocol: str, name: str, learnt: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Baseline] = []
    # Kept as it is made, to be asked of the same beats both times.
    monkeypatch.setattr(
        "ecg_lightning.pipeline.train.Baseline",
        lambda *args, **named: made.append(Baseline(*args, **named)) or made[-1],
    )
    learnt(protocol, f"model={name}", "model.max_iter=5", look=Path.exists)
    asked = like_mitbih(seed=3)
    first, second = (one.probabilities(asked) for one in made)
    assert np.ptp(first, axis=0).max() > 0.01
    np.testing.assert_array_equal(first, second)
