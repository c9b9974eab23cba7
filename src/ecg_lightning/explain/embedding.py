"""How a model represents beats: its features in two dimensions, and whether they group by class or by patient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.names import numbered
from ecg_lightning.explain.saliency import for_explaining, inputs_of
from ecg_lightning.models import BeatModel

SAMPLE = 2500  # beats
FEW = 100  # fewer beats than these are placed by principal components alone
NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Shares of a beat's `k` nearest neighbours that are of its class, and of these of its patient; and by chance.

    The shares of patients are None where patients are not known.
    """

    k: int
    same_class: float
    same_class_chance: float
    same_patient: float | None
    same_patient_chance: float | None


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """A sample of `n_beats` test beats in two dimensions, with the true class and, if known, the patient of each."""

    x: list[float]
    y: list[float]
    classes: list[str]
    patients: list[str] | None
    n_beats: int
    method: str  # how they were placed, in a phrase
    neighbours: Neighbours | None  # in the space of the features, not in the picture; None of too few beats
    verdict: str  # what the neighbours show, in a sentence


def embed(
    features_of: Callable[[Beats], npt.NDArray[np.floating[Any]]], beats: Beats, *, n: int = SAMPLE, seed: int = 0
) -> Embedding:
    """Place test beats in two dimensions by a model's features, and find out which beats are neighbours.

    t-SNE (van der Maaten & Hinton, JMLR 9, 2008) of up to 50 principal components; of fewer than `FEW` beats the first
    two components.

    `features_of` returns ``[n, features]``: `last_features` of a network, log-probabilities of other models. About `n`
    of the test beats are sampled, see `balanced_sample`.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    sample = beats.select(balanced_sample(beats.known_labels, n, seed=seed))
    features = np.asarray(features_of(sample), dtype=np.float32)
    places, method = np.zeros((len(sample), 2)), "principal components"
    if len(sample) > 1 and features.std(axis=0).any():
        components = PCA(min(50, *features.shape), random_state=seed).fit_transform(features)
        places[:, : min(2, components.shape[1])] = components[:, :2]
        if len(sample) >= FEW and len(np.unique(components, axis=0)) >= FEW:
            places = TSNE(perplexity=30, init="pca", random_state=seed, n_jobs=1).fit_transform(components)
            method = f"t-SNE of {components.shape[1]} principal components"
    neighbours = _neighbours(features, sample) if len(sample) > NEIGHBOURS else None
    return Embedding(
        x=places[:, 0].tolist(),
        y=places[:, 1].tolist(),
        classes=[sample.classes[label] for label in sample.known_labels],
        patients=None if sample.patients is None else [str(patient) for patient in sample.patients],
        n_beats=len(beats),
        method=method,
        neighbours=neighbours,
        verdict=_verdict(neighbours),
    )


def balanced_sample(labels: IntArray, n: int, *, seed: int) -> IntArray:
    """About `n` random rows, ascending: the same number of each class, or all there are."""
    counts = np.bincount(labels)
    # The largest number a class that does not give more than n in all.
    share = int(np.searchsorted(np.minimum(counts, np.arange(n + 1)[:, None]).sum(axis=1), n, side="right")) - 1
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(labels == label))[:share] for label in range(len(counts))]
    return np.sort(np.concatenate([np.arange(0), *rows]))


def last_features(model: BeatModel, beats: Beats, *, batch_size: int = 1024) -> npt.NDArray[np.float32]:
    """The inputs ``[n, hidden]`` of a network's last layer, which separates classes by planes in their space.

    They include the context, where there is any; features of the backbone do not.
    """
    explained, kept = for_explaining(model), list[Tensor]()
    last = explained.get_submodule(explained.head_names[-1])
    handle = last.register_forward_pre_hook(lambda _, given: kept.append(given[0].cpu()))
    with torch.inference_mode():
        for start in range(0, len(beats), batch_size):
            explained(*inputs_of(explained, beats, np.arange(start, min(start + batch_size, len(beats)))))
    handle.remove()
    features: npt.NDArray[np.float32] = torch.cat(kept).numpy()
    return features


def _neighbours(features: npt.NDArray[np.float32], beats: Beats) -> Neighbours:
    from sklearn.neighbors import NearestNeighbors

    # Without an argument, kneighbors does not count a point as its own neighbour.
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(features).kneighbors()[1]
    labels = beats.known_labels
    same = labels[nearest] == labels[:, None]
    of_class = np.bincount(labels)[labels]
    of_patient = patient_chance = None
    if beats.patients is not None and same.any():
        patients = numbered(beats.patients)[1]
        both = np.unique(labels * (patients.max() + 1) + patients, return_inverse=True)[1]
        chance = (np.bincount(both)[both] - 1) / np.maximum(of_class - 1, 1)
        of_patient = float(((patients[nearest] == patients[:, None]) & same).sum() / same.sum())
        # Weighted as the share is: by the number of neighbours of its class that a beat has.
        patient_chance = float(np.average(chance, weights=same.sum(axis=1)))
    return Neighbours(
        k=NEIGHBOURS,
        same_class=float(same.mean()),
        same_class_chance=float(((of_class - 1) / (len(beats) - 1)).mean()),
        same_patient=of_patient,
        same_patient_chance=patient_chance,
    )


def _verdict(found: Neighbours | None) -> str:
    if found is None:
        return "There are too few beats to compare neighbours."
    text = (
        f"Of a beat's {found.k} nearest neighbours {100 * found.same_class:.0f} % are of its class, at random "
        f"{100 * found.same_class_chance:.0f} %"
    )
    if found.same_patient is None or found.same_patient_chance is None:
        return f"{text}; their patients are not known."
    by_patient = found.same_patient >= 2 * found.same_patient_chance
    return (
        f"{text}; of those of its class {100 * found.same_patient:.0f} % are of the same patient, at random "
        f"{100 * found.same_patient_chance:.0f} %: the model groups "
        f"{'patients as well as classes' if by_patient else 'classes rather than patients'}."
    )
