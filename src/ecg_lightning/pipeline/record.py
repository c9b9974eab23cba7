"""The record of a run, from its configuration, beats and predictions."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ecg_lightning.core import provenance
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.card import class_map_of, title_of
from ecg_lightning.data.datamodule import BeatDataModule
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
    val: Mapping[str, float | None],
    wall_s: float | None = None,
    **others: Any,
) -> RunRecord:
    """Score the predictions of the tested beats, and make the record; a DataError if they cannot be scored.

    Args:
        config: the configuration in plain values, interpolations resolved.
        composed: the same with interpolations unresolved, so that ``split.seed: ${seed}`` of two runs is one setting.
        overrides: what was set on the command line.
        datamodule: set up.
        beats, probabilities: the ``n`` tested ones, and ``[n, classes]`` in their order.
        val: ``macro_f1``, ``accuracy`` and ``loss`` on validation, with or without the prefix ``val/``.
        wall_s, others: further fields of `RunRecord`; of the tested ``fold``, ``epochs``, ``config_digest``, …
    """
    # Training beats of a baseline are only resampled, and no loss weighs its classes.
    baseline = estimator.baseline
    resampling = config["augmentation"]["resampling"]["method"]
    finite = {name.removeprefix("val/"): float(x) for name, x in val.items() if x is not None and math.isfinite(x)}
    sizes = datamodule.folds.sizes()
    if others.get("fold") == "cross_validation":  # of all training people
        sizes["cross_validation"] = len(beats)
    return RunRecord(
        task=config["task"]["name"],
        model=estimator.name,
        baseline=baseline,
        n_parameters=estimator.n_parameters,
        dataset=config["dataset"]["name"],
        title=title_of(config["dataset"]),
        synthetic=datamodule.beats.synthetic,
        fingerprint=datamodule.beats.fingerprint,
        classes=beats.classes,
        class_map=class_map_of(config["dataset"]),
        leads=tuple(beats.lead_names),
        dropped=dict(datamodule.beats.origin.get("dropped", {})),
        context=ContextInfo(**config["context"], beats_around=datamodule.reach),
        protocol=datamodule.folds.protocol,
        n=sizes,
        augmentation=resampling if baseline else config["augmentation"]["name"],
        resampling=resampling,
        loss=None if baseline else config["loss"]["name"],
        transfer=config["transfer"]["mode"],
        precision=None if baseline else str(config["trainer"]["precision"]),
        seed=config["seed"],
        monitor=config["monitor"],
        val=Validation(**{name: finite.get(name) for name in Validation.model_fields}),
        test=score_beats(beats, probabilities, estimator.task.positive),
        config=dict(composed),
        overrides=tuple(overrides),
        wall_s=None if wall_s is None else round(wall_s, 2),
        versions=provenance.versions(),
        git=provenance.git_revision(),
        **others,
    )
