"""`Recording`: continuous signals with their beats, as every reader yields it, and how leads are chosen from one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import IntArray

Lead = int | str  # position in the record, from 0, or name, in any case
Leads = tuple[tuple[Lead, ...], ...]  # a place for each wanted lead, with its alternatives in order of preference


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """Some leads of one record with its annotated or detected beats."""

    record: str
    patient: str  # several records may have the same
    signals: npt.NDArray[np.floating[Any]]  # [leads, t] in mV
    lead_names: tuple[str, ...]
    fs: float  # Hz
    peaks: IntArray  # [b], sample of each R peak, ascending
    labels: IntArray | None = None  # [b], class of each beat, or None where they are not known


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
