"""What `ecg_lightning.pipeline.inspect` describes, for the terminal."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ecg_lightning.report.wording import SYNTHETIC_WARNING

SCORE_NAMES = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "specificity": "specificity",
    "auroc": "AUROC",
    "loss": "loss",
}
"""Scores that are shown, in this order, and what they are called."""


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


def _facts(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of a checkpoint's table, under their labels."""
    beats, data, training, scores = (description[key] for key in ("beats", "data", "training", "scores"))
    rate = "unknown rate" if beats["fs"] is None else f"{beats['fs']:g} Hz"
    lead = f", {', '.join(beats['leads'])}" if beats["leads"] else ""
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


def _is_shown(score: str) -> bool:
    """Whether a score has a line where two checkpoints are compared: the programs' answer has all."""
    kind, _, name = score.partition(".")
    return name.startswith("val/") if kind == "validation" else name in SCORE_NAMES or name.endswith(".f1")


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
