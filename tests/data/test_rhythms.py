"""Simulated people: the rules of rhythm that they keep, and that real people lie within what they vary by."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from made import split_settings
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.metrics import roc_auc_score

from ecg_lightning.data import rhythms
from ecg_lightning.data.context import FARTHEST, SHORTEST
from ecg_lightning.data.labels import make_class_map
from ecg_lightning.data.readers.wfdb import read_annotation_file
from ecg_lightning.data.rhythms import F, N, Person, Q, Rhythm, S, V, simulate_people

BEATS = 257
Reals = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def people() -> list[Rhythm]:
    return simulate_people(600, BEATS, seed=1)


def sums(event: rhythms.Event, sinus_interval: float) -> Reals:
    """Coupling interval and pause together, in sinus intervals, for the ectopic beats of fifty people."""
    found = []
    for seed in range(50):
        rng = np.random.default_rng(seed)
        early, next_one = event(Person(rng, 1), rng, sinus_interval)
        assert early[0] < 1.03 * sinus_interval and next_one[1] == N
        found.append((early[0] + next_one[0]) / sinus_interval)
    return np.array(found)


def test_a_seed_gives_the_same_people_however_many_they_are(people: list[Rhythm]) -> None:
    for one, same in zip(simulate_people(3, BEATS, seed=1), people, strict=False):
        np.testing.assert_array_equal(one.rr_s, same.rr_s)
        np.testing.assert_array_equal(one.distance, same.distance)
        assert one.kinds == same.kinds
    assert not np.array_equal(simulate_people(1, BEATS, seed=2)[0].rr_s, people[0].rr_s)


def test_every_person_has_the_beats_asked_for_and_every_kind_of_event_occurs(people: list[Rhythm]) -> None:
    for person in people:
        assert person.rr_s.shape == person.labels.shape == person.distance.shape == (BEATS,)
        assert person.distance.dtype == np.float32 and np.abs(person.distance).max() <= FARTHEST
        assert person.rr_s.min() >= SHORTEST
    assert {*rhythms.EVENTS, *rhythms.RHYTHMS} <= {k for p in people for k in p.kinds}


def test_most_beats_are_normal_and_all_classes_occur(people: list[Rhythm]) -> None:
    counts = np.bincount(np.concatenate([person.labels for person in people]), minlength=5)
    assert counts[N] > 0.75 * counts.sum() and counts[[S, V]].min() > 0.03 * counts.sum() and counts[[F, Q]].min() > 0


def test_a_ventricular_beat_and_its_pause_take_two_sinus_intervals() -> None:
    found = sums(rhythms.ventricular_ectopic, 0.8)
    assert np.abs(found - 2).max() < 0.1 and abs(found.mean() - 2) < 0.02


def test_an_interpolated_beat_takes_no_time_but_a_little_delay() -> None:
    found = sums(rhythms.interpolated_ectopic, 1.0)
    assert found.min() >= 1 and found.max() < 1.15


def test_most_atrial_beats_reset_the_sinus_node_so_that_the_pause_does_not_compensate() -> None:
    found = sums(rhythms.atrial_ectopic, 0.8)
    assert np.mean(found < 1.95) > 0.5 and found.max() < 2.3


def test_intervals_of_atrial_fibrillation_are_irregular_and_independent() -> None:
    for seed in range(20):
        rr = rhythms.atrial_fibrillation(np.random.default_rng(seed), 4000)
        assert 0.1 < rr.std() / rr.mean() < 0.35
        assert abs(np.corrcoef(rr[1:], rr[:-1])[0, 1]) < 0.06


def test_sinus_intervals_depend_on_the_one_before_and_vary_less() -> None:
    people = [rhythms.sinus_rhythm(np.random.default_rng(seed), 300) for seed in range(200)]
    assert np.median([np.corrcoef(rr[1:], rr[:-1])[0, 1] for rr in people]) > 0.4
    # RMSSD, of which the Task Force (1996) gives 27 ± 12 ms.
    assert 15 < 1000 * np.median([np.sqrt(np.mean(np.diff(rr) ** 2)) for rr in people]) < 45


def test_intervals_of_flutter_are_multiples_of_one_atrial_cycle() -> None:
    for seed in range(20):
        rr = rhythms.atrial_flutter(np.random.default_rng(seed), 2000)
        cycles = np.linspace(0.18, 0.26, 161)[:, None]
        assert np.abs(rr / cycles - np.round(rr / cycles)).mean(axis=1).min() < 0.15


def test_ventricular_beats_look_unusual_and_supraventricular_ones_mostly_do_not(people: list[Rhythm]) -> None:
    labels, distance = (np.concatenate([getattr(p, name) for p in people]) for name in ("labels", "distance"))
    of = {label: distance[labels == label] for label in (N, S, V)}
    assert abs(np.median(of[N])) < 0.1 and abs(np.median(of[S])) < 0.6 < 1 < np.median(of[V])
    known = np.isin(labels, [N, S, V])
    assert 0.9 < roc_auc_score(labels[known] == V, distance[known]) < 0.995  # not a perfect sign


def statistics(rr_s: Reals, labels: IntArray) -> dict[str, float]:
    """Of a strip of beats: variability of normal intervals, share of early beats, and what ectopic beats do."""
    normal = (labels[1:] == N) & (labels[:-1] == N)
    steps = np.diff(rr_s)[normal & np.append(False, normal[:-1])]
    local = np.nanmedian(sliding_window_view(np.pad(rr_s, 10, constant_values=np.nan), 21), axis=1)
    found = {
        "mean": rr_s.mean(),
        "SDNN": rr_s[1:][normal].std(),
        "RMSSD": np.sqrt((steps**2).mean()),
        "pNN50": (np.abs(steps) > 0.05).mean(),
        "share of early beats": (rr_s < 0.85 * local).mean(),
    }
    for name, label in (("S", S), ("V", V)):
        at = 1 + np.flatnonzero((labels[1:-1] == label) & (labels[:-2] == N) & (labels[2:] == N))
        if len(at) >= 5:
            found[f"coupling interval of {name}"] = float(np.median(rr_s[at] / local[at]))
            found[f"coupling interval and pause of {name}"] = float(np.median((rr_s[at] + rr_s[at + 1]) / local[at]))
    return found


def strips(path: Path, fs: float) -> list[dict[str, float]]:
    """The statistics of an annotated recording, as many beats at a time as a simulated person has."""
    beats, labels = make_class_map("aami").beats(read_annotation_file(path)[0])
    rr_s = np.diff(beats.samples) / fs
    parts = [slice(start, start + BEATS) for start in range(0, len(rr_s) - BEATS, BEATS)]
    return [statistics(rr_s[part], labels[1:][part]) for part in parts if np.mean(labels[1:][part] == N) > 0.6]


@pytest.mark.real_data("mitdb/RECORDS", "svdb/RECORDS")
@pytest.mark.parametrize(("folder", "fs"), [("mitdb", 360.0), ("svdb", 128.0)])
def test_intervals_of_real_people_are_within_those_of_simulated_ones(
    real_data_dir: Path, people: list[Rhythm], folder: str, fs: float
) -> None:
    records = (real_data_dir / folder / "RECORDS").read_text().split()[::6]
    if folder == "mitdb":  # the test side of DS1 → DS2 is left alone
        records = split_settings("ds1_ds2")["train"]
    real = [strip for record in records for strip in strips(real_data_dir / folder / f"{record}.atr", fs)]
    simulated = [statistics(person.rr_s, person.labels) for person in people if np.mean(person.labels == N) > 0.6]
    for name in {key for strip in real for key in strip}:
        low, high = np.nanquantile([found[name] for found in simulated if name in found], [0.005, 0.995])
        values = np.array([strip[name] for strip in real if name in strip])
        assert np.mean((low <= values) & (values <= high)) > 0.9, name
