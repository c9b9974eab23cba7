"""Files that somebody may have damaged or replaced: read whole, up to a bound, and only if they are files."""

from pathlib import Path

from ecg_lightning.core.errors import DataError


def read_whole(path: Path, most: int) -> bytes:
    """The content of a file; DataError if it is none (a pipe would block for ever), cannot be read, or is too large."""
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no file: it is in the place of one; remove it")
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(content) > most:
        raise DataError(f"{path} is too large, expected at most {most:,} bytes; remove it")
    return content
