"""Occlusion (Zeiler & Fergus, ECCV 2014): what a probability depends on, found without gradients of the model."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ecg_lightning.data.beats import Beats, FloatArray
from ecg_lightning.explain.saliency import N_TYPICAL, Attribute, Attribution, Saliency, saliency
from ecg_lightning.metrics.confusion import Probabilities

WINDOW = 0.04  # seconds that are replaced at once: about half a QRS complex

Predict = Callable[[Beats], FloatArray]  # beats → probabilities ``[n, classes]``


def occlude_beats(
    predict: Predict, randomised: Sequence[Predict], beats: Beats, probabilities: Probabilities, *, n: int = N_TYPICAL
) -> Saliency:
    """Occlusion of typical beats of each class, with the check of `explain_beats` against randomised models.

    Windows follow each other without overlap. Each becomes a straight line between its neighbouring samples, in one
    lead, and the change of the class's probability is divided evenly among its samples.

    `randomised` models have learnt nothing about the shape of a beat; `n` is the number of beats of each class. Raises
    `DataError` if the probabilities ``[n, classes]`` are not of these test beats.
    """
    return saliency(_changes_of(predict), [*map(_changes_of, randomised)], beats, probabilities, n, "occlusion")


def occluded(beats: Beats, row: int) -> tuple[Beats, list[tuple[int, slice]]]:
    """The beat itself, flat at the median of each lead, and with each window replaced; the windows: lead, samples."""
    n, width = int(beats.lengths[row]), max(1, round(WINDOW * beats.fs))
    windows = [
        (lead, slice(at, min(at + width, n))) for lead in range(len(beats.lead_names)) for at in range(0, n, width)
    ]
    signals = np.repeat(beats.signals[row][None], 2 + len(windows), axis=0)
    signals[1, :, :n] = np.median(signals[1, :, :n], axis=1, keepdims=True) if n else 0
    for variant, (lead, window) in zip(signals[2:], windows, strict=True):
        ends = variant[lead, max(window.start - 1, 0)], variant[lead, min(window.stop, n - 1)]
        variant[lead, window] = np.linspace(*ends, window.stop - window.start + 2)[1:-1]
    return replace(beats.select(np.full(len(signals), row)), signals=signals), windows


def _changes_of(predict: Predict) -> Attribute:
    def attribute(beats: Beats, row: int) -> Attribution:
        variants, windows = occluded(beats, row)
        whole, flat, *others = predict(variants)[:, beats.known_labels[row]].astype(np.float64).tolist()
        signals = beats.signals[row][:, : beats.lengths[row]].astype(np.float64)
        changes, distance = np.zeros_like(signals), signals - np.median(signals, axis=1, keepdims=True)
        for probability, (lead, window) in zip(others, windows, strict=True):
            changes[lead, window] = (whole - probability) / (window.stop - window.start)
        return Attribution(changes, np.zeros(0), distance, whole, flat)

    return attribute
