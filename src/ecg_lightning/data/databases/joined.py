"""Several databases as one: their beats one after the other, with the database of each."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.names import Names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Joined(Source):
    """The beats of several sources.

    Records and patients are named ``database/name``. Patients of a database whose card says that they are those of
    another have the other's name, so that nobody is two people.
    """

    parts: tuple[Source, ...]

    @property
    def name(self) -> str:
        return "+".join(part.name for part in self.parts)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the first, and then those that only others have."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.classes))

    def files(self) -> list[Path]:
        return [file for part in self.parts for file in part.files()]

    def settings(self) -> dict[str, Any]:
        parts = {part.name: part.settings() for part in self.parts}
        return {"dataset": self.name, "databases": parts, "cut": parts[self.parts[0].name].get("cut")}

    def read(self) -> Beats:
        return Beats.concatenate(list(self.join([part.read() for part in self.parts])))

    def join(self, beats: list[Beats]) -> Iterator[Beats]:
        """The beats of the parts, some at a time, as those of one database.

        ConfigError for other leads, lengths, rates or context in one of them.
        """
        first, named = beats[0], []
        for part, own in zip(self.parts, beats, strict=True):
            facts = [(one.signals.shape[1:], one.fs, len(one.context_names)) for one in (first, own)]
            if facts[0] != facts[1]:
                leads = ", ".join(own.lead_names)
                raise ConfigError(
                    f"beats of {part.name} (leads {leads}, {own.length} samples, {own.fs:g} Hz) cannot be joined with "
                    f"those of {self.parts[0].name} (leads {', '.join(first.lead_names)}, {first.length} samples, "
                    f"{first.fs:g} Hz): choose dataset.leads and dataset.cut for all of them"
                )
            place = np.array([self.classes.index(name) for name in own.classes])
            n = len(own)
            named.append(
                dataclasses.replace(
                    own,
                    classes=self.classes,
                    labels=place[own.known_labels],
                    lead_names=first.lead_names,
                    context_names=first.context_names,
                    records=Names.full(n, f"{part.name}/?")
                    if own.records is None
                    else own.records.prefixed(f"{part.name}/"),
                    patients=None if own.patients is None else own.patients.prefixed(f"{part.people}/"),
                    databases=Names.full(n, part.name),
                    samples=np.full(n, -1) if own.samples is None else own.samples,
                    published_test=None,
                    folds=None,
                )
            )
        # What is not known of all is known of none.
        partly: dict[str, Any] = {
            name: None for name in ("patients", "quality") if any(getattr(part, name) is None for part in named)
        }
        origins = {part.name: own.origin for part, own in zip(self.parts, beats, strict=True)}
        dropped = {name: own["dropped"] for name, own in origins.items() if "dropped" in own}
        origin = self.settings() | {"synthetic": any(one.synthetic for one in beats)}
        origin |= {"dropped": dropped} if dropped else {}
        return (some for part in named for some in dataclasses.replace(part, origin=origin, **partly).parts())
