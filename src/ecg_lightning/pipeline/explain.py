"""Explaining a finished run from its folder: mistakes, saliency and embedding of the beats that it was tested on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError, EcgLightningError
from ecg_lightning.data.beats import Beats
from ecg_lightning.explain.embedding import Embedding, embed
from ecg_lightning.explain.mistakes import Mistakes, find_mistakes
from ecg_lightning.explain.saliency import Saliency, explain_beats
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.evaluate import check_fit, plain_config
from ecg_lightning.runs.predictions import labels_and_probabilities, read_predictions
from ecg_lightning.training.baselines import BASELINES
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What can be shown of a run's network and its test beats, in plain values.

    Attributes:
        classes: names of the classes.
        fs: sampling rate of the beats in Hz.
        length: samples a beat, padding included.
        lead_names: names of the leads.
        before: seconds before its R peak at which a beat begins.
        rr_factor: about how many RR intervals after its R peak it ends.
        scaling: what beats were scaled to [0, 1] by, ``beat`` or ``record``, or ``none`` (mV).
        synthetic: whether a simulation made the beats.
        mistakes: None where the beats cannot be had.
        saliency: None where beats or network cannot be had.
        embedding: None likewise, or where it was not asked for.
        remarks: why something that was asked for is not there, a sentence each.
    """

    classes: tuple[str, ...] = ()
    fs: float = 0.0
    length: int = 0
    lead_names: tuple[str, ...] = ()
    before: float = 0.0
    rr_factor: float = 1.2
    scaling: str = "beat"
    synthetic: bool = False
    mistakes: Mistakes | None = None
    saliency: Saliency | None = None
    embedding: Embedding | None = None
    remarks: tuple[str, ...] = ()


def explain_run(
    folder: Path | str,
    *,
    embedding: bool = True,
    seed: int = 0,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> Explanation:
    """Explain what a finished run said of its test beats, as far as its folder and the data allow.

    Mistakes and probabilities are those of its ``predictions.parquet``; the beats are read again, and are the same if
    their fingerprint is; the network is that of its best checkpoint, computed in single precision whatever it was
    trained in.

    Args:
        folder: the run's folder.
        embedding: whether to lay out beats, which takes some ten seconds.
        seed: of fresh weights and embedding.
        data_dir: where the data are; by default where the run had them, else ``ECG_DATA_DIR``, else ``data``.
        cache_dir: where beats are kept once read; by default ``ECG_CACHE_DIR``, else the user's cache.

    Returns:
        What there is; what is missing, and why, is in its ``remarks``. Nothing that a folder lacks is an error.
    """
    folder = Path(folder).expanduser()
    try:
        table, metadata = read_predictions(folder / "predictions.parquet")
        beats = beats_of_run(folder, metadata["about"], data_dir=data_dir, cache_dir=cache_dir)
        labels, probabilities = labels_and_probabilities(table, tuple(metadata["classes"]))
        if not np.array_equal(labels, beats.known_labels):
            raise DataError(f"{folder} tested other beats than its configuration divides off")
    except (EcgLightningError, KeyError, TypeError, ValueError) as error:
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
        mistakes=find_mistakes(beats, probabilities),
    )
    name = metadata["about"].get("model")
    if name in BASELINES:
        return replace(found, remarks=(f"{name} is a baseline without a network: no saliency, no embedding.",))
    try:
        checkpoint = read_checkpoint(folder)
        classifier = BeatClassifier.from_checkpoint(checkpoint)
        check_fit(checkpoint, beats)
    except EcgLightningError as error:
        return replace(found, remarks=(f"No saliency and no embedding can be shown: {_reason(error)}.",))
    return replace(
        found,
        saliency=explain_beats(classifier.model, classifier.task, beats, probabilities, seed=seed),
        embedding=embed(classifier.model, beats, seed=seed) if embedding else None,
    )


def beats_of_run(
    folder: Path, about: Mapping[str, Any], *, data_dir: Path | None = None, cache_dir: Path | None = None
) -> Beats:
    """The beats that a run was tested on, in the order of its predictions.

    Args:
        folder: the run's folder.
        about: what its predictions tell of it.
        data_dir: as in `explain_run`.
        cache_dir: as in `explain_run`.

    Raises:
        CheckpointError: neither checkpoint nor configuration can be read.
        DataError: the beats are absent or damaged, or are not those of the run.
        ConfigError: a configuration that does not fit the beats.
        KeyError, TypeError: it lacks or garbles something.
    """
    datamodule = make_datamodule(plain_config(_config(folder), data_dir=data_dir, cache_dir=cache_dir))
    datamodule.setup("test")
    if datamodule.beats.fingerprint != about["fingerprint"]:
        raise DataError(
            f"the beats that are here have the fingerprint {datamodule.beats.fingerprint}, those of {folder} had "
            f"{about['fingerprint']}; give it the data it had"
        )
    return datamodule.beats.select(np.sort(datamodule.folds.named()[about.get("fold", "test")]))


def _config(folder: Path) -> Mapping[str, Any]:
    """What the best checkpoint keeps; of a run without, what Hydra left."""
    try:
        if config := read_checkpoint(folder).about.get("config"):
            return dict(config)
    except EcgLightningError:
        if not (folder / ".hydra" / "config.yaml").is_file():
            raise
    from omegaconf import OmegaConf

    file = folder / ".hydra" / "config.yaml"
    try:
        config = OmegaConf.load(file)
        config.output_dir = str(folder)  # only a job of Hydra can tell its own
        plain: Any = OmegaConf.to_container(config, resolve=True)
        return dict(plain)
    except Exception as error:  # whatever a damaged YAML file makes the parser raise
        raise DataError(f"{file} holds no configuration of a run: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """An error in one sentence, without the full stop."""
    if not isinstance(error, EcgLightningError):
        return f"what it tells of itself lacks or garbles {error}"
    return " ".join(str(error).split()).removesuffix(".")
