"""Splits: what decides whether a test figure means anything."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ecg_lightning.data.aami import AAMI_CLASSES
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.recording import Cut
from ecg_lightning.data.splits import Folds, split, without_duplicates
from ecg_lightning.data.synthetic import Synthetic
from ecg_lightning.errors import ConfigError, DataError

MakeBeats = Callable[..., Beats]

SEEDS = range(8)


@pytest.fixture(scope="module")
def simulated() -> Beats:
    """Twelve patients with all classes, each with shares of their own."""
    return Synthetic(dataset="mitbih", cut=Cut(), patients=12, minutes=1).read()


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
        test, validation = (int((beats.labels[rows] == label).sum()) for rows in (folds.test, folds.validation))
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
        assert f"seed {seed}" in folds.protocol and folds.protocol.startswith(protocol)
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
    test = beats.labels[split(beats, "patient", seed=seed).test]
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
        assert set(simulated.labels[rows]) == set(range(len(AAMI_CLASSES)))


def test_patients_of_one_class_each_are_shared_out_by_class() -> None:
    """As in PTB: a patient is a control or has an infarction."""
    beats = Synthetic(dataset="ptbdb", cut=Cut(), patients=20, minutes=0.3).read()
    assert beats.patients is not None
    for seed in SEEDS:
        folds = split(beats, "patient", seed=seed)
        for label in (0, 1):
            assert len(np.unique(beats.patients[folds.test][beats.labels[folds.test] == label])) in (1, 2, 3)


def test_a_class_of_one_patient_only_is_trained_on_and_its_absence_elsewhere_said(
    make_beats: MakeBeats, caplog: pytest.LogCaptureFixture
) -> None:
    beats = make_beats([300, 30], patients=10)
    assert beats.patients is not None
    beats = dataclasses.replace(beats, patients=np.where(beats.labels == 1, "p0", beats.patients))
    for seed in SEEDS:
        caplog.clear()
        folds = split(beats, "patient", seed=seed)
        assert (beats.labels[folds.train] == 1).sum() == 30
        assert "class S (30 beats) comes from so few patients that none is in validation and test" in caplog.text


def test_a_class_of_three_patients_stands_on_all_sides(make_beats: MakeBeats) -> None:
    beats = make_beats([400, 30], patients=20)
    assert beats.patients is not None
    few = np.char.add("p", (np.arange(len(beats)) % 3).astype(str))
    beats = dataclasses.replace(beats, patients=np.where(beats.labels == 1, few, beats.patients))
    for seed in SEEDS:
        folds = split(beats, "patient", seed=seed)
        assert all((beats.labels[rows] == 1).any() for rows in folds.named().values())


def test_beats_without_patients_are_not_split_by_patient(make_beats: MakeBeats) -> None:
    with pytest.raises(ConfigError, match=r"do not tell their patients.*use source=physionet, or split=random"):
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
    assert f"{n_train} patients to train, {n_validation} to validate, {n_test} to test" in folds.protocol


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_class_with_too_few_beats_is_refused_by_name(make_beats: MakeBeats, count: int) -> None:
    with pytest.raises(DataError, match=f"class V has {count} beats, too few to split"):
        split(make_beats([50, 50, count, 50]), "random")


def test_three_beats_of_a_class_are_enough_for_one_on_each_side(make_beats: MakeBeats) -> None:
    beats = make_beats([50, 3])
    folds = split(beats, "random")
    assert [int((beats.labels[rows] == 1).sum()) for rows in folds.named().values()] == [1, 1, 1]


def test_a_class_that_the_published_test_file_lacks_is_refused(make_beats: MakeBeats) -> None:
    beats = make_beats([50, 50])
    in_test = (np.arange(100) % 5 == 0) & (beats.labels == 0)
    with pytest.raises(DataError, match=r"class S has 50 beats.*none is left for test"):
        split(dataclasses.replace(beats, published_test=in_test), "random")


@pytest.mark.parametrize("protocol", ["random", "patient"])
@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("name", ["test_fraction", "validation_fraction"])
def test_fractions_that_leave_nothing_are_refused(
    make_beats: MakeBeats, name: str, fraction: float, protocol: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name}={fraction}"):
        split(make_beats([50, 50], patients=10), protocol, **{name: fraction})  # type: ignore[arg-type]


def test_more_than_half_of_the_patients_can_be_tested_on(make_beats: MakeBeats) -> None:
    folds = split(make_beats([100, 50], patients=10), "patient", test_fraction=0.7, validation_fraction=0.4)
    assert folds.sizes() == {"train": 30, "validation": 15, "test": 105}


def test_an_unknown_protocol_is_refused_with_the_choices(make_beats: MakeBeats) -> None:
    with pytest.raises(ConfigError, match="no split 'record'; choose random or patient"):
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
    signals[1, 7] = np.nextafter(signals[0, 7], np.float32(2))
    beats = dataclasses.replace(beats, signals=signals)
    assert without_duplicates(beats) is beats
