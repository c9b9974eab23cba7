"""Every encoding that a terminal may have."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecg_lightning.cli.main import app
from ecg_lightning.core.terminal import readable

ODD = "naïve-µ-→-日"


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("97.2 ± 0.4 % × 3 – µV κ ≥ …", "ascii", "97.2 +/- 0.4 % x 3 - uV kappa >= ..."),
        ("97.2 ± 0.4 µV → é", "latin-1", "97.2 ± 0.4 µV -> é"),
        ("± … → κ", "cp1252", "± … -> kappa"),
        ("Müller, Å, 日", "ascii", "Muller, A, ?"),
        ("─┼│ 日 κ", "utf-8", "─┼│ 日 κ"),
        ("κ 日", "utf-16", "κ 日"),
    ],
)
def test_signs_become_what_reads_alike(text: str, encoding: str, shown: str) -> None:
    assert readable(text, encoding) == shown


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
def test_a_command_succeeds_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(content, encoding, write_through=True))
    with pytest.raises(SystemExit) as ending:
        app(["data", "list"])
    assert not ending.value.code
    lines = content.getvalue().decode(encoding).splitlines()
    assert any(line.startswith("mitbih ") for line in lines)
    assert any("Müller" in line or "Muller" in line or "Kreiseler" in line for line in lines)


def test_an_old_locale_and_an_odd_name_are_no_errors(tmp_path: Path) -> None:
    folder = tmp_path / ODD / os.fsdecode(b"\xff\xfe")
    folder.mkdir(parents=True)
    old = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    run = subprocess.run(
        [sys.executable, "-m", "ecg_lightning", "data", "check", "--data-dir", folder],
        env=os.environ | old, capture_output=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1  # there is no database in it
    assert os.fsencode(folder) in run.stdout
    assert b"Traceback" not in run.stderr


def test_a_reader_that_has_seen_enough_ends_a_command_as_head_does(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    with pytest.raises(SystemExit) as ending:
        app(["data", "list"])
    assert ending.value.code == 141
