"""The numbers of a run record by their place in it: ``test.per_class.V.f1``."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from ecg_lightning.metrics.catalogue import Metric
from ecg_lightning.report.cells import NONE, Cell, Number
from ecg_lightning.runs.collect import Row


class Numbers:
    """The numbers of a run record as plain values, or `computed` from several; `sd` over seeds is nested likewise.

    `prefix` is put before each place, to distinguish several records on a page.
    """

    def __init__(
        self, content: Mapping[str, Any], sd: "Numbers | None" = None, *, computed: bool = False, prefix: str = ""
    ) -> None:
        self.content, self.deviations, self.computed, self.prefix = content, sd, computed, prefix

    @classmethod
    def of_row(cls, row: Row, *, intervals: bool = True) -> Self:
        """Of a single run those of its record; of folds, pooled; of seeds, their mean and standard deviation."""
        runs, n = row.results[0].runs, len(row.results)
        if n > 1:
            sd = Numbers({"test": row.sd}, computed=True, prefix=f"sd of {n} seeds: ")
            return cls({"test": row.mean}, sd, computed=True, prefix=f"mean of {n} seeds: ")
        test = {**row.results[0].test, "intervals": row.intervals if intervals else {}}
        if len(runs) > 1:
            return cls({"test": test}, computed=True, prefix=f"{len(runs)} folds pooled: ")
        return cls({**runs[0].record.plain(), "test": test}, prefix=f"{runs[0].folder.name}: ")

    def value(self, place: str) -> Any:
        """The value at a place; None where there is none, and for a metric whose denominator is 0."""
        value: Any = self.content
        keys = place.split(".")
        while keys:
            n = 1
            if isinstance(value, Mapping):
                # Names of classes may have points.
                n = next((n for n in range(len(keys), 1, -1) if ".".join(keys[:n]) in value), 1)
                value = value.get(".".join(keys[:n]))
            elif isinstance(value, Sequence) and keys[0].isdecimal() and int(keys[0]) < len(value):
                value = value[int(keys[0])]
            else:
                return None
            keys = keys[n:]
        return value if self._is_defined(place) else None

    def _is_defined(self, place: str) -> bool:
        match place.split("."):
            case ["test", "per_class", name, metric]:
                pass
            case ["test", "precision" | "recall" | "f1" | "specificity" as metric]:  # of the second of two classes
                name = [*self.content["test"]["per_class"], ""][1]
            case _:
                return True
        of_class = self.content["test"]["per_class"].get(name)
        if not of_class or "support" not in of_class:  # a mean over seeds has no counts
            return True
        support, predicted = of_class["support"], of_class["predicted"]
        confusion = self.content["test"].get("confusion")
        others = sum(map(sum, confusion)) - support if confusion else 1
        denominators = {"precision": support + predicted, "recall": support, "f1": support + predicted}
        return bool((denominators | {"specificity": others}).get(metric, 1))

    def number(self, place: str, digits: int | None = None, *, factor: float = 1) -> Number | str:
        """The number at a place; without `digits` as it is, a count with commas between thousands."""
        value = self.value(place)
        return NONE if value is None else self._number(value, place, digits, factor)

    def _number(self, value: float, place: str, digits: int | None, factor: float) -> Number:
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
        place, scale = metric.interval_place, metric.scale
        low, high = (self._number(end, f"{place}.{at}", digits, scale) for at, end in enumerate(ends))
        return low, high

    def sd(self, metric: Metric) -> Number | None:
        """Its standard deviation over seeds."""
        found = self.deviations.metric(metric) if self.deviations else NONE
        return found if isinstance(found, Number) else None

    def cell(self, metric: Metric, digits: int | None = None) -> Cell:
        """A metric with its deviation over seeds or its interval, of which `digits` are."""
        return Cell(self.metric(metric), sd=self.sd(metric), interval=self.interval(metric, digits))
