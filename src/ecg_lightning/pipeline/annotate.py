"""Annotating a recording: R peaks, cut beats, their classes, piece by piece at any length.

The signals are read once, at their own rate in pieces and then at that of the model's beats into a temporary file; all
that grows with the recording in memory is the table of its beats. Nothing is imported that needs torch unless the model
does.
"""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import ThreadpoolController

from ecg_lightning.core.atomic import cannot_write_temporary, temporary_file
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.threads import available_threads
from ecg_lightning.data.beats import BoolArray, FloatArray, IntArray
from ecg_lightning.data.context import LOCAL_BEATS, STRIDE, rhythm
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.data.labels import BEAT_SYMBOLS, ClassMap, make_class_map
from ecg_lightning.data.quality import POOR, Stretches, merged, purity, signal_held
from ecg_lightning.data.readers import open_recording
from ecg_lightning.data.readers.annotations import check_beats
from ecg_lightning.data.readers.base import CHUNK_S, RecordingFile, Signal
from ecg_lightning.data.recording import Annotations, Recording, make_leads
from ecg_lightning.data.rpeaks import DETECTORS, RPeaks, StreamingDetector, detect_r_peaks
from ecg_lightning.data.stream import resampled_pieces
from ecg_lightning.data.windows import bridged, cut_at, peaks_at
from ecg_lightning.pipeline.predictor import Predictor, load_predictor

UNCLASSIFIED = "Q"  # class and symbol of a beat that is left without one; of AAMI EC57
GROUP = 400 * STRIDE  # beats that are cut and classified at once
AROUND_S = 5.0  # seconds of signal before and after such a group
LONE_RR_S = 1.0  # taken for the interval after the last beat where there is none before it
LAST_RR = 10  # intervals whose median is taken for it otherwise

Progress = Callable[[float], None]  # is told which part of the work is done, 0 to 1


def annotate(
    recording: Path | str | Recording,
    model: str | Path | Predictor = "cnet",
    *,
    leads: Sequence[Any] | None = None,
    peaks: str | None = None,
    detector: str = "network",
    abstain: float | None = None,
    operating_point: bool = False,
    chunk_s: float = CHUNK_S,
    progress: Progress | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Find and classify the beats of a recording.

    Args:
        recording: path of a file, of WFDB with or without extension; or a `Recording`.
        model: weights that ship by name, a run's folder, a checkpoint, an exported ``.onnx``, or a loaded predictor.
        leads: positions or names, as ``dataset.leads``; None for those of the model's training.
        peaks: who annotated the R peaks, such as ``atr``, and of a `Recording` any text for its own; None detects them.
        detector: as for `detect_r_peaks`. The network works piece by piece, others on the whole recording in memory.
        abstain: confidence below which a beat is left unclassified; None classifies every beat.
        operating_point: classify at that of the model, not by the most probable class; confidences are then no longer
            calibrated, and `abstain` promises nothing.
        chunk_s: seconds that are read at once. The beats do not depend on it.
        progress: is told now and then which part is done.
        settings: what the file does not state, as in `open_recording`: ``fs``, ``unit``, ``gain``, …

    Returns:
        A row for each beat, in order: ``sample`` on the recording's own clock, ``time_s``, WFDB ``symbol``, ``class``,
        ``p_CLASS`` for each class of the model, ``confidence`` (the largest of them), ``rr_s`` to the beat before
        (NaN of the first), signal ``quality`` (see `ecg_lightning.data.quality`), ``peak`` (the detector's probability,
        NaN if R peaks were given) and ``flag``: of ``gap``, ``no signal``, ``noisy``, ``uncertain`` those that hold,
        joined by commas. A beat that cannot be or is not classified has class and symbol Q; none is left out.

        ``attrs["about"]`` says in plain values what was done: record, leads, rate, model, detector, unusable stretches.

    Raises:
        DataError: the recording is absent, cut off or damaged, or lacks the lead or the annotations.
        CheckpointError: the model cannot be loaded.
        ConfigError: settings that are none, or a model whose beats cannot be cut out of a recording.
    """
    if detector.partition(":")[0] not in DETECTORS:
        raise ConfigError(f"there is no detector {detector!r}; choose one of {', '.join(DETECTORS)}")
    if abstain is not None and not 0 <= abstain <= 1:
        raise ConfigError(f"abstain={abstain}: expected a confidence from 0 to 1")
    predictor = model if isinstance(model, Predictor) else load_predictor(model)
    predictor = predictor.at_operating_point() if operating_point else predictor
    point = predictor.operating_point if predictor.is_at_operating_point else None
    file = _InMemory(recording) if isinstance(recording, Recording) else open_recording(recording, **settings)
    positions = file.positions(make_leads(list(leads if leads is not None else predictor.input.leads)))
    if len(positions) != len(predictor.input.leads):
        raise ConfigError(f"the model takes {len(predictor.input.leads)} leads, leads={leads} chooses {len(positions)}")
    # Work is divided among threads of our own; those of numpy's products would be in their way.
    products = ThreadpoolController().select(internal_api="openblas").limit(limits=1)
    with temporary_file() as store, ThreadPoolExecutor(available_threads()) as threads, products:
        how = _How(predictor, positions, peaks, detector, chunk_s, progress or (lambda part: None), threads)
        try:
            signals = _Signals(file, how, store)
            found = how.given(file) if peaks is not None else signals.detected
            beats = _classified(found, signals, how, abstain)
        except BaseException:  # Ctrl-C, too: what has not begun is not waited for
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    beats.attrs["about"] = {
        "record": file.name,
        "path": str(file.path),
        "fs": signals.rate,
        "duration_s": file.n_frames / file.frame_rate,
        "start": file.start,
        "leads": [file.lead_names[at] for at in positions],
        "all_leads": list(file.lead_names),
        "task": predictor.task,
        "classes": list(predictor.classes),
        "model": predictor.name if isinstance(model, Predictor) else str(model),
        "annotator": peaks,  # of the R peaks
        "detector": detector if peaks is None else None,
        "operating_point": None if point is None else dict(point.factors),
        "threshold": abstain,
        "promise": predictor.calibration.promise(abstain) if abstain is not None and predictor.calibration else None,
        "unusable": signals.unusable,
        "versions": {"ecg_lightning": importlib.metadata.version("ecg-lightning")},
    }
    return beats


@dataclass(frozen=True)
class _How:
    predictor: Predictor
    positions: list[int]
    peaks: str | None
    detector: str
    chunk_s: float
    progress: Progress
    threads: ThreadPoolExecutor
    predicting: Lock = field(default_factory=Lock)  # a model has threads of its own

    @property
    def input(self) -> InputSpec:
        return self.predictor.input

    def given(self, file: RecordingFile) -> RPeaks:
        """The annotated R peaks, on the clock of the signals."""
        assert self.peaks is not None
        annotations, clock = file.annotations(self.peaks)
        beats, _ = make_class_map(self.predictor.class_map or "aami").beats(annotations)
        samples = np.round(beats.samples * (file.fs(self.positions) / clock)).astype(np.int64)
        end = round(file.n_frames / file.frame_rate * file.fs(self.positions))
        check_beats(samples, f"the annotations of {file.path} by {self.peaks}", end)
        return RPeaks(samples, np.full(len(samples), np.nan, dtype=np.float32))


class _InMemory(RecordingFile):
    """A `Recording` as an opened file."""

    def __init__(self, recording: Recording) -> None:
        self.path, self.name, self.lead_names = Path(recording.record), recording.record, recording.lead_names
        self.frame_rate, self.n_frames = recording.fs, recording.signals.shape[1]
        self.samples_per_frame, self.comments = (1,) * len(self.lead_names), recording.comments
        self._recording = recording

    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        return [self._recording.signals[at, start:stop].astype(np.float64) for at in positions]

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        samples, n = self._recording.peaks, len(self._recording.peaks)
        return Annotations(samples=samples, symbols=["N"] * n, notes=[""] * n), self.frame_rate


class _Signals:
    """The signals of a recording at the rate of the beats, in a file, and what reading them piece by piece has shown.

    Attributes:
        values: ``[leads, t]`` in mV, NaN in gaps.
        rate: sampling rate of the recording, on whose clock R peaks are.
        detected: R peaks; none where they are given.
        unusable: ``[start_s, stop_s, reason]`` of stretches without usable signal in one of the leads.
    """

    def __init__(self, file: RecordingFile, how: _How, store: Any) -> None:
        fs = how.input.how.fs
        n_leads, rates = len(how.positions), [file.fs([position]) for position in how.positions]
        self.rate, self.fs = file.fs(how.positions), fs
        self.n = [file.n_frames * file.samples_per_frame[position] for position in how.positions]
        streaming = how.peaks is None and how.detector.startswith("network")
        weights = how.detector.partition(":")[2] or "rpeaks"
        detector = StreamingDetector(n_leads, self.rate, weights=weights, threads=how.threads) if streaming else None
        stretches, gaps = [Stretches(rate) for rate in rates], list[tuple[float, float]]()
        self.low, self.high, done = np.full((n_leads, 1), np.inf), np.full((n_leads, 1), -np.inf), 0
        total = file.n_frames / file.frame_rate * fs
        for piece in resampled_pieces(file, how.positions, fs, chunk_s=how.chunk_s):
            if detector is not None and fs == StreamingDetector.FS:
                detector.push(piece.signals)
            for own, recorded in zip(stretches, piece.recorded, strict=True):
                own.push(recorded)
            in_gap = np.isnan(piece.signals).any(axis=0)
            if in_gap.any():
                edges = np.flatnonzero(np.diff(in_gap, prepend=False, append=False)).reshape(-1, 2)
                gaps += [tuple(edge) for edge in ((edges + done) / fs).tolist()]
            self.low = np.fmin(self.low, np.fmin.reduce(piece.signals, axis=1, keepdims=True))
            self.high = np.fmax(self.high, np.fmax.reduce(piece.signals, axis=1, keepdims=True))
            _write(store, piece.signals)
            done += piece.signals.shape[1]
            how.progress(0.5 * done / total)
        if detector is not None and fs != StreamingDetector.FS:
            for piece in resampled_pieces(file, how.positions, StreamingDetector.FS, chunk_s=how.chunk_s):
                detector.push(piece.signals)
        self.values: npt.NDArray[np.float32] = np.memmap(store, np.float32, "r", shape=(done, n_leads)).T
        self.stretches = [own.finish() for own in stretches]
        self.detected = RPeaks(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
        if detector is not None:
            self.detected = detector.finish()
        elif how.peaks is None:
            self.detected = detect_r_peaks(file.read(how.positions), self.rate, detector=how.detector)
        by_reason: dict[str, list[npt.NDArray[np.float64]]] = {"flat line": [], "clipped": []}
        for (flat, clipped), rate in zip(self.stretches, rates, strict=True):
            by_reason["flat line"].append(flat / rate)
            by_reason["clipped"].append(clipped / rate)
        self.unusable = sorted(
            [round(start, 3), round(stop, 3), reason]
            for reason, own in {**by_reason, "gap": [np.reshape(gaps, (-1, 2))]}.items()
            for start, stop in merged(own).tolist()
        )

    def between(self, first: int, last: int) -> FloatArray:
        """The signals from one sample to before another, in memory."""
        return np.ascontiguousarray(self.values[:, max(first, 0) : max(last, 0)])


def _write(store: Any, signals: FloatArray) -> None:
    try:
        store.write(np.ascontiguousarray(signals.T))
        store.flush()
    except OSError as error:
        raise cannot_write_temporary(error) from error


def _classified(found: RPeaks, signals: _Signals, how: _How, abstain: float | None) -> pd.DataFrame:
    """The table of the beats at these R peaks."""
    n, classes = len(found.samples), how.predictor.classes
    probabilities = np.full((n, len(classes)), np.nan, dtype=np.float32)
    quality, in_gap = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=bool)
    wanted = how.input.wanted_context
    rhythms = _rhythm(found.samples, signals.rate, wanted.causal) if wanted.rhythm else None
    held = np.min(
        [signal_held(found.samples / signals.rate, own, signals.n[lead], signals.n[lead] / signals.n[0] * signals.rate)
         for lead, own in enumerate(signals.stretches)], axis=0
    )  # fmt: skip
    groups = [slice(start, min(start + GROUP, n)) for start in range(0, n, GROUP)]
    found_in = how.threads.map(lambda group: _group(found.samples, rhythms, group, signals, how), groups)
    for group, one in zip(groups, found_in, strict=True):
        probabilities[group], quality[group], in_gap[group] = one
        how.progress(0.5 + 0.5 * group.stop / n)
    quality *= held.astype(np.float32)
    confidence = probabilities.max(axis=1, initial=0) if n else np.empty(0, dtype=np.float32)
    unclassified = np.isnan(confidence)
    uncertain = confidence < abstain if abstain is not None else np.zeros(n, dtype=bool)
    flags = {
        "gap": in_gap,
        "no signal": unclassified & ~in_gap,
        "noisy": ~unclassified & (quality < POOR),
        "uncertain": uncertain,
    }
    best = np.where(unclassified | uncertain, len(classes), np.nan_to_num(probabilities).argmax(axis=1))
    symbols = symbols_of(classes, how.predictor.class_map)
    return pd.DataFrame(
        {
            "sample": found.samples,
            "time_s": found.samples / signals.rate,
            "symbol": np.array([*symbols, UNCLASSIFIED])[best],
            "class": np.array([*classes, UNCLASSIFIED])[best],
            **{f"p_{name}": probabilities[:, at] for at, name in enumerate(classes)},
            "confidence": confidence,
            "rr_s": np.diff(found.samples, prepend=np.nan) / signals.rate,
            "quality": quality,
            "peak": found.probability,
            "flag": _joined(flags),
        }
    )


def _group(
    peaks: IntArray, rhythms: FloatArray | None, group: slice, signals: _Signals, how: _How
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Probabilities, quality without that of flat lines and clipping, and which beats touch a gap, of some beats.

    `group` begins at a multiple of STRIDE, so that the references of their morphology are those of the whole recording.
    """
    margin = -(-how.predictor.around // STRIDE) * STRIDE
    wide = slice(max(group.start - margin, 0), min(group.stop + margin, len(peaks)))
    own = slice(group.start - wide.start, group.stop - wide.start)
    probabilities, quality, in_gap = _wide_group(peaks, rhythms, wide, signals, how)
    return probabilities[own], quality[own], in_gap[own]


def _wide_group(
    peaks: IntArray, rhythms: FloatArray | None, group: slice, signals: _Signals, how: _How
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """The same with the beats around them, which a network over the sequence of beats has to see."""
    fs, n = signals.fs, group.stop - group.start
    # One stride more than causal references, for the RR interval before them.
    first, last = max(group.start - 2 * LOCAL_BEATS - STRIDE, 0), min(group.stop + LOCAL_BEATS + STRIDE, len(peaks))
    at = peaks_at(peaks[first:last], signals.rate, fs)
    offset = max(int(at[0] - AROUND_S * fs), 0)
    raw = signals.between(offset, int(at[-1] + AROUND_S * fs) + 1)
    at, here = at - offset, slice(group.start - first, group.stop - first)
    filled = np.stack([bridged(signal)[0] for signal in raw])
    around = [rhythms[group]] if rhythms is not None else []
    around += [part[here] for part in how.input.wanted_context.of_signals(at, filled, fs)]
    quality = np.min([purity(signal, at / fs, fs, signals.rate)[here] for signal in filled], axis=0)

    # The last beat of a recording ends as if the next one came as the others did.
    following = at[here.stop] if here.stop < len(at) else at[-1] + round(_last_rr(at, fs))
    cut = how.input.how
    if cut.scaling == "record":
        span = np.maximum(signals.high - signals.low, np.finfo(np.float32).tiny)
        raw, cut = ((raw - signals.low) / span).astype(np.float32), replace(cut, scaling="none")
    beats, lengths, rows = cut_at(np.append(at[here], following), raw, cut)
    context = np.concatenate(around, axis=1)[rows] if around else None
    probabilities = np.full((n, len(how.predictor.classes)), np.nan, dtype=np.float32)
    with how.predicting:
        probabilities[rows] = how.predictor(beats, lengths, context)
    missing = np.concatenate([[0], np.cumsum(np.isnan(raw).any(axis=0))])
    begins = np.clip(at[here] - round(cut.before * fs), 0, raw.shape[1])
    ends = np.clip(np.append(at[here][1:], following), begins, raw.shape[1])
    in_gap = np.isnan(probabilities[:, 0]) & (missing[ends] > missing[begins])
    return probabilities, quality.astype(np.float32), in_gap


def _rhythm(peaks: IntArray, fs: float, causal: bool) -> FloatArray:
    """The context of every beat; that of the last as if the next one came as the others did."""
    following = np.append(peaks, peaks[-1:] + round(_last_rr(peaks, fs)))
    return np.concatenate([rhythm(peaks, fs, causal=causal), rhythm(following, fs, causal=causal)[-1:]])


def _last_rr(peaks: IntArray, fs: float) -> float:
    return float(np.median(np.diff(peaks)[-LAST_RR:])) if len(peaks) > 1 else LONE_RR_S * fs


def symbols_of(classes: Sequence[str], class_map: Any) -> list[str]:
    """A WFDB symbol for each class: its own name, the first symbol that makes it, or N."""
    known: Mapping[str, Sequence[str]] = {}
    if class_map is not None:
        made: ClassMap = make_class_map(class_map)
        known = made.symbols
    candidates = [[name, *known.get(name, ()), "N"] for name in classes]
    return [next(symbol for symbol in own if symbol in BEAT_SYMBOLS) for own in candidates]


def _joined(flags: Mapping[str, BoolArray]) -> npt.NDArray[np.str_]:
    """The names of the flags that hold for each beat, joined by commas."""
    codes = sum(column.astype(np.int64) << bit for bit, column in enumerate(flags.values()))
    names = [",".join(name for bit, name in enumerate(flags) if code >> bit & 1) for code in range(2 ** len(flags))]
    joined: npt.NDArray[np.str_] = np.array(names)[codes]
    return joined
