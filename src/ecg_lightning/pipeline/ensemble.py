"""`make_ensemble`: finished runs as one, tested as they were and saved as a run of its own."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from omegaconf import OmegaConf

from ecg_lightning.core import provenance
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.splits import split
from ecg_lightning.pipeline.build import Experiment, make_datamodule
from ecg_lightning.pipeline.config import quiet
from ecg_lightning.pipeline.evaluate import plain_config
from ecg_lightning.pipeline.train import fit_and_test
from ecg_lightning.runs.discover import read_run
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import ENSEMBLE, Checkpoint, malformed, read_checkpoint
from ecg_lightning.training.ensemble import Mean
from ecg_lightning.training.estimator import EnsembleEstimator


def make_ensemble(
    runs: Sequence[Path],
    output_dir: Path,
    *,
    mean: Mean = "arithmetic",
    weights: Literal["equal", "validation"] | Sequence[float] = "equal",
    class_weights: Mapping[str, Sequence[float]] | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> RunRecord:
    """Combine the best checkpoints of finished runs, and test them as one on the beats that the runs were tested on.

    What is not of the members (databases of ``test_on``, seed, …) is that of the first run.

    Args:
        runs: folders of at least two runs of networks or baselines, trained on the same beats and people.
        output_dir: the folder of the ensemble, as of a run: ``scores.json``, predictions and one checkpoint.
        mean: of probabilities, or of their logarithms.
        weights: of the members, in their order; ``validation`` takes those with the least loss on validation beats.
        class_weights: others for the probabilities of some classes, by class, where weights are not of validation.
        data_dir, cache_dir: as `ecg_lightning.pipeline.evaluate.evaluate`.

    Raises:
        ConfigError: too few runs; runs of other tasks, inputs, beats or people; weights that do not fit them.
        DataError, CheckpointError: a folder holds no finished run; the beats are not there; a file cannot be written.
    """
    quiet()
    found, members = [read_run(run).record for run in runs], list(map(read_checkpoint, runs))
    _check(runs, found, members, output_dir)
    _check_weights(weights, class_weights or {}, len(runs), found[0].classes)
    first, about = found[0], members[0].about
    model = {
        "name": ENSEMBLE,
        "mean": mean,
        "weights": weights if isinstance(weights, str) else list(weights),
        **({"class_weights": {name: list(own) for name, own in class_weights.items()}} if class_weights else {}),
        "members": [dict(member.require()["model"]) for member in members],
    }
    with malformed(f"{runs[0]} keeps a configuration that lacks or has malformed"):
        config = plain_config(about["config"], data_dir=data_dir, cache_dir=cache_dir)
    # An operating point is chosen by training anew, which is not done here.
    own = {"model": model, "operating_point": {"folds": None, "specificity": None}}
    config |= {**own, "output_dir": str(output_dir)}
    datamodule = make_datamodule(config)
    datamodule.setup("test")
    beats, folds = datamodule.beats, datamodule.folds
    if beats.fingerprint != first.fingerprint:
        raise DataError(
            f"the beats have the fingerprint {beats.fingerprint}, those of {runs[0]} had {first.fingerprint}; give the "
            "data of that run"
        )
    for run, member in zip(runs, members, strict=True):
        with malformed(f"{run} keeps a configuration that lacks or has malformed"):
            other = split(beats, **member.config["split"])
        if any(not np.array_equal(rows, other.named()[fold]) for fold, rows in folds.named().items()):
            raise ConfigError(
                f"{run} and {runs[0]} divide people otherwise ({other.protocol.sentence()}; "
                f"{folds.protocol.sentence()}), so one has learnt from what the other is tested on or chosen by; train "
                "all members with one split and split.seed"
            )
    stated = {
        **{key: members[0].require()[key] for key in ("task", "input")},
        "model": model,
        "about": {**about, "config": config, "versions": provenance.versions(), "git": provenance.git_revision(),
                  "origin": None},
        "members": [
            {"hyperparameters": dict(member.require()), "scores": dict(member.scores or {}), "epoch": member.epoch,
             "step": member.step, "overrides": list(record.overrides)}
            for member, record in zip(members, found, strict=True)
        ],
    }  # fmt: skip
    device: Literal["cpu", "auto"] = "cpu" if config["trainer"]["accelerator"] == "cpu" else "auto"
    best = output_dir / "checkpoints" / "best.ckpt"
    composed: dict[str, Any] = {**first.config, **own}
    return fit_and_test(
        Experiment(
            cfg=OmegaConf.create(composed),
            config=config,
            composed=composed,
            overrides=tuple(text for text in first.overrides if all(text in one.overrides for one in found)),
            datamodule=datamodule,
            estimator=EnsembleEstimator(stated, members, device=device, checkpoint=best),
            output_dir=output_dir,
        )
    )


def _check(
    runs: Sequence[Path],
    found: Sequence[RunRecord],
    members: Sequence[Checkpoint],
    output_dir: Path,
) -> None:
    """Refuse, by a ConfigError, what can be seen to be impossible before beats are read."""
    if len(runs) < 2 or output_dir.resolve() in [run.resolve() for run in runs]:
        raise ConfigError("an ensemble takes the folders of at least two runs, and a folder of its own")

    def facts(record: RunRecord, member: Checkpoint) -> dict[str, Any]:
        own = {"task": record.task, "classes": record.classes, "tested": record.fold, **member.input.plain()}
        return {**own, "fingerprint of its beats": record.fingerprint}

    for run, record, member in zip(runs, found, members, strict=True):
        if member.model == ENSEMBLE or record.kind != "run":
            raise ConfigError(f"{run} is no run of a network or baseline; give those that the ensemble is made of")
        here, there = facts(record, member), facts(found[0], members[0])
        for key in here:
            if here[key] != there[key]:
                raise ConfigError(
                    f"{run} has {key} {here[key]}, {runs[0]} has {there[key]}; members of an ensemble take the same "
                    "beats, leads and context"
                )


def _check_weights(
    weights: str | Sequence[float], class_weights: Mapping[str, Sequence[float]], n: int, classes: Sequence[str]
) -> None:
    if unknown := set(class_weights) - set(classes):
        raise ConfigError(f"weights for class {unknown.pop()}, which is none of {', '.join(classes)}")
    if class_weights and weights == "validation":
        raise ConfigError("weights=validation are chosen for all classes; leave them out, or those of classes")
    for own in [*([] if isinstance(weights, str) else [weights]), *class_weights.values()]:
        if len(own) != n or not 0 < sum(own) < math.inf or min(own) < 0:
            raise ConfigError(f"weights {', '.join(map(str, own))} of {n} runs: expected a positive number each")
