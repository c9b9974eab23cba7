"""Whether one run is better than another: the difference of their metrics on the same test beats, with its interval.

Both predicted the same beats, so that what makes these easy or hard is the same for both and cancels: the difference is
far more certain than the two intervals side by side suggest.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import BoolArray, IntArray
from ecg_lightning.metrics.bootstrap import LEVEL, RESAMPLES, interval, nested, resampled_metrics
from ecg_lightning.metrics.catalogue import Key, dig
from ecg_lightning.metrics.confusion import Numbers
from ecg_lightning.metrics.scoring import score
from ecg_lightning.runs.predictions import (
    PREDICTIONS,
    RECORD,
    column,
    labels_and_probabilities,
    read_pooled,
    read_predictions,
)
from ecg_lightning.runs.schema import RunRecord, Scores

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("first", "second")

Side = Path | str | Sequence[Path]
"""A run's folder or its ``predictions.parquet``, a folder that holds the runs of all folds, or files of predictions."""

PLACE = ["record", "sample"]


def compare(
    first: Side,
    second: Side,
    *,
    metrics: Collection[Key] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Differences between two runs that were tested on the same beats, by paired bootstrap over patients.

    Each resample of the patients (of the beats, where patients are not known) scores both runs, and the differences of
    their metrics are what is counted; Efron & Tibshirani 1993, chapter 16. Among many runs use a `Comparer`.

    Args:
        first: a run's folder or its ``predictions.parquet``, or a folder that holds the runs of all folds of a
            cross-validation; or the files of predictions of all folds.
        second: another one.
        metrics: places of those that are wanted, below ``test`` of a run record; None for all.
        resamples: how many.
        seed: the same seed gives the same intervals.

    Returns:
        Plain values, ready for JSON:

        - ``first``, ``second``: ``path``, and ``model``, ``seed``, ``protocol``, ``synthetic`` as far as they are
          known and the same for all folds;
        - ``n`` beats, ``resampled`` (``patients`` or ``beats``), ``n_resampled``, ``resamples``, ``level``, ``seed``;
        - ``differences``, nested as the scores: ``first``, ``second``, ``difference`` (first minus second),
          ``interval`` (its low and high end) and ``p`` (two-sided; the share of resamples on the rarer side of 0,
          doubled), the last two None with a single patient;
        - ``mcnemar``: ``only_first`` and ``only_second``, beats that the one alone predicted right, and ``p`` of its
          exact test, which takes beats of one patient for independent and is too optimistic for it.

    Raises:
        DataError: predictions that cannot be read, or that are of other beats.
    """
    return Comparer(metrics=metrics, resamples=resamples, seed=seed).compare(first, second)


class Comparer:
    """Compares runs with each other; each is read, scored and resampled once, however many it is compared with.

    Args:
        metrics: as in `compare`.
        resamples: as in `compare`.
        seed: as in `compare`.
    """

    def __init__(self, *, metrics: Collection[Key] | None = None, resamples: int = RESAMPLES, seed: int = 0) -> None:
        self.metrics = metrics
        self.resamples = resamples
        self.seed = seed
        self._tested: dict[tuple[Path, ...], _Tested] = {}

    def compare(self, first: Side, second: Side) -> dict[str, Any]:
        """As `compare`."""
        from scipy.stats import binomtest

        files = [_files(Path(side)) if isinstance(side, Path | str) else list(side) for side in (first, second)]
        paths = [
            Path(side) if isinstance(side, Path | str) else of_side[0].parent
            for side, of_side in zip((first, second), files, strict=True)
        ]
        sides = [self._read(of_side) for of_side in files]
        one, other = sides
        _check_same_beats(sides, paths, files)
        n_units = one.n_units
        differences = {}
        for key in one.resampled:
            values = [dig(side.scores, key) for side in sides]
            if None in values:
                continue
            of_resamples = one.resampled[key] - other.resampled[key]
            differences[key] = {
                **dict(zip(SIDES, values, strict=True)),
                "difference": values[0] - values[1],
                "interval": interval(of_resamples) if n_units > 1 else None,
                "p": _two_sided(of_resamples) if n_units > 1 else None,
            }
        only = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
        about = [
            {key: value for key, value in side.about.items() if value is not None} | {"path": str(path)}
            for side, path in zip(sides, paths, strict=True)
        ]
        return {
            **dict(zip(SIDES, about, strict=True)),
            "n": len(one.labels),
            "resampled": "beats" if one.patients is None else "patients",
            "n_resampled": n_units,
            "resamples": self.resamples,
            "level": LEVEL,
            "seed": self.seed,
            "differences": nested(differences),
            "mcnemar": {
                "only_first": only[0],
                "only_second": only[1],
                "p": float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
            },
        }

    def _read(self, files: Sequence[Path]) -> "_Tested":
        key = tuple(files)
        if key not in self._tested:
            self._tested[key] = self._resample(files)
        return self._tested[key]

    def _resample(self, files: Sequence[Path]) -> "_Tested":
        table, classes, positive = read_pooled(*files)
        place = None
        if set(PLACE) <= set(table):
            table = table.sort_values(PLACE, ignore_index=True)
            place = _digest(table, PLACE)
        labels, probabilities = labels_and_probabilities(table, classes)
        patients = column(table, "patient")
        resampled = resampled_metrics(
            probabilities,
            labels,
            classes,
            patients,
            resamples=self.resamples,
            seed=self.seed,
            wanted=self.metrics,
        )
        records = _records(files)
        scores: Scores = records[0].test if len(files) == len(records) == 1 else {}
        # A record has the same digits, unless it is of other predictions or from before a metric was computed.
        confusion = np.bincount(labels * len(classes) + probabilities.argmax(axis=1), minlength=len(classes) ** 2)
        known = all(key[-1] in (dig(scores, key[:-1]) or ()) for key in resampled)
        if not known or scores.get("confusion") != confusion.reshape(-1, len(classes)).tolist():
            scores = score(labels, probabilities, classes, positive)
        return _Tested(
            classes=classes,
            labels=labels,
            right=probabilities.argmax(axis=1) == labels,
            patients=None if patients is None else _digest(table, ["patient"]),
            n_units=len(labels) if patients is None else len(np.unique(patients)),
            place=place,
            about=_about(files, records),
            scores=scores,
            resampled=resampled,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tested:
    """A run, or all folds of one, with its beats in one order.

    Attributes:
        classes: their names.
        labels: ``[n]``.
        right: ``[n]``, whether a beat was predicted right.
        patients: equal for the same patients of the beats; None where they are not known.
        n_units: what is resampled: patients, or beats.
        place: equal for the same beats; None where a beat is known by its row alone.
        about: what is known of the run.
        scores: its metrics.
        resampled: the same of each resample, by place.
    """

    classes: tuple[str, ...]
    labels: IntArray
    right: BoolArray
    patients: str | None
    n_units: int
    place: str | None
    about: dict[str, Any]
    scores: Scores
    resampled: dict[Key, Numbers]


def _digest(table: "pd.DataFrame", columns: Sequence[str]) -> str:
    from pandas.util import hash_pandas_object

    return hashlib.sha256(hash_pandas_object(table[columns], index=False).to_numpy().tobytes()).hexdigest()


def not_beaten(
    run: Path | str,
    baselines: Iterable[Path | str],
    *,
    metric: Key = ("macro_f1",),
    resamples: int = RESAMPLES,
) -> list[dict[str, Any]]:
    """The baselines that a run is not significantly better than: the difference's interval does not lie above 0.

    Args:
        run: as in `compare`.
        baselines: likewise, of runs with ``model=majority``, ``beat_length`` and so on.
        metric: what decides, by its place below ``test``.
        resamples: as in `compare`.

    Returns:
        Of each such baseline its ``model``, ``path``, and ``first``, ``second``, ``difference``, ``interval`` and ``p``
        of `metric`; empty if the run beats them all.

    Raises:
        DataError: as `compare`, or there is no such metric.
    """
    comparer = Comparer(metrics=[metric], resamples=resamples)
    survivors = []
    for baseline in baselines:
        answer = comparer.compare(run, baseline)
        found = dig(answer["differences"], metric)
        if found is None:
            raise DataError(f"{run} and {baseline} have no metric {'.'.join(metric)} in common")
        if found["interval"] is None or found["interval"][0] <= 0:
            about = answer["second"]
            survivors.append({"model": about.get("model"), "path": about["path"], **found})
    return survivors


def _two_sided(differences: Numbers) -> float | None:
    """Twice the share of resamples on the rarer side of 0; never 0 itself (Davison & Hinkley 1997, 4.2)."""
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return None
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def _files(path: Path) -> list[Path]:
    """The predictions of a run, or of the runs in a folder."""
    if path.is_file() or (path / PREDICTIONS).is_file():
        return [path if path.is_file() else path / PREDICTIONS]
    found = sorted(path.glob(f"*/{PREDICTIONS}"))
    if not found:
        raise DataError(f"{path} holds no {PREDICTIONS}: give the folder of a finished run, or of the folds of one")
    return found


ABOUT = ("model", "seed", "protocol", "fold", "synthetic", "fingerprint")


def _records(files: Iterable[Path]) -> list[RunRecord]:
    """The records beside files of predictions, where there are any."""
    beside = [file.with_name(RECORD) for file in files if file.name == PREDICTIONS]
    return [RunRecord.read(file) for file in beside if file.is_file()]


def _about(files: Sequence[Path], records: Sequence[RunRecord]) -> dict[str, Any]:
    """What the runs of one side have in common, from their records, else from what their predictions state."""
    if len(records) == len(files):
        known: list[dict[str, Any]] = [
            {name: getattr(record, name) for name in ABOUT} | {"protocol": record.protocol.sentence()}
            for record in records
        ]
    else:
        known = [dict(read_predictions(file)[1].about) for file in files]
    first, *others = known
    return {key: first[key] for key in ABOUT if key in first and all(one.get(key) == first[key] for one in others)}


def _check_same_beats(sides: Sequence[_Tested], paths: Sequence[Path], files: Sequence[Sequence[Path]]) -> None:
    """Refuse runs that were tested on other beats.

    Raises:
        DataError: they were.
    """
    one, other = sides
    what = f"{paths[0]} and {paths[1]} were not tested on the same beats"
    hint = "compare runs of the same data, split and seed of the split (split.seed=0 keeps it for runs of other seeds)"
    if one.classes != other.classes:
        raise DataError(f"{paths[0]} has classes {', '.join(one.classes)} and {paths[1]} {', '.join(other.classes)}")
    if one.place is not None and other.place is not None:
        if one.place != other.place:
            tables = [read_pooled(*of_side)[0][PLACE] for of_side in files]
            common = len(tables[0].merge(tables[1]))
            raise DataError(f"{what}: {len(tables[0]):,} and {len(tables[1]):,}, {common:,} in common; {hint}")
    elif len(one.labels) != len(other.labels) or any(
        one.about.get(key) is None or one.about.get(key) != other.about.get(key)
        for key in ("fingerprint", "protocol", "fold")
    ):
        # Without records a beat is known by its row alone, which is the same where data and split are.
        raise DataError(f"{what}, or do not state it; {hint}")
    if one.patients != other.patients:
        raise DataError(f"{what}: their patients differ; {hint}")
    differing = int((one.labels != other.labels).sum())
    if differing:
        raise DataError(f"{what}: {differing:,} of {len(one.labels):,} have other labels; {hint}")
