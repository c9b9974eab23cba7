"""The settings of the configuration: what ``conf`` and the classes that declare or take them say of each."""

import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object

from ecg_lightning.core.options import accepted
from ecg_lightning.models.registry import create_model, model_names
from ecg_lightning.pipeline.settings import Settings

CONF = Path(__file__).parents[1] / "conf"
TRAIN = CONF / "train.yaml"
OF_HYDRA = ("launcher", "sweeper")
COMMAND = re.compile(r"python train\.py|ecg-lightning")  # how a line of a comment begins that is one
ROLE = re.compile(r":\w+:`~?([^`]*)`")  # reStructuredText in the docstrings of Lightning
SECTION = re.compile(r"^(?:Args|Attributes):\n((?: .*\n|\n)+)", re.MULTILINE)
ARGUMENT = re.compile(r"^ {4}(\w[\w, ]*)(?:\(.*\))?: (.*(?:\n {5,}.*)*)", re.MULTILINE)
FIELD = re.compile(r"^    (\w+): .*?  # (.+)$", re.MULTILINE)
UNBOUNDED = {" from 1 to 1000000000": " of at least 1", " from 0 to 1000000000": " of at least 0",
             " and of at most 1000000000": ""}  # fmt: skip

Declared = tuple[Any, Any]  # the class that declares a setting, and its default there; ... is none


@dataclass(frozen=True)
class Setting:
    """One setting of the configuration: its dotted name, its default in YAML, what it accepts, what it means."""

    name: str
    default: str
    accepts: str
    meaning: str

    @property
    def label(self) -> str:
        """The name within its group."""
        return self.name.partition(".")[2] or self.name

    @property
    def facts(self) -> str:
        """Default and what is accepted."""
        return " · ".join(filter(None, (self.default and f"Default `{self.default}`", self.accepts)))


def groups() -> list[str]:
    """The groups of the configuration, in the order of ``train.yaml``, and Hydra's last."""
    return [*(group for group in _defaults() if group != "hydra"), *OF_HYDRA]


def title(group: str) -> str:
    """The name of a group on the command line."""
    return f"hydra/{group}" if group in OF_HYDRA else group


def choices(group: str) -> list[str]:
    """The choices of a group."""
    return sorted(file.stem for file in (CONF / title(group)).glob("[!_]*.yaml"))


def default(group: str) -> str:
    """The choice where none is given; empty if that is none."""
    return _defaults().get(group, "").removeprefix("None")


def purpose(group: str) -> str:
    """What a group is for, as ``train.yaml`` says."""
    return capitalised(_comments(TRAIN)[1].get(f"defaults.{group}", ""))


def head(group: str, choice: str) -> str:
    """The comment that the file of a choice begins with: paragraphs, and as code what are commands."""
    parts: list[str] = []
    is_code = False
    for line in _comments(CONF / title(group) / f"{choice}.yaml")[0]:
        goes_on = is_code and parts[-1].endswith("\\")
        was, is_code = is_code, bool(COMMAND.match(line)) or goes_on
        if parts and is_code == was and line:
            parts[-1] += f"\n{line}"
        else:
            parts.append(line)
    return "\n\n".join(f"```bash\n{part}\n```" if COMMAND.match(part) else part for part in parts if part)


@cache
def _defaults() -> Mapping[str, str]:
    """Group → its choice where none is given."""
    listed = [one for one in _plain(TRAIN)["defaults"] if isinstance(one, dict)]
    return {group: str(choice) for one in listed for group, choice in one.items()}


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
    plain = dict(_plain(CONF / title(group) / f"{name}.yaml"))
    bases = [base for base in plain.pop("defaults", []) if isinstance(base, str) and base.isidentifier()]
    settings: dict[str, Any] = {}
    for base in bases:
        settings |= {} if base == "_self_" else _chosen(group, base)
    return settings | _flat(plain.get("task") if group == "task" else plain)


def settings_of(group: str, choice: str | None = None) -> list[Setting]:
    """The settings of a group, or of one of its choices alone; ``""`` has those of ``train.yaml`` itself.

    What one means is the comment in YAML, or else what the class that takes it says of its argument.
    """
    files = sorted((CONF / title(group)).glob(f"{choice or '*'}.yaml")) if group else [TRAIN]
    base = "_database" if group == "dataset" else choice or _defaults().get(group, "")
    # Where a setting is introduced it is explained, rather than where it has another value.
    files.sort(key=lambda file: ("defaults" in _plain(file), file.stem != base, file.stem[0] != "_"))
    comments = {name.removeprefix("task."): text for file in files[::-1] for name, text in _comments(file)[1].items()}
    values = _chosen(group, base) if group else _flat({**_plain(TRAIN), "defaults": None})
    known = {name: one for file in files if group for name, one in _chosen(group, file.stem).items()} | values
    declared = {} if choice else _declared(group)
    names = re.compile("|".join(f"{re.escape(name).replace('NAME', '[^.]+')}(\\..*)?" for name in declared) or "$")
    settings = []
    for name in (*declared, *(one for one in known if not names.fullmatch(one))):
        above, _, leaf = name.rpartition(".")
        if leaf in ("_target_", "defaults", "") or (name == "name" and group == "model"):
            continue
        owner, standard = declared.get(name, (None, known.get(name)))
        meaning = comments.get(name) or _arguments(owner).get(leaf, "")
        if own := known.get(f"{name}._target_"):  # a callback or a logger
            said, standard = inspect.cleandoc(get_object(own).__doc__ or ""), ...
            meaning = meaning or ROLE.sub(r"`\1`", said.split("\n\n")[0])
        if not meaning and (target := known.get(f"{above}._target_".lstrip("."))):
            meaning = _arguments(get_object(target)).get(leaf, "")
        if not meaning and group == "model" and choice in model_names():
            meaning = _arguments(type(create_model(choice, n_outputs=2, length=187))).get(leaf, "")
        full = f"{title(group)}.{name}".lstrip(".").replace("/", ".")
        accepts = words_for(Settings, full) if name in declared or group == "model" else ""
        settings.append(Setting(full, _shown(values.get(name, standard)), accepts, capitalised(meaning)))
    return settings


@cache
def _declared(group: str) -> dict[str, Declared]:
    """All settings of a group that have types, by dotted name; `NAME` stands for one that users choose."""
    hints = typing.get_type_hints(Settings)
    has_none = group == "model" or (group and group not in hints)
    found: dict[str, Declared] = {}
    for name, one in () if has_none else _nested(hints[group], "") if group else _fields(Settings, ""):
        found.setdefault(name, one)  # of a card, of which the settings for several have a part
    return found


def _fields(model: Any, above: str) -> Iterator[tuple[str, Declared]]:
    hints = typing.get_type_hints(model)
    for key, field in fields_of(model).items():
        name = f"{above}{field.alias or key}"
        if name == "cards" or (model is Settings and key in _defaults()):  # the cards of several databases
            continue
        inner = dict(_nested(hints[key], f"{name}."))
        if not inner or {type(None), str} & {*typing.get_args(hints[key])}:
            yield name, (model, ... if field.is_required() else field.get_default(call_default_factory=True))
        yield from inner.items()


def fields_of(hint: Any) -> Mapping[str, Any]:
    """The fields of a model or dataclass of pydantic; else nothing."""
    if not isinstance(hint, type):
        return {}
    return getattr(hint, "model_fields", None) or getattr(hint, "__pydantic_fields__", {})


def _nested(hint: Any, above: str) -> Iterator[tuple[str, Declared]]:
    if fields_of(hint):
        yield from _fields(hint, above)
    keyed = typing.get_origin(hint) in (dict, Mapping)
    for inner in typing.get_args(hint):
        yield from _nested(inner, f"{above}NAME." if keyed else above)


def words_for(model: type[Any], name: str) -> str:
    """What a model accepts for a setting; a bound that is only there against slips is left out."""
    text = accepted(model, name)
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
    """What a class says of its arguments, and where it says nothing, its bases."""
    return dict(reversed([*_said(taker)]))


def _said(taker: Any) -> Iterator[tuple[str, str]]:
    for one in getattr(taker, "__mro__", [taker]):
        is_ours = getattr(one, "__module__", "").startswith("ecg_lightning")
        made = vars(one).get("__init__") if inspect.isclass(one) else None
        for text in filter(None, (one.__doc__, getattr(made, "__doc__", None))):
            section = SECTION.search(f"{inspect.cleandoc(text)}\n")
            for names, body in ARGUMENT.findall(section[1] if section else ""):
                words = " ".join(body.split())
                if not is_ours:  # the first sentence of many
                    words = re.split(r"(?<=\.) |: :|\.\. | Default", ROLE.sub(r"`\1`", words))[0]
                yield from ((name, words) for name in names.split(", "))
        if is_ours and inspect.isclass(one):
            yield from FIELD.findall(inspect.getsource(one))


def capitalised(text: str) -> str:
    """With a capital letter, unless it begins with a value and a colon."""
    return re.sub("^[a-z](?=[a-z]* )", lambda letter: letter[0].upper(), text)
