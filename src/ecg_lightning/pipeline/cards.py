"""The cards of databases: those that can be chosen, and a first draft of one for a folder of recordings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import first_error
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.card import Card
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.pipeline.config import added_conf_dirs, choices, conf_dir, config_loader, known_settings

NO_CONTEXT = {"rhythm": False, "morphology": False, "before": 0.0}


def load_cards(config_dir: Path | str | None = None, names: Iterable[str] | None = None) -> dict[str, Card]:
    """The cards of all databases, or of those with these names, as ``dataset=NAME`` composes them.

    Args:
        config_dir: folder with more of them in ``dataset``, as ``--config-dir``.
        names: None is all; choices that join several databases are not among them.

    Raises:
        ConfigError: there is no such card, or one is malformed.
    """
    from hydra.errors import HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    loader = config_loader(config_dir)
    own = [] if config_dir is None else [Path(config_dir).expanduser()]
    known = choices([*own, conf_dir(), *added_conf_dirs()])["dataset"]
    wanted = known if names is None else list(names)
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"there is no database {unknown[0]!r}; choose one of {', '.join(known)}")
    try:  # all at once, which takes a fifth of the time
        words = [f"+dataset@cards.{name}={name}" for name in wanted]
        cfg = loader.load_configuration(None, words, run_mode=RunMode.RUN, from_shell=False)
        plain: Any = OmegaConf.to_container(cfg.cards, resolve=True) if wanted else {}
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(" ".join(str(error).split()) + known_settings(error)) from error
    cards = {}
    for name, settings in plain.items():
        if "cards" in settings:
            continue
        try:
            cards[name] = Card.model_validate(settings)
        except ValidationError as error:
            raise ConfigError(f"the card of {name}: {first_error(Card, settings, error)}") from error
    return cards


def cards_to_fetch(name: str, config_dir: Path | str | None = None) -> list[Card]:
    """The card of a database, or those of all databases in a folder of this name, such as ``mitdb``; else ConfigError."""
    cards = load_cards(config_dir)
    found = [cards[name]] if name in cards else [card for card in cards.values() if card.folder == name]
    if not found:
        known = {card.name: card.download.size for card in cards.values() if card.download}
        listed = ", ".join(f"{one} ({size})" if size else one for one, size in known.items())
        raise ConfigError(f"there is no database {name!r} to fetch; choose one of {listed}")
    return found


def source_of(card: Card, data_dir: Path) -> CardSource:
    """The source of the beats of a single database, as its card describes them."""
    source = make_source(card.model_dump(), NO_CONTEXT, data_dir)
    assert isinstance(source, CardSource)
    return source


def is_there(card: Card, data_dir: Path) -> bool:
    """Whether the folder of a database is there, with some of its files if they are named."""
    source = source_of(card, data_dir)
    if card.rows is not None:
        return any((source.folder / name).is_file() for name in card.rows.files)
    return card.folder is not None and source.folder.is_dir()
