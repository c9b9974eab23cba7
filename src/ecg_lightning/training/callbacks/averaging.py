"""Exponential moving average of the weights, used for validation, checkpoints and the final network."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import WeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor
from torch.optim.swa_utils import PARAM_LIST


class ExponentialAverage(WeightAveraging):
    """Lightning's weight averaging with a decay that warms up (Polyak & Juditsky 1992; Tan & Le, ICML 2019).

    After ``n`` updates each step keeps the share ``min(decay, (1 + n) / (10 + n))`` of the average, so that the first
    epochs, and short runs, do not average the random initialisation.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = decay
        self._swapped = False
        super().__init__(multi_avg_fn=self._average)

    @torch.no_grad()
    def _average(self, averaged: PARAM_LIST, current: PARAM_LIST, n_averaged: Tensor | int) -> None:
        n = float(n_averaged)
        torch._foreach_lerp_(list(averaged), list(current), 1 - min(self.decay, (1 + n) / (10 + n)))

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
