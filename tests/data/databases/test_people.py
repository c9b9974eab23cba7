"""Simulated people as a dataset: what pretraining on them relies on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import card

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.cache import cached_beats
from ecg_lightning.data.context import DISTANCE, RHYTHM, rhythm
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.registry import make_source

RHYTHM_AND_DISTANCE = {"rhythm": True, "distance": True, "morphology": False, "before": 0.0}


def source(context: dict[str, Any] | None = None, **changes: Any) -> Source:
    people = {"people": 5, "beats": 40, "seed": 0}
    settings = card("simulated_people", **{"people": people} | changes)
    return make_source(settings, RHYTHM_AND_DISTANCE | (context or {}), Path())


def test_each_person_is_one_record_in_order_of_time_and_all_is_labelled_synthetic() -> None:
    beats = source().read()
    assert beats.synthetic and "simulated" in beats.origin["model"] and len(beats) == 5 * 40
    assert beats.records is not None and beats.patients is not None and beats.samples is not None
    np.testing.assert_array_equal(beats.records, beats.patients)
    assert len(set(beats.records[:40])) == 1 and len(set(beats.records)) == 5
    assert (np.diff(beats.samples[:40]) > 0).all()


def test_their_context_is_that_of_recordings_with_these_r_peaks() -> None:
    beats = source().read()
    assert beats.context_names == (*RHYTHM, *DISTANCE)
    assert beats.context is not None and beats.samples is not None
    # Ratios to the local mean, where the last R peak, which is of no beat, has no part in it.
    np.testing.assert_array_equal(beats.context[10:28, :2], rhythm(beats.samples[:40], 360.0)[10:28, :2])
    np.testing.assert_array_equal(source({"distance": False}).read().context, beats.context[:, :8])


def test_their_signals_are_blank_take_no_memory_and_are_not_written_into_the_cache(tmp_path: Path) -> None:
    beats = cached_beats(source(leads=["MLII", "V1"]), tmp_path)
    assert beats.signals.shape == (200, 2, 187) and not beats.signals.any() and beats.signals.strides == (0, 0, 0)
    assert beats.lead_names == ("MLII", "V1") and not list(tmp_path.iterdir())
    assert beats.fingerprint == source(leads=["MLII", "V1"]).read().fingerprint


@pytest.mark.parametrize("context", [{"morphology": True}, {"waves": True}, {"causal": True}, {"rhythm": False}])
def test_context_that_needs_signals_or_none_at_all_is_refused(context: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match=r"holds rhythms and no signals.*context=rr_distance"):
        source(context).read()
