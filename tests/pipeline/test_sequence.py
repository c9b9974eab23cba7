"""Runs over the sequence of beats: tested, annotating, exported, reported as any other, and from simulated people."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.recording import Recording
from ecg_lightning.pipeline.annotate import annotate
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.export import export
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.pipeline.train import train
from ecg_lightning.report import write_report
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint

SMALL = ["dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "split=patient"]
QUICK = ["trainer=cpu", "trainer.max_epochs=1", "report=none", "callbacks.progress=null"]
NETWORK = ["model=cnet", "model.channels=4", "model.hidden=4", "context=rr"]
SEQUENCE = ["sequence=beats", "sequence.beats=16", "sequence.width=8", "sequence.dilations=[1,2]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all runs and their cache."""
    return tmp_path_factory.mktemp("sequence")


@pytest.fixture(scope="module", params=["convolution", "s4d"])
def run(request: pytest.FixtureRequest, folder: Path) -> Path:
    words = [*SMALL, *QUICK, *NETWORK, *SEQUENCE, f"cache_dir={folder / 'cache'}", f"sequence.layers={request.param}"]
    train(compose([*words, "augmentation.balance_classes=[S,V]"], output_dir=folder / request.param))
    return folder / request.param


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Three minutes of one simulated person."""
    small = ("dataset.simulation.patients=2", "dataset.simulation.minutes=3")
    config = validated(compose(["dataset=synthetic", *small], output_dir="."))
    return next(iter(make_source(config["dataset"], config["context"], Path()).recordings()))  # type: ignore[attr-defined]


def test_evaluate_gives_the_scores_of_the_run(run: Path) -> None:
    record = RunRecord.read(run / "scores.json")
    assert evaluate(run, cache_dir=run.parent / "cache", device="cpu").test == record.test
    assert record.context.beats_around == 3


def test_annotations_do_not_depend_on_groups_and_are_those_of_the_exported_file(
    run: Path, recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    export(run, tmp_path / "model.onnx", cache_dir=run.parent / "cache")
    once = annotate(recording, load_predictor(run), detector="xqrs")
    exported = annotate(recording, load_predictor(tmp_path / "model.onnx"), detector="xqrs")
    monkeypatch.setattr("ecg_lightning.pipeline.annotate.GROUP", 16)
    grouped = annotate(recording, load_predictor(run), detector="xqrs")
    assert len(once) > 100
    for other in (exported, grouped):
        np.testing.assert_array_equal(other["class"], once["class"])
        np.testing.assert_allclose(other.filter(like="p_"), once.filter(like="p_"), atol=1e-4)


def test_inspect_states_the_sequence_and_whose_balance(run: Path) -> None:
    shown = CliRunner().invoke(app, ["inspect", str(run)], env={"COLUMNS": "300"}).stdout
    assert "balance 0.5; balance of classes S, V" in shown
    assert "dilations=1, 2, dropout=0.2)" in shown


def test_the_page_says_why_it_shows_no_saliency(run: Path) -> None:
    page = write_report([run]).read_text(encoding="utf-8")
    assert "the output of this model depends on the beats around each" in page
    assert "Most confident errors" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["split=random"], "beats of one recording are in several folds; choose a split by patient"),
        (["augmentation=mixup"], "sequence=beats learns from beats as they follow each other: choose"),
        (["model=logistic_regression"], "model=logistic_regression cannot use sequence.beats=16"),
        (["augmentation.balance_classes=[S,X]"], "augmentation.balance_classes=X: expected classes of the dataset"),
    ],
)
def test_what_makes_no_sequence_is_one_sentence(folder: Path, words: list[str], message: str) -> None:
    settings = [*SMALL, *QUICK, *([] if "model=" in words[0] else NETWORK), *SEQUENCE, *words]
    with pytest.raises(ConfigError, match=message) as error:
        build(compose([*settings, f"cache_dir={folder / 'cache'}"], output_dir="unused"))
    assert "\n" not in str(error.value)


def test_a_network_of_simulated_people_starts_one_of_recordings_by_the_command(
    command: Callable[..., int], folder: Path, tmp_path: Path
) -> None:
    few = ["dataset.people.people=30", "dataset.people.beats=64", "sequence.beats=32", "optimizer.batch_size=64"]
    cache = f"cache_dir={folder / 'cache'}"
    assert command("experiment=simulated_people", *few, *QUICK, cache, f"hydra.run.dir={tmp_path / 'rhythm'}") == 0
    start = RunRecord.read(tmp_path / "rhythm" / "scores.json")
    assert start.synthetic and start.fold == "validation"
    words = ["experiment=unseen_people", *SMALL, *QUICK, cache, f"transfer.checkpoint={tmp_path / 'rhythm'}"]
    assert command(*words, "test_on=[]", f"hydra.run.dir={tmp_path / 'run'}") == 0
    record = RunRecord.read(tmp_path / "run" / "scores.json")
    assert record.transfer == "rhythm" and len(record.leads) == 2
    assert read_checkpoint(tmp_path / "run").about["origin"]["data"]["dataset"] == "simulated_people"
