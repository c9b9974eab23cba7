"""Writing a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ecg_lightning.errors import DataError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary name in the folder of `path`; what is written there is moved to `path` if the block succeeds.

    Raises:
        DataError: the file system refuses; an older file at `path` is then as it was.
    """
    # The ending is kept because writers choose their format by it.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}") from error
    finally:
        # Where its folder could not be made there is nothing to remove either.
        with suppress(OSError):
            partial.unlink()
