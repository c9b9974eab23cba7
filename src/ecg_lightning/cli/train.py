"""An experiment as a Hydra job: what a failure says, and how an interrupted one goes on."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from ecg_lightning.core.errors import EcgLightningError
from ecg_lightning.pipeline.jobs import run_sweep_job

EXTRAS = {"hydra_joblib_launcher": "sweeps", "hydra_submitit_launcher": "cluster", "hydra_optuna_sweeper": "search"}
"""What to install for our configurations of launchers and sweepers."""


def run_job(cfg: DictConfig) -> float | None:
    """Run the experiment that `cfg` describes, alone or as a job of a sweep.

    Alone, a failure that a user can mend ends it with one line and exit status 2, and Ctrl-C with one line that says
    how to go on and exit status 130; see `run_sweep_job` and `interruptible` for sweeps.

    Returns:
        The validation score that chose the checkpoint, or None if the job of a sweep failed.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_sweep_job(cfg)
    try:
        # Heavy, and not needed by --help or a wrong setting.
        from ecg_lightning.pipeline.train import train

        record = train(cfg)
    except EcgLightningError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(_interrupted(cfg), file=sys.stderr)
        sys.exit(130)
    score: float | None = getattr(record.val, record.monitor.removeprefix("val/"))
    return score


@contextmanager
def interruptible() -> Iterator[None]:
    """Ends a sweep at Ctrl-C with one line that says how to go on, and exit status 130."""
    try:
        yield
    except KeyboardInterrupt:
        how = ""
        if HydraConfig.initialized():
            how = f": the same command with hydra.sweep.dir={HydraConfig.get().sweep.dir} goes on where it stopped"
        print(f"interrupted{how}", file=sys.stderr)
        sys.exit(130)


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
        # Hydra knows it in the jobs alone, and `interruptible` has to tell.
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


def _interrupted(cfg: DictConfig) -> str:
    last = Path(cfg.output_dir) / "checkpoints" / "last.ckpt"
    # In the same folder, or the best checkpoint so far would be out of the race.
    how = f": resume with ckpt_path={last} hydra.run.dir={cfg.output_dir}" if last.exists() else ""
    return f"interrupted{how}"
