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
import numpy.typing as npt

from ecg_lightning.data.aami import AAMI_CLASSES, CLASS_MAP, NON_CLASS_SYMBOLS, PTB_CLASSES, SYMBOL_TO_LABEL
from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.recording import Cut, Recording, beats_of, resample
from ecg_lightning.data.source import Source
from ecg_lightning.errors import ConfigError, DataError

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


def read_annotations(record: Path, *, n_samples: int) -> tuple[IntArray, IntArray]:
    """The annotated beats of a record's ``.atr`` file that have an AAMI class: R peaks ``[b]`` and labels ``[b]``.

    Raises:
        DataError: the file is cut off or damaged, holds symbols that are no WFDB annotation, or annotates no beat.
    """
    import wfdb

    path = record.with_name(f"{record.name}.atr")
    if not path.is_file():
        raise DataError(f"{path} is not there, so that record {record.name} has no labels. Fetch it")
    # Annotation files end with a zero word; wfdb reads one that was cut off without a complaint.
    if not path.read_bytes().endswith(b"\0\0"):
        raise DataError(f"{path} is cut off: it does not end with the end mark of an annotation file. Fetch it again")
    try:
        annotation = wfdb.rdann(str(record), "atr")
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{path} is no readable annotation file: {error}. Fetch it again") from error
    samples = np.asarray(annotation.sample, dtype=np.int64)
    symbols = [str(symbol) for symbol in annotation.symbol]
    if unknown := sorted(set(symbols) - SYMBOL_TO_LABEL.keys() - NON_CLASS_SYMBOLS):
        raise DataError(
            f"{path}: unknown symbol {unknown[0]!r} at sample {samples[symbols.index(unknown[0])]:,}; expected the "
            "symbols of the WFDB annotation standard. Is the file damaged? Fetch it again"
        )
    is_beat = np.array([symbol in SYMBOL_TO_LABEL for symbol in symbols], dtype=bool)
    peaks = samples[is_beat]
    if not len(peaks):
        raise DataError(f"{path} annotates no beat of the classes {', '.join(AAMI_CLASSES)}")
    if peaks[0] < 0 or (np.diff(peaks) < 0).any():
        raise DataError(f"{path} annotates beats out of order: it is damaged. Fetch it again")
    if peaks[-1] >= n_samples:
        raise DataError(f"{path} annotates sample {peaks[-1]:,} of a record of {n_samples:,} samples. Fetch both again")
    return peaks, np.array([SYMBOL_TO_LABEL[symbol] for symbol in symbols if symbol in SYMBOL_TO_LABEL], np.int64)


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


def read_lead(record: Path, *, lead: int | str, recorded_fs: float | None) -> tuple[npt.NDArray[np.float64], float]:
    """One signal ``[t]`` of a record in mV, and its sampling rate in Hz.

    Raises:
        DataError: the lead is absent, the rate is another than expected, or the signal is cut off, damaged or has gaps.
    """
    import wfdb

    header = _header(record)
    # A signal line may leave the name out.
    names = [name or "(unnamed)" for name in header.sig_name or []]
    by_name = {name.lower(): position for position, name in enumerate(names)}
    position = lead if isinstance(lead, int) else by_name.get(lead.lower(), -1)
    if not 0 <= position < len(names):
        raise DataError(f"record {record.name} has no lead {lead!r}; it has {', '.join(names)}. Choose dataset.lead=…")
    if not header.fs > 0:
        raise DataError(f"{record}.hea tells a sampling rate of {header.fs:g} Hz. Fetch it again")
    if recorded_fs is not None and header.fs != recorded_fs:
        raise DataError(
            f"record {record.name} is sampled at {header.fs:g} Hz, expected {recorded_fs:g} Hz; "
            "if that is right, set dataset.recorded_fs=null to take any rate"
        )
    try:
        loaded = wfdb.rdrecord(str(record), channels=[position], physical=False)
        signal, digital = loaded.dac()[:, 0], loaded.d_signal[:, 0]
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(
            f"the signal of {record} cannot be read: its file does not hold the {header.sig_len} samples that the "
            f"header tells, or is damaged ({error}). Fetch it again"
        ) from error
    if gaps := int(np.count_nonzero(~np.isfinite(signal))):
        raise DataError(f"record {record.name}: {gaps} of {len(signal)} samples of lead {names[position]} are missing")
    # The header may tell the sum of a signal's values, modulo 2^16: wfdb makes up for some of what a file lacks.
    checksum = header.checksum[position]
    if checksum is not None and (int(digital.sum()) - checksum) % 65_536:
        raise DataError(
            f"the signal of {record} is damaged: the values of lead {names[position]} do not add up to the checksum of "
            "its header. Fetch it again"
        )
    return signal, float(header.fs)


def diagnosis_of(record: Path) -> str:
    """The header comment ``Reason for admission`` of a PTB record; ``n/a`` is a diagnosis that PTB writes.

    Raises:
        DataError: the header has no such comment.
    """
    for comment in _header(record).comments:
        key, _, value = comment.partition(":")
        if key.strip() == "Reason for admission" and value.strip():
            return str(value.strip())
    raise DataError(
        f"{record}.hea has no comment 'Reason for admission', which tells the diagnosis; fetch the file again, or take "
        "the record out of RECORDS"
    )


def detect_r_peaks(signal: npt.NDArray[np.floating[Any]], fs: float) -> IntArray:
    """R peaks of ``[t]`` as sample indices, found by wfdb's XQRS and moved to the highest sample within 60 ms.

    XQRS runs at 250 Hz, the rate its filters are made for: at PTB's 1000 Hz it finds no beat in some records.
    """
    from wfdb.processing import xqrs_detect

    detected = xqrs_detect(resample(signal, fs, 250.0).astype(np.float64), fs=250, verbose=False) * (fs / 250.0)
    radius = round(0.06 * fs)
    starts = np.maximum(np.round(detected).astype(np.int64) - radius, 0)
    highest = [start + int(np.argmax(signal[start : start + 2 * radius + 1])) for start in starts]
    return np.unique(np.asarray(highest, dtype=np.int64))


def _header(record: Path) -> Any:
    import wfdb

    try:
        return wfdb.rdheader(str(record))
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{record}.hea is no readable WFDB header: {error}. Fetch it again") from error
