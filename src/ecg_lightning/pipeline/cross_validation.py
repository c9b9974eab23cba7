"""Cross-validation over the training people of a run: what its recipe reaches, and its operating point.

For each of ``operating_point.folds`` groups of the people to train and validate on, the recipe is trained on others:
every training beat is predicted by a model that has not seen its person. A fold is a run of its own in
``cross_validation/0``, …, by the setting ``split.inner_fold``; one that is finished is not trained again.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, open_dict

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.progress import tracked
from ecg_lightning.core.provenance import config_digest
from ecg_lightning.data.beats import Beats, FloatArray
from ecg_lightning.data.splits import split
from ecg_lightning.metrics.operating_point import OperatingPoint, choose
from ecg_lightning.pipeline.build import Experiment, build
from ecg_lightning.runs.discover import FOLDS
from ecg_lightning.runs.predictions import PREDICTIONS, RECORD, labels_and_probabilities, read_predictions
from ecg_lightning.runs.schema import RunRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """The training beats, ``[n]``, and their probabilities ``[n, classes]`` by models that have not seen their people.

    `at_point` are those at the operating points that the people of other folds have chosen.
    """

    beats: Beats
    probabilities: FloatArray
    point: OperatingPoint
    at_point: FloatArray


def cross_validate(experiment: Experiment, run: Callable[[Experiment], RunRecord]) -> CrossValidation | None:
    """Train and test each fold by `run`, unless it is finished; None if the experiment asks for no folds.

    Raises:
        ConfigError: the people are not known, are on both sides of the split, or are fewer than folds; several devices,
            which would each train all folds.
        Others as `run`.
    """
    config, datamodule = experiment.config, experiment.datamodule
    n_folds, specificity = config["operating_point"]["folds"], config["operating_point"]["specificity"]
    if n_folds is None:
        return None
    beats, parts = datamodule.beats, []
    if getattr(getattr(experiment.estimator, "trainer", None), "world_size", 1) > 1:
        raise ConfigError("operating_point.folds are trained on one device: add trainer.devices=1")
    for fold in tracked(range(n_folds), "cross-validation", "folds"):
        inner = {**datamodule.split_settings, "inner_fold": fold, "inner_folds": n_folds}
        rows = np.sort(split(beats, **inner).test)
        folder = experiment.output_dir / FOLDS / str(fold)
        cfg = _of_fold(experiment.cfg, folder, fold, n_folds)
        if not _is_finished(cfg, folder, beats.fingerprint):
            log.info("fold %d of %d of the training people", fold + 1, n_folds)
            run(build(cfg))
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # of part of the people: nobody should use them
        predicted = labels_and_probabilities(read_predictions(folder / PREDICTIONS)[0], beats.classes)[1]
        parts.append((rows, predicted, np.full(len(rows), fold)))
    rows, probabilities, folds = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = rows.argsort()
    tested, probabilities, folds = beats.select(rows[order]), probabilities[order], folds[order]
    assert tested.patients is not None  # or they could not be divided
    labels, people = tested.known_labels, tested.patients
    point, at_point = choose(labels, probabilities, tested.classes, people, folds, specificity=specificity)
    return CrossValidation(beats=tested, probabilities=probabilities, point=point, at_point=at_point)


def _of_fold(cfg: DictConfig, folder: Path, fold: int, n_folds: int) -> DictConfig:
    """The configuration of one fold: the same recipe on other people."""
    inner = cfg.copy()
    with open_dict(inner):
        inner.split.inner_fold, inner.split.inner_folds = fold, n_folds
        inner.operating_point.folds, inner.tested, inner.test_on = None, "test", []
        inner.output_dir = str(folder.absolute()).replace("${", "\\${")
        inner.ckpt_path, inner.report = None, "none"
        inner.logger = {name: one for name, one in (inner.logger or {}).items() if name == "csv"}  # a part of one run
    return inner


def _is_finished(cfg: DictConfig, folder: Path, fingerprint: str) -> bool:
    if not (folder / RECORD).is_file():
        return False
    record = RunRecord.read(folder / RECORD)
    return (record.config_digest, record.fingerprint) == (config_digest(cfg), fingerprint)
