"""``python train.py`` as a stranger types it: messages, exit codes, two processes, Ctrl-C.

Few, because each start costs seconds; what can be tested within the process is in test_experiment.py, sweeps in
test_sweeps.py.
"""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ecg_lightning.metrics.scoring import score
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.training.classifier import BeatClassifier

ROOT = Path(__file__).parents[2]
SMALL = ["source=synthetic", "source.patients=6", "source.minutes=1", "report=none"]
DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]

Finished = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def environment(cache_dir: Path) -> dict[str, str]:
    absent = str(cache_dir / "no_data")
    return os.environ | {
        "ECG_CACHE_DIR": str(cache_dir),
        "ECG_DATA_DIR": absent,
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


def train(*arguments: str, cache_dir: Path) -> Finished:
    command = [sys.executable, "train.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(cache_dir), capture_output=True, text=True, timeout=180, check=False
    )


def test_without_data_one_line_names_the_command_that_gets_them(cache_dir: Path, tmp_path: Path) -> None:
    run = train(f"hydra.run.dir={tmp_path}", cache_dir=cache_dir)
    assert run.returncode == 2
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith("error: ")
    assert "ecg-lightning data fetch mitdb" in run.stderr
    assert not (tmp_path / "checkpoints").exists()


def test_an_unknown_network_is_answered_with_those_there_are(cache_dir: Path) -> None:
    run = train("model=resnet", cache_dir=cache_dir)
    assert run.returncode != 0
    assert "Could not find 'model/resnet'" in run.stderr
    assert all(file.stem in run.stderr for file in (ROOT / "conf" / "model").glob("*.yaml"))
    assert "Traceback" not in run.stderr


def test_an_unknown_setting_is_named(cache_dir: Path) -> None:
    run = train("optimizer.learning_rate=0.1", cache_dir=cache_dir)
    assert run.returncode != 0
    assert "optimizer.learning_rate" in run.stderr
    assert "Traceback" not in run.stderr


def test_what_would_run_can_be_shown(cache_dir: Path) -> None:
    run = train("--cfg", "job", "model=seq", cache_dir=cache_dir)
    assert run.returncode == 0, run.stderr
    assert "name: seq" in run.stdout
    assert "monitor: val/macro_f1" in run.stdout


def test_help_lists_the_choices(cache_dir: Path) -> None:
    run = train("--help", cache_dir=cache_dir)
    assert run.returncode == 0, run.stderr
    for group in ("model", "task", "source", "split", "trainer"):
        choices = ", ".join(sorted(file.stem for file in (ROOT / "conf" / group).glob("*.yaml")))
        assert f"{group}: {choices}" in run.stdout


def test_two_processes_score_every_beat_once(cache_dir: Path, tmp_path: Path) -> None:
    # Enough to tell some classes from others: a network that calls all beats N would hide mistakes in counting.
    quick = ["model=bigru", "model.width=16", "optimizer.lr=0.02", "optimizer.batch_size=8", "trainer.max_epochs=4"]
    settings = [*SMALL, *quick, "split.validation_fraction=0.3"]
    run = train(*settings, *DDP, f"hydra.run.dir={tmp_path}", cache_dir=cache_dir)
    assert run.returncode == 0, run.stderr
    assert len([line for line in run.stdout.splitlines() if line.startswith("epoch ")]) == 4
    scores = json.loads((tmp_path / "scores.json").read_text())

    # The same folds as in one process.
    overrides = [*settings, "trainer=cpu", f"cache_dir={cache_dir}"]
    datamodule = build(compose(overrides, output_dir=tmp_path / "one", config_dir=ROOT / "conf")).datamodule
    tested = datamodule.beats.select(datamodule.folds.test)
    table, _ = read_predictions(tmp_path / "predictions.parquet")
    assert len(table) == scores["n"]["test"] == len(tested)
    assert tested.samples is not None
    assert tested.records is not None
    assert table["sample"].tolist() == tested.samples.tolist()
    assert table["record"].tolist() == tested.records.tolist()
    assert score_predictions(tmp_path / "predictions.parquet") == scores["test"]

    # Validation is over the beats of both, none of them twice.
    path = tmp_path / "checkpoints" / "best.ckpt"
    classifier = BeatClassifier.load_from_checkpoint(path, weights_only=True).eval()
    beats = datamodule.beats.select(datamodule.folds.validation)
    with torch.no_grad():
        probabilities = classifier.task.probabilities(
            classifier(*map(torch.from_numpy, (beats.signals, beats.lengths)))
        ).numpy()
    expected = score(beats.labels, probabilities, beats.classes)
    validated = torch.load(path, weights_only=True)["ecg_lightning"]["scores"]
    assert scores["val"]["macro_f1"] == pytest.approx(expected["macro_f1"], abs=1e-6)
    assert validated["val/accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
    assert len(set(probabilities.argmax(axis=1))) > 1


@pytest.mark.parametrize("trainer", [["trainer=cpu"], DDP], ids=["one process", "two processes"])
def test_ctrl_c_leaves_a_checkpoint_and_one_line_that_says_how_to_go_on(
    trainer: list[str], cache_dir: Path, tmp_path: Path
) -> None:
    endless = ["trainer.max_epochs=5000", "callbacks.early_stopping=null"]
    process = subprocess.Popen(
        [sys.executable, "train.py", *SMALL, *trainer, *endless, f"hydra.run.dir={tmp_path}"],
        cwd=ROOT,
        env=environment(cache_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background, perhaps these tests, is deaf to SIGINT, and so are its children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    lines: Any = iter(process.stdout.readline, "")
    assert any(line.startswith("epoch ") for line in lines)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert stderr.splitlines()[-1] == f"interrupted: resume with ckpt_path={last} hydra.run.dir={tmp_path}"
    assert "Traceback" not in stderr
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["global_step"] >= 2
    assert not (tmp_path / "scores.json").exists()
