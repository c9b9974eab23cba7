"""The catalogue of metrics: place in the scores, labels, scale and digits of each, for all tables and pages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ecg_lightning.metrics.bootstrap import Key
from ecg_lightning.metrics.ec57 import SET_ASIDE


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How one metric is found, named and printed."""

    key: Key  # its place below ``test``; its interval is at the same place below ``test.intervals``
    label: str  # ``F1 of V``
    group: str = "overall"  # what it has in common with its neighbours in a table: ``F1 by class``
    name: str  # in that group: ``V``
    short: str  # group and name in two lines of at most six characters
    scale: Literal[1, 100] = 100  # 100 for percent
    digits: int = 2  # after the decimal point

    @property
    def place(self) -> str:  # in a run record: "test.per_class.V.f1"
        return ".".join(("test", *self.key))

    @property
    def interval_place(self) -> str:
        return ".".join(("test", "intervals", *self.key))

    def of(self, scores: Mapping[str, Any] | None) -> float | None:
        """Its value in ``test`` of a run record; None if it is absent or not defined."""
        found: float | None = dig(scores, self.key)
        return found

    def interval(self, scores: Mapping[str, Any] | None) -> tuple[float, float] | None:
        """Low and high end of its interval in ``test`` of a run record; None if it has none."""
        ends = dig(scores, ("intervals", *self.key))
        return (ends[0], ends[1]) if ends else None

    def text(self, value: float | None) -> str:
        """A value of the scores as printed, ``94.26`` or ``0.921``; ``-`` for None."""
        return "-" if value is None else f"{self.scale * value:.{self.digits}f}"

    def rounded(self, value: float) -> float:  # a value as printed: equal as printed is equally good
        return round(self.scale * value, self.digits)


def dig(nesting: Any, key: Sequence[str]) -> Any:
    """What is at a place in nested mappings, or None."""
    for name in key:
        nesting = nesting.get(name) if isinstance(nesting, Mapping) else None
    return nesting


def _overall(key: str, label: str, short: str, name: str = "", **more: Any) -> Metric:
    return Metric(key=(key,), label=label, name=name or label, short=short, **more)


OVERALL: Mapping[str, Metric] = {  # metrics of all classes together, by name
    metric.key[0]: metric
    for metric in (
        _overall("macro_f1", "macro-F1", "macro\nF1"),  # mean of the classes' F1
        _overall("accuracy", "accuracy", "accu-\nracy"),
        _overall("macro_precision", "macro precision", "macro\nprec.", "precision"),
        _overall("macro_recall", "macro recall", "macro\nrec.", "recall"),
        _overall("f1_of_macro_precision_recall", "F1 of P, R", "F1 of\nP, R"),  # of the macro precision and recall
        _overall("weighted_f1", "weighted F1", "weight\nF1"),  # by the beats of each class
        _overall("weighted_precision", "weighted precision", "weight\nprec."),
        _overall("balanced_accuracy", "balanced accuracy", "bal.\nacc.", "bal. acc."),  # mean recall
        _overall("kappa", "κ", "\nκ"),  # Cohen's
        _overall("j_kappa", "jκ", "\njκ"),  # κ / 2 + (Se and +P of S and V) / 8
        _overall("macro_auroc", "macro AUROC", "macro\nAUROC", "AUROC"),
        _overall("macro_average_precision", "macro average precision", "macro\nAP", "AP"),
        _overall("recall_at_90_specificity", "sensitivity at 90 % specificity", "Se at\n90 Sp"),  # of two classes
        _overall("ece", "calibration error", "\nECE", "ECE"),
        _overall("brier", "Brier score", "\nBrier", scale=1, digits=3),
        _overall("loss", "loss", "\nloss", scale=1, digits=4),  # of validation only
    )
}

_OF_CLASS = {  # label, short
    "precision": ("precision", "prec."),
    "recall": ("recall", "rec."),
    "f1": ("F1", "F1"),
    "specificity": ("specificity", "Sp"),
    "auroc": ("AUROC", "AUROC"),
    "average_precision": ("average precision", "AP"),
}
_OF_EC57 = {  # label, short, digits
    "sensitivity": ("sensitivity", "Se", 2),
    "positive_predictivity": ("positive predictivity", "+P", 2),
    "specificity": ("specificity", "Sp", 2),
    "false_positive_rate": ("false positive rate", "FPR", 3),
    "f1": ("F1", "F1", 2),
    "average_sensitivity": ("average sensitivity", "av. Se", 2),
    "average_positive_predictivity": ("average positive predictivity", "av. +P", 2),
}
CLASS_METRICS = tuple(_OF_CLASS)


def of_class(name: str, metric: str) -> Metric:
    """A metric of a class against the rest: ``of_class("V", "f1")``."""
    label, short = _OF_CLASS[metric]
    key = ("per_class", name, metric)
    return Metric(key=key, label=f"{label} of {name}", group=f"{label} by class", name=name, short=f"{short}\n{name}")


def of_ec57(ectopic: Literal["V", "S"] | str, metric: str, *, without: bool = False) -> Metric:
    """An EC57 metric of V or S: ``of_ec57("V", "sensitivity")``; `without` the beats of record 232."""
    label, short, digits = _OF_EC57[metric]
    group = f"EC57 {ectopic}" + f", no {SET_ASIDE}" * without
    head = f"{ectopic}-{SET_ASIDE}" if without else ectopic
    key = ("ec57", *["without_232"] * without, ectopic, metric)
    return Metric(key=key, label=f"{group} {label}", group=group, name=short, short=f"{head}\n{short}", digits=digits)


# Further scores within ``test`` of a run, of other decisions or other beats: in words, and short.
PARTS: Mapping[str, tuple[str, str]] = {
    "at_operating_point": ("at the operating point", "op"),
    "cross_validation": ("in cross-validation", "cv"),
    "cross_validation_at_operating_point": ("in cross-validation at the operating point", "cv op"),
}


def in_part(part: str, metric: Metric) -> Metric:
    """The same metric in one of `PARTS`: ``in_part("cross_validation", of_class("V", "f1"))``."""
    words, short = PARTS[part]
    label, group, key = f"{metric.label} {words}", f"{metric.group} {words}", (part, *metric.key)
    return replace(metric, key=key, label=label, group=group, short=f"{short}\n{metric.short}")


def metric_at(key: Sequence[str]) -> Metric:
    """The metric at a place below ``test``, such as ``("auroc",)`` of the positive class; KeyError if there is none."""
    match tuple(key):
        case (name,) if name in OVERALL:
            return OVERALL[name]
        case (name,) if name in _OF_CLASS:
            label, short = _OF_CLASS[name]
            return Metric(key=(name,), label=label, name=label, short=f"\n{short}")
        case ("per_class", name, metric):
            return of_class(name, metric)
        case ("recordings", metric):
            one = metric_at((metric,))
            return replace(one, key=("recordings", metric), label=f"{one.label} by recording", group="by recording")
        case ("ec57", *without, ectopic, metric) if without in ([], ["without_232"]):
            return of_ec57(ectopic, metric, without=bool(without))
    raise KeyError(f"there is no metric at {'.'.join(key)}")
