"""Weights that ship: a finished run becomes a safetensors file and its card, see `ecg_lightning.core.weights`."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.provenance import WITHOUT_EFFECT, without
from ecg_lightning.core.weights import FOLDER, shipped_weights, write_weights
from ecg_lightning.data.databases.card import cards_of
from ecg_lightning.pipeline.predictor import checkpoint_predictor
from ecg_lightning.runs.aggregate import Result, Run, groups, results_of_folds
from ecg_lightning.runs.discover import find_runs, read_run, tests_elsewhere
from ecg_lightning.training.checkpoint import ENSEMBLE, Checkpoint, malformed, read_checkpoint

LICENCE = "MIT, as the package; the databases they were learnt from ask for the attribution"
# Of the configuration, what names places on the machine of the training.
PLACES = (*WITHOUT_EFFECT, "callbacks", "trainer.default_root_dir", "ckpt_path")
OVERALL = ("macro_f1", "accuracy")
PER_CLASS = ("f1", "recall", "precision", "support")
ECTOPIC = ("sensitivity", "positive_predictivity", "false_positive_rate")


def make_weights(
    run: Path, name: str, *, title: str, description: str = "", expected: Sequence[Path] = (), folder: Path = FOLDER
) -> Path:
    """Write the best weights of a run as ``FOLDER/NAME.safetensors`` with its card, and return the path.

    Args:
        run: folder of a finished run of a network.
        name: that they get: letters, digits and underscores.
        title, description: what they are, in a phrase and in sentences.
        expected: folders of runs or sweeps whose tests show what to expect of these weights, such as the folds of a
            cross-validation with the same settings. Their tests on other databases count, and those of `run`.
        folder: None of the package.

    Raises:
        ConfigError: the name is none.
        DataError: a folder holds no finished run, or the file system refuses.
        CheckpointError: the run's checkpoint cannot be read.
    """
    if not name.isidentifier():
        raise ConfigError(f"--name {name}: expected letters, digits and underscores")
    trained, checkpoint = read_run(run), read_checkpoint(run)
    checkpoint_predictor(checkpoint)  # refuses what cannot predict
    with malformed(f"{run} keeps a configuration that lacks or has malformed"):
        card = _card(trained, checkpoint, title, description, expected)
    path = folder / f"{name}.safetensors"
    write_weights(path, {key: weight.numpy() for key, weight in checkpoint.weights.items()}, card)
    return path


def _card(
    trained: Run, checkpoint: Checkpoint, title: str, description: str, expected: Sequence[Path]
) -> dict[str, Any]:
    """What is stated about the weights of a run, see `make_weights`."""
    stated, record = checkpoint.require(), trained.record
    config = without(checkpoint.config, PLACES)
    databases = {
        card["name"]: {"title": card["title"], **_attributed(card)} for card in cards_of(config["dataset"]).values()
    }
    start = Path((checkpoint.about.get("origin") or {}).get("file", "")).stem
    named = shipped_weights("beats").get(start, {}).get("attribution", [])  # of the weights it started from
    named += [". ".join(filter(None, one.values())) for one in databases.values()]
    others = find_runs(expected)[0] if expected else []
    tests = [*tests_elsewhere(trained), *(test for one in others for test in (one, *tests_elsewhere(one)))]
    tests = [test for test in tests if test.record.fold == "test"]
    return {
        "kind": "beats",
        "title": title,
        "description": description,
        "trained_on": {"databases": databases, "patients": dict(record.protocol.patients or {}), "beats": record.n},
        "command": _command(stated, record.overrides),
        "expected": [_expected(result) for same in groups(tests, _kind) for result in results_of_folds(same)],
        "attribution": list(dict.fromkeys(named)),
        "licence": LICENCE,
        "hyperparameters": _without_places(stated),
        "scores": dict(checkpoint.scores or {}),
        "calibration": checkpoint.calibration,
        "operating_point": checkpoint.operating_point,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
    }


def _command(stated: Mapping[str, Any], overrides: Sequence[str]) -> str:
    """What makes the run again; of an ensemble first its members."""
    kept = [text for text in overrides if text.lstrip("+~").partition("=")[0] not in PLACES]
    if "members" not in stated:
        return shlex.join(["ecg-lightning", "train", *kept])
    runs = [f"member{number}" for number in range(len(stated["members"]))]
    lines = [
        _command(one["hyperparameters"], [*one["overrides"], f"+output_dir={run}"])
        for run, one in zip(runs, stated["members"], strict=True)
    ]
    weights = stated["model"]["weights"]
    weights = weights if isinstance(weights, str) else ",".join(map(str, weights))
    of = stated["model"].get("class_weights", {})
    how = [f"--mean={stated['model']['mean']}", f"--weights={weights}"]
    how += [f"--class-weights={name}={','.join(map(str, own))}" for name, own in of.items()] + ["--output=ensemble"]
    return "; ".join([*lines, shlex.join(["ecg-lightning", ENSEMBLE, *runs, *how])])


def _without_places(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters without what names places on the machine of the training, also those of members."""
    about = {**stated["about"], "config": without(stated["about"]["config"], PLACES)}
    members = [{**one, "hyperparameters": _without_places(one["hyperparameters"])} for one in stated.get("members", [])]
    return {**stated, "about": about, **({"members": members} if members else {})}


def _attributed(card: Mapping[str, Any]) -> dict[str, str | None]:
    """Whom to name, and under which licence, as the card of a database says."""
    about = card.get("about", {})
    return {key: about.get(key) for key in ("citation", "homepage", "licence")}


def _kind(run: Run) -> str:
    """Equal for tests that can be pooled: the folds of one cross-validation on the same beats."""
    return " ".join(map(str, (run.record.tested_on, run.record.leads, run.record.fingerprint, run.record.kind)))


def _expected(result: Result) -> dict[str, Any]:
    """What a test says about beats of unseen people: what was tested, and the main metrics."""
    record, test = result.record, result.test
    dataset: Any = record.config["dataset"]
    answer: dict[str, Any] = {
        "tested_on": record.dataset,
        "leads": "each" if dataset.get("separate_leads") else list(record.leads),
        "protocol": record.protocol.sentence(parts=len(result.runs) == 1),
        "beats": sum(run.record.n_tested for run in result.runs),
        **{key: round(test[key], 4) for key in OVERALL},
        "classes": {name: {key: _rounded(of[key]) for key in PER_CLASS} for name, of in test["per_class"].items()},
    }
    if "ec57" in test:
        answer["ec57"] = {of: {key: _rounded(test["ec57"][of][key]) for key in ECTOPIC} for of in ("V", "S")}
    return answer


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, 4)
