"""Beats from PhysioNet records in WFDB format: MIT-BIH Arrhythmia with its annotations, PTB with detected R peaks.

Moody & Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE Eng. Med. Biol. 20(3), 2001.
Bousseljot, Kreiseler & Schnabel, "Nutzung der EKG-Signaldatenbank CARDIODAT der PTB", Biomed. Tech. 40(s1), 1995.
"""

import dataclasses
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.labels import AAMI_CLASSES, CLASS_MAP, PTB_CLASSES
from ecg_lightning.data.readers.wfdb import diagnosis_of, read_annotations, read_lead
from ecg_lightning.data.recording import Recording
from ecg_lightning.data.rpeaks import detect_r_peaks
from ecg_lightning.data.windows import Cut, beats_of

log = logging.getLogger(__name__)

FOLDERS = {"mitbih": "mitdb", "ptbdb": "ptbdb"}

SAME_PERSON = {"202": "201"}
"""MIT-BIH records 201 and 202 come from one person (Moody & Mark 2001); every other record is a person of its own."""

DIAGNOSES = {"Healthy control": PTB_CLASSES.index("normal"), "Myocardial infarction": PTB_CLASSES.index("MI")}
"""PTB's ``Reason for admission`` → label; records of other diagnoses are left out."""


@dataclass(frozen=True, kw_only=True)
class PhysioNet(Source):
    """Beats cut out of the WFDB records in ``data_dir/mitdb`` or ``data_dir/ptbdb``.

    Attributes:
        dataset: ``mitbih`` or ``ptbdb``.
        data_dir: folder that holds PhysioNet's folders.
        lead: signal to read, by position in the record or by name.
        recorded_fs: sampling rate in Hz that every record must have; None takes any.
        cut: how beats are cut out.
        context: what comes with each beat.
    """

    name: ClassVar[str] = "physionet"

    dataset: str
    data_dir: Path
    lead: int | str
    recorded_fs: float | None
    cut: Cut
    context: Context = NO_CONTEXT

    def __post_init__(self) -> None:
        if self.dataset not in FOLDERS:
            raise ConfigError(f"source physionet has no dataset {self.dataset!r}; choose one of {', '.join(FOLDERS)}")

    @property
    def folder(self) -> Path:
        """Where the records are."""
        return self.data_dir / FOLDERS[self.dataset]

    def records(self) -> list[Path]:
        """Paths of all records, without extension: those that ``RECORDS`` lists, or else every header there is."""
        listing = self.folder / "RECORDS"
        if listing.is_file():
            paths = [self.folder / line for line in listing.read_text().split()]
        else:
            paths = sorted(header.with_suffix("") for header in self.folder.rglob("*.hea"))
        if not paths:
            raise DataError(f"{self.folder} holds no WFDB record; {self._remedy}")
        return paths

    def files(self) -> list[Path]:
        """Header, signal and annotation files of all records."""
        return [file for record in self.records() for file in self._files_of(record)]

    def settings(self) -> dict[str, Any]:
        """Lead, rate and cutting, and context if any is wanted."""
        return {
            "source": self.name,
            "dataset": self.dataset,
            "lead": self.lead,
            "recorded_fs": None if self.recorded_fs is None else float(self.recorded_fs),
            "class_map": CLASS_MAP if self.dataset == "mitbih" else "reason for admission",
            **dataclasses.asdict(self.cut),
            **({"context": list(self.context.names)} if self.context.names else {}),
        }

    def read(self) -> Beats:
        """Read and cut all records."""
        classes = AAMI_CLASSES if self.dataset == "mitbih" else PTB_CLASSES
        return beats_of(self.recordings(), how=self.cut, classes=classes, origin=self.settings(), context=self.context)

    def recordings(self) -> Iterator[Recording]:
        """Each record in turn; records of other diagnoses than the two are left out, and said so."""
        records = self.records()
        if self.dataset == "mitbih":
            for record in records:
                yield annotated_recording(record, lead=self.lead, recorded_fs=self.recorded_fs)
            return
        diagnoses = {record: diagnosis_of(record) for record in records}
        left_out = Counter(name for name in diagnoses.values() if name not in DIAGNOSES)
        if left_out:
            log.info("left out %d records of other diagnoses: %s", left_out.total(), dict(left_out.most_common()))
        if left_out.total() == len(records):
            raise DataError(f"no record in {self.folder} is of {' or '.join(DIAGNOSES)}")
        for record, diagnosis in diagnoses.items():
            if diagnosis in DIAGNOSES:
                label = DIAGNOSES[diagnosis]
                yield diagnosed_recording(record, label=label, lead=self.lead, recorded_fs=self.recorded_fs)

    @property
    def _remedy(self) -> str:
        return f"get it with: ecg-lightning data fetch {FOLDERS[self.dataset]} --data-dir {self.data_dir}"

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
        if self.dataset == "mitbih":
            paths.append(header.with_suffix(".atr"))
        for path in paths:
            if not path.is_file():
                raise DataError(f"record {record.name}: {path} is not there; {self._remedy}")
        return paths


def annotated_recording(record: Path, *, lead: int | str, recorded_fs: float | None) -> Recording:
    """One lead of a MIT-BIH record with its annotated beats; beats outside the AAMI classes are left out.

    Raises:
        DataError: as `read_lead` and `read_annotations`.
    """
    signal, fs = read_lead(record, lead=lead, recorded_fs=recorded_fs)
    peaks, labels = read_annotations(record, n_samples=len(signal))
    return Recording(
        record=record.name,
        patient=SAME_PERSON.get(record.name, record.name),
        signal=signal,
        fs=fs,
        peaks=peaks,
        labels=labels,
    )


def diagnosed_recording(record: Path, *, label: int, lead: int | str, recorded_fs: float | None) -> Recording:
    """One lead of a PTB record with its detected R peaks, all of which carry the record's label."""
    signal, fs = read_lead(record, lead=lead, recorded_fs=recorded_fs)
    if len(signal) < 2 * fs:
        raise DataError(f"record {record.name} lasts {len(signal) / fs:.2g} s, too short to find R peaks in it")
    peaks = detect_r_peaks(signal, fs)
    return Recording(
        record=record.name,
        patient=record.parent.name,
        signal=signal,
        fs=fs,
        peaks=peaks,
        labels=np.full(len(peaks), label, dtype=np.int64),
    )
