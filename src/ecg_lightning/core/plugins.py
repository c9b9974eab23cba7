"""What other packages add: networks, databases and configuration, by the entry points of their distributions."""

from functools import cache
from importlib import metadata
from typing import Any

from ecg_lightning.core.errors import ConfigError

GROUPS = ("ecg_lightning.models", "ecg_lightning.databases", "ecg_lightning.conf")
"""Entry points that are read: a module that registers networks, or a network; a `Source`; a package of YAML files."""


@cache
def added(group: str) -> dict[str, Any]:
    """The objects that the entry points of a group name, by the names of these entry points.

    Raises:
        ConfigError: one of them cannot be imported.
    """
    found = {}
    for entry in metadata.entry_points(group=group):
        try:
            found[entry.name] = entry.load()
        except Exception as error:  # whatever another package raises
            package = entry.dist.name if entry.dist else "an unknown package"
            raise ConfigError(
                f"{package} adds {entry.name} = {entry.value} to {group}, which cannot be imported "
                f"({type(error).__name__}: {error}); repair or uninstall {package}"
            ) from error
    return found
