"""Simulated people: the rhythm of a heart as RR intervals and classes, and how unusual each QRS complex looks.

No samples are made: a beat is its interval, its class and one number for its shape. A network over the sequence of
beats learns from thousands of such people what few databases show often. All of it is synthetic: for pretraining,
never for results. ``docs/explanation/simulated_people.md`` has the assumptions; what has no source here is one.
Sources:

- sinus rhythm with respiration and the 0.1 Hz wave: McSharry, Clifford, Tarassenko & Smith, IEEE Trans. Biomed. Eng.
  50(3), 2003; its variability: Task Force of the ESC and NASPE, Circulation 93, 1996;
- atrial fibrillation as independent intervals above a refractory period: Cohen, Berger & Dushane, IEEE Trans. Biomed.
  Eng. 30, 1983; Lian, Müssig & Lang, IEEE Trans. Biomed. Eng. 53, 2006;
- pauses, which atrial beats reset and ventricular ones compensate: textbooks of electrocardiography.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.data.context import FARTHEST, SHORTEST
from ecg_lightning.data.labels import AAMI_CLASSES

REVISION = 1  # of what is simulated: count it up with every change of the people that a seed gives
N, S, V, F, Q = range(len(AAMI_CLASSES))

Reals = npt.NDArray[np.float64]
# Share of people. Atrial fibrillation and sick sinus are more frequent than in any database, to be learnt.
RHYTHMS = {"sinus rhythm": 0.74, "atrial fibrillation": 0.16, "atrial flutter": 0.05, "sick sinus": 0.05}
Beat = tuple[float, int, float]  # interval before it in seconds, class, distance of its QRS complex without noise


class Rhythm(NamedTuple):
    """The beats of a simulated person in order of time."""

    rr_s: Reals  # [b] seconds, the interval that ends at each beat
    labels: IntArray  # [b] indices into AAMI_CLASSES
    distance: FloatArray  # [b] of the QRS complex from the usual one: see `ecg_lightning.data.context.distance`
    kinds: list[str]  # what this person has, such as "sinus rhythm" and "atrial bigeminy"


def simulate_people(n: int, n_beats: int, seed: int) -> list[Rhythm]:
    """`n` people of `n_beats` beats each; one seed gives the same first people for every `n`."""
    return [simulate_rhythm(np.random.default_rng([seed, person]), n_beats) for person in range(n)]


def simulate_rhythm(rng: np.random.Generator, n_beats: int) -> Rhythm:
    """One person: a rhythm of its own or two in turn, with up to four kinds of events in it."""
    person = Person(rng, n_beats)
    beats: list[Beat] = []
    while len(beats) < n_beats:
        usual = person.base[len(beats) :][: rng.geometric(person.event_rate)]
        beats += [(rr, N, 0.0) for rr in usual.tolist()]
        beats += person.event(min(len(beats), len(person.base) - 1))
    rr, labels, shapes = (np.array(column) for column in zip(*beats[:n_beats], strict=True))
    distance = shapes * rng.lognormal(0, 0.1, n_beats) + person.spread(n_beats)
    rr, labels, distance = _detected(rng, rr, labels, distance)
    clipped = np.clip(distance, -FARTHEST, FARTHEST).astype(np.float32)
    return Rhythm(np.maximum(rr, SHORTEST), labels, clipped, person.kinds)


class Person:
    """What stays the same in one person: its rhythms, its ectopic foci, and which events it has how often."""

    def __init__(self, rng: np.random.Generator, n_beats: int) -> None:
        self.rng = rng
        n = n_beats + 400  # events may reach beyond the end
        self.base = sinus_rhythm(rng, n)  # RR intervals between events
        self.rhythm = str(rng.choice(list(RHYTHMS), p=list(RHYTHMS.values())))
        self.kinds = [self.rhythm]
        self.in_sinus = np.full(n, self.rhythm in ("sinus rhythm", "sick sinus"))
        if not self.in_sinus[0]:
            if rng.random() < 0.5:  # paroxysmal: stretches of sinus rhythm in between
                self.kinds.append("sinus rhythm")
                at = 0
                while at < n:
                    length = _length(rng, 8, 200)
                    self.in_sinus[at : at + length] = rng.random() < 0.5
                    at += length
            irregular = atrial_flutter if self.rhythm == "atrial flutter" else atrial_fibrillation
            self.base = np.where(self.in_sinus, self.base, irregular(rng, n))

        # Ectopic foci: each has its coupling interval, in sinus intervals, and its shape.
        self.atrial = rng.uniform(0.42, 0.88)
        self.atrial_spread = rng.uniform(0.01, 0.08)
        self.atrial_shape = rng.uniform(0.0, 0.5)
        self.return_cycle = rng.uniform(0.95, 1.3)  # of the sinus node after it was reset
        self.no_reset = rng.choice([0.0, 0.2, 1.0], p=[0.7, 0.2, 0.1])  # share with a full compensatory pause
        self.aberrancy = rng.choice([0.0, 0.2, 0.8], p=[0.75, 0.15, 0.1])  # share of them
        self.foci = [
            (rng.uniform(0.45, 0.9), rng.uniform(0.3, 1.2) if rng.random() < 0.15 else rng.uniform(1.2, 2.6))
            for _ in range(rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
        ]
        self.ventricular_spread = 0.12 if rng.random() < 0.15 else rng.uniform(0.01, 0.05)  # wide in parasystole

        self.events: list[Event] = [sick_sinus]
        if self.rhythm == "sick sinus":
            self.event_rate = 0.5
            return
        possible = [name for name in EVENTS if self.rhythm == "sinus rhythm" or name not in IN_SINUS_RHYTHM]
        count = int(rng.choice([0, 1, 2, 3, 4], p=[0.15, 0.25, 0.3, 0.2, 0.1]))
        names = [possible[at] for at in rng.permutation(len(possible))[:count]]
        self.kinds += names
        self.events = [EVENTS[name] for name in names]
        self.event_rate = float(np.exp(rng.uniform(np.log(1 / 150), np.log(1 / 4))))  # a beat

    def event(self, at: int) -> list[Beat]:
        """One event of this person's after the beat `at`; nothing if there are none."""
        if not self.events:
            return []
        event = self.events[self.rng.integers(len(self.events))]
        return event(self, self.rng, float(self.base[at]))

    def spread(self, n: int) -> Reals:
        """Distances of usual beats, and stretches of noise in which distances are large and mean nothing."""
        rng = self.rng
        values = rng.normal(0, rng.uniform(0.22, 0.5), n)
        values[1:] += rng.uniform(0, 0.5) * values[:-1]
        values += np.where(rng.random(n) < rng.uniform(0, 0.05), rng.exponential(0.5, n), 0)
        if rng.random() < 0.3:
            self.kinds.append("noise")
            for start in rng.integers(0, n, rng.integers(1, 4)):
                stretch = slice(start, start + int(rng.integers(3, 40)))
                values[stretch] += rng.uniform(0.3, 2) * rng.random(len(values[stretch]))
        if rng.random() < 0.2:
            self.kinds.append("another shape")  # of usual beats: posture, or a bundle branch that blocks at times
            for start in rng.integers(0, n, rng.integers(1, 5)):
                values[start : start + _length(rng, 2, 60)] += rng.uniform(0.5, 2)
        return values

    def atrial_beat(self, t: float) -> Beat:
        """An early beat whose QRS complex is usual, or wide where the ventricles are still refractory."""
        coupling = t * float(np.clip(self.rng.normal(self.atrial, self.atrial_spread), 0.4, 0.93))
        aberrant = self.rng.random() < self.aberrancy and coupling < 0.7 * t
        return coupling, S, float(self.rng.uniform(0.6, 2.2)) if aberrant else self.atrial_shape

    def ventricular_beat(self, t: float) -> Beat:
        """A beat of one of this person's foci."""
        coupling, shape = self.foci[self.rng.integers(len(self.foci))]
        return t * float(np.clip(self.rng.normal(coupling, self.ventricular_spread), 0.35, 1.02)), V, shape


def sinus_rhythm(rng: np.random.Generator, n: int) -> Reals:
    """``[n]`` RR intervals in seconds: a mean with respiratory, 0.1 Hz and slow variation; strong in some people."""
    mean = float(np.clip(rng.lognormal(np.log(0.8), 0.2), 0.42, 1.5))
    time = np.arange(n) * mean
    respiratory = rng.lognormal(np.log(0.015), 0.9) if rng.random() < 0.8 else rng.uniform(0.06, 0.16)
    breaths = np.cumsum(rng.normal(rng.uniform(0.15, 0.4), 0.03, n)) * mean  # cycles: breathing is not regular
    waves = respiratory * np.sin(2 * np.pi * breaths)
    waves += rng.lognormal(np.log(0.015), 0.8) * np.sin(2 * np.pi * (0.1 * time + rng.random()))
    # Slow changes, as of activity and posture: a sum of steps that take from ten beats to a minute or two.
    for _ in range(rng.integers(0, 8)):
        step = np.tanh((np.arange(n) - rng.uniform(0, n)) / rng.uniform(4, 60))
        waves += rng.normal(0, rng.choice([0.02, 0.08])) * step
    return mean * np.exp(np.clip(waves + rng.normal(0, rng.uniform(0.001, 0.012), n), -0.5, 0.5))


def atrial_fibrillation(rng: np.random.Generator, n: int) -> Reals:
    """``[n]`` RR intervals in seconds, independent of each other: a refractory period and a gamma distributed rest."""
    mean = rng.uniform(0.42, 1.1)
    refractory = max(0.24, rng.uniform(0.4, 0.65) * mean)
    deviation = rng.uniform(0.13, 0.3) * mean
    shape = ((mean - refractory) / deviation) ** 2
    return refractory + rng.gamma(shape, (mean - refractory) / shape, n)


def atrial_flutter(rng: np.random.Generator, n: int) -> Reals:
    """``[n]`` RR intervals in seconds: whole numbers of atrial cycles of about 0.2 s, 2 to 5, that change or stay."""
    cycle, stay = rng.uniform(0.18, 0.26), rng.uniform(0.3, 0.99)
    usual = rng.choice([[0.7, 0.2, 0.1, 0.0], [0.1, 0.2, 0.6, 0.1], [0.3, 0.3, 0.3, 0.1]])
    changes = rng.random(n) > stay
    changes[0] = True
    ratios = rng.choice([2, 3, 4, 5], size=n, p=usual)[np.maximum.accumulate(np.where(changes, np.arange(n), 0))]
    return cycle * ratios + rng.normal(0, rng.uniform(0.005, 0.03), n)


def atrial_ectopic(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """An atrial ectopic beat; it resets the sinus node, so that less than two sinus intervals pass, or does not."""
    beat = person.atrial_beat(t)
    full = rng.random() < person.no_reset
    return [beat, (2 * t - beat[0] if full else t * person.return_cycle * rng.normal(1, 0.03), N, 0.0)]


def ventricular_ectopic(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """A ventricular ectopic beat; the sinus node keeps its time, so that two sinus intervals pass."""
    beat = person.ventricular_beat(t)
    return [beat, (2 * t - beat[0] + t * rng.normal(0, 0.02), N, 0.0)]


def blocked_atrial_ectopic(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """A pause: an atrial ectopic beat that the ventricles do not follow resets the sinus node."""
    return [(t * (rng.uniform(0.4, 0.65) + person.return_cycle), N, 0.0)]


def interpolated_ectopic(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """A ventricular ectopic beat between two sinus beats; the next one is a little late."""
    beat = t * rng.uniform(0.42, 0.6), V, person.ventricular_beat(t)[2]
    return [beat, (t * rng.uniform(1.0, 1.1) - beat[0], N, 0.0)]


def fusion(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """A ventricular beat about when the sinus beat is due, or both at once."""
    beats: list[Beat] = [(t * rng.normal(0.93, 0.04), F, rng.uniform(0.4, 1.0) * person.ventricular_beat(t)[2])]
    return beats if rng.random() < 0.7 else [*ventricular_ectopic(person, rng, t), *beats]


def _repeated(person: Person, rng: np.random.Generator, t: float, event: "Event") -> list[Beat]:
    usual = int(rng.choice([0, 1, 2], p=[0.5, 0.3, 0.2]))
    beats: list[Beat] = []
    for _ in range(_length(rng, 3, 60)):
        beats += event(person, rng, t)
        beats += [(t * rng.normal(1, 0.02), N, 0.0) for _ in range(usual)]
    return beats


def atrial_bigeminy(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """Every second to fourth beat is an atrial ectopic one."""
    return _repeated(person, rng, t, atrial_ectopic)


def ventricular_bigeminy(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """Every second to fourth beat is a ventricular ectopic one."""
    return _repeated(person, rng, t, ventricular_ectopic)


def atrial_run(person: Person, rng: np.random.Generator, t: float, longest: int = 150) -> list[Beat]:
    """Two or more atrial ectopic beats in a row, from a slow rhythm to a tachycardia, whose rate rises at first."""
    first = person.atrial_beat(t)
    rate = max(0.28, t * rng.uniform(0.4, 0.8))
    spread = rng.choice([0.01, 0.03, 0.1], p=[0.5, 0.3, 0.2])
    count = _length(rng, 1, longest)
    warm = 1 + 0.1 * np.exp(-np.arange(count) / 3)
    run = [(float(rr), S, first[2]) for rr in rate * warm * rng.normal(1, spread, count)]
    return [first, *run, (t * rng.uniform(0.9, 1.8), N, 0.0)]


def ventricular_run(person: Person, rng: np.random.Generator, t: float, longest: int = 60) -> list[Beat]:
    """Two or more ventricular beats in a row: a tachycardia, or a rhythm about as fast as the sinus node's."""
    first = person.ventricular_beat(t)
    rate = t * rng.uniform(0.8, 1.05) if rng.random() < 0.35 else max(0.27, t * rng.uniform(0.35, 0.75))
    spread = rng.choice([0.02, 0.05, 0.12], p=[0.5, 0.3, 0.2])
    # Beats are compared with those around: in the middle of a long run, its own shape is the usual one.
    count = _length(rng, 1, longest)
    shape = first[2] * (1 if count < 40 else rng.uniform(0.3, 1))
    run = [(float(rr), V, shape) for rr in rate * rng.normal(1, spread, count)]
    return [first, *run, (t * rng.uniform(0.9, 1.6), N, 0.0)]


def pause(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """A dropped beat or a pause of the sinus node, which an escape beat may end."""
    length = t * (2 if rng.random() < 0.5 else rng.uniform(1.4, 3.0))
    escape = rng.random() if length > 1.3 else 0
    if escape > 0.7:  # junctional ones are N in AAMI's classes as the databases use them
        return [(max(1.2, 0.9 * length), V if escape > 0.85 else N, person.foci[0][1] if escape > 0.85 else 0.3)]
    return [(length, N, 0.0)]


def sick_sinus(person: Person, rng: np.random.Generator, t: float) -> list[Beat]:
    """A pause and a group of early atrial beats, which are most of the beats."""
    rate = rng.uniform(0.5, 0.9)
    slow = max(1.0, t) * rng.uniform(1.0, 2.0)
    group = [(float(rr), S, 0.0) for rr in rate * rng.normal(1, 0.08, int(rng.geometric(0.25)))]
    return [(slow, N, 0.0), *group]


Event = Callable[[Person, np.random.Generator, float], list[Beat]]  # takes the sinus interval in seconds
EVENTS: Mapping[str, Event] = MappingProxyType(
    {
        "atrial ectopic": atrial_ectopic,
        "blocked atrial ectopic": blocked_atrial_ectopic,
        "atrial bigeminy": atrial_bigeminy,
        "atrial couplet": partial(atrial_run, longest=3),
        "atrial run": atrial_run,
        "ventricular ectopic": ventricular_ectopic,
        "interpolated ectopic": interpolated_ectopic,
        "ventricular bigeminy": ventricular_bigeminy,
        "ventricular couplet": partial(ventricular_run, longest=3),
        "ventricular run": ventricular_run,
        "fusion": fusion,
        "pause": pause,
    }
)
# Not in people with atrial fibrillation or flutter, whose atria nothing else drives.
IN_SINUS_RHYTHM = (
    "atrial ectopic", "blocked atrial ectopic", "atrial bigeminy", "atrial couplet", "atrial run",
    "interpolated ectopic", "ventricular bigeminy", "fusion",
)  # fmt: skip


def _length(rng: np.random.Generator, shortest: int, longest: int) -> int:
    return round(float(np.exp(rng.uniform(np.log(shortest), np.log(longest)))))


def _detected(rng: np.random.Generator, rr: Reals, labels: IntArray, distance: Reals) -> tuple[Reals, IntArray, Reals]:
    """What a detector makes of the beats: R peaks a few milliseconds off; in some people missed and false ones."""
    n = len(rr)
    times = np.cumsum(rr) + rng.normal(0, rng.uniform(0.001, 0.008), n)
    labels, distance = labels.astype(np.int64), distance.copy()
    if rng.random() < 0.2:
        # A false beat somewhere takes the place of each missed one, so that their number stays.
        where = 1 + np.flatnonzero(rng.random(n - 1) < rng.uniform(0.002, 0.02))
        times[where] = rng.uniform(times[0], times[-1], len(where))
        labels[where], distance[where] = Q, rng.uniform(0.5, FARTHEST, len(where))
    order = np.argsort(times, kind="stable")
    return np.diff(times[order], prepend=times[0] - rr[0]), labels[order], distance[order]
