"""Services that a run is logged in: MLflow, Weights & Biases and TensorBoard, by the loggers of Lightning.

A service that fails at the start is a `ConfigError` before any training; one that fails later is a warning.
"""

import json
import logging
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError

log = logging.getLogger(__name__)

LOCAL_STORE = "sqlite:///mlflow.db"  # MLflow's own default, so that `mlflow ui` in the same folder shows it
IDS = "loggers.json"  # in a run's folder, under which ids services have it: where it goes on when it is resumed


class Service(Logger):
    """A logger of Lightning that also keeps what a run leaves; comes before it among the bases.

    Args:
        folder: of the run, whose name is the run's.
        resumed_from: the checkpoint from which the run resumes, None for a new one.
        settings: of the logger of Lightning.
    """

    word: ClassVar[str]  # choice of the group ``logger``, name of the package and of the extra
    remedy: ClassVar[str]  # what to do if it cannot be used

    def __init__(self, *, folder: str, resumed_from: str | None = None, **settings: Any) -> None:
        self.folder, self.opened, self.failed = Path(folder).absolute(), False, False
        self.id: str | None = self._ids().get(self.word) if resumed_from is not None else None
        try:
            import_module(self.word)
            super().__init__(**{**self._defaults(), **settings})
        except ImportError as error:
            needed = f"pip install 'ecg-lightning[{self.word}]'"
            raise ConfigError(f"logger={self.word} needs {needed} ({error})") from error

    @rank_zero_only
    def start(self, settings: Mapping[str, Any], tags: Mapping[str, str], notes: str) -> None:
        """Open the run and log its settings; `ConfigError` if the service does not take them."""
        try:
            resumed = self.id is not None
            self.id, self.opened = self._open(tags, notes), True
            if self.id is not None:
                with atomic_write(self.folder / IDS) as partial:
                    partial.write_text(json.dumps(self._ids() | {self.word: self.id}) + "\n")
            if not resumed:
                self.log_hyperparams(dict(settings))
        except Exception as error:
            raise ConfigError(f"logger={self.word} cannot be used: {_reason(error)}; {self.remedy}") from error

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a point of the learning curves; after an error no further ones, and the training continues."""
        if not self.failed:
            with self._warning("lacks the rest of the learning curves"):
                super().log_metrics(dict(metrics), step)  # type: ignore[safe-super]

    @rank_zero_only
    def finish(self, scores: Mapping[str, float], step: int, files: Sequence[Path]) -> str | None:
        """Log the final scores, by ``test/macro_f1``, and files in the run's folder; returns where they can be seen."""
        with self._warning("lacks scores or files"):
            return self._keep(scores, step, files)
        return None

    @rank_zero_only
    def close(self, ending: str) -> None:
        """End the run, if it has been opened: ``FINISHED``, ``FAILED`` or ``KILLED``."""
        if self.opened:
            with self._warning("does not know that the run has ended"):
                self._close(ending)

    def finalize(self, status: str = "success") -> None:
        """Do nothing: Lightning calls it after the fit, before there are scores."""

    def _ids(self) -> dict[str, str]:
        with suppress(OSError, ValueError):
            return dict(json.loads((self.folder / IDS).read_text()))
        return {}

    @contextmanager
    def _warning(self, lacks: str) -> Iterator[None]:
        """What goes wrong with the service is not to end the run, which its folder has whole."""
        try:
            yield
        except Exception as error:
            self.failed = True
            log.warning("logger=%s %s: %s. All is in %s", self.word, lacks, _reason(error), self.folder)

    def _defaults(self) -> dict[str, Any]:
        """Settings of the logger of Lightning, where the user states none."""
        return {}

    @abstractmethod
    def _open(self, tags: Mapping[str, str], notes: str) -> str | None:
        """Open the run and return the id by which it can be resumed."""

    @abstractmethod
    def _keep(self, scores: Mapping[str, float], step: int, files: Sequence[Path]) -> str:
        """Log scores and files, and return where they can be seen."""

    @abstractmethod
    def _close(self, ending: str) -> None:
        """End the run."""


class MLflow(Service, MLFlowLogger):
    """A run of MLflow with files as artifacts, on a server or in the database ``mlflow.db`` of the current folder."""

    word = "mlflow"
    remedy = "start the server of MLFLOW_TRACKING_URI"

    def __init__(self, *, tracking_uri: str | None = None, **settings: Any) -> None:
        # Of an unreachable server MLflow asks seven times, which takes minutes.
        for name, value in {"REQUEST_MAX_RETRIES": "2", "REQUEST_TIMEOUT": "20"}.items():
            os.environ.setdefault(f"MLFLOW_HTTP_{name}", value)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing leaves the machine unasked
        for noisy in ("alembic", "mlflow.store", "urllib3.connectionpool", "pytorch_lightning.loggers.mlflow"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self.uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or LOCAL_STORE
        super().__init__(tracking_uri=self.uri, **settings)

    def _defaults(self) -> dict[str, Any]:
        return {"run_name": self.folder.name, "run_id": self.id}

    def _open(self, tags: Mapping[str, str], notes: str) -> str | None:
        from mlflow.entities import RunTag

        try:
            client = self.experiment
        except Exception as error:
            if "already exists" not in str(error):
                raise
            client = self.experiment  # which another job of the sweep has made in between
        client.update_run(self.run_id, status="RUNNING")  # if resumed, it had ended
        tags = {**tags, "folder": str(self.folder), "mlflow.note.content": notes}
        client.log_batch(self.run_id, tags=[RunTag(*tag) for tag in tags.items()])
        return self.run_id

    def _keep(self, scores: Mapping[str, float], step: int, files: Sequence[Path]) -> str:
        super(Service, self).log_metrics(scores, step)
        for file in files:
            place = file.parent.relative_to(self.folder).as_posix()
            self.experiment.log_artifact(self.run_id, str(file), None if place == "." else place)
        local = f" in {LOCAL_STORE}: pip install mlflow; mlflow ui" * (self.uri == LOCAL_STORE)
        return f"MLflow: {self.folder.name}{local}"

    def _close(self, ending: str) -> None:
        self.experiment.set_terminated(self.run_id, ending)


class WandB(Service, WandbLogger):
    """A run of Weights & Biases with files as an artifact; ``WANDB_MODE=offline`` keeps it in the run's folder."""

    word = "wandb"
    remedy = "log in by `wandb login`, or set WANDB_MODE=offline and use `wandb sync` later"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._wandb_init.pop("anonymous", None)  # of which W&B warns, even if it is None

    def _defaults(self) -> dict[str, Any]:
        import wandb

        is_job = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
        return {
            "name": self.folder.name,
            "save_dir": str(self.folder),
            "id": self.id,
            "group": Path(str(HydraConfig.get().sweep.dir)).name if is_job else None,
            # Seconds to wait for the server; `wandb sync` sends what is left.
            "settings": wandb.Settings(init_timeout=20, finish_timeout=300, quiet=True),
        }

    def _open(self, tags: Mapping[str, str], notes: str) -> str | None:
        run = self.experiment
        run.tags, run.notes = tuple(f"{name}:{value}"[:64] for name, value in tags.items()), notes
        return str(run.id)

    def _keep(self, scores: Mapping[str, float], step: int, files: Sequence[Path]) -> str:
        import wandb

        run = self.experiment
        run.summary.update(dict(scores))
        artifact = wandb.Artifact(f"run-{self.id}", type="run")
        for file in files:
            artifact.add_file(str(file), file.relative_to(self.folder).as_posix())
        run.log_artifact(artifact)
        offline = Path(str(run.dir)).parents[1] / "offline-run-*"  # another one each time that it was resumed
        return f"W&B, offline: wandb sync {offline}" if run.offline else f"W&B: {run.url}"

    def _close(self, ending: str) -> None:
        self.experiment.finish(exit_code=0 if ending == "FINISHED" else 1)


class TensorBoard(Service, TensorBoardLogger):
    """Curves, settings with scores, text and pictures, in the run's folder."""

    word = "tensorboard"
    remedy = "choose another folder"

    def _open(self, tags: Mapping[str, str], notes: str) -> str | None:
        self.experiment.add_text("run", "  \n".join([notes, *(f"{name}: {value}" for name, value in tags.items())]))
        return None

    def _keep(self, scores: Mapping[str, float], step: int, files: Sequence[Path]) -> str:
        from PIL import Image

        self.log_hyperparams(self.hparams, dict(scores), step)
        for file in files:
            if file.suffix == ".png":
                picture = np.asarray(Image.open(file).convert("RGB"))
                self.experiment.add_image(file.stem, picture, step, dataformats="HWC")
        return f"TensorBoard: tensorboard --logdir {self.log_dir}"

    def _close(self, ending: str) -> None:
        self.experiment.close()


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200].removesuffix(".")
