"""Reading checkpoints: whole ones, those of others, and files that are none, without running what is in them."""

import os
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ecg_lightning.core.errors import CheckpointError
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.models import create_model, model_names
from ecg_lightning.training.checkpoint import CHECKPOINT_KEY, FORMAT, guess_network, read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier


@pytest.fixture
def content() -> dict[str, Any]:
    """What a checkpoint file holds, as far as it is read."""
    weights = create_model("cnet", n_outputs=1, length=187).state_dict()
    return {
        "state_dict": {f"model.{name}": weight for name, weight in weights.items()},
        "hyper_parameters": {
            "task": "mi",
            "model": {"name": "cnet"},
            "input": {"length": 187, "fs": 125.0},
            "optimizer": {},
            "transfer": None,
            "about": {"data": {"source": "kaggle", "dataset": "ptbdb"}, "origin": {"file": "earlier.ckpt"}},
        },
        "epoch": 4,
        "global_step": 70,
        "ecg_lightning": {"format": FORMAT, "scores": {"val/macro_f1": 0.5}},
    }


class Calls:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_what_is_read(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "some.ckpt")
    checkpoint = read_checkpoint(tmp_path / "some.ckpt")
    assert (checkpoint.epoch, checkpoint.step, checkpoint.scores) == (5, 70, {"val/macro_f1": 0.5})
    assert checkpoint.weights.keys() == create_model("cnet", n_outputs=1, length=187).state_dict().keys()
    origin = checkpoint.origin()
    assert (origin["task"], origin["model"], origin["epoch"]) == ("mi", "cnet", 5)
    assert origin["origin"] == {"file": "earlier.ckpt"}
    assert len(origin["sha256"]) == 64


def test_a_runs_folder_stands_for_its_best_checkpoint(content: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    torch.save(content, tmp_path / "checkpoints" / "best.ckpt")
    assert read_checkpoint(tmp_path).path == tmp_path / "checkpoints" / "best.ckpt"


@pytest.mark.parametrize("command", ["checkpoint", "old format", "bare pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    command: str, content: dict[str, Any], tmp_path: Path
) -> None:
    witness, path = tmp_path / "was_here", tmp_path / "evil.ckpt"
    evil = Calls(f"touch {witness}")
    content["hyper_parameters"]["about"] = evil
    if command == "bare pickle":
        path.write_bytes(pickle.dumps(evil, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=command == "checkpoint")
    with pytest.raises(CheckpointError, match=r"evil.ckpt") as refused:
        read_checkpoint(path)
    assert not witness.exists()
    assert "\n" not in str(refused.value)
    if command == "checkpoint":
        assert "nothing in it was run" in str(refused.value)
        assert "system" in str(refused.value)
    # The file does what it was built for where somebody trusts it.
    if command == "checkpoint":
        torch.load(path, weights_only=False)
        assert witness.exists()


@pytest.mark.parametrize("part", [0, 10, 0.5, -10])
def test_a_truncated_checkpoint_is_one_sentence(part: float, content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cut.ckpt"
    torch.save(content, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: part if isinstance(part, int) else int(part * len(whole))])
    with pytest.raises(CheckpointError, match=r"cut.ckpt is cut off, damaged or no checkpoint: [^\n]*$"):
        read_checkpoint(path)


@pytest.mark.parametrize("plain", [True, False])
def test_a_file_of_torch_before_1_6_says_how_to_convert_it(
    plain: bool, content: dict[str, Any], tmp_path: Path
) -> None:
    old = content["state_dict"] if plain else content
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"old\.pth .* before 1\.6.*torch\.load\(OLD, weights_only=True\)"):
        read_checkpoint(tmp_path / "old.pth")


def test_a_flipped_byte_is_noticed(content: dict[str, Any], tmp_path: Path) -> None:
    # A ZIP archive has a checksum for each of its members.
    path = tmp_path / "flipped.ckpt"
    torch.save(content, path)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match=r"flipped.ckpt is cut off, damaged or no checkpoint"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "garbage",
    [b"a line of text\n", b"hello, this is a long text\n" * 50, os.urandom(5000), b"\x80\x02}q\x00", b"PK\x03\x04"],
    ids=["text", "long text", "random", "pickle", "zip"],
)
def test_a_file_of_something_else_is_one_sentence(garbage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    path.write_bytes(garbage)
    with pytest.raises(CheckpointError, match=r"other.ckpt is cut off, damaged or no checkpoint: [^\n]*$") as error:
        read_checkpoint(path)
    assert "weights_only" not in str(error.value)  # no advice to load it all the same


@pytest.mark.parametrize("value", [[1, 2], torch.ones(3), {}, {"state_dict": {}}, {"epoch": 3}])
def test_other_tensors_and_containers_are_no_checkpoint(value: Any, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=r"other.ckpt (holds a|is neither)"):
        read_checkpoint(tmp_path / "other.ckpt")


def test_a_later_version_is_refused(content: dict[str, Any], tmp_path: Path) -> None:
    content["ecg_lightning"] = {"format": FORMAT + 1}
    torch.save(content, tmp_path / "new.ckpt")
    with pytest.raises(CheckpointError, match=f"has format {FORMAT + 1}, this version reads up to {FORMAT}"):
        read_checkpoint(tmp_path / "new.ckpt")


@pytest.mark.parametrize("key", ["ecg_lightning", "hyper_parameters", "epoch", "state_dict"])
@pytest.mark.parametrize("value", ["absent", "text", None])
def test_a_checkpoint_without_its_parts_is_one_sentence(
    key: str, value: str | None, content: dict[str, Any], tmp_path: Path
) -> None:
    content[key] = value
    if value == "absent":
        del content[key]
    torch.save(content, tmp_path / "part.ckpt")
    with pytest.raises(CheckpointError, match=r"part.ckpt .*(complete|neither a) checkpoint"):
        read_checkpoint(tmp_path / "part.ckpt")


@pytest.mark.parametrize(("key", "value"), [("model", {"name": "os.system"}), ("task", "../mi"), ("task", ["mi"])])
def test_names_are_looked_up_among_ours(key: str, value: Any, content: dict[str, Any], tmp_path: Path) -> None:
    content["hyper_parameters"][key] = value
    torch.save(content, tmp_path / "named.ckpt")
    with pytest.raises(CheckpointError, match=r"which is none of|malformed"):
        read_checkpoint(tmp_path / "named.ckpt")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no checkpoints/best.ckpt; give the folder of a finished run"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match=r"nowhere.ckpt is not there"):
        read_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize("name", model_names())
def test_a_plain_state_dict_is_known_by_names_and_shapes(name: str) -> None:
    assert guess_network(create_model(name, n_outputs=5, length=187).state_dict()) == name


def test_names_of_no_network_are_not_guessed() -> None:
    assert guess_network({"layer.weight": torch.ones(1)}) is None
    assert guess_network({}) is None


def nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {}
    for _ in range(depth):
        inner = {"file": "earlier.ckpt", "origin": inner}
    return inner


def repeated() -> list[Any]:
    """Ten names for each of ten lists, ten levels deep: ten billion values in a few bytes."""
    value: list[Any] = ["laugh"]
    for _ in range(10):
        value = [value] * 10
    return value


def circle() -> dict[str, Any]:
    own: dict[str, Any] = {}
    own["origin"] = own
    return own


@pytest.mark.parametrize(
    "change",
    [
        lambda stated: stated["input"].update(length=10**12),
        lambda stated: stated["input"].update(length=-1),
        lambda stated: stated["input"].update(length=187.5e9),
        lambda stated: stated["input"].update(leads=list(range(5000))),
        lambda stated: stated["input"].update(length=[187]),
        lambda stated: stated["model"].update(channels=10**9),
        lambda stated: stated["model"].update(blocks=10**9),
        lambda stated: stated["model"].update(hidden=float("nan")),
        lambda stated: stated["model"].update(channels=4096, hidden=4096),
        lambda stated: stated["model"].update(hidden={"a": 1}),
        lambda stated: stated["about"].update(origin=nested(40)),
        lambda stated: stated["about"].update(origin=circle()),
        lambda stated: stated["about"].update(config=repeated()),
        lambda stated: stated["about"].update(config=torch.ones(3)),
        lambda stated: stated.update(about=[1]),
        lambda stated: stated.update(model="cnet"),
    ],
)
def test_absurd_settings_are_one_error_at_once_and_take_no_memory(
    change: Callable[[dict[str, Any]], object], content: dict[str, Any], tmp_path: Path
) -> None:
    change(content["hyper_parameters"])
    content["hyper_parameters"]["optimizer"] = {"lr": 1.0, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0}
    torch.save(content, tmp_path / "hostile.ckpt")
    started = time.process_time()
    with pytest.raises(CheckpointError, match=r"hostile.ckpt") as error:
        BeatClassifier.from_checkpoint(read_checkpoint(tmp_path / "hostile.ckpt"))
    assert time.process_time() - started < 1
    assert "\n" not in str(error.value)


def test_a_tensor_may_not_be_larger_than_the_file_has_numbers_for(content: dict[str, Any], tmp_path: Path) -> None:
    content["state_dict"]["model.fc1.weight"] = torch.zeros(1).expand(10**6, 10**6)
    torch.save(content, tmp_path / "hostile.ckpt")
    with pytest.raises(CheckpointError, match=r"fc1.weight"):
        read_checkpoint(tmp_path / "hostile.ckpt")
    torch.save({"fc1.weight": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "plain.pth")
    with pytest.raises(CheckpointError, match=r"fc1.weight"):
        read_checkpoint(tmp_path / "plain.pth")


def test_a_compressed_file_is_refused_before_it_is_unpacked(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "plain.ckpt")
    with (
        zipfile.ZipFile(tmp_path / "plain.ckpt") as plain,
        zipfile.ZipFile(tmp_path / "bomb.ckpt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    with pytest.raises(CheckpointError, match=r"bomb.ckpt .*compressed"):
        read_checkpoint(tmp_path / "bomb.ckpt")


def test_an_input_spec_comes_back_from_plain_values() -> None:
    spec = InputSpec(length=221, fs=125.0, leads=(["MLII", "II"], "V1"), context=("rr",), cut={"before": 0.272})
    assert InputSpec.from_plain(spec.plain()) == spec
    assert InputSpec.from_plain({"length": 187}) == InputSpec(length=187)


def format_1(content: dict[str, Any], **config: Any) -> dict[str, Any]:
    """What version 0.1 wrote of a run with context on DS1 and DS2."""
    cut = {"fs": 125, "length": 221, "rr_factor": 1.2, "margin": 3, "before": 0.272, "scaling": "beat"}
    transfer = {"arm": "head_only", "checkpoint": "run", "backbone_lr": 1.0, "frozen_epochs": 0}
    split = {
        "protocol": "ds1_ds2",
        "validation_fraction": 0.2,
        "seed": 3,
        "shared_patient": "train",
        "train_size": None,
    }
    content["hyper_parameters"] = {
        "task": "arrhythmia",
        "model": {"name": "cnet"},
        "length": 221,
        "context": ["rr"],
        "optimizer": {"lr": 0.1},
        "transfer": transfer,
        "about": {
            "classes": ["N", "S", "V", "F", "Q"],
            "fs": 125.0,
            "data": {"dataset": "mitbih", "lead": 0, **cut, "protocol": "a sentence"},
            "config": {
                "task": {"name": "arrhythmia"},
                "source": {"name": "physionet"},
                "dataset": {
                    "name": "mitbih",
                    "lead": 0,
                    "recorded_fs": 360,
                    "drop_duplicates": False,
                    "cut": cut,
                    "context": {"rhythm": True, "likeness": True},
                },
                "split": split,
                "transfer": transfer,
                "augmentation": {"name": "none", "resampling": {"method": "none"}},
                **config,
            },
            "origin": {"file": "a.ckpt", "data": {"protocol": "a sentence", "dataset": "mitbih"}, "origin": None},
        },
    }
    weights = create_model("cnet", n_outputs=5, length=221, n_context=1).state_dict()
    content["state_dict"] = {f"model.{name}": weight for name, weight in weights.items()}
    content[CHECKPOINT_KEY]["format"] = 1
    return content


def test_format_1_is_converted(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(format_1(content), tmp_path / "old.ckpt")
    checkpoint = read_checkpoint(tmp_path / "old.ckpt")
    config, about = checkpoint.about["config"], checkpoint.about
    assert checkpoint.input == InputSpec(
        length=221,
        fs=125.0,
        leads=(0,),
        context=("rr",),
        cut={"rr_factor": 1.2, "margin": 3, "before": 0.272, "scaling": "beat"},
    )
    assert config["context"] == {"rhythm": True, "morphology": True, "before": 0.272}
    assert config["dataset"]["leads"] == [0] and config["dataset"]["annotator"] == "atr"
    assert (config["dataset"]["cut"]["length"], "before" in config["dataset"]["cut"]) == (187, False)
    assert (config["split"]["protocol"], config["split"]["name"]) == ("records", "ds1_ds2")
    assert (config["split"]["shared_patients"], len(config["split"]["test"])) == ("train", 22)
    assert config["transfer"]["mode"] == checkpoint.require()["transfer"]["mode"] == "head_only"
    assert (about["protocol"]["name"], about["protocol"]["by"], about["protocol"]["seed"]) == ("ds1_ds2", "records", 3)
    assert "protocol" not in about["data"] and about["origin"]["data"] == {"dataset": "mitbih"}


def test_a_group_source_of_format_2_becomes_a_card(content: dict[str, Any], tmp_path: Path) -> None:
    """As the versions wrote that came before cards; each card is one that a database can be read by."""
    mitbih = {"name": "mitbih", "title": "MIT-BIH", "folder": "mitdb", "annotator": "atr", "class_map": "aami",
              "diagnoses": None, "patients": {"same": {"202": "201"}}, "leads": [0], "recorded_fs": 360,
              "drop_duplicates": False,
              "cut": {"fs": 125, "length": 187, "rr_factor": 1.2, "margin": 3, "scaling": "beat"}}  # fmt: skip
    ptbdb = mitbih | {"name": "ptbdb", "folder": "ptbdb", "annotator": None, "class_map": None, "patients": "folder",
                      "diagnoses": {"Healthy control": "normal", "Myocardial infarction": "MI"}}  # fmt: skip
    simulation = {"patients": 3, "minutes": 1, "fs": 360, "noise": 0.02, "seed": 4}
    split = {"protocol": "records", "name": "mine", "train_records": [1], "test_records": [2]}
    for source, dataset, task, name, reader, classes in (
        ({"name": "physionet"}, mitbih, "arrhythmia", "mitbih", "wfdb", "NSVFQ"),
        ({"name": "physionet"}, ptbdb, "mi", "ptbdb", "wfdb", ["normal", "MI"]),
        ({"name": "kaggle"}, mitbih, "arrhythmia", "kaggle_mitbih", "rows", "NSVFQ"),
        ({"name": "kaggle"}, ptbdb, "mi", "kaggle_ptbdb", "rows", ["normal", "MI"]),
        ({"name": "synthetic"} | simulation, mitbih, "arrhythmia", "synthetic", "simulation", "NSVFQ"),
        ({"name": "synthetic"} | simulation, ptbdb, "mi", "synthetic_mi", "simulation", ["normal", "MI"]),
    ):
        config = {"task": {"name": task}, "source": source, "dataset": dataset, "split": split}
        content["hyper_parameters"]["about"]["config"] = config
        torch.save(content, tmp_path / "old.ckpt")
        found = read_checkpoint(tmp_path / "old.ckpt").about["config"]
        assert "source" not in found and found["test_on"] == []
        assert (found["dataset"]["name"], found["dataset"]["reader"], found["dataset"]["task"]) == (name, reader, task)
        none = {"rhythm": False, "morphology": False, "before": 0.0}
        assert make_source(found["dataset"], none, tmp_path).classes == tuple(classes)
        assert found["split"] == {"protocol": "records", "name": "mine", "train": [1], "test": [2]}
        content["hyper_parameters"]["about"]["config"] = found
        torch.save(content, tmp_path / "new.ckpt")
        assert read_checkpoint(tmp_path / "new.ckpt").about["config"] == found


def test_format_1_from_before_losses_and_resampling_had_settings(content: dict[str, Any], tmp_path: Path) -> None:
    old = {"name": "light", "resampling": "none", "transforms": {"noise": {"sigma": 0.02}}}
    torch.save(format_1(content, augmentation=old), tmp_path / "old.ckpt")
    config = read_checkpoint(tmp_path / "old.ckpt").about["config"]
    assert config["augmentation"]["resampling"] == {"method": "none"} and config["augmentation"]["mixup"] == 0
    assert config["loss"]["name"] == "cross_entropy"


@pytest.mark.parametrize("key", ["dataset", "split", "augmentation"])
def test_a_malformed_format_1_is_one_error(key: str, content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(format_1(content, **{key: "text"}), tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match=r"old.ckpt .*malformed"):
        read_checkpoint(tmp_path / "old.ckpt")
