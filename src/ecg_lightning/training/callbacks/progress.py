"""Progress of training and testing a network: batches, rate, time left, and the best score so far."""

import math
import time
from contextlib import ExitStack
from typing import Any

import pytorch_lightning as pl

from ecg_lightning.core.progress import Step, progress


class TrainingProgress(pl.Callback):
    """Counts batches, and reads scores once for each validation; see `ecg_lightning.core.progress` for where it shows.

    Where there are no bars, it prints a line an epoch, unless epochs take less than two seconds.
    """

    def __init__(self, monitor: str = "val/macro_f1") -> None:
        self.monitor = monitor
        self._open = ExitStack()
        self._step: Step | None = None
        self._best: tuple[float, int] | None = None
        self._epoch_began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        batches, epochs, steps = trainer.num_training_batches, trainer.max_epochs or -1, trainer.max_steps
        limits = [batches * (epochs - trainer.current_epoch)] if epochs > 0 else []
        limits += [(steps - trainer.global_step) * trainer.accumulate_grad_batches] if steps > 0 else []
        self._best = None
        self._start(trainer, "training", min(limits, default=math.inf))

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, "predicting", sum(trainer.num_test_batches))

    def _start(self, trainer: pl.Trainer, doing: str, total: float) -> None:
        self.close()
        if trainer.is_global_zero:
            limit = total if math.isfinite(total) else None
            self._step = self._open.enter_context(progress(doing, limit, "batches"))

    def on_train_batch_end(self, *_: Any) -> None:
        if self._step is not None:
            self._step.done += 1

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        if self._step is not None:
            self._step.done += 1

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._epoch_began = time.perf_counter()
        self._note(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._step is None or trainer.sanity_checking or self.monitor not in trainer.callback_metrics:
            return
        score, sign = float(trainer.callback_metrics[self.monitor]), -1 if self.monitor.endswith("loss") else 1
        if self._best is None or sign * score > sign * self._best[0]:
            self._best = score, trainer.current_epoch + 1
        self._note(trainer)

    def _note(self, trainer: pl.Trainer) -> None:
        if self._step is not None:
            best = "" if self._best is None else f", best {self.monitor} {self._best[0]:.4f} (epoch {self._best[1]})"
            self._step.note = f"epoch {trainer.current_epoch + 1}{_of(trainer)}{best}"

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._step is None or self._step.display is None:
            return
        scores = trainer.callback_metrics
        names = ("train/loss", "val/loss", self.monitor)
        metrics = "  ".join(f"{name} {float(scores[name]):.4f}" for name in names if name in scores)
        seconds = time.perf_counter() - self._epoch_began
        self._step.say(f"epoch {trainer.current_epoch + 1}{_of(trainer)}  {metrics}  {seconds:.1f} s")

    def close(self, *_: Any) -> None:
        """Show it no longer."""
        self._step = None
        self._open.close()

    on_train_end = on_test_end = on_exception = close  # type: ignore[assignment]


def _of(trainer: pl.Trainer) -> str:
    return f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
