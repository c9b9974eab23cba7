"""Tables of `ecg_lightning.pipeline.inspect`: what a checkpoint holds, and how two of them differ."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.metrics.catalogue import metric_at
from ecg_lightning.metrics.operating_point import OperatingPoint
from ecg_lightning.report.cells import Column, Note, Row, Section, Table
from ecg_lightning.report.tables import SYNTHETIC_WARNING

SHOWN = ("macro_f1", "accuracy", "specificity", "auroc", "loss")  # scores, in this order


def description_section(description: Mapping[str, Any]) -> Section:
    """What `describe` returned."""
    columns = [Column("", text=True), Column("", text=True, wrap=True)]
    facts = Table(columns=columns, rows=list(map(Row, _facts(description))), header=False)
    synthetic = [Note(SYNTHETIC_WARNING, "warning")] * (bool(description["task"]) and description["data"]["synthetic"])
    return Section(tables=[facts, _layers(description["layers"], description["network"])], notes=synthetic)


def difference_section(comparison: Mapping[str, Any]) -> Section:
    """What `compare` of two checkpoints returned."""
    tables, notes, rows = [], [], []
    for key, values in comparison["differences"].items():
        section, _, rest = key.partition(".")
        if section != "scores" or _is_shown(rest):
            texts = ("; ".join(map(_origin, value or [])) if key == "chain" else _value(value) for value in values)
            rows.append(Row([key.removeprefix("scores."), *texts]))
    if rows:
        columns = [Column("difference", text=True), *(Column(n, text=True, wrap=True) for n in ("1", "2"))]
        tables.append(Table(columns=columns, rows=rows))
    else:
        notes.append(Note("Their metadata is the same.", "plain"))
    equal = [layer["name"] for layer in comparison["layers"] if layer["state"] == "equal"]
    others = [layer for layer in comparison["layers"] if layer["state"] != "equal"]
    if others:
        columns = [Column("weights of", text=True), Column("state", text=True)]
        columns += [Column(f"{name} difference", head=f"{name}\ndifference") for name in ("relative", "largest")]
        rows = []
        for layer in others:
            values = [layer.get(key) for key in ("relative", "largest")]
            texts = ("" if value is None else f"{value:.2g}" for value in values)
            rows.append(Row([layer["name"], layer["state"], *texts]))
        tables.append(Table(columns=columns, rows=rows))
    if equal:
        notes.append(Note(f"Bit for bit equal: {', '.join(equal) if others else 'all layers'}.", "plain"))
    return Section(tables=tables, legend=[Note(file, "plain") for file in comparison["files"]], notes=notes)


def _facts(description: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The lines of a checkpoint's table, with their labels."""
    network, task = description["network"], description["task"]
    n, n_parameters = network["n_outputs"], network["n_parameters"]
    kind = " (guessed)" if network["guessed"] else ", a baseline" if network.get("baseline") else ""
    outputs = "" if n is None else f", {n} output{'s' * (n > 1)}"
    yield "file", description["file"]
    if task:
        classes = (f"{one} (positive)" if one == task["positive"] else one for one in task["classes"])
        yield "task", f"{task['name']}: {', '.join(classes)}"
    else:
        yield "kind", "weights only, without task and data"
    facts = [
        ("network", f"{network['name'] or 'unknown'}{kind}, {n_parameters:,} parameters{outputs}"),
        ("", _phrase(network["settings"])),
        *(_of_training(description) if task else []),
    ]
    yield from ((label, text) for label, text in facts if text)


def _of_training(description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was trained on what, and how; without a text where it is not known."""
    beats, data, training, scores = (description[key] for key in ("beats", "data", "training", "scores"))
    rate = "unknown rate" if beats["fs"] is None else f"{beats['fs']:g} Hz"
    leads = "".join(f", lead {str(name).removeprefix('lead ')}" for name in beats["leads"])
    network, transfer = description["network"], description["transfer"]
    frozen, factor = network["n_frozen"], transfer.get("backbone_lr", 1)
    start = "random initialisation"
    if transfer["mode"] != "none":
        start = f"transfer {transfer['mode']}"
        start += f", {frozen:,} of {network['n_parameters']:,} parameters frozen" if frozen else ""
        start += f", learning rate of the backbone × {factor:g}" if factor != 1 else ""
    of = f" of {training['max_epochs']}" if training["max_epochs"] else ""
    epoch = "" if training["epoch"] is None else f"saved in epoch {training['epoch']}{of}, step {training['step']}"
    seed = "" if training["seed"] is None else f"seed {training['seed']}"
    augmentation = training["augmentation"]
    does = "; ".join(augmentation_phrases(augmentation)) if augmentation else ""
    per_class = scores["test"]["per_class"] if scores["test"] else {}
    f1 = [f"{name} {100 * one['f1']:.2f} %" for name, one in per_class.items()]
    calibrated = description["calibration"]
    return [
        ("beats", f"{beats['length']} samples at {rate}{leads}"),
        ("", _phrase(beats["cut"])),
        ("", f"context: {', '.join(beats['context'])}" if beats["context"] else ""),
        ("data", _data(data) if data["dataset"] else ""),
        ("split", str(data["protocol"]) if data["dataset"] else ""),
        ("start", "" if network["baseline"] else start),
        *(("", f"← {_origin(origin)}") for origin in description["chain"]),
        ("training", ", ".join(filter(None, (epoch, seed)))),
        ("", _phrase(training["optimizer"])),
        ("", f"augmentation {augmentation['name']}{f' ({does})' if does else ''}" if augmentation else ""),
        ("validation", _scores({key.removeprefix("val/"): one for key, one in scores["validation"].items()})),
        ("calibration", Calibration.from_plain(calibrated).sentence() if calibrated else ""),
        ("point", OperatingPoint.from_plain(point).sentence() if (point := description["operating_point"]) else ""),
        ("test", _scores(scores["test"])),
        ("", f"F1: {', '.join(f1)}" if f1 else ""),
        ("versions", _phrase(description["versions"])),
        ("code", f"git {description['git']}" if description["git"] else "outside a git repository"),
    ]


def augmentation_phrases(augmentation: Mapping[str, Any]) -> list[str]:
    """What an augmentation does, a phrase for each part, from the group ``augmentation`` of a configuration."""
    phrases, resampling = [], augmentation["resampling"]
    if isinstance(resampling, Mapping) and resampling["method"] != "none":
        own = {name: value for name, value in resampling.items() if name != "method"}
        phrases.append(f"{resampling['method']} {_phrase(own)}".strip())
    names = ("balance", "balance_classes", "balance_patients", "balance_databases", "mixup")
    phrases += [f"{name.replace('_', ' of ')} {_value(augmentation[name])}" for name in names if augmentation.get(name)]
    transforms = augmentation["transforms"] or {}
    return phrases + [f"{name} {_phrase(own)}" for name, own in transforms.items() if own is not None]


def _data(data: Mapping[str, Any]) -> str:
    synthetic = " (SYNTHETIC)" if data["synthetic"] else ""
    return f"{data['dataset']}{synthetic}, fingerprint {data['fingerprint']}"


def _origin(origin: Mapping[str, Any]) -> str:
    digest = f"sha256 {origin['sha256'][:12]}"
    if "task" not in origin:
        return f"{origin['file']}: weights only, {digest}"
    macro_f1 = origin["scores"].get("val/macro_f1")
    scored = "" if macro_f1 is None else f", validation {_scores({'macro_f1': macro_f1})}"
    about = f"{origin['model']} on {origin['task']} ({_data(origin['data'])}), epoch {origin['epoch']}"
    return f"{origin['file']}: {about}{scored}, {digest}"


def _layers(layers: Iterable[Mapping[str, Any]], network: Mapping[str, Any]) -> Table:
    some_frozen = bool(network["n_frozen"])
    columns = [Column("layer", text=True, wrap=True), Column("weight", text=True), Column("part", text=True)]
    columns += [Column("learning", text=True)] * some_frozen + [Column("parameters")]
    rows = []
    for layer in layers:
        shapes, state = layer["shapes"], ["frozen" if layer["frozen"] else ""] * some_frozen
        shape = "×".join(map(str, shapes["weight"])) if "weight" in shapes else f"{len(shapes)} tensors"
        rows.append(Row([layer["name"], shape, layer["part"], *state, f"{layer['n_parameters']:,}"]))
    rows.append(Row(["all", *[""] * (len(columns) - 2), f"{network['n_parameters']:,}"], mark="total"))
    return Table(columns=columns, rows=rows)


def _is_shown(score: str) -> bool:
    """Whether a score has a line where two checkpoints are compared; ``--json`` has all."""
    kind, _, name = score.partition(".")
    return name.startswith("val/") if kind == "validation" else name in SHOWN or name.endswith(".f1")


def _phrase(settings: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key}={_value(value)}" for key, value in (settings or {}).items())


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return f"({_phrase(value)})"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _scores(scores: Mapping[str, Any] | None) -> str:
    texts = []
    for name in SHOWN:
        if scores and name in scores:
            metric, value = metric_at((name,)), scores[name]
            texts.append(f"{metric.label} {metric.text(value)}{' %' * (metric.scale == 100 and value is not None)}")
    return ", ".join(texts)
