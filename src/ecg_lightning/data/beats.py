"""`Beats`: what every source yields and everything before the datamodule works on."""

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.names import Names
from ecg_lightning.data.stored import AT_ONCE, Signals, Storage, StoredSignals, opened, parts_of, writing

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

T = TypeVar("T")

FORMAT = "ecg_lightning.beats/4"  # of the files
DIGEST = "ecg_lightning.beats/1"  # begins every fingerprint; 1, so that beats of one lead keep those of older runs
OPTIONAL = (
    "labels", "records", "patients", "samples", "published_test", "context", "databases", "folds", "quality"
)  # fmt: skip
TEXT = ("records", "patients", "databases", "folds")
DERIVED = ("lengths", "quality")  # from the signals or beside them, so not part of the fingerprint


@dataclass(frozen=True, eq=False, kw_only=True)
class Beats:
    """Heartbeats with their labels and origin; columns are None where they are not known, as records are of Kaggle.

    Columns of text become `Names`. Signals that do not fit into memory are `StoredSignals`: index them, and they are
    read.

    Raises:
        DataError: a column has another shape, or a length or label is out of range.
    """

    signals: Signals  # [n, leads, length] float32; a beat starts at its first sample, with zero padding at its end
    lengths: IntArray  # [n] int64, samples of each beat before its padding, 0 to `length`; the same in all leads
    lead_names: tuple[str, ...]  # in the order of `signals`
    labels: IntArray | None = None  # [n] int64, indices into `classes`
    classes: tuple[str, ...]
    fs: float  # sampling rate of `signals` in Hz
    records: Names | None = None  # [n]
    patients: Names | None = None  # [n]
    samples: IntArray | None = None  # [n] int64, index of the R peak in its record, at the record's own rate
    published_test: BoolArray | None = None  # [n] bool, True for beats in the publisher's test file
    context: FloatArray | None = None  # [n, k] float32, numbers beyond the samples: see `ecg_lightning.data.context`
    context_names: tuple[str, ...] = ()  # what these numbers are, k phrases
    databases: Names | None = None  # [n], of beats from several
    folds: Names | None = None  # [n], of the division that their publisher recommends
    quality: FloatArray | None = None  # [n] float32, 0 (no usable signal) to 1: see `ecg_lightning.data.quality`
    origin: Mapping[str, Any] = field(default_factory=dict)  # plain values: source, settings, synthetic or not

    def __post_init__(self) -> None:
        for name in TEXT:
            if (column := getattr(self, name)) is not None:
                object.__setattr__(self, name, Names.of(column))
        n = len(self.signals)
        if self.signals.ndim != 3:
            raise DataError(f"signals of shape {self.signals.shape}: expected [beats, leads, samples]")
        if len(self.lead_names) != self.signals.shape[1]:
            raise DataError(f"{len(self.lead_names)} names for {self.signals.shape[1]} leads: expected one a lead")
        for name, column in {"lengths": self.lengths, **self.columns}.items():
            if len(column) != n:
                raise DataError(f"{len(column)} {name} for {n} beats: every column has one entry a beat")
        shape = (n, 0) if self.context is None else self.context.shape
        if shape != (n, len(self.context_names)):
            raise DataError(f"context of shape {shape}: expected [beats, {len(self.context_names)}], one a name")
        if n and not (self.lengths.min() >= 0 and self.lengths.max() <= self.length):
            raise DataError(f"lengths {self.lengths.min()} to {self.lengths.max()}: expected 0 to {self.length}")
        if n and self.labels is not None and not (self.labels.min() >= 0 and self.labels.max() < len(self.classes)):
            raise DataError(f"labels from {self.labels.min()} to {self.labels.max()} for {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The optional columns that these beats have, by name."""
        return {name: getattr(self, name) for name in OPTIONAL if getattr(self, name) is not None}

    @property
    def length(self) -> int:
        """Samples a beat, padding included."""
        return int(self.signals.shape[2])

    @property
    def known_labels(self) -> IntArray:
        """`labels`; without any, a `DataError`."""
        if self.labels is None:
            raise DataError("these beats have no labels: they can be predicted, but not counted, split or scored")
        return self.labels

    @property
    def synthetic(self) -> bool:
        """Whether a simulation made these beats."""
        return bool(self.origin.get("synthetic", False))

    def counts(self) -> dict[str, int]:
        """Number of beats of each class; a `DataError` without labels."""
        found = np.bincount(self.known_labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, found, strict=True)}

    def select(self, rows: IntArray | BoolArray | slice) -> Self:
        """The beats at these rows, copied unless of a slice; signals that do not fit into memory stay in their file."""
        chosen: dict[str, Any] = {name: column[rows] for name, column in self.columns.items()}
        stored = isinstance(self.signals, StoredSignals)
        signals = self.signals.select(rows) if stored else self.signals[rows]  # type: ignore[union-attr]
        return dataclasses.replace(self, signals=signals, lengths=self.lengths[rows], **chosen)

    def in_memory(self) -> Self:
        """The same with all signals in one array."""
        return dataclasses.replace(self, signals=np.asarray(self.signals))

    def parts(self, size: int = AT_ONCE) -> Iterator[Self]:
        """All of them, some at a time."""
        return (self.select(slice(start, start + size)) for start in range(0, len(self), size))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 hexadecimal digits) of signals and columns, without `DERIVED` and a single lead's name."""
        digest = hashlib.sha256(f"{DIGEST} {self.length} {self.fs:g} {' '.join(self.classes)}".encode())
        if len(self.lead_names) > 1:
            digest.update(json.dumps(self.lead_names).encode())
        digest.update(" ".join(self.context_names).encode())
        for some in parts_of(self.signals):
            digest.update(some.view(np.uint8).data)
        for name, column in self.columns.items():
            if name in DERIVED:
                continue
            digest.update(name.encode())
            if isinstance(column, Names):
                words, indices = column.numbered()
                digest.update("\0".join(words.tolist()).encode())
                digest.update(indices.data)
            else:
                digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()[:16]

    def save(self, path: Path, storage: Storage | None = None) -> None:
        """As `write` of these alone."""
        type(self).write(path, [self], storage)

    @classmethod
    def write(cls, path: Path, parts: Iterable[Self], storage: Storage | None = None) -> Self:
        """Write beats that come part by part, of which one at a time is in memory, and return them from the files.

        All columns are in the Arrow IPC file `path`; the signals are beside it, in numpy's format with suffix
        ``.npy``. What parts `dropped` is added up.

        Raises:
            DataError: a file cannot be written, which leaves neither; parts differ as in `concatenate`.
            ConfigError: the signals cannot be stored in this way.
        """
        storage = storage or Storage()
        joined: list[Self] = []
        small: list[Self] = []
        with atomic_write(path) as partial, atomic_write(path.with_suffix(".npy")) as beside:
            with writing(beside, storage.dtype) as append:
                for part in _read(parts):
                    append(part.signals)
                    small.append(dataclasses.replace(part, signals=_blank(part.signals.shape)))
                    if len(small) == 256:  # many small arrays would leave holes in the memory
                        joined, small = [*joined, cls._concatenated(small)], []
            beats = dataclasses.replace(cls._concatenated([*joined, *small]), signals=opened(beside, storage))
            if storage.dtype != "float32":
                beats = dataclasses.replace(beats, origin={**beats.origin, "stored": storage.dtype})
            beats._write_columns(partial)
        return beats

    def _write_columns(self, path: Path) -> None:
        import pyarrow as pa

        columns: dict[str, Any] = {"lengths": self.lengths, **self.columns}
        for name, column in columns.items():
            if isinstance(column, Names):
                columns[name] = pa.DictionaryArray.from_arrays(column.codes, column.words.astype(object))
            elif column.ndim > 1:
                values = pa.array(np.ascontiguousarray(column).reshape(-1))
                columns[name] = pa.FixedSizeListArray.from_arrays(values, math.prod(column.shape[1:]))
            else:
                columns[name] = pa.array(column)
        names = ("lead_names", "classes", "context_names", "fs", "fingerprint")
        about = {"format": FORMAT, "origin": dict(self.origin), **{name: getattr(self, name) for name in names}}
        about["derived_sha256"] = _digest_of_derived(self)
        text = json.dumps(about)
        metadata = {"beats": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(metadata)
        with pa.ipc.new_file(str(path), batch.schema) as writer:
            writer.write_batch(batch)

    @classmethod
    def load(cls, path: Path, storage: Storage | None = None) -> Self:
        """Memory-map what `write` wrote; a `DataError` if a file is cut off, damaged, or not one of beats."""
        import pyarrow as pa

        try:
            batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
            # Arrow trusts the lengths and offsets in a file: with damaged ones it would read outside of it.
            batch.validate(full=True)
            text = batch.schema.metadata[b"beats"]
            if hashlib.sha256(text).hexdigest().encode() != batch.schema.metadata[b"sha256"]:
                raise ValueError("its description of the beats is not what was written")
            about = json.loads(text)
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']!r}, this version reads {FORMAT!r}")
            columns: dict[str, Any] = {}
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if isinstance(column, pa.FixedSizeListArray):
                    columns[name] = column.flatten().to_numpy().reshape(len(column), column.type.list_size)
                elif isinstance(column, pa.DictionaryArray):
                    columns[name] = Names.at(column.dictionary.to_pylist(), column.indices.to_numpy())
                else:
                    columns[name] = column.to_numpy(zero_copy_only=False)
            about = {"context_names": (), **about}  # which files of earlier versions have only where there are any
            for name in ("lead_names", "classes", "context_names"):
                columns[name] = tuple(about[name])
            columns["signals"] = opened(path.with_suffix(".npy"), storage or Storage())
            beats = cls(fs=about["fs"], origin=about["origin"], **columns)
        except (DataError, OSError, pa.ArrowException, KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{path} is no readable file of beats: {error}") from error
        if beats.fingerprint != about["fingerprint"] or _digest_of_derived(beats) != about.get("derived_sha256"):
            raise DataError(f"{path} is damaged: its values do not have the fingerprint it was written with")
        return beats

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """One after the other; a `DataError` if they differ in leads, classes, sampling rate or columns."""
        return dataclasses.replace(cls._concatenated(parts), signals=np.concatenate([part.signals for part in parts]))

    @classmethod
    def _concatenated(cls, parts: Sequence[Self]) -> Self:
        """All but the signals, which are blank."""
        first = parts[0]
        if len({(p.lead_names, p.classes, p.fs, tuple(p.columns), p.context_names) for p in parts}) > 1:
            raise DataError("beats of different leads, classes, sampling rates or columns cannot be joined")
        joined: dict[str, Any] = {
            name: (Names if name in TEXT else np).concatenate([getattr(part, name) for part in parts])
            for name in ("lengths", *first.columns)
        }
        dropped = added_up(part.origin.get("dropped", {}) for part in parts)
        origin = {**first.origin, "dropped": dropped} if dropped else first.origin
        blank = _blank((len(joined["lengths"]), *first.signals.shape[1:]))
        return dataclasses.replace(first, signals=blank, origin=origin, **joined)


def recordings_in(beats: Beats, rows: IntArray | None = None) -> list[IntArray]:
    """The rows of each recording, in order of time; of all beats, or of these `rows` alone.

    Of a recording whose leads are recordings of their own (``dataset.separate_leads``), the rows of each lead.

    Raises:
        ConfigError: the recordings of the beats are not known, some of their beats are not among these rows, or the
            leads of a recording have different beats.
    """
    if beats.records is None:
        raise ConfigError(
            "sequence=beats: the recordings of these beats are not known, and so not which follow each other; choose a "
            "database of recordings, or sequence=none"
        )
    rows = np.arange(len(beats)) if rows is None else rows
    at = rows if beats.samples is None else rows[np.argsort(beats.samples[rows], kind="stable")]
    names, record = beats.records.numbered()
    at = at[np.argsort(record[at], kind="stable")]
    sizes = np.bincount(record[at], minlength=len(names))
    if ((sizes > 0) & (sizes != np.bincount(record))).any():
        raise ConfigError(
            "sequence=beats: beats of one recording are in several folds; choose a split by patient or by lists of "
            "records, as split=patient or split=ds1_ds2"
        )
    parts = [part for part in np.split(at, np.cumsum(sizes)[:-1]) if len(part)]
    return parts if beats.samples is None else [lead for part in parts for lead in _leads_of(part, beats)]


def _leads_of(rows: IntArray, beats: Beats) -> IntArray:
    """The rows of a recording in order of time, ``[leads, beats]``; all leads have their beats at the same samples."""
    assert beats.samples is not None and beats.records is not None
    _, leads = np.unique(beats.samples[rows], return_counts=True)
    if (leads != leads[0]).any():
        raise ConfigError(
            f"sequence=beats: the leads of record {beats.records[rows[0]]} are recordings of their own and have "
            "different beats, so that it is not known which follow each other; choose dataset.separate_leads=false"
        )
    return rows.reshape(-1, leads[0]).T


def _blank(shape: tuple[int, ...]) -> FloatArray:
    """Signals that need no memory."""
    return np.broadcast_to(np.float32(0), shape)


def _read(parts: Iterable[T]) -> Iterator[T]:
    """The parts; what the file system refuses to read is no failure to write."""
    try:
        yield from parts
    except OSError as error:
        raise DataError(f"cannot read {error.filename or 'the beats'}: {error.strerror or error}") from error


def added_up(dropped: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What ``origin["dropped"]`` of several recordings states, of all of them."""
    symbols, in_gaps = Counter[str](), 0
    for one in dropped:
        symbols.update(one.get("without class", {}))
        in_gaps += one.get("touching a gap", 0)
    named = {"without class": dict(symbols.most_common()), "touching a gap": in_gaps}
    return {why: what for why, what in named.items() if what}


def _digest_of_derived(beats: Beats) -> str:
    columns = [getattr(beats, name) for name in DERIVED]
    digest = hashlib.sha256()
    for column in columns:
        digest.update(b"" if column is None else np.ascontiguousarray(column).data)
    return digest.hexdigest()
