"""Which beats train, which select, which test: the protocols by which beats are divided into folds."""

import logging
import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.errors import ConfigError, DataError

log = logging.getLogger(__name__)

DoubleArray = npt.NDArray[np.float64]

Protocol = Literal["random", "patient"]
TrainUnit = Literal["beats", "patients"]

PATIENT_CHOICES = (10, 1000)
"""Fewest and most random choices of patients among which `split` takes the one that shares out the classes best."""

N_FOLDS = 5
"""Test folds of a cross-validation, where nothing else is said."""


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
    beats: Beats,
    protocol: Protocol,
    *,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    fold: int | None = None,
    n_folds: int = N_FOLDS,
    train_size: float | None = None,
    train_unit: TrainUnit = "beats",
) -> Folds:
    """Divide beats into train, validation and test.

    Args:
        beats: what to divide.
        protocol: ``random`` divides the beats of each class; ``patient`` keeps all beats of a patient on one side.
        test_fraction: share of the beats (or, by patient, about that share) to test on. Beats that their publisher
            put into a test file are the test fold of ``random``, whatever this says.
        validation_fraction: share of the rest to select on.
        seed: the same seed divides the same beats in the same way.
        fold: which of `n_folds` disjoint test folds, from 0, to test on in place of `test_fraction`; every beat is
            tested in exactly one of them.
        n_folds: how many there are.
        train_size: train on a part of the training fold only: a whole number of `train_unit`, or a fraction of them.
            With the same seed a smaller part is contained in every larger one.
        train_unit: ``beats``, in the same shares of each class, or whole ``patients``.

    Raises:
        ConfigError: as `check_settings`; a split by patient of beats without patients; folds of beats that bring their
            own test file; a part larger than the training fold, or too small for its classes.
        DataError: too few beats or patients of a class.
    """
    check_settings(
        protocol,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        fold=fold,
        n_folds=n_folds,
        train_size=train_size,
        train_unit=train_unit,
    )
    if protocol == "random":
        folds = _by_beat(beats, test_fraction, validation_fraction, seed, fold, n_folds)
    else:
        folds = _by_patient(beats, test_fraction, validation_fraction, seed, fold, n_folds)
    _check_classes(beats, folds)
    return folds if train_size is None else _with_part_of_train(beats, folds, train_size, train_unit, seed)


def check_settings(
    protocol: Protocol,
    *,
    test_fraction: float,
    validation_fraction: float,
    fold: int | None,
    n_folds: int,
    train_size: float | None,
    train_unit: TrainUnit,
) -> None:
    """What can be said of the arguments of `split` before there are beats.

    Raises:
        ConfigError: unknown protocol or unit, impossible fractions, folds or sizes.
    """
    if protocol not in get_args(Protocol):
        raise ConfigError(f"there is no split {protocol!r}; choose random or patient")
    if not (0 < test_fraction < 1 and 0 < validation_fraction < 1):
        raise ConfigError(f"test_fraction={test_fraction}, validation_fraction={validation_fraction}: both in (0, 1)")
    if type(n_folds) is not int or n_folds < 2:
        raise ConfigError(f"n_folds={n_folds}: expected a whole number from 2 on")
    if fold is not None and (type(fold) is not int or not 0 <= fold < n_folds):
        raise ConfigError(f"fold={fold} of n_folds={n_folds}: expected null or a whole number from 0 to {n_folds - 1}")
    if train_unit not in get_args(TrainUnit):
        raise ConfigError(f"train_unit={train_unit} is unknown; choose beats or patients")
    # A fraction of 1.0 is everything; the number 1 is one beat or patient.
    if train_size is not None and not (
        (type(train_size) is int and train_size >= 1) or (type(train_size) is float and 0 < train_size <= 1)
    ):
        raise ConfigError(
            f"train_size={train_size}: expected null, a whole number of {train_unit}, or a fraction of them in (0, 1]"
        )


def without_duplicates(beats: Beats) -> Beats:
    """Each distinct signal once, so that no beat can stand on two sides of a split; the first occurrence stays."""
    rows = np.ascontiguousarray(beats.signals).view(np.dtype((np.void, beats.signals.itemsize * beats.length)))
    _, first = np.unique(rows.ravel(), return_index=True)
    if len(first) == len(beats):
        return beats
    log.info("dropped %d beats that equal another to the last bit", len(beats) - len(first))
    return beats.select(np.sort(first))


def _by_beat(
    beats: Beats, test_fraction: float, validation_fraction: float, seed: int, fold: int | None, n_folds: int
) -> Folds:
    rng = np.random.default_rng(seed)
    if fold is not None:
        if beats.published_test is not None:
            raise ConfigError(
                f"fold={fold}: these beats bring their own test file and are not dealt into folds; "
                "leave split.fold at null, or use source=physionet"
            )
        fold_of = _dealt_by_beat(beats.labels, n_folds, rng)
        rest, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        how = f"{_fold_phrase(fold, n_folds)} to test"
    elif beats.published_test is None:
        rest, test = _stratified(np.arange(len(beats)), beats.labels, test_fraction, rng)
        how = f"{test_fraction:.0%} of the beats of each class to test"
    else:
        rest, test = np.flatnonzero(~beats.published_test), np.flatnonzero(beats.published_test)
        how = "the published test file to test"
    train, validation = _stratified(rest, beats.labels, validation_fraction, rng)
    protocol = f"random: {how}, {validation_fraction:.0%} of the rest to validate, patients on all sides, seed {seed}"
    return Folds(train=train, validation=validation, test=test, protocol=protocol)


def _fold_phrase(fold: int, n_folds: int) -> str:
    return f"fold {fold} of {n_folds} (counted from 0)"


def _dealt_by_beat(labels: IntArray, n_folds: int, rng: np.random.Generator) -> IntArray:
    """The test fold of each beat, ``[n]``: the shuffled beats of each class are dealt out one by one."""
    fold_of = np.empty(len(labels), dtype=np.int64)
    dealt = 0
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        # Each class goes on where the one before ended, or the first folds would get the odd beats of all.
        fold_of[of_class] = (dealt + np.arange(len(of_class))) % n_folds
        dealt += len(of_class)
    return fold_of


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


def _by_patient(
    beats: Beats, test_fraction: float, validation_fraction: float, seed: int, fold: int | None, n_folds: int
) -> Folds:
    if beats.patients is None:
        raise ConfigError(
            "these beats do not tell their patients, so they cannot be split by patient; "
            "use source=physionet, or split=random and know that patients stand on all sides"
        )
    if fold is None:
        rest, test = _stratified_by_patient(np.arange(len(beats)), beats, test_fraction, seed)
        how = ""
    else:
        fold_of = _dealt_by_patient(beats, n_folds, seed)
        rest, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        how = f"{_fold_phrase(fold, n_folds)}, "
    train, validation = _stratified_by_patient(rest, beats, validation_fraction, seed)
    n_train, n_validation, n_test = (len(np.unique(beats.patients[rows])) for rows in (train, validation, test))
    protocol = (
        f"patient: {how}{n_train} patients to train, {n_validation} to validate, {n_test} to test, "
        f"no patient on two sides, seed {seed}"
    )
    return Folds(train=train, validation=validation, test=test, protocol=protocol)


def _stratified_by_patient(rows: IntArray, beats: Beats, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Take a fraction of the patients out of `rows`: what stays and what was taken.

    Of many random choices the one is taken that has every class on both sides, if any has, and comes nearest to the
    fraction in each class. scikit-learn's ``StratifiedGroupKFold`` would hardly heed the seed: it deals out patients in
    the order of how unlike the others they are, and shuffles only those that are alike.
    """
    owner, counts = _counts_by_patient(rows, beats)
    n_patients = len(counts)
    if n_patients < 2:
        assert beats.patients is not None
        raise DataError(
            f"{len(np.unique(beats.patients))} patients cannot be split by patient so that some are left to train on, "
            "to validate and to test; use more data or split=random"
        )
    n_taken = min(max(round(fraction * n_patients), 1), n_patients - 1)
    choices = _random_orders(n_patients, math.comb(n_patients, n_taken), seed)[:, :n_taken]
    taken = np.isin(owner, choices[_faults(counts, choices, fraction).argmin()])
    return rows[~taken], rows[taken]


def _dealt_by_patient(beats: Beats, n_folds: int, seed: int) -> IntArray:
    """The test fold of each beat, ``[n]``: of many random deals of the patients the one that shares out classes best.

    The same for every fold of a seed, so that each patient is tested once.
    """
    owner, counts = _counts_by_patient(np.arange(len(beats)), beats)
    n_patients = len(counts)
    if n_patients < n_folds:
        raise ConfigError(f"n_folds={n_folds} of {n_patients} patients: a fold has at least one; choose fewer folds")
    # The number of deals but for the order of folds, give or take a factor where they are of unequal size.
    n_deals = math.factorial(n_patients) // math.factorial(n_patients // n_folds) ** n_folds // math.factorial(n_folds)
    deals = _random_orders(n_patients, n_deals, seed)
    faults = sum(_faults(counts, deals[:, fold::n_folds], 1 / n_folds) for fold in range(n_folds))
    fold_of_patient = np.empty(n_patients, dtype=np.int64)
    fold_of_patient[deals[np.argmin(faults)]] = np.arange(n_patients) % n_folds
    return fold_of_patient[owner]


def _counts_by_patient(rows: IntArray, beats: Beats) -> tuple[IntArray, DoubleArray]:
    """Which patient has each of the rows, ``[n_rows]``, and beats by patient and class, ``[n_patients, n_present]``."""
    assert beats.patients is not None
    patients, owner = np.unique(beats.patients[rows], return_inverse=True)
    counts = np.zeros((len(patients), len(beats.classes)))
    np.add.at(counts, (owner, beats.labels[rows]), 1)
    return owner, counts[:, counts.any(axis=0)]


def _random_orders(n_patients: int, n_possible: int, seed: int) -> IntArray:
    """Orders of the patients, ``[n_choices, n_patients]``, to choose among."""
    # Of few patients not all choices are tried, or every seed would find the same best one.
    n_choices = int(np.clip(n_possible // 4, *PATIENT_CHOICES))
    return np.random.default_rng(seed).random((n_choices, n_patients)).argsort(axis=1)


def _faults(counts: DoubleArray, choices: IntArray, fraction: float) -> DoubleArray:
    """How far each of the choices, ``[n_choices, n_taken]``, is from the fraction of every class: ``[n_choices]``."""
    shares = counts[choices].sum(axis=1) / counts.sum(axis=0)
    # A class with no beat to train on is an error later, one with no beat to test on is only a pity.
    faults: DoubleArray = ((shares - fraction) ** 2 + (shares == 0) + 2 * (shares == 1)).sum(axis=1)
    return faults


def _with_part_of_train(beats: Beats, folds: Folds, size: float, unit: TrainUnit, seed: int) -> Folds:
    """The same folds with a part of the training beats; who validates and who is tested stays."""
    # Apart from the draws that made the folds, or the part would be of beats that those preferred.
    rng = np.random.default_rng((seed, 1))
    if unit == "beats":
        order, n_units = _order_of_beats(beats.labels[folds.train], rng), len(folds.train)
    else:
        if beats.patients is None:
            raise ConfigError("train_unit=patients: these beats do not tell their patients; choose train_unit=beats")
        order, n_units = _order_of_patients(folds.train, beats, rng)
    n_kept = size if isinstance(size, int) else max(round(size * n_units), 1)
    if n_kept > n_units:
        raise ConfigError(f"train_size={size} {unit}: the training fold has {n_units}; choose fewer, or null for all")
    train = folds.train[order < n_kept]

    classes = [name for label, name in enumerate(beats.classes) if not (beats.labels[train] == label).any()]
    if len(classes) and (unit == "beats" or len(np.unique(beats.labels[train])) < 2):
        raise ConfigError(
            f"train_size={size}: {n_kept} of {n_units} training {unit} leave none of class {', '.join(classes)}; "
            "choose more"
        )
    if classes:
        log.warning("none of the %d patients to train on has a beat of class %s", n_kept, ", ".join(classes))
    of_beats = "" if unit == "beats" else f" ({len(train)} of {len(folds.train)} beats)"
    protocol = f"{folds.protocol}, trained on {n_kept} of {n_units} training {unit}{of_beats}"
    return replace(folds, train=train, protocol=protocol)


def _order_of_beats(labels: IntArray, rng: np.random.Generator) -> IntArray:
    """Place of each beat in an order, ``[n]``, of which every beginning has the shares of the classes and each once."""
    at = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        at[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
        at[of_class[0]] = 0
    # Between classes that stand at the same place, chance decides.
    places = np.empty(len(labels), dtype=np.int64)
    places[np.lexsort((rng.random(len(labels)), at))] = np.arange(len(labels))
    return places


def _order_of_patients(rows: IntArray, beats: Beats, rng: np.random.Generator) -> tuple[IntArray, int]:
    """Place of each beat's patient in an order, ``[n_rows]``, and the number of patients.

    Of many random orders the one is taken whose beginnings, of whatever length, lack the fewest classes and have
    shares of the classes nearest to their share of the patients.
    """
    owner, counts = _counts_by_patient(rows, beats)
    n_patients = len(counts)
    orders = rng.random((PATIENT_CHOICES[1], n_patients)).argsort(axis=1)
    shares = (counts / counts.sum(axis=0))[orders].cumsum(axis=1)
    due = (np.arange(1, n_patients + 1) / n_patients)[:, None]
    faults = ((shares - due) ** 2 / due + (shares == 0)).sum(axis=(1, 2))
    places = np.empty(n_patients, dtype=np.int64)
    places[orders[faults.argmin()]] = np.arange(n_patients)
    return places[owner], n_patients


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
            owners = ""
            if beats.patients is not None and folds.protocol.startswith("patient"):
                owners = f" of {len(np.unique(beats.patients[beats.labels == label]))} patients"
            raise DataError(
                f"class {name} has {found} beats{owners}, too few to split: none is left for {where}; "
                "use more data, other fractions or another seed"
            )
        log.warning("class %s (%d beats) comes from so few patients that none is in %s", name, found, where)
