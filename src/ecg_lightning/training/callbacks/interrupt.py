"""Ctrl-C: training ends between two batches, where a checkpoint resumes exactly."""

import signal
import sys
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback


class Interrupt(Callback):
    """Finishes the batch, saves a checkpoint at `path` and raises `KeyboardInterrupt`; a second Ctrl-C ends at once.

    A checkpoint saved in the middle of a step would repeat or skip it when resumed.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.asked = False
        self._handler: Any = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle Ctrl-C; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._ask)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """End here if any process was asked to; all of them have taken the same steps."""
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            trainer.save_checkpoint(self.path)
            raise KeyboardInterrupt

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the handler; an interrupt after the last batch takes effect now."""
        self.on_exception()
        if self.asked:
            raise KeyboardInterrupt

    def on_exception(self, *_: Any) -> None:
        """Restore the handler."""
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("interrupted: finishing the batch; again to stop at once, without saving", file=sys.stderr, flush=True)
