"""`RunRecord`: the content of a run's ``scores.json``, format 2, checked whenever it is read."""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from typing_extensions import TypedDict

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.core.reading import read_whole
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics import ec57
from ecg_lightning.metrics.bootstrap import PER_CLASS
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.metrics.catalogue import OVERALL, PARTS
from ecg_lightning.metrics.matching import AVERAGED, QRS_METRICS
from ecg_lightning.metrics.operating_point import OperatingPoint

FORMAT: Literal[2] = 2
LARGEST = 16 * 2**20  # bytes of a file that is still read; a record has some tens of kilobytes
MOST_FOLDS = 10_000
RECORD_KEYS = {"task", "model", "test"}  # that tell a record of any format from other JSON
ALONE = "none"  # phrase of a context without anything but the beat

Scores = Mapping[str, Any]  # metrics by name, nested as `ecg_lightning.metrics.scoring.score` returns them

_SLACK = 1e-6  # a mean of ones may be a few last bits above 1, in float32 too
Fraction = Annotated[float, Field(ge=-_SLACK, le=1 + _SLACK)]
Agreement = Annotated[float, Field(ge=-1 - _SLACK, le=1 + _SLACK)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Counts = dict[str, Count | dict[str, Count | dict[str, Count]]]
Positive = Annotated[int, Field(gt=0)]
Interval = Annotated[list[float], Field(min_length=2, max_length=2)] | None

OfClass = Literal["precision", "recall", "f1", "specificity", "auroc", "average_precision"]
OfEctopic = Literal["sensitivity", "positive_predictivity", "specificity", "false_positive_rate", "f1"]


ClassScores = TypedDict(  # one class against the rest
    "ClassScores",
    {
        **dict.fromkeys(PER_CLASS, Fraction),  # type: ignore[misc]
        **dict.fromkeys(("auroc", "average_precision"), NotRequired[Fraction | None]),
        **dict.fromkeys(("support", "predicted"), Count),
    },
)


class Bin(TypedDict):
    """One bin of the reliability diagram."""

    above: Fraction
    to: Fraction
    beats: Positive
    confidence: Fraction
    accuracy: Fraction


class QualityBin(TypedDict):
    """Beats of about the same signal quality; V and S: F1 as EC57 counts it, None where its denominator is 0."""

    above: Fraction
    to: Fraction
    beats: Positive
    accuracy: Fraction
    macro_f1: Fraction
    V: NotRequired[Fraction | None]
    S: NotRequired[Fraction | None]


Ectopic = TypedDict(  # EC57 counts and metrics of V or S; None where a denominator is 0
    "Ectopic",
    {
        **dict.fromkeys(("tp", "fn", "fp", "tn"), Count),  # type: ignore[misc]
        **dict.fromkeys(ec57.METRICS, Fraction | None),
        **{f"average_{name}": NotRequired[Fraction | None] for name in AVERAGED},
    },
)


class Ectopics(TypedDict):
    """Both classes."""

    V: Ectopic
    S: Ectopic


class EctopicsOfRecord(TypedDict):
    """Of the beats of one recording."""

    record: str
    V: Ectopic
    S: Ectopic


class Ec57(Ectopics):
    """Of all beats, without record 232 and by recording."""

    without_232: NotRequired[Ectopics]
    per_record: NotRequired[list[EctopicsOfRecord]]


Qrs = TypedDict(  # QRS complexes that were found; there are no negatives
    "Qrs",
    {
        **dict.fromkeys(("tp", "fn", "fp"), Count),  # type: ignore[misc]
        **dict.fromkeys(QRS_METRICS, Fraction | None),
        **{f"average_{name}": NotRequired[Fraction | None] for name in QRS_METRICS[:2]},
    },
)


class MatchedRecord(EctopicsOfRecord):
    """Of one recording."""

    QRS: Qrs
    matrix: dict[str, dict[str, Count]]  # reference → test → beats
    rms_rr_error_ms: Annotated[float, Field(ge=0)] | None
    shut_down_s: Annotated[float, Field(ge=0)]


class Matched(Ectopics):
    """As `ecg_lightning.metrics.matching.summary` returns it, and EC57 of the same recordings with the beats given."""

    window_s: Annotated[float, Field(ge=0)]
    start_s: Annotated[float, Field(ge=0)]
    QRS: Qrs
    without_232: NotRequired[Ectopics]
    per_record: list[MatchedRecord]
    matrix: dict[str, dict[str, Count]]
    rms_rr_error_ms: Annotated[float, Field(ge=0)] | None
    shut_down_s: Annotated[float, Field(ge=0)]
    given: Ec57


RecordingScores = TypedDict(  # of recordings by the mean probability of their beats, where all are of one class
    "RecordingScores",
    {
        **dict.fromkeys(("n", "n_positive"), Count),  # type: ignore[misc]
        **dict.fromkeys(("recall", "specificity", "precision", "f1", "accuracy"), Fraction),
        **dict.fromkeys(("auroc", "recall_at_90_specificity"), Fraction | None),
    },
)


OPTIONAL = ("j_kappa", "recall_at_90_specificity", "loss")  # of all classes together, but not always there

Intervals = TypedDict(  # as `ecg_lightning.metrics.bootstrap.intervals` returns them
    "Intervals",
    {
        "resampled": Literal["patients", "beats"],
        "n_resampled": Positive,
        "resamples": Positive,
        "level": Fraction,
        "seed": int,
        **dict.fromkeys([name for name in OVERALL if name not in OPTIONAL], Interval),  # type: ignore[misc]
        "per_class": dict[str, dict[OfClass, Interval]],
        **dict.fromkeys(("j_kappa", "recall_at_90_specificity"), NotRequired[Interval]),
        "recordings": NotRequired[dict[str, Interval]],
        "ec57": NotRequired[dict[Literal["V", "S"], dict[OfEctopic, Interval]]],
    },
)


# Of the tested fold, as `ecg_lightning.metrics.scoring.score_beats` returns them. What is not required is absent from
# older runs, and where the classes have no such metric.
TestScores = TypedDict(
    "TestScores",
    {
        **dict.fromkeys(("macro_f1", "accuracy", "macro_precision", "macro_recall"), Fraction),  # type: ignore[misc]
        **dict.fromkeys(("f1_of_macro_precision_recall", "weighted_f1"), Fraction),
        **dict.fromkeys(("weighted_precision", "balanced_accuracy"), NotRequired[Fraction]),
        "kappa": NotRequired[Agreement | None],
        **dict.fromkeys(("macro_auroc", "macro_average_precision"), NotRequired[Fraction | None]),
        "ece": NotRequired[Fraction],
        "brier": NotRequired[Annotated[float, Field(ge=0, le=2 + _SLACK)]],
        "per_class": dict[str, ClassScores],
        "confusion": list[list[Count]],
        "reliability": NotRequired[Annotated[list[Bin], Field(min_length=1)]],
        "by_quality": NotRequired[Annotated[list[QualityBin], Field(min_length=1)]],
        "j_kappa": NotRequired[Agreement | None],
        "ec57": NotRequired[Ec57],
        **dict.fromkeys(PER_CLASS, NotRequired[Fraction]),
        **dict.fromkeys(("auroc", "average_precision"), NotRequired[Fraction | None]),
        "recall_at_90_specificity": NotRequired[Fraction | None],
        "recordings": NotRequired[RecordingScores],
        "intervals": NotRequired[Intervals],
    },
)


if TYPE_CHECKING:
    AnyScores = dict[str, Any]  # read by places that are no literals
else:
    AnyScores = TestScores


class Strict(BaseModel):
    """Fields are neither converted, ignored nor changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Validation(Strict):
    """Scores on the validation fold; None where there was no validation."""

    macro_f1: Fraction | None = None
    accuracy: Fraction | None = None
    loss: float | None = None


class ContextInfo(Strict):
    """What a model sees of a beat in addition to the samples after its R peak."""

    rhythm: bool = False
    distance: bool = False
    waves: bool = False
    morphology: bool = False
    causal: bool = False
    before: Annotated[float, Field(ge=0)] = 0.0  # seconds before the R peak at which a beat begins
    beats_around: Count = 0  # on each side of a beat, whose samples and context are seen

    def phrase(self) -> str:
        """``rhythm, morphology, 0.272 s before the R peak, 15 beats on each side``; ``none`` without any."""
        parts = [name for name, chosen in self if chosen is True]
        parts += [f"{self.before:g} s before the R peak"] * bool(self.before)
        parts += [f"{self.beats_around} beats on each side"] * bool(self.beats_around)
        return ", ".join(parts) or ALONE


class RunRecord(Strict):
    """A finished run, or an evaluation of its checkpoint: all that tables, comparisons and reports read.

    None stands for what is not known, or what a model has no such choice of.
    """

    format: Literal[2] = FORMAT
    kind: Literal["run", "evaluation"] = "run"
    task: str
    model: str
    baseline: bool
    n_parameters: Count | None
    dataset: str
    title: str = ""  # of the database
    synthetic: bool
    fingerprint: str  # of the beats
    classes: tuple[str, ...]  # in the order of the labels
    class_map: str  # how symbols or diagnoses became classes
    leads: tuple[str, ...] = ()  # empty in runs from before there was a choice
    context: ContextInfo = ContextInfo()
    protocol: Protocol
    n: dict[str, Count]  # beats by fold
    # That `test` has the scores of; cross_validation: training people, each by a model that has not seen them.
    fold: Literal["test", "validation", "cross_validation"] = "test"
    augmentation: str | None
    resampling: str
    loss: str | None
    transfer: str
    precision: str | None
    seed: int
    epochs: Count | None = None
    steps: Count | None = None
    best_epoch: Count | None = None  # the first epoch is 1
    n_fitted: Count | None = None  # training beats that a baseline learnt from, chosen at random; None: from all
    monitor: str  # validation metric that chose the checkpoint
    val: Validation
    test: AnyScores
    config: dict[str, JsonValue]  # as composed, interpolations unresolved
    overrides: tuple[str, ...] = ()
    config_digest: str | None = None  # equal for runs that ask for the same result
    predictions_sha256: str | None = None
    metrics_sha256: str | None = None  # of metrics.csv, the learning curves
    sha256: Annotated[str | None, Field(exclude=True)] = None  # in the file, of all else; absent from older ones
    calibration: dict[str, JsonValue] | None = None  # of the checkpoint, as `metrics.calibration.Calibration.plain`
    operating_point: dict[str, JsonValue] | None = None  # as `metrics.operating_point.OperatingPoint.plain`
    is_at_operating_point: bool = False  # whether `test` are the scores at it, not those of the most probable class
    at_operating_point: AnyScores | None = None  # of the same beats as `test`
    cross_validation: AnyScores | None = None  # of the training people, each by a model that has not seen them
    cross_validation_at_operating_point: AnyScores | None = None  # at the points that people of other folds have chosen
    checkpoint: str | None = None  # of an evaluation, the file that was tested
    trained_on: str | None = None  # of an evaluation on another database, that of the training
    detector: str | None = None  # that found the R peaks of the beats; None where they were given
    matched: Matched | None = None  # all detected beats against the annotated ones: missed and extra ones count
    # Beats that have no class, by symbol, touch a gap or, of an evaluation, are of a class unknown to the model.
    dropped: Counts = {}
    warning: str | None = None  # of an evaluation, why its scores may be too good
    started: str | None = None
    wall_s: Annotated[float, Field(ge=0)] | None = None
    versions: dict[str, str] = {}
    git: str | None = None

    @property
    def scores(self) -> dict[str, Any]:
        """`test`, and in it those of `PARTS` that there are."""
        return {**self.test, **{part: own for part in PARTS if (own := getattr(self, part)) is not None}}

    @property
    def n_tested(self) -> int:
        return self.n[self.fold]

    @property
    def n_left_out(self) -> int:  # beats that the protocol does not use
        return sum(one.beats for one in self.protocol.left_out)

    @property
    def tested_on(self) -> str:  # ``svdb``, or ``svdb, svdb_halves, peaks by network``
        split = "" if self.protocol.by == "none" else f", {self.protocol.name}"
        peaks = "" if self.detector is None else f", peaks by {self.detector}"
        peaks += ", at the operating point" * self.is_at_operating_point
        return f"{self.dataset}{split}{f', {self.fold}' * (self.fold != 'test')}{peaks}"

    @property
    def not_tested(self) -> str:  # a sentence on scores that are not of test beats
        if self.fold == "cross_validation":
            return "Scored on training people by models that have not seen them; the test beats are not used."
        return f"Scored on {self.fold} beats, which also chose the checkpoint: for choosing settings only."

    @property
    def beats(self) -> str:  # which beats `test` is of, in words
        if self.detector is None:
            return "beats given"
        return f"beats detected ({self.detector}), scored on those that match an annotated one"

    @property
    def absent(self) -> list[str]:  # classes of which no beat was tested
        return [name for name, one in self.test["per_class"].items() if not one["support"]]

    @property
    def positive(self) -> str | None:  # class of a binary task; None for other tasks
        return self.classes[1] if len(self.classes) == 2 and "recall" in self.test else None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a file; DataError if it is absent, too large, damaged or of another format."""
        content = read_whole(path, LARGEST)
        try:
            record = cls.model_validate_json(content)
            if record.sha256 not in (None, _sha256(json.loads(content))):
                raise DataError(f"{path} was changed after it was written (by its checksum); restore it or run again")
            return record.model_copy(update={"sha256": None})
        except ValueError as error:  # also of a number with thousands of digits
            found = first_fault(error) if isinstance(error, ValidationError) else error
            fault = f"is not a run record of format {FORMAT}: {found}; remove it or run again"
            if "format" not in (keys := keys_of(content)) and keys >= RECORD_KEYS:
                folder = shlex.quote(str(path.parent))
                command = f"ecg-lightning evaluate {folder} --output {folder}-format2"
                fault = f"has format 1, expected format {FORMAT}: run `{command}` to write its scores again"
            raise DataError(f"{path} {fault}") from error

    def write(self, path: Path) -> None:
        """Write the file atomically; DataError if it cannot be written."""
        plain = self.plain()
        text = json.dumps(plain | {"sha256": _sha256(plain)}, indent=2, allow_nan=False)
        with atomic_write(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def plain(self) -> dict[str, Any]:
        """The record in plain values, ready for JSON."""
        return self.model_dump(mode="json")

    @model_validator(mode="after")
    def _check(self) -> Self:
        k = len(self.classes)
        if k < 2 or len(set(self.classes)) < k or list(self.test["per_class"]) != list(self.classes):
            raise ValueError(f"test.per_class has {', '.join(self.test['per_class'])}, classes {self.classes}")
        if set(self.n) - {"cross_validation"} != {"train", "validation", "test"} or self.fold not in self.n:
            raise ValueError(f"n has {', '.join(self.n)}, expected train, validation and test")
        if [len(row) for row in self.test["confusion"]] != [k] * k:
            raise ValueError(f"test.confusion is not {k} × {k}")
        if "intervals" in self.test and list(self.test["intervals"]["per_class"]) != list(self.classes):
            raise ValueError("test.intervals.per_class has other classes")
        if (self.detector is None) != (self.matched is None):
            raise ValueError("one of detector and matched is there without the other")
        if "ec57" in self.test and not ec57.applies(self.classes):
            raise ValueError("test.ec57 is of other classes")
        try:
            if self.calibration is not None:
                Calibration.from_plain(self.calibration)
            factors = {} if self.operating_point is None else OperatingPoint.from_plain(self.operating_point).factors
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if unknown := factors.keys() - {*self.classes}:
            raise ValueError(f"operating_point has a factor of {unknown.pop()}, which is no class")
        json.dumps(self.config, allow_nan=False)
        protocol = self.protocol
        if (protocol.fold is None) != (protocol.n_folds is None):
            raise ValueError("protocol has one of fold and n_folds without the other")
        if protocol.fold is not None and not 0 <= protocol.fold < (protocol.n_folds or 0) <= MOST_FOLDS:
            raise ValueError(f"protocol.fold is {protocol.fold} of {protocol.n_folds}")
        if protocol.train_size is not None and (protocol.n_train_units is None or not self.n["train"]):
            raise ValueError("protocol has train_size without n_train_units or training beats")
        divided = protocol.by in ("beats", "patients") and protocol.n_folds is None and not protocol.published_test
        if divided and protocol.test_fraction is None:
            raise ValueError("protocol has no test_fraction")
        return self


def _sha256(plain: Mapping[str, Any]) -> str:
    """Of the values of a record, however they are formatted."""
    values = {key: value for key, value in plain.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def keys_of(content: bytes) -> set[str]:
    """The keys of a JSON object; none of anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return set()
    return set(found) if isinstance(found, dict) else set()


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong, as ``test.accuracy: Input should be less than or equal to 1 (1.5)``."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    shown = f" (found {first.get('input')!r:.60})" if first["type"] != "missing" else ""
    more = f"; {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{place + ': ' if place else ''}{first['msg'][0].lower()}{first['msg'][1:]}{shown}{more}"
