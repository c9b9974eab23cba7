"""Templates and the style sheet, as pages."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **content: Any) -> str:
    """A whole page.

    Args:
        template: its name in ``templates``.
        content: what the template asks for; what is no `Markup` is escaped.
    """
    page = _environment().get_template(template).render(style=_style(), version=_version(), **content)
    # A number and its sign stay on one line.
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
    from ecg_lightning.report.beats import STYLE

    # The page has the last word on how its parts are set.
    return Markup(STYLE + files("ecg_lightning.report").joinpath("templates/style.css").read_text(encoding="utf-8"))


@cache
def _version() -> str:
    try:
        return version_of("ecg-lightning")
    except PackageNotFoundError:
        return "of a checkout"
