"""What several tests of the data layer make from the project's own settings."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ecg_lightning.data.databases.physionet import PhysioNet
from ecg_lightning.data.labels import AAMI_SYMBOLS
from ecg_lightning.data.windows import Cut

CONF = Path(__file__).parents[2] / "conf"


def split_settings(name: str) -> dict[str, Any]:
    """What ``conf/split/NAME.yaml`` says."""
    settings = OmegaConf.to_container(OmegaConf.load(CONF / "split" / f"{name}.yaml"))
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items() if key != "seed"}


def physionet(folder: Path, **settings: Any) -> PhysioNet:
    """The source that ``conf/dataset`` describes, for records in a folder named as PhysioNet's."""
    dataset = {
        "mitdb": {"dataset": "mitbih", "annotator": "atr", "class_map": AAMI_SYMBOLS, "patients": {"202": "201"}},
        "ptbdb": {
            "dataset": "ptbdb",
            "diagnoses": {"Healthy control": "normal", "Myocardial infarction": "MI"},
            "patients": "folder",
        },
    }[folder.name]
    leads = {"mitdb": ((0,),), "ptbdb": (("ii",),)}[folder.name]
    defaults = {"folder": folder.name, "leads": leads, "recorded_fs": None, "cut": Cut()}
    return PhysioNet(data_dir=folder.parent, **(dataset | defaults | settings))
