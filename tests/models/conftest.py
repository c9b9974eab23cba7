"""Beats for the networks: random samples in [0, 1] with zero padding of different extent at their ends."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

LENGTH = 187


@pytest.fixture
def make_beats() -> Callable[..., tuple[Tensor, Tensor]]:
    """Make ``n`` beats, signals ``[n, leads, 187]`` and lengths ``[n]``, the same ones every time."""

    def make(n: int, leads: int = 1) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(0)
        signals = torch.rand(n, leads, LENGTH, generator=generator)
        lengths = torch.randint(60, LENGTH + 1, (n,), generator=generator)
        return signals * (torch.arange(LENGTH) < lengths[:, None, None]), lengths

    return make
