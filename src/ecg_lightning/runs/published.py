"""The metrics that the older, script-based system published for the same networks on the Kaggle files.

They are too high: its test file also chose the epoch (best of 80; of 600 for MI), and both of its MI folds have beats
of the same patients. ``published.csv`` holds them as printed, in percent; ``published_elsewhere.csv`` what others
printed for splits by patient. The printed "overall F1" is the mean of the classes' F1, to the last digit, so it
compares with ``macro_f1``; the harmonic mean of the overall precision and recall is up to .21 points higher.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.metrics.bootstrap import nested
from ecg_lightning.runs.schema import RunRecord

PUBLISHED_CAVEAT = (  # printed wherever its metrics are
    "Published: the older script-based system on the Kaggle files, its epoch chosen on the test file, "
    "which flatters it."
)
METRICS = ("precision", "recall", "f1")
DATASETS = {"arrhythmia": ("mitbih", "kaggle_mitbih"), "mi": ("ptbdb", "kaggle_ptbdb")}  # with published metrics
CLASSES = {"arrhythmia": AAMI_CLASSES, "mi": PTB_CLASSES}


def published_row(task: str, network: str, resampling: str, pretrained: bool = False) -> dict[str, Any] | None:
    """Published metrics of one network with one resampling of its training beats, or None.

    `task` is ``arrhythmia`` or ``mi``, `network` ``cnet``, ``seq``, ``bilstm`` or ``bigru``, `resampling` ``none`` or
    ``smote_tomek``; `pretrained` on ``arrhythmia`` is only ``cnet`` on ``mi``. Returns fractions, named as by `score`:
    macro metrics for ``arrhythmia``, those of MI for ``mi``, and ``per_class``; and ``erratum`` where the printed
    metrics contradict each other.
    """
    rows = _rows().get((network, resampling))
    if rows is None:
        return None
    if task == "arrhythmia" and not pretrained:
        overall = _metrics(rows, "overall")
        return {
            **{f"macro_{metric}": value for metric, value in overall.items()},
            "f1_of_macro_precision_recall": _harmonic_mean(overall),
            "per_class": {name: _metrics(rows, name) for name in AAMI_CLASSES},
        }
    column = "MI_pretrained" if pretrained else "MI"
    if task != "mi" or not rows["f1"][column]:
        return None
    row: dict[str, Any] = {**_metrics(rows, column), "per_class": {"MI": _metrics(rows, column)}}
    harmonic = _harmonic_mean(row)
    # Printed with two digits at least: a larger error than their rounding is a misprint.
    if abs(harmonic - row["f1"]) > 1e-4:
        row["erratum"] = f"F1 {100 * row['f1']:.2f} as printed; its own precision and recall give {100 * harmonic:.2f}"
    return row


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What others published of the same protocol."""

    who: str  # authors and year
    metrics: Mapping[str, Any]  # fractions, nested as ``test`` of a run record
    note: str  # where they differ, or where they are published; may be empty


def published_elsewhere(task: str, split: str) -> tuple[Elsewhere, ...]:
    """What others published for a task and a split by patient; nothing for other splits."""
    rows = []
    for line in _read("published_elsewhere.csv"):
        of_task, of_split, who, note = (line.pop(key) for key in ("task", "split", "who", "note"))
        if (of_task, of_split) == (task, split):
            metrics = nested({tuple(place.split(".")): _fraction(text) for place, text in line.items() if text})
            rows.append(Elsewhere(who=who, metrics=metrics, note=note))
    return tuple(rows)


def published_rows() -> list[tuple[str, str]]:
    """(network, resampling) of each row that was published, in the published order."""
    return list(_rows())


def published_for_run(record: RunRecord) -> dict[str, Any] | None:
    """The `published_row` that compares with a run: on real test beats, a pretrained backbone frozen as published."""
    if not of_published_beats(record) or record.transfer == "finetune":
        return None
    return published_row(record.task, record.model, record.resampling, pretrained=record.transfer != "none")


def of_published_beats(record: RunRecord) -> bool:
    """Whether a record is of the test beats and the classes of a database with published metrics, and no other's."""
    known = record.dataset in DATASETS.get(record.task, ()) and record.classes == CLASSES[record.task]
    return known and not record.synthetic and record.fold == "test" and record.trained_on in (None, record.dataset)


@cache
def _rows() -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    rows: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for line in _read("published.csv"):
        rows.setdefault((line["network"], line["augmentation"]), {})[line["score"]] = line
    return rows


def _read(name: str) -> list[dict[str, str]]:
    text = files("ecg_lightning.runs").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _metrics(rows: Mapping[str, Mapping[str, str]], column: str) -> dict[str, float]:
    return {metric: _fraction(rows[metric][column]) for metric in METRICS}


def _fraction(percent: str) -> float:
    return round(float(percent) / 100, 12)  # 92.83118 / 100 is 0.9283118000000001


def _harmonic_mean(row: Mapping[str, Any]) -> float:
    return float(2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"]))
