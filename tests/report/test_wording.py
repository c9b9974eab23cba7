"""The line below the title of every picture: what a figure must not be taken without."""

from collections.abc import Callable
from typing import Any

import pytest

from ecg_lightning.report.wording import conditions

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (
            {"split": "ds1_ds2", "protocol": "ds1_ds2: 202 moved to DS1, where …", "left_out": 8757, "context": "RR"},
            "split ds1_ds2, 202 moved to DS1, 8,757 beats left out; AAMI EC57 with e and j in N; context: RR",
        ),
        (
            {"task": "mi", "split": "patient", "protocol": "patient: fold 3 of 5 (…", "left_out": 0, "context": "none"},
            "split patient, fold 3 of 5, no beats left out; MI by reason for admission; context: none",
        ),
        (
            {"protocol": "random: …, trained on 100 of 900 training beats"},
            "split random, trained on 100 of 900 training",
        ),
    ],
)
def test_protocol_class_map_what_was_left_out_and_context_are_told(
    entries: dict[str, Any], said: str, make_scores: Make
) -> None:
    assert conditions(make_scores(**entries)).startswith(said)


def test_of_a_sweep_it_is_told_what_its_runs_have_in_common(make_scores: Make) -> None:
    folds = [make_scores(split="patient", protocol=f"patient: fold {fold} of 5, seed 0") for fold in range(5)]
    assert len({conditions(scores) for scores in folds}) == 5
    assert {conditions(scores, parts=False) for scores in folds} == {"split patient; AAMI EC57 with e and j in N"}
