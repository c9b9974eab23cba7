"""Transfer: a network starts from the weights of one of its kind that was trained before, on another task or the same.

The modes are those of Kachuee et al. 2018 (``head_only``: the convolutions frozen, new fully connected layers), of the
older script-based system (``last_layer``: its first fully connected layer is kept and trained) and fine-tuning.
"""

from typing import Literal, get_args

import torch

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.core.options import Natural, Positive, options
from ecg_lightning.models import BeatModel
from ecg_lightning.training.checkpoint import Checkpoint, guess_network

Mode = Literal["none", "head_only", "last_layer", "finetune"]
MODES: tuple[Mode, ...] = get_args(Mode)


@options("transfer")
class Transfer:
    """How a network starts and what of it learns.

    Attributes:
        mode: ``none``: random initialisation; ``head_only``: backbone loaded and frozen, head new; ``last_layer``: all
            but the head's last layer loaded, backbone frozen; ``finetune``: backbone loaded, head new, both learn.
        checkpoint: file or run's folder to load from; ``none`` does not read it, so that a sweep over the modes can
            share it.
        backbone_lr: factor on the backbone's learning rate.
        frozen_epochs: number of epochs after which the backbone learns.
        leads: ``same``: the checkpoint has as many; ``repeated``: that of one lead starts a network of several, each of
            which gets its first weights divided by their number, so that equal leads give what the one did.
    """

    mode: Mode = "none"
    checkpoint: str | None = None
    backbone_lr: Positive = 1.0
    frozen_epochs: Natural = 0
    leads: Literal["same", "repeated"] = "same"

    def __post_init__(self) -> None:
        if self.mode != "none" and self.checkpoint is None:
            missing = "has nothing to start from: give transfer.checkpoint=… a run's folder or a checkpoint file"
            raise ConfigError(f"transfer={self.mode} {missing}")
        if self.mode != "finetune" and (self.backbone_lr != 1 or self.frozen_epochs):
            raise ConfigError(
                f"transfer.backbone_lr and transfer.frozen_epochs are for a loaded backbone that learns, which "
                f"transfer={self.mode} does not have; choose transfer=finetune"
            )

    def is_frozen(self, epoch: int) -> bool:
        """Whether the backbone is frozen in this epoch, the first being 0."""
        return self.mode in ("head_only", "last_layer") or epoch < self.frozen_epochs

    def loads(self, model: BeatModel, name: str) -> bool:
        """Whether this weight of the network is loaded; the others keep their random initialisation."""
        if self.mode == "last_layer":
            return name.partition(".")[0] != model.head_names[-1]
        return self.mode != "none" and not model.is_head(name)


def load_weights(model: BeatModel, name: str, transfer: Transfer, checkpoint: Checkpoint) -> None:
    """Load the weights of a mode into a network of this name; all others in the file must be of the head.

    Raises `CheckpointError` for another network, other widths, and missing or surplus weights.
    """
    theirs, own = checkpoint.model, model.state_dict()
    if theirs not in (None, name):
        raise CheckpointError(f"{checkpoint.path} holds a {theirs}, which cannot start a {name}; choose model={theirs}")
    hint = "Give the network the settings that it was trained with"
    if theirs is None and (guess := guess_network(checkpoint.weights)) not in (None, name):
        hint = f"Its weights are named as those of {guess}"
    differing = own.keys() ^ checkpoint.weights.keys()
    if transfer.mode != "last_layer":  # the head is new, with or without context
        differing = {weight for weight in differing if weight.partition(".")[0] != model.head_names[0]}
    if differing:
        missing, surplus = (
            f"{', '.join(sorted(names)[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}" or "nothing"
            for names in (differing & own.keys(), differing - own.keys())
        )
        raise CheckpointError(f"{checkpoint.path} does not fit {name}: missing {missing}; surplus {surplus}. {hint}")
    loaded = {weight: checkpoint.weights[weight] for weight in own if transfer.loads(model, weight)}
    for weight, value in loaded.items():
        if transfer.leads == "repeated" and value.ndim > 1 and (leads := own[weight].shape[1] // value.shape[1]) > 1:
            # Of a convolution and of frames alike the leads follow each other along the inputs.
            loaded[weight] = value = torch.cat([value] * leads, dim=1) / leads
        if own[weight].shape != value.shape:
            there, here = ("×".join(map(str, shape)) for shape in (value.shape, own[weight].shape))
            raise CheckpointError(
                f"{checkpoint.path} does not fit {name}: {weight} is {there} there and {here} here. {hint}"
            )
    model.load_state_dict(loaded, strict=False)
