"""Files of beats: every row is read as it stands, and a file that is not what it should be is refused by row."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.card import class_map_of
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.databases.rows import beats_of_csv
from ecg_lightning.data.labels import AAMI_CLASSES, PHRASES
from ecg_lightning.data.splits import split

ROW = ["1.0", *["0.5"] * 120, *["0.0"] * 66]
"""187 samples, padded."""
NO_CONTEXT = {"rhythm": False, "morphology": False, "before": 0.0}
CUT = {"fs": 125.0, "length": 187, "rr_factor": 1.2, "margin": 3, "scaling": "beat"}


def rows(*labels: object) -> str:
    return "".join(",".join([*ROW, str(label)]) + "\n" for label in labels)


def source(
    data_dir: Path, *files: str, context: dict[str, Any] | None = None, cut: dict[str, Any] | None = None, **card: Any
) -> Source:
    """The source of a card of rows; `card` has settings of ``rows``, and of the card itself."""
    own = {name: card.pop(name) for name in ("leads", "class_map", "download") if name in card}
    settings_of_rows = {"files": [*files], "classes": list(AAMI_CLASSES), "test_file": None} | card
    dataset = {
        "name": "beats", "title": "beats", "task": "arrhythmia", "reader": "rows", "folder": "heartbeat",
        "leads": ["II"], "rows": settings_of_rows, "cut": CUT | (cut or {}),
    }  # fmt: skip
    return make_source(dataset | own, NO_CONTEXT | (context or {}), data_dir)


def mitbih(data_dir: Path) -> Source:
    """As ``conf/dataset/kaggle_mitbih.yaml``."""
    kaggle = {"kaggle": "shayanfazeli/heartbeat"}
    return source(data_dir, "mitbih_train.csv", "mitbih_test.csv", test_file="mitbih_test.csv", download=kaggle)


def ptbdb(data_dir: Path) -> Source:
    return source(data_dir, "ptbdb_normal.csv", "ptbdb_abnormal.csv", classes=["normal", "MI"])


def beats_of(path: Path, text: str | bytes, **how: Any) -> Beats:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return beats_of_csv(path, **({"classes": AAMI_CLASSES, "origin": {}} | how))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """The four files, small."""
    folder = tmp_path / "heartbeat"
    folder.mkdir()
    (folder / "mitbih_train.csv").write_text(rows(*[f"{label}.000000000000000000e+00" for label in range(5)] * 20))
    (folder / "mitbih_test.csv").write_text(rows(0.0, 1.0, 2.0, 3.0, 4.0, 4.0))
    (folder / "ptbdb_normal.csv").write_text(rows(*[0.0] * 7))
    (folder / "ptbdb_abnormal.csv").write_text(rows(*[1.0] * 9))
    return tmp_path


def test_every_row_is_a_beat_with_no_first_row_lost_to_a_header(data_dir: Path) -> None:
    beats = mitbih(data_dir).read()
    assert len(beats) == 106
    assert beats.counts() == {"N": 21, "S": 21, "V": 21, "F": 21, "Q": 22}
    np.testing.assert_array_equal(beats.signals, np.tile(np.array(ROW, dtype=np.float32), (106, 1, 1)))
    assert set(beats.lengths.tolist()) == {121} and len(beats.lead_names) == 1
    assert (beats.fs, beats.length, beats.records, beats.patients) == (125.0, 187, None, None)
    assert not beats.synthetic


def test_the_two_ptb_files_are_the_two_classes(data_dir: Path) -> None:
    beats = ptbdb(data_dir).read()
    assert beats.counts() == {"normal": 7, "MI": 9}
    assert beats.published_test is None


def test_the_published_test_file_is_the_test_fold_whatever_the_seed(data_dir: Path) -> None:
    beats = mitbih(data_dir).read()
    for seed in (0, 1):
        folds = split(beats, "random", test_fraction=0.5, seed=seed)
        assert folds.test.tolist() == list(range(100, 106))
        assert len(folds.validation) == 10 and len(folds.train) == 90
        assert folds.protocol.published_test and folds.protocol.test_fraction is None


def test_the_test_file_is_known_by_its_name_in_the_card(tmp_path: Path) -> None:
    (tmp_path / "heartbeat" / "a").mkdir(parents=True)
    for name in ("train.csv", "test.csv"):
        (tmp_path / "heartbeat" / "a" / name).write_text(rows(*range(5)))
    beats = source(tmp_path, "a/train.csv", "a/test.csv", test_file="a/test.csv").read()
    assert beats.published_test is not None and beats.published_test.tolist() == [False] * 5 + [True] * 5
    with pytest.raises(ConfigError, match="as test_file none or one of the files"):
        source(tmp_path, "a/train.csv", "a/test.csv", test_file="test.csv")


def test_line_ends_of_windows_and_a_missing_last_one_make_no_difference(data_dir: Path) -> None:
    path = data_dir / "heartbeat" / "mitbih_test.csv"
    whole = path.read_bytes()
    changed = beats_of(path, whole.replace(b"\n", b"\r\n").rstrip())
    assert changed.fingerprint == beats_of(path, whole).fingerprint


def text_of(change: Callable[[list[str]], list[str]]) -> str:
    """Three rows, of which the second is changed."""
    first, second, third = rows(0, 1, 2).splitlines()
    return "\n".join([first, ",".join(change(second.split(","))), third]) + "\n"


BAD = {
    "numbers as header": (",".join(map(str, range(188))) + "\n" + rows(0, 1), "row 1", "the label 187, none of"),
    "a header of another width": ("time,label\n" + rows(0, 1), "row 1", "has 2 columns"),
    "a first row that is no header": (rows("x").replace("1.0,", "?,") + rows(0, 1), "row 1", "'?' where a number"),
    "missing column": (text_of(lambda fields: fields[1:]), "row 2", "187 columns instead of 188"),
    "missing column everywhere": (
        rows(0, 1, 2).replace("1.0,", ""),
        "row 1",
        "has 187 columns; expected 187 samples and a label",
    ),
    "extra column": (text_of(lambda fields: ["0.5", *fields]), "row 2", "189 columns instead of 188"),
    "text": (text_of(lambda fields: ["0.5", "abc", *fields[2:]]), "row 2", "'abc' where a number is expected"),
    "nothing between commas": (text_of(lambda fields: ["0.5", "", *fields[2:]]), "row 2", "'' where a number"),
    "NaN": (text_of(lambda fields: ["nan", *fields[1:]]), "row 2", "NaN or infinite"),
    "infinity": (text_of(lambda fields: ["-inf", *fields[1:]]), "row 2", "NaN or infinite"),
    "larger than any float": (text_of(lambda fields: ["1e99", *fields[1:]]), "row 2", "NaN or infinite"),
    "label NaN": (text_of(lambda fields: [*fields[:-1], "nan"]), "row 2", "the label nan, none of"),
    "label above the classes": (text_of(lambda fields: [*fields[:-1], "5.0"]), "row 2", "none of the classes 0 to 4"),
    "label below the classes": (text_of(lambda fields: [*fields[:-1], "-1"]), "row 2", "none of the classes 0 to 4"),
    "fractional label": (text_of(lambda fields: [*fields[:-1], "1.5"]), "row 2", "the label 1.5, none of the classes"),
    "all-zero beat": (text_of(lambda fields: ["0.0"] * 187 + ["1"]), "row 2", "a flat beat (1 such rows)"),
    "empty": ("", "is empty", "data fetch beats"),
    "blank": ("\n\n", "is empty", "data fetch beats"),
    "cut off in the last row": (rows(0, 1, 2)[:-300], "row 3", "was it cut off?"),
    "cut off before the last label": (rows(0, 1, 2).rstrip()[:-1], "row 3", "was it cut off?"),
    "bad behind a blank line": (rows(0) + "\n" + rows("x") + rows(0), "row 2", "'x' where a number is expected"),
    "not text at all": (bytes(range(128, 256)).decode("latin-1") * 9, "mitbih_train.csv", "no row of numbers"),
    "a web page": ("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", "no row of numbers", "'<!DOCTYPE html>'"),
}


@pytest.mark.parametrize(("text", "where", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_with_file_and_row(data_dir: Path, text: str, where: str, said: str) -> None:
    path = data_dir / "heartbeat" / "mitbih_train.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        mitbih(data_dir).read()
    message = str(error.value)
    assert str(path) in message
    assert where in message
    assert said in message
    assert "\n" not in message


def test_the_first_of_several_bad_rows_is_named_and_they_are_counted(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 3 .*\(3 such rows\)"):
        beats_of(tmp_path / "beats.csv", rows(0, 1, 7, 2, 9, 8))


def test_a_label_of_the_other_dataset_is_refused(data_dir: Path) -> None:
    (data_dir / "heartbeat" / "ptbdb_abnormal.csv").write_text(rows(1, 2))
    with pytest.raises(DataError, match="row 2 has the label 2, none of the classes 0 to 1"):
        ptbdb(data_dir).read()


@pytest.mark.parametrize("missing", ["mitbih_train.csv", "mitbih_test.csv"])
def test_a_missing_file_names_the_command_that_gets_it(data_dir: Path, missing: str) -> None:
    path = data_dir / "heartbeat" / missing
    path.unlink()
    made = mitbih(data_dir)
    for ask in (made.files, made.read):
        with pytest.raises(DataError) as error:
            ask()
        assert str(path) in str(error.value)
        assert f"ecg-lightning data fetch beats --data-dir {data_dir}" in str(error.value)


@pytest.mark.parametrize(
    ("leads", "context"),
    [
        ([0, 1], {}),
        ([0], {"rhythm": True}),
        ([0], {"morphology": True}),
        ([0], {"before": 0.272}),
    ],
    ids=str,
)
def test_what_the_files_do_not_hold_is_refused(tmp_path: Path, leads: list[int], context: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"dataset beats holds (one lead|single beats)"):
        source(tmp_path, "a.csv", leads=leads, context=context)


NAMES = ",".join(f"sample {at}" for at in range(187)) + ",label\n"
LAYOUTS: dict[str, bytes] = {
    "a header": (NAMES + rows(0, 1, 2)).encode(),
    "a header in quotes": ("'" + NAMES.replace(",", "','").replace("\n", "'\n") + rows(0, 1, 2)).encode(),
    "semicolons": rows(0, 1, 2).replace(",", ";").encode(),
    "semicolons and decimal commas": rows(0, 1, 2).replace(",", ";").replace(".", ",").encode(),
    "tabs": rows(0, 1, 2).replace(",", "\t").encode(),
    "UTF-16": rows(0, 1, 2).encode("utf-16"),
    "a mark of the byte order": rows(0, 1, 2).encode("utf-8-sig"),
}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_another_layout_has_the_same_beats(tmp_path: Path, content: bytes) -> None:
    plain = beats_of(tmp_path / "plain.csv", rows(0, 1, 2))
    assert beats_of(tmp_path / "other.csv", content).fingerprint == plain.fingerprint


def test_compressed_files_are_read_as_they_are(tmp_path: Path) -> None:
    plain = beats_of(tmp_path / "plain.csv", rows(0, 1, 2))
    assert beats_of(tmp_path / "beats.csv.gz", gzip.compress(rows(0, 1, 2).encode())).fingerprint == plain.fingerprint
    with zipfile.ZipFile(tmp_path / "beats.zip", "w") as archive:
        archive.writestr("beats.csv", rows(0, 1, 2))
    read = beats_of_csv(tmp_path / "beats.zip", classes=AAMI_CLASSES, origin={})
    assert read.fingerprint == plain.fingerprint


def test_labels_may_be_names_of_classes_or_symbols_of_the_class_map(tmp_path: Path) -> None:
    path = tmp_path / "heartbeat" / "beats.csv"
    path.parent.mkdir()
    path.write_text(rows("N", "V", "Q"))
    assert source(tmp_path, "beats.csv").read().known_labels.tolist() == [0, 2, 4]
    path.write_text(rows("L", "E", "A", "/"))
    assert source(tmp_path, "beats.csv", class_map="aami").read().known_labels.tolist() == [0, 2, 1, 4]
    with pytest.raises(
        DataError,
        match=r"row 1 has the label 'L', none of the classes N, S, V, F, Q and no symbol of dataset\.class_map",
    ):
        source(tmp_path, "beats.csv").read()


def test_files_without_labels_can_be_predicted_and_nothing_else(tmp_path: Path) -> None:
    text = "".join(",".join(ROW) + "\n" for _ in range(3))
    beats = beats_of(tmp_path / "beats.csv", text, labels="none")
    assert (len(beats), beats.labels) == (3, None)
    with pytest.raises(DataError, match="these beats have no labels"):
        split(beats, "random", test_fraction=0.5, seed=0)
    with pytest.raises(DataError, match="row 1 has 187 columns; expected 187 samples and a label"):
        beats_of(tmp_path / "beats.csv", text)
    with pytest.raises(DataError, match=r"row 1 has 188 columns; expected 187 samples "):
        beats_of(tmp_path / "beats.csv", rows(0, 1), labels="none")


def test_the_number_of_samples_is_that_of_the_card(tmp_path: Path) -> None:
    (tmp_path / "heartbeat").mkdir()
    (tmp_path / "heartbeat" / "beats.csv").write_text("0.1,1,0.3,0,2\n0.2,1,0,0,3\n")
    beats = source(tmp_path, "beats.csv", cut={"length": 4, "fs": 50.0}).read()
    assert (beats.length, beats.fs, beats.lengths.tolist()) == (4, 50.0, [3, 2])
    with pytest.raises(
        DataError, match=r"row 1 has 5 columns; expected 187 samples and a label \(dataset\.cut\.length=187\)"
    ):
        source(tmp_path, "beats.csv").read()


BEAT = np.round(np.sin(np.arange(187) / 20), 4)
OTHER_VALUES = {
    "integers of a converter": np.round(512 + 300 * BEAT),
    "z-scores": (BEAT - BEAT.mean()) / BEAT.std(),
    "millivolts": 1.5 * BEAT,
    "microvolts, or another unit": 1500 * BEAT + 0.5,
}


@pytest.mark.parametrize(("look", "values"), OTHER_VALUES.items(), ids=OTHER_VALUES.keys())
def test_values_outside_0_to_1_are_refused_by_what_they_look_like_or_scaled(
    tmp_path: Path, look: str, values: np.ndarray
) -> None:
    text = (",".join(map(str, values)) + ",1\n") * 2
    with pytest.raises(
        DataError,
        match=rf"row 1 has values outside \[0, 1\], which look like {look} .*\(2 such rows\).*outside=rescale",
    ):
        beats_of(tmp_path / "beats.csv", text)
    beats = beats_of(tmp_path / "beats.csv", text, outside="rescale")
    expected = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(beats.signals[0, 0], expected, atol=1e-6)


def test_the_padding_of_a_beat_stays_zero_when_it_is_scaled(tmp_path: Path) -> None:
    values = [300, 500, 400, *[0] * 184]
    beats = beats_of(tmp_path / "beats.csv", ",".join(map(str, values)) + ",1\n", outside="rescale")
    assert beats.signals[0, 0, :4].tolist() == [0, 1, 0.5, 0] and beats.lengths.tolist() == [3]
    flat = beats_of(tmp_path / "beats.csv", ",".join(map(str, [7, 7, 7, *[0] * 184])) + ",1\n", outside="rescale")
    assert not flat.signals.any()


@given(
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.none() | st.integers(0, 1600),
    label=st.sampled_from(["last", "none"]),
)
@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int | None, label: str
) -> None:
    content = bytearray(rows(0, 1, 2, 3).encode()[:cut])
    for at, value in changes if content else ():
        content[at % len(content)] = value
    refusal = None
    try:
        beats = beats_of(tmp_path / "beats.csv", bytes(content), labels=label)
        assert beats.signals.min() >= 0 and beats.signals.max() <= 1
    except DataError as error:
        refusal = str(error)
    assert refusal is None or str(tmp_path / "beats.csv") in refusal


@pytest.mark.real_data("heartbeat_sample/mitbih_train_sample.csv")
def test_rows_of_the_real_file_are_read(real_data_dir: Path) -> None:
    path = real_data_dir / "heartbeat_sample" / "mitbih_train_sample.csv"
    beats = beats_of_csv(path, classes=AAMI_CLASSES, origin={})
    assert beats.counts() == dict.fromkeys(AAMI_CLASSES, 100)
    np.testing.assert_array_equal(beats.signals[:, 0], np.loadtxt(path, delimiter=",", dtype=np.float32)[:, :187])
    assert beats.signals.min() == 0 and beats.signals.max() == 1


def test_the_class_map_of_other_classes_is_not_called_that_of_the_standard() -> None:
    own = {"task": "arrhythmia", "name": "beats", "cut": CUT}
    assert class_map_of(own | {"rows": {"classes": list(AAMI_CLASSES)}}) == PHRASES["aami"]
    assert class_map_of(own | {"rows": {"classes": ["normal", "abnormal"]}}) == "as its files state"
