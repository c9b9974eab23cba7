"""Several databases in one experiment, from the command line and from Python, and databases that lack classes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ecg_lightning as ecg
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data import datamodule
from ecg_lightning.data.beats import Beats
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.schema import RunRecord

HOME = "defaults: [synthetic, _self_]\nname: home\ntitle: Home\nsimulation: {patients: 5, minutes: 1}\n"
AWAY = "defaults: [synthetic, _self_]\nname: away\ntitle: Away\nsimulation: {patients: 4, minutes: 1, seed: 7}\n"
QUICK = ["trainer=cpu", "trainer.max_epochs=1", "report=none"]
HELD_OUT = ["split=held_out", "split.test=[away]", "split.validation_fraction=0.25"]


@pytest.fixture
def own_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the cards of two simulated databases, which have a cache of their own."""
    folder = tmp_path / "conf"
    (folder / "dataset").mkdir(parents=True)
    (folder / "dataset" / "home.yaml").write_text(HOME)
    (folder / "dataset" / "away.yaml").write_text(AWAY)
    monkeypatch.setenv("ECG_CACHE_DIR", str(tmp_path / "cache"))
    return folder


def test_one_of_two_databases_is_held_out_on_the_command_line(
    own_cards: Path, tmp_path: Path, command: Callable[..., int]
) -> None:
    run = tmp_path / "run"
    words = ["--config-dir", str(own_cards), "dataset=[home,away]", *HELD_OUT, *QUICK, f"hydra.run.dir={run}"]
    balanced = ["augmentation.balance_patients=0.5", "augmentation.balance_databases=0.5"]
    assert command(*words, *balanced) == 0
    record = RunRecord.read(run / "scores.json")
    assert (record.dataset, record.title, record.protocol.tested) == ("home+away", "Home + Away", ("away",))
    assert record.protocol.patients == {"train": 4, "validation": 1, "test": 4}
    assert "database away tested" in record.protocol.sentence()
    table, _ = read_predictions(run / "predictions.parquet")
    assert {name.partition("/")[0] for name in table["record"]} == {"away"}
    assert evaluate(run, device="cpu").test == record.test


def test_python_takes_the_words_of_the_command_line(own_cards: Path, tmp_path: Path) -> None:
    beats = ecg.load_beats("[home,away]", config_dir=own_cards)
    assert beats.databases is not None and set(beats.databases) == {"home", "away"}
    alone = ecg.load_beats("away", config_dir=own_cards)
    assert len(beats) == len(alone) + len(ecg.load_beats("[home]", config_dir=own_cards))
    cfg = compose(["dataset=[home,away]", "model=majority", *HELD_OUT], output_dir=tmp_path, config_dir=own_cards)
    assert [*cfg.dataset.cards] == ["home", "away"] and cfg.dataset.name == "home+away"
    record = train(cfg)
    assert record.n["test"] == len(alone) and record.protocol.patients == {"train": 4, "validation": 1, "test": 4}


def test_leads_and_cutting_are_those_of_all(own_cards: Path) -> None:
    words = ["dataset.leads=[II,V1]", "dataset.cut.length=100", "context=p_wave"]
    beats = ecg.load_beats("[home,away]", *words, config_dir=own_cards)
    assert beats.signals.shape[1:] == (2, 100 + round(0.272 * 125)) and beats.lead_names == ("II", "V1")


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("[home,home]", r"expected the names of different databases, such as dataset=\[mitbih,svdb\]"),
        ("[]", "expected the names of different databases"),
        ("[mitbih,ptbdb]", "mitbih, ptbdb are databases of different tasks; choose those of one task"),
        ("[home,nowhere]", "nowhere"),
    ],
)
def test_databases_that_do_not_go_together_are_one_sentence(dataset: str, said: str, own_cards: Path) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        compose([f"dataset={dataset}"], config_dir=own_cards)
    assert "\n" not in str(error.value)


def test_the_card_of_a_database_chooses_the_task() -> None:
    for words, task in (
        (["dataset=ptbxl"], "mi"), (["dataset=[ptbdb,ptbxl]"], "mi"), (["dataset=svdb"], "arrhythmia"),
        (["dataset=[ptbdb]"], "mi"), (["task=mi"], "mi"),
    ):  # fmt: skip
        cfg = compose(words)
        assert cfg.task.name == task


def test_a_database_without_some_of_the_classes_is_trained_on_and_they_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as recordings with N and V alone under AAMI's five classes."""
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(400) % 4 == 3, 2, 0)
    beats = Beats(
        signals=rng.uniform(0.01, 1, (400, 1, 187)).astype(np.float32), lengths=np.full(400, 187),
        lead_names=("lead 0",), labels=labels, classes=("N", "S", "V", "F", "Q"), fs=125.0,
        origin={"dataset": "mitbih"},
    )  # fmt: skip
    monkeypatch.setattr(datamodule, "cached_beats", lambda *_: beats)
    record = train(compose(QUICK, output_dir=tmp_path))
    for name in "SFQ":
        assert f"there is no beat of class {name}: the model cannot learn it, and it has no score" in caplog.text
        assert record.test["per_class"][name]["support"] == 0
    assert record.test["per_class"]["V"]["support"] == 20
    assert record.test["macro_f1"] == pytest.approx(np.mean([record.test["per_class"][name]["f1"] for name in "NV"]))
