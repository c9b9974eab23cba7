"""``ecg-lightning train``: messages, exit codes, plugins, two processes, Ctrl-C; sweeps are in test_jobs.py."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import filelock
import pytest
import torch

from ecg_lightning.metrics.scoring import score
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose, override
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.load import load_checkpoint
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.runs.schema import RunRecord

ROOT = Path(__file__).parents[2]
SMALL = ["dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "report=none"]
DDP = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]


class Finished(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Finished]


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(
    cache_dir: Path,
    tmp_path: Path,
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """``python train.py …`` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECG_CACHE_DIR", str(cache_dir))
    monkeypatch.setenv("ECG_DATA_DIR", str(cache_dir / "no_data"))
    return lambda *arguments: Finished(command(*arguments, program=[str(ROOT / "train.py")]), *capsys.readouterr())


def test_without_data_one_line_names_the_command_that_downloads_them(run: Run, tmp_path: Path) -> None:
    status, out, err = run(f"hydra.run.dir={tmp_path / 'run'}")
    assert (status, out) == (2, "")
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    assert "ecg-lightning data fetch mitbih" in err
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_unknown_network_lists_the_known_ones(run: Run) -> None:
    status, _, err = run("model=resnet")
    assert status == 2
    assert all(word in err for word in ("resnet", *(file.stem for file in (ROOT / "conf" / "model").glob("*.yaml"))))
    assert err.startswith("error: ") and len(err.splitlines()) == 1


def test_an_unknown_setting_lists_the_known_ones(run: Run) -> None:
    status, _, err = run("optimizer.learning_rate=0.1")
    assert status == 2
    assert all(word in err for word in ("learning_rate", "lr", "weight_decay", "schedule", "warmup", "steps"))
    assert err.startswith("error: ") and len(err.splitlines()) == 1


def test_a_setting_out_of_range_is_one_line_before_anything_is_read(run: Run) -> None:
    status, out, err = run("optimizer.lr=-1")
    assert (status, out) == (2, "")
    assert "optimizer.lr=-1" in err and len(err.splitlines()) == 1


def test_the_configuration_can_be_printed(run: Run) -> None:
    status, out, err = run("--cfg", "job", "model=seq")
    assert status == 0, err
    assert "name: seq" in out and "monitor: val/macro_f1" in out


def test_help_lists_all_choices_and_the_users_own(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_text("name: mine\n")
    status, out, _ = run("--help", "--config-dir", "own")
    assert status == 0
    listed = {line.partition(": ")[0]: line.partition(": ")[2].split(", ") for line in out.splitlines() if ": " in line}
    assert "mine" in listed["model"]
    for group in ("model", "task", "dataset", "split", "trainer", "augmentation", "recipe"):
        files = {file.stem for file in (ROOT / "conf" / group).glob("*.yaml") if not file.stem.startswith("_")}
        assert set(listed[group]) - {"mine"} == files


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['train.py', '--help']\n"
        "from ecg_lightning.cli.train import main; main()\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = answer.stdout.rpartition("LOADED")[2].split()
    assert not {"torch", "hydra", "omegaconf", "numpy", "pandas", "pydantic"} & set(loaded)


NETWORK = """
from torch import nn
import ecg_lightning as ecg
from ecg_lightning.models import BeatModel

@ecg.register_model("tiny")
class Tiny(BeatModel):
    def __init__(self, *, n_outputs=5, length=187, leads=1, width=4):
        super().__init__(width=width, hidden=4, n_outputs=n_outputs, dropout=0.0)
        self.backbone = nn.Linear(leads * length, width)

    def forward_features(self, signals, lengths):
        return self.backbone(signals.flatten(1)).relu()
"""

DATABASE = """
import dataclasses
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.card import Simulation
from ecg_lightning.data.databases.synthetic import Synthetic

class Clinic(CardSource):
    classes = ("N", "S", "V", "F", "Q")

    def files(self):
        return []

    def settings(self):
        return super().settings() | {"ward": self.card.own["ward"]}

    def read(self):
        ward = Simulation(patients=4, minutes=1.0, fs=360.0, noise=0.02, seed=self.card.own["ward"])
        card = self.card.model_copy(update={"simulation": ward})
        beats = Synthetic(card=card, data_dir=self.data_dir, cut=self.cut, context=self.context).read()
        return dataclasses.replace(beats, origin=self.settings())
"""


CLINIC = "defaults: [_database, _self_]\nname: clinic\nreader: clinic\nown: {ward: 3}\n"


def test_a_network_of_another_package_is_listed_trained_and_loaded(
    run: Run, tmp_path: Path, plugin: Callable[..., None]
) -> None:
    plugin(
        "ecg_lightning.models",
        "tiny = own_package.tiny",
        **{
            "own_package/__init__.py": "",
            "own_package/tiny.py": NETWORK,
            "own_package/conf/model/tiny.yaml": "name: tiny\nwidth: 4\n",
        },
    )
    plugin("ecg_lightning.conf", "own = own_package.conf")
    assert "tiny" in run("--help").out
    folder = tmp_path / "run"
    status, _, err = run(*SMALL, "model=tiny", "trainer=cpu", "trainer.max_epochs=1", f"hydra.run.dir={folder}")
    assert status == 0, err
    assert RunRecord.read(folder / "scores.json").model == "tiny"
    assert load_checkpoint(folder).n_parameters > 0


def test_a_database_of_another_package_is_trained_on_and_evaluated(
    run: Run, tmp_path: Path, plugin: Callable[..., None]
) -> None:
    plugin(
        "ecg_lightning.databases",
        "clinic = clinic.source:Clinic",
        **{
            "clinic/__init__.py": "",
            "clinic/source.py": DATABASE,
            "clinic/conf/dataset/clinic.yaml": CLINIC,
        },
    )
    plugin("ecg_lightning.conf", "clinic_conf = clinic.conf")
    folder = tmp_path / "run"
    status, _, err = run("dataset=clinic", "model=majority", "report=none", f"hydra.run.dir={folder}")
    assert status == 0, err
    record = RunRecord.read(folder / "scores.json")
    assert (record.dataset, record.synthetic) == ("clinic", False)
    assert evaluate(folder).test == record.test
    assert evaluate(folder, on="clinic").n == {"train": 0, "validation": 0, "test": sum(record.n.values())}
    status, _, err = run("dataset=clinic", "dataset.reader=hospital", "model=majority")
    assert status == 2
    assert all(word in err for word in ("hospital", "wfdb", "rows", "simulation", "clinic"))


def test_a_package_that_cannot_be_imported_is_named(run: Run, plugin: Callable[..., None]) -> None:
    plugin("ecg_lightning.models", "broken = no_such_module", name="broken-package")
    status, _, err = run(*SMALL)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert all(word in err for word in ("broken-package", "no_such_module", "ModuleNotFoundError"))


def test_a_second_run_in_a_folder_in_use_is_refused(run: Run, tmp_path: Path) -> None:
    with filelock.FileLock(tmp_path / ".lock"):
        status, _, err = run(*SMALL, f"hydra.run.dir={tmp_path}")
    assert status == 2
    assert str(tmp_path) in err and len(err.splitlines()) == 1


def environment(cache_dir: Path) -> dict[str, str]:
    return os.environ | {"ECG_CACHE_DIR": str(cache_dir), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def test_two_processes_score_every_beat_once(cache_dir: Path, tmp_path: Path) -> None:
    # Trained enough to predict several classes: a network that predicts only N would hide errors in counting.
    quick = ["model=bigru", "model.width=16", "optimizer.lr=0.02", "optimizer.batch_size=8", "trainer.max_epochs=4"]
    settings = [*SMALL, *quick, "split.validation_fraction=0.3"]
    run = subprocess.run(
        [sys.executable, "-m", "ecg_lightning", "train", *settings, *DDP, f"hydra.run.dir={tmp_path}"],
        cwd=tmp_path, env=environment(cache_dir), capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    epochs = [line.split()[1] for line in run.stderr.splitlines() if line.startswith("epoch ")]
    assert len(epochs) == len(set(epochs))  # one of the two prints
    assert run.stdout.count("Results in ") == 1
    record = RunRecord.read(tmp_path / "scores.json")

    # The same folds as in one process.
    overrides = [*settings, "trainer=cpu", f"cache_dir={cache_dir}"]
    datamodule = build(compose(overrides, output_dir=tmp_path / "one")).datamodule
    tested = datamodule.beats.select(datamodule.folds.test)
    table, _ = read_predictions(tmp_path / "predictions.parquet")
    assert len(table) == record.n["test"] == len(tested)
    assert tested.samples is not None and tested.records is not None
    assert table["sample"].tolist() == tested.samples.tolist()
    assert table["record"].tolist() == tested.records.tolist()
    assert score_predictions(tmp_path / "predictions.parquet") == record.test

    # Validation is over the beats of both, none of them twice.
    beats = datamodule.beats.select(datamodule.folds.validation)
    probabilities = load_checkpoint(tmp_path, device="cpu").predict_proba(beats)
    expected = score(beats.known_labels, probabilities, beats.classes)
    assert record.val.macro_f1 == pytest.approx(expected["macro_f1"], abs=1e-6)
    assert record.val.accuracy == pytest.approx(expected["accuracy"], abs=1e-6)
    assert len(set(probabilities.argmax(axis=1))) > 1


def test_the_command_printed_on_ctrl_c_of_two_processes_resumes_the_run(
    cache_dir: Path, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "a=b, ü"
    settings = [*SMALL, *DDP, "optimizer.batch_size=8", "callbacks.early_stopping=null", "trainer.max_epochs=5000"]
    settings += ["optimizer.schedule=constant"]  # to be resumed for fewer steps
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *settings, override("hydra.run.dir", folder)],
        cwd=ROOT,
        env=environment(cache_dir),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Processes that a shell starts in the background, perhaps these tests, and their children ignore SIGINT.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    lines: Any = iter(process.stderr.readline, "")
    assert any(line.startswith("epoch ") for line in lines)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert not (folder / "scores.json").exists()
    step = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert step >= 2

    program, script, *words = shlex.split(stderr.splitlines()[-1].partition("resume with: ")[2])
    assert program.startswith("python") and Path(script) == ROOT / "train.py"
    one_process = ["trainer.strategy=auto", "trainer.devices=1"]
    status, _, err = run(*words, *one_process, "trainer.max_epochs=null", f"trainer.max_steps={step + 10}")
    assert status == 0, err
    assert RunRecord.read(folder / "scores.json").steps == step + 10
