"""Heartbeat classification in the electrocardiogram: PyTorch Lightning experiments configured by Hydra.

The names below are the public interface. Each is imported on first use, so that ``import ecg_lightning`` is quick.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecg_lightning.data.beats import Beats
    from ecg_lightning.data.readers import read_recording
    from ecg_lightning.data.recording import Recording
    from ecg_lightning.metrics.scoring import score
    from ecg_lightning.models.registry import create_model, list_models
    from ecg_lightning.models.registry import register as register_model
    from ecg_lightning.pipeline.config import compose
    from ecg_lightning.pipeline.evaluate import evaluate
    from ecg_lightning.pipeline.export import export
    from ecg_lightning.pipeline.load import load_beats, load_checkpoint
    from ecg_lightning.pipeline.predictor import load_predictor
    from ecg_lightning.pipeline.train import train
    from ecg_lightning.report.write import write_report
    from ecg_lightning.runs.compare import compare as compare_runs

    __version__: str

__all__ = [
    "Beats", "Recording", "__version__", "compare_runs", "compose", "create_model", "evaluate", "export",
    "list_models", "load_beats", "load_checkpoint", "load_predictor", "read_recording", "register_model", "score",
    "train", "write_report",
]  # fmt: skip

_PUBLIC = {
    "Beats": "data.beats.Beats",
    "Recording": "data.recording.Recording",
    "compare_runs": "runs.compare.compare",
    "compose": "pipeline.config.compose",
    "create_model": "models.registry.create_model",
    "evaluate": "pipeline.evaluate.evaluate",
    "export": "pipeline.export.export",
    "list_models": "models.registry.list_models",
    "load_beats": "pipeline.load.load_beats",
    "load_checkpoint": "pipeline.load.load_checkpoint",
    "load_predictor": "pipeline.predictor.load_predictor",
    "read_recording": "data.readers.read_recording",
    "register_model": "models.registry.register",
    "score": "metrics.scoring.score",
    "train": "pipeline.train.train",
    "write_report": "report.write.write_report",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("ecg-lightning")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    module, _, own_name = _PUBLIC[name].rpartition(".")
    globals()[name] = found = getattr(import_module(f"{__name__}.{module}"), own_name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
