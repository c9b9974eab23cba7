"""`RunRecord`: what ``scores.json`` of a run holds, format 2, typed and checked whenever it is read."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import DataError
from ecg_lightning.data.protocol import Protocol

FORMAT: Literal[2] = 2

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]

LARGEST = 64 * 2**20
"""Bytes of a file that is still read; a pooled sweep of hundreds of runs has a few megabytes."""


class ClassScores(TypedDict):
    """Metrics of one class against the rest, see `ecg_lightning.metrics.scoring.score`."""

    precision: Fraction | None
    recall: Fraction | None
    f1: Fraction | None
    specificity: Fraction | None
    auroc: NotRequired[Fraction | None]
    average_precision: NotRequired[Fraction | None]
    support: Count
    predicted: Count


class TestScores(TypedDict):
    """Metrics of the tested fold, as `ecg_lightning.metrics.scoring.score` returns them; plain nested mappings."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # intervals and the ranking metrics

    accuracy: Fraction
    macro_precision: Fraction
    macro_recall: Fraction
    macro_f1: Fraction
    per_class: dict[str, ClassScores]
    confusion: list[list[Count]]


class Validation(BaseModel):
    """Scores on the validation fold that the checkpoint was chosen by; None where there was no validation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    macro_f1: Fraction | None = None
    accuracy: Fraction | None = None
    loss: float | None = None


class ContextInfo(BaseModel):
    """What a model sees of a beat beside what follows its R peak."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rhythm: bool = False
    morphology: bool = False
    before: Annotated[float, Field(ge=0)] = 0.0  # seconds before the R peak at which a beat begins

    def phrase(self) -> str:
        """``rhythm, morphology, 0.272 s before the R peak``; ``none`` without any."""
        parts = [name for name in ("rhythm", "morphology") if getattr(self, name)]
        parts += [f"{self.before:g} s before the R peak"] * bool(self.before)
        return ", ".join(parts) or "none"


class RunRecord(BaseModel):
    """A finished run, or an evaluation of its checkpoint: all that tables, comparisons and reports read.

    Attributes:
        format: 2.
        kind: ``run``, or ``evaluation`` of a checkpoint.
        task: ``arrhythmia`` or ``mi``.
        model: its name.
        baseline: whether it is a reference that networks are compared with.
        n_parameters: number of learnt values; None where it is not known.
        dataset, source: where the beats come from.
        synthetic: whether a simulation made them.
        fingerprint: of the beats.
        classes: their names, in the order of the labels.
        class_map: how symbols or diagnoses became classes.
        leads: the leads that the model sees; empty in runs from before there was a choice.
        context: what it sees beside them.
        protocol: how the beats were divided.
        n: beats by fold (``train``, ``validation``, ``test``).
        fold: the fold that was scored, under `test`.
        augmentation, resampling, loss, transfer, precision: the choices that runs differ in; None where a model has
            no such choice.
        seed: of the run.
        epochs, steps, best_epoch: of the training, the first epoch being 1; None where there are none.
        monitor: validation metric that chose the checkpoint.
        val: scores on validation.
        test: scores on `fold`.
        config: the configuration as composed, interpolations unresolved.
        overrides: what was set on the command line.
        config_digest: the same for runs that ask for the same result.
        predictions_sha256: of ``predictions.parquet`` beside this file; None where none was written.
        checkpoint: of an evaluation, the file that was tested.
        warning: of an evaluation, why its scores may be too good.
        started, wall_s, versions, git: when, how long, and with what.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format: Literal[2] = 2
    kind: Literal["run", "evaluation"] = "run"
    task: str
    model: str
    baseline: bool
    n_parameters: Count | None
    dataset: str
    source: str
    synthetic: bool
    fingerprint: str
    classes: tuple[str, ...]
    class_map: str
    leads: tuple[str, ...] = ()
    context: ContextInfo = ContextInfo()
    protocol: Protocol
    n: dict[Literal["train", "validation", "test"], Count]
    fold: Literal["test", "validation"] = "test"
    augmentation: str | None
    resampling: str
    loss: str | None
    transfer: str
    precision: str | None
    seed: int
    epochs: Count | None = None
    steps: Count | None = None
    best_epoch: Count | None = None
    monitor: str
    val: Validation
    test: TestScores
    config: dict[str, Any]
    overrides: tuple[str, ...] = ()
    config_digest: str | None = None
    predictions_sha256: str | None = None
    checkpoint: str | None = None
    warning: str | None = None
    started: str | None = None
    wall_s: float | None = None
    versions: dict[str, str] = {}
    git: str | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a file.

        Raises:
            DataError: it is absent, too large, damaged, or of another format; one sentence.
        """
        try:
            if path.stat().st_size > LARGEST:
                raise DataError(f"{path} has {path.stat().st_size:,} bytes, expected at most {LARGEST:,}")
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error}") from error
        except ValidationError as error:
            raise DataError(f"{path} is not a run record of format {FORMAT}: {first_fault(error)}") from error

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            DataError: it cannot be written.
        """
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(self.plain(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def plain(self) -> dict[str, Any]:
        """The record in plain values, ready for JSON."""
        return self.model_dump(mode="json")


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, as ``test.accuracy: Input should be less than or equal to 1 (1.5)``."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    found = repr(first.get("input"))
    shown = f" (found {found[:60]})" if first["type"] != "missing" else ""
    more = f"; {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{place + ': ' if place else ''}{first['msg'][0].lower()}{first['msg'][1:]}{shown}{more}"
