"""Which beats train, which select, which test: the protocols by which beats are divided into folds."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.core.options import Fraction, Name, Natural, NumberOfFolds, Part, Seed, Share, options
from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.names import Names
from ecg_lightning.data.protocol import LeftOut, Protocol, SharedPatients
from ecg_lightning.data.stored import parts_of

log = logging.getLogger(__name__)

DoubleArray = npt.NDArray[np.float64]
Records = Sequence[str | int]
REMEDY = "use split=random, which has the same patients on all sides, or a database that states them"

Division = tuple[IntArray, IntArray, dict[str, Any]]  # rows to train and validate on, rows to test on, of the protocol

LISTED = ("records", "folds", "databases")  # protocols by lists

PATIENT_CHOICES = (10, 1000)  # fewest and most random choices of patients, of which the one with most even classes wins


@dataclass(frozen=True, eq=False, kw_only=True)
class Folds:
    """Rows of `Beats` for each use, ascending and disjoint; `left_out` are rows that the protocol does not use."""

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


@options("split")
class Split:
    """How beats are divided.

    Attributes:
        protocol: ``random`` divides the beats of each class; ``patient`` keeps all beats of a patient on one side;
            ``records`` tests on the records of one list, trains on those of another, of which some patients validate,
            and leaves those of further lists out; ``folds`` and ``databases`` do the same with the folds that the
            publisher recommends, and with databases.
        train, test, left_out: the lists, of names or patterns such as ``svdb/*``, which is a record of a database; no
            `train` is all that no other list has.
        test_fraction: share of the beats (of the patients) to test on, where neither `fold` nor lists say it; 0 tests
            nothing, for a model that learns from all. Beats that their publisher put into a test file are always the
            test fold of ``random``.
        validation_fraction: share of the rest (by patient: of the patients) to select on.
        fold: which of `n_folds` disjoint test folds, from 0, to test on; every beat is tested in exactly one of them.
        shared_patients: what happens to patients with records in both lists: they stay on ``both`` sides, as listed,
            move to ``train`` or ``test``, or are left out: ``neither``.
        train_size: train on a part of the training fold only: a whole number of `train_unit`, or a fraction of them.
            With the same seed a smaller part is contained in every larger one.
        inner_fold: which of `inner_folds` disjoint groups of the people to train and validate on, from 0, is tested
            instead of what the protocol tests: cross-validation that leaves the test beats alone.
    """

    protocol: Literal["random", "patient", "records", "folds", "databases"]
    name: Name | None = None  # of the lists, such as ``ds1_ds2``
    test_fraction: Share = 0.2
    validation_fraction: Fraction = 0.1
    seed: Seed = 0  # the same seed divides the same beats in the same way
    fold: Natural | None = None
    n_folds: NumberOfFolds = 5
    train: Records | None = None  # to train and to validate on
    test: Records | None = None
    left_out: Mapping[str, Records] | None = None  # reason → what is not used
    shared_patients: SharedPatients = "both"
    train_size: Part = None
    train_unit: Literal["beats", "patients"] = "beats"  # beats in the shares of their classes, or whole patients
    inner_fold: Natural | None = None
    inner_folds: NumberOfFolds = 5  # groups, for `inner_fold`

    def __post_init__(self) -> None:
        if self.fold is not None and self.fold >= self.n_folds:
            raise ConfigError(f"fold={self.fold} of n_folds={self.n_folds}: expected at most {self.n_folds - 1}")
        if self.inner_fold is not None and self.inner_fold >= self.inner_folds:
            raise ConfigError(f"inner_fold={self.inner_fold}: expected at most {self.inner_folds - 1}")
        lists = (self.train or (), self.test or (), *(self.left_out or {}).values())
        listed = [str(record) for records in lists for record in records]
        if self.protocol not in LISTED:
            if listed or self.shared_patients != "both":
                raise ConfigError(
                    "lists (train, test, left_out) and shared_patients are settings of protocol=records, folds and "
                    f"databases, as in split=ds1_ds2; protocol={self.protocol} has none"
                )
            return
        if self.fold is not None:
            raise ConfigError(f"fold={self.fold}: lists have one test fold; leave it at null, or use split=patient")
        if not self.test or (self.protocol == "records" and not self.train):
            names = f"names of {self.protocol}"
            what = f"split.train and split.test, {names}" if self.protocol == "records" else f"split.test, {names}"
            raise ConfigError(f"protocol={self.protocol} needs {what}")
        if twice := sorted({record for record in listed if listed.count(record) > 1}):
            raise ConfigError(f"{twice[0]} is more than once in the lists of the split: expected once")


def split(beats: Beats, protocol: str, **settings: Any) -> Folds:
    """Divide beats into train, validation and test by a protocol with the other settings of `Split`.

    Raises:
        ConfigError: impossible settings; a split by patient of beats without patients, or by lists of records that lack
            one; folds of beats that bring their own test file; a part larger than the training fold, or too small for
            its classes.
        DataError: beats without labels; too few beats or patients of a class; no record of a list.
    """
    how = Split(**{"protocol": protocol, **settings})
    rng = np.random.default_rng(how.seed)
    rest, test, about = _by_lists(beats, how) if how.protocol in LISTED else _at_random(beats, how, rng)
    if how.inner_fold is not None:
        if how.protocol == "random" or beats.patients is None:
            raise ConfigError(
                "folds of training people need a split that has nobody on two sides, such as split=patient, and a "
                "database that states the patients"
            )
        is_tested = _folds_by_patient(rest, beats, how.inner_folds, how.seed) == how.inner_fold
        rest, test = rest[~is_tested], rest[is_tested]
        about |= {"inner_fold": how.inner_fold, "inner_folds": how.inner_folds}
    train, validation = _take(rest, beats, how.validation_fraction, how, rng)
    made_of = Protocol(seed=how.seed, validation_fraction=how.validation_fraction, **about)
    unused = np.ones(len(beats), dtype=bool)
    unused[rest] = unused[test] = False
    left_out = np.flatnonzero(unused)
    folds = Folds(train=train, validation=validation, test=test, protocol=made_of, left_out=left_out)
    if beats.patients is not None and how.protocol != "random":
        patients = {name: len(_names(beats.patients[rows])) for name, rows in folds.named().items()}
        folds = replace(folds, protocol=replace(made_of, patients=patients))
    _check_classes(beats, folds)
    return folds if how.train_size is None else _with_part_of_train(beats, folds, how.train_size, how)


def without_duplicates(beats: Beats) -> Beats:
    """Each distinct signal once, so that no beat is on two sides of a split; the first occurrence stays."""
    digests = [blake2b(one, digest_size=16).digest() for some in parts_of(beats.signals) for one in some]
    _, first = np.unique(np.array(digests, dtype="V16"), return_index=True)
    if len(first) == len(beats):
        return beats
    log.info("dropped %d beats that equal another to the last bit", len(beats) - len(first))
    return beats.select(np.sort(first))


def _at_random(beats: Beats, how: Split, rng: np.random.Generator) -> Division:
    by_beat = how.protocol == "random"
    about: dict[str, Any] = {"name": how.protocol, "by": "beats" if by_beat else "patients"}
    if not by_beat and beats.patients is None:
        raise ConfigError(f"the patients of these beats are not known, so they cannot be split by patient; {REMEDY}")
    databases = beats.origin.get("databases", {}).values()
    if by_beat and any(one.get("separate_leads") for one in (beats.origin, *databases)):
        raise ConfigError("split=random would have a beat on both sides, by its separate leads; use split=patient")
    if by_beat and beats.published_test is not None:
        if how.fold is not None:
            raise ConfigError(
                f"fold={how.fold}: these beats bring their own test file and are not assigned to folds; "
                "leave split.fold at null, or use a database of recordings"
            )
        test, about["published_test"] = beats.published_test, True
        return np.flatnonzero(~test), np.flatnonzero(test), about
    if how.fold is None and not how.test_fraction:
        return np.arange(len(beats)), np.arange(0), about | {"test_fraction": 0.0}
    if how.fold is None:
        rest, taken = _take(np.arange(len(beats)), beats, how.test_fraction, how, rng)
        return rest, taken, about | {"test_fraction": how.test_fraction}
    if by_beat:
        fold_of = _folds_by_beat(beats.known_labels, how.n_folds, rng)
    else:
        fold_of = _folds_by_patient(np.arange(len(beats)), beats, how.n_folds, how.seed)
    test = fold_of == how.fold
    return np.flatnonzero(~test), np.flatnonzero(test), about | {"fold": how.fold, "n_folds": how.n_folds}


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


def _take(
    rows: IntArray, beats: Beats, fraction: float, how: Split, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Take a fraction of the beats or patients out of `rows`: what stays and what was taken."""
    if how.protocol != "random":
        return _take_patients(rows, beats, fraction, how.seed)
    # Written out rather than left to scikit-learn, so that a seed means the same beats in every version of it.
    labels, taken = beats.known_labels[rows], []
    for label in np.unique(labels):
        of_class = rng.permutation(rows[labels == label])
        taken.append(of_class[: max(1, round(fraction * len(of_class)))])
    out = np.sort(np.concatenate(taken))
    return np.setdiff1d(rows, out, assume_unique=True), out


def _by_lists(beats: Beats, how: Split) -> Division:
    name, kind = how.name or how.protocol, how.protocol.removesuffix("s")
    column: Names | None = getattr(beats, how.protocol)
    if how.protocol == "databases" and column is None:
        column = Names.full(len(beats), str(beats.origin.get("dataset")))
    if column is None or beats.patients is None:
        unknown = how.protocol if column is None else "patients"
        raise ConfigError(
            f"the {unknown} of these beats are not known, so they cannot be split by {how.protocol} ({name}); {REMEDY}"
        )
    there = _names(column)
    patterns_of = {"test": how.test or (), "train": how.train or (), **(how.left_out or {})}
    wanted = {which: [str(pattern) for pattern in patterns] for which, patterns in patterns_of.items()}
    lists = {which: [one for one in there if _listed(one, patterns)] for which, patterns in wanted.items()}
    times = Counter(one for own in lists.values() for one in own)
    if twice := [one for one in there if times[one] > 1]:
        raise ConfigError(f"{kind} {twice[0]} is in two lists of split {name}: expected one")
    others = [one for one in there if not times[one]]
    if how.train is None:
        lists["train"] = others
        if not others:
            raise ConfigError(f"split {name} tests or leaves out all {how.protocol}: none is left to train on")
    elif others:
        raise ConfigError(
            f"{kind} {_some(others)} is in no list of split {name}: choose the "
            "database that it is made for, name it in split.train, split.test or split.left_out, or use split=patient"
        )
    for which in ("train", "test"):
        absent = [pattern for pattern in wanted[which] if not any(_listed(one, [pattern]) for one in there)]
        if not lists[which]:
            raise DataError(
                f"none of the {len(absent)} {how.protocol} in {which} of split {name} is there ({_some(absent)}), but "
                f"{_some(there)}: fetch them, name others, or use split=patient"
            )
        if absent:
            log.warning("%s of split %s lacks %s: metrics do not compare with others", which, name, ", ".join(absent))

    in_list = {which: column.isin(own) for which, own in lists.items()}
    train, test = in_list["train"], in_list["test"]
    people = sorted({*_names(beats.patients[train])} & {*_names(beats.patients[test])})
    both = (train | test) & beats.patients.isin(people)
    shared = _names(column[both]) if how.protocol == "records" else []
    unused = [(reason, lists[reason], in_list[reason]) for reason in how.left_out or {}]
    if how.shared_patients != "both":
        train = train | both if how.shared_patients == "train" else train & ~both
        test = test | both if how.shared_patients == "test" else test & ~both
    if how.shared_patients == "neither":
        unused.append(("patients on both sides", shared or people, both))
    about = {
        "name": name, "by": how.protocol, "shared_patients": how.shared_patients, "shared_records": tuple(shared),
        "n_shared_patients": len(people), "tested": () if how.protocol == "records" else tuple(lists["test"]),
        "left_out": tuple(
            LeftOut(reason=reason, records=tuple(names), beats=int(rows.sum()))
            for reason, names, rows in unused if rows.any()
        ),
    }  # fmt: skip
    return np.flatnonzero(train), np.flatnonzero(test), about


def _names(column: Names) -> list[str]:
    """The different ones, sorted."""
    return column.numbered()[0].tolist()  # type: ignore[no-any-return]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + " …" * (len(names) > 5)


def _listed(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns, which may leave out the database before the slash."""
    last = name.rpartition("/")[2]
    return any(fnmatchcase(name if "/" in pattern else last, pattern) for pattern in patterns)


def _take_patients(rows: IntArray, beats: Beats, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """The best of many random choices: every class on both sides, if possible, and each nearest to the fraction.

    scikit-learn's ``StratifiedGroupKFold`` would hardly use the seed: it shuffles only patients that are alike.
    """
    owner, counts = _counts_by_patient(rows, beats)
    if (n_patients := len(counts)) < 2:
        assert beats.patients is not None
        raise DataError(
            f"{len(_names(beats.patients))} patients cannot be split by patient so that some are left to train on, "
            "to validate and to test; use more data or split=random"
        )
    n_taken = min(max(round(fraction * n_patients), 1), n_patients - 1)
    choices = _random_orders(n_patients, math.comb(n_patients, n_taken), seed)[:, :n_taken]
    taken = np.isin(owner, choices[_faults(counts, choices, fraction).argmin()])
    return rows[~taken], rows[taken]


def _folds_by_patient(rows: IntArray, beats: Beats, n_folds: int, seed: int) -> IntArray:
    """The fold of each row, ``[n_rows]``: the random assignment of patients that divides classes best, once a seed."""
    owner, counts = _counts_by_patient(rows, beats)
    n_patients = len(counts)
    if n_patients < n_folds:
        raise ConfigError(f"n_folds={n_folds} of {n_patients} patients: a fold has at least one; choose fewer folds")
    # The number of assignments whatever the order of folds, up to a factor where their sizes differ.
    each = math.factorial(n_patients // n_folds)
    n_possible = math.factorial(n_patients) // each**n_folds // math.factorial(n_folds)
    orders = _random_orders(n_patients, n_possible, seed)
    faults = sum(_faults(counts, orders[:, fold::n_folds], 1 / n_folds) for fold in range(n_folds))
    fold_of_patient = np.empty(n_patients, dtype=np.int64)
    fold_of_patient[orders[np.argmin(faults)]] = np.arange(n_patients) % n_folds
    return fold_of_patient[owner]


def _counts_by_patient(rows: IntArray, beats: Beats) -> tuple[IntArray, DoubleArray]:
    """Which patient has each of the rows, ``[n_rows]``, and beats by patient and class, ``[n_patients, n_present]``."""
    assert beats.patients is not None
    patients, owner = beats.patients[rows].numbered()
    counts = np.zeros((len(patients), len(beats.classes)))
    np.add.at(counts, (owner, beats.known_labels[rows]), 1)
    return owner, counts[:, counts.any(axis=0)]


def _random_orders(n_patients: int, n_possible: int, seed: int) -> IntArray:
    """Orders of the patients, ``[n_choices, n_patients]``, to choose among."""
    # Of few patients only a quarter of the choices is tried, or every seed would find the same best one.
    n_choices = int(np.clip(n_possible // 4, *PATIENT_CHOICES))
    return np.random.default_rng(seed).random((n_choices, n_patients)).argsort(axis=1)


def _faults(counts: DoubleArray, choices: IntArray, fraction: float) -> DoubleArray:
    """How far each of the choices, ``[n_choices, n_taken]``, is from the fraction of every class: ``[n_choices]``."""
    shares = counts[choices].sum(axis=1) / counts.sum(axis=0)
    # A class without a beat to train on is an error later, one without a beat to test on only lacks metrics.
    faults: DoubleArray = ((shares - fraction) ** 2 + (shares == 0) + 2 * (shares == 1)).sum(axis=1)
    return faults


def _with_part_of_train(beats: Beats, folds: Folds, size: float, how: Split) -> Folds:
    """The same folds with a part of the training beats; validation and test stay."""
    # A generator of its own: the part must not depend on the choices that made the folds.
    rng, unit = np.random.default_rng((how.seed, 1)), how.train_unit
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
    if classes and (unit == "beats" or len(np.unique(labels)) < 2):
        raise ConfigError(
            f"train_size={size}: {n_kept} of {n_units} training {unit} leave none of class {', '.join(classes)}; "
            "choose more"
        )
    if classes:
        log.warning("none of the %d patients to train on has a beat of class %s", n_kept, ", ".join(classes))
    protocol = replace(folds.protocol, train_size=n_kept, train_unit=unit, n_train_units=n_units)
    return replace(folds, train=train, protocol=protocol)


def _order_of_beats(labels: IntArray, rng: np.random.Generator) -> IntArray:
    """Place of each beat in an order, ``[n]``, of which every beginning has all classes, in their shares."""
    at = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = rng.permutation(np.flatnonzero(labels == label))
        at[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
        at[of_class[0]] = 0
    places = np.empty(len(labels), dtype=np.int64)
    places[np.lexsort((rng.random(len(labels)), at))] = np.arange(len(labels))
    return places


def _order_of_patients(rows: IntArray, beats: Beats, rng: np.random.Generator) -> tuple[IntArray, int]:
    """Place of each beat's patient in an order, ``[n_rows]``, and the number of patients.

    The best of many random orders: its beginnings lack the fewest classes and have the most even shares of them.
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
    """Every class that the beats have must be in the training fold and, unless patients prevent it, in the others."""
    labels, at_random = beats.known_labels, folds.protocol.by == "beats"
    for label, name in enumerate(beats.classes):
        counts = {
            fold: int((labels[rows] == label).sum())
            for fold, rows in folds.named().items()
            if len(rows) or fold != "test"
        }
        where = " and ".join(fold for fold, count in counts.items() if not count)
        found = sum(counts.values())
        if not found:
            log.warning("there is no beat of class %s: the model cannot learn it, and it has no score", name)
        if not where or not found:
            continue
        few_people = folds.protocol.by in LISTED or folds.protocol.inner_fold is not None
        if at_random or not (counts["train"] or few_people):
            patients = None if at_random or beats.patients is None else beats.patients[labels == label]
            owners = "" if patients is None else f" of {len(_names(patients))} patients"
            raise DataError(
                f"class {name} has {found} beats{owners}, too few to split: none is left for {where}; "
                "use more data, other fractions or another seed"
            )
        log.warning("class %s (%d beats) comes from so few patients that none is in %s", name, found, where)
