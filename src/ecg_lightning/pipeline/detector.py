"""Training the detector of R peaks on annotated recordings, and testing detectors beat by beat.

Sensitivity and positive predictivity are counted over whole records with a window of 150 ms (ANSI/AAMI EC57), without
ventricular flutter, in which no beats are annotated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import FASTEST
from ecg_lightning.core.progress import tracked
from ecg_lightning.core.weights import read_weights, weights_file, write_weights
from ecg_lightning.data.beats import BoolArray
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.recording import Recording
from ecg_lightning.data.rpeak_network import FS
from ecg_lightning.data.rpeaks import detect_r_peaks
from ecg_lightning.data.windows import at_rate
from ecg_lightning.metrics.matching import LABELS, WINDOW_S, annotated, match
from ecg_lightning.pipeline.cards import load_cards, source_of
from ecg_lightning.pipeline.config import compose

Floats = npt.NDArray[np.float64]


class Reference(NamedTuple):
    """A recording and where its beats are annotated."""

    recording: Recording
    beats: Floats  # [b] R peaks in s
    ventricular: BoolArray  # [b]
    flutter: Floats  # [k, 2] first and last second of each stretch of ventricular flutter, which has no beats

    def in_flutter(self, times: Floats) -> BoolArray:
        """Which of these times ``[n]`` in s are in flutter."""
        first, last = self.flutter.T
        within: BoolArray = ((times[:, None] >= first) & (times[:, None] <= last)).any(axis=1)
        return within


def train_detector(
    on: Sequence[str],
    output: Path,
    *,
    records: str | None = None,
    exclude: Sequence[str] = (),
    leads: Sequence[Any] = (0, 1),
    steps: int = 4000,
    seed: int = 0,
    command: str = "",
    data_dir: Path = Path("data"),
    config_dir: Path | None = None,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Mapping[str, Any]:
    """Train the network on each lead of recordings, and write ``OUTPUT.safetensors`` with its card ``OUTPUT.json``.

    Args:
        on, records, exclude, leads: what to train on, see `annotated_recordings`.
        command: that the card states.
        progress: gets each step and its loss.

    Raises:
        ConfigError: there is no such database or record, or it has no annotated beats.
        DataError: recordings are missing or damaged, or the output cannot be written.
    """
    from ecg_lightning.training.detector import Trained, train_network

    about = [card.about for card in load_cards(config_dir, on).values()]
    trained, people = [], dict[str, list[str]]()
    for one in annotated_recordings(on, records, exclude, leads=leads, data_dir=data_dir, config_dir=config_dir):
        signals = at_rate(one.recording, FS)
        counted = np.isfinite(signals).all(axis=0) & ~one.in_flutter(np.arange(signals.shape[1]) / FS)
        trained.append(Trained(np.nan_to_num(signals), one.beats * FS, counted))
        database, _, name = one.recording.record.partition("/")
        people.setdefault(database, []).append(one.recording.patient or name)
    network = train_network(trained, steps=steps, seed=seed, progress=progress)
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    card = {
        "kind": "r_peaks",
        "title": "R peaks in any lead",
        "description": "1-D U-Net: the probability of an R peak 62.5 times a second from one lead at 125 Hz",
        "parameters": sum(array.size for array in arrays.values()),
        "trained_on": {name: {"recordings": len(own), "people": len(set(own))} for name, own in people.items()},
        "command": command,
        "expected": {},  # `keep_expected`
        "attribution": [one.citation for one in about],
        "licence": ", ".join(sorted({one.licence or "not stated" for one in about})),
    }
    write_weights(output, arrays, card)
    return card


def evaluate_detector(
    detector: str,
    on: Sequence[str],
    *,
    records: str | None = None,
    exclude: Sequence[str] = (),
    leads: Sequence[Any] = (0,),
    change: str = "none",
    data_dir: Path = Path("data"),
    config_dir: Path | None = None,
) -> list[dict[str, Any]]:
    """Compare detected with annotated R peaks.

    Args:
        detector: as for `detect_r_peaks`.
        on, records, exclude, leads: what to test on, see `annotated_recordings`.
        change: of the signals beforehand, one of `CHANGES`, or another rate such as ``250 Hz``.

    Returns:
        In plain values for each record, and last for all beats (``gross``): beats, missed, extra, sensitivity,
        positive predictivity, and quantiles of the distance in ms, of ventricular beats too; None without any beat.

    Raises:
        ConfigError, DataError, CheckpointError: as `annotated_recordings` and `detect_r_peaks`.
    """
    rows, errors, ventricular = [], [], []
    for one in annotated_recordings(on, records, exclude, leads=leads, data_dir=data_dir, config_dir=config_dir):
        recording = changed(one.recording, change)
        peaks = detect_r_peaks(recording.signals, recording.fs, detector=detector).samples / recording.fs
        peaks = peaks[~one.in_flutter(peaks)]
        annotated_us, found_us = (np.round(1e6 * times).astype(np.int64) for times in (one.beats, peaks))
        pairs = match(annotated_us, found_us, 1e6 * WINDOW_S)
        errors.append(1000 * np.abs(one.beats[pairs[:, 0]] - peaks[pairs[:, 1]]))
        ventricular.append(one.ventricular[pairs[:, 0]])
        missed, extra = len(one.beats) - len(pairs), len(peaks) - len(pairs)
        rows.append(_row(recording.record, missed, extra, errors[-1], ventricular[-1]))
    missed, extra = (sum(row[key] for row in rows) for key in ("missed", "extra"))
    return [*rows, _row("gross", missed, extra, np.concatenate(errors), np.concatenate(ventricular))]


def _row(record: str, missed: int, extra: int, errors: Floats, ventricular: BoolArray) -> dict[str, Any]:
    n, of_v = len(errors), errors[ventricular]
    parts = {"se": (n, n + missed), "ppv": (n, n + extra)}
    quantiles = {"median_ms": (errors, 0.5), "p95_ms": (errors, 0.95), "v_p95_ms": (of_v, 0.95)}
    return {
        **{"record": record, "beats": n + missed, "missed": missed, "extra": extra},
        **{key: found / total if total else None for key, (found, total) in parts.items()},
        **{key: float(np.quantile(of, q)) if len(of) else None for key, (of, q) in quantiles.items()},
    }


def keep_expected(weights: str, protocol: str, gross: Mapping[str, Any]) -> None:
    """State a gross result and its protocol in the card of weights, by name or ``.safetensors``."""
    arrays, card = read_weights(weights)
    scores = {key: value for key, value in gross.items() if key != "record"}
    write_weights(weights_file(weights), arrays, {**card, "expected": {**card["expected"], protocol: scores}})


CHANGES = {  # factor, what is added in mV, and frequency in Hz of a hum of 0.2 mV
    "none": (1, 0, 0),
    "inverted": (-1, 0, 0),
    "gain 1000": (1000, 0, 0),
    "offset 5 mV": (1, 5, 0),
    "hum 50 Hz": (1, 0, 50),
    "hum 60 Hz": (1, 0, 60),
}


def changed(recording: Recording, change: str) -> Recording:
    """A recording after one of `CHANGES`, or at another rate such as ``250 Hz``."""
    rate, _, unit = change.partition(" ")
    if change in CHANGES:
        (factor, added, hz), time = CHANGES[change], np.arange(recording.signals.shape[1]) / recording.fs
        return replace(recording, signals=factor * recording.signals + added + 0.2 * np.sin(2 * np.pi * hz * time))
    if unit == "Hz" and rate.isdecimal() and 1 <= int(rate) <= FASTEST:
        return replace(recording, signals=at_rate(recording, float(rate)), fs=float(rate))
    raise ConfigError(f"change={change}: expected {', '.join(CHANGES)}, or a rate such as '250 Hz'")


def annotated_recordings(
    on: Sequence[str],
    records: str | None = None,
    exclude: Sequence[str] = (),
    *,
    leads: Sequence[Any],
    data_dir: Path = Path("data"),
    config_dir: Path | None = None,
) -> Iterator[Reference]:
    """Recordings of databases with annotated beats, one after the other.

    Args:
        on: names of databases.
        records: names with commas between, or a list of a split such as ``ds1_ds2:train``; None is all. Patterns such
            as ``svdb/8?[02468]`` may name the database.
        exclude: names or patterns of records that are not used.
        leads: as ``dataset.leads``.

    Raises:
        ConfigError: there is no such database, split or record, or a database has no annotated beats.
        DataError: files are absent or damaged.
    """
    wanted = None if records is None else _listed(records, config_dir)
    unused, n = set(wanted or ()) | set(exclude), 0
    for name, card in load_cards(config_dir, on).items():
        source = source_of(card.model_copy(update={"leads": list(leads)}), data_dir)
        if not isinstance(source, Recordings) or card.annotator is None or source.class_map is None:
            raise ConfigError(f"{name} has no recordings with annotated beats; choose a database that has, as mitbih")
        for path in tracked(source.records(), f"reading {name}", "records"):
            fitting = {pattern for pattern in (*(wanted or ()), *exclude) if _fits(f"{name}/{path.name}", pattern)}
            unused -= fitting
            if not fitting & set(exclude) and (wanted is None or fitting):
                n += 1
                recording = source.recording(path, name=f"{name}/{path.name}")
                annotations, clock = source.open(path).annotations(card.annotator)
                beats = annotated(annotations, source.class_map, WINDOW_S * clock)
                is_v = beats.labels == LABELS.index("V")
                yield Reference(recording, beats.samples / clock, is_v, beats.fibrillation / clock)
    if unused or not n:
        raise ConfigError(f"there is no record {', '.join(sorted(unused)) or 'that is left'} in {', '.join(on)}")


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def _listed(records: str, config_dir: Path | None) -> list[str]:
    """Names or patterns of records that an option names."""
    split, colon, side = records.partition(":")
    if not colon:
        return [name.strip() for name in records.split(",") if name.strip()]
    lists = compose([f"split={split}"], output_dir=".", config_dir=config_dir).split
    if side not in ("train", "test") or not lists.get(side):
        raise ConfigError(f"records {records}: expected a split with lists of records, as ds1_ds2:train or :test")
    return [str(name) for name in lists[side]]
