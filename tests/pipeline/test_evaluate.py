"""Testing a checkpoint from itself alone: the run's own metrics to the digit, other beats, and what does not fit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.models import create_model, list_models, settings_of
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate, plain_config
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.estimator import NetworkEstimator

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "dataset=synthetic",
    "dataset.simulation.patients=8",
    "dataset.simulation.minutes=1",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "report=none",
]

MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> MakeRun:
    """Train for moments and give the folder."""

    def make(*overrides: str) -> Path:
        folder = tmp_path_factory.mktemp("run")
        train(compose([*SMALL, f"cache_dir={cache}", *overrides], output_dir=folder, config_dir=CONF))
        return folder

    return make


@pytest.fixture(scope="module")
def finished(make_run: MakeRun) -> Path:
    return make_run("dataset=synthetic_mi", "seed=3")


def filed(folder: Path) -> RunRecord:
    return RunRecord.read(folder / "scores.json")


def of_both(record: RunRecord) -> RunRecord:
    """The record without what only a run has, so that it compares with an evaluation."""
    of_a_run = ("kind", "wall_s", "epochs", "steps", "started", "config_digest", "config", "overrides")
    return record.model_copy(update=dict.fromkeys((*of_a_run, "metrics_sha256", "checkpoint", "calibration")))


@pytest.mark.parametrize("name", list_models())
def test_the_metrics_equal_those_of_the_run_to_the_digit(
    name: str, make_run: MakeRun, cache: Path, tmp_path: Path
) -> None:
    quick = ["model.max_iter=5"] * ("max_iter" in settings_of(name))
    split = ["split=patient", "split.fold=1", "split.n_folds=3", "split.train_size=0.5"]
    folder = make_run(f"model={name}", *split, *quick)
    # Nothing but the checkpoint is needed.
    alone = shutil.copy(folder / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    found = evaluate(alone, cache_dir=cache, output_dir=tmp_path / "again", device="cpu")
    own = filed(folder)
    assert found == filed(tmp_path / "again")
    assert (found.kind, found.checkpoint, found.warning) == ("evaluation", str(alone), None)
    assert of_both(found).model_copy(update={"predictions_sha256": None}) == of_both(own).model_copy(
        update={"predictions_sha256": None}
    )
    tables = [read_predictions(where / "predictions.parquet")[0] for where in (folder, tmp_path / "again")]
    assert tables[0].equals(tables[1])
    assert score_predictions(tmp_path / "again" / "predictions.parquet") == own.test


def test_a_checkpoint_of_format_1_gives_the_same_metrics(finished: Path, cache: Path, tmp_path: Path) -> None:
    content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    content["ecg_lightning"]["format"] = 1
    metadata = content["hyper_parameters"]
    metadata.update(length=metadata.pop("input")["length"], context=None)
    config = metadata["about"]["config"]
    metadata["transfer"] = config["transfer"] = {
        "arm": "none",
        "checkpoint": None,
        "backbone_lr": 1.0,
        "frozen_epochs": 0,
    }
    config["source"] = {"name": "synthetic", **config["dataset"]["simulation"]}
    config["dataset"] = {
        "name": "ptbdb", "lead": "ii", "recorded_fs": 1000, "drop_duplicates": True,
        "cut": {**config["dataset"]["cut"], "before": 0.0},
    }  # fmt: skip
    for new in ("context", "dropout", "test_on"):
        del config[new]
    for new in ("balance_patients", "balance_databases"):
        del config["augmentation"][new]
    torch.save(content, tmp_path / "old.ckpt")
    assert evaluate(tmp_path / "old.ckpt", cache_dir=cache, device="cpu").test == filed(finished).test


def test_a_checkpoint_with_a_group_source_gives_the_same_metrics(finished: Path, cache: Path, tmp_path: Path) -> None:
    """As format 2 was before databases had cards, and before there was a balance of people and databases."""
    content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    config = content["hyper_parameters"]["about"]["config"]
    config["source"] = {"name": "synthetic", **config["dataset"]["simulation"]}
    config["dataset"] = {
        "name": "ptbdb", "title": "PTB Diagnostic ECG Database", "folder": "ptbdb", "annotator": None,
        "class_map": None, "diagnoses": {"Healthy control": "normal", "Myocardial infarction": "MI"},
        "patients": "folder", "leads": ["ii"], "recorded_fs": 1000, "drop_duplicates": True,
        "cut": config["dataset"]["cut"],
    }  # fmt: skip
    del config["test_on"], config["augmentation"]["balance_patients"], config["augmentation"]["balance_databases"]
    torch.save(content, tmp_path / "old.ckpt")
    assert evaluate(tmp_path / "old.ckpt", cache_dir=cache, device="cpu").test == filed(finished).test


def test_the_command_prints_the_scores_and_writes_nothing_unless_asked(finished: Path, cache: Path) -> None:
    before = sorted(finished.rglob("*"))
    printed = CliRunner().invoke(app, ["evaluate", str(finished), "--cache-dir", str(cache), "--device", "cpu"])
    assert printed.exit_code == 0, printed.output
    assert f"{100 * filed(finished).test['macro_f1']:.2f}"[:5] in printed.stdout
    assert "SYNTHETIC" in printed.stdout
    assert printed.stderr == ""
    assert sorted(finished.rglob("*")) == before


def test_another_seed_tests_other_beats_with_a_warning(finished: Path, cache: Path) -> None:
    options = ["--seed", "5", "--cache-dir", str(cache), "--device", "cpu"]
    printed = CliRunner().invoke(app, ["evaluate", str(finished), *options])
    assert printed.exit_code == 0, printed.output
    assert "warning" in printed.stderr
    found = evaluate(finished, seed=5, cache_dir=cache, device="cpu")
    assert (found.protocol.seed, filed(finished).protocol.seed) == (5, 3)
    assert found.warning and "split" in found.warning
    # The same as asked for in other words is no other split.
    assert evaluate(finished, seed=3, split="random", cache_dir=cache).warning is None


def test_another_split_tests_other_beats(finished: Path, cache: Path, tmp_path: Path) -> None:
    found = evaluate(finished, split="patient", cache_dir=cache, output_dir=tmp_path, device="cpu")
    assert (found.protocol.name, found.protocol.by, found.protocol.seed) == ("patient", "patients", 3)
    assert found.warning
    table, _ = read_predictions(tmp_path / "predictions.parquet")
    assert table["patient"].nunique() == 2


def test_the_validation_fold_gives_the_validation_scores(finished: Path, cache: Path) -> None:
    found = evaluate(finished, fold="validation", cache_dir=cache, device="cpu")
    assert found.test["macro_f1"] == pytest.approx(filed(finished).val.macro_f1, abs=1e-6)
    assert sum(one["support"] for one in found.test["per_class"].values()) == found.n["validation"]
    assert found.fold == "validation"


def test_another_split_takes_its_settings_from_conf(make_run: MakeRun) -> None:
    trained = read_checkpoint(make_run()).about["config"]
    lists = plain_config(trained, split="ds1_ds2")["split"]
    assert (lists["protocol"], lists["name"], len(lists["test"])) == ("records", "ds1_ds2", 22)
    with pytest.raises(ConfigError, match="leave_one_out"):
        plain_config(trained, split="leave_one_out")


def test_beats_that_do_not_fit_are_one_sentence(make_run: MakeRun, cache: Path, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    heartbeat.mkdir()
    for name, label in (("normal", 0), ("abnormal", 1)):
        rows = [",".join([f"0.{number}", *[f"0.{label}5"] * 186, str(label)]) for number in range(20, 70)]
        (heartbeat / f"ptbdb_{name}.csv").write_text("\n".join(rows) + "\n")
    folder = make_run("dataset=synthetic_mi", "dataset.cut.fs=250", "trainer.max_epochs=1")
    with pytest.raises(ConfigError, match=r"250 Hz.*125 Hz"):
        evaluate(folder, on="kaggle_ptbdb", data_dir=tmp_path, cache_dir=cache)


def test_an_incomplete_checkpoint_is_one_sentence(finished: Path, cache: Path, tmp_path: Path) -> None:
    torch.save(create_model("cnet", n_outputs=1, length=187).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match=r"plain.pth .*weights alone"):
        evaluate(tmp_path / "plain.pth", cache_dir=cache)

    def changed(change: Callable[[dict[str, Any]], Any]) -> Path:
        content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
        change(content)
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    with pytest.raises(CheckpointError, match=r"changed.ckpt .*data"):
        evaluate(changed(lambda content: content["hyper_parameters"]["about"].pop("config")), cache_dir=cache)
    with pytest.raises(CheckpointError, match=r"changed.ckpt .*'dataset'"):
        evaluate(
            changed(lambda content: content["hyper_parameters"]["about"]["config"].pop("dataset")), cache_dir=cache
        )
    with pytest.raises(CheckpointError, match=r"changed.ckpt .*fc1.bias"):
        evaluate(changed(lambda content: content["state_dict"].pop("model.fc1.bias")), cache_dir=cache)
    with pytest.raises(CheckpointError, match=r"changed.ckpt .*surprise"):
        evaluate(changed(lambda content: content["hyper_parameters"].update(surprise=1)), cache_dir=cache)


def test_transfer_loads_weights_and_states_their_origin(make_run: MakeRun, cache: Path, tmp_path: Path) -> None:
    source = make_run()
    overrides = [*SMALL, f"cache_dir={cache}", "dataset=synthetic_mi", f"transfer.checkpoint={source}"]
    for mode in ("head_only", "last_layer", "finetune"):
        folder = tmp_path / mode
        scores = train(compose([*overrides, f"transfer={mode}"], output_dir=folder, config_dir=CONF))
        assert scores.transfer == mode
        start, end = read_checkpoint(source).weights, read_checkpoint(folder).weights
        kept = {name for name in start if start[name].equal(end[name])}
        assert kept == (set() if mode == "finetune" else {name for name in start if not name.startswith("fc")})
        assert read_checkpoint(folder).about["origin"]["task"] == "arrhythmia"


def test_mode_none_of_a_sweep_is_a_random_initialisation(
    finished: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    states = []
    for start in ([f"transfer.checkpoint={finished}"], []):
        cfg = compose(
            [*SMALL, f"cache_dir={cache}", "dataset=synthetic_mi", *start], output_dir=tmp_path, config_dir=CONF
        )
        estimator = build(cfg).estimator
        assert isinstance(estimator, NetworkEstimator)
        assert estimator.classifier.hparams["about"]["origin"] is None
        states.append(estimator.classifier.state_dict())
    assert "is not read" in caplog.text
    assert all(states[0][name].equal(weight) for name, weight in states[1].items())


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["transfer=head_only"], ConfigError, "transfer.*head_only"),
        (["transfer=finetune", "transfer.checkpoint=gone.ckpt"], CheckpointError, "gone.ckpt"),
        (["transfer=finetune", "model=seq", "transfer.checkpoint={best}"], CheckpointError, "holds the model cnet"),
        (["ckpt_path={best}", "model.hidden=16"], ConfigError, "resumed.*model.*16"),
        (["ckpt_path={best}", "dataset=synthetic", "task=arrhythmia"], ConfigError, "task mi.*arrhythmia"),
        (["ckpt_path={text}"], CheckpointError, "text.ckpt"),
        (["ckpt_path={plain}"], ConfigError, "plain.pth.*weights alone"),
        (
            ["transfer=finetune", "transfer.checkpoint={best}", "transfer.frozen_epochs=1", "trainer=ddp",
             "trainer.accelerator=cpu", "trainer.devices=2"],
            ConfigError,
            "frozen_epochs.*single device",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)  # fmt: skip
def test_an_impossible_start_is_refused_before_training(
    overrides: list[str], error: type[Exception], message: str, finished: Path, cache: Path, tmp_path: Path
) -> None:
    text, plain = tmp_path / "text.ckpt", tmp_path / "plain.pth"
    text.write_text("a text\n")
    torch.save(create_model("cnet", n_outputs=1, length=187).state_dict(), plain)
    best = finished / "checkpoints" / "best.ckpt"
    filled = [override.format(best=best, text=text, plain=plain) for override in overrides]
    cfg = compose(
        [*SMALL, f"cache_dir={cache}", "dataset=synthetic_mi", *filled], output_dir=tmp_path / "run", config_dir=CONF
    )
    with pytest.raises(error, match=message):
        train(cfg)
    assert not (tmp_path / "run").exists()


def test_all_beats_of_a_file_are_tested(finished: Path, cache: Path, tmp_path: Path) -> None:
    """The beats of the run's own test fold, written as Kaggle writes beats, give its metrics."""
    cfg = compose(
        [*SMALL, "dataset=synthetic_mi", "seed=3", f"cache_dir={cache}"], output_dir=tmp_path, config_dir=CONF
    )
    datamodule = build(cfg).datamodule
    test = datamodule.beats.select(datamodule.folds.test)
    rows = np.column_stack([test.signals[:, 0], test.known_labels])
    np.savetxt(tmp_path / "mine.csv", rows, delimiter=",")
    answer = CliRunner().invoke(app, ["evaluate", str(finished), "--csv", str(tmp_path / "mine.csv")])
    assert answer.exit_code == 0, answer.output
    scores = evaluate(finished, csv=tmp_path / "mine.csv", output_dir=tmp_path / "out")
    # A CSV file has no patients: intervals are over beats.
    own, found = dict(filed(finished).test), dict(scores.test)
    assert (found.pop("intervals")["resampled"], own.pop("intervals")["resampled"]) == ("beats", "patients")
    for name in ("by_quality", "recordings"):  # which a file of beats already cut does not state
        del own[name]
    assert found == own
    assert (scores.protocol.name, scores.protocol.by, scores.dataset) == ("all", "none", "mine.csv")


def test_a_csv_file_cannot_be_split(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="CSV"):
        evaluate(finished, csv=tmp_path / "mine.csv", split="patient")


def test_a_run_with_rhythm_refuses_beats_without_it(
    make_run: MakeRun, cache: Path, tmp_path: Path, finished: Path
) -> None:
    folder = make_run("context=rr")
    scores = evaluate(folder, cache_dir=cache, device="cpu")
    assert scores.test == filed(folder).test and scores.context.rhythm
    assert not filed(finished).context.rhythm
    row = ",".join(["0.5"] * 187)
    (tmp_path / "beats.csv").write_text("".join(f"{row},{label}\n" for label in range(5)))
    with pytest.raises(ConfigError, match=r"beats.csv holds single beats and nothing from before their R peak"):
        evaluate(folder, csv=tmp_path / "beats.csv", cache_dir=cache, device="cpu")
    with pytest.raises(ConfigError, match=r"kaggle_mitbih holds single beats"):
        evaluate(folder, on="kaggle_mitbih", cache_dir=cache, device="cpu")


def test_simulated_beats_are_not_split_into_ds1_and_ds2(finished: Path, cache: Path) -> None:
    options = ["--split", "ds1_ds2", "--cache-dir", str(cache), "--device", "cpu"]
    printed = CliRunner().invoke(app, ["evaluate", str(finished), *options])
    assert printed.exit_code == 2
    assert len(printed.stderr.splitlines()) == 1 and "ds1_ds2" in printed.stderr
