"""Beat-by-beat counts of ventricular and supraventricular ectopic beats.

ANSI/AAMI EC57:2012, 4.3; de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004, table III; the counts are
those of WFDB's ``bxb``. Where beats are at the reference positions, none is missed or added; of detected ones the
matrix is that of `ecg_lightning.metrics.matching`, with a row and a column for each way in which a beat can be absent.

- V: a fusion or unknown beat (F, Q) predicted as V is neither right nor wrong; N or S as V is a false positive.
- S: an unknown beat (Q) predicted as S is neither; N, V or F predicted as S is a false positive.
- A beat that is not of the class and not predicted as it is a true negative, F and Q too.
- A missed beat of the class is a false negative, one of another class nothing; an extra beat is a false positive of the
  class that it is predicted as, and a true negative of the other.

Classes are found by name: without F or Q the rules are those of the others, and a class of another name counts as Q.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.names import TextArray
from ecg_lightning.metrics.confusion import Numbers, ratio

# Class → the true classes of which it is a false positive.
ECTOPIC: Mapping[str, tuple[str, ...]] = {"V": ("N", "S"), "S": ("N", "V", "F")}
METRICS = ("sensitivity", "positive_predictivity", "specificity", "false_positive_rate", "f1")
SET_ASIDE = "232"  # has three quarters of the S of de Chazal's test records


def applies(classes: Sequence[str]) -> bool:
    """Whether beats of these classes can be counted: N, S and V are among them."""
    return {"N", "S", "V"} <= set(classes)


def counts(
    confusion: npt.NDArray[Any], of: str, classes: Sequence[str], absent: Sequence[str] = ()
) -> npt.NDArray[Any]:
    """``[…, k, k]`` → ``[…, 4]``: true positives, false negatives, false positives, true negatives of V or S.

    `absent` are those of `classes` that stand for no beat: in a row the beat is extra, in a column it is missed.
    """
    at = classes.index(of)
    others = [i for i in range(len(classes)) if i != at]
    predicted = [i for i in others if classes[i] not in absent]
    hits = confusion[..., at, at]
    missed = confusion[..., at, others].sum(axis=-1)
    wrong = confusion[..., [i for i, name in enumerate(classes) if name in (*ECTOPIC[of], *absent)], at].sum(axis=-1)
    right = confusion[..., others, :][..., predicted].sum(axis=(-2, -1))
    return np.stack([hits, missed, wrong, right], axis=-1)


def metrics(counted: npt.NDArray[Any]) -> Numbers:
    """`counts` ``[…, 4]`` → `METRICS` ``[…, 5]``; NaN where one has no denominator."""
    tp, fn, fp, tn = np.moveaxis(counted, -1, 0)
    pairs = ((tp, tp + fn), (tp, tp + fp), (tn, tn + fp), (fp, tn + fp), (2 * tp, 2 * tp + fn + fp))
    return np.stack([ratio(part, whole, np.nan) for part, whole in pairs], axis=-1)


def ec57(
    confusions: npt.NDArray[np.int64],
    classes: Sequence[str],
    records: TextArray | None,
    absent: Sequence[str] = (),
) -> dict[str, Any]:
    """The metrics of V and S, in plain values; None without a denominator.

    `confusions` are ``[records, k, k]`` numbers of beats, a row for each true one of `classes`, and `records` their
    names; or a single one and None, where the source does not state them. `absent` as in `counts`.

    - ``V``, ``S``: ``tp``, ``fn``, ``fp``, ``tn`` and `METRICS` of all beats (gross, in the standard); with records
      ``average_sensitivity`` and ``average_positive_predictivity``, means over the records where they are defined;
    - ``without_232``, if there is such a record: ``V`` and ``S`` of the beats of the others;
    - ``per_record``, with records: a list with ``record``, ``V`` and ``S`` of each.
    """
    answer = _gross(confusions, classes, absent, averaged=records is not None)
    if records is None:
        return answer
    kept = ~np.isin(records, [SET_ASIDE, f"mitbih/{SET_ASIDE}"])  # the latter among those of several databases
    if kept.any() and not kept.all():
        answer["without_232"] = _gross(confusions[kept], classes, absent, averaged=True)
    answer["per_record"] = [
        {"record": str(record)} | {of: _plain(counts(confusion, of, classes, absent)) for of in ECTOPIC}
        for record, confusion in zip(records, confusions, strict=True)
    ]
    return answer


def _gross(
    confusions: npt.NDArray[np.int64], classes: Sequence[str], absent: Sequence[str], *, averaged: bool
) -> dict[str, Any]:
    answer = {}
    for of in ECTOPIC:
        counted = counts(confusions, of, classes, absent)
        answer[of] = _plain(counted.sum(axis=0))
        for i, name in enumerate(METRICS[:2]) if averaged else ():
            answer[of][f"average_{name}"] = average(metrics(counted)[:, i])
    return answer


def average(values: npt.NDArray[np.floating[Any]]) -> float | None:
    """The mean of a metric over the records ``[n]`` in which it is defined, not NaN; None if it is in none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else None


def _plain(counted: npt.NDArray[np.int64]) -> dict[str, Any]:
    named = dict(zip(("tp", "fn", "fp", "tn"), map(int, counted), strict=True))
    return named | {
        name: None if np.isnan(value) else float(value) for name, value in zip(METRICS, metrics(counted), strict=True)
    }
