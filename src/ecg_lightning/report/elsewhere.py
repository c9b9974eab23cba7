"""Home and away: the test of a run beside its tests on other databases, as a table, a section and a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from ecg_lightning.metrics.catalogue import OVERALL, Metric, of_class, of_ec57
from ecg_lightning.report import charts
from ecg_lightning.report.cells import NONE, Cell, Column, Note, Number, Row, Section, Table, clean
from ecg_lightning.report.matching import detected
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.page import Part, aside, columns, figure, join, note, prose, render
from ecg_lightning.report.render import html
from ecg_lightning.report.tables import SYNTHETIC_WARNING, by_recording, confusion, missing_notes
from ecg_lightning.report.verdict import deciding, listed, name_of
from ecg_lightning.runs.schema import RunRecord

ABOUT = (
    "The beats differ, so a difference between rows is one of people, recordings and classes together. "
    "macro-F1 is the mean over the classes that are there or predicted."
)
EC57 = "S and V as ANSI/AAMI EC57 counts them, gross: sensitivity (Se), positive predictivity (+P) and their F1."
NO_HOME = "The record of the run is not beside its checkpoint: its own test is not shown."
Away = Mapping[str, RunRecord]  # by the name of the folder of the evaluation


def elsewhere_section(home: RunRecord | None, away: Away) -> Section:
    """What is printed after a test on other databases; `home` is the record of the run, where it is known."""
    shown = [*_numbers(home, away)]
    some = next(iter(away.values()))
    judged = _judged(some)
    heads = [Column("tested on", text=True, wrap=True), Column("beats"), Column("people")]
    heads += [Column(one.label, group=one.group, short=one.name, head=one.short) for one in judged]
    rows = [
        Row([name, f.number(f"n.{f.value('fold')}"), _people(f), *map(f.cell, judged)], section=where)
        for where, name, f in shown
    ]
    notes = [f"In percent. {ABOUT}", *[EC57] * ("ec57" in some.test)]
    if any(f.value("test.intervals.macro_f1") for *_, f in shown):
        notes.append("Intervals: 95 %, by bootstrap over the people of each database.")
    nameless = [name for _, name, f in shown if f.value("test.intervals.resampled") == "beats"]
    notes += [f"{name}: the people are not known, so its intervals (over beats) are too narrow." for name in nameless]
    notes += [f"{record.tested_on}: {record.beats}." for record in _records(home, away)]
    notes += [f"{record.tested_on}: {text}" for record in _records(home, away) for text in missing_notes(record)]
    notes += [NO_HOME] * (home is None)
    synthetic = any(record.synthetic for record in away.values())
    return Section(
        title=f"{some.model}, trained on {_trained_on(home, some)}: tested on other databases",
        tables=[Table(columns=heads, rows=rows, compact=True), *_by_recording(shown)],
        notes=[*map(Note, notes), *[Note(SYNTHETIC_WARNING, "warning")] * synthetic],
    )


def _by_recording(shown: Sequence[tuple[str, str, Numbers]]) -> Iterator[Table]:
    for _, name, f in shown:
        if table := by_recording(f):
            yield replace(table, title=f"{name}: {table.title[:1].lower()}{table.title[1:]}")


def elsewhere(home: RunRecord | None, away: Away) -> Markup:
    """The section of a page: how much is lost, the table, F1 by class, confusion matrices and shares of the classes."""
    section, shown = elsewhere_section(home, away), [*_numbers(home, away)]
    matrices = [html(replace(confusion(f), title=name)) for _, name, f in shown]
    doubts = [f"{record.tested_on}: {record.warning}." for record in _records(home, away) if record.warning]
    return join(
        prose([*_verdict(shown)]),
        *map(html, section.tables),
        note(*(clean(one.text) for one in section.notes)),
        *(detected(f, name) for _, name, f in shown),
        aside("Limits", map(clean, doubts)),
        Markup("<h3>F1 by class</h3>"),
        columns(*_charts(shown)),
        Markup("<h3>Beats by class</h3>"),
        html(_shares(shown)),
        Markup("<h3>True class (rows) by predicted class (columns): percent of the row, and beats</h3>"),
        columns(*matrices),
    )


def elsewhere_report(home: RunRecord | None, away: Away) -> str:
    """The page as HTML of tests on other databases."""
    some = next(iter(away.values()))
    tested = listed([record.tested_on for record in away.values()])
    return render(
        title=clean(f"{some.model} on other databases"),
        kicker="Report of tests elsewhere",
        subtitle=clean(f"Trained on {_trained_on(home, some)}; tested on {tested}."),
        warning=SYNTHETIC_WARNING * any(record.synthetic for record in away.values()),
        parts=[Part("elsewhere", "Home and away", elsewhere(home, away))],
        origin="From the scores.json of the run and of its tests, under the names that its elements carry.",
    )


def _numbers(home: RunRecord | None, away: Away) -> Iterator[tuple[str, str, Numbers]]:
    """``home`` or ``away``, the name of what was tested, and its numbers."""
    if home is not None:
        yield "home", home.tested_on, Numbers(home.plain())
    for folder, record in away.items():
        yield "away", record.tested_on, Numbers(record.plain(), prefix=f"{folder}: ")


def _judged(record: RunRecord) -> list[Metric]:
    metrics = [OVERALL["macro_f1"], OVERALL["accuracy"]]
    if record.positive:
        keys = ("auroc", "average_precision", "recall", "specificity", "precision", "f1")
        return metrics + [of_class(record.positive, key) for key in keys]
    if "ec57" not in record.test:
        return metrics + [of_class(name, "f1") for name in record.classes]
    of_both = [(name, key) for name in ("S", "V") for key in ("sensitivity", "positive_predictivity", "f1")]
    return metrics + [of_ec57(*one) for one in of_both]


def _people(f: Numbers) -> Number | str:
    known = f.value("test.intervals.resampled") == "patients"
    return f.number("test.intervals.n_resampled") if known else NONE


def _verdict(shown: Sequence[tuple[str, str, Numbers]]) -> Iterator[Markup]:
    """A sentence on each database: macro-F1 (of two classes AUROC), and how far from home."""
    *_, first = shown[0]
    metric = deciding(first)
    own = first.value(metric.place) if shown[0][0] == "home" else None
    for where, name, f in shown:
        if where == "home" or f.value(metric.place) is None:
            continue
        ends = f.interval(metric)
        between = Markup(" ({} to {})").format(*ends) if ends else ""
        numbers = f.metric(metric, 1), between
        away = Markup("On {} {} is <strong>{} %</strong>{}").format(clean(name), name_of(metric), *numbers)
        if own is None:
            yield away + "."
            continue
        points = 100 * (f.value(metric.place) - own)
        how = f"{abs(points):.1f} points {'below' if points < 0 else 'above'}"
        yield away + Markup(", {} the {} % at home.").format(how, first.metric(metric, 1))


def _charts(shown: Sequence[tuple[str, str, Numbers]]) -> Iterator[Markup]:
    """F1 at home and away with intervals, a chart for each class and one for their mean."""
    classes = list(shown[0][2].value("test.per_class"))
    metrics = [(name, of_class(name, "f1"), f"c{at % 5}") for at, name in enumerate(classes)]
    for name, metric, look in [*metrics, ("macro-F1", OVERALL["macro_f1"], "ink")]:
        rows = [
            charts.Dot(
                name=clean(where), value=f.value(metric.place), interval=metric.interval(f.content["test"]), look=look,
            )
            for _, where, f in shown
            if f.value(metric.place) is not None
        ]  # fmt: skip
        if rows:
            title = metric.label if name == "macro-F1" else f"F1 of class {name}"
            yield figure(charts.dots(rows, title=title, x=f"{title}, %", row_height=22))


def _shares(shown: Sequence[tuple[str, str, Numbers]]) -> Table:
    """Which part of the beats is of each class, with their number below."""
    classes = list(shown[0][2].value("test.per_class"))
    heads = [Column("tested on", text=True), Column("people"), *(Column(f"{name}, %") for name in classes)]
    rows = []
    for _, name, f in shown:
        n, counts = f.value(f"n.{f.value('fold')}"), [f.number(f"test.per_class.{one}.support") for one in classes]
        shares = (Number(one.value / n, 2, factor=100) if isinstance(one, Number) else NONE for one in counts)
        cells = (Cell(share, below=count) for share, count in zip(shares, counts, strict=True))
        rows.append(Row([name, _people(f), *cells]))
    return Table(columns=heads, rows=rows)


def _trained_on(home: RunRecord | None, some: RunRecord) -> str:
    return home.tested_on if home else str(some.trained_on or some.dataset)


def _records(home: RunRecord | None, away: Away) -> list[RunRecord]:
    return [*([] if home is None else [home]), *away.values()]
