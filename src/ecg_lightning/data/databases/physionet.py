"""Beats from PhysioNet records in WFDB format: with annotated beats (MIT-BIH) or with detected R peaks (PTB).

What is special about a database is in its settings, ``conf/dataset/NAME.yaml``.

Moody & Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. Med. Biol. 20(3), 2001.
Bousseljot, Kreiseler & Schnabel, "Nutzung der EKG-Signaldatenbank CARDIODAT der PTB", Biomed. Tech. 40(s1), 1995.
"""

import dataclasses
import logging
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.readers.wfdb import diagnosis_of, read_annotations, read_leads
from ecg_lightning.data.recording import Leads, Recording, lead_names
from ecg_lightning.data.rpeaks import detect_r_peaks
from ecg_lightning.data.windows import Cut, beats_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PhysioNet(Source):
    """Beats cut out of WFDB records: annotated ones, or detected ones that all have the diagnosis of their record.

    Attributes:
        dataset: name of the database.
        data_dir: folder that holds PhysioNet's folders.
        folder: name of the database's folder in it.
        annotator: extension of the annotation files; None where R peaks are to be detected.
        class_map: class → symbols of its beats, of annotated beats.
        diagnoses: ``Reason for admission`` → class, of records without annotated beats; records of other diagnoses
            are left out.
        patients: ``folder`` where each patient's records have a folder of their own; else which record is of the same
            patient as which, every other record being a patient of its own.
        leads: signals to read.
        recorded_fs: sampling rate in Hz that every record must have; None takes any.
        cut: how beats are cut out.
        context: what comes with each beat.

    Raises:
        ConfigError: neither annotations nor diagnoses give the beats a class.
    """

    name: ClassVar[str] = "physionet"

    dataset: str
    data_dir: Path
    folder: str
    annotator: str | None = None
    class_map: Mapping[str, str] | None = None
    diagnoses: Mapping[str, str] | None = None
    patients: Literal["folder"] | Mapping[str, str]
    leads: Leads
    recorded_fs: float | None
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
        """Names of the classes, in the order in which the settings name them."""
        return tuple(dict.fromkeys(self.class_map or (self.diagnoses or {}).values()))

    @property
    def path(self) -> Path:
        """Where the records are."""
        return self.data_dir / self.folder

    def records(self) -> list[Path]:
        """Paths of all records, without extension: those that ``RECORDS`` lists, or else every header there is."""
        listing = self.path / "RECORDS"
        if listing.is_file():
            paths = [self.path / line for line in listing.read_text().split()]
        else:
            paths = sorted(header.with_suffix("") for header in self.path.rglob("*.hea"))
        if not paths:
            raise DataError(f"{self.path} holds no WFDB record; {self._remedy}")
        return paths

    def files(self) -> list[Path]:
        """Header, signal and annotation files of all records."""
        return [file for record in self.records() for file in self._files_of(record)]

    def settings(self) -> dict[str, Any]:
        """Leads, rate, classes, patients and cutting, and context if any is wanted."""
        context = self.context.names(lead_names(self.leads))
        return {
            "source": self.name,
            "dataset": self.dataset,
            "leads": [list(place) for place in self.leads],
            "recorded_fs": None if self.recorded_fs is None else float(self.recorded_fs),
            "class_map": dict(self.class_map or self.diagnoses or {}),
            "patients": self.patients if isinstance(self.patients, str) else dict(self.patients),
            **dataclasses.asdict(self.cut),
            **({"context": list(context)} if context else {}),
        }

    def read(self) -> Beats:
        """Read and cut all records."""
        return beats_of(
            self.recordings(), how=self.cut, classes=self.classes, origin=self.settings(), context=self.context
        )

    def recordings(self) -> Iterator[Recording]:
        """Each record in turn; records of other diagnoses than those asked for are left out, which the log says."""
        records = self.records()
        if self.diagnoses is None:
            yield from map(self._annotated, records)
            return
        found = {record: diagnosis_of(record) for record in records}
        left_out = Counter(name for name in found.values() if name not in self.diagnoses)
        if left_out:
            log.info("left out %d records of other diagnoses: %s", left_out.total(), dict(left_out.most_common()))
        if left_out.total() == len(records):
            raise DataError(f"no record in {self.path} is of {' or '.join(self.diagnoses)}")
        for record, diagnosis in found.items():
            if diagnosis in self.diagnoses:
                yield self._diagnosed(record, self.diagnoses[diagnosis])

    def _annotated(self, record: Path) -> Recording:
        """A record with its annotated beats; beats of no class are left out."""
        assert self.annotator is not None and self.class_map is not None
        signals, fs = read_leads(record, leads=self.leads, recorded_fs=self.recorded_fs)
        peaks, labels = read_annotations(
            record, n_samples=signals.shape[1], annotator=self.annotator, class_map=self.class_map
        )
        return Recording(
            record=record.name,
            patient=self._patient_of(record),
            signals=signals,
            lead_names=lead_names(self.leads),
            fs=fs,
            peaks=peaks,
            labels=labels,
        )

    def _diagnosed(self, record: Path, name: str) -> Recording:
        """A record with R peaks that are detected in its first lead; all of them have the record's class."""
        signals, fs = read_leads(record, leads=self.leads, recorded_fs=self.recorded_fs)
        if signals.shape[1] < 2 * fs:
            raise DataError(
                f"record {record.name} lasts {signals.shape[1] / fs:.2g} s, too short to find R peaks in it"
            )
        peaks = detect_r_peaks(signals[0], fs)
        return Recording(
            record=record.name,
            patient=self._patient_of(record),
            signals=signals,
            lead_names=lead_names(self.leads),
            fs=fs,
            peaks=peaks,
            labels=np.full(len(peaks), self.classes.index(name), dtype=np.int64),
        )

    def _patient_of(self, record: Path) -> str:
        return record.parent.name if isinstance(self.patients, str) else self.patients.get(record.name, record.name)

    @property
    def _remedy(self) -> str:
        return f"get it with: ecg-lightning data fetch {self.folder} --data-dir {shlex.quote(str(self.data_dir))}"

    def _files_of(self, record: Path) -> list[Path]:
        header = record.with_name(record.name + ".hea")
        if not header.is_file():
            raise DataError(f"{header} is not there; {self._remedy}")
        # The first line begins with the record's name, each further one with a signal file's (WFDB's header(5)). Read
        # as plain text, because every start does this for every record, and importing and asking wfdb takes longer
        # than all else it does.
        text = header.read_text(errors="replace").splitlines()
        lines = [line for line in text if line.strip() and not line.startswith("#")]
        if not lines or re.split(r"[\s/]", lines[0], maxsplit=1)[0] != record.name:
            raise DataError(
                f"{header} is no readable WFDB header: it does not begin with {record.name}. Fetch it again"
            )
        names = {line.split()[0] for line in lines[1:]}
        paths = [header, *(header.with_name(name) for name in sorted(names))]
        if self.annotator is not None:
            paths.append(header.with_suffix(f".{self.annotator}"))
        for path in paths:
            if not path.is_file():
                raise DataError(f"record {record.name}: {path} is not there; {self._remedy}")
        return paths
