"""The loss: cross-entropy, and ways to weight rare classes without new beats."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.core.options import Share, Strength, options


@options("loss")
class LossSettings:
    """Each is neutral at 0, and all of them combine; frequencies are of the classes among the sampled beats.

    Attributes:
        label_smoothing: share of the target that is spread evenly over the classes (Szegedy et al., CVPR 2016).
        class_weights: exponent ``p`` of the class weights ``(1 / frequency) ** p`` (King & Zeng, Political Analysis
            2001, for ``p`` = 1): with 1 all classes have the same total weight, .5 is half way.
        focal: exponent ``γ`` of the factor ``(1 - p_true) ** γ``, which reduces the loss of well-classified beats (Lin
            et al., ICCV 2017, equation 4).
        logit_adjustment: ``τ`` of ``τ · log(frequency)``, added to the logits in training only, which moves the
            decision towards the rare classes (Menon et al., ICLR 2021, equation 10).
        prior_correction: share in which the logits are corrected, in training only, by ``log(frequency as sampled /
            frequency among the training beats)``. With 1 the network learns the true frequencies however often it sees
            a class, so that balanced sampling does not exaggerate rare classes (Saerens, Latinne & Decaestecker, Neural
            Computation 2002, equation 2.4, inverted).
    """

    label_smoothing: Share = 0.0
    class_weights: Strength = 0.0
    focal: Strength = 0.0
    logit_adjustment: Strength = 0.0
    prior_correction: Strength = 0.0


class BeatLoss(nn.Module):
    """Loss of each beat of a batch, for numbers of beats of each class in training and, `drawn`, in a sampled epoch.

    Where beats are not sampled, `weighted`, their loss is weighted to the same end.
    """

    shift: Tensor
    weights: Tensor

    def __init__(
        self, settings: LossSettings, training: Sequence[int], drawn: Sequence[int], *, weighted: bool = False
    ) -> None:
        super().__init__()
        self.settings = settings
        sampled_log, training_log = _log_frequencies(drawn), _log_frequencies(training)
        shift = settings.logit_adjustment * sampled_log + settings.prior_correction * (sampled_log - training_log)
        weights = (-settings.class_weights * sampled_log).exp() * (torch.tensor(drawn) > 0)
        weights /= (weights * sampled_log.exp()).sum()  # the mean weight of a beat is 1, which keeps the learning rate
        if weighted:
            weights *= (sampled_log - training_log).exp()
        self.weighted = weighted or bool(settings.class_weights)
        # A checkpoint keeps the settings, from which these follow.
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
        return loss * self.weights[labels] if self.weighted else loss


def _log_frequencies(counts: Sequence[int]) -> Tensor:
    # A class without beats is never a target, so that any finite number is right for it.
    return (torch.tensor(counts, dtype=torch.float64).clamp(min=1) / sum(counts)).log()
