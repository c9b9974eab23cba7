"""What a folder of recordings holds, for the first draft of its card: formats, leads, rates, symbols, people."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.databases.metadata import read_table, record_in
from ecg_lightning.data.databases.recordings import find_recordings
from ecg_lightning.data.readers import FORMATS, open_recording
from ecg_lightning.data.readers.base import RecordingFile

MOST = 200  # recordings that are opened; of more, every n-th
MOST_VALUES = 20  # of a comment that may be a diagnosis
LOOK_S = 10.0  # seconds of a recording that are read

PERSON = re.compile(r"(?i)\b(?:patient|subject)\b\W*(?:id|no|number)?\W*([\w-]*\d[\w-]*)")  # in a header comment
PERSON_COLUMN = re.compile(r"(?i)(patient|subject|person)([ _-]?(id|no|number|name))?")
PREFIX = re.compile(r"(.*?[^_-])[_-]")  # of a record's name


@dataclass(frozen=True, kw_only=True)
class People:
    """How people may be known: `how` is the setting ``patients`` of a card, `evidence` what speaks for it."""

    how: str | dict[str, Any] | None
    evidence: str
    table: str | None = None


@dataclass(frozen=True, kw_only=True)
class FolderContents:
    """What was found in a folder; numbers are of recordings where nothing else is said."""

    folder: Path
    reader: str
    records: Sequence[str]  # names of all, as ``RECORDS`` would list them
    opened: int
    leads: Mapping[tuple[str, ...], int]  # names of all leads of a recording → number
    rates: Mapping[float, int]  # Hz → number
    amplitude: float | None  # median range of the first lead in `LOOK_S`, mV
    annotators: Mapping[str, Mapping[str, int]]  # as a card names them → symbol → number of annotations
    people: People
    comments: Mapping[str, Mapping[str, int]]  # key of a header comment ``key: value`` → value → number
    folders: Mapping[str, int]  # name of the recording's folder → number; empty if some are in no subfolder
    problems: Sequence[str]  # of what cannot be opened


def look_into(folder: Path) -> FolderContents:
    """Open the recordings of a folder and read some seconds of each; DataError if there are none."""
    found = {reader: find_recordings(folder, reader) for reader in FORMATS} if folder.is_dir() else {}
    reader = next((reader for reader, names in found.items() if names), None)
    if reader is None:
        known = ", ".join(suffix for suffixes in FORMATS.values() for suffix in suffixes)
        raise DataError(f"{folder} holds no recordings; expected a folder with files such as {known}")
    tables = [path for path in sorted(folder.glob("*.csv")) if not path.name.startswith(".")]
    names = _without_annotations(found[reader]) if reader == "csv" else found[reader]
    people = _people_in_tables(tables, names)
    if people is not None and reader == "csv":
        names = [name for name in names if name != people.table]

    leads, rates, comments = Counter[tuple[str, ...]](), Counter[float](), list[tuple[str, ...]]()
    problems, ranges, annotators = [], [], dict[str, Counter[str]]()
    for name in names[:: -(-len(names) // MOST)]:
        try:
            file = open_recording(folder / name, reader=reader)
            leads[file.lead_names] += 1
            rates[file.fs([0])] += 1
            comments.append(file.comments)
            for annotator in _annotators(file):
                with suppress(DataError):  # a file of another kind
                    annotators.setdefault(annotator, Counter()).update(file.annotations(annotator)[0].symbols)
            signal = file.read_frames([0], 0, min(file.n_frames, round(LOOK_S * file.frame_rate)))[0]
            if np.isfinite(signal).any():
                ranges.append(float(np.nanmax(signal) - np.nanmin(signal)))
        except DataError as error:
            problems.append(str(error))
    parents = Counter(Path(name).parent.name for name in names if "/" in name)
    return FolderContents(
        folder=folder,
        reader=reader,
        records=names,
        opened=len(comments),
        leads=leads,
        rates=rates,
        amplitude=float(np.median(ranges)) if ranges else None,
        annotators={name: counts for name, counts in annotators.items() if counts},
        people=people or _people_in_comments(comments) or _people_in_names(names, parents),
        comments=_values_of_comments(comments),
        folders=parents if parents.total() == len(names) else {},
        problems=problems,
    )


def _annotators(file: RecordingFile) -> list[str]:
    """Files beside a recording that may be its annotations, and the EDF file itself, as a card names them."""
    own = {path.name for path in file.files} | {f"{file.name}.hea", file.path.name}
    beside = sorted(path.name for path in file.path.parent.glob(f"{escape(file.name)}[._]*") if path.name not in own)
    if not file.path.suffix:  # WFDB names them without the point
        return [name.removeprefix(f"{file.name}.") for name in beside if name.startswith(f"{file.name}.")]
    inside = ["edf"] if file.path.suffix.lower() in FORMATS["edf"] else []
    return [*inside, *(name.removeprefix(file.name) for name in beside)]


def _without_annotations(names: Sequence[str]) -> list[str]:
    """Without files such as ``a_beats.csv`` beside ``a.csv``, which are annotations of it."""
    stems = {name.rpartition(".")[0] for name in names}
    beside = {name: hit[1] for name in names if (hit := re.fullmatch(r"(.+)_[A-Za-z]+\.\w+", name))}
    return [name for name in names if beside.get(name) not in stems]


def _people_in_tables(tables: Sequence[Path], records: Sequence[str]) -> People | None:
    """From a table with a column of people, and one that names the records."""
    for path in tables:
        wanted = [{name, Path(name).name, Path(name).stem} for name in records if name != path.name]
        rows: list[dict[str, str]] = []
        with suppress(DataError):
            rows = read_table(path)
        columns = list(rows[0]) if rows else []
        person = next((name for name in columns if name and PERSON_COLUMN.fullmatch(name.strip())), None)
        if person is None:
            continue
        for column in columns:
            stated = {record_in(row[column]) for row in rows}
            if column != person and wanted and all(names & stated for names in wanted):
                n = len({row[person] for row in rows})
                how = {"table": {"table": path.name, "record": column, "column": person}}
                return People(how=how, evidence=f"{path.name} names {n} people", table=path.name)
    return None


def _people_in_comments(comments: Sequence[tuple[str, ...]]) -> People | None:
    """From a header comment of every recording."""
    hits = [next(filter(None, map(PERSON.search, own)), None) for own in comments]
    people = {hit[1] for hit in hits if hit}
    if not hits or not all(hits):
        return None
    return People(how={"comment": PERSON.pattern}, evidence=f"a header comment of each recording, {len(people)} people")


def _values_of_comments(comments: Sequence[tuple[str, ...]]) -> dict[str, Counter[str]]:
    """Those that may be diagnoses: comments with few values for many recordings."""
    values: dict[str, Counter[str]] = {}
    for own in comments:
        for comment in own:
            key, _, value = (part.strip() for part in comment.partition(":"))
            if value:
                values.setdefault(key, Counter())[value] += 1
    return {key: of for key, of in values.items() if 1 < len(of) <= len(comments) / 2 and len(of) <= MOST_VALUES}


def _people_in_names(names: Sequence[str], parents: Counter[str]) -> People:
    """From the folders of the recordings, if each has a number; else not known."""
    if parents.total() == len(names) and len(parents) > 1 and all(re.search(r"\d", parent) for parent in parents):
        return People(how="folder", evidence=f"{len(parents)} folders with numbers, such as {next(iter(parents))}")
    words = [hit[1] if (hit := PREFIX.match(Path(name).name)) else Path(name).name for name in names]
    evidence = "neither folders, header comments nor a table name them"
    if 1 < (n := len(set(words))) < len(words):
        setting = "{record: '" + PREFIX.pattern + "'}"
        evidence = f"names begin with {n} different words, such as {words[0]}; if these are people: {setting}"
    return People(how=None, evidence=evidence)
