"""The networks: `create_model` builds one by name; `BeatModel` is what all of them are."""

from ecg_lightning.models.contract import BeatModel
from ecg_lightning.models.registry import create_model, list_models, model_names, register, settings_of

__all__ = ["BeatModel", "create_model", "list_models", "model_names", "register", "settings_of"]
