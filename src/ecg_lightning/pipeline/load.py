"""Beats of a dataset and the estimator of a checkpoint, for programs and notebooks."""

from pathlib import Path
from typing import Literal

from ecg_lightning.data.beats import Beats
from ecg_lightning.data.splits import without_duplicates
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.estimator import Estimator, load_estimator


def load_beats(dataset: str, *overrides: str, config_dir: Path | str | None = None) -> Beats:
    """All beats of a dataset, from the cache if they were read before.

    Args:
        dataset: a choice of the group ``dataset``, such as ``mitbih``.
        overrides: how it is read, such as ``dataset.leads=[0,1]``, ``context=full`` or ``data_dir=/recordings``.
        config_dir: folder with more choices, as ``--config-dir``.

    Raises:
        DataError, ConfigError: recordings are missing or damaged; settings are unknown or impossible.
    """
    datamodule = make_datamodule(validated(compose([f"dataset={dataset}", *overrides], config_dir=config_dir)))
    beats = datamodule.cached()
    return without_duplicates(beats) if datamodule.drop_duplicates else beats


def load_checkpoint(path: Path | str, *, device: Literal["cpu", "auto"] = "auto") -> Estimator:
    """The estimator that a run has saved, ready for ``predict_proba`` on the CPU or the best device there is.

    `path` is a checkpoint, or a run's folder for its best one; if it cannot be read, a CheckpointError is raised.
    """
    return load_estimator(read_checkpoint(path), device=device)
