"""The weights of networks that ship with the package: see `ecg_lightning.core.weights`."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.weights import read_weights, shipped_weights
from ecg_lightning.models.contract import BeatModel


class Pretrained(NamedTuple):
    """A network with its weights: enough for `create_model`."""

    network: str
    settings: Mapping[str, Any]  # its own, and ``length``, ``leads`` and ``n_context``
    n_outputs: int
    weights: Mapping[str, Tensor]


def list_pretrained(pattern: str = "*") -> list[str]:
    """Names of the networks of single beats that ship and match a pattern such as ``cnet*``, sorted.

    Ensembles, and networks over sequences of beats, are loaded with `ecg_lightning.load_checkpoint`.
    """
    stated = {name: card["hyperparameters"] for name, card in shipped_weights("beats").items()}
    single = [name for name, one in stated.items() if "members" not in one and not one["model"].get("sequence")]
    return [name for name in sorted(single) if fnmatchcase(name, pattern)]


def read_pretrained(name: str) -> Pretrained:
    """The network of weights that ship; ConfigError if there are none of this name."""
    if name not in list_pretrained():
        raise ConfigError(f"there are no weights {name!r}; choose some of {', '.join(list_pretrained())}")
    arrays, card = read_weights(name)
    stated = card["hyperparameters"]
    settings, spec = dict(stated["model"]), stated["input"]
    network = settings.pop("name")
    sizes = {"length": spec["length"], "leads": len(spec["leads"]), "n_context": len(spec["context"])}
    weights = {key: torch.from_numpy(array.copy()) for key, array in arrays.items()}
    return Pretrained(network, {**settings, **sizes}, len(weights[f"{BeatModel.head_names[-1]}.bias"]), weights)
