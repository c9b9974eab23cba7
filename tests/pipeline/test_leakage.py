"""Nothing of whom is tested may reach what is learnt: no patient on two sides, no other beat in what training uses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from ecg_lightning.data import datamodule
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.splits import Folds, split
from ecg_lightning.models import list_models, settings_of
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.train import train
from ecg_lightning.training.checkpoint import read_checkpoint

CONF = Path(__file__).parents[2] / "conf"

LISTS: Any = OmegaConf.to_container(
    OmegaConf.merge(OmegaConf.load(CONF / "split" / "ds1_ds2.yaml"), {"seed": 0}), resolve=True
)
RECORDS = sorted(map(str, [*LISTS["train"], *LISTS["test"], *LISTS["left_out"]["paced"]]))

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
    """Except those that the protocol lists."""
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
def test_no_patient_is_in_two_folds_unless_the_protocol_states_it(protocol: str, seed: int) -> None:
    beats = like_mitbih()
    for settings in RULES[protocol]:
        assert_nobody_crosses(beats, split(beats, **settings | {"seed": seed}))


@pytest.mark.real_data("mitdb")
def test_no_patient_of_the_real_data_is_in_two_folds(real_data_dir: Path) -> None:
    config: Any = OmegaConf.to_container(compose(output_dir="."), resolve=True)
    beats = make_source(config["dataset"], config["context"], real_data_dir).read()
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
        outcomes = []
        for number, served in enumerate((beats, with_others_replaced(beats, folds))):
            folder = tmp_path / f"{number}"
            monkeypatch.setattr(datamodule, "cached_beats", lambda *_, served=served: served)
            monkeypatch.setattr(datamodule, "split_beats", lambda *_, **__: folds)
            small = ["dataset=synthetic", "trainer=cpu", "trainer.max_epochs=1", f"cache_dir={cache}", *overrides]
            train(compose([*small, f"split={protocol}"], output_dir=folder, config_dir=CONF))
            outcomes.append(look(folder))
        return outcomes

    return twice


@pytest.mark.parametrize("protocol", RULES)
@pytest.mark.parametrize("augmentation", ["light", "smote"])
@pytest.mark.parametrize("model", ["cnet", "logistic_regression"])
def test_resampling_and_class_counts_depend_on_training_beats_only(
    protocol: str, model: str, augmentation: str, learnt: Callable[..., list[Any]]
) -> None:
    """To the bit: resampling, sampling, transforms, class counts and loss have seen nothing else."""
    quick = ["model.max_iter=5"] * (model == "logistic_regression")
    (weights, counts), (again, counted_again) = learnt(
        protocol, f"augmentation={augmentation}", f"model={model}", *quick, look=all_that_was_learnt
    )
    assert counts == counted_again and (model != "cnet" or counts["training"] != counts["drawn"])
    assert weights.keys() == again.keys() and all(weights[name].equal(again[name]) for name in weights)


@pytest.mark.parametrize("model", list_models())
def test_every_model_depends_on_training_beats_only(model: str, learnt: Callable[..., list[Any]]) -> None:
    """To the bit, whatever the validation and test beats are."""
    quick = ["model.max_iter=5"] * ("max_iter" in settings_of(model))
    (weights, _), (again, _) = learnt("patient", f"model={model}", *quick, look=all_that_was_learnt)
    assert weights.keys() == again.keys() and all(weights[name].equal(again[name]) for name in weights)


def all_that_was_learnt(folder: Path) -> Any:
    """Arrays of the last checkpoint, which validation has not chosen, and the counts of classes behind the loss."""
    last = folder / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(last if last.exists() else folder)
    return checkpoint.weights, checkpoint.require().get("class_counts")
