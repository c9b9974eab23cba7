"""Networks, databases and configurations that other packages add by entry points.

The groups are ``ecg_lightning.models`` (a module that registers networks, or a network), ``ecg_lightning.databases``
(a `Source`) and ``ecg_lightning.conf`` (a package of YAML files).
"""

from functools import cache
from importlib import metadata
from typing import Any

from ecg_lightning.core.errors import ConfigError


@cache
def added(group: str) -> dict[str, Any]:
    """Objects that other packages add to a group by entry points; a ConfigError if one cannot be imported."""
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
