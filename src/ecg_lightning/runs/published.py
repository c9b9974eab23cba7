"""The metrics that the older, script-based system published for the same networks on the Kaggle files.

They are upper bounds rather than peers: its test file also chose the epoch (best of 80; of 600 for MI), and the beats
of one patient stand in both of its MI folds. ``published.csv`` holds them as printed, in percent.

The printed "overall F1" is the mean of the classes' F1 in all eight rows, to the last digit, so it compares with
``macro_f1``; the harmonic mean of the printed overall precision and recall is up to .21 points higher.

``published_elsewhere.csv`` holds what others printed where patients were kept apart, in percent too.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.runs.schema import RunRecord

PUBLISHED_CAVEAT = (
    "Published: the older script-based system on the Kaggle files, its epoch chosen on the test file, "
    "which flatters it."
)
"""To be printed wherever its metrics are."""

METRICS = ("precision", "recall", "f1")


def published_row(task: str, network: str, resampling: str, pretrained: bool = False) -> dict[str, Any] | None:
    """Published metrics of one network with one resampling of its training beats: fractions, named as by `score`.

    Args:
        task: ``arrhythmia`` or ``mi``.
        network: ``cnet``, ``seq``, ``bilstm`` or ``bigru``.
        resampling: ``none`` or ``smote_tomek``.
        pretrained: whether the network started from weights trained on ``arrhythmia``; published for ``cnet`` on
            ``mi`` only.

    Returns:
        For ``arrhythmia``: ``macro_precision``, ``macro_recall``, ``macro_f1`` as printed,
        ``f1_of_macro_precision_recall`` derived from them, and ``per_class`` precision, recall and F1. For ``mi``:
        ``precision``, ``recall``, ``f1`` of MI, and the same as ``per_class``. ``erratum`` where the printed metrics
        contradict each other. None where nothing was published.
    """
    rows = _rows().get((network, resampling))
    if rows is None:
        return None
    if task == "arrhythmia" and not pretrained:
        overall = _metrics(rows, "overall")
        precision, recall = overall["precision"], overall["recall"]
        return {
            "macro_precision": precision,
            "macro_recall": recall,
            "macro_f1": overall["f1"],
            "f1_of_macro_precision_recall": 2 * precision * recall / (precision + recall),
            "per_class": {name: _metrics(rows, name) for name in AAMI_CLASSES},
        }
    column = "MI_pretrained" if pretrained else "MI"
    if task != "mi" or not rows["f1"][column]:
        return None
    row: dict[str, Any] = {**_metrics(rows, column), "per_class": {"MI": _metrics(rows, column)}}
    harmonic = 2 * row["precision"] * row["recall"] / (row["precision"] + row["recall"])
    # Printed with two digits at least: what is off by more than their rounding is a misprint.
    if abs(harmonic - row["f1"]) > 1e-4:
        row["erratum"] = f"F1 {100 * row['f1']:.2f} as printed; its own precision and recall give {100 * harmonic:.2f}"
    return row


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What others printed of beats that were divided by the same protocol: a mark to compare metrics with.

    Attributes:
        who: authors and year.
        metrics: fractions, nested as ``test`` of a run record.
        note: how to take them, or where they are; may be empty.
    """

    who: str
    metrics: Mapping[str, Any]
    note: str


def published_elsewhere(task: str, split: str) -> tuple[Elsewhere, ...]:
    """What was published for a task with patients apart; nothing for other protocols."""
    text = files("ecg_lightning.runs").joinpath("published_elsewhere.csv").read_text(encoding="utf-8")
    rows = []
    for line in csv.DictReader(text.splitlines()):
        about = [line.pop(key) for key in ("task", "split", "who", "note")]
        if about[:2] == [task, split]:
            metrics: dict[str, Any] = {}
            for path, printed in line.items():
                *outer, last = path.split(".")
                at = metrics
                for key in outer if printed else ():
                    at = at.setdefault(key, {})
                if printed:
                    at[last] = round(float(printed) / 100, 12)
            rows.append(Elsewhere(who=about[2], metrics=metrics, note=about[3]))
    return tuple(rows)


def published_rows() -> list[tuple[str, str]]:
    """(network, resampling) of each row that was published, in the published order."""
    return list(_rows())


def published_for_run(record: RunRecord) -> dict[str, Any] | None:
    """`published_row` of the row that a run belongs to.

    None for what has none: synthetic beats, scores of another fold than the test one, and a pretrained backbone that
    learns on, since the published one was frozen.
    """
    if record.synthetic or record.fold != "test" or record.transfer == "finetune":
        return None
    return published_row(record.task, record.model, record.resampling, pretrained=record.transfer != "none")


@cache
def _rows() -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    text = files("ecg_lightning.runs").joinpath("published.csv").read_text(encoding="utf-8")
    rows: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for line in csv.DictReader(text.splitlines()):
        rows.setdefault((line["network"], line["augmentation"]), {})[line["score"]] = line
    return rows


def _metrics(rows: Mapping[str, Mapping[str, str]], column: str) -> dict[str, float]:
    # Rounded because 92.83118 / 100 is 0.9283118000000001, and the metric has no such digits.
    return {metric: round(float(rows[metric][column]) / 100, 12) for metric in METRICS}
