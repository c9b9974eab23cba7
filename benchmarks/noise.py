"""Beats found and classified in records 118 and 119 of MIT-BIH to which simulated noise is added, by its strength.

    python benchmarks/noise.py [--detector network:rpeaks_ds1] [--model cnet_ds1] [--output results/noise/table.csv]

After the MIT-BIH Noise Stress Test (Moody, Muldrow & Mark, Comput. Cardiol. 11, 1984) and its program nst: the first
five minutes are clean, then two minutes with noise and two without take turns. The signal-to-noise ratio is that of
nst: the power of the signal is an eighth of the square of the median peak-to-peak value of the QRS complexes of normal
beats, that of the noise its mean square in windows of a second. The noise is simulated, not that of NSTDB (seed 0):

- baseline wander: normal noise between 0.05 and 0.5 Hz;
- muscle noise: normal noise between 20 and 120 Hz, whose strength varies in the course of seconds;
- electrode motion: jumps, one in two seconds, that are forgotten within 0.1 to 2 s, below 10 Hz.

Counts are EC57's from the fifth minute on, in the first lead, gross over both records.
"""

import argparse
import dataclasses
import os
from pathlib import Path

import numpy as np
import pandas as pd

import ecg_lightning as ecg
from ecg_lightning.data.labels import make_class_map
from ecg_lightning.data.readers import open_recording
from ecg_lightning.data.recording import Recording
from ecg_lightning.metrics.matching import LABELS, Annotated, annotated, compare, summary

RECORDS = ("118", "119")
RATIOS_DB = (24, 18, 12, 6, 0, -6)
CLEAN_S, PERIOD_S, WINDOW_S = 300, 120, 0.15
Array = np.ndarray


def band(noise: Array, fs: float, low: float, high: float) -> Array:
    spectrum, frequencies = np.fft.rfft(noise), np.fft.rfftfreq(len(noise), 1 / fs)
    return np.fft.irfft(np.where((frequencies >= low) & (frequencies <= high), spectrum, 0), len(noise))


def baseline_wander(n: int, fs: float, rng: np.random.Generator) -> Array:
    return band(rng.standard_normal(n), fs, 0.05, 0.5)


def muscle_noise(n: int, fs: float, rng: np.random.Generator) -> Array:
    slow = band(rng.standard_normal(n), fs, 0.05, 0.5)
    return band(rng.standard_normal(n), fs, 20, 120) * np.exp(0.5 * slow / slow.std())


def electrode_motion(n: int, fs: float, rng: np.random.Generator) -> Array:
    noise = np.zeros(n)
    for start in rng.integers(n, size=round(n / fs / 2)):
        length = min(n - start, round(10 * fs))
        noise[start : start + length] += rng.normal() * np.exp(-np.arange(length) / fs / rng.uniform(0.1, 2))
    return band(noise, fs, 0.05, 10)


NOISES = {"electrode motion": electrode_motion, "baseline wander": baseline_wander, "muscle noise": muscle_noise}


def noisy(recording: Recording, noise: Array, ratio_db: float) -> Recording:
    """The recording with noise of this ratio."""
    fs, signal = recording.fs, recording.signals[0]
    reach = round(0.05 * fs)
    normal = recording.peaks[
        (recording.labels == 0) & (recording.peaks > reach) & (recording.peaks < len(signal) - reach)
    ]
    height = np.median(np.ptp(signal[normal[:, None] + np.arange(-reach, reach + 1)], axis=1))
    seconds = noise[: len(noise) // round(fs) * round(fs)].reshape(-1, round(fs))
    gain = np.sqrt(height**2 / 8 / 10 ** (ratio_db / 10) / np.mean(seconds.var(axis=1)))
    time = np.arange(len(signal)) / fs - CLEAN_S
    on = (time >= 0) & (time // PERIOD_S % 2 == 0)
    return dataclasses.replace(recording, signals=(signal + on * gain * noise)[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="network:rpeaks_ds1")
    parser.add_argument("--model", default="cnet_ds1")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ECG_DATA_DIR", "data")))
    parser.add_argument("--output", type=Path)
    settings = parser.parse_args()
    model, aami = ecg.load_predictor(settings.model), make_class_map("aami")
    paths = [settings.data_dir / "mitdb" / name for name in RECORDS]
    recordings = [ecg.read_recording(path, leads=[0], annotator="atr") for path in paths]
    references = [
        annotated(open_recording(path).annotations("atr")[0], aami, WINDOW_S * own.fs)
        for path, own in zip(paths, recordings, strict=True)
    ]
    rows = []
    for kind, make in NOISES.items():
        for ratio_db in (None, *RATIOS_DB):
            compared = {}
            for at, (recording, reference) in enumerate(zip(recordings, references, strict=True)):
                noise = make(recording.signals.shape[1], recording.fs, np.random.default_rng([0, at]))
                given = recording if ratio_db is None else noisy(recording, noise, ratio_db)
                beats = ecg.annotate(given, model, detector=settings.detector)
                labels = np.array([LABELS.index(name) for name in beats["class"]])
                found = Annotated(beats["sample"].to_numpy(), labels)
                compared[recording.record] = compare(reference, found, recording.fs, start_s=CLEAN_S)
            counted = summary(compared)
            row = {"noise": kind, "SNR, dB": "clean" if ratio_db is None else ratio_db}
            for of in ("QRS", "V"):
                row |= {f"{of} Se": counted[of]["sensitivity"], f"{of} +P": counted[of]["positive_predictivity"]}
            rows.append(row)
    table = pd.DataFrame(rows).round(4)
    print(table.to_string(index=False))
    if settings.output:
        settings.output.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(settings.output, index=False)


if __name__ == "__main__":
    main()
