"""Files whose rows are beats, already cut, with the class in the last column or none, such as the Kaggle files.

Fazeli, "ECG Heartbeat Categorization Dataset" (kaggle.com/shayanfazeli/heartbeat), made by the recipe of Kachuee et al.
2018: no header, 187 samples at 125 Hz scaled to [0, 1] and zero-padded at the end, then the label as a float. They name
no patient. Other files may be compressed, have another delimiter or encoding, a header, or names for labels.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.core.progress import tracked
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.context import NO_CONTEXT
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.card import Rows
from ecg_lightning.data.labels import make_class_map
from ecg_lightning.data.readers.base import LARGEST
from ecg_lightning.data.readers.delimited import BROKEN, NUMBER, Delimited, look_at, open_binary
from ecg_lightning.data.windows import lengths_before_zeros

FS = 125.0
LENGTH = 187
LEAD = "II"  # of all beats of Kaggle's files (Kachuee et al., section III-A)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RowsOfFiles(CardSource):
    """Beats from the CSV files that ``rows`` of a card names.

    Raises:
        ConfigError: context or several leads are asked for, which such files do not hold.
    """

    def __post_init__(self) -> None:
        rows = self.card.rows
        if rows is None or rows.test_file not in (None, *rows.files):
            raise ConfigError(
                f"dataset {self.name}: reader rows needs dataset.rows, which names the files, the classes, and as "
                "test_file none or one of the files"
            )
        if self.context != NO_CONTEXT or self.cut.before:
            raise ConfigError(
                f"dataset {self.name} holds single beats and nothing from before their R peak: choose context=none, or "
                "a database of recordings"
            )
        if len(self.leads) > 1:
            raise ConfigError(
                f"dataset {self.name} holds one lead, and dataset.leads={self.card.leads} asks for {len(self.leads)}"
            )

    @property
    def rows(self) -> Rows:
        """What the card says about the files."""
        assert self.card.rows is not None
        return self.card.rows

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.rows.classes)

    def files(self) -> list[Path]:
        """The files of beats."""
        paths = [self.folder / name for name in self.rows.files]
        if absent := [path for path in paths if not path.is_file()]:
            raise DataError(f"{absent[0]} is not there; {self.remedy}")
        return paths

    def settings(self) -> dict[str, Any]:
        """Also which files, and how they are read."""
        class_map = {} if self.card.class_map is None else {"class_map": self.card.class_map}
        return super().settings() | {"rows": self.rows.model_dump(mode="json")} | class_map

    def read(self) -> Beats:
        """Parse all files."""
        named = {} if self.card.class_map is None else make_class_map(self.card.class_map).symbols
        symbols = {symbol: name for name, own in named.items() for symbol in own}
        parts = []
        files = dict(zip(self.rows.files, self.files(), strict=True))
        for name, path in tracked(files.items(), f"reading {self.name}", "files"):
            try:
                beats = beats_of_csv(
                    path, classes=self.classes, origin=self.settings(), length=self.cut.length, fs=self.cut.fs,
                    labels=self.rows.labels, outside=self.rows.outside, symbols=symbols,
                )  # fmt: skip
            except DataError as error:
                raise self.with_remedy(error) from error
            if self.rows.test_file is not None:
                beats = dataclasses.replace(beats, published_test=np.full(len(beats), name == self.rows.test_file))
            parts.append(beats)
        return Beats.concatenate(parts)


def beats_of_csv(
    path: Path,
    *,
    classes: tuple[str, ...],
    origin: dict[str, Any],
    length: int = LENGTH,
    fs: float = FS,
    labels: Literal["last", "none"] = "last",
    outside: Literal["refuse", "rescale"] = "refuse",
    symbols: Mapping[str, str] | None = None,
) -> Beats:
    """The beats of one file, which names neither records nor patients.

    Args:
        path: of the file.
        classes: their names; a label is the number of one, its name, or one of its `symbols` (symbol → class).
        origin: of the beats.
        length: samples of each beat, and `fs` their rate in Hz.
        labels: where they are; without any, the beats have none.
        outside: values outside [0, 1] are an error, or each beat is scaled by its own minimum and maximum.
        symbols: which symbols are of which class.

    Raises:
        DataError: naming the file and row, for another number of columns, text, NaN, infinity, a label that is no
            class, a row cut off, a flat beat, values outside [0, 1], or an empty file.
    """
    layout = look_at(path)
    columns = f"{length} samples{' and a label' if labels == 'last' else ''}"
    if fault := _fault_of_layout(layout, length + (labels == "last")):
        raise DataError(f"{path}: {fault}; expected {columns} (dataset.cut.length={length})")

    def refuse(rows: Any, fault: str, remedy: str = "Correct these rows or take them out") -> None:
        if rows.any():
            row = int(rows.argmax()) + 1 + len(layout.preamble)
            raise DataError(
                f"{path}: row {row} has {fault} ({int(rows.sum())} such rows); expected {columns}. {remedy}"
            )

    signals, labels_read = _read(layout, length, columns, labelled=labels == "last")
    refuse(~np.isfinite(signals).all(axis=1), "a value that is NaN or infinite")
    low, high = signals.min(axis=1), signals.max(axis=1)
    refuse(low == high, "a flat beat")
    numbers: IntArray | None = None
    if labels_read is not None:
        numbers = _numbers_of(labels_read, classes, symbols or {})
        stated = labels_read[int((numbers < 0).argmax())]
        refuse(
            numbers < 0,
            f"the label {stated!r}, none of the classes {', '.join(classes)} and no symbol of dataset.class_map"
            if isinstance(stated, str)
            else f"the label {stated:g}, none of the classes 0 to {len(classes) - 1}",
        )
    lengths = lengths_before_zeros(signals[:, None])  # nothing else in the format marks the end of a beat
    if outside == "rescale":
        signals = _rescaled(signals, lengths)
    elif (strange := (low < 0) | (high > 1)).any():
        refuse(
            strange,
            f"values outside [0, 1], which look like {_look_of(signals)} from {low.min():.4g} to {high.max():.4g}",
            "dataset.rows.outside=rescale scales each beat to [0, 1] by its minimum and maximum",
        )
    return Beats(
        signals=signals[:, None], lengths=lengths, lead_names=(LEAD,), labels=numbers, classes=classes, fs=fs,
        origin=origin,
    )  # fmt: skip


def _fault_of_layout(layout: Delimited, width: int) -> str | None:
    """Lines before the numbers that are no header, or another number of columns."""
    for row, fields in enumerate(layout.preamble, start=1):
        text = [field for field in fields if not NUMBER.fullmatch(field)]
        if len(fields) == width == len(text) and row == 1:
            continue  # a header
        found = f"{len(fields)} columns" if len(fields) != width else f"{text[0][:30]!r} where a number is expected"
        return f"row {row}, which begins with {fields[0][:30]!r}, has {found}"
    n = len(layout.numeric)
    return None if n == width else f"row {len(layout.preamble) + 1} has {n} columns"


def _read(layout: Delimited, length: int, columns: str, *, labelled: bool) -> tuple[FloatArray, Any]:
    """Signals ``[n, length]``, and labels ``[n]`` as they stand in the file, numbers or text, or None."""
    import pyarrow as pa
    from pyarrow import csv

    types = dict.fromkeys(map(str, range(length)), pa.float32())
    if labelled:
        types[str(length)] = pa.float32() if layout.numeric[-1] else pa.string()
    try:
        with open_binary(layout.path) as file:
            table = csv.read_csv(file, **layout.options(types, nulls=()))
    except (pa.ArrowException, *BROKEN) as error:
        raise DataError(f"{layout.path}: {layout.fault(nulls=()) or error}; expected {columns}") from error
    signals = np.empty((table.num_rows, length), dtype=np.float32)
    for column in range(length):
        signals[:, column] = table[column].to_numpy()
    if not labelled:
        return signals, None
    if layout.numeric[-1]:
        return signals, table[length].to_numpy()
    return signals, [text.strip() for text in table[length].to_pylist()]


def _numbers_of(labels: Any, classes: tuple[str, ...], symbols: Mapping[str, str]) -> IntArray:
    """The number of the class of each label ``[n]``, -1 where none fits."""
    if isinstance(labels, list):
        number_of = {symbol: classes.index(name) for symbol, name in symbols.items() if name in classes}
        number_of |= {name: number for number, name in enumerate(classes)}
        return np.asarray([number_of.get(label, -1) for label in labels], dtype=np.int64)
    return np.where(np.isin(labels, np.arange(len(classes))), labels, -1).astype(np.int64)


def _rescaled(signals: FloatArray, lengths: IntArray) -> FloatArray:
    """Each beat ``[n, length]`` to [0, 1] by its minimum and maximum before its padding."""
    padding = np.arange(signals.shape[1]) >= lengths[:, None]
    low = signals.min(axis=1, keepdims=True, where=~padding, initial=np.inf)
    high = signals.max(axis=1, keepdims=True, where=~padding, initial=-np.inf)
    scaled: FloatArray = (signals - low) / np.where(high > low, high - low, 1)
    scaled[padding] = 0
    return scaled


def _look_of(signals: FloatArray) -> str:
    """What values outside [0, 1] seem to be."""
    some = signals[:1000].astype(np.float64)
    if (some == np.round(some)).all():
        return "integers of a converter"
    if np.abs(some.mean(axis=1)).max() < 0.1 and np.abs(some.std(axis=1) - 1).max() < 0.1:
        return "z-scores"
    return "millivolts" if np.abs(some).max() < LARGEST else "microvolts, or another unit"
