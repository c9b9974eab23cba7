"""Networks over the sequence of beats: what they see, how recordings are divided, and what they start from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.batches import BatchSampler, SequenceDataset
from ecg_lightning.data.beats import Beats, recordings_in
from ecg_lightning.models import BeatModel, SequenceSettings, create_model, model_names
from ecg_lightning.training.checkpoint import Checkpoint
from ecg_lightning.training.transfer import Transfer, load_weights

LENGTH = 187
SETTINGS = {"width": 8, "dilations": [1, 2], "dropout": 0.0}
REACH = SequenceSettings(**SETTINGS).reach


def recordings(*sizes: int) -> Beats:
    """Recordings of so many beats, whose rows are in no order."""
    n = sum(sizes)
    generator = np.random.default_rng(0)
    names = np.repeat([f"r{number}" for number in range(len(sizes))], sizes)
    order = generator.permutation(n)
    return Beats(
        signals=generator.random((n, 1, LENGTH), dtype=np.float32),
        lengths=np.full(n, LENGTH),
        lead_names=("II",),
        labels=generator.integers(0, 2, n),
        classes=("N", "V"),
        fs=125.0,
        records=names[order],
        samples=np.arange(n)[order] * 300,
        context=generator.random((n, 3), dtype=np.float32),
        context_names=("one", "two", "three"),
    )


def network(name: str, n_context: int = 3, **changes: Any) -> BeatModel:
    torch.manual_seed(0)
    return create_model(name, n_outputs=2, length=LENGTH, n_context=n_context, sequence=SETTINGS | changes).eval()


def sequence_of(beats: Beats, rows: Any) -> tuple[Tensor, Tensor, Tensor]:
    assert beats.context is not None
    return tuple(  # type: ignore[return-value]
        torch.from_numpy(column[rows])[None] for column in (beats.signals, beats.lengths, beats.context)
    )


@pytest.mark.parametrize(("name", "layers"), [*((name, "convolution") for name in model_names()), ("cnet", "s4d")])
def test_a_beat_depends_on_those_within_reach_and_on_no_others(name: str, layers: str) -> None:
    model, beats = network(name, layers=layers), recordings(20)
    rows = np.argsort(beats.samples)
    whole = model(*sequence_of(beats, rows))
    assert whole.shape == (1, 20, 2)
    around = model(*sequence_of(beats, rows[10 - REACH : 10 + REACH + 1]))
    torch.testing.assert_close(around[0, REACH], whole[0, 10], rtol=1e-4, atol=1e-5)
    fewer = model(*sequence_of(beats, rows[10 - REACH + 1 : 10 + REACH + 1]))
    assert not torch.allclose(fewer[0, REACH - 1], whole[0, 10], rtol=1e-4, atol=1e-5)


def test_windows_of_whole_recordings_predict_each_beat_once_as_the_whole_recording_does() -> None:
    model, beats = network("cnet"), recordings(5, 40, 1, 23)
    windows = SequenceDataset(beats, np.arange(len(beats)), length=8 + 2 * REACH, margin=REACH)
    found = torch.full((len(beats), 2), torch.nan)
    counted = []
    for batch in BatchSampler(len(windows), 3, seed=None):
        signals, lengths, _, rows, context = windows[batch]
        logits = model(signals, lengths, context)
        counted.append(rows[rows >= 0])
        found[rows[rows >= 0]] = logits[rows >= 0].detach()
    assert torch.cat(counted).sort().values.equal(torch.arange(len(beats)))
    for name in np.unique(beats.records):
        rows = np.flatnonzero(beats.records == name)
        rows = rows[np.argsort(beats.samples[rows])]
        torch.testing.assert_close(found[rows], model(*sequence_of(beats, rows))[0], rtol=1e-4, atol=1e-5)


def test_a_training_window_holds_consecutive_beats_of_one_recording_around_each_beat() -> None:
    beats = recordings(5, 40)
    windows = SequenceDataset(beats, np.arange(45), length=8)
    assert len(windows) == 45
    batch = windows[torch.arange(45)]
    for rows, lengths in zip(batch.rows, batch.lengths, strict=True):
        present = rows[lengths >= 0].numpy()
        assert len(set(beats.records[present])) == 1
        own = np.sort(beats.samples[beats.records == beats.records[present[0]]])
        assert np.isin(np.searchsorted(own, beats.samples[present]), np.arange(len(own))).all()
        assert (np.diff(np.searchsorted(own, beats.samples[present])) == 1).all()
    assert (batch.lengths[:, 4] >= 0).all()
    assert (batch.signals[batch.lengths < 0] == 0).all()


def test_a_part_of_a_recording_is_no_sequence() -> None:
    with pytest.raises(ConfigError, match="several folds"):
        SequenceDataset(recordings(5, 40), np.arange(20), length=8)


def test_leads_as_recordings_of_their_own_are_sequences_side_by_side() -> None:
    beats = recordings(6)
    both = Beats.concatenate([beats, beats])
    first, second = recordings_in(both)
    assert np.array_equal(second, first + 6) and np.array_equal(first, np.argsort(beats.samples))
    batch = SequenceDataset(both, np.arange(12), length=4)[torch.arange(12)]
    present = np.ma.masked_array(batch.rows.numpy(), mask=batch.lengths.numpy() < 0)
    assert ((present < 6).all(axis=1) | (present >= 6).all(axis=1)).all()


def test_leads_as_recordings_of_their_own_need_the_same_beats() -> None:
    beats = recordings(6)
    fewer = Beats.concatenate([beats, beats.select(np.arange(5))])
    with pytest.raises(ConfigError, match="separate_leads=false"):
        SequenceDataset(fewer, np.arange(11), length=8)


def test_blanked_beats_are_part_of_the_rhythm_by_their_context_alone() -> None:
    model, beats = network("cnet"), recordings(12)
    signals, lengths, context = sequence_of(beats, np.argsort(beats.samples))
    lengths[0, 5] = 0
    blanked = model(signals, lengths, context)
    signals[0, 5] = 0.5
    torch.testing.assert_close(model(signals, lengths, context), blanked)
    context[0, 5] = 7
    assert not torch.allclose(model(signals, lengths, context), blanked)


def test_a_head_that_knows_rhythms_starts_a_network_of_more_leads_and_another_context(tmp_path: Path) -> None:
    theirs = network("cnet", n_context=2)
    stated = {"task": "arrhythmia", "model": {"name": "cnet"}, "input": {"length": LENGTH, "context": ["two", "rate"]}}
    start = Checkpoint(path=tmp_path / "rhythm.ckpt", weights=theirs.state_dict(), hyperparameters=stated)
    torch.manual_seed(1)
    own = create_model("cnet", n_outputs=2, length=LENGTH, leads=2, n_context=3, sequence=SETTINGS).eval()
    backbone = own.stem.weight.clone()
    load_weights(own, "cnet", Transfer(mode="rhythm", checkpoint="x"), start, ["one", "rate", "two"])
    assert own.stem.weight.equal(backbone)
    n = 9
    context = torch.rand(1, n, 3)
    of_beats = own(torch.rand(1, n, 2, LENGTH), torch.full((1, n), LENGTH), context)
    blank = torch.zeros(1, n, 1, LENGTH), torch.zeros(1, n, dtype=torch.int64)
    torch.testing.assert_close(of_beats, theirs(*blank, context[..., [2, 1]]))
