"""What all tests share: one thread, and the real recordings, where they are there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported: on tensors as small as the tests' its threads mostly wait for each other, and on a busy
# machine for long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def real_data_dir(request: pytest.FixtureRequest) -> Path:
    """The data folder, if it holds what the test's mark names, as ``@pytest.mark.real_data("mitdb")``; else a skip."""
    folder = os.environ.get("ECG_DATA_DIR")
    if not folder:
        pytest.skip("ECG_DATA_DIR is not set")
    mark = request.node.get_closest_marker("real_data")
    for name in mark.args if mark else ():
        if not (Path(folder) / name).exists():
            pytest.skip(f"ECG_DATA_DIR holds no {name}")
    return Path(folder)


Scores = dict[str, Any]


@pytest.fixture
def make_scores() -> Callable[..., Scores]:
    """Make the content of a scores.json; keywords replace its entries, `noise` makes the model worse."""

    def make(task: str = "arrhythmia", *, noise: float = 0.4, **entries: Any) -> Scores:
        import numpy as np

        from ecg_lightning.metrics.scoring import score

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
