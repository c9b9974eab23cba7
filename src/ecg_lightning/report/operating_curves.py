"""Sensitivity against positive predictivity over the operating point, on the page of a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ecg_lightning.metrics.ec57 import applies
from ecg_lightning.report import analysis, charts
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.page import columns, figure, join, note
from ecg_lightning.report.render import html
from ecg_lightning.report.tables import operating_point, point_notes
from ecg_lightning.runs.discover import FOLDS
from ecg_lightning.runs.predictions import PREDICTIONS, read_pooled
from ecg_lightning.runs.schema import RunRecord

if TYPE_CHECKING:
    import pandas as pd

FACTORS = (2 ** np.linspace(-8, 8, 65)).tolist()  # on the odds
CONTOURS = (0.5, 0.6, 0.7, 0.8, 0.9)  # F1


def operating_curves(record: RunRecord, f: Numbers, table: "pd.DataFrame", folder: Path) -> Markup:
    """Se against +P over the factor on the odds of a class, of the tested beats and in cross-validation."""
    classes = record.classes
    names = ("V", "S") if applies(classes) else classes[1:] if record.positive else ()
    if not names:
        return Markup("")
    point = None if record.is_at_operating_point else record.operating_point
    decisions: dict[str, Any] = {"most probable class": {}} | ({"operating point": point["factors"]} if point else {})
    tables = {f"{record.fold.replace('_', '-')} beats": (table, "accent")}
    if files := [*(folder / FOLDS).glob(f"*/{PREDICTIONS}")] if record.fold == "test" else []:
        tables["training people"] = read_pooled(*files)[0], "quiet"
    drawn = []
    for name in names:
        lines = [charts.Line(points=contour(f1), look="faded thin", name=f"F1 .{10 * f1:.0f}") for f1 in CONTOURS]
        words = []
        for where, (predicted, look) in tables.items():
            curve = analysis.operating_curve(predicted, classes, name, [{name: factor} for factor in FACTORS])
            lines.append(charts.Line(points=curve, look=look))
            for how, factors in decisions.items():
                for place in analysis.operating_curve(predicted, classes, name, [factors]):
                    lines.append(charts.Line(points=[place], look="ink" if factors else look, joined=False, dots=True))
                    words.append(f"{where}, {how}: Se {100 * place[0]:.1f} %, +P {100 * place[1]:.1f} %")
        chart = charts.panel(
            lines, title=f"Se and +P of {name} by factor", description="; ".join(words),
            x=charts.percent_axis("sensitivity, %"), y=charts.percent_axis("positive predictivity, %"), right=44,
        )  # fmt: skip
        drawn.append(figure(chart, f"{name}. {'; '.join(words)}."))
    about = "As the factor on the odds of a class rises, its sensitivity does. Dots: the most probable class"
    about += ", and in black the operating point" * (point is not None)
    about += ". Grey: training people, each by a model that has not seen them; there the point is chosen" * bool(files)
    table_of = operating_point(f)
    return join(
        note(f"{about}. Thin lines: equal F1."),
        columns(*drawn),
        table_of and html(table_of),
        note(*point_notes(record)),
    )


def contour(f1: float) -> list[tuple[float, float]]:
    """(Se, +P) of equal F1."""
    return [(se, f1 * se / (2 * se - f1)) for se in np.linspace(f1 / (2 - f1), 1, 25).tolist()]
