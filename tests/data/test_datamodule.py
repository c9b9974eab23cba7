"""Batches: every beat exactly once an epoch on however many devices, and random changes to training beats only."""

import dataclasses
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from made import simulated
from torch import Tensor
from torch.utils.data import BatchSampler as TorchBatchSampler
from torch.utils.data import DataLoader, DistributedSampler, RandomSampler, SequentialSampler

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.batches import Batch, BatchSampler, BeatDataset, MixedBatch
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.data.splits import Folds
from ecg_lightning.training.loss import BeatLoss, LossSettings

SOURCE = simulated(patients=3, minutes=1)
CONTEXT = {"rhythm": True, "morphology": True, "before": 0.0}


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def module_of(cache_dir: Path, **settings: Any) -> BeatDataModule:
    source = settings.pop("source", SOURCE)
    module = BeatDataModule(source, cache_dir=cache_dir, **({"batch_size": 32, "eval_batch_size": 7} | settings))
    module.prepare_data()
    module.setup()
    return module


def ranks(n_beats: int, batch_size: int, n_ranks: int, *, seed: int | None = 0, epoch: int = 0) -> list[list[Tensor]]:
    """The batches of each rank."""
    shares = []
    for rank in range(n_ranks):
        sampler = BatchSampler(n_beats, batch_size, seed=seed, rank=rank, n_ranks=n_ranks)
        sampler.set_epoch(epoch)
        shares.append(list(sampler))
        assert len(sampler) == len(shares[-1])
    return shares


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_every_beat_comes_exactly_once_and_every_rank_takes_as_many_steps(batch_size: int, n_ranks: int) -> None:
    for n_beats, seed in product([3, 4, 5, 8, 23, 24, 25, 26, 27, 99, 100, 101], [None, 0]):
        shares = ranks(n_beats, batch_size, n_ranks, seed=seed)
        assert len({len(batches) for batches in shares}) == 1
        assert sorted(torch.cat([batch for batches in shares for batch in batches]).tolist()) == list(range(n_beats))
        sizes = [len(batch) for batches in shares for batch in batches]
        assert min(sizes) >= 1
        assert max(sizes) <= batch_size + (n_ranks > 1)


def test_ranks_share_the_global_batch_that_one_device_would_take() -> None:
    (one,) = ranks(96, 16, 1)
    for share in zip(one, *ranks(96, 8, 2), strict=True):
        whole, *parts = (set(batch.tolist()) for batch in share)
        assert set.union(*parts) == whole


def test_the_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat(ranks(50, 8, 1, seed=seed, epoch=epoch)[0]).tolist()

    assert order(0, 0) == order(0, 0)
    different = [order(seed, epoch) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert len({tuple(own) for own in different}) == 9
    assert list(range(50)) not in different


def test_the_order_does_not_hang_on_what_else_is_drawn_at_random() -> None:
    torch.manual_seed(1)
    first = ranks(50, 8, 1)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert all(torch.equal(one, other) for one, other in zip(first[0], ranks(50, 8, 1)[0], strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_first_order_stays_where_it_is_to_be_overfitted() -> None:
    sampler = BatchSampler(50, 8, seed=0, reshuffle=False)
    first = torch.cat(list(sampler))
    sampler.set_epoch(3)
    assert torch.equal(torch.cat(list(sampler)), first)


def test_balanced_drawing_shows_every_class_equally_often(cache_dir: Path) -> None:
    def shown(balance: float) -> np.ndarray[Any, np.dtype[np.int64]]:
        module = module_of(cache_dir, balance=balance)
        loader = module.train_dataloader()
        drawn = []
        for epoch in range(8):
            loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
            drawn += [batch.labels for batch in loader]
        counts = np.bincount(torch.cat(drawn), minlength=5)
        assert counts.sum() == 8 * len(module.folds.train)
        expected = module.drawn_counts()
        np.testing.assert_allclose(counts / counts.sum(), np.array(expected) / sum(expected), atol=0.03)
        return counts

    as_they_are, balanced = shown(0.0), shown(1.0)
    assert as_they_are.max() > 5 * as_they_are[as_they_are > 0].min()
    there = balanced[as_they_are > 0]
    assert there.max() < 1.3 * there.min()


def test_only_the_training_fold_is_resampled_and_only_to_train(cache_dir: Path) -> None:
    resampling = {"method": "random_over"}
    module, plain = module_of(cache_dir, resampling=resampling), module_of(cache_dir)
    trained_on = module.datasets["train"].beats
    assert set(trained_on.counts().values()) <= {0, max(plain.training_counts())}
    assert module.training_counts() == list(trained_on.counts().values()) == module.drawn_counts()
    own = {signal.tobytes() for signal in module.beats.signals[module.folds.train]}
    assert {signal.tobytes() for signal in trained_on.signals} == own, "no beat of another fold has a part in it"
    for fold in ("validation", "test"):
        assert module.datasets[fold].rows.tolist() == plain.datasets[fold].rows.tolist()
    batches = list(module.train_dataloader())
    assert sum(len(batch.labels) for batch in batches) == len(trained_on)
    for batch in batches:
        np.testing.assert_array_equal(batch.signals, trained_on.signals[batch.rows])

    tested = BeatDataModule(SOURCE, cache_dir=cache_dir, resampling=resampling)
    tested.setup("test")
    assert len(tested.datasets["train"]) == len(plain.datasets["train"])


def test_no_resampling_is_none_whatever_its_other_settings(tmp_path: Path) -> None:
    for settings in (None, {"method": "none"}, {"method": "none", "neighbours": 3}):
        assert BeatDataModule(SOURCE, cache_dir=tmp_path, resampling=settings).resampling is None


@pytest.mark.parametrize("name", ["balance", "balance_patients", "balance_databases"])
def test_a_nonsensical_balance_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"augmentation\.{name}=-1: expected at least 0"):
        BeatDataModule(SOURCE, cache_dir=tmp_path, **{name: -1})


def two_databases() -> Beats:
    """Of database a one patient with 400 beats and one with 100, of b one with 100; S is a tenth of each."""
    owner = np.repeat(["a/1", "a/2", "b/1"], [400, 100, 100])
    return Beats(
        signals=np.random.default_rng(0).uniform(0.01, 1, (600, 1, 8)).astype(np.float32), lengths=np.full(600, 8),
        lead_names=("II",), labels=np.arange(600) % 10 // 9, classes=("N", "S"), fs=125.0, patients=owner,
        databases=np.char.partition(owner, "/")[:, 0], records=owner,
    )  # fmt: skip


def shown_of(beats: Beats, column: str, **balance: float) -> dict[str, float]:
    """The share of each patient, database or class in twenty epochs, all beats being trained on."""
    module = BeatDataModule(SOURCE, cache_dir=Path(), batch_size=100, **balance)  # type: ignore[arg-type]
    nothing, protocol = np.arange(0), Protocol(name="all", seed=0, by="none")
    module.use(beats, Folds(train=np.arange(len(beats)), validation=nothing, test=nothing, protocol=protocol))
    loader, rows = module.train_dataloader(), []
    for epoch in range(20):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        rows += [batch.rows for batch in loader]
    drawn = torch.cat(rows).numpy()
    assert len(drawn) == 20 * len(beats)
    counts = np.bincount(beats.known_labels[drawn], minlength=2) / 20
    np.testing.assert_allclose(module.drawn_counts(), counts, rtol=0.1)
    names, found = np.unique(beats.columns[column][drawn], return_counts=True)
    return dict(zip(names.tolist(), (found / found.sum()).round(2).tolist(), strict=True))


def test_people_and_databases_are_sampled_as_often_as_asked() -> None:
    beats = two_databases()
    assert shown_of(beats, "patients") == {"a/1": 0.67, "a/2": 0.17, "b/1": 0.17}
    equal = shown_of(beats, "patients", balance_patients=1)
    assert all(share == pytest.approx(1 / 3, abs=0.02) for share in equal.values())
    half = shown_of(beats, "patients", balance_patients=0.5)  # weights 20, 10, 10
    assert half == pytest.approx({"a/1": 0.5, "a/2": 0.25, "b/1": 0.25}, abs=0.02)
    assert shown_of(beats, "databases", balance_databases=1) == pytest.approx({"a": 0.5, "b": 0.5}, abs=0.02)


def test_balances_of_classes_people_and_databases_multiply_and_the_loss_knows_what_is_sampled() -> None:
    beats = two_databases()
    both = shown_of(beats, "patients", balance_patients=1, balance_databases=1)  # 1 / 500, 1 / 500, 1 / 100
    assert both == pytest.approx({"a/1": 1 / 7, "a/2": 1 / 7, "b/1": 5 / 7}, abs=0.02)
    assert shown_of(beats, "labels", balance=1, balance_patients=1) == pytest.approx({0: 0.5, 1: 0.5}, abs=0.02)
    # Where only one patient has a class, that class is sampled more or less often with the patient.
    only = dataclasses.replace(beats, labels=(beats.patients == "b/1").astype(np.int64))
    assert shown_of(only, "labels", balance_patients=1) == pytest.approx({0: 2 / 3, 1: 1 / 3}, abs=0.02)


def test_windows_are_sampled_by_databases_and_their_loss_is_weighted_by_classes() -> None:
    beats = two_databases().select(np.arange(600)[::-1])  # not in the order of their recordings
    module = BeatDataModule(SOURCE, cache_dir=Path(), batch_size=100, window=4, balance=1, balance_databases=1)
    nothing, protocol = np.arange(0), Protocol(name="all", seed=0, by="none")
    module.use(beats, Folds(train=np.arange(600), validation=nothing, test=nothing, protocol=protocol))
    loader, rows = module.train_dataloader(), []
    for epoch in range(20):
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]
        rows += [batch.rows[:, 2] for batch in loader]  # in the middle, where there is a beat in each
    drawn = beats.columns["databases"][torch.cat(rows).numpy()]
    assert (drawn == "b").mean() == pytest.approx(0.5, abs=0.03)
    assert (module.training_counts(), module.drawn_counts()) == ([540, 60], [300, 300])
    weights = BeatLoss(LossSettings(), module.training_counts(), module.drawn_counts(), weighted=True).weights
    torch.testing.assert_close(weights, torch.tensor([300 / 540, 5]))


def test_named_classes_are_favoured_and_others_keep_their_frequency(cache_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"balance_classes=V1: expected classes of the dataset, N, S, V, F, Q"):
        module_of(cache_dir, balance=1, balance_classes=["V1", "S"]).drawn_counts()
    module = module_of(cache_dir, balance=1, balance_classes=["S"])
    there, shown = module.training_counts(), module.drawn_counts()
    assert shown[1] > there[1] and shown[0] / shown[2] == pytest.approx(there[0] / there[2], rel=0.05)


def test_people_or_databases_that_are_not_known_cannot_be_balanced(cache_dir: Path) -> None:
    with pytest.raises(ConfigError, match=r"balance_databases=0\.5: the databases .* not known; choose several"):
        module_of(cache_dir, balance_databases=0.5).drawn_counts()
    with pytest.raises(ConfigError, match=r"balance_patients=1: the patients .*choose .*resampling\.method=none"):
        module_of(cache_dir, balance_patients=1, resampling={"method": "smote"}).train_dataloader()


def test_fewer_beats_than_devices_are_refused() -> None:
    with pytest.raises(DataError, match="2 beats cannot be divided among 3 devices"):
        BatchSampler(2, 8, seed=0, n_ranks=3)


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"eval_batch_size": -1}])
def test_batches_of_nothing_are_refused(tmp_path: Path, settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{'='.join(map(str, *settings.items()))}.*at least 1"):
        BeatDataModule(SOURCE, cache_dir=tmp_path, **settings)  # type: ignore[arg-type]


def test_the_loaders_give_the_beats_of_their_fold_with_labels_and_rows(cache_dir: Path) -> None:
    module = module_of(cache_dir)
    loaders = {
        "train": module.train_dataloader(),
        "validation": module.val_dataloader(),
        "test": module.test_dataloader(),
    }
    for name, loader in loaders.items():
        batches = list(loader)
        assert len(loader) == len(batches) > 1
        assert all(batch.context is None for batch in batches)
        signals, lengths, labels, rows = (torch.cat(parts) for parts in list(zip(*batches, strict=True))[:4])
        assert signals.dtype == torch.float32
        assert (lengths.dtype, labels.dtype, rows.dtype) == (torch.int64, torch.int64, torch.int64)
        fold = module.folds.named()[name]
        if name == "train":
            assert rows.tolist() != fold.tolist()
            assert sorted(rows.tolist()) == fold.tolist()
        else:
            assert rows.tolist() == fold.tolist()
        np.testing.assert_array_equal(signals, module.beats.signals[rows])
        np.testing.assert_array_equal(lengths, module.beats.lengths[rows])
        np.testing.assert_array_equal(labels, module.beats.known_labels[rows])


def test_beats_of_two_leads_without_labels_come_in_batches(cache_dir: Path) -> None:
    beats = dataclasses.replace(simulated(patients=3, minutes=1, leads=["II", "V1"]).read(), labels=None)
    batch = BeatDataset(beats, np.arange(len(beats)))[torch.tensor([5, 3])]
    assert batch.labels is None and batch.context is None
    np.testing.assert_array_equal(batch.signals, beats.signals[[5, 3]])
    np.testing.assert_array_equal(batch.lengths, beats.lengths[[5, 3]])


def test_a_batch_can_be_written_into_without_harm_to_the_beats(cache_dir: Path) -> None:
    module = module_of(cache_dir)
    before = module.beats.signals.copy()
    for batch in module.test_dataloader():
        batch.signals.zero_()
    np.testing.assert_array_equal(module.beats.signals, before)


def test_settings_of_the_split_reach_it(cache_dir: Path) -> None:
    random = module_of(cache_dir, split={"test_fraction": 0.5, "seed": 3})
    assert len(random.folds.test) == pytest.approx(len(random.beats) / 2, abs=3)
    assert random.folds.protocol.seed == 3
    part = module_of(cache_dir, split={"fold": 1, "n_folds": 3, "train_size": 30})
    assert (part.folds.protocol.fold, part.folds.protocol.n_folds) == (1, 3) and len(part.datasets["train"]) == 30
    for wrong, said in (({"fold": 3, "n_folds": 3}, "fold=3 of n_folds=3"), ({"folds": 3}, "folds")):
        with pytest.raises(ConfigError, match=said):
            BeatDataModule(SOURCE, cache_dir=cache_dir / "nothing_is_read", split=wrong)
    by_patient = module_of(cache_dir, split={"protocol": "patient"})
    assert by_patient.beats.patients is not None
    sides = [set(by_patient.beats.patients[rows]) for rows in by_patient.folds.named().values()]
    assert [len(side) for side in sides] == [1, 1, 1]


def test_duplicates_are_dropped_before_the_split_if_so_set(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beats = SOURCE.read()
    doubled = beats.select(np.arange(2 * len(beats)) // 2)
    monkeypatch.setattr("ecg_lightning.data.datamodule.cached_beats", lambda *_: doubled)
    assert len(module_of(cache_dir).beats) == 2 * len(beats)
    assert module_of(cache_dir, drop_duplicates=True).beats.fingerprint == beats.fingerprint


def test_ordinary_samplers_and_loaders_work_on_the_dataset(cache_dir: Path) -> None:
    dataset: BeatDataset = module_of(cache_dir).datasets["test"]
    beat = dataset[3]
    assert (beat.signals.shape, int(beat.rows)) == ((1, 187), int(dataset.rows[3]))

    def collate(batch: Any) -> Any:
        return batch

    for loader in (
        DataLoader(dataset, batch_size=5, collate_fn=collate),
        DataLoader(dataset, batch_size=5, shuffle=True, collate_fn=collate),
        DataLoader(dataset, batch_sampler=TorchBatchSampler(RandomSampler(dataset), 5, False), collate_fn=collate),
        DataLoader(dataset, sampler=SequentialSampler(dataset), batch_size=5, collate_fn=collate),
    ):
        batches = list(loader)
        assert all(isinstance(batch, Batch) and batch.signals.shape[1:] == (1, 187) for batch in batches)
        assert sorted(torch.cat([batch.rows for batch in batches]).tolist()) == dataset.rows.tolist()
    shares = [
        torch.cat([batch.rows for batch in DataLoader(dataset, batch_size=5, sampler=sampler, collate_fn=collate)])
        for sampler in (DistributedSampler(dataset, 2, rank, shuffle=False) for rank in (0, 1))
    ]
    assert set(torch.cat(shares).tolist()) == set(dataset.rows.tolist())


class Looker(pl.LightningModule):
    """Notes what comes to each of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: dict[str, list[list[Batch]]] = {}

    def on_train_epoch_start(self) -> None:
        self.seen.setdefault("train", []).append([])

    def on_validation_epoch_start(self) -> None:
        stage = "sanity" if self.trainer.sanity_checking else "validation"
        self.seen.setdefault(stage, []).append([])

    def on_test_epoch_start(self) -> None:
        self.seen.setdefault("test", []).append([])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen["train"][-1].append(batch)
        return self.weight * batch.signals.mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.seen["sanity" if self.trainer.sanity_checking else "validation"][-1].append(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.seen["test"][-1].append(batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Batch:
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def rows(self, stage: str) -> list[list[int]]:
        return [torch.cat([batch.rows for batch in epoch]).tolist() for epoch in self.seen[stage]]


def trainer_of(tmp_path: Path, **settings: Any) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(accelerator="cpu", devices=1, default_root_dir=tmp_path, **(quiet | settings))


@pytest.fixture(scope="module")
def looked(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Looker, BeatDataModule]:
    """Three epochs of training with noise, and the test, through a Trainer."""
    module = module_of(cache_dir, transforms={"noise": {"sigma": 0.1}})
    looker = Looker()
    trainer = trainer_of(tmp_path_factory.mktemp("run"), max_epochs=3)
    trainer.fit(looker, module)
    trainer.test(looker, module, verbose=False)
    return looker, module


def test_under_a_trainer_each_epoch_has_every_training_beat_once_in_an_order_of_its_own(
    looked: tuple[Looker, BeatDataModule],
) -> None:
    looker, module = looked
    epochs = looker.rows("train")
    assert len(epochs) == 3
    for rows in epochs:
        assert sorted(rows) == module.folds.train.tolist()
    assert all(one != other for one, other in pairwise(epochs))


def test_under_a_trainer_validation_and_test_beats_come_in_order(looked: tuple[Looker, BeatDataModule]) -> None:
    looker, module = looked
    assert looker.rows("validation") == [module.folds.validation.tolist()] * 3
    assert looker.rows("test") == [module.folds.test.tolist()]


def test_transforms_touch_training_beats_and_no_others(looked: tuple[Looker, BeatDataModule]) -> None:
    looker, module = looked
    assert set(looker.seen) == {"sanity", "train", "validation", "test"}
    for stage, epochs in looker.seen.items():
        for batch in (batch for epoch in epochs for batch in epoch):
            own = module.beats.signals[batch.rows]
            if stage == "train":
                assert (batch.signals.numpy() != own).any(axis=(1, 2)).all()
            else:
                np.testing.assert_array_equal(batch.signals, own)


def test_mixed_beats_tell_of_both_their_labels(cache_dir: Path, tmp_path: Path) -> None:
    module = module_of(cache_dir, mixup=0.4)
    looker = Looker()
    trainer_of(tmp_path, max_epochs=1).fit(looker, module)
    for batch in looker.seen["train"][0]:
        assert isinstance(batch, MixedBatch)
        own = module.beats.signals[batch.rows]
        # What is not the beat's own is one of the batch, of the class that it says.
        share = batch.share[:, None, None].numpy()
        others = (batch.signals.numpy() - share * own) / (1 - share)
        partner = np.abs(others[:, None] - own[None]).max(axis=(2, 3)).argmin(axis=1)
        mixed = (batch.share < 0.99).numpy()
        assert mixed.any()
        np.testing.assert_array_equal(batch.labels.numpy()[partner][mixed], batch.partners.numpy()[mixed])
    assert not any(isinstance(batch, MixedBatch) for batch in looker.seen["validation"][0])


def test_the_same_seed_trains_on_the_same_batches(cache_dir: Path, tmp_path: Path) -> None:
    def run(seed: int) -> Looker:
        pl.seed_everything(seed, verbose=False)
        looker = Looker()
        module = module_of(cache_dir, transforms={"time_stretch": {"spread": 0.1}}, seed=seed)
        trainer_of(tmp_path, max_epochs=2).fit(looker, module)
        return looker

    first, again, other = run(0), run(0), run(1)
    assert first.rows("train") == again.rows("train") != other.rows("train")
    for one, same in zip(first.seen["train"], again.seen["train"], strict=True):
        assert all(torch.equal(a.signals, b.signals) for a, b in zip(one, same, strict=True))


def test_overfitting_trains_on_the_same_beats_each_epoch(cache_dir: Path, tmp_path: Path) -> None:
    looker = Looker()
    trainer_of(tmp_path, max_epochs=3, overfit_batches=2).fit(looker, module_of(cache_dir))
    first, *rest = looker.rows("train")
    assert len(set(first)) == 64
    assert rest == [first, first]


def test_the_whole_path_runs_in_a_dry_run(cache_dir: Path, tmp_path: Path) -> None:
    looker = Looker()
    trainer_of(tmp_path, fast_dev_run=True).fit(looker, module_of(cache_dir))
    assert [len(epoch) for epoch in looker.seen["train"]] == [1]
    assert len(looker.rows("train")[0]) == 32


def test_setting_up_again_changes_nothing_and_reads_nothing(cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = module_of(cache_dir)
    monkeypatch.setattr("ecg_lightning.data.datamodule.cached_beats", lambda *_: pytest.fail("read again"))
    datasets = module.datasets
    module.prepare_data()
    module.setup("test")
    assert module.datasets is datasets


def test_context_comes_with_their_beats_and_are_mixed_with_them(cache_dir: Path, tmp_path: Path) -> None:
    source = simulated(patients=3, minutes=1, context=CONTEXT)
    module = BeatDataModule(source, cache_dir=cache_dir, batch_size=32, eval_batch_size=7, mixup=0.4)
    looker = Looker()
    trainer_of(tmp_path, max_epochs=1).fit(looker, module)
    context = module.beats.context
    assert context is not None
    for batch in looker.seen["validation"][0]:
        np.testing.assert_array_equal(batch.context, context[batch.rows])
    for batch in looker.seen["train"][0]:
        assert isinstance(batch, MixedBatch) and batch.context is not None
        share = batch.share[:, None].numpy()
        mixed = share[:, 0] < 0.99
        partner = (batch.context.numpy() - share * context[batch.rows])[mixed] / (1 - share[mixed])
        # The partner is the same beat as that of the signals.
        own = module.beats.signals[batch.rows][:, 0]
        others = (batch.signals.numpy()[:, 0] - share * own)[mixed] / (1 - share[mixed])
        found = np.abs(others[:, None] - own[None]).max(axis=2).argmin(axis=1)
        np.testing.assert_allclose(partner, context[batch.rows][found], atol=1e-3)


def test_resampling_balance_and_context_see_the_training_side_alone(cache_dir: Path) -> None:
    source = simulated(patients=3, minutes=1, context=CONTEXT)
    module = BeatDataModule(source, cache_dir=cache_dir, split={"protocol": "patient"}, resampling={"method": "smote"})
    module.setup()
    beats, trained_on = module.beats, module.datasets["train"].beats
    assert beats.patients is not None and beats.context is not None and trained_on.context is not None
    sides = [set(beats.patients[rows]) for rows in module.folds.named().values()]
    assert len(set().union(*sides)) == sum(map(len, sides))
    n_own = len(module.folds.train)
    np.testing.assert_array_equal(trained_on.context[:n_own], beats.context[module.folds.train])
    # What lies between training beats is within their range.
    of_training = beats.context[module.folds.train]
    assert (trained_on.context >= of_training.min(axis=0) - 1e-3).all()
    assert (trained_on.context <= of_training.max(axis=0) + 1e-3).all()
    for fold in ("validation", "test"):
        dataset = module.datasets[fold]
        np.testing.assert_array_equal(dataset[torch.arange(len(dataset))].context, beats.context[dataset.rows])
