"""The catalogue of metrics: each once, with its place in the scores, its labels, its scale and its digits.

Tables, pages and pictures take from here how a metric is named and printed; which metrics they show is their choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ecg_lightning.metrics.ec57 import SET_ASIDE

Key = tuple[str, ...]
"""Place of a metric below ``test`` in a run record: ``("per_class", "V", "f1")``."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How one metric is found, named and printed.

    Attributes:
        key: its place below ``test``; its interval is at the same place below ``test.intervals``.
        label: its name in words: ``F1 of V``.
        group: what it has in common with its neighbours in a table: ``F1 by class``.
        name: its own name in that group: ``V``.
        short: group and name in two lines of at most six characters, where there is little room.
        description: what it is, where the label does not say it; may be empty.
        scale: 100 where it is printed in percent, else 1.
        digits: after the decimal point.
    """

    key: Key
    label: str
    group: str = "overall"
    name: str
    short: str
    description: str = ""
    scale: Literal[1, 100] = 100
    digits: int = 2

    @property
    def place(self) -> str:
        """Its place in a run record: ``test.per_class.V.f1``."""
        return ".".join(("test", *self.key))

    @property
    def interval_place(self) -> str:
        """The place of its interval in a run record."""
        return ".".join(("test", "intervals", *self.key))

    def of(self, scores: Mapping[str, Any] | None) -> float | None:
        """Its value in scores as ``test`` of a run record nests them; None if it is not there or not defined."""
        found: float | None = dig(scores, self.key)
        return found

    def interval(self, scores: Mapping[str, Any] | None) -> tuple[float, float] | None:
        """Low and high end of its interval in ``test`` of a run record; None if it has none."""
        ends = dig(scores, ("intervals", *self.key))
        return (ends[0], ends[1]) if ends else None

    def text(self, value: float | None, *, digits: int | None = None, sign: bool = False, none: str = "-") -> str:
        """A value as printed, ``94.26`` or ``0.921``, without its unit.

        Args:
            value: as in the scores.
            digits: other than its own.
            sign: print the sign of positive values too.
            none: what stands for None.
        """
        if value is None:
            return none
        return f"{self.scale * value:{'+' if sign else ''}.{self.digits if digits is None else digits}f}"

    def rounded(self, value: float) -> float:
        """A value in the unit and digits in which it is printed: equal as printed is equally good."""
        return round(self.scale * value, self.digits)


def dig(nesting: Any, key: Sequence[str]) -> Any:
    """What is at a place in nested mappings, or None."""
    for name in key:
        nesting = nesting.get(name) if isinstance(nesting, Mapping) else None
    return nesting


def _overall(key: str, label: str, short: str, name: str = "", **more: Any) -> Metric:
    return Metric(key=(key,), label=label, name=name or label, short=short, **more)


OVERALL: Mapping[str, Metric] = {
    metric.key[0]: metric
    for metric in (
        _overall("macro_f1", "macro-F1", "macro\nF1", description="mean of the classes' F1"),
        _overall("accuracy", "accuracy", "accu-\nracy"),
        _overall("macro_precision", "macro precision", "macro\nprec.", "precision"),
        _overall("macro_recall", "macro recall", "macro\nrec.", "recall"),
        _overall(
            "f1_of_macro_precision_recall",
            "F1 of P, R",
            "F1 of\nP, R",
            description="F1 of macro precision and macro recall",
        ),
        _overall("weighted_f1", "weighted F1", "weight\nF1", description="the classes' F1 weighted by their beats"),
        _overall("weighted_precision", "weighted precision", "weight\nprec."),
        _overall("balanced_accuracy", "balanced accuracy", "bal.\nacc.", "bal. acc.", description="mean recall"),
        _overall("kappa", "κ", "\nκ", description="Cohen's"),
        _overall("j_kappa", "jκ", "\njκ", description="κ / 2 + (Se and +P of S and V) / 8"),
        _overall("macro_auroc", "macro AUROC", "macro\nAUROC", "AUROC"),
        _overall("macro_average_precision", "macro average precision", "macro\nAP", "AP"),
        _overall("ece", "calibration error", "\nECE", "ECE", description="ECE, 15 bins"),
        _overall("brier", "Brier score", "\nBrier", scale=1, digits=3),
        _overall("loss", "loss", "\nloss", scale=1, digits=4),
    )
}
"""Metrics of all classes together, by name; ``loss`` is of validation alone."""

_OF_CLASS = {
    "precision": ("precision", "prec."),
    "recall": ("recall", "rec."),
    "f1": ("F1", "F1"),
    "specificity": ("specificity", "Sp"),
    "auroc": ("AUROC", "AUROC"),
    "average_precision": ("average precision", "AP"),
}

_OF_EC57 = {
    "sensitivity": ("sensitivity", "Se", 2),
    "positive_predictivity": ("positive predictivity", "+P", 2),
    "specificity": ("specificity", "Sp", 2),
    "false_positive_rate": ("false positive rate", "FPR", 3),
    "f1": ("F1", "F1", 2),
    "average_sensitivity": ("average sensitivity", "av. Se", 2),
    "average_positive_predictivity": ("average positive predictivity", "av. +P", 2),
}

CLASS_METRICS = tuple(_OF_CLASS)
EC57_METRICS = tuple(_OF_EC57)


def of_class(name: str, metric: str) -> Metric:
    """One of `CLASS_METRICS` of a class against the rest.

    Args:
        name: of the class.
        metric: such as ``f1``.
    """
    label, short = _OF_CLASS[metric]
    return Metric(
        key=("per_class", name, metric),
        label=f"{label} of {name}",
        group=f"{label} by class",
        name=name,
        short=f"{short}\n{name}",
    )


def of_ec57(ectopic: Literal["V", "S"] | str, metric: str, *, without: bool = False) -> Metric:
    """One of `EC57_METRICS` of V or S.

    Args:
        ectopic: ``V`` or ``S``.
        metric: such as ``sensitivity``.
        without: of the beats without record 232.
    """
    label, short, digits = _OF_EC57[metric]
    group = f"EC57 {ectopic}" + f", no {SET_ASIDE}" * without
    head = f"{ectopic}-{SET_ASIDE}" if without else ectopic
    return Metric(
        key=("ec57", *(["without_232"] if without else []), ectopic, metric),
        label=f"{group} {label}",
        group=group,
        name=short,
        short=f"{head}\n{short}",
        digits=digits,
    )


def metric_at(key: Sequence[str]) -> Metric:
    """The metric at a place below ``test``.

    A metric that `score` repeats on top for the class of interest (``("auroc",)``) is named like that of a class.

    Raises:
        KeyError: there is no such metric.
    """
    match tuple(key):
        case (name,) if name in OVERALL:
            return OVERALL[name]
        case (name,) if name in _OF_CLASS:
            label, short = _OF_CLASS[name]
            return Metric(key=(name,), label=label, name=label, short=f"\n{short}")
        case ("per_class", name, metric):
            return of_class(name, metric)
        case ("ec57", "without_232", ectopic, metric):
            return of_ec57(ectopic, metric, without=True)
        case ("ec57", ectopic, metric):
            return of_ec57(ectopic, metric)
    raise KeyError(f"there is no metric at {'.'.join(key)}")
