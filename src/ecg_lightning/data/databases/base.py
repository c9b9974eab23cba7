"""What a source of beats is: something that names its files and settings, and reads `Beats` from them."""

import shlex
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from ecg_lightning.data.beats import Beats


def fetch_command(name: str, data_dir: Path) -> str:
    """The command that downloads one of the published datasets."""
    return f"ecg-lightning data fetch {name} --data-dir {shlex.quote(str(data_dir))}"


class Source(ABC):
    """One way to get the beats of one dataset; sources are frozen dataclasses, their fields are their settings.

    Attributes:
        name: the word that chooses it: ``source=name``.
        dataset: name of the database: ``dataset=name``.
    """

    name: ClassVar[str]
    dataset: str

    @abstractmethod
    def files(self) -> list[Path]:
        """Every file that `read` depends on, for the cache's key; a `DataError` names an absent one."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Everything else that `read` depends on, in plain values; kept as `Beats.origin` and part of the key."""

    @abstractmethod
    def read(self) -> Beats:
        """Parse, cut or simulate all beats; a `DataError` says which file is damaged."""
