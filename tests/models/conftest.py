"""Beats for the networks: random samples in [0, 1] with zero padding of different extent at their ends."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

LENGTH = 187


@pytest.fixture
def make_beats() -> Callable[[int], Tensor]:
    """Make ``n`` beats ``[n, 187]``, the same ones every time."""

    def make(n: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        signals = torch.rand(n, LENGTH, generator=generator)
        lengths = torch.randint(60, LENGTH + 1, (n, 1), generator=generator)
        return signals * (torch.arange(LENGTH) < lengths)

    return make
