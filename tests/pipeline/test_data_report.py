"""What the report of data finds in databases that are made with known faults."""

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.pipeline.data_report import DataReport, data_report

CARD = """
defaults: [_database, _self_]
name: mine
title: Mine
annotator: atr
class_map: aami
patients: record
leads: [0]
cut: {fs: 100}
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECG_CACHE_DIR", str(tmp_path / "cache"))


def signal_of(rng: np.random.Generator, peaks: np.ndarray, seconds: int, fs: int) -> np.ndarray:
    """A narrow R wave of 1 mV and a T wave at each peak, with some noise."""
    at = (np.arange(seconds * fs)[:, None] - peaks) / fs
    waves = np.exp(-((at / 0.012) ** 2) / 2) + 0.3 * np.exp(-(((at - 0.25) / 0.04) ** 2) / 2)
    return waves.sum(axis=1) + rng.normal(0, 0.01, seconds * fs)


def report_of(folder: Path, *overrides: str) -> DataReport:
    (folder / "cards/dataset").mkdir(parents=True, exist_ok=True)
    (folder / "cards/dataset/mine.yaml").write_text(CARD)
    return data_report(["dataset=mine", f"data_dir={folder}", *overrides], config_dir=folder / "cards")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Four records of 60 s: one as it should be; at another rate; of another lead and unit; with every other fault."""
    rng = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for name, fs, lead, factor in (
        ("a", 200, "II", 1),
        ("b", 100, "II", 1),
        ("c", 200, "V1", 1000),
        ("d", 200, "II", 1),
    ):
        peaks = np.arange(fs, 59 * fs, round(0.8 * fs))
        symbols = ["N"] * len(peaks)
        signal = factor * signal_of(rng, peaks, 60, fs)
        if name == "d":
            signal[20 * fs : 24 * fs] = 0.1
            signal[30 * fs : 33 * fs] = np.nan
            symbols[5], symbols[6] = "V", "?"
            peaks[10] = peaks[9] + 20
        wfdb.wrsamp(
            name, fs=fs, units=["mV"], sig_name=[lead], p_signal=signal[:, None], fmt=["16"], adc_gain=[2000 / factor],
            baseline=[0], write_dir=str(tmp_path / "mine"),
        )  # fmt: skip
        wfdb.wrann(name, "atr", peaks, symbols, fs=fs, write_dir=str(tmp_path / "mine"))
    return tmp_path


def test_each_fault_of_a_recording_is_named_with_its_record(database: Path) -> None:
    found = report_of(database)
    text = "\n".join(found.odd)
    for sentence in (
        "Record b is sampled at 100 Hz, most (3) at 200 Hz.",
        "Record c is read from V1, most (3) from II.",
        "Record c has QRS complexes above 10 mV: is the unit right?",
        "Record d has gaps in the leads that are read.",
        "Record d has flat lines of at least 1 s in all.",
        "Record d has RR intervals below 0.2 s.",
        "All 1 beats of class V are of one person, d.",
        "No beat is of class S.",
    ):
        assert sentence in text
    assert "Record a" not in text


def test_records_and_classes_have_the_numbers_of_the_beats_that_are_trained_on(database: Path) -> None:
    found = report_of(database)
    records = {one.record: one for one in found.records}
    assert [*records] == ["a", "b", "c", "d"] and found.n_patients == 4
    assert records["a"].counts == {"N": 72, "S": 0, "V": 0, "F": 0, "Q": 0}
    assert sum(sum(one.counts.values()) for one in found.records) == sum(one.n for one in found.classes)
    assert (records["a"].seconds, records["a"].fs, records["b"].fs, records["c"].leads) == (60, 200, 100, ("V1",))
    assert records["a"].heart_rate == 75
    assert records["a"].heights == pytest.approx((1,), abs=0.1)
    assert records["d"].gap_s == pytest.approx(3) and records["d"].flat_s == pytest.approx(4, abs=0.05)
    assert found.dropped["without class"] == {"?": 1} and found.dropped["touching a gap"] >= 3
    assert records["d"].poor > records["a"].poor == 0
    assert sum(found.quality) == sum(one.n for one in found.classes)


def test_typical_beats_are_in_millivolts_around_the_r_peak(database: Path) -> None:
    found = report_of(database, "dataset.records=[a,b]")
    normal = found.classes[0]
    assert normal.typical is not None and normal.n_typical == 2 * 73
    low, median, high = normal.typical
    assert median.shape == (1, round(0.9 * found.fs) + 1)
    assert int(median[0].argmax()) == pytest.approx(0.3 * found.fs, abs=1) and median.max() == pytest.approx(1, abs=0.1)
    assert (low <= median).all() and (median <= high).all()
    assert found.classes[1].typical is None and found.classes[1].n == 0


def test_several_databases_are_one_report_with_records_by_database(database: Path) -> None:
    (database / "cards/dataset").mkdir(parents=True)
    (database / "cards/dataset/mine.yaml").write_text(CARD)
    small = ["dataset.cards.synthetic.simulation.patients=2", "dataset.cards.synthetic.simulation.minutes=1"]
    words = ["dataset=[mine,synthetic]", f"data_dir={database}", "dataset.cut.fs=100", *small]
    found = data_report(words, config_dir=database / "cards")
    assert [one.record for one in found.records] == [
        *(f"mine/{name}" for name in "abcd"), "synthetic/mitbih-000", "synthetic/mitbih-001",
    ]  # fmt: skip
    assert all(sum(one.counts.values()) > 30 for one in found.records)
    assert found.synthetic and [*found.about] == ["mine", "synthetic"]


def test_rows_of_beats_have_classes_and_typical_beats_but_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "heartbeat").mkdir()
    rows = np.random.default_rng(0).random((20, 188)).astype(np.float32)
    rows[:, 100:187], rows[:, 187] = 0, np.arange(20) % 2
    rows[1, :] = rows[3, :]
    for name in ("mitbih_train.csv", "mitbih_test.csv"):
        np.savetxt(tmp_path / "heartbeat" / name, rows[:10] if "train" in name else rows[10:], delimiter=",")
    found = data_report(["dataset=kaggle_mitbih", f"data_dir={tmp_path}"])
    assert not found.records and not found.quality and found.n_patients is None
    assert [one.n for one in found.classes] == [10, 10, 0, 0, 0]
    assert found.classes[0].typical is not None and found.classes[0].typical[1].shape == (1, 100)
    assert any("not known whose" in one for one in found.odd) and any(
        one.startswith("1 beats equal") for one in found.odd
    )


def test_an_unknown_database_is_one_sentence_that_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"Could not find 'dataset/nosuch'.*mitbih"):
        data_report(["dataset=nosuch"])


@pytest.mark.real_data("mitdb/RECORDS")
def test_the_odd_leads_of_mit_bih_are_found(real_data_dir: Path) -> None:
    found = data_report(["dataset=mitbih", "dataset.records=['100','101','102']", f"data_dir={real_data_dir}"])
    assert "Record 102 is read from V5, most (2) from MLII." in found.odd
    assert found.records[0].counts["N"] == 2238
