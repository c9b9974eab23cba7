"""`Beats` and its file: what is loaded is what was saved, and anything else is refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.names import Names

MakeBeats = Callable[..., Beats]

BOTH = (".arrow", ".npy")  # files of the same beats


@st.composite
def any_beats(draw: st.DrawFn) -> Beats:
    """Of any size, with any of the optional columns."""
    n, leads, length = draw(st.integers(0, 6)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    words = np.array(["100", "a longer name", "ü", ""], dtype=np.str_)[rng.integers(0, 4, n)]
    optional = ("labels", "records", "patients", "samples", "published_test", "context")
    has = set(draw(st.lists(st.sampled_from(optional), unique=True)))
    made = {
        "labels": rng.integers(0, 2, n),
        "records": words,
        "patients": words[::-1],
        "samples": rng.integers(0, 2**40, n),
        "published_test": rng.random(n) < 0.5,
        "context": rng.standard_normal((n, 2)).astype(np.float32),
    }
    return Beats(
        signals=rng.standard_normal((n, leads, length)).astype(np.float32),
        lengths=rng.integers(0, length + 1, n),
        lead_names=("II", "V1", "V5")[:leads],
        classes=("N", "S"),
        fs=125.0,
        context_names=("previous", "next") if "context" in has else (),
        origin={"source": "made"},
        **{name: column for name, column in made.items() if name in has},
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(beats=any_beats())
def test_what_is_loaded_is_what_was_saved(beats: Beats, tmp_path: Path) -> None:
    path = tmp_path / f"{beats.fingerprint}.arrow"
    beats.save(path)
    loaded = Beats.load(path)

    for name in ("lead_names", "classes", "fs", "origin", "context_names"):
        assert getattr(loaded, name) == getattr(beats, name)
    assert loaded.columns.keys() == beats.columns.keys()
    for name, column in {"signals": beats.signals, "lengths": beats.lengths, **beats.columns}.items():
        own, column = np.asarray(getattr(loaded, name)), np.asarray(column)
        assert (own.dtype.kind, own.shape) == (column.dtype.kind, column.shape)
        np.testing.assert_array_equal(own, column)
    assert (loaded.signals.dtype, loaded.lengths.dtype) == (np.float32, np.int64)
    assert loaded.fingerprint == beats.fingerprint


def test_beats_of_one_lead_keep_the_fingerprint_that_older_runs_filed(make_beats: MakeBeats) -> None:
    beats = make_beats([5, 4, 3], patients=3)
    assert beats.fingerprint == "590b0d97d837f6e0"
    renamed = dataclasses.replace(beats, lead_names=("another",))
    shorter = dataclasses.replace(beats, lengths=beats.lengths // 2)
    assert {renamed.fingerprint, shorter.fingerprint} == {beats.fingerprint}
    two = make_beats([5, 4, 3], leads=2)
    assert dataclasses.replace(two, lead_names=("V1", "MLII")).fingerprint != two.fingerprint


def test_lengths_that_were_changed_in_the_file_are_found(make_beats: MakeBeats, tmp_path: Path) -> None:
    beats = make_beats([20, 20])
    path = tmp_path / "beats.arrow"
    beats.save(path)
    content = path.read_bytes()
    at = content.index(beats.lengths.tobytes())
    path.write_bytes(content[:at] + (beats.lengths[0] - 1).tobytes() + content[at + 8 :])
    with pytest.raises(DataError, match="damaged"):
        Beats.load(path)


def test_beats_without_labels_are_beats_but_cannot_be_counted(make_beats: MakeBeats, tmp_path: Path) -> None:
    beats = dataclasses.replace(make_beats([3, 3], patients=2), labels=None)
    beats.save(tmp_path / "beats.arrow")
    loaded = Beats.load(tmp_path / "beats.arrow")
    assert loaded.labels is None and loaded.select(np.arange(2)).labels is None
    assert Beats.concatenate([loaded, loaded]).labels is None
    for ask in (loaded.counts, lambda: loaded.known_labels):
        with pytest.raises(DataError, match="no labels"):
            ask()


def test_the_published_test_fold_survives_the_file(make_beats: MakeBeats, tmp_path: Path) -> None:
    beats = dataclasses.replace(make_beats([3, 3]), published_test=np.array([True, False] * 3))
    beats.save(tmp_path / "beats.arrow")
    loaded = Beats.load(tmp_path / "beats.arrow").published_test
    assert loaded is not None and loaded.dtype == np.bool_
    np.testing.assert_array_equal(loaded, beats.published_test)


def test_signals_are_mapped_from_the_file_and_not_copied(make_beats: MakeBeats, tmp_path: Path) -> None:
    beats = make_beats([2000, 2000])
    path = tmp_path / "beats.arrow"
    beats.save(path)
    before = pa.total_allocated_bytes()
    loaded = Beats.load(path)
    assert pa.total_allocated_bytes() - before < beats.signals.nbytes / 10
    assert not loaded.signals.flags.owndata
    assert not loaded.signals.flags.writeable
    # What changes in the file changes in the array: they are the same memory.
    path = path.with_suffix(".npy")
    content = path.read_bytes()
    at = content.index(beats.signals[:1].tobytes())
    with path.open("r+b") as file:
        file.seek(at)
        file.write(np.float32(123).tobytes())
    assert loaded.signals[0, 0, 0] == 123


@pytest.mark.parametrize("name", ["signals", "labels", "records", "patients", "samples", "classes", "fs"])
def test_any_value_that_changes_changes_the_fingerprint(make_beats: MakeBeats, name: str) -> None:
    beats = make_beats([5, 4, 3], patients=3)
    value = getattr(beats, name)
    value = np.asarray(value) if isinstance(value, Names) else value
    if isinstance(value, np.ndarray):
        changed = value.copy()
        changed[-1] = value[0] if value.dtype.kind == "U" else (value[-1] == 0 if name == "labels" else value[-1] + 1)
    else:
        changed = {"classes": ("N", "S", "X"), "fs": 126.0}[name]
    assert dataclasses.replace(beats, **{name: changed}).fingerprint != beats.fingerprint


def test_a_fingerprint_tells_a_missing_column_and_another_order_but_not_where_beats_came_from(
    make_beats: MakeBeats,
) -> None:
    beats = make_beats([5, 4], patients=3)
    assert dataclasses.replace(beats, samples=None).fingerprint != beats.fingerprint
    assert beats.select(np.arange(len(beats))[::-1]).fingerprint != beats.fingerprint
    assert dataclasses.replace(beats, origin={"source": "elsewhere"}).fingerprint == beats.fingerprint
    # The width of the array that holds a name is no value.
    assert beats.patients is not None
    assert dataclasses.replace(beats, patients=beats.patients.astype("U40")).fingerprint == beats.fingerprint


@pytest.mark.parametrize("suffix", [".arrow", ".npy"])
def test_a_file_damaged_in_any_part_is_refused_and_never_read_wrong(
    make_beats: MakeBeats, tmp_path: Path, suffix: str
) -> None:
    """Every fiftieth byte: head, values, names, footer. Arrow by itself crashes or reads on with some of these."""
    beats = make_beats([3, 2, 2], patients=3)
    path = tmp_path / "beats.arrow"
    beats.save(path)
    whole, contents = path.with_suffix(suffix).read_bytes(), {one: path.with_suffix(one).read_bytes() for one in BOTH}
    unnamed, refused = [], 0
    for at in range(0, len(whole), 47):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        # A new file each time: the map of the one before must not change under its reader.
        path = tmp_path / f"{at}.arrow"
        for one, content in (contents | {suffix: damaged}).items():
            path.with_suffix(one).write_bytes(content)
        try:
            loaded = Beats.load(path)
        except DataError as error:
            refused += 1
            if str(path) not in str(error):
                unnamed.append(str(error))
        else:  # a byte that only fills up a block
            assert (loaded.fingerprint, loaded.origin) == (beats.fingerprint, beats.origin)
    assert refused > 25
    assert unnamed == []


@pytest.mark.parametrize("suffix", [".arrow", ".npy"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_file_cut_off_is_refused(make_beats: MakeBeats, tmp_path: Path, kept: float, suffix: str) -> None:
    path = tmp_path / "beats.arrow"
    make_beats([20, 20], patients=2).save(path)
    file = path.with_suffix(suffix)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"beats\.arrow is no readable file of beats"):
        Beats.load(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.arrow"
    table = pa.table({"a": [1, 2]})
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="no readable file of beats"):
        Beats.load(path)
    with pytest.raises(DataError, match="no readable file of beats"):
        Beats.load(tmp_path / "absent.arrow")


def test_select_takes_rows_of_every_column(make_beats: MakeBeats) -> None:
    beats = make_beats([5, 4, 3], patients=3)
    assert beats.patients is not None and beats.samples is not None
    rows = np.array([11, 0, 6])
    chosen = beats.select(rows)
    assert chosen.labels.tolist() == [2, 0, 1]
    assert chosen.patients is not None and chosen.samples is not None
    assert chosen.patients.tolist() == beats.patients[rows].tolist()
    assert chosen.samples.tolist() == [1100, 0, 600]
    np.testing.assert_array_equal(chosen.signals, beats.signals[rows])

    of_class = beats.select(beats.labels == 1)
    assert of_class.counts() == {"N": 0, "S": 4, "V": 0}
    assert not np.shares_memory(of_class.signals, beats.signals)


def test_beats_joined_stand_one_after_the_other(make_beats: MakeBeats) -> None:
    one, other = make_beats([2, 1], patients=1), make_beats([1, 3], patients=2, seed=1)
    joined = Beats.concatenate([one, other])
    assert joined.counts() == {"N": 3, "S": 4}
    assert joined.select(np.arange(3)).fingerprint == one.fingerprint
    assert joined.select(np.arange(3, 7)).fingerprint == other.fingerprint


@pytest.mark.parametrize(
    "changed",
    [{"classes": ("A", "B")}, {"fs": 360.0}, {"patients": None}, {"lead_names": ("II",)}],
    ids=["classes", "fs", "columns", "leads"],
)
def test_beats_that_do_not_fit_together_are_not_joined(make_beats: MakeBeats, changed: dict[str, object]) -> None:
    beats = make_beats([2, 2], patients=2)
    with pytest.raises(DataError, match="cannot be joined"):
        Beats.concatenate([beats, dataclasses.replace(beats, **changed)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": np.array([0, 1, 2, 0])}, "labels from 0 to 2 for 2 classes"),
        ({"labels": np.array([0, -1, 1, 0])}, "labels from -1 to 1"),
        ({"patients": np.array(["p1"])}, "1 patients for 4 beats"),
        ({"signals": np.zeros((4, 187), np.float32)}, r"expected \[beats, leads, samples\]"),
        ({"lead_names": ("II", "V1")}, "2 names for 1 leads"),
        ({"lengths": np.array([1, 2])}, "2 lengths for 4 beats"),
        ({"lengths": np.array([1, 2, 3, 188])}, "lengths 1 to 188: expected 0 to 187"),
    ],
)
def test_beats_that_contradict_themselves_are_refused(
    make_beats: MakeBeats, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        dataclasses.replace(make_beats([2, 2], patients=2), **changed)  # type: ignore[arg-type]


def test_an_unwritable_place_is_one_error_and_leaves_the_old_file(make_beats: MakeBeats, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(DataError, match=r"cannot write .*beats\.arrow"):
        make_beats([2, 2]).save(tmp_path / "file" / "beats.arrow")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_the_file_opens_with_arrow_alone_and_says_what_it_is(make_beats: MakeBeats, tmp_path: Path) -> None:
    beats = make_beats([2, 2], patients=2)
    beats.save(tmp_path / "beats.arrow")
    table = pa.ipc.open_file(str(tmp_path / "beats.arrow")).read_all()
    assert table.column_names == ["lengths", "labels", "records", "patients", "samples"]
    np.testing.assert_array_equal(np.load(tmp_path / "beats.npy"), beats.signals)
    about = json.loads(table.schema.metadata[b"beats"])
    assert (about["classes"], about["fs"], about["origin"]["synthetic"]) == (["N", "S"], 125.0, True)


@pytest.fixture
def with_context(make_beats: MakeBeats) -> Beats:
    beats = make_beats([4, 3], patients=2)
    context = np.random.default_rng(0).uniform(0.3, 1.5, (7, 2)).astype(np.float32)
    return dataclasses.replace(beats, context=context, context_names=("previous", "next"))


def test_context_goes_with_their_beats(with_context: Beats, tmp_path: Path) -> None:
    beats = with_context
    beats.save(tmp_path / "beats.arrow")
    loaded = Beats.load(tmp_path / "beats.arrow")
    assert loaded.context is not None and loaded.context.dtype == np.float32
    np.testing.assert_array_equal(loaded.context, beats.context)
    assert loaded.context_names == ("previous", "next") and loaded.fingerprint == beats.fingerprint
    halves = [loaded.select(np.arange(3)), loaded.select(np.arange(7) >= 3)]
    assert Beats.concatenate(halves).fingerprint == beats.fingerprint


def test_the_fingerprint_tells_context_and_what_they_are(with_context: Beats) -> None:
    beats = with_context
    assert beats.context is not None
    others = [
        dataclasses.replace(beats, context=None, context_names=()),
        dataclasses.replace(beats, context=beats.context * np.float32(1.001)),
        dataclasses.replace(beats, context_names=("next", "previous")),
    ]
    assert len({one.fingerprint for one in [beats, *others]}) == 4
    for other in (others[0], others[2]):
        with pytest.raises(DataError, match="cannot be joined"):
            Beats.concatenate([beats, other])


def test_context_needs_a_name_for_each_number(with_context: Beats) -> None:
    for names in ((), ("previous",), ("previous", "next", "local mean")):
        with pytest.raises(DataError, match=rf"context of shape \(7, 2\): expected \[beats, {len(names)}\]"):
            dataclasses.replace(with_context, context_names=names)
    with pytest.raises(DataError, match="expected"):
        dataclasses.replace(with_context, context=None)
