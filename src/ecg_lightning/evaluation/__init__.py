"""What came out of a run: scores, the published figures to hold them against, tables and pictures."""

from ecg_lightning.evaluation.published import published_row
from ecg_lightning.evaluation.scores import read_predictions, score, score_predictions, write_predictions

__all__ = ["published_row", "read_predictions", "score", "score_predictions", "write_predictions"]
