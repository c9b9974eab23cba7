"""Loggers of services, by one word: what MLflow, W&B and TensorBoard have of a run, and what their failures do."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier

SMALL = ["dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "report=none",
    "trainer=cpu", "trainer.max_epochs=2",
]  # fmt: skip
SECRET = "0123456789abcdef0123456789abcdef01234567"
SERVER = "http://127.0.0.1:9"  # where nothing listens

Command = Callable[..., int]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder of all runs, with the store of MLflow, in which W&B is offline."""
    folder = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        places = {name: str(folder / name.lower()) for name in ("ECG_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CACHE_DIR")}
        retries = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        for name, value in {**places, **retries, "WANDB_MODE": "offline", "WANDB_API_KEY": SECRET}.items():
            patch.setenv(name, value)
        yield folder


@pytest.fixture(autouse=True)
def own_store(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow sets the variable to the store that it has used last."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")


def run_in_mlflow(name: str) -> Run:
    client = MlflowClient("sqlite:///mlflow.db")
    experiments = [one.experiment_id for one in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.mlflow.runName = '{name}'")
    return run


def in_wandb(folder: Path) -> bytes:
    """What `wandb sync` would send: messages in which text is as it is."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")))


class Logged(NamedTuple):
    folder: Path
    record: RunRecord
    interrupted: Run  # as MLflow had it after Ctrl-C


@pytest.fixture(scope="module")
def logged(here: Path, command: Command) -> Logged:
    """A run with all loggers that was interrupted in its second epoch, and resumed."""
    folder = here / "mine"
    folder.mkdir()
    Image.new("RGB", (2, 2)).save(folder / "confusion.png")
    arguments = [*SMALL, "logger=[mlflow,wandb,tensorboard]", f"hydra.run.dir={folder}"]

    def stop(classifier: BeatClassifier) -> None:
        if classifier.current_epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        with pytest.MonkeyPatch.context() as interrupting:
            interrupting.setattr(BeatClassifier, "on_train_epoch_start", stop)
            assert command(*arguments) == 130
        interrupted = run_in_mlflow("mine")
        assert command(*arguments, f"ckpt_path={folder}/checkpoints/last.ckpt") == 0
    return Logged(folder, RunRecord.read(folder / "scores.json"), interrupted)


def test_mlflow_has_settings_curves_and_scores_of_a_run(logged: Logged) -> None:
    run, test = run_in_mlflow("mine"), logged.record.test
    assert run.info.status == "FINISHED"
    assert run.data.tags.items() >= {"model": "cnet", "dataset": "synthetic", "split": "random", "seed": "0"}.items()
    assert run.data.tags["mlflow.note.content"] == logged.record.protocol.sentence()
    assert run.data.params.items() >= {"model/name": "cnet", "optimizer/schedule": "one_cycle", "seed": "0"}.items()
    assert not {name for name in run.data.params if name.startswith(("logger", "output_dir", "data_dir"))}
    for name, value in {
        "test/macro_f1": test["macro_f1"],
        "test/per_class/S/f1": test["per_class"]["S"]["f1"],
        "test/ec57/V/sensitivity": test["ec57"]["V"]["sensitivity"],
    }.items():
        assert run.data.metrics[name] == pytest.approx(value)


def test_a_resumed_run_goes_on_where_services_have_it(logged: Logged) -> None:
    run = run_in_mlflow("mine")  # the only one
    assert (run.info.run_id, logged.interrupted.info.status) == (logged.interrupted.info.run_id, "KILLED")
    curve = MlflowClient("sqlite:///mlflow.db").get_metric_history(run.info.run_id, "val/macro_f1")
    assert len(curve) == logged.record.epochs == 2
    ids = {file.stem for file in logged.folder.glob("wandb/offline-run-*/*.wandb")}
    assert ids == {f"run-{json.loads((logged.folder / 'loggers.json').read_text())['wandb']}"}


def test_the_artifacts_in_mlflow_are_a_folder_of_a_run(logged: Logged) -> None:
    artifacts = Path(run_in_mlflow("mine").info.artifact_uri)
    kept = {file.relative_to(artifacts).as_posix() for file in artifacts.rglob("*") if file.is_file()}
    assert kept == {
        "checkpoints/best.ckpt", ".hydra/config.yaml", ".hydra/overrides.yaml", "scores.json", "metrics.csv",
        "confusion.png",
    }  # fmt: skip
    assert RunRecord.read(artifacts / "scores.json") == logged.record
    assert read_checkpoint(artifacts).scores


def test_wandb_has_settings_scores_and_files_of_a_run(logged: Logged) -> None:
    sent = in_wandb(logged.folder)
    score, files = json.dumps(logged.record.test["macro_f1"]), ("checkpoints/best.ckpt", "scores.json")
    settings = ("arrhythmia-synthetic", "\4mine", "model:cnet", "split:random", "model/name")
    for text in (*settings, "val/macro_f1", "test/macro_f1", score, *files):
        assert text.encode() in sent, text


def test_tensorboard_has_curves_scores_text_and_pictures(logged: Logged) -> None:
    events = EventAccumulator(str(logged.folder / "tensorboard"))
    events.Reload()
    found = events.Tags()
    assert {"train/loss", "val/macro_f1", "test/macro_f1"} <= set(found["scalars"])
    assert "run/text_summary" in found["tensors"]
    assert "confusion" in found["images"]
    assert events.Scalars("test/macro_f1")[-1].value == pytest.approx(logged.record.test["macro_f1"])


def test_metrics_csv_is_there_too_and_no_file_has_the_key(logged: Logged, here: Path) -> None:
    assert (logged.folder / "metrics.csv").is_file()
    files = [file for file in here.rglob("*") if file.is_file()]
    assert len(files) > 20
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]


def test_jobs_of_a_sweep_are_runs_of_one_group_with_models_of_scikit_learn(
    here: Path, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = here / "mysweep"
    assert command("-m", *SMALL, "model=majority,beat_length", "logger=[mlflow,wandb]", f"hydra.sweep.dir={sweep}") == 0
    jobs = sorted(file.parent for file in sweep.glob("*/scores.json"))
    assert len(jobs) == 2
    printed = capsys.readouterr().out
    for job in jobs:
        run = run_in_mlflow(job.name)
        assert run.info.status == "FINISHED"
        assert run.data.metrics["test/macro_f1"] == RunRecord.read(job / "scores.json").test["macro_f1"]
        assert b"\7mysweep" in in_wandb(job)  # as a text of its own, of seven letters: the group
        assert f"wandb sync {job}" in printed


@pytest.mark.parametrize("package", ["mlflow", "wandb", "tensorboard"])
def test_a_package_that_is_not_installed_is_one_sentence_with_its_extra(
    package: str, here: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert command(*SMALL, f"logger={package}", f"hydra.run.dir={here / f'no_{package}'}") == 2
    error = capsys.readouterr().err
    assert f"'ecg-lightning[{package}]'" in error
    assert len(error.splitlines()) == 1


def test_a_server_that_does_not_answer_at_the_start_ends_before_training(
    here: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    assert command(*SMALL, "logger=mlflow", f"hydra.run.dir={here / 'unreachable'}") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert all(word in last for word in (SERVER, "logger=mlflow", "MLFLOW_TRACKING_URI"))
    assert not (here / "unreachable" / "checkpoints").exists()


def test_a_server_that_fails_later_loses_nothing_of_the_run(
    here: Path, command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_batch = MlflowClient.log_batch

    def failing(client: MlflowClient, *arguments: Any, **settings: Any) -> Any:
        if "metrics" in settings:
            raise ConnectionError("the server has gone")
        return log_batch(client, *arguments, **settings)

    monkeypatch.setattr(MlflowClient, "log_batch", failing)
    folder = here / "lost"
    assert command(*SMALL, "logger=mlflow", f"hydra.run.dir={folder}") == 0
    assert RunRecord.read(folder / "scores.json").epochs == 2
    warnings = [line for line in capsys.readouterr().out.splitlines() if "the server has gone" in line]
    assert len(warnings) == 2  # at the first point of the curves, and at the end
    assert all(str(folder) in line for line in warnings)


def test_an_address_with_a_password_is_refused_as_settings_are_published(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*SMALL, "logger=mlflow", "logger.mlflow.tracking_uri=https://me:secret@server") == 2
    assert "MLFLOW_TRACKING_URI" in capsys.readouterr().err
