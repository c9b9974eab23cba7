"""The page of several runs: which is best, by how much, whether that is significant, and what a baseline reaches."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import relpath
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.progress import tracked
from ecg_lightning.metrics.catalogue import OVERALL, Metric, dig, of_class, of_ec57
from ecg_lightning.report import charts
from ecg_lightning.report.analysis import over_seeds, size_ticks
from ecg_lightning.report.cells import MINUS, Cell, Column, Row, Table, clean, duration, mark_best
from ecg_lightning.report.collected import tested_section
from ecg_lightning.report.comparison import bootstrap_notes, difference, is_significant
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.page import REPORT, Part, aside, columns, figure, join, note, prose, render
from ecg_lightning.report.render import html
from ecg_lightning.report.run_page import data_of
from ecg_lightning.report.tables import SYNTHETIC_WARNING
from ecg_lightning.report.verdict import against_baselines, deciding, listed, name_of
from ecg_lightning.runs.aggregate import Result, Run, groups, low_data
from ecg_lightning.runs.collect import Row as Runs
from ecg_lightning.runs.collect import RunsTable, protocol_of, table_of, tested_elsewhere
from ecg_lightning.runs.compare import Comparer
from ecg_lightning.runs.discover import find_runs

LONGEST = 25  # characters of a row's name in a chart
LINKS = "Names are links where a run has a report of its own, written by ecg-lightning report RUN."
Answers = Mapping[str, Mapping[str, Any]]  # name of an entry → what comparing with it returned


@dataclass(frozen=True)
class Entry:
    """A row of the tables (a run, the pooled folds of one, or several seeds of either) and its name on the page."""

    row: Runs
    name: str

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers.of_row(self.row)

    @property
    def validated(self) -> float:
        """Macro-F1 on validation, of several runs on average; -1 where it is not known."""
        values = [run.record.val.macro_f1 for run in self.row.runs if run.record.val.macro_f1 is not None]
        return fmean(values) if values else -1.0


def runs_report(paths: Sequence[Path], *, output: Path) -> str:
    """The page as HTML, of folders as for `write_report`, with the same errors; its links are relative to `output`."""
    runs, remarks = find_runs(paths)
    comparable = groups(runs, _key)
    parts = [_part(number, table_of(alike, remarks)) for number, alike in enumerate(comparable, start=1)]
    subtitle = f"{len(runs)} runs."
    if len(parts) > 1:
        subtitle += f" {len(parts)} sections, each of its own data and split: their metrics cannot be compared."
    for number, rows in enumerate(tested_elsewhere(runs), start=1):
        section = tested_section(rows)
        content = join(*map(html, section.tables), note(*(clean(one.text) for one in section.notes)))
        parts.append(Part(f"elsewhere-{number}", section.title, content))
    if curves := list(_low_data(runs)):
        parts.append(Part("low-data", "Size of the training set", columns(*curves)))
    parts.append(Part("runs", "Runs", join(html(_runs(runs, output), "Runs"), note(LINKS), *map(note, remarks))))
    return render(
        title=clean(_title(runs)),
        kicker="Report of several runs",
        subtitle=subtitle,
        warning=SYNTHETIC_WARNING if any(run.record.synthetic for run in runs) else "",
        parts=parts,
        origin="From the scores.json of the runs; pooled folds, means and differences from their predictions.parquet.",
    )


def _key(run: Run) -> str:
    """Equal for runs whose metrics compare. Not the fingerprint: the context changes that."""
    record = run.record
    about = [record.task, record.dataset, record.synthetic, record.classes, record.fold]
    return json.dumps([*about, protocol_of(record)])


def _title(runs: Sequence[Run]) -> str:
    networks = list(dict.fromkeys(run.record.model for run in runs if not run.record.baseline))
    datasets = list(dict.fromkeys(data_of(run.record) for run in runs))
    names = networks if 0 < len(networks) < 5 else [f"{len(networks)} networks"] if networks else ["Baselines"]
    return f"{listed(names)} on {listed(datasets)}"


def _part(number: int, table: RunsTable) -> Part:
    record = table.record
    assert record is not None
    entries = _entries(table)
    networks = [entry for entry in entries if not entry.row.is_baseline]
    first = max(networks or entries, key=lambda entry: entry.validated)
    f1 = [of_class(name, "f1") for name in ([record.positive] if record.positive else record.classes)]
    metrics = [OVERALL["macro_f1"], OVERALL["accuracy"], *f1, *[OVERALL["macro_auroc"]] * bool(record.positive)]
    comparer = Comparer(metrics=[metric.key for metric in metrics])
    answers, remarks = _compared(comparer, first, [entry for entry in entries if entry is not first])
    better, worse = _baselines(comparer, first, entries, answers)
    sizes = " to ".join(f"{n:,}" for n in table.n_test)
    text = f"{sizes} {table.tested} beats. Split {table.protocol}. Classes: {record.class_map}."
    text += " These beats also chose the checkpoint: for choosing settings only." * (table.tested != "test")
    missing = [entry.name for entry in entries if entry.row.missing_folds]
    remarks += [f"Folds are missing of {listed(missing)}."] if missing else []
    spread = "standard deviation over seeds, or " * any(len(entry.row.results) > 1 for entry in entries)
    grey = "; grey: baselines" if 0 < len(networks) < len(entries) else ""
    content = join(
        prose([*_verdict(first, entries, answers), *better]),
        aside("No improvement over the baseline", worse),
        note(text),
        figure(_chart(entries), f"Macro-F1 with {spread}95 % interval{grey}."),
        *map(html, _grids(entries, record.classes)),
        answers and _differences(first, answers, metrics),
        *map(note, remarks),
    )
    title = f"{data_of(record)}{' (SYNTHETIC)' * record.synthetic}, split {record.protocol.name}"
    title += f", scored on {table.tested}" * (table.tested != "test")
    return Part(f"table-{number}", clean(title), content)


def _entries(table: RunsTable) -> list[Entry]:
    """The rows of a table, named by what they differ in."""
    named = []
    for block in table.blocks:
        for row in block.rows:
            context = row.runs[0].record.context
            parts = [block.network, *(name for name, chosen in context if chosen is True)]
            parts += [f"from {MINUS}{1000 * context.before:.0f} ms"] * bool(context.before)
            parts += [name for name in (block.resampling, block.transfer) if name != "none"]
            # The context is in the name already.
            parts += [part for part in row.settings.split(", ") if part and not part.startswith("context")]
            named.append((row, " + ".join(parts)))
    counts = Counter(name for _, name in named)
    return [
        Entry(row, clean(f"{name} ({row.runs[0].folder.name})" if counts[name] > 1 else name)) for row, name in named
    ]


def _verdict(first: Entry, entries: Sequence[Entry], answers: Answers) -> Iterator[Markup]:
    metric = deciding(first.numbers)
    lead = Markup("{}Best on validation is {}: {} <strong>{} %</strong>{} on the test beats.")
    only = "There are only baselines. " if first.row.is_baseline else ""
    sd, ends = first.numbers.sd(metric), first.numbers.interval(metric)
    spread = Markup(' <span class="nobreak">({}–{})</span>').format(*ends) if ends else ""
    spread = Markup(" (± {})").format(sd) if sd else spread
    yield lead.format(only, first.name, name_of(metric), first.numbers.metric(metric, 1), spread)
    names: dict[str, list[str]] = {
        "It is significantly better than {}.": [],
        "On these test beats {} {are} significantly better.": [],
        "Its difference from {} is not significant.": [],
    }
    better, worse, unclear = names.values()
    for entry in entries:
        one = dig(answers.get(entry.name, {}), ("differences", *metric.key))
        if one is not None and not entry.row.is_baseline:
            (unclear if not is_significant(one) else better if one["difference"] > 0 else worse).append(entry.name)
    for sentence, of in names.items():
        if of:
            yield Markup(sentence).format(listed(of), are="is" if len(of) == 1 else "are")


def _baselines(
    comparer: Comparer, first: Entry, entries: Sequence[Entry], answers: Answers
) -> tuple[list[Markup], list[Markup]]:
    """The networks that are significantly better than the strongest baseline, and a sentence for each other."""
    baselines, networks = ([one for one in entries if one.row.is_baseline == kind] for kind in (True, False))
    if not baselines or not networks:
        return [], []
    metric = deciding(first.numbers)
    strongest = max(baselines, key=lambda entry: entry.numbers.value(metric.place) or 0.0)
    better, worse = list[Markup](), list[Markup]()
    for entry in networks:
        answer = (answers if entry is first else _compared(comparer, entry, [strongest])[0]).get(strongest.name)
        if answer is None:
            sentence = Markup("{} was not tested on the beats of the baseline {}.")
            worse.append(sentence.format(entry.name, strongest.name))
            continue
        # By the name that it has on this page.
        named = {**answer, "second": {**answer["second"], "model": strongest.name}}
        one = dig(answer["differences"], metric.key)
        is_better = one is not None and is_significant(one) and one["difference"] > 0
        (better if is_better else worse).extend(against_baselines(entry.name, [named], metric))
    lead = [Markup("The strongest baseline is {}.").format(strongest.name)] if better else []
    return [*lead, *better], worse


def _compared(comparer: Comparer, first: Entry, others: Sequence[Entry]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """A row compared with each of the others, by a seed that both have; and why some could not be."""
    answers, remarks, without = {}, [], []
    for other in tracked(others, f"comparing {first.name}", "runs"):
        pair = _same_split(first.row, other.row)
        if pair is None:
            remarks.append(f"No difference to {other.name}: no seed of the split in common.")
            continue
        files = [result.predictions for result in pair]
        if not all(file.is_file() for side in files for file in side):
            without.append(other.name)
            continue
        try:
            answers[other.name] = comparer.compare(*files)
        except DataError as error:
            remarks.append(f"No difference between {first.name} and {other.name}: {error}.")
    if without:
        remarks.append(f"No difference between {first.name} and {listed(without)}: predictions are missing.")
    return answers, remarks


def _same_split(one: Runs, other: Runs) -> tuple[Result, Result] | None:
    """A result of each with the same seed of the split, and of training if there is one, on the same folds."""
    pairs = [
        (a, b)
        for a, of_a in zip(one.results, one.split_seeds, strict=True)
        for b, of_b in zip(other.results, other.split_seeds, strict=True)
        if of_a == of_b and a.folds == b.folds
    ]
    return min(pairs, key=lambda pair: pair[0].runs[0].record.seed != pair[1].runs[0].record.seed, default=None)


def _grids(entries: Sequence[Entry], classes: Sequence[str]) -> Iterator[Table]:
    names = ("macro_f1", "f1_of_macro_precision_recall", "accuracy", "balanced_accuracy", "kappa", "j_kappa")
    grids = {"Overall, in percent": [OVERALL[name] for name in names]}
    if len(classes) == 2:
        keys = ("f1", "precision", "recall", "specificity", "auroc", "average_precision")
        grids[f"{classes[1]}, in percent"] = [of_class(classes[1], key) for key in keys]
    else:
        grids["F1 by class, in percent"] = [of_class(name, "f1") for name in classes]
        counted = [of_ec57(name, key) for name in ("V", "S") for key in ("sensitivity", "positive_predictivity", "f1")]
        counted.append(of_ec57("S", "f1", without=True))
        grids["V and S as counted by ANSI/AAMI EC57, gross, in percent"] = counted
    for title, metrics in grids.items():
        there = [one for one in metrics if any(entry.numbers.value(one.place) is not None for entry in entries)]
        if there:
            heads = [Column("run", text=True, wrap=True)]
            for one in there:  # below the title N of "F1 by class", V Se of EC57
                short = f"{one.group} {one.name}".removeprefix("EC57 ") if "EC57" in one.group else one.name
                heads.append(Column(one.label, short=short, best=True))
            rows = [Row([_named(entry), *map(entry.numbers.cell, there)]) for entry in entries]
            yield Table(title=title, columns=heads, rows=mark_best(heads, rows))


def _named(entry: Entry) -> Cell:
    results = entry.row.results
    words = f"{len(results)} seeds" if len(results) > 1 else f"seed {entry.row.seeds[0]}"
    if results[0].folds:
        words += f", {len(results[0].folds)} of {results[0].n_folds} folds pooled"
    return Cell(entry.name, below=words)


def _differences(first: Entry, answers: Answers, metrics: Sequence[Metric]) -> Markup:
    rows = []
    for name, answer in answers.items():
        found = [(metric, dig(answer["differences"], metric.key)) for metric in metrics]
        rows.append(Row([name, *(Cell() if one is None else difference(metric, one, 1) for metric, one in found)]))
    heads = [Column("minus", text=True, wrap=True), *(Column(name_of(metric)) for metric in metrics)]
    text = [f"Points of percent, {first.name} minus the other, on the same test beats."]
    text += bootstrap_notes(next(iter(answers.values())))[:-1]
    text += ["Of several seeds, one that both have."] * (len(first.row.results) > 1)
    return join(html(Table(title=f"{first.name} minus …", columns=heads, rows=rows)), note(*text))


def _runs(runs: Sequence[Run], output: Path) -> Table:
    names = ("seed", "trained on", "tested on", "epochs", "macro-F1 on validation", "macro-F1 on test", "time")
    heads, rows = [Column("run", text=True, wrap=True), *map(Column, names)], []
    for run in runs:
        record, f = run.record, Numbers(run.record.plain(), prefix=f"{run.folder.name}: ")
        own, about = run.folder / REPORT, " ".join(record.overrides) or record.model
        is_linked = own.is_file() and own.resolve() != output.resolve()
        link = quote(Path(relpath(own, output.parent)).as_posix()) if is_linked else ""
        sizes = f.number("n.train"), f.number(f"n.{record.fold}"), f.number("epochs")
        scores = f.percent("val.macro_f1"), f.percent("test.macro_f1")
        lead = Cell(run.folder.name, below=about, link=link), str(record.seed)
        rows.append(Row([*lead, *sizes, *scores, duration(record.wall_s)]))
    return Table(columns=heads, rows=rows)


def _chart(entries: Sequence[Entry]) -> Markup:
    metric, rows = OVERALL["macro_f1"], []
    for entry in entries:
        f = entry.numbers
        value, sd, ends = f.value(metric.place), f.sd(metric), f.interval(metric)
        interval = [value - sd.value, value + sd.value] if sd else [end.value for end in ends or ()]
        name = entry.name if len(entry.name) <= LONGEST else f"{entry.name[: LONGEST - 1]}…"
        look = "quiet" if entry.row.is_baseline else "accent"
        rows.append(charts.Dot(name=name, value=value, interval=interval or None, look=look))
    return charts.dots(rows, title="Macro-F1 of the runs", x="macro-F1, %", row_height=22)


def _low_data(runs: Sequence[Run]) -> Iterator[Markup]:
    """Macro-F1 by the size of the training set, a chart for each task."""
    protocols = {run.folder.name: run.record.protocol for run in runs}
    for curves in groups(low_data(runs), lambda curve: str(curve["task"])):
        of_points = [protocols[point["jobs"][0]] for curve in curves for point in curve["points"]]
        units = {protocol.train_unit for protocol in of_points if protocol.train_size is not None}
        unit = "patients" if units == {"patients"} else "beats"
        lines = []
        for i, curve in enumerate(curves):
            points, bars = [], []
            for point in curve["points"]:
                mean, sd = point["mean"]["macro_f1"], point["sd"]["macro_f1"]
                protocol, size = protocols[point["jobs"][0]], point["n_train"]
                if unit == "patients":
                    size = protocol.train_size or (protocol.patients or {}).get("train", size)
                if mean is not None:
                    points.append((float(size), mean))
                    bars.append(None if sd is None else (mean - sd, mean + sd))
            name = clean(curve["label"].removesuffix(", from scratch"))
            lines.append(charts.Line(points=points, name=name, look=f"c{i % 5}", dots=True, bars=bars))
        values = [value for line in lines for _, value in line.points]
        sizes = sorted({size for line in lines for size, _ in line.points})
        if not values:
            continue
        texts = (", ".join(f"{size:,.0f} {unit} {100 * value:.1f} %" for size, value in line.points) for line in lines)
        chart = charts.panel(
            lines,
            title=f"Macro-F1 by number of training {unit}",
            description="; ".join(f"{line.name}: {text}" for line, text in zip(lines, texts, strict=True)),
            x=charts.Axis(
                name=f"training {unit}", low=sizes[0], high=sizes[-1], ticks=size_ticks(sizes, 1.5),
                words="{:,.0f}".format, log=True,
            ),
            y=charts.percent_axis("macro-F1, %", max(0.0, min(values) - 0.08), min(1.0, max(values) + 0.05)),
            height=250,
            right=90,
        )  # fmt: skip
        yield figure(chart, f"{curves[0]['task']}: {over_seeds(curves)}.")
