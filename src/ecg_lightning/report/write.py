"""Writing reports: what `ecg-lightning report` and the end of a run do."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.report.page import REPORT

if TYPE_CHECKING:
    from ecg_lightning.runs.schema import RunRecord


def write_report(
    paths: Sequence[Path | str],
    output: Path | None = None,
    *,
    baselines: Sequence[Path | str] = (),
    embedding: bool = True,
    cache_dir: Path | None = None,
) -> Path:
    """Write the report of a run, or of several runs, and return its path.

    Args:
        paths: folders of runs, of sweeps, or of such folders; or run records under any name.
        output: the page; by default ``report.html`` in the only folder that is given, else in the current one.
        baselines: runs on the same test beats that a single run is compared with; several find theirs among them.
        embedding: of a single run, whether to compute the embedding of its test beats, which takes longest.
        cache_dir: of a single run, where its beats are kept; by default the user's, where they are built if not there.

    Raises DataError if there is no run or a file cannot be read or written, ConfigError for baselines of several runs.
    """
    from ecg_lightning.report.run_page import run_report
    from ecg_lightning.report.runs_page import runs_report

    folders = [Path(path) for path in paths]
    if output is None:
        only = folders[0] if len(folders) == 1 else Path()
        output = only.with_suffix(".html") if only.is_file() else only / REPORT
    if len(folders) == 1 and (folders[0].is_file() or (folders[0] / "scores.json").is_file()):
        page = run_report(folders[0], baselines=baselines, embedding=embedding, cache_dir=cache_dir)
    elif baselines:
        raise ConfigError("baselines are for the report of one run; among several, give them as runs like the others")
    else:
        page = runs_report(folders, output=output)
    with atomic_write(output) as partial:
        partial.write_text(page, encoding="utf-8")
    return output


def write_elsewhere(home: "RunRecord | None", away: "Mapping[str, RunRecord]", folder: Path) -> Path:
    """Write ``report.html`` of tests on other databases, by the names of their folders, and return its path."""
    from ecg_lightning.report.elsewhere import elsewhere_report

    page = elsewhere_report(home, away)
    with atomic_write(folder / REPORT) as partial:
        partial.write_text(page, encoding="utf-8")
    return folder / REPORT
