"""Folders of finished runs, made from made-up probabilities in a moment, for the campaign of results."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from campaigns.frame import Ended, run

CLASSES = ("N", "S", "V", "F", "Q")
RUNS = ("seed0", "seed1", "baseline", "fold0", "fold1", "small", "infarction")
COMMANDS: dict[str, list[str]] = {
    "table": ["table", "runs", "--format", "csv"],
    "table of a run": ["table", "runs/seed0", "--only-run"],
    "compare": ["compare", "runs/seed0", "runs/baseline", "--json"],
    "compare two": ["compare", "runs/seed0", "runs/seed1"],
    "report of a run": ["report", "runs/seed0", "--brief", "--baseline", "runs/baseline"],
    "report of runs": ["report", "runs"],
    "plot": ["plot", "runs/seed0"],
    "low data": ["plot", "runs", "--what", "low-data"],
}
READS = {  # the runs that a command reads
    "table of a run": ("seed0",), "compare": ("seed0", "baseline"), "compare two": ("seed0", "seed1"),
    "report of a run": ("seed0", "baseline"), "plot": ("seed0",),
}  # fmt: skip


def make_run(
    folder: Path, *, classes: tuple[str, ...] = CLASSES, seed: int = 0, fold: int | None = None,
    train_size: int | None = None, names: str = "{}", **fields: Any,
) -> None:  # fmt: skip
    """Leave the folder of a run that was tested on 300 beats of records with such `names`; `fields` of its record."""
    from ecg_lightning.data.beats import Beats
    from ecg_lightning.data.protocol import LeftOut, Protocol
    from ecg_lightning.metrics.scoring import score_beats
    from ecg_lightning.runs.schema import RunRecord, Validation
    from ecg_lightning.runs.store import save_run

    n, generator = 300, np.random.default_rng(fold or 0)
    labels = generator.integers(len(classes), size=n)
    people = np.array([names.format(100 + one) for one in generator.integers(6, size=n)])
    beats = Beats(
        signals=np.ones((n, 1, 4), dtype=np.float32), lengths=np.full(n, 4), labels=labels, classes=classes, fs=125.0,
        lead_names=("MLII",), patients=people, records=people, samples=np.arange(n) * 300 + 10**6 * (fold or 0),
    )  # fmt: skip
    raw = 0.6 * np.eye(len(classes))[labels] + np.random.default_rng(seed + 7).random((n, len(classes)))
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    how: dict[str, Any] = {"test_fraction": 0.2} if fold is None else {"fold": fold, "n_folds": 2}
    how |= {} if train_size is None else {"train_size": train_size, "n_train_units": 4000}
    left_out = (LeftOut(reason="paced", records=("102",), beats=9),)
    model = fields.get("model", "cnet")
    config = {"model": {"name": model}, "seed": seed, "split": {"seed": 0, "fold": fold, "train_size": train_size}}
    record: dict[str, Any] = {
        "task": "arrhythmia", "model": model, "baseline": False, "n_parameters": 53957, "dataset": "own",
        "title": "Own", "synthetic": False, "fingerprint": "0123456789abcdef", "classes": classes, "class_map": "own",
        "leads": ("MLII",), "n": {"train": train_size or 4000, "validation": 300, "test": n}, "augmentation": "none",
        "protocol": Protocol(name="patient", seed=0, by="patients", left_out=left_out, **how), "resampling": "none",
        "loss": "cross_entropy", "transfer": "none", "precision": "32-true", "seed": seed, "epochs": 3,
        "best_epoch": 2, "monitor": "val/macro_f1", "val": Validation(macro_f1=0.6), "config": config,
        "test": score_beats(beats, probabilities, classes[1] if len(classes) == 2 else None),
        "overrides": (f"model={model}",), "config_digest": "0123456789", "dropped": {"without class": {"Q": 3}},
        "versions": {"python": "3.12"}, "git": "0123456789ab", "wall_s": 12.0,
        "started": f"2026-01-0{seed + 1}T12:00:00",
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(
        "epoch,step,train/loss,val/loss,val/macro_f1\n1,99,,0.9,0.4\n1,99,1.0,,\n2,199,,0.5,0.8\n2,199,0.6,,\n"
    )
    save_run(folder, RunRecord(**record | fields), beats, probabilities)
    (folder / ".hydra").mkdir()
    for name, text in {"config": json.dumps(config), "hydra": "{hydra: {}}", "overrides": "[model=cnet]"}.items():
        (folder / ".hydra" / f"{name}.yaml").write_text(text)


@cache
def whole() -> Path:
    """A folder that nobody changes: `RUNS` in ``runs``, one also tested elsewhere, and other files of a sweep."""
    top = Path(tempfile.mkdtemp(prefix="results-"))
    runs = top / "runs"
    make_run(runs / "seed0")
    make_run(runs / "seed1", seed=1)
    make_run(runs / "baseline", seed=2, model="trees", baseline=True, loss=None, epochs=None, best_epoch=None)
    make_run(runs / "fold0", fold=0)
    make_run(runs / "fold1", fold=1)
    make_run(runs / "small", train_size=400)
    make_run(runs / "infarction", classes=("normal", "MI"), task="mi")
    make_run(runs / "seed0" / "on" / "other", seed=4, kind="evaluation", dataset="other", trained_on="own")
    (runs / "pooled.json").write_text(json.dumps({"pooled": [], "repeated": [], "low_data": []}))
    (runs / "failure.json").write_text(json.dumps({"error": "ValueError: no"}))
    return top


@cache
def outcome_of_whole(name: str) -> dict[str, bytes]:
    """The `outcome` of a command without damage."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(whole() / "runs", Path(folder, "runs"))
        ended = run(COMMANDS[name], cwd=Path(folder))
        assert ended.status == 0, f"{name}: {ended.err}"
        return outcome(Path(folder), ended)


def outcome(folder: Path, ended: Ended) -> dict[str, bytes]:
    """What a command prints and writes."""
    written = [folder / "runs" / "report.html", *folder.glob("runs/*/report.html"), *folder.rglob("*.png")]
    files = {str(file.relative_to(folder)): file.read_bytes() for file in written if file.is_file()}
    return files | {"stdout": ended.out.encode(errors="replace")}
