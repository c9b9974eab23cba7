"""Random changes to training beats that leave their class alone, for a whole batch at once on the batch's own device.

Each takes signals ``[b, leads, length]`` with zero padding at the end and lengths ``[b]``, the samples before it, and
returns both changed; the padding stays zero. Speed, gain and position are random by beat and equal in all leads,
polarity is random by lead, noise by sample. Nothing waits for the device. `Mixup` changes labels too.

Amplitude scaling and noise: Um et al., ICMI 2017 (arXiv 1706.00527). Stretching in time, windows that begin elsewhere:
Le Guennec, Malinowski & Tavenard, AALTD 2016. Wander and hum: Friesen et al., IEEE Trans. Biomed. Eng. 37(1), 1990; to
train with, Mehari & Strodthoff, Comput. Biol. Med. 141, 2022 (arXiv 2103.12676). Cutout: DeVries & Taylor, 2017 (arXiv
1708.04552). Mixup: Zhang et al., ICLR 2018 (arXiv 1710.09412).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, dataclass_transform

import torch
from pydantic import Field
from torch import Tensor

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import Amount, Hertz, Positive, Seconds, Share, Strength, options

Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

TRANSFORMS: dict[str, type[Any]] = {}  # by the names in ``augmentation.transforms``

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def transform(name: str) -> Callable[[type[T]], type[T]]:
    """Decorator: add a class to `TRANSFORMS`; its fields are the settings that it can have."""

    def register(cls: type[T]) -> type[T]:
        TRANSFORMS[name] = options(f"augmentation.transforms.{name}")(cls)
        return TRANSFORMS[name]

    return register


def inside(lengths: Tensor, n_times: int) -> Tensor:
    """Mask ``[b, 1, n_times]`` of the samples before the padding, from lengths ``[b]``."""
    return torch.arange(n_times, device=lengths.device) < lengths.view(-1, 1, 1)


@transform("time_stretch")
class TimeStretch:
    """Play each beat faster or slower by a factor uniform in 1 ± `spread`, by linear interpolation."""

    spread: Share

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


@transform("amplitude_scale")
class AmplitudeScale:
    """Multiply each beat by a factor from a normal distribution around 1."""

    sigma: Strength

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return signals * (1 + self.sigma * torch.randn(len(signals), 1, 1, device=signals.device)), lengths


@transform("invert")
class Invert:
    """Turn each lead of a beat upside down within its range, at random by lead: electrodes can be exchanged."""

    probability: Annotated[float, Field(ge=0, le=1)]

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        within = inside(lengths, signals.shape[-1])
        low, high = _range(signals, within)
        chosen = torch.rand(signals.shape[:2], device=signals.device)[..., None] < self.probability
        return torch.where(chosen & within, low + high - signals, signals), lengths


@transform("noise")
class Noise:
    """Add white Gaussian noise to the samples before the padding."""

    sigma: Strength

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        noise = self.sigma * torch.randn_like(signals)
        return signals + noise * inside(lengths, signals.shape[-1]), lengths


@transform("baseline_wander")
class BaselineWander:
    """Add the wander of respiration: a slow sinusoid of random phase and of a frequency from `low` to `high`, in Hz.

    A recording has its wander before its beats are cut and scaled, so the beat keeps its range.
    """

    sigma: Strength  # standard deviation of the amplitude, in the unit of the signals
    low: Amount = 0.05
    high: Amount = 0.5
    fs: Hertz  # sampling rate in Hz

    def __post_init__(self) -> None:
        if not self.low <= self.high <= self.fs / 2:
            expected = f"0 ≤ low ≤ high ≤ {self.fs / 2:g} Hz, half the sampling rate"
            raise ConfigError(f"baseline_wander: from low={self.low} to high={self.high} Hz, expected {expected}")

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        frequency = _evenly(signals, self.low, self.high)
        return _add_wave(signals, lengths, frequency, sigma=self.sigma, fs=self.fs), lengths


@transform("powerline")
class Powerline:
    """Add the hum of the mains, of random phase; the beat keeps its range."""

    sigma: Strength  # standard deviation of the amplitude, in the unit of the signals
    frequency: Positive = 60.0  # Hz: 60 in America, where MIT-BIH was recorded, 50 in Europe, where PTB was
    fs: Hertz  # sampling rate in Hz

    def __post_init__(self) -> None:
        if self.frequency > self.fs / 2:
            expected = f"at most {self.fs / 2:g} Hz, half the sampling rate"
            raise ConfigError(f"powerline: frequency={self.frequency} Hz, expected {expected}")

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return _add_wave(signals, lengths, self.frequency, sigma=self.sigma, fs=self.fs), lengths


@transform("shift")
class Shift:
    """Move each beat by at most so many `seconds`, as if its R peak had been found earlier or later.

    A later beat repeats its first value until it begins; an earlier one loses its first samples. The beat's end moves
    along, and what leaves the window is lost.
    """

    seconds: Seconds
    fs: Hertz

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        n_times = signals.shape[-1]
        furthest = round(self.seconds * self.fs)
        by = torch.randint(-furthest, furthest + 1, (len(signals), 1), device=signals.device)
        # One sample of a beat has to stay.
        source = (torch.arange(n_times, device=signals.device) - by.maximum(1 - lengths[:, None])).clamp(min=0)
        within = source < lengths[:, None]
        return _pad(_at(signals, source.clamp(max=n_times - 1)), within[:, None]), within.sum(dim=1)


@transform("modality_dropout")
class ModalityDropout:
    """Blank beats with this `probability`, to a length of 0, so that the network has to use their context.

    Without it a network soon uses the samples alone, in which it recognises its training patients (Neverova et al.,
    IEEE Trans. Pattern Anal. Mach. Intell. 38(8), 2016, section 4.3). The datamodule leaves this transform out where
    beats have no context, since nothing would be left of them.
    """

    probability: Annotated[float, Field(ge=0, le=1)]

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        kept = torch.rand(len(signals), device=signals.device) >= self.probability
        return signals * kept.view(-1, 1, 1), lengths * kept


@transform("cutout")
class Cutout:
    """Replace a stretch of so many `seconds` of each beat, at a random place, by a straight line.

    Zeros, as in the original, would be a deep wave of their own here. The first and the last sample stay; of shorter
    beats all between them is replaced.
    """

    seconds: Seconds
    fs: Hertz

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        width = (lengths - 2).clamp(min=0, max=round(self.seconds * self.fs))
        before = (_evenly(signals, 0, 1).view(-1) * (lengths - 1 - width)).long().clamp(min=0)
        after = before + width + 1
        n_times = signals.shape[-1]
        since = (torch.arange(n_times, device=signals.device) - before[:, None])[:, None]
        left, right = _at(signals, before[:, None]), _at(signals, after.clamp(max=n_times - 1)[:, None])
        width = width.view(-1, 1, 1)
        line = torch.lerp(left, right, (since / (width + 1)).to(signals.dtype))
        return torch.where((since > 0) & (since <= width), line, signals), lengths


@options("augmentation.mixup")
class Mixup:
    """Mix each beat with another of its batch: λ · own + (1 - λ) · partner's (Zhang et al., equation 1).

    λ of each beat is sampled from Beta(alpha, alpha); the own share is the greater of λ and 1 - λ. A mixed beat is as
    long as the longer of the two, unless the partner's share rounds to 0.
    """

    alpha: Strength  # 0 mixes nothing, 1 samples the share uniformly; usual are 0.1 to 0.4

    def __call__(self, signals: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mix signals ``[b, leads, length]`` of lengths ``[b]``.

        Returns:
            Mixed signals and lengths, the position of each beat's partner ``[b] int64``, and the beat's own share
            ``[b]``, from 0.5 to 1. The loss is mixed alike: share · loss(own label) + (1 - share) · loss(partner's).
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
    (low, high), (new_low, new_high) = _range(signals, within), _range(changed, within)
    scale = (high - low) / (new_high - new_low).clamp(min=torch.finfo(signals.dtype).eps)
    return _pad(low + (changed - new_low) * scale, within)


def _range(signals: Tensor, within: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of each lead, ``[b, leads, 1]``, inside of the beat."""
    low, high = torch.where(within, signals, signals[..., :1]).aminmax(dim=-1, keepdim=True)
    return low, high


def _pad(signals: Tensor, within: Tensor) -> Tensor:
    """Zeros outside of the beat. Inside, a zero becomes the least step above: results stay those of earlier versions,
    which took zeros at a beat's end for padding."""
    lifted = torch.where(signals == 0, torch.finfo(signals.dtype).eps, signals)
    return torch.where(within, lifted, 0)


def make_transforms(settings: Mapping[str, Mapping[str, float] | None], *, fs: float | None = None) -> list[Transform]:
    """Transforms from ``{name: its settings}``, applied in this order; None in place of settings takes one out.

    Those with settings in Hz or seconds need the sampling rate `fs` of the beats, in Hz.

    Raises:
        ConfigError: unknown transform or setting, a value out of range, or no sampling rate where one is needed.
    """
    made = []
    for name, own in settings.items():
        if name not in TRANSFORMS:
            raise ConfigError(f"there is no transform {name!r}; choose one of {', '.join(TRANSFORMS)}")
        if own is None:
            continue
        needs_fs = "fs" in (field.name for field in dataclasses.fields(TRANSFORMS[name]))
        if needs_fs and (fs is None or "fs" in own):
            raise ConfigError(f"transform {name} needs the sampling rate of the beats, which no setting replaces")
        made.append(TRANSFORMS[name](**own, **({"fs": fs} if needs_fs else {})))
    return made
