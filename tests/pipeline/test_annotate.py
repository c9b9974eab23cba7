"""`annotate`: the beats of a recording as a table."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ecg_lightning as ecg
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import Context
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.data.recording import Recording
from ecg_lightning.data.windows import Cut, beats_of
from ecg_lightning.pipeline.annotate import GROUP, annotate, symbols_of
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.predictor import Predictor
from ecg_lightning.pipeline.settings import validated

CLASSES = ("N", "S", "V", "F", "Q")
CUT = Cut(fs=125.0, length=221, before=0.272)
CONTEXT = Context(rhythm=True, distance=True, morphology=True)


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Three minutes of one simulated person, two leads."""
    small = ("dataset.simulation.patients=2", "dataset.simulation.minutes=3", "dataset.leads=[0,1]")
    config = validated(compose(["dataset=synthetic", *small], output_dir="."))
    return next(iter(make_source(config["dataset"], config["context"], Path()).recordings()))


def model(
    seen: list[Any] | None = None, *, leads: int = 1, classes: tuple[str, ...] = CLASSES, how: Cut = CUT,
    context: Context = CONTEXT, class_map: Any = "aami",
) -> Predictor:  # fmt: skip
    """Calls a beat V that is short, else N; keeps what it is given in `seen`."""
    names = context.names([str(at) for at in range(leads)])
    cut = {name: getattr(how, name) for name in ("before", "rr_factor", "margin", "scaling")}
    spec = InputSpec(length=how.length, fs=how.fs, leads=tuple(range(leads)), context=names, cut=cut)

    def run(signals: Any, lengths: Any, context: Any) -> Any:
        if seen is not None:
            seen.append((signals, lengths, context))
        short = 1 / (1 + np.exp((lengths - 110) / 10.0))
        probabilities = np.zeros((len(signals), len(classes)), dtype=np.float32)
        probabilities[:, 0], probabilities[:, -1 if "V" not in classes else classes.index("V")] = 1 - short, short
        return probabilities

    return Predictor(
        name="by length", task="arrhythmia", classes=classes, input=spec, class_map=class_map, calibration=None,
        run=run, batch=64,
    )  # fmt: skip


def with_signals(recording: Recording, change: Callable[[Any], Any]) -> Recording:
    return dataclasses.replace(recording, signals=change(recording.signals.copy()))


@pytest.fixture
def file(recording: Recording, tmp_path: Path) -> Path:
    """The recording as a WFDB record with its R peaks."""
    import wfdb

    wfdb.wrsamp(
        "r1", fs=recording.fs, units=["mV"] * 2, sig_name=["II", "V1"], p_signal=recording.signals.T.astype(float),
        fmt=["16"] * 2, write_dir=str(tmp_path),
    )  # fmt: skip
    wfdb.wrann("r1", "atr", recording.peaks, symbol=["N"] * len(recording.peaks), write_dir=str(tmp_path))
    return tmp_path / "r1"


def test_every_beat_is_a_row_in_order_with_class_probability_interval_and_quality(file: Path, recording: Recording):
    beats = annotate(file, model(), peaks="atr")
    columns = "sample time_s symbol class p_N p_S p_V p_F p_Q confidence rr_s quality peak flag"
    assert [*beats] == columns.split()
    np.testing.assert_array_equal(beats["sample"], recording.peaks)
    np.testing.assert_allclose(beats["rr_s"][1:], np.diff(recording.peaks) / recording.fs)
    assert np.isnan(beats["rr_s"][0]) and {*beats["class"]} == {"N", "V"}
    np.testing.assert_array_equal(beats["class"] == "V", beats["p_V"] > beats["p_N"])
    about = beats.attrs["about"]
    assert about["leads"] == ["II"] and about["all_leads"] == ["II", "V1"] and about["annotator"] == "atr"
    assert about["duration_s"] == pytest.approx(180, abs=5) and about["unusable"] == []


@pytest.mark.parametrize("scaling", ["beat", "record", "none"])
def test_the_model_is_given_the_beats_of_its_training(file: Path, recording: Recording, scaling: Any) -> None:
    how, seen = dataclasses.replace(CUT, scaling=scaling), list[Any]()
    annotate(file, model(seen, leads=2, how=how), peaks="atr", chunk_s=20)
    signals, lengths, context = (np.concatenate(parts) for parts in zip(*seen, strict=True))
    read = ecg.read_recording(file, annotator="atr")
    wanted: Beats = beats_of([read], how=how, classes=CLASSES, origin={}, context=CONTEXT)
    n = len(wanted)  # without the last beat, which has no interval after it
    np.testing.assert_array_equal(lengths[:n], wanted.lengths)
    np.testing.assert_allclose(signals[:n], wanted.signals, atol=5e-3)
    np.testing.assert_allclose(context[:n], wanted.context, atol=1e-2)
    assert len(signals) == n + 1 and np.isfinite(context).all()


def test_groups_of_beats_see_the_beats_around_them(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    once = annotate(recording, model(seen), detector="xqrs")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # one group after the other
    monkeypatch.setattr("ecg_lightning.pipeline.annotate.GROUP", GROUP // 80)
    pieces = annotate(recording, model(seen), detector="xqrs")
    np.testing.assert_allclose(pieces["p_V"], once["p_V"], atol=1e-6)
    n = len(once)
    contexts = np.concatenate([context for _, _, context in seen])
    np.testing.assert_array_equal(contexts[:n], contexts[n:])


def test_the_beats_do_not_depend_on_how_much_is_read_at_once(recording: Recording) -> None:
    tables = [annotate(recording, model(leads=2), chunk_s=chunk_s) for chunk_s in (1, 7, 60, 1e6)]
    assert len(tables[0]) > 150
    for other in tables[1:]:
        assert other.equals(tables[0])


def test_a_model_of_another_rate_finds_the_same_r_peaks(recording: Recording) -> None:
    one, other = (annotate(recording, model(how=Cut(fs=fs, length=round(fs * 1.5)))) for fs in (125.0, 200.0))
    np.testing.assert_array_equal(one["sample"], other["sample"])


def test_what_cannot_be_classified_is_flagged_and_stays(recording: Recording) -> None:
    at = recording.peaks

    def spoil(signals: Any) -> Any:
        signals[:, at[20] - 50 : at[24] - 50] = np.nan
        signals[:, at[40] - 150 : at[44] + 20] = 0.1
        return signals

    beats = annotate(with_signals(recording, spoil), model(), peaks="own")
    gap, lost = beats["flag"] == "gap", beats["flag"] == "no signal"
    assert {20, 21, 22, 23} <= {*np.flatnonzero(gap)} and gap.sum() <= 6
    assert {41, 42} <= {*np.flatnonzero(lost)}
    assert (beats.loc[gap | lost, ["class", "symbol"]] == "Q").all(axis=None)
    assert beats.loc[gap | lost, "p_N"].isna().all() and len(beats) == len(at)
    assert {reason for *_, reason in beats.attrs["about"]["unusable"]} == {"gap", "flat line"}


def test_an_unsure_beat_can_be_left_unclassified_and_keeps_its_probabilities(recording: Recording) -> None:
    every, sure = (annotate(recording, model(), detector="xqrs", abstain=abstain) for abstain in (None, 0.8))
    unsure = every["confidence"] < 0.8
    assert unsure.any() and not unsure.all()
    assert (sure.loc[unsure, ["class", "symbol"]] == "Q").all(axis=None) and (sure.loc[unsure, "flag"] != "").all()
    np.testing.assert_array_equal(sure["p_V"], every["p_V"])
    np.testing.assert_array_equal(sure.loc[~unsure, "class"], every.loc[~unsure, "class"])


@pytest.mark.parametrize("change", [lambda x: 0 * x, lambda x: x[:, :3], lambda x: np.full_like(x, np.nan)])
def test_a_recording_without_a_beat_gives_an_empty_table(recording: Recording, change: Any) -> None:
    beats = annotate(with_signals(recording, change), model())
    assert len(beats) == 0 and "p_S" in beats and beats.attrs["about"]["record"] == recording.record


def test_symbols_are_those_of_wfdb() -> None:
    assert symbols_of(CLASSES, "aami") == [*"NSVFQ"]
    assert symbols_of(("sinus", "PVC"), {"sinus": ["N", "L"], "PVC": ["V", "E"]}) == ["N", "V"]
    assert symbols_of(("normal", "MI"), None) == ["N", "N"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"detector": "magic"}, "xqrs"),
        ({"abstain": 2.0}, "from 0 to 1"),
        ({"leads": [0, 1]}, "takes 1 leads"),
        ({"leads": ["V9"]}, "V9"),
        ({"peaks": "xyz"}, "xyz"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(file: Path, settings: dict[str, Any], named: str) -> None:
    with pytest.raises((ConfigError, DataError), match=named):
        annotate(file, model(), **settings)
