"""One plain line an epoch where nobody watches."""

import re
from collections.abc import Callable

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import RichProgressBar

from ecg_lightning.training.callbacks.progress import EpochLines, progress
from ecg_lightning.training.classifier import BeatClassifier


def test_one_line_an_epoch(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = make_trainer(max_epochs=2, callbacks=[progress("val/macro_f1")], enable_progress_bar=True)
    trainer.fit(make_classifier(), some_beats)
    figure = r"\d\.\d{4}"
    pattern = rf"epoch (\d)/2  train/loss {figure}  val/loss {figure}  val/macro_f1 {figure}  \d+\.\d s"
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [match[1] for line in lines if (match := re.fullmatch(pattern, line))] == ["1", "2"]
    assert len(lines) == 2


def test_epochs_without_end_and_without_validation(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = EpochLines("val/macro_f1")
    trainer = make_trainer(max_epochs=-1, max_steps=3, limit_val_batches=0, callbacks=[lines], enable_progress_bar=True)
    trainer.fit(make_classifier(), some_beats)
    assert re.search(r"^epoch 1  train/loss \d\.\d{4}  \d+\.\d s$", capsys.readouterr().out, re.MULTILINE)


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert isinstance(progress("val/macro_f1"), RichProgressBar)


def test_other_processes_than_the_first_are_silent(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Second(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            lines.disable()

        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 1:
                lines.enable()

    lines = EpochLines("val/macro_f1")
    make_trainer(max_epochs=2, callbacks=[lines, Second()], enable_progress_bar=True).fit(make_classifier(), some_beats)
    out = capsys.readouterr().out
    assert "epoch 1/2" not in out
    assert "epoch 2/2" in out
