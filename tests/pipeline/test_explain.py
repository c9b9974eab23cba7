"""Explanations of a finished run, and remarks where something is missing."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from ecg_lightning.explain.facts import Explanation
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.explain import explain_run
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.schema import RunRecord

CONF = Path(__file__).parents[2] / "conf"
SIMULATION = ["dataset=synthetic", "dataset.simulation.patients=8", "dataset.simulation.minutes=1"]
SMALL = [*SIMULATION, "trainer=cpu", "trainer.max_epochs=2"]

Explain = Callable[[Path], Explanation]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def explain(cache: Path) -> Explain:
    return lambda folder: explain_run(folder, cache_dir=cache)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """The folder of a run in mixed precision of a network that takes all there is of context."""
    folder = tmp_path_factory.mktemp("run")
    own = ["model=bigru", "context=full", "trainer.precision=bf16-mixed", "augmentation=smote", f"cache_dir={cache}"]
    train(compose([*SMALL, *own], output_dir=folder, config_dir=CONF))
    return folder


def test_a_run_is_explained_from_its_folder(finished: Path, explain: Explain) -> None:
    before = sorted(finished.rglob("*"))
    found = explain(finished)
    assert sorted(finished.rglob("*")) == before
    assert found.remarks == ()
    assert found.synthetic and (found.fs, found.length, found.before) == (125.0, 221, 0.272)
    table, _ = read_predictions(finished / "predictions.parquet")
    assert found.mistakes and found.mistakes.n == int((table["true"] != table["predicted"]).sum()) > 0
    for one in found.mistakes.shown:
        row = table.iloc[one.beat.row]
        shown_beat = (one.beat.record, one.beat.patient, one.beat.sample, one.beat.true, one.beat.predicted)
        assert shown_beat == tuple(row[["record", "patient", "sample", "true", "predicted"]])
        assert one.beat.probabilities == {name: row[f"probability_{name}"] for name in found.classes}
        assert one.beat.seconds == row["sample"] / 360
    assert found.saliency and any(of_class.beats for of_class in found.saliency.classes)
    for shown in (shown for of_class in found.saliency.classes for shown in of_class.beats):
        assert shown.beat.true == shown.beat.predicted and len(shown.context) == 14
        assert abs(shown.error) < 0.02 * abs(shown.logit - shown.baseline) + 1e-3
    assert found.embedding and found.embedding.n_beats == len(table)
    assert json.loads(json.dumps(dataclasses.asdict(found)))["length"] == 221
    assert explain(finished) == found


def test_without_its_checkpoint_a_run_still_shows_its_mistakes(
    finished: Path, explain: Explain, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("*.ckpt"))
    found = explain(copy)
    assert found.mistakes == explain(finished).mistakes
    assert found.saliency is found.embedding is None
    assert len(found.remarks) == 1 and "has no checkpoints/best.ckpt" in found.remarks[0]


@pytest.mark.parametrize("model", ["majority", "beat_length", "logistic_regression", "gradient_boosting"])
def test_a_baseline_is_explained_as_a_network_is(model: str, explain: Explain, cache: Path, tmp_path: Path) -> None:
    own = [f"model={model}", f"cache_dir={cache}", *["model.max_iter=10"] * (model != "majority")]
    train(compose([*SMALL, *own], output_dir=tmp_path, config_dir=CONF))
    found = explain(tmp_path)
    assert found.remarks == () and found.baseline
    assert found.mistakes and found.mistakes.shown
    assert found.saliency and found.embedding
    assert (found.saliency.method, found.saliency.unit) == ("occlusion", "probability")
    shown = [beat for of_class in found.saliency.classes for beat in of_class.beats]
    assert shown
    for one in shown:
        assert one.logit == pytest.approx(one.beat.probabilities[one.beat.true], abs=1e-6)
        assert [len(lead) for lead in one.attributions] == [len(lead) for lead in one.beat.signals]
    used = max(abs(value) for one in shown for lead in one.attributions for value in lead)
    assert (used > 0) == (model in ("logistic_regression", "gradient_boosting"))
    assert (found.saliency.rank_correlation is not None) == (used > 0)
    assert explain(tmp_path) == found


def changed_record(**changes: Any) -> Callable[[Path], object]:
    """Damage: these entries of the configuration in the record."""

    def change(folder: Path) -> None:
        record = RunRecord.read(folder / "scores.json")
        config = OmegaConf.merge(OmegaConf.create(record.config), changes)
        plain: Any = OmegaConf.to_container(config, resolve=False)
        record.model_copy(update={"config": plain}).write(folder / "scores.json")

    return change


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda folder: (folder / "predictions.parquet").unlink(), "predictions.parquet"),
        (lambda folder: (folder / "predictions.parquet").write_bytes(b"no"), "predictions.parquet"),
        (lambda folder: (folder / "scores.json").write_text("{"), "scores.json"),
        (changed_record(dataset={"simulation": {"seed": 7}}), "fingerprint"),
        (changed_record(dataset=None), "malformed"),
        (changed_record(seed="${nowhere}"), "nowhere"),
    ],
)
def test_what_is_not_available_is_one_remark(
    damage: Callable[[Path], object], named: str, finished: Path, explain: Explain, tmp_path: Path
) -> None:
    copy = shutil.copytree(finished, tmp_path / "run")
    damage(copy)
    found = explain(copy)
    assert found.mistakes is found.saliency is found.embedding is None
    assert len(found.remarks) == 1 and named in found.remarks[0] and "\n" not in found.remarks[0]


@pytest.mark.real_data("mitdb")
def test_mistakes_have_the_time_of_the_beat_in_the_record(real_data_dir: Path, tmp_path: Path) -> None:
    own = ["model=majority", f"data_dir={real_data_dir}", f"cache_dir={tmp_path / 'cache'}", "split=ds1_ds2"]
    train(compose(own, output_dir=tmp_path, config_dir=CONF))
    found = explain_run(tmp_path, cache_dir=tmp_path / "cache")
    assert found.mistakes
    assert {one.beat.true for one in found.mistakes.shown} == {"S", "V", "F", "Q"}
    assert all(0 < (one.beat.seconds or 0) < 1806 for one in found.mistakes.shown)
