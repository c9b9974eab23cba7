"""Estimators: one contract for networks under a Lightning Trainer and for the baselines of scikit-learn."""

import copy
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.data.batches import Batch, BatchSampler, BeatDataset
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.models import check_settings, list_models, model_names
from ecg_lightning.models.baselines import REFERENCE_MODELS, Array, fit_reference, predict_reference
from ecg_lightning.training.callbacks.saving import AtomicCheckpointIO
from ecg_lightning.training.checkpoint import CHECKPOINT_KEY, FORMAT, MODEL_PREFIX, Checkpoint, InputSpec
from ecg_lightning.training.classifier import MONITORED, BeatClassifier, validation_metrics
from ecg_lightning.training.tasks import Task, get_task

EVAL_BATCH = 2048  # beats

Device = Literal["cpu", "auto"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The result of fitting; None where a model has no such thing.

    Attributes:
        epochs: number of epochs.
        steps: number of optimizer steps.
        best_epoch: epoch of the checkpoint that is tested, the first being 1.
        val: its ``macro_f1``, ``accuracy`` and ``loss`` on validation.
    """

    epochs: int | None = None
    steps: int | None = None
    best_epoch: int | None = None
    val: Mapping[str, float | None] = field(default_factory=dict)


class Estimator(ABC):
    """Learns from the training beats of a datamodule and predicts class probabilities of any beats.

    Attributes:
        name: in the registry.
        task: its task.
        input: what it takes of a beat.
        baseline: whether it is a baseline that networks are compared with.
        uses: parts of a configuration that it uses besides data, task and its own settings; others have no effect.
    """

    name: str
    task: Task
    input: InputSpec
    baseline: ClassVar[bool]
    uses: ClassVar[frozenset[str]]

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Number of learnt values; 0 before they are known."""

    @property
    def is_main_process(self) -> bool:
        """Whether this process, of several that train together, writes and prints."""
        return True

    @abstractmethod
    def fit(self, datamodule: BeatDataModule) -> Fit:
        """Learn from the training beats; the validation beats choose nothing but the checkpoint.

        Raises:
            ConfigError: it cannot learn from these beats.
            KeyboardInterrupt: Ctrl-C; a network's ``checkpoints/last.ckpt`` is where training stopped.
        """

    @abstractmethod
    def predict_proba(self, beats: Beats) -> FloatArray:
        """Probabilities ``[n, classes]``; labels are not used."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write a checkpoint that `load_estimator` reads; raises `DataError` if it cannot be written."""


class NetworkEstimator(Estimator):
    """A network and the Trainer that fits and tests it.

    Args:
        classifier: the network with its task and optimizer.
        trainer: the Trainer.
        resume: checkpoint of an interrupted run to resume from.
    """

    baseline = False
    uses = frozenset(
        {"dropout", "augmentation", "loss", "transfer", "optimizer", "trainer", "callbacks", "logger", "ckpt_path",
         "compile"}
    )  # fmt: skip

    def __init__(self, classifier: BeatClassifier, trainer: pl.Trainer, *, resume: str | None = None) -> None:
        self.classifier = classifier
        self.trainer = trainer
        self.resume = resume
        self.name = str(classifier.hparams["model"]["name"])
        self.task = classifier.task
        self.input = InputSpec.from_plain(classifier.hparams["input"])
        self._best: str | None = None
        self._saved: dict[str, Any] = {"scores": {}, "epoch": 1, "step": 0}

    @classmethod
    def load(cls, checkpoint: Checkpoint, *, device: Device = "auto") -> Self:
        """The network of a checkpoint, with a Trainer that predicts in the precision it was trained in.

        Raises:
            CheckpointError: the weights do not fit the settings.
        """
        trainer = pl.Trainer(
            accelerator=device,
            devices=1,
            precision=checkpoint.about.get("config", {}).get("trainer", {}).get("precision", "32-true"),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        estimator = cls(BeatClassifier.from_checkpoint(checkpoint), trainer)
        estimator._saved = {"scores": checkpoint.scores, "epoch": checkpoint.epoch, "step": checkpoint.step}
        return estimator

    @property
    def n_parameters(self) -> int:
        return self.classifier.model.n_parameters

    @property
    def is_main_process(self) -> bool:
        return self.trainer.is_global_zero

    def fit(self, datamodule: BeatDataModule) -> Fit:
        with _interruptible():
            self.trainer.fit(self.classifier, datamodule=datamodule, ckpt_path=self.resume, weights_only=True)
        epochs, steps = self.trainer.current_epoch, self.trainer.global_step
        # None is kept in `debug=fast_dev_run`, say, and the last weights are tested.
        self._best = getattr(self.trainer.checkpoint_callback, "best_model_path", "") or None
        if self._best is None:
            self._saved = {"scores": {}, "epoch": max(epochs, 1), "step": steps}
            return Fit(epochs=epochs, steps=steps, val=validation_scores({}))
        # The callback forgets its score when a run is resumed in another folder; the checkpoint does not.
        saved = torch.load(self._best, map_location="cpu", weights_only=True, mmap=True)
        scores = saved[CHECKPOINT_KEY]["scores"]
        self._saved = {"scores": scores, "epoch": saved["epoch"] + 1, "step": saved["global_step"]}
        return Fit(epochs=epochs, steps=steps, best_epoch=saved["epoch"] + 1, val=validation_scores(scores))

    def predict_proba(self, beats: Beats) -> FloatArray:
        self.classifier.test_predictions.reset()
        self.trainer.limit_test_batches = 1.0  # all beats, even where a debug mode limits the batches of its epochs
        sampler = BatchSampler(
            len(beats), EVAL_BATCH, seed=None, rank=self.trainer.global_rank, n_ranks=self.trainer.world_size
        )
        batches: DataLoader[Batch] = DataLoader(
            BeatDataset(beats, np.arange(len(beats))),
            batch_sampler=sampler,  # type: ignore[arg-type]  # of whole batches
            collate_fn=lambda batch: batch,
            pin_memory=torch.cuda.is_available(),
        )
        with _interruptible():
            self.trainer.test(self.classifier, batches, ckpt_path=self._best, weights_only=True, verbose=False)
        return self.classifier.predictions()

    def save(self, path: Path) -> None:
        state = self.classifier.state_dict()
        if self._best:
            state = torch.load(self._best, map_location="cpu", weights_only=True)["state_dict"]
        _write(path, state, self.classifier.hparams, **self._saved)


class SklearnEstimator(Estimator):
    """A baseline of scikit-learn, see `ecg_lightning.models.baselines`.

    Args:
        stated: hyperparameters of its checkpoint: ``task``, ``model``, ``input``, ``about``.
        seed: of what is random in it.
        checkpoint: where to save it once it is fitted; None: nowhere.
        arrays: what it has learnt already.
        scores: its validation scores.
    """

    baseline = True
    uses = frozenset()

    def __init__(
        self,
        stated: Mapping[str, Any],
        *,
        seed: int = 0,
        checkpoint: Path | None = None,
        arrays: Mapping[str, Array] | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        self.settings = dict(stated["model"])
        self.name = str(self.settings.pop("name"))
        check_settings(self.name, self.settings)
        self.stated = stated
        self.task = get_task(stated["task"])
        self.input = InputSpec.from_plain(stated["input"])
        self.seed = seed
        self.checkpoint = checkpoint
        self.arrays = dict(arrays or {})
        self.scores = dict(scores or {})
        self._order: IntArray | None = None

    @classmethod
    def load(cls, checkpoint: Checkpoint, *, device: Device = "auto") -> Self:
        """The model of a checkpoint; it computes on the CPU whatever the device.

        Raises:
            CheckpointError: its arrays do not fit each other.
        """
        arrays = {name: tensor.numpy() for name, tensor in checkpoint.weights.items()}
        try:
            estimator = cls(checkpoint.require(), arrays=arrays, scores=checkpoint.scores)
            no_signal = np.zeros((1, estimator._n_inputs), dtype=np.float32)
            predict_reference(estimator.name, arrays, no_signal, n_classes=len(estimator.task.classes))
        except ConfigError as error:
            raise CheckpointError(f"{checkpoint.path} contradicts itself: {error}") from error
        return estimator

    @property
    def n_parameters(self) -> int:
        return sum(array.size for array in self.arrays.values())

    def fit(self, datamodule: BeatDataModule) -> Fit:
        folds = (datamodule.datasets[fold] for fold in ("train", "validation"))
        beats, validation = (fold.beats.select(fold.rows) for fold in folds)
        self.arrays = fit_reference(self.name, self.settings, self.inputs(beats), beats.known_labels, seed=self.seed)
        self.scores = self._validate(validation) if len(validation) else {}
        if self.checkpoint is not None:
            self.save(self.checkpoint)
        return Fit(val=validation_scores(self.scores))

    def predict_proba(self, beats: Beats) -> FloatArray:
        x = self.inputs(beats)
        x = x if self._order is None else x[:, self._order]
        probabilities = predict_reference(self.name, self.arrays, x, n_classes=len(self.task.classes))
        return probabilities.astype(np.float32)

    def randomised(self, seed: int) -> Self:
        """A copy that takes its inputs in a random order, and so has lost what it has learnt of the shape of a beat."""
        other = copy.copy(self)
        other._order = np.random.default_rng(seed).permutation(self._n_inputs)
        return other

    def save(self, path: Path) -> None:
        state = {f"{MODEL_PREFIX}{name}": torch.from_numpy(array.copy()) for name, array in self.arrays.items()}
        _write(path, state, self.stated, scores=self.scores)

    def inputs(self, beats: Beats) -> FloatArray:
        """What it sees of each beat, ``[n, d]``: its samples and its context or, of `beat_length`, its length."""
        if REFERENCE_MODELS[self.name].inputs == "length":
            return beats.lengths[:, None].astype(np.float32)
        samples = beats.signals.reshape(len(beats), -1)
        return samples if beats.context is None else np.hstack([samples, beats.context])

    @property
    def _n_inputs(self) -> int:
        spec, alone = self.input, REFERENCE_MODELS[self.name].inputs == "length"
        return 1 if alone else len(spec.leads) * spec.length + len(spec.context)

    def _validate(self, beats: Beats) -> dict[str, float]:
        probabilities, labels = torch.from_numpy(self.predict_proba(beats)), torch.from_numpy(beats.known_labels)
        scores = validation_metrics(len(self.task.classes))(probabilities.argmax(dim=1), labels)
        true = probabilities.gather(1, labels[:, None]).double()
        loss = -true.clamp(min=torch.finfo(torch.float32).tiny).log().mean()
        return {name: float(value) for name, value in {**scores, "val/loss": loss}.items()}


def estimator_type(name: str) -> type[NetworkEstimator] | type[SklearnEstimator]:
    """The kind of estimator of a registered model; raises `ConfigError` if there is no such model."""
    if name in model_names():
        return NetworkEstimator
    if name in REFERENCE_MODELS:
        return SklearnEstimator
    raise ConfigError(f"there is no model {name!r}; choose one of {', '.join(list_models())}")


def load_estimator(checkpoint: Checkpoint, *, device: Device = "auto") -> NetworkEstimator | SklearnEstimator:
    """The estimator of a checkpoint, ready to predict.

    Args:
        checkpoint: of any registered model.
        device: of a network: ``cpu``, or ``auto`` for the best there is.

    Raises:
        CheckpointError: a plain state dict, or content that contradicts itself.
    """
    return estimator_type(str(checkpoint.require()["model"]["name"])).load(checkpoint, device=device)


def validation_scores(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores by their short names; None for those that are missing."""
    return {name.removeprefix("val/"): scores.get(name) for name in MONITORED}


def _write(
    path: Path,
    state: Mapping[str, Tensor],
    stated: Mapping[str, Any],
    *,
    scores: Mapping[str, float],
    epoch: int | None = None,
    step: int | None = None,
) -> None:
    """Write a checkpoint that `read_checkpoint` reads."""
    content = {
        "state_dict": dict(state),
        "hyper_parameters": dict(stated),
        "epoch": None if epoch is None else epoch - 1,
        "global_step": step,
        CHECKPOINT_KEY: {"format": FORMAT, "scores": dict(scores)},
    }
    AtomicCheckpointIO().save_checkpoint(content, path)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays a KeyboardInterrupt for callers: the Trainer turns it into an exit and ignores further ones."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except BaseException as leaving:
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
