"""Files of a run that somebody changed are told from those that were written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.metrics.catalogue import dig
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.runs.schema import RunRecord

Leave = Callable[..., Path]


def test_a_record_with_another_digit_is_refused_and_one_that_is_only_formatted_otherwise_is_read(
    leave_run: Leave,
) -> None:
    file = leave_run("a") / "scores.json"
    record, content = RunRecord.read(file), json.loads(file.read_text())
    file.write_text(json.dumps(content))
    assert RunRecord.read(file) == record
    content["test"]["macro_f1"] = 0.5
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match="changed"):
        RunRecord.read(file)


def test_a_record_from_before_the_checksum_is_read(leave_run: Leave) -> None:
    file = leave_run("a") / "scores.json"
    record, content = RunRecord.read(file), json.loads(file.read_text())
    del content["sha256"]
    file.write_text(json.dumps(content))
    assert RunRecord.read(file) == record


def test_a_class_may_have_a_point_in_its_name() -> None:
    scores = {"test": {"per_class": {"A": {"f1": 0.1}, "A.1": {"f1": 0.25}}}}
    assert Numbers(scores).value("test.per_class.A.1.f1") == dig(scores, ("test", "per_class", "A.1", "f1"))
