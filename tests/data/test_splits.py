"""Splits: what decides whether a test score means anything."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made import recordings, split_settings
from made import simulated as simulation

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.protocol import LeftOut
from ecg_lightning.data.splits import Folds, split, without_duplicates

MakeBeats = Callable[..., Beats]

SEEDS = range(8)

DS1_DS2 = split_settings("ds1_ds2")
DS1, DS2 = ([str(record) for record in DS1_DS2[name]] for name in ("train", "test"))
PACED = [str(record) for record in DS1_DS2["left_out"]["paced"]]


@pytest.fixture(scope="module")
def simulated() -> Beats:
    """Twelve patients with all classes, each with shares of their own."""
    return simulation(patients=12, minutes=1).read()


def assert_complete_and_disjoint(folds: Folds, n_beats: int) -> None:
    joined = np.concatenate(list(folds.named().values()))
    assert sorted(joined.tolist()) == list(range(n_beats))
    for rows in folds.named().values():
        assert (np.diff(rows) > 0).all()


def same(one: Folds, other: Folds) -> bool:
    return all(np.array_equal(rows, other.named()[name]) for name, rows in one.named().items())


@pytest.mark.parametrize("seed", SEEDS)
def test_beats_at_random_are_divided_in_the_same_shares_of_each_class(make_beats: MakeBeats, seed: int) -> None:
    beats = make_beats([1000, 103, 57, 20, 12])
    folds = split(beats, "random", seed=seed)
    assert_complete_and_disjoint(folds, len(beats))
    for label, count in enumerate([1000, 103, 57, 20, 12]):
        test, validation = (int((beats.known_labels[rows] == label).sum()) for rows in (folds.test, folds.validation))
        assert test == round(0.2 * count)
        assert validation == max(round(0.1 * (count - test)), 1)
    assert folds.sizes() == {"train": len(folds.train), "validation": len(folds.validation), "test": len(folds.test)}


def test_fractions_are_settings(make_beats: MakeBeats) -> None:
    folds = split(make_beats([500, 500]), "random", test_fraction=0.5, validation_fraction=0.4)
    assert folds.sizes() == {"train": 300, "validation": 200, "test": 500}


@pytest.mark.parametrize("protocol", ["random", "patient"])
def test_the_same_seed_divides_in_the_same_way_and_others_in_others(simulated: Beats, protocol: str) -> None:
    divided = [split(simulated, protocol, seed=seed) for seed in SEEDS]  # type: ignore[arg-type]
    for seed, folds in enumerate(divided):
        assert same(folds, split(simulated, protocol, seed=seed))  # type: ignore[arg-type]
        assert (folds.protocol.name, folds.protocol.seed) == (protocol, seed)
    for fold in ("train", "validation", "test"):
        different = {tuple(folds.named()[fold].tolist()) for folds in divided}
        # Of twelve patients there are not many choices that share out the classes well.
        assert len(different) == len(SEEDS) if protocol == "random" else len(different) > 1


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_patients_are_shared_out_so_that_each_class_is(make_beats: MakeBeats, seed: int) -> None:
    """A class that few patients have, in unequal numbers, is what a careless choice gets wrong."""
    beats = make_beats([3000, 300], patients=40)
    of_few = np.repeat([f"p{number}" for number in range(10)], np.arange(3, 60, 6)[:10])
    beats = beats.select(np.arange(3000 + len(of_few)))
    assert beats.patients is not None
    beats = dataclasses.replace(beats, patients=np.concatenate([beats.patients[:3000], of_few]))
    test = beats.known_labels[split(beats, "patient", seed=seed).test]
    assert 0.15 < (test == 1).sum() / len(of_few) < 0.25
    assert (test == 0).sum() / 3000 == 0.2


def test_a_seed_means_these_beats_for_good(make_beats: MakeBeats) -> None:
    """Published figures name a seed: a change of how it is used must not pass unnoticed."""
    folds = split(make_beats([20, 10]), "random", seed=0)
    assert folds.test.tolist() == [2, 4, 6, 19, 22, 26]
    assert folds.validation.tolist() == [3, 16, 23]


def test_beats_at_random_depend_on_labels_and_seed_only(make_beats: MakeBeats) -> None:
    counts = [200, 50, 30]
    assert same(split(make_beats(counts, seed=0), "random"), split(make_beats(counts, seed=1), "random"))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_patient_stands_on_two_sides(simulated: Beats, seed: int) -> None:
    folds = split(simulated, "patient", seed=seed)
    assert simulated.patients is not None
    assert_complete_and_disjoint(folds, len(simulated))
    sides = {name: set(simulated.patients[rows]) for name, rows in folds.named().items()}
    assert len(set().union(*sides.values())) == sum(map(len, sides.values())) == 12
    assert all(sides.values())


@pytest.mark.parametrize("seed", SEEDS)
def test_a_split_by_patient_is_about_as_large_as_asked_and_has_every_class(simulated: Beats, seed: int) -> None:
    folds = split(simulated, "patient", test_fraction=0.25, validation_fraction=0.2, seed=seed)
    assert 0.12 < len(folds.test) / len(simulated) < 0.4
    for rows in folds.named().values():
        assert set(simulated.known_labels[rows]) == set(range(len(AAMI_CLASSES)))


def test_patients_of_one_class_each_are_shared_out_by_class() -> None:
    """As in PTB: a patient is a control or has an infarction."""
    beats = simulation("synthetic_mi", patients=20, minutes=0.3).read()
    assert beats.patients is not None
    for seed in SEEDS:
        folds = split(beats, "patient", seed=seed)
        for label in (0, 1):
            assert len(np.unique(beats.patients[folds.test][beats.known_labels[folds.test] == label])) in (1, 2, 3)


def test_a_class_of_one_patient_only_is_trained_on_and_its_absence_elsewhere_said(
    make_beats: MakeBeats, caplog: pytest.LogCaptureFixture
) -> None:
    beats = make_beats([300, 30], patients=10)
    assert beats.patients is not None
    beats = dataclasses.replace(beats, patients=np.where(beats.known_labels == 1, "p0", beats.patients))
    for seed in SEEDS:
        caplog.clear()
        folds = split(beats, "patient", seed=seed)
        assert (beats.known_labels[folds.train] == 1).sum() == 30
        assert "class S (30 beats) comes from so few patients that none is in validation and test" in caplog.text


def test_a_class_of_three_patients_stands_on_all_sides(make_beats: MakeBeats) -> None:
    beats = make_beats([400, 30], patients=20)
    assert beats.patients is not None
    few = np.char.add("p", (np.arange(len(beats)) % 3).astype(str))
    beats = dataclasses.replace(beats, patients=np.where(beats.known_labels == 1, few, beats.patients))
    for seed in SEEDS:
        folds = split(beats, "patient", seed=seed)
        assert all((beats.known_labels[rows] == 1).any() for rows in folds.named().values())


@pytest.mark.parametrize("protocol", ["random", "patient"])
def test_beats_without_labels_are_not_split(make_beats: MakeBeats, protocol: Any) -> None:
    with pytest.raises(DataError, match="no labels"):
        split(dataclasses.replace(make_beats([50, 50], patients=9), labels=None), protocol)


@settings(max_examples=25, deadline=None)
@given(
    owner=st.lists(st.integers(0, 9), min_size=30, max_size=80),
    fraction=st.floats(0.1, 0.5),
    seed=st.integers(0, 99),
    by_record=st.booleans(),
)
def test_whoever_has_how_many_beats_sides_are_disjoint_complete_and_of_other_people(
    owner: list[int], fraction: float, seed: int, by_record: bool
) -> None:
    n = len(owner)
    people = np.array([f"p{number % 5}" for number in owner])  # each of two records
    records = np.array([str(number) for number in owner])
    signals = np.ones((n, 2, 4), dtype=np.float32)
    beats = Beats(
        signals=signals, lengths=np.full(n, 4), lead_names=("II", "V1"), labels=np.zeros(n, np.int64), classes=("N",),
        fs=125.0, records=records, patients=people,
    )  # fmt: skip
    if len(set(owner)) < 8 or len(set(people.tolist())) < 5:
        return
    if by_record:
        lists = {"train": [0, 1, 2, 3, 5, 6], "test": [4, 7, 8], "left_out": {"noisy": [9]}}
        folds = split(beats, "records", **lists, shared_patients="train", validation_fraction=fraction, seed=seed)
    else:
        folds = split(beats, "patient", test_fraction=fraction, validation_fraction=fraction, seed=seed)
    rows = [*folds.named().values(), folds.left_out]
    assert sorted(np.concatenate(rows).tolist()) == list(range(n))
    sides = [set(people[side].tolist()) for side in folds.named().values()]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert folds.protocol.patients == dict(zip(folds.named(), map(len, sides), strict=True))
    assert sum(one.beats for one in folds.protocol.left_out) == len(folds.left_out)


def test_beats_without_patients_are_not_split_by_patient(make_beats: MakeBeats) -> None:
    with pytest.raises(ConfigError, match=r"patients of these beats are not known.*split=random"):
        split(make_beats([50, 50]), "patient")


@pytest.mark.parametrize("patients", [1, 2])
def test_too_few_patients_for_three_sides_are_an_error_that_counts_them(make_beats: MakeBeats, patients: int) -> None:
    with pytest.raises(DataError, match=f"{patients} patients cannot be split by patient"):
        split(make_beats([50, 50], patients=patients), "patient")


@pytest.mark.parametrize("patients", [3, 4, 9, 10, 11])
def test_few_patients_give_one_to_a_fold_and_the_protocol_says_how_many(make_beats: MakeBeats, patients: int) -> None:
    beats = make_beats([220, 220], patients=patients)
    assert beats.patients is not None
    folds = split(beats, "patient", seed=1)
    n_train, n_validation, n_test = (len(set(beats.patients[rows])) for rows in folds.named().values())
    assert n_train + n_validation + n_test == patients
    assert min(n_train, n_validation, n_test) >= 1 and n_test == max(round(0.2 * patients), 1)
    assert folds.protocol.patients == {"train": n_train, "validation": n_validation, "test": n_test}


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_with_too_few_beats_is_refused_by_name(make_beats: MakeBeats, count: int) -> None:
    with pytest.raises(DataError, match=f"class V has {count} beats, too few to split"):
        split(make_beats([50, 50, count, 50]), "random")


@pytest.mark.parametrize("protocol", ["random", "patient"])
def test_a_class_that_the_database_lacks_is_said_and_the_others_are_divided(
    make_beats: MakeBeats, protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    folds = split(make_beats([50, 50, 0, 50], patients=10), protocol)
    assert_complete_and_disjoint(folds, 150)
    assert "there is no beat of class V: the model cannot learn it, and it has no score" in caplog.text


def test_three_beats_of_a_class_are_enough_for_one_on_each_side(make_beats: MakeBeats) -> None:
    beats = make_beats([50, 3])
    folds = split(beats, "random")
    assert [int((beats.known_labels[rows] == 1).sum()) for rows in folds.named().values()] == [1, 1, 1]


def test_a_class_that_the_published_test_file_lacks_is_refused(make_beats: MakeBeats) -> None:
    beats = make_beats([50, 50])
    in_test = (np.arange(100) % 5 == 0) & (beats.known_labels == 0)
    with pytest.raises(DataError, match=r"class S has 50 beats.*none is left for test"):
        split(dataclasses.replace(beats, published_test=in_test), "random")


@pytest.mark.parametrize("protocol", ["random", "patient"])
@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["test_fraction", "validation_fraction"])
def test_fractions_that_leave_nothing_are_refused(
    make_beats: MakeBeats, name: str, fraction: float, protocol: str
) -> None:
    if (name, fraction) == ("test_fraction", 0):  # all are trained on, for weights that ship
        assert split(make_beats([50, 50], patients=10), protocol, test_fraction=0.0).sizes()["test"] == 0
        return
    with pytest.raises(ConfigError, match=f"{name}={fraction}"):
        split(make_beats([50, 50], patients=10), protocol, **{name: fraction})  # type: ignore[arg-type]


def test_more_than_half_of_the_patients_can_be_tested_on(make_beats: MakeBeats) -> None:
    folds = split(make_beats([100, 50], patients=10), "patient", test_fraction=0.7, validation_fraction=0.4)
    assert folds.sizes() == {"train": 30, "validation": 15, "test": 105}


def test_an_unknown_protocol_is_refused_with_the_choices(make_beats: MakeBeats) -> None:
    with pytest.raises(ConfigError, match=r"split\.protocol=record: expected random or patient or records"):
        split(make_beats([50, 50]), "record")  # type: ignore[arg-type]


def test_of_equal_beats_the_first_stays_and_none_stands_on_two_sides(make_beats: MakeBeats) -> None:
    beats = make_beats([40, 30], patients=3)
    assert beats.samples is not None
    doubled = beats.select(np.concatenate([np.arange(70), np.arange(0, 70, 2), [0, 0]]))
    single = without_duplicates(doubled)
    assert single.fingerprint == beats.fingerprint

    for seed in SEEDS:
        folds = split(single, "random", seed=seed)
        signals = [{beat.tobytes() for beat in single.signals[rows]} for rows in folds.named().values()]
        assert sum(map(len, signals)) == len(set().union(*signals)) == 70
    # What it is for: without it, equal beats do stand on two sides.
    folds = split(doubled, "random")
    train, test = ({beat.tobytes() for beat in doubled.signals[rows]} for rows in (folds.train, folds.test))
    assert train & test


def test_beats_that_differ_in_one_bit_are_no_duplicates(make_beats: MakeBeats) -> None:
    beats = make_beats([5, 5])
    signals = beats.signals.copy()
    signals[1] = signals[0]
    signals[1, 0, 7] = np.nextafter(signals[0, 0, 7], np.float32(2))
    beats = dataclasses.replace(beats, signals=signals)
    assert without_duplicates(beats) is beats


def digest(folds: Folds) -> str:
    rows = b"|".join(rows.astype("<i8").tobytes() for rows in folds.named().values())
    return hashlib.sha256(rows).hexdigest()[:16]


def test_without_a_fold_seeds_mean_what_they_meant_before_there_were_folds(make_beats: MakeBeats) -> None:
    """Digests of the rows that the version before drew: published figures name its seeds."""
    beats = make_beats([1000, 103, 57, 20, 12], patients=20)
    for protocol, digests in (
        ("random", ["408e2728f47b4bb4", "035b03adb2091f5c"]),
        ("patient", ["8f0edd5cbd02cd7f", "3b55829fde91b1e1"]),
    ):
        for seed, expected in enumerate(digests):
            folds = split(beats, protocol, seed=seed)  # type: ignore[arg-type]
            assert digest(folds) == expected
            assert digest(split(beats, protocol, seed=seed, n_folds=3)) == expected  # type: ignore[arg-type]
            assert (folds.protocol.fold, folds.protocol.n_folds, folds.protocol.train_size) == (None, None, None)


@pytest.mark.parametrize("protocol", ["random", "patient"])
@pytest.mark.parametrize(("seed", "n_folds"), [(0, 3), (1, 5), (2, 5), (3, 12), (4, 2)])
def test_every_beat_is_tested_in_exactly_one_fold(simulated: Beats, protocol: str, seed: int, n_folds: int) -> None:
    of_each = [
        split(simulated, protocol, seed=seed, fold=fold, n_folds=n_folds)  # type: ignore[arg-type]
        for fold in range(n_folds)
    ]
    for number, folds in enumerate(of_each):
        assert_complete_and_disjoint(folds, len(simulated))
        assert (folds.protocol.fold, folds.protocol.n_folds) == (number, n_folds)
    assert sorted(np.concatenate([folds.test for folds in of_each]).tolist()) == list(range(len(simulated)))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_patient_stands_on_two_sides_of_any_fold(simulated: Beats, seed: int) -> None:
    assert simulated.patients is not None
    tested: list[str] = []
    for fold in range(5):
        folds = split(simulated, "patient", seed=seed, fold=fold)
        sides = {name: set(simulated.patients[rows].tolist()) for name, rows in folds.named().items()}
        assert len(set().union(*sides.values())) == sum(map(len, sides.values())) == 12
        assert len(sides["test"]) in (2, 3) and len(sides["validation"]) == 1
        tested += sides["test"]
    assert len(tested) == len(set(tested)) == 12


@pytest.mark.parametrize("protocol", ["random", "patient"])
def test_the_same_seed_deals_the_same_folds_and_others_others(simulated: Beats, protocol: str) -> None:
    dealt = [split(simulated, protocol, seed=seed, fold=2) for seed in SEEDS]  # type: ignore[arg-type]
    for seed, folds in enumerate(dealt):
        assert same(folds, split(simulated, protocol, seed=seed, fold=2))  # type: ignore[arg-type]
    assert len({tuple(folds.test.tolist()) for folds in dealt}) > len(SEEDS) / 2


def test_folds_of_beats_have_the_shares_of_each_class_and_equal_sizes(make_beats: MakeBeats) -> None:
    beats = make_beats([1000, 103, 57, 21, 12])
    tests = [split(beats, "random", fold=fold).test for fold in range(5)]
    for label, count in enumerate([1000, 103, 57, 21, 12]):
        assert {int((beats.known_labels[test] == label).sum()) for test in tests} <= {count // 5, -(-count // 5)}
    assert {len(test) for test in tests} == {238, 239}


@pytest.mark.parametrize("seed", SEEDS)
def test_folds_of_patients_share_out_the_classes(seed: int) -> None:
    """As in PTB: a patient is a control or has an infarction."""
    beats = simulation("synthetic_mi", patients=20, minutes=0.3).read()
    assert beats.patients is not None
    n_patients = {label: len(np.unique(beats.patients[beats.known_labels == label])) for label in (0, 1)}
    for fold in range(4):
        folds = split(beats, "patient", seed=seed, fold=fold, n_folds=4)
        for label, n in n_patients.items():
            tested = len(np.unique(beats.patients[folds.test][beats.known_labels[folds.test] == label]))
            assert abs(tested - n / 4) <= 1.5 and tested > 0


def test_a_class_of_one_patient_cannot_be_learnt_where_that_patient_is_tested(make_beats: MakeBeats) -> None:
    beats = make_beats([300, 30], patients=10)
    assert beats.patients is not None
    beats = dataclasses.replace(beats, patients=np.where(beats.known_labels == 1, "p0", beats.patients))
    outcomes = []
    for fold in range(5):
        try:
            outcomes.append(split(beats, "patient", fold=fold).protocol.name)
        except DataError as error:
            outcomes.append(str(error))
    assert sorted(outcome == "patient" for outcome in outcomes) == [False, True, True, True, True]
    assert any("class S has 30 beats of 1 patients, too few to split: none is left for train" in o for o in outcomes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fold": 5}, "fold=5 of n_folds=5: expected at most 4"),
        ({"fold": -1}, "fold=-1: expected a whole number from 0 to .* or null"),
        ({"fold": 1.0}, "fold=1.0: expected a whole number"),
        ({"fold": True}, "fold=true: expected a whole number"),
        ({"fold": "all"}, "fold=all: expected a whole number"),
        ({"n_folds": 1, "fold": 0}, "n_folds=1: expected a whole number from 2 "),
        ({"n_folds": None}, "n_folds=null: expected"),
        ({"n_folds": 11, "fold": 3}, "n_folds=11 of 10 patients: .*choose fewer folds"),
        (
            {"train_size": 0},
            "train_size=0: expected a number above 0 and of at most 1 or a whole number from 1 to .* or null",
        ),
        ({"train_size": 100.0}, "train_size=100.0: expected"),
        ({"train_size": 0.0}, "train_size=0.0: expected"),
        ({"train_size": float("nan")}, "train_size=nan: expected"),
        ({"train_size": True}, "train_size=true: expected"),
        ({"train_size": "10%"}, "train_size=10%: expected"),
        ({"train_size": 10, "train_unit": "records"}, "train_unit=records: expected beats or patients"),
        ({"train_size": 10**6}, r"train_size=1000000 beats: the training fold has \d+; choose fewer, or null for all"),
        ({"train_size": 9, "train_unit": "patients"}, "train_size=9 patients: the training fold has 7"),
        ({"train_size": 1}, "train_size=1: 1 of 70 training beats leave none of class (N|S); choose more"),
    ],
)
def test_impossible_folds_and_sizes_are_refused_in_one_sentence(
    make_beats: MakeBeats, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        split(make_beats([50, 50], patients=10), "patient", **settings)
    assert "\n" not in str(error.value)


def test_a_published_test_file_is_not_dealt_into_folds(make_beats: MakeBeats) -> None:
    beats = dataclasses.replace(make_beats([50, 50]), published_test=np.arange(100) % 5 == 0)
    with pytest.raises(ConfigError, match="bring their own test file"):
        split(beats, "random", fold=0)


@pytest.mark.parametrize("protocol", ["random", "patient"])
@pytest.mark.parametrize("seed", SEEDS)
def test_parts_of_the_training_beats_are_nested_and_have_the_shares_of_the_classes(
    make_beats: MakeBeats, protocol: str, seed: int
) -> None:
    beats = make_beats([1000, 103, 57, 21, 12], patients=20)
    whole = split(beats, protocol, seed=seed)  # type: ignore[arg-type]
    shares = np.bincount(beats.known_labels[whole.train]) / len(whole.train)
    inner: set[int] = set()
    for size in (5, 10, 30, 100, 300, len(whole.train)):
        part = split(beats, protocol, seed=seed, train_size=size)  # type: ignore[arg-type]
        assert len(part.train) == size and (np.diff(part.train) > 0).all()
        assert np.array_equal(part.test, whole.test) and np.array_equal(part.validation, whole.validation)
        rows = set(part.train.tolist())
        assert inner < rows <= set(whole.train.tolist())
        inner = rows
        counts = np.bincount(beats.known_labels[part.train], minlength=5)
        assert counts.min() >= 1
        # One of each is kept however small the part, which takes some away from the large classes.
        assert (np.abs(counts - size * shares) <= 4).all()
        assert (counts[1:] - size * shares[1:] < 1.5).all()
        told = {"train_size": size, "train_unit": "beats", "n_train_units": len(whole.train)}
        assert part.protocol == dataclasses.replace(whole.protocol, **told)


def test_a_fraction_means_that_part_and_one_means_all(make_beats: MakeBeats) -> None:
    beats = make_beats([500, 100], patients=10)
    whole = split(beats, "random")
    assert len(split(beats, "random", train_size=0.25).train) == round(0.25 * len(whole.train))
    assert same(split(beats, "random", train_size=1.0), whole)
    assert len(split(beats, "patient", train_size=0.5, train_unit="patients", fold=0).train) == 60 * 4


def test_the_part_follows_from_the_seed(simulated: Beats) -> None:
    published = dataclasses.replace(simulated, published_test=np.arange(len(simulated)) % 5 == 0)
    parts = [split(published, "random", seed=seed, train_size=50).train for seed in SEEDS]
    assert np.array_equal(parts[0], split(published, "random", seed=0, train_size=50).train)
    assert len({tuple(part.tolist()) for part in parts}) == len(SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_whole_patients_are_trained_on_nested_and_of_both_kinds(seed: int) -> None:
    """As in PTB: a patient is a control or has an infarction."""
    beats = simulation("synthetic_mi", patients=30, minutes=0.3).read()
    assert beats.patients is not None
    whole = split(beats, "patient", seed=seed)
    n_whole = len(np.unique(beats.patients[whole.train]))
    share = len(np.unique(beats.patients[whole.train][beats.known_labels[whole.train] == 1])) / n_whole
    inner: set[str] = set()
    for size in (2, 4, 8, 16):
        part = split(beats, "patient", seed=seed, train_size=size, train_unit="patients")
        assert np.array_equal(part.test, whole.test) and np.array_equal(part.validation, whole.validation)
        patients = set(beats.patients[part.train].tolist())
        assert len(patients) == size and inner < patients
        inner = patients
        assert np.array_equal(part.train, whole.train[np.isin(beats.patients[whole.train], list(patients))])
        infarcted = len(np.unique(beats.patients[part.train][beats.known_labels[part.train] == 1]))
        assert 0 < infarcted < size and abs(infarcted - share * size) <= 2
        told = (part.protocol.train_size, part.protocol.train_unit, part.protocol.n_train_units)
        assert told == (size, "patients", n_whole)


def test_one_patient_of_one_class_is_too_little_to_train_on() -> None:
    beats = simulation("synthetic_mi", patients=12, minutes=0.3).read()
    with pytest.raises(ConfigError, match=r"train_size=1: 1 of . training patients leave none of class (normal|MI)"):
        split(beats, "patient", train_size=1, train_unit="patients")


def test_a_class_that_the_chosen_patients_lack_is_said(make_beats: MakeBeats, caplog: pytest.LogCaptureFixture) -> None:
    """Patients of one class each: two of them cannot have all three."""
    beats = make_beats([200, 200, 200], patients=10)
    assert beats.patients is not None
    of_one_class = np.char.add(beats.patients, beats.known_labels.astype(str))
    folds = split(dataclasses.replace(beats, patients=of_one_class), "patient", train_size=2, train_unit="patients")
    (absent,) = set(range(3)) - set(beats.known_labels[folds.train].tolist())
    assert f"none of the 2 patients to train on has a beat of class {beats.classes[absent]}" in caplog.text


def test_patients_that_are_not_told_cannot_be_counted(make_beats: MakeBeats) -> None:
    with pytest.raises(ConfigError, match="train_unit=patients: the patients of these beats are not known"):
        split(make_beats([50, 50]), "random", train_size=2, train_unit="patients")


# lists of records


DIGESTS = {
    ("both", 0): "bcca94462b6e752f",
    ("both", 1): "1c212451122492ee",
    ("train", 0): "01cc72a7525ee225",
    ("train", 1): "4676f171d0a764c3",
    ("test", 0): "2a8878d3d1508ca4",
    ("test", 1): "e2296604e7195b7e",
    ("neither", 0): "b5da78463d8c2692",
    ("neither", 1): "8dddac9b877212fb",
}


@pytest.fixture(scope="module")
def like_mitbih() -> Beats:
    """Six beats of each of MIT-BIH's 48 records: N in all, S, V and F in some, Q in a few."""
    records = np.repeat(sorted([*DS1, *DS2, *PACED]), 6)
    number, place = np.arange(len(records)) // 6, np.arange(len(records)) % 6
    labels = np.where((place > 0) & (place <= number % 5), place, 0)
    rng = np.random.default_rng(0)
    return Beats(
        signals=rng.uniform(0.01, 1, (len(records), 1, 187)).astype(np.float32),
        lengths=np.full(len(records), 187),
        lead_names=("MLII",),
        labels=labels,
        classes=AAMI_CLASSES,
        fs=125.0,
        records=records,
        patients=np.where(records == "202", "201", records),
        samples=np.arange(len(records)),
    )


def divide(beats: Beats, **changes: Any) -> Folds:
    return split(beats, **DS1_DS2 | changes)


def sides_of(beats: Beats, folds: Folds) -> dict[str, tuple[set[str], set[str]]]:
    """Records and patients of each fold and of what is left out."""
    assert beats.records is not None and beats.patients is not None
    rows_of = folds.named() | {"left_out": folds.left_out}
    assert sorted(np.concatenate(list(rows_of.values())).tolist()) == list(range(len(beats)))
    return {name: (set(beats.records[rows]), set(beats.patients[rows])) for name, rows in rows_of.items()}


def test_de_chazals_records_are_48_each_once() -> None:
    assert (len(DS1), len(DS2), len(PACED)) == (22, 22, 4)
    assert len({*DS1, *DS2, *PACED}) == 48


@pytest.mark.parametrize("seed", SEEDS)
def test_ds1_trains_and_validates_ds2_tests_and_the_paced_do_neither(like_mitbih: Beats, seed: int) -> None:
    folds = divide(like_mitbih, seed=seed)
    sides = sides_of(like_mitbih, folds)
    assert sides["train"][0] | sides["validation"][0] == set(DS1)
    assert not sides["train"][1] & sides["validation"][1]
    assert sides["test"][0] == set(DS2)
    assert sides["left_out"][0] == set(PACED)
    # The exception that was published: record 201 is of DS1, 202 of DS2, and both are of one person.
    assert (sides["train"][1] | sides["validation"][1]) & sides["test"][1] == {"201"}
    protocol = folds.protocol
    assert (protocol.name, protocol.by, protocol.seed) == ("ds1_ds2", "records", seed)
    assert protocol.patients == {"train": 18, "validation": 4, "test": 22}
    assert (protocol.shared_records, protocol.shared_patients) == (("201", "202"), "both")
    assert protocol.left_out == (LeftOut(reason="paced", records=("102", "104", "107", "217"), beats=24),)
    assert json.loads(json.dumps(dataclasses.asdict(protocol)))["left_out"][0]["beats"] == 24
    assert (
        set(like_mitbih.known_labels[folds.train]) == set(like_mitbih.known_labels[folds.validation]) == set(range(5))
    )


def test_the_lists_divide_the_beats_that_they_always_did(like_mitbih: Beats) -> None:
    """Digests of the rows of earlier versions, whose lists were in the code: published metrics name the seeds."""
    for (where, seed), expected in DIGESTS.items():
        assert digest(divide(like_mitbih, shared_patients=where, seed=seed)) == expected


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("where", "moved", "n_test", "left_out"),
    [
        ("train", {"DS1": {"201", "202"}}, 21, {"paced": 24}),
        ("test", {"DS2": {"201", "202"}}, 22, {"paced": 24}),
        ("neither", {}, 21, {"paced": 24, "patients on both sides": 12}),
    ],
)
def test_no_patient_crosses_where_the_shared_one_is_on_one_side(
    like_mitbih: Beats, where: Any, moved: dict[str, set[str]], n_test: int, left_out: dict[str, int], seed: int
) -> None:
    folds = divide(like_mitbih, shared_patients=where, seed=seed)
    sides = sides_of(like_mitbih, folds)
    patients = [sides[name][1] for name in ("train", "validation", "test")]
    assert len(set().union(*patients)) == sum(map(len, patients))
    shared = {"201", "202"}
    assert sides["train"][0] | sides["validation"][0] == set(DS1) - shared | moved.get("DS1", set())
    assert sides["test"][0] == set(DS2) - shared | moved.get("DS2", set())
    assert len(sides["test"][1]) == n_test
    assert {one.reason: one.beats for one in folds.protocol.left_out} == left_out
    assert len(folds.left_out) == sum(left_out.values())
    assert (folds.protocol.shared_records, folds.protocol.shared_patients) == (("201", "202"), where)


def test_a_part_of_ds1_and_seeds_that_choose_who_validates(like_mitbih: Beats) -> None:
    whole = [divide(like_mitbih, seed=seed) for seed in SEEDS]
    assert same(whole[0], divide(like_mitbih, seed=0))
    assert len({tuple(folds.validation.tolist()) for folds in whole}) > 1
    assert len({tuple(folds.test.tolist()) for folds in whole}) == 1
    part = divide(like_mitbih, train_size=5, train_unit="patients")
    assert set(part.train.tolist()) < set(whole[0].train.tolist())
    assert np.array_equal(part.left_out, whole[0].left_out)
    assert (part.protocol.train_size, part.protocol.n_train_units) == (5, 18)


def test_any_database_can_have_such_lists(simulated: Beats) -> None:
    lists = {"train": [f"mitbih-{number:03d}" for number in range(8)], "test": ["mitbih-011"]}
    left_out = {"noisy": ["mitbih-008"], "another lead": ["mitbih-009", "mitbih-010"]}
    folds = split(simulated, "records", name="mine", **lists, left_out=left_out)
    sides = sides_of(simulated, folds)
    assert sides["test"][0] == {"mitbih-011"} and len(sides["left_out"][0]) == 3
    assert folds.protocol.shared_records == ()
    assert [(one.reason, len(one.records)) for one in folds.protocol.left_out] == [("noisy", 1), ("another lead", 2)]


def test_records_in_no_list_are_refused_by_name(make_beats: MakeBeats, simulated: Beats) -> None:
    with pytest.raises(ConfigError, match=r"records of these beats are not known.*a database that states them"):
        divide(make_beats([50, 50]))
    with pytest.raises(ConfigError, match=r"record mitbih-000, mitbih-001.* in no list of split ds1_ds2"):
        divide(simulated)


def test_records_that_are_not_there_are_named(like_mitbih: Beats, caplog: pytest.LogCaptureFixture) -> None:
    assert like_mitbih.records is not None
    divide(like_mitbih.select(like_mitbih.records != "233"))
    assert "test of split ds1_ds2 lacks 233" in caplog.text
    with pytest.raises(DataError, match="none of the 22 records in train of split ds1_ds2 is there"):
        divide(like_mitbih.select(np.isin(like_mitbih.records, DS2)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": 1}, "fold=1: lists have one test fold"),
        ({"shared_patients": "ds1"}, "shared_patients=ds1: expected both or train or test or neither"),
        ({"protocol": "patient"}, "settings of protocol=records"),
        ({"protocol": "patient", "train": [], "test": [], "left_out": None, "shared_patients": "train"},
         "settings of protocol=records"),
        ({"test": []}, "needs split.train and split.test"),
        ({"test": [100, 101]}, "101 is more than once in the lists"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_with_the_protocol_are_refused(
    like_mitbih: Beats, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        divide(like_mitbih, **changes)


@pytest.mark.real_data("mitdb")
def test_the_beats_of_ds1_and_ds2_are_as_many_as_published(real_data_dir: Path) -> None:
    beats = recordings(real_data_dir / "mitdb", recorded_fs=360).read()
    folds = divide(beats)
    trained = np.bincount(beats.known_labels[np.concatenate([folds.train, folds.validation])], minlength=5)
    published = np.array([[45_866, 944, 3_788, 415, 8], [44_259, 1_837, 3_221, 388, 7]])
    missing = published - [trained, np.bincount(beats.known_labels[folds.test], minlength=5)]
    # The last beat of each of the 22 records has no RR interval to end it: one is S on each side, the others are N.
    assert missing.tolist() == [[21, 1, 0, 0, 0], [21, 1, 0, 0, 0]]


# lists of folds, databases and patterns


@pytest.fixture(scope="module")
def two_databases() -> Beats:
    """Ten beats of each record: MIT-BIH's, four of SVDB's, and one of a database with two of MIT-BIH's people."""
    of_mitbih = [f"mitbih/{record}" for record in [*DS1, *DS2, *PACED]]
    names = np.array([*of_mitbih, *(f"svdb/{number}" for number in range(800, 804)), "nstdb/118e06", "nstdb/119e06"])
    people = np.char.replace(np.char.replace(names, "nstdb", "mitbih"), "e06", "")
    records = np.repeat(names, 10)
    return Beats(
        signals=np.ones((len(records), 1, 4), dtype=np.float32), lengths=np.full(len(records), 4), lead_names=("II",),
        labels=np.arange(len(records)) % 10 // 9, classes=("N", "S"), fs=125.0, records=records,
        patients=np.repeat(people, 10), databases=np.char.partition(records, "/")[:, 0],
        folds=np.repeat((np.arange(len(names)) % 10 + 1).astype(str), 10),
    )  # fmt: skip


def test_the_folds_of_the_publisher_divide(two_databases: Beats) -> None:
    assert two_databases.folds is not None
    folds = split(two_databases, **split_settings("folds") | {"shared_patients": "test"})
    assert set(two_databases.folds[folds.test]) >= {"9"}
    assert not set(two_databases.folds[np.concatenate([folds.train, folds.validation])]) & {"9", "10"}
    assert "fold 9 tested, 10% of the training patients validate" in folds.protocol.sentence()
    assert [(one.reason, one.records) for one in folds.protocol.left_out] == [("reserved", ("10",))]
    with pytest.raises(ConfigError, match="the folds of these beats are not known, so they cannot be split by folds"):
        split(dataclasses.replace(two_databases, folds=None), **split_settings("folds"))


def test_a_database_is_held_out_and_its_people_are_nowhere_else(two_databases: Beats) -> None:
    held_out = split_settings("held_out")
    with pytest.raises(ConfigError, match=r"protocol=databases needs split\.test, names of databases"):
        split(two_databases, **held_out)
    folds = split(two_databases, **held_out | {"test": ["svdb"]})
    sides = sides_of(two_databases, folds)
    assert all(record.startswith("svdb/") for record in sides["test"][0]) and len(sides["test"][0]) == 4
    sentence = folds.protocol.sentence()
    assert "database svdb tested" in sentence and "no patient on two sides" in sentence
    folds = split(two_databases, **held_out | {"test": ["nstdb"]})
    sides = sides_of(two_databases, folds)
    assert sides["test"][0] == {"nstdb/118e06", "nstdb/119e06", "mitbih/118", "mitbih/119"}
    assert not sides["test"][1] & (sides["train"][1] | sides["validation"][1])
    with pytest.raises(DataError, match="none of the 1 databases in test of split databases is there"):
        split(two_databases, **held_out | {"test": ["incartdb"]})


def test_a_single_database_is_known_by_its_origin(two_databases: Beats) -> None:
    alone = dataclasses.replace(two_databases, databases=None, origin={"dataset": "mitbih"})
    with pytest.raises(DataError, match="none of the 1 databases in test"):
        split(alone, **split_settings("held_out") | {"test": ["svdb"]})


def test_lists_that_leave_nothing_to_train_on_are_refused(two_databases: Beats) -> None:
    with pytest.raises(ConfigError, match="tests or leaves out all databases: none is left to train on"):
        split(two_databases, "databases", test=sorted(set(two_databases.databases)))


def test_lists_take_patterns_with_or_without_the_database(two_databases: Beats) -> None:
    only = two_databases.select(two_databases.databases != "nstdb")
    folds = split(only, **split_settings("ds1_ds2_svdb_halves"))
    sides = sides_of(only, folds)
    trained = sides["train"][0] | sides["validation"][0]
    assert trained == {*(f"mitbih/{record}" for record in DS1), "svdb/800", "svdb/802"}
    assert sides["test"][0] == {*(f"mitbih/{record}" for record in DS2), "svdb/801", "svdb/803"}
    halves = split(only.select(only.databases == "svdb"), **split_settings("svdb_halves"))
    assert sides_of(only.select(only.databases == "svdb"), halves)["test"][0] == {"svdb/801", "svdb/803"}
    with pytest.raises(ConfigError, match=r"record svdb/801 is in two lists of split records: expected one"):
        split(only, "records", train=["mitbih/*", "svdb/80[01]"], test=["801", "802", "803"])
    with pytest.raises(ConfigError, match=r"record mitbih/100, .* is in no list of split records"):
        split(only, "records", train=["svdb/80[01]"], test=["svdb/80[23]"])


def test_a_class_that_only_the_tested_database_has_is_said(
    two_databases: Beats, caplog: pytest.LogCaptureFixture
) -> None:
    only = dataclasses.replace(two_databases, labels=(two_databases.databases == "svdb").astype(np.int64))
    folds = split(only, **split_settings("held_out") | {"test": ["svdb"]})
    assert (only.known_labels[folds.test] == 1).all()
    assert "class S (40 beats) comes from so few patients that none is in train and validation" in caplog.text
