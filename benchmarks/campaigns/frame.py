"""A fault, what a command does with it, and whether that is what a user may expect.

A command survives a fault if it ends with one line that begins with ``error:`` and exit status 1 or 2, or if it works
although something is odd and the case says why that is right. A traceback, an error that nobody has thought of, a
signal, much time or much memory are failures, and so is a fault that is accepted without a reason.
"""

import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple, NoReturn

TIMEOUT_S = 60.0
MEMORY = 2**30  # bytes beyond those of the process that starts the command


@dataclass(frozen=True)
class Case:
    """A command of ``ecg-lightning`` on something wrong."""

    kind: str  # in one or two words, for the table
    what: str  # what exactly is wrong, so that a failure can be repeated
    command: Sequence[str]
    accepted_because: str | None = None  # why working is right, too; None: must be refused
    check: "Callable[[Ended], str | None]" = lambda ended: None  # what is wrong with what it has written, if anything


class Ended(NamedTuple):
    """How a command ended."""

    status: int  # negative: by this signal
    out: str
    err: str
    seconds: float
    memory: int  # bytes at most, beyond those at its start


# Cases without end: a folder that is the case's own, and all that is random.
Campaign = Callable[[Path, Random], Case]


def failure(case: Case, ended: Ended) -> str | None:
    """Why this is not what a user may expect; None if it is."""
    if ended.status == -signal.SIGKILL:
        return f"killed after {ended.seconds:.0f} s"
    if "Traceback (most recent call last)" in ended.err + ended.out:
        return f"traceback: {ended.err.strip().splitlines()[-1][:200]}"
    if unexpected := re.search(r"^error: unexpected .*", ended.err, re.MULTILINE):
        return unexpected[0][:200]
    if ended.memory > MEMORY:
        return f"{ended.memory / 2**20:.0f} MiB"
    if "\x1b" in ended.out + ended.err:
        return "an escape sequence reached the terminal"
    if wrong := case.check(ended):
        return wrong
    if ended.status == 0:
        return None if case.accepted_because else "accepted"
    if ended.status not in (1, 2):
        return f"exit status {ended.status}"
    errors = [line for line in ended.err.splitlines() if line.lower().startswith("error")]
    return None if errors else f"exit status {ended.status} without a line that begins with error: {ended.err[-200:]!r}"


def preload() -> None:
    """Import once what the commands import, so that each of them starts at once."""
    import pytorch_lightning
    import torch
    import wfdb  # noqa: F401

    import ecg_lightning.cli.job
    import ecg_lightning.cli.main
    import ecg_lightning.pipeline.annotate
    import ecg_lightning.pipeline.build
    import ecg_lightning.pipeline.evaluate
    import ecg_lightning.pipeline.train
    import ecg_lightning.report  # noqa: F401

    torch.set_num_threads(1)
    del pytorch_lightning


def run(command: Sequence[str], *, cwd: Path | None = None, timeout_s: float = TIMEOUT_S) -> Ended:
    """Run ``ecg-lightning`` in a copy of this process, which is killed when its time is over."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        sys.stdout.flush()
        sys.stderr.flush()
        own, start = _memory(), time.monotonic()
        if (child := os.fork()) == 0:
            _become(command, out.fileno(), err.fileno(), cwd)
        while True:
            done, code, usage = os.wait4(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > start + timeout_s:
                os.killpg(child, signal.SIGKILL)
            time.sleep(0.005)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        memory = max(0, usage.ru_maxrss * 1024 - own)
        return Ended(os.waitstatus_to_exitcode(code), *texts, time.monotonic() - start, memory)


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _become(command: Sequence[str], out: int, err: int, cwd: Path | None) -> NoReturn:
    """Turn this process into the command."""
    status = 1
    try:
        os.setsid()
        for theirs, ours in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(theirs, ours)
        # pytest and notebooks replace these.
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode, closefd=False) for n, mode in enumerate("rww"))
        resource.setrlimit(resource.RLIMIT_DATA, (8 * MEMORY, 8 * MEMORY))  # so that no case takes the machine down
        if cwd is not None:
            os.chdir(cwd)
        sys.argv = ["ecg-lightning", *command]
        from ecg_lightning.cli.main import main

        main()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@dataclass
class Tally:
    """What came of a campaign."""

    tried: Counter[str] = field(default_factory=Counter)  # by kind
    refused: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)  # by reason
    failures: list[tuple[Case, str]] = field(default_factory=list)
    slowest_s: float = 0
    memory: int = 0

    def add(self, case: Case, ended: Ended) -> None:
        """Count a case."""
        self.tried[case.kind] += 1
        self.slowest_s, self.memory = max(self.slowest_s, ended.seconds), max(self.memory, ended.memory)
        if why := failure(case, ended):
            self.failures.append((case, why))
        elif ended.status == 0:
            self.accepted[str(case.accepted_because)] += 1
        else:
            self.refused[case.kind] += 1


def repeat(campaign: Campaign, n: int, seed: int, folder: Path) -> Iterator[tuple[Case, Ended]]:
    """`n` cases of a campaign and how they ended; each has a seed of its own, ``seed:i``, and an empty folder."""
    preload()
    for i in range(n):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            case = campaign(Path(own), Random(f"{seed}:{i}"))
            yield case, run(case.command, cwd=Path(own))
