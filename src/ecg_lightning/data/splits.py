"""Which beats train, which select, which test: the protocols by which beats are divided into folds."""

import logging
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.errors import ConfigError, DataError

log = logging.getLogger(__name__)

Protocol = Literal["random", "patient"]

PATIENT_CHOICES = (10, 1000)
"""Fewest and most random choices of patients among which `split` takes the one that shares out the classes best."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Folds:
    """Rows of `Beats` for each use, ascending and disjoint.

    Attributes:
        train: ``[n_train] int64``.
        validation: ``[n_validation] int64``; chooses the checkpoint.
        test: ``[n_test] int64``; used once.
        protocol: one phrase that says how they were made, printed beside every figure.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    protocol: str

    def sizes(self) -> dict[str, int]:
        """Number of beats of each fold."""
        return {name: len(rows) for name, rows in self.named().items()}

    def named(self) -> dict[str, IntArray]:
        """The three folds by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split(
    beats: Beats, protocol: Protocol, *, test_fraction: float = 0.2, validation_fraction: float = 0.1, seed: int = 0
) -> Folds:
    """Divide beats into train, validation and test.

    Args:
        beats: what to divide.
        protocol: ``random`` divides the beats of each class; ``patient`` keeps all beats of a patient on one side.
        test_fraction: share of the beats (or, by patient, about that share) to test on. Beats that their publisher
            put into a test file are the test fold of ``random``, whatever this says.
        validation_fraction: share of the rest to select on.
        seed: the same seed divides the same beats in the same way.

    Raises:
        ConfigError: unknown protocol, impossible fractions, or a split by patient of beats without patients.
        DataError: too few beats or patients of a class.
    """
    if not (0 < test_fraction < 1 and 0 < validation_fraction < 1):
        raise ConfigError(f"test_fraction={test_fraction}, validation_fraction={validation_fraction}: both in (0, 1)")
    if protocol == "random":
        folds = _by_beat(beats, test_fraction, validation_fraction, seed)
    elif protocol == "patient":
        folds = _by_patient(beats, test_fraction, validation_fraction, seed)
    else:
        raise ConfigError(f"there is no split {protocol!r}; choose random or patient")
    _check_classes(beats, folds)
    return folds


def without_duplicates(beats: Beats) -> Beats:
    """Each distinct signal once, so that no beat can stand on two sides of a split; the first occurrence stays."""
    rows = np.ascontiguousarray(beats.signals).view(np.dtype((np.void, beats.signals.itemsize * beats.length)))
    _, first = np.unique(rows.ravel(), return_index=True)
    if len(first) == len(beats):
        return beats
    log.info("dropped %d beats that equal another to the last bit", len(beats) - len(first))
    return beats.select(np.sort(first))


def _by_beat(beats: Beats, test_fraction: float, validation_fraction: float, seed: int) -> Folds:
    rng = np.random.default_rng(seed)
    if beats.published_test is None:
        rest, test = _stratified(np.arange(len(beats)), beats.labels, test_fraction, rng)
        how = f"{test_fraction:.0%} of the beats of each class to test"
    else:
        rest, test = np.flatnonzero(~beats.published_test), np.flatnonzero(beats.published_test)
        how = "the published test file to test"
    train, validation = _stratified(rest, beats.labels, validation_fraction, rng)
    protocol = f"random: {how}, {validation_fraction:.0%} of the rest to validate, patients on all sides, seed {seed}"
    return Folds(train=train, validation=validation, test=test, protocol=protocol)


def _stratified(
    rows: IntArray, labels: IntArray, fraction: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Take a fraction of each class out of `rows`: what stays and what was taken.

    Written out rather than left to scikit-learn, so that a seed means the same beats in every version of it.
    """
    taken = []
    for label in np.unique(labels[rows]):
        of_class = rng.permutation(rows[labels[rows] == label])
        taken.append(of_class[: max(1, round(fraction * len(of_class)))])
    out = np.sort(np.concatenate(taken))
    return np.setdiff1d(rows, out, assume_unique=True), out


def _by_patient(beats: Beats, test_fraction: float, validation_fraction: float, seed: int) -> Folds:
    if beats.patients is None:
        raise ConfigError(
            "these beats do not tell their patients, so they cannot be split by patient; "
            "use source=physionet, or split=random and know that patients stand on all sides"
        )
    rest, test = _stratified_by_patient(np.arange(len(beats)), beats, test_fraction, seed)
    train, validation = _stratified_by_patient(rest, beats, validation_fraction, seed)
    n_train, n_validation, n_test = (len(np.unique(beats.patients[rows])) for rows in (train, validation, test))
    protocol = (
        f"patient: {n_train} patients to train, {n_validation} to validate, {n_test} to test, no patient on two sides, "
        f"seed {seed}"
    )
    return Folds(train=train, validation=validation, test=test, protocol=protocol)


def _stratified_by_patient(rows: IntArray, beats: Beats, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Take a fraction of the patients out of `rows`: what stays and what was taken.

    Of many random choices the one is taken that has every class on both sides, if any has, and comes nearest to the
    fraction in each class. scikit-learn's ``StratifiedGroupKFold`` would hardly heed the seed: it deals out patients in
    the order of how unlike the others they are, and shuffles only those that are alike.
    """
    assert beats.patients is not None
    patients, owner = np.unique(beats.patients[rows], return_inverse=True)
    if len(patients) < 2:
        raise DataError(
            f"{len(np.unique(beats.patients))} patients cannot be split by patient so that some are left to train on, "
            "to validate and to test; use more data or split=random"
        )
    counts = np.zeros((len(patients), len(beats.classes)))
    np.add.at(counts, (owner, beats.labels[rows]), 1)
    counts = counts[:, counts.any(axis=0)]

    n_taken = min(max(round(fraction * len(patients)), 1), len(patients) - 1)
    # Of few patients not all choices are tried, or every seed would find the same best one.
    n_choices = int(np.clip(math.comb(len(patients), n_taken) // 4, *PATIENT_CHOICES))
    choices = np.random.default_rng(seed).random((n_choices, len(patients))).argsort(axis=1)[:, :n_taken]
    shares = counts[choices].sum(axis=1) / counts.sum(axis=0)
    # A class with no beat to train on is an error later, one with no beat to test on is only a pity.
    faults = (shares - fraction) ** 2 + (shares == 0) + 2 * (shares == 1)
    taken = np.isin(owner, choices[faults.sum(axis=1).argmin()])
    return rows[~taken], rows[taken]


def _check_classes(beats: Beats, folds: Folds) -> None:
    """Every class must be learnt and, unless patients forbid it, selected and tested on."""
    n_classes = len(beats.classes)
    counts = {name: np.bincount(beats.labels[rows], minlength=n_classes) for name, rows in folds.named().items()}
    for label, name in enumerate(beats.classes):
        absent = [fold for fold, count in counts.items() if count[label] == 0]
        if not absent:
            continue
        found = int((beats.labels == label).sum())
        where = " and ".join(absent)
        if "train" in absent or folds.protocol.startswith("random"):
            raise DataError(
                f"class {name} has {found} beats, too few to split: none is left for {where}; "
                "use more data, other fractions or another seed"
            )
        log.warning("class %s (%d beats) comes from so few patients that none is in %s", name, found, where)
