"""The Kaggle files: every row is read as it stands, and a file that is not what it should be is refused by row."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ecg_lightning.data.databases.kaggle import Kaggle, read_csv

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.splits import split

ROW = ["1.0", *["0.5"] * 120, *["0.0"] * 66]
"""187 samples, padded."""


def rows(*labels: object) -> str:
    return "".join(",".join([*ROW, str(label)]) + "\n" for label in labels)


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
    beats = Kaggle(dataset="mitbih", data_dir=data_dir).read()
    assert len(beats) == 106
    assert beats.counts() == {"N": 21, "S": 21, "V": 21, "F": 21, "Q": 22}
    np.testing.assert_array_equal(beats.signals, np.tile(np.array(ROW, dtype=np.float32), (106, 1, 1)))
    assert set(beats.lengths.tolist()) == {121} and len(beats.lead_names) == 1
    assert (beats.fs, beats.length, beats.records, beats.patients) == (125.0, 187, None, None)
    assert not beats.synthetic


def test_the_two_ptb_files_are_the_two_classes(data_dir: Path) -> None:
    beats = Kaggle(dataset="ptbdb", data_dir=data_dir).read()
    assert beats.counts() == {"normal": 7, "MI": 9}
    assert beats.published_test is None


def test_the_published_test_file_is_the_test_fold_whatever_the_seed(data_dir: Path) -> None:
    beats = Kaggle(dataset="mitbih", data_dir=data_dir).read()
    for seed in (0, 1):
        folds = split(beats, "random", test_fraction=0.5, seed=seed)
        assert folds.test.tolist() == list(range(100, 106))
        assert len(folds.validation) == 10 and len(folds.train) == 90
        assert folds.protocol.published_test and folds.protocol.test_fraction is None


def test_line_ends_of_windows_and_a_missing_last_one_make_no_difference(data_dir: Path) -> None:
    path = data_dir / "heartbeat" / "mitbih_test.csv"
    whole = read_csv(path, n_classes=5)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n").rstrip())
    for one, other in zip(whole, read_csv(path, n_classes=5), strict=True):
        np.testing.assert_array_equal(one, other)


def text_of(change: Callable[[list[str]], list[str]]) -> str:
    """Three rows, of which the second is changed."""
    first, second, third = rows(0, 1, 2).splitlines()
    return "\n".join([first, ",".join(change(second.split(","))), third]) + "\n"


BAD = {
    "header": (",".join(f"sample {i}" for i in range(187)) + ",label\n" + rows(0, 1), "row 1", "a header?"),
    "numbers as header": (",".join(map(str, range(188))) + "\n" + rows(0, 1), "row 1", "none of the classes 0 to 4"),
    "missing column": (text_of(lambda fields: fields[1:]), "row 2", "187 columns; expected 187 samples and a label"),
    "missing column everywhere": (rows(0, 1, 2).replace("1.0,", ""), "row 1", "187 columns"),
    "extra column": (text_of(lambda fields: ["0.5", *fields]), "row 2", "189 columns"),
    "text": (text_of(lambda fields: ["0.5", "abc", *fields[2:]]), "row 2", "'abc' where a number is expected"),
    "nothing between commas": (text_of(lambda fields: ["0.5", "", *fields[2:]]), "row 2", "'' where a number"),
    "NaN": (text_of(lambda fields: ["nan", *fields[1:]]), "row 2", "NaN or infinite"),
    "infinity": (text_of(lambda fields: ["-inf", *fields[1:]]), "row 2", "NaN or infinite"),
    "larger than any float": (text_of(lambda fields: ["1e99", *fields[1:]]), "row 2", "NaN or infinite"),
    "label NaN": (text_of(lambda fields: [*fields[:-1], "nan"]), "row 2", "NaN or infinite"),
    "label above the classes": (text_of(lambda fields: [*fields[:-1], "5.0"]), "row 2", "none of the classes 0 to 4"),
    "label below the classes": (text_of(lambda fields: [*fields[:-1], "-1"]), "row 2", "none of the classes 0 to 4"),
    "fractional label": (text_of(lambda fields: [*fields[:-1], "1.5"]), "row 2", "none of the classes 0 to 4"),
    "all-zero beat": (text_of(lambda fields: ["0.0"] * 187 + ["1"]), "row 2", "a beat of zeros only (1 such rows)"),
    "empty": ("", "is empty", "Fetch it again"),
    "blank": ("\n\n", "is empty", "Fetch it again"),
    "cut off in the last row": (rows(0, 1, 2)[:-300], "row 3", "was it cut off?"),
    "cut off before the last label": (rows(0, 1, 2).rstrip()[:-1], "row 3", "was it cut off?"),
    "bad behind a blank line": (rows(0) + "\n" + rows("x"), "row 2", "'x' where a number is expected"),
    "not text at all": (bytes(range(128, 256)).decode("latin-1") * 9, "row 1", "holds the text"),
    "a web page": ("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", "row 1", "'<!DOCTYPE html>'"),
}


@pytest.mark.parametrize(("text", "where", "said"), BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_with_file_and_row(data_dir: Path, text: str, where: str, said: str) -> None:
    path = data_dir / "heartbeat" / "mitbih_train.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        Kaggle(dataset="mitbih", data_dir=data_dir).read()
    message = str(error.value)
    assert str(path) in message
    assert where in message
    assert said in message
    assert "\n" not in message


def test_the_first_of_several_bad_rows_is_named_and_they_are_counted(data_dir: Path) -> None:
    path = data_dir / "heartbeat" / "mitbih_train.csv"
    path.write_text(rows(0, 1, 7, 2, 9, 8))
    with pytest.raises(DataError, match=r"row 3 .*\(3 such rows\)"):
        read_csv(path, n_classes=5)


def test_a_label_of_the_other_dataset_is_refused(data_dir: Path) -> None:
    (data_dir / "heartbeat" / "ptbdb_abnormal.csv").write_text(rows(1, 2))
    with pytest.raises(DataError, match="row 2 has a label that is none of the classes 0 to 1"):
        Kaggle(dataset="ptbdb", data_dir=data_dir).read()


@pytest.mark.parametrize("missing", ["mitbih_train.csv", "mitbih_test.csv"])
def test_a_missing_file_names_the_command_that_gets_it(data_dir: Path, missing: str) -> None:
    path = data_dir / "heartbeat" / missing
    path.unlink()
    source = Kaggle(dataset="mitbih", data_dir=data_dir)
    for ask in (source.files, source.read):
        with pytest.raises(DataError) as error:
            ask()
        assert str(path) in str(error.value)
        assert f"ecg-lightning data fetch heartbeat --data-dir {data_dir}" in str(error.value)


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
    none = {"rhythm": False, "morphology": False, "before": 0.0}
    with pytest.raises(ConfigError, match=r"Kaggle's files hold .*source=physionet"):
        make_source({"name": "kaggle"}, {"name": "mitbih", "leads": leads}, none | context, tmp_path)
    assert make_source({"name": "kaggle"}, {"name": "mitbih", "leads": [0]}, none, tmp_path).name == "kaggle"


def test_an_unknown_dataset_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose one of mitbih, ptbdb"):
        Kaggle(dataset="incart", data_dir=tmp_path)


@pytest.mark.real_data("heartbeat_sample/mitbih_train_sample.csv")
def test_rows_of_the_real_file_are_read(real_data_dir: Path) -> None:
    path = real_data_dir / "heartbeat_sample" / "mitbih_train_sample.csv"
    signals, labels = read_csv(path, n_classes=5)
    assert signals.shape == (500, 187)
    assert np.bincount(labels).tolist() == [100] * 5
    np.testing.assert_array_equal(signals, np.loadtxt(path, delimiter=",", dtype=np.float32)[:, :187])
    assert signals.min() == 0 and signals.max() == 1
