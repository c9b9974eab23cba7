"""One experiment, from a composed configuration to a trained and tested estimator and its record.

``train(compose(["model=cnet", "task=mi"], output_dir=…))`` trains as the command line does, without tables and pages.
"""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ecg_lightning.core import provenance
from ecg_lightning.pipeline.build import Experiment, build
from ecg_lightning.pipeline.config import quiet
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.record import make_record
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run

ON = "on"  # folder in that of a run, with its tests on other databases


def train(cfg: DictConfig) -> RunRecord:
    """Fit, test once with the checkpoint that was best on validation, and save the results.

    Raises:
        DataError, ConfigError, CheckpointError: as `build`; DataError also if the run's folder cannot be written.
        KeyboardInterrupt: Ctrl-C; ``checkpoints/last.ckpt`` of a network is where training stopped.
    """
    quiet()
    return fit_and_test(build(cfg))


def fit_and_test(experiment: Experiment) -> RunRecord:
    """Fit, test once and save what `build` returned, see `train`; the record is that of ``scores.json``."""
    began, clock = datetime.now(UTC), time.perf_counter()
    datamodule, estimator, fold = experiment.datamodule, experiment.estimator, experiment.config["tested"]
    fit = estimator.fit(datamodule)
    tested = datamodule.beats.select(np.sort(datamodule.folds.named()[fold]))
    probabilities = estimator.predict_proba(tested)
    record = make_record(
        config=experiment.config,
        composed=experiment.composed,
        overrides=experiment.overrides,
        datamodule=datamodule,
        estimator=estimator,
        beats=tested,
        probabilities=probabilities,
        fold=fold,
        **vars(fit),  # epochs, steps and validation scores
        started=began.isoformat(timespec="milliseconds"),
        wall_s=time.perf_counter() - clock,
        config_digest=provenance.config_digest(experiment.cfg),
    )
    if not estimator.is_main_process:
        return record
    # Before the record, which marks a run as complete.
    test_elsewhere(experiment)
    return save_run(experiment.output_dir, record, tested, probabilities)


def test_elsewhere(experiment: Experiment) -> None:
    """Test the checkpoint that was best on validation on the databases of ``test_on``, in ``on/NAME`` of the folder."""
    for on in experiment.config["test_on"]:
        evaluate(
            experiment.output_dir / "checkpoints" / "best.ckpt",
            on=on,
            data_dir=Path(experiment.config["data_dir"]),
            cache_dir=Path(experiment.config["cache_dir"]),
            output_dir=experiment.output_dir / ON / on.replace(":", "-"),
            device="cpu" if experiment.config["trainer"]["accelerator"] == "cpu" else "auto",
        )
