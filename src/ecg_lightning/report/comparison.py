"""What `ecg_lightning.runs.compare` found between two runs, for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ecg_lightning.runs.compare import SIDES, _dig


def comparison_of_runs(answer: Mapping[str, Any]) -> RenderableType:
    """What `compare` returned, for the terminal, in 80 columns."""
    table = Table(
        title=f"1 minus 2, on the same {answer['n']:,} test beats, in percent",
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("figure", no_wrap=True)
    for header in ("1", "2", "1 - 2", f"{100 * answer['level']:.0f} % interval", "p"):
        table.add_column(header, justify="right", no_wrap=True)
    for name, one in _rows(answer["differences"]):
        low_high, p = "-", "-"
        if one["interval"]:
            low_high = " to ".join(f"{100 * end:+.2f}" for end in one["interval"])
            p = _p(one["p"])
        sure = bool(one["interval"]) and not one["interval"][0] <= 0 <= one["interval"][1]
        cells = (f"{100 * one['first']:.2f}", f"{100 * one['second']:.2f}", f"{100 * one['difference']:+.2f}")
        table.add_row(name, *cells, low_high, p, style="bold" if sure else "")
    parts: list[RenderableType] = [table]
    for number, side in enumerate(SIDES, start=1):
        about = answer[side]
        told = ", ".join(str(part) for part in (about.get("model"), about["path"]) if part)
        parts.append(Text.assemble((f"{number} ", "bold"), told))
        if about.get("synthetic"):
            parts.append(Text("  SYNTHETIC BEATS", style="bold red"))
    protocol = answer["first"].get("protocol")
    units = f"{answer['resamples']:,} resamples of {answer['n_resampled']:,} {answer['resampled']}"
    split = f"Split {protocol}. " if protocol else ""
    notes = f"{split}Intervals and p by paired bootstrap, {units}; bold: 0 is outside."
    if answer["resampled"] == "beats":
        notes += " Patients are not known: the true intervals are wider."
    elif answer["n_resampled"] == 1:
        notes = "All beats are of one patient: nothing can be said of others."
    mcnemar = answer["mcnemar"]
    notes += (
        f" Called right by one alone: {mcnemar['only_first']:,} beats by 1, {mcnemar['only_second']:,} by 2 "
        f"(McNemar, as if beats were independent: p {_p(mcnemar['p'])})."
    )
    return Group(*parts, Text(), Text(notes, style="dim"))


def _rows(differences: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    named = [
        ("macro-F1", ("macro_f1",)),
        ("accuracy", ("accuracy",)),
        ("balanced accuracy", ("balanced_accuracy",)),
        ("kappa", ("kappa",)),
        ("j-kappa", ("j_kappa",)),
        *((f"F1 {name}", ("per_class", name, "f1")) for name in differences["per_class"]),
        ("macro AUROC", ("macro_auroc",)),
        ("macro average precision", ("macro_average_precision",)),
        ("calibration error", ("ece",)),
    ]
    found = [(name, _dig(differences, path)) for name, path in named]
    return [(name, one) for name, one in found if one is not None]


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
