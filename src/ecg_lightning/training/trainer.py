"""The Trainer of a configuration: its callbacks, loggers and epochs, and what several devices cannot do."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.training.callbacks.progress import TrainingProgress
from ecg_lightning.training.callbacks.saving import AtomicCheckpointIO
from ecg_lightning.training.classifier import MONITORED
from ecg_lightning.training.transfer import Transfer

AUTO = "auto"  # of the precision
OWN = {"callbacks", "default_root_dir", "enable_model_summary", "logger", "plugins", "use_distributed_sampler"}
VALIDATIONS = 50  # about how many there are, where validating after each short epoch would cost more than training


def make_loggers(config: Mapping[str, Any]) -> list[Logger]:
    """The loggers of the group ``logger``; `ConfigError` if one cannot be set up."""
    try:
        loggers = instantiate_all(config["logger"])
    except InstantiationException as error:
        raise _cannot("logger", error) from error
    _check_kind("logger", loggers, Logger)
    return loggers


def make_trainer(config: dict[str, Any], loggers: Sequence[Logger]) -> pl.Trainer:
    """The Trainer of the groups ``trainer`` and ``callbacks``; `ConfigError` if one cannot be set up.

    ``precision: auto`` of the configuration becomes the one that is chosen.
    """
    settings = config["trainer"]
    if taken := sorted(OWN & settings.keys()):
        raise ConfigError(f"trainer.{taken[0]} is no setting: it follows from callbacks, logger and output_dir")
    if settings["precision"] == AUTO:
        settings["precision"] = fast_precision(settings["accelerator"])
    try:
        callbacks = instantiate_all(config["callbacks"])
        _check_callbacks(callbacks)
        if not settings["enable_progress_bar"]:
            callbacks = [one for one in callbacks if not isinstance(one, TrainingProgress | ProgressBar)]
        trainer: pl.Trainer = instantiate(
            settings,
            max_epochs=-1 if settings["max_epochs"] is None else settings["max_epochs"],
            check_val_every_n_epoch=1 if _validation_is_free(settings) else settings["check_val_every_n_epoch"],
            callbacks=callbacks,
            logger=list(loggers),
            plugins=AtomicCheckpointIO(),
            default_root_dir=config["output_dir"],
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(one, ProgressBar) for one in callbacks),  # else Lightning adds its own
            use_distributed_sampler=False,  # the datamodule divides its batches among the ranks
        )
    except InstantiationException as error:
        raise _cannot("trainer or callbacks", error) from error
    if settings["deterministic"]:
        # Lightning sets :4096:8, with which cuDNN's recurrent layers may differ from run to run (torch.nn.LSTM).
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":16:8"
    if not isinstance(trainer, pl.Trainer):
        raise ConfigError(f"trainer._target_={settings['_target_']}: expected a pytorch_lightning.Trainer")
    return trainer


def fast_precision(accelerator: str) -> str:
    """``bf16-mixed`` where the device that Lightning would choose multiplies bfloat16 itself, else ``32-true``.

    The weights stay in single precision, and so do predictions with a trained model. See results/speed for the scores.
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available()):
        found: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # which earlier versions lack
        native = any(found.get(name) for name in ("avx512_bf16", "amx_bf16"))
    else:
        native = False
    return "bf16-mixed" if native else "32-true"


def _cannot(group: str, error: InstantiationException) -> ConfigError:
    reason = " ".join(str(error.__cause__ or error).split())
    ours = isinstance(error.__cause__, ConfigError)  # whose sentence is whole
    return ConfigError(reason if ours else f"{group} cannot be set up: {reason}")


def _check_kind(group: str, made: Sequence[Any], kind: type) -> None:
    if strange := [type(one).__name__ for one in made if not isinstance(one, kind)]:
        raise ConfigError(f"{group}: a _target_ gives a {strange[0]}, expected a {kind.__name__}")


def _check_callbacks(callbacks: Sequence[Any]) -> None:
    """Raise `ConfigError` for what the Trainer would find out in the middle of an epoch."""
    _check_kind("callbacks", callbacks, pl.Callback)
    for callback in callbacks:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor not in (logged := ("train/loss", *MONITORED)):
            raise ConfigError(f"callbacks: monitor={monitor} is not computed; choose one of {', '.join(logged)}")


def instantiate_all(group: Mapping[str, Any] | None) -> list[Any]:
    """What a group describes, without the entries that are null."""
    return [instantiate(settings) for settings in (group or {}).values() if settings is not None]


def set_epochs(trainer: pl.Trainer, config: Mapping[str, Any], n_train: int) -> int | None:
    """Let the Trainer take about ``optimizer.steps`` steps in whole epochs; returns their number, None without limit.

    The learning rate ends with the last step, whose weights validation should see: hence whole epochs, and whole
    intervals between validations. Several devices share the same beats.
    """
    settings, optimizer = config["trainer"], config["optimizer"]
    if settings["max_epochs"] is not None or settings["max_steps"] != -1:
        return None if settings["max_epochs"] is None else int(settings["max_epochs"])
    epochs: int = max(1, round(optimizer["steps"] / math.ceil(n_train / optimizer["batch_size"])))
    if _validation_is_free(settings):
        trainer.check_val_every_n_epoch = every = max(1, epochs // VALIDATIONS)
        epochs = epochs // every * every
    trainer.fit_loop.max_epochs = epochs
    return epochs


def check_devices(trainer: pl.Trainer, transfer: Transfer) -> None:
    """Raise `ConfigError` for what fails silently on several devices."""
    if trainer.world_size == 1:
        return
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > (cores := os.cpu_count() or 1):
        raise ConfigError(f"trainer.devices={trainer.num_devices} on {cores} CPU cores: expected at most one each")
    if transfer.frozen_epochs:
        # DistributedDataParallel determines once, at the start, which weights have gradients to average.
        raise ConfigError("transfer.frozen_epochs needs a single device: trainer.devices=1, or frozen_epochs=0")
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if sweeping and isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
        raise ConfigError(
            f"a sweep of jobs on {trainer.world_size} devices each: every further process would start the whole sweep "
            "again; use trainer.devices=1 in a sweep, or start the jobs one by one"
        )


def check_compiler(device: torch.device) -> None:
    """Raise `ConfigError` where torch.compile does not work, which would show in the first batch only."""
    try:
        torch.compile(torch.sin)(torch.zeros(1, device=device))
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"compile=true does not work on {device}: {reason}; install a C++ compiler (a GPU needs Triton, too), or "
            "leave compile=false"
        ) from error


def _validation_is_free(settings: Mapping[str, Any]) -> bool:
    return settings["check_val_every_n_epoch"] is None and settings["val_check_interval"] is None
