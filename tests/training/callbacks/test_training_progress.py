"""What a training shows of its progress."""

import os
import re
from collections.abc import Callable

import pytest
import pytorch_lightning as pl

from ecg_lightning.core import progress
from ecg_lightning.training.callbacks.progress import TrainingProgress
from ecg_lightning.training.classifier import BeatClassifier

Trainers = Callable[..., pl.Trainer]


@pytest.fixture(autouse=True)
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SHORT_S", 0)


def test_a_log_gets_a_line_an_epoch_with_its_scores(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Trainers,
    some_beats: pl.LightningDataModule,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.showing():
        make_trainer(max_epochs=2, callbacks=[TrainingProgress()]).fit(make_classifier(), some_beats)
    figure = r"\d\.\d{4}"
    pattern = rf"epoch (\d)/2  train/loss {figure}  val/loss {figure}  val/macro_f1 {figure}  \d+\.\d s"
    out, err = capsys.readouterr()
    assert "epoch" not in out  # where results are
    lines = [line for line in err.splitlines() if line.startswith("epoch")]
    assert [match[1] for line in lines if (match := re.fullmatch(pattern, line))] == ["1", "2"]
    assert len(lines) == 2


def test_epochs_without_end_and_without_validation_are_counted_too(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Trainers,
    some_beats: pl.LightningDataModule,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = make_trainer(max_epochs=-1, max_steps=3, limit_val_batches=0, callbacks=[TrainingProgress()])
    with progress.showing():
        trainer.fit(make_classifier(), some_beats)
    err = capsys.readouterr().err
    assert re.search(r"^epoch 1  train/loss \d\.\d{4}  \d+\.\d s$", err, re.MULTILINE)
    assert re.search(r"^training: 3 batches in ", err, re.MULTILINE)


def test_a_program_that_trains_and_processes_for_further_devices_print_nothing(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Trainers,
    some_beats: pl.LightningDataModule,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer, classifier = make_trainer(max_epochs=1, callbacks=[TrainingProgress()]), make_classifier()
    trainer.fit(classifier, some_beats)
    monkeypatch.setitem(os.environ, "LOCAL_RANK", "1")
    with progress.showing():
        trainer.fit(classifier, some_beats)
    assert not capsys.readouterr().err
