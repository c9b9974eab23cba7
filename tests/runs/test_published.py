"""The published metrics are what a run is compared with: a wrong one would flatter or blame every run."""

from collections.abc import Callable

import pytest

from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.runs.published import published_for_run, published_row
from ecg_lightning.runs.schema import RunRecord

NETWORKS = ("cnet", "seq", "bilstm", "bigru")
AUGMENTATIONS = ("none", "smote_tomek")


def test_metrics_of_cnet_are_fractions_as_printed() -> None:
    row = published_row("arrhythmia", "cnet", "none")
    assert row is not None
    assert row["macro_f1"] == 0.9283118
    assert row["per_class"]["S"] == {"precision": 0.9075, "recall": 0.8291, "f1": 0.8665303}
    assert published_row("mi", "cnet", "none") == {
        "precision": 0.9957,
        "recall": 0.9986,
        "f1": 0.9971479,
        "per_class": {"MI": {"precision": 0.9957, "recall": 0.9986, "f1": 0.9971479}},
    }


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("network", NETWORKS)
def test_published_overall_f1_is_the_mean_of_the_classes_and_so_compares_with_macro_f1(
    network: str, augmentation: str
) -> None:
    row = published_row("arrhythmia", network, augmentation)
    assert row is not None
    mean = sum(row["per_class"][name]["f1"] for name in AAMI_CLASSES) / 5
    assert row["macro_f1"] == pytest.approx(mean, abs=1e-7)
    assert row["f1_of_macro_precision_recall"] - row["macro_f1"] > 5e-5


def test_pretrained_row_differs_from_the_one_from_scratch_and_exists_for_cnet_only() -> None:
    row = published_row("mi", "cnet", "smote_tomek", pretrained=True)
    assert row is not None
    assert (row["precision"], row["recall"]) == (0.9677, 0.9672)
    assert published_row("mi", "bigru", "none", pretrained=True) is None
    assert published_row("arrhythmia", "cnet", "none", pretrained=True) is None


def test_only_the_misprinted_row_has_an_erratum() -> None:
    errata = {
        (network, augmentation): row["erratum"]
        for network in NETWORKS
        for augmentation in AUGMENTATIONS
        if (row := published_row("mi", network, augmentation)) and "erratum" in row
    }
    assert errata == {("cnet", "smote_tomek"): "F1 99.06 as printed; its own precision and recall give 99.47"}


@pytest.mark.parametrize(
    ("task", "network", "augmentation"),
    [("arrhythmia", "cnet", "smote"), ("arrhythmia", "resnet", "none"), ("afib", "cnet", "none")],
)
def test_what_nobody_published_has_no_row(task: str, network: str, augmentation: str) -> None:
    assert published_row(task, network, augmentation) is None


def test_row_of_a_run_is_found_by_its_transfer_and_never_for_synthetic_beats(
    make_record: Callable[..., RunRecord],
) -> None:
    row = published_for_run(make_record("mi", transfer="head_only"))
    assert row is not None
    assert row["f1"] == pytest.approx(0.966399493)
    for other in ({"synthetic": True}, {"transfer": "finetune"}, {"fold": "validation"}):
        assert published_for_run(make_record("mi", **{"transfer": "head_only"} | other)) is None
