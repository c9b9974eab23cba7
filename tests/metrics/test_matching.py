"""Beats of two annotators are matched and counted as WFDB's ``bxb`` does it, the reference program of EC57."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.data.labels import make_class_map
from ecg_lightning.data.readers.wfdb import rate_and_length, read_annotation_file
from ecg_lightning.data.recording import Annotations
from ecg_lightning.metrics.matching import LABELS, Annotated, Comparison, annotated, compare, match, summary

BXB = Path(__file__).parents[1] / "data" / "bxb"
EXPECTED = json.loads((BXB / "expected.json").read_text())
CLASSES = make_class_map("bxb")
FS, WINDOW = 360.0, 54


def marks(*beats: tuple[int, str], subtypes: dict[int, int] | None = None) -> Annotated:
    """What an annotator says, from samples and symbols; `subtypes` by sample."""
    samples = np.array([sample for sample, _ in beats], dtype=np.int64)
    found = np.array([(subtypes or {}).get(sample, 0) for sample, _ in beats], dtype=np.int64)
    symbols = [symbol for _, symbol in beats]
    return annotated(
        Annotations(samples=samples, symbols=symbols, notes=[""] * len(beats), subtypes=found), CLASSES, WINDOW
    )


def normal(*samples: int) -> Annotated:
    return marks(*((sample, "N") for sample in samples))


def cells(comparison: Comparison) -> dict[str, int]:
    """The cells of the matrix that are not 0, as ``{"Nv": 1}``."""
    rows, columns = np.nonzero(comparison.matrix)
    return {f"{LABELS[i]}{LABELS[j].lower()}": int(comparison.matrix[i, j]) for i, j in zip(rows, columns, strict=True)}


@pytest.mark.real_data("mitdb/100.atr", "svdb/800.atr")
@pytest.mark.parametrize("record", EXPECTED)
@pytest.mark.parametrize(("period", "start_s"), [("from_start", 0.0), ("from_5min", 300.0)])
def test_every_count_is_that_of_bxb(real_data_dir: Path, record: str, period: str, start_s: float) -> None:
    reference = real_data_dir / ("svdb" if record == "800" else "mitdb") / f"{record}.atr"
    fs, end = rate_and_length(reference.with_suffix(""))
    test = BXB / f"{record}.tst"
    ours, theirs = (annotated(read_annotation_file(file)[0], CLASSES, 0.15 * fs) for file in (reference, test))
    expected: dict[str, Any] = EXPECTED[record][period]
    found = summary({record: compare(ours, theirs, fs, start_s=start_s, end=end)})
    for row, counts in expected["matrix"].items():
        assert {to.lower(): n for to, n in found["matrix"][row].items() if to.lower() in counts} == counts
    for of in ("QRS", "V", "S"):
        tp, fn, fp = (found[of][name] for name in ("tp", "fn", "fp"))
        assert [tp, tp + fn] == expected[f"{of.lower()}_se"]
        assert [tp, tp + fp] == expected[f"{of.lower()}_ppv"]


def test_beats_are_the_same_within_the_window_and_the_nearest_one_is_taken() -> None:
    assert match(np.array([100, 500]), np.array([154, 445]), WINDOW).tolist() == [[0, 0]]
    assert match(np.array([100]), np.array([60, 105]), WINDOW).tolist() == [[0, 1]]
    assert match(np.array([100, 150]), np.array([140]), WINDOW).tolist() == [[1, 0]]
    assert match(np.array([], dtype=np.int64), np.array([1]), WINDOW).tolist() == []


def test_a_beat_whose_next_one_has_a_nearer_partner_is_not_lost() -> None:
    # The example of bxb's author, at more than 200 beats a minute.
    assert match(np.array([96, 160]), np.array([128, 185]), 37).tolist() == [[0, 0], [1, 1]]


def test_every_beat_is_counted_once() -> None:
    random = np.random.default_rng(0)
    ours = np.cumsum(random.integers(40, 400, 2000))
    theirs = np.sort(ours + random.integers(-80, 80, 2000))[random.random(2000) > 0.1]
    found = compare(normal(*ours), normal(*theirs), FS)
    assert found.matrix[:5].sum() == 2000
    assert found.matrix[:, :5].sum() == len(theirs)
    assert len(found.pairs) == found.matrix[:5, :5].sum()
    assert np.abs(ours[found.pairs[:, 0]] - theirs[found.pairs[:, 1]]).max() <= WINDOW


def test_missed_and_extra_beats_are_errors_of_their_class() -> None:
    reference = marks((400, "N"), (800, "V"), (1200, "A"), (1600, "V"))
    test = marks((401, "N"), (600, "V"), (801, "V"), (1201, "A"), (1400, "A"))
    found = compare(reference, test, FS)
    assert cells(found) == {"Nn": 1, "Ov": 1, "Vv": 1, "Ss": 1, "Os": 1, "Vo": 1}
    scores = summary({"r": found})
    assert [scores["QRS"][name] for name in ("tp", "fn", "fp")] == [3, 1, 2]
    # An extra S is a true negative of V; a missed beat is none.
    assert [scores["V"][name] for name in ("tp", "fn", "fp", "tn")] == [1, 1, 1, 3]
    assert [scores["S"][name] for name in ("tp", "fn", "fp", "tn")] == [1, 0, 1, 3]


def test_a_beat_without_a_class_counts_as_unknown() -> None:
    annotations = Annotations(samples=np.array([400, 800]), symbols=["B", "N"], notes=["", ""])
    assert annotated(annotations, make_class_map("aami"), WINDOW).labels.tolist() == [4, 0]


def test_beats_in_a_stretch_without_signal_are_missed_in_shut_down() -> None:
    reference = normal(400, 800, 1200, 1600)
    stretch = marks((400, "N"), (500, "~"), (1300, "~"), (1600, "N"), subtypes={500: 0x33})
    found = compare(reference, stretch, FS)
    assert cells(found) == {"Nn": 2, "Nx": 2}
    assert found.shut_down_s == 800 / FS
    assert cells(compare(stretch, reference, FS)) == {"Nn": 2, "Xn": 2}
    # Noise with a readable signal is none.
    noisy = marks((400, "N"), (500, "~"), (1300, "~"), (1600, "N"), subtypes={500: 0x13})
    assert cells(compare(reference, noisy, FS)) == {"Nn": 2, "No": 2}


def test_a_single_mark_of_shut_down_reaches_from_the_beat_before_to_the_next() -> None:
    test = marks((400, "N"), (900, "~"), (1600, "N"), subtypes={900: 0x30})
    assert test.shut_down.tolist() == [[400 + WINDOW, 1600 - WINDOW]]


def test_beats_in_ventricular_fibrillation_are_not_counted() -> None:
    reference = marks((400, "N"), (500, "["), (600, "!"), (1300, "]"), (1600, "N"))
    assert cells(compare(reference, normal(400, 700, 900, 1600), FS)) == {"Nn": 2}


def test_the_learning_period_is_left_out_and_a_pair_across_its_end_is_kept() -> None:
    start = 300 * 360
    reference, test = normal(start - 400, start + 10, start + 400), normal(start - 400, start - 20, start + 400)
    assert cells(compare(reference, test, FS, start_s=300)) == {"Nn": 2}
    # The partner of the first beat under test is before the start: it is neither right nor wrong.
    reference, test = normal(start - 10, start + 300), normal(start + 5, start + 300)
    assert cells(compare(reference, test, FS, start_s=300)) == {"Nn": 1}


def test_a_beat_annotated_after_the_end_of_the_signal_is_not_missed() -> None:
    assert cells(compare(normal(400, 1010), normal(400), FS, end=1000)) == {"Nn": 1}
    assert cells(compare(normal(400, 1010), normal(400, 990), FS, end=1000)) == {"Nn": 2}


def test_the_error_of_rr_intervals_is_that_of_intervals_and_not_of_positions() -> None:
    reference = normal(*range(360, 3600, 360))
    assert summary({"r": compare(reference, normal(*range(370, 3610, 360)), FS)})["rms_rr_error_ms"] == 0
    late = normal(*(at + 9 * (at // 360 % 2) for at in range(360, 3600, 360)))
    assert summary({"r": compare(reference, late, FS)})["rms_rr_error_ms"] == pytest.approx(25)


def test_gross_pools_beats_and_average_weighs_records_alike() -> None:
    good = compare(normal(*range(360, 36000, 360)), normal(*range(360, 36000, 360)), FS)
    bad = compare(normal(360, 720), normal(360), FS)
    scores = summary({"good": good, "bad": bad})
    assert scores["QRS"]["sensitivity"] == 100 / 101
    assert scores["QRS"]["average_sensitivity"] == 0.75
    assert [one["record"] for one in scores["per_record"]] == ["good", "bad"]
    assert scores["V"]["sensitivity"] is None is scores["V"]["average_sensitivity"]
    assert scores["V"]["average_false_positive_rate"] == 0
