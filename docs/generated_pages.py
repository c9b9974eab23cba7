"""The pages of the site that are made of the project: command line, configuration, cards of weights and of databases.

`pages` fills the templates in ``docs/templates`` with what the code and the YAML say. Nothing of mkdocs is needed.
"""

import inspect
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import typer
from jinja2 import Environment, FileSystemLoader
from rich.filesize import decimal
from settings_reference import (
    Setting,
    choices,
    default,
    fields_of,
    groups,
    head,
    purpose,
    settings_of,
    title,
    words_for,
)

from ecg_lightning.cli.main import app
from ecg_lightning.core.weights import FOLDER, shipped_weights
from ecg_lightning.data.databases.card import Card, Patients, class_map_of
from ecg_lightning.data.transforms import TRANSFORMS
from ecg_lightning.pipeline.cards import load_cards

ROOT = Path(__file__).parents[1]
RECIPES = ("experiment", "search", "debug")  # groups that set what other groups have
BY_CHOICE = ("model", "launcher", "sweeper")  # groups whose choices have different settings
SIMULATED = ("people", "simulation")  # readers of no files
Row = tuple[list[str], str, str]  # names, what they mean, default and what is accepted


def pages() -> dict[str, str]:
    """All generated pages by their place in the site."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown
    )
    offered = (cards, choices, class_map_of, commands, default, groups, head, leads, parameters, purpose, rows,
               settings_of, source, title, transforms, usage, ways)  # fmt: skip
    templates.globals.update({one.__name__: one for one in offered})
    templates.globals.update(weights=shipped_weights, percent=_percent, size=_size, trained_on=_trained_on)
    templates.globals.update(BY_CHOICE=BY_CHOICE, RECIPES=RECIPES, SIMULATED=SIMULATED)
    templates.filters["links"] = lambda text: re.sub(r"(https?://\S*[^\s.])", r"<\1>", text)
    macros = templates.get_template("macros.md").module
    templates.globals.update({name: getattr(macros, name) for name in ("described", "file", "options")})

    def filled(template: str, **facts: Any) -> str:
        return templates.get_template(f"{template}.md").render(facts)

    return {
        "reference/cli.md": filled("cli"),
        "reference/configuration/index.md": filled("configuration"),
        **{f"reference/configuration/{group}.md": filled("group", group=group) for group in groups()},
        "models/index.md": filled("models"),
        **{f"models/{name}.md": filled("model", name=name, card=card) for name, card in shipped_weights().items()},
        "databases/index.md": filled("databases"),
        **{f"databases/{name}.md": filled("database", name=name, card=card) for name, card in cards().items()},
    }


# Command line


def commands(command: Any = None, name: str = "ecg-lightning") -> Iterator[tuple[str, Any]]:
    """Every command with its full name, those of a group after the group."""
    for word, one in (command or typer.main.get_command(app)).commands.items():
        yield f"{name} {word}", one
        if hasattr(one, "commands"):
            yield from commands(one, f"{name} {word}")


def usage(name: str, command: Any) -> str:
    """How a command is called."""
    words = [name]
    for one in command.params:
        if one.param_type_name == "argument":
            word = _word(one) if one.required else f"[{_word(one)}]"
            words.append(f"{word} …" if one.nargs == -1 else word)
    if name == "ecg-lightning train":
        return f"{name} [GROUP=CHOICE] … [SETTING=VALUE] …"
    return " ".join([*words, "[OPTIONS]"] if len(parameters(command)) >= len(words) else words)


def parameters(command: Any) -> list[Row]:
    """The arguments and options of a command."""
    return [_parameter(one) for one in command.params if one.name != "help"]


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _parameter(one: Any) -> Row:
    meaning = " ".join((one.help or "").split())
    kind = getattr(one, "type", None)  # of a typer that builds on click
    values = typing.get_args(one.type_descriptor.annotation) if kind is None else getattr(kind, "choices", ())
    if values := [value for value in values if isinstance(value, str)]:
        meaning += f" One of {', '.join(f'`{value}`' for value in values)}."
    low, high = (getattr(kind or one, bound, None) for bound in ("min", "max"))
    if low is not None:
        meaning += f" At least {low:g}." if high is None else f" From {low:g} to {high:.10g}."
    if one.envvar:
        meaning += f" Also by the environment: `{one.envvar}`."
    facts = "Required" if one.required else "" if one.default in (None, "", False) else f"Default `{one.default}`"
    return [_word(one)] if one.param_type_name == "argument" else [*one.opts, *one.secondary_opts], meaning, facts


# Configuration and cards


def rows(settings: Sequence[Setting]) -> list[Row]:
    """Settings as a list of options."""
    return [([one.name], one.meaning, one.facts) for one in settings]


def source(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8").rstrip()


def transforms() -> Iterator[tuple[str, Any]]:
    """The transforms of training beats by name, with their settings and what these accept."""
    for name, one in TRANSFORMS.items():
        settings = {key: words_for(one, key) for key in fields_of(one) if key != "fs"}
        yield name, SimpleNamespace(doc=inspect.cleandoc(one.__doc__ or ""), settings=settings)


@cache
def cards() -> Mapping[str, Card]:
    """The cards of all databases."""
    return load_cards()


def leads(names: Sequence[Any]) -> str:
    """The leads of beats, in words."""
    words = (" or ".join(map(str, one)) if isinstance(one, list) else str(one) for one in names)
    return f"lead{'s' * (len(names) > 1)} {', '.join(words)}"


def ways(how: Patients) -> str:
    """How the people of a database are known, in words."""
    same = ", ".join(f"{one} is {other}'s" for one, other in (how.same or {}).items())
    return "; ".join(
        f"{words} {found}".strip()
        for words, found in {
            "each record is of another person, except that": same,
            "a comment in each header": how.comment and f"`{how.comment}`",
            "the name of a record": how.record and f"`{how.record}`",
            "column": how.table and f"`{how.table.column}` of `{how.table.table}`",
            "people of": how.database and f"`{how.database}`",
        }.items()
        if found
    )


def _trained_on(name: str) -> list[str]:
    """The weights that ship and have seen a database."""
    seen = {one: card["trained_on"] for one, card in shipped_weights().items()}
    return [one for one, of in seen.items() if name in of.get("databases", of)]


def _size(name: str) -> str:
    return decimal((FOLDER / f"{name}.safetensors").stat().st_size)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"
