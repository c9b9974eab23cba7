"""Runs, sweeps, caches, downloads and annotations that are stopped at any moment, and two commands in one folder.

What is stopped is started again, by the command that it prints where it prints one, and has to end with what the
undisturbed command gives: equal scores and predictions, or equal files.
"""

import hashlib
import json
import shlex
import signal
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from campaigns.frame import Case, Ended, Running, failure, run

DATA = [
    "train", "dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "report=none",
    "trainer=cpu",
]  # fmt: skip
TRAIN = [*DATA, "trainer.max_epochs=3", "optimizer.batch_size=16", "model=bigru", "model.width=8"]
FS = 250
TIMEOUT_S = 600.0  # the machine may be busy, and nothing here is about speed
# Of a run, and not of its results; git, because someone may edit the code while a campaign runs.
# Learning curves are not compared: after a stop within an epoch, metrics.csv differs from that of the undisturbed run.
OWN = (
    "wall_s",
    "started",
    "git",
    "config",
    "config_digest",
    "overrides",
    "predictions_sha256",
    "metrics_sha256",
    "sha256",
)
SAME = "it ends with the results of the undisturbed command"


def trial(folder: Path, random: Random) -> tuple[Case, Ended, str | None]:
    """A stop, or two commands at once."""
    return random.choices((stopped, twice), (5, 1))[0](folder, random)


def stopped(folder: Path, random: Random) -> tuple[Case, Ended, str | None]:
    """A command that gets SIGTERM, or is killed with what it has started, and is started again."""
    stop = random.choices((signal.SIGTERM, signal.SIGKILL), (1, 3))[0]
    name = random.choice([*STOPPED])
    expected, used_s = _undisturbed(name)
    after = random.uniform(0.05, 1) * used_s
    command, results = STOPPED[name](folder)
    case = Case(f"{stop.name}, {name}", f"{stop.name} after {after:.2f} s of work", command, SAME)
    ended = Running(command, cwd=folder).end(timeout_s=TIMEOUT_S, stop=(stop, after))
    if why := _of_stop(ended, stop):
        return case, ended, why
    again = command
    if ended.status != 0 and stop == signal.SIGTERM and "resume with: " in ended.err:
        again = shlex.split(ended.err.strip().splitlines()[-1].partition("resume with: ")[2])[1:]
    ended = run(again, cwd=folder, timeout_s=TIMEOUT_S)
    if why := failure(case, ended):
        return case, ended, f"started again: {why}: {ended.err[-300:]}"
    if results(folder) != expected:
        return case, ended, "started again, it ends with other results"
    left = [path.name for path in folder.rglob(".partial-*")] if stop == signal.SIGTERM else []
    return case, ended, f"left {', '.join(left)}" if left else None


def _of_stop(ended: Ended, stop: signal.Signals) -> str | None:
    """Why a command may not end thus when it is stopped; it may also have ended before."""
    if ended.status == (-stop if stop == signal.SIGKILL else 143) or ended.status == 0:
        if stop == signal.SIGTERM and ended.status:
            lines = [line for line in ended.err.splitlines() if line.startswith("terminated; ")]
            return None if len(lines) == 1 and "Traceback" not in ended.err else f"said {ended.err[-300:]!r}"
        return None
    return f"exit status {ended.status} on {stop.name}: {ended.err[-300:]!r}"


def twice(folder: Path, random: Random) -> tuple[Case, Ended, str | None]:
    """Two commands that write into one folder: one is refused, and the results are those of the other alone."""
    name = random.choice([*TWICE])
    commands, results = TWICE[name](folder)
    lag = random.uniform(0, 0.3)
    case = Case(f"two at once, {name}", f"the second {lag:.2f} s after the first", commands[0])
    first = Running(commands[0], cwd=folder)
    threading.Event().wait(lag)
    both = [first, Running(commands[1], cwd=folder)]
    ended = [one.end(timeout_s=TIMEOUT_S) for one in both]
    winners = [command for command, one in zip(commands, ended, strict=True) if one.status == 0]
    refused = next((one for one in ended if one.status), ended[0])
    if len(winners) != 1 or "in use" not in refused.err + refused.out:
        return case, refused, f"{len(winners)} succeeded: {ended[0].err[-200:]!r}, {ended[1].err[-200:]!r}"
    if why := failure(case, refused):
        return case, refused, why
    (alone := folder / "alone").mkdir()
    if (why := failure(case, one := run(winners[0], cwd=alone, timeout_s=TIMEOUT_S))) != "accepted":
        return case, one, f"alone: {why}: {one.err[-300:]}"
    return case, refused, None if results(folder) == results(alone) else "the results are not those of one alone"


@cache
def _undisturbed(name: str) -> tuple[Any, float]:
    """Results of a command, and the seconds of processor time that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        command, results = STOPPED[name](Path(folder))
        ended = (running := Running(command, cwd=Path(folder))).end(timeout_s=TIMEOUT_S)
        assert ended.status == 0, ended
        return results(Path(folder)), running.used_s


Command = tuple[Sequence[str], Callable[[Path], Any]]
Pair = tuple[Sequence[Sequence[str]], Callable[[Path], Any]]


def _train(folder: Path) -> Command:
    # With a cache of its own, so that it can be stopped while that is built.
    return [*TRAIN, "cache_dir=cache", "hydra.run.dir=out"], _scores


def _sweep(folder: Path) -> Command:
    return ["train", "-m", *TRAIN[1:], "seed=0,1", "cache_dir=cache", "hydra.sweep.dir=out"], _scores


def _baseline(folder: Path) -> Command:
    return [*DATA, "model=gradient_boosting", "cache_dir=cache", "hydra.run.dir=out"], _scores


def _evaluate(folder: Path) -> Command:
    return ["evaluate", str(_run(0)), "--output", "out", "--cache-dir", "cache"], _scores


def _annotate(folder: Path) -> Command:
    return ["annotate", str(_recordings()), "-o", "out"], _files


def _fetch(folder: Path) -> Command:
    return ["data", "fetch", "mitbih", "--records", "100,101", "--url", _server(), "--data-dir", "out"], _files


def _report(folder: Path) -> Command:
    return ["report", str(_run(0)), "-o", "out/report.html", "--brief"], lambda folder: len(_files(folder))


STOPPED: dict[str, Callable[[Path], Command]] = {
    "run": _train,
    "sweep": _sweep,
    "baseline": _baseline,
    "evaluate": _evaluate,
    "annotate": _annotate,
    "fetch": _fetch,
    "report": _report,
}


def _runs_twice(folder: Path) -> Pair:
    return [[*TRAIN, f"cache_dir={_cache()}", "hydra.run.dir=out", f"seed={seed}"] for seed in (0, 1)], _scores


def _jobs_twice(folder: Path) -> Pair:
    where = [f"cache_dir={_cache()}", "hydra.sweep.dir=out", "hydra.sweep.subdir=job"]
    return [["train", "-m", *TRAIN[1:], *where, f"seed={seed}"] for seed in (0, 1)], _scores


def _evaluations_twice(folder: Path) -> Pair:
    command = ["evaluate", str(_run(0)), "--output", "out", "--cache-dir", str(_cache()), "--fold"]
    return [[*command, fold] for fold in ("test", "validation")], _scores


def _annotations_twice(folder: Path) -> Pair:
    command = ["annotate", str(_recordings() / "a.hea"), "-o", "out", "--format"]
    return [[*command, formats] for formats in ("csv", "csv,wfdb")], _files


def _ensembles_twice(folder: Path) -> Pair:
    command = ["ensemble", str(_run(0)), str(_run(1)), "-o", "out", "--cache-dir", str(_cache()), "--mean"]
    return [[*command, mean] for mean in ("arithmetic", "geometric")], _scores


TWICE: dict[str, Callable[[Path], Pair]] = {
    "run": _runs_twice,
    "job of a sweep": _jobs_twice,
    "evaluate": _evaluations_twice,
    "annotate": _annotations_twice,
    "ensemble": _ensembles_twice,
}


def _scores(folder: Path) -> Any:
    """What runs found, by their folders; their predictions count by the checksum of the table's content."""
    import pandas as pd

    found = {}
    for file in sorted((folder / "out").rglob("scores.json")):
        scores = {key: value for key, value in json.loads(file.read_text()).items() if key not in OWN}
        table = pd.read_parquet(file.parent / "predictions.parquet")
        found[str(file.parent.relative_to(folder))] = scores, hashlib.sha256(table.to_csv().encode()).hexdigest()
    return found


def _files(folder: Path) -> dict[str, str]:
    """Checksums of the files that a user sees."""
    out = folder / "out"
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@cache
def _home() -> Path:
    """What all trials share, until the process ends."""
    _home.folder = tempfile.TemporaryDirectory(prefix="stops-")  # type: ignore[attr-defined]
    return Path(_home.folder.name)  # type: ignore[attr-defined]


def _cache() -> Path:
    return _home() / "cache"


@cache
def _run(seed: int) -> Path:
    """A finished run; those of different seeds have the same split."""
    folder = _home() / f"run{seed}"
    where = [f"cache_dir={_cache()}", f"hydra.run.dir={folder}", "split.seed=0", f"seed={seed}"]
    ended = run([*TRAIN, *where], timeout_s=TIMEOUT_S)
    assert ended.status == 0, ended
    return folder


@cache
def _recordings() -> Path:
    """Two recordings of ten minutes, with a peak in each second."""
    return _write_records(_home() / "recordings", ("a", "b"), minutes=10)


@cache
def _server() -> str:
    """The address of a server that has two records of MIT-BIH's names, with their checksums."""
    folder = _write_records(_home() / "published", ("100", "101"), minutes=30)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS.txt").write_text("".join(sums))
    (folder / "RECORDS").write_text("100\n101\n")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def _write_records(folder: Path, names: Sequence[str], *, minutes: int) -> Path:
    import wfdb

    folder.mkdir()
    at = np.arange(minutes * 60 * FS) / FS
    for seed, name in enumerate(names):
        peaks = np.exp(-0.5 * ((at % 1 - 0.5) / 0.012) ** 2)
        signal = peaks + np.random.default_rng(seed).normal(0, 0.01, len(at))
        wfdb.wrsamp(
            name, fs=FS, units=["mV"], sig_name=["II"], p_signal=signal[:, None], fmt=["16"], write_dir=str(folder)
        )
        beats = np.arange(FS // 2, len(at), FS)
        wfdb.wrann(name, "atr", beats, symbol=["N"] * len(beats), write_dir=str(folder))
    return folder
