"""Scores of a classifier on a fold, and the file of its predictions from which they can be recomputed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.errors import DataError
from ecg_lightning.files import whole_file

if TYPE_CHECKING:
    import pandas as pd

PREDICTIONS_FORMAT = "ecg_lightning.predictions/1"

Probabilities = npt.NDArray[np.floating[Any]]


def score(
    labels: IntArray, probabilities: Probabilities, classes: tuple[str, ...], positive: str | None = None
) -> dict[str, Any]:
    """Score predicted probabilities against the true classes.

    The predicted class is the most probable one; of two classes that is the threshold .5, exclusive.

    A ratio without a denominator is 0, as in scikit-learn with ``zero_division=0``. Macro figures are means over the
    classes that occur among the labels *or* among the predictions: a class that nobody has and nobody named says
    nothing, and torchmetrics, which scores validation, leaves it out likewise. Its own figures stand as 0 with
    ``support`` and ``predicted`` 0.

    Args:
        labels: ``[n]``, indices into `classes`.
        probabilities: ``[n, classes]``; for two classes ``[1 - p, p]``.
        classes: names of the classes.
        positive: the class whose detection is the question, of exactly two; adds its figures at the top level.

    Returns:
        Plain values, ready for JSON, all figures as fractions:

        - ``accuracy``, ``macro_precision``, ``macro_recall``, ``macro_f1`` (the mean of the classes' F1),
          ``weighted_f1`` (weighted by support);
        - ``f1_of_macro_precision_recall``: the harmonic mean of macro precision and macro recall. Papers print
          either as "macro-F1"; they differ (Opitz & Burst 2019, arXiv:1911.03347);
        - ``per_class``: class → ``precision``, ``recall``, ``f1``, ``specificity``, ``support`` (beats that are of
          the class), ``predicted`` (beats that were called it);
        - ``confusion``: number of beats, a row for each true class, a column for each predicted one;
        - with `positive`: its ``precision``, ``recall``, ``f1``, ``specificity``, and ``auroc``, which is None when
          the labels are all of one class.

    Raises:
        DataError: arrays that do not fit each other or the classes, no beats, or probabilities that are not numbers.
    """
    n_classes = len(classes)
    _check(labels, probabilities, classes, positive)
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)

    n = confusion.sum()
    hits = confusion.diagonal()
    support = confusion.sum(axis=1)
    called = confusion.sum(axis=0)
    precision = _ratio(hits, called)
    recall = _ratio(hits, support)
    f1 = _ratio(2 * hits, support + called)
    specificity = _ratio(n - support - called + hits, n - support)

    counted = support + called > 0
    macro_precision, macro_recall = float(precision[counted].mean()), float(recall[counted].mean())
    both = macro_precision + macro_recall
    per_class = {
        name: {
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "specificity": float(specificity[i]),
            "support": int(support[i]),
            "predicted": int(called[i]),
        }
        for i, name in enumerate(classes)
    }
    scores: dict[str, Any] = {
        "macro_f1": float(f1[counted].mean()),
        "accuracy": float(hits.sum() / n),
        "macro_precision": macro_precision,
        "macro_recall": macro_recall,
        "f1_of_macro_precision_recall": 2 * macro_precision * macro_recall / both if both else 0.0,
        "weighted_f1": float((f1 * support).sum() / n),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }
    if positive is not None:
        at = classes.index(positive)
        scores |= {figure: per_class[positive][figure] for figure in ("precision", "recall", "f1", "specificity")}
        scores["auroc"] = _auroc(labels == at, probabilities[:, at])
    return scores


def predictions_table(beats: Beats, probabilities: Probabilities) -> "pd.DataFrame":
    """What was predicted for each beat, as a `pandas.DataFrame` of one row a beat.

    Columns: ``record``, ``patient``, ``sample`` (index of the R peak at the record's own rate; each of the three only
    where the source tells it), ``true``, ``predicted`` (class names), and ``probability_<class>`` for every class.

    Args:
        beats: the ``n`` beats of the fold.
        probabilities: ``[n, classes]``, in the order of `beats`.

    Raises:
        DataError: as `score`.
    """
    import pandas as pd

    _check(beats.labels, probabilities, beats.classes, positive=None)
    names = np.asarray(beats.classes, dtype=object)
    origin = {"record": beats.records, "patient": beats.patients, "sample": beats.samples}
    return pd.DataFrame(
        {name: column for name, column in origin.items() if column is not None}
        | {"true": names[beats.labels], "predicted": names[probabilities.argmax(axis=1)]}
        | {f"probability_{name}": probabilities[:, i] for i, name in enumerate(beats.classes)}
    )


def write_predictions(
    path: Path,
    beats: Beats,
    probabilities: Probabilities,
    *,
    positive: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write `predictions_table` as Parquet, with all that is needed to score it again.

    Args:
        path: destination, by custom ``predictions.parquet``.
        beats: the ``n`` beats of the fold.
        probabilities: ``[n, classes]``; their precision is kept, so that scores come out equal to the digit.
        positive: as in `score`.
        about: the run that predicted, in plain values.

    Raises:
        DataError: as `score`, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(predictions_table(beats, probabilities), preserve_index=False)
    metadata = {
        "format": PREDICTIONS_FORMAT,
        "classes": beats.classes,
        "positive": positive,
        "about": dict(about or {}),
    }
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"predictions": json.dumps(metadata)})
    with whole_file(path) as partial:
        pq.write_table(table, partial)


def read_predictions(path: Path) -> tuple["pd.DataFrame", dict[str, Any]]:
    """Read what `write_predictions` wrote: the table, and ``classes``, ``positive``, ``about`` of its fold.

    Raises:
        DataError: the file is absent, damaged, or holds no predictions.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: a finished run leaves it in its folder") from error
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from error
    written = (table.schema.metadata or {}).get(b"predictions")
    metadata: dict[str, Any] = json.loads(written) if written else {}
    if metadata.get("format") != PREDICTIONS_FORMAT:
        raise DataError(
            f"{path} has format {metadata.get('format')!r}, expected {PREDICTIONS_FORMAT!r}: "
            "give the predictions.parquet of a run of this version"
        )
    return table.to_pandas(), metadata


def score_predictions(path: Path, *others: Path) -> dict[str, Any]:
    """Recompute `score` from a file of predictions alone; equal to the run's own ``scores.json`` to the digit.

    Args:
        path: ``predictions.parquet`` of a run.
        others: those of the other folds of its cross-validation, to score the beats of all of them together.

    Raises:
        DataError: as `read_predictions` and `score`, or files of different classes or with a beat in common.
    """
    import pandas as pd

    files = {file: read_predictions(file) for file in (path, *others)}
    classes, positive = tuple(files[path][1]["classes"]), files[path][1]["positive"]
    for file, (table, metadata) in files.items():
        if (tuple(metadata["classes"]), metadata["positive"]) != (classes, positive):
            raise DataError(f"{file} and {path} have different classes: they cannot be scored together")
        unknown = sorted(set(table["true"]) - set(classes))
        if unknown:
            raise DataError(f"{file} has beats of class {unknown[0]!r}, its classes are {', '.join(classes)}")
    joined = pd.concat([table for table, _ in files.values()], ignore_index=True)
    if others and {"record", "sample"} <= set(joined):
        twice = joined[joined.duplicated(["record", "sample"])]
        if len(twice):
            beat = f"sample {twice['sample'].iloc[0]} of record {twice['record'].iloc[0]}"
            raise DataError(f"{len(twice)} beats stand in two of the {len(files)} files with {path}, such as {beat}")
    labels = joined["true"].map({name: i for i, name in enumerate(classes)}).to_numpy(dtype=np.int64)
    return score(labels, joined[[f"probability_{name}" for name in classes]].to_numpy(), classes, positive)


def _check(labels: IntArray, probabilities: Probabilities, classes: tuple[str, ...], positive: str | None) -> None:
    if len(labels) == 0:
        raise DataError("no beats to score: the fold is empty")
    if probabilities.shape != (len(labels), len(classes)):
        raise DataError(
            f"probabilities of shape {probabilities.shape} for {len(labels)} beats of {len(classes)} classes: "
            "expected [beats, classes]"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"labels from {labels.min()} to {labels.max()} for {len(classes)} classes")
    if positive is not None and (positive not in classes or len(classes) != 2):
        raise DataError(f"positive class {positive!r} of {', '.join(classes)}: expected one of exactly two classes")
    # argmax takes NaN for the largest value: a diverged model would be scored as if it had answered.
    bad = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if bad:
        raise DataError(
            f"the probabilities of {bad} of {len(labels)} beats are not finite numbers: the training has diverged; "
            "lower the learning rate"
        )


def _ratio(part: npt.NDArray[np.int64], whole: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _auroc(is_positive: npt.NDArray[np.bool_], probability: Probabilities) -> float | None:
    if is_positive.all() or not is_positive.any():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(is_positive, probability))
