"""What results/infarction says beyond the tables: differences between seeds, and a threshold from validation people.

python benchmarks/infarction.py paired FIRST SECOND          # folders of runs, with * for the seed, in quotes
python benchmarks/infarction.py threshold RUN TESTED         # RUN/validation has the predictions of validation people
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_curve

from ecg_lightning.metrics.bootstrap import RESAMPLES, interval, resampled_metrics
from ecg_lightning.metrics.recordings import by_recording
from ecg_lightning.metrics.scoring import score
from ecg_lightning.runs.predictions import PREDICTIONS, column, labels_and_probabilities, read_predictions

KEYS = [("per_class", "MI", "auroc"), ("recordings", "auroc"), ("recordings", "recall_at_90_specificity")]


def read(folder):
    """Labels ``[n]``, probabilities ``[n, 2]``, patients and records ``[n]`` of a run, in the order of its beats."""
    table, info = read_predictions(folder / PREDICTIONS)
    table = table.sort_values(["record", "sample"], ignore_index=True)
    arrays = labels_and_probabilities(table, info.classes)
    return *arrays, info.classes, column(table, "patient"), column(table, "record")


def paired(*sides: str) -> None:
    """Means over the runs of both sides, and their difference with an interval, by the same resamples of patients."""
    found = []
    for side in sides:
        of_runs = []
        for folder in sorted(Path().glob(side)):
            labels, probabilities, classes, patients, records = read(folder)
            arrays = labels, probabilities, classes, patients
            resampled = resampled_metrics(*arrays, records=records, resamples=RESAMPLES, seed=0, wanted=KEYS)
            scores = score(labels, probabilities, classes, "MI", records=records)
            values = [scores["auroc"], *(scores["recordings"][name] for _, name in KEYS[1:])]
            of_runs.append([(value, resampled[key]) for key, value in zip(KEYS, values, strict=True)])
        found.append(of_runs)
        print(f"{side}: {len(of_runs)} runs")
    for at, key in enumerate(KEYS):
        (a, of_a), (b, of_b) = (
            (np.mean([run[at][0] for run in runs]), np.mean([run[at][1] for run in runs], axis=0)) for runs in found
        )
        shown = (100 * value for value in (a, b, a - b, *interval(of_a - of_b)))
        print("  {:40} {:6.2f} {:6.2f} {:+6.2f} ({:+.2f} to {:+.2f})".format(".".join(key), *shown))


def threshold(run: str, tested: str) -> None:
    """By beat and by recording, two thresholds from validation people (most Se + Sp; Sp 90 %), and what they give."""
    for by in ("beats", "recordings"):
        (true, p), (own, q) = (_scored(read(Path(folder)), by) for folder in (f"{run}/validation", tested))
        wrong, right, at = roc_curve(true, p)
        limits = {"arg max": 0.5, "most Se + Sp": at[(right - wrong).argmax()], "Sp 90 %": at[wrong <= 0.1][-1]}
        for name, cut in limits.items():
            positive = q >= cut
            values = [(positive == own).mean(), positive[own == 1].mean(), 1 - positive[own == 0].mean()]
            shown = ", ".join(
                f"{what} {100 * one:.1f}" for what, one in zip(("accuracy", "Se", "Sp"), values, strict=True)
            )
            print(f"{tested}, {by}, {name} ({cut:.3f}): {shown}")


def _scored(arrays, by):
    labels, probabilities, _, _, records = arrays
    if by == "recordings":
        of = by_recording(labels, probabilities, records)
        labels, probabilities = of.labels, of.probabilities
    return labels, probabilities[:, 1]


if __name__ == "__main__":
    {"paired": paired, "threshold": threshold}[sys.argv[1]](*sys.argv[2:])
