"""What the files of runs show in addition to their scores: curves, errors by record, and the origin of classes."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.reading import read_whole
from ecg_lightning.metrics import ec57
from ecg_lightning.metrics.confusion import confusion_matrix
from ecg_lightning.runs.predictions import labels_and_probabilities
from ecg_lightning.runs.schema import LARGEST, RunRecord

if TYPE_CHECKING:
    import pandas as pd

Curve = list[tuple[float, float]]

CURVES = {"epoch": ("", "")} | {  # columns of metrics.csv: metric, and fold in words
    f"{fold}/{name}": (name, words)
    for name in ("loss", "macro_f1")
    for fold, words in (("train", "training"), ("val", "validation"))
}
HIGHEST = 1e15  # that can be drawn


class Origin(NamedTuple):
    """Where the test beats of a class come from: its number of patients, its largest record, and the record's share."""

    patients: int
    record: str
    share: float


class RecordErrors(NamedTuple):
    """The errors in one record: its tested beats, all errors, and those of each true class."""

    record: str
    beats: int
    total: int
    wrong: dict[str, int]


def origins(table: "pd.DataFrame") -> dict[str, Origin]:
    """The origin of each class that has test beats; empty where the source has no records and patients."""
    if not {"record", "patient"} <= set(table):
        return {}
    found = {}
    for name, of_class in table.groupby("true", observed=True):
        shares = of_class["record"].astype(str).value_counts(normalize=True)
        found[str(name)] = Origin(of_class["patient"].nunique(), str(shares.index[0]), float(shares.iloc[0]))
    return found


def errors_by_record(table: "pd.DataFrame", classes: tuple[str, ...]) -> list[RecordErrors]:
    """The errors of each record, the record with most of them first; empty where records are not known."""
    if "record" not in table:
        return []
    found = []
    for name, of_record in table.groupby("record", observed=True):
        wrong = of_record["true"][of_record["true"] != of_record["predicted"]].value_counts()
        counts = {one: int(wrong.get(one, 0)) for one in classes}
        found.append(RecordErrors(str(name), len(of_record), sum(counts.values()), counts))
    return sorted(found, key=lambda one: (-one.total, one.record))


def precision_recall(table: "pd.DataFrame", classes: tuple[str, ...]) -> dict[str, Curve]:
    """(recall, precision) by rising recall, of each class that some test beats are of and some are not."""
    from sklearn.metrics import precision_recall_curve

    labels, probabilities = labels_and_probabilities(table, classes)
    curves = {}
    for i, name in enumerate(classes):
        is_class = labels == i
        if is_class.any() and not is_class.all():
            precision, recall, _ = precision_recall_curve(is_class, probabilities[:, i])
            # The last point (recall 0, precision 1) has no threshold; finer steps cannot be seen.
            points = np.stack([recall, precision], axis=1)[-2::-1].round(3)
            kept = np.append(True, np.diff(points, axis=0).any(axis=1))
            curves[name] = [(x, y) for x, y in points[kept].tolist()]
    return curves


def operating_curve(
    table: "pd.DataFrame", classes: tuple[str, ...], name: str, factors: Iterable[Mapping[str, float]]
) -> Curve:
    """(Se, +P) of a class with each of the factors on the odds of classes, if defined; V and S as EC57 counts them."""
    labels, probabilities = labels_and_probabilities(table, classes)
    at, curve = classes.index(name), []
    for by_class in factors:
        scaled = probabilities * [by_class.get(one, 1.0) for one in classes]
        matrix = confusion_matrix(labels, scaled.argmax(axis=1), len(classes))
        hits, missed, wrong = matrix[at, at], matrix[at].sum() - matrix[at, at], matrix[:, at].sum() - matrix[at, at]
        if ec57.applies(classes) and name in ec57.ECTOPIC:
            hits, missed, wrong, _ = ec57.counts(matrix, name, classes)
        if hits + missed and hits + wrong:
            curve.append((float(hits / (hits + missed)), float(hits / (hits + wrong))))
    return curve


def learning_curves(metrics: Path, record: RunRecord) -> Mapping[str, Mapping[str, Curve]]:
    """(epoch, value) by metric (``loss``, ``macro_f1``) and fold (``training``, ``validation``), those that there are.

    Of the sparse rows of Lightning's ``metrics.csv`` the last value of each epoch counts; DataError if it is no table,
    or not that of the `record`.
    """
    import pandas as pd

    content = read_whole(metrics, LARGEST)
    if record.metrics_sha256 not in (None, hashlib.sha256(content).hexdigest()):
        raise DataError(f"{metrics} was changed after the run: its SHA-256 differs from that in its record; restore it")
    try:
        table = pd.read_csv(BytesIO(content), usecols=lambda name: name in CURVES, dtype=float)
        if (table.abs() > HIGHEST).to_numpy().any():
            raise ValueError("a value is not finite")
    except ValueError as error:
        raise DataError(f"{metrics} is no readable table of metrics: {error}") from error
    curves: dict[str, dict[str, Curve]] = defaultdict(dict)
    for column, (name, words) in CURVES.items():
        if words and {"epoch", column} <= set(table) and table[column].notna().any():
            values = table.groupby("epoch")[column].last().dropna()
            epochs = values.index + (values.index.min() == 0)  # Lightning's own tables count from 0
            curves[name][words] = list(zip(map(float, epochs), values.tolist(), strict=True))
    return curves


def over_seeds(curves: Iterable[Mapping[str, Any]]) -> str:
    """What the points of low-data curves are of: ``one seed``, or the mean of several."""
    seeds = sorted({len(point["seeds"]) for curve in curves for point in curve["points"]})
    many = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    return "one seed" if seeds == [1] else f"mean of {many} seeds, bars: standard deviation"


def size_ticks(sizes: Iterable[float], ratio: float) -> Sequence[float]:
    """Those of the sizes that are at least by `ratio` larger than the one before, so that their labels do not touch."""
    ticks: list[float] = []
    for size in sorted(sizes):
        if not ticks or size > ratio * ticks[-1]:
            ticks.append(size)
    return ticks
