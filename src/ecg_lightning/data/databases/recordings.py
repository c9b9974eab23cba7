"""Beats from recordings that a card describes: with annotated beats, or with detected ones and a class for each record.

What is special about a database is in its card, ``conf/dataset/NAME.yaml``.
"""

import dataclasses
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.atomic import sha256_of
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.core.progress import tracked
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.metadata import Metadata
from ecg_lightning.data.labels import ClassMap, make_class_map
from ecg_lightning.data.readers import FORMATS, open_recording, read_recording
from ecg_lightning.data.readers.base import RecordingFile, is_present
from ecg_lightning.data.readers.wfdb import files_of, header_lines
from ecg_lightning.data.recording import Recording, lead_names

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recordings(CardSource):
    """Beats cut out of recordings.

    Raises:
        ConfigError: the card gives the beats no class, or two, or contradicts itself.
    """

    def __post_init__(self) -> None:
        card = self.card
        if (card.annotator is None) == (card.diagnoses is None) or (card.annotator is None) != (card.class_map is None):
            raise ConfigError(
                f"dataset {self.name}: expected either dataset.annotator with dataset.class_map (annotated beats) "
                "or dataset.diagnoses (a class for each record)"
            )
        Metadata(card, self.folder)  # refuses what contradicts itself
        make_class_map(card.class_map or "aami")

    @cached_property
    def metadata(self) -> Metadata:
        """What the card says about each record."""
        return Metadata(self.card, self.folder)

    @cached_property
    def class_map(self) -> ClassMap | None:
        """How annotated symbols become classes; None where each record has one class."""
        return None if self.card.class_map is None else make_class_map(self.card.class_map)

    @property
    def classes(self) -> tuple[str, ...]:
        if self.class_map is not None:
            return self.class_map.classes
        return tuple(self.card.diagnoses.classes) if self.card.diagnoses else ()

    @property
    def people(self) -> str:
        return self.metadata.own_people

    def records(self) -> list[Path]:
        """Paths of all records that the card asks for, without extension if they are WFDB's.

        Of those that ``RECORDS`` lists, or else of every one in the folder or below. DataError for a record that is
        listed twice or outside the folder, or if there is none.
        """
        folder = self.folder
        listing = folder / "RECORDS"
        if listing.is_file():
            lines = listing.read_text(encoding="utf-8", errors="replace").splitlines()
            names = [os.path.normpath(line.strip()) for line in lines if line.strip()]
            if outside := next((name for name in names if name.startswith(("/", ".."))), None):
                raise DataError(f"{listing} lists {outside}, which is outside its folder; expected paths below it")
        else:
            names = self.found()
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise DataError(
                f"{listing} lists {', '.join(twice[:5])} more than once: its beats would be on both sides of "
                "a split; take the second mention out"
            )
        names = self.card.chosen(names)
        if not names:
            raise DataError(f"{folder} holds no recording that {self.name} asks for; {self.remedy}")
        return [folder / name for name in names]

    def found(self) -> list[str]:
        """Names of all recordings in the folder or below, as ``RECORDS`` would list them."""
        names = find_recordings(self.folder, self.card.reader)
        if self.card.reader == "wfdb":
            return names
        beside = {path.with_name(f"{path.stem}{self.card.annotator}").as_posix() for path in map(Path, names)}
        beside.update(table.name for table in self.metadata.tables)
        return [name for name in names if name not in beside]

    def files(self) -> list[Path]:
        """Header, signal and annotation files of all records, and tables."""
        try:
            files = [file for record in self.records() for file in self.files_of(record)]
        except DataError as error:
            raise self.with_remedy(error) from error
        if absent := [table for table in self.metadata.tables if not table.is_file()]:
            raise DataError(f"{absent[0]} is not there; {self.remedy}")
        return files + self.metadata.tables

    def files_of(self, record: Path) -> list[Path]:
        """All files of one record."""
        if self.card.reader == "wfdb":
            return files_of(record, self.card.annotator)
        if not is_present(record):
            raise DataError(f"{record} is not there")
        annotations = record.with_name(f"{record.stem}{self.card.annotator}")
        return [record, annotations] if self.card.annotator and is_present(annotations) else [record]

    def settings(self) -> dict[str, Any]:
        """Also rate, classes, patients and what else the card says of the content of its files."""
        card = self.card.model_dump(mode="json", include={"records", "recorded_fs", "gaps", "csv", "folds", "patients"})
        card |= {"classes": self.card.model_dump(mode="json", include={"annotator", "diagnoses"})}
        if self.card.annotator is None and self.card.detector != "xqrs":
            card["detector"] = self.card.detector
        symbols = {name: list(own) for name, own in self.class_map.symbols.items()} if self.class_map else None
        return {**super().settings(), **card, "class_map": symbols}

    def read(self) -> Beats:
        """Read and cut all records."""
        return Beats.concatenate(list(self.read_parts()))

    def read_parts(self) -> Iterator[Beats]:
        self.refuse_copies()
        return self.cut_out(self._chosen())

    def recordings(self) -> Iterator[Recording]:
        """Each record in turn, without those of other diagnoses, which the log counts."""
        return (read() for read in tracked([*self._chosen()], f"reading {self.name}", "records"))

    def _chosen(self) -> Iterator[Callable[[], Recording]]:
        """What reads each record."""
        records = self.records()
        names = self.names(records)
        if self.card.diagnoses is None:
            for record in records:
                yield partial(self.recording, record, name=names[record])
            return
        commented = self.card.diagnoses.comment is not None  # else headers need not be opened
        found = {
            record: self.metadata.diagnosis(record, self.open(record).comments if commented else ())
            for record in tracked(records, f"reading headers of {self.name}", "records")
        }
        left_out = Counter(stated for name, stated in found.values() if name is None)
        if left_out:
            log.info("left out %d records of other diagnoses: %s", left_out.total(), dict(left_out.most_common(8)))
        if left_out.total() == len(records):
            raise DataError(f"no record in {self.folder} is of {' or '.join(self.card.diagnoses.classes)}")
        for record, (name, _) in found.items():
            if name is not None:
                yield partial(self._diagnosed, record, name=names[record], label=self.classes.index(name))

    def _diagnosed(self, record: Path, *, name: str, label: int) -> Recording:
        recording = self.recording(record, name=name)
        return dataclasses.replace(recording, labels=np.full(len(recording.peaks), label, dtype=np.int64))

    def open(self, record: Path) -> RecordingFile:
        """A record, opened by its header."""
        return open_recording(record, reader=self.card.reader, **self._format)

    def recording(self, record: Path, *, name: str | None = None, detect: bool = True) -> Recording:
        """One record with its beats, patient and fold; DataError says what to do about a damaged file.

        Without `detect` a record whose beats are not annotated has none.
        """
        try:
            recording = read_recording(
                record,
                leads=self.leads,
                annotator=self.card.annotator,
                class_map=self.class_map,
                fs=self.card.recorded_fs,
                reader=self.card.reader,
                settings=self._format,
                detector=self.card.detector if detect else None,
            )
        except DataError as error:
            raise self.with_remedy(error) from error
        if self.card.gaps == "refuse" and (gaps := int(np.isnan(recording.signals).any(axis=0).sum())):
            raise DataError(
                f"record {recording.record}: {gaps} of {recording.signals.shape[1]} samples are missing; "
                "dataset.gaps=leave_out leaves out the beats that touch a gap"
            )
        return dataclasses.replace(
            recording,
            record=name or recording.record,
            patient=self.metadata.patient(record, recording.record, recording.comments),
            fold=self.metadata.fold(record),
            lead_names=lead_names(self.leads),
        )

    @property
    def _format(self) -> dict[str, Any]:
        return {} if self.card.csv is None else self.card.csv.model_dump()

    def names(self, records: list[Path]) -> dict[Path, str]:
        """A name for each record: the last part of its path, or all of it where two have the same."""
        short = {record: record.name if self.card.reader == "wfdb" else record.stem for record in records}
        if len(set(short.values())) == len(records):
            return short
        return {record: record.relative_to(self.folder).as_posix() for record in records}

    def refuse_copies(self) -> None:
        """DataError for two records with the same content, whose beats would be on both sides of a split."""
        files = {record: [path for path in self.files_of(record) if path.suffix != ".hea"] for record in self.records()}
        by_size: dict[tuple[int, ...], list[Path]] = {}
        for record, own in files.items():
            by_size.setdefault(tuple(path.stat().st_size for path in own), []).append(record)
        for records in by_size.values():
            seen: dict[tuple[str, ...], Path] = {}
            for record in records if len(records) > 1 else ():
                if (first := seen.setdefault(tuple(map(sha256_of, files[record])), record)) != record:
                    raise DataError(
                        f"{record} is a copy of {first}: its beats would be on both sides of a split; remove one, or "
                        "list the others in RECORDS or dataset.records"
                    )


def find_recordings(folder: Path, reader: str) -> list[str]:
    """Names of all recordings of a format in a folder or below, relative to it; those of WFDB without extension.

    What is hidden is none, such as the ``._100.hea`` that a Mac leaves on other disks.
    """
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*.hea" if reader == "wfdb" else "*"))]
    names = [name for name in names if not any(part.startswith(".") for part in name.parts)]
    if reader != "wfdb":
        names = [name for name in names if name.suffix.lower() in FORMATS.get(reader, ())]
        headers = {name for name in names if (folder / name).with_suffix(".hea").is_file()} if reader == "mat" else ()
        return [name.as_posix() for name in names if name not in headers]
    segments, joined = set[Path](), set[Path]()
    for name in names:
        lines = header_lines(folder / name) if is_present(folder / name) else []  # else opening it says that it is none
        if lines and "/" in lines[0].split()[0]:
            joined.add(name.with_suffix(""))
            segments.update(name.parent / line.split()[0] for line in lines[1:])
    return [one.as_posix() for one in (name.with_suffix("") for name in names) if one in joined or one not in segments]
