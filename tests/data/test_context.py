"""What a recording tells of its beats: an early beat is early among its neighbours, an odd one is unlike them."""

import numpy as np
import pytest

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.context import MORPHOLOGY, RHYTHM, Context, distance, morphology, rhythm

FS = 125.0
AT = {name: column for column, name in enumerate(RHYTHM)}
LIKE = {name: column for column, name in enumerate(MORPHOLOGY)}
REGULAR = np.arange(0, 60 * 100, 100)
EARLY = REGULAR.copy()
EARLY[30] -= 40  # at 0.6 of the RR interval, with a full pause after it
ROUND = np.exp(-((np.arange(-12, 13) / 3.0) ** 2))
"""Of a wave."""


def recording(peaks: np.ndarray, odd: int | None = None) -> np.ndarray:
    """P wave and QRS complex at each peak; that of the odd beat is upside down and follows no P wave."""
    signal = np.zeros(peaks[-1] + 200, dtype=np.float32)
    for number, peak in enumerate(peaks):
        if peak < 40:
            continue
        if number != odd:
            signal[peak - 32 : peak - 7] += 0.2 * ROUND
        signal[peak - 12 : peak + 13] += -ROUND if number == odd else ROUND
    return signal


def test_a_regular_rhythm_lies_at_zero() -> None:
    told = rhythm(REGULAR, 100.0)
    assert (told.shape, told.dtype) == ((59, 8), np.float32)
    irregularity = AT["irregularity"]
    np.testing.assert_allclose(np.delete(told, irregularity, axis=1), 0, atol=1e-6)
    assert (told[:, irregularity] < -1).all(), "as regular as can be"


def test_a_premature_beat_is_told_by_the_intervals_before_and_after_it() -> None:
    told = rhythm(EARLY, 100.0)[30]
    assert told[AT["previous RR to local mean"]] == pytest.approx(4 * np.log2(0.6))
    assert told[AT["previous RR to the record's mean"]] == pytest.approx(4 * np.log2(0.6))
    assert told[AT["next RR to local mean"]] == pytest.approx(4 * np.log2(1.4))
    assert told[AT["local mean to the record's"]] == pytest.approx(0, abs=0.02)
    assert told[AT["previous RR from local mean, beside irregularity"]] < -0.99
    assert told[AT["next RR from local mean, beside irregularity"]] > 0.99


def test_the_same_prematurity_says_less_in_an_irregular_rhythm() -> None:
    rng = np.random.default_rng(0)
    fibrillation = np.cumsum(np.r_[0, rng.uniform(50, 150, 59)]).astype(np.int64)
    fibrillation[30:] += round(fibrillation[29] + 60) - fibrillation[30]
    told, regular = (rhythm(peaks, 100.0)[30] for peaks in (fibrillation, EARLY))
    beyond = AT["previous RR from local mean, beside irregularity"]
    assert regular[beyond] < 2 * told[beyond] < 0
    assert told[AT["irregularity"]] > 0 > regular[AT["irregularity"]]


def test_beats_are_early_beside_their_pauses_even_where_most_are() -> None:
    pauses = np.cumsum(np.tile([60, 60, 60, 200], 30))
    told = rhythm(pauses, 100.0)
    early = 50  # its previous RR interval is a short one
    assert told[early][AT["previous RR to the record's mean"]] == pytest.approx(4 * np.log2(60 / 95), abs=0.1)


def test_a_run_of_fast_beats_is_fast_against_its_record() -> None:
    run = np.cumsum(np.r_[np.full(40, 100), np.full(30, 50), np.full(60, 100)])
    told = rhythm(run, 100.0)[58]
    assert told[AT["previous RR to local mean"]] == pytest.approx(0, abs=1e-6)
    assert told[AT["local mean to the record's"]] == pytest.approx(4 * np.log2(50 / np.diff(run).mean()), abs=0.05)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_heart_rate_itself_is_not_told(scale: float) -> None:
    slower, own = rhythm((EARLY * scale).astype(np.int64), 100.0), rhythm(EARLY, 100.0)
    ratios = [AT[name] for name in RHYTHM if "irregularity" not in name]
    np.testing.assert_allclose(slower[:, ratios], own[:, ratios], atol=1e-5)


def test_gaps_beats_on_top_of_each_other_and_short_recordings_are_finite() -> None:
    for peaks in ([0, 0, 100, 9000, 9100], [0, 100, 180], [50, 120]):
        told = rhythm(np.array(peaks), 100.0)
        assert told.shape == (len(peaks) - 1, 8) and np.isfinite(told).all()
    for none in ([50], []):
        assert rhythm(np.array(none, dtype=np.int64), 100.0).shape == (0, 8)


def test_an_odd_beat_is_unlike_its_neighbours_and_they_are_like_each_other() -> None:
    told = morphology(recording(REGULAR, odd=30), REGULAR, FS)
    assert (told.shape, told.dtype) == ((60, 6), np.float32)
    np.testing.assert_allclose(told[20:29], 0, atol=1e-3)
    odd = told[30]
    assert odd[LIKE["missing correlation"]] > 1 and odd[LIKE["missing correlation of the QRS complex"]] > 1.9
    assert odd[LIKE["difference of the QRS complex"]] > 1


def test_morphology_does_not_depend_on_the_height_of_the_lead() -> None:
    signal = recording(REGULAR, odd=30)
    np.testing.assert_allclose(morphology(3 * signal + 1, REGULAR, FS), morphology(signal, REGULAR, FS), atol=1e-4)


def test_a_flat_lead_and_beats_at_the_ends_are_finite() -> None:
    assert np.isfinite(morphology(np.zeros(300, np.float32), np.array([0, 150, 299]), FS)).all()


def test_chosen_parts_stand_side_by_side_for_all_beats_but_the_last() -> None:
    signal = recording(EARLY)
    both = Context(rhythm=True, morphology=True)
    told = both.of(EARLY, FS, signal[None], FS)
    assert told is not None and told.shape == (59, 14) and both.names(["II"]) == (*RHYTHM, *MORPHOLOGY)
    np.testing.assert_array_equal(told[:, :8], rhythm(EARLY, FS))
    np.testing.assert_array_equal(told[:, 8:], morphology(signal, EARLY, FS)[:-1])
    assert Context().of(EARLY, FS, signal[None], FS) is None and Context().names(["II", "V1"]) == ()
    # R peaks at the rate of the record, a signal resampled from it.
    told_twice = both.of(2 * EARLY, 2 * FS, signal[None], FS)
    assert told_twice is not None
    np.testing.assert_array_equal(told_twice[:, 8:], told[:, 8:])


def test_rhythm_is_told_once_and_morphology_of_each_lead() -> None:
    signal, both = recording(EARLY, odd=20), Context(rhythm=True, morphology=True)
    told = both.of(EARLY, FS, np.stack([signal, recording(EARLY)]), FS)
    names = both.names(["MLII", "V1"])
    assert told is not None and told.shape == (59, 8 + 6 + 6) == (59, len(names))
    assert names[:8] == RHYTHM and len(set(names)) == 20
    assert all("MLII" in name for name in names[8:14]) and all("V1" in name for name in names[14:])
    np.testing.assert_array_equal(told[:, 8:14], morphology(signal, EARLY, FS)[:-1])
    np.testing.assert_array_equal(told[:, 14:], morphology(recording(EARLY), EARLY, FS)[:-1])


def test_other_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"context\.rhythm=often"):
        Context(rhythm="often")  # type: ignore[arg-type]


def test_a_beat_of_another_shape_is_far_from_the_typical_one_even_where_every_second_beat_is_one() -> None:
    bigeminy = np.cumsum(np.tile([60, 140], 40))  # the beats at odd places come late
    signal = recording(bigeminy)
    for peak in bigeminy[2::2]:
        signal[peak - 12 : peak + 13] -= 2 * ROUND
    noise = 0.01 * np.random.default_rng(0).standard_normal((2, len(signal)))
    far = distance(np.stack([signal, signal]) + noise, bigeminy, FS)
    assert far.shape == (80, 1) and far.dtype == np.float32
    assert (far[2::2] > 2).all() and (np.abs(far[1::2]) < 0.7).all()


def test_one_lead_is_enough_to_be_far_and_the_unit_does_not_matter() -> None:
    signals = np.stack([recording(EARLY), recording(EARLY, odd=20)])
    signals += 0.01 * np.random.default_rng(0).standard_normal(signals.shape)
    far = distance(signals, EARLY, FS)
    assert far[20] > 2 and (np.abs(far[1:20]) < 0.7).all() and (np.abs(far[21:]) < 0.7).all()
    np.testing.assert_allclose(distance(10 * signals, EARLY, FS), far, atol=0.1)


def test_a_single_beat_and_none_have_no_distance() -> None:
    for n in (0, 1):
        np.testing.assert_array_equal(distance(recording(EARLY)[None], EARLY[:n], FS), np.zeros((n, 1)))
