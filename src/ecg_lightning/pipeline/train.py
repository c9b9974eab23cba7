"""One experiment, from a composed configuration to a trained and tested estimator and its record.

``train(compose(["model=cnet", "task=mi"], output_dir=…))`` trains as the command line does, without tables and pages.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ecg_lightning.core import provenance
from ecg_lightning.core.progress import showing
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.metrics.confusion import Probabilities
from ecg_lightning.metrics.scoring import score, score_beats
from ecg_lightning.pipeline.build import Experiment, build
from ecg_lightning.pipeline.config import quiet
from ecg_lightning.pipeline.cross_validation import CrossValidation, cross_validate
from ecg_lightning.pipeline.evaluate import check_databases, evaluate_on
from ecg_lightning.pipeline.predictor import checkpoint_predictor
from ecg_lightning.pipeline.record import make_record
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.pipeline.tracking import tracked
from ecg_lightning.runs.discover import ON
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.runs.store import save_run
from ecg_lightning.training.checkpoint import add_fitted, read_checkpoint
from ecg_lightning.training.estimator import Fit


def train(cfg: DictConfig) -> RunRecord:
    """Fit, test once with the checkpoint that was best on validation, and save the results.

    Raises:
        DataError, ConfigError, CheckpointError: as `build`; DataError also if the run's folder cannot be written.
        KeyboardInterrupt: Ctrl-C; ``checkpoints/last.ckpt`` of a network is where training stopped.
    """
    quiet()
    with showing(cfg.trainer.enable_progress_bar):
        experiment = prepare(cfg)
        with tracked(experiment) as keep:
            record = fit_and_test(experiment)
            keep(record)
        return record


def prepare(cfg: DictConfig) -> Experiment:
    """What `build` returns, once the databases of ``test_on`` are known to be there; raises as both."""
    config = validated(cfg)
    check_databases(config, **_elsewhere(config))
    return build(cfg)


def fit_and_test(experiment: Experiment) -> RunRecord:
    """Fit, test once and save what `build` returned, see `train`; the record is that of ``scores.json``."""
    began, clock = datetime.now(UTC), time.perf_counter()
    datamodule, estimator, fold = experiment.datamodule, experiment.estimator, experiment.config["tested"]
    elsewhere = _elsewhere(experiment.config)
    check_databases(experiment.config, **elsewhere)
    crossed = cross_validate(experiment, fit_and_test)
    if fold == "cross_validation":
        assert crossed is not None
        fit, tested, probabilities = Fit(), crossed.beats, crossed.probabilities
    else:
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
    if crossed is not None:
        record = _with_operating_point(record, crossed, tested, probabilities)
    if fold == "cross_validation":
        return save_run(experiment.output_dir, record, tested, probabilities)
    # Before the record, which marks a run as complete.
    device: Literal["cpu", "auto"] = "cpu" if experiment.config["trainer"]["accelerator"] == "cpu" else "auto"
    best = experiment.output_dir / "checkpoints" / "best.ckpt"
    if best.is_file():  # not of a debug mode, or where a finished run is resumed in another folder
        record = record.model_copy(update={"calibration": _calibrate(best, datamodule, device)})
        if record.operating_point is not None:
            add_fitted(best, operating_point=record.operating_point)
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
    add_fitted(best, calibration=calibration)
    return calibration


def _with_operating_point(
    record: RunRecord, crossed: CrossValidation, tested: Beats, probabilities: Probabilities
) -> RunRecord:
    """The record with the scores of the cross-validation over training people, and of both at the operating point."""
    beats, positive = crossed.beats, record.positive
    apart = score(beats.known_labels, crossed.at_point, beats.classes, positive, records=beats.records)
    update: dict[str, Any] = {"operating_point": crossed.point.plain()}
    if record.fold == "cross_validation":
        own = record.val.model_copy(update={name: record.test[name] for name in ("macro_f1", "accuracy")})
        n = {**record.n, record.fold: len(tested)}
        protocol = replace(record.protocol, inner_folds=crossed.point.folds)
        return record.model_copy(
            update={**update, "val": own, "n": n, "protocol": protocol, "at_operating_point": apart}
        )
    at_point = score_beats(tested, crossed.point.apply(probabilities, tested.classes), positive)
    update |= {"at_operating_point": at_point, "cross_validation_at_operating_point": apart}
    return record.model_copy(update=update | {"cross_validation": score_beats(beats, crossed.probabilities, positive)})


def _elsewhere(config: Mapping[str, Any]) -> dict[str, Any]:
    """The databases of ``test_on``, on which the best checkpoint is tested, and where they are."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return {
        "databases": list(config["test_on"]),
        "data_dir": Path(config["data_dir"]),
        "cache_dir": Path(config["cache_dir"]),
        "config_dir": next((one.path for one in sources if one.provider == "command-line"), None),
    }
