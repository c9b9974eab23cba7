"""Scores are what papers are compared by: each must be the textbook's value, and recomputable by anybody."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_f1_score

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.metrics.scoring import score


def made_up(classes: tuple[str, ...], n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    labels = generator.choice(len(classes), n, p=np.linspace(1, 3, len(classes)) / (2 * len(classes)))
    raw = generator.random((n, len(classes))) + 0.5 * np.eye(len(classes))[labels]
    return labels, (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def certain(predicted: list[int], n_classes: int) -> np.ndarray:
    return np.eye(n_classes)[predicted]


def test_metrics_are_those_of_scikit_learn() -> None:
    labels, probabilities = made_up(AAMI_CLASSES)
    predicted = probabilities.argmax(axis=1)
    scores = score(labels, probabilities, AAMI_CLASSES)

    by_class = precision_recall_fscore_support(labels, predicted)
    for i, name in enumerate(AAMI_CLASSES):
        own = scores["per_class"][name]
        np.testing.assert_allclose(
            [own["precision"], own["recall"], own["f1"], own["support"]], [column[i] for column in by_class], rtol=1e-12
        )
    macro = precision_recall_fscore_support(labels, predicted, average="macro")[:3]
    assert [scores["macro_precision"], scores["macro_recall"], scores["macro_f1"]] == pytest.approx(macro, rel=1e-12)
    weighted = precision_recall_fscore_support(labels, predicted, average="weighted")[2]
    assert scores["weighted_f1"] == pytest.approx(weighted, rel=1e-12)
    assert scores["accuracy"] == pytest.approx(accuracy_score(labels, predicted), rel=1e-12)
    assert scores["confusion"] == confusion_matrix(labels, predicted).tolist()


def test_ranking_agreement_and_calibration_are_those_of_scikit_learn_and_torchmetrics() -> None:
    labels, probabilities = made_up(AAMI_CLASSES)
    predicted = probabilities.argmax(axis=1)
    scores = score(labels, probabilities, AAMI_CLASSES)

    for metric, function in (("auroc", roc_auc_score), ("average_precision", average_precision_score)):
        expected = [function(labels == i, probabilities[:, i]) for i in range(5)]
        assert [one[metric] for one in scores["per_class"].values()] == pytest.approx(expected, rel=1e-12)
        assert scores[f"macro_{metric}"] == pytest.approx(np.mean(expected), rel=1e-12)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted), rel=1e-12)
    assert scores["kappa"] == pytest.approx(cohen_kappa_score(labels, predicted), rel=1e-12)
    weighted = precision_recall_fscore_support(labels, predicted, average="weighted")
    assert scores["weighted_precision"] == pytest.approx(weighted[0], rel=1e-12)
    assert scores["accuracy"] == pytest.approx(weighted[1], rel=1e-12)
    ece = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(labels), 5, n_bins=15, norm="l1")
    assert scores["ece"] == pytest.approx(float(ece), rel=1e-4)
    assert scores["brier"] == pytest.approx(((probabilities - np.eye(5)[labels]) ** 2).sum(axis=1).mean())
    of_two, two = made_up(PTB_CLASSES)
    assert score(of_two, two, PTB_CLASSES)["brier"] == pytest.approx(brier_score_loss(of_two, two[:, 1]), rel=1e-5)


def test_reliability_tells_of_each_bin_how_sure_and_how_right() -> None:
    # Half sure four times, right twice; nine tenths sure once, and wrong.
    probabilities = np.array([[0.5, 0.3, 0.2]] * 4 + [[0.05, 0.9, 0.05]])
    scores = score(np.array([0, 0, 1, 2, 0]), probabilities, ("N", "S", "V"))
    half, sure = scores["reliability"]
    assert (half["beats"], half["confidence"], half["accuracy"]) == (4, 0.5, 0.5)
    assert (sure["beats"], sure["accuracy"]) == (1, 0.0)
    assert sure["above"] < sure["confidence"] == 0.9 <= sure["to"]
    assert scores["ece"] == pytest.approx(0.9 / 5)


def test_j_kappa_is_half_kappa_and_an_eighth_of_what_s_and_v_reach() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    scores = score(labels, certain([0, 0, 0, 1, 1, 1, 2, 0], 5), AAMI_CLASSES)
    kappa = cohen_kappa_score(labels, [0, 0, 0, 1, 1, 1, 2, 0])
    assert scores["j_kappa"] == pytest.approx(kappa / 2 + (1 + 1 / 2 + 2 / 3 + 1) / 8)
    assert "j_kappa" not in score(labels, certain([0] * 8, 3), ("N", "S", "F"))


def test_what_a_fold_cannot_tell_is_none_and_not_in_the_mean() -> None:
    labels = np.array([0, 0, 1, 1])
    scores = score(labels, np.array([[0.8, 0.2, 0], [0.4, 0.6, 0], [0.3, 0.7, 0], [0.1, 0.9, 0]]), ("N", "S", "V"))
    assert scores["per_class"]["V"]["auroc"] is None
    assert scores["macro_auroc"] == 1.0
    alone = score(np.array([1, 1]), certain([1, 1], 2), PTB_CLASSES)
    assert (alone["kappa"], alone["macro_auroc"]) == (None, None)
    assert json.loads(json.dumps(alone, allow_nan=False)) == alone


def test_metrics_of_a_hand_made_example() -> None:
    #  true N N N N S S V V, of which one N is predicted as S and one V as N.
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    scores = score(labels, certain([0, 0, 0, 1, 1, 1, 2, 0], 3), ("N", "S", "V"))

    assert scores["confusion"] == [[3, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert scores["accuracy"] == 6 / 8
    assert scores["per_class"]["S"] == {
        "precision": pytest.approx(2 / 3),
        "recall": 1.0,
        "f1": pytest.approx(0.8),
        "specificity": pytest.approx(5 / 6),
        "support": 2,
        "predicted": 3,
        "auroc": pytest.approx(11 / 12),  # one of six others is level with both S
        "average_precision": pytest.approx(2 / 3),
    }
    assert scores["macro_f1"] == pytest.approx((3 / 4 + 4 / 5 + 2 / 3) / 3)


def test_the_two_metrics_that_papers_call_macro_f1_are_both_there_and_differ() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    scores = score(labels, certain([0, 0, 0, 1, 1, 1, 2, 0], 3), ("N", "S", "V"))

    precision, recall = (3 / 4 + 2 / 3 + 1) / 3, (3 / 4 + 1 + 1 / 2) / 3
    assert scores["f1_of_macro_precision_recall"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert scores["f1_of_macro_precision_recall"] - scores["macro_f1"] > 0.03


def test_of_two_classes_the_positive_one_is_at_the_top() -> None:
    labels, probabilities = made_up(PTB_CLASSES)
    scores = score(labels, probabilities, PTB_CLASSES, positive="MI")

    is_mi = probabilities[:, 1] > 0.5
    precision, recall, f1, _ = precision_recall_fscore_support(labels, is_mi, average="binary")
    assert [scores["precision"], scores["recall"], scores["f1"]] == pytest.approx([precision, recall, f1])
    assert scores["specificity"] == pytest.approx((~is_mi)[labels == 0].mean())
    assert scores["auroc"] == pytest.approx(roc_auc_score(labels, probabilities[:, 1]), rel=1e-12)


def test_probability_of_exactly_a_half_is_not_predicted_as_mi() -> None:
    scores = score(np.array([0, 1]), np.array([[0.5, 0.5], [0.4, 0.6]]), PTB_CLASSES, positive="MI")
    assert scores["confusion"] == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("labels", "predicted", "expected"),
    [
        pytest.param([0, 0, 1, 1], [0, 1, 1, 1], (2 / 3 + 4 / 5) / 2, id="class 2 neither occurs nor is predicted"),
        pytest.param([0, 0, 1, 1], [0, 2, 1, 1], (2 / 3 + 1 + 0) / 3, id="class 2 is only predicted"),
        pytest.param([0, 0, 1, 2], [0, 0, 1, 1], (1 + 2 / 3 + 0) / 3, id="class 2 only occurs"),
    ],
)
def test_macro_f1_with_a_missing_class_is_that_of_validation(
    labels: list[int], predicted: list[int], expected: float
) -> None:
    scores = score(np.array(labels), certain(predicted, 3), ("N", "S", "V"))

    assert scores["macro_f1"] == pytest.approx(expected)
    validation = multiclass_f1_score(torch.tensor(predicted), torch.tensor(labels), num_classes=3, average="macro")
    assert scores["macro_f1"] == pytest.approx(float(validation), rel=1e-6)
    assert scores["per_class"]["V"]["support"] == labels.count(2)
    assert scores["per_class"]["V"]["f1"] == 0


def test_a_fold_of_one_class_has_no_auroc_instead_of_a_wrong_one() -> None:
    scores = score(np.array([1, 1]), np.array([[0.1, 0.9], [0.8, 0.2]]), PTB_CLASSES, positive="MI")
    assert scores["auroc"] is None
    assert scores["recall"] == 0.5
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


def test_a_diverged_model_is_named_and_not_scored() -> None:
    probabilities = np.full((3, 2), 0.5)
    probabilities[1] = np.nan
    with pytest.raises(DataError, match=r"1 of 3 beats .* diverged"):
        score(np.array([0, 1, 1]), probabilities, PTB_CLASSES)


@pytest.mark.parametrize(
    ("labels", "shape", "positive", "message"),
    [
        ([], (0, 2), None, "no beats"),
        ([0, 1], (2, 3), None, r"\(2, 3\)"),
        ([0, 2], (2, 2), None, "labels from 0 to 2"),
        ([0, 1], (2, 2), "V", "positive class 'V' of normal, MI"),
    ],
)
def test_what_does_not_fit_is_refused(
    labels: list[int], shape: tuple[int, int], positive: str | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        score(np.array(labels, dtype=np.int64), np.full(shape, 0.5), PTB_CLASSES, positive)
