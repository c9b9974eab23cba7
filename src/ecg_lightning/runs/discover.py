"""Finding runs: in folders of experiments and sweeps, and records that were copied elsewhere."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.reading import read_whole
from ecg_lightning.runs.aggregate import Run, natural_order
from ecg_lightning.runs.predictions import RECORD, content_of
from ecg_lightning.runs.schema import LARGEST, RECORD_KEYS, RunRecord, keys_of

FOLDS = "cross_validation"  # folder in that of a run, with the folds of its training people, which are no runs
ON = "on"  # folder in that of a run, with a folder for each test of it on another database


def find_runs(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs in folders at any depth, or in records under other names, each once; sentences on what is left out.

    DataError if no run is there, or a record cannot be read.
    """
    found: dict[str, Run] = {}
    copies, pooled, evaluations, paths = [], [], [], list(paths)
    for file, kind in {file.resolve(): (file, kind) for path in paths for file, kind in _files(path)}.values():
        if kind == "pooled":
            pooled.append(file)
            continue
        run = read_run(file)
        if run.record.kind == "evaluation":
            evaluations.append(file)
            continue
        same = run.record.model_dump_json()
        if same in found:
            # Of a run and its copy keep the one with predictions, in a folder of its own.
            both = (found[same], run)
            run, copy = sorted(both, key=lambda one: (not one.predictions.is_file(), one.folder.is_file()))
            copies.append(copy.folder)
        found[same] = run
    runs = list(found.values())
    if not runs:
        where = ", ".join(map(str, paths))
        raise DataError(f"no finished run in {where}: a run leaves {RECORD} in its folder; give folders of runs")
    sweeps = {run.folder.parent for run in runs if run.folder.is_dir()}  # with pooled results of these runs
    remarks = [
        f"Left out: {file} holds the pooled results of several runs; give the runs themselves."
        for file in pooled
        if file.parent not in sweeps
    ]
    of_runs = {run.folder.resolve() / ON for run in runs}  # their tests on other databases
    evaluations = [file for file in evaluations if file.resolve().parent.parent not in of_runs]
    remarks += [f"Left out: {file} is an evaluation of a checkpoint, not a run." for file in evaluations]
    if copies:
        are = "is a copy" if len(copies) == 1 else "are copies"
        remarks.append(f"Counted once: {', '.join(map(str, copies))} {are} of runs that are here already.")
    return runs, remarks


def read_run(path: Path) -> Run:
    """The run, or the evaluation of a checkpoint, of a folder or a record.

    DataError if it cannot be read, or the predictions beside it are not those that its scores are of.
    """
    file = path / RECORD if path.is_dir() else path
    run = Run(folder=file.parent if file.name == RECORD else file, record=RunRecord.read(file))
    if run.record.predictions_sha256 is not None and run.predictions.is_file():
        content_of(run.predictions, run.record)
    return run


def tests_elsewhere(run: Run) -> list[Run]:
    """The evaluations of a run on other databases, from the folders in its folder `ON`; DataError for other records."""
    files = sorted(run.folder.glob(f"{ON}/*/{RECORD}"), key=lambda file: natural_order(file.parent.name))
    tests = list(map(read_run, files))
    if strays := [test.folder for test in tests if test.record.kind != "evaluation"]:
        raise DataError(f"{strays[0] / RECORD} is the record of a run, expected that of a test; move it elsewhere")
    return tests


def run_of(checkpoint: Path) -> Run | None:
    """The run of a checkpoint, or of a folder, where its record is beside it."""
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent.parent
    is_own = checkpoint.is_dir() or checkpoint.parent.name == "checkpoints"
    run = read_run(folder) if is_own and (folder / RECORD).is_file() else None
    return run if run is not None and run.record.kind == "run" else None


def _files(path: Path) -> Iterator[tuple[Path, Literal["record", "pooled"]]]:
    """The records, and the files of pooled results, at or below a path."""
    if path.is_file():
        yield path, _kind(path) or "record"
        return
    if not path.is_dir():
        raise DataError(f"{path} does not exist; give folders of runs or sweeps")
    for folder, folders, names in os.walk(path):
        folders[:] = sorted((one for one in folders if one != FOLDS and not one.startswith(".")), key=natural_order)
        for name in sorted([*names, *(one for one in folders if one == RECORD)], key=natural_order):
            file = Path(folder, name)
            if name.endswith(".json") and not name.startswith(".") and (kind := _kind(file)):
                yield file, kind


def _kind(file: Path) -> Literal["record", "pooled"] | None:
    """What a JSON file is, or None."""
    if file.name == RECORD:
        return "record"
    try:
        keys = keys_of(read_whole(file, LARGEST))
    except DataError:
        return None
    return "record" if keys >= RECORD_KEYS else "pooled" if keys >= {"pooled", "repeated"} else None
