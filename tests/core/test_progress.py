"""Progress on a terminal, which is a pseudo-terminal here, and in log files."""

import io
import logging
import os
import pty
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ecg_lightning.cli.main import app
from ecg_lightning.core import progress as module
from ecg_lightning.core.progress import progress, showing, tracked

CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


class Terminal:
    """The other side of a pseudo-terminal that stdout and stderr are connected to."""

    def __init__(self) -> None:
        self.side, there = pty.openpty()
        self.stream = os.fdopen(there, "w", encoding="utf-8")
        self.content = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> None:
        self._before = sys.stdout, sys.stderr  # of pytest, which sets them again before each test
        sys.stdout = sys.stderr = self.stream

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self._before

    def _read(self) -> None:
        try:
            while part := os.read(self.side, 65536):
                self.content += part
        except OSError:
            pass  # closed

    def close(self) -> str:
        """All that was written."""
        self.stream.close()
        self._reader.join()
        os.close(self.side)
        return self.content.decode().replace("\r\n", "\n")


def left_on(text: str) -> list[str]:
    """The lines on the screen at the end, where bars have been erased by moving up."""
    lines = [""]
    for part in re.split(r"(\n|\r\x1b\[\d+A\x1b\[J)", text):
        if part == "\n":
            lines.append("")
        elif part.startswith("\r\x1b["):
            del lines[len(lines) - 1 - int(part[3 : part.index("A")]) :]
            lines.append("")
        else:
            lines[-1] += CONTROL.sub("", part)
    return lines


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All work is long, and is shown at once."""
    for name, seconds in {"SHORT_S": 0, "REFRESH_S": 0.01, "LINE_S": 0.02}.items():
        monkeypatch.setattr(module, name, seconds)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, quick: None) -> Iterator[Terminal]:
    screen = Terminal()
    for name, value in {"TERM": "xterm-256color", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield screen
    if not screen.stream.closed:
        screen.close()


def wait_until(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_terminal_shows_what_is_done_the_rate_and_the_time_left_and_in_the_end_nothing(terminal: Terminal) -> None:
    with terminal, showing():
        for record in tracked(range(4), "reading mitbih", "records"):
            if record == 3:
                wait_until(lambda: b"3 of 4 records" in terminal.content)
    text = terminal.close()
    assert re.search(r"3 of 4 records, [\d.,]+(/s| s each), 00:0\d left", CONTROL.sub("", text))
    assert "".join(left_on(text)) == ""


def test_what_is_printed_in_the_meantime_stays_whole_above_the_bars(terminal: Terminal) -> None:
    with terminal, showing():
        handler = logging.StreamHandler(sys.stdout)
        with progress("outer", 2, "jobs"), progress("inner", 5, "steps") as step:
            for n in range(5):
                shown = len(terminal.content)
                wait_until(lambda shown=shown: b"inner" in terminal.content[shown:])
                print("a", "line", end="")
                print(f" {n}")
                Console().print(f"a table {n}")
                handler.emit(logging.makeLogRecord({"msg": f"a log {n}"}))
                step.advance()
    expected = [line for n in range(5) for line in (f"a line {n}", f"a table {n}", f"a log {n}")]
    assert left_on(terminal.close()) == [*expected, ""]


@pytest.mark.parametrize("columns", ["20", "40", "80"])
def test_lines_of_a_narrow_terminal_are_erased_as_well(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    with terminal, showing(), progress("reading a database with a long name", 1000, "records") as step:
        step.done, step.note = 500, "a note that needs more than what is left of the line"
        wait_until(lambda: terminal.content.count(b"500") > 2)
        print("a line")
    text = terminal.close()
    assert left_on(text) == ["a line", ""]
    assert max(map(len, CONTROL.sub("", text).split("\n"))) <= int(columns)


def test_no_color_is_respected(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with terminal, showing(), progress("reading", 2, "records"):
        wait_until(lambda: b"reading" in terminal.content)
    assert not re.search(r"\x1b\[[0-9;]*[1-9][0-9;]*m", terminal.close().replace("\x1b[1m", ""))


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with terminal, showing(), progress("reading", 2, "records") as step:
        step.advance()
        wait_until(lambda: b"1 of 2" in terminal.content)
    assert "\x1b" not in terminal.close()


def test_a_log_gets_plain_lines_and_one_at_the_end(quick: None, capsys: pytest.CaptureFixture[str]) -> None:
    with showing(), progress("sweep", 2, "jobs"), progress("reading", 4, "records") as step:
        step.done, step.note = 1, "a note"
        time.sleep(0.1)
    out, err = capsys.readouterr()
    *lines, inner, outer = err.splitlines()
    assert not out
    assert "\x1b" not in err
    assert lines
    assert all(re.fullmatch(r"reading: 1 of 4 records, .*, 00:00 left, a note", line) for line in lines)
    assert (inner, outer) == ("reading: 1 records in 00:00", "sweep: 0 jobs in 00:00")


def test_bytes_and_parts_are_shown_in_their_units() -> None:
    with progress("fetching", 3e6, "bytes") as bytes_, progress("record", 1.0) as part:
        bytes_.done, part.done = 1.5e6, 0.25
        assert str(bytes_).startswith("1.5 MB of 3.0 MB, ")
        assert str(part).startswith("25%, ")


def test_short_work_a_library_and_worker_processes_show_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.01)
    with showing(), progress("reading", 2, "records"):
        time.sleep(0.05)
    monkeypatch.setattr(module, "SHORT_S", 0)
    with progress("reading", 2, "records"), showing(False):
        time.sleep(0.05)
    monkeypatch.setattr(module.current_process(), "name", "LokyProcess-1")
    with showing(), progress("reading", 2, "records"):
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")


def test_what_fails_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    def work() -> None:
        with showing(), progress("reading", 2, "records"):
            wait_until(lambda: b"reading" in terminal.content)
            raise KeyboardInterrupt

    with terminal, pytest.raises(KeyboardInterrupt):
        work()
    assert left_on(terminal.close()) == [""]


def test_a_reader_that_has_gone_does_not_stop_the_work(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", closed)
    with showing(), progress("reading", 2, "records") as step:
        closed.close()
        time.sleep(0.05)
        step.advance()
    assert step.done == 1


def test_a_command_shows_it_and_prints_its_answer_on_stdout(terminal: Terminal, tmp_path: Path) -> None:
    arguments = ["data", "report", "synthetic", "dataset.simulation.patients=4", f"cache_dir={tmp_path}"]
    with terminal, pytest.raises(SystemExit) as ending:
        app([*arguments, "--output", str(tmp_path / "page.html")])
    assert not ending.value.code
    text = terminal.close()
    assert re.search(r"simulating synthetic .* [1-4] of 4 recordings", CONTROL.sub("", text))
    assert left_on(text) == [str(tmp_path / "page.html"), ""]
