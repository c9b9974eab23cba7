"""Beats from PhysioNet records in WFDB format: with annotated beats (MIT-BIH) or with detected R peaks (PTB).

What is special about a database is in its settings, ``conf/dataset/NAME.yaml``.

Moody & Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. Med. Biol. 20(3), 2001.
Bousseljot, Kreiseler & Schnabel, "Nutzung der EKG-Signaldatenbank CARDIODAT der PTB", Biomed. Tech. 40(s1), 1995.
"""

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.databases.base import Source, fetch_command
from ecg_lightning.data.labels import AAMI_SYMBOLS
from ecg_lightning.data.readers import read_recording
from ecg_lightning.data.readers.wfdb import diagnosis_of, files_of
from ecg_lightning.data.recording import Leads, Recording, lead_names
from ecg_lightning.data.windows import Cut, beats_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PhysioNet(Source):
    """Beats cut out of WFDB records: annotated ones, or detected ones that all have the diagnosis of their record.

    Attributes:
        diagnoses: ``Reason for admission`` → class, of records without annotated beats; others are left out.
        patients: ``folder`` where each patient's records have a folder of their own; else record → the record that
            names its patient, every other record being a patient of its own.

    Raises:
        ConfigError: neither annotations nor diagnoses give the beats a class.
    """

    name: ClassVar[str] = "physionet"

    dataset: str
    data_dir: Path
    folder: str  # of the database, in `data_dir`
    annotator: str | None = None  # extension of the annotation files; None detects the R peaks
    class_map: Mapping[str, str] | None = None  # class → symbols of its annotated beats
    diagnoses: Mapping[str, str] | None = None
    patients: Literal["folder"] | Mapping[str, str]
    leads: Leads
    recorded_fs: float | None  # Hz, of every record; None takes any
    cut: Cut
    context: Context = NO_CONTEXT

    def __post_init__(self) -> None:
        if (self.annotator is None) == (self.diagnoses is None) or (self.annotator is None) != (self.class_map is None):
            raise ConfigError(
                f"dataset {self.dataset}: expected either dataset.annotator with dataset.class_map (annotated beats) "
                "or dataset.diagnoses (a class for each record)"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the settings."""
        return tuple(dict.fromkeys(self.class_map or (self.diagnoses or {}).values()))

    def records(self) -> list[Path]:
        """Paths of all records, without extension: those that ``RECORDS`` lists, or else every header there is."""
        folder = self.data_dir / self.folder
        if (folder / "RECORDS").is_file():
            paths = [folder / line for line in (folder / "RECORDS").read_text().split()]
        else:
            paths = sorted(header.with_suffix("") for header in folder.rglob("*.hea"))
        if not paths:
            raise DataError(f"{folder} holds no WFDB record; {self._remedy}")
        return paths

    def files(self) -> list[Path]:
        """Header, signal and annotation files of all records."""
        records = self.records()
        try:
            return [file for record in records for file in files_of(record, self.annotator)]
        except DataError as error:
            raise DataError(f"{error}; {self._remedy}") from error

    def settings(self) -> dict[str, Any]:
        """Leads, rate, classes, patients and cutting, and context if any is wanted."""
        context = list(self.context.names(lead_names(self.leads)))
        return {
            "source": self.name,
            "dataset": self.dataset,
            "leads": [list(place) for place in self.leads],
            "recorded_fs": None if self.recorded_fs is None else float(self.recorded_fs),
            "class_map": dict(self.class_map or self.diagnoses or {}),
            "patients": self.patients if isinstance(self.patients, str) else dict(self.patients),
            **dataclasses.asdict(self.cut),
            **({"context": context} if context else {}),
        }

    def read(self) -> Beats:
        """Read and cut all records."""
        origin = self.settings()
        return beats_of(self.recordings(), how=self.cut, classes=self.classes, origin=origin, context=self.context)

    def recordings(self) -> Iterator[Recording]:
        """Each record in turn, without those of other diagnoses, which the log counts."""
        records = self.records()
        if self.diagnoses is None:
            yield from map(self._recording, records)
            return
        found = {record: diagnosis_of(record) for record in records}
        left_out = Counter(name for name in found.values() if name not in self.diagnoses)
        if left_out:
            log.info("left out %d records of other diagnoses: %s", left_out.total(), dict(left_out.most_common()))
        if left_out.total() == len(records):
            raise DataError(f"no record in {self.data_dir / self.folder} is of {' or '.join(self.diagnoses)}")
        for record, diagnosis in found.items():
            if name := self.diagnoses.get(diagnosis):
                recording = self._recording(record)
                labels = np.full(len(recording.peaks), self.classes.index(name), dtype=np.int64)
                yield dataclasses.replace(recording, labels=labels)

    def _recording(self, record: Path) -> Recording:
        class_map, fs = self.class_map or AAMI_SYMBOLS, self.recorded_fs
        recording = read_recording(record, leads=self.leads, annotator=self.annotator, class_map=class_map, fs=fs)
        named = self.patients
        patient = record.parent.name if isinstance(named, str) else named.get(record.name, record.name)
        return dataclasses.replace(recording, patient=patient, lead_names=lead_names(self.leads))

    @property
    def _remedy(self) -> str:
        return f"get it with: {fetch_command(self.folder, self.data_dir)}"
