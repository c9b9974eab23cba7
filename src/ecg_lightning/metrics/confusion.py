"""Metrics of confusion matrices and of calibration, for one test (`scoring`) or many resamples of it (`bootstrap`)."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import IntArray

Numbers = npt.NDArray[np.float64]
Probabilities = npt.NDArray[np.floating[Any]]

N_BINS = 15  # of equal width, for calibration; Guo et al., ICML 2017


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any], undefined: float = 0.0) -> Numbers:
    """``part / whole``, and `undefined` where that has no denominator."""
    quotient: Numbers = np.divide(part, whole, out=np.full(whole.shape, undefined), where=whole > 0)
    return quotient


def confusion_matrix(labels: IntArray, predicted: IntArray, n_classes: int) -> IntArray:
    """Numbers of beats ``[classes, classes]``, a row for each true class, a column for each predicted one."""
    cells = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes).astype(np.int64)


def confusion_metrics(confusion: npt.NDArray[Any], undefined: float = 0.0) -> tuple[dict[str, Numbers], Numbers]:
    """The metrics of confusion matrices ``[…, classes, classes]``, as `scoring.score` names and defines them.

    Metrics of all classes together, each ``[…]``; and of each class, ``[…, 4, classes]``: precision, recall, F1 and
    specificity. A metric of a class without a denominator is `undefined`, and counts as 0 in means over classes.
    """
    n = confusion.sum(axis=(-2, -1))
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    support, named = confusion.sum(axis=-1), confusion.sum(axis=-2)
    specific = n[..., None] - support - named + hits
    parts = ((hits, named), (hits, support), (2 * hits, support + named), (specific, n[..., None] - support))
    precision, recall, f1 = (ratio(part, whole) for part, whole in parts[:3])
    counted = support + named > 0
    macro_precision, macro_recall, macro_f1 = (np.mean(one, axis=-1, where=counted) for one in (precision, recall, f1))
    expected = (support * named).sum(axis=-1) / n
    overall = {
        "macro_f1": macro_f1,
        "accuracy": hits.sum(axis=-1) / n,
        "macro_precision": macro_precision,
        "macro_recall": macro_recall,
        "f1_of_macro_precision_recall": ratio(2 * macro_precision * macro_recall, macro_precision + macro_recall),
        "weighted_f1": (f1 * support).sum(axis=-1) / n,
        "weighted_precision": (precision * support).sum(axis=-1) / n,
        "balanced_accuracy": np.mean(recall, axis=-1, where=support > 0),
        "kappa": ratio(hits.sum(axis=-1) - expected, n - expected, np.nan),
    }
    return overall, np.stack([ratio(part, whole, undefined) for part, whole in parts], axis=-2)


def j_kappa(overall: dict[str, Numbers], per_class: Numbers, classes: tuple[str, ...]) -> Numbers:
    """jκ = κ / 2 + (Se S + Se V + (+P) S + (+P) V) / 8, of what `confusion_metrics` returned.

    Mar et al., IEEE Trans. Biomed. Eng. 58(8), 2011, with the weights of Mondéjar-Guerra et al., Biomed. Signal
    Process. Control 47, 2019. Se and +P are recall and precision of all beats; κ is over all classes.
    """
    s_and_v = [classes.index("S"), classes.index("V")]
    j: Numbers = np.nan_to_num(per_class[..., :2, s_and_v]).sum(axis=(-2, -1))
    return overall["kappa"] / 2 + j / 8


def confidence_bins(probabilities: Probabilities) -> tuple[Numbers, IntArray]:
    """Probability of the predicted class ``[n]``, and its bin: ``(k / 15, (k + 1) / 15]``."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    return confidence, np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)


def calibration_error(hits: Numbers, confidences: Numbers, n: Numbers) -> Numbers:
    """ECE: mean over `n` beats of \\|accuracy − mean confidence\\| of their bin (Naeini et al., AAAI 2015).

    `hits` are the numbers of beats predicted right, `confidences` the sums of their confidences, both ``[…, bins]``.
    """
    error: Numbers = np.abs(hits - confidences).sum(axis=-1) / n
    return error


def squared_errors(labels: IntArray, probabilities: Probabilities) -> Numbers:
    """``[n]``, with the Brier score as mean: sum over the classes of (probability − truth)².

    Brier, Mon. Weather Rev. 78, 1950; of two classes half of it, as in scikit-learn.
    """
    errors: Numbers = probabilities.astype(np.float64, order="C")  # sums depend on it, in the last digit
    errors[np.arange(len(labels)), labels] -= 1
    squared: Numbers = np.einsum("nc,nc->n", errors, errors)
    return squared / 2 if probabilities.shape[1] == 2 else squared
