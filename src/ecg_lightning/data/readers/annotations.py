"""Annotations in a file beside a recording, for formats that hold none themselves."""

import re
from pathlib import Path

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import IntArray
from ecg_lightning.data.readers.base import Signal, is_present
from ecg_lightning.data.recording import Annotations

FAR = 2**53  # samples; differences of more are no whole numbers any longer
TABLES = (".csv", ".tsv", ".txt")
OTHERS = {".hea", ".dat", ".edf", ".json", ".html", ".parquet", ".png"}  # suffixes of files that are not read here
SAMPLE = re.compile(r"sample([ _]?(#|number|index))?|index", re.IGNORECASE)
TIME = re.compile(r"(onset|time|t|seconds)(?P<ms>[ _]*[(\[]?ms[)\]]?)?([ _]*[(\[]?s[)\]]?)?", re.IGNORECASE)
SYMBOL = re.compile(r"symbol|type|label|annotation|beat|class", re.IGNORECASE)


def annotations_beside(path: Path, annotator: str, fs: float) -> tuple[Annotations, float]:
    """The annotations of a recording in the file whose name is the recording's with `annotator` for its suffix.

    ``_beats.csv`` of ``r1.csv`` is ``r1_beats.csv``: a table with columns ``sample`` or ``time`` (seconds), and
    ``symbol``. Any other suffix is of a WFDB annotation file, ``.atr`` or ``atr``.

    Returns:
        The annotations, and the rate in Hz of the clock of their samples: `fs`, unless the file states another.
    """
    file = path.parent / f"{path.stem}{'.' * annotator.isalnum()}{annotator}"
    if not is_present(file):
        raise DataError(f"{file} is not there: record {path.stem} has no annotations by {annotator}")
    annotations, clock = read_annotations(file, fs)
    return annotations, clock or fs


def read_annotations(file: Path, fs: float) -> tuple[Annotations, float | None]:
    """The annotations of a table or of a WFDB annotation file, of a recording sampled at `fs` Hz.

    Returns:
        The annotations, and the rate in Hz of the clock of their samples; None where it is stated nowhere.

    DataError for a damaged file, or one of another format.
    """
    if file.suffix.lower() in OTHERS:
        raise DataError(f"{file}: annotations are not read from {file.suffix}; expected a WFDB or CSV file")
    if file.suffix.lower() not in TABLES:
        from ecg_lightning.data.readers.wfdb import read_annotation_file

        return read_annotation_file(file)
    return _read_table(file, fs), fs


def _read_table(file: Path, fs: float) -> Annotations:
    from ecg_lightning.data.readers.delimited import look_at

    layout = look_at(file)
    header = layout.header or ()
    at, timer, symbol = (
        next((column for column, name in enumerate(header) if pattern.fullmatch(name)), None)
        for pattern in (SAMPLE, TIME, SYMBOL)
    )
    column = timer if at is None else at
    if column is None or symbol is None:
        raise DataError(
            f"{file} has the columns {', '.join(header) or 'of no names'}; expected sample or time, and symbol"
        )
    hit = TIME.fullmatch(header[column]) if at is None else None
    rate = 1.0 if hit is None else fs / 1000 if hit["ms"] else fs
    rows = [*layout.rows()][len(layout.preamble) :]
    try:
        samples = np.asarray([float(row[column].replace(layout.decimal, ".")) * rate for row in rows])
        symbols = [row[symbol] for row in rows]
    except (ValueError, IndexError) as error:
        raise DataError(f"{file} {layout.fault() or f'has a row without sample or symbol: {error}'}") from error
    if not np.isfinite(samples).all():
        raise DataError(f"{file} has a row without a number in column {header[column]}")
    return from_text(samples, symbols)


def check_beats(samples: IntArray, where: str, n_samples: int | None, *, late: float = 0) -> None:
    """DataError for beats ``[b]`` out of order, before the beginning or `late` samples after the end of `n_samples`."""
    if len(samples) and (samples[0] < 0 or (np.diff(samples) < 0).any()):
        raise DataError(f"{where} have beats out of order: the file is damaged")
    if len(samples) and n_samples is not None and samples[-1] > n_samples + late:
        raise DataError(
            f"{where} have a beat at sample {samples[-1]:,} of a record of {n_samples:,} samples; expected annotations "
            "of this recording"
        )


def from_text(samples: Signal, texts: list[str]) -> Annotations:
    """Annotations at rounded `samples`, whose symbols are texts; a rhythm ``(AFIB`` becomes the note of a ``+``."""
    rhythms = [text.startswith("(") and len(text) > 1 for text in texts]
    return Annotations(
        samples=np.round(samples).clip(-FAR, FAR).astype(np.int64),
        symbols=["+" if rhythm else text for rhythm, text in zip(rhythms, texts, strict=True)],
        notes=[text if rhythm else "" for rhythm, text in zip(rhythms, texts, strict=True)],
    )
