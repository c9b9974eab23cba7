"""Signals of beats in a file: written while they are cut, in half the space if wanted, and read with bounded memory."""

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import Positive, options

FloatArray = npt.NDArray[np.float32]

AT_ONCE = 2**16  # beats that are hashed, written or copied at once
BLOCK = 256  # beats that follow each other in the file and are read together, 190 kB of one lead
LEVELS = 65535  # of int16, which stores values from 0 to 1


@options("storage")
class Storage:
    """How prepared beats are kept.

    Attributes:
        dtype: of the signals in the file. ``float16`` and ``int16`` take half the space; ``int16`` stores values from 0
            to 1, as beats and records are scaled to, with an error of at most 7.6e-6, ``float16`` with 2.4e-4.
        in_memory: GiB; larger signals are read from the file in blocks, of which so many stay in memory.
    """

    dtype: Literal["float32", "float16", "int16"] = "float32"
    in_memory: Positive = 2.0


class StoredSignals:
    """Signals ``[n, leads, length]`` in a file, which are read, as float32, where they are indexed.

    The file is memory-mapped. Where it is larger than ``storage.in_memory``, its pages leave the memory of the process
    each time an eighth of that was read; what the operating system keeps of them is free for others.

    Attributes:
        pool: so many beats, a sixteenth of ``storage.in_memory``, are shuffled together where all have no room; else
            None.
    """

    dtype = np.dtype(np.float32)
    ndim = 3

    def __init__(self, path: Path, storage: Storage) -> None:
        with path.open("rb") as file:
            shape, stored = _read_header(file)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            values = np.frombuffer(self._map, stored, count=int(np.prod(shape)), offset=file.tell())
        self.mapped = values.reshape(shape[0], shape[1] * shape[2])
        self._shape = shape[1], shape[2]
        self._rows: npt.NDArray[np.int64] | None = None
        self._limit = int(storage.in_memory * 2**30)
        self._read = [0]  # bytes since pages have left; shared with selections
        beat = 4 * self.mapped.shape[1]
        self.pool = None if len(self.mapped) * beat <= self._limit else max(self._limit // 16 // beat, BLOCK)

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self), *self._shape

    def __len__(self) -> int:
        return len(self.mapped if self._rows is None else self._rows)

    def __getitem__(self, rows: Any) -> FloatArray:
        if self._rows is not None:
            rows = self._rows[rows]
        index = np.asarray(rows).dtype != bool and not isinstance(rows, slice)
        found = self.mapped.take(rows, axis=0) if index else self.mapped[rows]
        self._forget(found.nbytes)
        signals: FloatArray = decoded(found).reshape(*found.shape[:-1], *self._shape)
        return signals

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.concatenate([self[:0], *parts_of(self)]).astype(dtype or self.dtype, copy=False)

    def select(self, rows: npt.NDArray[Any] | slice) -> "StoredSignals":
        """Those at these rows, still in the file."""
        chosen = copy(self)
        chosen._rows = (np.arange(len(self.mapped)) if self._rows is None else self._rows)[rows]
        return chosen

    def _forget(self, n: int) -> None:
        self._read[0] += n
        if self._read[0] > self._limit // 8 and self.pool is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read[0] = 0


Signals = FloatArray | StoredSignals


def opened(path: Path, storage: Storage) -> Signals:
    """The signals in a file: a memory-mapped array if they are float32 and may stay in memory as a whole."""
    signals = StoredSignals(path, storage)
    whole = signals.pool is None and storage.dtype == "float32"
    return signals.mapped.reshape(signals.shape) if whole else signals


def parts_of(signals: Signals) -> Iterator[FloatArray]:
    """Signals ``[n, leads, length]``, some at a time: they may be broadcast, or larger than the memory."""
    for start in range(0, len(signals), AT_ONCE):
        yield np.ascontiguousarray(signals[start : start + AT_ONCE])


@contextmanager
def writing(path: Path, dtype: str) -> Iterator[Any]:
    """A function that appends signals ``[n, leads, length]`` to a new file, in numpy's format, readable at the end."""
    with path.open("wb") as file:
        n, shape = 0, (0, 0)

        def append(signals: Signals) -> None:
            nonlocal n, shape
            if not file.tell():
                shape = signals.shape[1:]
                _write_header(file, (0, *shape), dtype)
            for some in parts_of(signals):
                file.write(encoded(some, dtype).data)
            n += len(signals)

        yield append
        file.seek(0)
        _write_header(file, (n, *shape), dtype)  # as long as before: numpy leaves room for any number of beats


def encoded(signals: FloatArray, dtype: str) -> npt.NDArray[Any]:
    """Signals as they are stored; a ConfigError for values outside [0, 1] as int16."""
    if dtype != "int16":
        return np.asarray(signals, dtype=dtype)
    if len(signals) and not (signals.min() >= 0 and signals.max() <= 1):
        raise ConfigError(
            f"storage.dtype=int16 stores values from 0 to 1, and signals are from {signals.min():g} to "
            f"{signals.max():g}: choose dataset.cut.scaling=beat or record, or storage.dtype=float16"
        )
    levels = np.rint(signals * np.float32(LEVELS)) - 2**15
    return np.asarray(levels, dtype=np.int16)


def decoded(stored: npt.NDArray[Any]) -> FloatArray:
    """The float32 of `encoded`; 0 and 1 are exact, so that padding stays 0."""
    if stored.dtype != np.int16:
        return np.asarray(stored, dtype=np.float32)
    signals: FloatArray = (stored.astype(np.float32) + np.float32(2**15)) / np.float32(LEVELS)
    return signals


def _write_header(file: IO[bytes], shape: tuple[int, ...], dtype: str) -> None:
    facts = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """ValueError if it is no array of signals."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("its signals are not in the format of numpy")
    shape, fortran, stored = np.lib.format.read_array_header_1_0(file)
    if len(shape) != 3 or fortran or stored.str not in ("<f4", "<f2", "<i2"):
        raise ValueError(f"its signals are an array {shape} of {stored}")
    return shape, stored
