"""What a run leaves in its folder, and what it says on the terminal."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.report import plots
from ecg_lightning.report.tables import run_table
from ecg_lightning.report.transfer import transfer_table
from ecg_lightning.runs.predictions import write_predictions
from ecg_lightning.training.classifier import BeatClassifier

log = logging.getLogger(__name__)

REPORTS = ("full", "brief", "none")
"""How much of a report a run writes: ``brief`` leaves out the layout of its test beats."""


def announce(datamodule: BeatDataModule, network: str) -> None:
    """Say what is about to be trained on what.

    Args:
        datamodule: the beats.
        network: what learns from them, in a phrase.
    """
    beats, folds = datamodule.beats, datamodule.folds
    sizes = "  ".join(f"{name} {size:,}" for name, size in folds.sizes().items())
    counts = "  ".join(f"{name} {count:,}" for name, count in beats.counts().items())
    origin = f"{datamodule.source.dataset} from {datamodule.source.name}"
    print(f"network  {network}")
    print(f"beats    {origin}{' (SYNTHETIC)' if beats.synthetic else ''}: {counts}")
    print(f"split    {folds.protocol.sentence()}: {sizes}", flush=True)


def announce_transfer(classifier: BeatClassifier) -> None:
    """Say where its weights come from and which of them learn, if they come from another network."""
    if origin_of_weights := classifier.hparams["about"]["origin"]:
        Console().print(transfer_table(classifier.model, classifier.transfer, origin_of_weights))


def write(
    folder: Path,
    scores: dict[str, Any],
    beats: Beats,
    probabilities: npt.NDArray[np.float32],
    *,
    positive: str | None,
    report: str,
) -> None:
    """File a finished run and print its table.

    Writes ``predictions.parquet``, the pictures and then ``scores.json``: a folder that has it is complete. What goes
    wrong with ``report.html``, which is made from these, is said and no more.

    Args:
        folder: the run's folder.
        scores: content of ``scores.json``.
        beats: the test beats.
        probabilities: ``[n, classes]``, what the network said of them.
        positive: the class of interest of a binary task.
        report: one of `REPORTS`.
    """
    about = {key: value for key, value in scores.items() if key not in ("val", "test")}
    write_predictions(folder / "predictions.parquet", beats, probabilities, positive=positive, about=about)
    plots.confusion_picture(scores, folder / "confusion.png")
    plots.per_class_picture(scores, folder / "per_class.png")
    if (folder / "metrics.csv").exists():
        plots.learning_curves_picture(scores, folder / "metrics.csv", folder / "learning_curves.png")
    with atomic_write(folder / "scores.json") as partial:
        partial.write_text(json.dumps(scores, indent=2) + "\n")
    console = Console()
    console.print(run_table(scores))
    if report != "none":
        _write_report(folder, embedding=report == "full")
    console.print(f"Results in {folder}", soft_wrap=True)


def _write_report(folder: Path, *, embedding: bool) -> None:
    from ecg_lightning.report import REPORT, write_report

    (folder / REPORT).unlink(missing_ok=True)  # of what was here before
    try:
        write_report([folder], embedding=embedding)
    except Exception as error:  # the run is whole: whatever it is, it is no reason to fail
        log.warning(
            "no report of this run (%s: %s); its scores are filed, and `ecg-lightning report %s` tries again",
            type(error).__name__, error, folder,
        )  # fmt: skip
