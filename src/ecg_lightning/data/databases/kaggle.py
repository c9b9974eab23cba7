"""The Kaggle files: beats already cut and scaled, one a row, with the label in the last column.

Fazeli, "ECG Heartbeat Categorization Dataset" (kaggle.com/shayanfazeli/heartbeat), made by the recipe of Kachuee et al.
2018: no header, 187 samples at 125 Hz zero-padded at the end, then the label as a float. They name no patient.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.databases.base import Source, fetch_command
from ecg_lightning.data.labels import CLASSES
from ecg_lightning.data.windows import lengths_before_zeros

FS = 125.0
LENGTH = 187

FILES = {"mitbih": ("mitbih_train.csv", "mitbih_test.csv"), "ptbdb": ("ptbdb_normal.csv", "ptbdb_abnormal.csv")}

TEST_FILE = "mitbih_test.csv"
LEAD = "II"  # of all beats (Kachuee et al., section III-A)


@dataclass(frozen=True, kw_only=True)
class Kaggle(Source):
    """Beats from CSV files in ``data_dir/heartbeat``: ``mitbih``, with a test file, or ``ptbdb``, a file a class."""

    name: ClassVar[str] = "kaggle"

    dataset: str
    data_dir: Path

    def __post_init__(self) -> None:
        if self.dataset not in FILES:
            raise ConfigError(f"source kaggle has no dataset {self.dataset!r}; choose one of {', '.join(FILES)}")

    def files(self) -> list[Path]:
        """The two files of the dataset."""
        paths = [self.data_dir / "heartbeat" / name for name in FILES[self.dataset]]
        if absent := [path for path in paths if not path.is_file()]:
            raise DataError(f"{absent[0]} is not there; get it with: {fetch_command('heartbeat', self.data_dir)}")
        return paths

    def settings(self) -> dict[str, Any]:
        """Source and dataset: nothing can be set."""
        return {"source": self.name, "dataset": self.dataset}

    def read(self) -> Beats:
        """Parse both files."""
        parts = []
        for path in self.files():
            beats = beats_of_csv(path, classes=CLASSES[self.dataset], origin=self.settings())
            if TEST_FILE in FILES[self.dataset]:
                beats = dataclasses.replace(beats, published_test=np.full(len(beats), path.name == TEST_FILE))
            parts.append(beats)
        return Beats.concatenate(parts)


def beats_of_csv(path: Path, *, classes: tuple[str, ...], origin: dict[str, Any]) -> Beats:
    """The beats of one file in Kaggle's format, which names neither records nor patients; errors as in `read_csv`."""
    signals, labels = read_csv(path, n_classes=len(classes))
    signals = signals[:, None]
    lengths = lengths_before_zeros(signals)  # nothing else in the format marks the end of a beat
    return Beats(
        signals=signals, lengths=lengths, lead_names=(LEAD,), labels=labels, classes=classes, fs=FS, origin=origin
    )


def read_csv(path: Path, *, n_classes: int) -> tuple[FloatArray, IntArray]:
    """Parse one headerless file into signals ``[n, 187]`` and labels ``[n]``.

    Raises:
        DataError: naming the file and row, for a header, missing columns, text, NaN, infinity, a label that is no
            class, a row cut off, a beat of zeros, or an empty file.
    """
    import pyarrow as pa
    from pyarrow import csv

    names = [*map(str, range(LENGTH)), "label"]
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=names, block_size=16 << 20),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float32()), null_values=[]),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: {_first_fault(path) or error}") from error

    if not table.num_rows:
        raise DataError(f"{path}: {_first_fault(path)}")
    values = np.empty((table.num_rows, LENGTH), dtype=np.float32)
    for column, name in enumerate(names[:-1]):
        values[:, column] = table[name].to_numpy()
    labels = table["label"].to_numpy()

    faults = {
        "a value that is NaN or infinite": ~(np.isfinite(values).all(axis=1) & np.isfinite(labels)),
        f"a label that is none of the classes 0 to {n_classes - 1}": ~np.isin(labels, np.arange(n_classes)),
        "a beat of zeros only": ~values.any(axis=1),
    }
    for fault, rows in faults.items():
        if rows.any():
            raise DataError(
                f"{path}: row {int(rows.argmax()) + 1} has {fault} ({int(rows.sum())} such rows); "
                f"expected {LENGTH} numbers and a class. Fetch the file again or take the rows out"
            )
    return values, labels.astype(np.int64)


def _first_fault(path: Path) -> str | None:
    """What is wrong with the first bad row; read again line by line, because the fast parser does not report it."""
    row = 0
    with path.open(encoding="utf-8", errors="replace") as file:
        rows = (line.rstrip("\n") for line in file if line.strip())  # the fast parser skips blank lines, too
        for row, line in enumerate(rows, start=1):
            fields = line.split(",")
            text = next((field for field in fields if not _is_number(field)), None)
            if len(fields) == LENGTH + 1 and text is None:
                continue
            if row == 1 and text:
                return f"row 1 holds the text {text[:30]!r}: a header? The file has none as published; take it out"
            n = len(fields)
            found = f"{n} columns" if n != LENGTH + 1 else f"{text!r:.30} where a number is expected"
            cut_off = n <= LENGTH + 1 and next(rows, None) is None
            ending = "; the file ends there, was it cut off? Fetch it again" if cut_off else ""
            return f"row {row} has {found}; expected {LENGTH} samples and a label{ending}"
    return None if row else f"is empty; expected rows of {LENGTH} samples and a label. Fetch it again"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
