"""The installed package works in an empty folder, without the repository."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from ecg_lightning.core.weights import FOLDER
from ecg_lightning.runs.schema import RunRecord

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel; its dependencies are those of this environment."""
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    if importlib.util.find_spec("hatchling"):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    else:
        build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(wheels), "."]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = wheels.glob("*.whl")
    ZipFile(wheel).extractall(site)
    return site


def test_the_wheel_trains_the_demo_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    small = ["dataset.simulation.patients=6", "dataset.simulation.minutes=1", "trainer.max_epochs=1", "report=brief"]
    unused = tmp_path / "cache of the user"
    run = subprocess.run(
        [sys.executable, "-m", "ecg_lightning", "train", "experiment=demo", *small, f"cache_dir={tmp_path / 'cache'}"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1", "ECG_CACHE_DIR": str(unused)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (record,) = tmp_path.glob("outputs/*/*/scores.json")
    assert RunRecord.read(record).epochs == 1
    assert (record.parent / "report.html").stat().st_size > 10_000
    assert not unused.exists()  # nor does the report need it
    assert {file.name for file in (record.parent / "checkpoints").iterdir()} >= {"best.ckpt", "last.ckpt"}
    weights = installed / "ecg_lightning" / "weights"
    assert {file.name for file in weights.iterdir()} == {file.name for file in FOLDER.iterdir()}
    assert {file.suffix for file in (installed / "ecg_lightning" / "recordings").iterdir()} >= {".hea", ".dat", ".atr"}
    conf = installed / "ecg_lightning" / "conf"
    assert {file.relative_to(conf) for file in conf.rglob("*.yaml")} == {
        file.relative_to(ROOT / "conf") for file in (ROOT / "conf").rglob("*.yaml")
    }
