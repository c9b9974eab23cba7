"""`BeatSequence`: what a network makes of the beats around a beat, in order of time.

Convolutions over beats, after Bai, Kolter & Koltun, "An empirical evaluation of generic convolutional and recurrent
networks for sequence modeling", 2018 (arXiv 1803.01271), here towards both sides. Their reach is finite, so the output
of a beat is the same however a long recording is divided, as long as `reach` beats are given on each side of it.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from ecg_lightning.core.options import Share, Units, options

KERNEL = 3  # beats


@options("sequence")
class SequenceSettings:
    """Settings of `BeatSequence`."""

    width: Units = 48  # channels
    dilations: Annotated[Sequence[Units], Field(min_length=1, max_length=16)] = (1, 2, 4, 8)  # of each layer, in beats
    dropout: Share = 0.2

    @property
    def reach(self) -> int:
        """Beats on each side of a beat that its output depends on."""
        return sum(self.dilations) * (KERNEL // 2)


class BeatSequence(nn.Module):
    """Residual convolutions over the features of consecutive beats."""

    def __init__(self, n_features: int, settings: SequenceSettings) -> None:
        super().__init__()
        self.settings = settings
        self.project = nn.Linear(n_features, settings.width)
        self.layers = nn.ModuleList(
            _Layer(settings.width, dilation, settings.dropout) for dilation in settings.dilations
        )

    def forward(self, features: Tensor, present: Tensor) -> Tensor:
        """Features ``[s, beats, n_features]`` of sequences, and which beats there are ``[s, beats] bool``.

        Returns ``[s, beats, width]``; beats that are not there have no influence.
        """
        states: Tensor = self.project(features)
        mask = present[:, None].to(states.dtype)
        for layer in self.layers:
            states = layer(states, mask)
        return states


class _Layer(nn.Module):
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
