"""The loss: cross-entropy, and the ways in which it can weigh rare classes without new beats."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """Each is neutral at 0, and all of them combine.

    Frequencies are those of the classes among the beats that the network is shown.

    Attributes:
        label_smoothing: share of the target that is spread evenly over the classes (Szegedy et al., CVPR 2016).
        class_weights: exponent ``p`` of weights ``(1 / frequency) ** p`` of the classes (King & Zeng, Political
            Analysis 2001, for ``p`` = 1): 1 lets every class weigh the same in all, .5 goes half way.
        focal: exponent ``γ`` of the factor ``(1 - p_true) ** γ``, by which well-classified beats count less (Lin et
            al., ICCV 2017, equation 4).
        logit_adjustment: ``τ`` of ``τ · log(frequency)``, added to the logits in training only, which moves the
            decision towards the rare classes (Menon et al., ICLR 2021, equation 10).
        prior_correction: share in which the logits are corrected, in training only, by ``log(frequency as sampled /
            frequency among the training beats)``. With 1 the network learns how frequent the classes are, however often
            it is shown them: balanced sampling then teaches it rare beats without an exaggerated expectation of them
            (Saerens, Latinne & Decaestecker, Neural Computation 2002, equation 2.4, turned round).
    """

    label_smoothing: float = 0.0
    class_weights: float = 0.0
    focal: float = 0.0
    logit_adjustment: float = 0.0
    prior_correction: float = 0.0

    def __post_init__(self) -> None:
        for name, value in ((field.name, getattr(self, field.name)) for field in fields(self)):
            highest = 1 if name == "label_smoothing" else math.inf
            if not 0 <= value < highest:
                expected = "0 or more" + (" and less than 1" if highest == 1 else "")
                raise ConfigError(f"loss.{name}={value}, expected {expected}")


class BeatLoss(nn.Module):
    """Loss of each beat of a batch.

    Args:
        settings: how rare classes and doubtful labels are weighed.
        training: number of training beats of each class.
        drawn: how many of them an epoch shows.
    """

    shift: Tensor
    weights: Tensor

    def __init__(self, settings: LossSettings, training: Sequence[int], drawn: Sequence[int]) -> None:
        super().__init__()
        self.settings = settings
        drawn_log, training_log = _log_frequencies(drawn), _log_frequencies(training)
        shift = settings.logit_adjustment * drawn_log + settings.prior_correction * (drawn_log - training_log)
        weights = (-settings.class_weights * drawn_log).exp() * (torch.tensor(drawn) > 0)
        weights /= (weights * drawn_log.exp()).sum()  # a beat weighs 1 on average: the learning rate keeps its meaning
        # What follows from the settings is nothing that a checkpoint would have to keep.
        self.register_buffer("shift", shift.float(), persistent=False)
        self.register_buffer("weights", weights.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss ``[b]`` of each beat, from ``[b, classes]`` and ``[b]``, in single precision."""
        settings = self.settings
        logits = logits.float() + self.shift
        loss = F.cross_entropy(logits, labels, reduction="none", label_smoothing=settings.label_smoothing)
        if settings.focal:
            true = logits.log_softmax(dim=1).gather(1, labels[:, None]).squeeze(1).exp()
            loss = (1 - true) ** settings.focal * loss
        if settings.class_weights:
            loss = loss * self.weights[labels]
        return loss


def _log_frequencies(counts: Sequence[int]) -> Tensor:
    # A class without a beat is never a target: any finite number will do for it.
    return (torch.tensor(counts, dtype=torch.float64).clamp(min=1) / sum(counts)).log()
