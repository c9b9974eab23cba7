"""How every command ends if it fails or is stopped: with one line on stderr and an exit status, never a traceback."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ecg_lightning.core.errors import EcgLightningError, sentence_of
from ecg_lightning.core.progress import showing
from ecg_lightning.core.stops import how_stopped, terminable
from ecg_lightning.core.terminal import readable_streams


@contextmanager
def door() -> Iterator[None]:
    """Show progress within, in whatever encoding the terminal has, and end the process on an exception.

    The exit status is 2 for an error that a user can act on, 1 for any other, 130 for Ctrl-C, 143 for SIGTERM, and 141
    if the reader of the output has gone, as ``| head`` does.
    """
    logging.raiseExceptions = False  # a full disk, or a reader that is gone, is no traceback for each line of a log
    readable_streams()
    with showing(), terminable():
        try:
            try:
                yield
            finally:
                sys.stdout.flush()  # here, where it may fail, and not at the end of the process
        except KeyboardInterrupt as stop:
            leave(stop)
        except Exception as error:
            fail(error)


def leave(stop: KeyboardInterrupt, how: str = "start the same command again") -> NoReturn:
    """End the process after Ctrl-C or SIGTERM with a line that says `how` to go on."""
    word, status = how_stopped(stop)
    print(f"{word}; {how}", file=sys.stderr)
    sys.exit(status)


def fail(error: Exception, folder: Path | None = None) -> NoReturn:
    """End the process with `sentence_of` an error."""
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the end of the process fails, too
        sys.exit(141)
    print(f"error: {sentence_of(error, folder)}", file=sys.stderr)
    sys.exit(2 if isinstance(error, EcgLightningError) else 1)
