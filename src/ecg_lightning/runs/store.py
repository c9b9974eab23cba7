"""Filing a finished run: its predictions, then its record."""

from pathlib import Path

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.metrics.confusion import Probabilities
from ecg_lightning.runs.predictions import PREDICTIONS, RECORD, write_predictions
from ecg_lightning.runs.schema import RunRecord


def save_run(folder: Path, record: RunRecord, beats: Beats, probabilities: Probabilities) -> RunRecord:
    """Write ``predictions.parquet``, then ``scores.json``: a folder that has the latter is complete.

    Args:
        folder: the run's; made if it is not there.
        record: of the run.
        beats: the beats that were tested.
        probabilities: ``[n, classes]``, in the order of `beats`.

    Returns:
        The record as filed, with the checksum of the predictions.

    Raises:
        DataError: a file cannot be written.
    """
    try:
        # What an earlier run left says nothing about the predictions that come now.
        (folder / RECORD).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot replace {folder / RECORD}: {error}; choose another folder") from error
    about = {
        "model": record.model,
        "seed": record.seed,
        "dataset": record.dataset,
        "synthetic": record.synthetic,
        "fingerprint": record.fingerprint,
        "protocol": record.protocol.sentence(),
        "fold": record.fold,
    }
    digest = write_predictions(folder / PREDICTIONS, beats, probabilities, positive=record.positive, about=about)
    filed = record.model_copy(update={"predictions_sha256": digest})
    filed.write(folder / RECORD)
    return filed
