"""Finding runs, wherever they are: folders of experiments and sweeps, and results that were copied elsewhere."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ecg_lightning.core.errors import DataError
from ecg_lightning.runs.aggregate import Run, Scores, read_run

NEEDED = ("task", "model", "dataset", "source", "synthetic", "split", "seed", "fingerprint", "n", "test")
"""What a ``scores.json`` has to say to be put into a table."""

UNKNOWN = "settings"
"""Key of a configuration that was put together from ``scores.json``, which does not tell all settings."""


def find_runs(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs below these folders, each once, and what was left out.

    Args:
        paths: folders of runs, of sweeps, or of such folders, at any depth; or files with the content of a
            ``scores.json`` under another name.

    Returns:
        The runs, and remarks on what was left out: a sentence each.

    Raises:
        DataError: no run is there, or a file cannot be read.
    """
    found: dict[str, list[Run]] = {}
    copies, pooled, evaluations = [], [], []
    paths = list(paths)
    for file, wanted in {file.resolve(): (file, wanted) for path in paths for file, wanted in _files(path)}.values():
        scores = _read(file, wanted)
        if scores is None:
            continue
        if "task" not in scores:
            pooled.append(file)
        elif "checkpoint" in scores:
            evaluations.append(file)
        else:
            run = _run(file, scores)
            same = found.setdefault(json.dumps(scores, sort_keys=True), [])
            at = next((at for at, known in enumerate(same) if _is_copy(run, known)), None)
            if at is None:
                same.append(run)
            else:
                # Of a run and its copy the run has more to tell: its configuration, its predictions.
                same[at], copy = (run, same[at]) if UNKNOWN in same[at].config else (same[at], run)
                copies.append(copy.folder)
    runs = [run for same in found.values() for run in same]
    if not runs:
        where = ", ".join(map(str, paths))
        raise DataError(f"no finished run in {where}: a run leaves scores.json in its folder; give folders of runs")
    sweeps = {run.folder.parent for run in runs if run.folder.is_dir()}
    remarks = [
        f"Left out: {file} holds what several runs say together; give the runs themselves."
        for file in pooled
        if file.parent not in sweeps
    ]
    remarks += [f"Left out: {file} is an evaluation of a checkpoint, not a run." for file in evaluations]
    if copies:
        remarks.append(f"Counted once: {', '.join(map(str, copies))} {_are(copies)} of runs that are here already.")
    return runs, remarks


def _is_copy(run: Run, other: Run) -> bool:
    """Whether two runs of equal scores, to the digit and the second, are one."""
    return run.config == other.config or UNKNOWN in run.config or UNKNOWN in other.config


def _are(copies: Sequence[Path]) -> str:
    return "is a copy" if len(copies) == 1 else "are copies"


def _files(path: Path) -> Iterator[tuple[Path, bool]]:
    """JSON files, and whether each has to be a run's scores."""
    if path.is_file():
        yield path, True
        return
    if not path.is_dir():
        raise DataError(f"{path} is not there; give folders of runs or sweeps")
    for folder, folders, names in os.walk(path):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_naturally)
        for name in sorted(names, key=_naturally):
            if name.endswith(".json") and not name.startswith("."):
                yield Path(folder, name), name == "scores.json"


def _naturally(name: str) -> list[tuple[int, str]]:
    """Job 10 comes after job 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def read_scores(file: Path) -> dict[str, Any]:
    """The scores of a run or of an evaluation, with what older versions left unsaid.

    Raises:
        DataError: the file is absent, cannot be read, or is none of a run.
    """
    scores = _read(file, wanted=True)
    if scores is None or "task" not in scores:
        raise DataError(f"{file} holds what several runs say together, no scores of a run; give the runs themselves")
    return UNSAID | {"protocol": scores["split"]} | scores


UNSAID = {"augmentation": "none", "resampling": "none", "transfer": "none"}
"""What runs had before there was a choice, and a word for it in their scores."""


def _read(file: Path, wanted: bool) -> dict[str, Any] | None:
    """Scores of a run, or those of several together; None for other files, unless `wanted`.

    Raises:
        DataError: a file of scores that cannot be read or lacks something.
    """
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        if not wanted:
            return None
        raise DataError(f"{file} cannot be read as a run's scores: {error}; remove it or run again") from error
    if isinstance(content, dict) and {"task", "model", "test"} <= content.keys():
        wanted = True
    elif isinstance(content, dict) and {"pooled", "repeated"} <= content.keys():
        return dict(content)
    elif not wanted:
        return None
    lacking = [key for key in NEEDED if key not in content] if isinstance(content, dict) else list(NEEDED)
    if not lacking and not (isinstance(content["test"], dict) and "per_class" in content["test"]):
        lacking = ["test.per_class"]
    if lacking:
        raise DataError(f"{file} holds no scores of a run: {', '.join(lacking)} not told; remove it or run again")
    scores: dict[str, Any] = content
    return scores


def _run(file: Path, scores: dict[str, Any]) -> Run:
    """The run that left a file of scores: with its configuration, or with what the scores tell of it."""
    scores = UNSAID | {"protocol": scores["split"]} | scores
    if file.name == "scores.json" and (file.parent / ".hydra").is_dir():
        return read_run(file.parent, scores)
    folder = file.parent if file.name == "scores.json" else file
    return Run(folder=folder, scores=scores, config=_config_of(scores), overrides=())


def _config_of(scores: Scores) -> dict[str, Any]:
    """What ``scores.json`` tells of the configuration, in its nesting."""
    fold = re.search(r"fold (\d+) of (\d+)", scores["protocol"])
    part = re.search(r"trained on (\d+) of \d+ training (\w+)", scores["protocol"])
    named = {
        group: {"name": scores[key]}
        for group, key in (("task", "task"), ("dataset", "dataset"), ("source", "source"), ("loss", "loss"))
        if scores.get(key) is not None
    }
    return named | {
        "model": {"name": scores["model"], "n_parameters": scores.get("n_parameters")},
        "augmentation": {"name": scores["augmentation"], "resampling": scores["resampling"]},
        "transfer": {"arm": scores["transfer"]},
        "trainer": {"precision": scores.get("precision")},
        "monitor": scores.get("monitor"),
        "split": {
            "protocol": scores["split"],
            **({"fold": int(fold[1]), "n_folds": int(fold[2])} if fold else {}),
            **({"train_size": int(part[1]), "train_unit": part[2]} if part else {}),
        },
        UNKNOWN: "as far as scores.json tells",
    }
