"""Cross-validation over the training people of a run, and the operating point that it chooses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.splits import split
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.inspect import describe
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.pipeline.train import train
from ecg_lightning.report import write_report
from ecg_lightning.runs.discover import find_runs
from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint

SMALL = ["dataset=synthetic", "dataset.simulation.patients=8", "dataset.simulation.minutes=1", "split=patient"]
QUICK = ["trainer=cpu", "trainer.max_epochs=1", "report=none", "callbacks.progress=null"]
BASELINE = ["model=logistic_regression", "model.max_iter=20"]
FOLDS = "operating_point.folds=2"

MakeConfig = Callable[..., Any]


@pytest.fixture(scope="module")
def make_config(tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    cache = tmp_path_factory.mktemp("cache")

    def make(*overrides: str, folder: Path | None = None) -> Any:
        folder = folder or tmp_path_factory.mktemp("run")
        return compose([*SMALL, *QUICK, f"cache_dir={cache}", *overrides], output_dir=folder)

    return make


@pytest.fixture(scope="module")
def finished(make_config: MakeConfig) -> tuple[Any, RunRecord]:
    """A network with an operating point: its configuration and its record."""
    cfg = make_config(FOLDS)
    return cfg, train(cfg)


def test_each_training_person_is_tested_in_one_fold_and_no_test_person_in_any(make_config: MakeConfig) -> None:
    experiment = build(make_config())
    beats, folds = experiment.datamodule.beats, experiment.datamodule.folds
    settings = experiment.datamodule.split_settings
    inner = [split(beats, **{**settings, "inner_fold": fold, "inner_folds": 3}) for fold in range(3)]
    training = np.sort(np.concatenate([folds.train, folds.validation]))
    np.testing.assert_array_equal(np.sort(np.concatenate([one.test for one in inner])), training)
    for one in inner:
        sides = [set(beats.patients[rows]) for rows in one.named().values()]
        assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
        assert not set().union(*sides) & set(beats.patients[folds.test])
    assert "tested instead: fold 1 of 3 folds of the training patients" in inner[1].protocol.sentence()


def test_the_folds_change_nothing_of_the_run_itself(finished: tuple[Any, RunRecord], make_config: MakeConfig) -> None:
    without = train(make_config())
    assert finished[1].test == without.test and finished[1].val == without.val
    assert without.operating_point is without.cross_validation is without.at_operating_point is None


def test_the_point_is_in_record_and_checkpoint_and_is_used_on_request(finished: tuple[Any, RunRecord]) -> None:
    cfg, record = finished
    folder = Path(cfg.output_dir)
    assert RunRecord.read(folder / "scores.json") == record
    assert record.operating_point is not None
    assert record.operating_point["beats"] == record.n["train"] + record.n["validation"]
    assert read_checkpoint(folder).operating_point == record.operating_point
    assert describe(read_checkpoint(folder))["operating_point"] == record.operating_point

    plain, at_point = (evaluate(folder, operating_point=one, device="cpu") for one in (False, True))
    assert plain.test == record.test and plain.at_operating_point == record.at_operating_point == at_point.test
    assert at_point.is_at_operating_point and "at the operating point" in at_point.tested_on

    beats = build(cfg).datamodule.beats
    arrays = beats.signals[:200], beats.lengths[:200], None
    predict = load_predictor(folder)
    assert predict.operating_point is not None and predict.calibration is not None
    decided = predict.at_operating_point()(*arrays)
    factors = [record.operating_point["factors"].get(name, 1) for name in beats.classes]  # type: ignore[attr-defined, call-overload, index]
    powers = np.array(factors) ** (1 / predict.calibration.temperature)
    assert (decided.argmax(axis=1) == (predict(*arrays) * powers).argmax(axis=1)).mean() > 0.99


def test_scores_of_the_folds_are_of_the_training_people_alone(finished: tuple[Any, RunRecord]) -> None:
    cfg, record = finished
    files = sorted(Path(cfg.output_dir).glob("cross_validation/*/predictions.parquet"))
    people = {person for file in files for person in read_predictions(file)[0]["patient"]}
    tested = set(read_predictions(Path(cfg.output_dir) / "predictions.parquet")[0]["patient"])
    assert len(files) == 2 and not people & tested
    assert record.cross_validation is not None
    assert np.sum(record.cross_validation["confusion"]) == record.n["train"] + record.n["validation"]
    assert record.cross_validation["intervals"]["n_resampled"] == len(people)
    assert not list(Path(cfg.output_dir).glob("cross_validation/*/checkpoints"))
    assert [run.folder for run in find_runs([Path(cfg.output_dir)])[0]] == [Path(cfg.output_dir)]


def test_started_again_a_finished_fold_is_not_trained_again(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = (*BASELINE, "tested=cross_validation", FOLDS)
    record = train(make_config(*settings, folder=tmp_path))
    files = list(tmp_path.glob("cross_validation/*/scores.json"))
    written = [file.stat().st_mtime_ns for file in files]
    assert train(make_config(*settings, folder=tmp_path)).test == record.test
    assert [file.stat().st_mtime_ns for file in files] == written
    train(make_config(*settings, "model.C=0.01", folder=tmp_path))
    assert [file.stat().st_mtime_ns for file in files] != written


def test_a_recipe_is_scored_without_a_model_of_all_people_and_without_test_beats(
    make_config: MakeConfig, tmp_path: Path, finished: tuple[Any, RunRecord]
) -> None:
    record = train(make_config(*BASELINE, "tested=cross_validation", FOLDS, folder=tmp_path))
    assert record.n_tested == record.n["train"] + record.n["validation"] == np.sum(record.test["confusion"])
    assert record.val.macro_f1 == record.test["macro_f1"]  # what a search optimises
    assert not (tmp_path / "checkpoints").exists()
    assert "each of 2 folds of the training patients" in record.protocol.sentence()
    page = write_report([tmp_path]).read_text()
    assert "the test beats are not used" in page and "Se and +P of S by factor" in page

    shown = CliRunner().invoke(app, ["table", str(tmp_path), finished[0].output_dir, "--format", "csv"]).output
    for metric in ("at_operating_point_ec57_f1", "cross_validation_ec57_f1"):
        assert metric in shown


def test_the_page_and_the_table_show_both_decisions(finished: tuple[Any, RunRecord]) -> None:
    folder = Path(finished[0].output_dir)
    page = write_report([folder], embedding=False).read_text()
    for words in ("Se and +P of S by factor", "Grey: training people", "F1 .9", "Operating point: odds of V ×"):
        assert words in page
    shown = CliRunner().invoke(app, ["table", str(folder), "--format", "markdown"]).output
    assert "op: at the operating point; cv: in cross-validation" in shown


def test_what_cannot_be_chosen_is_one_sentence(make_config: MakeConfig, finished: tuple[Any, RunRecord]) -> None:
    for overrides, words in (
        (("tested=cross_validation",), r"tested=cross_validation needs .* operating_point\.folds=5"),
        (("split=random", FOLDS), "split=random has the same in all: choose split=patient"),
        (("operating_point.folds=50",), "n_folds=50 of .* patients"),
        (("operating_point.folds=1",), r"operating_point\.folds=1: expected"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(make_config(*BASELINE, *overrides))
    with pytest.raises(ConfigError, match=r"cnet has no operating point: train it with operating_point\.folds=5"):
        load_predictor("cnet").at_operating_point()
