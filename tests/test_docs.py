"""The pages in docs run as they are printed."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app

DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_on_annotating_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for language, text in re.findall(r"```(\w+)\n(.*?)```", (DOCS / "annotate.md").read_text(), re.DOTALL):
        for line in [text] if language == "python" else text.splitlines():
            if language == "python":
                exec(line, names)
                continue
            _, *words = shlex.split(line)
            run = CliRunner().invoke(app, words)
            assert run.exit_code == 0, f"{line}\n{run.output}"
    for name in ("annotated", "all", "by_onnx"):
        assert {path.name for path in (tmp_path / name).glob("holter00.*")} == {
            f"holter00.{suffix}" for suffix in ("csv", "ecgl", "html", "json")
        }
