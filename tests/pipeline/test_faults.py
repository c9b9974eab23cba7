"""``python train.py`` when it is killed, and when its folder cannot be written."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint

ROOT = Path(__file__).parents[2]
RUN = [
    "source=synthetic", "source.patients=6", "source.minutes=1", "trainer=cpu", "trainer.max_epochs=4",
    "optimizer.batch_size=32", "model=bigru", "model.width=16", "augmentation=light",
    "monitor=val/loss", "mode=min",  # which is best in every epoch, so that each writes both checkpoints
]  # fmt: skip
MIDDLE_OF_THIRD_EPOCH = 25

KILLED = """
import os, runpy, signal, sys
import torch
from ecg_lightning.training.classifier import BeatClassifier

kind = sys.argv.pop(1)
if kind == "epoch":
    step = BeatClassifier.training_step
    def killing_step(self, batch, batch_idx):
        if self.trainer.global_step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, batch, batch_idx)
    BeatClassifier.training_step = killing_step
else:
    save = torch.save
    def killing_save(content, path, *args, **kwargs):
        save(content, path, *args, **kwargs)
        if content["epoch"] == 2 and kind in str(path):
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
    torch.save = killing_save
sys.argv[0] = {train!r}
runpy.run_path({train!r}, run_name="__main__")
"""


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def start(command: list[str], cache_dir: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ECG_CACHE_DIR": str(cache_dir), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture(scope="module")
def uninterrupted(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run = start(["train.py", *RUN, f"hydra.run.dir={folder}"], cache_dir)
    assert run.returncode == 0, run.stderr
    return folder


@pytest.mark.parametrize("kind", ["epoch", "best.ckpt", "last.ckpt"])
def test_a_killed_run_resumes_to_the_scores_of_the_uninterrupted_one(
    kind: str, uninterrupted: Path, cache_dir: Path, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED.format(step=MIDDLE_OF_THIRD_EPOCH, train=str(ROOT / "train.py")))
    folder = tmp_path / "run"
    killed = start([str(script), kind, *RUN, f"hydra.run.dir={folder}"], cache_dir)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (folder / "scores.json").exists()
    checkpoints = folder / "checkpoints"
    last = checkpoints / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 1
    read_checkpoint(checkpoints / "best.ckpt")
    assert bool(list(checkpoints.glob(".partial-*"))) == (kind != "epoch")

    resumed = start(["train.py", *RUN, f"hydra.run.dir={folder}", f"ckpt_path={last}"], cache_dir)
    assert resumed.returncode == 0, resumed.stderr
    found, expected = (RunRecord.read(where / "scores.json") for where in (folder, uninterrupted))
    unlike = dict.fromkeys(("wall_s", "started", "config_digest", "config", "overrides"))  # the last ones for ckpt_path
    assert found.model_copy(update=unlike) == expected.model_copy(update=unlike)
    tables = [read_predictions(where / "predictions.parquet")[0] for where in (folder, uninterrupted)]
    assert tables[0].equals(tables[1])
    weights = [
        torch.load(where / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for where in (folder, uninterrupted)
    ]
    assert all(weights[0][name].equal(weight) for name, weight in weights[1].items())
    assert not list(checkpoints.glob(".partial-*"))

    # The epochs before the kill are still in the curves, and none is there twice.
    curves = [pd.read_csv(where / "metrics.csv") for where in (folder, uninterrupted)]
    for column in ("val/macro_f1", "val/loss"):
        values: list[Any] = [curve.dropna(subset=column).set_index("epoch")[column] for curve in curves]
        pd.testing.assert_series_equal(*values)


@pytest.mark.parametrize("mode", [["hydra.run.dir"], ["hydra.sweep.dir", "-m"]], ids=["run", "sweep"])
def test_a_folder_that_cannot_be_written_is_one_line(mode: list[str], cache_dir: Path, tmp_path: Path) -> None:
    # As root may write wherever it likes, a file stands where the folder should be.
    (tmp_path / "file").write_text("not a folder")
    setting, *flags = mode
    run = start(["train.py", *flags, *RUN, f"{setting}={tmp_path / 'file' / 'run'}"], cache_dir)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith(
        f"error: cannot write to {tmp_path / 'file' / 'run'}: {tmp_path / 'file'} is no folder"
    )
    assert setting in run.stderr


def test_a_folder_that_stops_being_writable_is_one_line(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("not a folder")
    run = start(["train.py", *RUN, f"hydra.run.dir={tmp_path}"], cache_dir)
    assert run.returncode != 0
    assert "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1].startswith(f"error: cannot write {tmp_path / 'checkpoints'}")
