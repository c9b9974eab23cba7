"""Saving a finished run: its predictions, then its record."""

from pathlib import Path

from ecg_lightning.core.atomic import cannot_write, sha256_of
from ecg_lightning.data.beats import Beats
from ecg_lightning.metrics.confusion import Probabilities
from ecg_lightning.runs.predictions import METRICS, PREDICTIONS, RECORD, write_predictions
from ecg_lightning.runs.schema import RunRecord


def save_run(folder: Path, record: RunRecord, beats: Beats, probabilities: Probabilities) -> RunRecord:
    """Write ``predictions.parquet``, then ``scores.json``: a folder that has the latter is complete.

    Returns the record with the checksums of the predictions and of metrics.csv; `probabilities` are ``[n, classes]``,
    of the tested beats. DataError if a file cannot be written.
    """
    try:
        # The record of an earlier run in this folder is not of these predictions.
        (folder / RECORD).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder / RECORD, error) from error
    names = ("model", "seed", "dataset", "synthetic", "fingerprint", "protocol", "fold")
    about = {name: getattr(record, name) for name in names} | {"protocol": record.protocol.sentence()}
    digest = write_predictions(folder / PREDICTIONS, beats, probabilities, positive=record.positive, about=about)
    curves = sha256_of(folder / METRICS) if (folder / METRICS).is_file() else None
    saved = record.model_copy(update={"predictions_sha256": digest, "metrics_sha256": curves})
    saved.write(folder / RECORD)
    return saved
