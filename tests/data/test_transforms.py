"""Random changes to training beats: they must leave alone what the class depends on, and the padding with it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.transforms import (
    TRANSFORMS,
    AmplitudeScale,
    BaselineWander,
    Cutout,
    Invert,
    Mixup,
    ModalityDropout,
    Noise,
    Powerline,
    Shift,
    TimeStretch,
    Transform,
    inside,
    make_transforms,
)

LENGTHS = torch.tensor([60, 120, 150, 186, 187])

LENGTH_KEEPING = [
    AmplitudeScale(sigma=0.1),
    Noise(sigma=0.05),
    BaselineWander(sigma=0.2, fs=125),
    Powerline(sigma=0.1, frequency=50, fs=125),
    Cutout(seconds=0.1, fs=125),
]
ALL = [TimeStretch(spread=0.2), Shift(seconds=0.04, fs=125), *LENGTH_KEEPING]
NEUTRAL = [
    TimeStretch(spread=0),
    AmplitudeScale(sigma=0),
    Noise(sigma=0),
    BaselineWander(sigma=0, fs=125),
    Powerline(sigma=0, fs=125),
    Shift(seconds=0, fs=125),
    Cutout(seconds=0, fs=125),
]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def signals() -> Tensor:
    """Beats ``[5, 187]`` of different lengths: 3 Hz at 125 Hz between 0.1 and 0.9."""
    time = torch.arange(187) / 125
    wave = 0.5 + 0.4 * torch.cos(2 * math.pi * 3 * time)
    return wave * (torch.arange(187) < LENGTHS[:, None])


def changed_by(transform: Transform, beats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Signals ``[b, 187]`` of one lead and their lengths; those given are `LENGTHS`, repeated, where nothing else is
    said."""
    if lengths is None:
        lengths = LENGTHS.repeat(len(beats) // len(LENGTHS))
    signals, lengths = transform(beats[:, None], lengths)
    return signals[:, 0], lengths


def test_every_transform_that_a_configuration_can_name_is_tested_here() -> None:
    assert {type(transform) for transform in ALL} == {type(transform) for transform in NEUTRAL}
    assert {Invert, ModalityDropout, *(type(transform) for transform in ALL)} == set(TRANSFORMS.values())


@pytest.mark.parametrize("transform", ALL)
def test_shape_and_type_stay_and_the_beats_change(signals: Tensor, transform: Transform) -> None:
    beats = signals.repeat(20, 1)  # of the shifts drawn, some are zero
    changed, lengths = changed_by(transform, beats)
    assert (lengths.shape, lengths.dtype) == ((100,), torch.int64)
    assert (changed.shape, changed.dtype) == (beats.shape, torch.float32)
    assert torch.isfinite(changed).all()
    assert (changed != beats).any(dim=1).float().mean() > 0.8
    assert changed_by(transform, signals.double())[0].dtype == torch.float64


@pytest.mark.parametrize("transform", ALL)
def test_the_beats_given_are_not_changed_in_place(signals: Tensor, transform: Transform) -> None:
    before, lengths = signals.clone(), LENGTHS.clone()
    transform(signals[:, None], lengths)
    assert torch.equal(signals, before) and torch.equal(lengths, LENGTHS)


@pytest.mark.parametrize("transform", ALL)
def test_same_seed_same_change_and_another_seed_another(signals: Tensor, transform: Transform) -> None:
    def changed(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return changed_by(transform, signals)[0]

    first, again, other = changed(1), changed(1), changed(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("transform", ALL)
def test_each_beat_of_a_batch_is_changed_on_its_own(transform: Transform) -> None:
    beat = (torch.linspace(0.2, 0.8, 187) ** 2).repeat(40, 1)
    different = 11 if isinstance(transform, Shift) else 35  # five samples either way are all the shifts that there are
    whole = torch.full((40,), 187)
    assert len(changed_by(transform, beat, whole)[0].unique(dim=0)) >= different


@pytest.mark.parametrize("transform", LENGTH_KEEPING)
def test_padding_stays_zero_and_the_length_stays(signals: Tensor, transform: Transform) -> None:
    changed, lengths = changed_by(transform, signals)
    assert (changed[torch.arange(187) >= LENGTHS[:, None]] == 0).all()
    assert torch.equal(lengths, LENGTHS)


@pytest.mark.parametrize("transform", NEUTRAL)
def test_no_spread_is_no_change(signals: Tensor, transform: Transform) -> None:
    changed, lengths = changed_by(transform, signals)
    assert torch.equal(changed, signals) and torch.equal(lengths, LENGTHS)


def test_time_stretch_changes_lengths_both_ways_and_by_no_more_than_its_spread(signals: Tensor) -> None:
    beat = signals[1:2].repeat(500, 1)
    _, lengths = changed_by(TimeStretch(spread=0.2), beat, LENGTHS[1].repeat(500))
    last = LENGTHS[1] - 1
    # The last sample stands at 119 / factor, and a sample is the resolution.
    assert lengths.min() >= int(last / 1.2) and lengths.max() <= last / 0.8 + 1
    assert lengths.min() < last / 1.17 and lengths.max() > last / 0.83


def test_time_stretch_plays_the_same_wave_faster_or_slower(signals: Tensor) -> None:
    beat = signals[1:2].repeat(50, 1)
    stretched, lengths = changed_by(TimeStretch(spread=0.2), beat, LENGTHS[1].repeat(50))
    for changed, length in zip(stretched, lengths.tolist(), strict=True):
        # The factor is not told, but the second crest is at 125/3 samples of the original.
        crest = 30 + int(changed[30:60].argmax())
        factor = (125 / 3) / crest
        expected = 0.5 + 0.4 * torch.cos(2 * math.pi * 3 * factor * torch.arange(length) / 125)
        assert (changed[:length] - expected).abs().max() < 0.15
        assert (changed[length:] == 0).all()


def test_a_beat_as_long_as_the_window_stays_inside_it(signals: Tensor) -> None:
    whole = signals[-1:].repeat(200, 1)
    _, lengths = changed_by(TimeStretch(spread=0.3), whole, torch.full((200,), 187))
    assert lengths.max() == 187 and lengths.min() < 160


def test_amplitude_scale_is_one_factor_a_beat_around_one(signals: Tensor) -> None:
    beat = signals[-1:].repeat(4000, 1)
    ratio = changed_by(AmplitudeScale(sigma=0.1), beat, torch.full((4000,), 187))[0] / beat
    factors = ratio[:, 0]
    assert torch.allclose(ratio, factors[:, None].expand_as(ratio), atol=1e-5)
    assert float(factors.mean()) == pytest.approx(1, abs=0.01)
    assert float(factors.std()) == pytest.approx(0.1, rel=0.1)


def test_noise_has_the_deviation_asked_for(signals: Tensor) -> None:
    added = changed_by(Noise(sigma=0.05), signals.repeat(100, 1))[0] - signals.repeat(100, 1)
    of_beats = added[(torch.arange(187) < LENGTHS[:, None]).repeat(100, 1)]
    assert float(of_beats.std()) == pytest.approx(0.05, rel=0.05)
    assert float(of_beats.mean()) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("transform", [BaselineWander(sigma=0.3, fs=125), Powerline(sigma=0.2, fs=125)])
def test_what_a_recording_carries_before_it_is_cut_leaves_each_beat_its_range(
    signals: Tensor, transform: Transform
) -> None:
    beats = signals.repeat(50, 1)
    changed, _ = changed_by(transform, beats)
    within = (torch.arange(187) < LENGTHS[:, None]).repeat(50, 1)
    for extreme, elsewhere in ((torch.amin, math.inf), (torch.amax, -math.inf)):
        own, new = (extreme(beat.masked_fill(~within, elsewhere), dim=1) for beat in (beats, changed))
        assert torch.allclose(own, new, atol=1e-6)


def test_wander_is_a_slow_sinusoid_of_the_deviation_asked_for() -> None:
    # Two values far above and below any wander keep the range, and with it the scale, all but as it was; the height at
    # which a beat then stands falls out of a difference, which is a sinusoid of the same frequency again.
    beats = torch.full((4000, 187), 5.0)
    beats[:, 0], beats[:, 1] = 1000, -1000
    wandering = BaselineWander(sigma=0.5, low=0.3, high=0.3, fs=125)
    wander = changed_by(wandering, beats, torch.full((4000,), 187))[0][:, 2:].double()
    difference = wander[:, 50:] - wander[:, :-50]
    turn = 2 * math.pi * 0.3 / 125
    # x[t - h] + x[t + h] = 2 cos(ωh) x[t]
    left, middle, right = difference[:, :-100], difference[:, 50:-50], difference[:, 100:]
    ratio = ((left + right) * middle).sum() / (middle**2).sum()
    assert float(ratio) == pytest.approx(2 * math.cos(50 * turn), abs=0.01)
    # The power of a sinusoid is half the square of its amplitude.
    amplitude = difference.square().mean().sqrt() * math.sqrt(2) / (2 * math.sin(50 * turn / 2))
    assert float(amplitude) == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("frequency", [50, 60])
def test_hum_stands_at_the_frequency_of_the_mains(frequency: float) -> None:
    rng = torch.Generator().manual_seed(1)
    beats = torch.rand(200, 187, generator=rng) * 1e-3 + 0.5
    beats[:, 0], beats[:, 1] = 1000, -1000
    mains = Powerline(sigma=0.1, frequency=frequency, fs=125)
    hum = (changed_by(mains, beats, torch.full((200,), 187))[0] - beats)[:, 2:]
    power = torch.fft.rfft(hum - hum.mean(dim=1, keepdim=True)).abs().square().mean(dim=0)
    found = float(power.argmax()) * 125 / hum.shape[1]
    assert found == pytest.approx(frequency, abs=125 / hum.shape[1])


def test_shift_moves_a_beat_holds_its_first_value_and_loses_what_leaves_the_window(signals: Tensor) -> None:
    for beat, length in zip(signals, LENGTHS.tolist(), strict=True):
        shifted, lengths = changed_by(Shift(seconds=0.04, fs=125), beat.repeat(300, 1), torch.full((300,), length))
        expected = {
            by: torch.cat([beat[:1].repeat(max(by, 0)), beat[max(-by, 0) : length], torch.zeros(187)])[:187]
            for by in range(-5, 6)
        }
        found = [by for one in shifted for by, moved in expected.items() if torch.equal(one, moved)]
        assert len(found) == 300
        assert lengths.tolist() == [min(length + by, 187) for by in found]
        assert set(found) == set(range(-5, 6))


def test_a_beat_shorter_than_a_shift_keeps_its_last_sample() -> None:
    beat = torch.zeros(200, 187)
    beat[:, :3] = torch.tensor([0.5, 0.6, 0.7])
    shifted, lengths = changed_by(Shift(seconds=0.2, fs=125), beat, torch.full((200,), 3))
    assert lengths.min() == 1 and lengths.max() == 28
    assert (shifted[lengths == 1, 0] == 0.7).all()


def test_cutout_bridges_one_stretch_of_the_length_asked_for(signals: Tensor) -> None:
    beats = (signals**2).repeat(100, 1)
    changed, _ = changed_by(Cutout(seconds=0.08, fs=125), beats)
    starts = set()
    for before, after, length in zip(beats, changed, LENGTHS.repeat(100).tolist(), strict=True):
        rows = (before != after).nonzero()[:, 0]
        # At a crest or where a sample lies on the line by chance a sample may not differ.
        start, end = int(rows[0]) - 1, int(rows[-1]) + 1
        assert end - start <= 11 and end <= length - 1
        if end - start == 11:
            starts.add(start)
            assert torch.allclose(after[start : end + 1].diff(), (before[end] - before[start]) / 11, atol=1e-5)
    assert len(starts) > 50 and min(starts) < 10 and max(starts) > 150


@pytest.mark.parametrize("transform", [*ALL, ModalityDropout(probability=0.5)])
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(0, 187), min_size=1, max_size=20), leads=st.integers(1, 3), seed=st.integers(0, 99))
def test_whatever_the_beats_padding_stays_zero_and_lengths_in_range(
    transform: Transform, lengths: list[int], leads: int, seed: int
) -> None:
    torch.manual_seed(seed)
    own = torch.tensor(lengths)
    beats = torch.rand(len(own), leads, 187) * inside(own, 187)
    changed, new = transform(beats, own)
    assert changed.shape == beats.shape and torch.isfinite(changed).all()
    assert not changed[~inside(new, 187).expand_as(changed)].any()
    assert new.min() >= 0 and new.max() <= 187
    assert not new[own == 0].any()
    if not isinstance(transform, ModalityDropout):
        assert (new[own > 0] > 0).all()


ALIKE_IN_ALL_LEADS = [one for one in [*ALL, ModalityDropout(probability=0.5)] if not isinstance(one, Noise)]


@pytest.mark.parametrize("transform", ALIKE_IN_ALL_LEADS)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(0, 187), min_size=1, max_size=10), seed=st.integers(0, 99))
def test_two_equal_leads_are_changed_as_one_is(transform: Transform, lengths: list[int], seed: int) -> None:
    own = torch.tensor(lengths)
    torch.manual_seed(seed)
    beat = torch.rand(len(own), 1, 187) * inside(own, 187)
    changed = []
    for beats in (beat, beat.repeat(1, 2, 1)):
        torch.manual_seed(seed)
        changed.append(transform(beats, own))
    (one, of_one), (two, of_two) = changed
    assert torch.equal(of_one, of_two)
    assert torch.equal(two, one.repeat(1, 2, 1))


def test_all_transforms_in_a_row_leave_beats_that_are_beats(signals: Tensor) -> None:
    changed, lengths = signals.repeat(100, 1)[:, None], LENGTHS.repeat(100)
    for transform in ALL:
        changed, lengths = transform(changed, lengths)
    assert torch.isfinite(changed).all()
    assert changed.min() > -1 and changed.max() < 2
    expected = LENGTHS.repeat(100)
    assert ((lengths - expected).abs() <= expected / 0.8 - expected + 7).all()


def test_mixup_is_the_weighted_mean_of_a_beat_and_its_partner(signals: Tensor) -> None:
    beats = torch.stack([signals, 2 * signals], dim=1)
    mixed, lengths, partners, share = Mixup(alpha=0.4)(beats, LENGTHS)
    assert (partners.shape, partners.dtype, share.shape) == ((5,), torch.int64, (5,))
    assert partners.sort().values.tolist() == [0, 1, 2, 3, 4]
    own, other = share[:, None, None] * beats, (1 - share[:, None, None]) * beats[partners]
    assert torch.allclose(mixed, own + other, atol=1e-6)
    assert (share < 1).all() and torch.equal(lengths, LENGTHS.maximum(LENGTHS[partners]))


@pytest.mark.parametrize(("alpha", "mean"), [(1.0, 0.75), (1e-3, 1.0), (10.0, 0.587)])
def test_a_mixed_beat_is_more_its_own_than_its_partners(alpha: float, mean: float) -> None:
    *_, share = Mixup(alpha=alpha)(torch.rand(5000, 1, 4), torch.full((5000,), 4))
    assert share.min() >= 0.5 and share.max() <= 1
    assert float(share.mean()) == pytest.approx(mean, abs=0.02)


def test_mixup_follows_from_the_seed_and_mixes_nothing_where_it_is_off(signals: Tensor) -> None:
    def mixed(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(Mixup(alpha=0.4)(signals.repeat(10, 1)[:, None], LENGTHS.repeat(10)))

    first, again, other = mixed(1), mixed(1), mixed(2)
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))
    assert not any(torch.equal(one, another) for one, another in zip(first, other, strict=True))
    untouched, lengths, _, share = Mixup(alpha=0)(signals[:, None], LENGTHS)
    assert torch.equal(untouched[:, 0], signals) and torch.equal(lengths, LENGTHS)
    assert (share == 1).all()


def test_transforms_are_made_from_settings_in_their_order() -> None:
    made = make_transforms({"noise": {"sigma": 0.01}, "time_stretch": {"spread": 0.1}})
    assert made == [Noise(sigma=0.01), TimeStretch(spread=0.1)]
    assert make_transforms({}) == []


def test_a_transform_set_to_null_is_taken_out() -> None:
    assert make_transforms({"noise": None, "time_stretch": {"spread": 0.1}}) == [TimeStretch(spread=0.1)]


def test_transforms_in_seconds_and_hertz_follow_the_sampling_rate_of_the_beats() -> None:
    settings = {"shift": {"seconds": 0.04}, "powerline": {"sigma": 0.1, "frequency": 50}, "noise": {"sigma": 0.1}}
    assert make_transforms(settings, fs=360) == [
        Shift(seconds=0.04, fs=360),
        Powerline(sigma=0.1, frequency=50, fs=360),
        Noise(sigma=0.1),
    ]
    with pytest.raises(ConfigError, match="transform shift needs the sampling rate"):
        make_transforms(settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"warp": {"spread": 0.1}}, "no transform 'warp'; choose one of time_stretch"),
        ({"noise": {"spread": 0.1, "sigma": 1}}, "noise.spread=0.1: there is no such setting; its group has sigma"),
        ({"noise": {}}, "noise.sigma is missing"),
        ({"noise": {"sigma": "much"}}, "augmentation.transforms.noise.sigma=much: expected a number from 0 "),
        ({"noise": {"sigma": -0.1}}, "sigma=-0.1"),
        ({"noise": {"sigma": math.nan}}, "sigma=nan"),
        ({"amplitude_scale": {"sigma": -1}}, "amplitude_scale.sigma=-1"),
        ({"time_stretch": {"spread": 1.0}}, "spread=1.0"),
        ({"time_stretch": {"spread": -0.1}}, "spread=-0.1"),
        ({"baseline_wander": {"sigma": -1}}, "baseline_wander.sigma=-1"),
        ({"baseline_wander": {"sigma": 0.1, "low": 0.6}}, "low=0.6 to high=0.5 Hz"),
        ({"powerline": {"sigma": math.inf}}, "powerline.sigma=inf"),
        ({"powerline": {"sigma": 0.1, "frequency": 70}}, "frequency=70.0 Hz, expected at most 62.5 Hz"),
        ({"shift": {"seconds": -0.1}}, "shift.seconds=-0.1"),
        (
            {"shift": {"seconds": 0.1, "fs": 360}},
            "transform shift needs the sampling rate of the beats, which no setting replaces",
        ),
        ({"cutout": {"seconds": math.nan}}, "cutout.seconds=nan"),
        ({"powerline": {"sigma": 0.1, "frequency": 0}}, "powerline.frequency=0: expected a number above 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings: dict[str, dict[str, float]], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_transforms(settings, fs=125)
    assert said in str(error.value)


def test_mixup_refuses_what_is_no_parameter_of_a_beta_distribution() -> None:
    with pytest.raises(ConfigError, match=r"mixup\.alpha=-0\.1"):
        Mixup(alpha=-0.1)


def test_modality_dropout_blanks_as_many_beats_as_it_says_and_leaves_the_others() -> None:
    signals = torch.rand(4000, 20) + 0.1
    blanked, lengths = changed_by(ModalityDropout(probability=0.3), signals, torch.full((4000,), 20))
    gone = (blanked == 0).all(dim=1)
    assert torch.equal(lengths, torch.where(gone, 0, 20))
    assert gone.float().mean() == pytest.approx(0.3, abs=0.03)
    assert blanked[~gone].equal(signals[~gone])
    with pytest.raises(ConfigError, match=r"modality_dropout\.probability=1\.5: expected a number from 0 to 1"):
        ModalityDropout(probability=1.5)


def test_an_inverted_lead_is_upside_down_within_its_range_whatever_its_unit(signals: Tensor) -> None:
    inside_beat = torch.arange(187) < LENGTHS[:, None]
    for unit in (1.0, 1000.0):
        beats = signals * unit
        turned, lengths = changed_by(Invert(probability=1), beats)
        assert torch.allclose(turned, (unit - beats) * inside_beat, atol=2e-3 * unit)  # from about 0.1 to 0.9
        assert torch.equal(lengths, LENGTHS)
    assert torch.equal(changed_by(Invert(probability=0), signals)[0], signals)


def test_leads_are_inverted_independently_of_each_other() -> None:
    beats = torch.linspace(0, 1, 187).repeat(400, 2, 1)
    turned, _ = Invert(probability=0.5)(beats, torch.full((400,), 187))
    upside_down = (turned != beats).any(dim=2)
    assert 150 < int(upside_down[:, 0].sum()) < 250
    assert 150 < int((upside_down[:, 0] != upside_down[:, 1]).sum()) < 250
