"""`benchmarks/gpu.py` without a GPU, so that its first run on one does not fail for other reasons."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import gpu
import gpu_parts
import pytest
import torch

from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.training.trainer import make_trainer

COMMAND = [sys.executable, str(Path(gpu.__file__)), "--quick", "--only", "cnet"]


def test_the_command_trains_resumes_compares_and_files_its_table(tmp_path: Path) -> None:
    output = tmp_path / "gpu"
    done = subprocess.run([*COMMAND, "--device", "cpu", "--output", output], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((output / "table.json").read_text())["rows"]
    assert [one["mode"] for one in rows] == ["CPU fp32", "bf16 compiled", "GPU, then CPU"]
    assert {one["steps"] for one in rows} == {rows[0]["steps"]} and all(one["predicts"] > 0 for one in rows)
    assert "No GPU was there" in (output / "README.md").read_text()


def test_where_there_is_no_gpu_it_says_so() -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU is there: what happens without one cannot be seen")
    done = subprocess.run(COMMAND, capture_output=True, text=True)
    assert done.returncode == 1 and "no GPU" in done.stderr


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "distributions", lambda path: [])
    with pytest.raises(SystemExit, match="2"):
        gpu.prepared(tmp_path, Namespace(wheels=None, data="simulated", device="cpu", quick=True))
    printed = capsys.readouterr()
    assert "hydra-core" in printed.err and "wfdb" in printed.out and "wfdb" not in printed.err


def test_the_gpu_is_busy_while_it_has_kernels_and_waits_while_batches_are_gathered(tmp_path: Path) -> None:
    spans = [("kernel", "conv", 0, 40), ("kernel", "relu", 30, 20), ("gpu_memcpy", "HtoD", 90, 10)]
    spans += [("user_annotation", "enumerate(DataLoader)#next", 40, 40), ("gpu_user_annotation", "step", 0, 100)]
    events = [{"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur} for cat, name, ts, dur in spans]
    (tmp_path / "trace.json").write_text(json.dumps({"traceEvents": events}))
    found = gpu_parts.shares(tmp_path / "trace.json", seconds=100e-6, steps=1, step=75e-6)
    assert found == pytest.approx({"busy": 0.8, "waits": 0.3})  # 60 µs of kernels; 30 of gathering without any


def test_deterministic_runs_have_the_workspace_that_recurrent_layers_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    settings = ["trainer=cpu", "trainer.deterministic=true", "logger=none", "callbacks.progress=null"]
    try:
        make_trainer(validated(compose(settings, output_dir="none")), [])
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    finally:
        torch.use_deterministic_algorithms(False)
