"""`BeatDataModule`: from a source to batches, each gathered from memory by one index operation."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.cache import cached_beats
from ecg_lightning.data.resampling import make_resampling, resampled
from ecg_lightning.data.source import Source
from ecg_lightning.data.splits import (
    N_FOLDS,
    Folds,
    Protocol,
    SharedPatient,
    TrainUnit,
    check_settings,
    split,
    without_duplicates,
)
from ecg_lightning.data.transforms import Mixup, Transform, make_transforms
from ecg_lightning.errors import ConfigError, DataError


class Batch(NamedTuple):
    """Some beats.

    Attributes:
        signals: ``[b, length] float32``.
        labels: ``[b] int64``.
        rows: ``[b] int64``, where the beats stand in `Beats`.
        context: ``[b, k] float32``, what is known of the beats beyond their samples, or None.
    """

    signals: Tensor
    labels: Tensor
    rows: Tensor
    context: Tensor | None = None


class MixedBatch(NamedTuple):
    """Some beats into which others were mixed.

    Attributes:
        signals: ``[b, length] float32``, of the mixtures.
        labels: ``[b] int64``.
        rows: ``[b] int64``, where the beats stand in `Beats`.
        partners: ``[b] int64``, labels of the beats that were mixed in.
        share: ``[b]``, share of the beats themselves.
        context: ``[b, k] float32``, mixed as the signals are, or None.
    """

    signals: Tensor
    labels: Tensor
    rows: Tensor
    partners: Tensor
    share: Tensor
    context: Tensor | None = None


class BeatDataset(Dataset[Batch]):
    """A fold of beats; an index is one position or, far faster, many.

    Signals stay where `Beats` has them, memory-mapped, so that the jobs of a sweep share one copy. Batches are gathered
    by numpy: torch would share out each small gather among its threads, which costs more than the gather itself.
    """

    def __init__(self, beats: Beats, rows: IntArray) -> None:
        self.beats = beats
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, positions: int | Tensor) -> Batch:
        rows = self.rows.take(positions)
        signals = torch.from_numpy(self.beats.signals.take(rows, axis=0))
        context = None
        if self.beats.context is not None:
            context = torch.as_tensor(self.beats.context.take(rows, axis=0))
        return Batch(signals, torch.as_tensor(self.beats.labels.take(rows)), torch.as_tensor(rows), context)

    def __getitems__(self, positions: Sequence[int]) -> Batch:
        """What a DataLoader with an ordinary sampler calls; its `collate_fn` has nothing left to do."""
        return self[torch.as_tensor(positions)]


class BatchSampler(Sampler[Tensor]):
    """Positions of the beats of each batch, shared out among ranks so that each beat is seen exactly once an epoch.

    PyTorch's ``DistributedSampler`` repeats beats to make the ranks' shares equal, which trains on them twice and, in
    validation, counts them twice. Here each global batch of ``batch_size · n_ranks`` beats is dealt out to the ranks,
    and a last one too small for every rank joins the one before, so that all ranks take the same number of steps.

    Args:
        n_beats: length of the dataset.
        batch_size: beats a batch on each rank.
        seed: the order of an epoch follows from seed and epoch; None keeps the beats in order.
        rank: which share.
        n_ranks: how many shares.
        reshuffle: False keeps the order of the first epoch.
        first: asked when an epoch begins for the number of its first batch, which is not 0 where a run is resumed.
        weights: ``[n_beats]``, how often each beat is drawn in proportion, with replacement; None takes each once.

    Raises:
        DataError: there are fewer beats than ranks.
    """

    def __init__(
        self,
        n_beats: int,
        batch_size: int,
        *,
        seed: int | None,
        rank: int = 0,
        n_ranks: int = 1,
        reshuffle: bool = True,
        first: Callable[[], int] = int,
        weights: Tensor | None = None,
    ) -> None:
        if n_beats < n_ranks:
            raise DataError(
                f"{n_beats} beats cannot be shared out among {n_ranks} devices; use more data or fewer devices"
            )
        self.n_beats = n_beats
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.n_ranks = n_ranks
        self.reshuffle = reshuffle
        self.epoch = 0
        self.first = first
        self.cumulated = None if weights is None else weights.double().cumsum(0)

    @property
    def sampler(self) -> Self:
        """Where the Trainer looks for `set_epoch`: torch's own batch samplers keep the order in a sampler of theirs."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch if self.reshuffle else 0

    def __len__(self) -> int:
        full, left_over = divmod(self.n_beats, self.batch_size * self.n_ranks)
        return max(full + (left_over >= self.n_ranks), 1)

    def __iter__(self) -> Iterator[Tensor]:
        if self.seed is None:
            order = torch.arange(self.n_beats)
        else:
            generator = torch.Generator().manual_seed(_seed_of(self.seed, self.epoch))
            order = self._draw(generator)
        step = self.batch_size * self.n_ranks
        for number in range(self.first(), len(self)):
            end = self.n_beats if number == len(self) - 1 else (number + 1) * step
            yield order[number * step : end][self.rank :: self.n_ranks]

    def _draw(self, generator: torch.Generator) -> Tensor:
        if self.cumulated is None:
            return torch.randperm(self.n_beats, generator=generator)
        # torch.multinomial would draw as well, of at most 2**24 beats.
        draws = torch.rand(self.n_beats, generator=generator, dtype=torch.float64) * self.cumulated[-1]
        return torch.searchsorted(self.cumulated, draws).clamp(max=self.n_beats - 1)


def _seed_of(*numbers: int) -> int:
    """A seed that depends on each of the numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class BeatDataModule(pl.LightningDataModule):
    """Beats of a source, split, and served in batches.

    Args:
        source: where the beats come from.
        cache_dir: where they are kept once read.
        protocol: how they are split: see `ecg_lightning.data.splits.split`.
        test_fraction: share of the beats to test on.
        validation_fraction: share of the rest to select on.
        split_seed: seed of the split.
        fold: which test fold of a cross-validation, or None.
        n_folds: how many there are.
        train_size: number or fraction of the training fold to train on, or None for all.
        train_unit: what `train_size` counts: ``beats`` or ``patients``.
        shared_patient: where ``ds1_ds2`` has the person of records 201 and 202.
        drop_duplicates: keep equal beats once, before the split.
        batch_size: beats a training batch on each device.
        eval_batch_size: beats a batch in validation and test.
        resampling: new or fewer training beats: see `ecg_lightning.data.resampling.Resampling`; None leaves them.
        balance: exponent ``p`` by which a training beat is drawn ``(1 / frequency of its class) ** p`` as often: 0
            takes each once an epoch, 1 shows every class equally often.
        transforms: random changes to training beats: see `ecg_lightning.data.transforms.make_transforms`.
        mixup: α of the mixing of training beats: see `ecg_lightning.data.transforms.Mixup`; 0 mixes none.
        seed: seed of the order of the training beats.
    """

    def __init__(
        self,
        source: Source,
        *,
        cache_dir: Path,
        protocol: Protocol = "random",
        test_fraction: float = 0.2,
        validation_fraction: float = 0.1,
        split_seed: int = 0,
        fold: int | None = None,
        n_folds: int = N_FOLDS,
        train_size: float | None = None,
        train_unit: TrainUnit = "beats",
        shared_patient: SharedPatient = "both",
        drop_duplicates: bool = False,
        batch_size: int = 256,
        eval_batch_size: int = 2048,
        resampling: Mapping[str, Any] | None = None,
        balance: float = 0.0,
        transforms: Mapping[str, Mapping[str, float] | None] | None = None,
        mixup: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or eval_batch_size < 1:
            raise ConfigError(f"batch_size={batch_size} and eval_batch_size={eval_batch_size}: both at least 1")
        self.source = source
        self.cache_dir = cache_dir
        self.split_settings: dict[str, Any] = {
            "protocol": protocol,
            "test_fraction": test_fraction,
            "validation_fraction": validation_fraction,
            "fold": fold,
            "n_folds": n_folds,
            "train_size": train_size,
            "train_unit": train_unit,
            "shared_patient": shared_patient,
        }
        check_settings(**self.split_settings)  # before beats are read, which may take minutes
        self.split_settings["seed"] = split_seed
        self.drop_duplicates = drop_duplicates
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.resampling = make_resampling(resampling or {"method": "none"})
        if not 0 <= balance < math.inf:
            raise ConfigError(f"augmentation.balance={balance}, expected 0 or more")
        self.balance = balance
        self.transform_settings = transforms or {}
        self.transforms: list[Transform] = []
        self.mixup = Mixup(alpha=mixup) if mixup else None
        self.seed = seed
        self.beats: Beats
        self.folds: Folds
        self.datasets: dict[str, BeatDataset] = {}

    def prepare_data(self) -> None:
        """Build the cache, in one process a machine."""
        if not self.datasets:
            cached_beats(self.source, self.cache_dir)

    def setup(self, stage: str | None = None) -> None:
        """Load and split the beats, once for all stages."""
        if self.datasets:
            return
        beats = cached_beats(self.source, self.cache_dir)
        beats = without_duplicates(beats) if self.drop_duplicates else beats
        self.use(beats, split(beats, **self.split_settings))
        if self.resampling and stage in (None, "fit"):
            # Of the training fold alone: what is tested must not have had a part in what is trained on.
            trained_on = resampled(
                beats.select(self.folds.train), self.resampling, seed=self.seed, cache_dir=self.cache_dir
            )
            self.datasets["train"] = BeatDataset(trained_on, np.arange(len(trained_on)))

    def use(self, beats: Beats, folds: Folds) -> None:
        """Serve these beats, divided in this way and not resampled, in place of those of the source."""
        self.beats, self.folds = beats, folds
        self.datasets = {name: BeatDataset(self.beats, rows) for name, rows in self.folds.named().items()}
        settings = dict(self.transform_settings)
        if beats.context is None:
            settings.pop("modality_dropout", None)  # nothing would be left of a beat
        self.transforms = make_transforms(settings, fs=beats.fs)

    def training_counts(self) -> list[int]:
        """How many beats of each class are trained on, once resampled."""
        return [int(count) for count in self._training_counts()]

    def drawn_counts(self) -> list[int]:
        """How many of them an epoch shows, on average, where it draws them as `balance` says."""
        counts = self._training_counts()
        drawn = np.power(counts, 1 - self.balance, out=np.zeros(len(counts)), where=counts > 0)
        return [round(count) for count in drawn * counts.sum() / drawn.sum()]

    def _training_counts(self) -> IntArray:
        train = self.datasets["train"]
        return np.bincount(train.beats.labels[train.rows], minlength=len(train.beats.classes))

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training beats in an order that changes with the epoch."""
        return self._loader("train", self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation beats in order."""
        return self._loader("validation", self.eval_batch_size)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test beats in order."""
        return self._loader("test", self.eval_batch_size)

    def eval_dataloader(self, fold: str) -> DataLoader[Batch]:
        """Beats of ``test`` or ``validation``, in order."""
        return self.test_dataloader() if fold == "test" else self.val_dataloader()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch | MixedBatch:
        """Change training beats at random, on the device where they now are.

        All that is random in a training step, dropout included, follows from seed, epoch, batch and rank and from
        nothing before it: a resumed run draws what the uninterrupted one would have drawn.
        """
        if self.trainer is None or not self.trainer.training:
            return batch
        trainer = self.trainer
        torch.manual_seed(_seed_of(self.seed, trainer.current_epoch, self._batches_done(), trainer.global_rank))
        signals, context = batch.signals, batch.context
        for transform in self.transforms:
            signals = transform(signals)
        if self.mixup is None:
            return batch._replace(signals=signals)
        signals, partners, share = self.mixup(signals)
        if context is not None:
            context = torch.lerp(context[partners], context, share)
        return MixedBatch(signals, batch.labels, batch.rows, batch.labels[partners], share.squeeze(1), context)

    def _batches_done(self) -> int:
        """Training batches of this epoch that the Trainer has behind it, in a run that it resumes as well."""
        return int(self.trainer.fit_loop.epoch_loop.batch_progress.current.ready) if self.trainer else 0

    def _loader(self, fold: str, batch_size: int, *, shuffle: bool = False) -> DataLoader[Batch]:
        dataset = self.datasets[fold]
        weights = None
        if shuffle and self.balance:
            counts = torch.from_numpy(self._training_counts())
            weights = counts[torch.from_numpy(dataset.beats.labels[dataset.rows])].double() ** -self.balance
        batches = BatchSampler(
            len(dataset),
            batch_size,
            seed=self.seed if shuffle else None,
            reshuffle=not getattr(self.trainer, "overfit_batches", 0),
            first=self._batches_done if shuffle else int,
            weights=weights,
            rank=self.trainer.global_rank if self.trainer else 0,
            n_ranks=self.trainer.world_size if self.trainer else 1,
        )
        # The dataset gives whole batches, so there is nothing to collate; workers would only copy memory about. Not as
        # `sampler`, which the Trainer would replace by one of single beats where it overfits.
        return DataLoader(
            dataset,
            batch_sampler=batches,  # type: ignore[arg-type]
            collate_fn=_as_it_is,
            pin_memory=torch.cuda.is_available(),
        )


def _as_it_is(batch: Any) -> Any:
    return batch
