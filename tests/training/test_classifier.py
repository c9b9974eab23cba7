"""Loss, probabilities, optimizer, schedule, collected predictions and the checkpoint's content."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.training.checkpoint import CHECKPOINT_KEY, FORMAT
from ecg_lightning.training.classifier import BeatClassifier, Predictions
from ecg_lightning.training.tasks import CLASSES, make_task

TASKS = {name: make_task(name, classes) for name, classes in CLASSES.items()}

MakeClassifier = Callable[..., BeatClassifier]
MakeTrainer = Callable[..., pl.Trainer]


def test_probabilities_of_one_logit_are_of_both_classes() -> None:
    probabilities = TASKS["mi"].probabilities(torch.tensor([[0.0], [math.log(3)]]))
    torch.testing.assert_close(probabilities, torch.tensor([[0.5, 0.5], [0.25, 0.75]]))
    assert TASKS["mi"].classes.index("MI") == 1


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
def test_probabilities_add_up_in_half_precision_too(task: Any) -> None:
    probabilities = task.probabilities(torch.randn(6, task.n_outputs).bfloat16())
    assert probabilities.dtype == torch.float32
    assert probabilities.shape == (6, len(task.classes))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))


def test_an_unknown_task_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no task 'afib'; choose one of arrhythmia, mi"):
        make_task("afib", ("N", "AFIB"))


def test_predictions_come_back_in_the_order_of_their_rows() -> None:
    metric = Predictions()
    metric.update(torch.tensor([7, 2]), torch.tensor([[0.3, 0.7], [0.8, 0.2]]))
    metric.update(torch.tensor([5]), torch.tensor([[0.4, 0.6]]))
    torch.testing.assert_close(metric.compute(), torch.tensor([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7]]))


def test_biases_are_not_decayed_and_no_weight_is_forgotten(make_classifier: MakeClassifier) -> None:
    classifier = make_classifier(weight_decay=0.1)
    names = {id(weight): name for name, weight in classifier.named_parameters()}
    decay = {
        names[id(weight)]: group["weight_decay"]
        for group in classifier.configure_optimizers().param_groups
        for weight in group["params"]
    }
    assert decay == {name: 0.1 if name.endswith("weight") else 0.0 for name in names.values()}


def learning_rates(classifier: BeatClassifier, make_trainer: MakeTrainer, beats: pl.LightningDataModule) -> list[float]:
    rates: list[float] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    make_trainer(max_epochs=4, callbacks=[Watch()]).fit(classifier, beats)
    return rates


def test_one_cycle_rises_for_the_warm_up_and_falls_to_nothing(
    make_classifier: MakeClassifier, make_trainer: MakeTrainer, some_beats: pl.LightningDataModule
) -> None:
    classifier = make_classifier(lr=0.01, schedule="one_cycle", warmup=0.5)
    rates = learning_rates(classifier, make_trainer, some_beats)
    assert len(rates) == 12
    highest = rates.index(max(rates))
    assert highest == 5  # half of 12 steps
    assert max(rates) == pytest.approx(0.01)
    assert rates[: highest + 1] == sorted(rates[: highest + 1])
    assert rates[highest:] == sorted(rates[highest:], reverse=True)
    assert rates[-1] < 1e-6


def test_a_rise_of_a_single_step_is_none(
    make_classifier: MakeClassifier, make_trainer: MakeTrainer, some_beats: pl.LightningDataModule
) -> None:
    rates = learning_rates(make_classifier(lr=0.01, schedule="one_cycle", warmup=1 / 12), make_trainer, some_beats)
    assert rates == sorted(rates, reverse=True) and rates[0] == pytest.approx(0.01, rel=0.1)


def test_a_constant_rate_is_constant(
    make_classifier: MakeClassifier, make_trainer: MakeTrainer, some_beats: pl.LightningDataModule
) -> None:
    assert set(learning_rates(make_classifier(lr=0.01), make_trainer, some_beats)) == {0.01}


@pytest.mark.parametrize("task", TASKS)
def test_validation_scores_are_over_all_beats_and_not_means_of_batches(
    task: str, make_classifier: MakeClassifier, make_trainer: MakeTrainer, some_beats: Any
) -> None:
    from sklearn.metrics import accuracy_score, f1_score

    classifier = make_classifier(task)
    trainer = make_trainer()
    trainer.validate(classifier, some_beats, verbose=False)
    labels = torch.cat([batch.labels for batch in some_beats.batches])
    with torch.no_grad():
        signals, lengths = (torch.cat([batch[i] for batch in some_beats.batches]) for i in (0, 1))
        logits = classifier.eval()(signals, lengths)
    predicted = classifier.task.probabilities(logits).argmax(dim=1)
    scores = trainer.callback_metrics
    assert scores["val/macro_f1"].item() == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert scores["val/accuracy"].item() == pytest.approx(accuracy_score(labels, predicted))
    loss = torch.nn.functional.cross_entropy(classifier.task.class_logits(logits), labels)
    assert scores["val/loss"].item() == pytest.approx(loss.item(), rel=1e-5)


def test_a_checkpoint_is_plain_values_and_tells_its_scores(
    make_classifier: MakeClassifier, make_trainer: MakeTrainer, some_beats: pl.LightningDataModule, tmp_path: Path
) -> None:
    best = ModelCheckpoint(dirpath=tmp_path, filename="best", monitor="val/macro_f1", mode="max")
    classifier = make_classifier()
    make_trainer(callbacks=[best]).fit(classifier, some_beats)
    checkpoint = torch.load(tmp_path / "best.ckpt", weights_only=True)
    about = checkpoint[CHECKPOINT_KEY]
    assert about["format"] == FORMAT
    assert about["scores"].keys() == {"train/loss", "val/loss", "val/macro_f1", "val/accuracy"}
    assert all(type(score) is float for score in about["scores"].values())
    assert best.best_model_score is not None
    assert about["scores"]["val/macro_f1"] == best.best_model_score.item()

    hyperparameters = checkpoint["hyper_parameters"]
    assert hyperparameters["task"] == "arrhythmia"
    assert hyperparameters["model"] == {"name": "cnet", "channels": 4, "hidden": 3}
    assert hyperparameters["input"] == {"length": 187, "fs": 125.0}
    assert hyperparameters["about"] == {"classes": ["N", "S", "V", "F", "Q"]}
    assert is_plain(hyperparameters)


def is_plain(value: Any) -> bool:
    """Whether there is nothing but dicts, lists, text and numbers, their subclasses excluded."""
    if type(value) is dict:
        return all(type(key) is str and is_plain(entry) for key, entry in value.items())
    if type(value) is list:
        return all(map(is_plain, value))
    return value is None or type(value) in (str, int, float, bool)
