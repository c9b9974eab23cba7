"""Random changes to training beats: they must leave alone what tells the class, and the padding with it."""

import math

import pytest
import torch
from torch import Tensor

from ecg_lightning.data.transforms import AmplitudeScale, Noise, TimeStretch, Transform, beat_lengths, make_transforms
from ecg_lightning.errors import ConfigError

LENGTHS = torch.tensor([60, 120, 150, 186, 187])

ALL = [TimeStretch(spread=0.2), AmplitudeScale(sigma=0.1), Noise(sigma=0.05)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def signals() -> Tensor:
    """Beats ``[5, 187]`` of different lengths: 3 Hz at 125 Hz between 0.1 and 0.9."""
    time = torch.arange(187) / 125
    wave = 0.5 + 0.4 * torch.cos(2 * math.pi * 3 * time)
    return wave * (torch.arange(187) < LENGTHS[:, None])


@pytest.mark.parametrize("transform", ALL)
def test_shape_and_type_stay_and_the_beats_change(signals: Tensor, transform: Transform) -> None:
    changed = transform(signals)
    assert (changed.shape, changed.dtype) == (signals.shape, torch.float32)
    assert torch.isfinite(changed).all()
    assert (changed != signals).any(dim=1).all()


@pytest.mark.parametrize("transform", ALL)
def test_the_beats_given_are_not_changed_in_place(signals: Tensor, transform: Transform) -> None:
    before = signals.clone()
    transform(signals)
    assert torch.equal(signals, before)


@pytest.mark.parametrize("transform", ALL)
def test_same_seed_same_change_and_another_seed_another(signals: Tensor, transform: Transform) -> None:
    def changed(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return transform(signals)

    first, again, other = changed(1), changed(1), changed(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("transform", ALL)
def test_each_beat_of_a_batch_is_changed_on_its_own(transform: Transform) -> None:
    beat = torch.linspace(0.2, 0.8, 187).repeat(6, 1)
    assert len(transform(beat).unique(dim=0)) == 6


@pytest.mark.parametrize("transform", [AmplitudeScale(sigma=0.1), Noise(sigma=0.05)])
def test_padding_stays_zero_and_the_length_stays(signals: Tensor, transform: Transform) -> None:
    changed = transform(signals)
    assert (changed[torch.arange(187) >= LENGTHS[:, None]] == 0).all()
    assert torch.equal(beat_lengths(changed)[:, 0], LENGTHS)


@pytest.mark.parametrize("transform", [TimeStretch(spread=0), AmplitudeScale(sigma=0), Noise(sigma=0)])
def test_no_spread_is_no_change(signals: Tensor, transform: Transform) -> None:
    assert torch.equal(transform(signals), signals)


def test_time_stretch_changes_lengths_both_ways_and_by_no_more_than_its_spread(signals: Tensor) -> None:
    beat = signals[1:2].repeat(500, 1)
    lengths = beat_lengths(TimeStretch(spread=0.2)(beat))[:, 0]
    last = LENGTHS[1] - 1
    # The last sample stands at 119 / factor, and a sample is the resolution.
    assert lengths.min() >= int(last / 1.2) and lengths.max() <= last / 0.8 + 1
    assert lengths.min() < last / 1.17 and lengths.max() > last / 0.83


def test_time_stretch_plays_the_same_wave_faster_or_slower(signals: Tensor) -> None:
    beat = signals[1:2].repeat(50, 1)
    stretched = TimeStretch(spread=0.2)(beat)
    lengths = beat_lengths(stretched)
    for changed, length in zip(stretched, lengths[:, 0].tolist(), strict=True):
        # The factor is not told, but the second crest is at 125/3 samples of the original.
        crest = 30 + int(changed[30:60].argmax())
        factor = (125 / 3) / crest
        expected = 0.5 + 0.4 * torch.cos(2 * math.pi * 3 * factor * torch.arange(length) / 125)
        assert (changed[:length] - expected).abs().max() < 0.15
        assert (changed[length:] == 0).all()


def test_a_beat_as_long_as_the_window_stays_inside_it(signals: Tensor) -> None:
    whole = signals[-1:].repeat(200, 1)
    lengths = beat_lengths(TimeStretch(spread=0.3)(whole))
    assert lengths.max() == 187 and lengths.min() < 160


def test_amplitude_scale_is_one_factor_a_beat_around_one(signals: Tensor) -> None:
    beat = signals[-1:].repeat(4000, 1)
    ratio = AmplitudeScale(sigma=0.1)(beat) / beat
    factors = ratio[:, 0]
    assert torch.allclose(ratio, factors[:, None].expand_as(ratio), atol=1e-5)
    assert float(factors.mean()) == pytest.approx(1, abs=0.01)
    assert float(factors.std()) == pytest.approx(0.1, rel=0.1)


def test_noise_has_the_deviation_asked_for(signals: Tensor) -> None:
    added = Noise(sigma=0.05)(signals.repeat(100, 1)) - signals.repeat(100, 1)
    of_beats = added[(torch.arange(187) < LENGTHS[:, None]).repeat(100, 1)]
    assert float(of_beats.std()) == pytest.approx(0.05, rel=0.05)
    assert float(of_beats.mean()) == pytest.approx(0, abs=0.005)


def test_a_beat_of_zeros_only_stays_one() -> None:
    silence = torch.zeros(2, 187)
    assert beat_lengths(silence).tolist() == [[0], [0]]
    for transform in ALL:
        assert torch.equal(transform(silence), silence)


def test_transforms_are_made_from_settings_in_their_order() -> None:
    made = make_transforms({"noise": {"sigma": 0.01}, "time_stretch": {"spread": 0.1}})
    assert made == [Noise(sigma=0.01), TimeStretch(spread=0.1)]
    assert make_transforms({}) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warp": {"spread": 0.1}}, "no transform 'warp'; choose of time_stretch, amplitude_scale, noise"),
        ({"noise": {"spread": 0.1}}, "transform noise does not take"),
        ({"noise": {}}, "transform noise does not take"),
        ({"noise": {"sigma": "much"}}, "transform noise does not take"),
        ({"noise": {"sigma": -0.1}}, "sigma=-0.1"),
        ({"noise": {"sigma": math.nan}}, "sigma=nan"),
        ({"amplitude_scale": {"sigma": -1}}, "amplitude_scale: sigma=-1"),
        ({"time_stretch": {"spread": 1.0}}, "spread=1.0"),
        ({"time_stretch": {"spread": -0.1}}, "spread=-0.1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_transforms(settings)
    assert said in str(error.value)
