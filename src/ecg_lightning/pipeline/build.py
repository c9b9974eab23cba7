"""From a composed configuration to an experiment: split beats and an estimator that is ready to fit."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger

from ecg_lightning.core import provenance
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.paths import home_expanded
from ecg_lightning.core.weights import path_of
from ecg_lightning.data.databases.card import class_map_of, leads_of
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.data.transforms import make_transforms
from ecg_lightning.models import SequenceSettings, check_settings, settings_of
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.training.checkpoint import Checkpoint, read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.estimator import Estimator, NetworkEstimator, SklearnEstimator, estimator_type
from ecg_lightning.training.tasks import make_task
from ecg_lightning.training.trainer import AUTO, check_compiler, check_devices, make_loggers, make_trainer, set_epochs
from ecg_lightning.training.transfer import Transfer, load_weights

log = logging.getLogger(__name__)

# Settings and their values that request nothing: an estimator that cannot use them refuses any other value. It ignores
# groups that every configuration has, such as loss and optimizer, so that an experiment runs with all models.
REQUESTS = {
    "ckpt_path": None, "sequence.beats": None, "transfer.mode": "none", "transfer.checkpoint": None, "compile": False
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What a configuration describes, ready to fit."""

    cfg: DictConfig
    config: Mapping[str, Any]  # in plain values, interpolations resolved
    composed: Mapping[str, Any]  # the same with interpolations unresolved, which is equal on every machine
    overrides: tuple[str, ...]  # what was set on the command line
    datamodule: BeatDataModule  # the beats, split
    estimator: Estimator
    output_dir: Path
    loggers: Sequence[Logger] = ()


def build(cfg: DictConfig) -> Experiment:
    """Load and split the beats, and make the estimator; nothing is written.

    Raises:
        DataError, ConfigError: the beats are missing or damaged; settings do not fit each other or the beats.
        CheckpointError: ``ckpt_path`` or ``transfer.checkpoint`` cannot be read or does not fit.
    """
    config = validated(cfg)
    output_dir = Path(config["output_dir"])
    pl.seed_everything(config["seed"], workers=True, verbose=False)

    kind = estimator_type(config["model"]["name"])
    _refuse_unused(config, kind)
    model = _model_settings(config)
    transfer = Transfer(**config["transfer"])
    resumed = _read_resumed(config["ckpt_path"])
    start = None
    if transfer.checkpoint is not None and transfer.mode != "none":
        start = read_checkpoint(transfer.checkpoint)
    elif transfer.checkpoint is not None:
        log.warning("transfer=none is a random initialisation: transfer.checkpoint=%s is not read", transfer.checkpoint)
    loggers = make_loggers(config)
    trainer = make_trainer(config, loggers) if "trainer" in kind.uses else None
    if trainer is not None:
        check_devices(trainer, transfer)
        if config["compile"]:
            check_compiler(trainer.strategy.root_device)

    check_task(config)
    datamodule = make_datamodule(config)
    datamodule.setup()
    beats = datamodule.beats
    if datamodule.folds.sizes().get(config["tested"], 1) == 0:
        raise ConfigError(f"tested={config['tested']}: the split leaves no beats for it; choose the other fold")
    task = make_task(config["task"]["name"], beats.classes)
    spec = InputSpec.of(beats, leads_of(config["dataset"]))
    if trainer is not None:
        config["trainer"]["max_epochs"] = set_epochs(trainer, config, len(datamodule.datasets["train"]))
        if cfg.trainer.precision == AUTO:
            log.info("trainer.precision=%s, which is the fastest here", config["trainer"]["precision"])
    about = {
        "classes": list(task.classes),
        "class_map": class_map_of(config["dataset"]),
        "fs": beats.fs,
        "data": {**beats.origin, "synthetic": beats.synthetic, "fingerprint": beats.fingerprint},
        "protocol": json.loads(json.dumps(asdict(datamodule.folds.protocol))),
        "config": config,
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
        "origin": start.origin() if start else None,
    }
    stated: dict[str, Any] = {"task": task.name, "model": model, "input": spec.plain(), "about": about}
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
            load_weights(classifier.model, model["name"], transfer, start, spec.context)
        if config["compile"]:
            classifier.model.compile()
        estimator = NetworkEstimator(classifier, trainer, resume=config["ckpt_path"])
    return Experiment(
        cfg=cfg,
        config=config,
        composed=OmegaConf.to_container(cfg, resolve=False),  # type: ignore[arg-type]
        overrides=tuple(HydraConfig.get().overrides.task) if HydraConfig.initialized() else (),
        datamodule=datamodule,
        estimator=estimator,
        loggers=loggers,
        output_dir=output_dir,
    )


def make_datamodule(config: Mapping[str, Any]) -> BeatDataModule:
    """The beats that a plain configuration describes, not yet read; a ConfigError for an impossible source or split."""
    dataset, augmentation = config["dataset"], config["augmentation"]
    sequence = dict(config.get("sequence") or {"beats": None})  # which configurations of earlier versions lack
    window = sequence.pop("beats")
    make_transforms(augmentation["transforms"], fs=dataset["cut"]["fs"])  # fails before beats are read
    return BeatDataModule(
        make_source(dataset, config["context"], home_expanded(config["data_dir"])),
        cache_dir=home_expanded(config["cache_dir"]),
        storage=config.get("storage"),  # which configurations of earlier versions lack
        split=config["split"],
        drop_duplicates=dataset["drop_duplicates"],
        batch_size=config["optimizer"]["batch_size"],
        **{name: value for name, value in augmentation.items() if name != "name"},
        window=window,
        reach=0 if window is None else SequenceSettings(**sequence).reach,
        seed=config["seed"],
    )


def check_task(config: Mapping[str, Any]) -> None:
    """Refuse a database that is made for another task, by a ConfigError."""
    task, dataset = config["task"]["name"], config["dataset"]
    if dataset["task"] != task:
        raise ConfigError(
            f"dataset {dataset['name']} is for task {dataset['task']}, not for task={task}: choose "
            f"task={dataset['task']}, or another dataset"
        )


def _refuse_unused(config: Mapping[str, Any], kind: type[Estimator]) -> None:
    """Refuse requests that this kind of model cannot fulfil; log the parts that it ignores."""
    name = config["model"]["name"]
    for setting, nothing in REQUESTS.items():
        group, _, key = setting.partition(".")
        value = config[group][key] if key else config[group]
        if group not in kind.uses and value != nothing:
            raise ConfigError(f"model={name} cannot use {setting}={value}; leave it out")
    if ignored := sorted(NetworkEstimator.uses - kind.uses):
        log.info("model=%s does not use %s", name, ", ".join(ignored))


def _model_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings, with the configuration's ``dropout`` and the recipe's initialisation, if it has them."""
    model, dropout = dict(config["model"]), config["dropout"]
    if dropout is not None and "dropout" in settings_of(model["name"]):
        model["dropout"] = dropout
    elif dropout is not None:
        log.info("model=%s has no dropout: dropout=%s has no effect", model["name"], dropout)
    if model.get("initialisation", "none of its settings") is None:
        recipe = config["recipe"].get(config["task"]["name"], {}).get(model["name"], {})
        model["initialisation"] = recipe.get("initialisation", "uniform")
    check_settings(model["name"], {key: value for key, value in model.items() if key != "name"})
    if config["sequence"]["beats"] is not None:
        model["sequence"] = {name: value for name, value in config["sequence"].items() if name != "beats"}
    return model


def _read_resumed(path: str | None) -> Checkpoint | None:
    if path is None:
        return None
    if not path_of(path).is_file():
        raise ConfigError(f"ckpt_path={path} does not exist; give the checkpoints/last.ckpt of a run to resume")
    checkpoint = read_checkpoint(path)
    if checkpoint.hyperparameters is None:
        raise ConfigError(f"ckpt_path={path} holds weights alone; to start from them: transfer=… transfer.checkpoint=…")
    return checkpoint


def _check_resumed(checkpoint: Checkpoint, stated: Mapping[str, Any], transfer: Transfer) -> None:
    """Refuse to resume a run of another network, task or input."""
    then, spec = checkpoint.require(), checkpoint.input.plain()
    pairs = {
        "task": (then["task"], stated["task"]),
        "model": (then["model"], stated["model"]),
        "transfer": ((then.get("transfer") or {}).get("mode", "none"), transfer.mode),
    } | {key: (spec[key], stated["input"][key]) for key in ("length", "leads", "context")}
    # In another split, beats to test are among those that were trained on.
    had_config, has_config = checkpoint.config, stated["about"]["config"]
    had_split, has_split = had_config.get("split", {}), has_config["split"]
    pairs |= {f"split.{key}": (had_split.get(key, value), value) for key, value in has_split.items()}
    pairs["seed"] = (had_config.get("seed", has_config["seed"]), has_config["seed"])
    for key, (had, has) in pairs.items():
        if had != has:
            raise ConfigError(
                f"ckpt_path={checkpoint.path} cannot be resumed: its run had {key} {had}, this one has {has}; "
                "give the settings of that run"
            )


def _compare_inputs(start: Checkpoint, spec: InputSpec) -> None:
    """Warn if pretrained weights come from beats of another sampling rate or window."""
    if start.hyperparameters is None:
        return
    then = start.input
    before = [cut.get("before", 0.0) for cut in (then.cut, spec.cut)]
    for what, unit, had, has in (("sampled at", "Hz", then.fs, spec.fs), ("that begin before R by", "s", *before)):
        if had is not None and had != has:
            log.warning("%s was trained on beats %s %g %s, these have %g %s", start.path, what, had, unit, has, unit)
