"""What is in the data folder and what is wrong with it: every record and file is read as training reads it.

The published counts: Moody & Mark 2001 in AAMI classes; Bousseljot 1995; Fazeli's files on Kaggle.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.databases.base import fetch_command
from ecg_lightning.data.databases.kaggle import FILES, read_csv
from ecg_lightning.data.labels import AAMI_CLASSES, CLASSES
from ecg_lightning.data.readers.wfdb import diagnosis_of, files_of, read_annotations, read_leads

T = TypeVar("T")

MITDB_RECORDS = 48
MITDB_BEATS = dict(zip(AAMI_CLASSES, (90_631, 2_781, 7_236, 803, 8_043), strict=True))

PTBDB_RECORDS = {"Healthy control": 80, "Myocardial infarction": 368}
PTBDB_PATIENTS = {"Healthy control": 52, "Myocardial infarction": 148}
PTBDB_OTHER_RECORDS = 549 - 80 - 368

HEARTBEAT_BEATS = {
    "mitbih_train.csv": dict(zip(AAMI_CLASSES, (72_471, 2_223, 5_788, 641, 6_431), strict=True)),
    "mitbih_test.csv": dict(zip(AAMI_CLASSES, (18_118, 556, 1_448, 162, 1_608), strict=True)),
    "ptbdb_normal.csv": {"normal": 4_046},
    "ptbdb_abnormal.csv": {"MI": 10_506},
}


@dataclass(frozen=True)
class Count:
    """How many there are of something, and how many the publisher has."""

    what: str
    found: int
    published: int


@dataclass(kw_only=True)
class DatasetCheck:
    """One dataset under the data folder, by the name and title of its publisher."""

    name: str
    title: str
    folder: Path
    present: bool = False  # anything of it
    counts: list[Count] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # each with its file
    notes: list[str] = field(default_factory=list)  # worth knowing, but right
    damaged: list[str] = field(default_factory=list)  # records with a problem

    @property
    def fetch_command(self) -> str:
        """What gets or repairs this dataset; of a part of a database only the damaged records."""
        command = fetch_command(self.name, self.folder.parent)
        is_part = self.counts and self.counts[0].found < self.counts[0].published
        return f"{command} --records {','.join(self.damaged)}" if self.damaged and is_part else command

    @property
    def complete(self) -> bool:
        """Whether all counts are the published ones."""
        return all(count.found == count.published for count in self.counts)


def check(data_dir: Path) -> list[DatasetCheck]:
    """Check all datasets that may be in a data folder."""
    return [check_mitdb(data_dir / "mitdb"), check_ptbdb(data_dir / "ptbdb"), check_heartbeat(data_dir / "heartbeat")]


def check_mitdb(folder: Path) -> DatasetCheck:
    """Read the records of the MIT-BIH Arrhythmia Database and count their annotated beats."""

    def labels_of(record: Path) -> list[int]:
        return list(read_annotations(record, n_samples=_n_samples(record, "atr"))[1])

    result = DatasetCheck(name="mitdb", title="MIT-BIH Arrhythmia Database", folder=folder)
    records = _listed_records(result)
    beats = Counter(AAMI_CLASSES[label] for labels in _each(result, records, labels_of) for label in labels)
    result.counts = [Count("records", len(records), MITDB_RECORDS)]
    result.counts += [Count(f"{name} beats", beats[name], published) for name, published in MITDB_BEATS.items()]
    result.counts.append(Count("beats", beats.total(), sum(MITDB_BEATS.values())))
    _compare_counts(result)
    return result


def check_ptbdb(folder: Path) -> DatasetCheck:
    """Read the records of the PTB Diagnostic ECG Database and count them by diagnosis."""

    def diagnosis(record: Path) -> tuple[str, str]:
        _n_samples(record)
        return diagnosis_of(record), record.parent.name

    result = DatasetCheck(name="ptbdb", title="PTB Diagnostic ECG Database", folder=folder)
    records = _listed_records(result)
    found = list(_each(result, records, diagnosis))
    result.counts = [Count("records", len(records), sum(PTBDB_RECORDS.values()) + PTBDB_OTHER_RECORDS)]
    for name, n_records in PTBDB_RECORDS.items():
        patients = [patient for diagnosis, patient in found if diagnosis == name]
        result.counts.append(Count(f"records, {name}", len(patients), n_records))
        result.counts.append(Count(f"patients, {name}", len(set(patients)), PTBDB_PATIENTS[name]))
    n_other = sum(diagnosis not in PTBDB_RECORDS for diagnosis, _ in found)
    result.counts.append(Count("records, other diagnoses (not used)", n_other, PTBDB_OTHER_RECORDS))
    _compare_counts(result)
    return result


def check_heartbeat(folder: Path) -> DatasetCheck:
    """Read the Kaggle files and count their rows by class."""
    result = DatasetCheck(name="heartbeat", title="Kaggle shayanfazeli/heartbeat", folder=folder)
    for dataset, names in FILES.items():
        missing = [name for name in names if not (folder / name).is_file()]
        if len(missing) == len(names):
            result.notes.append(f"the files of {dataset} are not there: {', '.join(names)}")
            continue
        result.present = True
        result.problems += [f"{folder / name} is not there; the other file of its pair is" for name in missing]
        classes = CLASSES[dataset]
        for name in [name for name in names if name not in missing]:
            try:
                rows = np.bincount(read_csv(folder / name, n_classes=len(classes))[1], minlength=len(classes))
            except DataError as error:
                result.problems.append(str(error))
                continue
            for one, n in zip(classes, rows.tolist(), strict=True):
                published = HEARTBEAT_BEATS[name].get(one, 0)
                if published:
                    result.counts.append(Count(f"{name}, {one}", n, published))
                if n != published:
                    result.problems.append(f"{folder / name} has {n:,} rows of {one}, published are {published:,}")
    return result


def as_plain(checks: list[DatasetCheck]) -> dict[str, Any]:
    """The checks as plain values, for JSON."""
    return {
        "ok": any(one.present for one in checks) and not any(one.problems for one in checks),
        "datasets": {
            one.name: {
                **{key: getattr(one, key) for key in ("title", "present", "problems", "notes", "fetch_command")},
                "folder": str(one.folder),
                "counts": {count.what: {"found": count.found, "published": count.published} for count in one.counts},
            }
            for one in checks
        },
    }


def _listed_records(result: DatasetCheck) -> list[str]:
    """Names of the records that ``RECORDS`` lists, or else of every header."""
    folder = result.folder
    headers = {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.hea")}
    listing = folder / "RECORDS"
    result.present = bool(headers) or listing.is_file()
    if unfinished := sorted(folder.rglob("*.partial")):
        result.notes.append(f"unfinished downloads: {_some([path.name for path in unfinished])}")
    if not listing.is_file():
        if headers:
            result.notes.append(f"{listing} is not there: whether records are missing is not known")
        return sorted(headers)
    listed = listing.read_text(encoding="utf-8", errors="replace").split()
    if not listed:
        result.problems.append(f"{listing} is empty; it should name the records")
    if unlisted := sorted(headers - set(listed)):
        result.notes.append(f"there but not in RECORDS, and not used: {_some(unlisted)}")
    return listed


def _each(result: DatasetCheck, records: list[str], read: Callable[[Path], T]) -> Iterator[T]:
    """What `read` gives of each record that it can read; the others are problems."""
    for record in records:
        try:
            yield read(result.folder / record)
        except DataError as error:
            result.problems.append(str(error))
            result.damaged.append(record)


def _n_samples(record: Path, annotator: str | None = None) -> int:
    """Read all signals of a record, once all of its files are there."""
    files_of(record, annotator)
    return len(read_leads(record, leads=None, recorded_fs=None)[0].T)


def _compare_counts(result: DatasetCheck) -> None:
    """A problem for each count that is not the published one, where all records are there and right."""
    n_records = result.counts[0]
    if n_records.found == n_records.published and not result.problems:
        there = f"all {n_records.found} records are there, but"
        wrong = [count for count in result.counts if count.found != count.published]
        result.problems += [f"{there} {one.found:,} {one.what}: published are {one.published:,}" for one in wrong]


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
