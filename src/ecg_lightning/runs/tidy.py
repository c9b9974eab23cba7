"""The collected tables as one data frame: a line for each metric of each row."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecg_lightning.metrics.catalogue import CLASS_METRICS, PARTS
from ecg_lightning.runs.collect import Collection, Row, RunsTable, Tested, collect, errata, protocol_of
from ecg_lightning.runs.published import PUBLISHED_CAVEAT
from ecg_lightning.runs.schema import RunRecord, Scores

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED_CLASSES = {"arrhythmia": "AAMI EC57 with e and j in N", "mi": "MI by reason for admission"}

COLUMNS = (
    *("task", "dataset", "trained_on", "synthetic", "split", "protocol", "class_map", "left_out", "tested"),
    *("context", "fingerprint", "network", "resampling", "transfer", "settings", "augmentation", "loss", "status"),
    *("class", "metric", "value", "sd", "low", "high", "n_seeds", "published", "published_note"),
    *("seeds", "folds", "epochs", "steps", "runs"),
)


def published_table(*paths: Path | str, only_run: bool = False) -> "pd.DataFrame":
    """Runs and sweeps with the published metrics, tidy: a line for each metric of each row.

    Arguments and errors are those of `collect`. Returns a `pandas.DataFrame` with the columns `COLUMNS`. Only lines
    with equal ``task`` to ``tested`` compare; ``left_out`` is the number of beats that the protocol does not use.
    ``settings`` distinguishes the row from others; ``status`` is ``run``, ``not run``, or ``published elsewhere`` by
    the authors in ``network``. ``value``, a fraction, is the mean over the seeds, ``sd`` its standard deviation,
    ``low`` and ``high`` the 95 % interval over patients of a single seed. ``runs`` are folders.
    """
    return frame(collect(*paths, only_run=only_run))


def frame(collection: Collection) -> "pd.DataFrame":
    """The data frame of `published_table`."""
    import pandas as pd

    lines = [line for table in collection.tables for line in _lines(table)]
    lines += [line for table in collection.elsewhere for one in table for line in _lines_elsewhere(one)]
    # A folder may have bytes that are no text; pandas has none for them.
    lines = [{key: _text(value) if isinstance(value, str) else value for key, value in line.items()} for line in lines]
    types = dict.fromkeys(("value", "sd", "low", "high", "published"), "float64")
    tidy: pd.DataFrame = pd.DataFrame(lines, columns=list(COLUMNS))
    return tidy.astype(types | {"n_seeds": "Int64", "left_out": "Int64"})


def _text(value: str) -> str:
    return value.encode(errors="replace").decode()


def _lines(table: RunsTable) -> Iterator[dict[str, Any]]:
    about: dict[str, Any] = {"task": table.task, "class_map": PUBLISHED_CLASSES.get(table.task)}
    if table.record is not None:
        about |= _about(table.record)
    for block in table.blocks:
        names = about | {key: getattr(block, key) for key in ("network", "context", "resampling", "transfer")}
        note = " ".join([PUBLISHED_CAVEAT, *errata([block])])
        published = _flat(block.published or {})
        theirs = {key: {"published": value, "published_note": note} for key, value in published.items()}
        for row in block.rows:
            origin = _origin(row)
            for value in _values(row):
                yield names | origin | value | theirs.get((value["class"], value["metric"]), {})
        for key, of_key in theirs.items() if not block.rows else ():
            yield names | {"status": "not run", "class": key[0], "metric": key[1]} | of_key
    for one in table.elsewhere:
        names = about | {"network": one.who, "status": "published elsewhere", "published_note": one.note or None}
        for (name, metric), value in _flat(one.metrics).items():
            yield names | {"class": name, "metric": metric, "published": value}


def _about(record: RunRecord) -> dict[str, Any]:
    return {
        **{key: getattr(record, key) for key in ("task", "dataset", "synthetic", "class_map")},
        "split": record.protocol.name, "protocol": protocol_of(record), "left_out": record.n_left_out,
        "tested": record.fold,
    }  # fmt: skip


def _lines_elsewhere(one: Tested) -> Iterator[dict[str, Any]]:
    """Of the tests on other databases; that of a run itself is in the table of its own."""
    names = {key: getattr(one, key) for key in ("trained_on", "context", "network")}
    for name, row in one.tests.items():
        if name == one.trained_on:
            continue
        record = row.results[0].record
        about = _about(record) | {"resampling": record.resampling, "transfer": record.transfer} | names | _origin(row)
        for value in _values(row):
            yield about | value | {"status": "tested elsewhere"}


def _values(row: Row) -> Iterator[dict[str, Any]]:
    """Each metric with its deviation over seeds or the ends of its interval."""
    sds, intervals = _flat(row.sd), _flat(row.intervals)
    for key, value in _flat(row.mean).items():
        ends = dict(zip(("low", "high"), intervals.get(key) or (), strict=False))
        yield {"class": key[0], "metric": key[1], "value": value, "sd": sds.get(key), **ends}


def _origin(row: Row) -> dict[str, Any]:
    folds = sorted({fold for result in row.results for fold in result.folds})
    return {
        "status": "run",
        "settings": row.settings or None,
        **{key: row.about(key) for key in ("fingerprint", "augmentation")},
        **{key: row.about(key) or None for key in ("loss", "epochs", "steps")},
        "n_seeds": len(row.results),
        "seeds": ", ".join(row.seeds),
        "folds": f"{', '.join(map(str, folds))} of {row.results[0].n_folds}" if folds else None,
        "runs": "; ".join(str(run.folder) for run in row.runs),
    }


def _flat(scores: Scores) -> dict[tuple[str, str], Any]:
    """(``overall`` or class, metric) → its value, without the metrics of MI that `score` repeats at the top level.

    Those of EC57 are named ``ec57_sensitivity``, ``ec57_without_232_sensitivity`` and so on, of V and S, those by
    recording ``recordings_auroc`` and so on; those of `PARTS` begin with its name.
    """
    ec57 = scores.get("ec57", {})
    parts = {"": scores.get("per_class", {}), "ec57_": ec57, "ec57_without_232_": ec57.get("without_232", {})}
    nested = ("erratum", "per_class", "ec57", "recordings", *CLASS_METRICS, *PARTS)
    more = ((part, _flat(scores[part])) for part in PARTS if part in scores)
    return (
        {("overall", metric): value for metric, value in scores.items() if metric not in nested}
        | {("overall", f"recordings_{metric}"): value for metric, value in scores.get("recordings", {}).items()}
        | {
            (name, prefix + metric): value
            for prefix, by_class in parts.items()
            for name, of_class in by_class.items()
            if name != "without_232"
            for metric, value in of_class.items()
        }
        | {(name, f"{part}_{metric}"): value for part, flat in more for (name, metric), value in flat.items()}
    )
