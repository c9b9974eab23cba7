"""The signals of a recording at every zoom: pieces of them, or the lowest and highest value of each pixel's samples."""

from threading import Lock

import numpy as np

from ecg_lightning.core.atomic import cannot_write_temporary, temporary_file
from ecg_lightning.data.beats import FloatArray
from ecg_lightning.data.readers.base import CHUNK_S, RecordingFile

TILE = 2048  # blocks of a tile
FACTOR = 4  # between the samples of a block at one level and at the next
BASE = 3  # level that is kept in memory, blocks of 64 samples; finer ones are made from the samples, coarser from it


class Signals:
    """All leads of a recording in a temporary file, filled piece by piece while others read what is there.

    A block of level `k` is ``4 ** k`` samples. Of level 0 a tile has the samples themselves, of others the lowest and
    the highest of each block. Memory grows by 8 bytes for 64 samples of a lead.

    Attributes:
        fs: rate in Hz of the finest lead, at which all are kept.
        n: samples of the recording.
        filled: samples that are there.
        n_levels: the last level has one tile.
    """

    def __init__(self, file: RecordingFile) -> None:
        self._file, self._positions = file, range(len(file.lead_names))
        self._repeats = [max(file.samples_per_frame) // own for own in file.samples_per_frame]
        self.fs, self.n = file.fs(self._positions), file.n_frames * max(file.samples_per_frame)
        self.n_levels = 1
        while -(-self.n // FACTOR ** (self.n_levels - 1)) > TILE:
            self.n_levels += 1
        self.filled = 0
        size = FACTOR**BASE
        self._base = np.full((len(self._positions), -(-self.n // size), 2), np.nan, dtype=np.float32)
        self._store, self._lock = temporary_file(), Lock()

    def fill(self) -> None:
        """Read the whole recording; DataError if it is cut off or damaged, or the disk is full."""
        size = FACTOR**BASE
        step = size * max(1, round(CHUNK_S * self._file.frame_rate / size))
        for start in range(0, self._file.n_frames, step):
            stop = min(start + step, self._file.n_frames)
            parts = self._file.frames(self._positions, start, stop)
            repeated = [np.repeat(part, n) for part, n in zip(parts, self._repeats, strict=True)]
            piece: FloatArray = np.stack(repeated, dtype=np.float32, casting="same_kind")
            try:
                with self._lock:
                    self._store.seek(4 * len(piece) * self.filled)
                    self._store.write(piece.T.tobytes())
                    self._store.flush()
            except OSError as error:
                raise cannot_write_temporary(error) from error
            first = self.filled // size
            ends = _ends(piece, size)
            self._base[:, first : first + ends.shape[1]] = ends
            self.filled += piece.shape[1]

    def between(self, start: int, stop: int) -> FloatArray:
        """The samples ``[leads, t]`` in mV from one to before another of those that are there, NaN in gaps."""
        start, stop = max(start, 0), min(stop, self.filled)
        n_leads = len(self._positions)
        with self._lock:
            self._store.seek(4 * n_leads * start)
            content = self._store.read(4 * n_leads * max(stop - start, 0))
        return np.frombuffer(content, dtype=np.float32).reshape(-1, n_leads).T

    def tile(self, level: int, index: int) -> tuple[FloatArray, bool]:
        """Blocks ``[leads, blocks, ends]`` of a tile, in mV, NaN in gaps, and whether all of it was there already.

        IndexError for a tile that the recording does not have.
        """
        size = FACTOR**level
        start = index * TILE * size
        if not 0 <= level < self.n_levels or not 0 <= start < max(self.n, 1):
            raise IndexError(f"no tile {index} of level {level}")
        stop = min(start + TILE * size, self.n)
        is_whole = stop <= self.filled
        if level == 0:
            return self.between(start, stop)[..., None], is_whole
        if level < BASE:
            return _ends(self.between(start, stop), size), is_whole
        base = FACTOR**BASE
        blocks = self._base[:, start // base : -(-stop // base)]
        return _joined(blocks, size // base), is_whole


def _ends(samples: FloatArray, size: int) -> FloatArray:
    """The lowest and highest of each `size` samples ``[leads, t]``, ``[leads, blocks, 2]``; NaN where there is none."""
    return _joined(np.stack([samples, samples], axis=2), size)


def _joined(blocks: FloatArray, n: int) -> FloatArray:
    """Each `n` blocks ``[leads, blocks, 2]`` as one."""
    missing = -blocks.shape[1] % n
    whole = np.pad(blocks, ((0, 0), (0, missing), (0, 0)), constant_values=np.nan) if missing else blocks
    grouped = whole.reshape(len(blocks), -1, n, 2)
    return np.stack([np.fmin.reduce(grouped[..., 0], axis=2), np.fmax.reduce(grouped[..., 1], axis=2)], axis=2)
