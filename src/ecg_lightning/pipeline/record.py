"""The record of a run, from its configuration, beats and predictions."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ecg_lightning.core import provenance
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.labels import CLASSES_OF_TASK
from ecg_lightning.metrics.confusion import Probabilities
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.runs.schema import ContextInfo, RunRecord, Validation

if TYPE_CHECKING:
    from ecg_lightning.training.estimator import Estimator


def make_record(
    *,
    config: Mapping[str, Any],
    composed: Mapping[str, Any],
    overrides: Sequence[str],
    datamodule: BeatDataModule,
    estimator: "Estimator",
    beats: Beats,
    probabilities: Probabilities,
    positive: str | None,
    fold: Literal["test", "validation"],
    val: Mapping[str, float | None],
    epochs: int | None = None,
    steps: int | None = None,
    best_epoch: int | None = None,
    started: str | None = None,
    wall_s: float | None = None,
    config_digest: str | None = None,
    kind: Literal["run", "evaluation"] = "run",
    checkpoint: str | None = None,
    warning: str | None = None,
) -> RunRecord:
    """Score the predictions of the tested beats, and make the record of the run.

    Args:
        config: the configuration in plain values, interpolations resolved.
        composed: the same with interpolations unresolved, so that ``split.seed: ${seed}`` of two runs is one setting.
        overrides: what was set on the command line.
        datamodule: set up.
        estimator: what predicted.
        beats, probabilities: the ``n`` tested ones, and ``[n, classes]`` in their order.
        positive: the positive class of a binary task; else None.
        fold: the one that `beats` are.
        val: ``macro_f1``, ``accuracy`` and ``loss`` on validation, with or without the prefix ``val/``.
        epochs, steps, best_epoch, started, wall_s, config_digest, kind, checkpoint, warning: as in `RunRecord`.

    Raises:
        DataError: predictions that cannot be scored.
    """
    # Training beats of a baseline are only resampled, and no loss weighs its classes.
    baseline = estimator.baseline
    resampling = config["augmentation"]["resampling"]["method"]
    finite = {name.removeprefix("val/"): float(x) for name, x in val.items() if x is not None and math.isfinite(x)}
    return RunRecord(
        kind=kind,
        task=config["task"]["name"],
        model=estimator.name,
        baseline=baseline,
        n_parameters=estimator.n_parameters,
        dataset=config["dataset"]["name"],
        source=config["source"]["name"],
        synthetic=datamodule.beats.synthetic,
        fingerprint=datamodule.beats.fingerprint,
        classes=beats.classes,
        class_map=CLASSES_OF_TASK.get(config["task"]["name"], ""),
        leads=tuple(beats.lead_names),
        context=ContextInfo(**config["context"]),
        protocol=datamodule.folds.protocol,
        n=datamodule.folds.sizes(),
        fold=fold,
        augmentation=resampling if baseline else config["augmentation"]["name"],
        resampling=resampling,
        loss=None if baseline else config["loss"]["name"],
        transfer=config["transfer"]["mode"],
        precision=None if baseline else str(config["trainer"]["precision"]),
        seed=config["seed"],
        epochs=epochs,
        steps=steps,
        best_epoch=best_epoch,
        monitor=config["monitor"],
        val=Validation(**{name: finite.get(name) for name in Validation.model_fields}),
        test=score_beats(beats, probabilities, positive),
        config=dict(composed),
        overrides=tuple(overrides),
        config_digest=config_digest,
        checkpoint=checkpoint,
        warning=warning,
        started=started,
        wall_s=None if wall_s is None else round(wall_s, 2),
        versions=provenance.versions(),
        git=provenance.git_revision(),
    )
