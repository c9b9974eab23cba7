"""What a checkpoint tells of itself, and how two differ: in plain values for programs, in 80 columns for readers."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ecg_lightning.checkpoint import Checkpoint, guess_network
from ecg_lightning.errors import CheckpointError, ConfigError
from ecg_lightning.evaluation.wording import SYNTHETIC_WARNING
from ecg_lightning.models import BeatModel
from ecg_lightning.tasks import get_task
from ecg_lightning.training.transfer import Transfer

CUT = ("rr_factor", "margin", "before", "scaling")
"""Settings of the cut beside sampling rate and length."""

SCORE_NAMES = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "specificity": "specificity",
    "auroc": "AUROC",
    "loss": "loss",
}
"""Scores that are shown, in this order, and what they are called."""

COMPARED = ("task", "network", "beats", "data", "split", "transfer", "chain", "training", "scores", "versions", "git")
"""What of a description says how the weights came to be."""


def describe(checkpoint: Checkpoint) -> dict[str, Any]:
    """All that a checkpoint tells, in plain values that are ready for JSON.

    Returns:
        What a plain state dict does not tell is None:

        - ``file``, ``kind`` (``checkpoint`` or ``state_dict``);
        - ``task``: ``name``, ``classes``, ``positive``;
        - ``network``: ``name`` (None if it cannot be guessed), ``guessed``, ``settings``, ``n_outputs``,
          ``n_parameters``, ``n_frozen``;
        - ``layers``: a list with ``name``, ``part`` (``backbone`` or ``head``), ``frozen``, ``n_parameters`` and
          ``shapes`` by weight;
        - ``beats``: ``fs`` in Hz, ``length``, ``lead``, ``cut``, ``context`` (names of what comes with a beat);
        - ``data``: ``source``, ``dataset``, ``synthetic``, ``fingerprint``, ``protocol``; ``split``: its settings;
        - ``transfer``: ``arm`` and what belongs to it; ``chain``: what it started from, what that started from, …;
        - ``training``: ``epoch`` (in which it was saved), ``step``, ``max_epochs``, ``seed``, ``precision``,
          ``optimizer``, ``augmentation``;
        - ``scores``: ``validation``; ``test``, from the ``scores.json`` beside the run's best checkpoint;
        - ``versions``, ``git``.

    Raises:
        CheckpointError: what it tells is not of the form that this project writes.
    """
    try:
        description = _told(checkpoint) | _weights(checkpoint)
    except (KeyError, TypeError, AttributeError, IndexError, ConfigError) as error:
        raise CheckpointError(f"{checkpoint.path} tells of itself what cannot be read: {error}") from error
    finite: dict[str, Any] = _finite(description)
    return finite


def compare(first: Checkpoint, second: Checkpoint) -> dict[str, Any]:
    """What differs between two checkpoints, in plain values.

    Returns:
        - ``files``: both;
        - ``differences``: dotted name of what `describe` tells → its two values;
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


def description_table(description: Mapping[str, Any]) -> RenderableType:
    """What `describe` returned, for the terminal."""
    network, task = description["network"], description["task"]
    name = f"{network['name'] or 'unknown'}{' (guessed)' if network['guessed'] else ''}"
    outputs = (
        "" if network["n_outputs"] is None else f", {network['n_outputs']} output{'s' * (network['n_outputs'] > 1)}"
    )
    facts = [("file", description["file"])]
    if task:
        classes = [f"{one} (positive)" if one == task["positive"] else one for one in task["classes"]]
        facts.append(("task", f"{task['name']}: {', '.join(classes)}"))
    else:
        facts.append(("kind", "weights alone: they tell neither task nor data"))
    facts.append(("network", f"{name}, {network['n_parameters']:,} parameters{outputs}"))
    if network["settings"]:
        facts.append(("", _phrase(network["settings"])))
    parts: list[RenderableType] = []
    if task:
        facts += _facts(description)
        if description["data"]["synthetic"]:
            parts.append(Text(SYNTHETIC_WARNING, style="bold red"))

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in facts:
        grid.add_row(label, Text(text))
    return Group(*parts, grid, Text(), _layers_table(description["layers"], network))


def comparison_of_two(comparison: Mapping[str, Any]) -> RenderableType:
    """What `compare` returned, for the terminal."""
    first, second = comparison["files"]
    parts: list[RenderableType] = [Text.assemble(("1 ", "bold"), first), Text.assemble(("2 ", "bold"), second), Text()]
    if comparison["differences"]:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column("what differs", no_wrap=True)
        for header in ("1", "2"):
            table.add_column(header, overflow="fold")
        last = None
        for key, values in comparison["differences"].items():
            section, _, rest = key.partition(".")
            if section == "scores" and not _is_shown(rest):
                continue
            if last not in (None, section):
                table.add_section()
            last = section
            texts = ("\n".join(map(_origin, value or [])) if key == "chain" else _value(value) for value in values)
            table.add_row(key.removeprefix("scores."), *map(Text, texts))
        parts.append(table)
    else:
        parts += [Text("What they tell of themselves is the same."), Text()]

    equal = [layer["name"] for layer in comparison["layers"] if layer["state"] == "equal"]
    others = [layer for layer in comparison["layers"] if layer["state"] != "equal"]
    if others:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("weights of")
        table.add_column("state")
        table.add_column("relative\ndifference", justify="right")
        table.add_column("largest\ndifference", justify="right")
        for layer in others:
            figures = (f"{layer[key]:.2g}" if layer.get(key) is not None else "" for key in ("relative", "largest"))
            table.add_row(layer["name"], layer["state"], *figures)
        parts.append(table)
    if equal:
        which = ", ".join(equal) if others else "all layers"
        parts.append(Text(f"Equal to the last bit: {which}."))
    return Group(*parts)


def _weights(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the weights show by themselves."""
    told = checkpoint.hyperparameters
    n_outputs = checkpoint.weights.get(f"{BeatModel.head_names[-1]}.bias")
    frozen = bool(told and Transfer(**(told["transfer"] or {})).is_frozen((checkpoint.epoch or 1) - 1))
    layers: list[dict[str, Any]] = []
    for name, weights in _by_layer(checkpoint.weights).items():
        part = "head" if _is_head(name) else "backbone"
        layers.append(
            {
                "name": name,
                "part": part,
                "frozen": frozen and part == "backbone",
                "n_parameters": sum(weight.numel() for weight in weights.values()),
                "shapes": {weight: list(tensor.shape) for weight, tensor in weights.items()},
            }
        )
    layers.sort(key=lambda layer: _is_head(layer["name"]))  # the state dict has the head first
    network = {
        "name": told["model"]["name"] if told else guess_network(checkpoint.weights),
        "settings": {key: value for key, value in told["model"].items() if key != "name"} if told else None,
        "n_outputs": None if n_outputs is None else len(n_outputs),
        "n_parameters": sum(layer["n_parameters"] for layer in layers),
        "n_frozen": sum(layer["n_parameters"] for layer in layers if layer["frozen"]),
    }
    return {
        "file": str(checkpoint.path),
        "kind": "state_dict" if told is None else "checkpoint",
        "network": network | {"guessed": told is None and network["name"] is not None},
        "layers": layers,
    }


def _told(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the run told; a checkpoint made from Python may have been told less than a run tells."""
    told, about = checkpoint.hyperparameters, checkpoint.about
    if told is None:
        return dict.fromkeys(COMPARED) | {"chain": []}
    task, data, config = get_task(told["task"]), about.get("data", {}), about.get("config", {})
    cut = data.get("cut", data)
    trainer = config.get("trainer", {})
    return {
        "task": {"name": task.name, "classes": list(task.classes), "positive": task.positive},
        "beats": {
            "fs": about.get("fs"),
            "length": told["length"],
            "lead": data.get("lead"),
            "cut": {key: cut[key] for key in CUT if key in cut},
            "context": told.get("context"),
        },
        "data": {
            "source": data.get("source"),
            "dataset": data.get("dataset"),
            "synthetic": bool(data.get("synthetic")),
            "fingerprint": data.get("fingerprint"),
            "protocol": data.get("protocol"),
        },
        "split": config.get("split"),
        "transfer": told["transfer"] or {"arm": "none"},
        "chain": list(_chain(about.get("origin"))),
        "training": {
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "max_epochs": trainer.get("max_epochs"),
            "seed": config.get("seed"),
            "precision": trainer.get("precision"),
            "optimizer": told["optimizer"],
            "augmentation": config.get("augmentation"),
        },
        "scores": {"validation": dict(checkpoint.scores or {}), "test": _test_scores(checkpoint)},
        "versions": about.get("versions"),
        "git": about.get("git"),
    }


def _chain(origin: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    while origin:
        yield {key: value for key, value in origin.items() if key != "origin"}
        origin = origin.get("origin")


def _test_scores(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """From the run's ``scores.json``, if it is beside the checkpoint and of it: a run tests its best one."""
    file = checkpoint.path.parent.parent / "scores.json"
    try:
        scores = json.loads(file.read_text(encoding="utf-8"))
        own = (scores["best_epoch"], scores["fingerprint"], scores["n_parameters"])
        n_parameters = sum(weight.numel() for weight in checkpoint.weights.values())
        if own != (checkpoint.epoch, checkpoint.about.get("data", {}).get("fingerprint"), n_parameters):
            return None
        figures: dict[str, Any] = {key: value for key, value in scores["test"].items() if key != "confusion"}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return figures


def _facts(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of a checkpoint's table, under their labels."""
    beats, data, training, scores = (description[key] for key in ("beats", "data", "training", "scores"))
    rate = "unknown rate" if beats["fs"] is None else f"{beats['fs']:g} Hz"
    lead = "" if beats["lead"] is None else f", lead {beats['lead']}"
    yield "beats", f"{beats['length']} samples at {rate}{lead}"
    if beats["cut"]:
        yield "", _phrase(beats["cut"])
    if beats["context"]:
        yield "", f"context: {', '.join(beats['context'])}"
    if data["dataset"]:
        synthetic = " (SYNTHETIC)" if data["synthetic"] else ""
        yield "data", f"{data['dataset']} from {data['source']}{synthetic}, fingerprint {data['fingerprint']}"
        yield "split", str(data["protocol"])

    arm = description["transfer"]["arm"]
    frozen = description["network"]["n_frozen"]
    learning = f", {frozen:,} of {description['network']['n_parameters']:,} parameters frozen" if frozen else ""
    factor = description["transfer"].get("backbone_lr", 1)
    learning += f", backbone's rate × {factor:g}" if factor != 1 else ""
    yield "start", ("fresh weights" if arm == "none" else f"transfer {arm}{learning}")
    for origin in description["chain"]:
        yield "", f"← {_origin(origin)}"

    optimizer = description["training"]["optimizer"]
    of = f" of {training['max_epochs']}" if training["max_epochs"] else ""
    yield "training", f"saved in epoch {training['epoch']}{of}, step {training['step']}, seed {training['seed']}"
    yield "", _phrase(optimizer)
    if augmentation := training["augmentation"]:
        does = "; ".join(augmentation_phrases(augmentation))
        yield "", f"augmentation {augmentation['name']}{f' ({does})' if does else ''}"
    told = {key.removeprefix("val/"): value for key, value in scores["validation"].items() if key.startswith("val/")}
    if told:
        yield "validation", ", ".join(_score(key, told[key]) for key in SCORE_NAMES if key in told)
    if test := scores["test"]:
        yield "test", ", ".join(_score(key, test[key]) for key in SCORE_NAMES if key in test)
        yield "", "F1: " + ", ".join(f"{name} {100 * one['f1']:.2f} %" for name, one in test["per_class"].items())
    if description["versions"]:
        yield "versions", _phrase(description["versions"])
    yield "code", f"git {description['git']}" if description["git"] else "outside a git repository"


def augmentation_phrases(augmentation: Mapping[str, Any]) -> list[str]:
    """What an augmentation does, a phrase for each thing, from the group ``augmentation`` of a configuration.

    Checkpoints of before resampling was there have no settings of it, nor of balance and mixup.
    """
    phrases = []
    resampling = augmentation["resampling"]
    if isinstance(resampling, Mapping) and resampling["method"] != "none":
        own = {name: value for name, value in resampling.items() if name != "method"}
        phrases.append(f"{resampling['method']} {_phrase(own)}".strip())
    phrases += [f"{name} {_value(augmentation[name])}" for name in ("balance", "mixup") if augmentation.get(name)]
    transforms = augmentation["transforms"] or {}
    return phrases + [f"{name} {_phrase(own)}" for name, own in transforms.items() if own is not None]


def _origin(origin: Mapping[str, Any]) -> str:
    digest = f"sha256 {origin['sha256'][:12]}"
    if "task" not in origin:
        return f"{origin['file']}: weights alone, {digest}"
    data, macro_f1 = origin["data"], origin["scores"].get("val/macro_f1")
    synthetic = " (SYNTHETIC)" if data["synthetic"] else ""
    beats = f"{data['dataset']} from {data['source']}{synthetic}, fingerprint {data['fingerprint']}"
    scored = "" if macro_f1 is None else f", validation {_score('macro_f1', macro_f1)}"
    return (
        f"{origin['file']}: {origin['model']} on {origin['task']} ({beats}), epoch {origin['epoch']}{scored}, {digest}"
    )


def _layers_table(layers: Iterable[Mapping[str, Any]], network: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("weight")
    table.add_column("parameters", justify="right")
    table.add_column("part")
    if network["n_frozen"]:
        table.add_column("")
    for layer in layers:
        shapes = layer["shapes"]
        shape = "×".join(map(str, shapes["weight"])) if "weight" in shapes else f"{len(shapes)} tensors"
        row = (layer["name"], shape, f"{layer['n_parameters']:,}", layer["part"])
        table.add_row(*row, *(["frozen" if layer["frozen"] else ""] if network["n_frozen"] else []))
    table.add_section()
    table.add_row("all", "", f"{network['n_parameters']:,}", "")
    return table


def _section(key: str) -> int:
    return COMPARED.index(key.partition(".")[0])


def _is_head(layer: str) -> bool:
    return layer.partition(".")[0] in BeatModel.head_names


def _by_layer(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Module → its own weights by their last name."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, weight in weights.items():
        layer, _, last = name.rpartition(".")
        layers.setdefault(layer, {})[last] = weight
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


def _is_shown(score: str) -> bool:
    """Whether a score has a line where two checkpoints are compared: the programs' answer has all."""
    kind, _, name = score.partition(".")
    return name.startswith("val/") if kind == "validation" else name in SCORE_NAMES or name.endswith(".f1")


def _finite(value: Any) -> Any:
    """The same with None for what JSON has no number for."""
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _phrase(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in settings.items())


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _score(name: str, value: float | None) -> str:
    if value is None:
        return f"{SCORE_NAMES[name]} -"
    return f"{SCORE_NAMES[name]} {value:.4f}" if name == "loss" else f"{SCORE_NAMES[name]} {100 * value:.2f} %"
