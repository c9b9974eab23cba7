"""An experiment as a Hydra job: what a failure says and leaves, and the tables that end a sweep."""

import json
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from ecg_lightning.errors import EcgLightningError
from ecg_lightning.files import whole_file

log = logging.getLogger(__name__)

FAILURE_FILE = "failure.json"


def run_job(cfg: DictConfig) -> float | None:
    """Run the experiment that `cfg` describes.

    A failure that a user can mend ends a single run with one line and exit status 2. In a sweep every failure is
    reported at once and left in the job's folder, and the other jobs go on; `SweepSummary` names it again at the end.
    Ctrl-C ends either with one line that says how to go on, and exit status 130.

    Returns:
        The validation score that chose the checkpoint, or None if the job of a sweep failed.
    """
    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        # Heavy, and not needed by --help or a wrong setting.
        from ecg_lightning import experiment

        scores = experiment.run(cfg)
    except EcgLightningError as error:
        if not sweeping:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        _leave_failure(cfg, error)
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":
            print(_interrupted(cfg), file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if not sweeping:
            raise
        traceback.print_exc()
        _leave_failure(cfg, error)
    else:
        score: float | None = scores["val"][scores["monitor"].removeprefix("val/")]
        return score
    return None


class WritableFolder(Callback):
    """Ends a start whose folder cannot be written with one line, where Hydra would show a traceback."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the run's folder."""
        self._check("hydra.run.dir", Path(config.hydra.run.dir))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Look at the sweep's folder."""
        self._check("hydra.sweep.dir", Path(config.hydra.sweep.dir))

    def _check(self, setting: str, folder: Path) -> None:
        # Nothing is made yet: Hydra does that, or makes another one if the time in its name has moved on.
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            why = "no folder" if not there.is_dir() else "not writable"
            print(f"error: cannot write to {folder}: {there} is {why}; choose another {setting}", file=sys.stderr)
            sys.exit(2)


class SweepSummary(Callback):
    """Ends a sweep with one table of its jobs, read from their folders, and a non-zero exit if one failed.

    Jobs that are folds of one cross-validation, repetitions with other seeds, or points of a low-data curve are also
    put together: in further tables, in ``pooled.json`` and in ``low_data.png``.
    """

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Print the tables."""
        from rich.console import Console

        from ecg_lightning.evaluation import plots, pooling
        from ecg_lightning.evaluation.tables import comparison_table, pooled_tables

        folder = Path(config.hydra.sweep.dir)
        failed = sorted(folder.glob(f"*/{FAILURE_FILE}"))
        failures = {file.parent.name: json.loads(file.read_text())["error"] for file in failed}
        console = Console()
        try:
            runs = pooling.read_runs(folder)
            typed = pooling.varying_overrides(runs)
            named = {f"{run.folder.name} {typed[run.folder]}".strip(): run.scores for run in runs}
            console.print(comparison_table(named, failures))
            pooled = pooling.pool(runs)
            if any(pooled.values()):
                console.print(pooled_tables(pooled))
                with whole_file(folder / "pooled.json") as partial:
                    partial.write_text(json.dumps(pooled, indent=2) + "\n")
            if pooled["low_data"]:
                plots.low_data_picture(pooled["low_data"], folder / "low_data.png")
        except EcgLightningError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
        console.print(f"Results in {folder}", soft_wrap=True)
        if failures:
            sys.exit(1)


def _interrupted(cfg: DictConfig) -> str:
    last = Path(cfg.output_dir) / "checkpoints" / "last.ckpt"
    # In the same folder, or the best checkpoint so far would be out of the race.
    how = f": resume with ckpt_path={last} hydra.run.dir={cfg.output_dir}" if last.exists() else ""
    return f"interrupted{how}"


def _leave_failure(cfg: DictConfig, error: Exception) -> None:
    log.error("job failed: %s", error)
    file = Path(cfg.output_dir) / FAILURE_FILE
    file.write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
