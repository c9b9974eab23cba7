"""The synthetic source: labelled continuous ECG from the dynamical model ECGSYN, cut to beats like any other recording.

McSharry, Clifford, Tarassenko & Smith, "A dynamical model for generating synthetic electrocardiogram signals", IEEE
Trans. Biomed. Eng. 50(3), 2003. A point circles the unit circle once a beat; each wave of the ECG is an event at an
angle theta_i that pulls the signal z up or down as the point passes (equation 1)::

    z' = - sum_i a_i dtheta_i exp(-dtheta_i^2 / 2 b_i^2) - (z - z0(t)),      dtheta_i = theta - theta_i

The paper simulates one healthy heart. Here every patient has a shape of their own, and the ectopic, fused, paced and
infarcted beats are further sets of events after the textbook, not fitted to patients: for trying and testing a
pipeline, of no value as evidence about real ECGs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.progress import tracked
from ecg_lightning.data.beats import Beats, IntArray
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.card import Simulation
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.data.recording import Recording, lead_names

Array = npt.NDArray[np.float64]

# Part of the settings, hence of a cache's key: count the revision up when a change below changes the signals.
MODEL = "ECGSYN (McSharry et al. 2003), revision 1"

CLASSES = {"arrhythmia": AAMI_CLASSES, "mi": PTB_CLASSES}  # by task
PREFIX = {"arrhythmia": "mitbih", "mi": "ptbdb"}  # of the names of records: which database the simulation is like

N, S, V, F, Q = range(len(AAMI_CLASSES))

# Share of each class in the beats, around which patients vary: imbalanced like MIT-BIH, but with rare classes frequent
# enough that ten minutes of a few patients can be split and learnt.
CLASS_SHARES = (0.62, 0.11, 0.12, 0.06, 0.09)

# Rows: height in mV, angle and width in rad at 60 beats a minute. Columns: P, Q, R, S, ST, T. Angles and widths of
# the sinus beat are table I of the paper; ST is not one of its five events, but infarction needs it.
SINUS = np.array(
    [
        [0.13, -0.12, 1.05, -0.22, 0.00, 0.30],
        [-np.pi / 3, -np.pi / 12, 0.0, np.pi / 12, 0.80, np.pi / 2],
        [0.25, 0.10, 0.10, 0.10, 0.30, 0.40],
    ]
)
# No P; a broad R and a T that opposes it.
VENTRICULAR = np.array(
    [
        [0.00, -0.10, 1.35, -0.30, -0.15, -0.45],
        [-np.pi / 3, -0.55, 0.0, 0.65, 1.10, 1.95],
        [0.25, 0.20, 0.27, 0.25, 0.40, 0.45],
    ]
)
# The narrow stimulus in place of Q, then a broad R, a broad deep S and a T that opposes the S.
PACED = np.array(
    [
        [0.00, 0.70, 0.95, -0.75, 0.00, 0.40],
        [-np.pi / 3, -0.60, 0.0, 0.55, 1.10, 2.05],
        [0.25, 0.03, 0.21, 0.30, 0.40, 0.50],
    ]
)
# An atrial premature beat is the patient's sinus beat times this: inverted early P, slight aberrancy, flatter T.
ATRIAL = np.array(
    [
        [-0.60, 0.80, 0.90, 1.90, 1.00, 0.65],
        [0.75, 1.00, 1.00, 1.25, 1.00, 0.92],
        [0.80, 1.00, 1.15, 1.50, 1.00, 0.95],
    ]
)

# One entry a class from here on, in the order N, S, V, F, Q.
# How far a beat of each class is from the patient's sinus shape (0) to its own (1); a fusion beat is between sinus and
# ventricular. The ranges overlap, so that some beats are ambiguous, as in real records.
EXPRESSION = np.array([(0.0, 0.25), (0.4, 1.1), (0.75, 1.1), (0.25, 0.75), (0.85, 1.1)])
# RR interval before a beat of each class as a multiple of the sinus interval; pacing waits for its escape interval.
COUPLING = np.array([(1.0, 1.0), (0.65, 0.82), (0.60, 0.75), (0.90, 0.97), (1.12, 1.12)])
# Part of the lost time that the pause after it makes up for: all unless the premature beat resets the sinus node (S).
COMPENSATION = np.array([0.0, 0.5, 1.0, 1.0, 0.0])
# Beats in a row; pacing comes in runs.
RUN = np.array([1, 1, 1, 1, 4])

# Log-scale spread of height, angle and width: of patients around the tables, of beats around their patient.
PATIENT_SPREAD = np.array([[0.20], [0.05], [0.10]])
BEAT_SPREAD = np.array([[0.07], [0.015], [0.04]])


@dataclass(frozen=True, kw_only=True)
class Synthetic(CardSource):
    """Simulated patients, one recording each, the same for the same settings.

    For task ``arrhythmia`` every patient has beats of all five AAMI classes; for ``mi`` every second patient has
    myocardial infarction. The first lead has the waves of the tables above; in each further one every wave is larger,
    smaller or inverted, with noise of its own.
    """

    def __post_init__(self) -> None:
        if self.card.task not in CLASSES or self.card.simulation is None:
            raise ConfigError(
                f"dataset {self.name}: a simulation has task {' or '.join(CLASSES)} and dataset.simulation"
            )

    doing = "simulating"

    @property
    def how(self) -> Simulation:
        """The settings of the simulation."""
        assert self.card.simulation is not None
        return self.card.simulation

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES[self.card.task]

    def files(self) -> list[Path]:
        return []

    def settings(self) -> dict[str, Any]:
        own = {"synthetic": True, "model": MODEL, "task": self.card.task, "simulation": self.how.model_dump()}
        return super().settings() | own

    def read(self) -> Beats:
        return Beats.concatenate(list(self.read_parts()))

    def read_parts(self) -> Iterator[Beats]:
        return self.cut_out(partial(self.recording, number) for number in range(self.how.patients))

    def recordings(self) -> Iterator[Recording]:
        """The continuous recordings, in mV, with their R peaks and labels, one patient after the other."""
        return map(self.recording, tracked(range(self.how.patients), f"{self.doing} {self.name}", "recordings"))

    def recording(self, number: int) -> Recording:
        """The recording of a patient, the same whatever the number of patients and, of the first lead, of leads."""
        seed = np.random.SeedSequence(self.how.seed, spawn_key=(number,))
        others = [np.random.default_rng(child) for child in seed.spawn(len(self.leads) - 1)]
        rng = np.random.default_rng(seed)
        seconds = 60 * self.how.minutes
        mean_rr = 60 / rng.uniform(55, 85)
        respiration = rng.uniform(0.2, 0.3)
        # More beats than fit, whatever the pauses: those after the end are dropped below.
        n = int(1.5 * seconds / mean_rr) + 32

        sinus = _vary(SINUS, PATIENT_SPREAD, rng)
        infarcted = self.card.task == "mi" and number % 2 == 1
        rhythm = _labels(n, rng) if self.card.task == "arrhythmia" else np.zeros(n, dtype=np.int64)
        shapes = _shapes(_infarct(sinus, rng) if infarcted else sinus, rhythm, rng)
        # ECGSYN makes waves shorter in fast hearts by the square root of the rate (Bazett); rad to s is a division.
        shapes[:, 1:] *= np.sqrt(mean_rr) / (2 * np.pi)
        intervals = _rr_intervals(rhythm, mean_rr, respiration, rng)
        peaks = np.cumsum(intervals) - intervals[0] * rng.uniform(1.0, 1.9)

        time = np.arange(round(seconds * self.how.fs)) / self.how.fs
        # A = 0.15 mV, equation 2: the baseline wanders with respiration.
        wander = 0.15 * np.sin(2 * np.pi * (respiration * time + rng.uniform()))

        def lead(shapes: Array, rng: np.random.Generator) -> Array:
            noise = self.how.noise * rng.standard_normal(len(time))
            return _integrate(_waves(time, peaks, shapes), wander, self.how.fs) + noise

        signals = [lead(shapes, rng), *(lead(shapes * _projection(other), other) for other in others)]
        samples = np.round(peaks * self.how.fs).astype(np.int64)
        inside = (samples >= 0) & (samples < len(time))
        labels = rhythm if self.card.task == "arrhythmia" else np.full(n, int(infarcted))  # of PTB_CLASSES
        return Recording(
            record=f"{PREFIX[self.card.task]}-{number:03d}",
            patient=f"synthetic-{number:03d}",
            signals=np.stack(signals).astype(np.float32),
            lead_names=lead_names(self.leads),
            fs=self.how.fs,
            peaks=samples[inside],
            labels=labels[inside],
        )


def _projection(rng: np.random.Generator) -> Array:
    """Factors ``[3, 6]`` of a patient's shapes in a further lead, like V1: small atrial waves, QRS mostly downwards."""
    heights = np.array([0.5, -0.3, 0.3, 2.5, 0.8, 0.4]) * np.exp(0.15 * rng.standard_normal(6))
    return np.stack([heights, np.ones(6), np.ones(6)])


def _vary(shapes: Array, spread: Array, rng: np.random.Generator) -> Array:
    """Scatter shapes ``[..., 3, 6]`` by factors around 1."""
    return shapes * np.exp(spread * rng.standard_normal(shapes.shape))


def _labels(n: int, rng: np.random.Generator) -> IntArray:
    """Class of each of `n` beats in a row: the patient's share of each, in random order, pacing in runs."""
    shares = np.asarray(CLASS_SHARES) * np.exp(0.4 * rng.standard_normal(len(CLASS_SHARES)))
    runs = np.ceil(n * shares / shares.sum() / RUN).astype(np.int64)
    order = rng.permutation(np.repeat(np.arange(len(runs)), runs))
    return np.repeat(order, RUN[order])[:n]


def _shapes(sinus: Array, labels: IntArray, rng: np.random.Generator) -> Array:
    """Heights, angles and widths ``[n, 3, 6]`` of the waves of each beat of a patient with this `sinus` beat."""
    ventricular = _vary(VENTRICULAR, PATIENT_SPREAD, rng)
    own = np.stack([sinus, sinus * ATRIAL, ventricular, ventricular, _vary(PACED, PATIENT_SPREAD, rng)])
    # Normal beats have no other shape: conduction that varies a little looks like slight aberrancy.
    own[N] = own[S]
    expression = rng.uniform(*EXPRESSION[labels].T)[:, None, None]
    return _vary(sinus + expression * (own[labels] - sinus), BEAT_SPREAD, rng)


def _infarct(sinus: Array, rng: np.random.Generator) -> Array:
    """A sinus beat ``[3, 6]`` after myocardial infarction: deep broad Q, lower R, ST shifted up or down, T inverted."""
    height, _, width = shape = sinus.copy()
    height[[1, 4, 5]] = rng.uniform(-0.45, -0.15), rng.uniform(-0.12, 0.25), rng.uniform(-0.30, 0.15)
    height[2] *= rng.uniform(0.6, 1.0)
    width[1] *= rng.uniform(1.0, 1.6)
    return shape


def _rr_intervals(labels: IntArray, mean: float, respiration: float, rng: np.random.Generator) -> Array:
    """Interval in seconds ``[n]`` that ends at each beat: sinus rhythm, and what ectopic beats do to it."""
    sinus = np.where(labels == Q, mean, _sinus_rr(len(labels), mean, respiration, rng))
    coupling = rng.uniform(*COUPLING[labels].T)
    pause = np.roll(1 + COMPENSATION[labels] * (1 - coupling), 1)
    # A premature beat does not wait for the pause to end.
    intervals: Array = sinus * np.where(labels == N, pause, coupling)
    return intervals


def _sinus_rr(n: int, mean: float, respiration: float, rng: np.random.Generator) -> Array:
    """Sinus RR intervals in seconds ``[n]``: Mayer waves near 0.1 Hz and respiratory arrhythmia, equations 4 and 5."""
    frequency = np.fft.rfftfreq(n, d=mean)
    power = sum(p * np.exp(-(((frequency - f) / 0.01) ** 2) / 2) for p, f in ((0.5, 0.1), (1.0, respiration)))
    phase = rng.uniform(0, 2 * np.pi, len(frequency))
    wave = np.fft.irfft(np.sqrt(power) * np.exp(1j * phase), n)
    tachogram: Array = mean * (1 + rng.uniform(0.02, 0.05) * (wave - wave.mean()) / wave.std())
    return tachogram


def _waves(time: Array, peaks: Array, shapes: Array) -> Array:
    """The sum ``[t]`` of the events of equation 1 in mV, before the pull back to the baseline.

    The point circles once an RR interval, so theta is the time since the R peak times omega = 2 pi / RR. With a_i =
    height omega / b_i^2 (Sameni et al., IEEE Trans. Biomed. Eng. 54(12), 2007) the integral of an event is a Gaussian
    of that height in mV, and with theta_i and b_i proportional to omega a wave lasts equally long in all intervals.
    """
    before = np.searchsorted(peaks, time, side="right") - 1
    total = np.zeros_like(time)
    # Between two R peaks, the T of the one and the P of the other overlap, so both beats count with all their waves.
    for beat in (before, before + 1):
        since = time - peaks[beat]
        for height, centre, width in shapes.transpose(2, 1, 0):
            total += height[beat] * np.exp(-(((since - centre[beat]) / width[beat]) ** 2) / 2)
    return total


def _integrate(waves: Array, wander: Array, fs: float) -> Array:
    """Solve ``z' = waves' - (z - wander)``, equation 1 in z, linear with a time constant of 1 s, by two filters."""
    from scipy.signal import lfilter

    decay = np.exp(-1 / fs)
    events: Array = lfilter([1, -1], [1, -decay], waves)
    baseline: Array = lfilter([1 - decay], [1, -decay], wander)
    return events + baseline
