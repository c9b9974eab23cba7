"""EC57 and jκ of class maps without F or Q, in another order or with further classes: by name, never by position."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.metrics.bootstrap import intervals
from ecg_lightning.metrics.scoring import score
from ecg_lightning.runs.schema import RunRecord

PAIRS = [pair for n, pair in enumerate(itertools.product("NSVF", "NSVF"), start=1) for _ in range(n)]
RECORDS = np.array([str(at % 3) for at in range(len(PAIRS))])


def arrays(classes: Sequence[str]) -> tuple[Any, Any]:
    labels = np.array([classes.index(true) for true, _ in PAIRS])
    return labels, np.eye(len(classes))[[classes.index(predicted) for _, predicted in PAIRS]]


@pytest.mark.parametrize("classes", [("N", "S", "V", "F"), ("F", "V", "S", "N"), ("N", "S", "V", "F", "pace")])
def test_a_class_map_of_other_classes_is_counted_as_the_standard_s_five(classes: tuple[str, ...]) -> None:
    expected = score(*arrays(AAMI_CLASSES), AAMI_CLASSES, records=RECORDS)
    found = score(*arrays(classes), classes, records=RECORDS)
    assert found["ec57"] == expected["ec57"]
    assert found["j_kappa"] == pytest.approx(expected["j_kappa"])
    ends = [intervals(*arrays(of), of, RECORDS, resamples=50)["ec57"]["V"]["f1"] for of in (classes, AAMI_CLASSES)]
    assert ends[0] == ends[1] is not None


def test_of_n_s_and_v_alone_every_other_beat_predicted_as_v_is_a_false_positive() -> None:
    labels, predicted = np.array([0, 0, 1, 2, 2]), np.eye(3)[[0, 2, 2, 2, 0]]
    assert score(labels, predicted, ("N", "S", "V"))["ec57"]["V"] | {"f1": 0} == {
        "tp": 1, "fn": 1, "fp": 2, "tn": 1, "sensitivity": 1 / 2, "positive_predictivity": 1 / 3,
        "specificity": 1 / 3, "false_positive_rate": 2 / 3, "f1": 0,
    }  # fmt: skip


def test_without_s_or_v_there_is_nothing_to_count() -> None:
    scores = score(np.array([0, 1]), np.eye(2), ("N", "V"))
    assert "ec57" not in scores and "j_kappa" not in scores


def test_a_record_holds_ec57_of_four_classes_and_refuses_it_of_classes_without_s(
    make_record: Callable[..., RunRecord],
) -> None:
    four = ("N", "S", "V", "F")
    record = make_record(classes=four, test=score(*arrays(four), four, records=RECORDS), class_map="AAMI without Q")
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
    assert record.absent == []
    two = score(np.array([0, 1]), np.eye(2), ("N", "V")) | {"ec57": record.test["ec57"]}
    with pytest.raises(ValidationError, match="ec57 is of other classes"):
        make_record(classes=("N", "V"), test=two)
