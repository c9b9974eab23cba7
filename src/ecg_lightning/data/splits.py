"""Which beats train, which select, which test: the protocols by which beats are divided into folds."""

import logging
import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats, IntArray

log = logging.getLogger(__name__)

DoubleArray = npt.NDArray[np.float64]

Protocol = Literal["random", "patient", "ds1_ds2"]
TrainUnit = Literal["beats", "patients"]
SharedPatient = Literal["both", "train", "test", "neither"]

DS1 = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122",
    "124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230",
)  # fmt: skip
"""MIT-BIH records to train on (de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004, section II-A)."""

DS2 = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
    "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234",
)  # fmt: skip
"""MIT-BIH records to test on (the same)."""

PACED = ("102", "104", "107", "217")
"""MIT-BIH records of people with pacemakers, which AAMI EC57 leaves out."""

SHARED = ("201", "202")
"""MIT-BIH records of one person (Moody & Mark 2001), of which the published division trains on one and tests on the
other."""

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
        left_out: ``[n_left_out] int64``, rows that the protocol has no use for, in none of the three.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    protocol: str
    left_out: IntArray = field(default_factory=lambda: np.arange(0))

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
    shared_patient: SharedPatient = "both",
) -> Folds:
    """Divide beats into train, validation and test.

    Args:
        beats: what to divide.
        protocol: ``random`` divides the beats of each class; ``patient`` keeps all beats of a patient on one side;
            ``ds1_ds2`` tests on the records of MIT-BIH that de Chazal et al. 2004 tested on, `DS2`, trains on theirs,
            `DS1`, of which some patients validate, and leaves the `PACED` ones out.
        test_fraction: share of the beats (or, by patient, about that share) to test on; ``ds1_ds2`` does not ask for
            it. Beats that their publisher put into a test file are the test fold of ``random``, whatever this says.
        validation_fraction: share of the rest (by patient: of the patients) to select on.
        seed: the same seed divides the same beats in the same way.
        fold: which of `n_folds` disjoint test folds, from 0, to test on in place of `test_fraction`; every beat is
            tested in exactly one of them.
        n_folds: how many there are.
        train_size: train on a part of the training fold only: a whole number of `train_unit`, or a fraction of them.
            With the same seed a smaller part is contained in every larger one.
        train_unit: ``beats``, in the same shares of each class, or whole ``patients``.
        shared_patient: where ``ds1_ds2`` has the person of records 201 (DS1) and 202 (DS2): on ``both`` sides, as
            published; ``train`` moves 202 to DS1, ``test`` moves 201 to DS2, ``neither`` leaves both records out.

    Raises:
        ConfigError: as `check_settings`; a split by patient of beats without patients, or by DS1 and DS2 of others than
            those of MIT-BIH's records; folds of beats that bring their own test file; a part larger than the training
            fold, or too small for its classes.
        DataError: too few beats or patients of a class; no record of DS1 or of DS2.
    """
    check_settings(
        protocol,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        fold=fold,
        n_folds=n_folds,
        train_size=train_size,
        train_unit=train_unit,
        shared_patient=shared_patient,
    )
    if protocol == "random":
        folds = _by_beat(beats, test_fraction, validation_fraction, seed, fold, n_folds)
    elif protocol == "ds1_ds2":
        folds = _by_record(beats, validation_fraction, seed, shared_patient)
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
    shared_patient: SharedPatient = "both",
) -> None:
    """What can be said of the arguments of `split` before there are beats.

    Raises:
        ConfigError: unknown protocol or unit, impossible fractions, folds or sizes.
    """
    if protocol not in get_args(Protocol):
        raise ConfigError(f"there is no split {protocol!r}; choose random, patient or ds1_ds2")
    if not (0 < test_fraction < 1 and 0 < validation_fraction < 1):
        raise ConfigError(f"test_fraction={test_fraction}, validation_fraction={validation_fraction}: both in (0, 1)")
    if type(n_folds) is not int or n_folds < 2:
        raise ConfigError(f"n_folds={n_folds}: expected a whole number from 2 on")
    if fold is not None and (type(fold) is not int or not 0 <= fold < n_folds):
        raise ConfigError(f"fold={fold} of n_folds={n_folds}: expected null or a whole number from 0 to {n_folds - 1}")
    if fold is not None and protocol == "ds1_ds2":
        raise ConfigError(f"fold={fold}: split=ds1_ds2 has one test fold, DS2; leave it at null, or use split=patient")
    if shared_patient not in get_args(SharedPatient):
        raise ConfigError(f"shared_patient={shared_patient} is unknown; choose both, train, test or neither")
    if shared_patient != "both" and protocol != "ds1_ds2":
        raise ConfigError(f"shared_patient={shared_patient} is a setting of split=ds1_ds2; split={protocol} has none")
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


def _by_record(beats: Beats, validation_fraction: float, seed: int, shared_patient: SharedPatient) -> Folds:
    if beats.records is None or beats.patients is None:
        raise ConfigError(
            "these beats do not tell their records, so they cannot be split into DS1 and DS2; "
            "use source=physionet, or split=random and know that patients stand on all sides"
        )
    present = set(np.unique(beats.records).tolist())
    if others := sorted(present - {*DS1, *DS2, *PACED}):
        raise ConfigError(
            f"split=ds1_ds2 divides the records of MIT-BIH (task=arrhythmia source=physionet), and {others[0]} is none "
            "of them; use split=patient"
        )
    sides = {"DS1": set(DS1), "DS2": set(DS2)}
    if shared_patient in ("train", "neither"):
        sides["DS2"].discard(SHARED[1])
    if shared_patient in ("test", "neither"):
        sides["DS1"].discard(SHARED[0])
    if shared_patient in ("train", "test"):
        sides["DS1" if shared_patient == "train" else "DS2"].update(SHARED)
    for name, records in sides.items():
        if absent := sorted(records - present):
            if len(absent) == len(records):
                raise DataError(f"none of the records of {name} is there; get them: ecg-lightning data fetch mitdb")
            log.warning("%s lacks %s: figures do not compare with others on it", name, ", ".join(absent))

    rest, test = (np.flatnonzero(np.isin(beats.records, sorted(records))) for records in sides.values())
    left_out = np.setdiff1d(np.arange(len(beats)), np.concatenate([rest, test]))
    train, validation = _stratified_by_patient(rest, beats, validation_fraction, seed)
    n_train, n_validation, n_test = (len(np.unique(beats.patients[rows])) for rows in (train, validation, test))
    paced = np.isin(beats.records[left_out], PACED)
    person = {
        "both": "201 (DS1) and 202 (DS2) are one person, as published",
        "train": "202 moved to DS1, where its person's 201 is",
        "test": "201 moved to DS2, where its person's 202 is",
        "neither": f"201 and 202 of one person left out ({np.count_nonzero(~paced)} beats)",
    }[shared_patient]
    protocol = (
        f"ds1_ds2: {n_train} patients of DS1 to train, {n_validation} to validate, {n_test} of DS2 to test, "
        f"paced {' '.join(PACED)} left out ({np.count_nonzero(paced)} beats), {person}, seed {seed}"
    )
    return Folds(train=train, validation=validation, test=test, protocol=protocol, left_out=left_out)


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
        found = int(sum(count[label] for count in counts.values()))
        where = " and ".join(absent)
        at_random = folds.protocol.startswith("random")
        if "train" in absent or at_random:
            owners = ""
            if beats.patients is not None and not at_random:
                owners = f" of {len(np.unique(beats.patients[beats.labels == label]))} patients"
            raise DataError(
                f"class {name} has {found} beats{owners}, too few to split: none is left for {where}; "
                "use more data, other fractions or another seed"
            )
        log.warning("class %s (%d beats) comes from so few patients that none is in %s", name, found, where)
