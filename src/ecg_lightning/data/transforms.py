"""Random changes to training beats that leave their class alone, for a whole batch at once on the batch's own device.

Each takes signals ``[b, leads, length]`` with zero padding at the end and lengths ``[b]``, the samples before it, and
returns the like; the padding stays zero. What describes a beat (its speed, its gain, where it is cut) is random by
beat and the same in all leads; noise is random by sample. Nothing waits for the device. `Mixup` is set apart, because
it changes what a beat is labelled too.
Amplitude scaling and noise: Um et al., ICMI 2017 (arXiv 1706.00527). Stretching in time, windows that begin elsewhere:
Le Guennec, Malinowski & Tavenard, AALTD 2016. Wander and hum: Friesen et al., IEEE Trans. Biomed. Eng. 37(1), 1990; to
train with, Mehari & Strodthoff, Comput. Biol. Med. 141, 2022 (arXiv 2103.12676). Cutout: DeVries & Taylor, 2017 (arXiv
1708.04552). Mixup: Zhang et al., ICLR 2018 (arXiv 1710.09412).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ecg_lightning.core.errors import ConfigError

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def inside(lengths: Tensor, n_times: int) -> Tensor:
    """Mask ``[b, 1, n_times]`` of the samples before the padding, from lengths ``[b]``."""
    return torch.arange(n_times, device=lengths.device) < lengths.view(-1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class TimeStretch:
    """Play each beat faster or slower by a factor uniform in 1 ± `spread`, by linear interpolation."""

    spread: float

    def __post_init__(self) -> None:
        if not 0 <= self.spread < 1:
            raise ConfigError(f"time_stretch: spread={self.spread}, expected 0 or more and less than 1")

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        n_times = signals.shape[-1]
        factor = 1 + self.spread * (2 * torch.rand(len(signals), 1, device=signals.device) - 1)
        source = torch.arange(n_times, device=signals.device) * factor
        left = source.floor()
        fraction = (source - left).to(signals.dtype)[:, None]
        before = left.long().clamp(max=n_times - 1)
        after = (before + 1).clamp(max=n_times - 1)
        stretched = torch.lerp(_at(signals, before), _at(signals, after), fraction)
        within = source <= lengths[:, None] - 1
        return stretched * within[:, None], within.sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class AmplitudeScale:
    """Multiply each beat by a factor from a normal distribution around 1."""

    sigma: float

    def __post_init__(self) -> None:
        _check_amount(f"amplitude_scale: sigma={self.sigma}", self.sigma)

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return signals * (1 + self.sigma * torch.randn(len(signals), 1, 1, device=signals.device)), lengths


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Add white Gaussian noise to the samples before the padding."""

    sigma: float

    def __post_init__(self) -> None:
        _check_amount(f"noise: sigma={self.sigma}", self.sigma)

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        noise = self.sigma * torch.randn_like(signals)
        return signals + noise * inside(lengths, signals.shape[-1]), lengths


@dataclass(frozen=True, kw_only=True)
class BaselineWander:
    """Let the baseline drift with the breath: a slow sinusoid of random frequency, phase and height.

    Wander stands in a recording before its beats are cut and scaled, so the beat keeps the range that it had.

    Attributes:
        sigma: standard deviation of the sinusoid's amplitude, in the unit of the signals.
        low: least frequency, in Hz.
        high: greatest frequency, in Hz.
        fs: sampling rate in Hz.
    """

    sigma: float
    low: float = 0.05
    high: float = 0.5
    fs: float

    def __post_init__(self) -> None:
        _check_amount(f"baseline_wander: sigma={self.sigma}", self.sigma)
        if not 0 <= self.low <= self.high <= self.fs / 2:
            raise ConfigError(
                f"baseline_wander: from low={self.low} to high={self.high} Hz, expected 0 ≤ low ≤ high ≤ "
                f"{self.fs / 2:g} Hz, half the sampling rate"
            )

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frequency = _evenly(signals, self.low, self.high)
        return _add_wave(signals, lengths, frequency, sigma=self.sigma, fs=self.fs), lengths


@dataclass(frozen=True, kw_only=True)
class Powerline:
    """Add the hum of the mains, of random phase and height; the beat keeps the range that it had.

    Attributes:
        sigma: standard deviation of the hum's amplitude, in the unit of the signals.
        frequency: of the mains, in Hz: 60 in America, where MIT-BIH was recorded, 50 in Europe, where PTB was.
        fs: sampling rate in Hz.
    """

    sigma: float
    frequency: float = 60.0
    fs: float

    def __post_init__(self) -> None:
        _check_amount(f"powerline: sigma={self.sigma}", self.sigma)
        if not 0 < self.frequency <= self.fs / 2:
            raise ConfigError(
                f"powerline: frequency={self.frequency} Hz, expected more than 0 and at most {self.fs / 2:g} Hz, "
                "half the sampling rate"
            )

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return _add_wave(signals, lengths, self.frequency, sigma=self.sigma, fs=self.fs), lengths


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Let each beat begin earlier or later by a random number of samples, as if its R peak had been found elsewhere.

    A later beat holds its first value until it begins; an earlier one loses its first samples. Either way the beat's
    end moves along, and what leaves the window is lost.

    Attributes:
        seconds: the furthest that a beat moves.
        fs: sampling rate in Hz.
    """

    seconds: float
    fs: float

    def __post_init__(self) -> None:
        _check_amount(f"shift: seconds={self.seconds}", self.seconds)

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        n_times = signals.shape[-1]
        furthest = round(self.seconds * self.fs)
        by = torch.randint(-furthest, furthest + 1, (len(signals), 1), device=signals.device)
        # One sample of a beat has to stay.
        source = (torch.arange(n_times, device=signals.device) - by.maximum(1 - lengths[:, None])).clamp(min=0)
        within = source < lengths[:, None]
        return _pad(_at(signals, source.clamp(max=n_times - 1)), within[:, None]), within.sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class ModalityDropout:
    """Blank beats at random, to a length of 0, so that the network must do with their context.

    A network that sees both soon uses the samples alone, in which it finds the patients that it trains on (Neverova et
    al., IEEE Trans. Pattern Anal. Mach. Intell. 38(8), 2016, section 4.3). Beats without context are never
    blanked, since nothing would be left of them: the datamodule then leaves this transform out.

    Attributes:
        probability: of blanking a beat.
    """

    probability: float

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ConfigError(f"modality_dropout: probability={self.probability}, expected 0 to 1")

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        kept = torch.rand(len(signals), device=signals.device) >= self.probability
        return signals * kept.view(-1, 1, 1), lengths * kept


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Replace a stretch of each beat, at a random place, by a straight line between the samples beside it.

    Zeros, as in the original, would be a deep wave of their own here. The first and the last sample stay.

    Attributes:
        seconds: how long the stretch is; of shorter beats all but two samples.
        fs: sampling rate in Hz.
    """

    seconds: float
    fs: float

    def __post_init__(self) -> None:
        _check_amount(f"cutout: seconds={self.seconds}", self.seconds)

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        n_times = signals.shape[-1]
        width = (lengths - 2).clamp(min=0, max=round(self.seconds * self.fs))
        before = (_evenly(signals, 0, 1).view(-1) * (lengths - 1 - width)).long().clamp(min=0)
        after = before + width + 1
        since = (torch.arange(n_times, device=signals.device) - before[:, None])[:, None]
        left, right = _at(signals, before[:, None]), _at(signals, after.clamp(max=n_times - 1)[:, None])
        width = width.view(-1, 1, 1)
        line = torch.lerp(left, right, (since / (width + 1)).to(signals.dtype))
        return torch.where((since > 0) & (since <= width), line, signals), lengths


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mix each beat with another of its batch: λ · own + (1 - λ) · partner's (Zhang et al., equation 1).

    λ of each beat is sampled from Beta(alpha, alpha) and the greater of λ and 1 - λ is taken, so that a mixed beat is
    more its own than its partner's. It is as long as the longer of the two: past the end of the shorter one, whose
    padding is zero, the longer one stands alone, weighed by its share. A partner whose share rounds to 0 has no part in
    its length.

    Attributes:
        alpha: 0 mixes nothing, 1 samples the share uniformly; usual are 0.1 to 0.4.
    """

    alpha: float

    def __post_init__(self) -> None:
        _check_amount(f"mixup: alpha={self.alpha}", self.alpha)

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mix a batch.

        Args:
            signals: ``[b, leads, length]``.
            lengths: ``[b]``.

        Returns:
            Mixed signals ``[b, leads, length]``, their lengths ``[b]``, the position of each beat's partner ``[b]
            int64``, and the beat's own share ``[b]``, from 0.5 to 1. The loss is mixed likewise: share · loss(own
            label) + (1 - share) · loss(the partner's).
        """
        partners = torch.randperm(len(signals), device=signals.device)
        share = signals.new_ones(len(signals))
        if self.alpha:
            # λ = g / (g + h) of two gamma variables, each Gamma(α + 1) · U^(1/α): by their logarithms, because for
            # small α the variables themselves vanish in single precision. Checking arguments would wait for the device.
            above = torch.distributions.Gamma((self.alpha + 1) * share, share, validate_args=False).sample((2,))
            g, h = above.log() - torch.empty_like(above).exponential_() / self.alpha
            share = (g - h).abs().sigmoid()
        mixed = torch.lerp(signals[partners], signals, share.view(-1, 1, 1))
        return mixed, torch.where(share < 1, lengths.maximum(lengths[partners]), lengths), partners, share


def _check_amount(said: str, amount: float) -> None:
    """Refuse a strength or duration that is negative or has no bound."""
    if not 0 <= amount < math.inf:
        raise ConfigError(f"{said}, expected 0 or more")


def _at(signals: Tensor, positions: Tensor) -> Tensor:
    """Samples of ``[b, leads, length]`` at positions ``[b, t]``, the same ones of each lead: ``[b, leads, t]``."""
    return signals.gather(2, positions[:, None].expand(-1, signals.shape[1], -1))


def _evenly(signals: Tensor, low: float, high: float) -> Tensor:
    """A number for each beat, ``[b, 1, 1]``, uniform from `low` to `high`."""
    return low + (high - low) * torch.rand(len(signals), 1, 1, dtype=signals.dtype, device=signals.device)


def _add_wave(signals: Tensor, lengths: Tensor, frequency: Tensor | float, *, sigma: float, fs: float) -> Tensor:
    """Add a sinusoid of `frequency` (Hz), random phase and amplitude to all leads, then restore each one's range."""
    if not sigma:
        return signals
    seconds = torch.arange(signals.shape[-1], dtype=signals.dtype, device=signals.device) / fs
    amplitude = sigma * torch.randn(len(signals), 1, 1, dtype=signals.dtype, device=signals.device)
    changed = signals + amplitude * torch.sin(2 * math.pi * frequency * seconds + _evenly(signals, 0, 2 * math.pi))
    within = inside(lengths, signals.shape[-1])
    low, high = torch.where(within, signals, signals[..., :1]).aminmax(dim=-1, keepdim=True)
    new_low, new_high = torch.where(within, changed, changed[..., :1]).aminmax(dim=-1, keepdim=True)
    scale = (high - low) / (new_high - new_low).clamp(min=torch.finfo(signals.dtype).eps)
    return _pad(low + (changed - new_low) * scale, within)


def _pad(signals: Tensor, within: Tensor) -> Tensor:
    """Zeros outside of the beat. Inside, a zero becomes the least step above: results stay those of earlier versions,
    which took zeros at a beat's end for padding."""
    lifted = torch.where(signals == 0, torch.finfo(signals.dtype).eps, signals)
    return torch.where(within, lifted, 0)


TRANSFORMS: Mapping[str, type[Any]] = {
    "time_stretch": TimeStretch,
    "shift": Shift,
    "cutout": Cutout,
    "baseline_wander": BaselineWander,
    "powerline": Powerline,
    "amplitude_scale": AmplitudeScale,
    "noise": Noise,
    "modality_dropout": ModalityDropout,
}


def make_transforms(settings: Mapping[str, Mapping[str, float] | None], *, fs: float | None = None) -> list[Transform]:
    """Transforms from ``{name: its settings}``, applied in the order in which they stand.

    Args:
        settings: of each transform; None in place of them takes it out.
        fs: sampling rate of the beats in Hz, which those with settings in Hz or seconds ask for.

    Raises:
        ConfigError: unknown transform or setting, a value out of range, or no sampling rate where one is needed.
    """
    made = []
    for name, own in settings.items():
        if name not in TRANSFORMS:
            raise ConfigError(f"there is no transform {name!r}; choose of {', '.join(TRANSFORMS)}")
        if own is None:
            continue
        timed = "fs" in (field.name for field in dataclasses.fields(TRANSFORMS[name]))
        if timed and fs is None:
            raise ConfigError(f"transform {name} is set in Hz or seconds: it needs the sampling rate of the beats, fs")
        try:
            made.append(TRANSFORMS[name](**own, **({"fs": fs} if timed else {})))
        except TypeError as error:
            raise ConfigError(f"transform {name} does not take {own}: {error}") from error
    return made
