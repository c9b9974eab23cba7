"""WFDB records: signals, annotations and header comments, through `wfdb`."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import IntArray
from ecg_lightning.data.labels import AAMI_SYMBOLS, WFDB_SYMBOLS
from ecg_lightning.data.recording import Leads


def files_of(record: Path, annotator: str | None = None) -> list[Path]:
    """The header of a record (without extension), its signal and annotation files; a `DataError` if one is absent."""
    header = record.with_name(f"{record.name}.hea")
    if not header.is_file():
        raise DataError(f"{header} is not there")
    # The first line begins with the record's name, each further one with that of a signal file (WFDB's header(5)). Read
    # as plain text: every start does this for every record, and importing and calling wfdb takes longer than the rest.
    text = header.read_text(errors="replace").splitlines()
    lines = [line for line in text if line.strip() and not line.startswith("#")]
    if not lines or re.split(r"[\s/]", lines[0], maxsplit=1)[0] != record.name:
        raise DataError(f"{header} is no readable WFDB header: it does not begin with {record.name}. Fetch it again")
    names = sorted({line.split()[0] for line in lines[1:]})
    paths = [header, *(header.with_name(name) for name in names)]
    if annotator is not None:
        paths.append(header.with_suffix(f".{annotator}"))
    for path in paths:
        if not path.is_file():
            raise DataError(f"record {record.name}: {path} is not there")
    return paths


def read_annotations(
    record: Path, *, n_samples: int, annotator: str = "atr", class_map: Mapping[str, str] = AAMI_SYMBOLS
) -> tuple[IntArray, IntArray]:
    """The annotated beats of a record (without extension) with a class: R peaks ``[b]`` and labels ``[b]``.

    Labels are indices into `class_map`, class → the symbols of its beats; other annotations are left out.

    Raises:
        DataError: the file is cut off or damaged, holds symbols that are no WFDB annotation, or annotates no beat.
    """
    import wfdb

    label_of = {symbol: label for label, symbols in enumerate(class_map.values()) for symbol in symbols}
    path = record.with_name(f"{record.name}.{annotator}")
    if not path.is_file():
        raise DataError(f"{path} is not there: record {record.name} has no labels. Fetch it")
    # Annotation files end with a zero word; wfdb reads one that was cut off without an error.
    if not path.read_bytes().endswith(b"\0\0"):
        raise DataError(f"{path} is cut off: it does not end with the end mark of an annotation file. Fetch it again")
    try:
        annotation = wfdb.rdann(str(record), annotator)
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{path} is no readable annotation file: {error}. Fetch it again") from error
    samples = np.asarray(annotation.sample, dtype=np.int64)
    symbols = [str(symbol) for symbol in annotation.symbol]
    if unknown := sorted(set(symbols) - label_of.keys() - WFDB_SYMBOLS):
        raise DataError(
            f"{path}: unknown symbol {unknown[0]!r} at sample {samples[symbols.index(unknown[0])]:,}; expected the "
            "symbols of the WFDB annotation standard. Is the file damaged? Fetch it again"
        )
    is_beat = np.array([symbol in label_of for symbol in symbols], dtype=bool)
    peaks = samples[is_beat]
    if not len(peaks):
        raise DataError(f"{path} annotates no beat of the classes {', '.join(class_map)}")
    if peaks[0] < 0 or (np.diff(peaks) < 0).any():
        raise DataError(f"{path} annotates beats out of order: it is damaged. Fetch it again")
    if peaks[-1] >= n_samples:
        raise DataError(f"{path} annotates sample {peaks[-1]:,} of a record of {n_samples:,} samples. Fetch both again")
    return peaks, np.array([label_of[symbol] for symbol in symbols if symbol in label_of], np.int64)


def read_leads(
    record: Path, *, leads: Leads | None, recorded_fs: float | None
) -> tuple[npt.NDArray[np.float64], float]:
    """Signals ``[leads, t]`` of a record (without extension) in mV, and their sampling rate in Hz.

    Each place of `leads` takes the first alternative that the record has and no place before took; None reads all.
    `recorded_fs` is the sampling rate that the record must have; None takes any.

    Raises:
        DataError: a lead is absent, the rate is not the expected one, or a signal is cut off, damaged or has gaps.
    """
    import wfdb

    header, names = _header(record), lead_names_of(record)
    positions = [*range(len(names))] if leads is None else _positions(record, names, leads)
    if not header.fs > 0:
        raise DataError(f"{record}.hea states a sampling rate of {header.fs:g} Hz. Fetch it again")
    if recorded_fs is not None and header.fs != recorded_fs:
        raise DataError(
            f"record {record.name} is sampled at {header.fs:g} Hz, expected {recorded_fs:g} Hz; "
            "if that is right, set dataset.recorded_fs=null to take any rate"
        )
    channels = sorted(positions)
    try:
        loaded = wfdb.rdrecord(str(record), channels=channels, physical=False)
        physical = loaded.dac()
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(
            f"the signal of {record} cannot be read: its file does not hold the {header.sig_len} samples that the "
            f"header states, or is damaged ({error}). Fetch it again"
        ) from error
    for column, position in enumerate(channels):
        if gaps := int(np.count_nonzero(~np.isfinite(physical[:, column]))):
            raise DataError(
                f"record {record.name}: {gaps} of {len(physical)} samples of lead {names[position]} are missing"
            )
        # The header may state the sum of a signal's values, modulo 2^16: wfdb fills in some of what a file lacks.
        checksum = header.checksum[position]
        if checksum is not None and (int(loaded.d_signal[:, column].sum()) - checksum) % 65_536:
            raise DataError(
                f"the signal of {record} is damaged: the values of lead {names[position]} do not add up to the "
                "checksum of its header. Fetch it again"
            )
    return np.stack([physical[:, channels.index(position)] for position in positions]), float(header.fs)


def lead_names_of(record: Path) -> list[str]:
    """The names of a record's leads; a signal line may leave the name out."""
    return [name or "(unnamed)" for name in _header(record).sig_name or []]


def _positions(record: Path, names: list[str], leads: Leads) -> list[int]:
    by_name = {name.lower(): position for position, name in enumerate(names)}
    positions: list[int] = []
    for place in leads:
        found = [lead if isinstance(lead, int) else by_name.get(lead.lower(), -1) for lead in place]
        position = next((at for at in found if 0 <= at < len(names) and at not in positions), None)
        if position is None:
            taken = f", of which {', '.join(names[at] for at in positions)} is taken" if positions else ""
            raise DataError(
                f"record {record.name} has no lead {' or '.join(map(repr, place))}; it has {', '.join(names)}{taken}. "
                "Choose dataset.leads=[…]"
            )
        positions.append(position)
    return positions


def diagnosis_of(record: Path) -> str:
    """The header comment ``Reason for admission`` of a PTB record, which may be ``n/a``; a `DataError` without it."""
    for comment in _header(record).comments:
        key, _, value = comment.partition(":")
        if key.strip() == "Reason for admission" and value.strip():
            return str(value.strip())
    raise DataError(
        f"{record}.hea has no comment 'Reason for admission', which states the diagnosis; fetch the file again, or "
        "take the record out of RECORDS"
    )


def _header(record: Path) -> Any:
    import wfdb

    try:
        return wfdb.rdheader(str(record))
    except Exception as error:  # wfdb raises whatever its parsing stumbles over
        raise DataError(f"{record}.hea is no readable WFDB header: {error}. Fetch it again") from error
