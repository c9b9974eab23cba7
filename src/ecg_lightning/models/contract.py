"""`BeatModel`: what every network is."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.models.sequence import BeatSequence, SequenceSettings

CONTEXT_WIDTH = 16  # units of the layer that takes the context


class BeatModel(nn.Module, ABC):
    """A network over one beat: a backbone, then a head of two fully connected layers.

    The head is the same in all networks, `width` → `hidden` → `n_outputs` with a ReLU between, so that any pretrained
    backbone gets a new one by the same call.

    Without code of its own, any network can use two things more, for which `extend` adds layers to the head:

    - the context of a beat (`ecg_lightning.data.context`): ``fc1`` takes the units of ``fc_context`` together with the
      features of the beat;
    - the beats around it: ``sequence`` takes both of consecutive beats, and ``fc1`` its states as well. The input is
      then sequences of beats, ``[s, beats, …]`` in place of ``[b, …]``; a beat of length -1 fills up a sequence and is
      not there. Without `sequence`, the output of a beat never depends on the other beats of its batch.

    Args:
        width: number of features that `forward_features` returns.
        hidden: units of the head's first layer.
        n_outputs: number of logits.
        dropout: probability of dropping a feature before each layer of the head.
    """

    head_names: ClassVar[tuple[str, ...]] = ("fc_context", "sequence", "fc1", "fc2")
    """Modules of the head, in order, the first two where they are used; all other parameters are of the backbone."""

    n_context: int = 0  # context values of each beat
    sequence_settings: SequenceSettings | None = None  # None: each beat by itself

    def __init__(self, *, width: int, hidden: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.hidden = hidden
        self.head_dropout = nn.Dropout(dropout)
        self.backbone_frozen = False
        self.reset_classifier(n_outputs)

    def reset_classifier(self, n_outputs: int) -> None:
        """Replace the head by a newly initialised one with this many outputs, on the device of the backbone."""
        self.n_outputs = n_outputs
        width = self.width
        if self.n_context:
            self.fc_context = nn.Linear(self.n_context, CONTEXT_WIDTH)
            width += CONTEXT_WIDTH
        if self.sequence_settings is not None:
            self.sequence = BeatSequence(width, self.sequence_settings)
            width += self.sequence_settings.width
        self.fc1 = nn.Linear(width, self.hidden)
        self.fc2 = nn.Linear(self.hidden, n_outputs)
        if (backbone := next(self.parameters(), None)) is not None:
            self.to(backbone.device)

    def extend(self, n_context: int = 0, sequence: SequenceSettings | None = None) -> None:
        """Use this many context values of each beat, and the beats around it; the head is initialised anew."""
        self.n_context, self.sequence_settings = n_context, sequence
        self.reset_classifier(self.n_outputs)

    @property
    def reach(self) -> int:
        """Beats on each side of a beat that its output depends on."""
        return 0 if self.sequence_settings is None else self.sequence_settings.reach

    def freeze_backbone(self, frozen: bool = True) -> None:
        """Stop the backbone from learning, or let it learn again.

        A frozen backbone has no gradients and stays in evaluation mode, so that neither dropout nor the statistics of
        normalisation layers change its features.
        """
        self.backbone_frozen = frozen
        for name, parameter in self.named_parameters():
            if not self.is_head(name):
                parameter.requires_grad_(not frozen)
        self.train(self.training)

    def is_head(self, name: str) -> bool:
        """Whether the parameter or module of this dotted name belongs to the head."""
        return name.partition(".")[0] in (*self.head_names, "head_dropout")

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.backbone_frozen:
            for name, module in self.named_children():
                if not self.is_head(name):
                    module.eval()
        return self

    @abstractmethod
    def forward_features(self, signals: Tensor, lengths: Tensor) -> Tensor:
        """Beats ``[b, leads, length]`` and their samples before the padding ``[b]`` → features ``[b, width]``."""

    def forward_head(self, features: Tensor, context: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """Features ``[b, width]`` and, where the network uses it, context ``[b, n_context]`` → ``[b, n_outputs]``.

        Of sequences, all have one dimension more, ``[s, beats, …]``, and `present` tells which beats there are.
        """
        n_given = 0 if context is None else context.shape[-1]
        if n_given != self.n_context:
            raise ConfigError(f"this network takes {self.n_context} context values of each beat, {n_given} were given")
        if context is not None:
            features = torch.cat([features, self.fc_context(context).relu()], dim=-1)
        if present is not None:
            features = torch.cat([features, self.sequence(self.head_dropout(features), present)], dim=-1)
        logits: Tensor = self.fc2(self.head_dropout(self.fc1(self.head_dropout(features)).relu()))
        return logits

    def forward(self, signals: Tensor, lengths: Tensor, context: Tensor | None = None) -> Tensor:
        """Zero-padded beats ``[b, leads, length]``, their samples before the padding ``[b] int`` and, where the network
        uses it, context ``[b, n_context]`` → logits ``[b, n_outputs]``; of sequences with one dimension more."""
        if self.sequence_settings is None:
            return self.forward_head(self.forward_features(signals, lengths), context)
        # Nothing is known of a blanked beat but its context, and simulated people have no others. A graphics processor
        # would have to wait for the answer.
        if lengths.device.type == "cpu" and not torch.compiler.is_exporting() and not (lengths > 0).any():
            features = signals.new_zeros(*lengths.shape, self.width)
        else:
            features = self.forward_features(signals.flatten(0, 1), lengths.flatten().clamp(min=0))
            features = torch.unflatten(features, 0, lengths.shape) * (lengths > 0)[..., None]
        return self.forward_head(features, context, lengths >= 0)

    @property
    def n_parameters(self) -> int:
        """Number of weights, frozen ones included."""
        return sum(parameter.numel() for parameter in self.parameters())
