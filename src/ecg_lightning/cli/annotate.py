"""``ecg-lightning annotate``: files of annotated beats for one recording or thousands, a task for each.

A recording is done once its ``NAME.json`` is there, which is written last and states from what and how the other files
were made. Started again, the command goes on with the recordings that are left.
"""

import hashlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ecg_lightning.core.atomic import claimed, sha256_of
from ecg_lightning.core.errors import ConfigError, DataError, EcgLightningError, sentence_of
from ecg_lightning.core.progress import progress
from ecg_lightning.core.weights import FOLDER, shipped_weights
from ecg_lightning.data.find import find
from ecg_lightning.data.readers import open_recording
from ecg_lightning.data.readers.base import FASTEST, MILLIVOLTS, SLOWEST, is_present
from ecg_lightning.data.recording import make_leads
from ecg_lightning.data.rpeaks import DETECTORS, check_detector
from ecg_lightning.data.writers import ANNOTATOR, WRITERS, write_csv, write_json
from ecg_lightning.metrics.rhythm import summary_of
from ecg_lightning.pipeline.annotate import annotate
from ecg_lightning.pipeline.predictor import Predictor, load_predictor
from ecg_lightning.report.cells import Section
from ecg_lightning.report.recording_page import write_recording_page
from ecg_lightning.report.recordings import recordings_table
from ecg_lightning.report.render import show

OUTPUTS = (*WRITERS, "json", "html")  # json: with the beats
CARD = ("title", "trained_on", "expected", "attribution", "licence")  # of a model that ships, what is stated about it
# What is near the beginning of files by their suffix; of annotation files it is the note that `write_wfdb` puts there.
BEGINS = {".csv": b'"sample","time_s","symbol"', ".html": b'content="ecg-lightning', ".edf": b"EDF+"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be made of each recording.

    Attributes:
        model: as for `annotate`.
        output: folder of the files.
        formats: of `OUTPUTS`.
        how: further arguments of `annotate`.
        annotator: extension of WFDB annotation files.
        probabilities: whether annotation files state those of all classes.
        overwrite: replaces files that were made otherwise.
        command: that asks for it, to be shown.
    """

    model: str
    output: Path
    formats: tuple[str, ...] = ("csv", "wfdb", "html")
    how: Mapping[str, Any] = field(default_factory=dict)
    annotator: str = ANNOTATOR
    probabilities: bool = False
    overwrite: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        if unknown := [name for name in self.formats if name not in OUTPUTS]:
            raise ConfigError(f"--format {','.join(unknown)}: choose of {', '.join(OUTPUTS)}")
        if not re.fullmatch("[A-Za-z]+", self.annotator):
            raise ConfigError(f"--annotator {self.annotator!r}: expected letters, as in {ANNOTATOR}")
        if (unit := self.how.get("unit", "mV")).lower() not in MILLIVOLTS:
            raise ConfigError(f"--unit {unit}: expected mV, uV, V or nV")
        if not SLOWEST <= (fs := self.how.get("fs", SLOWEST)) <= FASTEST:
            raise ConfigError(f"--fs {fs:g}: expected a sampling rate from {SLOWEST:g} to {FASTEST:g} Hz")
        if (detector := self.how.get("detector", "network")).partition(":")[0] not in DETECTORS:
            raise ConfigError(f"--detector {detector}: choose one of {', '.join(DETECTORS)}")

    @property
    def settings(self) -> dict[str, Any]:
        """What `open_recording` needs."""
        return {key: value for key, value in self.how.items() if key in ("fs", "unit")}

    def stated(self, name: str) -> Path:
        """The ``.json`` of one recording."""
        return self.output / f"{name}.json"

    def files(self, name: str) -> dict[str, Path]:
        """The files of one recording by format, without its ``.json``."""
        suffixes = {"wfdb": f".{self.annotator}", "edf": ".annotations.edf"}
        kept = [one for one in self.formats if one != "json"]
        return {one: self.output / f"{name}{suffixes.get(one, f'.{one}')}" for one in kept}


class Outcome(NamedTuple):
    """What became of a recording: what its ``.json`` states, or an error."""

    name: str
    path: Path
    content: Mapping[str, Any] | None = None
    error: str | None = None
    was_done: bool = False


def annotate_files(
    recordings: Mapping[str, Path],
    request: Request,
    *,
    jobs: int = 1,
    dask: str | None = None,
) -> Iterator[Outcome]:
    """Annotate recordings, some at once, and yield the outcome of each as soon as it is there.

    Args:
        recordings: by the name of their files in the output folder, as `find` returns them.
        request: what to make of each.
        jobs: number of processes on this machine, which share its cores.
        dask: address of the scheduler of a Dask cluster, whose workers do the work instead; the paths must mean the
            same there.

    Raises:
        CheckpointError, ConfigError: the model cannot be loaded, or lacks an operating point. Other errors of a
            recording are in its outcome.
    """
    tasks, here = [], replace(request, output=request.output.absolute())
    for name, path in recordings.items():
        content = _done(name, path, request)
        if content is None:
            tasks.append((name, path.absolute(), here))  # a worker may have been started in another folder
        else:
            yield Outcome(name, path, content, was_done=True)
    if tasks:
        predictor = load(request.model)
        _ = predictor.input.how, predictor.input.wanted_context  # whose errors are of the model, not of each recording
        if request.how.get("operating_point"):
            predictor.at_operating_point()
        check_detector(request.how.get("detector", "network"))
    if dask is not None:
        yield from _on_dask(dask, tasks)
    elif jobs == 1 or len(tasks) == 1:
        yield from (annotate_file(*task) for task in tasks)
    else:
        import joblib

        threads = max(1, joblib.cpu_count() // jobs)
        with joblib.parallel_config("loky", n_jobs=jobs, inner_max_num_threads=threads):
            parallel = joblib.Parallel(return_as="generator_unordered", batch_size=1)
            yield from parallel(joblib.delayed(annotate_file)(*task) for task in tasks)


def annotate_file(name: str, path: Path, request: Request) -> Outcome:
    """Annotate one recording and write its files; whatever goes wrong is in the outcome."""
    stated = request.stated(name)
    try:
        with claimed(stated.parent, stated.name):
            done = _done(name, path, request)  # by another command, in the meantime
            return Outcome(name, path, done or _annotate_file(name, path, request))
    except Exception as error:  # one recording must not end the work on all others
        where = "" if isinstance(error, EcgLightningError) else f" ({path})"
        return Outcome(name, path, error=sentence_of(error) + where)


def _done(name: str, path: Path, request: Request) -> dict[str, Any] | None:
    """What the ``.json`` of a recording states, if all was made as requested, from the files that are there now."""
    content = _content_of(request.stated(name))
    if content is None or request.overwrite or not all(file.exists() for file in request.files(name).values()):
        return None
    try:
        return content if content["key"] == _key(path, request) else None
    except EcgLightningError:
        return None


def _annotate_file(name: str, path: Path, request: Request) -> dict[str, Any]:
    stated, files, key = request.stated(name), request.files(name), _key(path, request)
    given = [one.resolve() for one in _inputs(path, request) if is_present(one)]
    if own := [file for file in (*files.values(), stated) if file.resolve() in given]:
        raise DataError(f"{own[0]} would be replaced by what is made of it; choose another --output")
    # Without a .json what is there is left of a run that was stopped, or somebody else's.
    taken = [file for file in files.values() if file.exists() and not _is_ours(file)]
    if not request.overwrite and (taken or stated.exists()):
        raise DataError(
            f"{(taken or [stated])[0]} is there already, made otherwise or from other files; choose another --output, "
            "or replace it with --overwrite"
        )
    with progress(name, total=1) as step:
        beats = annotate(path, load(request.model), progress=lambda part: setattr(step, "done", part), **request.how)
    about = beats.attrs["about"] = {**beats.attrs["about"], "model": request.model, "command": request.command}
    if request.model in (shipped := shipped_weights("beats")):
        about["card"] = {key: shipped[request.model].get(key, "") for key in CARD}
    content = {"key": key, "about": about, "summary": summary_of(beats, about)}
    for format_name, file in files.items():
        if format_name == "html":
            write_recording_page(beats, about, file, strip=_Strips(path, request, about["leads"]))
        elif format_name == "csv":
            write_csv(beats, file)
        else:
            WRITERS[format_name](beats, file, probabilities=request.probabilities)
    write_json(beats if "json" in request.formats else None, stated, content)
    return content


class _Strips:
    """Reads stretches of a recording: names, signals ``[leads, t]`` in mV and rate."""

    def __init__(self, path: Path, request: Request, leads: Sequence[str]) -> None:
        self.file, self.leads = open_recording(path, **request.settings), leads
        self.positions = self.file.positions(make_leads(list(leads)))

    def __call__(self, start_s: float, seconds: float) -> tuple[Sequence[str], Any, float]:
        first, last = (round(at * self.file.frame_rate) for at in (start_s, start_s + seconds))
        parts = self.file.frames(self.positions, max(first, 0), min(last, self.file.n_frames))
        finest = max(map(len, parts))
        signals = [np.repeat(part, finest // len(part)) for part in parts]
        return self.leads, np.stack(signals), self.file.fs(self.positions)


def _content_of(stated: Path) -> dict[str, Any] | None:
    """What a ``.json`` of this command states, without the beats; None if it is none."""
    try:
        content = json.loads(stated.read_text(encoding="utf-8"))
        return {key: content[key] for key in ("key", "about", "summary")}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _is_ours(file: Path) -> bool:
    """Whether a file begins as one of this command does."""
    with file.open("rb") as opened:
        return BEGINS.get(file.suffix, b"ecg_lightning") in opened.read(1000)


def _inputs(path: Path, request: Request) -> list[Path]:
    """All files that a recording and its R peaks are read from."""
    recording, annotator = open_recording(path, **request.settings), request.how.get("peaks")
    beside = [path.parent / f"{recording.name}{dot}{annotator}" for dot in ("", ".")] if annotator else []
    return [*recording.files, *beside]


def _key(path: Path, request: Request) -> str:
    """Stands for everything that the result depends on: the recording's files, the model, settings, version."""
    files = (file.stat() for file in _inputs(path, request) if file.is_file())
    facts = [(file.st_size, file.st_mtime_ns) for file in files]
    version = importlib.metadata.version("ecg-lightning")
    made = sorted(request.formats), request.annotator, request.probabilities
    detector, _, weights = request.how.get("detector", "network").partition(":")
    models = _identity(request.model), _identity(weights or "rpeaks") if detector == "network" else ""
    depends = [facts, models, request.how, made, version]
    return hashlib.sha256(json.dumps(depends, default=str).encode()).hexdigest()


@lru_cache
def _identity(model: str) -> str:
    """The checksum of a model's file."""
    path = Path(model).expanduser()
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    shipped = FOLDER / f"{model}.safetensors"
    file = path if path.is_file() else shipped
    return sha256_of(file) if file.is_file() else ""


@lru_cache(maxsize=1)
def load(model: str) -> Predictor:
    """The predictor of a model, kept for the next recording."""
    return load_predictor(model)


def _on_dask(address: str, tasks: Sequence[tuple[str, Path, Request]]) -> Iterator[Outcome]:
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ConfigError("--dask needs distributed: pip install 'ecg-lightning[dask]'") from error
    try:
        client = Client(address, timeout="5s")  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ConfigError(f"--dask {address}: no Dask scheduler answers there ({error})") from error
    with client:
        futures = {client.submit(annotate_file, *task, pure=False): task for task in tasks}
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            name, path, _ = futures[future]
            failed = future.exception()
            yield future.result() if failed is None else Outcome(name, path, error=f"{path}: a worker died: {failed}")


def part_of(recordings: Mapping[str, Path], part: str | None) -> dict[str, Path]:
    """The recordings of a ``--part``, such as ``3/10``: every tenth from the third on, as an array job has one each."""
    if part is None:
        return dict(recordings)
    hit = re.fullmatch(r"(\d+)/(\d+)", part)
    if hit is None or not 1 <= int(hit[1]) <= int(hit[2]):
        raise ConfigError(f"--part {part}: expected the number of a part and of all parts, such as 3/10")
    return dict([*recordings.items()][int(hit[1]) - 1 :: int(hit[2])])


def annotate_recordings(
    paths: Sequence[Path], request: Request, *, jobs: int, dask: str | None, part: str | None, as_json: bool
) -> bool:
    """Do it, with progress; print what was found. Returns whether every recording succeeded."""
    recordings = part_of(find(paths), part)
    outcomes: list[Outcome] = []
    with progress("annotating", len(recordings), "recordings") if len(recordings) > 1 else nullcontext() as step:
        for outcome in annotate_files(recordings, request, jobs=jobs, dask=dask):
            outcomes.append(outcome)
            if step is not None:
                step.advance()
                failures = sum(one.error is not None for one in outcomes)
                step.note = f"{failures} failed" if failures else ""
    outcomes.sort(key=lambda outcome: [*recordings].index(outcome.name))
    if as_json:
        done = {one.name: one.content for one in outcomes if one.content is not None}
        failed = {one.name: one.error for one in outcomes if one.error is not None}
        print(json.dumps({"recordings": done, "failed": failed}, indent=2))
    else:
        show(Section(tables=[recordings_table([*map(_row, outcomes)])]))
        skipped = sum(one.was_done for one in outcomes)
        if any(one.content is not None for one in outcomes):
            there = f"; {skipped} {'was' if skipped == 1 else 'were'} there already" * bool(skipped)
            print(f"Results in {request.output}{there}")
    for one in outcomes:
        if one.error is not None:
            print(f"error: {one.error}", file=sys.stderr)
    return all(one.error is None for one in outcomes)


def _row(one: Outcome) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """What is known about a recording and its summary, for the table."""
    if one.content is None:
        return {"record": one.name, "error": "failed: see below"}, None
    return {**one.content["about"], "record": one.name}, one.content["summary"]
