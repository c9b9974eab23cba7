"""Each lead as a recording of its own, from which a network for any single lead learns."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ecg_lightning as ecg
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import morphology
from ecg_lightning.data.splits import split

Load = Callable[..., Beats]

BOTH = ["dataset.leads=[II,V1]", "dataset.separate_leads=true"]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.setenv("ECG_CACHE_DIR", str(tmp_path))

    def of_six_people(*words: str) -> Beats:
        small = ["dataset.simulation.patients=6", "dataset.simulation.minutes=1", "context=full"]
        return ecg.load_beats("synthetic", *small, *words)

    return of_six_people


def test_separate_leads_are_the_beats_of_each_lead_alone(load: Load) -> None:
    both, together = load(*BOTH), load("dataset.leads=[II,V1]")
    first = load("dataset.leads=[II]")
    assert both.signals.shape[1:] == first.signals.shape[1:] and both.lead_names == ("II",)
    assert both.context_names == first.context_names and len(both) == 2 * len(first)
    for record in np.unique(both.records):
        own, alone, pair = (beats.select(beats.records == record) for beats in (both, first, together))
        half = len(own) // 2
        assert np.array_equal(own.signals[:half], alone.signals) and np.array_equal(own.context[:half], alone.context)
        assert np.array_equal(own.signals[half:, 0], pair.signals[:, 1])
        assert np.array_equal(own.samples[:half], own.samples[half:])


def test_the_leads_of_a_person_stay_together_and_a_split_of_beats_is_refused(load: Load) -> None:
    beats = load(*BOTH)
    folds = split(beats, "patient", test_fraction=0.3)
    assert not set(beats.patients[folds.train]) & set(beats.patients[folds.test])
    with pytest.raises(ConfigError, match=r"split=random .* use split=patient"):
        split(beats, "random")


def test_without_test_people_all_others_train(load: Load) -> None:
    beats = load()
    folds = split(beats, "patient", test_fraction=0.0, validation_fraction=0.2)
    assert folds.protocol.patients == {"train": 5, "validation": 1, "test": 0}
    assert len(folds.train) + len(folds.validation) == len(beats)
    assert "nothing is tested" in folds.protocol.sentence()


def test_morphology_is_the_same_for_a_signal_upside_down() -> None:
    rng = np.random.default_rng(0)
    peaks = np.arange(60, 12_000, 100)
    signal = rng.standard_normal(12_100).astype(np.float32).cumsum()
    assert np.allclose(morphology(signal, peaks, 125.0), morphology(-signal, peaks, 125.0), atol=1e-4)
