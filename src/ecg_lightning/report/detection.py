"""The table of a test of a detector of R peaks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.report.cells import NONE, Column, Number, Row, Section, Table

COLUMNS = {  # heading and digits; milliseconds have one
    "beats": ("beats", None),
    "missed": ("missed", None),
    "extra": ("extra", None),
    "se": ("Se", 4),
    "ppv": ("+P", 4),
    "median_ms": ("median ms", 1),
    "p95_ms": ("95 % ms", 1),
    "v_p95_ms": ("V 95 % ms", 1),
}


def detection_section(answer: Mapping[str, Any]) -> Section:
    """Of the plain values of each `ecg_lightning.pipeline.detector.Detection`, the gross one last."""
    columns = [Column("record", text=True), *(Column(heading) for heading, _ in COLUMNS.values())]
    rows = []
    for one in answer["records"]:
        cells = [NONE if one[key] is None else Number(one[key], digits) for key, (_, digits) in COLUMNS.items()]
        rows.append(Row([one["record"], *cells], mark="total" if one is answer["records"][-1] else ""))
    return Section(tables=[Table(columns=columns, rows=rows)])


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A row for each record; DataError if the file system refuses."""
    import pandas as pd

    with atomic_write(path) as partial:
        pd.DataFrame(rows).to_csv(partial, index=False, float_format="%.6g")
