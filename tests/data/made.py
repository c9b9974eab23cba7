"""What several tests of the data layer make from the project's own cards and splits."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.databases.synthetic import Synthetic

CONF = Path(__file__).parents[2] / "conf"
NO_CONTEXT = {"rhythm": False, "morphology": False, "before": 0.0}


def split_settings(name: str) -> dict[str, Any]:
    """What ``conf/split/NAME.yaml`` and its bases say."""
    return {key: value for key, value in _settings("split", name).items() if key != "seed"}


def card(name: str, **changes: Any) -> dict[str, Any]:
    """What ``conf/dataset/NAME.yaml`` and its bases say; `cut` and `simulation` are changed setting by setting."""
    plain: Any = OmegaConf.to_container(OmegaConf.create(_settings("dataset", name)), resolve=True)
    own = {key: plain[key] | changes.pop(key) for key in ("cut", "simulation") if isinstance(changes.get(key), dict)}
    return {**plain, **changes, **own}


def recordings(folder: Path, **changes: Any) -> Recordings:
    """The source of the records in a folder that is named as PhysioNet's; any sampling rate will do."""
    name = {"mitdb": "mitbih"}.get(folder.name, folder.name)
    context = changes.pop("context", NO_CONTEXT)
    source = make_source(card(name, **{"recorded_fs": None} | changes), context, folder.parent)
    assert isinstance(source, Recordings)
    return source


def simulated(name: str = "synthetic", *, context: Any = NO_CONTEXT, **changes: Any) -> Synthetic:
    """A simulation; `leads` and `cut` are those of its card, other changes of its settings."""
    own = {key: changes.pop(key) for key in ("leads", "cut", "task") if key in changes}
    source = make_source(card(name, **own, simulation=changes), context, Path())
    assert isinstance(source, Synthetic)
    return source


def _settings(group: str, name: str) -> dict[str, Any]:
    own = OmegaConf.load(CONF / group / f"{name}.yaml")
    assert OmegaConf.is_dict(own)
    bases = [base for base in own.pop("defaults", []) if base != "_self_"]
    files = [OmegaConf.create(_settings(group, base)) for base in bases]
    plain = OmegaConf.to_container(OmegaConf.merge(*files, own))
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
