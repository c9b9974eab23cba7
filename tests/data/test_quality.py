"""Signal quality of beats, on simulated recordings that are damaged in known ways."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.data.beats import Beats, FloatArray
from ecg_lightning.data.databases.joined import Joined
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.quality import flat_and_clipped, quality_of_beats
from ecg_lightning.data.recording import Recording
from ecg_lightning.data.resampling import Resampling, resample
from ecg_lightning.data.windows import Cut, at_rate, beats_of, bridged
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated

FS = 125.0


def simulation(*overrides: str) -> Synthetic:
    """Two people, a minute each."""
    small = ("dataset.simulation.patients=2", "dataset.simulation.minutes=1")
    config = validated(compose(["dataset=synthetic", *small, *overrides], output_dir="."))
    source = make_source(config["dataset"], config["context"], Path())
    assert isinstance(source, Synthetic)
    return source


@pytest.fixture(scope="module")
def clean() -> Recording:
    """A recording with little noise."""
    return next(iter(simulation("dataset.simulation.noise=0.005").recordings()))


def quality(recording: Recording) -> FloatArray:
    """As `beats_of` computes it."""
    return quality_of_beats(recording, np.stack([bridged(one)[0] for one in at_rate(recording, FS)]), FS)


def with_signals(recording: Recording, signals: Any) -> Recording:
    return dataclasses.replace(recording, signals=np.atleast_2d(signals))


def test_a_clean_recording_has_a_quality_near_one(clean: Recording) -> None:
    found = quality(clean)
    assert (found.shape, found.dtype) == ((len(clean.peaks),), np.float32)
    assert found.min() > 0.85 and found.mean() > 0.97 and found.max() <= 1


def test_quality_falls_with_every_step_of_added_noise_to_nearly_nothing(clean: Recording) -> None:
    noise = np.random.default_rng(0).standard_normal(clean.signals.shape)
    means = [quality(with_signals(clean, clean.signals + sd * noise)).mean() for sd in (0, 0.02, 0.05, 0.1, 0.2, 0.5)]
    assert (np.diff(means) < -0.01).all() and means[-1] < 0.15
    assert quality(with_signals(clean, noise)).mean() < 0.02


def test_noise_in_one_stretch_costs_the_beats_of_that_stretch_alone(clean: Recording) -> None:
    signal, fs = clean.signals.copy(), round(clean.fs)
    signal[:, 20 * fs : 30 * fs] += np.random.default_rng(0).normal(0, 0.3, 10 * fs)
    seconds, before, after = clean.peaks / fs, quality(clean), quality(with_signals(clean, signal))
    inside, outside = (seconds > 20.5) & (seconds < 29.5), (seconds < 19) | (seconds > 31)
    assert after[inside].max() < 0.5
    np.testing.assert_allclose(after[outside], before[outside], atol=0.02)


def test_a_flat_line_and_a_saturated_amplifier_have_no_quality(clean: Recording) -> None:
    assert quality(with_signals(clean, np.full_like(clean.signals, 0.3))).max() == 0
    saturated = np.clip(50 * (clean.signals - np.median(clean.signals)), -1, 1)
    assert np.median(quality(with_signals(clean, saturated))) < 0.05


def test_peaks_cut_off_at_the_rail_cost_quality_and_round_peaks_do_not(clean: Recording) -> None:
    rail = 0.4 * np.quantile(clean.signals, 0.999)
    clipped = with_signals(clean, np.minimum(clean.signals, rail))
    flat, railed = flat_and_clipped(clipped.signals[0], clean.fs)
    assert np.ptp(railed, axis=1).sum() > 10 * len(clean.peaks) / 2 and not len(flat)
    assert not any(map(len, flat_and_clipped(clean.signals[0], clean.fs)))
    assert quality(clipped).mean() < quality(clean).mean() - 0.1


def test_baseline_wander_costs_little_unless_it_is_larger_than_the_beats(clean: Recording) -> None:
    wave = np.sin(2 * np.pi * 0.4 * np.arange(clean.signals.shape[1]) / clean.fs)
    none, some, much = (quality(with_signals(clean, clean.signals + mv * wave)).mean() for mv in (0, 0.3, 5))
    assert none > some > 0.9 * none and much < 0.4


def test_quality_is_that_of_the_worst_lead_and_does_not_depend_on_the_unit(clean: Recording) -> None:
    noisy = clean.signals[0] + np.random.default_rng(0).normal(0, 0.1, clean.signals.shape[1])
    both = quality(with_signals(clean, np.stack([clean.signals[0], noisy])))
    np.testing.assert_array_equal(both, quality(with_signals(clean, noisy)))
    np.testing.assert_allclose(quality(with_signals(clean, 1000 * noisy)), both, atol=1e-3)


def test_quality_hardly_depends_on_the_rate_of_the_beats() -> None:
    recording = next(iter(simulation("dataset.simulation.fs=128", "dataset.simulation.noise=0.08").recordings()))
    means = [quality_of_beats(recording, at_rate(recording, fs), fs).mean() for fs in (100, 125, 250, 500)]
    assert max(means) - min(means) < 0.06 and 0.3 < min(means) < 0.9
    assert np.isfinite(quality_of_beats(recording, at_rate(recording, 1.0), 1.0)).all()


def test_a_gap_is_neither_flat_nor_clipped() -> None:
    signal = np.sin(np.arange(1000) / 7)
    signal[200:500] = np.nan
    assert not any(map(len, flat_and_clipped(signal, FS)))


def test_beats_carry_their_quality_through_the_file_and_their_fingerprint_does_not_change(
    clean: Recording, tmp_path: Path
) -> None:
    beats = beats_of([clean], how=Cut(), classes=("N", "S", "V", "F", "Q"), origin={})
    assert beats.quality is not None and len(beats.quality) == len(beats) == len(clean.peaks) - 1
    beats.save(tmp_path / "beats.arrow")
    np.testing.assert_array_equal(Beats.load(tmp_path / "beats.arrow").quality, beats.quality)
    assert beats.fingerprint == dataclasses.replace(beats, quality=None).fingerprint


def test_quality_of_several_databases_is_known_where_all_know_it_and_of_new_beats_never() -> None:
    part = simulation()
    other = dataclasses.replace(part, card=part.card.model_copy(update={"name": "other"}))
    joined, beats = Joined(parts=(part, other)), part.read()
    both = Beats.concatenate(list(joined.join([beats, beats])))
    assert both.quality is not None and beats.quality is not None
    np.testing.assert_array_equal(both.quality, np.tile(beats.quality, 2))
    unknown = list(joined.join([beats, dataclasses.replace(beats, quality=None)]))
    assert Beats.concatenate(unknown).quality is None
    assert resample(beats, Resampling(method="random_over"), seed=0).quality is None


@pytest.mark.real_data("mitdb/RECORDS")
def test_record_108_of_mit_bih_which_is_noisy_has_less_than_record_100(real_data_dir: Path) -> None:
    config = validated(compose(["dataset=mitbih", "dataset.records=['100','108']"], output_dir="."))
    source = make_source(config["dataset"], config["context"], real_data_dir)
    assert isinstance(source, Recordings)
    good, bad = (quality(recording) for recording in source.recordings())
    assert (good < 0.8).mean() < 0.01 and (bad < 0.8).mean() > 0.2
