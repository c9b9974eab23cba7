"""Which parts of a beat a network's output depends on: integrated gradients, compared with random initialisations.

Results are plain values, ready for `dataclasses.asdict` and JSON. `ecg_lightning.explain.occlusion` does the same for
models without gradients.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.stored import AT_ONCE
from ecg_lightning.explain.mistakes import ShownBeat, check, shown_beat
from ecg_lightning.metrics.confusion import Probabilities
from ecg_lightning.models import BeatModel
from ecg_lightning.training.tasks import Task

Floats = npt.NDArray[np.floating[Any]]
Method = Literal["integrated gradients", "occlusion"]

N_TYPICAL = 3  # beats of each class
N_RANDOM = 3  # random initialisations, or randomised models, that a saliency is compared with
STEPS = 256  # points on the path: many, because the gradients of ReLUs and maxima jump
RANDOM_STEPS = 32  # the same of random initialisations, which are only compared

HARDLY = 0.5  # rank correlation with randomised models from which on a picture counts as similar to theirs


@dataclass(frozen=True, kw_only=True)
class ContextShare:
    """The attribution of one context value, of which 0 is usual."""

    name: str
    value: float
    attribution: float


@dataclass(frozen=True, kw_only=True)
class BeatSaliency:
    """Which parts of a beat the output of its class depends on.

    Attributes:
        attributions: of each sample, by lead; with those of `context` they sum up to `logit` - `baseline` + `error`.
        randomised: the attributions of one randomised model; empty without one.
        logit: output of the beat's class, in `Saliency.unit`; `baseline` is that of the flat beat it is compared with.
        rank_correlation: Spearman's, between the absolute attributions of the model and of randomised ones, mean of
            `N_RANDOM`; None if one of them is constant.
        partial_correlation: the same given the distance of the beat from its baseline, a factor of both.
    """

    beat: ShownBeat
    attributions: list[list[float]]
    randomised: list[list[float]]
    context: list[ContextShare]
    logit: float
    baseline: float
    error: float
    rank_correlation: float | None
    partial_correlation: float | None


@dataclass(frozen=True, kw_only=True)
class ClassSaliency:
    """Saliency of typical beats of the `n_correct` correctly predicted ones of a class; means of their correlations."""

    name: str
    n_correct: int
    beats: list[BeatSaliency]
    rank_correlation: float | None
    partial_correlation: float | None


@dataclass(frozen=True, kw_only=True)
class Saliency:
    """Saliency of beats of every class, with the mean of the classes' correlations."""

    classes: list[ClassSaliency]
    rank_correlation: float | None
    partial_correlation: float | None
    error: float  # the largest of a sum of attributions, as a share of the difference that is attributed
    verdict: str  # the comparison with randomised models in a sentence
    method: Method
    unit: Literal["logit", "probability"]  # of outputs and attributions


class Attribution(NamedTuple):
    """Attributions of the samples ``[leads, t]`` and of the context ``[k]``, and the distance of the samples from the
    baseline."""

    samples: Floats
    context: Floats
    distance: Floats
    output: float
    baseline: float


Attribute = Callable[[Beats, int], Attribution]  # beats and a row → attributions of the output of that beat's class


def explain_beats(
    model: BeatModel, task: Task, beats: Beats, probabilities: Probabilities, *, n: int = N_TYPICAL, seed: int = 0
) -> Saliency:
    """Integrated gradients of the class's logit in typical beats of each class.

    The baseline is a flat line at the beat's own median in each lead, which is near its isoelectric line; zeros would
    be the lowest point of the scaled beat. It is as long as the beat, and nothing is attributed to the length. The
    baseline of the context is zeros: a beat in its usual rhythm and similar to its neighbours.

    The check is that of Adebayo et al., NeurIPS 2018 (arXiv 1810.03292): all layers are initialised anew at once, the
    same beats are explained by the same method, and Spearman's rank correlation compares the absolute values, without
    the padding. Integrated gradients contain the distance from the baseline as a factor whatever the network; the
    partial correlation is what remains without it.

    Explains `n` beats of each class and does not change the network. Raises `DataError` if the probabilities
    ``[n, classes]`` are not of these test beats.
    """
    trained = _gradients_of(model, task, STEPS)
    randomised = [_gradients_of(with_random_weights(model, seed + i), task, RANDOM_STEPS) for i in range(N_RANDOM)]
    return saliency(trained, randomised, beats, probabilities, n, "integrated gradients")


def saliency(
    trained: Attribute,
    randomised: Sequence[Attribute],
    beats: Beats,
    probabilities: Probabilities,
    n: int,
    method: Method,
) -> Saliency:
    """Attributions of typical beats of each class, compared with those of randomised models."""
    check(beats, probabilities)
    predicted, classes = probabilities.argmax(axis=1), []
    for label, name in enumerate(beats.classes):
        correct, explained = np.flatnonzero((beats.known_labels == label) & (predicted == label)), []
        for row in _typical(beats, correct, n):
            others = [attribute(beats, row) for attribute in randomised]
            explained.append(_compared(trained(beats, row), others, beats, shown_beat(beats, probabilities, row)))
        classes.append(ClassSaliency(name=name, n_correct=len(correct), beats=explained, **_means(explained)))
    means = _means(classes)
    errors = [abs(one.error) / max(abs(one.logit - one.baseline), 1e-6) for each in classes for one in each.beats]
    return Saliency(
        classes=classes,
        **means,
        error=max(errors, default=0.0),
        verdict=_verdict(means["rank_correlation"], means["partial_correlation"], classes),
        method=method,
        unit="probability" if method == "occlusion" else "logit",
    )


def _compared(own: Attribution, others: list[Attribution], beats: Beats, beat: ShownBeat) -> BeatSaliency:
    context: list[ContextShare] = []
    if beats.context is not None and len(own.context):
        shares = zip(beats.context_names, beats.context[beat.row].tolist(), own.context.tolist(), strict=True)
        context = [ContextShare(name=name, value=value, attribution=share) for name, value, share in shares]
    total = own.samples.sum(dtype=np.float64) + own.context.sum(dtype=np.float64)
    return BeatSaliency(
        beat=beat,
        attributions=own.samples.tolist(),
        randomised=others[0].samples.tolist() if others else [],
        context=context,
        logit=own.output,
        baseline=own.baseline,
        error=float(total - (own.output - own.baseline)),
        rank_correlation=_mean(rank_correlation(own.samples, other.samples) for other in others),
        partial_correlation=_mean(partial_correlation(own.samples, other.samples, own.distance) for other in others),
    )


def _typical(beats: Beats, rows: IntArray, n: int) -> list[int]:
    """Of each of the `n` records with most of these rows, the beat nearest to their mean; the `n` nearest to the mean
    of all where records are not known."""

    def by_distance(rows: IntArray) -> list[int]:
        parts = [rows[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE)]  # they may be most of a database
        mean = sum(beats.signals[part].sum(axis=0, dtype=np.float64) for part in parts) / max(len(rows), 1)
        distances = [np.square(beats.signals[part] - mean).sum(axis=(1, 2)) for part in parts]
        nearest: list[int] = rows[np.argsort(np.concatenate([[], *distances]), kind="stable")].tolist()
        return nearest

    if beats.records is None:
        return by_distance(rows)[:n]
    counts = Counter(beats.records[rows].tolist())
    most = sorted(counts, key=lambda record: (-counts[record], record))[:n]
    return [by_distance(rows[beats.records[rows] == record])[0] for record in most]


def integrated_gradients(
    logit: Callable[[Sequence[Tensor]], Tensor], inputs: Sequence[Tensor], baselines: Sequence[Tensor], *, steps: int
) -> tuple[list[Tensor], float, float]:
    """Attribute a logit to its inputs (Sundararajan, Taly & Yan, ICML 2017, equation 1).

    The attribution of the input ``x_i`` is ``(x_i - x'_i) · ∫ ∂F(x' + α (x - x')) / ∂x_i dα`` over α from 0 to 1, by
    Gauss-Legendre quadrature. Up to its error, attributions sum up to ``F(x) - F(x')`` (completeness).

    Args:
        logit: inputs of ``b`` beats, each ``[b, …]`` → one number a beat, ``[b]``.
        inputs, baselines: ``x`` and ``x'`` of one beat, each ``[…]``.
        steps: points of the quadrature.

    Returns attributions in the shapes of the inputs, ``F(x)`` and ``F(x')``.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    alphas, shares = (torch.as_tensor(half).to(inputs[0]) for half in ((nodes + 1) / 2, weights / 2))
    points = [
        torch.lerp(baseline.expand(steps, *x.shape), x, alphas.view(-1, *[1] * x.ndim)).requires_grad_()
        for x, baseline in zip(inputs, baselines, strict=True)
    ]
    # cuDNN's recurrent layers have no gradient outside training mode; torch's own have.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        gradients = torch.autograd.grad(logit(points).sum(), points)
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=False):
        ends = logit([torch.stack(pair) for pair in zip(inputs, baselines, strict=True)])
    attributions = [
        (x - baseline) * torch.tensordot(shares, gradient, dims=1)
        for x, baseline, gradient in zip(inputs, baselines, gradients, strict=True)
    ]
    return attributions, float(ends[0]), float(ends[1])


def _gradients_of(model: BeatModel, task: Task, steps: int) -> Attribute:
    """Integrated gradients of a network; a single logit is of the positive class, its negative of the other one."""
    explained = for_explaining(model)

    def attribute(beats: Beats, row: int) -> Attribution:
        signals, lengths, *context = inputs_of(explained, beats, np.asarray([row]))
        label, n = int(beats.known_labels[row]), int(lengths)
        flat = torch.zeros_like(signals[0])
        flat[:, :n] = signals[0, :, :n].median(dim=1, keepdim=True).values

        def logit(points: Sequence[Tensor]) -> Tensor:
            logits: Tensor = explained(points[0], lengths.expand(len(points[0])), *points[1:])
            if task.positive is None:
                return logits[:, label]
            return logits[:, 0] if beats.classes[label] == task.positive else -logits[:, 0]

        inputs = [signals[0], *(values[0] for values in context)]
        baselines = [flat, *map(torch.zeros_like, inputs[1:])]
        attributions, at_beat, at_baseline = integrated_gradients(logit, inputs, baselines, steps=steps)
        of_samples, *of_context = (one.cpu().numpy() for one in attributions)
        distance = (signals[0] - flat)[:, :n].cpu().numpy()
        shares = of_context[0] if of_context else np.zeros(0)
        return Attribution(of_samples[:, :n], shares, distance, at_beat, at_baseline)

    return attribute


def with_random_weights(model: BeatModel, seed: int) -> BeatModel:
    """A copy with all layers initialised anew; weights that no layer knows how to initialise are shuffled."""
    other = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in other.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                continue
            for own in module.parameters(recurse=False):
                own.copy_(own.flatten()[torch.randperm(own.numel())].view_as(own))
    return other.to(next(model.parameters()).device)


def for_explaining(model: BeatModel) -> BeatModel:
    """A copy in single precision and evaluation mode, without gradients of its weights."""
    return copy.deepcopy(model).float().eval().requires_grad_(False)


def inputs_of(model: BeatModel, beats: Beats, rows: IntArray) -> list[Tensor]:
    """What a network takes of these beats, on its device: signals, lengths and, where it uses it, context."""
    columns = [beats.signals, beats.lengths, *([beats.context] if model.n_context else [])]
    device = next(model.parameters()).device
    return [torch.from_numpy(column[rows]).to(device) for column in columns if column is not None]


def rank_correlation(first: Floats, second: Floats) -> float | None:
    """Spearman's, of the absolute values of two arrays of one shape; None if one of them is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(np.abs(values).ravel()) for values in (first, second)]
    return None if min(map(np.ptp, ranks)) == 0 else float(np.corrcoef(*ranks)[0, 1])


def partial_correlation(first: Floats, second: Floats, given: Floats) -> float | None:
    """`rank_correlation` of two arrays given a third (Kendall & Stuart): what remains of it without the third."""
    both, own, other = (rank_correlation(*pair) for pair in ((first, second), (first, given), (second, given)))
    if both is None or own is None or other is None or (rest := (1 - own**2) * (1 - other**2)) < 1e-9:
        return None
    return float((both - own * other) / np.sqrt(rest))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _means(parts: Sequence[BeatSaliency | ClassSaliency]) -> dict[str, float | None]:
    return {key: _mean(getattr(one, key) for one in parts) for key in ("rank_correlation", "partial_correlation")}


def _verdict(rank: float | None, partial: float | None, classes: Sequence[ClassSaliency]) -> str:
    if rank is None:
        return "Nothing can be compared with randomised models: no beat was recognised, or no sample of one matters."
    metric = f"rank correlation {rank:.2f}, mean of the classes"
    if rank >= HARDLY and partial is not None and partial < HARDLY:
        return (
            f"Much of what stands out in these pictures also does with randomised models ({metric}): it depends less "
            "on what the model has learnt than on where a beat is far from its baseline, which the method favours "
            f"by itself. The rest differs (partial correlation {partial:.2f})."
        )
    if rank >= HARDLY:
        return (
            "These pictures hardly depend on what the model has learnt: those of randomised models are similar "
            f"({metric}). They show the beat more than the model."
        )
    similar = [one.name for one in classes if one.rank_correlation is not None and one.rank_correlation >= HARDLY]
    but = f"; those of {', '.join(similar)} are similar" if similar else ""
    return f"These pictures depend on what the model has learnt: those of randomised models differ ({metric}){but}."
