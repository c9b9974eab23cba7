"""The file of a run's predictions, ``predictions.parquet``, from which its scores can be recomputed."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from ecg_lightning.core.atomic import atomic_write, sha256_of
from ecg_lightning.core.errors import DataError
from ecg_lightning.core.reading import read_whole
from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.names import Names, TextArray
from ecg_lightning.metrics.bootstrap import RESAMPLES, intervals
from ecg_lightning.metrics.confusion import Probabilities
from ecg_lightning.metrics.scoring import check, score
from ecg_lightning.runs.schema import RunRecord, first_fault

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

PREDICTIONS = "predictions.parquet"
RECORD = "scores.json"
METRICS = "metrics.csv"
LARGEST = 2**30  # bytes of a file that is still read
MOST_BEATS = 10**7
SLACK = 1e-3  # of probabilities, which may be in half precision


class PredictionsInfo(BaseModel):
    """Metadata of a file of predictions, with which it can be scored alone."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    format: Literal["ecg_lightning.predictions/1"] = "ecg_lightning.predictions/1"
    classes: tuple[str, ...]  # in the order of the labels
    positive: str | None  # of a binary task
    about: dict[str, str | int | float | bool | None] = {}  # the run that predicted, see its record for more


def write_predictions(
    path: Path,
    beats: Beats,
    probabilities: Probabilities,
    *,
    positive: str | None = None,
    about: Mapping[str, Any] | None = None,
) -> str:
    """Write the prediction of each beat as Parquet, with all that is needed to score it again.

    Columns: ``record``, ``patient``, ``sample`` (index of the R peak at the record's own rate), ``quality`` (each
    of the four only where it is known), ``true``, ``predicted`` (names of classes), ``probability_<class>`` for each.

    Returns the SHA-256 of the file. `probabilities` are ``[n, classes]``, in the order of `beats`, and keep their
    precision; `positive` is as in `score`; `about` describes the run in plain values. DataError as `score`, or if the
    file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check(beats.known_labels, probabilities, beats.classes, positive=None)

    def text(words: Sequence[str], codes: IntArray | npt.NDArray[np.int32]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(codes, pa.array(words, pa.string())).dictionary_decode()

    origin = {"record": beats.records, "patient": beats.patients, "sample": beats.samples, "quality": beats.quality}
    columns: dict[str, Any] = {
        name: text(column.words.tolist(), column.codes) if isinstance(column, Names) else column
        for name, column in origin.items()
        if column is not None
    }
    predicted = probabilities.argmax(axis=1)
    columns |= {"true": text(beats.classes, beats.known_labels), "predicted": text(beats.classes, predicted)}
    columns |= {
        f"probability_{name}": np.ascontiguousarray(probabilities[:, i]) for i, name in enumerate(beats.classes)
    }
    table = pa.table(columns)
    info = PredictionsInfo(classes=beats.classes, positive=positive, about=dict(about or {}))
    table = table.replace_schema_metadata({b"predictions": info.model_dump_json()})
    with atomic_write(path) as partial:
        with partial.open("wb") as file:  # pyarrow opens no path that is not UTF-8
            pq.write_table(table, file, write_page_checksum=True)  # for a file without its record
        return sha256_of(partial)


def content_of(path: Path, record: RunRecord | None) -> bytes:
    """A file of predictions as it is; DataError if it cannot be read, or is not what `record` was computed from."""
    content = read_whole(path, LARGEST)
    if record is not None and record.predictions_sha256 not in (None, hashlib.sha256(content).hexdigest()):
        what = f"and {RECORD} in its folder are not of the same run, or one of them is damaged (by their SHA-256)"
        raise DataError(f"{path} {what}; restore it, or run again")
    return content


def read_predictions(path: Path) -> tuple["pd.DataFrame", PredictionsInfo]:
    """What `write_predictions` wrote; DataError if it is absent, damaged, or not what the record was made from."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = path.with_name(RECORD)
    of_run = path.name == PREDICTIONS and os.path.lexists(record)  # a pipe or a broken link is a damaged record
    content = content_of(path, RunRecord.read(record) if of_run else None)
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        if file.metadata.num_rows > MOST_BEATS:
            raise DataError(f"{path} has {file.metadata.num_rows:,} beats, expected at most {MOST_BEATS:,}")
        table = file.read()
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}") from error
    if (written := (table.schema.metadata or {}).get(b"predictions")) is None:
        raise DataError(f"{path} holds no predictions: give the {PREDICTIONS} of a run of this version")
    try:
        info = PredictionsInfo.model_validate_json(written)
    except ValidationError as error:
        raise DataError(f"{path} holds no predictions of this version: {first_fault(error)}") from error
    if fault := _fault(table.schema, frame, info):
        raise DataError(f"{path} {fault}: it holds no predictions of a run")
    return frame, info


def _fault(schema: "pa.Schema", table: "pd.DataFrame", info: PredictionsInfo) -> str | None:
    """What of the table is not as `write_predictions` writes it."""
    from pyarrow import types

    probabilities = [f"probability_{name}" for name in info.classes]
    lacking = {"true", "predicted", *probabilities} - set(schema.names)
    if lacking or len(set(info.classes)) < max(2, len(info.classes)):
        return f"lacks {', '.join(sorted(lacking)) or 'classes'}"
    kinds: dict[str, Callable[[Any], bool]] = dict.fromkeys(("quality", *probabilities), types.is_floating)
    kinds |= dict.fromkeys(("true", "predicted", "record", "patient"), _is_text) | {"sample": types.is_integer}
    for name in schema.names:
        if name in kinds and (schema.names.count(name) > 1 or not kinds[name](schema.field(name).type)):
            return f"has a column {name} twice or of another type"
        if name in kinds and name != "quality" and table[name].isna().any():
            return f"has rows without {name}"
    if table.empty:
        return "has no beats"
    if unknown := set(table["true"]) - {*info.classes}:
        return f"has beats of class {min(unknown)!r}, its classes are {', '.join(info.classes)}"
    values = table[probabilities].to_numpy()
    if (np.abs(values - 0.5) > 0.5 + SLACK).any() or (np.abs(values.sum(axis=1) - 1) > SLACK).any():
        return "has probabilities that are not between 0 and 1 with a sum of 1"
    if (np.array(info.classes, dtype=object)[values.argmax(axis=1)] != table["predicted"]).any():
        return "has beats whose predicted class is not the most probable one"
    return None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_dictionary(kind))


def score_predictions(path: Path, *others: Path, resamples: int = RESAMPLES) -> dict[str, Any]:
    """Recompute `score_beats` from the predictions of a run, or of all folds of a cross-validation together.

    Equal to ``test`` of the run's ``scores.json`` to the digit. `resamples` of 0 leaves the intervals out. DataError
    as `read_pooled` and `score`.
    """
    joined, info = read_pooled(path, *others)
    labels, probabilities = labels_and_probabilities(joined, info.classes)
    known = "quality" in joined and not joined["quality"].isna().any()  # of all folds
    quality = joined["quality"].to_numpy() if known else None
    records = column(joined, "record")
    scores = score(labels, probabilities, info.classes, info.positive, records=records, quality=quality)
    if resamples:
        patients = column(joined, "patient")
        scores["intervals"] = intervals(
            labels, probabilities, info.classes, patients, records=records, resamples=resamples
        )
    return scores


def read_pooled(path: Path, *others: Path) -> tuple["pd.DataFrame", PredictionsInfo]:
    """The predictions of a run, or of all folds of a cross-validation, as one, with their common metadata.

    DataError as `read_predictions`, or for files of different classes or with a beat in common.
    """
    import pandas as pd

    files = {file: read_predictions(file) for file in (path, *others)}
    info = files[path][1]
    for file, (_, other) in files.items():
        if (other.classes, other.positive) != (info.classes, info.positive):
            raise DataError(f"{file} and {path} have different classes: they cannot be scored together")
    joined = pd.concat([table for table, _ in files.values()], ignore_index=True)
    place = ["record", "sample"]
    if others and set(place) <= set(joined):
        # A beat is more than once in one file where its leads are separate.
        places = pd.concat([table[place].drop_duplicates() for table, _ in files.values()], ignore_index=True)
        if len(twice := places[places.duplicated()]):
            beat = f"sample {twice['sample'].iloc[0]} of record {twice['record'].iloc[0]}"
            raise DataError(f"{len(twice)} beats are in two of the {len(files)} files with {path}, such as {beat}")
    common = set.intersection(*(set(other.about.items()) for _, other in files.values()))
    return joined, info.model_copy(update={"about": dict(common)})


def labels_and_probabilities(table: "pd.DataFrame", classes: tuple[str, ...]) -> tuple[IntArray, Probabilities]:
    """``[n]`` and ``[n, classes]`` of a table of predictions."""
    import pandas as pd

    labels = pd.Index(classes).get_indexer(pd.Index(table["true"])).astype(np.int64)
    probabilities: Probabilities = table[[f"probability_{name}" for name in classes]].to_numpy()
    return labels, probabilities


def column(table: "pd.DataFrame", name: str) -> TextArray | None:
    """``record`` or ``patient`` of each beat of a table of predictions, or None where it is not stated."""
    return table[name].to_numpy(dtype=np.str_) if name in table else None
