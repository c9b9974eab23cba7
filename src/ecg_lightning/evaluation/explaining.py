"""Why a network says what it says: its most confident mistakes, the saliency of beats of each class, an embedding.

All of it follows from a network and the beats it was tested on, and from a seed; answers are plain values, ready for
`dataclasses.asdict` and JSON.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.transforms import beat_lengths
from ecg_lightning.errors import DataError
from ecg_lightning.evaluation.figures import Probabilities
from ecg_lightning.models import BeatModel
from ecg_lightning.tasks import Task

N_MISTAKES = 12
MOST_OF_RECORD = 2
"""Mistakes of one record that are shown while there are others to show."""

N_TYPICAL = 3
"""Beats of each class whose saliency is shown."""

STEPS = 256
"""Points on the path of integrated gradients: of networks of ReLUs and maxima, whose gradients jump, many."""

FRESH_STEPS = 32
"""The same under fresh weights, whose saliency is held against others and not read by itself."""

N_FRESH = 3
"""Networks with fresh weights that a saliency is held against."""

HARDLY = 0.5
"""Mean rank correlation with the saliency under fresh weights from which on a picture is said to say little."""


SAMPLE = 2500
"""Beats in an embedding."""

FEW = 100
"""Fewer beats than these are laid out by principal components alone."""

NEIGHBOURS = 10

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ShownBeat:
    """A beat of the test, with what was said of it.

    Attributes:
        row: where it stands among the test beats.
        record: its record, or None where the source does not tell.
        patient: its patient, or None likewise.
        sample: its R peak in the record, at the record's own rate, or None likewise.
        seconds: the same in seconds from the record's start, or None where that rate is not told.
        signal: its samples, without the padding.
        true: its class.
        predicted: the class it was called.
        probabilities: class → probability.
    """

    row: int
    record: str | None
    patient: str | None
    sample: int | None
    seconds: float | None
    signal: list[float]
    true: str
    predicted: str
    probabilities: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A beat that was called something else than it is.

    Attributes:
        beat: the beat.
        mistaken_for: the mean of the test beats of the same record that are of the class it was called and were called
            so; None where there are none, or no records.
    """

    beat: ShownBeat
    mistaken_for: list[float] | None


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The most confident mistakes of a test.

    Attributes:
        n: how many mistakes there are.
        n_beats: of how many beats.
        pairs: true class, class it was called, number of such mistakes; the most frequent first.
        shown: some of them, by pair in that order, the most confident first.
    """

    n: int
    n_beats: int
    pairs: list[tuple[str, str, int]]
    shown: list[Mistake]


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
    """Which parts of a beat spoke for its class.

    Attributes:
        beat: the beat.
        attributions: of each of its samples, in logits; they and those of `context` sum up to `logit` - `baseline`.
        fresh: the same from a network with fresh weights.
        context: shares of what else is known of the beat, where the network takes it.
        logit: of the beat's class.
        baseline: the same logit at the baseline of the attributions.
        error: by how much the sum misses, in logits.
        rank_correlation: Spearman's, of the absolute values of `attributions` and those under fresh weights, mean of
            `N_FRESH` networks; None where one of them is constant.
        partial_correlation: the same given the beat's distance from its baseline, by which both are multiplied.
    """

    beat: ShownBeat
    attributions: list[float]
    fresh: list[float]
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


@dataclass(frozen=True, kw_only=True)
class Saliency:
    """Saliency of beats of every class, and whether it says anything.

    Attributes:
        classes: by class.
        rank_correlation: mean over the classes.
        partial_correlation: mean over the classes.
        error: the largest error of completeness, as a share of the difference of logits that is explained.
        verdict: in a sentence, what the fresh weights show.
    """

    classes: list[ClassSaliency]
    rank_correlation: float | None
    partial_correlation: float | None
    error: float
    verdict: str


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Who the nearest neighbours of a beat are, in the space of the features, against chance.

    Attributes:
        k: neighbours of each beat.
        same_class: share of them that are of the beat's class.
        same_class_chance: what that would be if neighbours were drawn at random.
        same_patient: of those neighbours of the beat's class, the share that are of its patient; None where patients
            are not told.
        same_patient_chance: what that would be if they were drawn from its class at random.
    """

    k: int
    same_class: float
    same_class_chance: float
    same_patient: float | None
    same_patient_chance: float | None


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """Test beats in two dimensions.

    Attributes:
        x: ``[n]``, without a unit.
        y: likewise.
        classes: true class of each.
        patients: patient of each, or None where the source does not tell.
        n_beats: test beats of which these were drawn.
        method: how they were laid out, in a phrase.
        neighbours: in the space of the features, not in the picture.
        verdict: what that says, in a sentence.
    """

    x: list[float]
    y: list[float]
    classes: list[str]
    patients: list[str] | None
    n_beats: int
    method: str
    neighbours: Neighbours | None
    verdict: str


# ---------------------------------------------------------------------------------------------------------- mistakes


def find_mistakes(beats: Beats, probabilities: Probabilities, *, n: int = N_MISTAKES) -> Mistakes:
    """The most confident mistakes, spread over kinds of mistakes and over records.

    Kinds (true class, class it was called) take turns, the most frequent one first; each gives the mistake with the
    highest probability of the wrong class, but none of a record that it has given one of before, or of which
    `MOST_OF_RECORD` are chosen, while it has others.

    Args:
        beats: the test beats.
        probabilities: ``[n, classes]``, in their order.
        n: how many to choose.

    Raises:
        DataError: probabilities of other beats.
    """
    _check(beats, probabilities)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != beats.labels)
    waiting: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in wrong[np.argsort(-confidence[wrong], kind="stable")].tolist():
        waiting[int(beats.labels[row]), int(predicted[row])].append(row)
    kinds = sorted(waiting, key=lambda kind: (-len(waiting[kind]), kind))
    pairs = [(beats.classes[true], beats.classes[called], len(waiting[true, called])) for true, called in kinds]

    chosen: dict[tuple[int, int], list[int]] = {kind: [] for kind in kinds}
    shown: Counter[str] = Counter()
    for _ in range(min(n, len(wrong))):
        # Whose turn it is: the kind that has given least, of those that have any left.
        kind = min((kind for kind in kinds if waiting[kind]), key=lambda kind: len(chosen[kind]))
        row = waiting[kind][0]
        if beats.records is not None:
            given = {str(beats.records[at]) for at in chosen[kind]}
            names = ((at, str(beats.records[at])) for at in waiting[kind])
            row = next((at for at, name in names if name not in given and shown[name] < MOST_OF_RECORD), row)
            shown[str(beats.records[row])] += 1
        waiting[kind].remove(row)
        chosen[kind].append(row)
    rows = [row for kind in kinds for row in sorted(chosen[kind], key=lambda at: (-confidence[at], at))]
    mistakes = [
        Mistake(beat=_shown(beats, probabilities, row), mistaken_for=_mistaken_for(beats, predicted, row))
        for row in rows
    ]
    return Mistakes(n=len(wrong), n_beats=len(beats), pairs=pairs, shown=mistakes)


def _mistaken_for(beats: Beats, predicted: IntArray, row: int) -> list[float] | None:
    if beats.records is None:
        return None
    called = predicted[row]
    alike = np.flatnonzero((beats.records == beats.records[row]) & (beats.labels == called) & (predicted == called))
    return _plain(_mean_beat(beats.signals[alike])) if len(alike) else None


def _mean_beat(signals: npt.NDArray[np.float32]) -> Numbers:
    """``[n, length]`` → ``[t]``: at each instant over the beats that last so long, while half of them do."""
    lasting = (_lengths(signals)[:, None] > np.arange(signals.shape[1])).sum(axis=0)
    until = int((lasting >= len(signals) / 2).sum())
    mean: Numbers = signals.sum(axis=0, dtype=np.float64)[:until] / lasting[:until]
    return mean


def _lengths(signals: npt.NDArray[np.float32]) -> IntArray:
    lengths: IntArray = beat_lengths(torch.from_numpy(np.ascontiguousarray(signals)))[:, 0].numpy()
    return lengths


def _shown(beats: Beats, probabilities: Probabilities, row: int) -> ShownBeat:
    sample = None if beats.samples is None else int(beats.samples[row])
    rate = _rate_of_records(beats)
    signal = beats.signals[row]
    return ShownBeat(
        row=row,
        record=None if beats.records is None else str(beats.records[row]),
        patient=None if beats.patients is None else str(beats.patients[row]),
        sample=sample,
        seconds=None if sample is None or rate is None else sample / rate,
        signal=_plain(signal[: _lengths(signal[None])[0]]),
        true=beats.classes[beats.labels[row]],
        predicted=beats.classes[probabilities[row].argmax()],
        probabilities={name: float(value) for name, value in zip(beats.classes, probabilities[row], strict=True)},
    )


def _rate_of_records(beats: Beats) -> float | None:
    """Sampling rate of the records in Hz, as far as their source tells."""
    origin = beats.origin
    rate = origin.get("fs") if isinstance(origin.get("cut"), Mapping) else origin.get("recorded_fs")
    return None if rate is None else float(rate)


def _plain(values: npt.NDArray[np.floating]) -> list[float]:
    return [float(value) for value in values]


def _check(beats: Beats, probabilities: Probabilities) -> None:
    if probabilities.shape != (len(beats), len(beats.classes)):
        raise DataError(
            f"probabilities of shape {probabilities.shape}: expected one row a beat and one column a class, "
            f"{(len(beats), len(beats.classes))}"
        )


# ---------------------------------------------------------------------------------------------------------- saliency


def explain_beats(
    model: BeatModel, task: Task, beats: Beats, probabilities: Probabilities, *, n: int = N_TYPICAL, seed: int = 0
) -> Saliency:
    """Integrated gradients of the class's logit in typical beats of each class, with the check by fresh weights.

    Attributions are against a flat line at the height of the beat's own median, which is near its isoelectric line,
    as long as the beat: not against zeros, which are the lowest point of the scaled beat and, to the networks, the sign
    of its end. The length of the beat is thus the same along the path, and nothing is attributed to it. Context
    is held against zeros, which are a beat in its usual rhythm and like those around it.

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
        seed: of the fresh weights.

    Raises:
        DataError: probabilities of other beats.
    """
    _check(beats, probabilities)
    trained = _for_explaining(model)
    fresh = [_for_explaining(with_fresh_weights(model, seed + i)) for i in range(N_FRESH)]
    answers = []
    for label, name in enumerate(beats.classes):
        correct = np.flatnonzero((beats.labels == label) & (probabilities.argmax(axis=1) == label))
        explained = [_explain(trained, fresh, task, beats, probabilities, row) for row in typical(beats, correct, n)]
        answers.append(
            ClassSaliency(
                name=name,
                n_correct=len(correct),
                beats=explained,
                rank_correlation=_mean([one.rank_correlation for one in explained]),
                partial_correlation=_mean([one.partial_correlation for one in explained]),
            )
        )
    correlation, partial = (
        _mean([getattr(one, name) for one in answers]) for name in ("rank_correlation", "partial_correlation")
    )
    errors = [abs(one.error) / max(abs(one.logit - one.baseline), 1e-6) for answer in answers for one in answer.beats]
    return Saliency(
        classes=answers,
        rank_correlation=correlation,
        partial_correlation=partial,
        error=max(errors, default=0.0),
        verdict=_saliency_verdict(correlation, partial, answers),
    )


def typical(beats: Beats, rows: IntArray, n: int) -> list[int]:
    """Of these rows the ones to show: of each of the `n` records that have most of them, the one nearest their mean.

    Where the source tells no records, the `n` nearest to the mean of all.
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
    """Positions ``[n]`` by rising distance from the mean."""
    distances = np.square(signals - signals.mean(axis=0, dtype=np.float64)).sum(axis=1)
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


def with_fresh_weights(model: BeatModel, seed: int) -> BeatModel:
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


def _for_explaining(model: BeatModel) -> BeatModel:
    """A copy in single precision that neither drops anything nor keeps gradients of its weights."""
    return copy.deepcopy(model).float().eval().requires_grad_(False)


def _explain(
    trained: BeatModel, fresh: list[BeatModel], task: Task, beats: Beats, probabilities: Probabilities, row: int
) -> BeatSaliency:
    beat = _shown(beats, probabilities, row)
    n = len(beat.signal)
    device = next(trained.parameters()).device
    signal = torch.zeros(beats.length, device=device)
    signal[:n] = torch.tensor(beat.signal)
    flat = torch.zeros_like(signal)
    flat[:n] = signal[:n].median()
    inputs, baselines = [signal], [flat]
    if trained.n_context:
        assert beats.context is not None
        inputs.append(torch.tensor(beats.context[row], device=device))
        baselines.append(torch.zeros_like(inputs[1]))

    def explained(model: BeatModel, steps: int) -> tuple[list[Tensor], float, float]:
        def logit(points: Sequence[Tensor]) -> Tensor:
            return _logit_of(task, model(*points), beat.true)

        return integrated_gradients(logit, inputs, baselines, steps=steps)

    attributions, at_beat, at_baseline = explained(trained, STEPS)
    others = [explained(model, FRESH_STEPS)[0][0][:n].cpu().numpy() for model in fresh]
    of_signal, distance = attributions[0][:n].cpu().numpy(), (signal - flat)[:n].cpu().numpy()
    total = float(sum(attribution.double().sum() for attribution in attributions))
    return BeatSaliency(
        beat=beat,
        attributions=_plain(of_signal),
        fresh=_plain(others[0]),
        context=[
            ContextShare(name=name, value=float(x), attribution=float(attribution))
            for x, attribution, name in (
                zip(inputs[1], attributions[1], beats.context_names, strict=True) if trained.n_context else ()
            )
        ],
        logit=at_beat,
        baseline=at_baseline,
        error=total - (at_beat - at_baseline),
        rank_correlation=_mean([rank_correlation(of_signal, other) for other in others]),
        partial_correlation=_mean([_partial_correlation(of_signal, other, distance) for other in others]),
    )


def _logit_of(task: Task, logits: Tensor, name: str) -> Tensor:
    """Logits ``[b, n_outputs]`` → that of a class ``[b]``; a single one stands against the other class."""
    if task.positive is None:
        return logits[:, task.classes.index(name)]
    return logits[:, 0] if name == task.positive else -logits[:, 0]


def rank_correlation(first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> float | None:
    """Spearman's, of absolute values; None where either has none but equal ones."""
    from scipy.stats import rankdata

    ranks = [rankdata(np.abs(values)) for values in (first, second)]
    if min(np.ptp(one) for one in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _partial_correlation(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], given: npt.NDArray[np.float32]
) -> float | None:
    """`rank_correlation` of two given a third (Kendall & Stuart): what is left of it without what both owe to that."""
    both, own, other = (rank_correlation(*pair) for pair in ((first, second), (first, given), (second, given)))
    if both is None or own is None or other is None or (rest := (1 - own**2) * (1 - other**2)) < 1e-9:
        return None
    return float((both - own * other) / np.sqrt(rest))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _saliency_verdict(correlation: float | None, partial: float | None, classes: Sequence[ClassSaliency]) -> str:
    if correlation is None:
        return "No beat was recognised whose saliency could be held against fresh weights."
    figure = f"rank correlation {correlation:.2f}, mean of the classes"
    if correlation >= HARDLY and partial is not None and partial < HARDLY:
        return (
            f"Much of what stands out in these pictures does so with fresh weights as well ({figure}): they hardly "
            "depend on what the network has learned, but on where a beat is far from its baseline, by which the method "
            f"multiplies. What is left without that does differ (partial correlation {partial:.2f})."
        )
    if correlation >= HARDLY:
        return (
            "These pictures hardly depend on what the network has learned: with fresh weights they come out alike "
            f"({figure}). They show the beat more than the network."
        )
    alike = [one.name for one in classes if one.rank_correlation is not None and one.rank_correlation >= HARDLY]
    but = f"; those of {', '.join(alike)} come out alike" if alike else ""
    return f"These pictures depend on what the network has learned: with fresh weights they differ ({figure}){but}."


# --------------------------------------------------------------------------------------------------------- embedding


def embed(model: BeatModel, beats: Beats, *, n: int = SAMPLE, seed: int = 0) -> Embedding:
    """Lay out test beats in two dimensions by what the network makes of them, and count whom they are next to.

    The features are those that the network's last layer takes. It separates classes by planes in their space, and RR
    intervals, where there are any, are in them; those of the backbone are not what is decided by.

    Up to 50 principal components of them are laid out by t-SNE (van der Maaten & Hinton, JMLR 9, 2008), of fewer than
    `FEW` beats the first two themselves. The beats are drawn at random, of each class as many, or all there are.

    Args:
        model: the network; it is left as it is.
        beats: the test beats.
        n: about how many to draw.
        seed: of the draw and of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = drawn_by_class(beats.labels, n, seed=seed)
    drawn = beats.select(rows)
    features = last_features(model, drawn)
    spread = features.std(axis=0)
    laid_out = np.zeros((len(rows), 2))
    method = "principal components"
    if len(rows) > 1 and spread.any():
        components = PCA(min(50, *features.shape), random_state=seed).fit_transform(features)
        laid_out[:, : min(2, components.shape[1])] = components[:, :2]
        if len(rows) >= FEW and len(np.unique(components, axis=0)) >= FEW:
            laid_out = TSNE(perplexity=30, init="pca", random_state=seed, n_jobs=1).fit_transform(components)
            method = f"t-SNE of {components.shape[1]} principal components"
    neighbours = _neighbours(features, drawn) if len(rows) > NEIGHBOURS else None
    return Embedding(
        x=_plain(laid_out[:, 0]),
        y=_plain(laid_out[:, 1]),
        classes=[drawn.classes[label] for label in drawn.labels],
        patients=None if drawn.patients is None else [str(patient) for patient in drawn.patients],
        n_beats=len(beats),
        method=method,
        neighbours=neighbours,
        verdict=_embedding_verdict(neighbours),
    )


def drawn_by_class(labels: IntArray, n: int, *, seed: int) -> IntArray:
    """About `n` rows, ascending: of each class as many, drawn at random, or all there are of it."""
    counts = np.bincount(labels)
    most = np.arange(n + 1)
    # The largest share a class that does not give more than n in all.
    share = int(np.searchsorted(np.minimum(counts, most[:, None]).sum(axis=1), n, side="right")) - 1
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(labels == label))[:share] for label in range(len(counts))]
    return np.sort(np.concatenate(rows)) if rows else np.arange(0)


def last_features(model: BeatModel, beats: Beats, *, batch_size: int = 1024) -> npt.NDArray[np.float32]:
    """What the network's last layer is given: ``[n, hidden]``."""
    explained = _for_explaining(model)
    device = next(explained.parameters()).device
    last = explained.get_submodule(explained.head_names[-1])
    kept: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, given: kept.append(given[0].cpu()))
    with torch.inference_mode():
        for start in range(0, len(beats), batch_size):
            rows = np.arange(start, min(start + batch_size, len(beats)))
            points = [torch.from_numpy(beats.signals[rows]).to(device)]
            if explained.n_context:
                assert beats.context is not None
                points.append(torch.from_numpy(beats.context[rows]).to(device))
            explained(*points)
    handle.remove()
    features: npt.NDArray[np.float32] = torch.cat(kept).numpy()
    return features


def _neighbours(features: npt.NDArray[np.float32], beats: Beats) -> Neighbours:
    from sklearn.neighbors import NearestNeighbors

    # Asked without giving points, it does not count a point as its own neighbour.
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(features).kneighbors()[1]
    n, labels = len(beats), beats.labels
    alike = labels[nearest] == labels[:, None]
    of_class = np.bincount(labels)[labels]
    patient_share = patient_chance = None
    if beats.patients is not None:
        _, patients = np.unique(beats.patients, return_inverse=True)
        both = np.unique(labels * (patients.max() + 1) + patients, return_inverse=True)[1]
        chance = (np.bincount(both)[both] - 1) / np.maximum(of_class - 1, 1)
        same = (patients[nearest] == patients[:, None]) & alike
        # Weighed as the share is: by the neighbours of its class that a beat has.
        if alike.any():
            patient_share = float(same.sum() / alike.sum())
            patient_chance = float(np.average(chance, weights=alike.sum(axis=1)))
    return Neighbours(
        k=NEIGHBOURS,
        same_class=float(alike.mean()),
        same_class_chance=float(((of_class - 1) / (n - 1)).mean()),
        same_patient=patient_share,
        same_patient_chance=patient_chance,
    )


def _embedding_verdict(found: Neighbours | None) -> str:
    if found is None:
        return "There are too few beats to say whom they are next to."
    text = (
        f"Of a beat's {found.k} nearest neighbours {100 * found.same_class:.0f} % are of its class, at random "
        f"{100 * found.same_class_chance:.0f} %"
    )
    if found.same_patient is None or found.same_patient_chance is None:
        return f"{text}; the source does not tell their patients."
    by_person = found.same_patient >= 2 * found.same_patient_chance
    return (
        f"{text}; of those of its class {100 * found.same_patient:.0f} % are of the same patient, at random "
        f"{100 * found.same_patient_chance:.0f} %: the network groups "
        f"{'persons as well as classes' if by_person else 'classes rather than persons'}."
    )
