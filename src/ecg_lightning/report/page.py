"""A page from its parts: the template, the style sheet, and the few pieces of HTML that all pages are made of."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

from ecg_lightning.report.render import swatch

if TYPE_CHECKING:
    from jinja2 import Template

REPORT = "report.html"  # in a run's folder
# Control and direction characters, spaces without width, and bytes of a path that are no UTF-8.
UNSEEN = "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"


class Part(NamedTuple):
    """A section of a page: its address, its heading and its content."""

    id: str
    title: str
    html: Markup


def join(*pieces: Any) -> Markup:
    """Pieces of HTML one after the other; what is no `Markup` is escaped."""
    return Markup("\n").join(filter(None, pieces))


def note(*sentences: str) -> Markup:
    """A paragraph in small; nothing without words."""
    words = Markup(" ").join(filter(None, sentences))
    return Markup('<p class="note">{}</p>').format(words) if words else words


def figure(chart: Markup, caption: str = "") -> Markup:
    """A chart with its caption, kept on one page in print."""
    below = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup('<figure class="keep">{}{}</figure>').format(chart, below)


def columns(*pieces: Any, look: str = "two") -> Markup:
    """Pieces side by side where there is room."""
    return Markup('<div class="{}">{}</div>').format(look, join(*pieces))


def aside(title: str, sentences: Iterable[Any]) -> Markup:
    """Warnings, as a list; nothing without any."""
    items = Markup("").join(Markup("<li>{}</li>").format(one) for one in sentences)
    box = Markup('<aside class="care" aria-label="{0}"><h3>{0}</h3><ul>{1}</ul></aside>')
    return box.format(title, items) if items else items


def definitions(pairs: Mapping[str, Any]) -> Markup:
    """Terms and what they are, without those that are nothing."""
    shown = (Markup("<dt>{}</dt><dd>{}</dd>").format(*pair) for pair in pairs.items() if pair[1])
    return Markup("<dl>{}</dl>").format(join(*shown))


def prose(sentences: Sequence[Any]) -> Markup:
    """The first sentence large, then the others."""
    rest = Markup("<p>{}</p>").format(Markup(" ").join(sentences[1:])) if sentences[1:] else ""
    return Markup('<p class="lead">{}</p>{}').format(sentences[0], rest)


def legend(looks: Mapping[str, str], label: str) -> Markup:
    """Names with their colours, from name → look."""
    items = Markup("").join(Markup("<li>{}</li>").format(swatch(look, name)) for name, look in looks.items())
    return Markup('<ul class="legend" aria-label="{}">{}</ul>').format(label, items)


def render(**content: Any) -> str:
    """A whole page from what the template asks for; what is no `Markup` is escaped."""
    page = _template().render(**content)
    # Control and direction characters of names are no part of a page; a number and its sign stay on one line.
    page = re.sub(UNSEEN, "\ufffd", page)
    return re.sub(r"(?<=[\d>]) %", "\u202f%", page)


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    style = files("ecg_lightning.report").joinpath("templates/style.css").read_text(encoding="utf-8")
    try:
        version = metadata.version("ecg-lightning")
    except metadata.PackageNotFoundError:
        version = "of a checkout"
    # A misspelt name fails instead of leaving a gap.
    environment = Environment(
        loader=PackageLoader("ecg_lightning.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    return environment.get_template("page.html", globals={"style": Markup(style), "version": version})
