"""`BeatSequence`: what a network makes of the beats around a beat, in order of time.

Its layers look towards both sides and have a finite reach, so the output of a beat is the same however a long recording
is divided, as long as `reach` beats are given on each side of it. They are convolutions (Bai, Kolter & Koltun, "An
empirical evaluation of generic convolutional and recurrent networks for sequence modeling", arXiv 1803.01271, 2018), or
diagonal state spaces, S4D (Gu, Gupta, Goel & Ré, "On the parameterization and initialization of diagonal state
space models", arXiv 2206.11893, 2022).
"""

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from ecg_lightning.core.options import Share, Units, options

KERNEL = 3  # beats, of a convolution
STATES = 16  # pairs of conjugate states of each channel of a state space
STEPS = (0.05, 1.0)  # that the beats of a state space begin with, in its own time


@options("sequence")
class SequenceSettings:
    """Settings of `BeatSequence`."""

    width: Units = 48  # channels
    layers: Literal["convolution", "s4d"] = "convolution"
    dilations: Annotated[Sequence[Units], Field(min_length=1, max_length=16)] = (1, 2, 4, 8)  # reach of each, in beats
    dropout: Share = 0.2

    @property
    def reach(self) -> int:
        """Beats on each side of a beat that its output depends on."""
        return sum(self.dilations)


class BeatSequence(nn.Module):
    """Residual layers over the features of consecutive beats."""

    def __init__(self, n_features: int, settings: SequenceSettings) -> None:
        super().__init__()
        self.settings = settings
        self.project = nn.Linear(n_features, settings.width)
        layer = {"convolution": _Convolution, "s4d": _StateSpace}[settings.layers]
        self.layers = nn.ModuleList(layer(settings.width, reach, settings.dropout) for reach in settings.dilations)

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Features ``[s, beats, n_features]`` of sequences, and which beats there are ``[s, beats] bool``.

        Returns ``[s, beats, width]``; beats that are not there have no influence.
        """
        states: Tensor = self.project(features)
        mask = present[:, None].to(states.dtype)
        for layer in self.layers:
            states = layer(states, mask)
        return states


class _Convolution(nn.Module):
    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, KERNEL, padding=dilation * (KERNEL // 2), dilation=dilation)
        self.mix = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """States ``[s, beats, width]`` and mask ``[s, 1, beats]`` → states."""
        around = self.conv(self.norm(states).relu().transpose(1, 2) * mask).relu().transpose(1, 2)
        changed: Tensor = states + self.dropout(self.mix(around))
        return changed


class _StateSpace(nn.Module):
    """A state space in either direction of time, as the convolution with its impulse response up to `reach` beats."""

    def __init__(self, width: int, reach: int, dropout: float) -> None:
        super().__init__()
        self.reach = reach
        self.norm = nn.LayerNorm(width)
        # Of the two directions; the real part of a pole is kept negative, its imaginary part starts as in S4D-Lin.
        self.log_step = nn.Parameter(torch.empty(2, width, 1).uniform_(*map(math.log, STEPS)))
        self.log_decay = nn.Parameter(torch.full((width, STATES), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(STATES).float().repeat(width, 1))
        self.output = nn.Parameter(torch.randn(2, width, STATES, 2) * 0.5**0.5)
        self.skip = nn.Parameter(torch.randn(width, 1))
        self.mix = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(dropout)

    def kernel(self) -> Tensor:
        """Responses ``[width, 2 · reach + 1]`` to a beat, from as many beats before it to as many after it.

        Equation 7 of S4D with zero-order hold, in real numbers, which ONNX has.
        """
        step, decay, frequency = self.log_step.exp(), self.log_decay.exp(), self.frequency
        # (exp(step · pole) - 1) / pole, with pole = -decay + i · frequency
        size, angle = (-step * decay).exp(), step * frequency
        real, imaginary = size * angle.cos() - 1, size * angle.sin()
        norm = decay**2 + frequency**2
        held = ((frequency * imaginary - decay * real) / norm, -(decay * imaginary + frequency * real) / norm)
        c = self.output.unbind(-1)
        real, imaginary = c[0] * held[0] - c[1] * held[1], c[0] * held[1] + c[1] * held[0]
        lags = torch.arange(self.reach + 1, device=step.device)
        turned = angle[..., None] * lags
        waves = real[..., None] * turned.cos() - imaginary[..., None] * turned.sin()
        after, before = 2 * ((-(step * decay)[..., None] * lags).exp() * waves).sum(dim=2)
        return torch.cat([after[:, 1:].flip(1), after[:, :1] + before[:, :1] + self.skip, before[:, 1:]], dim=1)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """As of `_Convolution`."""
        with torch.autocast(states.device.type, enabled=False):  # exponents need single precision
            kernel = self.kernel()
        around = self.norm(states).transpose(1, 2) * mask
        around = functional.conv1d(around, kernel[:, None].to(around.dtype), padding=self.reach, groups=len(kernel))
        changed: Tensor = states + self.dropout(functional.glu(self.mix(functional.gelu(around).transpose(1, 2)), -1))
        return changed
