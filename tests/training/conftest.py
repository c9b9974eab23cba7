"""A Trainer without frills and a small classifier with beats to fit it on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from ecg_lightning.data.batches import Batch
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.tasks import CLASSES

LENGTH = 187


class SomeBeats(pl.LightningDataModule):
    """The same few batches of random beats for every fold."""

    def __init__(self, n_batches: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.batches = [
            Batch(
                torch.rand(8, 1, LENGTH, generator=generator),
                torch.full((8,), LENGTH),
                torch.arange(8) % 2,
                torch.arange(8) + 8 * number,
            )
            for number in range(n_batches)
        ]

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]

    val_dataloader = train_dataloader
    test_dataloader = train_dataloader


@pytest.fixture
def some_beats() -> SomeBeats:
    return SomeBeats()


@pytest.fixture
def make_classifier() -> Callable[..., BeatClassifier]:
    """Make a small cnet; keywords replace settings of its optimizer."""

    def make(task: str = "arrhythmia", **optimizer: Any) -> BeatClassifier:
        torch.manual_seed(0)
        settings = {"lr": 1e-3, "weight_decay": 0.1, "schedule": "constant", "warmup": 0.2}
        return BeatClassifier(
            task=task,
            model={"name": "cnet", "channels": 4, "hidden": 3},
            input={"length": LENGTH, "fs": 125.0},
            optimizer=settings | optimizer,
            about={"classes": list(CLASSES[task])},
        )

    return make


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """Make a silent Trainer on the CPU that leaves its files in `tmp_path`."""

    def make(**settings: Any) -> pl.Trainer:
        return pl.Trainer(
            **{
                "accelerator": "cpu",
                "max_epochs": 1,
                "logger": False,
                "enable_checkpointing": any(
                    isinstance(callback, pl.callbacks.ModelCheckpoint) for callback in settings.get("callbacks", [])
                ),
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "num_sanity_val_steps": 0,
                "default_root_dir": tmp_path,
            }
            | settings
        )

    return make
