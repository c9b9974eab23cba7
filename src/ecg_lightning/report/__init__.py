"""Tables, pictures and pages of finished runs; ``report.html`` is one file without scripts that needs no network."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecg_lightning.report.write import REPORT, write_report

__all__ = ["REPORT", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from ecg_lightning.report import write

    return getattr(write, name)
