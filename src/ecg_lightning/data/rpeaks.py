"""Detection of R peaks in a recording: by a small network that ships with the package, sleepecg, or wfdb's XQRS."""

from concurrent.futures import Executor, Future
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.core.weights import read_weights
from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.data.rpeak_network import FS, OUT_FS, STRIDE, Network, condition
from ecg_lightning.data.windows import bridged, resample, resample_around_gaps

DETECTORS = ("network", "sleepecg", "xqrs")

SHORTEST = 20  # samples at `FS`; nothing is found in less
BLOCK_S, OVERLAP_S = 1024, 64  # the overlap is wider than filters, scale, network and quality of leads together
AHEAD = 4  # blocks that wait in memory at most
UNIT = 2000  # samples: whole seconds, and whole steps of the deepest layer
THRESHOLD, APART_S = 0.3, 0.22
CANDIDATE, QUALITY_S = 0.05, 8  # peaks by which the leads are weighted, and the seconds around in which they count
REFINE_S, REFINE_HZ, REFINE_TAPS = 0.06, (5.0, 20.0), 51
PRIOR_S = 0.05  # standard deviation of the place that the network gives

Signals = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]


class RPeaks(NamedTuple):
    """R peaks on the clock of a recording, ascending, and how probable each is."""

    samples: IntArray  # [b]
    probability: FloatArray  # [b]; 1 where the detector states none


def check_detector(detector: str) -> None:
    """Raise what `detect_r_peaks` raises for a detector that does not exist, or whose weights are damaged."""
    name, _, weights = detector.partition(":")
    if name not in DETECTORS or (weights and name != "network"):
        raise ConfigError(f"detector={detector}: expected {', '.join(DETECTORS)}, or network: with a file of weights")
    if name == "network":
        _network(weights or "rpeaks")


def detect_r_peaks(signals: Signals, fs: float, *, detector: str = "network") -> RPeaks:
    """R peaks of one lead ``[t]`` or of several ``[leads, t]`` with the sampling rate `fs` in Hz; gaps are NaN.

    Args:
        detector: ``network``, which uses all leads, works at any gain, offset and polarity, and takes other weights as
            ``network:NAME`` or ``network:FILE.safetensors``; or ``sleepecg`` or ``xqrs``, which use the first lead.

    Raises:
        ConfigError: there is no such detector, or its package is not installed.
        CheckpointError: the weights are absent or damaged.
    """
    check_detector(detector)
    signals = np.atleast_2d(signals)
    name, _, weights = detector.partition(":")
    if name == "network":
        streaming = StreamingDetector(len(signals), fs, weights=weights or "rpeaks")
        if signals.shape[1]:
            streaming.push(np.stack([resample_around_gaps(signal, fs, FS) for signal in signals]))
        return streaming.finish()
    if signals.shape[1] * FS < SHORTEST * fs:
        return RPeaks(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
    signal, gaps = bridged(signals[0])
    peaks = (_sleepecg if name == "sleepecg" else _xqrs)(signal, fs)
    samples = peaks if gaps is None else peaks[~gaps[peaks]]
    return RPeaks(samples, np.ones(len(samples), dtype=np.float32))


def _sleepecg(signal: Signals, fs: float) -> IntArray:
    """Brunner & Hofer, "SleepECG", J. Open Source Softw. 8(86), 2023: Pan & Tompkins' detector in C."""
    try:
        from sleepecg import detect_heartbeats  # type: ignore[attr-defined]
    except ImportError as error:
        raise ConfigError("detector=sleepecg needs sleepecg: pip install 'ecg-lightning[detectors]'") from error
    return np.asarray(detect_heartbeats(signal.astype(np.float64), fs), dtype=np.int64)


def _xqrs(signal: Signals, fs: float) -> IntArray:
    """Found at 250 Hz and moved to the highest sample within 60 ms.

    250 Hz is the rate of XQRS's filters: at PTB's 1000 Hz it finds no beat in some records.
    """
    from wfdb.processing import xqrs_detect

    detected = xqrs_detect(resample(signal, fs, 250.0).astype(np.float64), fs=250, verbose=False) * (fs / 250.0)
    radius = round(0.06 * fs)
    starts = np.maximum(np.round(detected).astype(np.int64) - radius, 0)
    highest = [start + int(np.argmax(signal[start : start + 2 * radius + 1])) for start in starts]
    return np.unique(np.asarray(highest, dtype=np.int64))


class StreamingDetector:
    """The network on recordings of any length: memory does not grow with it, apart from the R peaks.

    The recording is divided into blocks of its own, with an overlap beyond which nothing has an influence, so the
    R peaks do not depend on how the samples are divided among the calls of `push`.

    Args:
        n_leads: of the recording; positions are refined on the first.
        fs: of the recording in Hz, on whose clock the R peaks are.
        weights: name of weights in the package, or the path of a ``.safetensors``.
        threads: in which blocks are worked on beside the caller, who waits where he would get far ahead.
    """

    FS = float(FS)  # Hz, of what is pushed

    def __init__(self, n_leads: int, fs: float, *, weights: str = "rpeaks", threads: Executor | None = None) -> None:
        self._network = _network(weights)
        self._to_clock = Fraction(fs).limit_denominator(10_000) / FS
        self._buffer = np.full((n_leads, (BLOCK_S + 2 * OVERLAP_S) * FS), np.nan, dtype=np.float32)
        self._filled = OVERLAP_S * FS  # samples of the buffer; the first block has no signal before it
        self._start = -self._filled  # of the buffer, in samples of the recording
        self._threads = threads
        self._found: list[Future[tuple[Floats, FloatArray]]] = []

    def push(self, signals: Signals) -> None:
        """The next samples ``[leads, k]`` at `FS`, as many as there are, NaN in gaps."""
        done, size = 0, self._buffer.shape[1]
        while done < signals.shape[1]:
            part = signals[:, done : done + size - self._filled]
            self._buffer[:, self._filled : self._filled + part.shape[1]] = part
            done, self._filled = done + part.shape[1], self._filled + part.shape[1]
            if self._filled == size:
                self._begin(size, size - OVERLAP_S * FS)
                kept = 2 * OVERLAP_S * FS
                self._buffer[:, :kept] = self._buffer[:, -kept:]
                self._start, self._filled = self._start + size - kept, kept

    def finish(self) -> RPeaks:
        """All R peaks of what was pushed."""
        n = self._start + self._filled
        if n >= SHORTEST:
            self._buffer[:, self._filled :] = np.nan
            self._begin(-(-self._filled // UNIT) * UNIT, self._filled)
        found = [(np.empty(0), np.empty(0, dtype=np.float32)), *(block.result() for block in self._found)]
        positions, probability = (np.concatenate(parts) for parts in zip(*found, strict=True))
        apart = np.diff(positions, prepend=-np.inf) > APART_S * FS / 4  # of rounding at the border of two blocks
        samples = np.round(np.clip(positions, 0, n - 1) * float(self._to_clock)).astype(np.int64)
        last = (n - 1) * self._to_clock.numerator // self._to_clock.denominator
        return RPeaks(np.minimum(samples, last)[apart], probability[apart])

    def _begin(self, size: int, stop: int) -> None:
        """Work on the block from `OVERLAP_S` to before `stop` of the first `size` samples of the buffer."""
        block = self._buffer[:, :size].copy(), stop, self._start
        if self._threads is None:
            done = Future[tuple[Floats, FloatArray]]()
            done.set_result(self._work(*block))
        else:
            done = self._threads.submit(self._work, *block)
        self._found.append(done)
        if len(self._found) > AHEAD:
            self._found[-AHEAD].result()

    def _work(self, block: FloatArray, stop: int, start: int) -> tuple[Floats, FloatArray]:
        """Positions of R peaks, in samples of the recording at `FS`, and how probable each is."""
        signals, known = condition(block)
        probability = combined(self._network(signals) * known[:, ::2])
        places = peaks_of(probability, THRESHOLD)
        places = places[(places >= OVERLAP_S * FS // 2) & (places < stop // 2)]
        positions = refined(signals[0], 2 * (places + _vertex(probability, places)))
        return positions + start, probability[places]


@cache
def _network(weights: str) -> Network:
    arrays, card = read_weights(weights)
    if card.get("kind") != "r_peaks":
        raise CheckpointError(f"the weights {weights} are of kind {card.get('kind')}, expected r_peaks")
    try:
        network = Network(arrays)
        found = network(np.random.default_rng(0).random((1, FS * STRIDE), dtype=np.float32))
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the weights {weights} are not those of the detector: {error}") from error
    if not np.isfinite(found).all():
        raise CheckpointError(f"the weights {weights} predict NaN: they are damaged, or their training has diverged")
    return network


def peaks_of(probability: FloatArray, least: float) -> IntArray:
    """Places ``[b]`` of the peaks of a probability ``[t]`` of at least `least`, `APART_S` from higher ones."""
    from scipy.signal import find_peaks

    places: IntArray = find_peaks(probability, height=least, distance=APART_S * OUT_FS)[0]
    return places


def combined(probabilities: FloatArray) -> FloatArray:
    """Mean of the leads' probabilities ``[leads, t]``, weighted by the fourth power of their quality.

    Quality is how certain a lead is of its peaks around: the mean of |2p - 1|.
    """
    cell = FS  # outputs: 2 s
    around = np.ones(2 * (QUALITY_S // 2) + 1)
    weights = []
    for probability in probabilities:
        places = peaks_of(probability, CANDIDATE)
        certain, n = (
            np.convolve(np.bincount(places // cell, values, len(probability) // cell), around, mode="same")
            for values in (np.abs(2 * probability[places] - 1), np.ones(len(places)))
        )
        weights.append((certain / np.maximum(n, 1)) ** 4 + 1e-9)
    shares = (np.asarray(weights) / np.sum(weights, axis=0)).astype(np.float32)
    mean: FloatArray = np.einsum("lt,lt->t", probabilities, np.repeat(shares, cell, axis=1))
    return mean


def refined(signal: FloatArray, positions: Floats) -> Floats:
    """Positions ``[b]`` moved by up to 60 ms to where the QRS complex is largest in a conditioned signal ``[t]``.

    That is the maximum of its absolute value from 5 to 20 Hz, where annotators see the R peak, times a Gaussian around
    the position; between samples by a parabola.
    """
    from scipy.signal import firwin

    taps = firwin(REFINE_TAPS, REFINE_HZ, fs=FS, pass_zero=False)
    steps = np.arange(-round(REFINE_S * FS), round(REFINE_S * FS) + 1)
    reach = len(steps) // 2 + REFINE_TAPS // 2
    # Each column filters for one step, from the samples around the position.
    matrix = np.stack([np.pad(taps, (at, len(steps) - 1 - at)) for at in range(len(steps))], axis=1)
    nearest = np.round(positions).astype(np.int64)
    around = np.pad(signal, reach)[nearest[:, None] + np.arange(2 * reach + 1)]
    away = nearest[:, None] + steps - positions[:, None]
    heights = np.abs(around @ matrix) * np.exp(-0.5 * np.square(away / (PRIOR_S * FS)))
    best = heights.argmax(axis=1)
    inner = (best > 0) & (best < len(steps) - 1)
    offset = np.zeros(len(positions))
    flat = heights.reshape(-1)
    offset[inner] = _vertex(flat, (np.arange(len(best)) * len(steps) + best)[inner])
    return np.where(heights.max(axis=1, initial=0) > 0, nearest + steps[best] + offset, positions)


def _vertex(values: Signals, places: IntArray) -> Floats:
    """How far from each place ``[b]``, a maximum, the vertex of the parabola through it and its neighbours is."""
    before, at, after = (values[places + step].astype(np.float64) for step in (-1, 0, 1))
    bend = 2 * at - before - after
    return np.clip(np.divide(after - before, 2 * bend, out=np.zeros(len(places)), where=bend > 0), -0.5, 0.5)
