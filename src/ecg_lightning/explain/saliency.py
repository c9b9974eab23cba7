"""Which parts of a beat a network's output depends on: integrated gradients, compared with random initialisations.

All of it follows from a network, the beats it was tested on and a seed; results are plain values, ready for
`dataclasses.asdict` and JSON. Models without gradients are explained by `ecg_lightning.explain.occlusion`.
"""

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.explain.mistakes import ShownBeat, check, plain, shown
from ecg_lightning.metrics.confusion import Probabilities
from ecg_lightning.models import BeatModel
from ecg_lightning.training.tasks import Task

N_TYPICAL = 3
"""Beats of each class whose saliency is shown."""

STEPS = 256
"""Points on the path of integrated gradients: of networks of ReLUs and maxima, whose gradients jump, many."""

FRESH_STEPS = 32
"""The same with random initialisation, whose saliency is compared with others and not read by itself."""

N_FRESH = 3
"""Randomly initialised networks, or randomised models, that a saliency is compared with."""

HARDLY = 0.5
"""Mean rank correlation with the saliency of randomised models from which on a picture is said to show little."""


@dataclass(frozen=True, kw_only=True)
class ContextShare:
    """What one number of a beat's context has to do with a logit.

    Attributes:
        name: which it is.
        value: how large it is, beside a usual 0.
        attribution: its share of the logit.
    """

    name: str
    value: float
    attribution: float


@dataclass(frozen=True, kw_only=True)
class BeatSaliency:
    """Which parts of a beat the output of its class depends on.

    Attributes:
        beat: the beat.
        attributions: of each of its samples, by lead; they and those of `context` sum up to `logit` - `baseline`.
        fresh: the same of a randomised model; empty without one.
        context: shares of the context, where the network takes it.
        logit: the output for the beat's class: a logit or a probability, see `Saliency.unit`.
        baseline: the same for the flat beat that attributions are against.
        error: by how much the sum misses.
        rank_correlation: Spearman's, of the absolute values of `attributions` and those of randomised models, mean of
            `N_FRESH` of them; None where one of them is constant.
        partial_correlation: the same given the beat's distance from its baseline, by which both are multiplied.
    """

    beat: ShownBeat
    attributions: list[list[float]]
    fresh: list[list[float]]
    context: list[ContextShare]
    logit: float
    baseline: float
    error: float
    rank_correlation: float | None
    partial_correlation: float | None


@dataclass(frozen=True, kw_only=True)
class ClassSaliency:
    """Saliency of typical beats of a class.

    Attributes:
        name: the class.
        n_correct: test beats of it that were recognised; without any there are no beats.
        beats: typical ones.
        rank_correlation: mean of theirs.
        partial_correlation: mean of theirs.
    """

    name: str
    n_correct: int
    beats: list[BeatSaliency]
    rank_correlation: float | None
    partial_correlation: float | None

    @classmethod
    def of(cls, name: str, n_correct: int, beats: list[BeatSaliency]) -> Self:
        """With the means of these beats."""
        return cls(
            name=name,
            n_correct=n_correct,
            beats=beats,
            rank_correlation=mean_of([one.rank_correlation for one in beats]),
            partial_correlation=mean_of([one.partial_correlation for one in beats]),
        )


@dataclass(frozen=True, kw_only=True)
class Saliency:
    """Saliency of beats of every class, and whether it shows anything of the model.

    Attributes:
        method: how it was computed.
        unit: of outputs and attributions.
        classes: by class.
        rank_correlation: mean over the classes.
        partial_correlation: mean over the classes.
        error: the largest error of completeness, as a share of the difference that is explained.
        verdict: in a sentence, what the comparison with randomised models shows.
    """

    classes: list[ClassSaliency]
    rank_correlation: float | None
    partial_correlation: float | None
    error: float
    verdict: str
    method: Literal["integrated gradients", "occlusion"] = "integrated gradients"
    unit: Literal["logit", "probability"] = "logit"


def explain_beats(
    model: BeatModel, task: Task, beats: Beats, probabilities: Probabilities, *, n: int = N_TYPICAL, seed: int = 0
) -> Saliency:
    """Integrated gradients of the class's logit in typical beats of each class.

    Attributions are against a flat line at the height of the beat's own median in each lead, which is near its
    isoelectric line, as long as the beat: not against zeros, which are the lowest point of the scaled beat. The length
    of the beat is the same along the path, and nothing is attributed to it. Context is compared
    with zeros, which are a beat in its usual rhythm and like those around it.

    Whether a picture says something of what the network has learned is tested as by Adebayo et al., NeurIPS 2018
    (arXiv 1810.03292): all layers are initialised anew, at once, the same beats explained by the same method, and the
    absolute values of both compared by Spearman's rank correlation, without the padding. Integrated gradients are
    multiplied by the beat's distance from its baseline whatever the network, which alone makes them alike; the partial
    correlation says what is left without it.

    Args:
        model: the network; it is left as it is.
        task: its task.
        beats: the test beats.
        probabilities: ``[n, classes]``, in their order.
        n: beats of each class.
        seed: of the random initialisations.

    Raises:
        DataError: probabilities of other beats.
    """
    check(beats, probabilities)
    trained = for_explaining(model)
    fresh = [for_explaining(with_random_weights(model, seed + i)) for i in range(N_FRESH)]
    classes = []
    for label, name in enumerate(beats.classes):
        correct = correctly_predicted(beats, probabilities, label)
        explained = [_explain(trained, fresh, task, beats, probabilities, row) for row in typical(beats, correct, n)]
        classes.append(ClassSaliency.of(name, len(correct), explained))
    return summary(classes)


def summary(
    classes: list[ClassSaliency],
    *,
    method: Literal["integrated gradients", "occlusion"] = "integrated gradients",
    unit: Literal["logit", "probability"] = "logit",
) -> Saliency:
    """The saliency of these classes together, with what it shows."""
    correlation = mean_of([one.rank_correlation for one in classes])
    partial = mean_of([one.partial_correlation for one in classes])
    errors = [abs(one.error) / max(abs(one.logit - one.baseline), 1e-6) for each in classes for one in each.beats]
    return Saliency(
        classes=classes,
        rank_correlation=correlation,
        partial_correlation=partial,
        error=max(errors, default=0.0),
        verdict=_verdict(correlation, partial, classes),
        method=method,
        unit=unit,
    )


def correctly_predicted(beats: Beats, probabilities: Probabilities, label: int) -> IntArray:
    """Rows of the beats of a class that were predicted to be of it."""
    return np.flatnonzero((beats.known_labels == label) & (probabilities.argmax(axis=1) == label))


def typical(beats: Beats, rows: IntArray, n: int) -> list[int]:
    """The rows to show: of each of the `n` records that have most of them, the one nearest to their mean.

    Where records are not known, the `n` nearest to the mean of all.
    """
    if beats.records is None:
        return [int(row) for row in rows[_by_distance(beats.signals[rows])[:n]]]
    counted = Counter(beats.records[rows].tolist())
    chosen = []
    for record, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:n]:
        own = rows[beats.records[rows] == record]
        chosen.append(int(own[_by_distance(beats.signals[own])[0]]))
    return chosen


def _by_distance(signals: npt.NDArray[np.float32]) -> IntArray:
    """Positions ``[n]`` of beats ``[n, leads, length]`` by rising distance from the mean."""
    distances = np.square(signals - signals.mean(axis=0, dtype=np.float64)).sum(axis=(1, 2))
    return np.argsort(distances, kind="stable")


def integrated_gradients(
    logit: Callable[[Sequence[Tensor]], Tensor],
    inputs: Sequence[Tensor],
    baselines: Sequence[Tensor],
    *,
    steps: int = STEPS,
) -> tuple[list[Tensor], float, float]:
    """Attribute a logit to what it was computed from (Sundararajan, Taly & Yan, ICML 2017, equation 1).

    The attribution of the input ``x_i`` is ``(x_i - x'_i) · ∫ ∂F(x' + α (x - x')) / ∂x_i dα`` over α from 0 to 1, by
    Gauss and Legendre's rule. Attributions sum up to ``F(x) - F(x')``, which is called completeness, but for the error
    of the rule.

    Args:
        logit: takes the inputs of ``b`` beats, each ``[b, …]``, and gives one number a beat, ``[b]``.
        inputs: those of one beat, each ``[…]``.
        baselines: ``x'``, of the same shapes.
        steps: points of the rule.

    Returns:
        Attributions like the inputs; ``F(x)``; ``F(x')``.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    alphas, shares = (
        torch.as_tensor(half, dtype=inputs[0].dtype, device=inputs[0].device) for half in ((nodes + 1) / 2, weights / 2)
    )
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


def with_random_weights(model: BeatModel, seed: int) -> BeatModel:
    """A copy of a network, all its layers initialised anew; weights that no layer knows how to initialise, shuffled."""
    fresh = copy.deepcopy(model).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in fresh.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                continue
            for own in module.parameters(recurse=False):
                own.copy_(own.flatten()[torch.randperm(own.numel())].view_as(own))
    return fresh.to(next(model.parameters()).device)


def for_explaining(model: BeatModel) -> BeatModel:
    """A copy in single precision that neither drops anything nor keeps gradients of its weights."""
    return copy.deepcopy(model).float().eval().requires_grad_(False)


def _explain(
    trained: BeatModel, fresh: list[BeatModel], task: Task, beats: Beats, probabilities: Probabilities, row: int
) -> BeatSaliency:
    beat = shown(beats, probabilities, row)
    n = int(beats.lengths[row])
    device = next(trained.parameters()).device
    signals = torch.tensor(beats.signals[row], device=device)
    flat = torch.zeros_like(signals)
    flat[:, :n] = signals[:, :n].median(dim=1, keepdim=True).values
    inputs, baselines = [signals], [flat]
    if trained.n_context:
        assert beats.context is not None
        inputs.append(torch.tensor(beats.context[row], device=device))
        baselines.append(torch.zeros_like(inputs[1]))

    def explained(model: BeatModel, steps: int) -> tuple[list[Tensor], float, float]:
        def logit(points: Sequence[Tensor]) -> Tensor:
            lengths = torch.full((len(points[0]),), n, device=device)
            return _logit_of(task, model(points[0], lengths, *points[1:]), beat.true)

        return integrated_gradients(logit, inputs, baselines, steps=steps)

    attributions, at_beat, at_baseline = explained(trained, STEPS)
    others = [explained(model, FRESH_STEPS)[0][0][:, :n].cpu().numpy() for model in fresh]
    of_signals, distance = attributions[0][:, :n].cpu().numpy(), (signals - flat)[:, :n].cpu().numpy()
    total = float(sum(attribution.double().sum() for attribution in attributions))
    return BeatSaliency(
        beat=beat,
        attributions=[plain(lead) for lead in of_signals],
        fresh=[plain(lead) for lead in others[0]],
        context=[
            ContextShare(name=name, value=float(x), attribution=float(attribution))
            for x, attribution, name in (
                zip(inputs[1], attributions[1], beats.context_names, strict=True) if trained.n_context else ()
            )
        ],
        logit=at_beat,
        baseline=at_baseline,
        error=total - (at_beat - at_baseline),
        rank_correlation=mean_of([rank_correlation(of_signals, other) for other in others]),
        partial_correlation=mean_of([partial_correlation(of_signals, other, distance) for other in others]),
    )


def _logit_of(task: Task, logits: Tensor, name: str) -> Tensor:
    """Logits ``[b, n_outputs]`` → that of a class ``[b]``; a single one stands against the other class."""
    if task.positive is None:
        return logits[:, task.classes.index(name)]
    return logits[:, 0] if name == task.positive else -logits[:, 0]


def rank_correlation(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float | None:
    """Spearman's, of absolute values of arrays of one shape; None where either has none but equal ones."""
    from scipy.stats import rankdata

    ranks = [rankdata(np.abs(values).ravel()) for values in (first, second)]
    if min(np.ptp(one) for one in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def partial_correlation(
    first: npt.NDArray[np.floating], second: npt.NDArray[np.floating], given: npt.NDArray[np.floating]
) -> float | None:
    """`rank_correlation` of two given a third (Kendall & Stuart): what is left of it without what both owe to that."""
    both, own, other = (rank_correlation(*pair) for pair in ((first, second), (first, given), (second, given)))
    if both is None or own is None or other is None or (rest := (1 - own**2) * (1 - other**2)) < 1e-9:
        return None
    return float((both - own * other) / np.sqrt(rest))


def mean_of(values: Sequence[float | None]) -> float | None:
    """Mean of those that are known; None without any."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _verdict(correlation: float | None, partial: float | None, classes: Sequence[ClassSaliency]) -> str:
    if correlation is None:
        return "Nothing can be compared with randomised models: no beat was recognised, or no sample of one matters."
    metric = f"rank correlation {correlation:.2f}, mean of the classes"
    if correlation >= HARDLY and partial is not None and partial < HARDLY:
        return (
            f"Much of what stands out in these pictures also does with randomised models ({metric}): it depends less "
            "on what the model has learnt than on where a beat is far from its baseline, which the method favours "
            f"by itself. The rest differs (partial correlation {partial:.2f})."
        )
    if correlation >= HARDLY:
        return (
            "These pictures hardly depend on what the model has learnt: those of randomised models are similar "
            f"({metric}). They show the beat more than the model."
        )
    alike = [one.name for one in classes if one.rank_correlation is not None and one.rank_correlation >= HARDLY]
    but = f"; those of {', '.join(alike)} are similar" if alike else ""
    return f"These pictures depend on what the model has learnt: those of randomised models differ ({metric}){but}."
