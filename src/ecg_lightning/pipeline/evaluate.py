"""Testing a checkpoint from what it tells of itself: on the beats of its run, or on others."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytorch_lightning as pl
from omegaconf import OmegaConf
from rich.console import Console

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.kaggle import beats_of_csv
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.data.splits import Folds
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.pipeline import results
from ecg_lightning.pipeline.build import check_classes, make_datamodule
from ecg_lightning.pipeline.config import compose, quiet
from ecg_lightning.pipeline.record import about_run, validation_scores
from ecg_lightning.report.tables import run_table
from ecg_lightning.training.checkpoint import Checkpoint, read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.tasks import Task

SYNTHETIC = {"name": "synthetic", "patients": 12, "minutes": 10, "fs": 360, "noise": 0.02, "seed": 0}
"""Settings of the synthetic source, as in conf/source, for a checkpoint of another one, which has none."""


def evaluate(
    path: Path | str,
    *,
    source: str | None = None,
    csv: Path | None = None,
    split: str | None = None,
    seed: int | None = None,
    fold: Literal["test", "validation"] = "test",
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    output_dir: Path | None = None,
    device: Literal["cpu", "auto"] = "auto",
) -> dict[str, Any]:
    """Test a checkpoint and print its table; where nothing is set, with the figures of its run to the digit.

    Args:
        path: a checkpoint, or a run's folder.
        source: other source of the same dataset.
        csv: a file of beats in Kaggle's format, all of which are tested, in place of any source.
        split: other protocol.
        seed: other seed of the split.
        fold: ``test`` or ``validation``.
        data_dir: where the data are; by default where the run had them, else ``ECG_DATA_DIR``, else ``data``.
        cache_dir: where beats are kept once read; by default ``ECG_CACHE_DIR``, else the user's cache.
        output_dir: where to file scores, predictions and pictures; by default nowhere.
        device: ``cpu``, or the best there is.

    Returns:
        As a run's ``scores.json``, with ``checkpoint``, ``fold``, the figures of that fold under ``test``, and
        ``warning``, which is None unless the network may have been trained on some of the beats.

    Raises:
        CheckpointError: the file cannot be read, does not tell its data, or does not fit these beats.
        DataError: the beats are absent or damaged, or the folder cannot be written.
        ConfigError: beats that cannot be split in this way, or that have other classes.
    """
    quiet()
    started = time.perf_counter()
    checkpoint = read_checkpoint(path)
    classifier = BeatClassifier.from_checkpoint(checkpoint)
    trained = checkpoint.about.get("config")
    if not trained:
        raise CheckpointError(f"{checkpoint.path} does not tell the data it was trained with; predict with it instead")
    try:
        plain = plain_config(trained, source, split, seed, data_dir, cache_dir)
        datamodule = make_datamodule(plain)
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{checkpoint.path} keeps a configuration that lacks or garbles {error}") from error
    task = classifier.task
    if csv is not None:
        if (source, split, seed, fold) != (None, None, None, "test"):
            raise ConfigError("all beats of a CSV file are tested: it takes no other source, split, seed or fold")
        plain["source"] = {"name": csv.name}
        _use_file(datamodule, csv, task)
    datamodule.setup()
    beats = datamodule.beats
    check_classes(beats, task)
    check_fit(checkpoint, beats)

    trainer = pl.Trainer(
        accelerator=device,
        devices=1,
        precision=trained["trainer"]["precision"],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(classifier, dataloaders=datamodule.eval_dataloader(fold), verbose=False)
    rows, _, probabilities = classifier.predictions()
    tested = beats.select(rows)
    scores = {
        **about_run(plain, datamodule, n_parameters=classifier.model.n_parameters),
        "checkpoint": str(checkpoint.path),
        "fold": fold,
        "warning": _warning(checkpoint, plain, beats),
        "best_epoch": checkpoint.epoch,
        "wall_s": round(time.perf_counter() - started, 2),
        "val": validation_scores(checkpoint.scores or {}),
        "test": score_beats(tested, probabilities, task.positive),
    }
    if output_dir is None:
        Console().print(run_table(scores))
    else:
        results.write(output_dir, scores, tested, probabilities, positive=task.positive, report="full")
    if scores["warning"]:
        Console(stderr=True).print(f"warning: {scores['warning']}", style="yellow", highlight=False)
    return scores


def _use_file(datamodule: BeatDataModule, csv: Path, task: Task) -> None:
    if not csv.is_file():
        raise ConfigError(f"{csv} is not there; give a CSV file of beats in Kaggle's format")
    origin = {"source": "csv", "dataset": csv.name}
    beats = beats_of_csv(csv, classes=task.classes, origin=origin)
    nothing, everything = np.arange(0), np.arange(len(beats))
    protocol = Protocol(name="all", seed=0, by="none")
    datamodule.use(beats, Folds(train=nothing, validation=nothing, test=everything, protocol=protocol))


def plain_config(
    trained: Mapping[str, Any],
    source: str | None = None,
    split: str | None = None,
    seed: int | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """The configuration of a run, such as its checkpoint keeps, with what is asked for in place of what it had.

    Args:
        trained: the configuration, interpolations resolved.
        source: other source, or None for the run's.
        split: other protocol, or None.
        seed: other seed of the split, or None.
        data_dir: where the data are; None: where the run had them, else ``ECG_DATA_DIR``, else ``data``.
        cache_dir: where beats are kept once read; None: ``ECG_CACHE_DIR``, else the user's cache.

    Raises:
        KeyError, TypeError: it lacks or garbles something.
    """
    plain = dict(trained)
    augmentation = plain["augmentation"]
    if isinstance(augmentation["resampling"], str):  # written before resampling and loss had settings of their own
        resampling = {"method": augmentation["resampling"]}
        plain["augmentation"] = {**augmentation, "resampling": resampling, "balance": 0.0, "mixup": 0.0}
        plain["loss"] = {"name": "cross_entropy"}
    if source is not None and source != trained["source"]["name"]:
        plain["source"] = SYNTHETIC if source == "synthetic" else {"name": source}
    if (source, split, seed) != (None, None, None):
        # Nothing is trained here; a part of the training fold may not exist in other beats.
        plain["split"] = {**trained["split"], "train_size": None}
    if split is not None and split != trained["split"].get("name", trained["split"]["protocol"]):
        chosen = compose([f"split={split}", f"seed={trained['split']['seed']}"], output_dir=".")
        plain["split"] = OmegaConf.to_container(chosen.split, resolve=True)
    if seed is not None:
        plain["split"]["seed"] = seed
    if data_dir is None:
        own = Path(trained["data_dir"]).expanduser()
        data_dir = own if own.exists() else Path(os.environ.get("ECG_DATA_DIR", "data"))
    # The cache is written to, so that no file that somebody brings along says where it is.
    cache_dir = cache_dir or Path(os.environ.get("ECG_CACHE_DIR", "~/.cache/ecg_lightning"))
    return {**plain, "data_dir": str(data_dir), "cache_dir": str(cache_dir)}


def check_fit(checkpoint: Checkpoint, beats: Beats) -> None:
    """Refuse beats of another length, rate or other context than a network learned from.

    Raises:
        ConfigError: they differ.
    """
    assert checkpoint.hyperparameters is not None
    wanted = (checkpoint.hyperparameters["length"], checkpoint.about.get("fs", beats.fs))
    if wanted != (beats.length, beats.fs):
        raise ConfigError(
            f"{checkpoint.path} knows beats of {wanted[0]} samples at {wanted[1]:g} Hz, these have {beats.length} at "
            f"{beats.fs:g} Hz; choose the source that it was trained with"
        )
    leads = checkpoint.hyperparameters.get("leads") or [""]
    if len(leads) != len(beats.lead_names):
        raise ConfigError(
            f"{checkpoint.path} knows beats of {len(leads)} leads ({', '.join(leads)}), these have "
            f"{len(beats.lead_names)} ({', '.join(beats.lead_names)}); choose the source that it was trained with"
        )
    names = tuple(checkpoint.hyperparameters.get("context") or ())
    if names != beats.context_names:
        raise ConfigError(
            f"{checkpoint.path} knows beats that {_phrase(names)}, these {_phrase(beats.context_names)}; choose the "
            "source that it was trained with"
        )


def _phrase(names: Sequence[str]) -> str:
    return f"come with ({', '.join(names)})" if names else "come without context"


def _warning(checkpoint: Checkpoint, plain: Mapping[str, Any], beats: Beats) -> str | None:
    """Why these may be beats that the network has been trained on, if they may."""
    about = checkpoint.about
    told = about.get("data", {})
    splits = [
        {key: value for key, value in config["split"].items() if not key.startswith("train_")}
        for config in (about["config"], plain)
    ]
    if told.get("fingerprint") == beats.fingerprint and splits[0] == splits[1]:
        return None
    if bool(told.get("synthetic")) != beats.synthetic:
        return None
    changed = (
        "the split is not the one of its training"
        if told.get("fingerprint") == beats.fingerprint
        else "the beats are not those of its training, but of the same dataset"
    )
    return f"{changed}: some of those tested here may have been trained on, and the figures be too good"
