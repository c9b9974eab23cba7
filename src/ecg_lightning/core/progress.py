"""Progress, on stderr, of work that takes over two seconds: bars on a terminal, now and then a plain line elsewhere.

Whoever works counts with `progress` or `tracked`, which costs less than a microsecond. A thread shows it twice a
second where a command has asked for that by `showing`; elsewhere, as in a program that imports this package or in a
worker process, nothing is shown.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import cached_property
from multiprocessing import current_process
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

SHORT_S = 2.0  # work that takes less is not shown
REFRESH_S = 0.5
LINE_S = 10.0  # between two lines where there are no bars; later a tenth of the time so far
NARROW = 72  # columns, below which a line has no bar


class Step:
    """Work under way: `done` of `total` units, None if nobody knows how many; `note` is shown behind the numbers.

    The unit ``bytes`` is shown in kB, MB, …; without a unit, the part of `total` is shown in percent.
    """

    def __init__(self, doing: str, total: float | None, unit: str) -> None:
        self.doing, self.total, self.unit, self.note = doing, total, unit, ""
        self.done: float = 0
        self.look: Callable[[Step], None] | None = None  # called before it is shown, to count what others do
        self.began = self.printed = time.monotonic()
        self.display: _Display | None = None

    def advance(self, n: float = 1) -> None:
        """`n` more units are done."""
        self.done += n

    def say(self, line: str) -> None:
        """Print a line where there are no bars, unless the last one is less than two seconds old."""
        if self.display is not None and not self.display.bars and time.monotonic() - self.printed >= SHORT_S:
            self.display.line(self, line)

    def without_bars(self) -> None:
        """Print lines on a terminal, too, because other processes write to it."""
        if self.display is not None:
            self.display.bars = False

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    def __str__(self) -> str:
        """Such as ``12 of 48 records, 3.8/s, 00:09 left``."""
        parts, rate = [], self.done / max(self.seconds, 1e-9)
        if self.total and not self.unit:
            parts.append(f"{self.done / self.total:.0%}")
        elif self.total:
            parts.append(f"{_amount(self.done, self.unit)} of {self._counted(self.total)}")
        elif self.done:
            parts.append(self._counted(self.done))
        if rate and self.unit:
            parts.append(f"{_amount(rate, self.unit)}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
        if self.total and rate:
            parts.append(f"{_clock(max(0, self.total - self.done) / rate)} left")
        else:
            parts.append(_clock(self.seconds))
        return ", ".join([*parts, *filter(None, [self.note])])

    @property
    def result(self) -> str:
        """Such as ``reading mitbih: 48 records in 00:07``, once it has ended."""
        counted = f": {self._counted(self.done)}" if self.unit else ""
        return f"{self.doing}{counted} in {_clock(self.seconds)}"

    def _counted(self, n: float) -> str:
        return _amount(n, self.unit) + f" {self.unit}" * (self.unit != "bytes")


def _amount(n: float, unit: str) -> str:
    if unit == "bytes":
        from rich.filesize import decimal

        return decimal(int(n))
    return f"{n:,.0f}" if n >= 9.95 or n == int(n) else f"{n:.1f}"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))).removeprefix("0:")


class _Display:
    """The steps under way, the outer ones first, and the thread that shows them."""

    def __init__(self, stream: TextIO) -> None:
        self.steps: list[Step] = []
        self.bars = stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self.lock = threading.RLock()  # a signal may interrupt the main thread while it has it
        self.between_lines = True  # or something else has written the beginning of a line
        self._stream, self._drawn = stream, 0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def showing(self, step: Step) -> Iterator[None]:
        """Show a step within; at its end, a line remains where there are no bars."""
        with self.lock:
            self.steps.append(step)
            step.display = self
            if self._thread is None:
                self._thread = threading.Thread(target=self._show, name="progress", daemon=True)
                self._thread.start()
        try:
            yield
            if not self.bars and step.seconds >= SHORT_S:
                self.line(step, step.result)
        finally:
            with self.lock:
                self.steps.remove(step)
                if step.seconds >= SHORT_S:
                    self.erase()

    def end(self) -> None:
        """Leave nothing behind."""
        self._ended.set()
        self.erase()

    def line(self, step: Step, text: str) -> None:
        """Print a plain line about a step."""
        step.printed = time.monotonic()
        with suppress(OSError, ValueError):  # a reader that is gone, or a stream that is closed
            print(text, file=self._stream, flush=True)

    def erase(self) -> None:
        """Take the bars away."""
        with self.lock, suppress(OSError, ValueError):
            if self._drawn:
                self._stream.write(f"\r\x1b[{self._drawn}A\x1b[J")
                self._stream.flush()
                self._drawn = 0

    def _show(self) -> None:
        while not self._ended.wait(REFRESH_S):
            with self.lock:
                long = [step for step in self.steps if step.seconds >= SHORT_S]
                for step in long:
                    if step.look is not None:
                        step.look(step)
                if self.bars:
                    self._draw(long)
                elif long:
                    self._print(long)

    def _print(self, steps: list[Step]) -> None:
        step = steps[-1]  # the others are waiting for it
        if time.monotonic() - step.printed >= max(LINE_S, step.seconds / 10):
            self.line(step, f"{step.doing}: {step}")

    def _draw(self, steps: list[Step]) -> None:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if not self.between_lines or not steps:
            self.erase()
            return
        console = self._console
        rows = Table.grid(padding=(0, 1))
        for step in steps:
            if console.width < NARROW:
                rows.add_row(Text(f"{step.doing}: {step}"))
            else:
                bar = ProgressBar(step.total, step.done, width=16) if step.total else Text()
                rows.add_row(Text(step.doing), bar, Text(str(step)))
        with console.capture() as drawn:
            console.print(rows)
        with suppress(OSError, ValueError):
            self.erase()
            self._stream.write(drawn.get())
            self._stream.flush()
            self._drawn = drawn.get().count("\n")

    @cached_property
    def _console(self) -> Any:
        from rich.console import Console

        return Console(file=self._stream)


class _AboveTheBars:
    """A stream to the terminal that erases the bars before it writes; they are drawn again below."""

    def __init__(self, stream: TextIO, display: _Display) -> None:
        self._stream, self._display = stream, display

    def write(self, text: str) -> int:
        with self._display.lock:
            self._display.erase()
            n = self._stream.write(text)
            if text:
                self._display.between_lines = text.endswith("\n")
        return n

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_notebook() -> bool:
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


_display: ContextVar[_Display | None] = ContextVar("progress", default=None)


@contextmanager
def showing(wanted: bool = True) -> Iterator[None]:
    """Show progress within, if it is `wanted`; never in a worker process, whose parent shows that of all."""
    if current_process().name != "MainProcess" or os.environ.get("LOCAL_RANK", "0") != "0":
        wanted = False
    if wanted == (_display.get() is not None):
        yield
        return
    if not wanted:
        hidden = _display.set(None)
        try:
            yield
        finally:
            _display.reset(hidden)
        return
    streams = sys.stdout, sys.stderr
    display = _Display(sys.stdout if _is_notebook() else sys.stderr)  # which a notebook shows in red
    if display.bars:
        sys.stdout, sys.stderr = (_AboveTheBars(one, display) if one.isatty() else one for one in streams)
    shown = _display.set(display)
    try:
        yield
    finally:
        _display.reset(shown)
        display.end()
        sys.stdout, sys.stderr = streams


@contextmanager
def progress(doing: str, total: float | None = None, unit: str = "") -> Iterator[Step]:
    """Work that counts what is done with the `Step` that is given: ``step.advance()``."""
    step, display = Step(doing, total, unit), _display.get()
    if display is None:
        yield step
        return
    with display.showing(step):
        yield step


def tracked(items: Collection[T], doing: str, unit: str) -> Iterator[T]:
    """The items; one is done when the next is asked for."""
    with progress(doing, len(items), unit) as step:
        for item in items:
            yield item
            step.advance()
