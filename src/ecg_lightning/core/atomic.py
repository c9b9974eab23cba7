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
def claimed(folder: Path, name: str = "") -> Iterator[None]:
    """Lock a folder, or what is called `name` in it, for this process and those it starts for further devices.

    A ConfigError if another process has it. The lock is the operating system's and ends with the process.
    """
    from filelock import FileLock, Timeout

    if "LOCAL_RANK" in os.environ:
        yield
        return
    lock = FileLock(folder / f".{name}.lock" if name else folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        used = f"{folder / name} is in use by another run or job"
        raise ConfigError(f"{used}; wait for it or choose another folder") from error
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error}; choose another folder") from error
    try:
        yield
    finally:
        if name:  # one of perhaps thousands; that of a folder stays
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
