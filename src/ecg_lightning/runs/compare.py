"""Whether one run is better than another: the difference of their figures on the same test beats, and how sure it is.

Both answered the same beats, so that what makes these easy or hard is the same for both and cancels: the difference is
far surer than the two intervals side by side make one think.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.metrics.bootstrap import LEVEL, RESAMPLES, interval, nested, resampled_figures
from ecg_lightning.metrics.confusion import Numbers
from ecg_lightning.metrics.scoring import score
from ecg_lightning.runs.predictions import column, labels_and_probabilities, read_pooled, read_predictions

if TYPE_CHECKING:
    import pandas as pd

SIDES = ("first", "second")


Side = Path | str | Sequence[Path]
"""A run's folder or its ``predictions.parquet``, a folder that holds the runs of all folds, or files of predictions."""


def compare(first: Side, second: Side, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Differences between two runs that were tested on the same beats, by paired bootstrap over patients.

    Each resample of the patients (of the beats, where patients are not known) scores both runs, and the differences of
    their figures are what is counted; Efron & Tibshirani 1993, chapter 16.

    Args:
        first: a run's folder or its ``predictions.parquet``, or a folder that holds the runs of all folds of a
            cross-validation; or the files of predictions of all folds.
        second: another one.
        resamples: how many.
        seed: the same seed gives the same intervals.

    Returns:
        Plain values, ready for JSON:

        - ``first``, ``second``: ``path``, and ``model``, ``seed``, ``protocol``, ``synthetic`` as far as they are told;
        - ``n`` beats, ``resampled`` (``patients`` or ``beats``), ``n_resampled``, ``resamples``, ``level``, ``seed``;
        - ``differences``, in the nesting of the scores: ``first``, ``second``, ``difference`` (first minus second),
          ``interval`` (its low and high end) and ``p`` (two-sided; the share of resamples on the rarer side of 0,
          doubled), the last two None with a single patient;
        - ``mcnemar``: ``only_first`` and ``only_second``, beats that the one alone called right, and ``p`` of its exact
          test, which takes beats of one patient for independent and is the more sanguine for it.

    Raises:
        DataError: predictions that cannot be read, or that are of other beats.
    """
    from scipy.stats import binomtest

    files = [_files(Path(side)) if isinstance(side, Path | str) else list(side) for side in (first, second)]
    paths = [
        Path(side) if isinstance(side, Path | str) else of_side[0].parent
        for side, of_side in zip((first, second), files, strict=True)
    ]
    (one, classes, positive), (other, other_classes, _) = (read_pooled(*of_side) for of_side in files)
    told = [_told(of_side) for of_side in files]
    if classes != other_classes:
        raise DataError(f"{paths[0]} knows {', '.join(classes)} and {paths[1]} {', '.join(other_classes)}")
    one, other = _aligned(one, other, paths, told)

    labels, mine = labels_and_probabilities(one, classes)
    theirs = labels_and_probabilities(other, classes)[1]
    patients = column(one, "patient")
    n_units = len(labels) if patients is None else len(np.unique(patients))
    ours = [score(labels, answer, classes, positive) for answer in (mine, theirs)]
    drawn = resampled_figures([mine, theirs], labels, classes, patients, resamples=resamples, seed=seed)
    differences = {}
    for key in drawn[0]:
        values = [_dig(scores, key) for scores in ours]
        if None in values:
            continue
        of_resamples = drawn[0][key] - drawn[1][key]
        differences[key] = {
            **dict(zip(SIDES, values, strict=True)),
            "difference": values[0] - values[1],
            "interval": interval(of_resamples) if n_units > 1 else None,
            "p": _two_sided(of_resamples) if n_units > 1 else None,
        }
    right = [answer.argmax(axis=1) == labels for answer in (mine, theirs)]
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    return {
        **{side: {"path": str(path), **about} for side, path, about in zip(SIDES, paths, told, strict=True)},
        "n": len(labels),
        "resampled": "beats" if patients is None else "patients",
        "n_resampled": n_units,
        "resamples": resamples,
        "level": LEVEL,
        "seed": seed,
        "differences": nested(differences),
        "mcnemar": {
            "only_first": only[0],
            "only_second": only[1],
            "p": float(binomtest(only[0], sum(only)).pvalue) if sum(only) else 1.0,
        },
    }


def not_beaten(
    run: Path | str, baselines: Iterable[Path | str], *, figure: str = "macro_f1", resamples: int = RESAMPLES
) -> list[dict[str, Any]]:
    """The baselines that a run is not surely better than: the interval of the difference does not lie above 0.

    Args:
        run: as in `compare`.
        baselines: likewise, of runs with ``model=majority``, ``beat_length`` and so on.
        figure: what decides.
        resamples: as in `compare`.

    Returns:
        Of each such baseline its ``model``, ``path``, and ``first``, ``second``, ``difference``, ``interval`` and ``p``
        of `figure`; empty if the run beats them all.

    Raises:
        DataError: as `compare`, or there is no such figure.
    """
    survivors = []
    for baseline in baselines:
        answer = compare(run, baseline, resamples=resamples)
        if figure not in answer["differences"]:
            raise DataError(f"{run} and {baseline} have no figure {figure!r} in common")
        found = answer["differences"][figure]
        if found["interval"] is None or found["interval"][0] <= 0:
            about = answer["second"]
            survivors.append({"model": about.get("model"), "path": about["path"], **found})
    return survivors


def _dig(nesting: Mapping[str, Any], path: Iterable[str]) -> Any:
    value: Any = nesting
    for key in path:
        value = (value or {}).get(key)
    return value


def _two_sided(differences: Numbers) -> float | None:
    """Twice the share of resamples on the rarer side of 0; never 0 itself (Davison & Hinkley 1997, 4.2)."""
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return None
    rarer = min((defined <= 0).sum(), (defined >= 0).sum())
    return float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))


def _files(path: Path) -> list[Path]:
    """The predictions of a run, or of the runs in a folder."""
    name = "predictions.parquet"
    if path.is_file() or (path / name).is_file():
        return [path if path.is_file() else path / name]
    found = sorted(path.glob(f"*/{name}"))
    if not found:
        raise DataError(f"{path} holds no {name}: give the folder of a finished run, or of the folds of one")
    return found


def _told(files: Iterable[Path]) -> dict[str, Any]:
    """What the runs of one side say of themselves, where all of them say the same; and the ``fingerprint`` of beats."""
    abouts = [read_predictions(file)[1]["about"] for file in files]
    first, *others = abouts
    keys = ("model", "seed", "protocol", "fold", "synthetic", "fingerprint")
    return {key: first[key] for key in keys if key in first and all(one.get(key) == first[key] for one in others)}


def _aligned(
    one: "pd.DataFrame", other: "pd.DataFrame", paths: list[Path], told: list[dict[str, Any]]
) -> tuple["pd.DataFrame", "pd.DataFrame"]:
    """Both tables in one order of the beats.

    Raises:
        DataError: they are not of the same beats.
    """
    what = f"{paths[0]} and {paths[1]} were not tested on the same beats"
    hint = "compare runs of the same data, split and seed of the split (split.seed=0 holds it for runs of other seeds)"
    place = ["record", "sample"]
    if all(set(place) <= set(table) for table in (one, other)):
        one, other = (table.sort_values(place, ignore_index=True) for table in (one, other))
        if len(one) != len(other) or not one[place].equals(other[place]):
            common = len(one[place].merge(other[place]))
            raise DataError(f"{what}: {len(one):,} and {len(other):,}, of which {common:,} are common; {hint}")
    elif len(one) != len(other) or any(
        told[0].get(key) is None or told[0].get(key) != told[1].get(key) for key in ("fingerprint", "protocol", "fold")
    ):
        # Without records a beat is known by its row alone, which is the same where data and split are.
        raise DataError(f"{what}, or do not tell so; {hint}")
    if "patient" in one and "patient" in other and not one["patient"].equals(other["patient"]):
        raise DataError(f"{what}: their patients differ; {hint}")
    differing = int((one["true"] != other["true"]).sum())
    if differing:
        raise DataError(f"{what}: {differing:,} of {len(one):,} have other labels; {hint}")
    return one, other
