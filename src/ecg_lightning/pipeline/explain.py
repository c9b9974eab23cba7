"""Explaining a finished run from its folder: mistakes, saliency and embedding of its test beats."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from ecg_lightning.core.errors import DataError, EcgLightningError
from ecg_lightning.core.progress import progress
from ecg_lightning.data.beats import Beats, FloatArray
from ecg_lightning.explain.embedding import embed, last_features
from ecg_lightning.explain.facts import Explanation
from ecg_lightning.explain.mistakes import find_mistakes
from ecg_lightning.explain.occlusion import occlude_beats
from ecg_lightning.explain.saliency import N_RANDOM, explain_beats
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import quiet
from ecg_lightning.pipeline.evaluate import plain_config
from ecg_lightning.pipeline.predictor import metadata_of
from ecg_lightning.runs.predictions import PREDICTIONS, RECORD, labels_and_probabilities, read_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.estimator import EnsembleEstimator, Estimator, NetworkEstimator, load_estimator

# Beats do not depend on these parts of a configuration, and only a job of Hydra can resolve them.
OF_A_JOB = ("transfer", "callbacks", "logger", "output_dir", "ckpt_path", "hydra")

N_PROBED = 64  # test beats by which a checkpoint is recognised
LARGEST_DIFFERENCE = 0.2  # of a probability, between the precisions of training and of this module

SMALLEST = 1e-7  # lower bound of probabilities, for an embedding by their logarithms


def explain_run(
    folder: Path | str,
    *,
    embedding: bool = True,
    seed: int = 0,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> Explanation:
    """Explain the predictions of a finished run for its test beats, as far as its folder and the data allow.

    Predictions are read from its ``predictions.parquet``; the beats are read again and must have the same fingerprint;
    the model is that of its best checkpoint, in single precision. What a folder lacks is a remark, not an error.

    Args:
        folder: the run's folder.
        embedding: whether to compute the embedding, which takes some ten seconds.
        seed: for randomised models and the embedding.
        data_dir, cache_dir: see `ecg_lightning.pipeline.evaluate.evaluate`.
    """
    quiet()
    folder = Path(folder).expanduser()
    try:
        record = RunRecord.read(folder / RECORD)
        table, info = read_predictions(folder / PREDICTIONS)
        beats = _beats_of_run(folder, record, data_dir, cache_dir)
        labels, probabilities = labels_and_probabilities(table, info.classes)
        if not np.array_equal(labels, beats.known_labels):
            raise DataError(f"{folder} was tested on other beats than its configuration selects")
    except (EcgLightningError, KeyError, TypeError, AttributeError, ValueError) as error:
        return Explanation(remarks=(f"No beats can be shown: {_reason(error)}.",))
    cut = beats.origin.get("cut", beats.origin)
    found = Explanation(
        classes=beats.classes,
        fs=beats.fs,
        length=beats.length,
        lead_names=beats.lead_names,
        before=float(cut.get("before", 0.0)),
        rr_factor=float(cut.get("rr_factor", 1.2)),
        scaling=str(cut.get("scaling", "beat")),
        synthetic=beats.synthetic,
        baseline=record.baseline,
        mistakes=find_mistakes(beats, probabilities),
    )
    try:
        checkpoint = read_checkpoint(record.checkpoint or folder)
        estimator = load_estimator(checkpoint, device="cpu")
        estimator.input.check(beats, whose=str(checkpoint.path))
        if metadata_of(checkpoint)["around"]:
            remark = (
                "No saliency and no embedding are shown: the output of this model depends on the beats around each."
            )
            return replace(found, remarks=(remark,))
        unclear = probabilities.max(axis=1).argsort(kind="stable")[:N_PROBED]  # of which two models differ most
        if np.abs(estimator.predict_proba(beats.select(unclear)) - probabilities[unclear]).max() > LARGEST_DIFFERENCE:
            raise DataError(f"{checkpoint.path} does not predict what the run has predicted: it is of another run")
    except EcgLightningError as error:
        return replace(found, remarks=(f"No saliency and no embedding can be shown: {_reason(error)}.",))
    with progress(f"computing the saliency{' and the embedding' * embedding} of test beats"):
        if isinstance(estimator, NetworkEstimator):
            saliency = explain_beats(estimator.classifier.model, estimator.task, beats, probabilities, seed=seed)
        elif isinstance(estimator, EnsembleEstimator):
            saliency, found = None, replace(found, remarks=("Of an ensemble no saliency is shown: see its members.",))
        else:
            randomised = [estimator.randomised(seed + i).predict_proba for i in range(N_RANDOM)]
            saliency = occlude_beats(estimator.predict_proba, randomised, beats, probabilities)
        shown = embed(lambda chosen: _features(estimator, chosen), beats, seed=seed) if embedding else None
    return replace(found, saliency=saliency, embedding=shown)


def _beats_of_run(folder: Path, record: RunRecord, data_dir: Path | None, cache_dir: Path | None) -> Beats:
    """The beats that a run was tested on, in the order of its predictions."""
    try:
        config = OmegaConf.create({key: value for key, value in record.config.items() if key not in OF_A_JOB})
        plain: Any = OmegaConf.to_container(config, resolve=True)
    except Exception as error:  # whatever a malformed configuration makes the parser raise
        raise DataError(f"{folder / RECORD} holds no configuration of a run: {_reason(error)}") from error
    datamodule = make_datamodule(plain_config(plain, data_dir=data_dir, cache_dir=cache_dir))
    datamodule.setup("test")
    if datamodule.beats.fingerprint != record.fingerprint:
        raise DataError(
            f"the beats in data_dir have the fingerprint {datamodule.beats.fingerprint}, those of {folder} had "
            f"{record.fingerprint}; give the data of that run"
        )
    return datamodule.beats.select(np.sort(datamodule.folds.named()[record.fold]))


def _features(estimator: Estimator, beats: Beats) -> FloatArray:
    if isinstance(estimator, NetworkEstimator):
        return last_features(estimator.classifier.model, beats)
    return np.log(np.maximum(estimator.predict_proba(beats), SMALLEST))


def _reason(error: Exception) -> str:
    """An error in one sentence, without the full stop."""
    if not isinstance(error, EcgLightningError):
        return f"its record lacks or has malformed {error}"
    return " ".join(str(error).split()).removesuffix(".")
