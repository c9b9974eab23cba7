"""Sweeps: each job runs once and resumes where it stopped, failures are reported, memory is released."""

import gc
import json
import os
import shlex
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
import yaml
from filelock import FileLock
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.threads import available_threads
from ecg_lightning.pipeline.build import build
from ecg_lightning.report.plots import plot
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.training.classifier import BeatClassifier

ROOT = Path(__file__).parents[2]
SMALL = ["report=none",
    "dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1",
    "trainer=cpu", "trainer.max_epochs=3", "optimizer.batch_size=32", "model=bigru", "model.width=16",
    "monitor=val/loss", "mode=min",
]  # fmt: skip

Sweep = Callable[..., int]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def sweep(tmp_path: Path, cache_dir: Path, command: Sweep) -> Sweep:
    """``ecg-lightning train -m …`` into ``tmp_path / "sweep"``; gives the exit status."""

    def start(*overrides: str, folder: Path = tmp_path / "sweep") -> int:
        return command("-m", *SMALL, f"cache_dir={cache_dir}", f"hydra.sweep.dir={folder}", *overrides)

    return start


def counted(patch: pytest.MonkeyPatch) -> list[int]:
    """The training steps as they are taken from now on."""
    taken: list[int] = []
    step = BeatClassifier.training_step

    def counting(self: BeatClassifier, batch: Any, batch_idx: int) -> Any:
        taken.append(self.trainer.global_step)
        return step(self, batch, batch_idx)

    patch.setattr(BeatClassifier, "training_step", counting)
    return taken


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return counted(monkeypatch)


@pytest.fixture(scope="module")
def whole(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory, command: Sweep) -> tuple[Path, int]:
    """The folder of a sweep of one job that nothing interrupted, and its number of steps."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        steps = counted(patch)
        assert command("-m", *SMALL, f"cache_dir={cache_dir}", f"hydra.sweep.dir={folder}") == 0
    return folder, len(steps)


def scores_of(folder: Path) -> dict[str, Any]:
    (file,) = folder.glob("*/scores.json")
    scores: dict[str, Any] = json.loads(file.read_text())
    ignored = ("wall_s", "started", "overrides", "config", "predictions_sha256", "sha256")
    return {key: value for key, value in scores.items() if key not in ignored}


def predictions_of(folder: Path) -> pd.DataFrame:
    (file,) = folder.glob("*/predictions.parquet")
    return read_predictions(file)[0]


def test_finished_jobs_are_not_run_again_and_new_values_are_added(
    sweep: Sweep, steps: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("seed=0") == 0
    (first,) = tmp_path.glob("sweep/*/scores.json")
    left = {file: file.read_bytes() for file in first.parent.rglob("*") if file.is_file() and file.suffix != ".log"}
    assert len(left) > 8
    steps.clear()
    capsys.readouterr()

    assert sweep("seed=0") == 0
    assert not steps
    table = capsys.readouterr().out
    assert "arrhythmia: 1 job" in table and first.parent.name in table

    assert sweep("seed=1,0") == 0
    assert steps.count(0) == 1
    (second,) = set(tmp_path.glob("sweep/*/scores.json")) - {first}
    assert json.loads(second.read_text())["seed"] == 1
    assert {file: file.read_bytes() for file in left} == left
    assert "arrhythmia: 2 jobs" in capsys.readouterr().out


def test_the_command_printed_on_ctrl_c_resumes_to_the_scores_of_an_uninterrupted_job(
    sweep: Sweep, command: Sweep, steps: list[int], whole: tuple[Path, int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    uninterrupted, n = whole
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(n - 2, steps, patch)
        assert sweep() == 130
    line = capsys.readouterr().err.splitlines()[-1]
    program, train, *words = shlex.split(line.partition("resume with: ")[2])
    assert (program, train) == ("ecg-lightning", "train")
    assert not list(tmp_path.glob("sweep/*/scores.json"))
    steps.clear()
    assert command(*words) == 0
    assert 2 <= len(steps) < n / 2
    assert scores_of(tmp_path / "sweep") == scores_of(uninterrupted)
    assert predictions_of(tmp_path / "sweep").equals(predictions_of(uninterrupted))


def test_a_terminated_sweep_says_which_jobs_are_left(
    sweep: Sweep, steps: list[int], whole: tuple[Path, int], capsys: pytest.CaptureFixture[str]
) -> None:
    n = whole[1]
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(n + 2, steps, patch, lambda: signal.raise_signal(signal.SIGTERM))
        assert sweep("seed=0,1,2") == 143
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("terminated; jobs done: 1 of 3, left: seed=1, seed=2; resume with: ")


@pytest.mark.parametrize("fault", ["damaged", "of other settings"])
def test_a_checkpoint_that_does_not_fit_is_reported_and_the_job_starts_from_the_beginning(
    fault: str, sweep: Sweep, steps: list[int], whole: tuple[Path, int], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    uninterrupted, n = whole
    named = "hydra.sweep.subdir=mine"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(n - 2, steps, patch)
        assert sweep(named, *(["optimizer.lr=0.1"] if fault == "of other settings" else [])) == 130
    last = tmp_path / "sweep" / "mine" / "checkpoints" / "last.ckpt"
    if fault == "damaged":
        os.truncate(last, 1000)
    steps.clear()
    capsys.readouterr()
    assert sweep(named) == 0
    printed = "".join(capsys.readouterr())
    assert str(last) in printed and fault in printed
    assert len(steps) == n
    assert scores_of(tmp_path / "sweep") == scores_of(uninterrupted)


def test_results_of_other_settings_are_never_overwritten(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named, folder = "hydra.sweep.subdir=mine", tmp_path / "sweep" / "mine"
    assert sweep(named, "seed=0") == 0
    left = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.suffix != ".log"}
    capsys.readouterr()
    assert sweep(named, "seed=1") == 1
    assert "mine" in capsys.readouterr().out
    assert "hydra.sweep.dir" in json.loads((folder / "failure.json").read_text())["error"]
    assert {file: file.read_bytes() for file in left} == left
    assert sweep(named, "seed=0") == 0
    assert not (folder / "failure.json").exists()


def test_a_failed_job_is_reported_twice_and_is_run_again(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(cfg: Any) -> Any:
        if cfg.seed == 0:
            raise RuntimeError("the disk is full")
        return build(cfg)

    with monkeypatch.context() as patch:
        patch.setattr("ecg_lightning.pipeline.train.build", failing)
        assert sweep("seed=0,1") == 1
    out = capsys.readouterr().out
    (failure,) = tmp_path.glob("sweep/*/failure.json")
    assert out.count("the disk is full") == 2
    assert failure.parent.name in out[out.rindex("arrhythmia: 1 job") :]

    # Not asked for again, it is none of this sweep's failures.
    assert sweep("seed=1") == 0
    assert failure.exists()
    assert sweep("seed=0,1") == 0
    assert not failure.exists()
    assert len(list(tmp_path.glob("sweep/*/scores.json"))) == 2


def test_folds_and_training_sizes_are_pooled_into_scores_and_a_curve(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "sweep"
    status = sweep(
        "dataset=synthetic_mi", "split=patient", "split.fold=0,1", "split.n_folds=2", "split.train_size=20,40",
        "trainer.max_epochs=2", "optimizer.batch_size=8",
    )  # fmt: skip
    assert status == 0
    pooled = json.loads((folder / "pooled.json").read_text())
    jobs = {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/scores.json")}
    for entry, size in zip(pooled["pooled"], (20, 40), strict=True):
        assert (entry["folds"], entry["n_folds"], entry["n"]["train"]) == ([0, 1], 2, size)
        assert [jobs[job]["n"]["train"] for job in entry["jobs"]] == [size, size]
        assert entry["test"] == score_predictions(*(folder / job / "predictions.parquet" for job in entry["jobs"]))
        table = pd.concat([read_predictions(folder / job / "predictions.parquet")[0] for job in entry["jobs"]])
        assert table["patient"].nunique() == 6
        assert not table.duplicated(["record", "sample"]).any()
    (curve,) = pooled["low_data"]
    assert [point["n_train"] for point in curve["points"]] == [20, 40]
    assert plot([folder], "low-data") == [folder / "low_data.png"] and (folder / "low_data.png").stat().st_size > 10_000
    out = capsys.readouterr().out
    summary = out[out.rindex("mi: 4 jobs") :]
    assert f"{pooled['pooled'][0]['jobs'][0]} split.fold=0 split.train_size=20" in summary
    for entry in pooled["pooled"]:
        assert f"{100 * entry['test']['macro_f1']:.2f}" in summary


def test_jobs_on_several_devices_are_refused(sweep: Sweep, tmp_path: Path) -> None:
    assert sweep("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "seed=0,1") == 1
    failures = [json.loads(file.read_text())["error"] for file in tmp_path.glob("sweep/*/failure.json")]
    assert len(failures) == 2
    assert all("trainer.devices=1" in failure for failure in failures)


def test_two_sweeps_cannot_use_one_folder(sweep: Sweep, tmp_path: Path) -> None:
    folder = tmp_path / "sweep" / "mine"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        assert sweep("hydra.sweep.subdir=mine") == 1
    assert str(folder) in json.loads((folder / "failure.json").read_text())["error"]
    assert not (folder / "checkpoints").exists()


def test_jobs_release_their_memory(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[weakref.ref[Any]] = []

    def watched(cfg: Any) -> Any:
        gc.collect()
        assert not [part() for part in parts if part() is not None]
        built = build(cfg)
        estimator = built.estimator
        watched = (built.datamodule, estimator, estimator.classifier, estimator.trainer)  # the next job has its beats
        parts.extend(map(weakref.ref, watched))
        return built

    monkeypatch.setattr("ecg_lightning.pipeline.train.build", watched)
    assert sweep("seed=0,1,2", "trainer.max_epochs=1") == 0
    assert len(parts) == 12


def test_a_search_continues_after_a_failed_trial_and_resumes_there(
    sweep: Sweep, steps: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    search = ["search=training", "hydra.sweeper.n_trials=3", "trainer.max_epochs=1", "augmentation=light"]
    trials: list[Any] = []

    def second_failing(cfg: Any) -> Any:
        trials.append(cfg)
        if len(trials) == 2:
            raise ConfigError("not this one")
        return build(cfg)

    monkeypatch.setattr("ecg_lightning.pipeline.train.build", second_failing)
    assert sweep(*search) == 1
    assert "1 of 3 jobs failed:" in capsys.readouterr().out
    assert (
        len({cfg.optimizer.lr for cfg in trials})
        == len({cfg.augmentation.transforms.noise.sigma for cfg in trials})
        == 3
    )
    assert sweep(*search) == 0
    assert trials[3:] == trials[1:2]
    losses = [json.loads(file.read_text())["val"]["loss"] for file in tmp_path.glob("sweep/*/scores.json")]
    found = yaml.safe_load((tmp_path / "sweep" / "optimization_results.yaml").read_text())
    assert len(losses) == 3
    assert found["best_value"] == min(losses)  # mode=min
    assert json.loads(next(tmp_path.glob("sweep/*/scores.json")).read_text())["fold"] == "validation"


def assert_one_failure_is_reported(folder: Path, out: str, *, jobs: int) -> None:
    """Of the job that no training size of 2.5 lets run."""
    (failure,), finished = (list(folder.glob(f"*/{name}.json")) for name in ("failure", "scores"))
    assert "split.train_size=2.5" in json.loads(failure.read_text())["error"]
    assert len(finished) == jobs - 1
    assert all(json.loads(file.read_text())["config_digest"] in file.parent.name for file in finished)
    summary = out[out.index(f"arrhythmia: {jobs - 1} job") :]
    assert f"1 of {jobs} jobs failed:" in summary and failure.parent.name in summary


def test_failures_in_processes_of_a_launcher_are_reported(
    sweep: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("hydra/launcher=submitit_local", "split.train_size=0.99,2.5", "trainer.max_epochs=1") == 1
    assert_one_failure_is_reported(tmp_path / "sweep", capsys.readouterr().out, jobs=2)


class Note(Callback):
    """A callback of Hydra, which a user may add: what the process of a job may use."""

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        note = {"process": os.getpid(), "threads": available_threads()}
        Path(config.hydra.runtime.output_dir, "note.json").write_text(json.dumps(note))


def test_jobs_side_by_side_divide_the_cores_and_give_the_results_of_jobs_in_sequence(
    command: Sweep, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    jobs = ("-m", *SMALL[:4], f"cache_dir={cache_dir}", "model=logistic_regression", "model.max_iter=20",
            "split.train_size=2.5,0.8,0.9,1.0")  # fmt: skip
    beside = ("hydra/launcher=local", "hydra.launcher.n_jobs=2", f"+hydra.callbacks.note._target_={__name__}.Note")
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert command(*jobs, f"hydra.sweep.dir={tmp_path / 'in_sequence'}") == 1  # no training size is 2.5
    capsys.readouterr()
    assert command(*jobs, *beside, f"hydra.sweep.dir={tmp_path / 'beside'}") == 1
    assert_one_failure_is_reported(tmp_path / "beside", capsys.readouterr().out, jobs=4)
    notes = [json.loads(file.read_text()) for file in tmp_path.glob("beside/*/note.json")]
    assert len(notes) == 4 and os.getpid() not in (processes := {note["process"] for note in notes})
    assert len(processes) >= 2
    assert {note["threads"] for note in notes} == {max(1, joblib.cpu_count() // 2)}
    for alone in (in_sequence := tmp_path / "in_sequence").glob("*/predictions.parquet"):
        beside_it = tmp_path / "beside" / alone.relative_to(in_sequence)
        assert read_predictions(beside_it)[0].equals(read_predictions(alone)[0])


def test_a_single_job_has_all_cores_whatever_number_may_run_side_by_side(
    command: Sweep, cache_dir: Path, tmp_path: Path
) -> None:
    beside = ("hydra/launcher=local", "hydra.launcher.n_jobs=2", f"+hydra.callbacks.note._target_={__name__}.Note")
    where = (f"cache_dir={cache_dir}", f"hydra.sweep.dir={tmp_path}")
    assert command("-m", *SMALL[:4], "model=majority", *beside, *where) == 0
    (note,) = tmp_path.glob("*/note.json")
    assert json.loads(note.read_text())["process"] == os.getpid()  # which has one for each core


def ctrl_c() -> None:
    """As no callback handles it."""
    raise KeyboardInterrupt


def interrupt_after(
    n: int, steps: list[int], monkeypatch: pytest.MonkeyPatch, interrupt: Callable[[], None] = ctrl_c
) -> None:
    """Interrupt in training step `n`."""
    step = BeatClassifier.training_step
    at = len(steps) + n

    def interrupted(self: BeatClassifier, batch: Any, batch_idx: int) -> Any:
        if len(steps) == at:
            interrupt()
        return step(self, batch, batch_idx)

    monkeypatch.setattr(BeatClassifier, "training_step", interrupted)
