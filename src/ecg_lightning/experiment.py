"""One experiment: from a composed configuration to a trained, tested and filed network.

`run` is what `train.py` calls; from Python, ``run(compose(["model=cnet", "task=mi"], output_dir=…))`` does the same.
"""

import logging
import signal
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from ecg_lightning import provenance, results
from ecg_lightning.checkpoint import CHECKPOINT_KEY, read_checkpoint
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.sources import make_source
from ecg_lightning.errors import ConfigError
from ecg_lightning.evaluation.scores import score
from ecg_lightning.tasks import get_task
from ecg_lightning.training.classifier import MONITORED, BeatClassifier
from ecg_lightning.training.transfer import load_weights

log = logging.getLogger(__name__)


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
    """
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    if cfg.ckpt_path is not None and not Path(cfg.ckpt_path).is_file():
        raise ConfigError(f"ckpt_path={cfg.ckpt_path} is not there; give the checkpoints/last.ckpt of a run to resume")
    if cfg.monitor not in MONITORED:
        raise ConfigError(f"monitor={cfg.monitor} is not computed in validation; choose one of {', '.join(MONITORED)}")
    source = read_checkpoint(cfg.transfer.checkpoint) if cfg.transfer.checkpoint else None
    trainer = _make_trainer(cfg)
    plain: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)  # type: ignore[assignment]
    split = dict(plain["split"])
    datamodule = BeatDataModule(
        make_source(plain["source"], plain["dataset"], Path(cfg.data_dir).expanduser()),
        cache_dir=Path(cfg.cache_dir).expanduser(),
        split_seed=split.pop("seed"),
        **split,
        drop_duplicates=cfg.dataset.drop_duplicates,
        batch_size=cfg.optimizer.batch_size,
        transforms=plain["augmentation"]["transforms"],
        seed=cfg.seed,
    )
    datamodule.setup()
    beats = datamodule.beats
    task = get_task(cfg.task.name)
    if beats.classes != task.classes:
        raise ConfigError(
            f"task {task.name} asks for the classes {', '.join(task.classes)}, but dataset {cfg.dataset.name} has "
            f"{', '.join(beats.classes)}; leave dataset to the task, or choose another task"
        )
    classifier = BeatClassifier(
        task=task.name,
        model=plain["model"],
        length=beats.length,
        optimizer=plain["optimizer"],
        transfer=plain["transfer"],
        about={
            "classes": list(task.classes),
            "fs": beats.fs,
            "data": {**beats.origin, "fingerprint": beats.fingerprint, "protocol": datamodule.folds.protocol},
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

    Returns:
        What was written to ``scores.json``.

    Raises:
        DataError, ConfigError: as `build`.
        KeyboardInterrupt: Ctrl-C; ``checkpoints/last.ckpt`` is where training stopped.
    """
    _quiet()
    started = time.perf_counter()
    experiment = build(cfg)
    datamodule, classifier, trainer = experiment.datamodule, experiment.classifier, experiment.trainer
    if trainer.is_global_zero:
        results.announce(datamodule, classifier)
    with _interruptible():
        trainer.fit(classifier, datamodule=datamodule, ckpt_path=cfg.ckpt_path)
    epochs = trainer.current_epoch

    best = _best_checkpoint(trainer, cfg.monitor)
    with _interruptible():
        trainer.test(classifier, datamodule=datamodule, ckpt_path=best.path, weights_only=True, verbose=False)
    rows, labels, probabilities = (column.cpu().numpy() for column in classifier.test_predictions.compute())

    task, beats = classifier.task, datamodule.beats
    scores = {
        "task": task.name,
        "model": cfg.model.name,
        "dataset": cfg.dataset.name,
        "source": cfg.source.name,
        "synthetic": beats.synthetic,
        "split": cfg.split.protocol,
        "protocol": datamodule.folds.protocol,
        "augmentation": cfg.augmentation.name,
        "resampling": cfg.augmentation.resampling,
        "transfer": cfg.transfer.arm,
        "seed": cfg.seed,
        "epochs": epochs,
        "best_epoch": best.epoch,
        "n_parameters": classifier.model.n_parameters,
        "n": datamodule.folds.sizes(),
        "fingerprint": beats.fingerprint,
        "wall_s": round(time.perf_counter() - started, 2),
        "monitor": cfg.monitor,
        "val": {"macro_f1": best.score},
        "test": score(labels, probabilities, task.classes, positive=task.positive),
    }
    if trainer.is_global_zero:
        results.write(Path(cfg.output_dir), scores, beats.select(rows), probabilities, positive=task.positive)
    return scores


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


def _make_trainer(cfg: DictConfig) -> pl.Trainer:
    try:
        trainer: pl.Trainer = instantiate(
            cfg.trainer,
            callbacks=_instantiate_all(cfg.callbacks),
            logger=_instantiate_all(cfg.logger),
            default_root_dir=cfg.output_dir,
            enable_model_summary=False,
            use_distributed_sampler=False,  # the datamodule deals its batches out to the ranks itself
        )
    except InstantiationException as error:
        raise ConfigError(f"trainer, callbacks or logger cannot be set up: {error.__cause__ or error}") from error
    return trainer


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
    score: float | None = None


def _best_checkpoint(trainer: pl.Trainer, monitor: str) -> _Best:
    path = getattr(trainer.checkpoint_callback, "best_model_path", "")
    if not path:
        return _Best()
    checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    # The callback forgets its score when a run is resumed in another folder; the checkpoint does not.
    return _Best(path=path, epoch=checkpoint["epoch"] + 1, score=checkpoint[CHECKPOINT_KEY]["scores"].get(monitor))


def _instantiate_all(group: DictConfig | None) -> list[Any]:
    """What a group describes, without the entries that were set to null."""
    return [instantiate(settings) for settings in (group or {}).values() if settings is not None]


def _quiet() -> None:
    """Silence advice that does not apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TensorFloat-32
    for advice in (
        ".*does not have many workers.*",  # the beats are in memory
        ".*exists and is not empty.*",  # a run's folder also holds Hydra's files
        ".*number of training batches.*log_every_n_steps.*",  # losses are logged by epoch
        ".*treespec, LeafSpec.*",  # between Lightning and torch
        ".*your dataloader is not resumable.*",  # it is: see `BatchSampler`
    ):
        warnings.filterwarnings("ignore", advice)
