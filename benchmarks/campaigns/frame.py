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

TIMEOUT_S = 120.0  # of a clock on the wall: generous, because machines are busy
MEMORY = 2**30  # bytes beyond those of the process that starts the command


# Words of ``ecg-lightning``, or what a notebook calls.
Command = Sequence[str] | Callable[[], object]


@dataclass(frozen=True)
class Case:
    """A command of ``ecg-lightning`` on something wrong."""

    kind: str  # in one or two words, for the table
    what: str  # what exactly is wrong, so that a failure can be repeated
    command: Command
    accepted_because: str | None = None  # why working is right, too; None: must be refused
    check: "Callable[[Ended], str | None]" = lambda ended: None  # what is wrong with what it has written, if anything
    setup: Callable[[], None] = lambda: None  # what its process does first, such as to limit the size of files


class Ended(NamedTuple):
    """How a command ended."""

    status: int  # negative: by this signal
    out: str
    err: str
    seconds: float
    memory: int  # bytes at most, beyond those at its start


# Cases without end: a folder that is the case's own, and all that is random.
Campaign = Callable[[Path, Random], Case]
# The same for cases of several commands: also how the last of them ended, and why a user may not expect that.
Trial = Callable[[Path, Random], tuple[Case, Ended, str | None]]


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


def run(
    command: Command,
    *,
    cwd: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    setup: Callable[[], None] = lambda: None,
) -> Ended:
    """Run ``ecg-lightning`` in a copy of this process, after `setup`; it is killed when its time is over."""
    return Running(command, cwd=cwd, setup=setup).end(timeout_s=timeout_s)


class Running:
    """``ecg-lightning`` in a copy of this process."""

    def __init__(self, command: Command, *, cwd: Path | None = None, setup: Callable[[], None] = lambda: None) -> None:
        self._texts = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115  # closed by `end`
        sys.stdout.flush()
        sys.stderr.flush()
        self._memory, self._start = _memory(), time.monotonic()
        if (child := os.fork()) == 0:
            _become(command, *(file.fileno() for file in self._texts), cwd, setup)
        self._child, self.used_s = child, 0.0

    def end(self, *, timeout_s: float = TIMEOUT_S, stop: tuple[signal.Signals, float] | None = None) -> Ended:
        """Wait for its end; when its time is over, kill it and what it has started.

        `stop` is a signal to send to it once it has used these seconds of processor time, however busy the machine is.
        """
        while True:
            done, code, usage = os.wait4(self._child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > self._start + timeout_s:
                os.killpg(self._child, signal.SIGKILL)
            elif stop is not None and self._used_s() >= stop[1]:
                (os.killpg if stop[0] == signal.SIGKILL else os.kill)(self._child, stop[0])
                stop = None
            time.sleep(0.005)
        self.used_s = usage.ru_utime + usage.ru_stime
        seconds, memory = time.monotonic() - self._start, max(0, usage.ru_maxrss * 1024 - self._memory)
        texts = []
        for file in self._texts:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        return Ended(os.waitstatus_to_exitcode(code), *texts, seconds, memory)

    def _used_s(self) -> float:
        fields = Path(f"/proc/{self._child}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _become(command: Command, out: int, err: int, cwd: Path | None, setup: Callable[[], None]) -> NoReturn:
    """Turn this process into the command."""
    status = 1
    try:
        os.setsid()
        os.environ["NO_COLOR"] = "1"  # an escape sequence is none of a library's colours
        for theirs, ours in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
            os.dup2(theirs, ours)
        # pytest and notebooks replace these.
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode, closefd=False) for n, mode in enumerate("rww"))
        resource.setrlimit(resource.RLIMIT_DATA, (8 * MEMORY, 8 * MEMORY))  # so that no case takes the machine down
        if cwd is not None:
            os.chdir(cwd)
        setup()
        if callable(command):
            command()
        else:
            sys.argv = ["ecg-lightning", *command]
            from ecg_lightning.cli.main import main

            main()
        status = 0
    except SystemExit as leaving:
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException as error:
        import traceback

        from ecg_lightning.core.errors import EcgLightningError

        if callable(command) and isinstance(error, EcgLightningError):
            print(f"error: {error}", file=sys.stderr)  # as the command line does
            status = 2
        else:
            traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # whatever is raised here would go on as the process that started this one
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

    def add(self, case: Case, ended: Ended, why: str | None) -> None:
        """Count a case, which failed if there is a reason why."""
        self.tried[case.kind] += 1
        self.slowest_s, self.memory = max(self.slowest_s, ended.seconds), max(self.memory, ended.memory)
        if why is not None:
            self.failures.append((case, why))
        elif ended.status == 0:
            self.accepted[str(case.accepted_because)] += 1
        else:
            self.refused[case.kind] += 1


def one_command(campaign: Campaign) -> Trial:
    """Trials of the cases of a campaign."""

    def trial(folder: Path, random: Random) -> tuple[Case, Ended, str | None]:
        case = campaign(folder, random)
        ended = run(case.command, cwd=folder, setup=case.setup)
        return case, ended, failure(case, ended)

    return trial


def repeat(trial: Trial, n: int, seed: int, folder: Path) -> Iterator[tuple[Case, Ended, str | None]]:
    """`n` trials; each has a seed of its own, ``seed:i``, and an empty folder."""
    preload()
    for i in range(n):
        with tempfile.TemporaryDirectory(dir=folder) as own:
            yield trial(Path(own), Random(f"{seed}:{i}"))
