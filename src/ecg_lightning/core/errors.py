"""Errors that a user can act on: one sentence that says what is wrong, where, and what to do; and all others."""

import errno
import sys
import tempfile
import traceback
from pathlib import Path

DEBUG = "--debug"  # accepted anywhere on the command line


class EcgLightningError(Exception):
    """Base of all errors that the package raises on purpose; the command line prints them without a traceback."""


class DataError(EcgLightningError):
    """Recordings, files or caches are missing, damaged or of the wrong kind."""


class ConfigError(EcgLightningError):
    """Settings are unknown, contradict each other or do not fit the data."""


class CheckpointError(EcgLightningError):
    """A file is not a checkpoint of this project, or does not fit."""


REMEDIES = {  # against what the system refuses, by its number
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space there"),
    errno.EFBIG: "raise the limit on the size of files, see ulimit -f",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit on open files, see ulimit -n"),
    errno.ENAMETOOLONG: "shorten the name",
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check the disk or the connection to it"),
}


def sentence_of(error: Exception, folder: Path | None = None) -> str:
    """What a user reads about an error, on one line and without control characters.

    The traceback of one that is none of the package's is written to ``traceback.txt`` in `folder`, if that exists, else
    to a temporary file, whose name is in the sentence; with `DEBUG`, that of any error is printed.
    """
    if DEBUG in sys.argv:
        traceback.print_exception(error)
    if isinstance(error, EcgLightningError):
        return _line(str(error))
    reason = f"{type(error).__name__}: {_line(str(error))[:500]}"
    if isinstance(error, MemoryError) or any(word in reason for word in ("OutOfMemoryError", "DefaultCPUAllocator")):
        return f"not enough memory ({reason}); use smaller batches, fewer recordings or a machine with more"
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return _line(f"{error.filename or 'a file'}: {error.strerror}; {REMEDIES[error.errno]}")
    try:
        if folder is not None and folder.is_dir():
            file = folder / "traceback.txt"
        else:
            file = Path(tempfile.mkstemp(prefix="ecg-lightning-", suffix=".txt")[1])
        file.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="replace")
        where = f"the traceback is in {file}"
    except OSError:
        where = "--debug shows the traceback"
    return f"unexpected {reason}; {where}: please report it"


def _line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
