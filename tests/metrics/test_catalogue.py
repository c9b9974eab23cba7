"""Every metric that is scored is in the catalogue, with labels that fit where there is little room."""

from typing import Any

import numpy as np
import pytest

from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.metrics.bootstrap import intervals
from ecg_lightning.metrics.catalogue import OVERALL, metric_at, of_class, of_ec57
from ecg_lightning.metrics.scoring import score


def scored(classes: tuple[str, ...]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels, raw = rng.integers(len(classes), size=60), rng.random((60, len(classes)))
    raw += 0.5 * np.eye(len(classes))[labels]
    probabilities, who = raw / raw.sum(axis=1, keepdims=True), np.array(["100", "232", "101"])[np.arange(60) % 3]
    test = score(labels, probabilities, classes, "MI" if "MI" in classes else None, records=who)
    return test | {"intervals": intervals(labels, probabilities, classes, who, resamples=20)}


def places(test: Any, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(test, dict):
        return [place for key, value in test.items() for place in places(value, (*at, key))]
    return [at] if isinstance(test, float) else []


@pytest.mark.parametrize("classes", [AAMI_CLASSES, PTB_CLASSES])
def test_every_metric_that_is_scored_has_its_labels_and_is_found_by_its_place(classes: tuple[str, ...]) -> None:
    test = scored(classes)
    found = [place for place in places(test) if place[0] != "intervals"]
    assert len(found) > 20
    labels = set()
    for place in found:
        metric = metric_at(place)
        value: Any = test
        for key in place:
            value = value[key]
        assert metric.of(test) == value and metric.place == ".".join(("test", *place))
        lines = metric.short.split("\n")
        assert len(lines) == 2 and max(map(len, lines)) <= 6, metric
        labels.add(metric.label)
        if place[0] != "ec57" or (place[1] != "without_232" and "average" not in place[-1]):
            ends = metric.interval(test)
            assert ends is None or ends[0] <= ends[1]
            assert (len(place) == 1 and place[0] not in OVERALL) or ends is not None, place
    # What is repeated on top for the class of interest is the metric of that class.
    assert len(labels) == len(found)


def test_values_are_printed_by_their_scale_and_digits() -> None:
    assert metric_at(("macro_f1",)).text(0.94256) == "94.26"
    assert metric_at(("brier",)).text(0.12345) == "0.123"
    assert of_ec57("V", "false_positive_rate").text(0.00123) == "0.123"
    assert metric_at(("macro_f1",)).text(None) == "-"
    assert metric_at(("macro_f1",)).rounded(0.942561) == metric_at(("macro_f1",)).rounded(0.942559)


def test_what_is_absent_is_none_and_what_is_no_metric_is_refused() -> None:
    assert of_class("V", "f1").of({"per_class": {"N": {"f1": 1.0}}}) is None
    assert of_class("V", "f1").interval({}) is None
    for key in ((), ("nothing",), ("per_class", "V", "nothing"), ("ec57", "V", "tp")):
        with pytest.raises(KeyError):
            metric_at(key)
