"""A recording piece by piece at another sampling rate, so that memory does not grow with its length."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from math import ceil, lcm
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import FloatArray
from ecg_lightning.data.readers.base import CHUNK_S, LONGEST_S, RecordingFile, Signal
from ecg_lightning.data.windows import around_gaps

WINDOW = ("kaiser", 5.0)  # of the anti-aliasing filter, and HALF its half width in samples of the lower rate: scipy's
HALF = 10


class Piece(NamedTuple):
    """Consecutive samples of some leads in mV, NaN in gaps."""

    recorded: list[Signal]  # of each lead ``[t]``, at its own rate
    signals: FloatArray  # ``[leads, k]`` at the other rate; NaN wherever a gap has an influence


def resampled_pieces(
    file: RecordingFile, positions: Sequence[int], fs: float, *, chunk_s: float = CHUNK_S
) -> Iterator[Piece]:
    """The leads at these positions from beginning to end, at `fs` Hz, in pieces of about `chunk_s` seconds.

    The samples are equal to the bit, whatever `chunk_s`: each is the same sum of the same recorded samples. Beyond its
    ends a recording counts as constant.

    Raises:
        DataError: the recording is cut off or damaged, has no sample, or states more than 60 days.
    """
    rates = [file.samples_per_frame[position] for position in positions]
    ratios = [(Fraction(fs) / Fraction(file.frame_rate * rate)).limit_denominator(10_000) for rate in rates]
    if not 0 < file.n_frames <= LONGEST_S * file.frame_rate:
        raise DataError(
            f"{file.path} states {file.n_frames:,} samples at {file.frame_rate:g} Hz: nothing, or over 60 days"
        )
    # A piece begins where an output sample lies on a recorded one, in every lead.
    unit = lcm(
        *(ratio.denominator // np.gcd(ratio.denominator, rate) for ratio, rate in zip(ratios, rates, strict=True))
    )
    step = unit * max(1, round(chunk_s * file.frame_rate / unit))
    reach = max(ceil(HALF * max(Fraction(1), 1 / ratio) / rate) for ratio, rate in zip(ratios, rates, strict=True))
    overlap = unit * ceil((reach + 2) / unit)
    n_resampled = min(ceil(file.n_frames * rate * ratio) for ratio, rate in zip(ratios, rates, strict=True))

    done = 0
    for start in range(0, file.n_frames, step):
        stop = min(start + step, file.n_frames)
        first, last = max(0, start - overlap), min(stop + overlap, file.n_frames)
        recorded, parts = [], []
        for signal, rate, ratio in zip(file.frames(positions, first, last), rates, ratios, strict=True):
            recorded.append(signal[(start - first) * rate : (stop - first) * rate])
            missing = (overlap - (start - first)) * rate, (overlap - (last - stop)) * rate
            n = round(step * rate * ratio) if stop < file.n_frames else n_resampled - done
            parts.append(_resample(np.pad(signal, missing, mode="edge"), ratio, overlap * rate, n))
        done += len(parts[0])
        yield Piece(recorded, np.stack(parts))


def _resample(signal: Signal, ratio: Fraction, overlap: int, n: int) -> FloatArray:
    """`n` samples from the one at position `overlap` on, which is a multiple of the ratio's denominator."""
    from scipy.signal import upfirdn

    if ratio == 1:
        same: FloatArray = signal[overlap : overlap + n].astype(np.float32)
        return same
    gaps = ~np.isfinite(signal)
    up, down, (taps, delay) = ratio.numerator, ratio.denominator, _filter(ratio.numerator, ratio.denominator)
    skipped = (overlap * up + delay) // down
    resampled: FloatArray = upfirdn(taps, np.where(gaps, 0.0, signal), up, down)[skipped : skipped + n].astype(
        np.float32
    )
    if gaps.any():
        for first, last in around_gaps(gaps, float(ratio)) - overlap * float(ratio):
            resampled[max(0, int(np.floor(first))) : max(0, int(np.ceil(last)))] = np.nan
    return resampled


@lru_cache
def _filter(up: int, down: int) -> tuple[npt.NDArray[np.float64], int]:
    """The taps of the low-pass filter at `up` times the recorded rate, and its delay, a multiple of `down`.

    The taps that meet the recorded samples of one output sum to 1, so that a constant stays what it is.
    """
    from scipy.signal import firwin

    half = HALF * max(up, down)
    before = -half % down
    taps: npt.NDArray[np.float64] = np.pad(firwin(2 * half + 1, 1 / max(up, down), window=WINDOW), (before, 0))
    for phase in range(up):
        taps[phase::up] /= taps[phase::up].sum()
    return taps, half + before
