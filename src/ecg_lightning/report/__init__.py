"""``report.html``: how good a network is, how sure that is, and where it fails; of one run, or of several.

A page is a single file without scripts, that opens from disk and asks for nothing from anywhere.
"""

from ecg_lightning.report.run_page import run_report
from ecg_lightning.report.runs_page import runs_report
from ecg_lightning.report.write import REPORT, write_report

__all__ = ["REPORT", "run_report", "runs_report", "write_report"]
