"""Testing a checkpoint from itself alone: the run's own figures to the digit, other beats, and what does not fit."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.models import create_model, model_names
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import SYNTHETIC, evaluate
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.training.checkpoint import read_checkpoint

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "source=synthetic",
    "source.patients=8",
    "source.minutes=1",
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
    return make_run("task=mi", "seed=3")


def filed(folder: Path) -> dict[str, Any]:
    scores: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    return scores


@pytest.mark.parametrize("name", model_names())
def test_the_same_figures_as_the_runs_own_test_to_the_digit(
    name: str, make_run: MakeRun, cache: Path, tmp_path: Path
) -> None:
    folder = make_run(f"model={name}", "split=patient", "split.fold=1", "split.n_folds=3", "split.train_size=0.5")
    # Nothing but the checkpoint is needed.
    alone = shutil.copy(folder / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    scores = evaluate(alone, cache_dir=cache, output_dir=tmp_path / "again", device="cpu")
    own = filed(folder)
    assert scores["test"] == own["test"] == filed(tmp_path / "again")["test"]
    assert scores["val"] == own["val"]
    same = own.keys() - {"wall_s", "epochs", "steps", "started", "config_digest"}
    assert {key: scores[key] for key in same} == {key: own[key] for key in same}
    assert scores["warning"] is None
    tables = [read_predictions(where / "predictions.parquet")[0] for where in (folder, tmp_path / "again")]
    assert tables[0].equals(tables[1])
    assert score_predictions(tmp_path / "again" / "predictions.parquet") == own["test"]


def test_a_checkpoint_from_before_losses_and_resampling_had_settings(
    finished: Path, cache: Path, tmp_path: Path
) -> None:
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    told = checkpoint["hyper_parameters"]
    del told["loss"], told["class_counts"], told["about"]["config"]["loss"]
    old = {"name": "light", "resampling": "none", "transforms": {"noise": {"sigma": 0.02}}}
    told["about"]["config"]["augmentation"] = old
    torch.save(checkpoint, tmp_path / "old.ckpt")
    scores = evaluate(tmp_path / "old.ckpt", cache_dir=cache, device="cpu")
    assert scores["test"] == filed(finished)["test"]
    assert (scores["resampling"], scores["loss"]) == ("none", "cross_entropy")


def test_the_command_prints_the_table_and_writes_nothing_unless_asked(finished: Path, cache: Path) -> None:
    before = sorted(finished.rglob("*"))
    printed = CliRunner().invoke(app, ["evaluate", str(finished), "--cache-dir", str(cache), "--device", "cpu"])
    assert printed.exit_code == 0, printed.output
    assert "cnet on mi: test scores in percent" in printed.stdout
    assert f"{100 * filed(finished)['test']['macro_f1']:.2f}"[:5] in printed.stdout
    assert "SYNTHETIC" in printed.stdout
    assert printed.stderr == ""
    assert sorted(finished.rglob("*")) == before


def test_another_seed_tests_other_beats_and_says_that_they_may_be_known(finished: Path, cache: Path) -> None:
    options = ["--seed", "5", "--cache-dir", str(cache), "--device", "cpu"]
    printed = CliRunner().invoke(app, ["evaluate", str(finished), *options])
    assert printed.exit_code == 0, printed.output
    assert "warning: the split is not the one of its training" in " ".join(printed.stderr.split())
    scores = evaluate(finished, seed=5, cache_dir=cache, device="cpu")
    assert scores["protocol"].endswith("seed 5")
    assert "the figures be too good" in scores["warning"]
    # The same as asked for in other words is no other split.
    assert evaluate(finished, seed=3, split="random", source="synthetic", cache_dir=cache)["warning"] is None


def test_another_split_tests_other_beats(finished: Path, cache: Path, tmp_path: Path) -> None:
    scores = evaluate(finished, split="patient", cache_dir=cache, output_dir=tmp_path, device="cpu")
    assert scores["split"] == "patient"
    assert scores["warning"]
    table, _ = read_predictions(tmp_path / "predictions.parquet")
    assert table["patient"].nunique() == 2


def test_the_validation_fold_gives_the_validation_scores(
    finished: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = evaluate(finished, fold="validation", cache_dir=cache, device="cpu")
    assert scores["test"]["macro_f1"] == pytest.approx(filed(finished)["val"]["macro_f1"], abs=1e-6)
    assert sum(one["support"] for one in scores["test"]["per_class"].values()) == scores["n"]["validation"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "validation scores in percent" in printed
    assert f"{scores['n']['validation']} validation beats" in printed


def test_a_test_of_real_weights_on_simulated_beats_takes_the_settings_of_conf() -> None:
    assert yaml.safe_load((CONF / "source" / "synthetic.yaml").read_text()) == SYNTHETIC


def test_beats_that_do_not_fit_are_one_sentence(make_run: MakeRun, cache: Path, tmp_path: Path) -> None:
    heartbeat = tmp_path / "heartbeat"
    heartbeat.mkdir()
    for name, label in (("normal", 0), ("abnormal", 1)):
        rows = [",".join([f"0.{number}", *[f"0.{label}5"] * 186, str(label)]) for number in range(10, 60)]
        (heartbeat / f"ptbdb_{name}.csv").write_text("\n".join(rows) + "\n")
    folder = make_run("task=mi", "dataset.cut.fs=250", "trainer.max_epochs=1")
    with pytest.raises(ConfigError, match=r"knows beats of 187 samples at 250 Hz, these have 187 at 125 Hz"):
        evaluate(folder, source="kaggle", data_dir=tmp_path, cache_dir=cache)


def test_what_is_no_whole_checkpoint_is_one_sentence(finished: Path, cache: Path, tmp_path: Path) -> None:
    torch.save(create_model("cnet", n_outputs=1, length=187).state_dict(), tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match=r"plain.pth holds weights alone, without their task"):
        evaluate(tmp_path / "plain.pth", cache_dir=cache)

    def changed(change: Callable[[dict[str, Any]], Any]) -> Path:
        content = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
        change(content)
        torch.save(content, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    with pytest.raises(CheckpointError, match=r"does not tell the data it was trained with"):
        evaluate(changed(lambda content: content["hyper_parameters"]["about"].pop("config")), cache_dir=cache)
    with pytest.raises(CheckpointError, match=r"keeps a configuration that lacks or garbles 'source'"):
        evaluate(changed(lambda content: content["hyper_parameters"]["about"]["config"].pop("source")), cache_dir=cache)
    with pytest.raises(CheckpointError, match=r"contradicts itself: .*fc1.bias"):
        evaluate(changed(lambda content: content["state_dict"].pop("model.fc1.bias")), cache_dir=cache)
    with pytest.raises(CheckpointError, match=r"contradicts itself: .*surprise"):
        evaluate(changed(lambda content: content["hyper_parameters"].update(surprise=1)), cache_dir=cache)


def test_a_run_starts_from_another_and_tells_so(make_run: MakeRun, cache: Path, tmp_path: Path) -> None:
    source = make_run()
    overrides = [*SMALL, f"cache_dir={cache}", "task=mi", f"transfer.checkpoint={source}"]
    for arm in ("head_only", "last_layer", "finetune"):
        folder = tmp_path / arm
        scores = train(compose([*overrides, f"transfer={arm}"], output_dir=folder, config_dir=CONF))
        assert scores["transfer"] == arm
        start, end = read_checkpoint(source).weights, read_checkpoint(folder).weights
        kept = {name for name in start if start[name].equal(end[name])}
        assert kept == (set() if arm == "finetune" else {name for name in start if not name.startswith("fc")})
        assert read_checkpoint(folder).about["origin"]["task"] == "arrhythmia"


def test_none_of_a_sweep_over_the_arms_starts_from_fresh_weights(
    make_run: MakeRun, finished: Path, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    overrides = [*SMALL, f"cache_dir={cache}", "task=mi", f"transfer.checkpoint={finished}"]
    fresh = build(compose(overrides, output_dir=tmp_path, config_dir=CONF)).classifier
    assert "is not read" in caplog.text
    assert fresh.hparams["about"]["origin"] is None
    plain = build(compose([*SMALL, f"cache_dir={cache}", "task=mi"], output_dir=tmp_path, config_dir=CONF)).classifier
    assert all(plain.state_dict()[name].equal(weight) for name, weight in fresh.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["transfer=head_only"], ConfigError, "transfer=head_only has nothing to start from"),
        (["transfer=finetune", "transfer.checkpoint=gone.ckpt"], CheckpointError, "gone.ckpt is not there"),
        (["transfer=finetune", "model=seq", "transfer.checkpoint={best}"], CheckpointError, "holds a cnet"),
        (["ckpt_path={best}", "model.hidden=16"], ConfigError, "cannot be resumed: its run had model"),
        (["ckpt_path={best}", "task=arrhythmia"], ConfigError, "its run had task mi, this one has arrhythmia"),
        (["ckpt_path={text}"], CheckpointError, "text.ckpt is cut off, damaged or no checkpoint"),
        (["ckpt_path={plain}"], ConfigError, "plain.pth holds weights alone"),
        (
            ["transfer=finetune", "transfer.checkpoint={best}", "transfer.frozen_epochs=1", "trainer=ddp",
             "trainer.accelerator=cpu", "trainer.devices=2"],
            ConfigError,
            "frozen_epochs needs a single device",
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_cannot_be_started_from_is_refused_before_training(
    overrides: list[str], error: type[Exception], message: str, finished: Path, cache: Path, tmp_path: Path
) -> None:
    text, plain = tmp_path / "text.ckpt", tmp_path / "plain.pth"
    text.write_text("a text\n")
    torch.save(create_model("cnet", n_outputs=1, length=187).state_dict(), plain)
    best = finished / "checkpoints" / "best.ckpt"
    filled = [override.format(best=best, text=text, plain=plain) for override in overrides]
    cfg = compose([*SMALL, f"cache_dir={cache}", "task=mi", *filled], output_dir=tmp_path / "run", config_dir=CONF)
    with pytest.raises(error, match=message):
        train(cfg)
    assert not (tmp_path / "run").exists()


def test_all_beats_of_a_file_are_tested(finished: Path, cache: Path, tmp_path: Path) -> None:
    """The beats of the run's own test fold, written as Kaggle writes beats, give its figures."""
    cfg = compose([*SMALL, "task=mi", "seed=3", f"cache_dir={cache}"], output_dir=tmp_path, config_dir=CONF)
    datamodule = build(cfg).datamodule
    test = datamodule.beats.select(datamodule.folds.test)
    rows = np.column_stack([test.signals[:, 0], test.known_labels])
    np.savetxt(tmp_path / "mine.csv", rows, delimiter=",")
    answer = CliRunner().invoke(app, ["evaluate", str(finished), "--csv", str(tmp_path / "mine.csv")])
    assert answer.exit_code == 0, answer.output
    scores = evaluate(finished, csv=tmp_path / "mine.csv", output_dir=tmp_path / "out")
    # A file of beats tells no patients: its intervals are of beats.
    own = filed(finished)["test"]
    assert (scores["test"].pop("intervals")["resampled"], own.pop("intervals")["resampled"]) == ("beats", "patients")
    assert scores["test"] == own
    assert scores["split"] == "all"


def test_a_file_leaves_nothing_to_split(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no other source, split, seed or fold"):
        evaluate(finished, csv=tmp_path / "mine.csv", split="patient")


def test_a_run_with_rhythm_is_tested_to_the_digit_and_on_no_beats_without(
    make_run: MakeRun, cache: Path, tmp_path: Path, finished: Path
) -> None:
    folder = make_run("context=rr")
    scores = evaluate(folder, cache_dir=cache, device="cpu")
    assert scores["test"] == filed(folder)["test"] and scores["context"] == "rhythm"
    assert filed(finished)["context"] == "none"
    row = ",".join(["0.5"] * 187)
    (tmp_path / "beats.csv").write_text("".join(f"{row},{label}\n" for label in range(5)))
    with pytest.raises(ConfigError, match=r"knows beats that come with \(previous RR .*these come without"):
        evaluate(folder, csv=tmp_path / "beats.csv", cache_dir=cache, device="cpu")
    with pytest.raises(ConfigError, match=r"Kaggle's files hold beats from their R peak on"):
        evaluate(folder, source="kaggle", cache_dir=cache, device="cpu")


def test_simulated_beats_are_not_split_into_ds1_and_ds2(finished: Path, cache: Path) -> None:
    options = ["--split", "ds1_ds2", "--cache-dir", str(cache), "--device", "cpu"]
    printed = CliRunner().invoke(app, ["evaluate", str(finished), *options])
    assert printed.exit_code == 2
    assert "ptbdb-000" in printed.stderr and "ds1_ds2" in printed.stderr
