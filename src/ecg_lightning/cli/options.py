"""Options that several commands share, how they are read, and how answers are printed."""

import json
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from ecg_lightning.core.errors import ConfigError

DataDir = Annotated[Path, Option(envvar="ECG_DATA_DIR", help="Folder that holds those of the databases.")]
ConfigDir = Annotated[Path | None, Option(help="Folder with cards of your own in dataset/.")]
Json = Annotated[bool, Option("--json", help="Print machine-readable JSON.")]


def names(text: str) -> list[str]:
    """Of an option that takes several, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def leads_of(text: str | None) -> list[Any] | None:
    """The option ``--leads``: a list in JSON, such as ``[1]`` or ``["V5"]``."""
    if text is None:
        return None
    try:
        leads = json.loads(text)
    except json.JSONDecodeError:
        leads = None
    if not isinstance(leads, list) or not leads:
        raise ConfigError(f"--leads {text}: expected a list of positions or names, such as '[1]' or '[\"V5\"]'")
    return leads


def print_answer(answer: dict[str, Any], section: Any, as_json: bool) -> None:
    """Print an answer as JSON, or as the table that `section` makes of it."""
    from ecg_lightning.report.render import show

    if as_json:
        print(json.dumps(answer, indent=2))
    else:
        show(section(answer))
