"""What the predictions of a run show beside its scores: curves, errors by record, and the origin of a class's beats."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecg_lightning.runs.predictions import labels_and_probabilities

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the test beats of a class come from: how many patients, the record with most of them, and its share."""

    patients: int
    record: str
    share: float


@dataclass(frozen=True, kw_only=True)
class RecordErrors:
    """The errors in one record: its name, its tested beats, and wrong predictions by true class."""

    record: str
    beats: int
    wrong: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.wrong.values())


Curve = list[tuple[float, float]]
"""(recall, precision) by rising recall."""


def origins(table: "pd.DataFrame", classes: tuple[str, ...]) -> dict[str, Origin]:
    """The origin of each class that has test beats; empty where the source has no records and patients."""
    found: dict[str, Origin] = {}
    if not {"record", "patient"} <= set(table):
        return found
    for name in classes:
        of_class = table[table["true"] == name]
        if len(of_class):
            by_record = of_class["record"].astype(str).value_counts()
            share = float(by_record.iloc[0] / len(of_class))
            found[name] = Origin(patients=of_class["patient"].nunique(), record=str(by_record.index[0]), share=share)
    return found


def errors_by_record(table: "pd.DataFrame", classes: tuple[str, ...]) -> list[RecordErrors]:
    """The errors of each record, the record with most of them first; empty where records are not known."""
    if "record" not in table:
        return []
    wrong = table[table["true"] != table["predicted"]]
    counts = wrong.groupby(["record", "true"], observed=True).size()
    found = [
        RecordErrors(record=str(name), beats=n, wrong={one: int(counts.get((name, one), 0)) for one in classes})
        for name, n in table.groupby("record", observed=True).size().items()
    ]
    return sorted(found, key=lambda one: (-one.total, one.record))


def precision_recall(table: "pd.DataFrame", classes: tuple[str, ...]) -> dict[str, Curve]:
    """A curve for each class that some test beats are of and some are not, as the threshold falls."""
    from sklearn.metrics import precision_recall_curve

    labels, probabilities = labels_and_probabilities(table, classes)
    curves = {}
    for i, name in enumerate(classes):
        is_class = labels == i
        if is_class.any() and not is_class.all():
            precision, recall, _ = precision_recall_curve(is_class, probabilities[:, i])
            # The last point (recall 0, precision 1) is scikit-learn's own, of no threshold; finer steps are not seen.
            points = np.stack([recall, precision], axis=1)[-2::-1].round(3)
            kept = np.append(True, np.diff(points, axis=0).any(axis=1))
            curves[name] = [(x, y) for x, y in points[kept].tolist()]
    return curves


def learning_curves(table: "pd.DataFrame", name: str) -> dict[str, list[tuple[float, float]]]:
    """``training`` and ``validation`` → (epoch, value) of a metric in Lightning's ``metrics.csv``.

    Args:
        table: its content; of its sparse rows the last value of each epoch counts.
        name: ``loss`` or ``macro_f1``.
    """
    curves = {}
    for fold, words in (("train", "training"), ("val", "validation")):
        column = f"{fold}/{name}"
        if {"epoch", column} <= set(table) and table[column].notna().any():
            values = table.groupby("epoch")[column].last().dropna()
            epochs = values.index + (values.index.min() == 0)  # Lightning's own tables count from 0
            curves[words] = list(zip(map(float, epochs), values.tolist(), strict=True))
    return curves
