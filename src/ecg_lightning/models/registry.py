"""Models by name.

A new network is one module in this package and one YAML in ``conf/model``; or a module of another package, named in an
entry point of the group ``ecg_lightning.models``, and a YAML in a folder for ``--config-dir``.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import first_error
from ecg_lightning.core.plugins import added
from ecg_lightning.models.baselines import REFERENCE_MODELS
from ecg_lightning.models.contract import BeatModel
from ecg_lightning.models.pretrained import read_pretrained
from ecg_lightning.models.sequence import SequenceSettings
from ecg_lightning.models.settings import SHIPPED, ShippedModel

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
    # An entry point names a module that registers networks, or a network, which takes the name of the entry point.
    for name, found in added("ecg_lightning.models").items():
        if isinstance(found, type):
            _registered.setdefault(name, found)


def model_names() -> list[str]:
    """Names of all networks, sorted."""
    _import_all()
    return sorted(_registered)


def list_models(pattern: str = "*") -> list[str]:
    """Names of all networks and scikit-learn baselines that match a pattern such as ``*lstm``, sorted."""
    return sorted(name for name in {*model_names(), *REFERENCE_MODELS} if fnmatchcase(name, pattern))


def settings_of(name: str) -> list[str]:
    """Names of a model's own settings, sorted."""
    if name in REFERENCE_MODELS:
        model = REFERENCE_MODELS[name]
        return sorted([*model.defaults, *["inputs"] * (model.inputs == "beat" and bool(model.defaults))])
    _import_all()
    return sorted(set(inspect.signature(_registered[name]).parameters) - {"n_outputs", "length", "leads"})


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for settings that a model does not have, and for values out of type and range."""
    own = settings_of(name)
    if unknown := sorted(set(settings) - set(own)):
        raise ConfigError(f"model {name} has no setting {', '.join(unknown)}; it has {', '.join(own) or 'none'}")
    if name in SHIPPED:
        plain = {"name": name, **settings}
        try:
            ShippedModel.model_validate(plain)
        except ValidationError as error:
            raise ConfigError(f"model.{first_error(ShippedModel, plain, error)}") from error


def create_model(
    name: str,
    *,
    n_outputs: int | None = None,
    length: int | None = None,
    leads: int = 1,
    n_context: int = 0,
    sequence: Mapping[str, Any] | None = None,
    pretrained: str | None = None,
    **settings: Any,
) -> BeatModel:
    """Build a network with random initialisation, or with weights that ship.

    Args:
        name: one of `model_names`.
        n_outputs: number of logits; another one than that of `pretrained` gives it a new head.
        length: samples of a beat.
        leads: of a beat.
        n_context: context values of a beat.
        sequence: settings of `SequenceSettings`, for a network over the sequence of beats.
        pretrained: one of `list_pretrained`, which brings all sizes and settings; nothing but `n_outputs` is given.
        settings: the network's own settings, see `settings_of`; the others have their defaults.

    Raises `ConfigError` for an unknown network, setting or `pretrained`, and for settings that do not fit together.
    """
    if name not in model_names():
        raise ConfigError(f"there is no network {name!r}; choose one of {', '.join(model_names())}")
    if pretrained is not None:
        start = read_pretrained(pretrained)
        if start.network != name:
            raise ConfigError(f"the weights {pretrained} are of a {start.network}, not of a {name}")
        if length is not None or (leads, n_context, sequence) != (1, 0, None) or settings:
            raise ConfigError(f"the weights {pretrained} bring all sizes and settings: give nothing but n_outputs")
        model = create_model(name, n_outputs=start.n_outputs, **start.settings)
        model.load_state_dict(start.weights)
        if n_outputs not in (None, start.n_outputs):
            model.reset_classifier(n_outputs)
        return model
    if n_outputs is None or length is None:
        raise ConfigError(f"network {name} needs n_outputs and length, or pretrained weights that state them")
    check_settings(name, settings)
    try:
        model = _registered[name](n_outputs=n_outputs, length=length, leads=leads, **settings)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"network {name} cannot be built with {settings}: {error}") from error
    if n_context or sequence is not None:
        model.extend(n_context, None if sequence is None else SequenceSettings(**sequence))
    return model
