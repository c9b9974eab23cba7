"""One experiment: from a composed configuration to a trained, tested and filed network.

`run` is what `train.py` calls; from Python, ``run(compose(["model=cnet", "task=mi"], output_dir=…))`` does the same.
"""

import logging
import math
import signal
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from ecg_lightning import provenance, results
from ecg_lightning.checkpoint import CHECKPOINT_KEY, read_checkpoint
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.sources import make_context, make_source
from ecg_lightning.errors import ConfigError
from ecg_lightning.evaluation.scores import score, score_beats
from ecg_lightning.tasks import Task, get_task
from ecg_lightning.training.baselines import BASELINES, Baseline
from ecg_lightning.training.classifier import MONITORED, BeatClassifier
from ecg_lightning.training.saving import WholeCheckpoints
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
    _check_choices(cfg)
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
        theirs, own = (_before(config) for config in (source.about.get("config", {}), plain))
        if theirs != own:
            log.warning(
                "%s learned from beats that begin %g s before their R peak, these %g s", source.path, theirs, own
            )
    classifier = BeatClassifier(
        task=task.name,
        model=plain["model"],
        length=beats.length,
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
                "protocol": datamodule.folds.protocol,
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


def run(cfg: DictConfig) -> dict[str, Any]:
    """Fit, test once with the checkpoint that was best on validation, and file what came out.

    ``model=`` may also name a baseline: it learns from the same training beats, resampled if that is asked for, and is
    tested on the same test beats; what is set for networks alone does not reach it.

    Returns:
        What was written to ``scores.json``.

    Raises:
        DataError, ConfigError, CheckpointError: as `build`; DataError also where the run's folder cannot be written.
        KeyboardInterrupt: Ctrl-C; ``checkpoints/last.ckpt`` is where training stopped.
    """
    quiet()
    if cfg.model.name in BASELINES:
        return _run_baseline(cfg)
    began, started = datetime.now(UTC), time.perf_counter()
    experiment = build(cfg)
    datamodule, classifier, trainer = experiment.datamodule, experiment.classifier, experiment.trainer
    if trainer.is_global_zero:
        results.announce(datamodule, f"{cfg.model.name}, {classifier.model.n_parameters:,} parameters")
        results.announce_transfer(classifier)
    with _interruptible():
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=cfg.ckpt_path, weights_only=True)
    epochs, steps = trainer.current_epoch, trainer.global_step

    best = _best_checkpoint(trainer)
    with _interruptible():
        trainer.test(
            classifier,
            dataloaders=datamodule.eval_dataloader(cfg.tested),
            ckpt_path=best.path,
            weights_only=True,
            verbose=False,
        )
    rows, _, probabilities = classifier.predictions()
    tested = datamodule.beats.select(rows)

    task = classifier.task
    scores = {
        **about_run(
            OmegaConf.to_container(cfg, resolve=True),  # type: ignore[arg-type]
            datamodule,
            n_parameters=classifier.model.n_parameters,
        ),
        "fold": cfg.tested,
        "epochs": epochs,
        "steps": steps,
        "best_epoch": best.epoch,
        "config_digest": provenance.config_digest(cfg),
        "started": began.isoformat(timespec="milliseconds"),
        "wall_s": round(time.perf_counter() - started, 2),
        "val": validation_scores(best.scores),
        "test": score_beats(tested, probabilities, task.positive),
    }
    if trainer.is_global_zero:
        results.write(Path(cfg.output_dir), scores, tested, probabilities, positive=task.positive, report=cfg.report)
    return scores


def _run_baseline(cfg: DictConfig) -> dict[str, Any]:
    """`run` of a classifier of scikit-learn: the same folds, the same files but for checkpoints and learning curves."""
    began, started = datetime.now(UTC), time.perf_counter()
    _check_choices(cfg)
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    for setting, chosen in (("ckpt_path", cfg.ckpt_path), ("transfer.checkpoint", cfg.transfer.checkpoint)):
        if chosen is not None:
            raise ConfigError(f"model={cfg.model.name} has no weights to take from {setting}={chosen}; leave it out")
    if cfg.transfer.arm != "none":
        raise ConfigError(f"model={cfg.model.name} has no weights to transfer; leave out transfer={cfg.transfer.arm}")
    task = get_task(cfg.task.name)
    datamodule = make_datamodule(plain)
    datamodule.setup()
    beats = datamodule.beats
    check_classes(beats, task)
    settings = dict(plain["model"])
    name = settings.pop("name")
    with_settings = "".join(f", {key}={value}" for key, value in settings.items())
    results.announce(datamodule, f"{name}, a baseline{with_settings}")

    training = datamodule.datasets["train"]
    baseline = Baseline(name, settings, training.beats.select(training.rows), seed=cfg.seed)
    validated, tested = (beats.select(datamodule.datasets[fold].rows) for fold in ("validation", cfg.tested))
    on_validation = baseline.probabilities(validated)
    validation = score(validated.labels, on_validation, task.classes)
    true = on_validation[np.arange(len(validated)), validated.labels].astype(np.float64)
    loss = float(-np.log(np.maximum(true, np.finfo(np.float32).tiny)).mean())
    probabilities = baseline.probabilities(tested)
    # Nothing is changed while a baseline learns, and no loss weighs its classes: resampling is all that reaches it.
    asked = datamodule.resampling.method if datamodule.resampling else "none"
    scores = {
        **about_run(plain, datamodule, n_parameters=None),
        "augmentation": asked,
        "loss": None,
        "precision": None,
        "fold": cfg.tested,
        "epochs": None,
        "steps": None,
        "best_epoch": None,
        "config_digest": provenance.config_digest(cfg),
        "started": began.isoformat(timespec="milliseconds"),
        "wall_s": round(time.perf_counter() - started, 2),
        "val": {"macro_f1": validation["macro_f1"], "accuracy": validation["accuracy"], "loss": loss},
        "test": score_beats(tested, probabilities, task.positive),
    }
    results.write(Path(cfg.output_dir), scores, tested, probabilities, positive=task.positive, report=cfg.report)
    return scores


def about_run(plain: Mapping[str, Any], datamodule: BeatDataModule, *, n_parameters: int | None) -> dict[str, Any]:
    """What ``scores.json`` says beside the scores: the settings that figures are told apart by, in plain values."""
    beats = datamodule.beats
    return {
        "task": plain["task"]["name"],
        "model": plain["model"]["name"],
        "dataset": plain["dataset"]["name"],
        "source": plain["source"]["name"],
        "synthetic": beats.synthetic,
        "split": plain["split"]["protocol"],
        "protocol": datamodule.folds.protocol,
        "augmentation": plain["augmentation"]["name"],
        "resampling": plain["augmentation"]["resampling"]["method"],
        "loss": plain["loss"]["name"],
        "transfer": plain["transfer"]["arm"],
        "precision": plain["trainer"]["precision"],
        "seed": plain["seed"],
        "n_parameters": n_parameters,
        "context": _context(plain),
        "n": datamodule.folds.sizes(),
        "left_out": len(datamodule.folds.left_out),
        "fingerprint": beats.fingerprint,
        "monitor": plain["monitor"],
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
    }


def _before(plain: Mapping[str, Any]) -> float:
    """Seconds before its R peak at which a beat begins, from a configuration or what a checkpoint keeps of one."""
    return float(plain.get("dataset", {}).get("cut", {}).get("before", 0.0))


def _context(plain: Mapping[str, Any]) -> str:
    """What is known of a beat beside what follows its R peak."""
    known = [name for name, chosen in make_context(plain["dataset"]).chosen.items() if chosen]
    if _before(plain):
        known.append(f"{_before(plain):g} s before the R peak")
    return ", ".join(known) or "none"


def validation_scores(told: Mapping[str, float]) -> dict[str, float | None]:
    """``val`` of ``scores.json`` from the scores that a checkpoint tells; None where it tells none."""
    return {name.removeprefix("val/"): told.get(name) for name in MONITORED}


def make_datamodule(plain: Mapping[str, Any]) -> BeatDataModule:
    """The datamodule of a composed configuration in plain values, such as a checkpoint keeps; nothing is read yet.

    Raises:
        ConfigError: unknown source, impossible split.
    """
    split = dict(plain["split"])
    return BeatDataModule(
        make_source(plain["source"], plain["dataset"], Path(plain["data_dir"]).expanduser()),
        cache_dir=Path(plain["cache_dir"]).expanduser(),
        split_seed=split.pop("seed"),
        **split,
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


def compose(overrides: Iterable[str] = (), *, output_dir: Path | str, config_dir: Path | str = "conf") -> DictConfig:
    """The configuration that ``python train.py`` would run with these overrides, for notebooks and tests.

    Args:
        overrides: as on the command line, such as ``model=seq``.
        output_dir: folder for what the run leaves.
        config_dir: the project's ``conf``.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(Path(config_dir).absolute()), version_base="1.3"):
        return hydra_compose("train", overrides=[*overrides, f"output_dir={Path(output_dir).absolute()}"])


def _check_choices(cfg: DictConfig) -> None:
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
    now = {
        "task": plain["task"]["name"],
        "model": plain["model"],
        "transfer.arm": plain["transfer"]["arm"],
        "context": list(make_context(plain["dataset"]).names),
    }
    then = {
        "task": told["task"],
        "model": told["model"],
        "transfer.arm": (told.get("transfer") or {}).get("arm", "none"),
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
            plugins=WholeCheckpoints(),
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


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C, which the Trainer answers by leaving the process deaf to further ones, stays an interrupt for callers."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except BaseException as leaving:
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


@dataclass(frozen=True)
class _Best:
    """The checkpoint to test; all None where none is kept (``debug=fast_dev_run``), and the last weights are tested."""

    path: str | None = None
    epoch: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


def _best_checkpoint(trainer: pl.Trainer) -> _Best:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        return _Best()
    checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    # The callback forgets its score when a run is resumed in another folder; the checkpoint does not.
    return _Best(path=path, epoch=checkpoint["epoch"] + 1, scores=checkpoint[CHECKPOINT_KEY]["scores"])


def _instantiate_all(group: DictConfig | None) -> list[Any]:
    """What a group describes, without the entries that were set to null."""
    return [instantiate(settings) for settings in (group or {}).values() if settings is not None]


def quiet() -> None:
    """Silence advice that does not apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TensorFloat-32
    for advice in (
        ".*does not have many workers.*",  # the beats are in memory
        ".*exists and is not empty.*",  # a run's folder also holds Hydra's files
        ".*number of training batches.*log_every_n_steps.*",  # losses are logged by epoch
        ".*in eval mode at the start of training.*",  # a frozen backbone
        ".*treespec, LeafSpec.*",  # between Lightning and torch
        ".*your dataloader is not resumable.*",  # it is: see `BatchSampler`
    ):
        warnings.filterwarnings("ignore", advice)
