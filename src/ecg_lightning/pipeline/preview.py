"""What augmentation does to training beats: from a configuration to panels that can be drawn, without training."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated

DRAWS = 5  # how often the transforms are applied to each beat
NEW = 3  # new beats that are shown of each class
MIXTURES = 8  # of a beat; the one with the smallest share of it is shown, as most are hardly mixed where α is small


class Panel(NamedTuple):
    """A beat before and after: the role of each line and its signal ``[t]``, the first lead without padding."""

    title: str
    lines: Sequence[tuple[str, FloatArray]]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Training beats before and after augmentation."""

    rows: Mapping[str, Sequence[Panel]]  # by class and number of beats; may differ in length
    fs: float  # Hz
    length: int  # samples a beat, padding included
    scaling: str  # what beats were scaled to [0, 1] by: beat or record; or none (mV)
    augmentation: Mapping[str, Any]  # its settings
    data: str  # data and protocol, in a phrase
    synthetic: bool


def preview(overrides: Iterable[str] = (), *, n_beats: int = 3, config_dir: Path | None = None) -> Preview:
    """Training beats of every class as they are and after the augmentation of a configuration.

    Args:
        overrides: as for ``ecg-lightning train``, such as ``augmentation=strong``.
        n_beats: training beats to show of each class.
        config_dir: folder with more choices.

    Raises:
        ConfigError, DataError: settings are unknown or do not fit each other; the beats are absent or damaged.
    """
    plain = validated(compose(overrides, output_dir=".", config_dir=config_dir))
    datamodule = make_datamodule(plain)
    datamodule.setup()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plain["seed"])
        rows = panels(datamodule, n_beats)
    beats, dataset = datamodule.beats, plain["dataset"]
    return Preview(
        rows=rows, fs=beats.fs, length=beats.length, synthetic=beats.synthetic, augmentation=plain["augmentation"],
        scaling=dataset["cut"]["scaling"],
        data=f"{dataset['name']}; {datamodule.folds.protocol.sentence()}",
    )  # fmt: skip


def panels(datamodule: BeatDataModule, n_beats: int) -> dict[str, list[Panel]]:
    """What to draw of each class that has beats to train on, under its name and their number.

    These are `n_beats` training beats with `DRAWS` results of the transforms, beats that resampling made, and a beat
    mixed with one of a training batch, as far as the datamodule (set up before) has them.
    """
    beats, train = datamodule.beats, datamodule.folds.train
    trained_on = datamodule.datasets["train"]
    labels = beats.known_labels[train]
    after = np.bincount(trained_on.beats.known_labels[trained_on.rows], minlength=len(beats.classes))
    rows_of = {label: train[labels == label] for label in np.unique(labels).tolist()}
    new = {}
    if datamodule.resampling:
        new = {label: _new(trained_on.beats, label, beats.signals[rows]) for label, rows in rows_of.items()}
    described = {}
    for label, rows in rows_of.items():
        shown = [_panel(datamodule, row) for row in _spread(rows, n_beats)]
        if any(map(len, new.values())):
            signals, lengths = trained_on.beats.signals, trained_on.beats.lengths
            lines = [("new beats", _lead(signals, lengths, row)) for row in _spread(new[label], NEW)]
            shown.append(Panel(f"{len(lines)} of {len(new[label]):,} new ones", lines))
        if datamodule.mixup:
            shown.append(_mixture(datamodule, int(rows[len(rows) // 2])))
        count = f"{len(rows):,}" if after[label] == len(rows) else f"{len(rows):,}\n→ {after[label]:,}"
        described[f"{beats.classes[label]}\n{count}\nbeats"] = shown
    return described


def _spread(rows: IntArray, n: int) -> list[int]:
    """`n` of the rows, at even distances: of several records, and the same ones every time."""
    n = min(n, len(rows))
    return [int(rows[(2 * at + 1) * len(rows) // (2 * n)]) for at in range(n)]


def _panel(datamodule: BeatDataModule, row: int) -> Panel:
    beats = datamodule.beats
    lines = [("training beat", _lead(beats.signals, beats.lengths, row))]
    if datamodule.transforms:
        signals, lengths = _transformed(datamodule, beats.select(np.repeat(row, DRAWS)))
        roles = ["after the transforms", *["other draws"] * (DRAWS - 1)]
        lines += [(role, _lead(signals, lengths, at)) for at, role in enumerate(roles)]
    return Panel(f"row {row:,}" if beats.records is None else f"record {beats.records[row]}", lines)


def _lead(signals: Any, lengths: Any, at: int) -> FloatArray:
    """The first lead of a beat ``[t]`` without padding."""
    return np.asarray(signals[at][0, : int(lengths[at])])


def _transformed(datamodule: BeatDataModule, beats: Beats) -> tuple[torch.Tensor, torch.Tensor]:
    signals, lengths = torch.from_numpy(np.asarray(beats.signals)), torch.from_numpy(beats.lengths)
    for transform in datamodule.transforms:
        signals, lengths = transform(signals, lengths)
    return signals, lengths


def _new(beats: Beats, label: int, known: FloatArray) -> IntArray:
    """Rows of the beats of a class that resampling made: those that equal none there was."""
    seen = {signal.tobytes() for signal in known}
    rows = np.flatnonzero(beats.known_labels == label)
    return rows[[beats.signals[row].tobytes() not in seen for row in rows]]


def _mixture(datamodule: BeatDataModule, row: int) -> Panel:
    """A beat mixed in a batch of training."""
    assert datamodule.mixup is not None
    beats = datamodule.beats
    batch = next(iter(datamodule.train_dataloader()))
    own = beats.select(np.repeat(row, MIXTURES))
    others = datamodule.datasets["train"].beats.select(batch.rows.numpy())
    labels = np.concatenate([own.known_labels, others.known_labels])
    parts = [_transformed(datamodule, part) for part in (own, others)]
    signals, lengths = (torch.cat(columns) for columns in zip(*parts, strict=True))
    mixed, new_lengths, partners, shares = datamodule.mixup(signals, lengths)
    at = int(shares[:MIXTURES].argmin())
    partner, share = int(partners[at]), float(shares[at])
    names = [beats.classes[labels[which]] for which in (at, partner)]
    own_role = "after the transforms" if datamodule.transforms else "training beat"
    lines = [(own_role, _lead(signals, lengths, at)), ("partner", _lead(signals, lengths, partner))]
    lines.append(("mixed", _lead(mixed, new_lengths, at)))
    return Panel(f"{share:.2f} {names[0]} + {1 - share:.2f} {names[1]}", lines)
