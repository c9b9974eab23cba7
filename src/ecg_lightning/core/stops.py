"""SIGTERM, by which Slurm, containers and ``timeout`` ask a process to end: an exception, as Ctrl-C is one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """Whatever ends in good order on Ctrl-C does so on SIGTERM, too."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`, unless another part of the process, such as a launcher, handles it."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def how_stopped(stop: KeyboardInterrupt) -> tuple[str, int]:
    """The word for it, and the exit status that a shell expects: 128 and the number of the signal."""
    return ("terminated", 143) if isinstance(stop, Terminated) else ("interrupted", 130)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # `timeout` sends it twice, and the second must not disturb the ending.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated
