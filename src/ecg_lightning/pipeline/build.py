"""From a composed configuration to the parts of an experiment, ready to fit."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from ecg_lightning.core import provenance
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.registry import make_context, make_source
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.recording import lead_names, make_leads
from ecg_lightning.pipeline import results
from ecg_lightning.pipeline.record import begins_before
from ecg_lightning.training.baselines import BASELINES
from ecg_lightning.training.callbacks.saving import AtomicCheckpointIO
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.classifier import MONITORED, BeatClassifier
from ecg_lightning.training.tasks import Task, get_task
from ecg_lightning.training.transfer import Transfer, load_weights

log = logging.getLogger(__name__)

FOLDS_TESTED = ("test", "validation")


@dataclass(frozen=True)
class Experiment:
    """The three parts that a configuration describes, ready to fit."""

    datamodule: BeatDataModule
    classifier: BeatClassifier
    trainer: pl.Trainer


def build(cfg: DictConfig) -> Experiment:
    """Load and split the beats, and build network and Trainer; nothing is written.

    Raises:
        DataError: the beats are absent or damaged.
        ConfigError: settings that do not fit each other or the beats.
        CheckpointError: ``ckpt_path`` or ``transfer.checkpoint`` cannot be read or does not fit.
    """
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.model.name in BASELINES:
        raise ConfigError(f"model={cfg.model.name} is a baseline of scikit-learn: it has no network to build")
    check_choices(cfg)
    if cfg.ckpt_path is not None and not Path(cfg.ckpt_path).is_file():
        raise ConfigError(f"ckpt_path={cfg.ckpt_path} is not there; give the checkpoints/last.ckpt of a run to resume")
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    task = get_task(cfg.task.name)
    transfer = Transfer(**plain["transfer"])
    if cfg.ckpt_path is not None:
        _check_resumed(cfg.ckpt_path, plain)
    source = None
    if transfer.arm != "none":
        source = read_checkpoint(plain["transfer"]["checkpoint"])
    elif transfer.checkpoint is not None:
        log.warning("transfer=none starts from fresh weights: transfer.checkpoint=%s is not read", transfer.checkpoint)
    trainer = _make_trainer(cfg)
    _check_devices(trainer, transfer)
    datamodule = make_datamodule(plain)
    datamodule.setup()
    beats = datamodule.beats
    check_classes(beats, task)
    plain["trainer"]["max_epochs"] = _set_epochs(trainer, cfg, len(datamodule.datasets["train"]))
    if source and source.about and source.about["fs"] != beats.fs:
        log.warning("%s learned from beats at %g Hz, these have %g Hz", source.path, source.about["fs"], beats.fs)
    if source and source.hyperparameters:
        theirs, own = (begins_before(config) for config in (source.about.get("config", {}), plain))
        if theirs != own:
            log.warning(
                "%s learned from beats that begin %g s before their R peak, these %g s", source.path, theirs, own
            )
    classifier = BeatClassifier(
        task=task.name,
        model=plain["model"],
        length=beats.length,
        leads=list(beats.lead_names),
        context=list(beats.context_names) or None,
        optimizer=plain["optimizer"],
        loss={key: value for key, value in plain["loss"].items() if key != "name"},
        class_counts={"training": datamodule.training_counts(), "drawn": datamodule.drawn_counts()},
        transfer=plain["transfer"],
        about={
            "classes": list(task.classes),
            "fs": beats.fs,
            "data": {
                **beats.origin,
                "synthetic": beats.synthetic,
                "fingerprint": beats.fingerprint,
                "protocol": datamodule.folds.protocol.sentence(),
            },
            "config": plain,
            "versions": provenance.versions(),
            "git": provenance.git_revision(),
            "origin": source.origin() if source else None,
        },
    )
    if source:
        load_weights(classifier.model, cfg.model.name, classifier.transfer, source)
    if cfg.compile:
        classifier.model.compile()
    return Experiment(datamodule, classifier, trainer)


def make_datamodule(plain: Mapping[str, Any]) -> BeatDataModule:
    """The datamodule of a composed configuration in plain values, such as a checkpoint keeps; nothing is read yet.

    Raises:
        ConfigError: unknown source, impossible split.
    """
    return BeatDataModule(
        make_source(plain["source"], plain["dataset"], plain["context"], Path(plain["data_dir"]).expanduser()),
        cache_dir=Path(plain["cache_dir"]).expanduser(),
        split=plain["split"],
        drop_duplicates=plain["dataset"]["drop_duplicates"],
        batch_size=plain["optimizer"]["batch_size"],
        resampling=plain["augmentation"]["resampling"],
        balance=plain["augmentation"]["balance"],
        transforms=plain["augmentation"]["transforms"],
        mixup=plain["augmentation"]["mixup"],
        seed=plain["seed"],
    )


def check_classes(beats: Beats, task: Task) -> None:
    """Refuse beats whose classes are not the answers of the task.

    Raises:
        ConfigError: they differ.
    """
    if beats.classes != task.classes:
        raise ConfigError(
            f"task {task.name} asks for the classes {', '.join(task.classes)}, but dataset "
            f"{beats.origin.get('dataset')} has {', '.join(beats.classes)}; leave dataset to the task, or choose "
            "another task"
        )


def check_choices(cfg: DictConfig) -> None:
    """Refuse what Hydra lets pass because it is no group."""
    if cfg.tested not in FOLDS_TESTED:
        raise ConfigError(f"tested={cfg.tested}: choose one of {', '.join(FOLDS_TESTED)}")
    if cfg.report not in results.REPORTS:
        raise ConfigError(f"report={cfg.report}: choose one of {', '.join(results.REPORTS)}")
    if cfg.monitor not in MONITORED:
        raise ConfigError(f"monitor={cfg.monitor} is not computed in validation; choose one of {', '.join(MONITORED)}")


def _check_resumed(path: str, plain: Mapping[str, Any]) -> None:
    """Refuse to resume what is no checkpoint, or a run of another network or question."""
    told = read_checkpoint(path).hyperparameters
    if told is None:
        raise ConfigError(f"ckpt_path={path} holds weights alone; to start from them: transfer=… transfer.checkpoint=…")
    names = lead_names(make_leads(plain["dataset"]["leads"]))
    now = {
        "task": plain["task"]["name"],
        "model": plain["model"],
        "transfer.arm": plain["transfer"]["arm"],
        "leads": list(names),
        "context": list(make_context(plain["context"]).names(names)),
    }
    then = {
        "task": told["task"],
        "model": told["model"],
        "transfer.arm": (told.get("transfer") or {}).get("arm", "none"),
        "leads": told.get("leads") or list(names),
        "context": told.get("context") or [],
    }
    for key, value in now.items():
        if then[key] != value:
            raise ConfigError(
                f"ckpt_path={path} cannot be resumed: its run had {key} {then[key]}, this one has {value}; "
                "give the settings of that run"
            )


def _check_devices(trainer: pl.Trainer, transfer: Transfer) -> None:
    """Refuse what goes wrong without a word on several devices."""
    if trainer.world_size == 1:
        return
    if transfer.frozen_epochs:
        # DistributedDataParallel looks once, at the start, for the weights whose gradients it averages.
        raise ConfigError("transfer.frozen_epochs needs a single device: trainer.devices=1, or frozen_epochs=0")
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if sweeping and isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        raise ConfigError(
            f"a sweep of jobs on {trainer.world_size} devices each: every further process would start the whole sweep "
            "again; use trainer.devices=1 in a sweep, or start the jobs one by one"
        )


def _make_trainer(cfg: DictConfig) -> pl.Trainer:
    try:
        trainer: pl.Trainer = instantiate(
            cfg.trainer,
            max_epochs=-1 if cfg.trainer.max_epochs is None else cfg.trainer.max_epochs,
            check_val_every_n_epoch=1 if _validation_is_free(cfg) else cfg.trainer.check_val_every_n_epoch,
            callbacks=_instantiate_all(cfg.callbacks),
            logger=_instantiate_all(cfg.logger),
            plugins=AtomicCheckpointIO(),
            default_root_dir=cfg.output_dir,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the datamodule deals its batches out to the ranks itself
        )
    except InstantiationException as error:
        raise ConfigError(f"trainer, callbacks or logger cannot be set up: {error.__cause__ or error}") from error
    return trainer


VALIDATIONS = 50
"""About how many of them, where epochs are so short that one after each would cost more than the training."""


def _set_epochs(trainer: pl.Trainer, cfg: DictConfig, n_train: int) -> int | None:
    """Let the Trainer take about ``optimizer.steps`` steps, in whole epochs; the number of epochs, None without limit.

    The learning rate falls to its end with the last step, and the weights of the last steps are those that validation
    should see: hence whole epochs, and whole intervals between validations. Several devices share out the same beats.
    """
    if cfg.trainer.max_epochs is not None or cfg.trainer.max_steps != -1:
        return None if cfg.trainer.max_epochs is None else int(cfg.trainer.max_epochs)
    epochs: int = max(1, round(cfg.optimizer.steps / math.ceil(n_train / cfg.optimizer.batch_size)))
    if _validation_is_free(cfg):
        trainer.check_val_every_n_epoch = every = max(1, epochs // VALIDATIONS)
        epochs = epochs // every * every
    trainer.fit_loop.max_epochs = epochs
    return epochs


def _validation_is_free(cfg: DictConfig) -> bool:
    return cfg.trainer.check_val_every_n_epoch is None and cfg.trainer.val_check_interval is None


def _instantiate_all(group: DictConfig | None) -> list[Any]:
    """What a group describes, without the entries that were set to null."""
    return [instantiate(settings) for settings in (group or {}).values() if settings is not None]
