"""Which beats train, which select, which test: the protocols by which beats are divided into folds."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.protocol import LeftOut, Protocol, SharedPatients

log = logging.getLogger(__name__)

DoubleArray = npt.NDArray[np.float64]

Division = Literal["random", "patient", "records"]
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
        protocol: how they were made.
        left_out: ``[n_left_out] int64``, rows that the protocol does not use, in none of the three.
    """

    train: IntArray
    validation: IntArray
    test: IntArray
    protocol: Protocol
    left_out: IntArray = field(default_factory=lambda: np.arange(0))

    def sizes(self) -> dict[str, int]:
        """Number of beats of each fold."""
        return {name: len(rows) for name, rows in self.named().items()}

    def named(self) -> dict[str, IntArray]:
        """The three folds by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def split(
    beats: Beats,
    protocol: Division,
    *,
    name: str | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    fold: int | None = None,
    n_folds: int = N_FOLDS,
    train_records: Sequence[str | int] = (),
    test_records: Sequence[str | int] = (),
    left_out: Mapping[str, Sequence[str | int]] | None = None,
    shared_patients: SharedPatients = "both",
    train_size: float | None = None,
    train_unit: TrainUnit = "beats",
) -> Folds:
    """Divide beats into train, validation and test.

    Args:
        beats: what to divide.
        protocol: ``random`` divides the beats of each class; ``patient`` keeps all beats of a patient on one side;
            ``records`` tests on the records of one list, trains on those of another, of which some patients validate,
            and leaves those of further lists out.
        name: of the lists of records, such as ``ds1_ds2``.
        test_fraction: share of the beats (or, by patient, about that share) to test on; lists of records do not ask
            for it. Beats that their publisher put into a test file are the test fold of ``random``, whatever this says.
        validation_fraction: share of the rest (by patient: of the patients) to select on.
        seed: the same seed divides the same beats in the same way.
        fold: which of `n_folds` disjoint test folds, from 0, to test on in place of `test_fraction`; every beat is
            tested in exactly one of them.
        n_folds: how many there are.
        train_records: names of the records to train and to validate on.
        test_records: names of the records to test on.
        left_out: reason → names of the records that are left out for it.
        shared_patients: where people are who have records in both lists: on ``both`` sides, as listed; ``train`` moves
            all of their records there, ``test`` there, ``neither`` leaves all of them out.
        train_size: train on a part of the training fold only: a whole number of `train_unit`, or a fraction of them.
            With the same seed a smaller part is contained in every larger one.
        train_unit: ``beats``, in the same shares of each class, or whole ``patients``.

    Raises:
        ConfigError: as `check_settings`; a split by patient of beats without patients, or by lists of records that lack
            one; folds of beats that bring their own test file; a part larger than the training fold, or too small for
            its classes.
        DataError: beats without labels; too few beats or patients of a class; no record of a list.
    """
    check_settings(
        protocol,
        name=name,
        test_fraction=test_fraction,
        validation_fraction=validation_fraction,
        seed=seed,
        fold=fold,
        n_folds=n_folds,
        train_records=train_records,
        test_records=test_records,
        left_out=left_out,
        shared_patients=shared_patients,
        train_size=train_size,
        train_unit=train_unit,
    )
    if protocol == "random":
        folds = _by_beat(beats, test_fraction, validation_fraction, seed, fold, n_folds)
    elif protocol == "patient":
        folds = _by_patient(beats, test_fraction, validation_fraction, seed, fold, n_folds)
    else:
        lists = {"train_records": [*map(str, train_records)], "test_records": [*map(str, test_records)]}
        unused = {reason: [*map(str, records)] for reason, records in (left_out or {}).items()}
        folds = _by_record(beats, name or "records", lists, unused, shared_patients, validation_fraction, seed)
    _check_classes(beats, folds)
    return folds if train_size is None else _with_part_of_train(beats, folds, train_size, train_unit, seed)


def check_settings(
    protocol: Division,
    *,
    name: str | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    fold: int | None = None,
    n_folds: int = N_FOLDS,
    train_records: Sequence[str | int] = (),
    test_records: Sequence[str | int] = (),
    left_out: Mapping[str, Sequence[str | int]] | None = None,
    shared_patients: SharedPatients = "both",
    train_size: float | None = None,
    train_unit: TrainUnit = "beats",
) -> None:
    """What can be said of the arguments of `split` before there are beats.

    Raises:
        ConfigError: unknown protocol or unit, impossible fractions, folds or sizes, lists of records where there is no
            use for them, none where there is, or a record in two of them.
    """
    if protocol not in get_args(Division):
        raise ConfigError(f"there is no split.protocol={protocol!r}; choose random, patient or records")
    if not (0 < test_fraction < 1 and 0 < validation_fraction < 1):
        raise ConfigError(f"test_fraction={test_fraction}, validation_fraction={validation_fraction}: both in (0, 1)")
    if type(n_folds) is not int or n_folds < 2:
        raise ConfigError(f"n_folds={n_folds}: expected a whole number from 2 on")
    if fold is not None and (type(fold) is not int or not 0 <= fold < n_folds):
        raise ConfigError(f"fold={fold} of n_folds={n_folds}: expected null or a whole number from 0 to {n_folds - 1}")
    if shared_patients not in get_args(SharedPatients):
        raise ConfigError(f"shared_patients={shared_patients} is unknown; choose both, train, test or neither")
    listed = [*map(str, train_records), *map(str, test_records)]
    listed += [str(record) for records in (left_out or {}).values() for record in records]
    if protocol != "records" and (listed or shared_patients != "both"):
        raise ConfigError(
            f"lists of records and shared_patients are settings of protocol=records, as in split=ds1_ds2; "
            f"protocol={protocol} has none"
        )
    if protocol == "records" and fold is not None:
        raise ConfigError(f"fold={fold}: lists of records have one test fold; leave it at null, or use split=patient")
    if protocol == "records" and not (train_records and test_records):
        raise ConfigError("protocol=records needs split.train_records and split.test_records, names of records")
    if twice := sorted({record for record in listed if listed.count(record) > 1}):
        raise ConfigError(f"record {twice[0]} is more than once in the lists of the split: expected once")
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
    signals = np.ascontiguousarray(beats.signals).reshape(len(beats), -1)
    rows = signals.view(np.dtype((np.void, signals.itemsize * signals.shape[1])))
    _, first = np.unique(rows.ravel(), return_index=True)
    if len(first) == len(beats):
        return beats
    log.info("dropped %d beats that equal another to the last bit", len(beats) - len(first))
    return beats.select(np.sort(first))


def _by_beat(
    beats: Beats, test_fraction: float, validation_fraction: float, seed: int, fold: int | None, n_folds: int
) -> Folds:
    rng, labels = np.random.default_rng(seed), beats.known_labels
    how: dict[str, Any] = {}
    if fold is not None:
        if beats.published_test is not None:
            raise ConfigError(
                f"fold={fold}: these beats bring their own test file and are not assigned to folds; "
                "leave split.fold at null, or use source=physionet"
            )
        fold_of = _folds_by_beat(labels, n_folds, rng)
        rest, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        how = {"fold": fold, "n_folds": n_folds}
    elif beats.published_test is None:
        rest, test = _stratified(np.arange(len(beats)), labels, test_fraction, rng)
        how = {"test_fraction": test_fraction}
    else:
        rest, test = np.flatnonzero(~beats.published_test), np.flatnonzero(beats.published_test)
        how = {"published_test": True}
    train, validation = _stratified(rest, labels, validation_fraction, rng)
    protocol = Protocol(name="random", seed=seed, by="beats", validation_fraction=validation_fraction, **how)
    return Folds(train=train, validation=validation, test=test, protocol=protocol)


def _folds_by_beat(labels: IntArray, n_folds: int, rng: np.random.Generator) -> IntArray:
    """The test fold of each beat, ``[n]``: the shuffled beats of each class take turns."""
    fold_of = np.empty(len(labels), dtype=np.int64)
    assigned = 0
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        # Each class continues where the one before ended, or the first folds would get the odd beats of all.
        fold_of[of_class] = (assigned + np.arange(len(of_class))) % n_folds
        assigned += len(of_class)
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
            "the patients of these beats are not known, so they cannot be split by patient; "
            "use source=physionet, or split=random and know that patients stand on all sides"
        )
    if fold is None:
        rest, test = _stratified_by_patient(np.arange(len(beats)), beats, test_fraction, seed)
        how: dict[str, Any] = {"test_fraction": test_fraction}
    else:
        fold_of = _folds_by_patient(beats, n_folds, seed)
        rest, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
        how = {"fold": fold, "n_folds": n_folds}
    train, validation = _stratified_by_patient(rest, beats, validation_fraction, seed)
    protocol = Protocol(
        name="patient",
        seed=seed,
        by="patients",
        validation_fraction=validation_fraction,
        patients=_n_patients(beats, train=train, validation=validation, test=test),
        **how,
    )
    return Folds(train=train, validation=validation, test=test, protocol=protocol)


def _n_patients(beats: Beats, **folds: IntArray) -> dict[str, int]:
    assert beats.patients is not None
    return {name: len(np.unique(beats.patients[rows])) for name, rows in folds.items()}


def _by_record(
    beats: Beats,
    name: str,
    lists: Mapping[str, list[str]],
    unused: Mapping[str, list[str]],
    shared_patients: SharedPatients,
    validation_fraction: float,
    seed: int,
) -> Folds:
    if beats.records is None or beats.patients is None:
        raise ConfigError(
            f"the records of these beats are not known, so they cannot be split by lists of records ({name}); "
            "use source=physionet, or split=random and know that patients stand on all sides"
        )
    patient_of = dict(zip(beats.records.tolist(), beats.patients.tolist(), strict=True))
    listed = {record for records in (*lists.values(), *unused.values()) for record in records}
    if others := sorted(patient_of.keys() - listed):
        raise ConfigError(
            f"record {', '.join(others[:5])}{' …' if others[5:] else ''} is in no list of split {name}: choose the "
            "database that it is made for, name the record in train_records, test_records or left_out, or use "
            "split=patient"
        )
    for which, records in lists.items():
        if absent := [record for record in records if record not in patient_of]:
            if len(absent) == len(records):
                raise DataError(
                    f"none of the {len(records)} records in {which} of split {name} is there ({', '.join(absent[:5])} "
                    "…): fetch them, or use split=patient"
                )
            log.warning("%s of split %s lack %s: metrics do not compare with others", which, name, ", ".join(absent))

    train_side, test_side = ({record for record in records if record in patient_of} for records in lists.values())
    on_both = {patient_of[record] for record in train_side} & {patient_of[record] for record in test_side}
    shared = {record for record in train_side | test_side if patient_of[record] in on_both}
    if shared_patients != "both":
        train_side, test_side = train_side - shared, test_side - shared
        if shared_patients == "train":
            train_side |= shared
        elif shared_patients == "test":
            test_side |= shared
        elif shared:
            unused = {**unused, "patients on both sides": sorted(shared)}

    rest, test = (np.flatnonzero(np.isin(beats.records, sorted(side))) for side in (train_side, test_side))
    train, validation = _stratified_by_patient(rest, beats, validation_fraction, seed)
    reasons = []
    for reason, records in unused.items():
        if found := tuple(record for record in records if record in patient_of):
            n_beats = int(np.isin(beats.records, found).sum())
            reasons.append(LeftOut(reason=reason, records=found, beats=n_beats))
    protocol = Protocol(
        name=name,
        seed=seed,
        by="records",
        validation_fraction=validation_fraction,
        patients=_n_patients(beats, train=train, validation=validation, test=test),
        shared_records=tuple(sorted(shared)),
        shared_patients=shared_patients,
        left_out=tuple(reasons),
    )
    left_out = np.setdiff1d(np.arange(len(beats)), np.concatenate([rest, test]))
    return Folds(train=train, validation=validation, test=test, protocol=protocol, left_out=left_out)


def _stratified_by_patient(rows: IntArray, beats: Beats, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Take a fraction of the patients out of `rows`: what stays and what was taken.

    Of many random choices the one is taken that has every class on both sides, if any has, and comes nearest to the
    fraction in each class. scikit-learn's ``StratifiedGroupKFold`` would hardly use the seed: it assigns patients in
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


def _folds_by_patient(beats: Beats, n_folds: int, seed: int) -> IntArray:
    """The test fold of each beat, ``[n]``: of many random assignments of patients the one that divides classes best.

    The same for every fold of a seed, so that each patient is tested once.
    """
    owner, counts = _counts_by_patient(np.arange(len(beats)), beats)
    n_patients = len(counts)
    if n_patients < n_folds:
        raise ConfigError(f"n_folds={n_folds} of {n_patients} patients: a fold has at least one; choose fewer folds")
    # The number of assignments but for the order of folds, give or take a factor where they are of unequal size.
    n_possible = (
        math.factorial(n_patients) // math.factorial(n_patients // n_folds) ** n_folds // math.factorial(n_folds)
    )
    orders = _random_orders(n_patients, n_possible, seed)
    faults = sum(_faults(counts, orders[:, fold::n_folds], 1 / n_folds) for fold in range(n_folds))
    fold_of_patient = np.empty(n_patients, dtype=np.int64)
    fold_of_patient[orders[np.argmin(faults)]] = np.arange(n_patients) % n_folds
    return fold_of_patient[owner]


def _counts_by_patient(rows: IntArray, beats: Beats) -> tuple[IntArray, DoubleArray]:
    """Which patient has each of the rows, ``[n_rows]``, and beats by patient and class, ``[n_patients, n_present]``."""
    assert beats.patients is not None
    patients, owner = np.unique(beats.patients[rows], return_inverse=True)
    counts = np.zeros((len(patients), len(beats.classes)))
    np.add.at(counts, (owner, beats.known_labels[rows]), 1)
    return owner, counts[:, counts.any(axis=0)]


def _random_orders(n_patients: int, n_possible: int, seed: int) -> IntArray:
    """Orders of the patients, ``[n_choices, n_patients]``, to choose among."""
    # Of few patients not all choices are tried, or every seed would find the same best one.
    n_choices = int(np.clip(n_possible // 4, *PATIENT_CHOICES))
    return np.random.default_rng(seed).random((n_choices, n_patients)).argsort(axis=1)


def _faults(counts: DoubleArray, choices: IntArray, fraction: float) -> DoubleArray:
    """How far each of the choices, ``[n_choices, n_taken]``, is from the fraction of every class: ``[n_choices]``."""
    shares = counts[choices].sum(axis=1) / counts.sum(axis=0)
    # A class with no beat to train on is an error later, one with no beat to test on is only missing there.
    faults: DoubleArray = ((shares - fraction) ** 2 + (shares == 0) + 2 * (shares == 1)).sum(axis=1)
    return faults


def _with_part_of_train(beats: Beats, folds: Folds, size: float, unit: TrainUnit, seed: int) -> Folds:
    """The same folds with a part of the training beats; who validates and who is tested stays."""
    # Apart from the draws that made the folds, or the part would be of beats that those preferred.
    rng = np.random.default_rng((seed, 1))
    if unit == "beats":
        order, n_units = _order_of_beats(beats.known_labels[folds.train], rng), len(folds.train)
    else:
        if beats.patients is None:
            raise ConfigError("train_unit=patients: the patients of these beats are not known; choose train_unit=beats")
        order, n_units = _order_of_patients(folds.train, beats, rng)
    n_kept = size if isinstance(size, int) else max(round(size * n_units), 1)
    if n_kept > n_units:
        raise ConfigError(f"train_size={size} {unit}: the training fold has {n_units}; choose fewer, or null for all")
    train = folds.train[order < n_kept]

    labels = beats.known_labels[train]
    classes = [name for label, name in enumerate(beats.classes) if not (labels == label).any()]
    if len(classes) and (unit == "beats" or len(np.unique(labels)) < 2):
        raise ConfigError(
            f"train_size={size}: {n_kept} of {n_units} training {unit} leave none of class {', '.join(classes)}; "
            "choose more"
        )
    if classes:
        log.warning("none of the %d patients to train on has a beat of class %s", n_kept, ", ".join(classes))
    protocol = replace(folds.protocol, train_size=n_kept, train_unit=unit, n_train_units=n_units)
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
    n_classes, labels = len(beats.classes), beats.known_labels
    counts = {name: np.bincount(labels[rows], minlength=n_classes) for name, rows in folds.named().items()}
    for label, name in enumerate(beats.classes):
        absent = [fold for fold, count in counts.items() if count[label] == 0]
        if not absent:
            continue
        found = int(sum(count[label] for count in counts.values()))
        where = " and ".join(absent)
        at_random = folds.protocol.by == "beats"
        if "train" in absent or at_random:
            owners = ""
            if beats.patients is not None and not at_random:
                owners = f" of {len(np.unique(beats.patients[labels == label]))} patients"
            raise DataError(
                f"class {name} has {found} beats{owners}, too few to split: none is left for {where}; "
                "use more data, other fractions or another seed"
            )
        log.warning("class %s (%d beats) comes from so few patients that none is in %s", name, found, where)
