"""Batches of beats, gathered by one index operation and divided among devices so that each beat is seen once.

A network over the sequence of beats sees windows of consecutive beats of a recording, ``[s, beats, …]`` in place of
``[b, …]``, see `SequenceDataset`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats, FloatArray, IntArray, recordings_in
from ecg_lightning.data.stored import BLOCK, StoredSignals

EVAL_BATCH, EVAL_BATCH_ON_CPU = 2048, 256  # more would leave the CPU's cache, which takes up to twice as long
EVAL_WINDOW = 256  # beats of a recording that are predicted at once, without those around them


def eval_batch_size(trainer: pl.Trainer | None) -> int:
    """How many beats are predicted at once on the trainer's device."""
    on_cpu = trainer is None or trainer.strategy.root_device.type == "cpu"
    return EVAL_BATCH_ON_CPU if on_cpu else EVAL_BATCH


class Batch(NamedTuple):
    """Some beats; in windows, a length of -1 is no beat, and a row of -1 is not to be learnt from or predicted."""

    signals: Tensor  # [b, leads, length] float32
    lengths: Tensor  # [b] int64, samples of each beat before its padding
    labels: Tensor | None  # [b] int64
    rows: Tensor  # [b] int64, positions in `Beats`
    context: Tensor | None = None  # [b, k] float32


class MixedBatch(NamedTuple):
    """A `Batch` with signals, lengths and context into which other beats were mixed."""

    signals: Tensor
    lengths: Tensor
    labels: Tensor
    rows: Tensor
    partners: Tensor  # [b] int64, labels of the beats that were mixed in
    share: Tensor  # [b], of the beats themselves
    context: Tensor | None = None


class BeatDataset(Dataset[Batch]):
    """A fold of beats; an index is one position or, far faster, many.

    Signals stay where `Beats` has them, memory-mapped, so that the jobs of a sweep and the devices of a run share one
    copy. Batches are gathered by numpy, in two dimensions: torch would divide each small gather among its threads, and
    in three dimensions it takes longer.
    """

    def __init__(self, beats: Beats, rows: IntArray) -> None:
        self.beats = beats
        self.rows = rows
        self.pool: int | None = None  # beats that are shuffled together where signals do not fit into memory
        self._flat: FloatArray | None = None
        if isinstance(beats.signals, StoredSignals):
            self.pool = beats.signals.pool
        elif beats.signals.flags.c_contiguous:
            self._flat = beats.signals.reshape(len(beats), -1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: int | Tensor) -> Batch:
        rows = self.rows.take(positions)
        # `take` is the fastest, but copies all of an array whose rows share memory, as those of simulated people do.
        flat = self.beats.signals[rows] if self._flat is None else self._flat.take(rows, axis=0)
        signals = torch.from_numpy(flat.reshape(*rows.shape, *self.beats.signals.shape[1:]))
        lengths, labels, context = (
            None if column is None else torch.as_tensor(column.take(rows, axis=0))
            for column in (self.beats.lengths, self.beats.labels, self.beats.context)
        )
        assert lengths is not None
        return Batch(signals, lengths, labels, torch.as_tensor(rows), context)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """What a DataLoader with an ordinary sampler calls; its `collate_fn` has nothing left to do."""
        return self[torch.as_tensor(positions)]


class SequenceDataset(BeatDataset):
    """A fold of whole recordings in windows of `length` consecutive beats, in order of time; an index is a window.

    Without `margin`, there is a window around each beat, to train with some of them. With it, windows follow each other
    and overlap so that each beat is predicted once, with at least `margin` beats on each side where the recording has
    them; what overlaps has rows of -1.
    """

    def __init__(self, beats: Beats, rows: IntArray, *, length: int, margin: int | None = None) -> None:
        parts = recordings_in(beats, rows)
        super().__init__(beats, np.concatenate(parts))
        sizes = np.array([len(part) for part in parts])
        n, begins = len(self.rows), np.cumsum(sizes) - sizes
        # Places in time, with room for a whole window before, between and after recordings.
        firsts = begins + length * np.arange(1, len(begins) + 1)
        places = np.repeat(firsts - begins, sizes) + np.arange(n)
        self._at = np.full(n + length * (len(begins) + 1), -1)
        self._at[places] = np.arange(n)
        self._margin, self._offsets = margin or 0, np.arange(length)
        if margin is None:
            self._starts = places - length // 2
        else:
            ranges = [
                np.arange(first, first + size, length - 2 * margin) - margin
                for first, size in zip(firsts, sizes, strict=True)
            ]
            self._starts = np.concatenate(ranges)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, windows: int | Tensor) -> Batch:
        positions = self._at[self._starts.take(windows)[..., None] + self._offsets]
        batch = super().__getitem__(torch.from_numpy(positions))
        absent = torch.from_numpy(positions < 0)
        counted = ~absent
        counted[..., : self._margin] = False
        counted[..., len(self._offsets) - self._margin :] = False
        return batch._replace(
            signals=batch.signals.masked_fill_(absent[..., None, None], 0),
            lengths=batch.lengths.masked_fill(absent, -1),
            rows=batch.rows.masked_fill(~counted, -1),
            context=None if batch.context is None else batch.context.masked_fill(absent[..., None], 0),
        )


@dataclass(eq=False)
class BatchSampler(Sampler[Tensor]):
    """Positions of the beats of each batch, divided among ranks so that each beat is seen exactly once an epoch.

    PyTorch's ``DistributedSampler`` repeats beats to make the ranks' shares equal, and validation counts them twice.
    Here each global batch of ``batch_size · n_ranks`` beats is divided among the ranks, and a last one too small for
    every rank joins the one before, so that all ranks take the same number of steps.

    Where beats are in a file that does not fit into memory, those of an epoch are ordered by pools: blocks of `BLOCK`
    beats that follow each other are assigned to pools at random, anew in each epoch, and the beats of a pool are
    shuffled. So each pool is a random part of all records, and is read from the file once.
    """

    n_beats: int
    batch_size: int  # on each rank
    _: KW_ONLY
    seed: int | None  # the order of an epoch follows from seed and epoch; None keeps the beats in order
    rank: int = 0
    n_ranks: int = 1
    reshuffle: bool = True  # False keeps the order of the first epoch
    first: Callable[[], int] = int  # called when an epoch begins: its first batch, not 0 where a run is resumed
    weights: Tensor | None = None  # [n_beats], to sample with replacement in proportion; None takes each beat once
    pool: int | None = None  # beats of a pool; None shuffles all together
    n_drawn: int | None = None  # so many of the beats an epoch, at random; None takes as many as there are

    def __post_init__(self) -> None:
        if self.n_beats < self.n_ranks:
            raise DataError(
                f"{self.n_beats} beats cannot be divided among {self.n_ranks} devices; use more data or fewer devices"
            )
        self.epoch = 0
        self._n_drawn = self.n_drawn or self.n_beats
        self.cumulated = None if self.weights is None else self.weights.double().cumsum(0)

    @property
    def sampler(self) -> Self:
        """Where the Trainer looks for `set_epoch`, as in torch's own batch samplers."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch if self.reshuffle else 0

    def __len__(self) -> int:
        full, left_over = divmod(self._n_drawn, self.batch_size * self.n_ranks)
        return max(full + (left_over >= self.n_ranks), 1)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.arange(self.n_beats) if self.seed is None else self._order(seed_of(self.seed, self.epoch))
        step = self.batch_size * self.n_ranks
        for number in range(self.first(), len(self)):
            end = self._n_drawn if number == len(self) - 1 else (number + 1) * step
            yield order[number * step : end][self.rank :: self.n_ranks]

    def _order(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if self.cumulated is None:
            order = torch.randperm(self.n_beats, generator=generator)[: self._n_drawn]
        else:  # torch.multinomial takes at most 2**24 beats
            places = torch.rand(self._n_drawn, generator=generator, dtype=torch.float64) * self.cumulated[-1]
            order = torch.searchsorted(self.cumulated, places).clamp(max=self.n_beats - 1)
        if self.pool is None:
            return order
        n_pools = -(-self.n_beats // self.pool)
        pool_of = torch.randperm(-(-self.n_beats // BLOCK), generator=generator) % n_pools  # of each block
        return order[pool_of[order // BLOCK].argsort(stable=True)]


def seed_of(*numbers: int) -> int:
    """A seed that depends on each of the numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_device(device: torch.device, seed: int) -> None:
    """What `torch.manual_seed` does, for one device: for all, it takes as long as some steps."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)
