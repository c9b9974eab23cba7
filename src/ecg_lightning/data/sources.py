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
        dataset: ``name`` of the dataset, ``lead``, ``recorded_fs``, ``cut`` and, where RR intervals are wanted,
            ``intervals``; Kaggle's files leave no choice.
        data_dir: folder that holds ``mitdb``, ``ptbdb`` and ``heartbeat``.

    Raises:
        ConfigError: there is no such source, no such dataset in it, or nothing but the beat in its files where more
            is asked for.
    """
    intervals = dataset.get("intervals", False)
    if type(intervals) is not bool:
        raise ConfigError(f"dataset.intervals={intervals}: expected true or false")
    own = {key: value for key, value in settings.items() if key != "name"}
    match settings["name"]:
        case "kaggle":
            if intervals or dataset["cut"]["before"]:
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
                intervals=intervals,
            )
        case "synthetic":
            return Synthetic(dataset=dataset["name"], cut=Cut(**dataset["cut"]), intervals=intervals, **own)
        case unknown:
            raise ConfigError(f"there is no source {unknown!r}; choose physionet, kaggle or synthetic")
