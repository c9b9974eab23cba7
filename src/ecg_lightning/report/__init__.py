"""Tables, pictures and pages of finished runs; ``report.html`` is one file without scripts that needs no network."""

from ecg_lightning.report.page import REPORT
from ecg_lightning.report.write import write_elsewhere, write_report

__all__ = ["REPORT", "write_elsewhere", "write_report"]
