"""Testing a checkpoint, with what it stores of its run, on the beats of that run or on others."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.kaggle import beats_of_csv
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.data.splits import Folds
from ecg_lightning.pipeline.build import check_classes, make_datamodule
from ecg_lightning.pipeline.config import compose, quiet
from ecg_lightning.pipeline.record import make_record
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run
from ecg_lightning.training.checkpoint import Checkpoint, read_checkpoint
from ecg_lightning.training.estimator import load_estimator


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
) -> RunRecord:
    """Test a checkpoint; by default with exactly the metrics of its run.

    Args:
        path: a checkpoint, or a run's folder.
        source: other source of the same dataset.
        csv: a file of beats in Kaggle's format, all of which are tested, instead of any source.
        split, seed: other split, one of the choices in ``conf/split``, and other seed of it.
        fold: which beats of the split.
        data_dir: where the data are; None for that of the run if it exists, else ``ECG_DATA_DIR``, else ``data``.
        cache_dir: cache for prepared beats; None for ``ECG_CACHE_DIR``, else the user's cache.
        output_dir: where to write record and predictions; None for nowhere.
        device: ``cpu``, or the best available.

    Returns:
        A record of the kind ``evaluation``; its ``warning`` is set if the model may have been trained on these beats.

    Raises:
        CheckpointError: the file cannot be read, does not state its data, or does not fit these beats.
        DataError: the beats are missing or damaged, or the folder cannot be written.
        ConfigError: the beats cannot be split in this way, or have other classes.
    """
    quiet()
    clock = time.perf_counter()
    checkpoint = read_checkpoint(path)
    estimator = load_estimator(checkpoint, device=device)
    trained = checkpoint.about.get("config")
    if not trained:
        raise CheckpointError(f"{checkpoint.path} does not state the data it was trained with; predict with it instead")
    try:
        config = plain_config(trained, source, split, seed, data_dir, cache_dir)
        datamodule = make_datamodule(config)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{checkpoint.path} keeps a configuration that lacks or has malformed {error}") from error
    if csv is not None:
        if (source, split, seed, fold) != (None, None, None, "test"):
            raise ConfigError("all beats of a CSV file are tested: it takes no other source, split, seed or fold")
        config["source"] = {"name": csv.name}
        if not csv.is_file():
            raise ConfigError(f"{csv} is not there; give a CSV file of beats in Kaggle's format")
        given = beats_of_csv(csv, classes=estimator.task.classes, origin={"source": "csv", "dataset": csv.name})
        nothing, protocol = np.arange(0), Protocol(name="all", seed=0, by="none")
        folds = Folds(train=nothing, validation=nothing, test=np.arange(len(given)), protocol=protocol)
        datamodule.use(given, folds)
    datamodule.setup()
    beats = datamodule.beats
    check_classes(beats, estimator.task)
    estimator.input.check(beats, whose=str(checkpoint.path))

    tested = beats.select(np.sort(datamodule.folds.named()[fold]))
    probabilities = estimator.predict_proba(tested)
    record = make_record(
        config=config,
        composed=config,
        overrides=(),
        datamodule=datamodule,
        estimator=estimator,
        beats=tested,
        probabilities=probabilities,
        fold=fold,
        val=checkpoint.scores or {},
        best_epoch=checkpoint.epoch,
        wall_s=time.perf_counter() - clock,
        kind="evaluation",
        checkpoint=str(checkpoint.path),
        warning=_warning(checkpoint, config, beats),
    )
    return record if output_dir is None else save_run(output_dir, record, tested, probabilities)


def plain_config(
    trained: Mapping[str, Any],
    source: str | None = None,
    split: str | None = None,
    seed: int | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """The configuration of a run with other source, split, seed and folders where given; see `evaluate`.

    It is in plain values, interpolations resolved. An unknown source or split is a ConfigError, and what it lacks or
    has malformed a KeyError or TypeError.
    """
    config = dict(trained)
    if source is not None and source != trained["source"]["name"]:
        config["source"] = _chosen("source", source)
    if (source, split, seed) != (None, None, None):
        # Nothing is trained here, and a part of the training fold may not exist in other beats.
        config["split"] = {**trained["split"], "train_size": None}
    if split is not None and (chosen := _chosen("split", split)) and _name(chosen) != _name(trained["split"]):
        shared = {"seed", "test_fraction", "validation_fraction", "fold", "n_folds"} & trained["split"].keys()
        config["split"] = {key: trained["split"][key] if key in shared else value for key, value in chosen.items()}
    if seed is not None:
        config["split"]["seed"] = seed
    if data_dir is None:
        own = Path(trained["data_dir"]).expanduser()
        data_dir = own if own.exists() else Path(os.environ.get("ECG_DATA_DIR", "data"))
    # The cache is written to: a checkpoint from elsewhere must not decide where it is.
    cache_dir = cache_dir or Path(os.environ.get("ECG_CACHE_DIR", "~/.cache/ecg_lightning"))
    return {**config, "data_dir": str(data_dir), "cache_dir": str(cache_dir)}


def _chosen(group: str, name: str) -> dict[str, Any]:
    return validated(compose([f"{group}={name}"], output_dir="."))[group]  # type: ignore[no-any-return]


def _name(split: Mapping[str, Any]) -> str:
    return str(split.get("name") or split["protocol"])


def _warning(checkpoint: Checkpoint, config: Mapping[str, Any], beats: Beats) -> str | None:
    """Why the model may have been trained on some of these beats, if it may."""
    data = checkpoint.about.get("data", {})
    splits = [
        {key: value for key, value in one["split"].items() if key not in ("train_size", "train_unit")}
        for one in (checkpoint.about["config"], config)
    ]
    same_beats = data.get("fingerprint") == beats.fingerprint
    if (same_beats and splits[0] == splits[1]) or bool(data.get("synthetic")) != beats.synthetic:
        return None
    changed = "the split differs" if same_beats else "the beats are of the same dataset, but differ"
    return f"{changed} from training: some of the tested beats may have been trained on, so the metrics may be too good"
