"""A training step never waits for the GPU.

The stand-in for a GPU is torch's ``meta`` device, whose tensors have no values: whatever would wait for a value, or
mixes tensors of two devices, raises there.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch.utils.data import DataLoader, IterableDataset

from ecg_lightning.data.batches import Batch
from ecg_lightning.data.transforms import TRANSFORMS, Mixup, make_transforms
from ecg_lightning.models import model_names
from ecg_lightning.training.callbacks.averaging import ExponentialAverage
from ecg_lightning.training.callbacks.interrupt import Interrupt
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.tasks import CLASSES

META = torch.device("meta")
STEPS = 3
SETTINGS = {  # of every transform
    "time_stretch": {"spread": 0.1}, "amplitude_scale": {"sigma": 0.1}, "invert": {"probability": 0.1},
    "noise": {"sigma": 0.1}, "baseline_wander": {"sigma": 0.1}, "powerline": {"sigma": 0.1}, "shift": {"seconds": 0.05},
    "modality_dropout": {"probability": 0.1}, "cutout": {"seconds": 0.05},
}  # fmt: skip


class AnyDevice(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None: ...


class Batches(IterableDataset[Batch]):
    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(STEPS):
            rows = torch.arange(32).view(self.shape)
            yield Batch(torch.rand(*self.shape, 1, 187), torch.full_like(rows, 150), rows % 5, rows)


class Count(pl.Callback):
    steps = 0

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps += 1


@pytest.fixture
def classify() -> Callable[..., BeatClassifier]:
    def make(model: str, layers: str | None = None) -> BeatClassifier:
        sequence = {"sequence": {"layers": layers, "width": 8, "dilations": [2, 3]}} if layers else {}
        return BeatClassifier(
            task="arrhythmia",
            model={"name": model, **sequence},
            input={"length": 187, "fs": 125.0},
            optimizer={"lr": 1e-3, "weight_decay": 0.1, "schedule": "one_cycle", "warmup": 0.2},
            loss={"focal": 1.0, "class_weights": 0.5, "label_smoothing": 0.1},
            about={"classes": list(CLASSES["arrhythmia"])},
        )

    return make


@pytest.mark.parametrize(
    ("model", "layers"), [*((name, None) for name in model_names()), ("cnet", "convolution"), ("cnet", "s4d")]
)
def test_every_network_takes_its_steps(
    model: str, layers: str | None, classify: Callable[..., BeatClassifier], make_trainer: Callable[..., pl.Trainer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # which does not know `meta`
    callbacks = [ExponentialAverage(), Interrupt("none.ckpt"), counted := Count()]
    strategy = SingleDeviceStrategy(META, accelerator=AnyDevice())
    trainer = make_trainer(
        accelerator="auto", strategy=strategy, max_steps=STEPS, gradient_clip_val=1.0, callbacks=callbacks, logger=False
    )
    batches = DataLoader(Batches(2, 16) if layers else Batches(32), batch_size=None)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta tensor"):  # once the Trainer asks for the loss
        trainer.fit(classify(model, layers), batches)
    assert counted.steps == STEPS


def test_the_test_of_single_beats_does_not_wait(classify: Callable[..., BeatClassifier]) -> None:
    batch = Batch(*(one if one is None else one.to(META) for one in next(iter(Batches(32)))))
    classify("cnet").to(META).test_step(batch, 0)


def test_transforms_run_where_the_beats_are() -> None:
    assert SETTINGS.keys() == TRANSFORMS.keys()
    signals, lengths = torch.rand(8, 2, 187, device=META), torch.full((8,), 150, device=META)
    for change in [*make_transforms(SETTINGS, fs=125.0), Mixup(alpha=0.2)]:
        assert all(one.device == META for one in change(signals, lengths))
