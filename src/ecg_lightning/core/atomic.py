"""Files: written completely or not at all, and the checksum of their content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ecg_lightning.core.errors import DataError


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary file in the folder of `path`, which replaces `path` if the block succeeds.

    If the file system refuses, a DataError is raised, and an older file at `path` is unchanged.
    """
    # The suffix stays, because writers choose their format by it. Syncing first makes a full disk fail here.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot write {path}: {reason}; free some space there or choose another folder") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
