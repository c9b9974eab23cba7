"""Paths as users write them."""

from pathlib import Path

from ecg_lightning.core.errors import ConfigError


def home_expanded(path: Path | str) -> Path:
    """The path with its ``~`` replaced; a ConfigError if no home is known."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{path}: no home folder is known for its ~; write the whole path, or set HOME") from error
