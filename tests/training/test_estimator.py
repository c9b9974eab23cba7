"""Estimators: every registered model fits, predicts, is saved as data and predicts the same from its file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.data.splits import Folds
from ecg_lightning.models import list_models, model_names
from ecg_lightning.models.baselines import REFERENCE_MODELS
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.estimator import (
    Estimator,
    NetworkEstimator,
    SklearnEstimator,
    estimator_type,
    load_estimator,
)

QUICK: dict[str, dict[str, Any]] = {
    "beat_length": {"max_iter": 10}, "gradient_boosting": {"max_iter": 10}, "cnet": {"channels": 4},
    "seq": {"width": 8}, "bilstm": {"width": 8}, "bigru": {"width": 8},
}  # fmt: skip
OPTIMIZER = {"lr": 0.01, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}


def some_beats(n: int = 300, *, leads: int = 1, context: bool = False) -> Beats:
    """Beats of N, S and V: a bump whose height is the class, and a length that follows from it too."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=n, p=[0.6, 0.3, 0.1])
    lengths = 100 + 20 * labels
    signals = 0.5 + 0.1 * rng.random((n, leads, 187))
    signals[:, :, 10] += labels[:, None]
    signals *= (np.arange(187) < lengths[:, None])[:, None]
    return Beats(
        signals=signals.astype(np.float32),
        lengths=lengths,
        lead_names=tuple(f"lead {number}" for number in range(leads)),
        labels=labels,
        classes=AAMI_CLASSES,
        fs=125.0,
        context=rng.random((n, 2)).astype(np.float32) if context else None,
        context_names=("previous", "next") if context else (),
    )


class Ready:
    """A source of beats that are there already."""

    dataset, name = "some", "made"


def datamodule_of(beats: Beats) -> BeatDataModule:
    """Two thirds train, the rest validates and tests."""
    datamodule = BeatDataModule(Ready(), cache_dir=Path("unused"), batch_size=32)  # type: ignore[arg-type]
    n = len(beats)
    protocol = Protocol(name="random", seed=0, by="beats")
    datamodule.use(
        beats,
        Folds(
            train=np.arange(0, 2 * n // 3),
            validation=np.arange(2 * n // 3, 5 * n // 6),
            test=np.arange(5 * n // 6, n),
            protocol=protocol,
        ),
    )
    return datamodule


@pytest.fixture
def make_estimator(make_trainer: Callable[..., Any]) -> Callable[..., Estimator]:
    """Make an estimator of any registered model for these beats."""

    def make(name: str, beats: Beats, **settings: Any) -> Estimator:
        torch.manual_seed(0)
        stated = {
            "task": "arrhythmia",
            "model": {"name": name, **QUICK.get(name, {}), **settings},
            "input": InputSpec.of(beats, list(range(len(beats.lead_names)))).plain(),
            "about": {"classes": list(beats.classes)},
        }
        if estimator_type(name) is SklearnEstimator:
            return SklearnEstimator(stated)
        return NetworkEstimator(BeatClassifier(**stated, optimizer=OPTIMIZER), make_trainer())

    return make


@pytest.mark.parametrize("leads", [1, 2])
@pytest.mark.parametrize("name", list_models())
def test_every_model_predicts_from_its_file_what_it_predicted_before(
    name: str, leads: int, make_estimator: Callable[..., Estimator], tmp_path: Path
) -> None:
    beats = some_beats(leads=leads, context=leads == 2)
    estimator = make_estimator(name, beats)
    fit = estimator.fit(datamodule_of(beats))
    assert {key for key, value in fit.val.items() if value is not None} <= {"macro_f1", "accuracy", "loss"}
    probabilities = estimator.predict_proba(beats)
    assert probabilities.shape == (300, 5) and probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)

    estimator.save(tmp_path / "saved.ckpt")
    checkpoint = read_checkpoint(tmp_path / "saved.ckpt")
    again = load_estimator(checkpoint, device="cpu")
    np.testing.assert_array_equal(again.predict_proba(beats), probabilities)
    assert (again.name, again.baseline, again.n_parameters) == (name, name in REFERENCE_MODELS, estimator.n_parameters)
    assert again.n_parameters == sum(weight.numel() for weight in checkpoint.weights.values()) > 0
    again.save(tmp_path / "copy.ckpt")
    copy = read_checkpoint(tmp_path / "copy.ckpt")
    assert copy.weights.keys() == checkpoint.weights.keys()
    assert all(weight.equal(copy.weights[key]) for key, weight in checkpoint.weights.items())
    assert (copy.hyperparameters, copy.scores, copy.epoch) == (
        checkpoint.hyperparameters, checkpoint.scores, checkpoint.epoch,
    )  # fmt: skip
    # Labels are not looked at, and the order of the beats does not matter.
    unknown = replace(beats, labels=None).select(np.arange(300)[::-1])
    np.testing.assert_allclose(again.predict_proba(unknown)[::-1], probabilities, atol=1e-6)


@pytest.mark.parametrize("name", REFERENCE_MODELS)
def test_reference_models_learn_what_there_is_to_learn(name: str, make_estimator: Callable[..., Estimator]) -> None:
    beats = some_beats()
    estimator = make_estimator(name, beats)
    fit = estimator.fit(datamodule_of(beats))
    right = (estimator.predict_proba(beats).argmax(axis=1) == beats.labels).mean()
    assert right == pytest.approx((beats.labels == 0).mean()) if name == "majority" else right > 0.95
    assert (fit.epochs, fit.steps, fit.best_epoch) == (None, None, None)
    assert fit.val["accuracy"] == pytest.approx(right, abs=0.1)
    assert (estimator.predict_proba(beats)[:, 3:] == 0).all()  # F and Q were not there to be learnt


def test_beat_length_sees_nothing_but_the_length(make_estimator: Callable[..., Estimator]) -> None:
    beats = some_beats()
    estimator = make_estimator("beat_length", beats)
    estimator.fit(datamodule_of(beats))
    others = replace(beats, signals=np.random.default_rng(1).random(beats.signals.shape).astype(np.float32))
    np.testing.assert_array_equal(estimator.predict_proba(others), estimator.predict_proba(beats))
    short = replace(beats, lengths=np.full(300, 100))
    assert (estimator.predict_proba(short).argmax(axis=1) == 0).all()


@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting"])
def test_what_learns_sees_the_context(name: str, make_estimator: Callable[..., Estimator]) -> None:
    beats = some_beats(900, context=True)
    assert beats.context is not None
    context = beats.context * 0.1
    context[:, 0] -= beats.known_labels
    same = np.random.default_rng(2).random(beats.signals.shape).astype(np.float32)
    told = replace(beats, signals=same, context=context)
    blind = replace(told, context=None, context_names=())
    hits = []
    for known in (told, blind):
        estimator = make_estimator(name, known)
        estimator.fit(datamodule_of(known))
        tested = known.select(datamodule_of(known).folds.test)
        hits.append((estimator.predict_proba(tested).argmax(axis=1) == tested.labels).mean())
    assert hits[0] > 0.75 > hits[1]


@pytest.mark.parametrize("name", ["logistic_regression", "gradient_boosting"])
def test_a_baseline_of_the_context_alone_ignores_the_samples(
    name: str, make_estimator: Callable[..., Estimator], tmp_path: Path
) -> None:
    beats = some_beats(context=True)
    others = replace(beats, signals=np.random.default_rng(1).random(beats.signals.shape).astype(np.float32))
    estimator = make_estimator(name, beats, inputs="context")
    estimator.fit(datamodule_of(beats))
    before = estimator.predict_proba(beats)
    estimator.save(tmp_path / "saved.ckpt")
    again = load_estimator(read_checkpoint(tmp_path / "saved.ckpt"), device="cpu")
    np.testing.assert_array_equal(again.predict_proba(others), before)
    with pytest.raises(ConfigError, match=r"no context; choose one, such as context=full"):
        make_estimator(name, some_beats(), inputs="context")


def test_a_randomised_model_has_lost_what_it_learnt_of_the_shape(make_estimator: Callable[..., Any]) -> None:
    beats = some_beats()
    estimator = make_estimator("logistic_regression", beats)
    estimator.fit(datamodule_of(beats))
    before = estimator.predict_proba(beats)
    other = estimator.randomised(0).predict_proba(beats)
    assert np.abs(other - before).max() > 0.1
    np.testing.assert_array_equal(estimator.predict_proba(beats), before)


def test_kinds_are_chosen_by_name() -> None:
    assert {name for name in list_models() if estimator_type(name).baseline} == set(REFERENCE_MODELS)
    assert {name for name in list_models() if "loss" in estimator_type(name).uses} == set(model_names())
    with pytest.raises(ConfigError, match="resnet") as error:
        estimator_type("resnet")
    assert all(name in str(error.value) for name in list_models())


def test_a_file_whose_arrays_contradict_its_settings_is_refused(
    make_estimator: Callable[..., Estimator], tmp_path: Path
) -> None:
    beats = some_beats()
    for name in ("gradient_boosting", "logistic_regression", "cnet"):
        estimator = make_estimator(name, beats)
        estimator.fit(datamodule_of(beats))
        estimator.save(tmp_path / "saved.ckpt")
        content = torch.load(tmp_path / "saved.ckpt", weights_only=True)
        key = next(key for key in content["state_dict"] if not key.endswith(("classes", "start")))
        content["state_dict"][key] = content["state_dict"][key].flatten()[:1].clone()
        torch.save(content, tmp_path / "saved.ckpt")
        with pytest.raises(CheckpointError, match=r"saved.ckpt"):
            load_estimator(read_checkpoint(tmp_path / "saved.ckpt"), device="cpu")


def test_a_plain_state_dict_has_no_task_to_predict(make_estimator: Callable[..., Any], tmp_path: Path) -> None:
    estimator = make_estimator("cnet", some_beats())
    torch.save(estimator.classifier.model.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match=r"plain.pth .*weights alone"):
        load_estimator(read_checkpoint(tmp_path / "plain.pth"))
