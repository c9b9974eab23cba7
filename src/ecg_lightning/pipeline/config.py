"""Configurations: composing them as the command line does, and the settings of the process that they run in."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from omegaconf import DictConfig


def compose(overrides: Iterable[str] = (), *, output_dir: Path | str, config_dir: Path | str = "conf") -> DictConfig:
    """The configuration that ``python train.py`` would run with these overrides, for notebooks and tests.

    Args:
        overrides: as on the command line, such as ``model=seq``.
        output_dir: folder for what the run leaves.
        config_dir: the project's ``conf``.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(str(Path(config_dir).absolute()), version_base="1.3"):
        return hydra_compose("train", overrides=[*overrides, f"output_dir={Path(output_dir).absolute()}"])


def quiet() -> None:
    """Silence advice that does not apply here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")  # TensorFloat-32
    for advice in (
        ".*does not have many workers.*",  # the beats are in memory
        ".*exists and is not empty.*",  # a run's folder also holds Hydra's files
        ".*number of training batches.*log_every_n_steps.*",  # losses are logged by epoch
        ".*in eval mode at the start of training.*",  # a frozen backbone
        ".*treespec, LeafSpec.*",  # between Lightning and torch
        ".*your dataloader is not resumable.*",  # it is: see `BatchSampler`
    ):
        warnings.filterwarnings("ignore", advice)
