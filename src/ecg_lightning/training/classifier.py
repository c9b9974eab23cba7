"""`BeatClassifier`: a network with a task, its loss, its validation scores and its optimizer."""

from typing import Any, Self

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.utilities import dim_zero_cat

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.data.batches import Batch, MixedBatch
from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.models import create_model
from ecg_lightning.training.checkpoint import CHECKPOINT_KEY, FORMAT, Checkpoint
from ecg_lightning.training.loss import BeatLoss, LossSettings
from ecg_lightning.training.tasks import get_task
from ecg_lightning.training.transfer import Transfer

MONITORED = ("val/macro_f1", "val/accuracy", "val/loss")
"""What validation computes, and so what can choose the checkpoint."""

SCHEDULES = ("one_cycle", "constant")


class Predictions(Metric):
    """Collects what the network said of each beat, from all ranks."""

    full_state_update = False
    rows: list[Tensor]
    labels: list[Tensor]
    probabilities: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("rows", "labels", "probabilities"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, rows: Tensor, labels: Tensor, probabilities: Tensor) -> None:
        """Add a batch: ``[b]``, ``[b]`` and ``[b, classes]``."""
        self.rows.append(rows)
        self.labels.append(labels)
        self.probabilities.append(probabilities)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, labels and probabilities of all beats, in the order of their rows."""
        rows = dim_zero_cat(self.rows)
        order = rows.argsort()
        return rows[order], dim_zero_cat(self.labels)[order], dim_zero_cat(self.probabilities)[order]


class BeatClassifier(pl.LightningModule):
    """Learns to name beats.

    All arguments are plain values and become the checkpoint's hyperparameters, so that a checkpoint loads with
    ``weights_only=True`` and rebuilds its network by the name it had.

    Args:
        task: name of the task.
        model: ``name`` of the network and its settings.
        length: samples a beat.
        leads: names of the leads; None is one of unknown name.
        context: names of the numbers of context that come with each beat; None where none do.
        optimizer: ``lr``, ``weight_decay``, ``schedule`` (``one_cycle`` or ``constant``) and ``warmup`` (fraction of
            the steps in which the one-cycle rate rises).
        loss: fields of `LossSettings`; None is cross-entropy.
        class_counts: how many beats of each class are trained on (``training``) and are shown in an epoch (``drawn``),
            for a loss that minds it.
        transfer: fields of `Transfer`: what of the network learns, and how fast; the weights are loaded by the caller.
        about: anything that says where the classifier came from, in plain values; kept, not used.
    """

    def __init__(
        self,
        *,
        task: str,
        model: dict[str, Any],
        length: int,
        leads: list[str] | None = None,
        context: list[str] | None = None,
        optimizer: dict[str, Any],
        loss: dict[str, float] | None = None,
        class_counts: dict[str, list[int]] | None = None,
        transfer: dict[str, Any] | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # the run's folder has the configuration already
        if optimizer["schedule"] not in SCHEDULES:
            raise ConfigError(f"there is no schedule {optimizer['schedule']!r}; choose one of {', '.join(SCHEDULES)}")
        self.task = get_task(task)
        self.optimizer_settings = optimizer
        self.transfer = Transfer(**(transfer or {}))
        self.model = create_model(
            **model,
            n_outputs=self.task.n_outputs,
            length=length,
            leads=len(leads or [""]),
            n_context=len(context or ()),
        )
        alike = [1] * len(self.task.classes)
        self.loss = BeatLoss(LossSettings(**(loss or {})), **(class_counts or {"training": alike, "drawn": alike}))
        # Before the Trainer looks for gradients to share among devices.
        self.model.freeze_backbone(self.transfer.is_frozen(0))
        n_classes = len(self.task.classes)
        self.val_scores = MetricCollection(
            {
                "macro_f1": MulticlassF1Score(n_classes, average="macro"),
                "accuracy": MulticlassAccuracy(n_classes, average="micro"),
            },
            prefix="val/",
        )
        self.test_predictions = Predictions()

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The classifier that a run saved, with its weights.

        Raises:
            CheckpointError: a plain state dict, which does not tell its task, or weights that do not fit what it tells.
        """
        if checkpoint.hyperparameters is None:
            raise CheckpointError(
                f"{checkpoint.path} holds weights alone, without their task, classes and sampling rate; "
                "give a checkpoint of ecg_lightning"
            )
        try:
            classifier = cls(**checkpoint.hyperparameters)
            classifier.model.load_state_dict(checkpoint.weights)
        except (ConfigError, KeyError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{checkpoint.path} contradicts itself: {reason}") from error
        return classifier

    def forward(self, signals: Tensor, lengths: Tensor, context: Tensor | None = None) -> Tensor:
        """Beats ``[b, leads, length]``, their lengths ``[b]`` and, where they have one, their context ``[b, k]`` →
        logits ``[b, n_outputs]``."""
        logits: Tensor = self.model(signals, lengths, context)
        return logits

    def on_train_start(self) -> None:
        """Freeze what this epoch freezes: where one is resumed in its middle, `on_train_epoch_start` is not called."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Let the backbone learn once its frozen epochs are over."""
        if self.model.backbone_frozen != self.transfer.is_frozen(self.current_epoch):
            self.model.freeze_backbone(not self.model.backbone_frozen)

    def training_step(self, batch: Batch | MixedBatch, batch_idx: int) -> Tensor:
        """Loss of one batch."""
        assert batch.labels is not None
        logits = self.task.class_logits(self(batch.signals, batch.lengths, batch.context))
        losses = self.loss(logits, batch.labels)
        if isinstance(batch, MixedBatch):
            losses = batch.share * losses + (1 - batch.share) * self.loss(logits, batch.partners)
        loss: Tensor = losses.mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch.labels), sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and scores of one batch; the scores are computed over all beats of all ranks at the epoch's end."""
        assert batch.labels is not None
        logits = self(batch.signals, batch.lengths, batch.context)
        loss = F.cross_entropy(self.task.class_logits(logits.float()), batch.labels)
        self.log("val/loss", loss, batch_size=len(batch.labels), sync_dist=True)
        self.val_scores.update(self.task.probabilities(logits).argmax(dim=1), batch.labels)
        self.log_dict(self.val_scores, batch_size=len(batch.labels))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep what is said of each beat; `test_predictions` scores nothing, see `ecg_lightning.metrics`."""
        assert batch.labels is not None
        logits = self(batch.signals, batch.lengths, batch.context)
        self.test_predictions.update(batch.rows, batch.labels, self.task.probabilities(logits))

    def predictions(self) -> tuple[IntArray, IntArray, FloatArray]:
        """What the last test said: rows ``[n]``, labels ``[n]`` and probabilities ``[n, classes]``, by row."""
        rows, labels, probabilities = (column.cpu().numpy() for column in self.test_predictions.compute())
        return rows, labels, probabilities

    def configure_optimizers(self) -> Any:
        """AdamW (Loshchilov & Hutter, ICLR 2019), one-cycle rate (Smith & Topin 2018); biases are not decayed.

        All weights are in it from the start; those that are frozen have no gradient, and AdamW leaves them alone.
        """
        settings = self.optimizer_settings
        groups = []
        for is_head, rate in ((False, settings["lr"] * self.transfer.backbone_lr), (True, settings["lr"])):
            part = [p for name, p in self.model.named_parameters() if self.model.is_head(name) == is_head]
            weights, biases = [p for p in part if p.ndim > 1], [p for p in part if p.ndim <= 1]
            groups.append({"params": weights, "lr": rate, "weight_decay": settings["weight_decay"]})
            groups.append({"params": biases, "lr": rate, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups)
        if settings["schedule"] == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=steps,
            # A rise of exactly one step is divided by zero.
            pct_start=0.0 if settings["warmup"] * steps == 1 else settings["warmup"],
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the validation scores that the checkpoint was chosen or left by."""
        scores = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        checkpoint[CHECKPOINT_KEY] = {"format": FORMAT, "scores": scores}
