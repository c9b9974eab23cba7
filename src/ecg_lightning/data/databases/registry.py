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
from ecg_lightning.data.labels import CLASS_MAPS
from ecg_lightning.data.recording import lead_names, make_leads
from ecg_lightning.data.windows import Cut


def make_context(settings: Mapping[str, Any]) -> Context:
    """Which context comes with each beat, as the group ``context`` describes it.

    Raises:
        ConfigError: it describes something else.
    """
    chosen = {key: value for key, value in settings.items() if key != "before"}
    try:
        return Context(**chosen)
    except TypeError as error:
        raise ConfigError(f"context={dict(settings)}: expected rhythm, morphology and before") from error


def make_cut(settings: Mapping[str, Any], before: float) -> Cut:
    """How beats are cut: ``dataset.cut``, begun `before` seconds before the R peak in a window that is longer by that.

    So what follows the R peak is as long as without.

    Raises:
        ConfigError: a setting is unknown or out of range.
    """
    try:
        how = Cut(**settings)
        return dataclasses.replace(how, before=before, length=how.length + round(before * how.fs))
    except TypeError as error:
        raise ConfigError(f"dataset.cut={dict(settings)}, context.before={before}: {error}") from error


def make_source(
    settings: Mapping[str, Any], dataset: Mapping[str, Any], context: Mapping[str, Any], data_dir: Path
) -> Source:
    """Build the source that the groups ``source``, ``dataset`` and ``context`` describe.

    Args:
        settings: ``name`` of the source and its own settings.
        dataset: ``name`` of the dataset, ``leads``, ``cut`` and what else its file in ``conf/dataset`` has; Kaggle's
            files leave no choice.
        context: ``rhythm``, ``morphology`` and ``before``.
        data_dir: folder that holds ``mitdb``, ``ptbdb`` and ``heartbeat``.

    Raises:
        ConfigError: there is no such source, no such dataset in it, or nothing but one lead of the beat in its files
            where more is asked for.
    """
    chosen = make_context(context)
    leads = make_leads(dataset["leads"])
    own = {key: value for key, value in settings.items() if key != "name"}
    match settings["name"]:
        case "kaggle":
            if any(chosen.chosen.values()) or context["before"]:
                raise ConfigError(
                    "Kaggle's files hold beats from their R peak on and nothing of what was before: "
                    "choose context=none, or source=physionet"
                )
            if len(leads) > 1:
                raise ConfigError(
                    f"Kaggle's files hold one lead, and dataset.leads={dataset['leads']} asks for {len(leads)}: "
                    "leave it out, or choose source=physionet"
                )
            return Kaggle(dataset=dataset["name"], data_dir=data_dir)
        case "physionet":
            class_map, patients = dataset["class_map"], dataset["patients"]
            return PhysioNet(
                dataset=dataset["name"],
                data_dir=data_dir,
                folder=dataset["folder"],
                annotator=dataset["annotator"],
                class_map=_class_map(class_map) if class_map else None,
                diagnoses=dataset["diagnoses"] or None,
                patients=patients if patients == "folder" else _same_patients(patients),
                leads=leads,
                recorded_fs=dataset["recorded_fs"],
                cut=make_cut(dataset["cut"], context["before"]),
                context=chosen,
            )
        case "synthetic":
            cut = make_cut(dataset["cut"], context["before"])
            return Synthetic(dataset=dataset["name"], cut=cut, context=chosen, leads=lead_names(leads), **own)
        case name:
            described = {
                **dataset,
                "dataset": dataset["name"],
                "data_dir": data_dir,
                "leads": leads,
                "cut": make_cut(dataset["cut"], context["before"]),
                "context": chosen,
            }
            return _added_source(name, described, own)


def _added_source(name: str, described: Mapping[str, Any], own: Mapping[str, Any]) -> Source:
    """A source of another package: fields named as parts of the configuration take them, its own settings the rest."""
    sources = added("ecg_lightning.databases")
    if name not in sources:
        names = ", ".join(("physionet", "kaggle", "synthetic", *sources))
        raise ConfigError(f"there is no source {name!r}; choose one of {names}")
    fields = [field.name for field in dataclasses.fields(sources[name])]
    try:
        source: Source = sources[name](**{key: described[key] for key in fields if key in described}, **own)
    except TypeError as error:
        raise ConfigError(f"source {name} cannot be made from {dict(own)}: {error}") from error
    return source


def _class_map(setting: Any) -> Mapping[str, str]:
    if isinstance(setting, Mapping):
        return {str(name): "".join(symbols) for name, symbols in setting.items()}
    if setting not in CLASS_MAPS:
        raise ConfigError(
            f"dataset.class_map={setting}: expected {' or '.join(CLASS_MAPS)}, or class: symbols for each class"
        )
    return CLASS_MAPS[setting]


def _same_patients(setting: Any) -> Mapping[str, str]:
    same = setting.get("same") if isinstance(setting, Mapping) and setting.keys() == {"same"} else None
    if not isinstance(same, Mapping):
        raise ConfigError(
            f"dataset.patients={setting}: expected folder (each patient's records have a folder of their own) or "
            "{same: {record: record of the same patient}}, {same: {}} where each record is a patient"
        )
    return {str(record): str(other) for record, other in same.items()}
