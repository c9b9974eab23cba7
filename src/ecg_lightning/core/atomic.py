"""Files: written completely or not at all, in folders of one process at a time, and the checksum of their content."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ecg_lightning.core.errors import ConfigError, DataError


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


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock a folder for this process and the ones it starts for further devices; a ConfigError if it is in use.

    The lock is the operating system's, so that it ends with the process, however that ends.
    """
    from filelock import FileLock, Timeout

    if "LOCAL_RANK" in os.environ:
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"{folder} is in use by another run or job; wait for it or choose another folder") from error
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error}; choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
