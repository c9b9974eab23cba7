"""Writing annotated beats: WFDB annotation files, EDF+, CSV and JSON, each completely or not at all."""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, time
from pathlib import Path
from typing import Any

import pandas as pd

from ecg_lightning.core.atomic import atomic_write, temporary_folder
from ecg_lightning.core.errors import ConfigError

ANNOTATOR = "ecgl"  # extension of WFDB annotation files, which no database on PhysioNet has
JSON_FORMAT = "ecg_lightning.annotations/1"
NO_BEAT = "no beat"  # what an EDF+ file states that has none
DIGITS = 4  # after the point, of probabilities and seconds


def write_wfdb(beats: pd.DataFrame, path: Path, *, probabilities: bool = False) -> None:
    """A WFDB annotation file; its extension is the annotator, letters only.

    It begins with a note that says which model made it. `probabilities` adds those of all classes to each beat, as
    ``N=0.98 S=0.01 …`` in ``aux``.
    """
    import wfdb

    annotator = path.suffix.removeprefix(".")
    if not annotator.isalpha():
        raise ConfigError(f"annotator {annotator!r}: expected letters, as in {ANNOTATOR}")
    about = beats.attrs["about"]
    texts = _probabilities(beats) if probabilities else [""] * len(beats)
    finder, version = about["annotator"] or about["detector"], about["versions"]["ecg_lightning"]
    made = f"ecg_lightning {version}: model {about['model']}, R peaks {finder}"
    with temporary_folder() as folder:
        wfdb.wrann(
            "beats",
            annotator,
            pd.concat([pd.Series([0]), beats["sample"]]).to_numpy(),
            symbol=['"', *beats["symbol"]],
            aux_note=["".join(char for char in made if char.isascii())[:254], *texts],
            fs=about["fs"],
            write_dir=str(folder),
        )
        content = (folder / f"beats.{annotator}").read_bytes()
    with atomic_write(path) as partial:
        partial.write_bytes(content)


def write_edf(beats: pd.DataFrame, path: Path, *, probabilities: bool = False) -> None:
    """An EDF+ file of annotations without signals, each with the class of a beat as its text."""
    from edfio import Edf, EdfAnnotation

    start, texts = time(), [*beats["class"]]
    with suppress(TypeError, ValueError):
        start = datetime.fromisoformat(beats.attrs["about"]["start"]).time()
    if probabilities:
        texts = [f"{name} {text}" for name, text in zip(texts, _probabilities(beats), strict=True)]
    marks = [EdfAnnotation(onset, None, text) for onset, text in zip(beats["time_s"].round(6), texts, strict=True)]
    if not marks:  # the format knows no file without content
        marks = [EdfAnnotation(0, None, NO_BEAT)]
    with atomic_write(path) as partial:
        Edf([], annotations=marks, starttime=start).write(partial)


def write_csv(beats: pd.DataFrame, path: Path) -> None:
    """A table with all columns, a row a beat."""
    from pyarrow import Table
    from pyarrow.csv import WriteOptions, write_csv

    with atomic_write(path) as partial:
        table = Table.from_pandas(beats.round(DIGITS), preserve_index=False).replace_schema_metadata()
        write_csv(table, partial, WriteOptions(quoting_style="needed"))


def write_json(beats: pd.DataFrame | None, path: Path, content: Mapping[str, Any]) -> None:
    """What is known about a recording, and the columns and rows of its beats if they are given."""
    text = json.dumps({"format": JSON_FORMAT, **content}, indent=1, ensure_ascii=False, allow_nan=False)
    if beats is not None:
        table = beats.to_json(orient="split", index=False, double_precision=DIGITS)
        text = f'{text[:-2]},\n "beats": {table}\n}}'
    with atomic_write(path) as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")


WRITERS: Mapping[str, Callable[..., None]] = {"wfdb": write_wfdb, "edf": write_edf, "csv": write_csv}


def _probabilities(beats: pd.DataFrame) -> list[str]:
    columns = {str(name)[2:]: beats[name] for name in beats if str(name).startswith("p_")}
    rows = zip(*columns.values(), strict=True)
    return [" ".join(f"{name}={value:.3f}" for name, value in zip(columns, row, strict=True)) for row in rows]
