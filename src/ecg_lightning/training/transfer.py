"""Transfer: a network starts from what it, or another of its kind, has learned on another task.

The modes are those of Kachuee et al. 2018 (``head_only``: the convolutions frozen, new fully connected layers), of the
older script-based system (``last_layer``: its first fully connected layer is kept and trained on) and fine-tuning.
"""

from dataclasses import dataclass

from torch import Tensor

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.models import BeatModel
from ecg_lightning.training.checkpoint import Checkpoint, guess_network

MODES = ("none", "head_only", "last_layer", "finetune")


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """How a network starts and what of it learns.

    Attributes:
        mode: ``none``: random initialisation; ``head_only``: backbone loaded and frozen, head new; ``last_layer``: all
            but the head's last layer loaded, backbone frozen; ``finetune``: backbone loaded, head new, all
            of it learns.
        checkpoint: file or run's folder to load from; ``none`` does not read it, so that a sweep over the modes can
            share it.
        backbone_lr: factor on the backbone's learning rate.
        frozen_epochs: the backbone learns only after as many epochs.
    """

    mode: str = "none"
    checkpoint: str | None = None
    backbone_lr: float = 1.0
    frozen_epochs: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigError(f"there is no transfer mode {self.mode!r}; choose one of {', '.join(MODES)}")
        if self.mode != "none" and self.checkpoint is None:
            raise ConfigError(
                f"transfer={self.mode} has nothing to start from: give transfer.checkpoint=… a run's folder or a "
                "checkpoint file"
            )
        if self.backbone_lr <= 0 or self.frozen_epochs < 0:
            raise ConfigError(f"backbone_lr={self.backbone_lr} must be > 0, frozen_epochs={self.frozen_epochs} >= 0")
        if self.mode != "finetune" and (self.backbone_lr != 1 or self.frozen_epochs):
            raise ConfigError(
                f"transfer.backbone_lr and transfer.frozen_epochs say how a loaded backbone learns on, but "
                f"transfer={self.mode} has none that does; choose transfer=finetune"
            )

    def is_frozen(self, epoch: int) -> bool:
        """Whether the backbone is frozen in this epoch, the first being 0."""
        return self.mode in ("head_only", "last_layer") or epoch < self.frozen_epochs

    def loads(self, model: BeatModel, name: str) -> bool:
        """Whether this weight of the network is loaded; the others are initialised anew."""
        if self.mode == "last_layer":
            return name.partition(".")[0] != model.head_names[-1]
        return self.mode != "none" and not model.is_head(name)


def load_weights(model: BeatModel, name: str, transfer: Transfer, checkpoint: Checkpoint) -> None:
    """Load what the mode loads into the network; all else in the file must be the rest of the head.

    Args:
        model: the network, freshly initialised.
        name: the name of its kind.
        transfer: what to load.
        checkpoint: where from.

    Raises:
        CheckpointError: another network, other widths, or missing or surplus weights.
    """
    theirs = checkpoint.model
    if theirs is not None and theirs != name:
        raise CheckpointError(f"{checkpoint.path} holds a {theirs}, which cannot start a {name}; choose model={theirs}")
    hint = "Give the network the settings that it was trained with"
    if theirs is None and (guess := guess_network(checkpoint.weights)) not in (None, name):
        hint = f"Its weights are named as those of {guess}"
    own = model.state_dict()
    differing = own.keys() ^ checkpoint.weights.keys()
    if transfer.mode != "last_layer":  # the head is new, with or without context
        differing = {weight for weight in differing if weight.partition(".")[0] != model.head_names[0]}
    missing, surplus = sorted(differing & own.keys()), sorted(differing - own.keys())
    if missing or surplus:
        raise CheckpointError(
            f"{checkpoint.path} does not fit {name}: missing {_some(missing)}; surplus {_some(surplus)}. {hint}"
        )
    wanted = [weight for weight in own if transfer.loads(model, weight)]
    for weight in wanted:
        if own[weight].shape != checkpoint.weights[weight].shape:
            raise CheckpointError(
                f"{checkpoint.path} does not fit {name}: {weight} is {_shape(checkpoint.weights[weight])} there and "
                f"{_shape(own[weight])} here. {hint}"
            )
    model.load_state_dict({weight: checkpoint.weights[weight] for weight in wanted}, strict=False)


def _some(names: list[str], most: int = 4) -> str:
    return (", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")) or "nothing"


def _shape(weight: Tensor) -> str:
    return "×".join(map(str, weight.shape))
