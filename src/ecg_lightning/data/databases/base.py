"""What a source of beats is: something that names its files and settings, and reads `Beats` from them."""

import dataclasses
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.progress import progress
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.databases.card import Card, folder_of
from ecg_lightning.data.processes import in_processes
from ecg_lightning.data.recording import Leads, Recording, lead_names, make_leads, separate_leads
from ecg_lightning.data.windows import Cut, beats_of_one, checked


def fetch_command(name: str, data_dir: Path) -> str:
    """The command that downloads a published database."""
    return f"ecg-lightning data fetch {name} --data-dir {shlex.quote(str(data_dir))}"


class Source(ABC):
    """Where beats come from."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the database."""

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels."""

    @property
    def people(self) -> str:
        """Name of the database whose people these are, which another card may be the first to have."""
        return self.name

    @property
    def cached(self) -> bool:
        """Whether reading takes long enough that beats are kept in the cache."""
        return True

    @abstractmethod
    def files(self) -> list[Path]:
        """Every file that `read` depends on, for the cache's key; a `DataError` names an absent one."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything else that `read` depends on, in plain values; kept as `Beats.origin` and part of the key."""

    @abstractmethod
    def read(self) -> Beats:
        """Parse, cut or simulate all beats; a `DataError` says which file is damaged."""

    def read_parts(self) -> Iterator[Beats]:
        """What `read` returns, part by part, so that not all of it is in memory."""
        yield self.read()


@dataclass(frozen=True, kw_only=True)
class CardSource(Source):
    """A source that a card describes; one of another package has the same fields.

    Attributes:
        card: of the database.
        data_dir: folder that its folder is in.
        cut: how beats are cut, with the part before the R peak that the context asks for.
        context: that is computed for each beat.
    """

    card: Card
    data_dir: Path
    cut: Cut
    context: Context = NO_CONTEXT

    doing: ClassVar[str] = "reading"  # what its progress is called

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return folder_of(self.card, self.data_dir)

    @property
    def leads(self) -> Leads:
        """The places of the leads with their alternatives."""
        return make_leads(self.card.leads)

    def settings(self) -> dict[str, Any]:
        """Reader, leads and cutting, and context if any is wanted; subclasses add what else they depend on."""
        separate = self.card.separate_leads
        context = list(self.context.names(lead_names(self.leads)[: 1 if separate else None]))
        return {
            "dataset": self.name,
            "reader": self.card.reader,
            "leads": [list(place) for place in self.leads],
            "cut": dataclasses.asdict(self.cut),
            **({"separate_leads": True} if separate else {}),
            **({"context": context} if context else {}),
        }

    def cut_out(self, recordings: Iterable[Callable[[], Recording]]) -> Iterator[Beats]:
        """The beats of recordings with all leads, as the card wants them, one after the other.

        Once this has taken `SERIAL_S`, each core reads and cuts recordings: the same beats in the same order.
        """
        reads = list(recordings)
        with progress(f"{self.doing} {self.name}", len(reads), "recordings") as step:
            for beats in checked(in_processes(partial(self._cut_one, self.settings()), reads)):
                yield beats
                step.advance()

    def _cut_one(self, origin: dict[str, Any], read: Callable[[], Recording]) -> Beats:
        how: dict[str, Any] = {"how": self.cut, "classes": self.classes, "origin": origin, "context": self.context}
        own = separate_leads([read()]) if self.card.separate_leads else [read()]
        return Beats.concatenate([beats_of_one(one, **how) for one in own])

    @property
    def remedy(self) -> str:
        """What to do about a file that is absent or damaged."""
        if self.card.download is not None:
            return f"get it with: {fetch_command(self.name, self.data_dir)}"
        return f"put the recordings into {self.folder}, or correct folder and records in the card of {self.name}"

    def with_remedy(self, error: DataError) -> DataError:
        """The same error with what to do about it, unless it names that."""
        named = "dataset." in str(error) or self.remedy in str(error)
        return DataError(str(error) if named else f"{error}; {self.remedy}")
