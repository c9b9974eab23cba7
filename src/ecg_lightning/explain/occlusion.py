"""Which parts of a beat the predicted probability depends on: occlusion (Zeiler & Fergus, ECCV 2014).

A window is replaced by a straight line between the samples beside it, and the change of the probability is what its
samples are given. It needs predictions alone, so that models without gradients are explained as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import Beats, FloatArray
from ecg_lightning.explain.mistakes import check, plain, shown
from ecg_lightning.explain.saliency import (
    N_FRESH,
    N_TYPICAL,
    BeatSaliency,
    ClassSaliency,
    Saliency,
    correctly_predicted,
    mean_of,
    partial_correlation,
    rank_correlation,
    summary,
    typical,
)
from ecg_lightning.metrics.confusion import Probabilities

WINDOW = 0.04
"""Seconds of signal that are replaced at once: about half a QRS complex."""

Predict = Callable[[Beats], FloatArray]
Floats = npt.NDArray[np.float64]


def occlude_beats(
    predict: Predict,
    randomised: Sequence[Predict],
    beats: Beats,
    probabilities: Probabilities,
    *,
    n: int = N_TYPICAL,
) -> Saliency:
    """Occlusion of typical beats of each class, with a check against randomised models.

    Windows follow each other without overlap; the change of the class's probability is divided evenly among the samples
    of its window, in every lead alone. The check is that of `explain_beats`: what looks the same with a randomised
    model says nothing about this one.

    Args:
        predict: class probabilities of beats.
        randomised: the same of up to `N_FRESH` models that have learnt nothing of the shape of a beat.
        beats: the test beats.
        probabilities: ``[n, classes]``, in their order.
        n: beats of each class.

    Raises:
        DataError: probabilities of other beats.
    """
    check(beats, probabilities)
    classes = []
    for label, name in enumerate(beats.classes):
        correct = correctly_predicted(beats, probabilities, label)
        explained = [
            _explain(predict, randomised[:N_FRESH], beats, probabilities, row) for row in typical(beats, correct, n)
        ]
        classes.append(ClassSaliency.of(name, len(correct), explained))
    return summary(classes, method="occlusion", unit="probability")


def _explain(
    predict: Predict, randomised: Sequence[Predict], beats: Beats, probabilities: Probabilities, row: int
) -> BeatSaliency:
    beat = shown(beats, probabilities, row)
    label, variants, windows = beats.classes.index(beat.true), *occluded(beats, row)
    changes = [_changes(model, variants, label, windows) for model in (predict, *randomised)]
    attributions, whole, flat = changes[0]
    n = int(beats.lengths[row])
    signals = beats.signals[row, :, :n].astype(np.float64)
    distance = np.abs(signals - np.median(signals, axis=1, keepdims=True))
    others = [one[0] for one in changes[1:]]
    return BeatSaliency(
        beat=beat,
        attributions=[plain(lead) for lead in attributions],
        fresh=[plain(lead) for lead in others[0]] if others else [],
        context=[],
        logit=whole,
        baseline=flat,
        error=float(attributions.sum() - (whole - flat)),
        rank_correlation=mean_of([rank_correlation(attributions, other) for other in others]),
        partial_correlation=mean_of([partial_correlation(attributions, other, distance) for other in others]),
    )


def occluded(beats: Beats, row: int) -> tuple[Beats, list[tuple[int, slice]]]:
    """A beat with each of its windows replaced in turn.

    Args:
        beats: where it is.
        row: which it is.

    Returns:
        The beat itself, with all leads flat at their median, then one beat a window; and the windows: lead and samples.
    """
    n, n_leads = int(beats.lengths[row]), beats.signals.shape[1]
    width = max(1, round(WINDOW * beats.fs))
    windows = [(lead, slice(at, min(at + width, n))) for lead in range(n_leads) for at in range(0, n, width)]
    signals = np.repeat(beats.signals[row][None], 2 + len(windows), axis=0)
    signals[1, :, :n] = np.median(signals[1, :, :n], axis=1, keepdims=True) if n else 0
    for variant, (lead, window) in zip(signals[2:], windows, strict=True):
        ends = variant[lead, max(window.start - 1, 0)], variant[lead, min(window.stop, n - 1)]
        variant[lead, window] = np.linspace(*ends, window.stop - window.start + 2)[1:-1]
    alone = beats.select(np.full(len(signals), row))
    return replace(alone, signals=signals), windows


def _changes(
    predict: Predict, variants: Beats, label: int, windows: list[tuple[int, slice]]
) -> tuple[Floats, float, float]:
    """Attributions ``[leads, t]``, the probability of the beat, and that of the flat one."""
    chances = predict(variants)[:, label].astype(np.float64)
    attributions = np.zeros((variants.signals.shape[1], int(variants.lengths[0])))
    for chance, (lead, window) in zip(chances[2:], windows, strict=True):
        attributions[lead, window] = (chances[0] - chance) / (window.stop - window.start)
    return attributions, float(chances[0]), float(chances[1])
