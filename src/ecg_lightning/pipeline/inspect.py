"""What a checkpoint contains, and how two differ, in plain values."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.data.recording import lead_names, make_leads
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.metrics.operating_point import OperatingPoint
from ecg_lightning.models import BeatModel
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import Checkpoint, guess_network, malformed
from ecg_lightning.training.estimator import estimator_type
from ecg_lightning.training.tasks import task_of
from ecg_lightning.training.transfer import Transfer

COMPARED = (  # sections of a description that say how the weights were made
    "task", "network", "beats", "data", "protocol", "split", "transfer", "chain", "training", "scores", "versions",
    "git",
)  # fmt: skip


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """The content of a checkpoint in plain values, ready for JSON; a CheckpointError if its form is not this project's.

    Sections, which are None where a plain state dict does not state them:

    - ``file``, ``kind`` (``checkpoint`` or ``state_dict``);
    - ``task``: ``name``, ``classes``, ``positive``;
    - ``network``: ``name`` (None if it cannot be guessed), ``guessed``, ``baseline``, ``settings``, ``n_outputs``,
      ``n_parameters``, ``n_frozen``;
    - ``layers``: a list with ``name``, ``part`` (``backbone`` or ``head``), ``frozen``, ``n_parameters`` and
      ``shapes`` by weight; one entry for each array of a baseline;
    - ``beats``: ``fs`` in Hz, ``length``, ``leads``, ``cut``, ``context`` (names of its values);
    - ``data``: ``source``, ``dataset``, ``synthetic``, ``fingerprint``, ``protocol`` (as a sentence); ``protocol``:
      its fields; ``split``: its settings;
    - ``transfer``: its settings; ``chain``: the origin of the weights, the origin of those, …;
    - ``training``: ``epoch`` and ``step`` of the checkpoint, ``max_epochs``, ``seed``, ``precision``,
      ``optimizer``, ``augmentation``; None where a model does not use them;
    - ``scores``: ``validation``; ``test``, from the ``scores.json`` of the run if this is its best checkpoint;
    - ``calibration``, ``operating_point``: as `Calibration.plain`, `OperatingPoint.plain`; None where not known;
    - ``versions``, ``git``.
    """
    with malformed(f"{checkpoint.path} contains what cannot be read", ConfigError):
        description = _stated(checkpoint) | _weights(checkpoint)
    return _finite(description)  # type: ignore[no-any-return]


def compare(first: Checkpoint, second: Checkpoint) -> dict[str, Any]:
    """The differences between two checkpoints, in plain values; errors are those of `describe`.

    - ``files``: both;
    - ``differences``: dotted name of a value of `describe` → the two values;
    - ``layers``: a list with ``name`` and ``state`` (``equal`` to the last bit, ``different``, ``shape``,
      ``only first``, ``only second``); for ``different`` also ``largest`` (the largest absolute difference of a
      weight) and ``relative`` (the norm of the difference divided by the norm of the first).
    """
    one, other = (dict(_flat({name: side[name] for name in COMPARED})) for side in (describe(first), describe(second)))
    keys = sorted(one | other, key=lambda key: COMPARED.index(key.partition(".")[0]))
    pairs = {key: [one.get(key), other.get(key)] for key in keys}
    ours, theirs = _by_layer(first.weights), _by_layer(second.weights)
    names = sorted(ours | theirs, key=_is_head)
    return {
        "files": [str(first.path), str(second.path)],
        "differences": {key: pair for key, pair in pairs.items() if pair[0] != pair[1]},
        "layers": _finite([_difference(name, ours.get(name), theirs.get(name)) for name in names]),
    }


def _weights(checkpoint: Checkpoint) -> dict[str, Any]:
    stated, name = checkpoint.hyperparameters, checkpoint.model
    n_outputs = checkpoint.weights.get(f"{BeatModel.head_names[-1]}.bias")
    transfer = (stated or {}).get("transfer")
    frozen = bool(transfer and Transfer(**transfer).is_frozen((checkpoint.epoch or 1) - 1))
    weights_of = _by_layer(checkpoint.weights)
    layers: list[dict[str, Any]] = [
        {
            "name": layer,
            "part": "head" if _is_head(layer) else "backbone",
            "frozen": frozen and not _is_head(layer),
            "n_parameters": sum(weight.numel() for weight in weights_of[layer].values()),
            "shapes": {weight: list(tensor.shape) for weight, tensor in weights_of[layer].items()},
        }
        for layer in sorted(weights_of, key=_is_head)  # the state dict has the head first
    ]
    guess = guess_network(checkpoint.weights) if name is None else None
    return {
        "file": str(checkpoint.path),
        "kind": "state_dict" if stated is None else "checkpoint",
        "network": {
            "name": name or guess,
            "guessed": stated is None and guess is not None,
            "baseline": name is not None and estimator_type(name).baseline,
            "settings": {key: value for key, value in stated["model"].items() if key != "name"} if stated else None,
            "n_outputs": None if n_outputs is None else len(n_outputs),
            "n_parameters": sum(layer["n_parameters"] for layer in layers),
            "n_frozen": sum(layer["n_parameters"] for layer in layers if layer["frozen"]),
        },
        "layers": layers,
    }


def _stated(checkpoint: Checkpoint) -> dict[str, Any]:
    """The metadata; a checkpoint made from Python may have less than one of a run."""
    stated, about = checkpoint.hyperparameters, checkpoint.about
    if stated is None:
        return dict.fromkeys((*COMPARED, "calibration", "operating_point")) | {"chain": []}
    task, spec = task_of(stated), checkpoint.input
    data, config, protocol = about.get("data") or {}, checkpoint.config, about.get("protocol")
    chain, origin = [], about.get("origin")
    while origin:
        chain.append({key: value for key, value in origin.items() if key != "origin"})
        origin = origin.get("origin")
    trainer = config.get("trainer", {}) if stated.get("optimizer") else {}
    return {
        "task": {"name": task.name, "classes": list(task.classes), "positive": task.positive},
        "beats": {
            "fs": spec.fs,
            "length": spec.length,
            "leads": list(lead_names(make_leads(spec.leads))),
            "cut": dict(spec.cut),
            "context": list(spec.context) or None,
        },
        "data": {
            **{key: data.get(key) for key in ("dataset", "fingerprint")},
            "synthetic": bool(data.get("synthetic")),
            "protocol": protocol and TypeAdapter(Protocol).validate_python(protocol).sentence(),
        },
        "protocol": protocol,
        "split": config.get("split"),
        "transfer": stated.get("transfer") or {"mode": "none"},
        "chain": chain,
        "training": {
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "max_epochs": trainer.get("max_epochs"),
            "seed": config.get("seed"),
            "precision": trainer.get("precision"),
            "optimizer": stated.get("optimizer"),
            "augmentation": config.get("augmentation"),
        },
        "scores": {"validation": dict(checkpoint.scores or {}), "test": _test_scores(checkpoint)},
        "calibration": checkpoint.calibration and Calibration.from_plain(checkpoint.calibration).plain(),
        "operating_point": checkpoint.operating_point and OperatingPoint.from_plain(checkpoint.operating_point).plain(),
        "versions": about.get("versions"),
        "git": about.get("git"),
    }


def _test_scores(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """From the ``scores.json`` of the run, if this checkpoint is the one that was tested."""
    try:
        record = RunRecord.read(checkpoint.path.parent.parent / "scores.json")
    except DataError:
        return None
    n_parameters = sum(weight.numel() for weight in checkpoint.weights.values())
    of_record = (record.model, record.best_epoch, record.fingerprint, record.n_parameters)
    own = (checkpoint.model, checkpoint.epoch, (checkpoint.about.get("data") or {}).get("fingerprint"), n_parameters)
    return {key: value for key, value in record.test.items() if key != "confusion"} if of_record == own else None


def _is_head(layer: str) -> bool:
    return layer.partition(".")[0] in BeatModel.head_names


def _by_layer(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Weights by module and own name; an array without a module is one by itself."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        layer, _, last = name.rpartition(".")
        layers.setdefault(layer or name, {})[last] = weight
    return layers


def _difference(name: str, first: Mapping[str, Tensor] | None, second: Mapping[str, Tensor] | None) -> dict[str, Any]:
    if first is None or second is None:
        return {"name": name, "state": "only second" if first is None else "only first"}
    if {key: weight.shape for key, weight in first.items()} != {key: weight.shape for key, weight in second.items()}:
        return {"name": name, "state": "shape"}
    if all(first[key].equal(second[key]) for key in first):
        return {"name": name, "state": "equal"}
    one, other = (torch.cat([side[key].double().flatten() for key in first]) for side in (first, second))
    difference = one - other
    return {
        "name": name,
        "state": "different",
        "largest": float(difference.abs().max()),
        "relative": float(difference.norm() / one.norm()),
    }


def _flat(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by their dotted names."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _flat(one, f"{at}.{key}" if at else str(key))
    else:
        yield at, value


def _finite(value: Any) -> Any:
    """The value with None for NaN and infinity, which JSON has not."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
