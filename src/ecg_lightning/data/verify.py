"""What is in the folder of a database and what is wrong with it: every record is read as training reads it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.progress import tracked
from ecg_lightning.data.databases.base import CardSource, fetch_command
from ecg_lightning.data.databases.card import PublishedClass
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.databases.rows import RowsOfFiles


@dataclass(frozen=True)
class Count:
    """How many there are of something, and how many the publisher has; None where that is not known."""

    what: str
    found: int
    published: int | None


@dataclass(kw_only=True)
class DatabaseCheck:
    """What was found of one database."""

    source: CardSource
    present: bool = False  # anything of it
    counts: list[Count] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # each with its file
    notes: list[str] = field(default_factory=list)  # worth knowing, but right
    damaged: list[str] = field(default_factory=list)  # records with a problem

    @property
    def complete(self) -> bool | None:
        """Whether everything that is published is there; None where nothing is published."""
        known = [count.found == count.published for count in self.counts if count.published is not None]
        return all(known) if known else None

    @property
    def remedy(self) -> str:
        """What gets or repairs the database, a command if it can be fetched; of a part only the damaged records."""
        source = self.source
        if source.card.download is None:
            return source.remedy
        command = fetch_command(source.name, source.data_dir)
        is_part = any(count.published is not None and count.found < count.published for count in self.counts[:1])
        return f"{command} --records {','.join(self.damaged)}" if self.damaged and is_part else command

    def plain(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "title": self.source.card.title,
            "folder": str(self.source.folder),
            **{name: getattr(self, name) for name in ("present", "problems", "notes", "remedy")},
            "counts": {count.what: {"found": count.found, "published": count.published} for count in self.counts},
        }


def is_there(source: CardSource) -> bool:
    """Whether some of the files of a database are there; a simulation has none."""
    if source.card.rows is not None:
        return any((source.folder / name).is_file() for name in source.card.rows.files)
    return source.card.folder is not None and source.folder.is_dir() and any(source.folder.iterdir())


def check(source: CardSource) -> DatabaseCheck:
    """Read the files of a database and count what is in them; whatever is wrong is a problem of the result."""
    result = DatabaseCheck(source=source, present=source.card.folder is None or is_there(source))
    if not result.present:
        return result
    if isinstance(source, Recordings):
        _check_recordings(source, result)
    elif isinstance(source, RowsOfFiles):
        # One by one, so that each has its problem.
        parts = [source.rows.model_copy(update={"files": [name], "test_file": None}) for name in source.rows.files]
        _check_beats([replace(source, card=source.card.model_copy(update={"rows": part})) for part in parts], result)
    else:
        _check_beats([source], result)
    if not result.problems and result.counts[0].published in (None, result.counts[0].found):
        wrong = [count for count in result.counts if count.published not in (None, count.found)]
        result.problems += [f"{one.found:,} {one.what}: published are {one.published:,}" for one in wrong]
    return result


def _check_beats(sources: Iterable[CardSource], result: DatabaseCheck) -> None:
    """Count the beats of sources that have no records."""
    beats: Counter[str] = Counter()
    for source in sources:
        try:
            read = source.read()
            beats.update(read.counts() if read.labels is not None else {"?": len(read)})
        except DataError as error:
            result.problems.append(str(error))
    _count_beats(result, beats)


def _count_beats(result: DatabaseCheck, beats: Mapping[str, int]) -> None:
    """Counts of beats by class, and of all."""
    published = result.source.card.about.published.classes
    stated = {name: one.beats for name, one in published.items()}
    total = sum(n or 0 for n in stated.values()) or None
    result.counts.append(Count("beats", sum(beats.values()), total))
    result.counts += [Count(f"{name} beats", beats.get(name, 0), stated.get(name)) for name in result.source.classes]


@dataclass(frozen=True, kw_only=True)
class _Record:
    """What is in one record."""

    leads: str
    patient: str | None
    diagnosis: str | None = None  # its class; None if its beats have classes, or if it is left out
    stated: str | None = None  # the diagnosis as it is stated, of one that is left out
    fs: float | None = None
    beats: Mapping[str, int] = field(default_factory=dict)  # by class
    without_class: Mapping[str, int] = field(default_factory=dict)  # beats by symbol
    others: Mapping[str, int] = field(default_factory=dict)  # annotations of no beats by symbol
    missing: int = 0  # samples in gaps


def _read(source: Recordings, record: Path) -> _Record:
    source.files_of(record)  # all there?
    file = source.open(record)
    patient, leads = source.metadata.patient(record, file.name, file.comments), "+".join(file.lead_names)
    diagnosis = None
    if source.card.diagnoses is not None:
        diagnosis, stated = source.metadata.diagnosis(record, file.comments)
        if diagnosis is None:
            return _Record(leads=leads, patient=patient, stated=stated)
    recording = source.recording(record, detect=False)
    labels = np.empty(0, dtype=np.int64) if recording.labels is None else recording.labels
    return _Record(
        leads=leads,
        patient=patient,
        diagnosis=diagnosis,
        fs=recording.fs,
        beats=Counter(source.classes[label] for label in labels[labels >= 0]),
        without_class=Counter(one for one, label in zip(recording.symbols or [], labels, strict=False) if label < 0),
        others=recording.other_symbols,
        missing=int(np.isnan(recording.signals).any(axis=0).sum()),
    )


def _check_recordings(source: Recordings, result: DatabaseCheck) -> None:
    """Read each record by itself, so that a damaged one hides no other, and count what is in them."""
    card, published = source.card, source.card.about.published
    records: list[_Record] = []
    paths: list[Path] = []
    try:
        paths = source.records()
    except DataError as error:
        result.problems.append(str(error))
    if absent := [table for table in source.metadata.tables if paths and not table.is_file()]:
        result.problems.append(f"{absent[0]} is not there")
    for path in tracked(paths if not absent else (), f"checking {source.name}", "records"):
        try:
            records.append(_read(source, path))
        except DataError as error:
            result.problems.append(str(error))
            result.damaged.append(path.relative_to(source.folder).as_posix())
    if paths and not result.damaged:
        try:
            source.refuse_copies()
        except DataError as error:
            result.problems.append(str(error))
    # The remedy is stated once for all of them.
    result.problems = [problem.removesuffix(f"; {source.remedy}") for problem in result.problems]

    def people(of: Iterable[_Record]) -> int:
        return len({record.patient for record in of})

    beats, without_class, others = (
        sum((Counter(getattr(record, name)) for record in records), Counter[str]())
        for name in ("beats", "without_class", "others")
    )
    result.counts.append(Count("records", len(paths), published.records))
    if card.patients is not None:
        result.counts.append(Count("people", people(records), published.patients))
    if card.diagnoses is None:
        _count_beats(result, beats)
    for name in source.classes if card.diagnoses else ():
        stated = published.classes.get(name, PublishedClass())
        own = [record for record in records if record.diagnosis == name]
        result.counts.append(Count(f"records of {name}", len(own), stated.records))
        if card.patients is not None:
            result.counts.append(Count(f"people of {name}", people(own), stated.patients))
    left_out = Counter(record.stated for record in records if record.stated is not None)
    if card.diagnoses is not None:
        result.counts.append(Count("records left out", left_out.total(), published.left_out))

    rates = Counter(f"{record.fs:g} Hz" for record in records if record.fs)
    gaps = [record.missing for record in records if record.missing]
    without_beats = [name for name in source.classes if not beats[name]] if card.diagnoses is None else []
    unlisted = set(card.chosen(source.found())).difference(path.relative_to(source.folder).as_posix() for path in paths)
    unfinished = sorted(path.name for path in source.folder.rglob("*.partial"))
    notes = {
        "leads": counted(Counter(record.leads for record in records)),
        "sampling rates": counted(rates),
        "patients": "" if card.patients is not None else "not known, so no split by patient",
        "classes without a beat": ", ".join(without_beats),
        "beats without class, part of the rhythm alone": counted(without_class),
        "annotations that are no beats": counted(others),
        "diagnoses left out": counted(left_out),
        "gaps": f"{sum(gaps):,} samples are missing in {len(gaps)} records" if gaps else "",
        "there but not in RECORDS, and not used": _some(sorted(unlisted)) if paths else "",
        "unfinished downloads": _some(unfinished),
    }
    result.notes += [f"{what}: {text}" for what, text in notes.items() if text]


def counted(counts: Mapping[str, int], most: int = 8) -> str:
    """``N (12), V (3), 4 more``, most frequent first."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    more = [f"{len(ordered) - most} more"] if len(ordered) > most else []
    return ", ".join([f"{name or 'no name'} ({n:,})" for name, n in ordered[:most]] + more)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
