"""`BeatClassifier`: a network with a task, its loss, its validation scores and its optimizer."""

from typing import Any, Self

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from pytorch_lightning.plugins.precision import Precision
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.utilities import dim_zero_cat

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.batches import Batch, MixedBatch
from ecg_lightning.training.checkpoint import CHECKPOINT_KEY, FORMAT, Checkpoint, malformed, network_of
from ecg_lightning.training.loss import BeatLoss, LossSettings
from ecg_lightning.training.tasks import task_of
from ecg_lightning.training.transfer import Transfer

MONITORED = ("val/macro_f1", "val/accuracy", "val/loss")  # what can choose the checkpoint


def validation_metrics(n_classes: int) -> MetricCollection:
    """Macro-F1 and accuracy of predicted labels; names begin with ``val/``."""
    metrics: dict[str, Metric | MetricCollection] = {
        # To check their arguments, which are those of a checked fold, would wait for the device.
        "macro_f1": MulticlassF1Score(n_classes, average="macro", validate_args=False),
        "accuracy": MulticlassAccuracy(n_classes, average="micro", validate_args=False),
    }
    return MetricCollection(metrics, prefix="val/")


class Predictions(Metric):
    """Collects the probabilities of all beats from all ranks."""

    full_state_update = False
    rows: list[Tensor]
    probabilities: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("probabilities", default=[], dist_reduce_fx="cat")

    def update(self, rows: Tensor, probabilities: Tensor) -> None:
        """Add a batch: ``[b]`` and ``[b, classes]``."""
        self.rows.append(rows)
        self.probabilities.append(probabilities)

    def compute(self) -> Tensor:
        """Probabilities ``[n, classes]`` of all beats, in the order of their rows."""
        return dim_zero_cat(self.probabilities)[dim_zero_cat(self.rows).argsort()]


class BeatClassifier(pl.LightningModule):
    """Trains a network to classify beats.

    All arguments are plain values and become the checkpoint's hyperparameters: it loads with ``weights_only=True``.

    Args:
        task: name of the task.
        model: ``name`` of the network and its settings.
        input: `InputSpec` in plain values.
        optimizer: ``lr``, ``weight_decay``, ``schedule`` (``one_cycle`` or ``constant``) and, of the one-cycle rate,
            ``anneal`` (``cos`` or ``linear``) and ``warmup``, the fraction of the steps in which it rises.
        loss, transfer: fields of `LossSettings` and `Transfer`; the caller loads the weights.
        class_counts: numbers of beats of each class in training (``training``) and in a sampled epoch (``drawn``).
        about: classes, data, protocol, configuration, versions and origin; kept, not used.
    """

    def __init__(
        self,
        *,
        task: str,
        model: dict[str, Any],
        input: dict[str, Any],  # noqa: A002  # the name in the checkpoint
        optimizer: dict[str, Any],
        loss: dict[str, float] | None = None,
        class_counts: dict[str, list[int]] | None = None,
        transfer: dict[str, Any] | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)  # the run's folder has the configuration already
        self.task = task_of({"task": task, "about": about})
        self.optimizer_settings = optimizer
        self.transfer = Transfer(**(transfer or {}))
        self.model = network_of({"task": task, "model": model, "input": input, "about": about})
        equal = [1] * len(self.task.classes)
        counts = class_counts or {"training": equal, "drawn": equal}
        in_windows = self.model.sequence_settings is not None
        self.loss = BeatLoss(LossSettings(**(loss or {})), **counts, weighted=in_windows)
        # Before the Trainer determines which gradients devices share.
        self.model.freeze_backbone(self.transfer.is_frozen(0))
        self.val_scores = validation_metrics(len(self.task.classes))
        self.test_predictions = Predictions()
        self.epoch_losses: list[Tensor] = []
        self.epoch_beats = 0
        self.has_trained = False  # in this process, so that what a resumed run has restored has proved good

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Self:
        """The classifier of a run; raises `CheckpointError` if its settings contradict each other."""
        with malformed(f"{checkpoint.path} contradicts itself", ConfigError):
            classifier = cls(**checkpoint.require())
            classifier.model.load_state_dict(checkpoint.weights)
        return classifier

    def forward(self, signals: Tensor, lengths: Tensor, context: Tensor | None = None) -> Tensor:
        """Beats ``[b, leads, length]``, lengths ``[b]``, context ``[b, k]`` or None → logits ``[b, n_outputs]``.

        Of a network over the sequence of beats, all have one dimension more: see `BeatModel`.
        """
        logits: Tensor = self.model(signals, lengths, context)
        return logits

    def on_train_start(self) -> None:
        """Freeze as the epoch needs it: `on_train_epoch_start` is not called for an epoch resumed in its middle."""
        self.on_train_epoch_start()

    def on_train_epoch_start(self) -> None:
        """Let the backbone learn once its frozen epochs are over."""
        self.epoch_losses, self.epoch_beats = [], 0
        if self.model.backbone_frozen != self.transfer.is_frozen(self.current_epoch):
            self.model.freeze_backbone(not self.model.backbone_frozen)

    def on_train_batch_end(self, *_: Any) -> None:
        """Log the mean loss of an epoch with its last batch: of each batch, it would take as long as the optimizer."""
        self.has_trained = True
        if self.trainer.fit_loop.epoch_loop.done:
            mean = torch.stack(self.epoch_losses).sum() / self.epoch_beats
            self.log("train/loss", mean, on_step=False, on_epoch=True, batch_size=self.epoch_beats, sync_dist=True)

    def training_step(self, batch: Batch | MixedBatch, batch_idx: int) -> Tensor:
        assert batch.labels is not None
        logits = self.task.class_logits(self(batch.signals, batch.lengths, batch.context).flatten(0, -2))
        losses = self.loss(logits, batch.labels.flatten())
        if isinstance(batch, MixedBatch):
            losses = batch.share * losses + (1 - batch.share) * self.loss(logits, batch.partners)
        counted = batch.rows.flatten() >= 0
        loss: Tensor = (losses * counted).sum() / counted.sum()
        self.epoch_losses.append(loss.detach() * len(losses))
        self.epoch_beats += len(losses)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Loss and scores, which are computed over all beats of all ranks at the end of the epoch."""
        assert batch.labels is not None
        counted = self._counted(batch)
        logits, labels = self(batch.signals, batch.lengths, batch.context)[counted], batch.labels[counted]
        loss = F.cross_entropy(self.task.class_logits(logits.float()), labels)
        self.log("val/loss", loss, batch_size=len(labels), sync_dist=True)
        self.val_scores.update(self.task.probabilities(logits).argmax(dim=1), labels)
        self.log_dict(self.val_scores, batch_size=len(labels))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the probabilities; `ecg_lightning.metrics` scores them."""
        counted = self._counted(batch)
        logits = self(batch.signals, batch.lengths, batch.context)[counted]
        self.test_predictions.update(batch.rows[counted], self.task.probabilities(logits))

    def _counted(self, batch: Batch) -> Tensor | slice:
        """Which beats to predict: all, except in windows; picking some waits for the device."""
        return slice(None) if self.model.sequence_settings is None else batch.rows >= 0

    def configure_optimizers(self) -> Any:
        """AdamW (Loshchilov & Hutter, ICLR 2019), one-cycle rate (Smith & Topin 2018); biases are not decayed.

        All weights are in it from the start; AdamW skips frozen ones, which have no gradient.
        """
        settings = self.optimizer_settings
        groups = []
        for is_head, factor in ((False, self.transfer.backbone_lr), (True, self.transfer.head_lr)):
            rate = settings["lr"] * factor
            part = [p for name, p in self.model.named_parameters() if self.model.is_head(name) == is_head]
            weights, biases = [p for p in part if p.ndim > 1], [p for p in part if p.ndim <= 1]
            groups.append({"params": weights, "lr": rate, "weight_decay": settings["weight_decay"]})
            groups.append({"params": biases, "lr": rate, "weight_decay": 0.0})
        # Fused, it updates all weights in one pass; of half precision it scales gradients itself, after their clipping.
        fused = self.device.type in ("cpu", "cuda") and self._precision != "16-mixed"
        optimizer = torch.optim.AdamW(groups, fused=fused or None)
        if settings["schedule"] == "constant":
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=steps,
            # With a rise of exactly one step OneCycleLR divides by zero.
            pct_start=0.0 if settings["warmup"] * steps == 1 else settings["warmup"],
            anneal_strategy=settings.get("anneal", "cos"),  # which earlier versions lack
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @property
    def _precision(self) -> str:
        return "32-true" if self._trainer is None else str(self.trainer.precision)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning does it, which refuses fused optimizers in bfloat16, too, whose gradients are not scaled."""
        if self._precision != "bf16-mixed":
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            how = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(self.trainer.precision_plugin, optimizer, gradient_clip_val, how)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume a run for longer or shorter than its one-cycle rate, or with another optimizer.

        Lightning restores optimizer and schedule as they were, without a word about the settings of this run.
        """
        if self._trainer is None or self.trainer.state.fn != TrainerFn.FITTING:
            return
        path, steps, done = self.trainer.ckpt_path, self.trainer.estimated_stepping_batches, checkpoint["global_step"]
        then = checkpoint["hyper_parameters"]["optimizer"]
        for key, value in self.optimizer_settings.items():
            if key != "steps" and then.get(key, value) != value:
                raise ConfigError(
                    f"ckpt_path={path} cannot be resumed with optimizer.{key}={value}: its run had {then[key]}; give "
                    "the settings of that run"
                )
        for schedule in checkpoint["lr_schedulers"]:
            if (total := schedule["total_steps"]) != steps:
                raise ConfigError(
                    f"ckpt_path={path} cannot be resumed for {steps:,} steps: the one-cycle learning rate of its run "
                    f"is for {total:,}; give the epochs, steps and devices of that run, or begin a new run, which "
                    "optimizer.schedule=constant lets you prolong"
                )
        if done > steps:
            raise ConfigError(
                f"ckpt_path={path} has taken {done:,} steps and cannot be resumed for {steps:,}; give more"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        scores = {name: float(value) for name, value in self.trainer.callback_metrics.items()}
        checkpoint[CHECKPOINT_KEY] = {"format": FORMAT, "scores": scores}
