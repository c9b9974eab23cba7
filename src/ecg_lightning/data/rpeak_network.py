"""The network that finds R peaks, in numpy: conditioning of the signal, and a small U-Net at 125 Hz.

Both have a finite reach, so that a recording can be worked on in blocks with overlap. Everything is relative to the
signal around: unit, gain and offset of a recording do not matter, and its polarity does not after training.
`ecg_lightning.training.detector` trains the network.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided, sliding_window_view

from ecg_lightning.data.beats import BoolArray, FloatArray

FS = 125  # Hz, of the input
OUT_FS = FS / 2  # of the probabilities
STRIDE = 16  # samples of the input for one of the deepest layer
REACH = 192  # samples of the input on each side that an output depends on, at most; a multiple of STRIDE
CHUNK = 16_000  # samples that the network runs on at once, so that its layers stay in the cache

BASELINE_S = 1.6  # length of the window whose weighted mean is the baseline: a high-pass of 0.6 Hz
LOWPASS_HZ, LOWPASS_TAPS = 30.0, 25
SCALE_S = (7, 30)  # seconds on each side of the local scale, and of the one that is its floor
FLOOR = 0.1
CLIP = 4.0
FLAT_S = 2.0  # of a constant signal; longer than the pause between two beats at the resolution of any recorder
GROUP, FLAT_GROUP = 5, 25  # samples: of the baseline, and of the search for flat lines
RESOLUTION = 2e-6  # of resampled signals in float32, as a part of their values

Array = npt.NDArray[Any]


def condition(signals: npt.NDArray[np.floating[Any]]) -> tuple[FloatArray, BoolArray]:
    """Prepare signals ``[m, t]`` at `FS` for the network; `t` is a multiple of `FS`.

    High-pass, low-pass, and division by the local scale: the median of the peak-to-peak values of 15 seconds, or a
    tenth of that of 61 where it is larger. Gaps (NaN) and flat lines become zeros that nothing else depends on.

    Returns:
        The signals ``[m, t]``, in which a usual QRS complex has a peak-to-peak value of about 1, and where the
        recording has a signal ``[m, t]``.
    """
    from scipy.signal import firwin

    known = np.isfinite(signals)
    first = np.take_along_axis(signals, known.argmax(axis=1, keepdims=True), axis=1)
    raw = np.where(known, signals - first, 0).astype(np.float32)
    resolution = RESOLUTION * (np.abs(first) + np.abs(raw).max(axis=1, keepdims=True, initial=0))
    known &= ~_flat(raw, np.nan_to_num(resolution))
    y = np.where(known, raw - _baseline(raw, known), 0)
    taps = firwin(LOWPASS_TAPS, LOWPASS_HZ, fs=FS).astype(np.float32)
    y = np.stack([np.convolve(row, taps, mode="same") for row in y])

    seconds = y.reshape(len(y), -1, FS)
    extent = np.ptp(seconds, axis=2)
    extent[known.reshape(seconds.shape).mean(axis=2) < 0.5] = np.inf
    local, wide = (_median(extent, reach) for reach in SCALE_S)
    gain = 1 / np.maximum(np.maximum(local, FLOOR * np.where(np.isfinite(wide), wide, 0)), 1e-30)
    edges = np.pad(gain, ((0, 0), (1, 1)), mode="edge")
    edges = ((edges[:, 1:] + edges[:, :-1]) / 2)[..., None].astype(np.float32)
    ramp = np.linspace(0, 1, FS, endpoint=False, dtype=np.float32)
    seconds *= edges[:, :-1] + np.diff(edges, axis=1) * ramp
    return np.clip(y, -CLIP, CLIP, out=y), known


def _flat(raw: FloatArray, resolution: Array) -> BoolArray:
    """Where ``[m, t]`` stays constant for `FLAT_S`, in steps of 0.2 s."""
    from scipy.ndimage import binary_opening

    same = np.ptp(raw.reshape(len(raw), -1, FLAT_GROUP), axis=2) <= resolution
    lasting = binary_opening(same, np.ones((1, round(FLAT_S * FS / FLAT_GROUP))))
    return np.repeat(lasting, FLAT_GROUP, axis=1)


def _baseline(raw: FloatArray, known: BoolArray) -> FloatArray:
    """Weighted mean ``[m, t]`` of what is known around each sample, computed at 25 Hz and interpolated."""
    taps = round(BASELINE_S * FS / GROUP) | 1
    weights = np.hanning(taps + 2)[1:-1].astype(np.float32)
    ones = np.ones(GROUP, dtype=np.float32)
    sums, counts = (part.reshape(len(raw), -1, GROUP) @ ones for part in (raw * known, known.astype(np.float32)))
    total, weight = (np.stack([np.convolve(row, weights, mode="same") for row in part]) for part in (sums, counts))
    mean = total / np.maximum(weight, 1e-6)
    around = np.pad(mean, ((0, 0), (1, 1)), mode="edge")
    offset = (np.arange(GROUP, dtype=np.float32) - GROUP // 2) / GROUP
    shares = np.stack([np.maximum(-offset, 0), 1 - np.abs(offset), np.maximum(offset, 0)])
    at_rate: FloatArray = np.stack([around[:, :-2], mean, around[:, 2:]], axis=2) @ shares
    return at_rate.reshape(raw.shape)


def _median(values: Array, reach: int) -> Array:
    """Median of the finite among the values ``[m, n]`` up to `reach` before and after each; inf where there is none."""
    padded = np.pad(values, ((0, 0), (reach, reach)), constant_values=np.inf)
    around = np.sort(sliding_window_view(padded, 2 * reach + 1, axis=1), axis=2)
    middle = np.maximum(np.isfinite(around).sum(axis=2, keepdims=True) - 1, 0) // 2
    return np.take_along_axis(around, middle, axis=2)[..., 0]


class Network:
    """The U-Net with given weights: from conditioned signals to the probability of an R peak.

    Args:
        arrays: weights of the torch network by name: convolutions ``[out, in, taps]``, transposed ``[in, out, 2]``.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._bias = {name.removesuffix(".bias"): array for name, array in arrays.items() if name.endswith(".bias")}
        kernels = {name.removesuffix(".weight"): array for name, array in arrays.items() if name.endswith(".weight")}
        # As matrices [taps · in, out], or [in, 2 · out] of a transposed convolution.
        self._taps = {name: kernel.shape[2] for name, kernel in kernels.items()}
        self._matrix = {
            name: np.ascontiguousarray(
                kernel.transpose(0, 2, 1).reshape(len(kernel), -1)
                if name.startswith("up.")
                else kernel.transpose(2, 1, 0).reshape(-1, len(kernel)),
                dtype=np.float32,
            )
            for name, kernel in kernels.items()
        }

    def __call__(self, signals: FloatArray) -> FloatArray:
        """Probabilities ``[m, t / 2]`` for conditioned signals ``[m, t]``; `t` is a multiple of `STRIDE`."""
        padded = np.pad(signals, ((0, 0), (REACH, REACH)))
        out = np.empty((len(signals), signals.shape[1] // 2), dtype=np.float32)
        for start in range(0, signals.shape[1], CHUNK):
            for row, signal in zip(out, padded, strict=True):
                part = self._logits(signal[start : start + CHUNK + 2 * REACH])[REACH // 2 : -REACH // 2]
                row[start // 2 : start // 2 + len(part)] = part
        np.negative(out, out=out)
        np.exp(out, out=out)
        out += 1
        return np.reciprocal(out, out=out)

    def _logits(self, signal: FloatArray) -> FloatArray:
        """Of one signal ``[t]``, ``[t / 2]``."""
        x, skips = signal[:, None], []
        for level in range(4):
            x = self._convolve(f"down.{level}", x, stride=2)
            skips.append(x)
        for level in range(3):
            x = x + self._dilated(f"middle.{level}", x, 2**level)
        for level, skip in enumerate(reversed(skips[:-1])):
            x = (x @ self._matrix[f"up.{level}"]).reshape(len(skip), -1)
            x += self._bias[f"up.{level}"]
            x += skip
            x = self._convolve(f"merge.{level}", np.maximum(x, 0, out=x))
        return self._convolve("head", x, relu=False)[:, 0]

    def _convolve(self, name: str, x: FloatArray, *, stride: int = 1, relu: bool = True) -> FloatArray:
        """Convolution of ``[t, in]`` to ``[t / stride, out]``, with zeros around.

        Every `turns`-th window is a row of a matrix without a copy, as these do not overlap.
        """
        matrix, taps = self._matrix[name], self._taps[name]
        channels, n, turns = x.shape[1], len(x) // stride, -(-taps // stride)
        padded = np.zeros((len(x) + taps, channels), dtype=np.float32)
        padded[(taps - 1) // 2 :][: len(x)] = x
        windows = as_strided(padded, (n, taps * channels), (4 * stride * channels, 4))
        out = np.empty((n, matrix.shape[1]), dtype=np.float32)
        for turn in range(min(turns, n)):
            np.matmul(windows[turn::turns], matrix, out=out[turn::turns])
        out += self._bias[name]
        return np.maximum(out, 0, out=out) if relu else out

    def _dilated(self, name: str, x: FloatArray, dilation: int) -> FloatArray:
        out = np.empty_like(x)
        for turn in range(dilation):
            out[turn::dilation] = self._convolve(name, np.ascontiguousarray(x[turn::dilation]))
        return out
