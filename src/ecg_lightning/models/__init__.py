"""The networks: `create_model` builds one by name; `BeatModel` is what all of them are."""

from ecg_lightning.models.base import BeatModel, create_model, model_names, register

__all__ = ["BeatModel", "create_model", "model_names", "register"]
