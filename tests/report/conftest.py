"""Folders of finished runs, made from made-up probabilities in a moment, and what their pages hold."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.data.beats import Beats
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.runs.schema import RunRecord, Validation
from ecg_lightning.runs.store import save_run

CLASSES = {"arrhythmia": ("N", "S", "V", "F", "Q"), "mi": ("normal", "MI")}
SHARES = {"arrhythmia": (0.6, 0.15, 0.15, 0.07, 0.03), "mi": (0.3, 0.7)}

PATIENTS = {"train": 8, "validation": 2, "test": 12}

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, make_record: Callable[..., RunRecord]) -> MakeRun:
    """Leave the folder of a finished run, tested on 1,200 beats of 12 patients; keywords go into its record.

    Runs of equal `task` and `fold` were tested on the same beats; `skill` is how far the true class stands out;
    `lacking` is a class without test beats.
    """

    def make(
        name: str, *, task: str = "arrhythmia", skill: float = 0.7, seed: int = 0, split_seed: int | None = None,
        fold: int | None = None, train_size: int | None = None, lacking: str | None = None, split: str = "random",
        config: dict[str, Any] | None = None, **fields: Any,
    ) -> Path:  # fmt: skip
        classes, n = CLASSES[task], 1200
        rng = np.random.default_rng(fold or 0)
        labels = rng.choice(len(classes), n, p=SHARES[task])
        if lacking is not None:
            labels[labels == classes.index(lacking)] = int(lacking == classes[0])
        patients = np.array([f"{100 + at}" for at in rng.integers(12, size=n)])
        beats = Beats(
            signals=np.ones((n, 1, 4), dtype=np.float32), lengths=np.full(n, 4), labels=labels, classes=classes,
            fs=125.0, lead_names=("MLII",), patients=patients, records=np.where(patients == "105", "232", patients),
            samples=np.arange(n) * 300 + n * 300 * (fold or 0),
        )  # fmt: skip
        noise = np.random.default_rng([seed, round(1000 * skill)])
        raw = skill * np.eye(len(classes))[labels] + noise.random((n, len(classes)))
        if lacking is not None:
            raw[:, classes.index(lacking)] = 0
        probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
        of_patients: dict[str, Any] = {"by": "patients", "patients": PATIENTS}
        of_split: dict[str, Any] = {"random": {"by": "beats"}, "patient": of_patients}[split]
        of_split |= {"test_fraction": 0.2} if fold is None else {"fold": fold, "n_folds": 2}
        of_split |= {} if train_size is None else {"train_size": train_size, "n_train_units": 4000}
        protocol = Protocol(name=split, seed=seed if split_seed is None else split_seed, **of_split)
        settings = {"seed": split_seed, "fold": fold, "train_size": train_size}
        model = fields.pop("model", "cnet")
        record = make_record(
            task,
            **{
                "model": model, "dataset": {"arrhythmia": "mitbih", "mi": "ptbdb"}[task],
                "protocol": protocol, "seed": seed, "epochs": 3, "best_epoch": 2,
                "n": {"train": train_size or 4000, "validation": 400, "test": n}, "overrides": (f"model={model}",),
                "val": Validation(macro_f1=0.5 + 0.1 * skill), "git": "0123456789ab", "versions": {"python": "3.12.1"},
                "test": score_beats(beats, probabilities, "MI" if task == "mi" else None),
                "config": {"model": {"name": model}, "seed": seed, "split": settings, **(config or {})},
            } | fields,
        )  # fmt: skip
        folder = tmp_path / "runs" / name
        save_run(folder, record, beats, probabilities)
        (folder / "metrics.csv").write_text(
            "epoch,step,train/loss,val/loss,val/macro_f1\n1,99,,0.9,0.4\n1,99,1.0,,\n2,199,,0.5,0.8\n2,199,0.6,,\n"
            "3,299,,0.6,0.7\n3,299,0.3,,\n"
        )
        return folder

    return make


@dataclass
class Page:
    """What a parser finds in a page.

    Attributes:
        text: what is to be read, in one line.
        numbers: (origin, place, value, words) of each number that names its place.
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


@pytest.fixture
def make_annotated() -> Callable[..., tuple[Any, Any]]:
    """Beats as `annotate` returns them, a letter each or a list of classes, and what reads their made-up signal."""
    import pandas as pd

    def make(classes: Any, *, names: tuple[str, ...] = CLASSES["arrhythmia"], rr: float = 0.8, **about: Any) -> Any:
        n, fs, rng = len(classes), 250.0, np.random.default_rng(0)
        times = 1 + rr * np.arange(n)
        shares = rng.dirichlet(np.ones(len(names)), n).astype(np.float32)
        columns = {
            "sample": np.rint(fs * times).astype(np.int64), "time_s": times, "symbol": "N", "class": list(classes),
            **{f"p_{name}": shares[:, at] for at, name in enumerate(names)}, "confidence": shares.max(axis=1),
            "rr_s": np.diff(times, prepend=np.nan), "quality": np.float32(1), "peak": np.float32(1), "flag": "",
        }  # fmt: skip
        beats = pd.DataFrame(columns)
        beats.attrs["about"] = {
            "record": "r1", "path": "folder/r1", "fs": fs, "duration_s": 1 + rr * n, "start": None,
            "leads": ["I", "II"], "all_leads": ["I", "II", "V1"], "model": "cnet",
            "classes": list(names), "task": "arrhythmia", "detector": "network", "threshold": None,
            "unusable": [], "versions": {"numpy": "2"},
        } | about  # fmt: skip

        def strip(start: float, seconds: float) -> Any:
            at = start + np.arange(round(fs * seconds)) / fs
            height = np.exp(-np.square((at - 1 + rr / 2) % rr - rr / 2) / 0.0005)
            signals = np.stack([height, -0.5 * height])
            return ("I", "II"), np.where((at > 10) & (at < 10.5), np.nan, signals), fs

        return beats, strip

    return make
