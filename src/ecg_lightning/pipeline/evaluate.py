"""Testing a checkpoint, with what it stores of its run, on the beats of that run or of other databases.

Beats of another database are resampled and cut as the checkpoint's input demands, its leads found by the names or
positions of the training, and its classes by their names. Beats of classes that the model does not know are left out
and counted in the record.
"""

import dataclasses
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ecg_lightning.core.atomic import temporary_folder
from ecg_lightning.core.errors import CheckpointError, ConfigError, DataError
from ecg_lightning.core.paths import home_expanded
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.card import cards_of, leads_of
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.names import numbered
from ecg_lightning.data.splits import LISTED
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.metrics.operating_point import OperatingPoint
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.pipeline.build import check_task, make_datamodule
from ecg_lightning.pipeline.cards import new_card
from ecg_lightning.pipeline.config import choices, compose, conf_dirs, quiet
from ecg_lightning.pipeline.detected import check_detectable, on_detected_peaks
from ecg_lightning.pipeline.predictor import fitted
from ecg_lightning.pipeline.record import make_record
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run
from ecg_lightning.training.checkpoint import Checkpoint, malformed, read_checkpoint
from ecg_lightning.training.estimator import Estimator, load_estimator
from ecg_lightning.training.tasks import Task, task_of

log = logging.getLogger(__name__)

UNKNOWN = "of classes unknown to the model"  # in ``dropped`` of a record
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
    detector: str | None = None,
    operating_point: bool = False,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    config_dir: Path | str | None = None,
    output_dir: Path | None = None,
    device: Literal["cpu", "auto"] = "auto",
) -> RunRecord:
    """Test a checkpoint; by default with exactly the metrics of its run.

    Args:
        path: a checkpoint, or a run's folder.
        on: another database, all beats of which are tested: the name of its card, or a folder of recordings;
            ``svdb:svdb_halves``, or with `split`, tests those of a split.
        leads: of the other database, as ``dataset.leads``; None for those of the training, by name or position.
        csv: a file of beats in Kaggle's format, all of which are tested, instead of a database.
        split: another one, one of the choices in ``conf/split``.
        seed: another one of the split.
        fold: which beats of the split.
        detector: of the R peaks, see `ecg_lightning.data.rpeaks`; None takes the annotated ones. The scores are then of
            the beats that match an annotated one, and ``matched`` counts missed and extra ones, beside the scores with
            given beats.
        operating_point: predict at that of the checkpoint, not the most probable class. Without, the record has the
            scores at it besides, if there is one.
        data_dir: where the data are; None for that of the run if it exists, else ``ECG_DATA_DIR``, else ``data``.
        cache_dir: cache for prepared beats; None for ``ECG_CACHE_DIR``, else the user's cache.
        config_dir: folder with more cards and splits, as ``--config-dir``.
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
    if csv is not None and (on, split, seed, fold, detector) != (None, None, None, "test", None):
        raise ConfigError("all beats of a CSV file are tested: it takes no other database, split, seed, fold or peaks")
    if leads is not None and on is None:
        raise ConfigError("leads are those of another database: add on=…")
    checkpoint = read_checkpoint(path)
    where: dict[str, Any] = {"data_dir": data_dir, "cache_dir": cache_dir, "config_dir": config_dir}
    with _malformed(checkpoint):
        trained = _config_of(checkpoint)
        card = None if csv is None else _card_of_rows(csv, trained["dataset"], task_of(checkpoint.require()))
        how: dict[str, Any] = {"leads": leads, "split": split, "seed": seed, "fold": fold, "detector": detector}
        chosen = _choose(trained, on=on, card=card, **how, **where)
    return _test(checkpoint, chosen, output_dir, device, operating_point)


def evaluate_on(
    path: Path | str,
    databases: Sequence[str],
    *,
    operating_point: bool = False,
    output_dir: Path | None = None,
    device: Literal["cpu", "auto"] = "auto",
    **others: Any,
) -> dict[str, RunRecord]:
    """Test a checkpoint on several databases, each in a folder of its own within `output_dir`.

    `databases` and `others` are as ``on`` and further arguments of `evaluate`, with the same errors; all of them are
    raised before the first test, apart from what only reading the recordings can show. Returns the record of each
    database by the name of its folder: ``svdb``, or ``svdb-svdb_halves`` for those of a split.
    """
    quiet()
    checkpoint = read_checkpoint(path)
    with _malformed(checkpoint):
        chosen = check_databases(_config_of(checkpoint), databases, **others)
    # Popped, because each keeps its beats in memory.
    return {
        name: _test(checkpoint, chosen.pop(name), output_dir and output_dir / name, device, operating_point)
        for name in [*chosen]
    }


class Chosen(NamedTuple):
    """What is to be tested."""

    config: dict[str, Any]
    datamodule: BeatDataModule
    read: Callable[[], None]  # reads its beats
    fold: Literal["test", "validation"]
    detector: str | None


def check_databases(trained: Mapping[str, Any], databases: Sequence[str], **others: Any) -> dict[str, Chosen]:
    """What `evaluate_on` tests, for a model of `trained`; its errors, short of those that reading recordings shows."""
    detector = re.sub(r"\W+", "_", others.get("detector") or "")
    names = ["-".join(filter(None, (Path(name).name, split, detector))) for name, split in map(_parts, databases)]
    if len(set(names)) < len(names):
        raise ConfigError(f"test on {', '.join(databases)}: expected databases of different names")
    chosen = {name: _choose(trained, on=on, **others) for name, on in zip(names, databases, strict=True)}
    for one in chosen.values():
        one.datamodule.source.files()
    return chosen


def _choose(
    trained: Mapping[str, Any],
    *,
    on: str | None = None,
    card: Mapping[str, Any] | None = None,
    leads: Sequence[Any] | None = None,
    split: str | None = None,
    seed: int | None = None,
    fold: Literal["test", "validation"] = "test",
    detector: str | None = None,
    config_dir: Path | str | None = None,
    **folders: Path | None,
) -> Chosen:
    """The beats of the run, or of another database `on`, or of a `card`; `folders` are those of `plain_config`."""
    name, of_split = ("", None) if on is None else _parts(on)
    split = of_split or split
    config = plain_config(trained, split, seed, config_dir=config_dir, **folders)
    if on is not None:
        if not split and (seed, fold) != (None, "test"):
            raise ConfigError(f"all beats of {on} are tested, without a seed or fold: add a split, such as patient")
        config["dataset"] = _other_card(name, trained["dataset"], leads, config_dir)
        check_task(config)
    elif card is not None:
        config["dataset"] = dict(card)
    datamodule = make_datamodule(config)
    is_whole = card is not None or (on is not None and not split)
    read = partial(datamodule.use_all, cached=card is None) if is_whole else partial(datamodule.setup, "test")
    if detector is not None:
        check_detectable(datamodule.source, detector)
    return Chosen(config, datamodule, read, fold, detector)


def _parts(on: str) -> tuple[str, str | None]:
    """Database and split of ``svdb:svdb_halves``; a folder has no split. ConfigError for nothing."""
    name, _, split = (on, "", "") if home_expanded(on).is_dir() else on.partition(":")
    if not name:
        raise ConfigError(f"test on '{on}': expected the name of a database, such as svdb, or a folder")
    return name, split or None


def _test(
    checkpoint: Checkpoint, chosen: Chosen, output_dir: Path | None, device: Literal["cpu", "auto"], at_point: bool
) -> RunRecord:
    """Predict and score; the record is saved in `output_dir`, if any."""
    clock = time.perf_counter()
    config, datamodule, read, fold, detector = chosen
    point = fitted(OperatingPoint, checkpoint.operating_point, checkpoint.path)
    if at_point and point is None:
        raise ConfigError(
            f"{checkpoint.path} has no operating point: train it with operating_point.folds=5, or leave it"
        )
    estimator = load_estimator(checkpoint, device=device)
    with _malformed(checkpoint):
        read()
        beats, rows = datamodule.beats, np.sort(datamodule.folds.named()[fold])
    # Selecting copies them.
    tested, unknown = _in_classes_of(estimator, beats if len(rows) == len(beats) else beats.select(rows))
    estimator.input.check(tested, whose=str(checkpoint.path))
    probabilities = estimator.predict_proba(tested)
    if not np.isfinite(probabilities).all():
        raise CheckpointError(f"{checkpoint.path} predicts NaN: its weights are damaged, or its training has diverged")
    matched, applied = None, point if at_point else None
    if applied is not None:
        probabilities = applied.apply(probabilities, tested.classes)
    if detector is not None:
        tested, probabilities, matched = on_detected_peaks(
            datamodule, tested, probabilities, estimator, detector, applied
        )
    home, here = (str(one["dataset"]["name"]) for one in (_config_of(checkpoint), config))
    fitted(Calibration, checkpoint.calibration, checkpoint.path)
    with _malformed(checkpoint):
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
            trained_on=home if here != home else None,
            detector=detector,
            matched=matched,
            operating_point=point and point.plain(),
            is_at_operating_point=at_point,
            warning=_warning(checkpoint, config, datamodule, tested),
        )
    if point is not None and applied is None:
        at = score_beats(tested, point.apply(probabilities, tested.classes), estimator.task.positive)
        record = record.model_copy(update={"at_operating_point": at})
    if unknown or matched:
        n, dropped = {**record.n, fold: len(tested)}, {**record.dropped, **({UNKNOWN: unknown} if unknown else {})}
        record = record.model_copy(update={"n": n, "dropped": dropped})
    return record if output_dir is None else save_run(output_dir, record, tested, probabilities)


def plain_config(
    trained: Mapping[str, Any],
    split: str | None = None,
    seed: int | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
    config_dir: Path | str | None = None,
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
        chosen = validated(compose([f"split={split}"], output_dir=".", config_dir=config_dir))["split"]
        names = [one.get("name") or one["protocol"] for one in (chosen, trained["split"])]
        if names[0] != names[1]:
            shared = SHARED & trained["split"].keys()
            config["split"] = {key: trained["split"][key] if key in shared else value for key, value in chosen.items()}
    if seed is not None:
        config["split"]["seed"] = seed
    if data_dir is None:
        own = trained.get("data_dir")  # weights that ship state none
        if own is None or not home_expanded(own).exists():
            own = os.environ.get("ECG_DATA_DIR", "data")
        data_dir = home_expanded(own)
    # The cache is written to: a checkpoint from elsewhere must not decide where it is.
    cache_dir = cache_dir or Path(os.environ.get("ECG_CACHE_DIR", "~/.cache/ecg_lightning"))
    return {**config, "data_dir": str(data_dir), "cache_dir": str(cache_dir)}


def _other_card(
    name: str, home: Mapping[str, Any], leads: Sequence[Any] | None, config_dir: Path | str | None
) -> dict[str, Any]:
    """The card of another database, cut, and with leads and standard symbols in classes, as in the training."""
    names, folder = choices(conf_dirs(config_dir))["dataset"], home_expanded(name)
    is_draft = name not in names and folder.is_dir()
    with temporary_folder() as drafts:
        if is_draft:
            name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_") or "folder"
            name += "_folder" * (name in names)
            new_card(folder, name, drafts)
            config_dir = drafts
        card: dict[str, Any] = validated(compose([f"dataset={name}"], output_dir=".", config_dir=config_dir))["dataset"]
        if is_draft:
            taken = ", ".join(f"{key} {card[key]}" for key in ("annotator", "class_map", "patients"))
            log.warning("%s has no card, so what was found in it counts: %s; data new writes a card", folder, taken)
    maps, own = ([one.get("class_map") for one in cards_of(of).values()] for of in (home, card))
    known = [one for one in maps if one]
    if known and all(one == known[0] for one in known) and all(isinstance(one, str) for one in own):
        card["class_map"] = known[0]
    # Beats that are cut already keep their rate and length, which are then compared with the checkpoint's.
    cut = card["cut"] if card.get("reader") == "rows" else dict(home["cut"])
    return {**card, "leads": leads_of(home) if leads is None else list(leads), "cut": cut}


def _card_of_rows(csv: Path, home: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """A card for one file of beats in Kaggle's format."""
    if not csv.is_file():
        raise ConfigError(f"{csv} is not there; give a CSV file of beats in Kaggle's format")
    rows = {"files": [csv.name], "test_file": None, "labels": "last", "classes": list(task.classes)}
    return {
        "name": csv.name, "title": csv.name, "task": task.name, "reader": "rows", "leads": ["II"],
        "folder": str(csv.absolute().parent), "rows": {**rows, "outside": "refuse"},
        "cut": dict(home["cut"]), "drop_duplicates": False,
    }  # fmt: skip


def _malformed(checkpoint: Checkpoint) -> AbstractContextManager[None]:
    """Errors about the content of a configuration become a CheckpointError."""
    return malformed(f"{checkpoint.path} keeps a configuration that lacks or has malformed")


def _config_of(checkpoint: Checkpoint) -> Mapping[str, Any]:
    checkpoint.require()
    trained = checkpoint.config
    if not trained:
        raise CheckpointError(f"{checkpoint.path} does not state the data it was trained with; predict with it instead")
    return trained


def _in_classes_of(estimator: Estimator, beats: Beats) -> tuple[Beats, dict[str, int]]:
    """The beats of the estimator's classes, matched by name, and how many there are of each other class.

    ConfigError if none is of its classes.
    """
    classes = estimator.task.classes
    place = np.array([classes.index(name) if name in classes else -1 for name in beats.classes])
    labels = place[beats.known_labels]
    if not (labels >= 0).any():
        raise ConfigError(
            f"{estimator.name} knows the classes {', '.join(classes)}, these beats have {', '.join(beats.classes)}: "
            "choose a class map with the same names"
        )
    unknown = {name: n for name, n in beats.counts().items() if name not in classes and n}
    kept = beats.select(labels >= 0) if unknown else beats
    return dataclasses.replace(kept, labels=labels[labels >= 0], classes=classes), unknown


def _warning(
    checkpoint: Checkpoint, config: Mapping[str, Any], datamodule: BeatDataModule, tested: Beats
) -> str | None:
    """Why the model may have been trained on some of the tested beats, if it may."""
    data, home = checkpoint.about.get("data") or {}, checkpoint.config
    splits = [
        {key: value for key, value in one["split"].items() if key not in ("train_size", "train_unit")}
        for one in (home, config)
    ]
    same_beats = data.get("fingerprint") == datamodule.beats.fingerprint
    same_split = splits[0] == splits[1] and datamodule.folds.protocol.by != "none"
    # Lists of records divide other leads of a database in the same way.
    same_names = home["dataset"]["name"] == config["dataset"]["name"] and datamodule.folds.protocol.by in LISTED
    if ((same_beats or same_names) and same_split) or bool(data.get("synthetic")) != tested.synthetic:
        return None
    people = [{_people_of(card) for card in cards_of(one["dataset"]).values()} for one in (home, config)]
    if (not same_beats and not people[0] & people[1]) or _others_were_trained_on(config, home, tested):
        return None
    changed = "the split differs" if same_beats else "the beats are of the same people, but differ"
    return f"{changed} from training: some of the tested beats may have been trained on, so the metrics may be too good"


def _people_of(card: Mapping[str, Any]) -> str:
    """The database whose people a card's are; the Kaggle files are of MIT-BIH and PTB."""
    patients = card.get("patients")
    other = patients.get("database") if isinstance(patients, Mapping) else None
    return str(other or card["name"]).removeprefix("kaggle_")


def _others_were_trained_on(config: Mapping[str, Any], home: Mapping[str, Any], tested: Beats) -> bool:
    """Whether it is known that no tested person is in the training and validation fold of the run."""
    places = {key: config[key] for key in ("data_dir", "cache_dir")}
    try:
        datamodule = make_datamodule({**home, **places})
        datamodule.setup("test")
    except (DataError, ConfigError):
        return False
    folds = datamodule.folds
    trained = datamodule.beats.select(np.concatenate([folds.train, folds.validation]))
    sides = [_patients(one, of["dataset"]) for one, of in ((trained, home), (tested, config))]
    return bool(sides[0] and sides[1] and not sides[0] & sides[1])


def _patients(beats: Beats, dataset: Mapping[str, Any]) -> set[str]:
    """The patients, named as those of several databases; none where they are not known."""
    names = [] if beats.patients is None else numbered(beats.patients)[0].tolist()
    return set(names) if beats.databases is not None else {f"{_people_of(dataset)}/{name}" for name in names}
