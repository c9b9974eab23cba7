"""What a checkpoint states of itself, and how two differ, in plain values."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ecg_lightning.core.errors import CheckpointError, ConfigError, DataError
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.data.recording import lead_names, make_leads
from ecg_lightning.models import BeatModel
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import Checkpoint, guess_network
from ecg_lightning.training.estimator import estimator_type
from ecg_lightning.training.tasks import get_task
from ecg_lightning.training.transfer import Transfer

COMPARED = (
    "task", "network", "beats", "data", "protocol", "split", "transfer", "chain", "training", "scores", "versions",
    "git",
)  # fmt: skip
"""What of a description states how the weights came to be."""


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that a checkpoint states, in plain values that are ready for JSON.

    Returns:
        What a plain state dict does not state is None:

        - ``file``, ``kind`` (``checkpoint`` or ``state_dict``);
        - ``task``: ``name``, ``classes``, ``positive``;
        - ``network``: ``name`` (None if it cannot be guessed), ``baseline`` (a reference model), ``guessed``,
          ``settings``, ``n_outputs``, ``n_parameters``, ``n_frozen``;
        - ``layers``: a list with ``name``, ``part`` (``backbone`` or ``head``), ``frozen``, ``n_parameters`` and
          ``shapes`` by weight; of a reference model, one entry for each of its arrays, of the ``backbone``;
        - ``beats``: ``fs`` in Hz, ``length``, ``leads``, ``cut``, ``context`` (names of what comes with a beat);
        - ``data``: ``source``, ``dataset``, ``synthetic``, ``fingerprint``, ``protocol`` (as a sentence); ``protocol``:
          its fields; ``split``: its settings;
        - ``transfer``: ``mode`` and what belongs to it; ``chain``: what it started from, what that started from, …;
        - ``training``: ``epoch`` (in which it was saved), ``step``, ``max_epochs``, ``seed``, ``precision``,
          ``optimizer``, ``augmentation``; those that a model does not use are None;
        - ``scores``: ``validation``; ``test``, from the ``scores.json`` beside the run's best checkpoint;
        - ``versions``, ``git``.

    Raises:
        CheckpointError: what it states is not of the form that this project writes.
    """
    try:
        description = _stated(checkpoint) | _weights(checkpoint)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, ConfigError) as error:
        raise CheckpointError(f"{checkpoint.path} states of itself what cannot be read: {error}") from error
    finite: dict[str, Any] = _finite(description)
    return finite


def compare(first: Checkpoint, second: Checkpoint) -> dict[str, Any]:
    """What differs between two checkpoints, in plain values.

    Returns:
        - ``files``: both;
        - ``differences``: dotted name of what `describe` gives → its two values;
        - ``layers``: a list with ``name`` and ``state`` (``equal`` to the last bit, ``different``, ``shape``,
          ``only first``, ``only second``); where different, ``largest`` (the largest absolute difference of a weight)
          and ``relative`` (the length of the difference divided by the length of the first).

    Raises:
        CheckpointError: as `describe`.
    """
    sides = [describe(checkpoint) for checkpoint in (first, second)]
    flat = [dict(_flat({section: side[section] for section in COMPARED})) for side in sides]
    values = {
        key: [side.get(key) for side in flat] for key in sorted(dict.fromkeys([*flat[0], *flat[1]]), key=_section)
    }
    layers = [_by_layer(checkpoint.weights) for checkpoint in (first, second)]
    return {
        "files": [str(first.path), str(second.path)],
        "differences": {key: pair for key, pair in values.items() if pair[0] != pair[1]},
        "layers": _finite(
            [
                _layer_difference(name, *(side.get(name) for side in layers))
                for name in sorted(layers[0] | layers[1], key=_is_head)
            ]
        ),
    }


def _weights(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the weights show by themselves."""
    stated, name = checkpoint.hyperparameters, checkpoint.model
    baseline = name is not None and estimator_type(name).baseline
    n_outputs = checkpoint.weights.get(f"{BeatModel.head_names[-1]}.bias")
    transfer = (stated or {}).get("transfer")
    frozen = bool(transfer and Transfer(**transfer).is_frozen((checkpoint.epoch or 1) - 1))
    layers: list[dict[str, Any]] = []
    for layer, weights in _by_layer(checkpoint.weights).items():
        part = "head" if _is_head(layer) else "backbone"
        layers.append(
            {
                "name": layer,
                "part": part,
                "frozen": frozen and part == "backbone",
                "n_parameters": sum(weight.numel() for weight in weights.values()),
                "shapes": {weight: list(tensor.shape) for weight, tensor in weights.items()},
            }
        )
    layers.sort(key=lambda layer: _is_head(layer["name"]))  # the state dict has the head first
    network = {
        "name": name or guess_network(checkpoint.weights),
        "baseline": baseline,
        "settings": {key: value for key, value in stated["model"].items() if key != "name"} if stated else None,
        "n_outputs": None if n_outputs is None else len(n_outputs),
        "n_parameters": sum(layer["n_parameters"] for layer in layers),
        "n_frozen": sum(layer["n_parameters"] for layer in layers if layer["frozen"]),
    }
    return {
        "file": str(checkpoint.path),
        "kind": "state_dict" if stated is None else "checkpoint",
        "network": network | {"guessed": stated is None and network["name"] is not None},
        "layers": layers,
    }


def _stated(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the run stated; a checkpoint made from Python may state less than a run does."""
    stated, about = checkpoint.hyperparameters, checkpoint.about
    if stated is None:
        return dict.fromkeys(COMPARED) | {"chain": []}
    task, spec, data, config = (
        get_task(stated["task"]),
        checkpoint.input,
        about.get("data", {}),
        about.get("config", {}),
    )
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
            "source": data.get("source"),
            "dataset": data.get("dataset"),
            "synthetic": bool(data.get("synthetic")),
            "fingerprint": data.get("fingerprint"),
            "protocol": _sentence(about.get("protocol")),
        },
        "protocol": about.get("protocol"),
        "split": config.get("split"),
        "transfer": stated.get("transfer") or {"mode": "none"},
        "chain": list(_chain(about.get("origin"))),
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
        "versions": about.get("versions"),
        "git": about.get("git"),
    }


def _sentence(fields: Mapping[str, Any] | None) -> str | None:
    if fields is None:
        return None
    try:
        return TypeAdapter(Protocol).validate_python(fields).sentence()
    except ValidationError as error:
        raise ValueError(f"protocol has {error.errors()[0]['msg']}") from error


def _chain(origin: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    while origin:
        yield {key: value for key, value in origin.items() if key != "origin"}
        origin = origin.get("origin")


def _test_scores(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """From the run's ``scores.json``, if it is beside the checkpoint and of it: a run tests its best one."""
    try:
        record = RunRecord.read(checkpoint.path.parent.parent / "scores.json")
    except DataError:
        return None
    n_parameters = sum(weight.numel() for weight in checkpoint.weights.values())
    of_record = (record.model, record.best_epoch, record.fingerprint, record.n_parameters)
    own = (checkpoint.model, checkpoint.epoch, checkpoint.about.get("data", {}).get("fingerprint"), n_parameters)
    return {key: value for key, value in record.test.items() if key != "confusion"} if of_record == own else None


def _section(key: str) -> int:
    return COMPARED.index(key.partition(".")[0])


def _is_head(layer: str) -> bool:
    return layer.partition(".")[0] in BeatModel.head_names


def _by_layer(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Module → its own weights by their last name; an array that belongs to no module stands alone."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        layer, _, last = name.rpartition(".")
        layers.setdefault(layer or name, {})[last] = weight
    return layers


def _layer_difference(
    name: str, first: Mapping[str, Tensor] | None, second: Mapping[str, Tensor] | None
) -> dict[str, Any]:
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
    if not isinstance(value, Mapping):
        yield at, value
        return
    for key, one in value.items():
        yield from _flat(one, f"{at}.{key}" if at else str(key))


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
