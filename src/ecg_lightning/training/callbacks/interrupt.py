"""Ctrl-C and SIGTERM: training ends between two batches, where a checkpoint resumes exactly."""

import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from ecg_lightning.core.stops import Terminated


class Interrupt(Callback):
    """Finishes the batch, saves a checkpoint at `path` and raises `KeyboardInterrupt`; a second Ctrl-C ends at once.

    On SIGTERM it raises `Terminated`; further ones change nothing. A checkpoint saved in the middle of a step would
    repeat or skip it when resumed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.asked: type[KeyboardInterrupt] | None = None
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle both signals, which only the main thread can; Lightning ends on SIGTERM without saving."""
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """End here if any process was asked to; all of them have taken the same steps."""
        if trainer.strategy.reduce_boolean_decision(self.asked is not None, all=False):
            trainer.save_checkpoint(self.path)
            raise self.asked or KeyboardInterrupt

    def on_train_end(self, *_: Any) -> None:
        """Restore the handlers, before Lightning restores those that were there before its own."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def on_exception(self, *_: Any) -> None:
        """Restore the handlers."""
        self.on_train_end()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A stop after the last batch takes effect now."""
        if self.asked:
            raise self.asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self.asked = self.asked or Terminated
        elif self.asked:
            raise KeyboardInterrupt
        else:
            self.asked = KeyboardInterrupt
            print(
                "interrupted: finishing the batch; again to stop at once, without saving", file=sys.stderr, flush=True
            )
