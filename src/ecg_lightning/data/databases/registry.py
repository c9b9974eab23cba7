"""The register of sources: from settings to a `Source`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.plugins import added
from ecg_lightning.data.context import Context
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.kaggle import Kaggle
from ecg_lightning.data.databases.physionet import PhysioNet
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.windows import Cut


def make_context(dataset: Mapping[str, Any]) -> Context:
    """What of its recording comes with each beat, as the group ``dataset`` describes it; nothing where it does not.

    Raises:
        ConfigError: it describes something else.
    """
    described = dataset.get("context") or {}
    try:
        return Context(**described)
    except TypeError as error:
        raise ConfigError(f"dataset.context={described}: expected rhythm and likeness, true or false") from error


def make_source(settings: Mapping[str, Any], dataset: Mapping[str, Any], data_dir: Path) -> Source:
    """Build the source that the groups ``source`` and ``dataset`` describe.

    Args:
        settings: ``name`` of the source and its own settings.
        dataset: ``name`` of the dataset, ``lead``, ``recorded_fs``, ``cut`` and ``context``, fields of `Context`,
            where any is wanted; Kaggle's files leave no choice.
        data_dir: folder that holds ``mitdb``, ``ptbdb`` and ``heartbeat``.

    Raises:
        ConfigError: there is no such source, no such dataset in it, or nothing but the beat in its files where more
            is asked for.
    """
    context = make_context(dataset)
    own = {key: value for key, value in settings.items() if key != "name"}
    match settings["name"]:
        case "kaggle":
            if context.names or dataset["cut"]["before"]:
                raise ConfigError(
                    "Kaggle's files hold beats from their R peak on and nothing of what was before: "
                    "choose context=none, or source=physionet"
                )
            return Kaggle(dataset=dataset["name"], data_dir=data_dir)
        case "physionet":
            return PhysioNet(
                dataset=dataset["name"],
                data_dir=data_dir,
                lead=dataset["lead"],
                recorded_fs=dataset["recorded_fs"],
                cut=Cut(**dataset["cut"]),
                context=context,
            )
        case "synthetic":
            return Synthetic(dataset=dataset["name"], cut=Cut(**dataset["cut"]), context=context, **own)
        case name:
            described = {"dataset": dataset["name"], "data_dir": data_dir, "context": context}
            return _added_source(name, {**dataset, **described}, own)


def _added_source(name: str, described: Mapping[str, Any], own: Mapping[str, Any]) -> Source:
    """A source of another package: its fields take what they are named after, its own settings the rest."""
    sources = added("ecg_lightning.databases")
    if name not in sources:
        raise ConfigError(
            f"there is no source {name!r}; choose physionet, kaggle, synthetic{''.join(f', {each}' for each in sources)}"
        )
    names = [field.name for field in dataclasses.fields(sources[name])]
    taken = {field: described[field] for field in names if field in described}
    if "cut" in taken:
        taken["cut"] = Cut(**taken["cut"])
    try:
        source: Source = sources[name](**taken, **own)
    except TypeError as error:
        raise ConfigError(f"source {name} cannot be made from {dict(own)}: {error}") from error
    return source
