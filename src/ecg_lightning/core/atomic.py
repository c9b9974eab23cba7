"""Writing a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ecg_lightning.core.errors import DataError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary name in the folder of `path`; what is written there is moved to `path` if the block succeeds.

    Raises:
        DataError: the file system refuses; an older file at `path` is then as it was.
    """
    # The ending is kept because writers choose their format by it; flushing before the move is what makes a full disk
    # show here and not in a file that is in place.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}; free some space there or choose another folder") from error
    finally:
        # Where its folder could not be made there is nothing to remove either.
        with suppress(OSError):
            partial.unlink()
