"""A record comes back as it was written, and a damaged file is one error, whatever is wrong with it."""

import copy
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.data.protocol import LeftOut, Protocol
from ecg_lightning.metrics.scoring import score, score_beats
from ecg_lightning.runs.collect import collect
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.runs.schema import ContextInfo, RunRecord, Validation
from ecg_lightning.runs.store import save_run
from ecg_lightning.runs.tidy import frame

MakeRecord = Callable[..., RunRecord]
MakeBeats = Callable[..., Beats]

names = st.text(max_size=20)
fractions = st.floats(0, 1)
counts = st.integers(0, 2**40)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def protocols(draw: st.DrawFn) -> Protocol:
    by = draw(st.sampled_from(["beats", "patients", "records", "none"]))
    n_folds = draw(st.none() | st.integers(2, 9)) if by == "patients" else None
    size = draw(st.none() | counts)
    return Protocol(
        name=draw(names),
        seed=draw(counts),
        by=by,
        test_fraction=draw(fractions) if by in ("beats", "patients") and n_folds is None else None,
        validation_fraction=draw(st.none() | fractions),
        fold=None if n_folds is None else draw(st.integers(0, n_folds - 1)),
        n_folds=n_folds,
        published_test=draw(st.booleans()),
        patients=draw(st.none() | st.dictionaries(st.sampled_from(["train", "validation", "test"]), counts)),
        shared_records=tuple(draw(st.lists(names, max_size=2))),
        shared_patients=draw(st.sampled_from(["both", "train", "test", "neither"])),
        left_out=tuple(
            draw(st.lists(st.builds(LeftOut, reason=names, records=st.tuples(names), beats=counts), max_size=2))
        ),
        train_size=size,
        n_train_units=size,
    )


@st.composite
def scored(draw: st.DrawFn) -> dict[str, Any]:
    classes = draw(st.sampled_from([AAMI_CLASSES, PTB_CLASSES, ("a", "b", "c")]))
    n, k = draw(st.integers(1, 12)), len(classes)
    raw = np.array(draw(st.lists(st.floats(0.01, 1), min_size=n * k, max_size=n * k))).reshape(n, k)
    labels = np.array(draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n)))
    positive = "MI" if classes == PTB_CLASSES else None
    records = np.array(draw(st.lists(st.sampled_from(["100", "232"]), min_size=n, max_size=n)))
    test = score(labels, raw / raw.sum(axis=1, keepdims=True), classes, positive, records=records)
    return {"classes": classes, "test": test}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    scored=scored(),
    protocol=protocols(),
    context=st.builds(ContextInfo, rhythm=st.booleans(), morphology=st.booleans(), before=fractions),
    val=st.builds(Validation, macro_f1=st.none() | fractions, loss=st.none() | st.floats(0, 1e30)),
    config=st.dictionaries(names, plain, max_size=3),
    rest=st.fixed_dictionaries(
        {},
        optional={
            "n_parameters": st.none() | counts,
            "leads": st.lists(names, max_size=3).map(tuple),
            "overrides": st.lists(names, max_size=3).map(tuple),
            "augmentation": st.none() | names,
            "fold": st.sampled_from(["test", "validation"]),
            "epochs": st.none() | counts,
            "wall_s": st.none() | st.floats(0, 1e9),
            "git": st.none() | names,
            "warning": st.none() | names,
            "versions": st.dictionaries(names, names, max_size=3),
        },
    ),
)
def test_a_record_comes_back_as_it_was_written(
    tmp_path: Path, make_record: MakeRecord, scored: Any, protocol: Any, context: Any, val: Any, config: Any, rest: Any
) -> None:
    record = make_record(**scored, protocol=protocol, context=context, val=val, config=config, **rest)
    record.write(tmp_path / "scores.json")
    again = RunRecord.read(tmp_path / "scores.json")
    assert again == record and again.plain() == record.plain()
    assert again.protocol.sentence() == protocol.sentence() and again.protocol.sentence(parts=False, seed=False)


@pytest.fixture
def filed(tmp_path: Path, make_record: MakeRecord, make_beats: MakeBeats) -> Path:
    """The folder of a run with intervals, EC57 by record and a reliability diagram in its record."""
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=200)
    raw = rng.random((200, 5)) + np.eye(5)[labels]
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    who = np.array(["100", "101", "232", "233"])[np.arange(200) % 4]
    beats = make_beats(labels, AAMI_CLASSES, records=who, patients=who, samples=np.arange(200))
    record = make_record(
        split="ds1_ds2", test=score_beats(beats, probabilities), n={"train": 9, "validation": 1, "test": 200}
    )
    save_run(tmp_path / "run", record, beats, probabilities)
    return tmp_path / "run"


def test_what_a_run_files_can_be_recomputed_from_its_predictions(filed: Path) -> None:
    record = RunRecord.read(filed / "scores.json")
    assert score_predictions(filed / "predictions.parquet") == record.test


GARBAGE: list[Any] = [
    None, True, -1, 3, 2.5, math.nan, math.inf, 1e300, "", "0.5", "\0", [], [1], [[None]], {}, {"a": {"b": [1]}},
]  # fmt: skip
ABSENT = object()


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*at, key))


def damaged(content: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    at: Any = changed
    for key in place[:-1]:
        at = at[key]
    if value is ABSENT:
        del at[place[-1]]
    elif value is places:  # something more than is expected
        at[place[-1]] = [at[place[-1]]]
    else:
        at[place[-1]] = value
    return changed


def test_a_damaged_record_is_one_error_or_gives_the_same_metrics(filed: Path) -> None:
    file = filed / "scores.json"
    content = json.loads(file.read_text())
    whole = frame(collect(filed, only_run=True)).set_index(["class", "metric"])["value"]
    rng = random.Random(0)
    everywhere = list(places(content))
    # Every place at the top, and some of those below, of which most are in lists of numbers.
    chosen = [place for place in everywhere if len(place) == 1]
    chosen += rng.sample([place for place in everywhere if len(place) > 1], 110)
    refused = accepted = 0
    for place in chosen:
        value = rng.choice([*GARBAGE, ABSENT, places])
        file.write_text(json.dumps(damaged(content, place, value)))
        try:
            table = frame(collect(filed, only_run=True)).set_index(["class", "metric"])["value"]
        except DataError as error:
            refused += str(file) in str(error) and "\n" not in str(error)
        else:
            accepted += 1
            values = table.dropna()
            assert values.equals(whole.reindex(values.index)), (place, value)
    assert refused + accepted == len(chosen)
    assert refused > len(chosen) / 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": 3}', b"[" * 100_000])
def test_a_file_that_is_no_record_is_one_error(filed: Path, content: bytes) -> None:
    (filed / "scores.json").write_bytes(content)
    with pytest.raises(DataError) as error:
        RunRecord.read(filed / "scores.json")
    assert str(filed) in str(error.value) and "\n" not in str(error.value)


def test_a_record_of_the_first_format_names_the_command_that_files_it_anew(filed: Path) -> None:
    content = json.loads((filed / "scores.json").read_text())
    del content["format"], content["kind"]
    content["protocol"] = "ds1_ds2: 18 patients to train, seed 0"
    (filed / "scores.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"ecg-lightning evaluate {filed}"):
        RunRecord.read(filed / "scores.json")


def test_a_file_of_any_size_is_read_only_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecg_lightning.runs.schema.LARGEST", 1000)
    (tmp_path / "scores.json").write_text(" " * 1001)
    with pytest.raises(DataError, match="too large"):
        RunRecord.read(tmp_path / "scores.json")


def test_one_flipped_bit_in_the_predictions_is_an_error(filed: Path) -> None:
    file = filed / "predictions.parquet"
    content = file.read_bytes()
    read_predictions(file)
    rng = random.Random(0)
    for _ in range(20):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        with pytest.raises(DataError, match=r"predictions\.parquet"):
            read_predictions(file)


def test_filing_again_leaves_one_run(filed: Path, make_record: MakeRecord, make_beats: MakeBeats) -> None:
    before = RunRecord.read(filed / "scores.json")
    beats = make_beats([0, 1, 2], AAMI_CLASSES)
    probabilities = np.eye(5, dtype=np.float32)[[0, 1, 1]]
    record = make_record(test=score_beats(beats, probabilities))
    filed_now = save_run(filed, record, beats, probabilities)
    assert RunRecord.read(filed / "scores.json") == filed_now
    assert filed_now.predictions_sha256 != before.predictions_sha256
    assert len(read_predictions(filed / "predictions.parquet")[0]) == 3
    assert sorted(path.name for path in filed.iterdir()) == ["predictions.parquet", "scores.json"]
