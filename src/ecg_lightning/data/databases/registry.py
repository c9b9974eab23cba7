"""From the card or cards of a configuration to a `Source`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import first_error
from ecg_lightning.core.plugins import added
from ecg_lightning.data.context import Context
from ecg_lightning.data.databases.base import CardSource, Source
from ecg_lightning.data.databases.card import Card, Patients, cards_of
from ecg_lightning.data.databases.joined import Joined
from ecg_lightning.data.databases.people import SimulatedPeople
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.databases.rows import RowsOfFiles
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.readers import FORMATS
from ecg_lightning.data.windows import Cut

READERS: Mapping[str, type[CardSource]] = {
    **dict.fromkeys(FORMATS, Recordings),
    "rows": RowsOfFiles,
    "simulation": Synthetic,
    "people": SimulatedPeople,
}


def make_source(dataset: Mapping[str, Any], context: Mapping[str, Any], data_dir: Path) -> Source:
    """The source that the groups ``dataset`` and ``context`` of a configuration describe.

    Raises:
        ConfigError: a card is malformed or contradicts itself, there is no such reader, or the files of a card lack
            what is asked for.
    """
    parts = tuple(_source(card, context, data_dir) for card in cards_of(dataset).values())
    return parts[0] if len(parts) == 1 else Joined(parts=parts)


def _source(settings: Mapping[str, Any], context: Mapping[str, Any], data_dir: Path) -> Source:
    try:
        card = Card.model_validate(dict(settings))
    except ValidationError as error:
        raise ConfigError(f"dataset.{first_error(Card, dict(settings), error)}") from error
    if isinstance(card.patients, Patients) and not card.patients.model_dump(exclude_none=True):
        raise ConfigError(
            f"dataset.patients of {card.name}: expected a way to know them: {', '.join(Patients.model_fields)}"
        )
    kind = READERS.get(card.reader) or added("ecg_lightning.databases").get(card.reader)
    if kind is None:
        known = ", ".join([*READERS, *added("ecg_lightning.databases")])
        raise ConfigError(f"dataset {card.name}: there is no reader {card.reader!r}; choose one of {known}")
    chosen, before = Context(**{key: value for key, value in context.items() if key != "before"}), context["before"]
    cut = Cut(**card.cut.model_dump())
    # What follows the R peak is as long as without `before`.
    cut = dataclasses.replace(cut, before=before, length=cut.length + round(before * cut.fs))
    return kind(card=card, data_dir=data_dir, cut=cut, context=chosen)
