"""Cutting recordings into beats, compared with recordings whose every sample is known."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.data.context import RHYTHM, Context, rhythm
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.recording import Recording
from ecg_lightning.data.windows import Cut, beats_of, cut, resample


def recording_of(
    signals: npt.ArrayLike, peaks: Sequence[int], *, fs: float = 125.0, name: str = "made", labelled: bool = True
) -> Recording:
    """A signal ``[t]``, or some ``[leads, t]``."""
    leads = np.atleast_2d(np.asarray(signals, dtype=np.float64))
    return Recording(
        record=name,
        patient=f"patient of {name}",
        signals=leads,
        lead_names=("MLII", "V1", "V5")[: len(leads)],
        fs=fs,
        peaks=np.array(peaks, dtype=np.int64),
        labels=np.arange(len(peaks)) % 5 if labelled else None,
    )


def cut_lead(recording: Recording, how: Cut) -> tuple[FloatArray, IntArray]:
    """`cut` of one lead: signals ``[n, length]`` and positions ``[n]``."""
    signals, lengths, positions = cut(recording, how)
    assert signals.shape[1] == 1 and len(lengths) == len(positions)
    return signals[:, 0], positions


RAMP = recording_of(np.arange(2000) / 1000, [100, 200, 260, 460, 1500])
"""At 125 Hz, so that nothing is resampled; every sample tells its own position."""


def test_a_beat_starts_at_its_r_peak_and_ends_after_the_factor_times_rr_less_the_margin() -> None:
    signals, positions = cut_lead(RAMP, Cut(scaling="none"))
    assert positions.tolist() == [0, 1, 2, 3]
    assert (signals.shape, signals.dtype) == ((4, 187), np.float32)
    # 1.2 · 100 - 3, 1.2 · 60 - 3, and two that are longer than a beat may be.
    for beat, start, length in zip(signals, (100, 200, 260, 460), (117, 69, 187, 187), strict=True):
        np.testing.assert_allclose(beat[:length], np.arange(start, start + length) / 1000, rtol=1e-6)
        assert (beat[length:] == 0).all()


def test_factor_margin_and_length_are_settings() -> None:
    signals, _ = cut_lead(RAMP, Cut(scaling="none", rr_factor=0.5, margin=0, length=40))
    assert [np.count_nonzero(beat) for beat in signals] == [40, 30, 40, 40]


def test_each_beat_is_scaled_to_its_own_zero_and_one() -> None:
    signals, _ = cut_lead(RAMP, Cut())
    np.testing.assert_allclose(signals.max(axis=1), 1)
    assert signals.min() == 0
    np.testing.assert_allclose(signals[1][:69], np.arange(69) / 68, atol=1e-6)


def test_scaled_by_record_beats_keep_their_heights_among_each_other() -> None:
    signals, _ = cut_lead(RAMP, Cut(scaling="record"))
    np.testing.assert_allclose(signals[:, 0], np.array([100, 200, 260, 460]) / 1999, atol=1e-6)
    assert signals.min() >= 0 and signals.max() <= 1


def test_seconds_before_the_r_peak_move_the_start_and_keep_the_end() -> None:
    signals, positions = cut_lead(RAMP, Cut(scaling="none", before=0.4))
    assert positions.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(signals[:, 0], np.array([50, 150, 210, 410]) / 1000, rtol=1e-6)
    assert np.flatnonzero(signals[1])[-1] + 1 == 50 + 69


def test_what_lies_before_the_recording_is_padded_so_that_r_peaks_stay_in_their_place() -> None:
    signals, positions = cut_lead(
        recording_of(1 + np.arange(900) / 1000, [20, 120, 220]), Cut(scaling="none", before=0.4)
    )
    assert positions.tolist() == [0, 1]
    assert (signals[0, :30] == 0).all()
    np.testing.assert_allclose(signals[:, 50], [1.020, 1.120], rtol=1e-6)
    np.testing.assert_allclose(signals[0, 30:167], 1 + np.arange(137) / 1000, rtol=1e-6)


def test_a_beat_wholly_before_the_recording_is_left_out() -> None:
    """A long lead-in and a short beat: the end lies before the first sample and must not wrap around to the last."""
    _, positions = cut_lead(recording_of(np.arange(2000), [10, 700, 1200]), Cut(before=2.0))
    assert positions.tolist() == [1]


@pytest.mark.parametrize("peaks", [[0, 1, 300, 500], [300, 300, 400, 500], [300, 302, 400, 500]])
def test_r_peaks_on_top_of_each_other_make_no_beat(peaks: list[int]) -> None:
    _, positions = cut_lead(recording_of(np.arange(2000), peaks), Cut())
    assert set(positions) <= {1, 2} and 2 in positions


def test_the_last_beat_has_no_interval_and_is_left_out() -> None:
    assert cut_lead(recording_of(np.arange(900), [100]), Cut())[0].shape == (0, 187)
    assert cut_lead(recording_of(np.arange(900), []), Cut())[0].shape == (0, 187)


def test_beats_with_the_lead_off_are_left_out_and_the_others_keep_their_labels() -> None:
    signal = np.arange(2000) / 1000
    signal[195:300] = -2.0
    beats = beats_of([recording_of(signal, [100, 200, 260, 460, 1500])], how=Cut(), classes=AAMI_CLASSES, origin={})
    assert beats.samples is not None
    assert beats.samples.tolist() == [100, 260, 460]
    assert beats.known_labels.tolist() == [0, 2, 3]


@pytest.mark.parametrize(("fs", "new_fs"), [(360.0, 125.0), (1000.0, 125.0), (257.0, 125.0), (125.0, 360.0)])
def test_resampling_keeps_a_wave_where_and_as_high_as_it_is(fs: float, new_fs: float) -> None:
    frequency, seconds = 7.0, 20
    resampled = resample(np.sin(2 * np.pi * frequency * np.arange(seconds * fs) / fs), fs, new_fs)
    assert len(resampled) == pytest.approx(seconds * new_fs, abs=1)
    expected = np.sin(2 * np.pi * frequency * np.arange(len(resampled)) / new_fs)
    inner = slice(round(new_fs), -round(new_fs))
    np.testing.assert_allclose(resampled[inner], expected[inner], atol=0.01)


def test_resampling_lets_nothing_fold_down_from_above_the_new_half_rate() -> None:
    hum = np.sin(2 * np.pi * 100 * np.arange(20 * 360) / 360)
    assert np.abs(resample(hum, 360, 125)[125:-125]).max() < 0.02


def test_resampling_leaves_a_constant_offset_to_its_ends() -> None:
    np.testing.assert_allclose(resample(np.full(3600, -4.5), 360, 125), -4.5, atol=0.02)


def test_r_peaks_stay_at_the_start_of_beats_after_resampling() -> None:
    """The R peak is the only spike, so every beat begins with its maximum."""
    peaks = [500, 833, 1290, 1655, 2000]
    time = np.arange(2600)[:, None]
    signal = np.exp(-(((time - np.array(peaks)) / 6) ** 2)).sum(axis=1)
    signals, _ = cut_lead(recording_of(signal, peaks, fs=360), Cut())
    # A beat holds the next R peak, too: 1.2 intervals.
    assert (signals[:, :60].argmax(axis=1) <= 1).all()
    assert [30 + int(beat[30:].argmax()) for beat in signals] == pytest.approx(np.diff(peaks) * 125 / 360, abs=1.1)


def test_beats_tell_record_patient_and_sample_at_the_rate_of_the_record() -> None:
    recordings = [
        recording_of(np.arange(2000) % 77, [100, 400, 700], fs=360, name="a"),
        recording_of(np.arange(2000) % 77, [50, 350], fs=360, name="bcd"),
    ]
    beats = beats_of(recordings, how=Cut(), classes=AAMI_CLASSES, origin={"source": "made"})
    assert beats.records is not None and beats.patients is not None and beats.samples is not None
    assert beats.records.tolist() == ["a", "a", "bcd"]
    assert beats.patients.tolist() == ["patient of a", "patient of a", "patient of bcd"]
    assert beats.samples.tolist() == [100, 400, 50]
    assert (beats.fs, beats.origin) == (125.0, {"source": "made"})


def test_recordings_without_a_beat_are_an_error_unless_another_has_one() -> None:
    flat, short = recording_of(np.zeros(900), [100, 200, 300]), recording_of(np.arange(900), [100])
    with pytest.raises(DataError, match="2 recordings held no beat"):
        beats_of([flat, short], how=Cut(), classes=AAMI_CLASSES, origin={})
    with pytest.raises(DataError, match="0 recordings held no beat"):
        beats_of([], how=Cut(), classes=AAMI_CLASSES, origin={})
    assert len(beats_of([flat, RAMP], how=Cut(), classes=AAMI_CLASSES, origin={})) == 4


@pytest.mark.parametrize(
    "changed", [{"fs": 0}, {"length": 1}, {"rr_factor": 0}, {"margin": -1}, {"before": -0.1}, {"scaling": "window"}]
)
def test_cuts_that_make_no_beat_are_refused(changed: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Cut(**changed)  # type: ignore[arg-type]


def test_a_whole_number_is_the_same_setting_with_and_without_a_point() -> None:
    whole, point = Cut(fs=125, rr_factor=1, before=0), Cut(fs=125.0, rr_factor=1.0, before=0.0)
    assert repr(whole) == repr(point)


@settings(max_examples=25, deadline=None)
@given(
    intervals=st.lists(st.integers(0, 300), min_size=2, max_size=8),
    first=st.integers(0, 60),
    before=st.sampled_from([0.0, 0.272, 1.0]),
    leads=st.integers(1, 3),
)
def test_every_sample_of_a_beat_stays_in_its_place_in_every_lead(
    intervals: list[int], first: int, before: float, leads: int
) -> None:
    """Leads of a whole number and a position each: what is cut out is the recording from `before` to the end."""
    peaks = first + np.cumsum([0, *intervals])
    signals = 1 + np.arange(peaks[-1] + 50) / 1000 + 10 * np.arange(leads)[:, None]
    how = Cut(scaling="none", before=before)
    beats, lengths, positions = cut(recording_of(signals, peaks.tolist()), how)
    for beat, length, position in zip(beats, lengths, positions, strict=True):
        start = peaks[position] - round(before * 125)
        end = min(peaks[position] + int(1.2 * intervals[position]) - 3, start + how.length, signals.shape[1])
        assert length == end - start
        unread = max(-start, 0)
        np.testing.assert_allclose(beat[:, unread:length], signals[:, max(start, 0) : end], rtol=1e-6)
        assert not beat[:, :unread].any() and not beat[:, length:].any()


def test_the_length_of_a_beat_is_that_of_the_signal_whatever_its_values() -> None:
    signal = np.sin(np.arange(2000) / 5)
    signal[150:217] = 0  # silent at the end of the first beat, which lasts to 217
    _, lengths, _ = cut(recording_of(signal, [100, 200, 260, 460, 1500]), Cut(scaling="none"))
    assert lengths.tolist() == [117, 69, 187, 187]


def test_a_beat_scaled_by_itself_ends_where_no_lead_is_at_its_minimum_any_more() -> None:
    """As in the Kaggle files, where zeros are all that marks the end."""
    falling, constant_end = -np.arange(2000.0), np.sin(np.arange(2000) / 7)
    _, of_one, _ = cut(recording_of(falling, [100, 200, 300]), Cut())
    _, of_two, _ = cut(recording_of([falling, constant_end], [100, 200, 300]), Cut())
    assert (of_one.tolist(), of_two.tolist()) == ([116, 116], [117, 117])


def test_leads_are_scaled_each_by_itself_and_one_that_is_off_is_flat() -> None:
    time = np.arange(900)
    signals, lengths, positions = cut(
        recording_of([np.sin(time / 9), 5 + 3 * np.cos(time / 5), np.full(900, 0.7)], [100, 200, 300]), Cut()
    )
    assert signals.shape == (2, 3, 187) and lengths.tolist() == [117, 117] and positions.tolist() == [0, 1]
    np.testing.assert_allclose(signals[:, :2, :117].max(axis=2), 1)
    np.testing.assert_allclose(signals[:, :2, :117].min(axis=2), 0)
    assert not signals[:, 2].any()


def test_a_recording_without_labels_gives_beats_without() -> None:
    labelled, without = (
        recording_of(np.sin(np.arange(900) / 9), [100, 200, 300], labelled=labelled) for labelled in (True, False)
    )
    context = Context(rhythm=True, morphology=True)
    one, other = (
        beats_of([it], how=Cut(), classes=AAMI_CLASSES, origin={}, context=context) for it in (labelled, without)
    )
    assert other.labels is None and len(other) == 2
    np.testing.assert_array_equal(other.signals, one.signals)
    np.testing.assert_array_equal(other.context, one.context)


def test_context_stays_with_its_beats_where_others_are_left_out() -> None:
    signal = np.arange(2000) / 1000
    signal[195:300] = -2.0  # the lead is off: no beat at 200, but an R peak all the same
    recording = recording_of(signal, [100, 200, 260, 460, 1500])
    context = Context(rhythm=True)
    beats = beats_of([recording, recording], how=Cut(), classes=AAMI_CLASSES, origin={}, context=context)
    assert beats.context is not None and beats.context_names == context.names(["MLII"]) == RHYTHM
    np.testing.assert_array_equal(beats.context[:3], rhythm(recording.peaks, 125.0)[[0, 2, 3]])
    np.testing.assert_array_equal(beats.context[:3], beats.context[3:])
    without = beats_of([recording, recording], how=Cut(), classes=AAMI_CLASSES, origin={})
    assert without.context is None and without.context_names == ()
    np.testing.assert_array_equal(without.signals, beats.signals)
