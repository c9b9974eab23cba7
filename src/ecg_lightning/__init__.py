"""Heartbeat classification in the electrocardiogram: PyTorch Lightning experiments configured by Hydra.

What is named here is the public interface; it is imported when it is first used, so that ``import ecg_lightning`` is
quick.
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
    from ecg_lightning.pipeline.load import load_beats, load_checkpoint
    from ecg_lightning.pipeline.train import train
    from ecg_lightning.report.write import write_report
    from ecg_lightning.runs.compare import compare as compare_runs

    __version__: str

__all__ = [
    "Beats",
    "Recording",
    "__version__",
    "compare_runs",
    "compose",
    "create_model",
    "evaluate",
    "list_models",
    "load_beats",
    "load_checkpoint",
    "read_recording",
    "register_model",
    "score",
    "train",
    "write_report",
]

_MODULES = {
    "Beats": "data.beats",
    "Recording": "data.recording",
    "compare_runs": "runs.compare",
    "compose": "pipeline.config",
    "create_model": "models.registry",
    "evaluate": "pipeline.evaluate",
    "list_models": "models.registry",
    "load_beats": "pipeline.load",
    "load_checkpoint": "pipeline.load",
    "read_recording": "data.readers",
    "register_model": "models.registry",
    "score": "metrics.scoring",
    "train": "pipeline.train",
    "write_report": "report.write",
}

_OTHER_NAMES = {"compare_runs": "compare", "register_model": "register"}


def __getattr__(name: str) -> Any:
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("ecg-lightning")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    found = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), _OTHER_NAMES.get(name, name))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
