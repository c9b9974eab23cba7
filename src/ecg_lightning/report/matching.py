"""Tables of beat-by-beat comparisons: of annotation files, and of the beats that a model finds itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.metrics.matching import ABSENT, LABELS
from ecg_lightning.report import render
from ecg_lightning.report.cells import NONE, Column, Mark, Note, Row, Section, Table, clean
from ecg_lightning.report.numbers import Numbers

METRICS = {  # label, short, digits
    "sensitivity": ("sensitivity", "Se", 2),
    "positive_predictivity": ("positive predictivity", "+P", 2),
    "false_positive_rate": ("false positive rate", "FPR", 3),
}
SHOWN = [("QRS", name) for name in [*METRICS][:2]] + [(of, name) for of in ("V", "S") for name in METRICS]
RR = "RMS error of RR intervals in ms"
NOT_COUNTED = "F or Q as V, and Q as S, are neither right nor wrong."
MOST = 12  # records in a table of differences


def comparison_section(result: Mapping[str, Any]) -> Section:
    """What `compare_annotations` returned."""
    numbers = Numbers(result)
    period = f"from second {result['start_s']:g} on" if result["start_s"] else "from the start"
    notes = [
        f"EC57 in percent, {period}, window {1000 * result['window_s']:g} ms. Classes: {result['classes']}.",
        NOT_COUNTED,
        f"O: no beat; X: shut down. The annotator under test shut down for {result['shut_down_s']:.0f} s.",
    ]
    absent = result["not_compared"]
    shown = f"{', '.join(absent[:10])}{' …' * (len(absent) > 10)}"
    missing = [Note(f"Without annotations under test, and not in any number: {shown}.", "warning")] * bool(absent)
    title = f"Beat-by-beat comparison: {result['reference']} (reference) and {result['test']}"
    return Section(title=clean(title), tables=[metrics(numbers), matrix(numbers)], notes=[*map(Note, notes), *missing])


def write_comparison(result: Mapping[str, Any], output: Path) -> None:
    """Write it as JSON, Markdown or LaTeX, by the ending of the file; ConfigError for another ending."""
    match output.suffix.lower():
        case ".json":
            text = json.dumps(result, indent=2) + "\n"
        case ".md":
            text = render.markdown(comparison_section(result))
        case ".tex":
            text = render.latex(comparison_section(result))
        case _:
            raise ConfigError(f"{output} does not name a format: end it with .json, .md or .tex")
    with atomic_write(output) as partial:
        partial.write_text(text, encoding="utf-8")


def metrics(numbers: Numbers, at: str = "") -> Table:
    """QRS, V and S of each record, gross and average; `at` is the place of the comparison in the numbers."""
    columns = [Column("record", text=True)]
    for of, name in SHOWN:
        label, short, _ = METRICS[name]
        columns.append(Column(f"{of} {label}", group=of, short=short, head=f"{of}\n{short}"))
    columns.append(Column(RR, short="RR, ms", head="RR\nms"))

    def row(name: str, place: str, prefix: str = "", mark: Mark = "") -> Row:
        cells = [numbers.percent(f"{place}{of}.{prefix}{one}", METRICS[one][2]) for of, one in SHOWN]
        rr = NONE if prefix else numbers.number(f"{place}rms_rr_error_ms", 1)
        return Row([name, *cells, rr], mark=mark)

    records = [one["record"] for one in numbers.value(f"{at}per_record")]
    rows = [row(name, f"{at}per_record.{i}.") for i, name in enumerate(records)]
    if len(records) > 1:
        rows += [row("gross", at, mark="total"), row("average", at, "average_", mark="total")]
    return Table(title="Metrics by record", columns=columns, rows=rows)


def matrix(numbers: Numbers, at: str = "") -> Table:
    """Beats of the reference (rows) by what they are under test (columns)."""
    columns = [Column("reference", text=True), *(Column(f"test {name}", head=name.lower()) for name in LABELS)]
    rows = [
        Row([row, *(NONE if {row, to} <= {*ABSENT} else numbers.number(f"{at}matrix.{row}.{to}") for to in LABELS)])
        for row in LABELS
    ]
    return Table(title="Beats of the reference (rows) by those under test (columns)", columns=columns, rows=rows)
