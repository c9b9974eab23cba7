"""The register of sources: from settings to a `Source`."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.plugins import added
from ecg_lightning.data.context import NO_CONTEXT, Context
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.kaggle import Kaggle
from ecg_lightning.data.databases.physionet import PhysioNet
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.labels import CLASS_MAPS
from ecg_lightning.data.recording import lead_names, make_leads
from ecg_lightning.data.windows import Cut


def make_source(
    settings: Mapping[str, Any], dataset: Mapping[str, Any], context: Mapping[str, Any], data_dir: Path
) -> Source:
    """The source that the groups ``source``, ``dataset`` and ``context`` of a configuration describe.

    Raises:
        ConfigError: there is no such source, no such dataset in it, or its files lack what is asked for.
    """
    chosen = Context(**{key: value for key, value in context.items() if key != "before"})
    leads, before = make_leads(dataset["leads"]), context["before"]
    own = {key: value for key, value in settings.items() if key != "name"}
    if settings["name"] == Kaggle.name:
        if chosen != NO_CONTEXT or before:
            raise ConfigError(
                "Kaggle's files hold nothing from before the R peak: choose context=none, or source=physionet"
            )
        if len(leads) > 1:
            raise ConfigError(
                f"Kaggle's files hold one lead, and dataset.leads={dataset['leads']} asks for {len(leads)}: "
                "leave it out, or choose source=physionet"
            )
        return Kaggle(dataset=dataset["name"], data_dir=data_dir)
    cut = Cut(**dataset["cut"])
    # What follows the R peak is as long as without `before`.
    cut = dataclasses.replace(cut, before=before, length=cut.length + round(before * cut.fs))
    described: dict[str, Any] = {"data_dir": data_dir, "leads": leads, "cut": cut, "context": chosen}
    described = {**dataset, "dataset": dataset["name"], **described}
    match settings["name"]:
        case PhysioNet.name:
            class_map, patients = dataset["class_map"], dataset["patients"]
            described["diagnoses"] = dataset["diagnoses"] or None
            described["class_map"] = _class_map(class_map) if class_map else None
            described["patients"] = patients if patients == "folder" else _same_patients(patients)
            source: type[Source] = PhysioNet
        case Synthetic.name:
            described["leads"] = lead_names(leads)
            source = Synthetic
        case name:
            sources = added("ecg_lightning.databases")
            if name not in sources:
                known = ", ".join((PhysioNet.name, Kaggle.name, Synthetic.name, *sources))
                raise ConfigError(f"there is no source {name!r}; choose one of {known}")
            source = sources[name]
    fields = [field.name for field in dataclasses.fields(source)]  # type: ignore[arg-type]
    try:
        return source(**{key: value for key, value in described.items() if key in fields} | own)
    except TypeError as error:
        raise ConfigError(f"source {settings['name']} cannot be made from {own}: {error}") from error


def _class_map(setting: Any) -> Mapping[str, str]:
    if isinstance(setting, Mapping):
        return {str(name): "".join(symbols) for name, symbols in setting.items()}
    if setting not in CLASS_MAPS:
        raise ConfigError(
            f"dataset.class_map={setting}: expected {' or '.join(CLASS_MAPS)}, or class: symbols for each class"
        )
    return CLASS_MAPS[setting]


def _same_patients(setting: Any) -> Mapping[str, str]:
    match setting:
        case {"same": Mapping() as same} if len(setting) == 1:
            return {str(record): str(other) for record, other in same.items()}
    raise ConfigError(
        f"dataset.patients={setting}: expected folder (each patient's records have a folder of their own) or "
        "{same: {record: record of the same patient}}, {same: {}} where each record is a patient"
    )
