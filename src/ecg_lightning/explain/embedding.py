"""How a model represents beats: its features in two dimensions, and whether they group by class or by patient."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.explain.mistakes import plain
from ecg_lightning.explain.saliency import for_explaining
from ecg_lightning.models import BeatModel

SAMPLE = 2500
"""Beats in an embedding."""

FEW = 100
"""Fewer beats than these are laid out by principal components alone."""

NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Who the nearest neighbours of a beat are, in the space of the features, against chance.

    Attributes:
        k: neighbours of each beat.
        same_class: share of them that are of the beat's class.
        same_class_chance: what that would be if neighbours were drawn at random.
        same_patient: of those neighbours of the beat's class, the share that are of its patient; None where patients
            are not known.
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
        patients: patient of each, or None where they are not known.
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


def embed(
    features_of: Callable[[Beats], npt.NDArray[np.floating]], beats: Beats, *, n: int = SAMPLE, seed: int = 0
) -> Embedding:
    """Place test beats in two dimensions by a model's features of them, and count which beats are neighbours.

    Up to 50 principal components of them are laid out by t-SNE (van der Maaten & Hinton, JMLR 9, 2008), of fewer than
    `FEW` beats the first two themselves. The beats are drawn at random, of each class as many, or all there are.

    Args:
        features_of: beats → ``[n, features]``: of a network `last_features`, of a model without features its
            log-probabilities.
        beats: the test beats.
        n: about how many to draw.
        seed: of the draw and of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    rows = drawn_by_class(beats.known_labels, n, seed=seed)
    drawn = beats.select(rows)
    features = np.asarray(features_of(drawn), dtype=np.float32)
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
        x=plain(laid_out[:, 0]),
        y=plain(laid_out[:, 1]),
        classes=[drawn.classes[label] for label in drawn.known_labels],
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
    """The inputs of the network's last layer, ``[n, hidden]``.

    It separates classes by planes in their space; context, where there is any, is in them, and not in the backbone's.
    """
    explained = for_explaining(model)
    device = next(explained.parameters()).device
    last = explained.get_submodule(explained.head_names[-1])
    kept: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _, given: kept.append(given[0].cpu()))
    with torch.inference_mode():
        for start in range(0, len(beats), batch_size):
            rows = np.arange(start, min(start + batch_size, len(beats)))
            points = [torch.from_numpy(column[rows]).to(device) for column in (beats.signals, beats.lengths)]
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
    n, labels = len(beats), beats.known_labels
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
        return "There are too few beats to compare neighbours."
    text = (
        f"Of a beat's {found.k} nearest neighbours {100 * found.same_class:.0f} % are of its class, at random "
        f"{100 * found.same_class_chance:.0f} %"
    )
    if found.same_patient is None or found.same_patient_chance is None:
        return f"{text}; their patients are not known."
    by_person = found.same_patient >= 2 * found.same_patient_chance
    return (
        f"{text}; of those of its class {100 * found.same_patient:.0f} % are of the same patient, at random "
        f"{100 * found.same_patient_chance:.0f} %: the model groups "
        f"{'patients as well as classes' if by_person else 'classes rather than patients'}."
    )
