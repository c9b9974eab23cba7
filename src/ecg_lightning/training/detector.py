"""Training of the network that finds R peaks, on windows of annotated recordings with simulated noise.

Ronneberger, Fischer & Brox, "U-Net", MICCAI 2015, in one dimension. The noise is that of ambulatory recordings:
baseline wander, muscle, moving electrodes, hum, steps, dropouts, changes of gain, and windows without any ECG.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ecg_lightning.data.beats import BoolArray, FloatArray
from ecg_lightning.data.rpeak_network import FS, REACH, condition

WIDTHS = (8, 12, 16, 24)  # channels at 62.5, 31, 16 and 8 Hz
WINDOW = 32 * FS  # samples of a training window
BATCH = 16
SIGMA_S = 0.024  # of the target around each R peak
PURE_NOISE, PAUSES = 0.06, 0.2  # shares of windows

Generator = np.random.Generator
Floats = npt.NDArray[np.float64]


class Trained(NamedTuple):
    """One recording to train on, at `FS`."""

    signals: FloatArray  # [leads, t], without NaN
    beats: Floats  # [b] positions in samples
    counted: BoolArray  # [t], false where beats are not annotated one by one, as in ventricular flutter


class PeakNetwork(nn.Module):
    """Logit of an R peak at 62.5 Hz, ``[m, t / 2]``, from conditioned signals ``[m, t]``."""

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        deepest, sizes = widths[-1], [1, *widths]
        self.down = nn.ModuleList(
            nn.Conv1d(one, two, taps, stride=2, padding=taps // 2)
            for one, two, taps in zip(sizes[:-1], sizes[1:], (9, 5, 5, 5), strict=True)
        )
        self.middle = nn.ModuleList(
            nn.Conv1d(deepest, deepest, 3, padding=2**level, dilation=2**level) for level in range(3)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose1d(one, two, 2, stride=2) for one, two in pairs)
        self.merge = nn.ModuleList(nn.Conv1d(two, two, 3, padding=1) for _, two in pairs)
        self.head = nn.Conv1d(widths[0], 1, 5, padding=2)

    def forward(self, signals: Tensor) -> Tensor:
        # As in `rpeak_network.Network`: before and after a recording are zeros, not the padding of each layer.
        x, skips = F.pad(signals, (REACH, REACH))[:, None], []
        for layer in self.down:
            x = F.relu(layer(x))
            skips.append(x)
        for layer in self.middle:
            x = x + F.relu(layer(x))
        for up, merge, skip in zip(self.up, self.merge, reversed(skips[:-1]), strict=True):
            x = F.relu(merge(F.relu(up(x) + skip)))
        logits: Tensor = self.head(x)[:, 0, REACH // 2 : -REACH // 2]
        return logits


def train_network(
    recordings: Sequence[Trained],
    *,
    steps: int = 3000,
    seed: int = 0,
    lr: float = 4e-3,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> PeakNetwork:
    """Train a network; the same seed gives the same one on the same machine.

    `progress` gets each step and its loss.
    """
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PeakNetwork()
    scales = [[_scale(signal) for signal in one.signals] for one in recordings]
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
    for step in range(steps):
        chosen = generator.integers(len(recordings), size=BATCH)
        windows = [_window(recordings[at], scales[at], generator) for at in chosen]
        signals, targets, weights = (np.stack(part) for part in zip(*windows, strict=True))
        logits = network(torch.from_numpy(condition(signals)[0]))
        loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(targets), weight=torch.from_numpy(weights))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress(step + 1, loss.item())
    return network.eval()


def _scale(signal: FloatArray) -> float:
    """Typical peak-to-peak value of a second."""
    seconds = signal[: len(signal) // FS * FS].reshape(-1, FS)
    return max(float(np.median(np.ptp(seconds, axis=1))), 1e-6)


def _window(
    recording: Trained, scales: Sequence[float], generator: Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """A signal ``[WINDOW]`` with noise in units of its scale, and target and weight ``[WINDOW / 2]`` of each output."""
    stretch = generator.uniform(0.85, 1.2)
    n = recording.signals.shape[1]
    start = generator.uniform(0, max(n - WINDOW * stretch, 1))
    at = start + stretch * np.arange(WINDOW)
    mix = generator.standard_normal(len(scales))
    if generator.random() < 0.7:  # one lead
        mix *= np.arange(len(scales)) == generator.integers(len(scales))
    mix *= 1 / np.linalg.norm(mix)
    whole = slice(int(start), int(at[-1]) + 2)
    mixed = (mix / scales) @ recording.signals[:, whole]
    signal = np.interp(at - whole.start, np.arange(len(mixed)), mixed)
    beats = (recording.beats - start) / stretch
    weights = recording.counted[np.minimum(at[::2], n - 1).astype(np.int64)].astype(np.float32)
    if generator.random() < PAUSES:
        signal, beats = _with_pauses(signal, beats, generator)
    if generator.random() < PURE_NOISE:
        signal, beats, weights = np.zeros(WINDOW), beats[:0], np.ones_like(weights)
        signal += generator.random() * _coloured(generator) * _bursts(generator)
    signal = _with_noise(signal, generator)
    signal, lost = _with_dropout(signal, generator)
    out_at = 2 * np.arange(WINDOW // 2)
    beats = beats[(beats > -FS) & (beats < WINDOW + FS)]
    target = np.zeros(WINDOW // 2)
    if len(beats):
        near = np.clip(np.searchsorted(beats, out_at), 1, max(len(beats) - 1, 1))
        pairs = beats[np.minimum([near - 1, near], len(beats) - 1)]
        target = np.exp(-0.5 * np.square(np.abs(pairs - out_at).min(axis=0) / (SIGMA_S * FS)))
    target[lost[::2]] = 0
    return signal, target.astype(np.float32), weights


def _with_pauses(signal: Floats, beats: Floats, generator: Generator) -> tuple[Floats, Floats]:
    """Some beats blocked: a straight line instead of their QRS complex and T wave, while most P waves stay."""
    blocked = generator.random(len(beats)) < generator.uniform(0.1, 0.7)
    before = generator.choice([0.09, 0.3], p=[0.8, 0.2])  # s, of which the longer takes the P wave, too
    for at in np.flatnonzero(blocked):
        end = min([beats[at] + 0.45 * FS, *(beats[at + 1 : at + 2] - 0.22 * FS)])
        start, stop = np.clip([int(beats[at] - before * FS), int(end)], 0, WINDOW - 1)
        if stop > start:
            signal[start:stop] = np.linspace(signal[start], signal[stop], stop - start)
    return signal, beats[~blocked]


def _with_noise(signal: Floats, generator: Generator) -> Floats:
    time = np.arange(WINDOW) / FS

    def size(low: float, high: float) -> float:
        """Log-uniform."""
        return float(np.exp(generator.uniform(np.log(low), np.log(high))))

    def chance(probability: float) -> bool:
        return bool(generator.random() < probability)

    if chance(0.6):
        signal = signal * np.exp(0.4 * _coloured(generator, 0.05, 0.3))
    if chance(0.1):  # another gain from some point on
        signal = signal * np.where(time < generator.uniform(0, time[-1]), 1, size(0.3, 3))
    if chance(0.5):
        signal = signal + size(0.1, 5) * _coloured(generator, 0.05, size(0.1, 1))
    if chance(0.4):
        signal = signal + size(0.01, 0.3) * generator.standard_normal(WINDOW) * _bursts(generator)
    if chance(0.3):
        signal = signal + size(0.03, 1) * _coloured(generator) * _bursts(generator)
    if chance(0.15):
        signal = signal + size(0.03, 2) * np.sin(2 * np.pi * (generator.choice([50, 60]) * time + generator.random()))
    if chance(0.15):  # steps, as of moving electrodes, which some amplifiers forget
        forget = size(0.1, 30)
        for _ in range(generator.integers(1, 5)):
            since = time - generator.uniform(0, time[-1])
            step = np.where(since >= 0, np.exp(-np.maximum(since, 0) / forget), 0)
            signal = signal + generator.choice([-1, 1]) * size(0.3, 10) * step
    if chance(0.1):
        spikes = generator.random(WINDOW) < size(0.1, 3) / FS
        signal = signal + spikes * size(0.1, 3) * generator.choice([-1, 1], WINDOW)
    inverted: Floats = signal * generator.choice([-1, 1])
    return inverted


def _coloured(generator: Generator, low: float = 0.5, high: float = 15.0) -> Floats:
    """Noise ``[WINDOW]`` of a random band between two frequencies in Hz, with a standard deviation of 1."""
    frequencies = np.fft.rfftfreq(WINDOW, 1 / FS)
    centre = np.exp(generator.uniform(np.log(low), np.log(high)))
    shape = np.exp(-0.5 * np.square(np.log(np.maximum(frequencies, 1e-3) / centre) / generator.uniform(0.3, 1)))
    spectrum = shape * (generator.standard_normal((2, len(shape))) * [[1], [1j]]).sum(axis=0)
    noise: Floats = np.fft.irfft(spectrum, WINDOW)
    return noise / max(float(noise.std()), 1e-12)


def _bursts(generator: Generator) -> Floats:
    """An envelope ``[WINDOW]`` from 0 to 1: noise throughout, or in one stretch."""
    if generator.random() < 0.4:
        return np.ones(WINDOW)
    middle, width = generator.uniform(0, WINDOW), generator.uniform(0.5, 8) * FS
    outside = np.clip((np.abs(np.arange(WINDOW) - middle) - width) / (0.1 * FS), -50, 50)
    envelope: Floats = 1 / (1 + np.exp(outside))
    return envelope


def _with_dropout(signal: Floats, generator: Generator) -> tuple[FloatArray, BoolArray]:
    """Some windows with a stretch without signal or out of range, and where ``[WINDOW]`` that is."""
    lost = np.zeros(WINDOW, dtype=bool)
    kind = generator.random()
    if kind < 0.12:
        start = generator.integers(WINDOW)
        lost[start : start + int(generator.uniform(0.3, 10) * FS)] = True
        last = signal[max(int(start) - 1, 0)]
        level = generator.choice([np.nan, last, 0.0, generator.uniform(-10, 10)])
        signal = np.where(lost, level + generator.choice([0, 0.01]) * generator.standard_normal(WINDOW), signal)
    elif kind < 0.16:  # an amplifier at its rails
        rail = generator.uniform(0.3, 3)
        signal = np.clip(signal, -rail, rail)
    return signal.astype(np.float32), lost
