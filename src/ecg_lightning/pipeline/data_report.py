"""What is in a database: from its card, recordings and beats to facts that a page shows, without training."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.paths import home_expanded
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.cache import cached_beats
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.card import cards_of, class_map_of, title_of
from ecg_lightning.data.databases.joined import Joined
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.names import Names, numbered
from ecg_lightning.data.quality import POOR, QRS_S, flat_and_clipped, merged
from ecg_lightning.data.recording import Recording
from ecg_lightning.data.splits import without_duplicates
from ecg_lightning.data.stored import Storage
from ecg_lightning.data.windows import at_rate
from ecg_lightning.explain.facts import AFTER_S, BEFORE_S, ClassFacts
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated

PER_RECORD = 100  # beats of a class and record in its typical beat at most, so that no record is most of it
OF_ROWS = 5000  # the same where records are not known
BINS = 10  # of quality
NO_ROWS = np.arange(0)
MANY = 0.5  # share of the beats of a class that is odd to be of one person


@dataclass(frozen=True, kw_only=True)
class RecordFacts:
    """One recording."""

    record: str
    patient: str | None
    seconds: float
    fs: float  # Hz
    leads: tuple[str, ...]  # that its file has
    used: tuple[str, ...]  # of these, in the order in which the beats have them
    counts: Mapping[str, int]  # beats by class
    rr: npt.NDArray[np.float64]  # [b - 1] intervals in s
    gap_s: float  # seconds in which a lead that is used has no signal …
    flat_s: float  # … stays the same …
    clipped_s: float  # … or is at its lowest or highest value for long
    heights: tuple[float, ...]  # of QRS complexes in mV, median of each lead
    quality: float | None  # mean of its beats
    poor: float  # share of its beats with a quality below `POOR`

    @property
    def heart_rate(self) -> float | None:
        """Median, beats a minute."""
        return 60 / float(np.median(self.rr)) if len(self.rr) else None


# What is odd about a recording: the end of a sentence, and whether it holds.
ODD: Mapping[str, Callable[[RecordFacts], bool]] = {
    "gaps in the leads that are read.": lambda one: one.gap_s > 0,
    "flat lines of at least 1 s in all.": lambda one: one.flat_s >= 1,
    "signal at its lowest or highest value for at least 0.2 s in all.": lambda one: one.clipped_s >= 0.2,
    "QRS complexes below 0.05 mV: is the unit right?": lambda one: min(one.heights, default=1) < 0.05,
    "QRS complexes above 10 mV: is the unit right?": lambda one: max(one.heights, default=1) > 10,
    "RR intervals below 0.2 s.": lambda one: bool((one.rr < 0.2).any()),
    "RR intervals above 3 s.": lambda one: bool((one.rr > 3).any()),
    f"more than 10 % of beats with a signal quality below {POOR:g}.": lambda one: one.poor > 0.1,
    "no beat of any class.": lambda one: not any(one.counts.values()),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class DataReport:
    """What a page shows of a database, or of several."""

    title: str
    about: Mapping[str, Mapping[str, Any]]  # by database: licence, citation, homepage
    synthetic: bool
    class_map: str
    lead_names: tuple[str, ...]
    fs: float  # of typical beats, Hz
    n_patients: int | None  # None where they are not known
    left_out: int  # records of other diagnoses
    dropped: Mapping[str, Any]  # beats without class, by symbol, and beats that touch a gap
    classes: Sequence[ClassFacts]
    records: Sequence[RecordFacts]  # empty where beats came without them: typical beats are scaled, else in mV
    quality: Sequence[int]  # beats in each of `BINS`, from 0 to 1; empty where it is not known
    odd: Sequence[str]  # what deserves a look, a sentence each


def data_report(overrides: Iterable[str] = (), *, config_dir: Path | None = None) -> DataReport:
    """Read the recordings and beats that a configuration describes.

    Args:
        overrides: as for ``ecg-lightning train``, such as ``dataset=svdb`` and ``dataset.leads=[0,1]``.
        config_dir: folder with more cards.

    Raises:
        ConfigError, DataError: settings are unknown or do not fit each other; the data are absent or damaged.
    """
    config = validated(compose(overrides, output_dir=".", config_dir=config_dir))
    dataset = config["dataset"]
    source = make_source(dataset, config["context"], home_expanded(config["data_dir"]))
    beats = cached_beats(source, home_expanded(config["cache_dir"]), Storage(**config["storage"]))
    joined = isinstance(source, Joined)
    windows: dict[str, list[FloatArray]] = defaultdict(list)
    rows_of = dict(_groups(beats.records)) if beats.records is not None else {}
    records: list[RecordFacts] = []
    odd: list[str] = []
    left_out = 0
    for part in source.parts if isinstance(source, Joined) else (source,):
        known = len(records)
        for recording, leads, used in _recordings(part):
            name = f"{part.name}/{recording.record}" if joined else recording.record
            _collect(windows, recording, beats.classes, part.classes, beats.fs)
            records.append(_facts(name, recording, leads, used, beats, rows_of.get(name, NO_ROWS)))
        odd += _odd_records(records[known:])
        left_out += len(part.records()) - (len(records) - known) if isinstance(part, Recordings) else 0
    rows_of_class = {beats.classes[label]: rows for label, rows in _groups(beats.known_labels)}
    if not records:
        windows.update((name, [_window_of_rows(beats, rows)]) for name, rows in rows_of_class.items())
    people = beats.records if beats.patients is None else beats.patients
    owners = {} if people is None else {name: Counter(people[rows].tolist()) for name, rows in rows_of_class.items()}
    return DataReport(
        title=title_of(dataset),
        about={name: card["about"] for name, card in cards_of(dataset).items()},
        synthetic=beats.synthetic,
        class_map=class_map_of(dataset),
        lead_names=beats.lead_names,
        fs=beats.fs,
        n_patients=None if beats.patients is None else len(numbered(beats.patients)[0]),
        left_out=left_out,
        dropped=beats.origin.get("dropped", {}),
        classes=[
            _class_facts(name, beats, rows_of_class.get(name, NO_ROWS), owners.get(name), windows.get(name, []))
            for name in beats.classes
        ],
        records=records,
        quality=[] if beats.quality is None else np.histogram(beats.quality, BINS, (0, 1))[0].tolist(),
        odd=[*_odd_beats(beats, owners), *odd],
    )


def _groups(column: Names | IntArray) -> Iterator[tuple[Any, IntArray]]:
    """Each value of a column ``[n]`` with the rows that have it."""
    values, which = numbered(column) if isinstance(column, Names) else np.unique(column, return_inverse=True)
    order = np.argsort(which, kind="stable")
    yield from zip(values.tolist(), np.split(order, np.cumsum(np.bincount(which))[:-1]), strict=True)


def _recordings(part: Source) -> Iterator[tuple[Recording, tuple[str, ...], tuple[str, ...]]]:
    """The recordings of a source, if it has any, with the names of all leads and of those that are used."""
    if isinstance(part, Recordings):
        files = {name: record for record, name in part.names(part.records()).items()}
        for recording in part.recordings():
            file = part.open(files[recording.record])
            yield recording, file.lead_names, tuple(file.lead_names[at] for at in file.positions(part.leads))
    elif isinstance(part, Synthetic):
        for recording in part.recordings():
            yield recording, recording.lead_names, recording.lead_names


def _collect(
    windows: dict[str, list[FloatArray]], recording: Recording, classes: Sequence[str], own: Sequence[str], fs: float
) -> None:
    """Add stretches ``[n, leads, t]`` around some R peaks of each class, in mV around the median of each."""
    assert recording.labels is not None
    signals = at_rate(recording, fs)
    at = np.round(recording.peaks * (fs / recording.fs)).astype(np.int64)
    around = np.arange(-round(BEFORE_S * fs), round(AFTER_S * fs) + 1)
    inside = (at + around[0] >= 0) & (at + around[-1] < signals.shape[1])
    for label, name in enumerate(own):
        peaks = at[inside & (recording.labels == label)]
        window = signals[:, _some(peaks, PER_RECORD)[:, None] + around].transpose(1, 0, 2)
        window = window[np.isfinite(window).all(axis=(1, 2))]
        if len(window):
            windows[name].append(window - np.median(window, axis=2, keepdims=True))


def _window_of_rows(beats: Beats, rows: IntArray) -> FloatArray:
    """Some beats that came without recordings, NaN after their end."""
    rows = _some(rows, OF_ROWS)
    beyond = np.arange(beats.length) >= beats.lengths[rows, None, None]
    return np.where(beyond, np.float32(np.nan), beats.signals[rows])


def _some(rows: IntArray, n: int) -> IntArray:
    """At most `n` of them, at even distances."""
    return rows[np.linspace(0, len(rows) - 1, min(n, len(rows))).astype(np.int64)]


def _class_facts(
    name: str, beats: Beats, rows: IntArray, owners: Counter[str] | None, windows: Sequence[FloatArray]
) -> ClassFacts:
    """What is shown of a class, whose beats are `rows` and some of them in `windows`."""
    typical, n_typical = None, sum(map(len, windows))
    if windows:
        shown = np.concatenate(windows)
        there = np.isfinite(shown).mean(axis=(0, 1)) >= 0.5  # until half of the beats have ended
        typical = tuple(np.nanquantile(shown[:, :, there], (0.1, 0.5, 0.9), axis=0))
    quality, poor = _quality(beats, rows, np.median)
    return ClassFacts(
        name=name,
        n=len(rows),
        people=None if owners is None else len(owners),
        quality=quality,
        poor=poor,
        typical=typical,
        n_typical=n_typical,
    )


def _facts(
    name: str, recording: Recording, leads: tuple[str, ...], used: tuple[str, ...], beats: Beats, rows: IntArray
) -> RecordFacts:
    """What is shown of a recording, whose beats are `rows`."""
    fs, signals = recording.fs, recording.signals
    flat, clipped = map(merged, zip(*(flat_and_clipped(signal, fs) for signal in signals), strict=True))
    reach = round(QRS_S * fs)
    inside = (recording.peaks >= reach) & (recording.peaks < signals.shape[1] - reach)
    peaks = _some(recording.peaks[inside], PER_RECORD)
    heights = np.ptp(signals[:, peaks[:, None] + np.arange(-reach, reach + 1)], axis=2)
    heights = heights[:, np.isfinite(heights).all(axis=0)]
    quality, poor = _quality(beats, rows, np.mean)
    counted = np.bincount(beats.known_labels[rows], minlength=len(beats.classes)).tolist()
    return RecordFacts(
        record=name,
        patient=recording.patient,
        seconds=signals.shape[1] / fs,
        fs=fs,
        leads=leads,
        used=used,
        counts=dict(zip(beats.classes, counted, strict=True)),
        rr=np.diff(recording.peaks) / fs,
        gap_s=float(np.isnan(signals).any(axis=0).sum() / fs),
        flat_s=float(np.ptp(flat, axis=1).sum() / fs),
        clipped_s=float(np.ptp(clipped, axis=1).sum() / fs),
        heights=tuple(np.median(heights, axis=1).tolist()) if heights.size else (),
        quality=quality,
        poor=poor,
    )


def _quality(beats: Beats, rows: IntArray, middle: Callable[[FloatArray], Any]) -> tuple[float | None, float]:
    """Median or mean of the signal quality of some beats, None where it is not known; and the share that is poor."""
    if beats.quality is None or not len(rows):
        return None, 0.0
    quality = beats.quality[rows]
    return float(middle(quality)), float((quality < POOR).mean())


def _odd_beats(beats: Beats, of_people: Mapping[str, Counter[str]]) -> Iterator[str]:
    """What is odd about beats and who they are of."""
    whose = "record" if beats.patients is None else "person"
    for name, count in beats.counts().items():
        if not count:
            yield f"No beat is of class {name}."
        elif of_people.get(name):
            (first, most), *_ = of_people[name].most_common(1)
            if len(of_people[name]) == 1:
                yield f"All {count:,} beats of class {name} are of one {whose}, {first}."
            elif most > MANY * count:
                yield f"{100 * most / count:.0f} % of the {count:,} beats of class {name} are of one {whose}, {first}."
    if beats.patients is None:
        yield "It is not known whose beats these are, so they cannot be split by patient."
    if copies := len(beats) - len(without_duplicates(beats)):
        yield f"{copies:,} beats equal another to the last bit; dataset.drop_duplicates=true takes them out."


def _odd_records(records: Sequence[RecordFacts]) -> Iterator[str]:
    """What is odd about recordings."""
    for where, values in {
        "sampled at": [f"{one.fs:g} Hz" for one in records],
        "read from": [" and ".join(one.used) for one in records],
    }.items():
        (usual, n), *others = Counter(values).most_common() or [("", 0)]
        for other, _ in others[:5]:
            own = [one for one, value in zip(records, values, strict=True) if value == other]
            be, at = "is" if len(own) == 1 else "are", where.split()[-1]
            yield f"{_named(own)} {be} {where} {other}, most ({n}) {at} {usual}."
    for what, has in ODD.items():
        if own := [one for one in records if has(one)]:
            yield f"{_named(own)} {'has' if len(own) == 1 else 'have'} {what}"


def _named(records: Sequence[RecordFacts]) -> str:
    names = ", ".join(one.record for one in records[:8])
    if len(records) > 8:
        return f"{len(records)} records ({names}, …)"
    return f"Record{'s' * (len(records) > 1)} {names}"
