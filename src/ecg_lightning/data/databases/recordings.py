"""Beats from recordings that a card describes: with annotated beats, or with detected ones and a class for each record.

What is special about a database is in its card, ``conf/dataset/NAME.yaml``.
"""

import dataclasses
import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.metadata import Metadata
from ecg_lightning.data.labels import ClassMap, make_class_map
from ecg_lightning.data.readers import FORMATS, open_recording, read_recording
from ecg_lightning.data.readers.base import RecordingFile
from ecg_lightning.data.readers.wfdb import files_of
from ecg_lightning.data.recording import Recording, lead_names
from ecg_lightning.data.windows import beats_of

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recordings(CardSource):
    """Beats cut out of recordings.

    Raises:
        ConfigError: the card gives the beats no class, or two.
    """

    def __post_init__(self) -> None:
        card = self.card
        if (card.annotator is None) == (card.diagnoses is None) or (card.annotator is None) != (card.class_map is None):
            raise ConfigError(
                f"dataset {self.name}: expected either dataset.annotator with dataset.class_map (annotated beats) "
                "or dataset.diagnoses (a class for each record)"
            )
        self.metadata  # noqa: B018  # refuses what contradicts itself
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
        return self.class_map.classes if self.class_map else tuple(self.card.diagnoses.classes)  # type: ignore[union-attr]

    def records(self) -> list[Path]:
        """Paths of all records that the card asks for, without extension if they are WFDB's.

        Of those that ``RECORDS`` lists, or else of every one in the folder or below. DataError for a record that is
        listed twice, or if there is none.
        """
        folder = self.folder
        listing = folder / "RECORDS"
        names = listing.read_text().split() if listing.is_file() else self.found()
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

    @property
    def people(self) -> str:
        """Name of the database whose people these are, which another card may be the first to have."""
        return self.metadata.own_people

    def files(self) -> list[Path]:
        """Header, signal and annotation files of all records, and tables."""
        try:
            files = [file for record in self.records() for file in self.files_of(record)]
        except DataError as error:
            raise DataError(str(error) if self.remedy in str(error) else f"{error}; {self.remedy}") from error
        for table in self.metadata.tables:
            if not table.is_file():
                raise DataError(f"{table} is not there; {self.remedy}")
        return files + self.metadata.tables

    def files_of(self, record: Path) -> list[Path]:
        """All files of one record."""
        if self.card.reader == "wfdb":
            return files_of(record, self.card.annotator)
        if not record.is_file():
            raise DataError(f"{record} is not there")
        annotations = record.with_name(f"{record.stem}{self.card.annotator}")
        return [record, annotations] if self.card.annotator and annotations.is_file() else [record]

    def settings(self) -> dict[str, Any]:
        """Also rate, classes, patients and what else the card says of the content of its files."""
        card = self.card.model_dump(mode="json", include={"records", "recorded_fs", "gaps", "csv", "folds", "patients"})
        card |= {"classes": self.card.model_dump(mode="json", include={"annotator", "diagnoses"})}
        symbols = {name: list(own) for name, own in self.class_map.symbols.items()} if self.class_map else None
        return {**super().settings(), **card, "class_map": symbols}

    def read(self) -> Beats:
        """Read and cut all records."""
        self.refuse_copies()
        origin = self.settings()
        return beats_of(self.recordings(), how=self.cut, classes=self.classes, origin=origin, context=self.context)

    def recordings(self) -> Iterator[Recording]:
        """Each record in turn, without those of other diagnoses, which the log counts."""
        records = self.records()
        names = self.names(records)
        if self.card.diagnoses is None:
            for record in records:
                yield self.recording(record, name=names[record])
            return
        found = {record: self.metadata.diagnosis(record, self._comments(record)) for record in records}
        left_out = Counter(stated for name, stated in found.values() if name is None)
        if left_out:
            log.info("left out %d records of other diagnoses: %s", left_out.total(), dict(left_out.most_common(8)))
        if left_out.total() == len(records):
            raise DataError(f"no record in {self.folder} is of {' or '.join(self.card.diagnoses.classes)}")
        for record, (name, _) in found.items():
            if name is not None:
                recording = self.recording(record, name=names[record])
                labels = np.full(len(recording.peaks), self.classes.index(name), dtype=np.int64)
                yield dataclasses.replace(recording, labels=labels)

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
                detect=detect,
            )
        except DataError as error:
            raise DataError(str(error) if "dataset." in str(error) else f"{error}; {self.remedy}") from error
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

    def _comments(self, record: Path) -> tuple[str, ...]:
        """Of its header, which is opened only where a comment is asked for."""
        asked = self.card.diagnoses is not None and self.card.diagnoses.comment is not None
        return self.open(record).comments if asked else ()

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
        seen: dict[tuple[int, ...], list[Path]] = {}
        for record in self.records():
            files = [path for path in self.files_of(record) if path.suffix != ".hea" and path.is_file()]
            seen.setdefault(tuple(path.stat().st_size for path in files), []).append(record)
        for records in seen.values():
            digests: dict[bytes, Path] = {}
            for record in records if len(records) > 1 else ():
                digest = hashlib.sha256()
                for path in self.files_of(record):
                    if path.suffix != ".hea":
                        digest.update(path.read_bytes())
                if (first := digests.setdefault(digest.digest(), record)) != record:
                    raise DataError(
                        f"{record} is a copy of {first}: its beats would be on both sides of a split; remove one, or "
                        "list the others in RECORDS or dataset.records"
                    )


def find_recordings(folder: Path, reader: str) -> list[str]:
    """Names of all recordings of a format in a folder or below, relative to it; those of WFDB without extension."""
    if reader != "wfdb":
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in FORMATS.get(reader, ()))
        paths = [path for path in paths if path.suffix.lower() != ".mat" or not path.with_suffix(".hea").is_file()]
        return [path.relative_to(folder).as_posix() for path in paths]
    names, segments = [], set[str]()
    for path in sorted(folder.rglob("*.hea")):
        name = path.with_suffix("").relative_to(folder)
        names.append(name.as_posix())
        text = path.read_text(errors="replace").splitlines()
        lines = [line for line in text if line.strip() and not line.startswith("#")]
        if lines and "/" in lines[0].split()[0]:
            segments.update((name.parent / line.split()[0]).as_posix() for line in lines[1:])
    return [name for name in names if name not in segments]
