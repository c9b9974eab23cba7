"""Files whose rows are beats, already cut and scaled, with the class in the last column, such as the Kaggle files.

Fazeli, "ECG Heartbeat Categorization Dataset" (kaggle.com/shayanfazeli/heartbeat), made by the recipe of Kachuee et al.
2018: no header, 187 samples at 125 Hz zero-padded at the end, then the label as a float. They name no patient.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.context import NO_CONTEXT
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.windows import lengths_before_zeros

FS = 125.0
LENGTH = 187

LEAD = "II"  # of all beats (Kachuee et al., section III-A)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsOfFiles(CardSource):
    """Beats from the CSV files that ``rows`` of a card names.

    Raises:
        ConfigError: context or several leads are asked for, which such files do not hold.
    """

    def __post_init__(self) -> None:
        if self.card.rows is None:
            raise ConfigError(f"dataset {self.name}: reader rows needs dataset.rows, which names the files and classes")
        if self.context != NO_CONTEXT or self.cut.before:
            raise ConfigError(
                f"dataset {self.name} holds single beats, and nothing from before their R peak: choose context=none, or "
                "a database of recordings"
            )
        if len(self.leads) > 1:
            raise ConfigError(
                f"dataset {self.name} holds one lead, and dataset.leads={self.card.leads} asks for {len(self.leads)}"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        assert self.card.rows is not None
        return tuple(self.card.rows.classes)

    def files(self) -> list[Path]:
        """The files of beats."""
        assert self.card.rows is not None
        paths = [self.folder / name for name in self.card.rows.files]
        if absent := [path for path in paths if not path.is_file()]:
            raise DataError(f"{absent[0]} is not there; {self.remedy}")
        return paths

    def settings(self) -> dict[str, Any]:
        """Also which files, and how they are read."""
        assert self.card.rows is not None
        return super().settings() | {"rows": self.card.rows.model_dump(mode="json")}

    def read(self) -> Beats:
        """Parse all files."""
        assert self.card.rows is not None
        parts, test_file = [], self.card.rows.test_file
        for path in self.files():
            beats = beats_of_csv(path, classes=self.classes, origin=self.settings())
            if test_file is not None:
                beats = dataclasses.replace(beats, published_test=np.full(len(beats), path.name == test_file))
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
