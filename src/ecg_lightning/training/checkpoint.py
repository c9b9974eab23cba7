"""Reading checkpoints: what a run of this project left, or plain network weights that somebody brings along.

A file is loaded with ``weights_only=True``: tensors and plain containers, never an object whose loading runs code. The
names of networks in it are looked up among ours.
"""

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecg_lightning.core.errors import CheckpointError
from ecg_lightning.models import create_model, model_names
from ecg_lightning.training.tasks import TASKS

CHECKPOINT_KEY = "ecg_lightning"
"""Where a checkpoint keeps what it tells of itself beside weights and hyperparameters."""

FORMAT = 1
"""Version of what stands under `CHECKPOINT_KEY` and of the hyperparameters; a higher one is refused."""

MODEL_PREFIX = "model."
"""The network's place in the LightningModule, and so in the names of its weights."""

OLDER_CNET = ((r"^c1\.", "stem."), (r"^cresids\.(\d+)\.c([12])\.", r"blocks.\1.conv\2."))
"""Names of the older script-based system's CNet → ours; ``fc1`` and ``fc2`` have the same."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file, checked.

    Attributes:
        path: the file.
        weights: the network's weights by name, without prefix.
        hyperparameters: arguments of the `BeatClassifier`; None of a plain state dict.
        scores: validation scores the checkpoint was left with.
        epoch: the epoch in which it was saved, the first being 1; None of a plain state dict.
        step: number of optimizer steps; None of a plain state dict.
    """

    path: Path
    weights: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Any] | None = None
    scores: Mapping[str, float] | None = None
    epoch: int | None = None
    step: int | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """What the run told of data, configuration and versions; empty of a plain state dict."""
        return (self.hyperparameters or {}).get("about") or {}

    def origin(self) -> dict[str, Any]:
        """What a network that starts from this checkpoint keeps of it: enough to find it, and what it came from."""
        told = {}
        if self.hyperparameters is not None:
            data = self.about.get("data", {})
            told = {
                "task": self.hyperparameters["task"],
                "model": self.hyperparameters["model"]["name"],
                "data": {key: data.get(key) for key in ("source", "dataset", "synthetic", "fingerprint", "protocol")},
                "epoch": self.epoch,
                "scores": dict(self.scores or {}),
                "origin": self.about.get("origin"),
            }
        return {"file": self.path.name, "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(), **told}


def find_checkpoint(path: Path | str) -> Path:
    """The file itself, or the best checkpoint of a run's folder.

    Raises:
        CheckpointError: there is no such file, or no checkpoint in the folder.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        best = path / "checkpoints" / "best.ckpt"
        if not best.is_file():
            raise CheckpointError(f"{path} has no checkpoints/best.ckpt; give the folder of a finished run, or a file")
        return best
    if not path.is_file():
        raise CheckpointError(f"{path} is not there; give a checkpoint file or the folder of a finished run")
    return path


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of this project, or a plain state dict of one of its networks or of the older system's CNet.

    Args:
        path: a file, or a run's folder, which stands for its best checkpoint.

    Raises:
        CheckpointError: the file is absent, cut off, damaged, would run code, is of a later version, or is something
            else.
    """
    path = find_checkpoint(path)
    content = _load(path)
    if _is_state_dict(content):
        return Checkpoint(path=path, weights=_our_names(content))
    if CHECKPOINT_KEY not in content:
        raise CheckpointError(
            f"{path} is neither a checkpoint of ecg_lightning nor a state dict of tensors; it holds "
            f"{', '.join(sorted(map(str, content))[:6]) or 'nothing'}"
        )
    try:
        told = content[CHECKPOINT_KEY]
        if told["format"] > FORMAT:
            raise CheckpointError(
                f"{path} has format {told['format']}, this version reads up to {FORMAT}; install a newer ecg-lightning"
            )
        hyperparameters = content["hyper_parameters"]
        _check_names(path, hyperparameters)
        weights = content["state_dict"]
        return Checkpoint(
            path=path,
            weights={n.removeprefix(MODEL_PREFIX): w for n, w in weights.items() if n.startswith(MODEL_PREFIX)},
            hyperparameters=hyperparameters,
            scores=told["scores"],
            epoch=content["epoch"] + 1,
            step=content["global_step"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is no whole checkpoint of ecg_lightning: it lacks or garbles {error}") from error


def guess_network(weights: Mapping[str, Tensor]) -> str | None:
    """The network of a plain state dict: the one with the same names and, of several, the most shapes of its own.

    Returns:
        The network's name; None if no network has these names, or several with equal right.
    """
    alike: dict[str, int] = {}
    for name in model_names():
        own = create_model(name, n_outputs=1, length=187).state_dict()
        if own.keys() == weights.keys():
            alike[name] = sum(own[weight].shape == weights[weight].shape for weight in own)
    best = [name for name, n_shapes in alike.items() if n_shapes == max(alike.values())]
    return best[0] if len(best) == 1 else None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with warnings.catch_warnings(action="ignore"):  # of what the error says anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
        if zipfile.is_zipfile(path):  # as torch writes since 1.6; it does not look at the checksums
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} does not have its checksum")
    except Exception as error:  # what is read as a pickle and is none can end in any
        if isinstance(error, pickle.UnpicklingError) and (named := re.search(r"GLOBAL ([\w.]+)", str(error))):
            raise CheckpointError(
                f"{path} is refused, and nothing in it was run: it holds {named[1]}, and loading anything but tensors "
                "and plain containers can run code"
            ) from error
        raise CheckpointError(
            f"{path} is cut off, damaged or no checkpoint: torch cannot read it ({_reason(error)})"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a checkpoint or a state dict")
    return content


def _reason(error: Exception) -> str:
    """What torch says in its own words, without its advice to load the file in spite of all."""
    if isinstance(error, pickle.UnpicklingError) or not str(error).strip():
        return type(error).__name__
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0].split('. ')[0][:120]}"


def _is_state_dict(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(isinstance(n, str) and isinstance(w, Tensor) for n, w in content.items())


def _our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not any(name.startswith("cresids.") for name in weights):
        return dict(weights)
    renamed = {}
    for name, weight in weights.items():
        for theirs, ours in OLDER_CNET:
            name = re.sub(theirs, ours, name)
        renamed[name] = weight
    return renamed


def _check_names(path: Path, hyperparameters: Mapping[str, Any]) -> None:
    """A checkpoint names a task and a network of ours; it is data, whatever else it says."""
    network, task = hyperparameters["model"]["name"], hyperparameters["task"]
    if network not in model_names():
        raise CheckpointError(f"{path} is of the network {network!r}, which is none of {', '.join(model_names())}")
    if task not in TASKS:
        raise CheckpointError(f"{path} is of the task {task!r}, which is none of {', '.join(TASKS)}")
