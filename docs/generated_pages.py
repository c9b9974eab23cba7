"""The pages of the site that are made of the project: command line, configuration, cards of weights and of databases.

`pages` returns them as Markdown by their place in the site. Nothing of mkdocs is needed.
"""

import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import typer
import yaml
from hydra.utils import get_object
from rich.filesize import decimal

from ecg_lightning.cli.main import app
from ecg_lightning.core.options import accepted
from ecg_lightning.core.weights import FOLDER, shipped_weights
from ecg_lightning.data.databases.card import Card, Patients, class_map_of
from ecg_lightning.data.transforms import TRANSFORMS
from ecg_lightning.models.registry import create_model, model_names
from ecg_lightning.pipeline.cards import load_cards
from ecg_lightning.pipeline.settings import Settings

CONF = Path(__file__).parents[1] / "conf"
TRAIN = CONF / "train.yaml"
RECIPES = ("experiment", "search", "debug")  # groups that set what other groups have
COMMAND = re.compile(r"python train\.py|ecg-lightning")  # how a line of a comment begins that is one
ROLE = re.compile(r":\w+:`~?([^`]*)`")  # reStructuredText in the docstrings of Lightning
LINK = re.compile(r"(https?://\S*[^\s.])")
WEAK = 0.5  # F1 of a class below which its card warns
UNBOUNDED = {" from 1 to 1000000000": " of at least 1", " from 0 to 1000000000": " of at least 0",
             " and of at most 1000000000": ""}  # fmt: skip


class Setting(NamedTuple):
    """One setting of the configuration: its dotted name, its default in YAML, what it accepts, what it means."""

    name: str
    default: str
    accepts: str
    meaning: str


@cache
def _cards() -> Mapping[str, Card]:
    return load_cards()


def pages() -> dict[str, str]:
    """All generated pages by their place in the site."""
    return {
        "reference/cli.md": cli_page(),
        "reference/configuration/index.md": configuration_page(),
        **{f"reference/configuration/{group}.md": group_page(group) for group in groups()},
        "models/index.md": weights_page(),
        **{f"models/{name}.md": weights_card(name, card) for name, card in shipped_weights().items()},
        "databases/index.md": databases_page(),
        **{f"databases/{name}.md": database_card(name, card) for name, card in _cards().items()},
    }


# Command line


def commands(command: Any = None, name: str = "ecg-lightning") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, those of a group after the group."""
    for word, one in (command or typer.main.get_command(app)).commands.items():
        yield f"{name} {word}", one
        if hasattr(one, "commands"):
            yield from commands(one, f"{name} {word}")


def cli_page() -> str:
    """Every command with arguments, options and defaults."""
    parts = [
        "# Command line",
        "`--help` after any command prints what is here, `--debug` the traceback of an error. Exit status 0: done; 1: the "
        "answer is no (a check found something wrong, a recording failed); 2: one line states what is wrong; 130: stopped.",
    ]
    for name, command in commands():
        own = [one for one in command.params if one.name != "help" and not getattr(one, "hidden", False)]
        parts += [f"## {name} {{ #{name.replace(' ', '-')} }}", (command.help or "").strip()]
        if hasattr(command, "commands"):
            continue
        words = [_usage(one) for one in own if one.param_type_name == "argument"]
        if name == "ecg-lightning train":
            parts.append(
                "The words are those of the [configuration](configuration/index.md), and the options of Hydra."
            )
            words = ["[GROUP=CHOICE] …", "[SETTING=VALUE] …"]
        parts.append(f"```text\n{' '.join([name, *words, *['[OPTIONS]'] * (len(own) > len(words))])}\n```")
        parts.append(_options(map(_parameter, own)))
    return "\n\n".join(filter(None, parts))


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _usage(argument: Any) -> str:
    return f"{_word(argument) if argument.required else f'[{_word(argument)}]'}{' …' * (argument.nargs == -1)}"


def _parameter(one: Any) -> tuple[str, str, str]:
    words = [_word(one)] if one.param_type_name == "argument" else [*one.opts, *one.secondary_opts]
    meaning = " ".join((one.help or "").split())
    kind = getattr(one, "type", None)  # of typer before 0.26, which built on click
    values = typing.get_args(one.type_descriptor.annotation) if kind is None else getattr(kind, "choices", ())
    if values := [value for value in values if isinstance(value, str)]:
        meaning += f" One of {', '.join(f'`{value}`' for value in values)}."
    low, high = (getattr(kind or one, bound, None) for bound in ("min", "max"))
    if low is not None:
        meaning += f" At least {low:g}." if high is None else f" From {low:g} to {high:.10g}."
    if one.envvar:
        meaning += f" Also by the environment: `{one.envvar}`."
    default = "Required" if one.required else "" if one.default in (None, "", False) else f"Default `{one.default}`"
    return ", ".join(f"`{word}`" for word in words), meaning, default


# Configuration


def groups() -> list[str]:
    """The groups of the configuration, in the order of ``train.yaml``, and Hydra's last."""
    return [*(group for group in _defaults() if group != "hydra"), "launcher", "sweeper"]


@cache
def _defaults() -> Mapping[str, str]:
    """Group → its choice where none is given."""
    listed = [one for one in _plain(TRAIN)["defaults"] if isinstance(one, dict)]
    return {group: str(choice) for one in listed for group, choice in one.items()}


def _folder(group: str) -> Path:
    return CONF / "hydra" / group if group in ("launcher", "sweeper") else CONF / group


def _title(group: str) -> str:
    return f"hydra/{group}" if group in ("launcher", "sweeper") else group


def _names(group: str) -> list[str]:
    """The choices of a group."""
    return sorted(file.stem for file in _folder(group).glob("[!_]*.yaml"))


@cache
def _plain(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text(encoding="utf-8")) or {})


@cache
def _comments(file: Path) -> tuple[list[str], dict[str, str]]:
    """The lines of the comment that a file of YAML begins with; dotted name → comment of its settings."""
    lines = file.read_text(encoding="utf-8").splitlines()
    n_head = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    found: dict[str, str] = {}

    def visit(node: Any, above: str) -> None:
        if isinstance(node, yaml.SequenceNode) and not node.flow_style:
            for item in node.value:
                visit(item, above)
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            name = f"{above}{key.value}"
            end = (value if isinstance(value, yaml.ScalarNode) or value.flow_style else key).end_mark
            after = re.search(r"(?:^|\s)#\s*(.*)", lines[end.line][end.column :])
            first = last = key.start_mark.line
            while first > n_head and lines[first - 1].strip().startswith("#"):
                first -= 1
            text = after[1] if after else " ".join(line.strip("# ") for line in lines[first:last])
            found.update({name: text} if text else {})
            visit(value, f"{name}.")

    visit(yaml.compose("\n".join(lines)), "")
    return [line[1:].strip() for line in lines[:n_head] if "@package" not in line], found


def _flat(plain: Any, above: str = "") -> dict[str, Any]:
    """Dotted name → value of every setting."""
    if not isinstance(plain, dict) or not plain:
        return {above: plain} if above else {}
    return {
        name: one for key, value in plain.items() for name, one in _flat(value, f"{above}.{key}".lstrip(".")).items()
    }


def _chosen(group: str, name: str) -> dict[str, Any]:
    """The settings of a choice, and of those that it builds on, by dotted name."""
    plain = dict(_plain(_folder(group) / f"{name}.yaml"))
    bases = [base for base in plain.pop("defaults", []) if isinstance(base, str) and base.isidentifier()]
    settings: dict[str, Any] = {}
    for base in bases:
        settings |= {} if base == "_self_" else _chosen(group, base)
    return settings | _flat(plain.get("task") if group == "task" else plain)


def settings_of(group: str, choice: str | None = None) -> list[Setting]:
    """The settings of a group, or of one of its choices alone; ``""`` has those of ``train.yaml`` itself.

    What one means is the comment in YAML, or else what the class that takes it says of its argument.
    """
    files = [TRAIN] if not group else [_folder(group) / f"{choice or '*'}.yaml"]
    files = [file for pattern in files for file in sorted(pattern.parent.glob(pattern.name))]
    base = "_database" if group == "dataset" else choice or _defaults().get(group, "")
    values = _chosen(group, base) if group else _flat({**_plain(TRAIN), "defaults": None})
    comments: dict[str, str] = {}
    # Where a setting is introduced it is explained, rather than where it has another value.
    for file in sorted(files, key=lambda file: ("defaults" in _plain(file), file.stem != base, file.stem[0] != "_")):
        comments = {name.removeprefix("task."): text for name, text in _comments(file)[1].items()} | comments
    declared = {} if choice else _declared_in(group)
    patterns = re.compile("|".join(f"{re.escape(name).replace('NAME', '[^.]+')}(\\..*)?" for name in declared) or "$")
    others = {} if choice else {name: one for file in files if group for name, one in _chosen(group, file.stem).items()}
    more = [name for name in {**values, **others} if not patterns.fullmatch(name)]
    settings = []
    for name in (*declared, *more):
        above, _, leaf = name.rpartition(".")
        if leaf in ("_target_", "defaults", "") or (name == "name" and group == "model"):
            continue
        owner, standard = declared.get(name, (None, others.get(name)))
        target = {**others, **values}.get(f"{above}._target_".lstrip("."))
        meaning = comments.get(name) or _arguments(owner).get(leaf, "")
        if not meaning and (target or group == "model"):
            meaning = _arguments(get_object(target) if target else _network(choice)).get(leaf, "")
        if own := {**others, **values}.get(f"{name}._target_"):  # a callback or logger
            what = inspect.cleandoc(get_object(own).__doc__ or "").split("\n\n")[0]
            meaning, standard = meaning or ROLE.sub(r"`\1`", what), ...
        full = f"{_title(group)}.{name}".lstrip(".").replace("/", ".")
        accepts = _accepted(full) if name in declared or group == "model" else ""
        meaning = re.sub("^[a-z](?=[a-z]* )", lambda letter: letter[0].upper(), meaning)
        settings.append(Setting(full, _shown(values.get(name, standard)), accepts, meaning))
    return settings


def _network(name: str | None) -> Any:
    return type(create_model(name, n_outputs=2, length=187)) if name in model_names() else None


@cache
def _declared_in(group: str) -> dict[str, tuple[Any, Any]]:
    """Dotted name → the class that declares it, and the default there: all settings of a group with types."""
    hints = typing.get_type_hints(Settings)
    has_none = group == "model" or (group and group not in hints)
    found: dict[str, tuple[Any, Any]] = {}
    for name, one in () if has_none else _nested(hints[group], "") if group else _fields(Settings, ""):
        found.setdefault(name, one)  # of a card, of which the settings for several have a part
    return found


def _fields(model: Any, above: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    hints = typing.get_type_hints(model)
    for key, field in _pydantic(model).items():
        name = f"{above}{field.alias or key}"
        if name == "cards" or (model is Settings and key in _defaults()):  # the cards of several databases
            continue
        inner = dict(_nested(hints[key], f"{name}."))
        if not inner or {type(None), str, Any} & {*typing.get_args(hints[key])} or "record" in str(hints[key]):
            yield name, (model, ... if field.is_required() else field.get_default(call_default_factory=True))
        yield from inner.items()


def _pydantic(hint: Any) -> Mapping[str, Any]:
    """The fields of a model or dataclass of pydantic; else nothing."""
    if not isinstance(hint, type):
        return {}
    return getattr(hint, "model_fields", None) or getattr(hint, "__pydantic_fields__", {})


def _nested(hint: Any, above: str) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if _pydantic(hint):
        yield from _fields(hint, above)
    keyed = typing.get_origin(hint) in (dict, Mapping)
    for inner in typing.get_args(hint):
        yield from _nested(inner, f"{above}NAME." if keyed else above)


def _accepted(name: str) -> str:
    text = accepted(Settings, name)
    for words, instead in UNBOUNDED.items():
        text = text.replace(words, instead)
    return text


def _shown(value: Any) -> str:
    if value is ...:
        return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...").strip()


@cache
def _arguments(taker: Any) -> Mapping[str, str]:
    """What a class and its bases say of their arguments: in docstrings, and in comments on fields."""
    found: dict[str, str] = {}
    for one in getattr(taker, "__mro__", [taker]):
        module = getattr(one, "__module__", "builtins")
        for text in (one.__doc__, getattr(vars(one).get("__init__") if inspect.isclass(one) else None, "__doc__", "")):
            for section in re.findall(
                r"^(?:Args|Attributes):\n((?: .*\n|\n)+)", inspect.cleandoc(text or "") + "\n", re.M
            ):
                for names, body in re.findall(r"^ {4}(\w[\w, ]*)(?:\(.*\))?: (.*(?:\n {5,}.*)*)", section, re.M):
                    said = " ".join(body.split())
                    if not module.startswith("ecg_lightning"):
                        said = re.split(r"(?<=\.) |: :|\.\. | Default", ROLE.sub(r"`\1`", said))[0]
                    found |= {name: said for name in names.split(", ") if name not in found}
        if module.startswith("ecg_lightning") and inspect.isclass(one):
            fields = re.findall(r"^    (\w+): .*?  # (.+)$", inspect.getsource(one), re.M)
            found |= {name: said for name, said in fields if name not in found}
    return found


def configuration_page() -> str:
    """The groups, and the settings that are in none."""
    said = _comments(TRAIN)[1]
    rows = [
        (f"[`{_title(group)}`]({group}.md)", f"`{_defaults().get(group, '')}`".replace("``", ""), len(_names(group)),
         said.get(f"defaults.{group}", "")) for group in groups()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "# Configuration",
            "An experiment is made of choices, one from each group (`split=patient`), and of settings, each of which can be "
            "given another value (`split.seed=1`). A choice is a file, `conf/GROUP/CHOICE.yaml`, and `--config-dir FOLDER` "
            "adds your own. Several values, with `-m`, are a sweep (`model=cnet,seq`). All settings are checked by type and "
            "range before any work; `--cfg job` prints what would run.",
            _table(("group", "default", "choices", ""), rows),
            "## Settings in no group",
            *_described(settings_of("")),
        ]
    )


def group_page(group: str) -> str:
    """The choices of a group, and its settings."""
    title, folder = _title(group), _folder(group)
    said = _comments(TRAIN)[1].get(f"defaults.{group}", "")
    parts = [f"# {title}", f"{said[:1].upper()}{said[1:]}.".lstrip("."), "## Choices"]
    for name in _names(group):
        is_default = " (the default)" * (name == _defaults().get(group))
        parts += [
            f'### `{title}={name}`{is_default} {{ #{name} data-toc-label="{name}" }}',
            _prose(_comments(folder / f"{name}.yaml")[0]),
        ]
        if group == "dataset":
            parts += [f"[Its card](../../databases/{name}.md)"] * (name in _cards())
        source = (folder / f"{name}.yaml").read_text(encoding="utf-8")
        parts.append(f'??? abstract "conf/{title}/{name}.yaml"\n' + _indented(f"```yaml\n{source}```"))
        if group in ("model", "launcher", "sweeper"):
            parts.append(_options((f"`{one.name}`", one.meaning, _facts(one)) for one in settings_of(group, name)))
    if group not in (*RECIPES, "model", "launcher", "sweeper"):
        parts += ["## Settings", *_described(settings_of(group))]
    if group == "augmentation":
        parts += ["## Transforms", "In `augmentation.transforms`, by name, each with its settings."]
        for name, transform in TRANSFORMS.items():
            own = {key: accepted(transform, key) for key in _pydantic(transform) if key != "fs"}
            settings = ", ".join(f"`{key}` ({words})" for key, words in own.items())
            parts += [f"### `{name}`", f"{inspect.cleandoc(transform.__doc__ or '')}\n\nSettings: {settings}."]
    return "\n\n".join(filter(None, parts))


def _described(settings: Iterable[Setting]) -> Iterator[str]:
    for one in settings:
        name = one.name
        yield f'### `{name}` {{ #{name} data-toc-label="{name.partition(".")[2] or name}" }}'
        yield f"{one.meaning}\n{{ .meaning }}\n\n{_facts(one)}\n{{ .accepts }}"


def _facts(setting: Setting) -> str:
    return " · ".join(
        [f"Default `{setting.default}`"] * bool(setting.default) + [setting.accepts] * bool(setting.accepts)
    )


def _options(rows: Iterable[tuple[str, str, str]]) -> str:
    """A list of terms, each with what it means, and below it, smaller, its default."""
    items = [f"{term}\n:   {meaning}\n\n    {facts}\n    {{ .accepts }}".removesuffix("\n\n    \n    { .accepts }")
             for term, meaning, facts in rows]  # fmt: skip
    return "\n\n".join(['<div class="options" markdown>', *items, "</div>"]) if items else ""


def _prose(lines: Iterable[str]) -> str:
    """The lines of a comment as paragraphs, and those that are commands as code."""
    parts: list[str] = []
    is_code = False
    for line in lines:
        goes_on = is_code and parts[-1].endswith("\\")
        starts, is_code = is_code, bool(COMMAND.match(line)) or goes_on
        if parts and is_code == starts and line:
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return "\n\n".join(f"```bash\n{part}\n```" if COMMAND.match(part) else part for part in parts if part)


def _indented(text: str) -> str:
    return "".join(f"    {line}".rstrip() + "\n" for line in text.splitlines())


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |" for line in lines)


# Cards


def weights_page() -> str:
    rows = []
    for name, card in shipped_weights().items():
        tests = card["expected"] if card["kind"] == "beats" else ()
        best = "; ".join(f"{_percent(test['macro_f1'])} on {test['tested_on']}" for test in tests)
        rows.append((f"[`{name}`]({name}.md)", card["title"], best))
    return "\n\n".join(
        [
            "# Models",
            "Weights that come with the package, under the names that stand wherever a checkpoint does. "
            "`ecg-lightning weights list` prints them. [How they are made](../results/weights/README.md).",
            _table(("weights", "", "macro-F1 of unseen people, %"), rows),
        ]
    )


def weights_card(name: str, card: Mapping[str, Any]) -> str:
    """Of weights that ship: what they are, how to use them, what to expect, limits, attribution."""
    about = _about_network(card) if card["kind"] == "beats" else _about_detector(card)
    size = decimal((FOLDER / f"{name}.safetensors").stat().st_size)
    made = "\n".join(card["command"].split("; "))
    return "\n\n".join(
        [
            f"# {name}",
            f"{card['title']}. {card['description']}",
            f"```bash\n{_use(name, card)}\n```",
            _table(("", ""), [*about, ("File", size), ("Licence", card["licence"])]),
            "## What to expect",
            *(_network_scores(card) if card["kind"] == "beats" else _detector_scores(card)),
            "## How it is made",
            f"```bash\n{made}\n```",
            "## Attribution",
            LINK.sub(r"<\1>", "\n".join(f"- {one}" for one in card["attribution"])),
        ]
    )


def _use(name: str, card: Mapping[str, Any]) -> str:
    if card["kind"] == "r_peaks":
        return f"ecg-lightning detector test --detector network:{name} --on svdb"
    if not card["expected"]:  # to start others from
        return (
            f"python train.py split=patient context=rr_distance sequence=s4d transfer=rhythm transfer.checkpoint={name}"
        )
    return f"ecg-lightning annotate RECORDING --model {name}"


def _about_network(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    stated, trained = card["hyperparameters"], card["trained_on"]
    spec = stated["input"]
    before = spec["cut"]["before"]
    people, beats = trained["patients"], trained["beats"]
    databases = ", ".join(f"[{of['title']}](../databases/{name}.md)" for name, of in trained["databases"].items())
    names = ", ".join(
        f"`{one['name']}`" for one in (stated.get("members") and stated["model"]["members"]) or [stated["model"]]
    )
    return [
        ("Classes", f"{', '.join(stated['about']['classes'])} ({stated['about']['class_map']})"),
        ("Input", f"{_leads(spec['leads'])}; {spec['length']} samples at {spec['fs']:g} Hz from "
                  f"{1000 * before:.0f} ms before the R peak; scaled by {spec['cut']['scaling']}"),
        ("Context", "; ".join(spec["context"]) or "none"),
        ("Network", names if len(names.split()) == 1 else f"ensemble of {names}"),
        ("Trained on", f"{databases}: {people['train']:,} people, {beats['train']:,} beats; validated on "
                       f"{people['validation']:,} people, {beats['validation']:,} beats"),
    ]  # fmt: skip


def _network_scores(card: Mapping[str, Any]) -> Iterator[str]:
    if not card["expected"]:
        yield "Nothing by themselves: they are a start for the training of others."
    for test in card["expected"]:
        leads = "each lead by itself" if test["leads"] == "each" else ", ".join(map(str, test["leads"]))
        yield f"### {test['tested_on']}, {leads}\n\n{test['beats']:,} beats. Protocol: {test['protocol']}."
        yield f"Macro-F1 **{_percent(test['macro_f1'])} %**, accuracy {_percent(test['accuracy'])} %."
        rows = [
            (of, _percent(one["f1"]), _percent(one["recall"]), _percent(one["precision"]), f"{one['support']:,}")
            for of, one in test["classes"].items()
        ]
        yield _table(("class", "F1, %", "sensitivity, %", "+P, %", "beats"), rows)
        for of, one in test.get("ec57", {}).items():
            yield (
                f"{of} by EC57: sensitivity {_percent(one['sensitivity'])} %, positive predictivity "
                f"{_percent(one['positive_predictivity'])} %, false positive rate {_percent(one['false_positive_rate'])} %."
            )
        weak = [f"{of} (F1 {_percent(one['f1'])} %)" for of, one in test["classes"].items() if one["f1"] < WEAK]
        if weak:
            yield f"Not to be relied on: {', '.join(weak)}."
    names = [of["title"] for of in card["trained_on"]["databases"].values()]
    if not card["trained_on"]["patients"]["test"]:
        yield f"People of {' and '.join(names)} are in the training: no test on them is one on unseen people."
    yield "Not a medical device."


def _about_detector(card: Mapping[str, Any]) -> list[tuple[str, str]]:
    databases = (f"[{name}](../databases/{name}.md): {of['recordings']} recordings of {of['people']} people"
                 for name, of in card["trained_on"].items())  # fmt: skip
    return [("Parameters", f"{card['parameters']:,}"), ("Trained on", "; ".join(databases))]


def _detector_scores(card: Mapping[str, Any]) -> Iterator[str]:
    rows = [
        (of.removeprefix("network:"), f"{one['beats']:,}", one["missed"], one["extra"], _percent(one["se"]),
         _percent(one["ppv"]), f"{one['p95_ms']:.0f}") for of, one in card["expected"].items()
    ]  # fmt: skip
    yield _table(("test", "beats", "missed", "extra", "sensitivity, %", "+P, %", "95 % within, ms"), rows)
    yield "R peaks within 150 ms of annotated ones, whole records without flutter. Not a medical device."


def databases_page() -> str:
    rows = [
        (f"[`{name}`]({name}.md)", card.title, card.task, card.about.published.records or "",
         card.about.published.patients or "", card.about.licence or "") for name, card in _cards().items()
    ]  # fmt: skip
    return "\n\n".join(
        [
            "# Databases",
            "One YAML, its card, is all that the program knows of a database. `ecg-lightning data list` prints these, and "
            "which of them are on your disk; `ecg-lightning data new FOLDER` drafts the card of your own recordings. "
            "What a card may have: [`dataset`](../reference/configuration/dataset.md).",
            _table(("`dataset=`", "", "task", "records", "people", "licence"), rows),
        ]
    )


def database_card(name: str, card: Card) -> str:
    """Of a database: what is published of it, licence and citation, what is read, how patients are known."""
    about, published = card.about, card.about.published
    signal = _leads(card.leads) + (f", recorded at {card.recorded_fs:g} Hz" if card.recorded_fs else "")
    facts = {
        "Task": f"`{card.task}`",
        "Classes": class_map_of(card.model_dump()),
        "Records": published.records,
        "People": published.patients,
        "Signal": f"{signal}; cut to {card.cut.length} samples at {card.cut.fs:g} Hz"
        if card.reader != "people"
        else "none",
        "Beats": _beats_of(card),
        "Patients": _patients_of(card),
        "Licence": about.licence,
        "Citation": about.citation,
        "Homepage": f"<{about.homepage}>" if about.homepage else None,
        "Download": (card.download and card.download.size) or None,
        "Tried on": about.tried,
    }
    commands = [f"ecg-lightning data fetch {name}"] * bool(card.download)
    commands += [f"ecg-lightning data check {name}"] * bool(card.folder) + [f"ecg-lightning train dataset={name}"]
    classes = [
        (of, *(one if one is not None else "" for one in (counts.beats, counts.records, counts.patients)))
        for of, counts in published.classes.items()
    ]
    source = (CONF / "dataset" / f"{name}.yaml").read_text(encoding="utf-8")
    trained = [
        one for one, of in shipped_weights().items() if name in of["trained_on"].get("databases", of["trained_on"])
    ]
    return "\n\n".join(
        [
            f"# {name}",
            f"{' '.join(_comments(CONF / 'dataset' / f'{name}.yaml')[0])}.",
            "```bash\n" + "\n".join(commands) + "\n```",
            _table(("", ""), [(key, value) for key, value in facts.items() if value]),
            *(["## Published counts", _table(("class", "beats", "records", "people"), classes)] if classes else []),
            *(
                [f"Weights trained on it: {', '.join(f'[`{one}`](../models/{one}.md)' for one in trained)}."]
                if trained
                else []
            ),
            f'??? abstract "conf/dataset/{name}.yaml"\n' + _indented(f"```yaml\n{source}```"),
        ]
    )


def _leads(leads: Sequence[Any]) -> str:
    names = (" or ".join(map(str, one)) if isinstance(one, list) else str(one) for one in leads)
    return f"lead{'s' * (len(leads) > 1)} {', '.join(names)}"


def _beats_of(card: Card) -> str:
    if card.reader in ("people", "simulation"):
        return "simulated"
    if card.reader == "rows":
        return "already cut, a row of a CSV file each"
    return f"annotated (`.{card.annotator}`)" if card.annotator else f"R peaks found by `{card.detector}`"


def _patients_of(card: Card) -> str:
    """How the people of a database are known, in words."""
    how = card.patients
    if how is None:
        return "simulated" if card.reader in ("people", "simulation") else "not known: no split by patient"
    if not isinstance(how, Patients):
        return {"record": "each record is of another person", "folder": "the folder of a record"}[how]
    ways = {
        "same": how.same
        and f"each record is of another person, except {', '.join(f'{a} as {b}' for a, b in how.same.items())}",
        "comment": how.comment and f"a comment in each header, `{how.comment}`",
        "record": how.record and f"the name of the record, `{how.record}`",
        "table": how.table and f"column `{how.table.column}` of `{how.table.table}`",
        "database": how.database and f"people of `{how.database}`",
    }
    return "; ".join(filter(None, ways.values()))


def _percent(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{100 * value:.{digits}f}"
