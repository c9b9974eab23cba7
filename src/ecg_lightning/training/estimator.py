"""Estimators: one contract for networks under a Lightning Trainer, baselines of scikit-learn, and ensembles of them."""

import copy
import logging
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.core.memory import keep_freed_memory
from ecg_lightning.data.batches import EVAL_WINDOW, BatchSampler, BeatDataset, SequenceDataset, eval_batch_size
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.datamodule import BeatDataModule, batch_loader
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.models import check_settings, list_models, model_names
from ecg_lightning.models.baselines import REFERENCE_MODELS, Array, fit_reference, predict_reference
from ecg_lightning.training.callbacks.progress import TrainingProgress
from ecg_lightning.training.callbacks.saving import AtomicCheckpointIO
from ecg_lightning.training.checkpoint import (
    CHECKPOINT_KEY,
    ENSEMBLE,
    FORMAT,
    MALFORMED,
    MODEL_PREFIX,
    Checkpoint,
    malformed,
    members_of,
)
from ecg_lightning.training.classifier import MONITORED, BeatClassifier, validation_metrics
from ecg_lightning.training.ensemble import best_weights, combine
from ecg_lightning.training.tasks import Task, task_of

FITTED = ("calibration", "operating_point")  # to a trained model, and kept in its checkpoint

QUIET: Mapping[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)
Device = Literal["cpu", "auto"]

BYTES_FITTED = 16  # of memory that scikit-learn takes for each input of a beat: single and double precision, and bins

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Numbers of epochs and of optimizer steps, the epoch that is tested, the first being 1, and its validation scores.

    None where a model has no such thing; the scores are ``macro_f1``, ``accuracy`` and ``loss``. `n_fitted` is the
    number of training beats that were learnt from, where it is not all of them.
    """

    epochs: int | None = None
    steps: int | None = None
    best_epoch: int | None = None
    n_fitted: int | None = None
    val: Mapping[str, float | None] = field(default_factory=dict)


class Estimator(ABC):
    """Learns from the training beats of a datamodule and predicts class probabilities of any beats.

    Attributes:
        name: in the registry.
        baseline: whether it is a baseline that networks are compared with.
        uses: parts of a configuration that it uses besides data, task and its own settings.
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

        Raises `ConfigError` if it cannot learn from them, and `KeyboardInterrupt` on Ctrl-C, of which SIGTERM's
        `Terminated` is one: a network's ``checkpoints/last.ckpt`` is where training stopped.
        """

    @abstractmethod
    def predict_proba(self, beats: Beats) -> FloatArray:
        """Probabilities ``[n, classes]``; labels are not used."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write a checkpoint that `load_estimator` reads; raises `DataError` if it cannot be written."""


class NetworkEstimator(Estimator):
    """A network and the Trainer that fits and tests it; `resume` is a checkpoint of an interrupted run."""

    baseline = False
    uses = frozenset(
        {"dropout", "sequence", "augmentation", "loss", "transfer", "optimizer", "trainer", "callbacks", "ckpt_path",
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
        """The network of a checkpoint in the precision of its training."""
        precision = checkpoint.config.get("trainer", {}).get("precision", "32-true")
        trainer = pl.Trainer(
            accelerator=device, devices=1, precision=precision, callbacks=[TrainingProgress()], **QUIET
        )
        estimator = cls(BeatClassifier.from_checkpoint(checkpoint), trainer)
        estimator._saved = {name: getattr(checkpoint, name) for name in ("scores", "epoch", "step", *FITTED)}
        return estimator

    @property
    def n_parameters(self) -> int:
        return self.classifier.model.n_parameters

    @property
    def is_main_process(self) -> bool:
        return self.trainer.is_global_zero

    def fit(self, datamodule: BeatDataModule) -> Fit:
        keep_freed_memory()
        try:
            with _interruptible(), self._resumed():
                self.trainer.fit(self.classifier, datamodule=datamodule, ckpt_path=self.resume, weights_only=True)
        except MisconfigurationException as error:  # what the Trainer can check only once it has the batches
            raise ConfigError(f"the Trainer refuses its settings: {' '.join(str(error).split())}") from error
        epochs, steps = self.trainer.current_epoch, self.trainer.global_step
        if not steps:  # whatever setting is the reason
            raise ConfigError(
                "training has taken no step, and what is tested would be random weights: leave trainer.max_time and "
                "trainer.limit_train_batches, or give them more"
            )
        # `debug=fast_dev_run`, for example, keeps none; the last weights are then tested.
        self._best = getattr(self.trainer.checkpoint_callback, "best_model_path", "") or None
        self._saved, best_epoch = {"scores": {}, "epoch": max(epochs, 1), "step": steps}, None
        if self._best:
            # The callback forgets its score when a run is resumed in another folder; the checkpoint does not.
            best = AtomicCheckpointIO().load_checkpoint(self._best)
            best_epoch = best["epoch"] + 1
            self._saved = {"scores": best[CHECKPOINT_KEY]["scores"], "epoch": best_epoch, "step": best["global_step"]}
        return Fit(epochs=epochs, steps=steps, best_epoch=best_epoch, val=validation_scores(self._saved["scores"]))

    @contextmanager
    def _resumed(self) -> Iterator[None]:
        """What fails before the first step of a resumed run has ended is the state in its checkpoint."""
        try:
            yield
        except MALFORMED as error:
            if self.resume is None or self.classifier.has_trained or isinstance(error, torch.OutOfMemoryError):
                raise
            raise CheckpointError(
                f"{self.resume} cannot be resumed, its state of the training is malformed: {error}; start "
                "anew, or from its weights with transfer.checkpoint"
            ) from error

    def predict_proba(self, beats: Beats) -> FloatArray:
        self.classifier.test_predictions.reset()
        self.trainer.limit_test_batches = 1.0  # all beats, even where a debug mode limits the batches of its epochs
        size = eval_batch_size(self.trainer)
        dataset, reach = BeatDataset(beats, np.arange(len(beats))), self.classifier.model.reach
        if self.classifier.model.sequence_settings is not None:
            length = EVAL_WINDOW + 2 * reach
            dataset, size = SequenceDataset(beats, dataset.rows, length=length, margin=reach), max(size // length, 1)
        sampler = BatchSampler(
            len(dataset), size, seed=None, rank=self.trainer.global_rank, n_ranks=self.trainer.world_size
        )
        batches = batch_loader(dataset, sampler, self.trainer)
        with _interruptible():
            self.trainer.test(self.classifier, batches, ckpt_path=self._best, weights_only=True, verbose=False)
        probabilities: FloatArray = self.classifier.test_predictions.compute().cpu().numpy()
        return probabilities

    def save(self, path: Path) -> None:
        state = self.classifier.state_dict()
        if self._best:
            state = AtomicCheckpointIO().load_checkpoint(self._best)["state_dict"]
        _write(path, state, self.classifier.hparams, self._saved)


class SklearnEstimator(Estimator):
    """A baseline of scikit-learn, see `ecg_lightning.models.baselines`.

    Where the training beats take more than ``storage.in_memory``, it learns from as many of them as fit, chosen at
    random; one that sees a few numbers of each beat, and no samples, learns from all.

    `stated` are the hyperparameters of its checkpoint: ``task``, ``model``, ``input`` and ``about``; it is saved at
    `checkpoint`, if given, once it is fitted.
    """

    baseline = True
    uses = frozenset()

    def __init__(self, stated: Mapping[str, Any], *, seed: int = 0, checkpoint: Path | None = None) -> None:
        self.settings = dict(stated["model"])
        self.name = str(self.settings.pop("name"))
        check_settings(self.name, self.settings)
        self.seen = str(self.settings.pop("inputs", REFERENCE_MODELS[self.name].inputs))
        self.stated = stated
        self.task = task_of(stated)
        self.input = InputSpec.from_plain(stated["input"])
        if self.seen == "context" and not self.input.context:
            raise ConfigError("model.inputs=context, and the beats have no context; choose one, such as context=full")
        self.seed = seed
        self.checkpoint = checkpoint
        self.arrays: dict[str, Array] = {}
        self.scores: dict[str, float] = {}
        self.fitted: dict[str, Any] = {}
        self._order: IntArray | None = None

    @classmethod
    def load(cls, checkpoint: Checkpoint, *, device: Device = "auto") -> Self:
        """The model of a checkpoint, on the CPU; `ConfigError` if its arrays do not fit each other."""
        estimator = cls(checkpoint.require())
        estimator.scores = dict(checkpoint.scores or {})
        estimator.fitted = {name: getattr(checkpoint, name) for name in FITTED}
        estimator.arrays = {name: tensor.numpy() for name, tensor in checkpoint.weights.items()}
        estimator._predict(np.zeros((1, estimator._n_inputs), dtype=np.float32))
        return estimator

    @property
    def n_parameters(self) -> int:
        return sum(array.size for array in self.arrays.values())

    def fit(self, datamodule: BeatDataModule) -> Fit:
        folds = (datamodule.datasets[fold] for fold in ("train", "validation"))
        beats, validation = (fold.beats.select(fold.rows) for fold in folds)
        n_fitted = self._n_with_room(len(beats), datamodule.storage.in_memory)
        if n_fitted is not None:
            beats = beats.select(np.sort(np.random.default_rng(self.seed).choice(len(beats), n_fitted, replace=False)))
        self.arrays = fit_reference(self.name, self.settings, self.inputs(beats), beats.known_labels, seed=self.seed)
        self.scores = _scores(self.predict_proba(validation), validation) if len(validation) else {}
        if self.checkpoint is not None:
            self.save(self.checkpoint)
        return Fit(n_fitted=n_fitted, val=validation_scores(self.scores))

    def _n_with_room(self, n: int, in_memory: float) -> int | None:
        """How many of `n` training beats scikit-learn has room for in so many GiB; None for all, or where it sees few
        numbers of each."""
        gib = BYTES_FITTED * self._n_inputs / 2**30  # of a beat
        room = int(in_memory / gib)
        if self.seen != "beat" or n <= room:
            return None
        log.warning(
            "%s learns from %s of %s training beats, chosen at random with seed %d: all would take %.3g GiB of memory, "
            "and storage.in_memory=%g",
            self.name, f"{room:,}", f"{n:,}", self.seed, n * gib, in_memory,
        )  # fmt: skip
        return room

    def predict_proba(self, beats: Beats) -> FloatArray:
        order = slice(None) if self._order is None else self._order
        parts = (self._predict(self.inputs(part)[:, order]) for part in beats.parts())
        return np.concatenate([np.zeros((0, len(self.task.classes)), dtype=np.float32), *parts])

    def randomised(self, seed: int) -> Self:
        """A copy that takes its inputs in a random order, and so has lost what it has learnt of the shape of a beat."""
        other = copy.copy(self)
        other._order = np.random.default_rng(seed).permutation(self._n_inputs)
        return other

    def save(self, path: Path) -> None:
        state = {f"{MODEL_PREFIX}{name}": torch.from_numpy(array.copy()) for name, array in self.arrays.items()}
        saved = {"scores": self.scores, "epoch": None, "step": None, **self.fitted}
        _write(path, state, self.stated, saved)

    def inputs(self, beats: Beats) -> FloatArray:
        """What it sees of each beat, ``[n, d]``: samples and context, context alone, or its length alone."""
        if self.seen == "length":
            return beats.lengths[:, None].astype(np.float32)
        samples = [np.asarray(beats.signals).reshape(len(beats), -1)] if self.seen == "beat" else []
        return np.hstack([*samples, *([] if beats.context is None else [beats.context])])

    def _predict(self, x: FloatArray) -> FloatArray:
        return predict_reference(self.name, self.arrays, x, n_classes=len(self.task.classes)).astype(np.float32)

    @property
    def _n_inputs(self) -> int:
        if self.seen == "length":
            return 1
        samples = len(self.input.leads) * self.input.length if self.seen == "beat" else 0
        return samples + len(self.input.context)


class EnsembleEstimator(Estimator):
    """Trained models whose probabilities are combined: see `ecg_lightning.training.ensemble`.

    Args:
        stated: the hyperparameters of its checkpoint: ``task``, ``input``, ``about``, ``members`` as `members_of` reads
            them, and ``model``: ``name``, ``mean``, and ``weights``: ``equal``, ``validation``, which are chosen on
            the validation beats, or a number for each member.
        members: the checkpoints of its members.
        checkpoint: where it is saved once it is fitted.
    """

    name = ENSEMBLE
    baseline = False
    uses = frozenset()

    def __init__(
        self,
        stated: Mapping[str, Any],
        members: Sequence[Checkpoint],
        *,
        device: Device = "auto",
        checkpoint: Path | None = None,
    ) -> None:
        self.stated = stated
        self.task = task_of(stated)
        self.input = InputSpec.from_plain(stated["input"])
        self.members = [load_estimator(member, device=device) for member in members]
        self.checkpoint = checkpoint
        self.scores: dict[str, float] = {}
        self.calibration: Mapping[str, Any] | None = None
        self._state = {f"{i}.{name}": weight for i, one in enumerate(members) for name, weight in one.weights.items()}
        chosen = stated["model"]["weights"]
        weights = np.ones(len(members)) if isinstance(chosen, str) else np.asarray(chosen, dtype=np.float64)
        if by_class := stated["model"].get("class_weights"):
            weights = np.transpose([by_class.get(name, weights) for name in self.task.classes])
        self.weights = weights / weights.sum(axis=0)

    @classmethod
    def load(cls, checkpoint: Checkpoint, *, device: Device = "auto") -> Self:
        """The ensemble of a checkpoint; `CheckpointError` if its weights are none."""
        estimator = cls(checkpoint.require(), members_of(checkpoint), device=device)
        estimator.scores = dict(checkpoint.scores or {})
        estimator.calibration = checkpoint.calibration
        estimator.weights = weights_of(checkpoint)
        return estimator

    @property
    def n_parameters(self) -> int:
        return sum(member.n_parameters for member in self.members) + int(self.weights.size)

    def fit(self, datamodule: BeatDataModule) -> Fit:
        fold = datamodule.datasets["validation"]
        validation, model = fold.beats.select(fold.rows), self.stated["model"]
        if len(validation):
            predicted = self._predict_members(validation)
            if model["weights"] == "validation":
                self.weights = best_weights(predicted, validation.known_labels, model["mean"])
            self.scores = _scores(combine(predicted, self.weights, model["mean"]), validation)
        elif model["weights"] == "validation":
            raise ConfigError("weights=validation: the split of the members has no validation beats; choose equal")
        if self.checkpoint is not None:
            self.save(self.checkpoint)
        return Fit(val=validation_scores(self.scores))

    def predict_proba(self, beats: Beats) -> FloatArray:
        return combine(self._predict_members(beats), self.weights, self.stated["model"]["mean"])

    def save(self, path: Path) -> None:
        state = {f"{MODEL_PREFIX}{name}": weight for name, weight in self._state.items()}
        state[f"{MODEL_PREFIX}weights"] = torch.from_numpy(self.weights)
        saved = {"scores": self.scores, "epoch": None, "step": None, "calibration": self.calibration}
        _write(path, state, self.stated, saved)

    def _predict_members(self, beats: Beats) -> FloatArray:
        return np.stack([member.predict_proba(beats) for member in self.members])


def weights_of(checkpoint: Checkpoint) -> npt.NDArray[np.float64]:
    """The weights ``[members]`` or ``[members, classes]`` of an ensemble; `CheckpointError` for what are none."""
    weights = checkpoint.weights["weights"].numpy() if "weights" in checkpoint.weights else np.zeros(0)
    shape = (len(checkpoint.require()["members"]), len(task_of(checkpoint.require()).classes))[: weights.ndim]
    if weights.shape != shape or not (weights >= 0).all() or not np.isclose(weights.sum(axis=0), 1).all():
        raise CheckpointError(f"{checkpoint.path} contradicts itself: expected a weight a member, which sum to 1")
    return weights


AnyEstimator = NetworkEstimator | SklearnEstimator | EnsembleEstimator


def estimator_type(name: str) -> type[AnyEstimator]:
    """The kind of estimator of a model; raises `ConfigError` if there is no such model."""
    if name == ENSEMBLE:
        return EnsembleEstimator
    if name in model_names():
        return NetworkEstimator
    if name in REFERENCE_MODELS:
        return SklearnEstimator
    raise ConfigError(f"there is no model {name!r}; choose one of {', '.join(list_models())}")


def load_estimator(checkpoint: Checkpoint, *, device: Device = "auto") -> AnyEstimator:
    """The estimator of a checkpoint; raises `CheckpointError` for a plain state dict or contradictory content."""
    kind = estimator_type(str(checkpoint.require()["model"]["name"]))
    with malformed(f"{checkpoint.path} contradicts itself", ConfigError):
        return kind.load(checkpoint, device=device)


def validation_scores(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores by their short names; None for those that are missing."""
    return {name.removeprefix("val/"): scores.get(name) for name in MONITORED}


def _scores(probabilities: FloatArray, beats: Beats) -> dict[str, float]:
    """Scores on validation beats, by the names that a network logs."""
    predicted, labels = torch.from_numpy(probabilities), torch.from_numpy(beats.known_labels)
    true = predicted.gather(1, labels[:, None]).double()
    loss = -true.clamp(min=torch.finfo(torch.float32).tiny).log().mean()
    scores = validation_metrics(probabilities.shape[1])(predicted.argmax(dim=1), labels)
    return {name: float(value) for name, value in {**scores, "val/loss": loss}.items()}


def _write(path: Path, state: Mapping[str, Tensor], stated: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """Write a checkpoint that `read_checkpoint` reads."""
    own = {"format": FORMAT, "scores": dict(saved["scores"])}
    own |= {name: dict(saved[name]) for name in FITTED if saved.get(name)}
    content = {
        "state_dict": dict(state),
        "hyper_parameters": dict(stated),
        "epoch": None if saved["epoch"] is None else saved["epoch"] - 1,
        "global_step": saved["step"],
        CHECKPOINT_KEY: own,
    }
    AtomicCheckpointIO().save_checkpoint(content, path)


@contextmanager
def _interruptible() -> Iterator[None]:
    """A stop stays a KeyboardInterrupt for callers: the Trainer turns it into an exit and ignores further Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except BaseException as leaving:
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise type(leaving.__context__) from None
