"""The commands that train and test the detector of R peaks."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import wfdb
from typer.testing import CliRunner, Result

from ecg_lightning.cli.main import app
from ecg_lightning.core.weights import read_weights
from ecg_lightning.data.rpeak_network import Network
from ecg_lightning.training.detector import PeakNetwork

FS = 360


@pytest.fixture
def made_dir(tmp_path: Path) -> Path:
    """A folder with two minutes of each of two records in MIT-BIH's layout; 207 ends with ten seconds of flutter."""
    folder = tmp_path / "mitdb"
    folder.mkdir()
    time = np.arange(120 * FS) / FS
    for seed, name in enumerate(("100", "207")):
        rng = np.random.default_rng(seed)
        peaks = np.cumsum(rng.uniform(0.7, 0.9, 160))
        peaks = peaks[peaks < (109.5 if name == "207" else 119.5)]
        signal = np.exp(-0.5 * np.square((time[:, None] - peaks) / 0.012)).sum(axis=1)
        signal -= 0.3 * np.exp(-0.5 * np.square((time[:, None] - peaks - 0.03) / 0.012)).sum(axis=1)
        signal += 0.01 * rng.standard_normal(len(time))
        samples, symbols = np.round(peaks * FS).astype(int), ["N"] * len(peaks)
        symbols[5] = "V"
        if name == "207":
            flutter = time > 110
            signal[flutter] = np.sin(2 * np.pi * 4 * time[flutter])  # some of which is taken for beats
            samples, symbols = np.append(samples, [110 * FS, 119 * FS]), [*symbols, "[", "]"]
        wfdb.wrsamp(
            name, fs=FS, units=["mV"] * 2, sig_name=["MLII", "V1"], p_signal=np.stack([signal, -signal], axis=1),
            fmt=["212"] * 2, adc_gain=[200.0] * 2, baseline=[0] * 2, write_dir=str(folder),
        )  # fmt: skip
        wfdb.wrann(name, "atr", samples, symbols, write_dir=str(folder))
    (folder / "RECORDS").write_text("100\n207\n")
    return tmp_path


def run(*words: str | Path, **where: Path) -> Result:
    options = [part for key, value in where.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    return CliRunner().invoke(app, ["detector", *map(str, words), *options], env={"COLUMNS": "120"})


def test_trained_weights_are_used_by_the_test_that_the_command_names(made_dir: Path) -> None:
    output = made_dir / "own"
    trained = run("train", "--on", "mitbih", "--exclude", "207", "--steps", "10", output=output, data_dir=made_dir)
    assert trained.exit_code == 0, trained.output
    assert f"--detector network:{output}.safetensors" in trained.stdout
    card = read_weights(f"{output}.safetensors").card
    assert card["kind"] == "r_peaks" and card["trained_on"] == {"mitbih": {"recordings": 1, "people": 1}}
    assert card["command"] == (
        "ecg-lightning detector train --on=mitbih --exclude=207 '--leads=[0,1]' --steps=10 --seed=0 --output=own"
    )
    detector = f"network:{output}.safetensors"
    kept = run("test", "--detector", detector, "--keep", f"{output}.safetensors", data_dir=made_dir)
    assert kept.exit_code == 0, kept.output
    (expected,) = read_weights(f"{output}.safetensors").card["expected"].items()
    assert expected[0] == f"{detector} on mitbih, leads [0]" and expected[1]["beats"] > 250


def test_the_same_seed_trains_the_same_weights(made_dir: Path) -> None:
    arrays = []
    for name in ("one", "two"):
        assert run("train", "--steps", "10", output=made_dir / name, data_dir=made_dir).exit_code == 0
        arrays.append(read_weights(f"{made_dir / name}.safetensors").arrays)
    for name, array in arrays[0].items():
        np.testing.assert_array_equal(array, arrays[1][name])


def test_missed_and_extra_beats_are_counted_by_record_without_flutter(made_dir: Path) -> None:
    answer = run("test", "--json", output=made_dir / "t.csv", data_dir=made_dir)
    assert answer.exit_code == 0, answer.output
    records: Any = json.loads(answer.stdout)["records"]
    assert [one["record"] for one in records] == ["mitbih/100", "mitbih/207", "gross"]
    assert all(one["missed"] == 0 and one["se"] == 1 for one in records)
    assert [one["extra"] for one in records] in ([0, 0, 0], [0, 1, 1])  # the first or last wave of the flutter
    assert records[-1]["beats"] == sum(one["beats"] for one in records[:-1])
    assert records[-1]["p95_ms"] <= 12 and records[-1]["v_p95_ms"] is not None
    assert (made_dir / "t.csv").read_text().splitlines()[0].startswith("record,beats,missed,extra,se,ppv")
    table = run("test", "--detector", "xqrs", "--records", "100", data_dir=made_dir).stdout
    assert "mitbih/100" in table and "gross" in table and "207" not in table


@pytest.mark.parametrize("change", ["inverted", "gain 1000", "offset 5 mV", "hum 50 Hz", "64 Hz", "1000 Hz"])
def test_changes_of_the_signals_lose_no_beat(made_dir: Path, change: str) -> None:
    answer = run("test", "--json", "--records", "100", "--change", change, data_dir=made_dir)
    gross = json.loads(answer.stdout)["records"][-1]
    assert (gross["missed"], gross["extra"]) == (0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--records", "999"], "there is no record 999 in mitbih"),
        (["--on", "ptbdb"], "ptbdb has no recordings with annotated beats"),
        (["--records", "patient:train"], "expected a split with lists of records"),
        (["--change", "louder"], "expected none, inverted, gain 1000"),
        (["--detector", "wavelet"], "expected network, sleepecg, xqrs"),
        (["--leads", '["V9"]'], "has no lead 'V9'"),
    ],
)
def test_what_cannot_be_tested_is_said_in_one_sentence(made_dir: Path, options: list[str], message: str) -> None:
    refused = run("test", *options, data_dir=made_dir)
    assert refused.exit_code == 2
    assert message in refused.stderr and refused.stderr.count("\n") == 1


def test_numpy_and_torch_give_the_same_probabilities() -> None:
    torch.manual_seed(0)
    network = PeakNetwork().eval()
    signals = np.random.default_rng(0).standard_normal((2, 34_000)).astype(np.float32)
    ours = Network({name: tensor.numpy() for name, tensor in network.state_dict().items()})(signals)
    with torch.no_grad():
        theirs = torch.sigmoid(network(torch.from_numpy(signals))).numpy()
    assert np.abs(ours - theirs).max() <= 1e-6
