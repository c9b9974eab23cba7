"""What `ecg-lightning compare` prints: the numbers of the comparison, in 80 columns."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run


def test_the_command_prints_the_comparison_in_80_columns(
    tmp_path: Path, make_record: Callable[..., RunRecord], make_beats: Callable[..., Beats]
) -> None:
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(5, size=600), np.arange(600) % 12
    beats = make_beats(labels, AAMI_CLASSES, records=patients, patients=patients.astype(str), samples=np.arange(600))
    for name, wrong in (("good", 0.1), ("bad", 0.3)):
        predicted = np.where(rng.random(600) < wrong, rng.integers(5, size=600), labels)
        raw = np.eye(5)[predicted] + 0.5 * rng.random((600, 5))
        record = make_record(model=name, synthetic=name == "bad", seed=0)
        save_run(tmp_path / name, record, beats, raw / raw.sum(axis=1, keepdims=True))
    run = CliRunner().invoke(app, ["compare", str(tmp_path / "good"), str(tmp_path / "bad")], env={"COLUMNS": "80"})
    assert run.exit_code == 0, run.output
    difference = compare(tmp_path / "good", tmp_path / "bad")["differences"]["macro_f1"]
    line = next(line for line in run.output.splitlines() if "macro-F1" in line)
    assert f"{100 * difference['difference']:+.2f}" in line and f"{100 * difference['interval'][1]:+.2f}" in line
    assert "12 patients" in " ".join(run.output.split())
    assert "SYNTHETIC" in run.output and max(map(len, run.output.splitlines())) <= 80
    refused = CliRunner().invoke(app, ["compare", str(tmp_path / "good"), str(tmp_path / "nothing")])
    assert refused.exit_code == 2 and refused.stderr.startswith("error: ")
