"""``import ecg_lightning as ecg``: quick and complete; test_docs runs what the pages show of it."""

import subprocess
import sys

import pytest

import ecg_lightning as ecg


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
