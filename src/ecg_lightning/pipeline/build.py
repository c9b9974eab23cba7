"""From a composed configuration to an experiment: beats that are split, and an estimator that is ready to fit."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.core import provenance
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.models import settings_of
from ecg_lightning.pipeline.settings import Settings
from ecg_lightning.training.checkpoint import Checkpoint, InputSpec, read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.estimator import Estimator, NetworkEstimator, SklearnEstimator, estimator_type
from ecg_lightning.training.tasks import Task, get_task
from ecg_lightning.training.trainer import check_devices, make_trainer, set_epochs
from ecg_lightning.training.transfer import Transfer, load_weights

log = logging.getLogger(__name__)

REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "ckpt_path": {"ckpt_path": None},
    "transfer": {"transfer.mode": "none", "transfer.checkpoint": None},
    "compile": {"compile": False},
}
"""Parts of a configuration → settings that ask for something, with the values that ask for nothing.

An estimator that does not use such a part refuses any other value. What every configuration has, such as a loss and an
optimizer, it passes over instead: one experiment serves all models.
"""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a configuration describes, ready to fit.

    Attributes:
        cfg: the configuration.
        config: the same in plain values, interpolations resolved.
        composed: the same, interpolations unresolved: equal on every machine.
        overrides: what was set on the command line; empty elsewhere.
        datamodule: the beats, split.
        estimator: learns from them.
        output_dir: folder for what the run leaves.
    """

    cfg: DictConfig
    config: Mapping[str, Any]
    composed: Mapping[str, Any]
    overrides: tuple[str, ...]
    datamodule: BeatDataModule
    estimator: Estimator
    output_dir: Path


def build(cfg: DictConfig) -> Experiment:
    """Load and split the beats, and make the estimator; nothing is written.

    Raises:
        DataError: the beats are absent or damaged.
        ConfigError: settings that do not fit each other or the beats.
        CheckpointError: ``ckpt_path`` or ``transfer.checkpoint`` cannot be read or does not fit.
    """
    Settings.from_config(cfg)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    composed: dict[str, Any] = OmegaConf.to_container(cfg, resolve=False)  # type: ignore[assignment]
    overrides = tuple(HydraConfig.get().overrides.task) if HydraConfig.initialized() else ()
    output_dir = Path(config["output_dir"])
    pl.seed_everything(config["seed"], workers=True, verbose=False)

    kind = estimator_type(config["model"]["name"])
    _refuse_unused(config, kind)
    task = get_task(config["task"]["name"])
    model = _model_settings(config)
    transfer = Transfer(**config["transfer"])
    resumed = None if config["ckpt_path"] is None else _read_resumed(config["ckpt_path"])
    start = _read_start(transfer)
    trainer = make_trainer(config) if "trainer" in kind.uses else None
    if trainer is not None:
        check_devices(trainer, transfer)

    datamodule = make_datamodule(config)
    datamodule.setup()
    beats = datamodule.beats
    check_classes(beats, task)
    spec = InputSpec.of(beats, config["dataset"]["leads"])
    if trainer is not None:
        config["trainer"]["max_epochs"] = set_epochs(trainer, config, len(datamodule.datasets["train"]))
    stated: dict[str, Any] = {
        "task": task.name,
        "model": model,
        "input": spec.plain(),
        "about": _about(config, task, datamodule, start),
    }
    if trainer is None:
        checkpoint = output_dir / "checkpoints" / "best.ckpt"
        estimator: Estimator = SklearnEstimator(stated, seed=config["seed"], checkpoint=checkpoint)
    else:
        if resumed is not None:
            _check_resumed(resumed, stated, transfer)
        classifier = BeatClassifier(
            **stated,
            optimizer=config["optimizer"],
            loss={key: value for key, value in config["loss"].items() if key != "name"},
            class_counts={"training": datamodule.training_counts(), "drawn": datamodule.drawn_counts()},
            transfer=config["transfer"],
        )
        if start is not None:
            _compare_inputs(start, spec)
            load_weights(classifier.model, model["name"], transfer, start)
        if config["compile"]:
            classifier.model.compile()
        estimator = NetworkEstimator(classifier, trainer, resume=config["ckpt_path"])
    return Experiment(
        cfg=cfg,
        config=config,
        composed=composed,
        overrides=overrides,
        datamodule=datamodule,
        estimator=estimator,
        output_dir=output_dir,
    )


def make_datamodule(plain: Mapping[str, Any]) -> BeatDataModule:
    """The beats that a configuration describes, not yet read.

    Args:
        plain: the configuration in plain values, interpolations resolved.

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
    """Refuse beats whose classes are not those of the task.

    Raises:
        ConfigError: they differ.
    """
    if beats.classes != task.classes:
        raise ConfigError(
            f"task {task.name} asks for the classes {', '.join(task.classes)}, but dataset "
            f"{beats.origin.get('dataset')} has {', '.join(beats.classes)}; leave dataset to the task, or choose "
            "another task"
        )


def _refuse_unused(config: Mapping[str, Any], kind: type[Estimator]) -> None:
    """Refuse what is asked for and this kind of model cannot do; say what it passes over."""
    name = config["model"]["name"]
    for part, neutral in REQUESTS.items():
        for setting, nothing in neutral.items():
            group, _, key = setting.partition(".")
            value = config[group][key] if key else config[group]
            if part not in kind.uses and value != nothing:
                raise ConfigError(f"model={name} cannot use {setting}={value}; leave it out")
    if passed_over := sorted(NetworkEstimator.uses - kind.uses):
        log.info("model=%s does not use %s", name, ", ".join(passed_over))


def _model_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings, with the configuration's ``dropout`` where it is set and the model has one."""
    model, dropout = dict(config["model"]), config.get("dropout")
    if dropout is None:
        return model
    if "dropout" in settings_of(model["name"]):
        return {**model, "dropout": dropout}
    log.info("model=%s has no dropout: dropout=%s has no effect", model["name"], dropout)
    return model


def _read_resumed(path: str) -> Checkpoint:
    if not Path(path).is_file():
        raise ConfigError(f"ckpt_path={path} is not there; give the checkpoints/last.ckpt of a run to resume")
    checkpoint = read_checkpoint(path)
    if checkpoint.hyperparameters is None:
        raise ConfigError(f"ckpt_path={path} holds weights alone; to start from them: transfer=… transfer.checkpoint=…")
    return checkpoint


def _read_start(transfer: Transfer) -> Checkpoint | None:
    if transfer.checkpoint is None:
        return None
    if transfer.mode == "none":
        log.warning("transfer=none is a random initialisation: transfer.checkpoint=%s is not read", transfer.checkpoint)
        return None
    return read_checkpoint(transfer.checkpoint)


def _about(
    config: Mapping[str, Any], task: Task, datamodule: BeatDataModule, start: Checkpoint | None
) -> dict[str, Any]:
    """What a checkpoint states beside the model: where it comes from, in plain values."""
    beats = datamodule.beats
    return {
        "classes": list(task.classes),
        "fs": beats.fs,
        "data": {**beats.origin, "synthetic": beats.synthetic, "fingerprint": beats.fingerprint},
        "protocol": json.loads(json.dumps(asdict(datamodule.folds.protocol))),
        "config": config,
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
        "origin": start.origin() if start else None,
    }


def _check_resumed(checkpoint: Checkpoint, stated: Mapping[str, Any], transfer: Transfer) -> None:
    """Refuse to resume a run of another network, task or input."""
    then = checkpoint.require()
    pairs = {
        "task": (then["task"], stated["task"]),
        "model": (then["model"], stated["model"]),
        "transfer": ((then.get("transfer") or {}).get("mode", "none"), transfer.mode),
        "length": (checkpoint.input.length, stated["input"]["length"]),
        "leads": (list(checkpoint.input.leads), stated["input"]["leads"]),
        "context": (list(checkpoint.input.context), stated["input"]["context"]),
    }
    for key, (had, has) in pairs.items():
        if had != has:
            raise ConfigError(
                f"ckpt_path={checkpoint.path} cannot be resumed: its run had {key} {had}, this one has {has}; "
                "give the settings of that run"
            )


def _compare_inputs(start: Checkpoint, spec: InputSpec) -> None:
    """Say where pretrained weights come from beats of another kind."""
    if start.hyperparameters is None:
        return
    then = start.input
    for what, had, has in (
        ("sampled at", then.fs, spec.fs),
        ("that begin before their R peak by", then.cut.get("before", 0.0), spec.cut.get("before", 0.0)),
    ):
        if had is not None and had != has:
            unit = "Hz" if what == "sampled at" else "s"
            log.warning("%s learnt from beats %s %g %s, these have %g %s", start.path, what, had, unit, has, unit)
