"""Descriptions of checkpoints and their differences."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.models import create_model
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.inspect import compare, describe
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint

CONF = Path(__file__).parents[2] / "conf"
SMALL = [
    "dataset=synthetic",
    "dataset.simulation.patients=6",
    "dataset.simulation.minutes=1",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "report=none",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of a run on arrhythmia and of one that starts from it on infarction."""
    folder = tmp_path_factory.mktemp("runs")
    cache = f"cache_dir={folder / 'cache'}"
    own = ["augmentation.mixup=0.3", "augmentation.transforms.noise=null"]
    train(compose([*SMALL, cache, *own], output_dir=folder / "arrhythmia", config_dir=CONF))
    transfer = ["dataset=synthetic_mi", "transfer=head_only", f"transfer.checkpoint={folder / 'arrhythmia'}"]
    train(compose([*SMALL, cache, *transfer], output_dir=folder / "mi", config_dir=CONF))
    return [folder / "arrhythmia", folder / "mi"]


def test_a_description_states_the_origin_of_a_run(runs: list[Path]) -> None:
    found = describe(read_checkpoint(runs[1]))
    scores = RunRecord.read(runs[1] / "scores.json")
    assert json.loads(json.dumps(found)) == found
    assert found["task"] == {"name": "mi", "classes": ["normal", "MI"], "positive": "MI"}
    assert (found["network"]["name"], found["network"]["settings"]["channels"]) == ("cnet", 32)
    assert (found["network"]["n_parameters"], found["network"]["n_frozen"]) == (53_825, 51_712)
    assert found["beats"]["fs"] == 125 and found["beats"]["length"] == 187
    assert found["beats"]["cut"] == {"rr_factor": 1.2, "margin": 3, "before": 0.0, "scaling": "beat"}
    assert found["data"]["dataset"] == "synthetic_mi" and found["data"]["synthetic"] is True
    assert found["data"]["fingerprint"] == scores.fingerprint
    assert found["data"]["protocol"] == scores.protocol.sentence()
    assert (found["protocol"]["name"], found["protocol"]["seed"]) == ("random", 0)
    assert found["beats"]["leads"] == ["ii"] and found["network"]["baseline"] is False
    assert found["split"]["protocol"] == "random"
    assert found["training"]["seed"] == 0 and found["training"]["max_epochs"] == 2
    assert found["training"]["epoch"] == scores.best_epoch
    assert found["scores"]["validation"]["val/macro_f1"] == scores.val.macro_f1
    assert found["scores"]["test"]["auroc"] == scores.test["auroc"]
    assert found["versions"]["torch"] == torch.__version__

    (origin,) = found["chain"]
    earlier = RunRecord.read(runs[0] / "scores.json")
    assert (origin["task"], origin["model"], origin["file"]) == ("arrhythmia", "cnet", "best.ckpt")
    assert origin["data"]["fingerprint"] == earlier.fingerprint
    assert origin["scores"]["val/macro_f1"] == earlier.val.macro_f1


def test_layers_are_marked_as_the_mode_froze_them(runs: list[Path]) -> None:
    layers = describe(read_checkpoint(runs[1]))["layers"]
    assert [layer["name"] for layer in layers if not layer["frozen"]] == ["fc1", "fc2"]
    assert [layer["part"] for layer in layers] == ["backbone"] * 11 + ["head"] * 2
    assert layers[0]["name"] == "stem" and layers[0]["shapes"] == {"weight": [32, 1, 5], "bias": [32]}
    assert not any(layer["frozen"] for layer in describe(read_checkpoint(runs[0]))["layers"])


def test_test_scores_are_only_those_of_this_checkpoint(runs: list[Path], tmp_path: Path) -> None:
    best = runs[0] / "checkpoints" / "best.ckpt"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").write_bytes(best.read_bytes())
    assert describe(read_checkpoint(tmp_path))["scores"]["test"] is None
    (tmp_path / "scores.json").write_text((runs[1] / "scores.json").read_text())
    assert describe(read_checkpoint(tmp_path))["scores"]["test"] is None
    (tmp_path / "scores.json").write_text("cut o")
    assert describe(read_checkpoint(tmp_path))["scores"]["test"] is None


def test_a_plain_state_dict_is_described_by_its_weights(tmp_path: Path) -> None:
    torch.save(create_model("seq", n_outputs=5, length=187).state_dict(), tmp_path / "plain.pth")
    found = describe(read_checkpoint(tmp_path / "plain.pth"))
    assert (found["kind"], found["task"], found["versions"], found["chain"]) == ("state_dict", None, None, [])
    assert (found["network"]["name"], found["network"]["guessed"], found["network"]["n_outputs"]) == ("seq", True, 5)

    torch.save({"layer.weight": torch.ones(2, 3)}, tmp_path / "unknown.pth")
    found = describe(read_checkpoint(tmp_path / "unknown.pth"))
    assert (found["network"]["name"], found["network"]["n_parameters"]) == (None, 6)


def test_differences_of_two_checkpoints(runs: list[Path], tmp_path: Path) -> None:
    first, second = (read_checkpoint(folder) for folder in runs)
    difference = compare(first, second)
    assert json.loads(json.dumps(difference)) == difference
    found = difference["differences"]
    assert found["task.name"] == ["arrhythmia", "mi"]
    assert found["transfer.mode"] == ["none", "head_only"]
    assert found["network.n_parameters"] == [53_957, 53_825]
    assert "versions.torch" not in found and "training.seed" not in found
    layers = {layer["name"]: layer for layer in difference["layers"]}
    # Frozen is frozen: what it came with, to the last bit.
    assert {name for name, layer in layers.items() if layer["state"] == "equal"} == layers.keys() - {"fc1", "fc2"}
    assert layers["fc1"]["state"] == "different" and layers["fc1"]["largest"] > 0 and layers["fc1"]["relative"] > 0
    assert layers["fc2"]["state"] == "shape"

    same = compare(first, first)
    assert same["differences"] == {} and {layer["state"] for layer in same["layers"]} == {"equal"}


@pytest.mark.parametrize("model", ["majority", "logistic_regression", "gradient_boosting"])
def test_a_baseline_is_described_in_the_same_shape(model: str, runs: list[Path], tmp_path: Path) -> None:
    quick = ["model.max_iter=5"] * (model != "majority")
    cfg = compose([*SMALL, f"cache_dir={runs[0].parent / 'cache'}", f"model={model}", *quick], output_dir=tmp_path)
    record = train(cfg)
    found, network = (describe(read_checkpoint(folder)) for folder in (tmp_path, runs[0]))
    assert json.loads(json.dumps(found)) == found
    assert found.keys() == network.keys() and all(
        found[key].keys() == network[key].keys() for key in ("network", "beats")
    )
    assert found["network"]["baseline"] is True and found["network"]["name"] == model
    assert found["network"]["n_parameters"] == sum(layer["n_parameters"] for layer in found["layers"])
    assert found["network"]["n_parameters"] == record.n_parameters
    assert {"classes"} < {layer["name"] for layer in found["layers"]}
    assert found["scores"]["test"]["macro_f1"] == record.test["macro_f1"]
    assert found["scores"]["validation"]["val/macro_f1"] == record.val.macro_f1
    assert (found["training"]["epoch"], found["training"]["optimizer"], found["transfer"]) == (
        None,
        None,
        {"mode": "none"},
    )
    printed = CliRunner().invoke(app, ["inspect", str(tmp_path)])
    assert printed.exit_code == 0 and model in printed.stdout
    differences = compare(read_checkpoint(tmp_path), read_checkpoint(runs[0]))
    assert differences["differences"]["network.name"] == [model, "cnet"]
    assert {layer["state"] for layer in differences["layers"]} == {"only first", "only second"}


def test_two_networks_have_no_layers_in_common_but_the_head(tmp_path: Path) -> None:
    for name in ("cnet", "seq"):
        torch.save(create_model(name, n_outputs=5, length=187).state_dict(), tmp_path / f"{name}.pth")
    difference = compare(*(read_checkpoint(tmp_path / f"{name}.pth") for name in ("cnet", "seq")))
    states = {layer["name"]: layer["state"] for layer in difference["layers"]}
    assert states["stem"] == "only first"
    assert "only second" in states.values()
    assert states["fc1"] == "shape"


def test_the_command_prints_either(runs: list[Path], tmp_path: Path) -> None:
    printed = CliRunner().invoke(app, ["inspect", str(runs[1]), "--json"])
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.stdout) == describe(read_checkpoint(runs[1]))
    two = CliRunner().invoke(app, ["inspect", str(runs[0]), str(runs[1]), "--json"])
    assert json.loads(two.stdout)["differences"]["task.name"] == ["arrhythmia", "mi"]
    shown = CliRunner().invoke(app, ["inspect", str(runs[1])])
    assert shown.exit_code == 0 and "head_only" in shown.stdout and "SYNTHETIC" in shown.stdout
    (tmp_path / "text").write_text("no checkpoint")
    refused = CliRunner().invoke(app, ["inspect", str(tmp_path / "text")])
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: ") and len(refused.stderr.splitlines()) == 1
