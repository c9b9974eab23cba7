"""Training the detector of R peaks on annotated recordings, and testing detectors beat by beat.

Sensitivity and positive predictivity are counted over whole records with a window of 150 ms (ANSI/AAMI EC57), without
ventricular flutter, in which no beats are annotated.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.weights import read_weights, weights_file, write_weights
from ecg_lightning.data.beats import BoolArray, FloatArray, IntArray
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.rpeak_network import FS
from ecg_lightning.data.recording import Annotations, make_leads
from ecg_lightning.data.rpeaks import detect_r_peaks
from ecg_lightning.data.windows import resample_around_gaps
from ecg_lightning.pipeline.cards import load_cards, source_of
from ecg_lightning.pipeline.config import compose

WINDOW_S = 0.15  # between an annotated and a detected R peak of the same beat
VENTRICULAR = ("V", "E")

Signals = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]


class Annotated(NamedTuple):
    """A recording with annotated beats; all times in seconds."""

    name: str  # database/record
    patient: str
    signals: Signals  # [leads, t], NaN in gaps
    fs: float
    beats: Floats  # [b] R peaks
    symbols: npt.NDArray[np.str_]  # [b]
    flutter: Sequence[tuple[float, float]]  # begin and end

    def in_flutter(self, times: Floats) -> BoolArray:
        """Which of these times ``[n]`` are in ventricular flutter."""
        within = np.zeros(len(times), dtype=bool)
        for start, stop in self.flutter:
            within |= (times >= start) & (times <= stop)
        return within


@dataclass(frozen=True, kw_only=True, eq=False)
class Detection:
    """How a detector did on one record, or on all together."""

    record: str
    missed: int
    extra: int
    errors: FloatArray  # [matched] distance from the annotated R peak in ms
    ventricular: BoolArray  # [matched]

    @property
    def n(self) -> int:
        """Annotated beats."""
        return len(self.errors) + self.missed

    def plain(self) -> dict[str, Any]:
        """Counts, sensitivity, positive predictivity, and distances in ms; None where there is no beat."""
        matched, found = len(self.errors), len(self.errors) + self.extra
        of_v = self.errors[self.ventricular]
        quantiles = {
            f"{name}_ms": float(np.quantile(values, q)) if len(values) else None
            for name, values, q in (("median", self.errors, 0.5), ("p95", self.errors, 0.95), ("v_p95", of_v, 0.95))
        }
        rates = {"se": matched / self.n if self.n else None, "ppv": matched / found if found else None}
        return {"record": self.record, "beats": self.n, "missed": self.missed, "extra": self.extra, **rates, **quantiles}


def train_detector(
    on: Sequence[str],
    output: Path,
    *,
    records: str | None = None,
    exclude: Sequence[str] = (),
    steps: int = 4000,
    seed: int = 0,
    expected_of: str | None = None,
    command: str = "",
    data_dir: Path = Path("data"),
    config_dir: Path | None = None,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Mapping[str, Any]:
    """Train the network on all leads of recordings, and write ``OUTPUT.safetensors`` with its card ``OUTPUT.json``.

    Args:
        on, records, exclude: databases and which of their records, see `annotated_recordings`.
        expected_of: weights of the same recipe from fewer people, whose scores on others are expected of these.
        command: that the card states.
        progress: gets each step and its loss.

    Raises:
        ConfigError: there is no such database or record, or it has no annotated beats.
        DataError: recordings are missing or damaged, or the output cannot be written.
    """
    from ecg_lightning.training.detector import Trained, train_network

    trained, people = [], dict[str, list[str]]()
    for one in annotated_recordings(on, records, exclude, data_dir=data_dir, config_dir=config_dir):
        signals = np.stack([resample_around_gaps(signal, one.fs, FS) for signal in one.signals])
        counted = np.isfinite(signals).all(axis=0) & ~one.in_flutter(np.arange(signals.shape[1]) / FS)
        trained.append(Trained(np.nan_to_num(signals), one.beats * FS, counted))
        people.setdefault(one.name.partition("/")[0], []).append(one.patient)
    expected = {} if expected_of is None else read_weights(expected_of).card["expected"]
    network = train_network(trained, steps=steps, seed=seed, progress=progress)
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    about = [card.about for card in load_cards(config_dir, on).values()]
    card = {
        "kind": "r_peaks",
        "title": "R peaks in any lead",
        "description": "1-D U-Net: the probability of an R peak 62.5 times a second from one lead at 125 Hz",
        "parameters": sum(array.size for array in arrays.values()),
        "trained_on": {name: {"recordings": len(own), "people": len(set(own))} for name, own in people.items()},
        "command": command,
        "expected": expected,
        "attribution": [one.citation for one in about],
        "licence": ", ".join(sorted({one.licence or "not stated" for one in about})),
    }
    write_weights(output, arrays, card)
    return card


def test_detector(
    detector: str,
    on: Sequence[str],
    *,
    records: str | None = None,
    exclude: Sequence[str] = (),
    leads: Sequence[Any] = (0,),
    change: str = "none",
    data_dir: Path = Path("data"),
    config_dir: Path | None = None,
) -> list[Detection]:
    """Compare detected with annotated R peaks, record by record.

    Args:
        detector: as for `detect_r_peaks`.
        on, records, exclude: databases and which of their records, see `annotated_recordings`.
        leads: to detect in, as ``dataset.leads``.
        change: of the signals beforehand, one of `CHANGES`, or another rate such as ``250 Hz``.

    Returns:
        A `Detection` for each record, and last the ``gross`` one of all beats.

    Raises:
        ConfigError, DataError, CheckpointError: as `annotated_recordings` and `detect_r_peaks`.
    """
    found = []
    for one in annotated_recordings(on, records, exclude, leads=leads, data_dir=data_dir, config_dir=config_dir):
        signals, fs = changed(one.signals, one.fs, change)
        peaks = detect_r_peaks(signals, fs, detector=detector).samples / fs
        peaks = peaks[~one.in_flutter(peaks)]
        counted = ~one.in_flutter(one.beats)
        beats, symbols = one.beats[counted], one.symbols[counted]
        pairs = match(beats, peaks, WINDOW_S)
        found.append(
            Detection(
                record=one.name,
                missed=len(beats) - len(pairs),
                extra=len(peaks) - len(pairs),
                errors=1000 * np.abs(beats[pairs[:, 0]] - peaks[pairs[:, 1]]),
                ventricular=np.isin(symbols[pairs[:, 0]], VENTRICULAR),
            )
        )
    gross = Detection(
        record="gross",
        missed=sum(one.missed for one in found),
        extra=sum(one.extra for one in found),
        errors=np.concatenate([one.errors for one in found]),
        ventricular=np.concatenate([one.ventricular for one in found]),
    )
    return [*found, gross]


def keep_expected(detector: str, protocol: str, gross: Mapping[str, Any]) -> None:
    """State a gross result in the card of the weights of ``network:WEIGHTS``, under the protocol of the test."""
    weights = detector.partition(":")[2] or "rpeaks"
    arrays, card = read_weights(weights)
    scores = {key: value for key, value in gross.items() if key != "record"}
    write_weights(weights_file(weights), arrays, {**card, "expected": {**card["expected"], protocol: scores}})


def match(reference: Floats, test: Floats, window: float) -> IntArray:
    """Pairs ``[p, 2]`` of positions in two ascending series that are nearest to each other, at most `window` apart."""
    if not len(reference) or not len(test):
        return np.empty((0, 2), dtype=np.int64)
    nearest = [
        np.abs(one[:, None] - two[np.clip(np.searchsorted(two, one)[:, None] + [-1, 0], 0, len(two) - 1)])
        for one, two in ((reference, test), (test, reference))
    ]
    places = [
        np.clip(np.searchsorted(two, one) - 1 + gaps.argmin(axis=1), 0, len(two) - 1)
        for one, two, gaps in ((reference, test, nearest[0]), (test, reference, nearest[1]))
    ]
    ours = np.arange(len(reference))
    mutual = (places[1][places[0]] == ours) & (nearest[0].min(axis=1) <= window)
    return np.stack([ours[mutual], places[0][mutual]], axis=1)


CHANGES: Mapping[str, Callable[[Signals, float], Signals]] = {
    "none": lambda signals, fs: signals,
    "inverted": lambda signals, fs: -signals,
    "gain 1000": lambda signals, fs: 1000 * signals,
    "offset 5 mV": lambda signals, fs: signals + 5,
    "hum 50 Hz": lambda signals, fs: signals + 0.2 * np.sin(2 * np.pi * 50 * np.arange(signals.shape[1]) / fs),
    "hum 60 Hz": lambda signals, fs: signals + 0.2 * np.sin(2 * np.pi * 60 * np.arange(signals.shape[1]) / fs),
}


def changed(signals: Signals, fs: float, change: str) -> tuple[Signals, float]:
    """Signals ``[leads, t]`` after one of `CHANGES`, or at another rate such as ``250 Hz``, and their rate."""
    if change in CHANGES:
        return CHANGES[change](signals, fs), fs
    rate, _, unit = change.partition(" ")
    if unit != "Hz" or not rate.isdecimal() or not int(rate):
        raise ConfigError(f"change={change}: expected {', '.join(CHANGES)}, or a rate such as '250 Hz'")
    return np.stack([resample_around_gaps(signal, fs, float(rate)) for signal in signals]), float(rate)


def annotated_recordings(
    on: Sequence[str],
    records: str | None = None,
    exclude: Sequence[str] = (),
    *,
    leads: Sequence[Any] | None = None,
    data_dir: Path = Path("data"),
    config_dir: Path | None = None,
) -> Iterator[Annotated]:
    """Recordings of databases with annotated beats, one after the other.

    Args:
        on: names of databases.
        records: names with commas between, or a list of a split such as ``ds1_ds2:train``; None is all. Patterns such
            as ``svdb/8?[02468]`` may name the database.
        exclude: names or patterns of records that are not used.
        leads: as ``dataset.leads``; None is all.

    Raises:
        ConfigError: there is no such database, split or record, or a database has no annotated beats.
        DataError: files are absent or damaged.
    """
    wanted = None if records is None else _listed(records, config_dir)
    unused = set(wanted or ()) | set(exclude)
    for name, card in load_cards(config_dir, on).items():
        source = source_of(card, data_dir)
        if not isinstance(source, Recordings) or card.annotator is None or source.class_map is None:
            raise ConfigError(f"{name} has no recordings with annotated beats; choose a database that has, as mitbih")
        for path in source.records():
            fitting = {pattern for pattern in (*(wanted or ()), *exclude) if _fits(f"{name}/{path.name}", pattern)}
            unused -= fitting
            if fitting & set(exclude) or (wanted is not None and not fitting):
                continue
            file = source.open(path)
            positions = [*range(len(file.lead_names))] if leads is None else file.positions(make_leads(list(leads)))
            annotations, clock = file.annotations(card.annotator)
            beats, _ = source.class_map.beats(annotations)
            signals, fs = file.read(positions), file.fs(positions)
            yield Annotated(
                name=f"{name}/{path.name}",
                patient=source.metadata.patient(path, path.name, file.comments) or path.name,
                signals=signals,
                fs=fs,
                beats=beats.samples / clock,
                symbols=np.asarray(beats.symbols),
                flutter=_flutter(annotations, clock),
            )
    if unused:
        raise ConfigError(f"there is no record {', '.join(sorted(unused))} in {', '.join(on)}")


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name if "/" in pattern else name.rpartition("/")[2], pattern)


def _listed(records: str, config_dir: Path | None) -> list[str]:
    """Names or patterns of records that an option names."""
    split, colon, side = records.partition(":")
    if not colon:
        return [name.strip() for name in records.split(",") if name.strip()]
    lists = compose([f"split={split}"], output_dir=".", config_dir=config_dir).split
    if side not in ("train", "test") or not lists.get(side):
        raise ConfigError(f"records {records}: expected a split with lists of records, as ds1_ds2:train or ds1_ds2:test")
    return [str(name) for name in lists[side]]


def _flutter(annotations: Annotations, clock: float) -> list[tuple[float, float]]:
    """Begin and end in s of each stretch of ventricular flutter; one that does not end lasts until the end."""
    spans, start = [], None
    for sample, symbol in zip(annotations.samples, annotations.symbols, strict=True):
        if symbol == "[":
            start = sample / clock
        elif symbol == "]" and start is not None:
            spans.append((start, sample / clock))
            start = None
    return spans if start is None else [*spans, (start, np.inf)]
