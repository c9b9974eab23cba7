"""Training that is killed, and folders that cannot be written."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint

RUN = [
    "dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1",
    "trainer=cpu", "trainer.max_epochs=4", "optimizer.batch_size=32", "model=bigru", "model.width=16",
    "augmentation=light", "report=none",
    "monitor=val/loss", "mode=min",  # improves in every epoch, so that each writes both checkpoints
]  # fmt: skip
KINDS = ["epoch", "best.ckpt", "last.ckpt"]
MIDDLE_OF_THIRD_EPOCH = 25

# Kills one run in a training step, and two while they write a checkpoint; imports once and forks for each of them.
KILLED = """
import os, signal, sys
from pathlib import Path
from ecg_lightning.cli.train import main
from ecg_lightning.pipeline import train
from ecg_lightning.training.classifier import BeatClassifier

def kill_in_step():
    step = BeatClassifier.training_step
    def killing(self, batch, batch_idx):
        if self.trainer.global_step == {step}:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, batch, batch_idx)
    BeatClassifier.training_step = killing

def kill_while_saving(name):
    write, times = Path.write_bytes, 0
    def killing(path, content):
        nonlocal times
        times += name in path.name
        write(path, content)
        if times == 3:  # once an epoch
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)
    Path.write_bytes = killing

for kind in {kinds}:
    child = os.fork()
    if not child:
        kill_in_step() if kind == "epoch" else kill_while_saving(kind)
        sys.argv = ["ecg-lightning", "train", *sys.argv[1:], f"hydra.run.dir={{kind}}"]
        main(sys.argv[2:])
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def uninterrupted(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory, command: Callable[..., int]) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert command(*RUN, f"cache_dir={cache_dir}", f"hydra.run.dir={folder}") == 0
    return folder


@pytest.fixture(scope="module")
def killed(cache_dir: Path, uninterrupted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a killed run for each of `KINDS`."""
    folder = tmp_path_factory.mktemp("killed")
    script = KILLED.format(step=MIDDLE_OF_THIRD_EPOCH, kinds=KINDS)
    run = subprocess.run(
        [sys.executable, "-c", script, *RUN, f"cache_dir={cache_dir}"],
        cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    statuses = [line for line in run.stdout.splitlines() if line.removeprefix("-").isdigit()]
    assert statuses == [str(-signal.SIGKILL)] * len(KINDS), run.stderr
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_resumes_to_the_scores_of_the_uninterrupted_one(
    kind: str, killed: Path, uninterrupted: Path, cache_dir: Path, command: Callable[..., int]
) -> None:
    folder = killed / kind
    assert not (folder / "scores.json").exists()
    checkpoints = folder / "checkpoints"
    last = checkpoints / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 1
    read_checkpoint(checkpoints / "best.ckpt")
    assert bool(list(checkpoints.glob(".partial-*"))) == (kind != "epoch")

    assert command(*RUN, f"cache_dir={cache_dir}", f"hydra.run.dir={folder}", f"ckpt_path={last}") == 0
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

    # The curves have every epoch once, those before the kill included.
    curves = [pd.read_csv(where / "metrics.csv") for where in (folder, uninterrupted)]
    for column in ("val/macro_f1", "val/loss"):
        values: list[Any] = [curve.dropna(subset=column).set_index("epoch")[column] for curve in curves]
        pd.testing.assert_series_equal(*values)


@pytest.mark.parametrize("mode", [["hydra.run.dir"], ["hydra.sweep.dir", "-m"]], ids=["run", "sweep"])
def test_a_folder_that_cannot_be_written_is_one_line(
    mode: list[str], tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    # Root may write anywhere, so a file takes the place of the folder.
    (tmp_path / "file").write_text("not a folder")
    setting, *flags = mode
    assert command(*flags, *RUN, f"{setting}={tmp_path / 'file' / 'run'}") == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.startswith("error: ") and setting in error
    assert str(tmp_path / "file" / "run") in error and f"{tmp_path / 'file'} is no folder" in error


def test_a_folder_that_becomes_unwritable_is_one_line(
    cache_dir: Path, tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoints").write_text("not a folder")
    assert command(*RUN, f"cache_dir={cache_dir}", f"hydra.run.dir={tmp_path}") == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert error.splitlines()[-1].startswith(f"error: cannot write {tmp_path / 'checkpoints'}")
