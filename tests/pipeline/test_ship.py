"""From a run to weights that ship, and their names where a checkpoint is taken."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ecg_lightning as ecg
from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.core.weights import read_weights, shipped_weights
from ecg_lightning.pipeline.ship import make_weights
from ecg_lightning.training.checkpoint import read_checkpoint

SMALL = ["dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "trainer=cpu",
         "trainer.max_epochs=1", "report=none", "model.channels=4", "model.hidden=4"]  # fmt: skip


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of the two folds of a cross-validation, each also tested elsewhere."""
    cache, folders = tmp_path_factory.mktemp("cache"), []
    for fold in (0, 1):
        folders.append(tmp_path_factory.mktemp("fold"))
        words = [*SMALL, f"cache_dir={cache}", "split=patient", f"split.fold={fold}", "split.n_folds=2"]
        ecg.train(ecg.compose(words, output_dir=folders[-1]))
    return folders


@pytest.fixture(scope="module")
def weights(folds: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of one of them, made by the command."""
    folder = tmp_path_factory.mktemp("weights")
    words = ["weights", "make", str(folds[0]), "--name", "mine", "--title", "A try", "--output", str(folder)]
    run = CliRunner().invoke(app, [*words, "--expected", str(folds[0]), "--expected", str(folds[1])])
    assert run.exit_code == 0, run.output
    return Path(run.stdout.strip())


def test_weights_predict_what_their_run_predicts(folds: list[Path], weights: Path) -> None:
    run, shipped = (read_checkpoint(path) for path in (folds[0], weights))
    assert shipped.hyperparameters is not None and shipped.model == "cnet" and shipped.input == run.input
    assert (shipped.epoch, shipped.scores) == (run.epoch, run.scores)
    assert all(shipped.weights[name].equal(weight) for name, weight in run.weights.items())
    again = ecg.evaluate(weights, data_dir=folds[0], device="cpu")
    assert again.test["confusion"] == ecg.evaluate(folds[0], device="cpu").test["confusion"]


def test_the_card_states_expected_scores_of_all_folds_and_no_place_of_the_training(
    folds: list[Path], weights: Path
) -> None:
    card = read_weights(weights).card
    (expected,) = card["expected"]
    pooled = sum(ecg.evaluate(fold, device="cpu").n_tested for fold in folds)
    assert expected["beats"] == pooled == sum(of["support"] for of in expected["classes"].values())
    assert "each of 2 folds is tested" in expected["protocol"]
    assert (card["kind"], card["title"]) == ("beats", "A try") and card["trained_on"]["patients"]["test"] == 3
    assert str(folds[0].parent) not in json.dumps(card)


def test_a_network_starts_from_weights(folds: list[Path], weights: Path, tmp_path: Path) -> None:
    words = [*SMALL, "dataset=synthetic_mi", "task=mi", "transfer=finetune", f"transfer.checkpoint={weights}"]
    ecg.train(ecg.compose([*words, "split=patient", f"cache_dir={tmp_path / 'cache'}"], output_dir=tmp_path / "run"))
    assert read_checkpoint(tmp_path / "run").about["origin"]["file"] == "mine.safetensors"


def test_a_name_of_weights_that_ship_stands_for_them_unless_a_folder_has_it(
    folds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_checkpoint("cnet").path.name == "cnet.safetensors"
    (tmp_path / "cnet").symlink_to(folds[0])
    assert read_checkpoint("cnet").path == Path("cnet/checkpoints/best.ckpt")
    with pytest.raises(CheckpointError, match=r"nowhere is not there.* or one of the weights that ship: .*cnet"):
        read_checkpoint("nowhere")


def test_the_list_names_every_weights_with_the_command_that_trains_them() -> None:
    run = CliRunner().invoke(app, ["weights", "list"], env={"COLUMNS": "200"})
    assert run.exit_code == 0
    assert all(name in run.stdout and card["command"] in run.stdout for name, card in shipped_weights().items())
    assert json.loads(CliRunner().invoke(app, ["weights", "list", "--json"]).stdout) == shipped_weights()


def test_damaged_weights_and_impossible_names_are_one_sentence(weights: Path, folds: list[Path]) -> None:
    with pytest.raises(ConfigError, match="expected letters"):
        make_weights(folds[0], "../mine", title="")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged: the arrays do not have the checksum"):
        read_checkpoint(weights)
