"""Files: written completely or not at all, in folders of one process at a time, and the checksum of their content."""

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ecg_lightning.core.errors import REMEDIES, ConfigError, DataError

log = logging.getLogger(__name__)

ABANDONED_S = 24 * 3600  # after so long without a change, a partial file is of a process that was killed


def cannot_write(path: Path, error: OSError, otherwise: str = "choose another folder") -> DataError:
    """The error for a file or folder that the file system refuses, with what helps against that."""
    remedy = f"{REMEDIES[error.errno]}, or {otherwise}" if error.errno in REMEDIES else otherwise
    return DataError(f"cannot write {path}: {error.strerror or error}; {remedy}")


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
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def remove_leftovers(folder: Path) -> None:
    """Remove the partial files in a folder and below that nobody has changed for a day."""
    for leftover in folder.rglob("*.partial*"):
        with suppress(OSError):  # gone, or no file
            if leftover.stat().st_mtime < time.time() - ABANDONED_S:
                leftover.unlink()


def cannot_write_temporary(error: OSError) -> DataError:
    """The same as `cannot_write`, for a temporary file."""
    where = Path(tempfile.tempdir or error.filename or "temporary files")
    return cannot_write(where, error, "choose another folder for temporary files with TMPDIR")


def temporary_file() -> IO[bytes]:
    """A file without a name, which is gone when it is closed; a DataError if there is none."""
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise cannot_write_temporary(error) from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that is removed at the end; a DataError if there is none, or if it cannot be written."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
    except OSError as error:
        raise cannot_write_temporary(error) from error


@contextmanager
def locked(path: Path, otherwise: str = "choose another folder") -> Iterator[None]:
    """A lock of one process at a time, also of other machines where the file system supports it; others wait.

    `otherwise` is what to do if it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("waiting for another process, which has locked %s", path)
            lock.acquire()
    except OSError as error:
        raise cannot_write(path.parent, error, otherwise) from error
    with lock:
        yield


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
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        used = f"{folder / name} is in use by another run or job"
        raise ConfigError(f"{used}; wait for it or choose another folder") from error
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        yield
    finally:
        file = Path(lock.lock_file)
        is_empty = is_new and list(folder.glob("*")) == [file]  # what failed has left nothing
        if name or is_empty:  # one of perhaps thousands; that of a folder with something in it stays
            file.unlink(missing_ok=True)
        lock.release()
        if is_empty:
            with suppress(OSError):  # another process has begun there
                folder.rmdir()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
