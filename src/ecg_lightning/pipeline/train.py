"""One experiment, from a composed configuration to a trained and tested estimator and its record.

``train(compose(["model=cnet", "task=mi"], output_dir=…))`` trains as the command line does, without tables and pages.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ecg_lightning.core import provenance
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.pipeline.build import Experiment, build
from ecg_lightning.pipeline.config import quiet
from ecg_lightning.pipeline.evaluate import check_databases, evaluate_on
from ecg_lightning.pipeline.predictor import checkpoint_predictor
from ecg_lightning.pipeline.record import make_record
from ecg_lightning.runs.discover import ON
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run
from ecg_lightning.training.checkpoint import add_calibration, read_checkpoint


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
    elsewhere = _elsewhere(experiment)
    check_databases(experiment.config, **elsewhere)
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
    device: Literal["cpu", "auto"] = "cpu" if experiment.config["trainer"]["accelerator"] == "cpu" else "auto"
    best = experiment.output_dir / "checkpoints" / "best.ckpt"
    if best.is_file():  # not of a debug mode, or where a finished run is resumed in another folder
        record = record.model_copy(update={"calibration": _calibrate(best, datamodule, device)})
    if elsewhere["databases"]:
        evaluate_on(best, output_dir=experiment.output_dir / ON, device=device, **elsewhere)
    return save_run(experiment.output_dir, record, tested, probabilities)


def _calibrate(best: Path, datamodule: BeatDataModule, device: Literal["cpu", "auto"]) -> dict[str, Any] | None:
    """Fit the calibration of a checkpoint on the validation beats, and add it; None if there are none."""
    validation = datamodule.beats.select(np.sort(datamodule.folds.validation))
    if not len(validation):
        return None
    # In single precision, as it is used; without the calibration of a run that is resumed.
    predict = checkpoint_predictor(replace(read_checkpoint(best), calibration=None), device=device)
    probabilities = predict.of(validation)
    calibration = Calibration.fit(validation, probabilities, protocol=datamodule.folds.protocol).plain()
    add_calibration(best, calibration)
    return calibration


def _elsewhere(experiment: Experiment) -> dict[str, Any]:
    """The databases of ``test_on``, on which the best checkpoint is tested, and where they are."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return {
        "databases": list(experiment.config["test_on"]),
        "data_dir": Path(experiment.config["data_dir"]),
        "cache_dir": Path(experiment.config["cache_dir"]),
        "config_dir": next((one.path for one in sources if one.provider == "command-line"), None),
    }
