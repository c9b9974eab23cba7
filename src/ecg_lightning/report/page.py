"""A page from its parts: the template, the style sheet, and the few pieces of HTML that all pages are made of."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Part:
    """A section of a page: its address, its heading and its content."""

    id: str
    title: str
    html: Markup


def join(*pieces: Any) -> Markup:
    """Pieces of HTML one after the other; what is no `Markup` is escaped."""
    return Markup("\n").join(piece for piece in pieces if piece)


def note(*sentences: str) -> Markup:
    """A paragraph in small; nothing without words."""
    words = " ".join(filter(None, sentences))
    return Markup('<p class="note">{}</p>').format(Markup(" ").join(filter(None, sentences))) if words else Markup("")


def figure(chart: Markup, *caption: str) -> Markup:
    """A chart with its caption, kept on one page in print."""
    words = Markup(" ").join(filter(None, caption))
    below = Markup("<figcaption>{}</figcaption>").format(words) if words else ""
    return Markup('<figure class="keep">{}{}</figure>').format(chart, below)


def columns(*pieces: Any, look: str = "two") -> Markup:
    """Pieces side by side where there is room."""
    return Markup('<div class="{}">{}</div>').format(look, join(*pieces))


def aside(title: str, sentences: Sequence[Any]) -> Markup:
    """Warnings, as a list; nothing without any."""
    items = Markup("").join(Markup("<li>{}</li>").format(one) for one in sentences)
    box = Markup('<aside class="care" aria-label="{0}"><h3>{0}</h3><ul>{1}</ul></aside>')
    return box.format(title, items) if items else Markup("")


def definitions(pairs: Iterable[tuple[str, Any]]) -> Markup:
    """Terms and what they are."""
    return Markup("<dl>{}</dl>").format(
        Markup("\n").join(Markup("<dt>{}</dt><dd>{}</dd>").format(*pair) for pair in pairs)
    )


def prose(sentences: Sequence[Any]) -> Markup:
    """The first sentence large, then the others."""
    rest = Markup("<p>{}</p>").format(Markup(" ").join(sentences[1:])) if sentences[1:] else ""
    return Markup('<p class="lead">{}</p>{}').format(sentences[0], rest)


def render(**content: Any) -> str:
    """A whole page.

    Args:
        content: what the template asks for; what is no `Markup` is escaped.
    """
    page = _environment().get_template("page.html").render(style=_style(), version=_version(), **content)
    # Control and direction characters of names are no part of a page; a number and its sign stay on one line.
    page = re.sub("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "\ufffd", page)
    return re.sub(r"(?<=[\d>]) %", "\u202f%", page)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("ecg_lightning.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,  # a misspelt name fails instead of leaving a gap
    )


@cache
def _style() -> Markup:
    return Markup(files("ecg_lightning.report").joinpath("templates/style.css").read_text(encoding="utf-8"))


@cache
def _version() -> str:
    try:
        return version_of("ecg-lightning")
    except PackageNotFoundError:
        return "of a checkout"
