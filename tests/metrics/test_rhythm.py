"""Rhythm of a recording: rows of ectopic beats, rate, pauses and variability are those of the beats that count."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecg_lightning.data.labels import AAMI
from ecg_lightning.data.readers.wfdb import read_annotation_file
from ecg_lightning.metrics.rhythm import merged, periods, summarise

NAMES = ("N", "S", "V", "F", "Q")


def rhythm(classes: str, rr: float = 0.8, **more: Any) -> dict[str, Any]:
    """Of beats at equal intervals, a letter each."""
    times = 1 + rr * np.arange(len(classes))
    return summarise(times, list(classes), **{"names": NAMES, "duration_s": 1 + rr * len(classes)} | more)


def test_rows_of_ectopic_beats_are_counted_by_length() -> None:
    v = rhythm("NVNVVNVVVNVVVVVNFN", rr=0.5)["ectopy"]["V"]
    assert (v["single"], v["couplets"], v["triplets"], v["runs"]) == (1, 1, 1, 1)
    assert v["beats_in_runs"] == 8
    assert v["longest"] == {"start_s": 6.0, "stop_s": 8.0, "beats": 5, "rate": 120.0}


def test_only_runs_above_100_a_minute_are_tachycardia() -> None:
    times = np.cumsum([1, 1, 0.4, 0.4, 1, 0.7, 0.7, 1])
    v = summarise(times, list("NVVVNVVV"), names=NAMES, duration_s=10)["ectopy"]["V"]
    assert v["triplets"] == 2 and v["tachycardia"] == 1
    assert v["fastest"]["start_s"] == pytest.approx(2.0) and v["fastest"]["rate"] == pytest.approx(150)


def test_fusion_and_lost_signal_end_a_run() -> None:
    assert rhythm("NVVFVVN")["ectopy"]["V"]["couplets"] == 2
    v = rhythm("NVVVVN", unusable=[(3.5, 3.6)])["ectopy"]["V"]  # between the third and the fourth beat's times
    assert v["runs"] == 0 and v["single"] + 2 * v["couplets"] + 3 * v["triplets"] == 4


def test_bigeminy_and_trigeminy_need_three_ectopic_beats_and_class_n_between() -> None:
    v = rhythm("NVNVNVNN" + "VNNVNNVNN" + "NVNVN")["ectopy"]["V"]
    assert v["bigeminy"]["episodes"] == 1 and v["bigeminy"]["beats"] == 3
    # The last of the bigeminy has two beats of class N behind it, too, and is the first of the trigeminy.
    assert v["trigeminy"]["episodes"] == 1 and v["trigeminy"]["beats"] == 4
    assert rhythm("VSVSVSV")["ectopy"]["V"]["bigeminy"]["episodes"] == 0
    assert rhythm("NSNSNSN")["ectopy"]["S"]["bigeminy"]["longest"]["beats"] == 3


def test_an_interval_over_lost_signal_is_no_pause_and_is_counted_as_such() -> None:
    times = [1.0, 2.0, 4.6, 5.6, 9.0, 10.0]
    found = summarise(times, ["N"] * 6, names=NAMES, duration_s=11, unusable=[(7.0, 8.0)])["pauses"]
    assert (found["over_2_s"], found["over_2.5_s"], found["not_counted"]) == (1, 1, 1)
    assert found["longest"]["seconds"] == pytest.approx(2.6) and found["longest"]["start_s"] == 2.0
    usable = [True, False, True, True, True, True]
    assert summarise(times, ["N"] * 6, names=NAMES, duration_s=11, usable=usable)["pauses"]["longest"]["start_s"] == 5.6


def test_rates_are_over_eight_intervals_that_follow_each_other() -> None:
    times = 1 + np.cumsum(np.concatenate([np.full(20, 1.0), np.full(12, 0.5), np.full(20, 1.5)]))
    rate = summarise(times, ["N"] * len(times), names=NAMES, duration_s=70)["rate"]
    assert rate["highest"]["rate"] == pytest.approx(120) and rate["lowest"]["rate"] == pytest.approx(40)
    assert rate["highest"]["start_s"] == pytest.approx(21)
    assert rhythm("NNNNNN")["rate"]["highest"] is None


def test_variability_is_of_intervals_between_normal_beats() -> None:
    times = np.cumsum([0, 1.0, 1.1, 1.0, 0.5, 1.5, 1.0, 1.02])
    found = summarise(times, list("NNNNVNNN"), names=NAMES, duration_s=9)["variability"]
    assert found["intervals"] == 5 and found["share"] == pytest.approx(5 / 7)
    assert found["sdnn_ms"] == pytest.approx(1000 * np.std([1.0, 1.1, 1.0, 1.0, 1.02], ddof=1))
    assert found["rmssd_ms"] == pytest.approx(1000 * np.sqrt(np.mean(np.square([0.1, -0.1, 0.02]))))
    assert found["pnn50"] == pytest.approx(2 / 3)


def test_an_irregular_rhythm_is_told_from_a_regular_one() -> None:
    rng = np.random.default_rng(0)
    found = []
    for deviation in (0.02, 0.2):
        times = np.cumsum(0.8 + rng.uniform(-deviation, deviation, 1000))
        found.append(summarise(times, ["N"] * 1000, names=NAMES, duration_s=900)["variability"]["irregular"])
    assert found == [0.0, 1.0]


def test_classes_without_ectopic_beats_have_no_burden_of_them() -> None:
    found = summarise([1, 2, 3], ["MI", "normal", "Q"], names=("normal", "MI"), duration_s=4)
    assert found["ectopy"] == {} and found["variability"] is None
    assert found["classes"]["MI"]["share"] == pytest.approx(1 / 3) and found["without_class"] == 1


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_recording_without_beats_has_a_rhythm_of_nothing(n: int) -> None:
    found = rhythm("N" * n, unusable=[(0.0, 0.5)])
    assert found["beats"] == n and found["rate"]["lowest"] is None
    json.dumps(found, allow_nan=False)


@given(st.lists(st.tuples(st.integers(-5, 30), st.integers(-5, 30)).map(sorted), max_size=8))
def test_stretches_that_overlap_count_once(spans: list[list[int]]) -> None:
    starts, stops = merged([(start, stop) for start, stop in spans], 20.0)
    inside = {second for start, stop in spans for second in range(max(start, 0), min(stop, 20))}
    assert np.sum(stops - starts) == len(inside)
    assert (starts[1:] > stops[:-1]).all()


def test_periods_add_up_to_the_recording() -> None:
    times = np.arange(0.5, 3600, 0.9)
    classes = np.where(np.arange(len(times)) % 10, "N", "V")
    found = periods(
        times, classes, names=NAMES, duration_s=3600, usable=np.ones(len(times), dtype=bool), unusable=[(590, 700)],
        period_s=600, first_s=200,
    )  # fmt: skip
    assert [one["stop_s"] for one in found] == [200, 800, 1400, 2000, 2600, 3200, 3600]
    assert sum(one["beats"] for one in found) == len(times)
    assert sum(one["classes"]["V"] for one in found) == (classes == "V").sum()
    assert sum(one["usable_s"] for one in found) == 3490 and found[1]["usable_s"] == 490
    assert found[2]["rate"] == pytest.approx(60 / 0.9)


@pytest.mark.real_data("mitdb/203.atr")
def test_runs_of_a_real_recording_are_those_of_a_plain_count(real_data_dir: Path) -> None:
    found, _ = read_annotation_file(real_data_dir / "mitdb/203.atr")
    class_of = {symbol: name for name, symbols in AAMI.items() for symbol in symbols}
    beats = [(at / 360, class_of[one]) for at, one in zip(found.samples, found.symbols, strict=True) if one in class_of]
    times, classes = map(list, zip(*beats, strict=True))
    v = summarise(times, classes, names=NAMES, duration_s=1805.6)["ectopy"]["V"]
    rows = [len(list(row)) for name, row in groupby(classes) if name == "V"]
    assert (v["single"], v["couplets"], v["triplets"]) == (rows.count(1), rows.count(2), rows.count(3))
    assert v["longest"]["beats"] == max(rows) and v["runs"] == sum(row > 3 for row in rows) > 0
