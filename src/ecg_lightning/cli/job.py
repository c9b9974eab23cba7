"""What Hydra runs: a single run or a job of a sweep, and the table at the end of a sweep."""

import importlib.util
import json
import logging
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig

from ecg_lightning.cli.door import fail, leave
from ecg_lightning.core.atomic import atomic_write, claimed
from ecg_lightning.core.errors import ConfigError, sentence_of
from ecg_lightning.core.progress import showing
from ecg_lightning.core.startup import quick_imports
from ecg_lightning.core.stops import how_stopped
from ecg_lightning.core.terminal import readable_streams
from ecg_lightning.pipeline.config import added_conf_dirs, command_again, quiet
from ecg_lightning.pipeline.jobs import (
    failures,
    limit_processes,
    run_sweep_job,
    save_configuration,
    score_of,
    start_processes,
    sweep_progress,
)
from ecg_lightning.runs.schema import RunRecord

log = logging.getLogger(__name__)

# Which extra installs the launchers and sweepers of conf/hydra.
EXTRAS = {"hydra_joblib_launcher": "sweeps", "hydra_submitit_launcher": "cluster", "hydra_optuna_sweeper": "search"}


def run_job(cfg: DictConfig) -> float | None:
    """Run the experiment of a configuration, alone or as a job of a sweep (see `run_sweep_job`).

    Alone, an error ends the process as the `door` does, and a stop with the command that resumes. Returns the
    `score_of` its record, or None if the job of a sweep failed.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        readable_streams()  # in a process of a launcher, which has no door
        return run_sweep_job(cfg, _run)
    folder, is_main = Path(cfg.output_dir), os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        with claimed(folder):
            if is_main:
                save_configuration(cfg, folder)
            return score_of(_run(cfg))
    except Exception as error:
        fail(error, folder)
    except KeyboardInterrupt as stop:
        if not is_main:
            sys.exit(how_stopped(stop)[1])
        # In the same folder, so that the best checkpoint so far takes part in the selection, and finished folds count.
        again, last = {"hydra.run.dir": folder}, folder / "checkpoints" / "last.ckpt"
        if last.exists():
            again = {"ckpt_path": last, **again}
        leave(stop, f"resume with: {command_again(again)}")


def _run(cfg: DictConfig) -> RunRecord:
    """Check, build, train, test and report one experiment."""
    # Here, so that a sweep whose jobs run in other processes does not import torch in its own.
    from ecg_lightning.pipeline.settings import validated

    validated(cfg)  # as `prepare` does, but before the rest is imported
    _import_all()
    from ecg_lightning.pipeline.tracking import tracked
    from ecg_lightning.pipeline.train import fit_and_test, prepare
    from ecg_lightning.report import terminal

    quiet()
    with showing(cfg.trainer.enable_progress_bar):
        experiment = prepare(cfg)
        is_main = experiment.estimator.is_main_process
        if is_main:
            terminal.announce(experiment)
        with tracked(experiment) as keep:
            record = fit_and_test(experiment)
            if is_main:
                folder = experiment.output_dir
                del experiment  # its beats and network take most of the memory
                terminal.print_run(record)
                if cfg.report != "none":
                    _write_report(folder, embedding=cfg.report == "full")
                print(f"Results in {folder}", *keep(record), sep="\n")
    return record


def _import_all() -> None:
    """Import what `_run` needs."""
    with quick_imports():
        import ecg_lightning.pipeline.tracking
        import ecg_lightning.pipeline.train
        import ecg_lightning.report.terminal  # noqa: F401


def _write_report(folder: Path, *, embedding: bool) -> None:
    from ecg_lightning.report import REPORT, write_report

    (folder / REPORT).unlink(missing_ok=True)  # of an earlier run
    try:
        write_report([folder], embedding=embedding)
    except Exception as error:  # the run is complete without its report
        again = shlex.join(["ecg-lightning", "report", str(folder)])
        log.warning("no report of this run: %s. Its scores are saved; to try again: %s", sentence_of(error), again)


class AddedConf(SearchPathPlugin):
    """Adds the configurations of other packages, see `added_conf_dirs`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in added_conf_dirs():
            search_path.append("ecg_lightning.conf", f"file://{folder}")


class Preflight(Callback):
    """Stops with one line, not a traceback, if the folder cannot be written or a plugin is not installed.

    A sweep starts no more processes than it has jobs, and at once, see `limit_processes` and `start_processes`.
    """

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        _check_writable("hydra.run.dir", config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        _check_writable("hydra.sweep.dir", config.hydra.sweep.dir)
        for part in ("launcher", "sweeper"):
            module = config.hydra[part]["_target_"].rpartition(".")[0]
            try:
                importlib.util.find_spec(module)
            except ModuleNotFoundError:
                extra = next((extra for package, extra in EXTRAS.items() if package in module), None)
                needed = f"pip install 'ecg-lightning[{extra}]'" if extra else f"the module {module}"
                _refuse(f"hydra/{part}={config.hydra.runtime.choices[f'hydra/{part}']} needs {needed}")
        limit_processes(config.hydra)
        # Hydra sets it only within jobs, but an interrupted sweep prints its folder.
        HydraConfig.instance().set_config(config)
        start_processes(config.hydra, _import_all)


def _check_writable(setting: str, path: str) -> None:
    if not path:  # perhaps a variable that is not set: it would be the current folder
        _refuse(f"{setting} is empty; give a folder, or . for the current one")
    folder = Path(path)
    # The folder itself is made by Hydra, which recomputes the time in its name. Path.exists raises within a folder that
    # may not be entered.
    existing = next(path for path in (folder, *folder.absolute().parents) if os.access(path, os.F_OK))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        why = "no folder" if not existing.is_dir() else "not writable"
        _refuse(f"cannot write to {folder}: {existing} is {why}; choose another {setting}")


def _refuse(message: str) -> NoReturn:
    fail(ConfigError(message))  # Hydra would turn the error itself into a warning


class SweepSummary(Callback):
    """Ends a sweep with one table of the jobs in its folder, and with a non-zero exit status if one failed.

    Folds, seeds and points of a low-data curve are also pooled: in further tables and in ``pooled.json``.
    """

    def __init__(self) -> None:
        self._failed_before: dict[Path, int] = {}
        self._progress = ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        """What Hydra sends to processes of a launcher."""
        return {**vars(self), "_progress": ExitStack()}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        self._failed_before = failures(Path(config.hydra.sweep.dir))
        self._progress.enter_context(sweep_progress(config.hydra))

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        from ecg_lightning.report import terminal
        from ecg_lightning.runs import aggregate

        self._progress.close()
        folder = Path(config.hydra.sweep.dir)
        failed = failures(folder).items() - self._failed_before.items()
        errors = {file.parent.name: json.loads(file.read_text())["error"] for file, _ in sorted(failed)}
        try:
            runs = aggregate.read_runs(folder)
            typed, pooled = aggregate.varying_overrides(runs), aggregate.pool(runs)
            named = {f"{run.folder.name} {typed[run.folder]}".strip(): run.record for run in runs}
            terminal.print_sweep(named, errors, pooled, folder)
            if any(pooled.values()):
                with atomic_write(folder / "pooled.json") as partial:
                    partial.write_text(json.dumps(pooled, indent=2) + "\n")
        except Exception as error:  # which Hydra would turn into a warning and exit status 0
            fail(error, folder)
        if errors:  # printed in the table, too, which a script may not read
            what = f"{len(errors)} of {len(errors) + len(runs)} jobs failed, as the table says; start the sweep again"
            print(f"error: {what} with hydra.sweep.dir={folder}, which runs only these", file=sys.stderr)
            sys.exit(1)
