"""Random changes to training beats that leave their class alone, for a whole batch at once on the batch's own device.

Each takes signals ``[b, length]`` in [0, 1] with zero padding at the end and returns the like; the padding stays zero,
because its extent is how a beat tells its length.
Amplitude scaling and noise: Um et al., ICMI 2017 (arXiv 1706.00527); stretching in time: Le Guennec, Malinowski &
Tavenard, AALTD 2016.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ecg_lightning.errors import ConfigError

Transform = Callable[[Tensor], Tensor]


def beat_lengths(signals: Tensor) -> Tensor:
    """Samples before the padding, ``[b, 1]``: the position after the last sample that is not zero."""
    positions = torch.arange(1, signals.shape[1] + 1, device=signals.device)
    return ((signals != 0) * positions).amax(dim=1, keepdim=True)


def inside(lengths: Tensor, n_times: int) -> Tensor:
    """Mask ``[b, n_times]`` of the samples before the padding."""
    return torch.arange(n_times, device=lengths.device) < lengths


@dataclass(frozen=True, kw_only=True)
class TimeStretch:
    """Play each beat faster or slower by a factor drawn evenly from 1 ± `spread`, by linear interpolation."""

    spread: float

    def __post_init__(self) -> None:
        if not 0 <= self.spread < 1:
            raise ConfigError(f"time_stretch: spread={self.spread}, expected 0 or more and less than 1")

    def __call__(self, signals: Tensor) -> Tensor:
        n_times = signals.shape[1]
        factor = 1 + self.spread * (2 * torch.rand(len(signals), 1, device=signals.device) - 1)
        source = torch.arange(n_times, device=signals.device) * factor
        left = source.floor()
        fraction = (source - left).to(signals.dtype)
        before = left.long().clamp(max=n_times - 1)
        after = (before + 1).clamp(max=n_times - 1)
        stretched = torch.lerp(signals.gather(1, before), signals.gather(1, after), fraction)
        return stretched * (source <= beat_lengths(signals) - 1)


@dataclass(frozen=True, kw_only=True)
class AmplitudeScale:
    """Multiply each beat by a factor drawn from a normal distribution around 1."""

    sigma: float

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise ConfigError(f"amplitude_scale: sigma={self.sigma}, expected 0 or more")

    def __call__(self, signals: Tensor) -> Tensor:
        return signals * (1 + self.sigma * torch.randn(len(signals), 1, device=signals.device))


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Add white Gaussian noise to the samples before the padding."""

    sigma: float

    def __post_init__(self) -> None:
        if not 0 <= self.sigma < math.inf:
            raise ConfigError(f"noise: sigma={self.sigma}, expected 0 or more")

    def __call__(self, signals: Tensor) -> Tensor:
        noise = self.sigma * torch.randn_like(signals)
        return signals + noise * inside(beat_lengths(signals), signals.shape[1])


TRANSFORMS: dict[str, Callable[..., Transform]] = {
    "time_stretch": TimeStretch,
    "amplitude_scale": AmplitudeScale,
    "noise": Noise,
}


def make_transforms(settings: dict[str, dict[str, float]]) -> list[Transform]:
    """Transforms from ``{name: its settings}``, applied in the order in which they stand.

    Raises:
        ConfigError: unknown transform or setting, or a value out of range.
    """
    made = []
    for name, own in settings.items():
        if name not in TRANSFORMS:
            raise ConfigError(f"there is no transform {name!r}; choose of {', '.join(TRANSFORMS)}")
        try:
            made.append(TRANSFORMS[name](**own))
        except TypeError as error:
            raise ConfigError(f"transform {name} does not take {own}: {error}") from error
    return made
