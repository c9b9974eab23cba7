"""What is there under the data folder, and what is wrong with it, told from cheap reads.

Of PhysioNet records the headers, annotations and file sizes are read, of Kaggle files the label column; no signal is.
The published counts: Moody & Mark 2001 in the AAMI classes of `aami`; Bousseljot 1995; Fazeli's files on Kaggle.
"""

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.databases.kaggle import FILES, LENGTH
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.data.readers.wfdb import diagnosis_of, read_annotations

MITDB_RECORDS = 48
MITDB_BEATS: Mapping[str, int] = MappingProxyType({"N": 90_631, "S": 2_781, "V": 7_236, "F": 803, "Q": 8_043})

PTBDB_RECORDS: Mapping[str, int] = MappingProxyType({"Healthy control": 80, "Myocardial infarction": 368})
PTBDB_PATIENTS: Mapping[str, int] = MappingProxyType({"Healthy control": 52, "Myocardial infarction": 148})
PTBDB_OTHER_RECORDS = 549 - 80 - 368

HEARTBEAT_BEATS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "mitbih_train.csv": dict(zip(AAMI_CLASSES, (72_471, 2_223, 5_788, 641, 6_431), strict=True)),
        "mitbih_test.csv": dict(zip(AAMI_CLASSES, (18_118, 556, 1_448, 162, 1_608), strict=True)),
        "ptbdb_normal.csv": {PTB_CLASSES[0]: 4_046},
        "ptbdb_abnormal.csv": {PTB_CLASSES[1]: 10_506},
    }
)

BITS_PER_VALUE = MappingProxyType({"16": 16, "212": 12})
"""WFDB signal formats of the two databases: PTB has 16, MIT-BIH 212."""


@dataclass(frozen=True)
class Count:
    """How many there are of something, and how many the publisher has."""

    what: str
    found: int
    published: int


@dataclass(kw_only=True)
class DatasetCheck:
    """One dataset under the data folder.

    Attributes:
        name: its folder's name, by which ``ecg-lightning data fetch`` knows it.
        title: its publisher's name for it.
        folder: where it is or would be.
        present: whether anything of it is there.
        counts: what is there, beside what is published.
        problems: what is damaged or does not fit together, each with its file.
        notes: what is worth knowing but right.
        damaged: records with a problem.
    """

    name: str
    title: str
    folder: Path
    present: bool = False
    counts: list[Count] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def fetch_command(self) -> str:
        """What gets this dataset, or mends it; of a part of a database only the damaged records."""
        command = f"ecg-lightning data fetch {self.name} --data-dir {shlex.quote(str(self.folder.parent))}"
        is_part = self.counts and self.counts[0].found < self.counts[0].published
        return f"{command} --records {','.join(self.damaged)}" if self.damaged and is_part else command

    def found_damaged(self, record: str, problem: str) -> None:
        """Note a problem of one record."""
        self.problems.append(problem)
        if record not in self.damaged:
            self.damaged.append(record)


def check(data_dir: Path) -> list[DatasetCheck]:
    """Check all datasets that may be in a data folder."""
    return [check_mitdb(data_dir / "mitdb"), check_ptbdb(data_dir / "ptbdb"), check_heartbeat(data_dir / "heartbeat")]


def check_mitdb(folder: Path) -> DatasetCheck:
    """Check the records of the MIT-BIH Arrhythmia Database and count their annotated beats."""
    result = DatasetCheck(name="mitdb", title="MIT-BIH Arrhythmia Database", folder=folder)
    records = _listed_records(result)
    beats: Counter[str] = Counter()
    for record in records:
        header = _check_signals(result, record)
        if header is not None:
            beats.update(_check_annotations(result, record, n_samples=header.sig_len))
    result.counts = [Count("records", len(records), MITDB_RECORDS)]
    result.counts += [Count(f"{name} beats", beats[name], MITDB_BEATS[name]) for name in AAMI_CLASSES]
    result.counts.append(Count("beats", beats.total(), sum(MITDB_BEATS.values())))
    if len(records) == MITDB_RECORDS and not result.problems and beats != MITDB_BEATS:
        found = ", ".join(f"{name} {beats[name]:,} (published {MITDB_BEATS[name]:,})" for name in AAMI_CLASSES)
        result.problems.append(
            f"all {MITDB_RECORDS} records are there, but not with the published annotations: {found}"
        )
    return result


def check_ptbdb(folder: Path) -> DatasetCheck:
    """Check the records of the PTB Diagnostic ECG Database and count them by diagnosis."""
    result = DatasetCheck(name="ptbdb", title="PTB Diagnostic ECG Database", folder=folder)
    records = _listed_records(result)
    patients: dict[str, list[str]] = {name: [] for name in PTBDB_RECORDS}
    n_other = 0
    for record in records:
        if _check_signals(result, record) is None:
            continue
        try:
            diagnosis = diagnosis_of(folder / record)
        except DataError as error:
            result.found_damaged(record, str(error))
            continue
        if diagnosis in patients:
            patients[diagnosis].append((folder / record).parent.name)
        else:
            n_other += 1
    n_published = sum(PTBDB_RECORDS.values()) + PTBDB_OTHER_RECORDS
    result.counts = [Count("records", len(records), n_published)]
    for name in PTBDB_RECORDS:
        result.counts.append(Count(f"records, {name}", len(patients[name]), PTBDB_RECORDS[name]))
        result.counts.append(Count(f"patients, {name}", len(set(patients[name])), PTBDB_PATIENTS[name]))
    result.counts.append(Count("records, other diagnoses (not used)", n_other, PTBDB_OTHER_RECORDS))
    if len(records) == n_published and not result.problems:
        result.problems += [
            f"all {n_published} records are there, but {count.found} {count.what} where {count.published} are published"
            for count in result.counts
            if count.found != count.published
        ]
    return result


def check_heartbeat(folder: Path) -> DatasetCheck:
    """Check the Kaggle files and count their rows by class."""
    result = DatasetCheck(name="heartbeat", title="Kaggle shayanfazeli/heartbeat", folder=folder)
    for dataset, names in FILES.items():
        missing = [name for name in names if not (folder / name).is_file()]
        if len(missing) == len(names):
            result.notes.append(f"the files of {dataset} are not there: {', '.join(names)}")
            continue
        result.present = True
        result.problems += [f"{folder / name} is not there; the other file of its pair is" for name in missing]
        for name in names:
            if name not in missing:
                _check_csv(result, folder / name)
    return result


def as_plain(checks: list[DatasetCheck]) -> dict[str, Any]:
    """The checks as plain values, for JSON."""
    return {
        "ok": any(one.present for one in checks) and not any(one.problems for one in checks),
        "datasets": {
            one.name: {
                "title": one.title,
                "folder": str(one.folder),
                "present": one.present,
                "counts": {count.what: {"found": count.found, "published": count.published} for count in one.counts},
                "problems": one.problems,
                "notes": one.notes,
                "fetch_command": one.fetch_command,
            }
            for one in checks
        },
    }


def print_checks(checks: list[DatasetCheck], *, most_problems: int = 10) -> None:
    """Print a table for each dataset that is there, its problems, and the command for each that is not."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False)

    def line(text: str, style: str = "") -> None:
        # Paths and commands are to be copied: they are never broken.
        console.print(Text(text, style), soft_wrap=True)

    for one in checks:
        line(f"{one.title} in {one.folder}", "bold")
        if not one.present:
            line("  is not there; get it with:")
            line(f"    {one.fetch_command}", "cyan")
            line("")
            continue
        table = Table(box=box.SIMPLE_HEAD, header_style="dim")
        table.add_column()
        table.add_column("here", justify="right")
        table.add_column("published", justify="right")
        for count in one.counts:
            style = "green" if count.found == count.published else "yellow"
            table.add_row(count.what, Text(f"{count.found:,}", style), f"{count.published:,}")
        console.print(table)
        for note in one.notes:
            line(f"  note: {note}")
        for problem in one.problems[:most_problems]:
            line(f"  wrong: {problem}", "red")
        if len(one.problems) > most_problems:
            line(f"  … and {len(one.problems) - most_problems} more; --json lists all", "red")
        if one.problems:
            line("  fetch again, which replaces what is damaged and keeps the rest:")
            line(f"    {one.fetch_command}", "cyan")
        elif all(count.found == count.published for count in one.counts):
            line("  complete", "green")
        else:
            line("  part of what is published; nothing wrong with it", "yellow")
        line("")


def _listed_records(result: DatasetCheck) -> list[str]:
    """Names of the records that ``RECORDS`` says are there, or else of every header."""
    folder = result.folder
    headers = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.hea")}
    listing = folder / "RECORDS"
    result.present = bool(headers) or listing.is_file()
    if unfinished := sorted(folder.rglob("*.partial")):
        result.notes.append(f"unfinished downloads: {_some([path.name for path in unfinished])}")
    if not listing.is_file():
        if headers:
            result.notes.append(f"{listing} is not there, so that nothing tells whether records are missing")
        return sorted(headers)
    listed = listing.read_text(encoding="utf-8", errors="replace").split()
    if not listed:
        result.problems.append(f"{listing} is empty; it should name the records")
    if unlisted := sorted(headers - set(listed)):
        result.notes.append(f"there but not in RECORDS, and not used: {_some(unlisted)}")
    return listed


def _check_signals(result: DatasetCheck, record: str) -> Any | None:
    """Check that the signal files are as long as the header says; the header, or None if it cannot be read."""
    import wfdb

    path = result.folder / record
    if not (header_path := path.with_name(f"{path.name}.hea")).is_file():
        result.found_damaged(record, f"{header_path} is not there, though RECORDS lists {record}")
        return None
    try:
        header = wfdb.rdheader(str(path))
        signals = list(zip(header.file_name, header.fmt, header.samps_per_frame, header.byte_offset, strict=True))
        n_frames = int(header.sig_len)
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        result.found_damaged(record, f"{header_path} is no readable header of a record with signals: {error}")
        return None

    for name in dict.fromkeys(name for name, *_ in signals):
        signal_path = path.with_name(name)
        bits = offset = 0
        for file_name, fmt, per_frame, byte_offset in signals:
            if file_name == name:
                bits += BITS_PER_VALUE.get(fmt, 0) * per_frame * n_frames
                offset = max(offset, byte_offset or 0)
        expected = offset + (bits + 7) // 8
        if not signal_path.is_file():
            result.found_damaged(record, f"{signal_path} is not there, though {header_path.name} names it")
        elif unknown := sorted({fmt for file_name, fmt, *_ in signals if fmt not in BITS_PER_VALUE}):
            result.found_damaged(record, f"{header_path} has signal format {_some(unknown)}; expected 16 or 212")
        elif (size := signal_path.stat().st_size) != expected:
            state = "cut off" if size < expected else "too long"
            result.found_damaged(
                record,
                f"{signal_path} is {state}: {size:,} bytes, but its header's {n_frames:,} samples take {expected:,}",
            )
    return header


def _check_annotations(result: DatasetCheck, record: str, *, n_samples: int) -> Counter[str]:
    """Check one ``.atr`` file; the number of beats of each AAMI class in it."""
    path = result.folder / f"{record}.atr"
    if not path.is_file():
        result.found_damaged(record, f"{path} is not there, so that record {record} has no labels")
        return Counter()
    try:
        _, labels = read_annotations(result.folder / record, n_samples=n_samples)
    except DataError as error:
        result.found_damaged(record, str(error))
        return Counter()
    return Counter(AAMI_CLASSES[label] for label in labels)


def _check_csv(result: DatasetCheck, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import compute, csv

    with path.open("rb") as file:
        first = file.readline()
    if (n_columns := first.count(b",") + 1) != LENGTH + 1:
        shape = f"{n_columns} columns" if first else "nothing"
        result.problems.append(f"{path} holds {shape}; expected {LENGTH} samples and a label a row")
        return
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=[*map(str, range(LENGTH)), "label"]),
            convert_options=csv.ConvertOptions(
                include_columns=["label"], column_types={"label": pa.float64()}, null_values=[]
            ),
        )
    except pa.ArrowInvalid as error:
        result.problems.append(f"{path} is damaged, or has a header where none is published: {str(error)[:100]}")
        return
    rows = {pair["values"]: pair["counts"] for pair in compute.value_counts(table["label"]).to_pylist()}
    published = HEARTBEAT_BEATS[path.name]
    classes = AAMI_CLASSES if len(published) > 1 else PTB_CLASSES
    found = {name: rows.pop(float(label), 0) for label, name in enumerate(classes)}
    result.counts += [Count(f"{path.name}, {name}", found[name], published[name]) for name in published]
    if rows:
        result.problems.append(f"{path} has labels {_some(sorted(map(str, rows)))}; expected 0 to {len(classes) - 1}")
    for name, n_rows in found.items():
        if n_rows != published.get(name, 0):
            result.problems.append(f"{path} has {n_rows:,} rows of {name}, published are {published.get(name, 0):,}")


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
