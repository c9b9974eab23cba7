"""A finished run's scores.json, made from made-up probabilities."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ecg_lightning.evaluation import score

Scores = dict[str, Any]


@pytest.fixture
def make_scores() -> Callable[..., Scores]:
    """Make the content of a scores.json; keywords replace its entries, `noise` makes the model worse."""

    def make(task: str = "arrhythmia", *, noise: float = 0.4, **entries: Any) -> Scores:
        classes = ("N", "S", "V", "F", "Q") if task == "arrhythmia" else ("normal", "MI")
        generator = np.random.default_rng(7)
        labels = np.arange(400) % len(classes)
        raw = np.eye(len(classes))[labels] + noise * generator.random((400, len(classes)))
        test = score(labels, raw / raw.sum(axis=1, keepdims=True), classes, None if task == "arrhythmia" else "MI")
        return {
            "task": task,
            "model": "cnet",
            "dataset": "mitbih" if task == "arrhythmia" else "ptbdb",
            "source": "kaggle",
            "synthetic": False,
            "split": "random",
            "protocol": "random: 20% of each class to test, patients on all sides, seed 1234",
            "augmentation": "none",
            "resampling": "none",
            "transfer": "none",
            "seed": 1234,
            "epochs": 50,
            "wall_s": 812.3,
            "n_parameters": 53957,
            "best_epoch": 41,
            "monitor": "val/macro_f1",
            "fingerprint": "0123456789abcdef",
            "val": {"macro_f1": 0.91},
            "test": test,
            "n": {"train": 3000, "validation": 300, "test": 400},
        } | entries

    return make
