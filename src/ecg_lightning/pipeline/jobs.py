"""The jobs of a sweep: each in a folder of its own name, done once, taken up where it stopped; and the closing tables.

A sweep that was interrupted, or one with more values, is started with the same ``hydra.sweep.dir``: jobs are told by
`config_digest`, finished ones give their score at once, and one that was stopped in its middle goes on from its
``checkpoints/last.ckpt`` to the figures it would have had.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import CheckpointError, ConfigError, DataError, EcgLightningError
from ecg_lightning.core.provenance import OWN_LAST, config_digest
from ecg_lightning.runs.schema import RunRecord

log = logging.getLogger(__name__)

FAILURE_FILE = "failure.json"
HYDRA_FOLDER = ".hydra"


def run_sweep_job(cfg: DictConfig) -> float | None:
    """Run one job of a sweep, unless it is finished.

    A failure is reported at once and left in the job's folder, and the other jobs go on; `SweepSummary` names it again
    at the end.

    Returns:
        The validation score that chose the checkpoint, or None if the job failed.
    """
    folder = Path(cfg.output_dir)
    try:
        with _claimed(folder):
            record = _finished(cfg, folder)
            if record is None:
                (folder / FAILURE_FILE).unlink(missing_ok=True)
                cfg = _taken_up(cfg, folder)
                # Heavy, and not needed where all is done.
                from ecg_lightning.pipeline.train import train

                record = train(cfg)
            (folder / FAILURE_FILE).unlink(missing_ok=True)
    except EcgLightningError as error:
        _leave_failure(folder, error)
    except Exception as error:
        traceback.print_exc()
        _leave_failure(folder, error)
    else:
        score: float | None = getattr(record.val, record.monitor.removeprefix("val/"))
        return score
    return None


class SweepSummary(Callback):
    """Ends a sweep with one table of the jobs in its folder, and a non-zero exit if one failed.

    Jobs that are folds of one cross-validation, repetitions with other seeds, or points of a low-data curve are also
    put together: in further tables, in ``pooled.json`` and in ``low_data.png``.
    """

    def __init__(self) -> None:
        self._failed_before: dict[Path, int] = {}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Look at what failed before; those of these jobs that did are run again."""
        self._failed_before = _failures(Path(config.hydra.sweep.dir))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the tables."""
        from rich.console import Console

        from ecg_lightning.report import plots
        from ecg_lightning.report.tables import comparison_table, pooled_tables
        from ecg_lightning.runs import aggregate as pooling

        folder = Path(config.hydra.sweep.dir)
        failed = _failures(folder).items() - self._failed_before.items()
        failures = {file.parent.name: json.loads(file.read_text())["error"] for file, _ in sorted(failed)}
        console = Console()
        try:
            runs = pooling.read_runs(folder)
            typed = pooling.varying_overrides(runs)
            named = {f"{run.folder.name} {typed[run.folder]}".strip(): run.record for run in runs}
            console.print(comparison_table(named, failures))
            pooled = pooling.pool(runs)
            if any(pooled.values()):
                console.print(pooled_tables(pooled))
                with atomic_write(folder / "pooled.json") as partial:
                    partial.write_text(json.dumps(pooled, indent=2) + "\n")
            if pooled["low_data"]:
                plots.low_data_picture(pooled["low_data"], folder / "low_data.png")
        except EcgLightningError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        console.print(f"Results in {folder}", soft_wrap=True)
        if failures:
            sys.exit(1)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder, for this process alone.

    Raises:
        ConfigError: another one is at work in it.
    """
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise ConfigError(
            f"{folder} belongs to a job that is running: the same job twice in a sweep, or the same sweep twice at once"
        ) from error


def _finished(cfg: DictConfig, folder: Path) -> RunRecord | None:
    """The record of this very job, if it is finished.

    Raises:
        ConfigError: the folder has the scores of another one.
    """
    file = folder / "scores.json"
    if not file.exists():
        return None
    try:
        record = RunRecord.read(file)
    except DataError as error:
        raise ConfigError(f"{error}; remove {folder} to run its job again") from error
    if record.config_digest != config_digest(cfg):
        raise ConfigError(
            f"{folder} has the results of other settings, which are not overwritten: choose another hydra.sweep.dir, "
            "or remove it"
        )
    log.info("finished before: %s", folder)
    return record


def _taken_up(cfg: DictConfig, folder: Path) -> DictConfig:
    """The configuration that begins the job, or goes on from the folder's last checkpoint if that is this job's."""
    files = folder / HYDRA_FOLDER
    last = folder / "checkpoints" / "last.ckpt"
    if last.exists():
        try:
            _check_own(cfg, files / "config.yaml", last)
        except EcgLightningError as error:
            log.warning("%s; the job starts afresh", error)
        else:
            log.info("going on from %s", last)
            resumed = cfg.copy()
            resumed.ckpt_path = OWN_LAST
            return resumed
    # The last checkpoint first: without it the others are taken for nothing.
    for leftover in (last, last.with_name("best.ckpt"), folder / "metrics.csv"):
        leftover.unlink(missing_ok=True)
    # As Hydra does it for a single run. It would also overwrite what is in the folder of a finished job.
    for name, part in {
        "config": cfg,
        "hydra": HydraConfig.instance().cfg,
        "overrides": HydraConfig.get().overrides.task,
    }.items():
        with atomic_write(files / f"{name}.yaml") as partial:
            OmegaConf.save(part, partial)
    return cfg


def _check_own(cfg: DictConfig, config: Path, checkpoint: Path) -> None:
    """Refuse a checkpoint that is damaged, or of another job than this one.

    Raises:
        CheckpointError: it is.
    """
    from ecg_lightning.training.checkpoint import read_checkpoint

    try:
        before = OmegaConf.load(config)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{checkpoint} is of unknown settings ({error})") from error
    if not isinstance(before, DictConfig) or config_digest(before) != config_digest(cfg):
        raise CheckpointError(f"{checkpoint} is of other settings")
    read_checkpoint(checkpoint)


def _leave_failure(folder: Path, error: Exception) -> None:
    log.error("job failed: %s", error)
    (folder / FAILURE_FILE).write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")


def _failures(folder: Path) -> dict[Path, int]:
    """The files that tell of failed jobs, and when they were written."""
    return {file: file.stat().st_mtime_ns for file in folder.glob(f"*/{FAILURE_FILE}")}


def _hydra_folder(*, _root_: DictConfig) -> str | None:
    """Where Hydra files the configuration of a run; a job of a sweep does so itself, see `_taken_up`."""
    return None if _root_.hydra.mode == RunMode.MULTIRUN else HYDRA_FOLDER


def _digest_of_root(*, _root_: DictConfig) -> str:
    return config_digest(_root_)


# For conf/hydra/default.yaml. A process that a launcher starts has them too, as its task imports this module.
OmegaConf.register_new_resolver("config_digest", _digest_of_root, replace=True)
OmegaConf.register_new_resolver("hydra_folder", _hydra_folder, replace=True)
