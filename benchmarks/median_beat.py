"""Boosted trees on the median beat of a recording, which networks on beats are compared with: PTB-XL, MI or normal.

python benchmarks/median_beat.py OUTPUT [override …], such as "dataset.leads=[II]": beats and split of experiment=ptbxl.
Writes OUTPUT/seedN/predictions.parquet, each test beat with the probability of its recording, so that
`ecg-lightning compare` pairs them with the beats of a run, and prints the scores by recording.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.runs.predictions import PREDICTIONS, write_predictions


def main(output: str, *overrides: str) -> None:
    """Fit on the median beats of the training and validation recordings, with three seeds; score those of the test."""
    datamodule = make_datamodule(validated(compose(["experiment=ptbxl", *overrides], output_dir=output)))
    datamodule.setup()
    folds = datamodule.folds
    trained = datamodule.beats.select(np.sort(np.concatenate([folds.train, folds.validation])))
    tested = datamodule.beats.select(np.sort(folds.test))
    x, y, _ = medians(trained)
    own, _, recording = medians(tested)
    for seed in range(3):
        trees = HistGradientBoostingClassifier(
            max_iter=300, learning_rate=0.05, max_leaf_nodes=15, max_features=0.2, l2_regularization=1.0,
            random_state=seed,
        ).fit(x, y)  # fmt: skip
        probabilities = trees.predict_proba(own)[recording]
        folder = Path(output) / f"seed{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        write_predictions(folder / PREDICTIONS, tested, probabilities, positive="MI", about={"model": "median_beat"})
        scores = score_beats(tested, probabilities, "MI")
        print(json.dumps({"seed": seed, **scores["recordings"], "intervals": scores["intervals"]["recordings"]}))


def medians(beats):
    """Median beats ``[m, leads · length]``, their labels ``[m]``, and recording of each beat ``[n]``."""
    _, first, recording = np.unique(beats.records, return_index=True, return_inverse=True)
    median = np.stack([np.median(beats.signals[recording == i], axis=0).ravel() for i in range(len(first))])
    return median, beats.labels[first], recording


if __name__ == "__main__":
    main(*sys.argv[1:])
