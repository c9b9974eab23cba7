"""Readers of recordings and their annotations, one module a file format."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.labels import AAMI_SYMBOLS

if TYPE_CHECKING:
    from ecg_lightning.data.recording import Lead, Recording

__all__ = ["read_recording"]


def read_recording(
    path: Path | str,
    *,
    leads: "Sequence[Lead | Sequence[Lead]] | None" = None,
    annotator: str | None = None,
    class_map: Mapping[str, str] = AAMI_SYMBOLS,
    fs: float | None = None,
) -> "Recording":
    """A WFDB record with its beats.

    Args:
        path: the record, with or without its extension.
        leads: as ``dataset.leads``: positions or names, or alternatives of which the first counts that the record has;
            None for all of them.
        annotator: extension of the file of annotated beats, such as ``atr``; None detects the R peaks in the first
            lead, and the beats have no labels.
        class_map: class → the WFDB symbols of its annotated beats.
        fs: sampling rate in Hz that the record must have; None takes any.

    Raises:
        DataError: a file is absent or damaged, or the record lacks a lead or is too short.
        ConfigError: `leads` is something else.
    """
    from ecg_lightning.data.readers import wfdb
    from ecg_lightning.data.recording import Recording, make_leads
    from ecg_lightning.data.rpeaks import detect_r_peaks

    record = Path(path)
    record = record.with_suffix("") if record.suffix in (".hea", ".dat") else record
    names = wfdb.lead_names_of(record)
    places = make_leads([*range(len(names))] if leads is None else list(leads))
    signals, fs = wfdb.read_leads(record, leads=places, recorded_fs=fs)
    labels = None
    if annotator is not None:
        peaks, labels = wfdb.read_annotations(
            record, n_samples=signals.shape[1], annotator=annotator, class_map=class_map
        )
    elif signals.shape[1] >= 2 * fs:
        peaks = detect_r_peaks(signals[0], fs)
    else:
        raise DataError(f"record {record.name} lasts {signals.shape[1] / fs:.2g} s, too short to find R peaks in it")
    return Recording(
        record=record.name,
        patient=record.name,
        signals=signals,
        lead_names=tuple(place[0] if isinstance(place[0], str) else names[place[0]] for place in places),
        fs=fs,
        peaks=peaks,
        labels=labels,
    )
