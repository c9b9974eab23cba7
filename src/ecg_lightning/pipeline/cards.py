"""The cards of databases: those that can be chosen, and a first draft of one for a folder of recordings."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import first_error
from ecg_lightning.data.databases.base import CardSource
from ecg_lightning.data.databases.card import Card
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.describe import FolderContents, look_into
from ecg_lightning.data.labels import BEAT_SYMBOLS
from ecg_lightning.data.verify import counted, is_there
from ecg_lightning.pipeline.config import check_aliases, choices, composing, conf_dirs, config_loader

MOST_CLASSES = 10  # folders that may be classes
NO_CONTEXT = {"rhythm": False, "morphology": False, "before": 0.0}


def load_cards(config_dir: Path | str | None = None, names: Iterable[str] | None = None) -> dict[str, Card]:
    """The cards of all databases, or of those with these names, as ``dataset=NAME`` composes them.

    Args:
        config_dir: folder with more of them in ``dataset``, as ``--config-dir``.
        names: None is all; choices that join several databases are not among them.

    Raises:
        ConfigError: there is no such card, or one is malformed.
    """
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    loader = config_loader(config_dir)
    known = choices(conf_dirs(config_dir))["dataset"]
    wanted = known if names is None else list(names)
    if unknown := [name for name in wanted if name not in known]:
        raise ConfigError(f"there is no database {unknown[0]!r}; choose one of {', '.join(known)}")
    if config_dir is not None:
        own = [Path(config_dir).expanduser() / "dataset" / f"{name}.yaml" for name in wanted]
        for file in filter(Path.is_file, own):
            check_aliases(file)
    words = [f"+dataset@cards.{name}={name}" for name in wanted]
    with composing():  # all at once, which takes a fifth of the time
        cfg = loader.load_configuration(None, words, run_mode=RunMode.RUN, from_shell=False)
        plain: Any = OmegaConf.to_container(cfg.cards, resolve=True) if wanted else {}
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
    """The card of this name, or those of all databases in a folder of this name, such as ``mitdb``."""
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


def describe_cards(data_dir: Path, config_dir: Path | None = None) -> dict[str, dict[str, Any]]:
    """What ``data list`` shows of each database, as plain values."""
    described = {}
    for name, card in load_cards(config_dir).items():
        about, source = card.about.model_dump(exclude_none=True), source_of(card, data_dir)
        published = about.pop("published")
        described[name] = {
            "title": card.title,
            "task": card.task,
            "records": published.get("records"),
            "patients": published.get("patients"),
            "classes": published["classes"],
            "leads": card.leads,
            "fs": card.recorded_fs or (card.simulation.fs if card.simulation else None),
            **{key: about.get(key) for key in ("licence", "citation", "homepage", "tried")},
            "size": card.download.size if card.download else None,
            "folder": None if card.folder is None else str(source.folder),
            "here": card.folder is None or is_there(source),
        }
    return described


def new_card(folder: Path, name: str | None, output: Path) -> Path:
    """Write the draft of a card for a folder of recordings to ``OUTPUT/dataset/NAME.yaml``.

    Raises:
        DataError: the folder holds no recordings, or the card cannot be written.
        ConfigError: there is a card of this name, or it is no name.
    """
    name = name if name is not None else re.sub(r"\W+", "_", folder.resolve().name.lower()).strip("_")
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ConfigError(f"--name {name}: expected lower-case letters, digits and underscores")
    path = output / "dataset" / f"{name}.yaml"
    if path.exists() or name in choices(conf_dirs())["dataset"]:
        raise ConfigError(f"there is a database {name} already ({path}); choose another name with --name")
    text = card_text(name, look_into(folder))
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def card_text(name: str, found: FolderContents) -> str:
    """The draft of a card, with what was found and what is to be decided in comments."""
    leads = Counter({"+".join(own): n for own, n in found.leads.items()})
    rates = Counter({f"{fs:g} Hz": n for fs, n in found.rates.items()})
    common = [lead for lead in next(iter(found.leads), ()) if all(lead in own for own in found.leads)]
    lead = 0 if not common or common[0].startswith("lead ") else common[0]
    rate = min(found.rates) if len(found.rates) == 1 else None
    people = [f"# People: {found.people.evidence}"]
    if found.people.how is None:
        people.append("# If each recording is another person: record. With null, split=patient is refused")
    lines = [
        f"# Draft by `ecg-lightning data new`; recordings: {len(found.records):,}, of which opened: {found.opened:,}",
        "defaults:",
        "  - _database",
        "  - _self_",
        f"name: {name}",
        f"title: {name} # as tables show it",
        f"reader: {found.reader}",
        f"folder: {_yaml(str(found.folder.resolve()))}",
        *_classes(found),
        *people,
        f"patients: {_yaml(found.people.how)}",
        f"# Leads: {counted(leads) or 'none'}",
        f"leads: {_yaml([lead])}",
        f"# Sampling rates: {counted(rates) or 'none'}; null accepts any",
        f"recorded_fs: {'null' if rate is None else f'{rate:g}'}",
    ]
    if found.amplitude is not None:
        lines.append(f"# The first lead spans {found.amplitude:.3g} mV in ten seconds (median); usual is 0.5 to 5")
    if found.reader in ("csv", "mat"):
        lines.append("# csv: {fs: 250, unit: mV} # what the files do not state")
    lines += [f"# Cannot be read: {problem}" for problem in found.problems[:5]]
    # What is in files may hold line breaks, and characters that YAML refuses.
    return "".join("".join(one if one.isprintable() else " " for one in line) + "\n" for line in lines)


def _classes(found: FolderContents) -> list[str]:
    """The lines of a card on where classes come from."""
    if found.annotators:
        by_beats = {name: (_n_beats(of), sum(of.values())) for name, of in found.annotators.items()}
        annotator = max(by_beats, key=lambda name: by_beats[name])
        symbols = found.annotators[annotator]
        others = [f"{name} ({sum(of.values()):,})" for name, of in found.annotators.items() if name != annotator]
        lines = [f"# Annotations: {counted(symbols, most=20)}", f"annotator: {_yaml(annotator)}"]
        if others:
            lines.insert(0, f"# Other annotators: {', '.join(others)}")
        if _n_beats(symbols):
            return [*lines, "class_map: aami # or aami4, aami_escape_s, aami_wide, rhythm, or {class: [symbols], …}"]
        own = _yaml({symbol: [symbol] for symbol in symbols})
        return [*lines, "# Each text is a class: join some, take out what is not of beats", f"class_map: {own}"]
    if 1 < len(found.folders) <= MOST_CLASSES and found.people.how != "folder":
        classes = {name: [name] for name in found.folders}
        return [
            "# No annotations; each folder is a class, and the R peaks are detected",
            f"diagnoses: {_yaml({'folder': True, 'classes': classes})}",
        ]
    return [
        *(f"# Header comment {key}: {counted(values)}" for key, values in [*found.comments.items()][:5]),
        "# No annotations and no folders by class: to be decided. Either annotator and class_map, or diagnoses",
        "annotator: null",
        "class_map: null",
        "diagnoses: null # {folder: true, classes: {…}}, {comment: …, classes: {…}} or {table: {…}, classes: {…}}",
    ]


def _n_beats(symbols: Mapping[str, int]) -> int:
    return sum(n for symbol, n in symbols.items() if symbol in BEAT_SYMBOLS)


def _yaml(value: Any) -> str:
    """A value in one line of YAML, of which JSON is a part, without interpolation."""
    return json.dumps(value, ensure_ascii=False).replace("${", "\\\\${")
