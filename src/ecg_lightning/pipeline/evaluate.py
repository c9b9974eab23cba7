"""Testing a checkpoint, with what it stores of its run, on the beats of that run or of other databases."""

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.card import cards_of
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose, quiet
from ecg_lightning.pipeline.record import make_record
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run
from ecg_lightning.training.checkpoint import Checkpoint, read_checkpoint
from ecg_lightning.training.estimator import Estimator, load_estimator

SHARED = {"seed", "test_fraction", "validation_fraction", "fold", "n_folds"}  # settings that another split keeps


def evaluate(
    path: Path | str,
    *,
    on: str | None = None,
    leads: Sequence[Any] | None = None,
    csv: Path | None = None,
    split: str | None = None,
    seed: int | None = None,
    fold: Literal["test", "validation"] = "test",
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    config_dir: Path | str | None = None,
    output_dir: Path | None = None,
    device: Literal["cpu", "auto"] = "auto",
) -> RunRecord:
    """Test a checkpoint; by default with exactly the metrics of its run.

    Args:
        path: a checkpoint, or a run's folder.
        on: another database by the name of its card, all beats of which are tested, cut and scaled as the checkpoint's
            input demands; ``svdb:svdb_halves`` tests those of a split.
        leads: of the other database, as ``dataset.leads``; None for those of the training, by name or position.
        csv: a file of beats in Kaggle's format, all of which are tested, instead of a database.
        split, seed: other split, one of the choices in ``conf/split``, and other seed of it.
        fold: which beats of the split.
        data_dir: where the data are; None for that of the run if it exists, else ``ECG_DATA_DIR``, else ``data``.
        cache_dir: cache for prepared beats; None for ``ECG_CACHE_DIR``, else the user's cache.
        config_dir: folder with more cards, as ``--config-dir``.
        output_dir: where to write record and predictions; None for nowhere.
        device: ``cpu``, or the best available.

    Returns:
        A record of the kind ``evaluation``; its ``warning`` is set if the model may have been trained on these beats.

    Raises:
        CheckpointError: the file cannot be read, does not state its data, or does not fit these beats.
        DataError: the beats are missing or damaged, or the folder cannot be written.
        ConfigError: the beats cannot be split in this way, have none of the classes, or lack the leads.
    """
    quiet()
    clock = time.perf_counter()
    checkpoint = read_checkpoint(path)
    estimator = load_estimator(checkpoint, device=device)
    trained = checkpoint.about.get("config")
    if not trained:
        raise CheckpointError(f"{checkpoint.path} does not state the data it was trained with; predict with it instead")
    name, _, of_split = (on or "").partition(":")
    if csv is not None and (on, split, seed, fold) != (None, None, None, "test"):
        raise ConfigError("all beats of a CSV file are tested: it takes no other database, split, seed or fold")
    try:
        config = plain_config(trained, of_split or split, seed, data_dir, cache_dir)
        if on is not None:
            config["dataset"] = _other_card(name, trained["dataset"], checkpoint, leads, config_dir)
        elif csv is not None:
            config["dataset"] = _card_of_rows(csv, trained["dataset"], estimator)
        elif leads is not None:
            raise ConfigError("leads are those of another database: add on=…")
        datamodule = make_datamodule(config)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{checkpoint.path} keeps a configuration that lacks or has malformed {error}") from error
    if (on is not None and not (of_split or split)) or csv is not None:
        datamodule.use_all(cached=csv is None)
    else:
        datamodule.setup()
    tested = datamodule.beats.select(np.sort(datamodule.folds.named()[fold]))
    if on is not None or csv is not None:
        tested = _in_classes_of(estimator, tested)
    elif tested.classes != estimator.task.classes:
            raise ConfigError(
                f"{checkpoint.path} has the classes {', '.join(estimator.task.classes)}, these beats "
                f"{', '.join(tested.classes)}"
            )
    estimator.input.check(tested, whose=str(checkpoint.path))

    probabilities = estimator.predict_proba(tested)
    home = str(trained["dataset"]["name"])
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
        trained_on=home if config["dataset"]["name"] != home else None,
        warning=_warning(checkpoint, config, datamodule.beats),
    )
    return record if output_dir is None else save_run(output_dir, record, tested, probabilities)


def plain_config(
    trained: Mapping[str, Any],
    split: str | None = None,
    seed: int | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """The configuration of a run with other split, seed and folders where given; see `evaluate`.

    It is in plain values, interpolations resolved. An unknown split is a ConfigError, and what it lacks or has
    malformed a KeyError or TypeError.
    """
    config = dict(trained)
    if (split, seed) != (None, None):
        # Nothing is trained here, and a part of the training fold may not exist in other beats.
        config["split"] = {**trained["split"], "train_size": None}
    if split is not None:
        chosen = validated(compose([f"split={split}"], output_dir="."))["split"]
        if _name(chosen) != _name(trained["split"]):
            shared = SHARED & trained["split"].keys()
            config["split"] = {key: trained["split"][key] if key in shared else value for key, value in chosen.items()}
    if seed is not None:
        config["split"]["seed"] = seed
    if data_dir is None:
        own = Path(trained["data_dir"]).expanduser()
        data_dir = own if own.exists() else Path(os.environ.get("ECG_DATA_DIR", "data"))
    # The cache is written to: a checkpoint from elsewhere must not decide where it is.
    cache_dir = cache_dir or Path(os.environ.get("ECG_CACHE_DIR", "~/.cache/ecg_lightning"))
    return {**config, "data_dir": str(data_dir), "cache_dir": str(cache_dir)}


def _other_card(
    name: str,
    home: Mapping[str, Any],
    checkpoint: Checkpoint,
    leads: Sequence[Any] | None,
    config_dir: Path | str | None,
) -> dict[str, Any]:
    """The card of another database, cut and with leads as the checkpoint's input demands."""
    card: dict[str, Any] = validated(compose([f"dataset={name}"], output_dir=".", config_dir=config_dir))["dataset"]
    chosen = list(checkpoint.input.leads) if leads is None else list(leads)
    # Beats that are cut already keep their rate and length, which are then compared with the checkpoint's.
    return {**card, "leads": chosen, "cut": card["cut"] if card["reader"] == "rows" else dict(home["cut"])}


def _card_of_rows(csv: Path, home: Mapping[str, Any], estimator: Estimator) -> dict[str, Any]:
    """A card for one file of beats in Kaggle's format."""
    if not csv.is_file():
        raise ConfigError(f"{csv} is not there; give a CSV file of beats in Kaggle's format")
    rows = {"files": [csv.name], "test_file": None, "labels": "last", "classes": list(estimator.task.classes)}
    return {
        "name": csv.name, "title": csv.name, "task": estimator.task.name, "reader": "rows", "leads": ["II"],
        "folder": str(csv.absolute().parent), "rows": {**rows, "outside": "refuse"}, "cut": dict(home["cut"]),
        "drop_duplicates": False,
    }  # fmt: skip


def _in_classes_of(estimator: Estimator, beats: Beats) -> Beats:
    """The beats of the estimator's classes, matched by name; ConfigError if there is none."""
    classes = estimator.task.classes
    place = np.array([classes.index(name) if name in classes else -1 for name in beats.classes])
    labels = place[beats.known_labels]
    if not (labels >= 0).any():
        raise ConfigError(
            f"{estimator.name} knows the classes {', '.join(classes)}, these beats have {', '.join(beats.classes)}: "
            "choose a class map with the same names"
        )
    kept = beats.select(labels >= 0)
    return dataclasses.replace(kept, labels=labels[labels >= 0], classes=classes)


def _name(split: Mapping[str, Any]) -> str:
    return str(split.get("name") or split["protocol"])


def _warning(checkpoint: Checkpoint, config: Mapping[str, Any], beats: Beats) -> str | None:
    """Why the model may have been trained on some of these beats, if it may."""
    data, home = checkpoint.about.get("data", {}), checkpoint.about["config"]
    splits = [
        {key: value for key, value in one["split"].items() if key not in ("train_size", "train_unit")}
        for one in (home, config)
    ]
    same_beats = data.get("fingerprint") == beats.fingerprint
    if (same_beats and splits[0] == splits[1]) or bool(data.get("synthetic")) != beats.synthetic:
        return None
    if not same_beats and not _people(home) & _people(config):
        return None
    changed = "the split differs" if same_beats else "the beats are of the same people, but differ"
    return f"{changed} from training: some of the tested beats may have been trained on, so the metrics may be too good"


def _people(config: Mapping[str, Any]) -> set[str]:
    """The databases whose people are recorded; the Kaggle files are of MIT-BIH and PTB."""
    found = set()
    for card in cards_of(config["dataset"]).values():
        patients = card.get("patients")
        other = patients.get("database") if isinstance(patients, Mapping) else None
        found.add(str(other or card["name"]).removeprefix("kaggle_"))
    return found
