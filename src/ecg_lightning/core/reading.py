"""Files that somebody may have damaged or replaced: read whole, up to a bound, and only if they are files."""

from pathlib import Path
from typing import Any

from ecg_lightning.core.errors import DataError

LARGEST_CONFIG, DEEPEST_CONFIG = 2**20, 50  # bytes, levels


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


def read_config(path: Path) -> Any:
    """A configuration that `OmegaConf.save` wrote; DataError as `read_whole`, or for anything else in it.

    It has no aliases, of which ten lines expand to gigabytes, and few levels: parsers take the square of their number.
    """
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    content = read_whole(path, LARGEST_CONFIG)
    try:
        level = 0
        for event in yaml.parse(content, Loader=yaml.CSafeLoader):
            level += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it has aliases")
            if level > DEEPEST_CONFIG:
                raise ValueError(f"it has over {DEEPEST_CONFIG} levels")
        return OmegaConf.create(content.decode())
    except (ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise DataError(f"{path} is no configuration: {' '.join(str(error).split())}; remove it") from error
