"""What a run writes while it trains: checkpoints and metrics.csv, each complete at every moment, even when killed."""

import csv
import io
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities import rank_zero_only
from torch import Tensor

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import DataError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves a checkpoint completely or not at all, and loads it without running code.

    Lightning's own moves it from the system's temporary folder, which between two file systems is a copy: killed in the
    middle, it leaves a damaged ``last.ckpt`` and no other.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path, content = Path(path), io.BytesIO()
        torch.save(checkpoint, content)  # which, writing a file itself, hides why the file system refuses
        with atomic_write(path) as partial:
            for leftover in path.parent.glob(f".partial-*-{path.name}"):
                leftover.unlink()  # of a run that was killed here
            partial.write_bytes(content.getbuffer())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        try:
            content = io.BytesIO(Path(path).read_bytes())
        except OSError as error:
            raise DataError(
                f"cannot read {path}, which this run has written: {error.strerror}; start it again"
            ) from error
        checkpoint: dict[str, Any] = torch.load(content, map_location=map_location, weights_only=True)
        return checkpoint


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint that is best on validation, of equal ones the last. This defines a run's best epoch.

    Many epochs in a row often classify all of a few hundred validation beats correctly. Lightning would keep the first
    of these, in which the learning rate was still high.
    """

    def check_monitor_top_k(self, trainer: pl.Trainer, current: Tensor | None = None) -> bool:
        """Whether a checkpoint with this score is kept."""
        kept = self.best_k_models.get(self.kth_best_model_path)
        if current is not None and kept is not None and trainer.strategy.reduce_boolean_decision(bool(current == kept)):
            return True
        return super().check_monitor_top_k(trainer, current)


class MetricsFile(Logger):
    """metrics.csv: a row each time that something is logged, with its ``epoch``, the first being 1, and ``step``.

    Lightning's CSVLogger begins the file anew when a run is resumed; a run with `resumed_from`, the checkpoint from
    which it resumes, keeps the rows of earlier steps.
    """

    name = version = ""

    def __init__(self, path: str, resumed_from: str | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.resumed_from = resumed_from
        self._rows: list[dict[str, Any]] | None = None

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row and write the file, which is small, anew."""
        if self._rows is None:
            self._rows = []
            if self.resumed_from is not None and self.path.exists():
                with self.path.open(newline="", encoding="utf-8") as file:
                    # A run that was killed may have come further than the checkpoint from which it resumes.
                    self._rows = [row for row in csv.DictReader(file) if int(row["step"]) < (step or 0)]
        counted = {"epoch": int(metrics["epoch"]) + 1} if "epoch" in metrics else {}
        self._rows.append({**metrics, **counted, "step": step})
        names = sorted({name for row in self._rows for name in row} - {"epoch", "step"})
        with atomic_write(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", "step", *names])
            writer.writeheader()
            writer.writerows(self._rows)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Do nothing: the run's folder has the configuration."""
