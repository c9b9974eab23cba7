"""The jobs of a sweep: each in a folder of its own name, done once, resumed where it stopped; and what to check first.

A sweep that was interrupted, or one with more values, is started with the same ``hydra.sweep.dir``: a job is known
by its `config_digest`, finished ones give their score at once, and one that was stopped in its middle resumes from its
``checkpoints/last.ckpt`` to the scores it would have had.
"""

import importlib.util
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
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

EXTRAS = {"hydra_joblib_launcher": "sweeps", "hydra_submitit_launcher": "cluster", "hydra_optuna_sweeper": "search"}
"""What to install for our configurations of launchers and sweepers."""

FAILURE_FILE = "failure.json"
HYDRA_FOLDER = ".hydra"


def run_sweep_job(cfg: DictConfig, run: Callable[[DictConfig], RunRecord]) -> float | None:
    """Run one job of a sweep, unless it is finished.

    A failure is reported at once and left in the job's folder, and the other jobs continue; the table at the sweep's
    end names it again.

    Args:
        cfg: the job's configuration.
        run: runs it; gives what it filed.

    Returns:
        The validation score that chose the checkpoint, or None if the job failed.
    """
    folder = Path(cfg.output_dir)
    try:
        with claimed(folder):
            record = _finished(cfg, folder)
            if record is None:
                (folder / FAILURE_FILE).unlink(missing_ok=True)
                record = run(_resumed(cfg, folder))
            (folder / FAILURE_FILE).unlink(missing_ok=True)
    except EcgLightningError as error:
        _leave_failure(folder, error)
    except Exception as error:
        traceback.print_exc()
        _leave_failure(folder, error)
    else:
        return score_of(record)
    return None


def score_of(record: RunRecord) -> float | None:
    """The validation score that chose the checkpoint, which a search optimises."""
    score: float | None = getattr(record.val, record.monitor.removeprefix("val/"))
    return score


class Preflight(Callback):
    """Ends a start whose folder cannot be written, or whose plugin is absent, with one line instead of a traceback."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the run's folder."""
        _check_writable("hydra.run.dir", Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the sweep's folder and plugins."""
        _check_writable("hydra.sweep.dir", Path(config.hydra.sweep.dir))
        for part in ("launcher", "sweeper"):
            _check_installed(f"hydra/{part}={config.hydra.runtime.choices[f'hydra/{part}']}", config.hydra[part])
        # Hydra sets it in the jobs alone, and an interrupted sweep prints its folder.
        HydraConfig.instance().set_config(config)


def _check_installed(choice: str, plugin: DictConfig) -> None:
    module = plugin["_target_"].rpartition(".")[0]
    try:
        importlib.util.find_spec(module)
    except ModuleNotFoundError:
        extra = next((extra for package, extra in EXTRAS.items() if package in module), None)
        _refuse(f"{choice} needs " + (f"pip install 'ecg-lightning[{extra}]'" if extra else f"the module {module}"))


def _check_writable(setting: str, folder: Path) -> None:
    # Nothing is made yet: Hydra does that, or makes another one if the time in its name has moved on.
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "no folder" if not there.is_dir() else "not writable"
        _refuse(f"cannot write to {folder}: {there} is {why}; choose another {setting}")


def _refuse(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder, for this process alone, and those it starts for further devices.

    Raises:
        ConfigError: another one is at work in it.
    """
    if "LOCAL_RANK" in os.environ:
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(
            f"{folder} belongs to a run that is not finished: one folder twice, in a sweep or in two at once; wait for "
            "it, or choose another folder"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error}; choose another folder") from error
    try:
        yield
    finally:
        lock.release()


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


def _resumed(cfg: DictConfig, folder: Path) -> DictConfig:
    """The configuration that starts the job, or resumes it from the folder's last checkpoint if that is this job's."""
    files = folder / HYDRA_FOLDER
    last = folder / "checkpoints" / "last.ckpt"
    if last.exists():
        try:
            _check_own(cfg, files / "config.yaml", last)
        except EcgLightningError as error:
            log.warning("%s; the job starts afresh", error)
        else:
            log.info("resuming from %s", last)
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


def failures(folder: Path) -> dict[Path, int]:
    """The files that failed jobs of a sweep's folder left, and when they were written."""
    return {file: file.stat().st_mtime_ns for file in folder.glob(f"*/{FAILURE_FILE}")}


def _hydra_folder(*, _root_: DictConfig) -> str | None:
    """Where Hydra files the configuration of a run; a job of a sweep does so itself, see `_resumed`."""
    return None if _root_.hydra.mode == RunMode.MULTIRUN else HYDRA_FOLDER


def _digest_of_root(*, _root_: DictConfig) -> str:
    return config_digest(_root_)


# For conf/hydra/default.yaml. A process that a launcher starts has them too, as its task imports this module.
OmegaConf.register_new_resolver("config_digest", _digest_of_root, replace=True)
OmegaConf.register_new_resolver("hydra_folder", _hydra_folder, replace=True)
