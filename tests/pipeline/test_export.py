"""Exported networks: any number of beats, equal to torch, and usable without torch."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.atomic import sha256_of
from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.models import model_names
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.export import export
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.pipeline.train import train
from ecg_lightning.training.checkpoint import add_fitted
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.estimator import NetworkEstimator, pl
from ecg_lightning.training.tasks import CLASSES

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CALIBRATION = Calibration(
    temperature=1.7, threshold_at=(0.5,), coverage=(1.0,), error=(0.1,), ece=0.01, ece_before=0.05, beats=9
)
NETWORKS = {  # task, leads, length, context values, settings
    "cnet": ("mi", 1, 61, 0, {"channels": 8, "blocks": 2}),
    "seq": ("arrhythmia", 1, 34, 2, {"channels": 4, "width": 8}),
    "bilstm": ("arrhythmia", 2, 34, 0, {"embedding": 0, "width": 8, "depth": 1}),
    "bigru": ("arrhythmia", 2, 34, 3, {"embedding": 0, "width": 8, "depth": 1}),
}
ANOTHER = ("arrhythmia", 2, 187, 0, dict[str, Any]())
SMALL = [
    "dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "context=full", "trainer=cpu",
    "trainer.max_epochs=1", "report=none", "model.channels=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Export a network with random weights and a calibration, once; ``NAME.onnx`` is beside ``NAME.ckpt``."""
    folder = tmp_path_factory.mktemp("exported")

    def make(name: str) -> Path:
        path = folder / f"{name}.onnx"
        if not path.exists():
            task, leads, length, k, settings = NETWORKS.get(name, ANOTHER)
            torch.manual_seed(0)
            classifier = BeatClassifier(
                task=task,
                model={"name": name, **settings},
                input={"length": length, "fs": 125.0, "leads": [*range(leads)], "context": [f"c{i}" for i in range(k)]},
                optimizer={"lr": 1e-3, "weight_decay": 0.0, "schedule": "constant", "warmup": 0.0},
                about={"classes": list(CLASSES[task])},
            )
            trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
            NetworkEstimator(classifier, trainer).save(path.with_suffix(".ckpt"))
            add_fitted(path.with_suffix(".ckpt"), calibration=CALIBRATION.plain())
            export(path.with_suffix(".ckpt"), path)
        return path

    return make


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run on synthetic beats with context."""
    folder = tmp_path_factory.mktemp("run")
    train(compose([*SMALL, f"cache_dir={folder / 'cache'}"], output_dir=folder / "run"))
    return folder / "run"


@pytest.mark.parametrize("name", model_names())
def test_every_network_takes_any_number_of_beats_and_equals_torch(name: str, exported: Callable[..., Path]) -> None:
    path = exported(name)
    ours, torchs = load_predictor(path), load_predictor(path.with_suffix(".ckpt"))
    for attribute in ("name", "task", "classes", "input", "class_map", "calibration"):
        assert getattr(ours, attribute) == getattr(torchs, attribute), attribute
    _, leads, length, k, _ = NETWORKS.get(name, ANOTHER)
    generator = np.random.default_rng(1)
    for n in (1, 7, 512):
        signals, lengths = generator.random((n, leads, length), dtype=np.float32), generator.integers(0, length + 1, n)
        context = generator.random((n, k), dtype=np.float32) if k else None
        found = ours.run(signals, lengths, context)  # at once
        assert found.shape == (n, len(ours.classes)) and np.allclose(found.sum(axis=1), 1, atol=1e-6)
        assert np.abs(found - torchs(signals, lengths, context)).max() < 1e-5
        assert np.abs(found - ours(signals, lengths, context)).max() < 1e-6


def test_an_exported_file_is_one_file_with_a_card(exported: Callable[..., Path]) -> None:
    path = exported("cnet")
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["sha256"] == sha256_of(path) and card["bytes"] == path.stat().st_size
    assert card["origin"]["sha256"] == sha256_of(path.with_suffix(".ckpt"))
    assert (card["task"], card["classes"], card["opset"]) == ("mi", ["normal", "MI"], 20)
    assert card["parity"]["of"] == "random beats" and card["parity"]["difference"] < 1e-5
    assert card["calibration"]["temperature"] == 1.7
    assert not any(one.external_data for one in onnx.load(path).graph.initializer)


def test_an_exported_network_predicts_without_torch(exported: Callable[..., Path]) -> None:
    path = exported("cnet")
    code = (
        "import sys; from ecg_lightning.pipeline.predictor import load_predictor as load; import numpy as np;"
        "print(load(sys.argv[1])(np.ones((2, 1, 61)), [61, 30]).tolist(), 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
    expected = load_predictor(path.with_suffix(".ckpt"))(np.ones((2, 1, 61)), [61, 30])
    assert answer.endswith("False\n")
    assert np.allclose(json.loads(answer.removesuffix(" False\n")), expected, atol=1e-6)


def test_files_that_are_no_exported_network_are_refused_in_one_sentence(
    exported: Callable[..., Path], tmp_path: Path
) -> None:
    content = exported("cnet").read_bytes()
    model = onnx.load_model_from_string(content)
    stated = json.loads(model.metadata_props[0].value)
    faults = {"cut off": content[: len(content) // 2], "empty": b"", "text": b"no network"}
    onnx.helper.set_model_props(model, {"ecg_lightning": json.dumps({**stated, "format": 99})})
    faults["format 99, this version reads up to 1"] = model.SerializeToString()
    onnx.helper.set_model_props(model, {"ecg_lightning": json.dumps({"format": 1})})
    faults["malformed"] = model.SerializeToString()
    onnx.helper.set_model_props(model, {})
    faults["does not state its input and classes"] = model.SerializeToString()
    for fault, written in faults.items():
        path = tmp_path / "some.onnx"
        path.write_bytes(written)
        message = "cut off, damaged or no ONNX model" if fault in ("cut off", "empty", "text") else fault
        with pytest.raises(CheckpointError, match=message) as refused:
            load_predictor(path)
        assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    with pytest.raises(CheckpointError, match=r"absent\.onnx cannot be read: No such file"):
        load_predictor(tmp_path / "absent.onnx")


def test_without_onnxruntime_the_command_that_installs_it_is_named(
    exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported("cnet")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'ecg-lightning\[export\]'"):
        load_predictor(path)


@pytest.mark.parametrize(
    ("fault", "message"),
    [("other weights", "differs from torch by"), ("the batch of the example alone", "fails on batches of")],
)
def test_what_a_faulty_exporter_makes_is_not_written(
    fault: str, message: str, exported: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported("cnet")
    model = onnx.load(path)
    if fault == "other weights":
        weights = max(model.graph.initializer, key=lambda one: len(one.raw_data))
        weights.raw_data = (np.frombuffer(weights.raw_data, dtype=np.float32) + 1).tobytes()
    else:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: SimpleNamespace(model_proto=model))
    with pytest.raises(CheckpointError, match=rf"{message}.* not written"):
        export(path.with_suffix(".ckpt"), tmp_path / "wrong.onnx")
    assert not [*tmp_path.iterdir()]


def test_what_cannot_be_exported_is_refused_before_any_work(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a name that ends with \.onnx"):
        export(run, tmp_path / "model.pt")
    small = ["dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "model=majority"]
    train(compose([*small, "report=none", f"cache_dir={run.parent / 'cache'}"], output_dir=tmp_path / "majority"))
    with pytest.raises(ConfigError, match="is majority, a baseline"):
        export(tmp_path / "majority", tmp_path / "model.onnx")


def test_the_command_prints_parity_on_validation_beats_and_the_cost_of_int8(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    output = tmp_path / "small.onnx"
    done = CliRunner().invoke(app, ["export", str(run), "--output", str(output), "--quantize", "int8"])
    assert done.exit_code == 0, done.output
    n = json.loads((run / "scores.json").read_text())["n"]["validation"]
    assert f"of torch on {n} validation beats" in done.stdout and "int8: macro-F1" in done.stdout
    assert len(done.stdout.splitlines()) == 3 and capfd.readouterr() == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"small.onnx", "small.json"}
    card: dict[str, Any] = json.loads(output.with_suffix(".json").read_text())
    assert len(card["int8"]["macro_f1"]) == 2 and card["bytes"] == output.stat().st_size
    assert load_predictor(output).calibration is not None
    assert card["int8"]["agreement"] >= 0.98 and card["int8"]["layers"] == ["Conv"]
    in_file = json.loads(onnx.load(output).metadata_props[0].value)["int8"]
    assert in_file["calibrated_on"] == f"{json.loads((run / 'scores.json').read_text())['n']['train']} training beats"

    # It predicts test beats, which `export` has not seen, as the run does, and uses their context.
    datamodule = make_datamodule(validated(compose([*SMALL, f"cache_dir={run.parent / 'cache'}"], output_dir=tmp_path)))
    datamodule.setup("test")
    beats, int8 = datamodule.beats.select(datamodule.folds.test), load_predictor(output)
    found, expected = int8.of(beats), load_predictor(run).of(beats)
    assert np.abs(found - expected).max() < 0.02
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.98
    assert np.abs(int8.of(replace(beats, context=-beats.context)) - found).max() > 0.05


def test_int8_of_convolutions_without_training_beats_is_refused(exported: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"calibrated on training beats .* --data-dir"):
        export(exported("cnet").with_suffix(".ckpt"), tmp_path / "small.onnx", quantize="int8")
    assert not [*tmp_path.iterdir()]


def test_int8_of_an_lstm_needs_no_beats(exported: Callable[..., Path], tmp_path: Path) -> None:
    card = export(exported("bilstm").with_suffix(".ckpt"), tmp_path / "small.onnx", quantize="int8")
    assert card["int8"]["layers"] == ["LSTM"] and card["int8"]["difference"] < 0.01


@pytest.mark.parametrize("suffix", [".onnx", ".ckpt"])
@pytest.mark.parametrize("name", ["cnet", "bigru"])
def test_probabilities_are_equal_to_the_bit_whatever_the_threads(
    name: str, suffix: str, exported: Callable[..., Path]
) -> None:
    predictor, (_, leads, length, k, _) = load_predictor(exported(name).with_suffix(suffix)), NETWORKS[name]
    generator, before, n = np.random.default_rng(2), torch.get_num_threads(), 700
    signals, lengths = generator.random((n, leads, length), dtype=np.float32), generator.integers(0, length + 1, n)
    context = generator.random((n, k), dtype=np.float32) if k else None
    one, *more = (replace(predictor, threads=threads)(signals, lengths, context) for threads in (1, 2, 3))
    assert all(np.array_equal(one, other) for other in more)
    assert torch.get_num_threads() == before


def test_what_fails_in_a_thread_fails_for_the_caller(exported: Callable[..., Path]) -> None:
    def fail(*_: object) -> Any:
        raise MemoryError("no memory for a batch")

    predictor = replace(load_predictor(exported("cnet")), threads=2, run=fail)
    with pytest.raises(MemoryError, match="for a batch"):
        predictor(np.ones((700, 1, 61)), [61] * 700)
