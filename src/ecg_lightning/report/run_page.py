"""The page of one run, from what is in its folder."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ecg_lightning.core.progress import tracked
from ecg_lightning.data.labels import CLASS_MAPS, PHRASES
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.metrics.catalogue import OVERALL, of_class, of_ec57
from ecg_lightning.report import analysis, charts
from ecg_lightning.report.cells import Cell, Column, Number, Row, Table, clean, duration
from ecg_lightning.report.elsewhere import elsewhere
from ecg_lightning.report.matching import detected
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.operating_curves import operating_curves
from ecg_lightning.report.page import Part, aside, columns, definitions, figure, join, legend, note, prose, render
from ecg_lightning.report.render import html
from ecg_lightning.report.tables import (
    SYNTHETIC_WARNING,
    by_class,
    by_quality,
    by_recording,
    confusion,
    ec57,
    intervals_note,
    missing_notes,
    overall,
    published_notes,
)
from ecg_lightning.report.verdict import mean_confidence, verdict, warnings
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.discover import read_run, tests_elsewhere
from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.published import published_for_run
from ecg_lightning.runs.schema import RunRecord

if TYPE_CHECKING:
    import pandas as pd

NO_PREDICTIONS = "This needs the predictions.parquet of the run, which is not there."
TASKS = {
    "arrhythmia": "Which class is this beat of?",
    "mi": "Is this beat of a patient with infarction?",
}

CALIBRATED, NEARLY = 0.01, 0.03  # differences of confidence and accuracy below which a model is calibrated, nearly so
MOST_FREQUENT = 6  # errors in their table
RECORDS_SHOWN = 32  # in the chart of errors, those with most of them


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A run and what its page needs of it."""

    folder: Path
    record: RunRecord
    f: Numbers
    table: "pd.DataFrame | None"  # predictions
    baselines: Sequence[Path | str]
    embedding: bool
    cache_dir: Path | None


def run_report(
    path: Path | str,
    *,
    baselines: Sequence[Path | str] = (),
    embedding: bool = True,
    cache_dir: Path | None = None,
) -> str:
    """The page as HTML, of the run's folder or its record under any name; arguments and errors as of `write_report`."""
    path = Path(path)
    run = read_run(path if path.is_file() else path / "scores.json")
    record, table = run.record, read_predictions(run.predictions)[0] if run.predictions.is_file() else None
    shown = Shown(
        folder=run.folder, record=record, f=Numbers(record.plain()), table=table, baselines=baselines,
        embedding=embedding, cache_dir=cache_dir,
    )  # fmt: skip
    parts = [
        Part(name, title, drawn)
        for name, title, draw in tracked(SECTIONS, "drawing the report", "sections")
        if (drawn := draw(shown))
    ]
    away = {test.folder.name: test.record for test in tests_elsewhere(run)}
    if away:
        parts.append(Part("elsewhere", "Other databases", elsewhere(record, away)))
    tested = f"Split {record.protocol.name}, seed {record.seed}, {record.n_tested:,} {record.fold} beats."
    return render(
        title=clean(f"{record.model} on {data_of(record)}"),
        kicker="Report of a run",
        subtitle=f"{TASKS.get(record.task, record.task)} {tested}",
        warning=SYNTHETIC_WARNING * record.synthetic,
        parts=[*parts, *_explanations(shown), Part("reproduce", "Reproduce", _reproduce(shown))],
        origin="From the files of the run. Every number is in scores.json, under the name that its element carries.",
    )


def data_of(record: RunRecord) -> str:
    """Its database in words."""
    return record.title or record.dataset


def _verdict(run: Shown) -> Markup:
    answers = [compare(run.folder, baseline) for baseline in run.baselines]
    origins = analysis.origins(run.table) if run.table is not None else {}
    limits = aside("Limits", warnings(run.record, run.f, origins))
    return join(prose(verdict(run.record, run.f, answers)), limits)


def _explanations(run: Shown) -> Iterator[Part]:
    """The sections that need the beats, and the model."""
    if run.table is None or run.record.fold == "cross_validation":  # of which no model is kept
        return
    # Both import all of training.
    from ecg_lightning.pipeline.explain import explain_run
    from ecg_lightning.report import beats

    found = explain_run(run.folder, embedding=run.embedding, cache_dir=run.cache_dir)
    for name, title, drawn in (
        ("mistakes", "Most confident errors", found.mistakes and beats.mistakes(found.mistakes, found)),
        ("saliency", "Saliency", found.saliency and beats.saliency(found.saliency, found)),
        ("embedding", "Embedding of the test beats", found.embedding and beats.embedding(found.embedding, found)),
        ("missing", "Not available", join(*map(note, found.remarks))),
    ):
        if drawn:
            yield Part(name, title, drawn)


def _about(run: Shown) -> Markup:
    record, f = run.record, run.f
    folds = (("train", "training"), ("validation", "validation"), ("test", "test"))
    sizes = Markup(", ").join(Markup("{} {}").format(f.number(f"n.{fold}"), name) for fold, name in folds)
    symbols_of = next((CLASS_MAPS[name] for name, phrase in PHRASES.items() if phrase == record.class_map), {})
    symbols = "; ".join(f"{name}: {' '.join(of)}" for name, of in symbols_of.items())
    parameters = Markup(", {} parameters").format(f.number("n_parameters")) if record.n_parameters else ""
    weights = "random initialisation" if record.transfer == "none" else f"pretrained, transfer {record.transfer}"
    settings = (("augmentation", record.augmentation), ("resampling", record.resampling), ("loss", record.loss))
    steps = f" ({record.steps:,} steps)" if record.steps else ""
    best = f"; best on validation: epoch {record.best_epoch}" if record.best_epoch else ""
    return definitions(
        {
            "beats": Markup("{}: {}").format(data_of(record), sizes),
            "leads": ", ".join(record.leads),
            "split": record.protocol.sentence(),
            "not used": record.n_left_out and f"{record.n_left_out:,} beats",
            "classes": f"{record.class_map} ({symbols})" if symbols else record.class_map,
            "absent": " ".join(missing_notes(record)),
            "context": record.context.phrase(),
            "model": Markup("{}{}{}").format(record.model, ", a baseline" * record.baseline, parameters),
            "weights": "" if record.baseline else weights,
            "training": ", ".join(f"{name} {value}" for name, value in settings if value),
            "learnt from": record.n_fitted is not None
            and Markup("{} training beats, chosen at random").format(f.number("n_fitted")),
            "epochs": record.epochs and f"{record.epochs}{steps}{best}",
            "validation": record.val.macro_f1 is not None and Markup("macro-F1 {} %").format(f.percent("val.macro_f1")),
            "seed": str(record.seed),
        }
    )


def _reproduce(run: Shown) -> Markup:
    def code(words: object) -> Markup:
        return Markup("<code>{}</code>").format(words)

    record = run.record
    git = record.git or ""
    dirty = ", with uncommitted changes" if git.endswith("-dirty") else ""
    command = shlex.join(["ecg-lightning", "train", *record.overrides])
    return join(
        record.kind == "run" and Markup("<pre><code>{}</code></pre>").format(command),
        definitions(
            {
                "data fingerprint": code(record.fingerprint),
                "settings": record.config_digest and Markup("digest {}").format(code(record.config_digest)),
                "code": git and Markup("revision {}{}").format(code(git.removesuffix("-dirty")), dirty),
                "versions": ", ".join(f"{name} {number}" for name, number in record.versions.items()),
                "precision": record.precision,
                "started": record.started and f"{record.started.replace('T', ' ').partition('.')[0]} UTC",
                "duration": record.wall_s is not None and duration(record.wall_s),
                "checkpoint": record.checkpoint and code(record.checkpoint),
                "folder": code(run.folder.absolute().name),
            }
        ),
    )


def _metrics(run: Shown) -> Markup:
    record, f = run.record, run.f
    published, intervals = published_for_run(record), intervals_note(record)
    level = " with 95 % intervals" * bool(intervals)
    diamonds = " ◇ published; its epoch was chosen on the test file, so it is optimistic." if published else ""
    keys = ("f1", "precision", "recall", "specificity")
    averages = [
        Markup("{} {} {}").format(name, metric.name.removeprefix("av. "), f.metric(metric, 1))
        for name in ("V", "S")
        for metric in (of_ec57(name, f"average_{key}") for key in ("sensitivity", "positive_predictivity"))
        if f.value(metric.place) is not None
    ]
    over_records = Markup("Averages over records: {}.").format(Markup(", ").join(averages)) if averages else ""
    about_ec57 = note("F or Q predicted as V, and Q predicted as S, are not counted.", over_records)
    below = join(*((html(counted), about_ec57) if (counted := ec57(f)) else ()))
    below = join(below, *(html(found) for found in (by_recording(f), by_quality(f)) if found), detected(f))
    return join(
        note(f"In percent, on the {record.fold} beats; {record.beats}.", intervals),
        columns(
            figure(_f1_chart(record, f, published or {"per_class": {}}), f"F1 of each class{level}.{diamonds}"),
            html(by_class(f, keys, published, ("f1",), title=f"By class{level}", swatches=True)),
            html(overall(f), look="inline"),
            below and Markup("<div>{}</div>").format(below),
            look="two tables",
        ),
        note(*(one.text for one in published_notes(record, published))),
    )


def _f1_chart(record: RunRecord, f: Numbers, published: Mapping[str, Any]) -> Markup:
    metrics = [(name, of_class(name, "f1"), published["per_class"].get(name, {}).get("f1")) for name in record.classes]
    metrics.append(("macro-F1", OVERALL["macro_f1"], published.get("macro_f1")))
    if record.positive:
        metrics.append(("AUROC", of_class(record.positive, "auroc"), None))
    rows = [
        charts.Dot(
            name=name, value=f.value(metric.place), interval=metric.interval(record.test), reference=reference,
            look=f"c{at % 5}" if at < len(record.classes) else "ink",
        )
        for at, (name, metric, reference) in enumerate(metrics)
        if f.value(metric.place) is not None
    ]  # fmt: skip
    return charts.dots(rows, title="F1 of each class", x="percent")


def _confusion(run: Shown) -> Markup:
    matrix = confusion(run.f)
    errors: list[tuple[int, int, int, list[Cell | Number | str]]] = []
    for i, (true, row) in enumerate(zip(run.record.classes, matrix.rows, strict=True)):
        for j, (predicted, cell) in enumerate(zip(run.record.classes, row.cells[1:], strict=True)):
            if i != j and (count := run.record.test["confusion"][i][j]):
                errors.append((-count, i, j, [Cell(true, swatch=i), predicted, cell.below, cell.content]))
    heads = [Column("true", text=True), Column("predicted", text=True), Column("beats"), Column("% of class")]
    frequent = [Row(cells) for *_, cells in sorted(errors, key=lambda error: error[:3])[:MOST_FREQUENT]]
    return columns(html(matrix), frequent and html(Table(title="Most frequent errors", columns=heads, rows=frequent)))


def _precision_recall(run: Shown) -> Markup:
    if run.table is None:
        return note(NO_PREDICTIONS)
    record, f = run.record, run.f
    curves = analysis.precision_recall(run.table, record.classes)
    x, y = (
        charts.Axis(name=name, low=0, high=1, ticks=(0, 0.5, 1), words=lambda v: f"{100 * v:g}")
        for name in ("recall, %", "precision, %")
    )
    drawn = []
    for i, name in enumerate(record.classes):
        if name not in curves:
            continue
        lines = [charts.Line(points=curve, look="faded thin") for other, curve in curves.items() if other != name]
        lines.append(charts.Line(points=curves[name], look=f"c{i % 5}"))
        recall, precision = (f.value(f"test.per_class.{name}.{key}") for key in ("recall", "precision"))
        words = "The class is never predicted."
        if recall is not None and precision is not None:
            lines.append(charts.Line(points=[(recall, precision)], look="ink", joined=False, dots=True))
            words = f"At the operating point recall is {100 * recall:.1f} % and precision {100 * precision:.1f} %."
        chart = charts.panel(
            lines, title=f"Precision and recall of class {name}", description=words, x=x, y=y, width=176, height=168,
            left=30, right=8,
        )  # fmt: skip
        ap, auroc = of_class(name, "average_precision"), of_class(name, "auroc")
        between = Markup(' <span class="nobreak">({}–{})</span>').format(*ends) if (ends := f.interval(ap)) else ""
        card = Markup('<figure class="keep"><h3>{}</h3>{}<p>average precision {}{}<br>AUROC {}</p></figure>')
        drawn.append(card.format(name, chart, f.metric(ap, 1), between, f.metric(auroc, 1)))
    about = "As the threshold on a class's probability falls. Dot: the operating point, where the class is the most "
    return join(note(f"{about}probable one; grey: the other classes."), columns(*drawn, look="small"))


def _operating_point(run: Shown) -> Markup:
    return note(NO_PREDICTIONS) if run.table is None else operating_curves(run.record, run.f, run.table, run.folder)


def _calibration(run: Shown) -> Markup:
    record, f = run.record, run.f
    if not (bins := record.test.get("reliability")):
        return note("The record of this run has no calibration.")
    low = math.floor(10 * bins[0]["above"] + 1e-9) / 10
    points = [(one["confidence"], one["accuracy"]) for one in bins]
    curve = charts.panel(
        [charts.Line(points=[(low, low), (1, 1)], look="quiet dashed"), charts.Line(points=points, dots=True)],
        title="Reliability",
        description="; ".join(f"confidence {100 * a:.0f} %, accuracy {100 * b:.0f} %" for a, b in points),
        x=charts.percent_axis("confidence, %", low, 1),
        y=charts.percent_axis("accuracy, %", 0, 1),
    )
    rows = [
        charts.Bar(
            name=f"{100 * one['above']:.0f}–{100 * one['to']:.0f} %", parts={"accent faint": one["beats"]},
            words=f"{one['beats']:,} ({100 * one['accuracy']:.0f} % correct)",
        )
        for one in reversed(bins)
    ]  # fmt: skip
    counts = charts.bars(rows, title="Beats by confidence", longest=max(one["beats"] for one in bins))
    confidence, accuracy = mean_confidence(record), record.test["accuracy"]
    how, distance = "overconfident" if confidence > accuracy else "underconfident", abs(confidence - accuracy)
    how = "calibrated on average" if distance < CALIBRATED else f"slightly {how}" if distance < NEARLY else how
    values = []
    for metric in (OVERALL["ece"], OVERALL["brier"]):
        ends, value = f.interval(metric, metric.digits), f.metric(metric)
        percent = " %" * (metric.scale == 100 and isinstance(value, Number))
        between = Markup(" ({}–{})").format(*ends) if ends else ""
        values.append(Markup("{} is {}{}{}").format(metric.label, value, percent, between))
    sentence = Markup("The {}. Mean confidence is {:.1f} %, accuracy {} %: the model is {}.").format(
        Markup(", the ").join(values), 100 * confidence, f.percent("test.accuracy", 1), how
    )
    about = note(
        "Calibration error (ECE): mean distance from the dashed line over beats, in 15 bins (Guo et al. 2017).",
        "Brier score: mean squared distance of the probabilities from the true class.",
    )
    caption = "Share of correct predictions by confidence, the probability of the predicted class. Dashed: calibrated."
    text = Markup("<div><p>{}</p>{}{}</div>").format(sentence, about, figure(counts, "Beats by confidence."))
    return join(columns(figure(curve, caption), text), _abstention(record))


def _abstention(record: RunRecord) -> Markup:
    """What the calibration, which annotating and exporting use, promises on validation beats."""
    if record.calibration is None:
        return Markup("")
    calibration = Calibration.from_plain(record.calibration)
    points = list(zip(calibration.coverage, calibration.error, strict=True))
    curve = charts.panel(
        [charts.Line(points=points)],
        title="Coverage and error",
        description="; ".join(f"coverage {100 * a:.0f} %, error {100 * b:.1f} %" for a, b in points[::8]),
        x=charts.percent_axis("beats that are classified, %"),
        y=charts.percent_axis("of these wrong, %", 0, max(*calibration.error, 0.01)),
    )
    caption = "Validation beats: the error among those that reach a confidence, by their share."
    text = "Annotating and exporting use calibrated probabilities, which change no class: "
    return columns(figure(curve, caption), note(f"{text}{calibration.sentence()}."))


def _records(run: Shown) -> Markup:
    if run.table is None:
        return note(NO_PREDICTIONS)
    classes = run.record.classes
    if not (errors := analysis.errors_by_record(run.table, classes)):
        return note("The records of these beats are not known.")
    worst = [one for one in errors if one.total][:RECORDS_SHOWN]
    rest, total = errors[len(worst) :], sum(one.total for one in errors)
    if not total:
        return join(note(f"No errors in {len(errors)} records."), _by_record(run.f))
    rows = [
        charts.Bar(
            # patient001/s0010_re as 001/s0010
            name=clean(one.record).removeprefix("patient").removesuffix("_re").removesuffix("lre"),
            parts={f"c{i % 5}": one.wrong[name] for i, name in enumerate(classes)},
            words=f"{one.total:,} of {one.beats:,} ({100 * one.total / one.beats:.1f} %)",
        )
        for one in worst
    ]
    half = (len(rows) + 1) // 2 if len(rows) > 12 else len(rows)
    halves = filter(None, (rows[:half], rows[half:]))
    drawn = (charts.bars(part, title="Errors by record", longest=worst[0].total) for part in halves)
    upto = np.cumsum([one.total for one in errors])
    text = f"Errors in each record by true class, the record with most errors first. {total:,} errors"
    text += f", half of them in {int((2 * upto < total).sum()) + 1} of {len(errors)} records."
    if hidden := sum(one.total for one in rest):
        text += f" Not shown: {len(rest)} records with {hidden:,} errors."
    elif rest:
        text += f" {len(rest)} record{'s have' if len(rest) > 1 else ' has'} none."
    key = legend({name: f"c{i % 5}" for i, name in enumerate(classes)}, "True class")
    return join(note(text), key, columns(*map(figure, drawn)), _by_record(run.f))


def _by_record(f: Numbers) -> Markup:
    """The EC57 table of each record, folded."""
    if not (per_record := f.value("test.ec57.per_record")):
        return Markup("")
    shorts, rows = ("Se", "+P", "TP", "FN", "FP"), []
    heads = [Column(f"{name} {short}", group=name, short=short) for name in ("V", "S") for short in shorts]
    for i, one in enumerate(per_record):
        cells: list[Number | str] = [one["record"]]
        for name in ("V", "S"):
            place = f"test.ec57.per_record.{i}.{name}"
            cells += [f.percent(f"{place}.{key}", 1) for key in ("sensitivity", "positive_predictivity")]
            cells += [f.number(f"{place}.{count}") for count in ("tp", "fn", "fp")]
        rows.append(Row(cells))
    table = html(Table(columns=[Column("record", text=True), *heads], rows=rows), "V and S by record")
    return Markup("<details><summary>V and S by record (EC57)</summary>{}</details>").format(table)


def _training(run: Shown) -> Markup:
    record, metrics, none = run.record, run.folder / "metrics.csv", "This run has no learning curves."
    if not metrics.is_file():
        return note("A model of scikit-learn has no epochs." if record.baseline else none)
    if record.epochs is not None and record.epochs < 2:
        return note("One epoch makes no curve.")
    drawn, best = [], record.best_epoch
    for name, curves in analysis.learning_curves(metrics, record).items():
        metric = OVERALL[name]
        label = f"{metric.label}{', %' * (metric.scale == 100)}"
        lines = [
            charts.Line(
                points=[(epoch, metric.scale * value) for epoch, value in points], name=words,
                look="accent" if words == "validation" else "quiet", dots=len(points) < 12,
            )
            for words, points in curves.items()
        ]  # fmt: skip
        values = [value for line in lines for _, value in line.points]
        low, high, last = min(values), max(values), max(2, *(epoch for line in lines for epoch, _ in line.points))
        margin = 0.05 * (high - low or 1)
        ticks = [tick for tick in charts.nice_ticks(1, last, 6) if tick == round(tick)]
        words = [f"{line.name}: last {line.points[-1][1]:.3g}" for line in lines] + [f"best epoch {best}"] * bool(best)
        chart = charts.panel(
            lines, title=f"{label} by epoch", description="; ".join(words),
            x=charts.Axis(name="epoch", low=1, high=last, ticks=ticks, words="{:.0f}".format),
            y=charts.Axis(name=label, low=low - margin, high=high + margin, ticks=charts.nice_ticks(low, high)),
            right=62, mark=(best, f"best epoch: {best}") if best else None,
        )  # fmt: skip
        drawn.append(figure(chart))
    if not drawn:
        return note(none)
    monitor = record.monitor.removeprefix("val/").replace("macro_f1", "macro-F1")
    return join(columns(*drawn), note(f"The best epoch is chosen by {monitor} on validation, never on test."))


SECTIONS = (  # address, heading and content of those that every run has
    ("verdict", "Verdict", _verdict),
    ("run", "Run", _about),
    ("metrics", "Metrics", _metrics),
    ("confusion", "Confusion", _confusion),
    ("curves", "Precision and recall", _precision_recall),
    ("operating", "Operating point", _operating_point),
    ("calibration", "Calibration", _calibration),
    ("records", "Errors by record", _records),
    ("training", "Training", _training),
)
