"""``import ecg_lightning as ecg``: quick, complete, and as the README shows it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ecg_lightning as ecg
from ecg_lightning.runs.schema import RunRecord

README = Path(__file__).parents[1] / "README.md"


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = "import sys, ecg_lightning; dir(ecg_lightning); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "ecg_lightning" in loaded
    assert not {"torch", "numpy", "pandas", "pydantic", "hydra", "omegaconf", "ecg_lightning.core"} & set(loaded)


@pytest.mark.parametrize("name", ecg.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    thing = getattr(ecg, name)
    assert name in dir(ecg)
    assert thing.__doc__


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    assert not hasattr(ecg, "nothing_of_this_name")


def test_the_example_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(import ecg_lightning as ecg\n.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECG_CACHE_DIR", str(tmp_path / "cache"))
    names: dict[str, object] = {}
    exec(example, names)
    assert names["record"] == RunRecord.read(tmp_path / "outputs" / "mine" / "scores.json")
    probabilities, beats = names["probabilities"], names["beats"]
    assert probabilities.shape == (len(beats), 5)  # type: ignore[attr-defined, arg-type]
    assert "cnet" in capsys.readouterr().out
