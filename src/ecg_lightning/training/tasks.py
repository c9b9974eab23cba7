"""Tasks: the classes of a beat, and how logits become probabilities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task; labels are indices into its classes."""

    name: str
    classes: tuple[str, ...]
    positive: str | None = None  # the class of a single logit; None with one logit a class

    @property
    def n_outputs(self) -> int:
        return len(self.classes) if self.positive is None else 1

    def class_logits(self, logits: Tensor) -> Tensor:
        """Logits ``[b, n_outputs]`` → ``[b, classes]``; their softmax is `probabilities`.

        A single logit is compared with the constant 0 of the other class: cross-entropy is then the binary one.
        """
        return logits if self.positive is None else F.pad(logits, (1, 0))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits ``[b, n_outputs]`` → probabilities ``[b, classes]``, in single precision."""
        logits = logits.float()
        if self.positive is None:
            return logits.softmax(dim=-1)
        positive = logits.sigmoid()
        return torch.cat([1 - positive, positive], dim=-1)


class Probabilities(nn.Module):
    """A network with the step from its logits to probabilities, calibrated by a temperature."""

    def __init__(self, model: nn.Module, task: Task, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.task = task
        self.temperature = temperature

    def forward(self, signals: Tensor, lengths: Tensor, context: Tensor | None = None) -> Tensor:
        """Beats ``[b, leads, length]``, lengths ``[b]``, context ``[b, k]`` or None → ``[b, classes]``."""
        logits: Tensor = self.task.class_logits(self.model(signals, lengths, context))
        return (logits / self.temperature).softmax(dim=-1)


POSITIVE = {"arrhythmia": None, "mi": "MI"}  # task → the class that a single logit stands for


CLASSES = {"arrhythmia": AAMI_CLASSES, "mi": PTB_CLASSES}  # of checkpoints that state none


def task_of(stated: Mapping[str, Any]) -> Task:
    """The task that the hyperparameters of a checkpoint state; raises as `make_task`."""
    name = str(stated["task"])
    classes = (stated.get("about") or {}).get("classes")
    return make_task(name, CLASSES.get(name, ()) if classes is None else classes)


def make_task(name: str, classes: Sequence[str]) -> Task:
    """The task of this name with the classes that the card of its database states.

    Raises `ConfigError` if there is none, or if the classes are not those of a binary task.
    """
    if name not in POSITIVE:
        raise ConfigError(f"there is no task {name!r}; choose one of {', '.join(POSITIVE)}")
    positive = POSITIVE[name]
    if (
        isinstance(classes, str)
        or any(not isinstance(one, str) or not one.isprintable() for one in classes)
        or len(set(classes)) < len(classes)
    ):
        raise ConfigError(f"classes {str(list(classes))[:60]}: expected different names in one line")
    if len(classes) < 2 or (positive is not None and (len(classes) != 2 or classes[1] != positive)):
        asked = "at least two classes" if positive is None else f"two classes, of which the second is {positive}"
        raise ConfigError(f"task {name} is for {asked}, but these beats have {', '.join(classes)}")
    return Task(name=name, classes=tuple(classes), positive=positive)
