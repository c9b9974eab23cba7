"""The jobs of a sweep: each has a folder of its own, runs once, and resumes where it stopped.

A sweep that was interrupted, or one with more values, is started again with the same ``hydra.sweep.dir``. A job is
identified by its `config_digest`: a finished one returns its score at once, and one that was interrupted resumes from
its ``checkpoints/last.ckpt`` and ends with the same scores as without the interruption.
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
from typing import Any, NoReturn

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

# Which extra installs the launchers and sweepers of conf/hydra.
EXTRAS = {"hydra_joblib_launcher": "sweeps", "hydra_submitit_launcher": "cluster", "hydra_optuna_sweeper": "search"}

FAILURE_FILE = "failure.json"
HYDRA_FOLDER = ".hydra"


def run_sweep_job(cfg: DictConfig, run: Callable[[DictConfig], RunRecord]) -> float | None:
    """`run` one job of a sweep, unless it is finished; its `score_of`, or None if it failed.

    An error is printed at once and written to the job's folder, and the other jobs continue; the table at the end of
    the sweep repeats it.
    """
    folder = Path(cfg.output_dir)
    try:
        with claimed(folder):
            record = _finished(cfg, folder)
            (folder / FAILURE_FILE).unlink(missing_ok=True)
            return score_of(record or run(_resumed(cfg, folder)))
    except Exception as error:
        if not isinstance(error, EcgLightningError):
            traceback.print_exc()
        log.error("job failed: %s", error)
        (folder / FAILURE_FILE).write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        return None


def score_of(record: RunRecord) -> float | None:
    """The validation score that selected the checkpoint, which a search optimises."""
    score: float | None = getattr(record.val, record.monitor.removeprefix("val/"))
    return score


class Preflight(Callback):
    """Stops with one line, not a traceback, if the folder cannot be written or a plugin is not installed."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        _check_writable("hydra.run.dir", Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        _check_writable("hydra.sweep.dir", Path(config.hydra.sweep.dir))
        for part in ("launcher", "sweeper"):
            module = config.hydra[part]["_target_"].rpartition(".")[0]
            try:
                importlib.util.find_spec(module)
            except ModuleNotFoundError:
                extra = next((extra for package, extra in EXTRAS.items() if package in module), None)
                needed = f"pip install 'ecg-lightning[{extra}]'" if extra else f"the module {module}"
                refuse(f"hydra/{part}={config.hydra.runtime.choices[f'hydra/{part}']} needs {needed}")
        # Hydra sets it only within jobs, but an interrupted sweep prints its folder.
        HydraConfig.instance().set_config(config)


def _check_writable(setting: str, folder: Path) -> None:
    # The folder itself is made by Hydra, which recomputes the time in its name.
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        why = "no folder" if not existing.is_dir() else "not writable"
        refuse(f"cannot write to {folder}: {existing} is {why}; choose another {setting}")


def refuse(message: object) -> NoReturn:
    """End the process with one line and exit status 2; Hydra prints a traceback of an exception, or ignores it."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Lock the folder for this process and the ones it starts for further devices; a ConfigError if it is in use."""
    if "LOCAL_RANK" in os.environ:
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ConfigError(f"{folder} is in use by another run or job; wait for it or choose another folder") from error
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error}; choose another folder") from error
    try:
        yield
    finally:
        lock.release()


def _finished(cfg: DictConfig, folder: Path) -> RunRecord | None:
    """The record of this job if it is finished; a ConfigError if the folder has the scores of another one."""
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
    """The job's configuration, with the last checkpoint in the folder to resume from if it is this job's."""
    files, last = folder / HYDRA_FOLDER, folder / "checkpoints" / "last.ckpt"
    if last.exists():
        from ecg_lightning.training.checkpoint import read_checkpoint

        try:
            if config_digest(DictConfig(OmegaConf.load(files / "config.yaml"))) != config_digest(cfg):
                raise CheckpointError(f"{last} is of other settings")
            read_checkpoint(last)
        except (OSError, ValueError, EcgLightningError) as error:
            log.warning("cannot resume from %s: %s; the job starts from the beginning", last, error)
        else:
            log.info("resuming from %s", last)
            resumed = cfg.copy()
            resumed.ckpt_path = OWN_LAST
            return resumed
    # The last checkpoint first: without it, the next start ignores the other files.
    for leftover in (last, last.with_name("best.ckpt"), folder / "metrics.csv"):
        leftover.unlink(missing_ok=True)
    # Hydra writes these files for a single run; in a sweep it would overwrite those of a finished job.
    parts = {"config": cfg, "hydra": HydraConfig.instance().cfg, "overrides": HydraConfig.get().overrides.task}
    for name, part in parts.items():
        with atomic_write(files / f"{name}.yaml") as partial:
            OmegaConf.save(part, partial)
    return cfg


def failures(folder: Path) -> dict[Path, int]:
    """Files that the failed jobs in a sweep's folder wrote, and their times of modification."""
    return {file: file.stat().st_mtime_ns for file in folder.glob(f"*/{FAILURE_FILE}")}


# For conf/hydra/default.yaml. Processes of a launcher have them too, because their task imports this module.
OmegaConf.register_new_resolver("config_digest", lambda *, _root_: config_digest(_root_), replace=True)
OmegaConf.register_new_resolver(
    "hydra_folder",
    lambda *, _root_: None if _root_.hydra.mode == RunMode.MULTIRUN else HYDRA_FOLDER,  # in a sweep see `_resumed`
    replace=True,
)
