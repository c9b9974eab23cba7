"""`BeatDataModule`: from a source to batches, each gathered from memory by one index operation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.batches import (
    EVAL_WINDOW,
    Batch,
    BatchSampler,
    BeatDataset,
    MixedBatch,
    SequenceDataset,
    eval_batch_size,
    seed_device,
    seed_of,
)
from ecg_lightning.data.beats import Beats, recordings_in
from ecg_lightning.data.cache import cached_beats
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.names import numbered
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.data.resampling import Resampling, resampled
from ecg_lightning.data.splits import Folds, Split, without_duplicates
from ecg_lightning.data.splits import split as split_beats
from ecg_lightning.data.stored import Storage
from ecg_lightning.data.transforms import Mixup, Transform, make_transforms


class BeatDataModule(pl.LightningDataModule):
    """Beats of a source, split, and served in batches.

    Args:
        source: where the beats come from.
        cache_dir: where they are kept once read.
        storage: how they are kept, and how much of them in memory: settings of `Storage`.
        split: settings of `Split`.
        drop_duplicates: keep equal beats once, before the split.
        batch_size: beats a training batch on each device.
        eval_batch_size: beats a batch in validation and test; None: as many as suit the device.
        resampling: settings of `Resampling`, of training beats.
        balance: exponent ``p``: a training beat is sampled ``(1 / frequency of its class) ** p`` as often. 0 takes
            each once an epoch, 1 shows every class equally often. Of windows, it weights the loss instead.
        balance_classes: those that `balance` favours, by name; the others keep their frequency. None: all.
        balance_patients, balance_databases: the same with the numbers of training beats of its patient and database;
            the three factors multiply.
        transforms: of training beats, as in `make_transforms`.
        mixup: alpha of `Mixup`; 0 mixes none.
        window: consecutive beats of a recording that are trained on together, for a network over the sequence of beats;
            None trains with beats one by one.
        reach: beats on each side that such a network sees.
        seed: of the order of the training beats, and all that is random in a step.
    """

    def __init__(
        self,
        source: Source,
        *,
        cache_dir: Path,
        storage: Mapping[str, Any] | None = None,
        split: Mapping[str, Any] | None = None,
        drop_duplicates: bool = False,
        batch_size: int = 256,
        eval_batch_size: int | None = None,
        resampling: Mapping[str, Any] | None = None,
        balance: float = 0.0,
        balance_classes: Sequence[str] | None = None,
        balance_patients: float = 0.0,
        balance_databases: float = 0.0,
        transforms: Mapping[str, Mapping[str, float] | None] | None = None,
        mixup: float = 0.0,
        window: int | None = None,
        reach: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or (eval_batch_size is not None and eval_batch_size < 1):
            raise ConfigError(f"batch_size={batch_size}, eval_batch_size={eval_batch_size}: expected at least 1")
        self.balance = {"labels": balance, "patients": balance_patients, "databases": balance_databases}  # by column
        for column, exponent in self.balance.items():
            if exponent < 0:
                name = "augmentation.balance" + f"_{column}" * (column != "labels")
                raise ConfigError(f"{name}={exponent}: expected at least 0")
        self.balance_classes = balance_classes
        self.source = source
        self.cache_dir = cache_dir
        self.storage = Storage(**(storage or {}))
        self.split_settings: dict[str, Any] = {"protocol": "random", **(split or {})}
        Split(**self.split_settings)  # fails before beats are read, which may take minutes
        self.drop_duplicates = drop_duplicates
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        how = Resampling(**resampling) if resampling else None
        self.resampling = how if how and how.method != "none" else None
        self.transform_settings = transforms or {}
        self.transforms: list[Transform] = []
        self.mixup = Mixup(alpha=mixup) if mixup else None
        self.window, self.reach = window, reach
        if window is not None and (self.resampling or self.mixup):
            raise ConfigError(
                "sequence=beats learns from beats as they follow each other: choose "
                "augmentation.resampling.method=none and augmentation.mixup=0; augmentation.balance weights classes"
            )
        self.seed = seed
        self.beats: Beats
        self.folds: Folds
        self.datasets: dict[str, BeatDataset] = {}  # by fold

    def prepare_data(self) -> None:
        """Build the cache, in one process a machine."""
        if not self.datasets:
            self.cached()

    def cached(self) -> Beats:
        """All beats of the source."""
        return cached_beats(self.source, self.cache_dir, self.storage)

    def setup(self, stage: str | None = None) -> None:
        """Load and split the beats, once for all stages."""
        if self.datasets:
            return
        beats = self.cached()
        beats = without_duplicates(beats) if self.drop_duplicates else beats
        self.use(beats, split_beats(beats, **self.split_settings))
        if self.resampling and stage in (None, "fit"):
            # The training fold only: what is tested must have no part in what is trained on.
            train = beats.select(self.folds.train)
            trained_on = resampled(
                train, self.resampling, seed=self.seed, cache_dir=self.cache_dir, storage=self.storage
            )
            self.datasets["train"] = BeatDataset(trained_on, np.arange(len(trained_on)))

    def use_all(self, *, cached: bool = True) -> None:
        """Test all beats of the source."""
        beats = self.cached() if cached else self.source.read()
        nothing = np.arange(0)
        protocol = Protocol(name="all", seed=0, by="none")
        self.use(beats, Folds(train=nothing, validation=nothing, test=np.arange(len(beats)), protocol=protocol))

    def use(self, beats: Beats, folds: Folds) -> None:
        """Serve these beats, divided in this way and not resampled, instead of those of the source."""
        self.beats, self.folds = beats, folds
        named = folds.named()
        if self.window is not None:  # as windows have them, and so do their weights; what is no sequence fails here
            named = {name: np.concatenate([rows[:0], *recordings_in(beats, rows)]) for name, rows in named.items()}
        self.datasets = {name: BeatDataset(beats, rows) for name, rows in named.items()}
        settings = dict(self.transform_settings)
        if beats.context is None:
            settings.pop("modality_dropout", None)
        self.transforms = make_transforms(settings, fs=beats.fs)

    def training_counts(self) -> list[int]:
        """How many beats of each class are trained on, once resampled."""
        train = self.datasets["train"]
        labels = train.beats.known_labels[train.rows]
        return [int(count) for count in np.bincount(labels, minlength=len(train.beats.classes))]

    def drawn_counts(self) -> list[int]:
        """How many of them an epoch shows, on average, with the balance of classes, patients and databases.

        Of windows, what the balance of classes alone would show: the loss is weighted accordingly.
        """
        balance = self.balance if self.window is None else {"labels": self.balance["labels"]}
        if (weights := self._weights(balance)) is None:
            return self.training_counts()
        train = self.datasets["train"]
        share = np.bincount(train.beats.known_labels[train.rows], weights, minlength=len(train.beats.classes))
        return [round(count) for count in share * len(train) / share.sum()]

    def sampling_weights(self) -> Tensor | None:
        """How often each training beat is sampled compared with others, ``[n_train]``; None takes each once an epoch.

        ConfigError if patients or databases are to be balanced and are not known.
        """
        return self._weights({name: p for name, p in self.balance.items() if name != "labels" or self.window is None})

    def _weights(self, balance: Mapping[str, float]) -> Tensor | None:
        if not any(balance.values()):
            return None
        train = self.datasets["train"]
        weights = torch.ones(len(train), dtype=torch.float64)
        for column, exponent in balance.items():
            if not exponent:
                continue
            values = getattr(train.beats, column)
            if values is None:
                known = "a database that states them" if column == "patients" else "several, as dataset=[mitbih,svdb]"
                known = "augmentation.resampling.method=none" if self.resampling else known
                raise ConfigError(
                    f"augmentation.balance_{column}={exponent}: the {column} of the training beats are not known; "
                    f"choose {known}, or 0"
                )
            chosen = values[train.rows]
            _, group = numbered(chosen) if column != "labels" else np.unique(chosen, return_inverse=True)
            counts = np.bincount(group)
            share = torch.from_numpy(counts[group] / len(train)).double() ** -exponent
            if column == "labels" and self.balance_classes is not None:
                classes = train.beats.classes
                if unknown := sorted(set(self.balance_classes) - set(classes)):
                    raise ConfigError(
                        f"augmentation.balance_classes={', '.join(unknown)}: expected classes of the dataset, "
                        f"{', '.join(classes)}"
                    )
                favoured = [name in self.balance_classes for name in classes]
                share[~torch.tensor(favoured)[values[train.rows]]] = 1
            weights *= share
        return weights

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training beats in an order that changes with the epoch."""
        return self._loader("train", self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation beats in order."""
        return self._loader("validation", self.eval_batch_size or eval_batch_size(self.trainer))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Test beats in order."""
        return self._loader("test", self.eval_batch_size or eval_batch_size(self.trainer))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """As Lightning does it, which looks through the batch even where there is nothing to transfer."""
        if device.type == "cpu":
            return batch
        moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch | MixedBatch:
        """Change training beats at random, on the device where they now are.

        All that is random in a training step, dropout included, follows from seed, epoch, batch and rank alone: a
        resumed run sees what the uninterrupted one would have seen.
        """
        trainer = self.trainer
        if trainer is None or not trainer.training:
            return batch
        seed_device(
            trainer.strategy.root_device,
            seed_of(self.seed, trainer.current_epoch, self._batches_done(), trainer.global_rank),
        )
        signals, lengths, context = batch.signals, batch.lengths, batch.context
        if self.window is not None:
            signals, lengths = signals.flatten(0, 1), lengths.flatten()
        for transform in self.transforms:
            signals, lengths = transform(signals, lengths)
        if self.window is not None:
            absent = batch.lengths < 0
            signals, lengths = signals.view_as(batch.signals), lengths.view_as(batch.lengths).masked_fill(absent, -1)
        if self.mixup is None:
            return batch._replace(signals=signals, lengths=lengths)
        assert batch.labels is not None
        signals, lengths, partners, share = self.mixup(signals, lengths)
        if context is not None:
            context = torch.lerp(context[partners], context, share[:, None])
        return MixedBatch(signals, lengths, batch.labels, batch.rows, batch.labels[partners], share, context)

    def _batches_done(self) -> int:
        """Training batches of this epoch that are done, also by the run that this one resumes."""
        return int(self.trainer.fit_loop.epoch_loop.batch_progress.current.ready) if self.trainer else 0

    def _loader(self, fold: str, batch_size: int, *, shuffle: bool = False) -> DataLoader[Batch]:
        dataset, n_drawn = self.datasets[fold], None
        if self.window is not None:
            margin = None if shuffle else self.reach
            length = self.window if shuffle else EVAL_WINDOW + 2 * self.reach
            dataset = SequenceDataset(dataset.beats, dataset.rows, length=length, margin=margin)
            batch_size = max(batch_size // length, 1)
            n_drawn = -(-len(dataset) // length) if shuffle else None
        batches = BatchSampler(
            len(dataset),
            batch_size,
            seed=self.seed if shuffle else None,
            reshuffle=not getattr(self.trainer, "overfit_batches", 0),
            first=self._batches_done if shuffle else int,
            weights=self.sampling_weights() if shuffle else None,
            pool=dataset.pool if shuffle else None,
            n_drawn=n_drawn,
            rank=self.trainer.global_rank if self.trainer else 0,
            n_ranks=self.trainer.world_size if self.trainer else 1,
        )
        return batch_loader(dataset, batches, self.trainer)


def batch_loader(dataset: BeatDataset, batches: BatchSampler, trainer: pl.Trainer | None = None) -> DataLoader[Batch]:
    """Serve the batches of a sampler as the dataset gathers them, in memory that a GPU of the trainer reads itself."""
    # Nothing is left to collate, and workers would only copy memory. Not as `sampler`, which the Trainer replaces by
    # one of single beats where it overfits.
    return DataLoader(
        dataset,
        batch_sampler=batches,  # type: ignore[arg-type]
        collate_fn=lambda batch: batch,
        pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
    )
