"""Resampling of the training fold through imbalanced-learn: more beats of rare classes, or fewer of common ones.

A beat made by SMOTE and its variants lies between two beats of its class, ``a`` and ``b``, which may differ in length;
mixing them directly would mix signal with the zero padding at the end. Therefore samplers get each beat as
``[signals, w · mask]``, the leads one after another, where the mask is 1 before the padding and 0 in it. They make
``[(1-λ)·a + λ·b, w·((1-λ)·mask_a + λ·mask_b)]`` with λ in [0, 1], which determines the new beat:

- its length, the sum of its mask, is ``(1-λ)·length_a + λ·length_b``;
- its samples, signals divided by mask, are the weighted mean of its parents where both have signal, and those of the
  longer one elsewhere.

The same features choose the neighbours: ``k`` samples between two lengths add ``w²·k`` to their squared distance.
The context of a new beat, if there is any, is ``(1-λ)·context_a + λ·context_b``; it does not choose the neighbours.
"""

import dataclasses
import hashlib
import json
import logging
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import MOST, Count, Part, Strength, options
from ecg_lightning.core.progress import progress, tracked
from ecg_lightning.data.beats import Beats, BoolArray, FloatArray, IntArray
from ecg_lightning.data.cache import load_or_build
from ecg_lightning.data.stored import Storage, parts_of

log = logging.getLogger(__name__)

RECIPE = 2  # part of every key: raise it when the same beats, settings and seed give other beats than before
CARRIED = ("signals", "lengths", "labels", "context")  # columns that resampled beats have
NEGLIGIBLE = 1e-6  # weight of context, and of the mask where `length_weight` is 0: too little to move a neighbour
TOMEK_COMPONENTS = 16  # principal components in which `tomek_links` looks for pairs
TOMEK_NEIGHBOURS = 4  # neighbours in these components that bound the distance of the nearest one


@options("augmentation.resampling")
class Resampling:
    """How the training beats are resampled.

    Attributes:
        method: ``smote`` (Chawla et al., JAIR 2002); ``smote_tomek``, which then drops both beats of each Tomek link
            (Batista et al., WOB 2003; see `tomek_links`); ``borderline_smote``, new beats only from those near other
            classes (Han et al., ICIC 2005); ``adasyn``, more new beats from those with more neighbours of other classes
            (He et al., IJCNN 2008), to about the counts; ``random_over``, repeats; ``random_under``, a part without
            replacement.
        counts: beats a class afterwards: None for as many as the largest class has (``random_under``: the smallest); a
            fraction of the largest, or a number, up to which every smaller class grows (``random_under``: a larger one
            shrinks until the smallest is this fraction of it, or to this number); or numbers by name of class, where
            classes not named stay. A class without beats stays without.
        length_weight: ``w``: neighbours differ less in length the larger it is; 0 chooses them by signal alone. Of the
            neighbours among MIT-BIH's S one in a hundred is 18 samples (144 ms) longer or shorter at 0 and 4 at 0.5,
            while their median squared distance in signal goes from .226 to .231.
    """

    method: Literal["none", "smote", "smote_tomek", "borderline_smote", "adasyn", "random_over", "random_under"]
    counts: Part | Mapping[str, Count] = None
    neighbours: Count = 5  # nearest of its class, of which one is mixed with a beat; fewer in a class of as few
    length_weight: Strength = 0.5

    @property
    def grows(self) -> bool:
        """Whether classes grow."""
        return self.method != "random_under"


def resampled(
    beats: Beats, settings: Resampling, *, seed: int, cache_dir: Path, storage: Storage | None = None
) -> Beats:
    """As `resample`, from the cache in `cache_dir`; the key is the content of `beats`, settings, seed and versions.

    Beats that do not fit into the memory are written part by part; a ConfigError if what makes new ones takes more of
    it than ``storage.in_memory``.
    """
    in_memory = (storage or Storage()).in_memory
    lengths = hashlib.sha256(beats.lengths.tobytes()).hexdigest()  # not part of the fingerprint
    made = [RECIPE, beats.fingerprint, lengths, dataclasses.asdict(settings), seed, version("imbalanced-learn")]
    key = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]
    return load_or_build(
        cache_dir / f"{beats.origin.get('dataset', 'beats')}-{settings.method}-{key}.arrow",
        lambda: resampled_parts(beats, settings, seed=seed, in_memory=in_memory),
        Storage(in_memory=in_memory),
        doing=f"resampling {len(beats)} training beats by {settings.method}",
    )


def resample(beats: Beats, settings: Resampling, *, seed: int) -> Beats:
    """Resample a training fold to as many beats of each class as `settings` ask for.

    Beats that stay come first, unchanged and in order; new ones follow by class. Records, patients and samples are
    dropped, because new beats have none.

    Raises:
        ConfigError: counts of unknown or absent classes, or on the wrong side of what a class has; a class with too
            few beats to have neighbours; none at the border that ``borderline_smote`` and ``adasyn`` start from.
    """
    return Beats.concatenate([*resampled_parts(beats, settings, seed=seed)])


def resampled_parts(beats: Beats, settings: Resampling, *, seed: int, in_memory: float = MOST) -> Iterator[Beats]:
    """As `resample`, some at a time; a ConfigError also if what makes new ones takes more than `in_memory` GiB."""
    targets = _targets(beats.counts(), settings)
    dropped: dict[str, Any] = dict.fromkeys(beats.columns.keys() - CARRIED)
    carried = dataclasses.replace(beats, origin={}, **dropped)
    if settings.method in ("random_over", "random_under"):
        rows = _sampled(beats.known_labels, targets, grows=settings.grows, seed=seed)
        parts = carried.select(rows).parts()
    else:
        _check_memory(beats, targets, settings, in_memory)
        parts = chain(carried.parts(), _new_beats(carried, targets, settings, seed))
    if settings.method == "smote_tomek":
        whole = Beats.concatenate([*parts])
        with progress(f"looking for Tomek links among {len(whole):,} beats"):
            linked = tomek_links(np.asarray(whole.signals), whole.known_labels)
        parts = whole.select(~linked).parts()
    made_by = {**dataclasses.asdict(settings), "seed": seed, "imbalanced-learn": version("imbalanced-learn")}
    origin, counts = {**beats.origin, "resampling": made_by | {"of": beats.fingerprint}}, Counter[str]()
    for part in parts:
        counts.update(part.counts())
        yield dataclasses.replace(part, origin=origin)
        origin = {}  # what it counts would be added up
    log.info("%s: %s → %s", settings.method, _phrase(beats.counts()), _phrase(counts))


def _check_memory(beats: Beats, targets: Mapping[int, int], settings: Resampling, in_memory: float) -> None:
    """Raise a ConfigError if the beats that are compared, and the new ones, take more than `in_memory` GiB."""
    if settings.method == "smote":
        n, what = max(((n, f"class {beats.classes[label]}") for label, n in targets.items()), default=(0, ""))
    else:
        have = np.bincount(beats.known_labels, minlength=len(beats.classes))
        n, what = len(beats) + sum(n - int(have[label]) for label, n in targets.items()), "all classes"
    # Twice: of all, and of what imbalanced-learn or the search for links makes of them.
    gib = 2 * n * 4 * (math.prod(beats.signals.shape[1:]) + beats.length) / 2**30
    if gib > in_memory:
        raise ConfigError(
            f"{settings.method} takes at least {gib:.3g} GiB of memory for {n:,} beats of {what}, with the new ones, "
            f"and storage.in_memory={in_memory:g}: raise it, make fewer with augmentation.resampling.counts, or choose "
            "augmentation=balanced, which shows rare beats more often and makes none"
        )


def tomek_links(signals: FloatArray, labels: IntArray) -> BoolArray:
    """Which beats of ``[n, leads, length]`` are in a Tomek link: two of different classes, each the other's nearest.

    (Tomek, IEEE Trans. SMC 1976.) The same beats as imbalanced-learn's ``TomekLinks(sampling_strategy="all")``, which
    measures every distance, 10¹¹ of them for MIT-BIH. Here few beats are searched. Let ``r`` be the distance from a
    beat to another of its own class: a link is not longer than ``r`` of either of its ends. Beats are at least as far
    apart as their principal components, and in these few dimensions trees find all pairs that might be near enough.
    """
    from scipy.spatial import KDTree
    from sklearn.neighbors import NearestNeighbors

    signals = signals.reshape(len(signals), -1)
    linked = np.zeros(len(signals), dtype=bool)
    of_class = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    if len(of_class) < 2:
        return linked
    _, axes = np.linalg.eigh(np.cov(signals, rowvar=False))
    components = signals @ axes[:, -TOMEK_COMPONENTS:].astype(np.float32)
    trees = [KDTree(components[rows]) for rows in of_class]

    reach = np.full(len(signals), np.inf)
    for rows, tree in zip(of_class, trees, strict=True):
        _, near = tree.query(components[rows], k=range(1, min(TOMEK_NEIGHBOURS, len(rows)) + 1))
        for other in rows[near].T:
            distance = np.where(other == rows, np.inf, np.linalg.norm(signals[rows] - signals[other], axis=1))
            reach[rows] = np.minimum(reach[rows], distance)
    reach += 1e-4 * reach + 1e-5 * np.linalg.norm(signals, axis=1).max()  # more than float32 rounds off

    might = np.zeros(len(signals), dtype=bool)
    # Search from the classes with the nearest neighbours, which are the resampled ones: their balls are small.
    order = sorted(range(len(of_class)), key=lambda at: float(np.median(reach[of_class[at]])))
    for place, at in enumerate(order):
        for there in order[place + 1 :]:
            for rows in np.array_split(of_class[at], len(of_class[at]) // 1024 + 1):
                found = trees[there].query_ball_point(components[rows], reach[rows], return_sorted=False)
                one = np.repeat(rows, [len(others) for others in found])
                other = of_class[there][np.concatenate(found).astype(np.int64)]
                within = np.linalg.norm(components[one] - components[other], axis=1) <= reach[other]
                one, other = one[within], other[within]
                distance = np.linalg.norm(signals[one] - signals[other], axis=1)
                within = distance <= np.minimum(reach[one], reach[other])
                might[one[within]] = might[other[within]] = True

    if (rows := np.flatnonzero(might)).size:
        search = NearestNeighbors(n_neighbors=2).fit(signals)
        nearest = np.full(len(signals), -1)
        nearest[rows] = others = search.kneighbors(signals[rows], return_distance=False)[:, 1]
        linked[rows] = (labels[others] != labels[rows]) & (nearest[others] == rows)
    return linked


def _targets(have: Mapping[str, int], settings: Resampling) -> dict[int, int]:
    """The number of beats afterwards of each class that changes, by label."""
    present = {name: count for name, count in have.items() if count}
    counts = settings.counts
    if isinstance(counts, Mapping):
        for name, wanted in counts.items():
            if name not in have:
                raise ConfigError(f"resampling: counts name class {name}; the classes are {', '.join(have)}")
            if name not in present:
                raise ConfigError(f"resampling: counts want {wanted} beats of class {name}, which has none to train on")
            if wanted != have[name] and settings.grows != (wanted > have[name]):
                raise ConfigError(
                    f"resampling: counts want {wanted} beats of class {name}, which has {have[name]}, but "
                    f"{settings.method} can only {'add to' if settings.grows else 'take from'} them"
                )
        wanted_of = dict(counts)
    else:
        fraction = 1.0 if counts is None else counts
        if isinstance(fraction, int):
            level = fraction
        else:
            level = round(max(present.values()) * fraction if settings.grows else min(present.values()) / fraction)
        further = max if settings.grows else min
        wanted_of = {name: further(count, level) for name, count in present.items()}
    labels = {name: label for label, name in enumerate(have)}
    targets = {labels[name]: wanted for name, wanted in wanted_of.items() if wanted != have[name]}
    if not targets:
        log.warning("resampling: counts=%s leave all beats as they are: %s", counts, _phrase(have))
    return targets


def _phrase(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _sampled(labels: IntArray, targets: Mapping[int, int], *, grows: bool, seed: int) -> IntArray:
    """Rows to take: ascending, or all of them and then the repeated ones."""
    from imblearn.over_sampling import RandomOverSampler
    from imblearn.under_sampling import RandomUnderSampler

    if not targets:
        return np.arange(len(labels))
    sampler = (RandomOverSampler if grows else RandomUnderSampler)(sampling_strategy=dict(targets), random_state=seed)
    with _calm():
        rows: IntArray = sampler.fit_resample(np.arange(len(labels))[:, None], labels)[0][:, 0]
    return rows if grows else np.sort(rows)


def _new_beats(beats: Beats, targets: Mapping[int, int], settings: Resampling, seed: int) -> Iterator[Beats]:
    """New beats, class by class, which keeps few features in memory."""
    if not targets:
        return
    method, weight, have = settings.method, settings.length_weight or NEGLIGIBLE, np.bincount(beats.known_labels)
    ranges = np.array([[part.min(axis=(0, 2)), part.max(axis=(0, 2))] for part in parts_of(beats.signals)])
    low, high = ranges[:, 0].min(axis=0), ranges[:, 1].max(axis=0)
    if method != "smote":
        features, labels = _features(beats, weight), beats.known_labels
    for label, target in tracked(targets.items(), f"resampling by {method}", "classes"):
        name = beats.classes[label]
        neighbours = min(settings.neighbours, int(have[label]) - 1)
        if neighbours == 0:
            raise ConfigError(
                f"{method} mixes beats of a class, but class {name} has a single one to train on; use random_over, or "
                "leave it out of counts"
            )
        if neighbours < settings.neighbours:
            log.warning("%s: class %s has %d beats, so %d neighbours each", method, name, have[label], neighbours)
        no_border = (
            f"{method} starts from beats that are near other classes, and of class {name} ({have[label]}) none is; "
            "use smote, or leave it out of counts"
        )
        if method == "smote":  # looks at no other class; imbalanced-learn wants a beat of one
            rows = np.flatnonzero(beats.known_labels == label)
            features = _features(beats.select(np.append(rows, rows[0])), weight)
            labels = np.append(np.full(len(rows), label), -1)
        sampler = _sampler(method, {label: target}, neighbours, len(beats), seed)
        try:
            with _calm():
                mixed = sampler.fit_resample(features, labels)[0][len(features) :]
        except (RuntimeError, ValueError) as error:  # of ADASYN
            if "majority class" in str(error):
                raise ConfigError(no_border) from error
            if "No samples will be generated" in str(error):
                raise ConfigError(
                    f"{method} divides {target - have[label]} new beats of class {name} among its {have[label]}, "
                    "which rounds to none for each; ask for more, or use smote"
                ) from error
            raise
        if not len(mixed):
            raise ConfigError(no_border)
        n_features = (len(low) + 1) * beats.length
        signals, lengths = _from_features(mixed[:, :n_features], weight, low, high)
        columns: dict[str, Any] = {"signals": signals, "lengths": lengths, "labels": np.full(len(mixed), label)}
        if beats.context is not None:
            columns["context"] = mixed[:, n_features:] / np.float32(NEGLIGIBLE)
        yield dataclasses.replace(beats, **columns)


def _features(beats: Beats, weight: float) -> FloatArray:
    """``[n, leads · length + length + k]``: what is mixed of each beat."""
    mask = np.float32(weight) * (np.arange(beats.length) < beats.lengths[:, None])
    context = [] if beats.context is None else [np.float32(NEGLIGIBLE) * beats.context]
    signals = np.asarray(beats.signals).reshape(len(beats), -1)
    return np.concatenate([signals, mask, *context], axis=1, dtype=np.float32)


def _sampler(method: str, strategy: dict[int, int], neighbours: int, n_beats: int, seed: int) -> Any:
    from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE

    same: dict[str, Any] = {"sampling_strategy": strategy, "random_state": seed}
    if method == "adasyn":
        return ADASYN(n_neighbors=neighbours, **same)
    if method == "borderline_smote":
        return BorderlineSMOTE(k_neighbors=neighbours, m_neighbors=min(10, n_beats - 1), **same)
    return SMOTE(k_neighbors=neighbours, **same)


def _from_features(
    features: FloatArray, weight: float, low: FloatArray, high: FloatArray
) -> tuple[FloatArray, IntArray]:
    """``[m, leads · length + length]`` → signals ``[m, leads, length]`` in the range ``[leads]``, and lengths."""
    length = features.shape[1] // (len(low) + 1)
    mask = (features[:, -length:] / np.float32(weight))[:, None]
    flat = features[:, :-length].reshape(len(features), len(low), length)
    signals: FloatArray = np.divide(flat, mask, out=np.zeros_like(flat), where=mask > 0)
    np.clip(signals, low[:, None], high[:, None], out=signals)
    lengths = np.rint(mask.sum(axis=2)[:, 0])
    np.copyto(signals, 0, where=np.arange(length) >= lengths[:, None, None])
    return signals, lengths.astype(np.int64)


@contextmanager
def _calm() -> Iterator[None]:
    """Without the warning that a class grows beyond the largest, which `Resampling.counts` asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*will be larger than the number of samples in the majority class.*")
        yield
