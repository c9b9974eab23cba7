"""Transfer: a network starts from the weights of one of its kind that was trained before, on another task or the same.

The modes are those of Kachuee et al. 2018 (``head_only``: the convolutions frozen, new fully connected layers), of the
older script-based system (``last_layer``: its first fully connected layer is kept and trained) and fine-tuning. In
``rhythm`` it is the head that is kept, with the layers over the sequence of beats, and the backbone that is new.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.core.options import Natural, Rate, options
from ecg_lightning.models import BeatModel, model_names
from ecg_lightning.training.checkpoint import Checkpoint, guess_network

Mode = Literal["none", "head_only", "last_layer", "finetune", "rhythm"]
MODES: tuple[Mode, ...] = get_args(Mode)


@options("transfer")
class Transfer:
    """How a network starts and what of it learns.

    Attributes:
        mode: ``none``: random initialisation; ``head_only``: backbone loaded and frozen, head new; ``last_layer``: all
            but the head's last layer loaded, backbone frozen; ``finetune``: backbone loaded, head new, both learn;
            ``rhythm``: head loaded, backbone new, both learn. What the head makes of the backbone's features and of
            context that the checkpoint lacks begins at 0.
        checkpoint: file or run's folder to load from; ``none`` does not read it, so that a sweep over the modes can
            share it.
        backbone_lr, head_lr: factors on the learning rate of either.
        frozen_epochs: number of epochs after which the backbone learns.
        leads: ``same``: the checkpoint has as many; ``repeated``: that of one lead starts a network of several, each of
            which gets its first weights divided by their number, so that equal leads give what the one did.
    """

    mode: Mode = "none"
    checkpoint: str | None = None
    backbone_lr: Rate = 1.0
    head_lr: Rate = 1.0
    frozen_epochs: Natural = 0
    leads: Literal["same", "repeated"] = "same"

    def __post_init__(self) -> None:
        if self.mode != "none" and self.checkpoint is None:
            missing = "has nothing to start from: give transfer.checkpoint=… a run's folder or a checkpoint file"
            raise ConfigError(f"transfer={self.mode} {missing}")
        if self.mode != "rhythm" and self.head_lr != 1:
            raise ConfigError(f"transfer.head_lr is for a loaded head, which transfer={self.mode} does not have")
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
        return self.mode != "none" and model.is_head(name) == (self.mode == "rhythm")


def load_weights(
    model: BeatModel, name: str, transfer: Transfer, checkpoint: Checkpoint, context: Sequence[str] = ()
) -> None:
    """Load the weights of a mode into a network of this name, whose context has these names.

    Raises `CheckpointError` for another network, other widths, and missing or surplus weights; of those that are not
    loaded, the names have to be the same where they are not of the head.
    """
    theirs, own = checkpoint.model, model.state_dict()
    if theirs not in (None, name):
        advice = f"choose model={theirs}" if theirs in model_names() else f"give a run of model={name}"
        raise CheckpointError(f"{checkpoint.path} holds the model {theirs}, which cannot start a {name}; {advice}")
    hint = "Give the network the settings that it was trained with"
    if theirs is None and (guess := guess_network(checkpoint.weights)) not in (None, name):
        hint = f"Its weights are named as those of {guess}"
    differing = own.keys() ^ checkpoint.weights.keys()
    if transfer.mode not in ("last_layer", "rhythm"):  # the head is new, with or without context and sequence
        differing = {weight for weight in differing if weight.partition(".")[0] not in model.head_names[:2]}
    if differing:
        missing, surplus = (
            f"{', '.join(sorted(names)[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}" or "nothing"
            for names in (differing & own.keys(), differing - own.keys())
        )
        raise CheckpointError(f"{checkpoint.path} does not fit {name}: missing {missing}; surplus {surplus}. {hint}")
    loaded = {weight: checkpoint.weights[weight] for weight in own if transfer.loads(model, weight)}
    if transfer.mode == "rhythm":
        loaded |= _without_beats(loaded, own, model.width, checkpoint.input.context, context)
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


def _without_beats(
    head: dict[str, Tensor], own: dict[str, Tensor], width: int, theirs: Sequence[str], context: Sequence[str]
) -> dict[str, Tensor]:
    """Weights of a head that is to keep what it makes of rhythm and context, in the order of another context.

    `width` is that of the own backbone, whose features come first among the inputs; of beats of another length, it may
    differ from theirs.
    """
    changed: dict[str, Tensor] = {}
    for name in ("sequence.project.weight", "fc1.weight"):  # whose first inputs are the features of the backbone
        if name in head:
            others = max(own[name].shape[1] - width, 0)
            kept = head[name][:, head[name].shape[1] - others :]
            changed[name] = torch.cat([torch.zeros(len(kept), width), kept], dim=1)
    if "fc_context.weight" in head:
        columns = dict(zip(theirs, head["fc_context.weight"].T, strict=True))
        nothing = torch.zeros(len(head["fc_context.weight"]))
        changed["fc_context.weight"] = torch.stack([columns.get(name, nothing) for name in context], dim=1)
    return changed
