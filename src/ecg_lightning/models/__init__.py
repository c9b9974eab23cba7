"""Networks over beats, and scikit-learn baselines: `create_model` builds a network by name."""

from ecg_lightning.models.contract import BeatModel
from ecg_lightning.models.pretrained import list_pretrained
from ecg_lightning.models.registry import check_settings, create_model, list_models, model_names, register, settings_of
from ecg_lightning.models.sequence import SequenceSettings

__all__ = [
    "BeatModel", "SequenceSettings", "check_settings", "create_model", "list_models", "list_pretrained", "model_names", "register",
    "settings_of",
]  # fmt: skip
