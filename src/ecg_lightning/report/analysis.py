"""What the predictions of a run tell beside its scores: curves, errors by record, and whose beats a class is of."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ecg_lightning.runs.predictions import labels_and_probabilities

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Whose:
    """Whose the test beats of a class are.

    Attributes:
        beats: their number.
        patients: how many patients have some.
        most: the record with most of them.
        share: its share.
    """

    beats: int
    patients: int
    most: str
    share: float


@dataclass(frozen=True, kw_only=True)
class RecordErrors:
    """The mistakes in one record.

    Attributes:
        record: its name.
        patient: whose it is.
        beats: tested.
        wrong: true class → beats of it that were called something else.
    """

    record: str
    patient: str
    beats: int
    wrong: dict[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.wrong.values())


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Precision over recall as the threshold on a class's probability falls.

    Attributes:
        recall: rising.
        precision: at each of them.
    """

    recall: list[float]
    precision: list[float]


def whose(table: "pd.DataFrame", classes: tuple[str, ...]) -> dict[str, Whose]:
    """Of each class that has test beats, whose they are; empty where the source does not tell records and patients."""
    if not {"record", "patient"} <= set(table):
        return {}
    found = {}
    for name in classes:
        of_class = table[table["true"] == name]
        if len(of_class):
            by_record = of_class["record"].astype(str).value_counts()
            found[name] = Whose(
                beats=len(of_class),
                patients=int(of_class["patient"].nunique()),
                most=str(by_record.index[0]),
                share=float(by_record.iloc[0] / len(of_class)),
            )
    return found


def errors_by_record(table: "pd.DataFrame", classes: tuple[str, ...]) -> list[RecordErrors]:
    """The mistakes of each record, the record with most of them first; empty where records are not told."""
    if not {"record", "patient"} <= set(table):
        return []
    wrong = table[table["true"] != table["predicted"]]
    counts = wrong.groupby(["record", "true"], observed=True).size()
    answer = [
        RecordErrors(
            record=str(record),
            patient=str(of_record["patient"].iloc[0]),
            beats=len(of_record),
            wrong={name: int(counts.get((record, name), 0)) for name in classes},
        )
        for record, of_record in table.groupby("record", observed=True)
    ]
    return sorted(answer, key=lambda one: (-one.total, one.record))


def precision_recall(table: "pd.DataFrame", classes: tuple[str, ...]) -> dict[str, Curve]:
    """A curve for each class that some test beats are of and some are not."""
    from sklearn.metrics import precision_recall_curve

    labels, probabilities = labels_and_probabilities(table, classes)
    curves = {}
    for i, name in enumerate(classes):
        is_class = labels == i
        if is_class.any() and not is_class.all():
            precision, recall, _ = precision_recall_curve(is_class, probabilities[:, i])
            # The last point (recall 0, precision 1) is scikit-learn's own and of no threshold.
            order = np.s_[-2::-1]
            curves[name] = Curve(recall=recall[order].tolist(), precision=precision[order].tolist())
    return curves
