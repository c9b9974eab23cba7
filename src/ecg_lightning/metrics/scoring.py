"""Scores of a classifier on a fold."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats, BoolArray, FloatArray, IntArray
from ecg_lightning.data.names import Column, numbered
from ecg_lightning.metrics import confusion, ec57
from ecg_lightning.metrics.bootstrap import PER_CLASS, intervals
from ecg_lightning.metrics.confusion import N_BINS, Probabilities, confusion_matrix
from ecg_lightning.metrics.ranking import Ranking
from ecg_lightning.metrics.recordings import METRICS, WHERE, by_recording

QUALITY = (0.0, 0.5, 0.8, 1.0)  # ends of the bins of signal quality; of MIT-BIH's beats 1, 3 and 96 %


def score(
    labels: IntArray,
    probabilities: Probabilities,
    classes: tuple[str, ...],
    positive: str | None = None,
    *,
    records: Column | None = None,
    quality: FloatArray | None = None,
) -> dict[str, Any]:
    """Score predicted probabilities against the true classes.

    The predicted class is the most probable one; of two classes that is the threshold .5, exclusive.

    A ratio without a denominator is 0, as in scikit-learn with ``zero_division=0``. Macro metrics are means over the
    classes that occur among the labels *or* the predictions, as in torchmetrics, which scores validation; other classes
    have metrics of 0 with ``support`` and ``predicted`` 0. AUROC and average precision are one class against the rest;
    they are None, and not in their mean, where all labels are of the class or none is.

    `labels` ``[n]`` are indices into `classes`; `probabilities` ``[n, classes]``, for two classes ``[1 - p, p]``;
    `positive` one of exactly two classes; `records` ``[n]``, for the EC57 counts of each and
    the scores by recording, and `quality` ``[n]``, where the source states them. DataError as `check`.

    Returns:
        Plain values, ready for JSON, all metrics as fractions:

        - ``accuracy``, ``macro_precision``, ``macro_recall``, ``macro_f1`` (the mean of the classes' F1),
          ``weighted_f1`` and ``weighted_precision`` (by support), ``balanced_accuracy`` (mean recall of the classes
          among the labels), ``kappa`` (Cohen's, None if all beats are of one class and predicted so),
          ``macro_auroc``, ``macro_average_precision``;
        - ``f1_of_macro_precision_recall``: the harmonic mean of macro precision and macro recall. Papers print
          either as "macro-F1"; they differ (Opitz & Burst 2019, arXiv:1911.03347);
        - ``ece`` and ``brier``: see `confusion.calibration_error` and `confusion.squared_errors`;
        - ``per_class``: class → ``precision``, ``recall``, ``f1``, ``specificity``, ``auroc``, ``average_precision``,
          ``support`` (number of beats of the class), ``predicted`` (number of beats predicted as it);
        - ``confusion``: see `confusion.confusion_matrix`;
        - ``reliability``: ends, beats, mean confidence and accuracy of each bin that has beats;
        - with `quality`: ``by_quality``: ends, beats, accuracy and macro-F1 of each bin of `QUALITY` that has beats,
          with the five AAMI classes also the EC57 F1 of V and S;
        - with `positive`: its metrics of ``per_class``, at the top level, and ``recall_at_90_specificity``, see
          `ranking.Ranking.recalls`; where all beats of each recording are of one class also ``recordings``: the same
          of recordings by the mean probability of their beats, with ``n`` and ``n_positive``;
        - with N, S and V among the classes: ``j_kappa`` (see `confusion.j_kappa`) and ``ec57`` (see `ec57.ec57`).
    """
    check(labels, probabilities, classes, positive)
    predicted = probabilities.argmax(axis=1)
    matrix = confusion_matrix(labels, predicted, len(classes))
    overall, of_class = confusion.confusion_metrics(matrix)
    support, named = matrix.sum(axis=1), matrix.sum(axis=0)
    per_class: dict[str, dict[str, Any]] = {
        name: {
            **{metric: float(of_class[j, i]) for j, metric in enumerate(PER_CLASS)},
            "support": int(support[i]),
            "predicted": int(named[i]),
            **_ranked(labels == i, probabilities[:, i]),
        }
        for i, name in enumerate(classes)
    }
    confidence, bins = confusion.confidence_bins(probabilities)
    sizes, hits, confidences = (
        np.bincount(bins, weights, N_BINS).astype(np.float64) for weights in (None, labels == predicted, confidence)
    )
    scores: dict[str, Any] = {
        **{name: None if np.isnan(value) else float(value) for name, value in overall.items()},
        "macro_auroc": _mean(one["auroc"] for one in per_class.values()),
        "macro_average_precision": _mean(one["average_precision"] for one in per_class.values()),
        "ece": float(confusion.calibration_error(hits, confidences, np.asarray(len(bins)))),
        "brier": float(confusion.squared_errors(labels, probabilities).mean()),
        "per_class": per_class,
        "confusion": matrix.tolist(),
        "reliability": [
            {
                "above": i / N_BINS,
                "to": (i + 1) / N_BINS,
                "beats": int(sizes[i]),
                "confidence": float(confidences[i] / sizes[i]),
                "accuracy": float(hits[i] / sizes[i]),
            }
            for i in np.flatnonzero(sizes).tolist()
        ],
    }
    if positive is not None:
        scores |= {metric: per_class[positive][metric] for metric in (*PER_CLASS, "auroc", "average_precision")}
        recall = Ranking(labels == 1, probabilities[:, 1]).recalls(np.ones((1, len(labels))))[0]
        scores["recall_at_90_specificity"] = None if np.isnan(recall) else float(recall)
        if (of := by_recording(labels, probabilities, records)) is not None:
            whole = score(of.labels, of.probabilities, classes, positive)
            counts = {"n": len(of.labels), "n_positive": int(of.labels.sum())}
            scores[WHERE] = counts | {metric: whole[metric] for metric in METRICS}
    if ec57.applies(classes):
        j = confusion.j_kappa(overall, of_class, classes)
        scores["j_kappa"] = None if np.isnan(j) else float(j)
        names, record = (None, np.zeros_like(labels)) if records is None else numbered(records)
        k, n = len(classes), 1 if names is None else len(names)
        by_record = np.bincount((record * k + labels) * k + predicted, minlength=n * k * k).reshape(n, k, k)
        scores["ec57"] = ec57.ec57(by_record, classes, names)
    if quality is not None:
        scores["by_quality"] = _by_quality(labels, predicted, classes, quality)
    return scores


def score_beats(beats: Beats, probabilities: Probabilities, positive: str | None = None) -> dict[str, Any]:
    """`score` of the ``n`` tested beats of a run with `bootstrap.intervals`; `probabilities` are ``[n, classes]``."""
    labels, classes = beats.known_labels, beats.classes
    scores = score(labels, probabilities, classes, positive, records=beats.records, quality=beats.quality)
    ends = intervals(labels, probabilities, classes, beats.patients, records=beats.records)
    return scores | {"intervals": ends}


def check(labels: IntArray, probabilities: Probabilities, classes: tuple[str, ...], positive: str | None) -> None:
    """DataError for no beats, arrays that do not fit each other or the classes, or probabilities not finite."""
    if len(labels) == 0:
        raise DataError("no beats to score: the fold is empty")
    if probabilities.shape != (len(labels), len(classes)):
        what = f"{len(labels)} beats of {len(classes)} classes"
        raise DataError(f"probabilities of shape {probabilities.shape} for {what}: expected [beats, classes]")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"labels from {labels.min()} to {labels.max()} for {len(classes)} classes")
    if positive is not None and (positive not in classes or len(classes) != 2):
        raise DataError(f"positive class {positive!r} of {', '.join(classes)}: expected one of exactly two classes")
    # argmax takes NaN for the largest value: a diverged model would be scored as if it had predicted.
    if bad := int((~np.isfinite(probabilities)).any(axis=1).sum()):
        hint = "the training has diverged; lower the learning rate"
        raise DataError(f"the probabilities of {bad} of {len(labels)} beats are not finite numbers: {hint}")


def _by_quality(
    labels: IntArray, predicted: IntArray, classes: tuple[str, ...], quality: FloatArray
) -> list[dict[str, Any]]:
    bins, found = np.digitize(quality, QUALITY[1:-1]), []
    for at in np.unique(bins).tolist():
        matrix = confusion_matrix(labels[bins == at], predicted[bins == at], len(classes))
        overall = confusion.confusion_metrics(matrix)[0]
        one: dict[str, Any] = {"above": QUALITY[at], "to": QUALITY[at + 1], "beats": int(matrix.sum())}
        one |= {metric: float(overall[metric]) for metric in ("accuracy", "macro_f1")}
        if ec57.applies(classes):
            one |= {of: counted["f1"] for of, counted in ec57.ec57(matrix[None], classes, None).items()}
        found.append(one)
    return found


def _ranked(is_positive: BoolArray, probability: Probabilities) -> dict[str, float | None]:
    if is_positive.all() or not is_positive.any():
        return {"auroc": None, "average_precision": None}
    from sklearn.metrics import average_precision_score, roc_auc_score

    computed = {"auroc": roc_auc_score, "average_precision": average_precision_score}
    return {name: float(metric(is_positive, probability)) for name, metric in computed.items()}


def _mean(values: Iterable[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None
