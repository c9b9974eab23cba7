"""The registry: models by their names.

A new network is one module in this package and one YAML in ``conf/model``; or a module of another package, which names
it in an entry point of the group ``ecg_lightning.models``, and a YAML in a folder for ``--config-dir``.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, TypeVar

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.plugins import added
from ecg_lightning.models.baselines import REFERENCE_MODELS
from ecg_lightning.models.contract import BeatModel

Network = TypeVar("Network", bound=type[BeatModel])


_registered: dict[str, Callable[..., BeatModel]] = {}


def register(name: str) -> Callable[[Network], Network]:
    """Class decorator: make a network known as ``model=name``."""

    def add(network: Network) -> Network:
        _registered[name] = network
        return network

    return add


@cache
def _import_all() -> None:
    package = importlib.import_module("ecg_lightning.models")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"ecg_lightning.models.{module.name}")
    # Of other packages: a module that registers networks, or a network, whose name is that of the entry point.
    for name, found in added("ecg_lightning.models").items():
        if isinstance(found, type):
            _registered.setdefault(name, found)


def model_names() -> list[str]:
    """Names of all networks, sorted."""
    _import_all()
    return sorted(_registered)


def list_models(pattern: str = "*") -> list[str]:
    """Names of all networks and reference models of scikit-learn that match a pattern such as ``*lstm``."""
    return sorted(name for name in {*model_names(), *REFERENCE_MODELS} if fnmatchcase(name, pattern))


def settings_of(name: str) -> list[str]:
    """Names of the settings that a registered model has of its own, sorted."""
    if name in REFERENCE_MODELS:
        return REFERENCE_MODELS[name].settings
    _import_all()
    return sorted(set(inspect.signature(_registered[name]).parameters) - {"n_outputs", "length", "leads"})


def create_model(
    name: str, *, n_outputs: int, length: int, leads: int = 1, n_context: int = 0, **settings: Any
) -> BeatModel:
    """Build a network with random initialisation.

    Args:
        name: one of `model_names`.
        n_outputs: number of logits.
        length: samples a beat.
        leads: leads of a beat.
        n_context: numbers of context that come with each beat.
        settings: the network's own settings; what is not given takes the network's default.

    Raises:
        ConfigError: unknown network or setting, or settings that do not fit together.
    """
    if name not in model_names():
        raise ConfigError(f"there is no network {name!r}; choose one of {', '.join(model_names())}")
    own = settings_of(name)
    if unknown := sorted(set(settings) - set(own)):
        raise ConfigError(f"network {name} has no setting {', '.join(unknown)}; it has {', '.join(own)}")
    try:
        model = _registered[name](n_outputs=n_outputs, length=length, leads=leads, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"network {name} cannot be built with {settings}: {error}") from error
    if n_context:
        model.take_context(n_context)
    return model
