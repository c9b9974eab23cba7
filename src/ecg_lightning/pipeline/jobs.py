"""The jobs of a sweep: each has a folder of its own, runs once, and resumes where it stopped.

A sweep that was interrupted, or one with more values, is started again with the same ``hydra.sweep.dir``. A job is
identified by its `config_digest`: a finished one returns its score at once, and one that was interrupted resumes from
its ``checkpoints/last.ckpt`` and ends with the same scores as without the interruption.
"""

import json
import logging
import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import joblib
from filelock import FileLock
from hydra._internal.core_plugins.basic_launcher import BasicLauncherConf
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from ecg_lightning.core.atomic import atomic_write, claimed
from ecg_lightning.core.errors import CheckpointError, ConfigError, DataError, EcgLightningError, sentence_of
from ecg_lightning.core.progress import Step, progress
from ecg_lightning.core.provenance import OWN_LAST, config_digest
from ecg_lightning.core.reading import read_config
from ecg_lightning.core.stops import terminable
from ecg_lightning.pipeline.config import command_again
from ecg_lightning.runs.schema import RunRecord

log = logging.getLogger(__name__)

FAILURE_FILE = "failure.json"
CLAIM_FILE = ".lock"  # of `claimed`
HYDRA_FOLDER = ".hydra"
LONGEST_BATCH_S = 20.0  # in which a job that is asked to stop saves; Slurm and Docker kill a little later


def run_sweep_job(cfg: DictConfig, run: Callable[[DictConfig], RunRecord]) -> float | None:
    """`run` one job of a sweep, unless it is finished; its `score_of`, or None if it failed.

    An error is printed at once and written to the job's folder, and the other jobs continue; the table at the end of
    the sweep repeats it.
    """
    folder = Path(cfg.output_dir)
    failed = folder / FAILURE_FILE
    try:
        with claimed(folder), terminable():  # in a process of a launcher, which has no door
            (folder / CLAIM_FILE).touch()  # by which `sweep_progress` sees that the job has begun
            failed.unlink(missing_ok=True)
            score = score_of(_finished(cfg, folder) or run(_resumed(cfg, folder)))
            failed.unlink(missing_ok=True)  # of another sweep that found this folder in use
            return score
    except Exception as error:
        sentence = sentence_of(error, folder)
        log.error("job failed: %s", sentence)
        with atomic_write(failed) as partial:
            partial.write_text(json.dumps({"error": sentence}) + "\n")
        return None


def score_of(record: RunRecord) -> float | None:
    """The validation score that selected the checkpoint, which a search optimises."""
    score: float | None = getattr(record.val, record.monitor.removeprefix("val/"))
    return score


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
            if config_digest(DictConfig(read_config(files / "config.yaml"))) != config_digest(cfg):
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
    save_configuration(cfg, folder)
    return cfg


def save_configuration(cfg: DictConfig, folder: Path) -> None:
    """Write the files that Hydra would write before the folder is claimed, and over those of a finished job."""
    parts = {"config": cfg, "hydra": HydraConfig.instance().cfg, "overrides": HydraConfig.get().overrides.task}
    for name, part in parts.items():
        with atomic_write(folder / HYDRA_FOLDER / f"{name}.yaml") as partial:
            OmegaConf.save(part, partial)


def how_to_resume(config: HydraConf) -> str:
    """Which jobs of a stopped sweep are done and which are left, and the command that goes on."""
    folder = Path(config.sweep.dir).absolute()
    files = [file.parent / HYDRA_FOLDER / "overrides.yaml" for file in folder.glob("*/scores.json")]
    done = [OmegaConf.to_container(read_config(file)) for file in files if file.is_file()]
    jobs, left = _jobs(config), ""
    if jobs:
        common = set.intersection(*map(set, jobs))
        names = [" ".join(word for word in job if word not in common) for job in jobs if job not in done]
        left = f" of {len(jobs)}, left: {', '.join(names[:10])}{', …' * (len(names) > 10)}" if any(names) else ""
    return f"jobs done: {len(done)}{left}; resume with: {command_again({'hydra.sweep.dir': folder})}"


def _jobs(config: HydraConf) -> list[list[str]]:
    """The overrides of all jobs of a sweep; none of a search, which chooses jobs by the scores of those before."""
    if config.sweeper["_target_"] != BasicSweeperConf._target_:
        return []
    words = [*(f"{name}={value}" for name, value in (config.sweeper.params or {}).items()), *config.overrides.task]
    try:
        batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(words), None)
    except HydraException:  # of glob(…), which would need the configurations
        return []
    return [job for batch in batches for job in batch]


def limit_processes(config: HydraConf) -> None:
    """No more processes of hydra/launcher=local than jobs: all cores are divided among those that there are."""
    at_once, jobs = config.launcher.get("n_jobs"), len(_jobs(config))
    if isinstance(at_once, int) and at_once and jobs:  # the launcher refuses what is no number, and 0
        config.launcher.n_jobs = min(joblib.effective_n_jobs(at_once), jobs)


def start_processes(config: HydraConf, imports: Callable[[], None]) -> None:
    """Start the processes of hydra/launcher=local and let them import, while the configurations are composed.

    joblib gives the launcher the same processes, because it requests them with the same settings.
    """
    settings = {name: value for name, value in config.launcher.items() if name != "_target_"}
    at_once = settings.get("n_jobs")
    if not isinstance(at_once, int) or not at_once or (n := joblib.effective_n_jobs(at_once)) < 2:
        return

    def start() -> None:
        with suppress(Exception):  # the first job that needs the import, or the process, reports it
            joblib.Parallel(**settings)(joblib.delayed(imports)() for _ in range(n))

    threading.Thread(target=start).start()


@contextmanager
def sweep_progress(config: HydraConf) -> Iterator[None]:
    """Show how many jobs of a sweep are done, running, failed and left, from the files in its folder."""
    folder, total = Path(config.sweep.dir), len(_jobs(config)) or config.sweeper.get("n_trials")
    claims_before, failures_before = _times(folder, CLAIM_FILE), failures(folder)

    def look(step: Step) -> None:
        jobs = {
            file.parent for file, _ in _times(folder, CLAIM_FILE).items() - claims_before.items()
        }  # that have begun
        failed = len(failures(folder).items() - failures_before.items())
        step.done = failed + sum((job / "scores.json").is_file() for job in jobs)
        running = max(0, len(jobs) - int(step.done))
        counts = {"running": running, "failed": failed, "waiting": int(total or 0) - int(step.done) - running}
        step.note = ", ".join(f"{n} {what}" for what, n in counts.items() if n > 0)

    with progress("sweep", total, "jobs") as step:
        step.look = look
        if config.launcher["_target_"] != BasicLauncherConf._target_:
            step.without_bars()  # jobs in other processes print, too
        yield


@contextmanager
def saving_jobs() -> Iterator[None]:
    """On Ctrl-C and SIGTERM, let jobs in processes of a launcher save where they are, before it kills them."""

    def stop(number: int, frame: FrameType | None) -> None:
        if HydraConfig.initialized() and (processes := multiprocessing.active_children()):
            until = time.monotonic() + LONGEST_BATCH_S
            for process in processes:
                process.terminate()
            for claim in Path(HydraConfig.get().sweep.dir).glob(f"*/{CLAIM_FILE}"):
                with suppress(OSError), FileLock(claim, timeout=max(0, until - time.monotonic())):
                    pass  # the job has ended; Timeout is an OSError
        before[number](number, frame)

    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in handlers.items() if callable(handler)}  # else ignored
    for number in before:
        signal.signal(number, stop)
    try:
        yield
    except Exception:  # of a configuration, while processes import: the command does not wait for them
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def failures(folder: Path) -> dict[Path, int]:
    """Files that the failed jobs in a sweep's folder wrote, and their times of modification."""
    return _times(folder, FAILURE_FILE)


def _times(folder: Path, name: str) -> dict[Path, int]:
    """The times of modification of the files of this name in the folders of jobs."""
    return {file: file.stat().st_mtime_ns for file in folder.glob(f"*/{name}")}


# For conf/hydra/default.yaml. Processes of a launcher have it too, because their task imports this module.
OmegaConf.register_new_resolver("config_digest", lambda *, _root_: config_digest(_root_), replace=True)
