"""The loss by hand, for both kinds of task, and what its ways of minding rare classes do."""

import math
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.batches import MixedBatch
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.loss import BeatLoss, LossSettings
from ecg_lightning.training.tasks import CLASSES, make_task

TASKS = {name: make_task(name, classes) for name, classes in CLASSES.items()}
COUNTS = [900, 90, 9, 0, 1]


def beats_of_each_class() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 4, 0, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_of_several_classes_by_hand(smoothing: float) -> None:
    logits, labels = beats_of_each_class()
    targets = one_hot(labels, 5) * (1 - smoothing) + smoothing / 5
    by_hand = -(targets * torch.log(logits.exp() / logits.exp().sum(dim=1, keepdim=True))).sum(dim=1)
    torch.testing.assert_close(
        BeatLoss(LossSettings(label_smoothing=smoothing), COUNTS, COUNTS)(logits, labels), by_hand
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_logit_against_nothing_is_binary_cross_entropy(smoothing: float) -> None:
    logits, labels = torch.tensor([[0.4], [-1.2], [2.0]]), torch.tensor([1, 0, 0])
    targets = labels * (1 - smoothing) + smoothing / 2
    by_hand = binary_cross_entropy_with_logits(logits.squeeze(1), targets, reduction="none")
    loss = BeatLoss(LossSettings(label_smoothing=smoothing), [10, 10], [10, 10])
    torch.testing.assert_close(loss(TASKS["mi"].class_logits(logits), labels), by_hand)


def test_weights_make_classes_count_alike_and_a_beat_one_on_average() -> None:
    labels = torch.repeat_interleave(torch.arange(5), torch.tensor(COUNTS))
    same = torch.zeros(len(labels), 5)
    weighted = BeatLoss(LossSettings(class_weights=1.0), COUNTS, COUNTS)(same, labels) / math.log(5)
    of_class = [weighted[labels == label].sum().item() for label in (0, 1, 2, 4)]
    assert of_class == pytest.approx([250] * 4)
    half = BeatLoss(LossSettings(class_weights=0.5), COUNTS, COUNTS)(same, labels) / math.log(5)
    assert half.mean().item() == pytest.approx(1)
    assert (half[-1] / half[0]).item() == pytest.approx(math.sqrt(900))


def test_focal_loss_by_hand() -> None:
    logits, labels = beats_of_each_class()
    true = logits.softmax(dim=1)[torch.arange(6), labels]
    by_hand = -((1 - true) ** 2) * true.log()
    torch.testing.assert_close(BeatLoss(LossSettings(focal=2.0), COUNTS, COUNTS)(logits, labels), by_hand)


def test_logit_adjustment_asks_rare_classes_for_a_margin() -> None:
    logits, labels = beats_of_each_class()
    frequencies = torch.tensor(COUNTS).clamp(min=1) / 1001
    by_hand = cross_entropy(logits + 1.5 * frequencies.log(), labels, reduction="none")
    torch.testing.assert_close(BeatLoss(LossSettings(logit_adjustment=1.5), COUNTS, COUNTS)(logits, labels), by_hand)
    plain = cross_entropy(logits, labels, reduction="none")
    assert by_hand[3] > plain[3] and by_hand[0] < plain[0], "a rare beat costs more, a common one less"


def test_a_corrected_network_learns_the_true_frequencies_from_beats_drawn_otherwise() -> None:
    true, drawn = [0.9, 0.1], [0.5, 0.5]
    loss = BeatLoss(LossSettings(prior_correction=1.0), [900, 100], [500, 500])
    # Beats that tell nothing of their class: the best that can be said of them is how frequent the classes are.
    logits = torch.tensor([true]).log().expand(2, 2).clone().requires_grad_()
    expected = (torch.tensor(drawn) * loss(logits, torch.tensor([0, 1]))).sum()
    expected.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad.sum(dim=0), torch.zeros(2), atol=1e-6, rtol=0)
    assert expected.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("setting", [field.name for field in fields(LossSettings)])
def test_settings_out_of_range_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=rf"loss.{setting}=-0.1.*expected .*0"):
        LossSettings(**{setting: -0.1})


def test_loss_stays_finite_where_half_precision_is_sure_of_itself() -> None:
    logits, labels = torch.tensor([[60.0, -60, 0, 0, 0]]).bfloat16(), torch.tensor([1])
    settings = LossSettings(label_smoothing=0.1, class_weights=1.0, focal=0.5, logit_adjustment=1.0)
    loss = BeatLoss(settings, COUNTS, COUNTS)(logits.requires_grad_(), labels)
    loss.sum().backward()
    assert loss.dtype == torch.float32 and loss.isfinite().all() and logits.grad.isfinite().all()


def test_mixed_beats_are_judged_by_both_their_labels(make_classifier: Callable[..., BeatClassifier]) -> None:
    classifier = make_classifier()
    lengths = torch.full((3,), 187)
    signals, labels, partners = torch.rand(3, 1, 187), torch.tensor([0, 1, 2]), torch.tensor([4, 1, 0])
    share = torch.tensor([0.9, 0.7, 0.5])
    logits = classifier(signals, lengths)
    by_hand = share * cross_entropy(logits, labels, reduction="none")
    by_hand += (1 - share) * cross_entropy(logits, partners, reduction="none")
    mixed = classifier.training_step(MixedBatch(signals, lengths, labels, torch.arange(3), partners, share), 0)
    torch.testing.assert_close(mixed, by_hand.mean())
