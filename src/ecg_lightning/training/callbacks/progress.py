"""Progress of a training: a bar on a terminal, one plain line an epoch everywhere else."""

import sys
import time

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar


class EpochLines(ProgressBar):
    """One line an epoch, for log files and pipes."""

    def __init__(self, monitor: str) -> None:
        super().__init__()
        self.monitor = monitor
        self._enabled = True
        self._started = time.perf_counter()

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        """Called by the Trainer in all processes but the first."""
        self._enabled = False

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._enabled:
            return
        scores = trainer.callback_metrics
        names = ("train/loss", "val/loss", self.monitor)
        metrics = "  ".join(f"{name} {float(scores[name]):.4f}" for name in names if name in scores)
        of = f"/{trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
        seconds = time.perf_counter() - self._started
        print(f"epoch {trainer.current_epoch + 1}{of}  {metrics}  {seconds:.1f} s", flush=True)


def progress(monitor: str) -> ProgressBar:
    """A bar on a terminal, lines elsewhere."""
    return RichProgressBar(refresh_rate=20, leave=False) if sys.stdout.isatty() else EpochLines(monitor)
