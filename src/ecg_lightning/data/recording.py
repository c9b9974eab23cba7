"""`Recording` and `Annotations`, as every reader yields them, and how leads are chosen from a recording."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import IntArray

Lead = int | str  # position in the record, from 0, or name, in any case
Leads = tuple[tuple[Lead, ...], ...]  # a place for each wanted lead, with its alternatives in order of preference

WITHOUT_CLASS = -1  # label of a beat that is part of the rhythm but has no class


@dataclass(frozen=True, eq=False, kw_only=True)
class Annotations:
    """What is annotated at points of a recording: beats, rhythms, noise, comments."""

    samples: IntArray  # [a] index on the clock of the recording's signals, ascending
    symbols: list[str]  # [a] of the WFDB standard, or whatever text another format has
    notes: list[str]  # [a] further text, such as the rhythm ``(AFIB`` of a ``+``; empty without any
    subtypes: IntArray | None = None  # [a] of WFDB: of noise, which signals are noisy or unreadable

    def __len__(self) -> int:
        return len(self.samples)

    def select(self, places: Sequence[int]) -> Self:
        """Those at these positions."""
        symbols, notes = ([column[place] for place in places] for column in (self.symbols, self.notes))
        rows = np.asarray(places, dtype=np.int64)
        subtypes = None if self.subtypes is None else self.subtypes[rows]
        return dataclasses.replace(self, samples=self.samples[rows], symbols=symbols, notes=notes, subtypes=subtypes)


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """Some leads of one record with its annotated or detected beats."""

    record: str
    patient: str | None  # several records may have the same; None where it is not known
    signals: npt.NDArray[np.floating[Any]]  # [leads, t] in mV; NaN in gaps
    lead_names: tuple[str, ...]
    fs: float  # Hz
    peaks: IntArray  # [b], sample of each R peak, ascending
    labels: IntArray | None = None  # [b], class of each beat or `WITHOUT_CLASS`; None where they are not known
    symbols: Sequence[str] | None = None  # [b], annotated symbol of each beat
    other_symbols: Mapping[str, int] = field(default_factory=dict)  # how many annotations are not of beats
    comments: tuple[str, ...] = ()  # lines of its header
    fold: str | None = None  # of the publisher's recommended division


def make_leads(setting: Any) -> Leads:
    """The leads of ``dataset.leads``: for each place a name, a position or a list of alternatives.

    ``[0]`` is the first signal of each record, ``[[MLII, II], [V1, V5]]`` the one of each pair that a record has;
    anything else, or no lead, is a `ConfigError`.
    """
    places = setting if isinstance(setting, list | tuple) else ()
    leads = tuple(tuple(place) if isinstance(place, list | tuple) else (place,) for place in places)
    if not leads or not all(leads) or not all(type(lead) in (int, str) for place in leads for lead in place):
        raise ConfigError(
            f"dataset.leads={setting}: expected a list with a name, a position or a list of alternatives for each "
            "lead, such as [0], [0,1] or [[MLII,II],[V1,V5]]"
        )
    if len(set(lead_names(leads))) < len(leads):
        raise ConfigError(f"dataset.leads={setting}: two leads have the same name; name each one first in its place")
    return leads


def lead_names(leads: Leads) -> tuple[str, ...]:
    """The name of each place: that of its first alternative, whatever a record calls it; ``lead 0`` of a position."""
    return tuple(place[0] if isinstance(place[0], str) else f"lead {place[0]}" for place in leads)


def separate_leads(recordings: Iterable[Recording]) -> Iterator[Recording]:
    """Each lead as a recording of its own with the beats of all, under the name of the first lead."""
    for recording in recordings:
        for signal in recording.signals:
            yield dataclasses.replace(recording, signals=signal[None], lead_names=recording.lead_names[:1])
