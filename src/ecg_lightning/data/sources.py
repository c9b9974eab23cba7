"""The register of sources: from settings to a `Source`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecg_lightning.data.kaggle import Kaggle
from ecg_lightning.data.physionet import PhysioNet
from ecg_lightning.data.recording import Cut
from ecg_lightning.data.source import Source
from ecg_lightning.data.synthetic import Synthetic
from ecg_lightning.errors import ConfigError


def make_source(settings: Mapping[str, Any], dataset: Mapping[str, Any], data_dir: Path) -> Source:
    """Build the source that the groups ``source`` and ``dataset`` describe.

    Args:
        settings: ``name`` of the source and its own settings.
        dataset: ``name`` of the dataset, ``lead``, ``recorded_fs`` and ``cut``; Kaggle's files leave no choice.
        data_dir: folder that holds ``mitdb``, ``ptbdb`` and ``heartbeat``.

    Raises:
        ConfigError: there is no such source, or no such dataset in it.
    """
    own = {key: value for key, value in settings.items() if key != "name"}
    match settings["name"]:
        case "kaggle":
            return Kaggle(dataset=dataset["name"], data_dir=data_dir)
        case "physionet":
            return PhysioNet(
                dataset=dataset["name"],
                data_dir=data_dir,
                lead=dataset["lead"],
                recorded_fs=dataset["recorded_fs"],
                cut=Cut(**dataset["cut"]),
            )
        case "synthetic":
            return Synthetic(dataset=dataset["name"], cut=Cut(**dataset["cut"]), **own)
        case unknown:
            raise ConfigError(f"there is no source {unknown!r}; choose physionet, kaggle or synthetic")
