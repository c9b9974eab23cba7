"""Tasks: the classes of a beat, and how logits become probabilities."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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
            return logits.softmax(dim=1)
        positive = logits.sigmoid()
        return torch.cat([1 - positive, positive], dim=1)


TASKS = {
    "arrhythmia": Task(name="arrhythmia", classes=AAMI_CLASSES),
    "mi": Task(name="mi", classes=PTB_CLASSES, positive="MI"),
}


def get_task(name: str) -> Task:
    """The task of this name; raises `ConfigError` if there is none."""
    if name not in TASKS:
        raise ConfigError(f"there is no task {name!r}; choose one of {', '.join(TASKS)}")
    return TASKS[name]
