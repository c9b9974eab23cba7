"""Differences between the metrics of two runs on the same test beats, with intervals.

What makes these beats easy or hard cancels: the difference is far more certain than the two intervals suggest.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import BoolArray, IntArray
from ecg_lightning.data.names import TextArray
from ecg_lightning.metrics.bootstrap import RESAMPLES, Key, how_resampled, interval, nested, resampled_metrics
from ecg_lightning.metrics.catalogue import dig
from ecg_lightning.metrics.confusion import Numbers, confusion_matrix
from ecg_lightning.metrics.scoring import score
from ecg_lightning.runs.predictions import PREDICTIONS, RECORD, column, labels_and_probabilities, read_pooled
from ecg_lightning.runs.schema import RunRecord, Scores

if TYPE_CHECKING:
    import pandas as pd

Side = Path | str | Sequence[Path]  # of a comparison, see `compare`
PLACE = ["record", "sample"]
ABOUT = ("model", "seed", "protocol", "fold", "synthetic", "fingerprint")


def compare(
    first: Side, second: Side, *, metrics: Collection[Key] | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Differences between two runs that were tested on the same beats, by paired bootstrap over patients.

    Each resample of the patients (of the beats, where patients are not known) scores both runs; Efron & Tibshirani
    1993, chapter 16. For many runs use a `Comparer`.

    Args:
        first: a run's folder or its ``predictions.parquet``, a folder that holds the runs of all folds of a
            cross-validation, or the files of predictions of all folds.
        second: the same of the other.
        metrics: keys of the metrics to compare, below ``test`` of a run record; None for all.
        resamples: how many.
        seed: of the resampling.

    Returns plain values, ready for JSON:

    - ``first``, ``second``: ``path``, and of `ABOUT` what is known and the same for all folds;
    - ``n`` beats, ``resampled`` (``patients`` or ``beats``), ``n_resampled``, ``resamples``, ``level``, ``seed``;
    - ``differences``, nested as the scores: ``first``, ``second``, ``difference`` (first minus second), ``interval``
      (its low and high end) and two-sided ``p``, the last two None with a single patient;
    - ``mcnemar``: ``only_first`` and ``only_second``, beats that only this run predicted right, and ``p`` of the exact
      test, which is too optimistic because it treats beats of one patient as independent.

    DataError if predictions cannot be read, or are of other beats.
    """
    return Comparer(metrics=metrics, resamples=resamples, seed=seed).compare(first, second)


@dataclass(kw_only=True)
class Comparer:
    """Compares as `compare`, but each run is read, scored and resampled once, however many it is compared with."""

    metrics: Collection[Key] | None = None
    resamples: int = RESAMPLES
    seed: int = 0
    _tested: dict[tuple[Path, ...], "_Tested"] = field(default_factory=dict, init=False, repr=False)

    def compare(self, first: Side, second: Side) -> dict[str, Any]:
        from scipy.stats import binomtest

        one, other = self._read(first), self._read(second)
        _check_same_beats(one, other)
        differences = {}
        for key in one.resampled:
            a, b = dig(one.scores, key), dig(other.scores, key)
            if a is None or b is None:
                continue
            resampled = one.resampled[key] - other.resampled[key]
            ends, p = (interval(resampled), _two_sided(resampled)) if one.how["n_resampled"] > 1 else (None, None)
            differences[key] = {"first": a, "second": b, "difference": a - b, "interval": ends, "p": p}
        only_first, only_second = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
        exact = float(binomtest(only_first, n).pvalue) if (n := only_first + only_second) else 1.0
        return {
            "first": one.about,
            "second": other.about,
            "n": len(one.labels),
            **one.how,
            "differences": nested(differences),
            "mcnemar": {"only_first": only_first, "only_second": only_second, "p": exact},
        }

    def _read(self, side: Side) -> "_Tested":
        if isinstance(side, Path | str):
            path, files = Path(side), tuple(_files(Path(side)))
        else:
            path, files = side[0].parent, tuple(side)
        if (path, *files) not in self._tested:
            self._tested[path, *files] = self._resample(files, path)
        return self._tested[path, *files]

    def _resample(self, files: Sequence[Path], path: Path) -> "_Tested":
        table, info = read_pooled(*files)
        located = set(PLACE) <= set(table)
        table = table.sort_values(PLACE, ignore_index=True) if located else table
        labels, probabilities = labels_and_probabilities(table, info.classes)
        patients, records = column(table, "patient"), column(table, "record")
        resampled = resampled_metrics(
            labels, probabilities, info.classes, patients, records=records,
            resamples=self.resamples, seed=self.seed, wanted=self.metrics,
        )  # fmt: skip
        predicted = probabilities.argmax(axis=1)
        record = files[0].with_name(RECORD)
        of_run = len(files) == 1 and files[0].name == PREDICTIONS and record.is_file()
        scores: Scores = RunRecord.read(record).test if of_run else {}
        # A record has the same digits, unless it is of other predictions or from before a metric was computed.
        known = all(key[-1] in (dig(scores, key[:-1]) or ()) for key in resampled)
        if not known or scores.get("confusion") != confusion_matrix(labels, predicted, len(info.classes)).tolist():
            scores = score(labels, probabilities, info.classes, info.positive, records=records)
        return _Tested(
            path=path,
            classes=info.classes,
            labels=labels,
            right=predicted == labels,
            patients=patients,
            how=how_resampled(len(labels), patients, self.resamples, self.seed),
            place=table[PLACE] if located else None,
            about={key: info.about[key] for key in ABOUT if info.about.get(key) is not None} | {"path": str(path)},
            scores=scores,
            resampled=resampled,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tested:
    """A run, or all folds of one, with its beats in one order."""

    path: Path
    classes: tuple[str, ...]
    labels: IntArray  # [n]
    right: BoolArray  # [n], whether a beat was predicted right
    patients: TextArray | None  # [n]; None where they are not known
    how: dict[str, Any]  # it was resampled
    place: "pd.DataFrame | None"  # record and sample of each beat; None where a beat is known only by its row
    about: dict[str, Any]
    scores: Scores
    resampled: dict[Key, Numbers]


def _two_sided(differences: Numbers) -> float | None:
    """Twice the share of resamples on the rarer side of 0; never 0 itself (Davison & Hinkley 1997, 4.2)."""
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return None
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def _files(path: Path) -> list[Path]:
    """The predictions of a run, or of the runs in a folder."""
    found = [path] if path.is_file() else [*path.glob(PREDICTIONS)] or sorted(path.glob(f"*/{PREDICTIONS}"))
    if not found:
        raise DataError(f"{path} holds no {PREDICTIONS}: give the folder of a finished run, or of the folds of one")
    return found


def _check_same_beats(one: _Tested, other: _Tested) -> None:
    what = f"{one.path} and {other.path} were not tested on the same beats"
    hint = "compare runs of the same data, split and seed of the split (split.seed=0 keeps it for runs of other seeds)"
    if one.classes != other.classes:
        raise DataError(f"{one.path} has classes {', '.join(one.classes)} and {other.path} {', '.join(other.classes)}")
    if one.place is not None and other.place is not None:
        if not one.place.equals(other.place):
            common = len(one.place.merge(other.place))
            raise DataError(f"{what}: {len(one.place):,} and {len(other.place):,}, {common:,} in common; {hint}")
    elif len(one.labels) != len(other.labels) or any(
        one.about.get(key) is None or one.about.get(key) != other.about.get(key)
        for key in ("fingerprint", "protocol", "fold")
    ):
        # Without records a beat is known only by its row, which is the same where data and split are.
        raise DataError(f"{what}, or do not state it; {hint}")
    if not np.array_equal(np.asarray(one.patients), np.asarray(other.patients)):
        raise DataError(f"{what}: their patients differ; {hint}")
    if differing := int((one.labels != other.labels).sum()):
        raise DataError(f"{what}: {differing:,} of {len(one.labels):,} have other labels; {hint}")
