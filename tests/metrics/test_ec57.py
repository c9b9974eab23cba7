"""EC57 counts some mistakes as none: each cell of the standard's matrix must go where ``bxb`` puts it."""

import itertools
from typing import Any

import numpy as np
import pytest

from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.metrics.ec57 import ec57
from ecg_lightning.metrics.scoring import score

# Of each true class (row) the count that one beat is for V and for S, by what it was predicted as: N S V F Q.
V = {"N": "TN TN FP TN TN", "S": "TN TN FP TN TN", "V": "FN FN TP FN FN", "F": "TN TN -- TN TN", "Q": "TN TN -- TN TN"}
S = {"N": "TN FP TN TN TN", "S": "FN TP FN FN FN", "V": "TN FP TN TN TN", "F": "TN FP TN TN TN", "Q": "TN -- TN TN TN"}


def of_pairs(pairs: list[str], records: list[str] | None = None) -> dict[str, Any]:
    """EC57 of beats such as ``"Fv"``: a fusion beat that was predicted as V."""
    labels = np.array([AAMI_CLASSES.index(true) for true, _ in pairs])
    probabilities = np.eye(5)[[AAMI_CLASSES.index(predicted.upper()) for _, predicted in pairs]]
    answer: dict[str, Any] = score(
        labels, probabilities, AAMI_CLASSES, records=None if records is None else np.array(records)
    )["ec57"]
    return answer


@pytest.mark.parametrize(("true", "predicted"), itertools.product("NSVFQ", "NSVFQ"))
def test_a_beat_counts_as_in_the_standard(true: str, predicted: str) -> None:
    answer = of_pairs([true + predicted.lower()])
    for of, table in (("V", V), ("S", S)):
        expected = table[true].split()["NSVFQ".index(predicted)]
        counted = [name.upper() for name in ("tp", "fn", "fp", "tn") if answer[of][name]]
        assert counted == ([] if expected == "--" else [expected])


def test_metrics_are_those_of_bxb_on_a_matrix_with_a_different_power_of_2_in_each_cell() -> None:
    # Powers of 2: no two sums of cells are equal.
    cells = {true + predicted: 2**i for i, (true, predicted) in enumerate(itertools.product("NSVFQ", "nsvfq"))}
    matrix = np.array(list(cells.values())).reshape(1, 5, 5)
    answer = ec57(matrix, AAMI_CLASSES, None)

    def total(names: str) -> int:
        return sum(cells[name] for name in names.split())

    vtp, stp = total("Vv"), total("Ss")
    vfn, sfn = total("Vn Vs Vf Vq"), total("Sn Sv Sf Sq")
    vfp, sfp = total("Nv Sv"), total("Ns Vs Fs")
    vtn = total("Nn Ns Nf Nq Sn Ss Sf Sq Fn Fs Ff Fq Qn Qs Qf Qq")
    assert answer["V"] == {
        "tp": vtp, "fn": vfn, "fp": vfp, "tn": vtn, "sensitivity": vtp / (vtp + vfn),
        "positive_predictivity": vtp / (vtp + vfp), "specificity": vtn / (vtn + vfp),
        "false_positive_rate": vfp / (vtn + vfp), "f1": 2 * vtp / (2 * vtp + vfn + vfp),
    }  # fmt: skip
    assert answer["S"]["sensitivity"] == stp / (stp + sfn)
    assert answer["S"]["positive_predictivity"] == stp / (stp + sfp)
    assert answer["S"]["tn"] == total("Nn Nv Nf Nq Vn Vv Vf Vq Fn Fv Ff Fq Qn Qv Qf Qq")


def test_each_record_all_of_them_and_those_without_232() -> None:
    pairs = ["Ss", "Ss", "Sn", "Ns", "Ss", "Sn", "Nn"]
    answer = of_pairs(pairs, ["232", "232", "232", "232", "100", "100", "101"])

    assert (answer["S"]["sensitivity"], answer["S"]["positive_predictivity"]) == (3 / 5, 3 / 4)
    without = answer["without_232"]["S"]
    assert (without["tp"], without["fn"], without["fp"], without["tn"]) == (1, 1, 0, 1)
    by_record = {one["record"]: one["S"] for one in answer["per_record"]}
    assert list(by_record) == ["100", "101", "232"]
    assert by_record["232"]["sensitivity"] == 2 / 3
    # No S in record 101, and none was predicted so: it has no sensitivity, and no part in the average.
    assert by_record["101"]["sensitivity"] is None and by_record["101"]["false_positive_rate"] == 0
    assert answer["S"]["average_sensitivity"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert answer["S"]["average_positive_predictivity"] == pytest.approx((2 / 3 + 1) / 2)
    assert answer["V"]["average_sensitivity"] is None


def test_232_is_set_aside_among_records_of_several_databases_too() -> None:
    answer = of_pairs(["Ss", "Ss", "Sn"], ["mitbih/232", "svdb/800", "svdb/800"])
    without = answer["without_232"]["S"]
    assert (without["tp"], without["fn"]) == (1, 1)


def test_without_records_there_is_the_gross_metrics_alone() -> None:
    assert of_pairs(["Ss", "Nn"]).keys() == {"V", "S"}
    assert "without_232" not in of_pairs(["Ss", "Nn"], ["100", "101"])
    assert "ec57" not in score(np.array([0, 1]), np.eye(2), ("normal", "MI"), "MI")
