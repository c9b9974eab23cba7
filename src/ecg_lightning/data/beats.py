"""`Beats`: what every source yields and everything before the datamodule works on."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError, DataError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
TextArray = npt.NDArray[np.str_]

FORMAT = "ecg_lightning.beats/3"  # of the file
DIGEST = "ecg_lightning.beats/1"  # begins every fingerprint; 1, so that beats of one lead keep those of older runs
OPTIONAL = (
    "labels", "records", "patients", "samples", "published_test", "context", "databases", "folds", "quality"
)  # fmt: skip
DERIVED = ("lengths", "quality")  # from the signals or beside them, so not part of the fingerprint


@dataclass(frozen=True, eq=False, kw_only=True)
class Beats:
    """Heartbeats with their labels and origin; columns are None where they are not known, as records are of Kaggle.

    Raises:
        DataError: a column has another shape, or a length or label is out of range.
    """

    signals: FloatArray  # [n, leads, length] float32; a beat starts at its first sample, with zero padding at its end
    lengths: IntArray  # [n] int64, samples of each beat before its padding, 0 to `length`; the same in all leads
    lead_names: tuple[str, ...]  # in the order of `signals`
    labels: IntArray | None = None  # [n] int64, indices into `classes`
    classes: tuple[str, ...]
    fs: float  # sampling rate of `signals` in Hz
    records: TextArray | None = None  # [n]
    patients: TextArray | None = None  # [n]
    samples: IntArray | None = None  # [n] int64, index of the R peak in its record, at the record's own rate
    published_test: BoolArray | None = None  # [n] bool, True for beats in the publisher's test file
    context: FloatArray | None = None  # [n, k] float32, numbers beyond the samples: see `ecg_lightning.data.context`
    context_names: tuple[str, ...] = ()  # what these numbers are, k phrases
    databases: TextArray | None = None  # [n], of beats from several
    folds: TextArray | None = None  # [n], of the division that their publisher recommends
    quality: FloatArray | None = None  # [n] float32, 0 (no usable signal) to 1: see `ecg_lightning.data.quality`
    origin: Mapping[str, Any] = field(default_factory=dict)  # plain values: source, settings, synthetic or not

    def __post_init__(self) -> None:
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

    def select(self, rows: IntArray | BoolArray) -> Self:
        """The beats at these rows (indices or mask), copied into memory."""
        chosen: dict[str, Any] = {name: column[rows] for name, column in self.columns.items()}
        return dataclasses.replace(self, signals=self.signals[rows], lengths=self.lengths[rows], **chosen)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (first 16 hexadecimal digits) of signals and columns, without `DERIVED` and a single lead's name."""
        digest = hashlib.sha256(f"{DIGEST} {self.length} {self.fs:g} {' '.join(self.classes)}".encode())
        if len(self.lead_names) > 1:
            digest.update(json.dumps(self.lead_names).encode())
        digest.update(" ".join(self.context_names).encode())
        for start in range(0, len(self), 65536):  # in parts: signals may be broadcast, and larger than the memory
            digest.update(np.ascontiguousarray(self.signals[start : start + 65536]).view(np.uint8).data)
        for name, column in self.columns.items():
            if name in DERIVED:
                continue
            digest.update(name.encode())
            if column.dtype.kind == "U":  # as UTF-8, whatever the width of the array that holds it
                words, indices = np.unique(column, return_inverse=True)
                digest.update("\0".join(words.tolist()).encode() + indices.astype(np.int64).tobytes())
            else:
                digest.update(np.ascontiguousarray(column).data)
        return digest.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write all columns into one Arrow IPC file, whole or not at all; a `DataError` if it cannot be written."""
        import pyarrow as pa

        columns: dict[str, Any] = {"signals": self.signals, "lengths": self.lengths, **self.columns}
        for name, column in columns.items():
            if column.ndim > 1:
                values = pa.array(np.ascontiguousarray(column).reshape(-1))
                columns[name] = pa.FixedSizeListArray.from_arrays(values, math.prod(column.shape[1:]))
            elif column.dtype.kind == "U":
                columns[name] = pa.array(column.astype(object)).dictionary_encode()
            else:
                columns[name] = pa.array(column)
        names = ("lead_names", "classes", "context_names", "fs", "fingerprint")
        about = {"format": FORMAT, "origin": dict(self.origin), **{name: getattr(self, name) for name in names}}
        about["derived_sha256"] = _digest_of_derived(self)
        text = json.dumps(about)
        metadata = {"beats": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
        batch = pa.RecordBatch.from_pydict(columns).replace_schema_metadata(metadata)
        with atomic_write(path) as partial, pa.ipc.new_file(str(partial), batch.schema) as writer:
            writer.write_batch(batch)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Memory-map what `save` wrote; a `DataError` if the file is cut off, damaged, or not a file of beats."""
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
                    words = np.asarray(column.dictionary.to_pylist(), dtype=np.str_)
                    columns[name] = words[column.indices.to_numpy()]
                else:
                    columns[name] = column.to_numpy(zero_copy_only=False)
            about = {"context_names": (), **about}  # which files of earlier versions have only where there are any
            for name in ("lead_names", "classes", "context_names"):
                columns[name] = tuple(about[name])
            n, width = columns["signals"].shape
            n_leads = len(columns["lead_names"])
            columns["signals"] = columns["signals"].reshape(n, n_leads, width // n_leads)
            beats = cls(fs=about["fs"], origin=about["origin"], **columns)
        except (DataError, OSError, pa.ArrowException, KeyError, TypeError, ValueError, IndexError) as error:
            raise DataError(f"{path} is no readable file of beats: {error}") from error
        if beats.fingerprint != about["fingerprint"] or _digest_of_derived(beats) != about.get("derived_sha256"):
            raise DataError(f"{path} is damaged: its values do not have the fingerprint it was written with")
        return beats

    @classmethod
    def concatenate(cls, parts: list[Self]) -> Self:
        """One after the other; a `DataError` if they differ in leads, classes, sampling rate or columns."""
        first = parts[0]
        if len({(p.lead_names, p.classes, p.fs, tuple(p.columns), p.context_names) for p in parts}) > 1:
            raise DataError("beats of different leads, classes, sampling rates or columns cannot be joined")
        names = ("signals", "lengths", *first.columns)
        joined: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return dataclasses.replace(first, **joined)


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
    names, record = np.unique(beats.records, return_inverse=True)
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


def _digest_of_derived(beats: Beats) -> str:
    columns = [getattr(beats, name) for name in DERIVED]
    digest = hashlib.sha256()
    for column in columns:
        digest.update(b"" if column is None else np.ascontiguousarray(column).data)
    return digest.hexdigest()
