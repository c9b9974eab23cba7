"""Readers of recordings and their annotations, one module a file format."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.labels import WFDB_SYMBOLS, ClassMap, make_class_map
from ecg_lightning.data.readers.annotations import check_beats
from ecg_lightning.data.readers.base import FASTEST, MILLIVOLTS, SLOWEST, Calibration, RecordingFile, is_present
from ecg_lightning.data.readers.csv import CsvFile
from ecg_lightning.data.readers.edf import EdfFile
from ecg_lightning.data.readers.mat import MatFile
from ecg_lightning.data.readers.wfdb import WfdbFile
from ecg_lightning.data.recording import Lead, Recording, make_leads
from ecg_lightning.data.rpeaks import detect_r_peaks

LATEST_S = 0.15  # seconds after the end at which a last beat may be annotated, as in record 860 of SVDB

SHIPPED = Path(__file__).parents[2] / "recordings"  # its README says what they are

__all__ = ["FORMATS", "located", "open_recording", "read_recording"]

# Reader → suffixes of its files; without any of them a path is a WFDB record.
FORMATS: Mapping[str, tuple[str, ...]] = {
    "wfdb": (".hea", ".dat"),
    "edf": (".edf", ".bdf", ".rec"),
    "csv": (".csv", ".tsv", ".txt", ".gz", ".zip"),
    "mat": (".mat",),
}


def located(path: Path | str) -> Path:
    """The path; where nothing is there and it names a recording that ships, such as ``example``, that one's."""
    path = Path(path)
    ships = len(path.parts) == 1 and is_present(SHIPPED / f"{path}.hea")
    return SHIPPED / path if ships and not is_present(path.with_name(f"{path.name}.hea")) else path


def open_recording(
    path: Path | str,
    *,
    reader: str | None = None,
    fs: float | None = None,
    time: str | int | None = None,
    unit: str | None = None,
    gain: float | None = None,
    baseline: float = 0.0,
) -> RecordingFile:
    """Open a recording by its header, without reading its signals.

    Args:
        path: the file; of WFDB the record with or without its extension; or the name of a recording that ships.
        reader: a key of `FORMATS`; None chooses by the suffix.
        fs, time, unit, gain, baseline: what CSV and MATLAB files do not state, see `Csv` of a card.

    Raises:
        DataError: the file is absent, cut off or damaged, or states another rate or unit, or a rate that no ECG has.
    """
    path = located(path)
    if any("\ud800" <= letter <= "\udfff" for letter in str(path)):
        raise DataError(f"{path} is no name in UTF-8, so nothing can be written about it; rename it")
    if reader is None:
        reader = next((name for name, suffixes in FORMATS.items() if path.suffix.lower() in suffixes), "wfdb")
        if reader == "mat" and is_present(path.with_suffix(".hea")):
            reader = "wfdb"
    if reader not in FORMATS:
        raise DataError(f"{path}: there is no reader {reader!r}; choose one of {', '.join(FORMATS)}")
    calibration = Calibration(unit=unit, gain=gain, baseline=baseline)
    file: RecordingFile
    if reader == "wfdb":
        path = path.with_suffix("") if path.suffix in (".hea", ".dat", ".mat") else path
        if not path.name or not is_present(path.with_name(f"{path.name}.hea")):
            raise DataError(f"{path} is no recording: there is no {path.name}.hea, nor another format that is read")
        file = WfdbFile(path)
    elif not is_present(path):
        raise DataError(f"{path} is not there, or is a folder; expected the file of a recording")
    elif reader == "edf":
        file = EdfFile(path)
    elif reader == "csv":
        file = CsvFile(path, fs=fs, time=time, calibration=calibration)
    else:
        file = MatFile(path, fs=fs, calibration=calibration)
    _check_statements(file, fs, unit, gain)
    return file


def _check_statements(file: RecordingFile, fs: float | None, unit: str | None, gain: float | None) -> None:
    """DataError for a rate that is none of an ECG, or if rate, unit or gain are given and the file states others."""
    rate = file.fs(range(len(file.lead_names)))
    if not SLOWEST <= rate <= FASTEST:
        raise DataError(
            f"{file.path} states a sampling rate of {rate:g} Hz; expected one from {SLOWEST:g} to {FASTEST:g} Hz"
        )
    units = [one for one in file.stated_units if one and one.lower() in MILLIVOLTS]
    factor = MILLIVOLTS.get((unit or "").lower())
    other = next((one for one in units if factor and MILLIVOLTS[one.lower()] != factor), None)
    stated = ""
    if fs is not None and file.stated_fs is not None and abs(file.stated_fs - fs) * file.n_frames >= file.frame_rate:
        stated = f"{file.stated_fs:g} Hz, and fs={fs:g}"
    elif other is not None:
        stated = f"{other}, and unit={unit}"
    elif gain is not None and units:
        stated = f"{units[0]}, and gain={gain:g}"
    if stated:
        raise DataError(f"{file.path} states {stated} was given; leave that out, in dataset.csv or as an option")


def read_recording(
    path: Path | str,
    *,
    leads: Sequence[Lead | Sequence[Lead]] | None = None,
    annotator: str | None = None,
    class_map: ClassMap | None = None,
    fs: float | None = None,
    reader: str | None = None,
    settings: Mapping[str, Any] | None = None,
    detector: str | None = "xqrs",
) -> Recording:
    """A recording with its beats.

    Args:
        path: the file; of WFDB the record with or without its extension.
        leads: as ``dataset.leads``: positions or names, or alternatives of which the first counts that the record has;
            None for all of them.
        annotator: who annotated the beats: of WFDB the extension of a file such as ``atr``, of EDF ``edf`` for what is
            annotated in the file itself, and else the end of a file's name, as in `annotations_beside`. None detects
            the R peaks in the first lead, and the beats have no labels.
        class_map: how symbols become classes; None is AAMI's.
        fs: sampling rate in Hz that the record must have; None takes any.
        reader: the format, a key of `FORMATS`; None chooses by the suffix.
        settings: what CSV and MATLAB files do not state: the other arguments of `open_recording`.
        detector: of R peaks without an annotator, see `detect_r_peaks`. None leaves out the detection, the slow part:
            then there are no beats.

    Raises:
        DataError: a file is absent or damaged, or the record lacks a lead or is too short.
        ConfigError: `leads` is something else.
    """
    file = open_recording(path, reader=reader, **(settings or {}))
    places = make_leads([*range(len(file.lead_names))] if leads is None else list(leads))
    positions = file.positions(places)
    rate = file.fs(positions)
    if fs is not None and rate != fs:
        raise DataError(
            f"record {file.name} is sampled at {rate:g} Hz, expected {fs:g} Hz; "
            "if that is right, set dataset.recorded_fs=null to take any rate"
        )
    signals = file.read(positions)
    n_samples, labels, symbols, others = signals.shape[1], None, None, Counter[str]()
    if annotator is not None:
        class_map = class_map or make_class_map("aami")
        found, clock = file.annotations(annotator)
        where = f"the annotations of {file.path} by {annotator}"
        odd = (one for one in found.symbols if one not in WFDB_SYMBOLS and not class_map.is_beat(one))
        if isinstance(file, WfdbFile) and (unknown := next(odd, None)) is not None:
            raise DataError(
                f"{where} have the unknown symbol {unknown!r} at sample {found.samples[found.symbols.index(unknown)]:,}"
                "; expected the symbols of the WFDB annotation standard, or of dataset.class_map. Is the file damaged?"
            )
        beats, labels = class_map.beats(found)
        peaks, symbols, others = beats.samples, beats.symbols, Counter(found.symbols) - Counter(beats.symbols)
        if clock != rate:
            peaks = np.round(peaks * (rate / clock)).astype(np.int64)
        if not len(peaks):
            others_named = ", ".join(f"{symbol} ({n:,})" for symbol, n in others.most_common(5)) or "none at all"
            raise DataError(f"{where} have no beat, but {others_named}; dataset.class_map names the symbols of beats")
        check_beats(peaks, where, n_samples, late=LATEST_S * rate)
    elif n_samples >= 2 * rate:
        peaks = detect_r_peaks(signals, rate, detector=detector).samples if detector else np.empty(0, dtype=np.int64)
    else:
        raise DataError(f"record {file.name} lasts {n_samples / rate:.2g} s, too short to find R peaks in it")
    names = [place[0] if isinstance(place[0], str) else None for place in places]
    return Recording(
        record=file.name,
        patient=None,
        signals=signals,
        lead_names=tuple(name or file.lead_names[at] for name, at in zip(names, positions, strict=True)),
        fs=rate,
        peaks=peaks,
        labels=labels,
        symbols=symbols,
        other_symbols=others,
        comments=file.comments,
    )
