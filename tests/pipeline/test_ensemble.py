"""Ensembles: several finished runs as one, by the command and in every place that takes a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import ecg_lightning as ecg
from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import CheckpointError
from ecg_lightning.pipeline.predictor import load_predictor
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.ensemble import combine

SMALL = ["dataset=synthetic", "dataset.simulation.patients=8", "dataset.simulation.minutes=1", "context=rr",
         "split=patient", "split.seed=0", "trainer=cpu", "trainer.precision=32-true",
         "trainer.max_epochs=1", "report=none"]  # fmt: skip
MODELS = {
    "network": ["model=cnet", "model.channels=4", "model.hidden=4"],
    "another": ["model=seq", "model.width=8", "seed=1", "sequence=beats"],
    "baseline": ["model=logistic_regression", "model.max_iter=20"],
}
RunCommand = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of two networks and a baseline, and what two commands make of them."""
    folder = tmp_path_factory.mktemp("runs")
    for name, model in MODELS.items():
        ecg.train(ecg.compose([*SMALL, *model, f"cache_dir={folder / 'cache'}"], output_dir=folder / name))
    run(folder, "ensemble", *MODELS, "--output", "equal")
    run(folder, "ensemble", *MODELS, "--output", "chosen", "--mean", "geometric", "--weights", "validation")
    return folder


def run(folder: Path, command: str, *words: str, code: int = 0) -> Result:
    """Run a command; words that name something in the folder are paths."""
    names = {*MODELS, "equal", "chosen"}
    given = [str(folder / word) if word in names else word for word in words]
    result = CliRunner().invoke(app, [command, *given], env={"COLUMNS": "200", "ECG_CACHE_DIR": str(folder / "cache")})
    assert result.exit_code == code, result.output
    return result


def test_an_ensemble_is_tested_on_the_beats_of_its_members_and_filed_as_a_run(folder: Path) -> None:
    record, member = (RunRecord.read(folder / name / "scores.json") for name in ("equal", "network"))
    assert (record.kind, record.model, record.baseline) == ("run", "ensemble", False)
    same = ("fold", "n", "protocol", "fingerprint", "classes", "context")
    assert all(getattr(record, key) == getattr(member, key) for key in same)
    assert record.val.loss is not None and record.calibration is not None
    counted = [RunRecord.read(folder / name / "scores.json").n_parameters or 0 for name in MODELS]
    assert record.n_parameters == sum(counted) + 3
    assert ecg.evaluate(folder / "equal", device="cpu").test["confusion"] == record.test["confusion"]
    assert "ensemble" in run(folder, "table", "equal", "network", "--only-run").output
    assert "ensemble" in run(folder, "compare", "equal", "network").output


@pytest.mark.parametrize("name", ["equal", "chosen"])
def test_its_probabilities_are_the_mean_of_those_of_its_members(name: str, folder: Path) -> None:
    beats = ecg.load_beats("synthetic", *SMALL[1:4], f"cache_dir={folder / 'cache'}").select(np.arange(300))
    members = np.stack([ecg.load_checkpoint(folder / one, device="cpu").predict_proba(beats) for one in MODELS])
    estimator = ecg.load_checkpoint(folder / name, device="cpu")
    found = estimator.predict_proba(beats)
    if name == "equal":
        np.testing.assert_allclose(found, members.mean(axis=0), atol=1e-6)
    else:
        weights = read_checkpoint(folder / name).weights["weights"].numpy()
        assert weights.sum() == pytest.approx(1) and len(set(weights)) == 3
        np.testing.assert_allclose(found, combine(members, weights, "geometric"), atol=1e-6)
    predictor = load_predictor(folder / name)
    assert predictor.calibration is not None
    calibrated = predictor.of(beats)
    np.testing.assert_allclose(calibrated, predictor.calibration.apply(found), atol=1e-5)


def test_weights_chosen_on_validation_lose_no_more_there_than_equal_ones(folder: Path) -> None:
    run(folder, "ensemble", *MODELS, "--output", str(folder / "fair"), "--mean", "geometric")
    equal, chosen = (RunRecord.read(folder / name / "scores.json").val.loss for name in ("fair", "chosen"))
    assert equal is not None and chosen is not None and chosen < equal


def test_weights_given_by_hand_are_shares(folder: Path) -> None:
    run(folder, "ensemble", *MODELS, "--output", str(folder / "shares"), "--weights", "1,0,3")
    assert read_checkpoint(folder / "shares").weights["weights"].tolist() == [0.25, 0, 0.75]


def test_a_member_may_count_for_the_probability_of_one_class_alone(folder: Path) -> None:
    own = ["--weights", "1,1,0", "--class-weights", "V=1,0,3"]
    run(folder, "ensemble", *MODELS, "--output", str(folder / "by_class"), *own)
    weights = read_checkpoint(folder / "by_class").weights["weights"].numpy()
    by_class = dict(zip(ecg.load_checkpoint(folder / "by_class").task.classes, weights.T.tolist(), strict=True))
    assert by_class == {**{name: [0.5, 0.5, 0] for name in "NSFQ"}, "V": [0.25, 0, 0.75]}
    beats = ecg.load_beats("synthetic", *SMALL[1:4], f"cache_dir={folder / 'cache'}").select(np.arange(300))
    members = np.stack([ecg.load_checkpoint(folder / one, device="cpu").predict_proba(beats) for one in MODELS])
    expected = np.einsum("mc,mnc->nc", weights, members)
    found = ecg.load_checkpoint(folder / "by_class", device="cpu").predict_proba(beats)
    np.testing.assert_allclose(found, expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


def test_members_with_operating_points_are_not_trained_again(folder: Path, tmp_path: Path) -> None:
    words = [*SMALL, *MODELS["baseline"], "operating_point.folds=2", f"cache_dir={folder / 'cache'}"]
    member = ecg.train(ecg.compose(words, output_dir=tmp_path / "member"))
    run(folder, "ensemble", str(tmp_path / "member"), "network", "--output", str(tmp_path / "made"))
    record = RunRecord.read(tmp_path / "made" / "scores.json")
    assert member.operating_point is not None and record.operating_point is None
    assert not (tmp_path / "made" / "cross_validation").exists()
    assert record.config["operating_point"]["folds"] is None


def test_its_file_is_described_and_shipped_as_any_other(folder: Path, tmp_path: Path) -> None:
    assert "ensemble" in run(folder, "inspect", "equal").output
    described = json.loads(run(folder, "inspect", "equal", "--json").stdout)
    assert [one["name"] for one in described["network"]["settings"]["members"]] == [
        "cnet",
        "seq",
        "logistic_regression",
    ]
    assert described["scores"]["test"] is not None
    run(folder, "weights", "make", "equal", "--name", "all", "--title", "Three", "--output", str(tmp_path))
    shipped = read_checkpoint(tmp_path / "all.safetensors")
    assert all(shipped.weights[name].equal(one) for name, one in read_checkpoint(folder / "equal").weights.items())
    card = (tmp_path / "all.json").read_text(encoding="utf-8")
    assert str(folder) not in card
    assert "ecg-lightning ensemble member0 member1 member2" in json.loads(card)["command"]
    assert load_predictor(tmp_path / "all.safetensors").name == "ensemble"


def test_a_report_shows_its_beats_without_saliency(folder: Path, tmp_path: Path) -> None:
    run(folder, "ensemble", "network", "baseline", "--output", str(tmp_path / "made"))
    for path, remark in ((tmp_path / "made", "an ensemble no saliency"), (folder / "equal", "the beats around each")):
        page = Path(run(folder, "report", str(path)).stdout.strip()).read_text(encoding="utf-8")
        assert remark in page and "Most confident errors" in page


def test_its_export_is_refused(folder: Path, tmp_path: Path) -> None:
    result = run(folder, "export", "equal", "--output", str(tmp_path / "model.onnx"), code=2)
    assert "made of several models; networks are exported" in result.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["context=none"], "context"),
        (["split.seed=1"], "divide people otherwise"),
        (["dataset.simulation.seed=7"], "fingerprint"),
        (["tested=validation"], "has tested validation"),
    ],
)
def test_members_that_saw_other_beats_or_people_are_refused(
    settings: list[str], message: str, folder: Path, tmp_path: Path
) -> None:
    words = [*SMALL, *MODELS["baseline"], *settings, f"cache_dir={folder / 'cache'}"]
    ecg.train(ecg.compose(words, output_dir=tmp_path / "other"))
    result = run(folder, "ensemble", "network", str(tmp_path / "other"), "--output", str(tmp_path / "made"), code=2)
    assert message in result.stderr and not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["network"], "at least two runs"),
        (["network", "baseline", "--weights", "1"], "a positive number each"),
        (["network", "baseline", "--weights", "much"], "expected equal, validation"),
        (["network", "baseline", "--class-weights", "V=1"], "a positive number each"),
        (["network", "baseline", "--class-weights", "X=1,1"], "class X"),
        (["network", "equal"], "no run of a network or baseline"),
    ],
)
def test_what_makes_no_ensemble_is_refused_in_a_sentence(
    words: list[str], message: str, folder: Path, tmp_path: Path
) -> None:
    assert message in run(folder, "ensemble", *words, "--output", str(tmp_path / "made"), code=2).stderr


def _nest(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["members"][0]["hyperparameters"] = content["hyper_parameters"]


def _other_model(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["members"][0]["hyperparameters"]["model"]["name"] = "os.system"


def _negative(content: dict[str, Any]) -> None:
    content["state_dict"]["model.weights"] -= 1


def _missing(content: dict[str, Any]) -> None:
    content["hyper_parameters"]["members"].pop()


@pytest.mark.parametrize("change", [_nest, _other_model, _negative, _missing])
def test_a_file_that_was_tampered_with_is_refused(
    change: Callable[[dict[str, Any]], None], folder: Path, tmp_path: Path
) -> None:
    content = torch.load(folder / "equal" / "checkpoints" / "best.ckpt", weights_only=True)
    change(content)
    torch.save(content, tmp_path / "changed.ckpt")
    with pytest.raises(CheckpointError):
        ecg.load_checkpoint(tmp_path / "changed.ckpt", device="cpu")
    with pytest.raises(CheckpointError):
        load_predictor(tmp_path / "changed.ckpt")


def test_a_class_that_one_member_has_never_seen_is_not_excluded_for_all() -> None:
    members = np.array([[[1.0, 0.0]], [[1e-4, 0.9999]], [[1e-4, 0.9999]]], dtype=np.float32)
    for mean in ("arithmetic", "geometric"):
        found = combine(members, np.full(3, 1 / 3), mean)  # type: ignore[arg-type]
        assert found.argmax(axis=1) == 1 and found.sum() == pytest.approx(1)
