"""Beats that do not fit into memory: the same beats, scores and guarantees as of those that do."""

import dataclasses
import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from made import simulated

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data import processes
from ecg_lightning.data.batches import BatchSampler
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.cache import cached_beats
from ecg_lightning.data.databases.joined import Joined
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.names import Names
from ecg_lightning.data.resampling import Resampling, resampled
from ecg_lightning.data.splits import without_duplicates
from ecg_lightning.data.stored import BLOCK, Storage, StoredSignals, opened, writing

SOURCE = simulated(patients=4, minutes=2)
SMALL = Storage(in_memory=1e-6)  # of which no beat has room


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def beats(cache_dir: Path) -> Beats:
    """In one array."""
    return cached_beats(SOURCE, cache_dir)


@pytest.fixture(scope="module")
def stored(cache_dir: Path, beats: Beats) -> Beats:
    """The same, left in their file."""
    return cached_beats(SOURCE, cache_dir, SMALL)


def test_beats_that_stay_in_their_file_are_the_same_beats(beats: Beats, stored: Beats) -> None:
    assert isinstance(beats.signals, np.ndarray) and isinstance(stored.signals, StoredSignals)
    assert stored.fingerprint == beats.fingerprint == SOURCE.read().fingerprint
    for rows in (np.array([5, 300, 5]), np.arange(len(beats)) % 3 == 0, slice(7, 90, 2), 11):
        np.testing.assert_array_equal(stored.signals[rows], np.asarray(beats.signals)[rows])


def test_a_selection_of_them_stays_in_the_file_and_a_selection_of_that_too(beats: Beats, stored: Beats) -> None:
    chosen, own = (
        one.select(np.arange(len(one))[::-2]).select(np.arange(len(one) // 2) % 3 > 0) for one in (beats, stored)
    )
    assert isinstance(own.signals, StoredSignals)
    assert own.fingerprint == chosen.fingerprint == own.in_memory().fingerprint
    assert own.records is not None and own.records.tolist() == np.asarray(chosen.records).tolist()
    parts = list(own.parts(100))
    assert len(parts) > 2 and Beats.concatenate(parts).fingerprint == own.fingerprint


def test_their_batches_are_those_of_beats_in_memory(cache_dir: Path) -> None:
    modules = []
    for storage in ({}, vars(SMALL)):
        module = BeatDataModule(SOURCE, cache_dir=cache_dir, storage=storage, split={"protocol": "patient"})
        module.setup()
        modules.append(module)
    one, other = ([*module.val_dataloader(), *module.test_dataloader()] for module in modules)
    for batch, same in zip(one, other, strict=True):
        assert all(torch.equal(value, own) for value, own in zip(batch[:4], same[:4], strict=True))
    shuffled = [torch.cat([batch.rows for batch in module.train_dataloader()]) for module in modules]
    assert sorted(shuffled[0].tolist()) == sorted(shuffled[1].tolist()) == modules[0].folds.train.tolist()


def test_equal_beats_are_dropped_without_reading_all_at_once(beats: Beats, stored: Beats) -> None:
    rows = np.concatenate([np.arange(50), np.arange(30, 80), [7]])
    kept = without_duplicates(stored.select(rows))
    assert kept.fingerprint == beats.select(np.arange(80)).fingerprint


@pytest.mark.parametrize("method", ["smote", "random_over", "random_under"])
def test_they_are_resampled_to_the_same_beats_with_memory_for_the_rare_ones(
    beats: Beats, cache_dir: Path, tmp_path: Path, method: Literal["smote", "random_over", "random_under"]
) -> None:
    for_a_class = Storage(in_memory=4e-4)
    stored = cached_beats(SOURCE, cache_dir, for_a_class)
    how = Resampling(method=method, counts=40 if method == "smote" else None)
    one, other = (
        resampled(some, how, seed=0, cache_dir=tmp_path / str(at), storage=storage)
        for at, (some, storage) in enumerate(((beats, Storage()), (stored, for_a_class)))
    )
    assert isinstance(stored.signals, StoredSignals) and len(other) != len(beats)
    assert (one.fingerprint, one.origin) == (other.fingerprint, other.origin)


def order(sampler: BatchSampler, epoch: int = 0) -> list[int]:
    sampler.set_epoch(epoch)
    return torch.cat(list(sampler)).tolist()  # type: ignore[no-any-return]


def test_shuffled_by_pools_each_beat_comes_once_and_each_block_is_read_in_one_stretch() -> None:
    n, pool = 100 * BLOCK + 17, 10 * BLOCK
    sampler = BatchSampler(n, 64, seed=1, pool=pool)
    found = order(sampler)
    assert sorted(found) == list(range(n))
    assert found == order(BatchSampler(n, 64, seed=1, pool=pool)) != order(sampler, epoch=1)
    blocks = np.array(found) // BLOCK
    for block in range(n // BLOCK):
        at = np.flatnonzero(blocks == block)
        assert np.ptp(at) < 1.2 * pool, "the beats of a block are in one pool"
    # A pool has blocks from all over the file, not neighbours, and its beats are in random order.
    assert np.ptp(blocks[:pool]) > 50 and len(np.unique(blocks[:64])) > 5


def test_devices_divide_a_pool_and_a_resumed_epoch_continues_in_it() -> None:
    n, how = 40 * BLOCK, {"seed": 3, "pool": 8 * BLOCK}
    whole = order(BatchSampler(n, 64, **how))  # type: ignore[arg-type]
    shares = [order(BatchSampler(n, 32, rank=rank, n_ranks=2, **how)) for rank in (0, 1)]  # type: ignore[arg-type]
    assert not set(shares[0]) & set(shares[1]) and set(shares[0]) | set(shares[1]) == set(range(n))
    assert whole == [row for pair in zip(*shares, strict=True) for row in pair]
    assert order(BatchSampler(n, 64, first=lambda: 7, **how)) == whole[7 * 64 :]  # type: ignore[arg-type]


def test_beats_of_rare_classes_are_sampled_as_often_by_pools() -> None:
    n, weights = 40 * BLOCK, torch.ones(40 * BLOCK)
    weights[::10] = 9
    found = order(BatchSampler(n, 64, seed=0, weights=weights, pool=4 * BLOCK))
    assert np.mean(np.array(found) % 10 == 0) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("dtype", "error"), [("int16", 8e-6), ("float16", 2.5e-4)])
def test_half_the_space_costs_a_small_error_and_keeps_zeros(
    beats: Beats, cache_dir: Path, dtype: str, error: float
) -> None:
    half = cached_beats(SOURCE, cache_dir, Storage(dtype=dtype))  # type: ignore[arg-type]
    signals, exact = np.asarray(half.signals), np.asarray(beats.signals)
    assert signals.dtype == np.float32 and 0 < np.abs(signals - exact).max() < error
    np.testing.assert_array_equal(signals[exact == 0], 0)
    np.testing.assert_array_equal(signals[exact == 1], 1)
    assert half.fingerprint != beats.fingerprint and half.origin["stored"] == dtype
    (file,) = cache_dir.glob(f"*-{dtype}.npy")
    assert file.stat().st_size < 0.51 * exact.nbytes
    again = cached_beats(SOURCE, cache_dir, Storage(dtype=dtype))  # type: ignore[arg-type]
    assert again.fingerprint == half.fingerprint and cached_beats(SOURCE, cache_dir).fingerprint == beats.fingerprint


def test_millivolts_are_not_stored_in_numbers_from_0_to_1(tmp_path: Path) -> None:
    source = simulated(patients=2, minutes=0.5, cut={"scaling": "none"})
    with pytest.raises(ConfigError, match=r"int16 stores values from 0 to 1.*storage\.dtype=float16"):
        cached_beats(source, tmp_path, Storage(dtype="int16"))
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    with writing(tmp_path / "a.npy", "float16") as append:
        append(np.asarray(source.read().signals))
    assert np.asarray(opened(tmp_path / "a.npy", Storage(dtype="float16"))).min() < 0


def test_recordings_cut_by_several_processes_are_the_same_in_the_same_order(
    beats: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "SERIAL_S", -1.0)
    assert SOURCE.read().fingerprint == beats.fingerprint


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stopped(Synthetic):
    """Stops like Ctrl-C, or is killed, in the middle of cutting."""

    killed: bool = False

    def read_parts(self) -> Iterator[Beats]:
        for number, part in enumerate(super().read_parts()):
            if number == 2 and self.killed:
                os.kill(os.getpid(), 9)
            if number == 2:
                raise KeyboardInterrupt
            yield part


def test_what_is_stopped_while_cutting_leaves_no_beats(beats: Beats, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached_beats(Stopped(**vars(SOURCE)), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    if not (child := os.fork()):
        try:
            cached_beats(Stopped(**vars(SOURCE), killed=True), tmp_path)
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 9
    assert cached_beats(SOURCE, tmp_path).fingerprint == beats.fingerprint


def test_several_databases_are_joined_part_by_part(cache_dir: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(SOURCE, card=SOURCE.card.model_copy(update={"name": "other"}))
    source = Joined(parts=(SOURCE, other))
    stored, whole = cached_beats(source, tmp_path, SMALL), source.read()
    assert isinstance(stored.signals, StoredSignals)
    assert (stored.fingerprint, stored.origin) == (whole.fingerprint, whole.origin)


MEMORY = """
import sys
from pathlib import Path
import numpy as np
from ecg_lightning.data.stored import Storage, opened

def resident():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) / 1024

for in_memory in (0.02, 1.0):
    signals = opened(Path(sys.argv[1]), Storage(in_memory=in_memory))
    before, most = resident(), 0
    for rows in np.arange(len(signals)).reshape(-1, 500):
        signals[rows]
        most = max(most, resident())
    print(most - before)
"""


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED") or not Path("/proc/self").exists(), reason="of Linux")
def test_reading_all_of_a_file_keeps_only_some_of_it_in_memory(tmp_path: Path) -> None:
    with writing(tmp_path / "a.npy", "float32") as append:
        append(np.ones((100_000, 1, 187), dtype=np.float32))  # 75 MB

    command = [sys.executable, "-c", MEMORY, str(tmp_path / "a.npy")]
    some, whole = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert float(some) < 20 < 60 < float(whole)  # MB


def test_names_are_an_array_of_text_of_which_each_word_is_stored_once() -> None:
    text = np.array(["b", "a", "ü", "b", ""])
    names = Names.of(text)
    assert names.tolist() == text.tolist() == list(names) and names.words.tolist() == ["", "a", "b", "ü"]
    np.testing.assert_array_equal(names == "b", text == "b")
    np.testing.assert_array_equal(names != text[::-1], text != text[::-1])
    np.testing.assert_array_equal(np.concatenate([names, text]), np.concatenate([text, text]))
    np.testing.assert_array_equal(names.isin(["a", "ü", "c"]), np.isin(text, ["a", "ü", "c"]))
    assert names[1] == "a" and names[np.array([3, 0])].numbered()[0].tolist() == ["b"]
    joined = Names.concatenate([names[:2], Names.full(2, "0"), names[4:]])
    assert joined.tolist() == ["b", "a", "0", "0", ""] and joined.prefixed("r").tolist()[:2] == ["rb", "ra"]
    assert [len(one) for one in Names.of(text[:0]).numbered()] == [0, 0]
