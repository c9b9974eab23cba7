"""R peaks: that they are found, whatever a recording's rate, unit, polarity and length, and nowhere else."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.core.weights import read_weights, shipped_weights, write_weights
from ecg_lightning.data.readers import read_recording
from ecg_lightning.data.rpeaks import DETECTORS, RPeaks, StreamingDetector, detect_r_peaks

Signal = npt.NDArray[np.float64]


def made(seconds: float, fs: float, *, seed: int = 0) -> tuple[Signal, Signal]:
    """A signal ``[t]`` in mV with P, QRS and T waves, and its R peaks in seconds."""
    rng = np.random.default_rng(seed)
    peaks = np.cumsum(rng.uniform(0.7, 0.95, int(seconds / 0.6)))
    peaks = peaks[peaks < seconds - 0.5]
    time = np.arange(int(seconds * fs)) / fs
    signal = 0.1 * np.sin(time) + 0.01 * rng.standard_normal(len(time))
    for height, delay, width in ((0.1, -0.16, 0.02), (1.0, 0, 0.012), (-0.3, 0.03, 0.012), (0.3, 0.27, 0.04)):
        for peak in peaks + delay:
            near = slice(max(int((peak - 0.3) * fs), 0), int((peak + 0.3) * fs))
            signal[near] += height * np.exp(-0.5 * np.square((time[near] - peak) / width))
    return signal, peaks


def assert_found(found: RPeaks, peaks: Signal, fs: float, *, within: float = 0.012) -> None:
    assert len(found.samples) == len(peaks)
    assert np.abs(found.samples / fs - peaks).max() <= within


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector_finds_all_beats_of_a_clean_recording(detector: str) -> None:
    if detector == "sleepecg":
        pytest.importorskip("sleepecg")
    signal, peaks = made(40, 250)
    found = detect_r_peaks(signal, 250, detector=detector)
    inner = peaks[(peaks > 3) & (peaks < 37)]
    assert np.abs(found.samples[:, None] / 250 - inner).min(axis=0).max() <= 0.03
    assert len(peaks) - 3 <= len(found.samples) <= len(peaks)
    assert found.samples.dtype == np.int64 and found.probability.shape == found.samples.shape


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (-1, 0), (1000, 0), (1e-6, 0), (1, 300), (-200, 1024)], ids=str)
def test_unit_polarity_and_offset_of_a_recording_do_not_matter(gain: float, offset: float) -> None:
    signal, peaks = made(40, 250)
    assert_found(detect_r_peaks(gain * signal + offset, 250), peaks, 250)


@pytest.mark.parametrize("fs", [64, 100, 128, 257, 360, 500, 1000])
def test_r_peaks_are_on_the_clock_of_the_recording_whatever_its_rate(fs: float) -> None:
    signal, peaks = made(40, fs)
    assert_found(detect_r_peaks(signal, fs), peaks, fs, within=max(0.012, 0.6 / fs))


@pytest.mark.parametrize("sizes", [(1_000,), (128_001, 7, 16_000), (75_000,)], ids=str)
def test_the_result_does_not_depend_on_how_the_samples_are_divided(sizes: tuple[int, ...]) -> None:
    signal, _ = made(60, 125)
    signals = np.tile(np.stack([signal, -signal]), (1, 45))  # 45 minutes: several blocks
    signals[:, 100_000:101_000] = np.nan
    whole, parts, done = StreamingDetector(2, 360.0), StreamingDetector(2, 360.0), 0
    whole.push(signals)
    for size in itertools.cycle(sizes):
        parts.push(signals[:, done : done + size])
        done += size
        if done >= signals.shape[1]:
            break
    expected, found = whole.finish(), parts.finish()
    np.testing.assert_array_equal(found.samples, expected.samples)
    np.testing.assert_array_equal(found.probability, expected.probability)
    assert (np.diff(found.samples) > 0.3 * 360).all()  # none twice at the border of blocks


def test_beats_at_the_border_of_blocks_are_those_of_the_same_signal_elsewhere() -> None:
    signal, _ = made(1100, 125)
    start = 80 * 125  # both at the same phase of the network's strides
    first, later = detect_r_peaks(signal, 125).samples, detect_r_peaks(signal[start:], 125).samples + start
    np.testing.assert_array_equal(later[later > 2 * start], first[first > 2 * start])


def test_an_hour_of_flat_line_has_no_beat() -> None:
    for level in (0.0, -3.2):
        assert len(detect_r_peaks(np.full(3600 * 100, level), 100).samples) == 0


@pytest.mark.parametrize("level", [0.0, 5.0, -5.0, np.nan])
def test_no_beat_is_found_in_a_stretch_without_signal_and_none_lost_after_it(level: float) -> None:
    signal, peaks = made(60, 250)
    signal[20 * 250 : 35 * 250] = level
    found = detect_r_peaks(signal, 250).samples / 250
    assert not ((found > 20.3) & (found < 34.7)).any()
    outside = peaks[(peaks < 19.5) | (peaks > 35.5)]
    assert np.abs(found[:, None] - outside).min(axis=0).max() <= 0.012


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("n", [0, 1, 3, 19])
def test_a_recording_of_a_few_samples_has_no_beat(n: int, detector: str) -> None:
    found = detect_r_peaks(np.ones(n), 125, detector=detector)
    assert (len(found.samples), len(found.probability)) == (0, 0)


def test_a_recording_that_is_one_gap_has_no_beat() -> None:
    assert len(detect_r_peaks(np.full((2, 5000), np.nan), 250).samples) == 0


def test_a_lead_that_has_come_off_does_not_hide_the_beats_of_the_other() -> None:
    signal, peaks = made(60, 250)
    rng = np.random.default_rng(1)
    for other in (np.zeros_like(signal), np.full_like(signal, np.nan), rng.standard_normal(len(signal))):
        assert_found(detect_r_peaks(np.stack([signal, other]), 250), peaks, 250)
    half = signal.copy()
    half[30 * 250 :] = np.nan  # refined on the first lead where there is one
    assert_found(detect_r_peaks(np.stack([half, signal]), 250), peaks, 250, within=0.03)


def test_r_peaks_lie_within_the_recording() -> None:
    signal, peaks = made(10, 360)
    for stop in range(int(peaks[5] * 360) - 3, int(peaks[5] * 360) + 4):
        found = detect_r_peaks(signal[:stop], 360).samples
        assert found.min() >= 0 and found.max() < stop


@pytest.mark.parametrize("detector", ["qrs", "xqrs:rpeaks", ""])
def test_a_detector_that_there_is_not_is_named_with_those_that_there_are(detector: str) -> None:
    with pytest.raises(ConfigError, match="expected network, sleepecg, xqrs"):
        detect_r_peaks(np.zeros(1000), 250, detector=detector)


def test_weights_for_something_else_are_refused(tmp_path: Path) -> None:
    write_weights(tmp_path / "beats", read_weights("rpeaks").arrays, {"kind": "beats"})
    with pytest.raises(CheckpointError, match="kind beats, expected r_peaks"):
        detect_r_peaks(np.zeros(1000), 250, detector=f"network:{tmp_path / 'beats'}.safetensors")
    with pytest.raises(CheckpointError, match=r"nothing\.safetensors cannot be read"):
        detect_r_peaks(np.zeros(1000), 250, detector="network:nothing")


def test_weights_that_ship_state_what_they_were_trained_on() -> None:
    cards: dict[str, Any] = {**shipped_weights("r_peaks")}
    assert set(cards) == {"rpeaks", "rpeaks_ds1"}
    assert cards["rpeaks_ds1"]["trained_on"] == {"mitbih": {"recordings": 20, "people": 20}}
    assert cards["rpeaks"]["trained_on"]["svdb"] == {"recordings": 78, "people": 78}
    for card in cards.values():
        assert card["expected"] and card["attribution"] and card["licence"] == "ODC-By 1.0"
        assert card["command"].startswith("ecg-lightning detector train")


@pytest.mark.real_data("mitdb/232.hea")
def test_real_beats_are_found_where_they_are_annotated(real_data_dir: Path) -> None:
    recording = read_recording(real_data_dir / "mitdb" / "232", leads=[0], annotator="atr")
    found = detect_r_peaks(recording.signals, recording.fs, detector="network:rpeaks_ds1").samples
    apart = np.abs(found[np.searchsorted(found, recording.peaks).clip(1, len(found) - 1)[:, None] - [1, 0]]
                   - recording.peaks[:, None]).min(axis=1) / recording.fs  # fmt: skip
    assert np.mean(apart <= 0.15) >= 0.995
    assert np.median(apart) <= 0.004
    assert len(found) <= 1.005 * len(recording.peaks)
