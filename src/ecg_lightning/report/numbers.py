"""The numbers of one run record by their place in it: ``test.per_class.V.f1``."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ecg_lightning.metrics.catalogue import Metric
from ecg_lightning.report.cells import NONE, Cell, Number


class Numbers:
    """The numbers of a run record, or of what was computed from several.

    Args:
        content: the record in plain values.
        computed: whether its numbers stand in no file.
        prefix: what comes before a place, to tell several records on a page apart.
    """

    def __init__(self, content: Mapping[str, Any], *, computed: bool = False, prefix: str = "") -> None:
        self.content = content
        self.computed = computed
        self.prefix = prefix

    def value(self, place: str) -> Any:
        """What is there; None where nothing is, and for a metric whose denominator is 0."""
        value: Any = self.content
        for key in place.split("."):
            if isinstance(value, Mapping):
                value = value.get(key)
            elif isinstance(value, Sequence) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return None if place.startswith("test.per_class.") and not self._is_defined(place) else value

    def _is_defined(self, place: str) -> bool:
        *_, name, metric = place.split(".")
        of_class = self.content["test"]["per_class"].get(name)
        if not of_class or "support" not in of_class:  # a mean over seeds has no counts
            return True
        support, predicted = of_class["support"], of_class["predicted"]
        confusion = self.content["test"].get("confusion")
        others = sum(map(sum, confusion)) - support if confusion else 1
        denominators = {"precision": support + predicted, "recall": support, "f1": support + predicted}
        return bool(denominators.get(metric, others if metric == "specificity" else 1))

    def number(self, place: str, digits: int | None = None, *, factor: float = 1) -> Number | str:
        """A number as it is; a count with commas between thousands."""
        value = self.value(place)
        if value is None:
            return NONE
        return Number(value, digits, factor=factor, place=f"{self.prefix}{place}", computed=self.computed)

    def percent(self, place: str, digits: int = 2) -> Number | str:
        """A fraction in percent, without the sign."""
        return self.number(place, digits, factor=100)

    def metric(self, metric: Metric, digits: int | None = None) -> Number | str:
        """A metric with its own digits, or with others."""
        return self.number(metric.place, metric.digits if digits is None else digits, factor=metric.scale)

    def interval(self, metric: Metric, digits: int | None = None) -> tuple[Number, Number] | None:
        """The ends of its interval, by default with one digit where it is in percent."""
        ends = self.value(metric.interval_place)
        if ends is None or self.value(metric.place) is None:
            return None
        digits = metric.digits - (metric.scale == 100) if digits is None else digits
        low, high = (
            Number(
                end, digits, factor=metric.scale, place=f"{self.prefix}{metric.interval_place}.{at}",
                computed=self.computed,
            )
            for at, end in enumerate(ends)
        )  # fmt: skip
        return low, high

    def cell(self, metric: Metric, digits: int | None = None, **more: Any) -> Cell:
        """A metric and its interval."""
        return Cell(self.metric(metric, digits), interval=self.interval(metric), **more)


def percent(number: Number | str) -> Markup:
    """A number with its percent sign, which stays on its line."""
    return Markup("{}\u202f%").format(number)
