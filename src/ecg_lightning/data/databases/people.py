"""Simulated people as a source: beats without signals, whose context is rhythm and distance of the QRS complex."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import Context, rhythm
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.card import People
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.names import Names
from ecg_lightning.data.recording import lead_names
from ecg_lightning.data.rhythms import REVISION, Rhythm, simulate_people

FS = 360.0  # Hz of the clock of R peaks, as in MIT-BIH


@dataclass(frozen=True, kw_only=True)
class SimulatedPeople(CardSource):
    """`ecg_lightning.data.rhythms` as beats in order of time, one record a person; every signal is 0.

    Raises:
        ConfigError: the card lacks ``people``.
    """

    def __post_init__(self) -> None:
        if self.card.people is None:
            raise ConfigError(f"dataset {self.name}: reader people needs dataset.people: people, beats and seed")

    @property
    def how(self) -> People:
        """The settings of the simulation."""
        assert self.card.people is not None
        return self.card.people

    @property
    def cached(self) -> bool:
        """They are simulated as fast as read, and their signals need no memory as long as nothing copies them."""
        return False

    @property
    def classes(self) -> tuple[str, ...]:
        return AAMI_CLASSES

    def files(self) -> list[Path]:
        return []

    def settings(self) -> dict[str, Any]:
        own = {"synthetic": True, "model": f"simulated rhythms, revision {REVISION}", "people": self.how.model_dump()}
        return super().settings() | own

    def read(self) -> Beats:
        """All people, one after the other; their beats are blank, of length 0.

        A ConfigError for context that needs a signal, and for none, without which all beats are alike.
        """
        if self.context != dataclasses.replace(self.context, rhythm=True, waves=False, morphology=False, causal=False):
            raise ConfigError(
                f"dataset {self.name} holds rhythms and no signals, so its context has rhythm and no morphology; "
                "choose context=rr_distance, or context=rr"
            )
        # The last beat of a record has no next RR interval and is no beat, as in recordings.
        people = simulate_people(self.how.people, self.how.beats + 1, self.how.seed)
        samples = [np.round(np.cumsum(person.rr_s) * FS).astype(np.int64) for person in people]
        labels, leads = np.concatenate([person.labels[:-1] for person in people]), lead_names(self.leads)
        names = np.array([f"simulated-{i:05d}" for i in range(len(people))])
        records = Names.at(names, np.repeat(np.arange(len(people)), self.how.beats))
        return Beats(
            signals=np.broadcast_to(np.float32(0), (len(labels), len(leads), self.cut.length)),
            lengths=np.zeros(len(labels), dtype=np.int64),  # nothing is known of a beat but its context
            lead_names=leads,
            labels=labels,
            classes=self.classes,
            fs=self.cut.fs,
            records=records,
            patients=records,
            samples=np.concatenate([peaks[:-1] for peaks in samples]),
            context=np.concatenate([_context(*both, self.context) for both in zip(people, samples, strict=True)]),
            context_names=self.context.names(leads),
            origin=self.settings(),
        )


def _context(person: Rhythm, peaks: Any, context: Context) -> Any:
    own = [person.distance[:-1, None]] if context.distance else []
    return np.concatenate([rhythm(peaks, FS), *own], axis=1)
