"""Folders of finished runs, made from made-up probabilities in a moment, and what their pages say."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ecg_lightning.data.beats import Beats
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.runs.predictions import write_predictions

CLASSES = {"arrhythmia": ("N", "S", "V", "F", "Q"), "mi": ("normal", "MI")}
SHARES = {"arrhythmia": (0.6, 0.15, 0.15, 0.07, 0.03), "mi": (0.3, 0.7)}

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Leave the folder of a finished run, tested on 1,200 beats of 12 patients; keywords go into its scores.json.

    Runs of equal `task` and `fold` were tested on the same beats; `skill` is how far the true class stands out.
    """

    def make(
        name: str, *, task: str = "arrhythmia", skill: float = 0.7, seed: int = 0, fold: int | None = None,
        train_size: int | None = None, config: dict[str, Any] | None = None, **entries: Any,
    ) -> Path:  # fmt: skip
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        classes, n = CLASSES[task], 1200
        rng = np.random.default_rng(fold or 0)
        labels = rng.choice(len(classes), n, p=SHARES[task])
        patients = np.array([f"{100 + at}" for at in rng.integers(12, size=n)])
        records = np.where(patients == "105", "232", patients)
        samples = np.arange(n) * 300 + n * 300 * (fold or 0)
        beats = Beats(
            signals=np.ones((n, 1, 4), dtype=np.float32), lengths=np.full(n, 4), lead_names=("II",),
            labels=labels, classes=classes, fs=125.0,
            patients=patients, records=records, samples=samples,
        )  # fmt: skip
        noise = np.random.default_rng([seed, round(1000 * skill)])
        raw = skill * np.eye(len(classes))[labels] + noise.random((n, len(classes)))
        probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
        positive = "MI" if task == "mi" else None
        scores = {
            "task": task, "model": "cnet", "dataset": {"mi": "ptbdb"}.get(task, "mitbih"), "source": "physionet",
            "synthetic": False, "split": "random",
            "protocol": f"random: 20% of the beats of each class to test, patients on all sides, seed {seed}",
            "augmentation": "light", "resampling": "none", "loss": "cross_entropy", "transfer": "none",
            "precision": "32-true", "seed": seed, "n_parameters": 53957, "context": "none",
            "n": {"train": train_size or 4000, "validation": 400, "test": n}, "left_out": 0,
            "fingerprint": "0123456789abcdef", "monitor": "val/macro_f1", "fold": "test", "epochs": 3, "steps": 300,
            "best_epoch": 2, "config_digest": "0123456789", "started": "2026-01-02T03:04:05.678+00:00", "wall_s": 61.0,
            "versions": {"python": "3.12.1"}, "git": "0123456789ab", "val": {"macro_f1": 0.5 + 0.1 * skill},
            "test": score_beats(beats, probabilities, positive),
        } | entries  # fmt: skip
        about = {key: value for key, value in scores.items() if key not in ("val", "test")}
        write_predictions(folder / "predictions.parquet", beats, probabilities, positive=positive, about=about)
        (folder / "scores.json").write_text(json.dumps(scores))
        (folder / "metrics.csv").write_text(
            "epoch,step,train/loss,val/loss,val/macro_f1\n0,99,,0.9,0.4\n0,99,1.0,,\n1,199,,0.5,0.8\n1,199,0.6,,\n"
            "2,299,,0.6,0.7\n2,299,0.3,,\n"
        )
        split = {"protocol": scores["split"], "seed": "${seed}", "fold": fold, "n_folds": 2, "train_size": train_size}
        whole = {
            "task": {"name": task}, "model": {"name": scores["model"]}, "transfer": {"arm": "none"}, "seed": seed,
            "split": split,
        } | (config or {})  # fmt: skip
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(whole))
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"model={scores['model']}", f"seed={seed}"]))
        return folder

    return make


@dataclass
class Page:
    """What a parser finds in a page.

    Attributes:
        text: what is to be read, in one line.
        numbers: (origin, place, value, words) of each number that tells where it is from.
        tags: each tag with its attributes.
    """

    text: str = ""
    numbers: list[tuple[str, str, float, str]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of each tag of a name."""
        return [attributes for name, attributes in self.tags if name == tag]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page, self.number, self.silent = Page(), None, False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.page.tags.append((tag, attributes))
        self.silent = tag == "style"
        if tag == "data":
            origin = "figure" if "data-figure" in attributes else "computed"
            self.number = (origin, attributes[f"data-{origin}"], float(attributes["value"] or "nan"))

    def handle_endtag(self, tag: str) -> None:
        self.silent = False
        if tag == "data":
            self.number = None

    def handle_data(self, data: str) -> None:
        if self.silent:
            return
        if self.number is not None:
            self.page.numbers.append((*self.number, data))
        self.page.text += data


@pytest.fixture
def read_page() -> Callable[[Path | str], Page]:
    """Parse a page."""

    def read(page: Path | str) -> Page:
        reader = _Reader()
        reader.feed(page.read_text(encoding="utf-8") if isinstance(page, Path) else page)
        reader.page.text = " ".join(reader.page.text.replace("\u202f", " ").split())
        return reader.page

    return read
