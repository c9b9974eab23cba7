"""Where a result came from: the revision is that of the code, never that of a user's repository around it."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

from ecg_lightning.core import provenance


def loaded_from(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("provenance_elsewhere", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(*arguments: str, cwd: Path) -> str:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True, text=True).stdout


def test_an_environment_inside_a_users_repository_has_no_revision_of_it(tmp_path: Path) -> None:
    (tmp_path / "paper.txt").write_text("mine")
    git("init", cwd=tmp_path)
    git("add", "paper.txt", cwd=tmp_path)
    git("commit", "-m", "mine", cwd=tmp_path)
    code = tmp_path / ".venv" / "ecg_lightning" / "provenance.py"
    code.parent.mkdir(parents=True)
    code.write_text(Path(provenance.__file__).read_text())
    assert loaded_from(code).git_revision() is None

    git("add", "--force", str(code), cwd=tmp_path)
    git("commit", "-m", "the code", cwd=tmp_path)
    revision = git("rev-parse", "HEAD", cwd=tmp_path).strip()
    assert loaded_from(code).git_revision() == revision[:12]
    code.write_text(code.read_text() + "\n")
    assert loaded_from(code).git_revision() == f"{revision[:12]}-dirty"
