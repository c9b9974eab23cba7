"""Tables of one run, of the jobs of a sweep, and of several runs pooled."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ecg_lightning.metrics.catalogue import OVERALL, Metric, metric_at, of_class, of_ec57
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

Published = Mapping[str, Any]

# One run ------------------------------------------------------------------------------------------------------------


def run_section(record: RunRecord) -> Section:
    """What is printed when a run ends: its metrics by class, with the published ones of the same row if there are."""
    numbers, published = Numbers(record.plain()), published_for_run(record)
    title = f"{record.model} on {record.task}: {record.fold} scores in percent"
    tables = [by_class(numbers, METRICS, published, METRICS, title=title)]
    tables += [table] if (table := ec57(numbers)) else []
    validated = record.val.macro_f1
    epoch = "" if record.best_epoch is None else f" (epoch {record.best_epoch})"
    more = f", macro-F1 on validation {NONE if validated is None else f'{100 * validated:.2f}'}{epoch}"
    notes = [Note(f"{inline(overall(numbers))}{more}.", "plain")]
    notes += [Note(intervals_note(record))] if intervals_note(record) else []
    notes += [Note(SYNTHETIC_WARNING, "warning")] if record.synthetic else []
    notes.append(Note(f"Beats: {record.n_tested:,} {record.fold} beats; {conditions(record)}. Seed {record.seed}."))
    notes += published_notes(record, published)
    return Section(tables=tables, notes=notes)


def by_class(
    numbers: Numbers, metrics: Sequence[str], published: Published | None, theirs: Sequence[str], *, title: str,
    swatches: bool = False,
) -> Table:  # fmt: skip
    """Metrics of each class and their means, with those published for the run.

    Of the published metrics `theirs` are shown and, where F1 is not alone, the difference in F1. `swatches`: with the
    colour of each class.
    """
    classes = list(numbers.value("test.per_class"))
    columns = [Column("class", text=True)]
    for metric in metrics:
        label, short = metric_at((metric,)).label, of_class("", metric).short.strip()
        columns.append(Column(label, short=short, head=LINES.get(metric, label), about=ABOUT.get(metric, "")))
    columns.append(Column("beats"))
    if published:
        for metric in theirs:
            label = metric_at((metric,)).label
            head = f"publ.\n{LINES.get(metric, label)}"
            columns.append(Column(f"published {label}", short=f"publ. {label}", head=head))
        columns += [Column("difference in F1", head="F1 -\npubl.")] * (len(theirs) > 1)
    of_class_published = (published or {}).get("per_class", {})
    rows = []
    for at, name in enumerate(classes):
        place = f"test.per_class.{name}"
        cells = [Cell(name, swatch=at if swatches else None), *(numbers.cell(of_class(name, one)) for one in metrics)]
        cells.append(Cell(numbers.number(f"{place}.support")))
        cells += _published(of_class_published.get(name), theirs, numbers.value(f"{place}.f1")) if published else []
        rows.append(Row(cells))
    keys = {"precision": "macro_precision", "recall": "macro_recall", "f1": "macro_f1"}
    means = (numbers.cell(OVERALL[keys[metric]]) if metric in keys else Cell("") for metric in metrics)
    cells = [Cell("macro (mean)"), *means, Cell(numbers.number(f"n.{numbers.value('fold')}"))]
    if published:
        mean = {key: published[macro] for key, macro in keys.items() if macro in published}
        cells += _published(mean, theirs, numbers.value("test.macro_f1"))
    return Table(title=title, columns=columns, rows=[*rows, Row(cells, mark="total")])


LINES = {"precision": "preci-\nsion", "specificity": "speci-\nficity"}
ABOUT = {"precision": "positive predictive value", "recall": "sensitivity"}


def _published(of_row: Mapping[str, float] | None, metrics: Sequence[str], own_f1: float | None) -> list[Cell]:
    """The published cells of a row, and the difference in F1."""
    if not of_row:
        return [Cell()] * (len(metrics) + (len(metrics) > 1))
    cells = [Cell(Number(of_row[metric], 2, factor=100), mark="published") for metric in metrics]
    if len(metrics) > 1 and own_f1 is not None:
        difference = Number(own_f1 - of_row["f1"], 2, factor=100, signed=True)
        cells.append(Cell(difference, mark="better" if difference.value >= 0 else "worse"))
    return cells + [Cell()] * (len(metrics) > 1 and own_f1 is None)


def overall(numbers: Numbers) -> Table:
    """Metrics of all classes together; of two classes, those of the second as well."""
    classes = list(numbers.value("test.per_class"))
    metrics = [OVERALL[name] for name in OVERALL if name not in ("loss", "weighted_precision")]
    if len(classes) == 2:
        ranking = {"macro_auroc": "auroc", "macro_average_precision": "average_precision"}
        metrics = [of_class(classes[1], ranking[key]) if (key := one.key[0]) in ranking else one for one in metrics]
        metrics.append(of_class(classes[1], "specificity"))
    rows = [
        Row([Cell(metric.label), numbers.cell(metric)]) for metric in metrics if numbers.value(metric.place) is not None
    ]
    columns = [Column("metric", text=True, wrap=True), Column("value")]
    return Table(title="Overall", columns=columns, rows=rows)


def ec57(numbers: Numbers) -> Table | None:
    """V and S as the standard counts them, where they were."""
    if not numbers.value("test.ec57"):
        return None
    metrics = ("sensitivity", "positive_predictivity", "f1", "false_positive_rate")
    columns = [Column("class", head="EC57, gross", text=True)]
    columns += [
        Column((one := of_ec57("V", metric)).name, about=one.label.removeprefix("EC57 V ")) for metric in metrics
    ]
    columns += [Column(short, about=f"{words} beats") for short, words in COUNTS.items()]
    rows = []
    for without in (False, True):
        for name in ("V", "S"):
            place = f"test.ec57.{'without_232.' * without}{name}"
            if numbers.value(place):
                cells = [numbers.cell(of_ec57(name, metric, without=without)) for metric in metrics]
                counts = (numbers.number(f"{place}.{count.lower()}") for count in COUNTS)
                rows.append(Row([f"{name} without 232" if without else name, *cells, *counts]))
    return Table(title="Ectopic beats as counted by ANSI/AAMI EC57, gross", columns=columns, rows=rows)


COUNTS = {"TP": "true positive", "FN": "false negative", "FP": "false positive"}


def intervals_note(record: RunRecord) -> str:
    """What the intervals are of; empty where there are none."""
    about = record.test.get("intervals")
    if not about or about["macro_f1"] is None:
        return ""
    note = f"{100 * about['level']:.0f} % intervals: percentiles of {about['resamples']:,} bootstrap resamples of"
    note += f" {about['n_resampled']:,} {about['resampled']}"
    return f"{note}; patients are not known, so they are too narrow." if about["resampled"] == "beats" else f"{note}."


def conditions(record: RunRecord, *, parts: bool = True) -> str:
    """What metrics depend on beside model and seed of the run: data, protocol, classes, context.

    Args:
        record: of the run.
        parts: see `Protocol.sentence`.
    """
    split = record.protocol.sentence(parts=parts, seed=parts)
    leads = f" ({', '.join(record.leads)})" if record.leads else ""
    return (
        f"{record.dataset} from {record.source}{leads}; split {split}; classes: {record.class_map}; "
        f"context: {record.context.phrase()}"
    )


def published_notes(record: RunRecord, published: Published | None) -> list[Note]:
    """How to take the published metrics; none without them."""
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


# Sweeps -------------------------------------------------------------------------------------------------------------


def sweep_sections(runs: Mapping[str, RunRecord], failures: Mapping[str, str] | None = None) -> list[Section]:
    """What is printed when a sweep ends: a table for each task, the best job on validation first.

    Args:
        runs: name of the job (such as its overrides) → its record.
        failures: name of the job → its error, of which the first line is shown.
    """
    kinds = dict.fromkeys((record.task, record.fold) for record in runs.values())
    sections = [
        _jobs({name: record for name, record in runs.items() if (record.task, record.fold) == kind}) for kind in kinds
    ]
    if failures:
        firsts = {
            name: next(filter(None, map(str.strip, error.splitlines())), "no message")
            for name, error in failures.items()
        }
        notes = [Note(f"{len(failures)} of {len(runs) + len(failures)} jobs failed:", "warning")]
        sections.append(
            Section(notes=[*notes, *(Note(f"  {name}: {error}", "plain") for name, error in firsts.items())])
        )
    return sections or [Section(notes=[Note("no jobs", "plain")])]


def _jobs(runs: Mapping[str, RunRecord]) -> Section:
    some = next(iter(runs.values()))
    tested = some.fold == "test"
    metrics = [*[OVERALL["macro_f1"]] * tested, *judged_by(some.classes)]
    columns = [Column("#", text=True), Column("model", text=True, wrap=True)]
    columns.append(Column("macro-F1 on validation", head="macro\nF1\nval", best=True))
    columns += [Column(one.label, head=_head(one, tested), best=True) for one in metrics]
    columns.append(Column("time"))
    validated = OVERALL["macro_f1"]
    ordered = sorted(
        runs.items(), key=lambda run: -1.0 if run[1].val.macro_f1 is None else validated.rounded(run[1].val.macro_f1),
        reverse=True,
    )  # fmt: skip
    rows = []
    for number, (_, record) in enumerate(ordered, start=1):
        numbers = Numbers(record.plain())
        time = NONE if record.wall_s is None else duration(record.wall_s)
        scores = numbers.percent("val.macro_f1"), *map(numbers.metric, metrics)
        rows.append(Row([str(number), record.model, *scores, time]))
    title = f"{some.task}: {len(runs)} job{'s' * (len(runs) > 1)}, scores in percent"
    title += "" if tested else " on validation; the test beats are not used"
    legend = [
        Note(f"{name}{' SYNTHETIC BEATS' * record.synthetic}", "caution" if record.synthetic else "")
        for name, record in ordered
    ]
    of_positive = f" Precision, recall, F1, specificity and AUROC are of {some.positive}." if some.positive else ""
    note = f"Ordered by macro-F1 on validation; bold: the best of its column.{of_positive}"
    table = Table(columns=columns, rows=mark_best(columns, rows))
    return Section(title=title, tables=[table], legend=legend, notes=[Note(note), *_beats(runs.values())])


def judged_by(classes: Sequence[str]) -> list[Metric]:
    """The metrics beside macro-F1 that a task is judged by."""
    if len(classes) == 2:
        return [OVERALL["accuracy"], *(metric_at((key,)) for key in (*METRICS, "specificity", "auroc"))]
    return [OVERALL["accuracy"], *(of_class(name, "f1") for name in classes)]


def _head(metric: Metric, tested: bool = False) -> str:
    return f"{metric.short}\ntest" if tested and metric.key == ("macro_f1",) else metric.short


def _beats(records: Iterable[RunRecord]) -> list[Note]:
    records = list(records)
    protocols = list(dict.fromkeys(conditions(record, parts=False) for record in records))
    notes = [Note(f"Beats: {'; or '.join(protocols)}.")]
    if len(protocols) > 1:
        notes.append(Note("Metrics on different data or splits cannot be compared.", "caution"))
    if any(record.synthetic for record in records):
        notes.append(Note(SYNTHETIC_WARNING, "warning"))
    return notes


def pooled_sections(pooled: Mapping[str, Any]) -> list[Section]:
    """What is printed after `sweep_sections`: folds as one result, and the spread over seeds.

    Args:
        pooled: what `ecg_lightning.runs.aggregate.pool` returned; nothing is printed of what it does not hold.
    """
    sections = []
    for task in dict.fromkeys(entry["task"] for kind in ("pooled", "repeated") for entry in pooled[kind]):
        of_folds = [entry for entry in pooled["pooled"] if entry["task"] == task]
        if of_folds:
            note = "Pooled: the test beats of all folds scored as one. ±: standard deviation of a sample, over folds."
            note += f" {POOLED_AUROC_NOTE}" * ("auroc" in of_folds[0]["test"])
            sections.append(_spread(f"{task}: test folds pooled, scores in percent", of_folds, note))
        of_seeds = [entry for entry in pooled["repeated"] if entry["task"] == task]
        if of_seeds:
            note = "±: standard deviation of a sample, over seeds."
            note += " Of folds that are pooled, the pooled scores count." * any(entry["folds"] for entry in of_seeds)
            sections.append(_spread(f"{task}: spread over seeds, scores in percent", of_seeds, note))
    return sections


POOLED_AUROC_NOTE = "Pooled AUROC and AP compare probabilities of different networks with each other."


def _spread(title: str, entries: Sequence[Mapping[str, Any]], note: str) -> Section:
    """A table of the pooled result and the mean of each entry, with a legend of its overrides."""
    metrics = [OVERALL["macro_f1"], *judged_by(list(entries[0]["mean"]["per_class"]))]
    columns = [Column("#", text=True), Column("model", text=True, wrap=True), Column("", text=True)]
    columns += [Column(metric.label, head=metric.short) for metric in metrics]
    rows: list[Row] = []
    legend = []
    for number, entry in enumerate(entries, start=1):
        lead = [str(number), entry["model"]]
        repeats = entry.get("seeds", entry["folds"])
        if "test" in entry:
            rows.append(Row([*lead, f"{len(repeats)} folds pooled", *map(Numbers(entry).metric, metrics)]))
            lead = ["", ""]
        mean, sd = Numbers({"test": entry["mean"]}), Numbers({"test": entry["sd"]})
        cells = [
            Cell(mean.metric(metric), sd=spread if isinstance(spread := sd.metric(metric), Number) else None)
            for metric in metrics
        ]
        name = f"mean, {len(repeats)} seeds" if "seeds" in entry else "mean of folds"
        rows.append(Row([*lead, name, *cells]))
        missing = sorted(set(range(entry["n_folds"] or 0)) - set(entry["folds"]))
        n_train = entry["n"]["train"] if "n" in entry else entry["n_train"]
        text = (
            f"{' '.join(entry['overrides'])} ({n_train:,.0f} training beats){' SYNTHETIC BEATS' * entry['synthetic']}"
        )
        if missing:
            text += f" without fold {', '.join(map(str, missing))} of {entry['n_folds']}"
        legend.append(Note(text, "caution" if missing or entry["synthetic"] else ""))
    return Section(
        title=title,
        tables=[Table(columns=columns, rows=rows, compact=True)],
        legend=legend,
        notes=[Note(note), Note(f"Beats: {'; or '.join(dict.fromkeys(map(sweep_conditions, entries)))}.")],
    )


def sweep_conditions(entry: Mapping[str, Any]) -> str:
    """`conditions` of an entry of `ecg_lightning.runs.aggregate.pool`."""
    folds = f", {len(entry['folds'])} of {entry['n_folds']} folds" if entry["folds"] else ""
    return (
        f"{entry['dataset']} from {entry['source']}; split {entry['protocol']}{folds}; classes: {entry['class_map']}; "
        f"context: {entry['context']}"
    )
