"""The synthetic source: what somebody without any data, or writing a test, relies on."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from made import simulated

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.databases.synthetic import CLASS_SHARES
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.data.recording import Recording

SIMULATION: dict[str, Any] = {"patients": 4, "minutes": 2, "seed": 7}
SOURCE = simulated(**SIMULATION)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return list(SOURCE.recordings())


def beats_around(recording: Recording, label: str, *, before: float, after: float) -> npt.NDArray[Any]:
    """Mean signal in mV of the beats of a class, from `before` to `after` seconds around the R peak."""
    start, stop = round(before * recording.fs), round(after * recording.fs)
    peaks = recording.peaks[recording.labels == AAMI_CLASSES.index(label)]
    peaks = peaks[(peaks + start >= 0) & (peaks + stop < recording.signals.shape[1])]
    mean: npt.NDArray[Any] = recording.signals[0][peaks[:, None] + np.arange(start, stop)].mean(axis=0)
    return mean


def test_same_settings_give_the_same_beats_and_another_seed_gives_others() -> None:
    beats = SOURCE.read()
    assert beats.fingerprint == SOURCE.read().fingerprint
    assert beats.fingerprint != simulated(**SIMULATION | {"seed": 8}).read().fingerprint


def test_one_more_patient_leaves_the_others_as_they_are(recordings: list[Recording]) -> None:
    more = list(simulated(**SIMULATION | {"patients": 5}).recordings())
    assert len(more) == 5
    for old, new in zip(recordings, more, strict=False):
        assert old.record == new.record
        np.testing.assert_array_equal(old.signals, new.signals)
        np.testing.assert_array_equal(old.peaks, new.peaks)
        np.testing.assert_array_equal(old.labels, new.labels)


def test_a_second_lead_leaves_the_first_as_it_is_and_sees_the_same_beats(recordings: list[Recording]) -> None:
    two = simulated(**SIMULATION, leads=["MLII", "V1", "V5"])
    for one, more in zip(recordings, two.recordings(), strict=True):
        assert more.lead_names == ("MLII", "V1", "V5")
        np.testing.assert_array_equal(more.signals[0], one.signals[0])
        np.testing.assert_array_equal(more.peaks, one.peaks)
        for lead in (1, 2):
            assert 0.1 < np.corrcoef(more.signals[[0, lead]])[0, 1] < 0.95
    beats = two.read()
    assert beats.fingerprint == two.read().fingerprint and beats.signals.shape[1:] == (3, 187)
    np.testing.assert_array_equal(beats.samples, SOURCE.read().samples)


def test_patients_differ(recordings: list[Recording]) -> None:
    normal = [beats_around(recording, "N", before=-0.05, after=0.3) for recording in recordings]
    for one in range(len(normal)):
        for other in range(one):
            assert np.abs(normal[one] - normal[other]).max() > 0.05


def test_every_class_occurs_in_at_least_three_patients_so_that_a_split_by_patient_is_possible() -> None:
    beats = SOURCE.read()
    assert beats.classes == AAMI_CLASSES
    for label, name in enumerate(AAMI_CLASSES):
        assert len(np.unique(beats.patients[beats.known_labels == label])) >= 3, name  # type: ignore[index]


def test_shares_of_the_classes_are_as_documented() -> None:
    many = simulated(**SIMULATION | {"patients": 16})
    labels = np.concatenate([recording.labels for recording in many.recordings()])
    shares = np.bincount(labels, minlength=5) / len(labels)
    np.testing.assert_allclose(shares, CLASS_SHARES, atol=0.05)
    assert sum(CLASS_SHARES) == pytest.approx(1)


def test_beats_know_their_record_patient_and_r_peak(recordings: list[Recording]) -> None:
    beats = SOURCE.read()
    assert beats.signals.shape[1:] == (1, 187)
    for recording in recordings:
        own = beats.records == recording.record
        np.testing.assert_array_equal(beats.samples[own], recording.peaks[:-1])  # type: ignore[index]
        np.testing.assert_array_equal(beats.known_labels[own], recording.labels[:-1])
        assert set(beats.patients[own]) == {recording.patient}  # type: ignore[index]


@pytest.mark.parametrize("fs", [250.0, 360.0, 1000.0])
def test_normal_beats_are_annotated_at_their_local_maximum(fs: float) -> None:
    clean = simulated(**SIMULATION | {"fs": fs, "noise": 0.0, "patients": 2, "minutes": 1})
    reach = round(0.1 * fs)
    for recording in clean.recordings():
        peaks = recording.peaks[recording.labels == 0]
        peaks = peaks[(peaks >= reach) & (peaks < recording.signals.shape[1] - reach)]
        around = recording.signals[0][peaks[:, None] + np.arange(-reach, reach + 1)]
        off = (around.argmax(axis=1) - reach) / fs
        assert len(peaks) > 10
        assert np.abs(off).max() <= 0.005 + 0.5 / fs


def test_heart_rates_are_those_of_living_people(recordings: list[Recording]) -> None:
    for recording in recordings:
        rr = np.diff(recording.peaks) / recording.fs
        sinus = rr[(recording.labels[:-1] == 0) & (recording.labels[1:] == 0)]
        assert 0.6 < sinus.mean() < 1.2
        assert 0.005 < sinus.std() < 0.15
        assert rr.min() > 0.3 and rr.max() < 2.0


def test_premature_beats_come_early_and_a_pause_follows_ventricular_ones(recordings: list[Recording]) -> None:
    normal, supraventricular, ventricular = 0, 1, 2
    for recording in recordings:
        rr = np.diff(recording.peaks) / recording.fs
        labels = recording.labels
        sinus = np.median(rr[(labels[:-1] == normal) & (labels[1:] == normal)])
        assert np.all(rr[labels[1:] == ventricular] < 0.9 * sinus)
        assert np.all(rr[labels[1:] == supraventricular] < 0.95 * sinus)
        assert np.median(rr[(labels[:-1] == ventricular) & (labels[1:] == normal)]) > 1.15 * sinus


def test_waves_have_the_usual_size_in_millivolt(recordings: list[Recording]) -> None:
    for recording in recordings:
        assert np.abs(recording.signals).max() < 4
        beat = beats_around(recording, "N", before=-0.3, after=0.4)
        times = np.arange(len(beat)) / recording.fs - 0.3
        level = np.median(beat)
        assert 0.5 < beat.max() - level < 2.2
        assert 0.03 < beat[times < -0.08].max() - level < 0.5
        assert 0.1 < beat[times > 0.12].max() - level < 0.8


def test_ventricular_beats_are_wide_with_discordant_t_wave(recordings: list[Recording]) -> None:
    for recording in recordings:
        normal, ventricular = (beats_around(recording, label, before=-0.1, after=0.4) for label in "NV")
        assert np.sum(ventricular > ventricular.max() / 2) > 1.6 * np.sum(normal > normal.max() / 2)
        late = slice(round(0.3 * recording.fs), None)
        assert ventricular[late].min() < normal[late].min()


def test_infarction_belongs_to_a_patient_and_half_of_them_have_it() -> None:
    beats = simulated("synthetic_mi", patients=6, minutes=0.5).read()
    assert beats.classes == PTB_CLASSES
    infarcted = 0
    for patient in np.unique(beats.patients):  # type: ignore[arg-type]
        own = np.unique(beats.known_labels[beats.patients == patient])
        assert len(own) == 1
        infarcted += int(own[0])
    assert infarcted == 3


def test_noise_is_what_was_asked_for() -> None:
    quiet, loud = (next(simulated(**SIMULATION, noise=noise).recordings()).signals for noise in (0.0, 0.2))
    assert (loud - quiet).std() == pytest.approx(0.2, rel=0.05)


def test_origin_says_that_it_is_simulated_and_survives_json() -> None:
    beats = SOURCE.read()
    assert beats.synthetic
    assert beats.origin["dataset"] == "synthetic"
    assert json.loads(json.dumps(SOURCE.settings())) == SOURCE.settings() == beats.origin
    assert SOURCE.files() == []


@pytest.mark.parametrize(
    "changed", [{"seed": 8}, {"fs": 250.0}, {"cut": {"margin": 4}}, {"noise": 0.0}, {"leads": ["V1"]}]
)
def test_settings_tell_every_change_so_that_a_cache_is_never_stale(changed: dict[str, Any]) -> None:
    assert simulated(**SIMULATION | changed).settings() != SOURCE.settings()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"task": "incart"}, "task=incart.*arrhythmia or mi"),
        ({"patients": 1}, "patients=1: expected a whole number from 2 "),
        ({"minutes": 0}, "minutes=0.*above 0"),
        ({"fs": -360.0}, "fs=-360.0: expected a number from 1 "),
        ({"fs": float("nan")}, "fs=nan"),
        ({"noise": -0.1}, "noise=-0.1: expected a number from 0 "),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_out_of_range_are_refused_in_one_sentence(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        simulated(**SIMULATION | wrong)
