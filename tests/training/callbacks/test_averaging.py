"""The average is the one written down, and validation and checkpoints use it while training goes on without it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from ecg_lightning.training.callbacks.averaging import ExponentialAverage
from ecg_lightning.training.classifier import BeatClassifier

WEIGHT = "model.fc2.weight"


class Watch(pl.Callback):
    """Copies one weight after every step, in validation, and after validation."""

    def __init__(self) -> None:
        self.initial: Tensor
        self.steps: list[Tensor] = []
        self.validated: list[Tensor] = []
        self.restored: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.initial = self._copy(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.steps.append(self._copy(pl_module))

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.validated.append(self._copy(pl_module))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.restored.append(self._copy(pl_module))

    @staticmethod
    def _copy(pl_module: pl.LightningModule) -> Tensor:
        return pl_module.state_dict()[WEIGHT].clone()


def expected_average(watch: Watch, decay: float) -> list[Tensor]:
    """The average after each step, by the formula of the docstring."""
    averages, average = [], watch.initial
    for n, weight in enumerate(watch.steps):
        # The first update copies: there is nothing yet to average with.
        keep = min(decay, (1 + n) / (10 + n)) if n else 0.0
        average = keep * average + (1 - keep) * weight
        averages.append(average)
    return averages


@pytest.fixture
def fitted(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    tmp_path: Path,
) -> tuple[BeatClassifier, Watch]:
    """Two epochs of three steps with an average that reaches its full decay, .25, in the second one."""
    classifier, watch = make_classifier(lr=0.01), Watch()
    best = ModelCheckpoint(dirpath=tmp_path, filename="best", monitor="val/loss", enable_version_counter=False)
    trainer = make_trainer(max_epochs=2, callbacks=[ExponentialAverage(decay=0.25), watch, best])
    trainer.fit(classifier, some_beats)
    return classifier, watch


def test_the_average_is_the_one_written_down(fitted: tuple[BeatClassifier, Watch]) -> None:
    _, watch = fitted
    averages = expected_average(watch, 0.25)
    assert len(averages) == 6
    # Validation after each epoch of three steps sees the average, every batch of it.
    for epoch in (0, 1):
        for batch in range(3):
            torch.testing.assert_close(watch.validated[3 * epoch + batch], averages[3 * epoch + 2])
    assert not torch.allclose(watch.validated[0], watch.steps[2])


def test_training_goes_on_from_its_own_weights(fitted: tuple[BeatClassifier, Watch]) -> None:
    _, watch = fitted
    assert watch.restored[0].equal(watch.steps[2])
    assert watch.restored[1].equal(watch.steps[5])


def test_the_final_network_is_the_average(fitted: tuple[BeatClassifier, Watch]) -> None:
    classifier, watch = fitted
    torch.testing.assert_close(classifier.state_dict()[WEIGHT], expected_average(watch, 0.25)[-1])


def test_the_best_checkpoint_holds_what_validation_judged(fitted: tuple[BeatClassifier, Watch], tmp_path: Path) -> None:
    _, watch = fitted
    checkpoint = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert checkpoint["state_dict"][WEIGHT].equal(watch.validated[3 * checkpoint["epoch"]])
    assert checkpoint["current_model_state"][WEIGHT].equal(watch.restored[checkpoint["epoch"]])


@pytest.mark.parametrize("stage", ["train", "validation"])
def test_an_interrupted_run_leaves_both_sets_of_weights_in_their_places(
    stage: str,
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    tmp_path: Path,
) -> None:
    class Interrupt(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if stage == "train" and trainer.global_step == 5:
                raise InterruptedError

        def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if stage == "validation" and trainer.global_step == 6:
                raise InterruptedError

    watch = Watch()
    last = ModelCheckpoint(dirpath=tmp_path, filename="last", enable_version_counter=False, save_on_exception=True)
    trainer = make_trainer(max_epochs=2, callbacks=[ExponentialAverage(decay=0.25), watch, Interrupt(), last])
    with pytest.raises(InterruptedError):
        trainer.fit(make_classifier(lr=0.01), some_beats)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["current_model_state"][WEIGHT].equal(watch.steps[-1])
    torch.testing.assert_close(checkpoint["state_dict"][WEIGHT], expected_average(watch, 0.25)[-1])


def test_a_test_after_training_uses_the_average(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    tmp_path: Path,
) -> None:
    class Tested(pl.Callback):
        def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            tested.append(pl_module.state_dict()[WEIGHT].clone())

    tested: list[Tensor] = []
    best = ModelCheckpoint(dirpath=tmp_path, filename="best", monitor="val/loss", enable_version_counter=False)
    trainer = make_trainer(callbacks=[ExponentialAverage(decay=0.25), Tested(), best])
    classifier = make_classifier(lr=0.01)
    trainer.fit(classifier, some_beats)
    trainer.test(classifier, some_beats, ckpt_path=best.best_model_path, weights_only=True, verbose=False)
    checkpoint = torch.load(best.best_model_path, weights_only=True)
    assert tested[0].equal(checkpoint["state_dict"][WEIGHT])
    assert not tested[0].equal(checkpoint["current_model_state"][WEIGHT])


def test_a_resumed_run_goes_on_averaging(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    tmp_path: Path,
) -> None:
    class SaveFirstEpoch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "first.ckpt")

    whole, resumed = make_classifier(lr=0.01), make_classifier(lr=0.01)
    make_trainer(max_epochs=2, callbacks=[ExponentialAverage(decay=0.25), SaveFirstEpoch()]).fit(whole, some_beats)
    trainer = make_trainer(max_epochs=2, callbacks=[ExponentialAverage(decay=0.25)])
    trainer.fit(resumed, some_beats, ckpt_path=tmp_path / "first.ckpt")
    torch.testing.assert_close(resumed.state_dict()[WEIGHT], whole.state_dict()[WEIGHT])


def test_a_network_with_batch_normalisation_is_averaged(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
) -> None:
    classifier, trainer = make_classifier(), make_trainer(callbacks=[ExponentialAverage()])
    classifier.model.add_module("norm", torch.nn.BatchNorm1d(2))  # which counts its batches in whole numbers
    trainer.fit(classifier, some_beats)
    assert trainer.global_step == 3
