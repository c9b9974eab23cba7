"""Tables of one run, of the jobs of a sweep, and of several runs pooled."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ecg_lightning.metrics.catalogue import CLASS_METRICS, OVERALL, PARTS, Metric, metric_at, of_class, of_ec57
from ecg_lightning.metrics.operating_point import OperatingPoint
from ecg_lightning.metrics.recordings import METRICS as METRICS_BY_RECORDING
from ecg_lightning.metrics.recordings import WHERE
from ecg_lightning.report.cells import (
    NONE,
    Cell,
    Column,
    Note,
    Number,
    Row,
    Section,
    Table,
    duration,
    inline,
    mark_best,
)
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.runs.published import METRICS, PUBLISHED_CAVEAT, published_for_run
from ecg_lightning.runs.schema import RunRecord

SYNTHETIC_WARNING = "SYNTHETIC BEATS: these metrics show that the program works, and nothing about patients."
POOLED_AUROC_NOTE = "Pooled AUROC and AP compare probabilities of different networks with each other."

Published = Mapping[str, Any]


def run_section(record: RunRecord) -> Section:
    """What is printed when a run ends: its metrics by class, with the published ones of the same row if there are."""
    numbers, published = Numbers(record.plain()), published_for_run(record)
    title = f"{record.model} on {record.task}: {record.fold} scores in percent"
    tables = [
        by_class(numbers, METRICS, published, METRICS, title=title),
        ec57(numbers),
        by_recording(numbers),
        operating_point(numbers),
    ]
    epoch = "" if record.best_epoch is None else f" (epoch {record.best_epoch})"
    more = f"macro-F1 on validation {numbers.percent('val.macro_f1')}{epoch}"
    notes = [Note(f"{inline(overall(numbers))}, {more}.", "plain")]
    notes += [Note(note) for note in [intervals_note(record)] if note]
    notes += [Note(SYNTHETIC_WARNING, "warning")] * record.synthetic
    notes.append(Note(f"Beats: {record.n_tested:,} {record.fold} beats; {conditions(record)}. Seed {record.seed}."))
    notes += map(Note, missing_notes(record))
    notes += map(Note, point_notes(record))
    return Section(tables=list(filter(None, tables)), notes=notes + published_notes(record, published))


LINES = {"precision": "preci-\nsion", "specificity": "speci-\nficity"}
ABOUT = {"precision": "positive predictive value", "recall": "sensitivity"}
MACRO = {"precision": "macro_precision", "recall": "macro_recall", "f1": "macro_f1"}
METRICS_OF_POINT = ("sensitivity", "positive_predictivity", "f1")
COUNTS = {"TP": "true positive", "FN": "false negative", "FP": "false positive"}


def by_class(
    numbers: Numbers, metrics: Sequence[str], published: Published | None, theirs: Sequence[str], *, title: str,
    swatches: bool = False,
) -> Table:  # fmt: skip
    """Metrics of each class and their means; of the `published` those in `theirs`, with the difference in F1.

    If `theirs` is F1 alone, without that difference. `swatches`: with the colour of each class.
    """
    columns = [Column("class", text=True)]
    for metric in metrics:
        label, short = metric_at((metric,)).label, of_class("", metric).short.strip()
        columns.append(Column(label, short=short, head=LINES.get(metric, label), about=ABOUT.get(metric, "")))
    columns.append(Column("beats"))
    for metric in theirs if published else ():
        label = metric_at((metric,)).label
        head = f"publ.\n{LINES.get(metric, label)}"
        columns.append(Column(f"published {label}", short=f"publ. {label}", head=head))
    columns += [Column("difference in F1", head="F1 -\npubl.")] * (bool(published) and len(theirs) > 1)
    rows = []
    for at, name in enumerate(numbers.value("test.per_class")):
        place = f"test.per_class.{name}"
        cells = [Cell(name, swatch=at if swatches else None), *(numbers.cell(of_class(name, one)) for one in metrics)]
        cells.append(Cell(numbers.number(f"{place}.support")))
        if published:
            cells += _published(published["per_class"].get(name), theirs, numbers.value(f"{place}.f1"))
        rows.append(Row(cells))
    cells = [Cell("macro (mean)")]
    cells += [numbers.cell(OVERALL[MACRO[one]]) if one in MACRO else Cell("") for one in metrics]
    cells.append(Cell(numbers.number(f"n.{numbers.value('fold')}")))
    if published:
        mean = {metric: published[macro] for metric, macro in MACRO.items() if macro in published}
        cells += _published(mean, theirs, numbers.value("test.macro_f1"))
    return Table(title=title, columns=columns, rows=[*rows, Row(cells, mark="total")])


def _published(of_row: Mapping[str, float] | None, metrics: Sequence[str], own_f1: float | None) -> list[Cell]:
    """The published cells of a row, and the difference in F1."""
    cells, difference = [Cell()] * len(metrics), Cell()
    if of_row:
        cells = [Cell(Number(of_row[metric], 2, factor=100), mark="published") for metric in metrics]
        if own_f1 is not None:
            number = Number(own_f1 - of_row["f1"], 2, factor=100, signed=True)
            difference = Cell(number, mark="better" if number.value >= 0 else "worse")
    return cells + [difference] * (len(metrics) > 1)


def confusion(numbers: Numbers) -> Table:
    """True classes (rows) by predicted ones: percent of the row, and beats."""
    classes, rows = list(numbers.value("test.per_class")), []
    for i, counts in enumerate(numbers.value("test.confusion")):
        cells, total = [Cell(classes[i], swatch=i)], sum(counts)
        for j, count in enumerate(counts):
            share = count / total if total else 0.0
            shown = NONE if not total else "0" if share == 0 else "<0.1" if share < 0.0005 else f"{100 * share:.1f}"
            cells.append(Cell(shown, below=numbers.number(f"test.confusion.{i}.{j}"), shade=0.62 * share))
        rows.append(Row(cells))
    title = "True class (rows) by predicted class (columns): percent of the row, and beats"
    return Table(title=title, columns=[Column("true", text=True), *map(Column, classes)], rows=rows)


def overall(numbers: Numbers) -> Table:
    """Metrics of all classes together; of two classes, those of the second as well."""
    metrics = [metric for name, metric in OVERALL.items() if name not in ("loss", "weighted_precision")]
    _, *others = numbers.value("test.per_class")
    if len(others) == 1:
        second = {f"macro_{key}": of_class(others[0], key) for key in ("auroc", "average_precision")}
        metrics = [second.get(one.key[0], one) for one in metrics] + [of_class(others[0], "specificity")]
    rows = [Row([one.label, numbers.cell(one)]) for one in metrics if numbers.value(one.place) is not None]
    return Table(title="Overall", columns=[Column("metric", text=True, wrap=True), Column("value")], rows=rows)


def ec57(numbers: Numbers) -> Table | None:
    """V and S as the standard counts them, where they were counted."""
    if not numbers.value("test.ec57"):
        return None
    keys = ("sensitivity", "positive_predictivity", "f1", "false_positive_rate")
    columns = [Column("class", head="EC57, gross", text=True)]
    columns += [Column((one := of_ec57("V", key)).name, about=one.label.removeprefix("EC57 V ")) for key in keys]
    columns += [Column(short, about=f"{words} beats") for short, words in COUNTS.items()]
    rows = []
    for where, words in (("", ""), ("without_232.", " without 232")):
        for name in ("V", "S"):
            place = f"test.ec57.{where}{name}"
            if numbers.value(place):
                cells = [numbers.cell(of_ec57(name, key, without=bool(where))) for key in keys]
                counts = (numbers.number(f"{place}.{count.lower()}") for count in COUNTS)
                rows.append(Row([f"{name}{words}", *cells, *counts]))
    return Table(title="Ectopic beats as counted by ANSI/AAMI EC57, gross", columns=columns, rows=rows)


def operating_point(numbers: Numbers) -> Table | None:
    """The most probable class beside the operating point, of the tested beats and in cross-validation."""
    if not numbers.value("at_operating_point"):
        return None
    if numbers.value("test.ec57"):
        metrics = [of_ec57(name, key) for name in ("V", "S") for key in METRICS_OF_POINT]
        metrics += [of_ec57("S", "f1", without=True), OVERALL["macro_f1"]]
    elif len(classes := list(numbers.value("test.per_class"))) == 2:
        metrics = [*(of_class(classes[1], key) for key in ("recall", "specificity", "f1")), OVERALL["accuracy"]]
    else:
        metrics = [OVERALL["macro_f1"], *(of_class(name, "f1") for name in classes)]
    rows = []
    for part in ("test", *PARTS):
        if numbers.value(part):
            where = "cross-validation" if "cross_validation" in (part[:16], numbers.value("fold")) else "test"
            how = "operating point" if part.endswith("point") else "most probable class"
            rows.append(Row([f"{where}, {how}", *(numbers.percent(f"{part}.{'.'.join(one.key)}") for one in metrics)]))
    columns = [Column(one.label, head=one.short, short=one.short.replace("\n", " ")) for one in metrics]
    columns = [Column("beats, decision", text=True, wrap=True), *columns]
    return Table(title="At the operating point", columns=columns, rows=rows)


def point_notes(record: RunRecord) -> list[str]:
    """A sentence on the operating point; none without one."""
    if record.operating_point is None:
        return []
    return [f"Operating point: {OperatingPoint.from_plain(record.operating_point).sentence()}."]


def by_recording(numbers: Numbers) -> Table | None:
    """Scores of recordings by the mean probability of their beats, beside those of the beats, where there are any."""
    if not numbers.value("test.recordings"):
        return None
    positive = list(numbers.value("test.per_class"))[1]
    of_recordings = [metric_at((WHERE, one)) for one in METRICS_BY_RECORDING]
    of_beats = [of_class(positive, one) if one in CLASS_METRICS else metric_at((one,)) for one in METRICS_BY_RECORDING]
    columns = [Column(positive, text=True), Column("n")]
    columns += [Column(one.name, short=one.short, head=one.short) for one in of_recordings]
    places = {"beats": f"n.{numbers.value('fold')}", "recordings": f"test.{WHERE}.n"}
    rows = [
        Row([name, numbers.number(place), *map(numbers.cell, metrics)])
        for (name, place), metrics in zip(places.items(), (of_beats, of_recordings), strict=True)
    ]
    title = "By beat, and by recording (mean probability of its beats)"
    return Table(title=title, columns=columns, rows=rows, compact=True)


def by_quality(numbers: Numbers) -> Table | None:
    """Scores of beats of good, middling and bad signal, where quality is known."""
    if not (bins := numbers.value("test.by_quality")):
        return None
    names = {"macro_f1": "macro-F1", "accuracy": "accuracy", "V": "F1 of V", "S": "F1 of S"}
    shown = [name for name in names if name in bins[0]]
    rows = []
    for at in reversed(range(len(bins))):
        ends = [numbers.value(f"test.by_quality.{at}.{end}") for end in ("above", "to")]
        scores = (numbers.percent(f"test.by_quality.{at}.{name}") for name in shown)
        rows.append(Row([f"{ends[0]:g} to {ends[1]:g}", numbers.number(f"test.by_quality.{at}.beats"), *scores]))
    columns = [Column("signal quality", text=True), Column("beats"), *(Column(names[name]) for name in shown)]
    return Table(title="Scores by signal quality, from 0 to 1", columns=columns, rows=rows)


def intervals_note(record: RunRecord) -> str:
    """What the intervals are of; empty where there are none."""
    about = record.test.get("intervals")
    if not about or about["macro_f1"] is None:
        return ""
    note = f"{100 * about['level']:.0f} % intervals: percentiles of {about['resamples']:,} bootstrap resamples of"
    note += f" {about['n_resampled']:,} {about['resampled']}"
    return f"{note}; patients are not known, so they are too narrow." if about["resampled"] == "beats" else f"{note}."


def missing_notes(record: RunRecord) -> list[str]:
    """Sentences on the classes that no tested beat has, and on the beats that were left out."""
    notes = [f"No beats of {', '.join(record.absent)} are among those tested."] * bool(record.absent)
    dropped = "; ".join(f"{reason} ({counted(found)})" for reason, found in record.dropped.items())
    return notes + [f"Beats of the database that are left out: {dropped}."] * bool(dropped)


def counted(found: Any) -> str:
    """``12``, or of numbers by name ``B 1, ? 33``."""
    return ", ".join(f"{key} {counted(of)}" for key, of in found.items()) if isinstance(found, dict) else f"{found:,}"


def conditions(record: RunRecord, *, parts: bool = True) -> str:
    """What metrics depend on apart from model and seed; for `parts` see the sentence of a protocol."""
    return _conditions(
        record.dataset, record.protocol.sentence(parts=parts, seed=parts), record.class_map,
        record.context.phrase(), f" ({', '.join(record.leads)})" if record.leads else "", record.beats,
    )  # fmt: skip


def sweep_conditions(entry: Mapping[str, Any]) -> str:
    """`conditions` of an entry of `ecg_lightning.runs.aggregate.pool`."""
    split = entry["protocol"] + (f", {len(entry['folds'])} of {entry['n_folds']} folds" if entry["folds"] else "")
    return _conditions(entry["dataset"], split, entry["class_map"], entry["context"])


def _conditions(
    dataset: str, split: str, classes: str, context: str, leads: str = "", beats: str = "beats given"
) -> str:
    return f"{dataset}{leads}; split {split}; classes: {classes}; context: {context}; {beats}"


def published_notes(record: RunRecord, published: Published | None) -> list[Note]:
    """How to read the published metrics; none without them."""
    if not published:
        return []
    weights = "" if record.transfer == "none" else ", from pretrained weights"
    notes = [Note(f"{PUBLISHED_CAVEAT} Row: {record.model}, resampling {record.resampling}{weights}.")]
    if record.protocol.by != "beats":
        harder = f"split {record.protocol.name} is harder, so the difference is not one between the systems"
        notes.append(Note(f"The published beats were split at random; {harder}.", "caution"))
    if record.context.phrase() != "none":
        notes.append(Note(f"The published networks had no context; this one has {record.context.phrase()}.", "caution"))
    return notes + ([Note(f"Published {published['erratum']}.")] if "erratum" in published else [])


def sweep_sections(runs: Mapping[str, RunRecord], failures: Mapping[str, str] | None = None) -> list[Section]:
    """What is printed when a sweep ends, of records and errors by job: a table a task, the best on validation first."""
    kinds: dict[tuple[str, str], dict[str, RunRecord]] = {}
    for name, record in runs.items():
        kinds.setdefault((record.task, record.fold), {})[name] = record
    sections = list(map(_jobs, kinds.values()))
    if failures:
        notes = [Note(f"{len(failures)} of {len(runs) + len(failures)} jobs failed:", "warning")]
        for name, error in failures.items():
            first = next(filter(None, map(str.strip, error.splitlines())), "no message")
            notes.append(Note(f"  {name}: {first}", "plain"))
        sections.append(Section(notes=notes))
    return sections or [Section(notes=[Note("no jobs", "plain")])]


def _jobs(runs: Mapping[str, RunRecord]) -> Section:
    some, validated = next(iter(runs.values())), OVERALL["macro_f1"]
    metrics, judged = [], judged_by(some.classes)
    columns = [Column("#", text=True), Column("model", text=True, wrap=True)]
    columns.append(Column("macro-F1 on validation", head="macro\nF1\nval", best=True))
    if some.fold == "test":
        metrics = [validated]
        columns.append(Column(validated.label, head=f"{validated.short}\ntest", best=True))
    columns += [Column(one.label, head=one.short, best=True) for one in judged] + [Column("time")]

    def on_validation(run: tuple[str, RunRecord]) -> float:
        value = run[1].val.macro_f1
        return -1.0 if value is None else validated.rounded(value)

    rows, legend = [], []
    for number, (name, record) in enumerate(sorted(runs.items(), key=on_validation, reverse=True), start=1):
        numbers = Numbers(record.plain())
        scores = numbers.percent("val.macro_f1"), *map(numbers.metric, [*metrics, *judged])
        rows.append(Row([str(number), record.model, *scores, duration(record.wall_s)]))
        legend.append(Note(f"{name} SYNTHETIC BEATS", "caution") if record.synthetic else Note(name))
    title = f"{some.task}: {len(runs)} job{'s' * (len(runs) > 1)}, scores in percent"
    title += "" if metrics else f" in {some.fold.replace('_', '-')}; the test beats are not used"
    of_positive = f" Precision, recall, F1, specificity and AUROC are of {some.positive}." if some.positive else ""
    notes = [Note(f"Ordered by macro-F1 on validation; bold: the best of its column.{of_positive}")]
    table = Table(columns=columns, rows=mark_best(columns, rows))
    return Section(title=title, tables=[table], legend=legend, notes=notes + _beats(runs.values()))


def judged_by(classes: Sequence[str]) -> list[Metric]:
    """The metrics that a task is judged by apart from macro-F1."""
    if len(classes) == 2:
        return [OVERALL["accuracy"], *(metric_at((key,)) for key in (*METRICS, "specificity", "auroc"))]
    return [OVERALL["accuracy"], *(of_class(name, "f1") for name in classes)]


def _beats(records: Iterable[RunRecord]) -> list[Note]:
    protocols = list(dict.fromkeys(conditions(record, parts=False) for record in records))
    notes = [Note(f"Beats: {'; or '.join(protocols)}.")]
    notes += [Note("Metrics on different data or splits cannot be compared.", "caution")] * (len(protocols) > 1)
    return notes + [Note(SYNTHETIC_WARNING, "warning")] * any(record.synthetic for record in records)


def pooled_sections(pooled: Mapping[str, Any]) -> list[Section]:
    """What is printed after `sweep_sections` of the result of `ecg_lightning.runs.aggregate.pool`."""
    sections = []
    for task in dict.fromkeys(entry["task"] for kind in ("pooled", "repeated") for entry in pooled[kind]):
        of_folds, of_seeds = ([one for one in pooled[kind] if one["task"] == task] for kind in ("pooled", "repeated"))
        if of_folds:
            note = "Pooled: the test beats of all folds scored as one. ±: standard deviation of a sample, over folds."
            note += f" {POOLED_AUROC_NOTE}" * ("auroc" in of_folds[0]["test"])
            sections.append(_spread(f"{task}: test folds pooled, scores in percent", of_folds, note))
        if of_seeds:
            note = "±: standard deviation of a sample, over seeds."
            note += " Of folds that are pooled, the pooled scores count." * any(entry["folds"] for entry in of_seeds)
            sections.append(_spread(f"{task}: spread over seeds, scores in percent", of_seeds, note))
    return sections


def _spread(title: str, entries: Sequence[Mapping[str, Any]], note: str) -> Section:
    """A table of the pooled result and the mean of each entry, with a legend of its overrides."""
    metrics = [OVERALL["macro_f1"], *judged_by(list(entries[0]["mean"]["per_class"]))]
    columns = [Column("#", text=True), Column("model", text=True, wrap=True), Column("", text=True)]
    columns += [Column(metric.label, head=metric.short) for metric in metrics]
    rows, legend = [], []
    for number, entry in enumerate(entries, start=1):
        lead = [str(number), entry["model"]]
        repeats = entry.get("seeds", entry["folds"])
        if "test" in entry:
            rows.append(Row([*lead, f"{len(repeats)} folds pooled", *map(Numbers(entry).metric, metrics)]))
            lead = ["", ""]
        mean = Numbers({"test": entry["mean"]}, Numbers({"test": entry["sd"]}))
        name = f"mean, {len(repeats)} seeds" if "seeds" in entry else "mean of folds"
        rows.append(Row([*lead, name, *map(mean.cell, metrics)]))
        missing = sorted(set(range(entry["n_folds"] or 0)) - set(entry["folds"]))
        n_train = entry["n"]["train"] if "n" in entry else entry["n_train"]
        text = f"{' '.join(entry['overrides'])} ({n_train:,.0f} training beats)"
        text += " SYNTHETIC BEATS" * entry["synthetic"]
        text += f" without fold {', '.join(map(str, missing))} of {entry['n_folds']}" if missing else ""
        legend.append(Note(text, "caution" if missing or entry["synthetic"] else ""))
    notes = [Note(note), Note(f"Beats: {'; or '.join(dict.fromkeys(map(sweep_conditions, entries)))}.")]
    return Section(title=title, tables=[Table(columns=columns, rows=rows, compact=True)], legend=legend, notes=notes)
