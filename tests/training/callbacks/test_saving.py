"""Checkpoints and metrics.csv are whole whenever the run is killed, and go on where it is resumed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from ecg_lightning.core.errors import DataError
from ecg_lightning.training.callbacks.saving import AtomicCheckpointIO, BestCheckpoint, MetricsFile
from ecg_lightning.training.classifier import BeatClassifier


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 1, "weight": torch.ones(3)}, path)
    script = (
        "import os, signal, sys, torch\n"
        "from ecg_lightning.training.callbacks.saving import AtomicCheckpointIO\n"
        "from pathlib import Path\n"
        "write = Path.write_bytes\n"
        "def torn(path, content):\n"
        "    write(path, content)\n"
        "    os.truncate(path, os.path.getsize(path) // 2)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Path.write_bytes = torn\n"
        "AtomicCheckpointIO().save_checkpoint({'epoch': 2, 'weight': torch.zeros(3)}, sys.argv[1])\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert AtomicCheckpointIO().load_checkpoint(path)["epoch"] == 1
    assert len(list(path.parent.iterdir())) == 2

    # The next one of the same name takes away what was torn.
    AtomicCheckpointIO().save_checkpoint({"epoch": 3}, path)
    assert list(path.parent.iterdir()) == [path]
    assert AtomicCheckpointIO().load_checkpoint(path) == {"epoch": 3}


def test_a_checkpoint_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot write .*last.ckpt: .*choose another folder$"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 1}, tmp_path / "checkpoints" / "last.ckpt")


class Calls:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_nothing_is_loaded_that_could_run_code(tmp_path: Path) -> None:
    torch.save({"call": Calls()}, tmp_path / "evil.ckpt")
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "evil.ckpt", weights_only=False)


def log(file: MetricsFile, *epochs: int) -> None:
    for epoch in epochs:
        file.log_metrics({"epoch": epoch, "val/macro_f1": epoch / 10}, 10 * epoch + 9)
        file.log_metrics({"epoch": epoch, "train/loss": float(epoch)}, 10 * epoch + 9)


def test_a_resumed_run_keeps_the_rows_of_the_epochs_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log(MetricsFile(str(path)), 0, 1, 2)
    # Killed in epoch 3, it goes on from a checkpoint of the end of epoch 1.
    log(MetricsFile(str(path), resumed_from="last.ckpt"), 2, 3)
    table = pd.read_csv(path)
    assert table["epoch"].tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert table["val/macro_f1"].dropna().tolist() == [0, 0.1, 0.2, 0.3]
    assert table["train/loss"].dropna().tolist() == [0, 1, 2, 3]


def test_another_run_in_the_same_folder_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log(MetricsFile(str(path)), 0, 1, 2)
    log(MetricsFile(str(path)), 0)
    assert pd.read_csv(path)["epoch"].tolist() == [1, 1]


def test_of_equally_good_epochs_the_last_is_kept(
    make_classifier: Callable[..., BeatClassifier],
    make_trainer: Callable[..., pl.Trainer],
    some_beats: pl.LightningDataModule,
    tmp_path: Path,
) -> None:
    best = BestCheckpoint(
        dirpath=tmp_path, filename="best", monitor="val/macro_f1", mode="max", enable_version_counter=False
    )
    make_trainer(max_epochs=3, callbacks=[best]).fit(make_classifier(lr=0.0, schedule="constant"), some_beats)
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["epoch"] == 2
    assert list(tmp_path.glob("best*.ckpt")) == [tmp_path / "best.ckpt"]
