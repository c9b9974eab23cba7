"""One experiment: from a composed configuration to a trained, tested and filed network.

`run` is what `train.py` calls; from Python, ``run(compose(["model=cnet", "task=mi"], output_dir=…))`` does the same.
"""

import logging
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.core import provenance
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.metrics.scoring import score, score_beats
from ecg_lightning.pipeline import results
from ecg_lightning.pipeline.build import build, check_choices, check_classes, make_datamodule
from ecg_lightning.pipeline.config import quiet
from ecg_lightning.pipeline.record import about_run, validation_scores
from ecg_lightning.training.baselines import BASELINES, Baseline
from ecg_lightning.training.checkpoint import CHECKPOINT_KEY
from ecg_lightning.training.tasks import get_task

log = logging.getLogger(__name__)


def train(cfg: DictConfig) -> dict[str, Any]:
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
    check_choices(cfg)
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
    validation = score(validated.known_labels, on_validation, task.classes)
    true = on_validation[np.arange(len(validated)), validated.known_labels].astype(np.float64)
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
