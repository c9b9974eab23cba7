"""The record of a run, from its configuration, beats and scores."""

from collections.abc import Mapping
from typing import Any

from ecg_lightning.core import provenance
from ecg_lightning.data.databases.registry import make_context
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.training.classifier import MONITORED


def about_run(plain: Mapping[str, Any], datamodule: BeatDataModule, *, n_parameters: int | None) -> dict[str, Any]:
    """What ``scores.json`` says beside the scores: the settings that figures are told apart by, in plain values."""
    beats = datamodule.beats
    return {
        "task": plain["task"]["name"],
        "model": plain["model"]["name"],
        "dataset": plain["dataset"]["name"],
        "source": plain["source"]["name"],
        "synthetic": beats.synthetic,
        "split": datamodule.folds.protocol.name,
        "protocol": datamodule.folds.protocol.sentence(),
        "augmentation": plain["augmentation"]["name"],
        "resampling": plain["augmentation"]["resampling"]["method"],
        "loss": plain["loss"]["name"],
        "transfer": plain["transfer"]["arm"],
        "precision": plain["trainer"]["precision"],
        "seed": plain["seed"],
        "n_parameters": n_parameters,
        "context": context_phrase(plain),
        "n": datamodule.folds.sizes(),
        "left_out": len(datamodule.folds.left_out),
        "fingerprint": beats.fingerprint,
        "monitor": plain["monitor"],
        "versions": provenance.versions(),
        "git": provenance.git_revision(),
    }


def begins_before(plain: Mapping[str, Any]) -> float:
    """Seconds before its R peak at which a beat begins, from a configuration or what a checkpoint keeps of one."""
    return float(plain.get("context", {}).get("before", 0.0))


def context_phrase(plain: Mapping[str, Any]) -> str:
    """What is known of a beat beside what follows its R peak."""
    known = [name for name, chosen in make_context(plain["context"]).chosen.items() if chosen]
    if begins_before(plain):
        known.append(f"{begins_before(plain):g} s before the R peak")
    return ", ".join(known) or "none"


def validation_scores(told: Mapping[str, float]) -> dict[str, float | None]:
    """``val`` of ``scores.json`` from the scores that a checkpoint tells; None where it tells none."""
    return {name.removeprefix("val/"): told.get(name) for name in MONITORED}
