"""Which beats train, which select, which test: the protocols by which beats are divided into folds."""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.errors import ConfigError, DataError

log = logging.getLogger(__name__)

Protocol = Literal["random", "patient"]


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
    protocol = (
        f"patient: about {test_fraction:.0%} of the patients to test, {validation_fraction:.0%} of the rest to "
        f"validate, no patient on two sides, seed {seed}"
    )
    return Folds(train=train, validation=validation, test=test, protocol=protocol)


def _stratified_by_patient(rows: IntArray, beats: Beats, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    from sklearn.model_selection import StratifiedGroupKFold

    assert beats.patients is not None
    n_folds = round(1 / fraction)
    n_patients = len(np.unique(beats.patients[rows]))
    if n_patients < n_folds:
        raise DataError(f"{n_patients} patients cannot give {fraction:.0%} of them to a fold of its own; {n_folds} can")
    folds = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    stays, taken = next(folds.split(rows, beats.labels[rows], beats.patients[rows]))
    return rows[stays], rows[taken]


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
