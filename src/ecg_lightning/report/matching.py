"""Tables of beat-by-beat comparisons: of annotation files, and of the beats that a model finds itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.metrics.matching import ABSENT, LABELS
from ecg_lightning.report import render
from ecg_lightning.report.cells import NONE, Column, Mark, Note, Number, Row, Section, Table, clean
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.page import join, note
from ecg_lightning.runs.schema import RunRecord

METRICS = {  # label, short, digits
    "sensitivity": ("sensitivity", "Se", 2),
    "positive_predictivity": ("positive predictivity", "+P", 2),
    "false_positive_rate": ("false positive rate", "FPR", 3),
}
SHOWN = [("QRS", name) for name in [*METRICS][:2]] + [(of, name) for of in ("V", "S") for name in METRICS]
RR = "RMS error of RR intervals in ms"
NOT_COUNTED = "F or Q as V, and Q as S, are neither right nor wrong."
DETECTED = (
    "Given: beats at the annotated R peaks. Detected: beats at detected R peaks, those that match an annotated beat. "
    "Detected and matched: all detected and annotated beats; missed and extra ones are errors."
)
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
    tables = [_metrics(numbers), _matrix(numbers)]
    return Section(title=clean(title), tables=tables, notes=[*map(Note, notes), *missing])


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


def _metrics(numbers: Numbers) -> Table:
    """QRS, V and S of each record, gross and average."""
    columns = [Column("record", text=True), *_columns(), Column(RR, short="RR, ms", head="RR\nms")]

    def row(name: str, place: str, prefix: str = "", mark: Mark = "") -> Row:
        cells = [numbers.percent(f"{place}{of}.{prefix}{one}", METRICS[one][2]) for of, one in SHOWN]
        rr = NONE if prefix else numbers.number(f"{place}rms_rr_error_ms", 1)
        return Row([name, *cells, rr], mark=mark)

    rows = [row(one["record"], f"per_record.{at}.") for at, one in enumerate(numbers.value("per_record"))]
    if len(rows) > 1:
        rows += [row("gross", "", mark="total"), row("average", "", "average_", mark="total")]
    return Table(title="Metrics by record", columns=columns, rows=rows)


def _columns() -> list[Column]:
    names = [(of, *METRICS[name][:2]) for of, name in SHOWN]
    return [Column(f"{of} {label}", group=of, short=short, head=f"{of}\n{short}") for of, label, short in names]


def _matrix(numbers: Numbers) -> Table:
    """Beats of the reference (rows) by what they are under test (columns)."""
    columns = [Column("reference", text=True), *(Column(f"test {name}", head=name.lower()) for name in LABELS)]
    rows = [
        Row([row, *(NONE if {row, to} <= {*ABSENT} else numbers.number(f"matrix.{row}.{to}") for to in LABELS)])
        for row in LABELS
    ]
    return Table(title="Beats of the reference (rows) by those under test (columns)", columns=columns, rows=rows)


def detected_section(record: RunRecord) -> Section:
    """A test on detected R peaks: the three scores, and the records in which they differ."""
    numbers = Numbers(record.plain())
    title = f"{record.model} on {record.tested_on}: scores by whose beats count, in percent"
    return Section(title=title, tables=_tables(numbers), notes=[Note(DETECTED), Note(NOT_COUNTED)])


def detected(numbers: Numbers, name: str = "") -> Markup:
    """The same for a page, of what was tested below `name`; nothing of a test on given beats."""
    if numbers.value("matched") is None:
        return Markup("")
    heading = Markup("<h3>{}: by whose beats count</h3>").format(clean(name)) if name else ""
    return join(heading, *map(render.html, _tables(numbers)), note(DETECTED, NOT_COUNTED))


def _tables(numbers: Numbers) -> list[Table]:
    """Scores, and the records in which they differ, if there are any."""
    columns = [Column("beats", text=True), *_columns()]
    places = {"given": "matched.given.", "detected": "test.ec57.", "detected and matched": "matched."}
    rows = [
        Row([name, *(numbers.percent(f"{place}{of}.{one}", METRICS[one][2]) for of, one in SHOWN)])
        for name, place in places.items()
    ]
    differences = []
    for of, one in SHOWN:
        given, found = (numbers.value(f"{places[name]}{of}.{one}") for name in ("given", "detected and matched"))
        known = given is not None and found is not None
        digits = METRICS[one][2]
        differences.append(Number(found - given, digits, factor=100, signed=True) if known else NONE)
    rows.append(Row(["difference to given", *differences], mark="total"))
    return [Table(title="Ectopic beats as counted by EC57, gross", columns=columns, rows=rows), *_by_record(numbers)]


def _by_record(numbers: Numbers) -> list[Table]:
    """Missed and false beats of each record with given and with detected ones, those that differ most first."""
    given = {one["record"]: at for at, one in enumerate(numbers.value("matched.given.per_record"))}
    columns = [Column("record", text=True), *(Column(f"QRS {name}", head=f"QRS\n{name}") for name in ("FN", "FP"))]
    columns += [
        Column(f"{of} {count}, {beats}", group=f"{of} {count}", short=beats, head=f"{of} {count}\n{beats}")
        for of in ("V", "S")
        for count in ("FN", "FP")
        for beats in ("given", "det.")
    ]
    rows = []
    for at, one in enumerate(numbers.value("matched.per_record")):
        place, own = f"matched.per_record.{at}.", f"matched.given.per_record.{given.get(one['record'])}."
        counts = [f"{of}.{count}" for of in ("V", "S") for count in ("fn", "fp")]
        difference = sum(abs((numbers.value(place + name) or 0) - (numbers.value(own + name) or 0)) for name in counts)
        cells = [numbers.number(f"{place}QRS.{count}") for count in ("fn", "fp")]
        cells += [numbers.number(where + name) for name in counts for where in (own, place)]
        rows.append((difference, Row([one["record"], *cells])))
    rows = sorted((row for row in rows if row[0]), key=lambda row: -row[0])
    title = f"Missed and false beats by record, of the {min(MOST, len(rows))} with the largest difference"
    return [Table(title=title, columns=columns, rows=[row for _, row in rows[:MOST]])] if rows else []
