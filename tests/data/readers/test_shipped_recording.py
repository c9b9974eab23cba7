"""Whoever has no recording of their own tries the commands with the one that ships."""

from collections import Counter
from pathlib import Path

import pytest

import ecg_lightning as ecg
from ecg_lightning.data.readers import located


def test_the_example_is_read_by_its_name_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recording = ecg.read_recording("example", annotator="atr")
    assert recording.lead_names == ("MLII", "V1")
    assert recording.signals.shape == (2, 50 * 360)
    assert Counter(recording.symbols) == {"N": 79, "V": 8, "A": 3, "F": 2}


def test_a_recording_of_ones_own_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.hea").write_text("example 1 360 720\n")
    assert located("example") == Path("example")
    assert located("sub/example") == Path("sub/example")
