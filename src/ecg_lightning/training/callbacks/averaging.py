"""Exponential moving average of the weights, used for validation, checkpoints and the final network."""

import itertools
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


class ExponentialAverage(WeightAveraging):
    """Lightning's weight averaging with a decay that warms up (Polyak & Juditsky 1992; Tan & Le, ICML 2019).

    After ``n`` updates each step keeps the share ``min(decay, (1 + n) / (10 + n))`` of the average, so that the first
    epochs, and short runs, do not average the random initialisation.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self._swapped = False
        super().__init__()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Keep the average where the weights will be: they are still on the CPU, and Lightning would leave it there."""
        if stage == "fit":
            self._average_model = _Average(pl_module, trainer.strategy.root_device, self.decay)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Resume averaging in a resumed run only.

        When the Trainer that has fitted also tests, Lightning's own hook would replace the averaged weights of the
        checkpoint by those in training.
        """
        if trainer.state.fn == TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the weights in training if validation was interrupted, so that the next checkpoint has them."""
        if self._swapped:
            self._swap_models(pl_module)

    def _swap_models(self, pl_module: pl.LightningModule) -> None:
        super()._swap_models(pl_module)
        self._swapped = not self._swapped


class _Average(AveragedModel):
    """Counts its updates on the CPU: torch's own would wait for the device at every step to read how many there are."""

    def __init__(self, model: nn.Module, device: torch.device, decay: float) -> None:
        super().__init__(model, device, use_buffers=True)
        self.n_averaged = torch.tensor(0)
        self.decay = decay
        self._lists: tuple[list[Tensor], list[Tensor], list[tuple[Tensor, Tensor]]] | None = None

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        n = int(self.n_averaged)
        if self._lists is None:  # to look for them takes longer than to average them
            pairs = list(zip(_values(self.module), _values(model), strict=True))
            floating = [pair for pair in pairs if pair[0].is_floating_point()]
            counts = [pair for pair in pairs if not pair[0].is_floating_point()]  # of batches, in normalisation layers
            self._lists = [one for one, _ in floating], [other for _, other in floating], counts
        averaged, current, counts = self._lists
        torch._foreach_lerp_(averaged, current, 1 - min(self.decay, (1 + n) / (10 + n)) if n else 1.0)
        for one, other in counts:
            one.copy_(other)
        self.n_averaged += 1


def _values(model: nn.Module) -> "itertools.chain[Tensor]":
    return itertools.chain(model.parameters(), model.buffers())
