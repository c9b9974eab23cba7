"""Tables of collected runs with the published metrics, and their formats: terminal, Markdown, LaTeX, CSV.

There are two kinds. Where there are published rows (beats split at random, without context) a table has their metrics,
and its sections are by resampling. Everywhere else it has the metrics by which splits by patient are judged, and its
sections are by context.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.metrics.catalogue import OVERALL, PARTS, Metric, in_part, metric_at, of_class, of_ec57
from ecg_lightning.metrics.recordings import METRICS, WHERE
from ecg_lightning.report import render
from ecg_lightning.report.cells import NONE, Cell, Column, Mark, Note, Row, Section, Table, clean, mark_best
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.report.tables import POOLED_AUROC_NOTE, SYNTHETIC_WARNING
from ecg_lightning.runs.collect import SCRATCH, Block, Collection, RunsTable, Tested, errata
from ecg_lightning.runs.collect import Row as Runs
from ecg_lightning.runs.published import PUBLISHED_CAVEAT
from ecg_lightning.runs.tidy import frame

NOT_RUN = "not run"
DATABASES = 2  # in a table of tests on other databases, to be printed in 80 characters
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MARKS: dict[str, Mark] = {NOT_RUN: "missing", "published": "published", "printed": "published"}
ELSEWHERE_CAVEAT = (
    "Published elsewhere: as their authors print them, from other systems; beats, counted classes and the choice of "
    "settings differ, so they are a reference and not the same experiment."
)
MACRO_NOTE = "macro-F1: mean of the classes' F1. F1 of P, R: F1 of macro precision and macro recall."
PUBLISHED_MACRO_NOTE = (
    "Of the two, macro-F1 is what was published; the other follows from the published precision and recall."
)
EC57_NOTE = (
    "macro-F1: mean of the classes' F1. EC57: sensitivity (Se), positive predictivity (+P) and their F1 of V and S, "
    "gross; F or Q predicted as V, and Q predicted as S, are not counted. Balanced accuracy: mean recall. κ: Cohen's; "
    "jκ: with Se and +P of S and V."
)
POINT_NOTE = (
    "The operating point is chosen over training people, each predicted by a model that has not seen them; cross-"
    "validation is of these people, there at the point that those of other folds have chosen."
)
ELSEWHERE_NOTE = (
    "In percent. Where that is also what a row is trained on, it is the test fold. Columns are of different "
    "beats, people and shares of the classes; macro-F1 is the mean over the classes that are there or predicted."
)
MODES_NOTE = (
    "Published pretrained row: frozen backbone. head_only: new head; last_layer: the head's first layer is kept and "
    "trained, as in the older system."
)


def sections(collection: Collection) -> list[Section]:
    """The collected tables, each with its legend and notes."""
    shown = []
    for table in collection.tables:
        tables = [_table(table, metrics) for metrics in _metrics(table)]
        legend = [Note(_legend(table, *pair), short=pair[1].settings) for pair in _rows(table)]
        shown.append(Section(title=_title(table), tables=tables, legend=legend, notes=_notes(table)))
    return shown + list(map(tested_section, collection.elsewhere))


def tested_section(rows: Sequence[Tested]) -> Section:
    """Tests on other databases: a row for each network and training, a group of columns for each database."""
    record = next(iter(rows[0].tests.values())).results[0].record
    counts = Counter(name for one in rows for name in one.tests)
    names = sorted(counts, key=lambda name: -counts[name])  # those that most rows have come first, together
    classes = [name for name in ("S", "V") if name in record.classes] or record.classes[-1:]
    metrics = [OVERALL["macro_f1"], *(of_class(name, "f1") for name in classes)]
    at_point = any("at_operating_point" in row.mean for one in rows for row in one.tests.values())
    metrics += [in_part("at_operating_point", one) for one in metrics] * at_point
    tables, at_once = [], 1 if at_point else DATABASES
    for first in range(0, len(names), at_once):
        part = names[first : first + at_once]
        columns = [Column(name, text=True, wrap=True) for name in ("network", "trained on")]
        columns += [
            Column(
                f"{metric.label} on {name}", group=name, short=metric.short.strip().replace("\n", " "),
                head=f"{LETTERS[at]}\n{metric.short}", best=True,
            )
            for at, name in enumerate(part, start=first)
            for metric in metrics
        ]  # fmt: skip
        shown = []
        for one in (one for one in rows if not one.tests.keys().isdisjoint(part)):
            cells = [cell for name in part for cell in _cells(one.tests.get(name), metrics)]
            network = ", ".join(filter(None, (one.network, one.settings)))
            shown.append(Row([network, one.trained_on, *cells], section=f"context: {one.context}"))
        tables.append(Table(columns=columns, rows=mark_best(columns, shown), compact=True))
    some = [row for one in rows for row in one.tests.values()]
    notes = [f"Tested on {'; '.join(f'{LETTERS[at]}: {name}' for at, name in enumerate(names))}.", ELSEWHERE_NOTE]
    seeds = sorted({len(row.results) for row in some})
    if seeds[-1] > 1:
        notes.append(f"Mean ± standard deviation over {' to '.join(map(str, seeds))} seeds.")
    notes += ["Of a single seed: 95 % interval over people."] * any(bool(row.intervals) for row in some)
    absent = {name: one.tests[name].results[0].record.absent for one in rows for name in one.tests}
    notes += [f"{name} has no beats of {', '.join(of)}." for name, of in absent.items() if of]
    doubts = dict.fromkeys(run.record.warning for row in some for run in row.runs if run.record.warning)
    notes += [f"Warning: {warning}." for warning in doubts]
    synthetic = [Note(SYNTHETIC_WARNING, "warning")] * record.synthetic
    title = f"{record.task}: tested on other databases{' (SYNTHETIC)' * record.synthetic}"
    return Section(title=title, tables=tables, notes=[*map(Note, notes), *synthetic])


def _rows(table: RunsTable) -> list[tuple[Block, Runs]]:
    return [(block, row) for block in table.blocks for row in block.rows]


def _metrics(table: RunsTable) -> list[list[Metric]]:
    """The metrics of a table, in as many parts as are printed one below the other."""
    macro = [OVERALL[key] for key in ("macro_precision", "macro_recall", "macro_f1", "f1_of_macro_precision_recall")]
    macro_f1 = OVERALL["macro_f1"]
    if table.task == "mi" and table.as_published:
        return [[*(of_class("MI", key) for key in ("precision", "recall", "f1")), *macro[2:]]]
    if table.task == "mi":
        keys = ("auroc", "average_precision", "f1", "recall", "specificity")
        of_beats = [*(of_class("MI", key) for key in keys), macro_f1, OVERALL["accuracy"]]
        known = table.record is not None and "recordings" in table.record.test
        by_recording = [[metric_at((WHERE, key)) for key in METRICS]] * known
        return [of_beats, *by_recording, *_parts(table, of_beats)]
    classes = table.record.classes if table.record else AAMI_CLASSES
    f1, precision, recall = ([of_class(name, key) for name in classes] for key in ("f1", "precision", "recall"))
    if table.as_published:
        return [[*macro, *f1], *([precision, recall] if table.record else [])]
    judged = [OVERALL[key] for key in ("balanced_accuracy", "kappa", "j_kappa", "accuracy")]
    if not table.record or "ec57" not in table.record.test:
        return [[macro_f1, *f1], judged, *_parts(table, [macro_f1, *f1])]
    v, s, s_without = (
        [of_ec57(name, key, without=without) for key in ("sensitivity", "positive_predictivity", "f1")]
        for name, without in (("V", False), ("S", False), ("S", True))
    )
    return [[macro_f1, *f1], [*v, *s], [*s_without, *judged], *_parts(table, [*v, *s, macro_f1])]


def _parts(table: RunsTable, metrics: Sequence[Metric]) -> list[list[Metric]]:
    """These metrics at the operating point and in cross-validation, where a run has them."""
    there = [part for part in PARTS if any(part in result.test for row in table.rows for result in row.results)]
    return [[in_part(part, metric) for metric in metrics] for part in there]


def _table(table: RunsTable, metrics: Sequence[Metric]) -> Table:
    """One part of a table."""
    weights = (table.as_published and table.task == "mi") or any(block.transfer != SCRATCH for block in table.blocks)
    columns = [Column("#", text=True), Column("network", text=True, wrap=True)]
    columns += [Column("weights", text=True)] * weights + [Column("results", text=True)]
    columns += [Column(one.label, group=one.group, short=one.name, head=one.short, best=True) for one in metrics]
    rows: list[Row] = []
    number = 0

    def add(kind: str, section: str, network: str, mode: str, cells: Sequence[Cell], number: str = "") -> None:
        labels = [number, network, *[mode] * weights, kind]
        rows.append(Row([*labels, *cells], section=section, mark=MARKS.get(kind, "")))

    for block in table.blocks:
        section = f"resampling {block.resampling}" if table.as_published else f"context: {block.context}"
        if not table.as_published and block.resampling != "none":
            section += f", resampling {block.resampling}"
        lead = (section, block.network, "scratch" if block.transfer == SCRATCH else block.transfer)
        for row in block.rows:
            number += 1
            seeds = f"{len(row.results)} seed{'s' * (len(row.results) > 1)}"
            add(seeds, *lead, _cells(row, metrics, intervals=not table.as_published), str(number))
        if not block.rows:
            add(NOT_RUN, *lead, _cells(None, metrics))
        if block.published:
            add("published", *lead, _printed(block.published, metrics))
    for one in table.elsewhere:
        cells = _printed(one.metrics, metrics)
        if any(cell.content != NONE for cell in cells):
            add("printed", "published elsewhere", one.who, "", cells)
    return Table(columns=columns, rows=mark_best(columns, rows), compact=True)


def _cells(row: Runs | None, metrics: Sequence[Metric], *, intervals: bool = True) -> list[Cell]:
    if row is None:
        return [Cell()] * len(metrics)
    numbers = Numbers.of_row(row, intervals=intervals)
    return [numbers.cell(metric, metric.digits) for metric in metrics]


def _printed(scores: Mapping[str, Any], metrics: Sequence[Metric]) -> list[Cell]:
    return list(map(Numbers({"test": {"per_class": {}, **scores}}).cell, metrics))


def _title(table: RunsTable) -> str:
    """Task, data and split."""
    record = table.record
    if record is None:
        return f"{table.task}: published rows, {NOT_RUN}"
    data = f"{record.dataset}{' (SYNTHETIC)' * record.synthetic}"
    tested = f", scored on {table.tested} beats" * (table.tested != "test")
    return f"{table.task}: {data}, split {record.protocol.name}{tested}"


def _notes(table: RunsTable) -> list[Note]:
    """What the metrics mean and what they depend on: a sentence each."""
    notes = []
    if table.record is not None:
        prints = {block.context: row.runs[0].record.fingerprint for block, row in _rows(table)}
        shown = "; ".join(f"{of}: {one}" for of, one in prints.items()) if len(prints) > 1 else "".join(prints.values())
        sizes = " to ".join(f"{n:,}" for n in table.n_test)
        notes.append(f"Beats: {sizes} {table.tested} beats, data fingerprint {shown}. Split {table.protocol}.")
        notes.append(f"Classes: {table.record.class_map}.")
    notes.append(_numbers_note(table))
    notes += [MACRO_NOTE] if table.as_published else [EC57_NOTE] * (table.task == "arrhythmia")
    published = [block for block in table.blocks if block.published]
    if published:
        notes += [PUBLISHED_MACRO_NOTE] * (table.task == "arrhythmia") + [PUBLISHED_CAVEAT]
        notes += [MODES_NOTE] * any(block.transfer != SCRATCH for block in published)
    notes += errata(published)
    if table.elsewhere:
        notes.append(" ".join([ELSEWHERE_CAVEAT, *(f"{one.who}: {one.note}." for one in table.elsewhere if one.note)]))
    notes += not_above_baselines(table)
    if parts := _parts(table, [OVERALL["macro_f1"]]):
        named = [PARTS[of_part[0].key[0]] for of_part in parts]
        notes.append(f"{'; '.join(f'{short}: {words}' for words, short in named)}. {POINT_NOTE}")
    notes += [table.record.not_tested] if table.record and table.record.fold != "test" else []
    synthetic = table.record is not None and table.record.synthetic
    return [*map(Note, notes), *[Note(SYNTHETIC_WARNING, "warning")] * synthetic]


def _numbers_note(table: RunsTable) -> str:
    """How to read the numbers themselves."""
    rows = table.rows
    parts = ["In percent."]
    if any(len(row.results) > 1 for row in rows):
        parts += ["Mean ± standard deviation (of a sample) over seeds."]
        parts += ["The seed also divides the beats."] * any(len(set(row.split_seeds)) > 1 for row in rows)
    parts += ["Seeds 1/0: 1 for training, 0 for the split."] * any("/" in seed for row in rows for seed in row.seeds)
    if any(result.folds for row in rows for result in row.results):
        parts.append("Of a cross-validation, the test beats of all folds are scored as one.")
        parts += [POOLED_AUROC_NOTE] * (table.task == "mi" and not table.as_published)
    if intervals := [] if table.as_published else [row.intervals for row in rows if row.intervals]:
        units = " or ".join(dict.fromkeys(f"{one['n_resampled']:,} {one['resampled']}" for one in intervals))
        parts.append(f"Of a single seed: {100 * intervals[0]['level']:.0f} % interval over {units}.")
    parts += ["Bold: the best of the runs in its column."] * (len(rows) > 1)
    return " ".join(parts)


def not_above_baselines(table: RunsTable) -> list[str]:
    """A sentence for each network that a baseline equals or beats in a metric that decides."""
    deciding = [of_class("MI", "auroc")] * (table.task == "mi") + [OVERALL["macro_f1"]]
    rows, sentences = _rows(table), []
    for block, row in rows:
        rivals = [(other, one) for other, one in rows if one.is_baseline and other.context in (block.context, SCRATCH)]
        lost = []
        for metric in deciding if not row.is_baseline else ():
            own = metric.of(row.mean)
            there = [(value, other.network) for other, one in rivals if (value := metric.of(one.mean)) is not None]
            if own is not None and there and max(there)[0] >= own:
                value, name = max(there)
                lost.append(f"{metric.label} {metric.text(own)} against {metric.text(value)} of {name}")
        if lost:
            sentences.append(f"{_row_name(table, block, row)} does not beat the baselines: {', '.join(lost)}.")
    return sentences


def _row_name(table: RunsTable, block: Block, row: Runs) -> str:
    context = "" if table.as_published else f"context {block.context}"
    resampling = block.resampling if table.as_published or block.resampling != "none" else ""
    transfer = "" if block.transfer == SCRATCH else block.transfer
    return ", ".join(filter(None, (block.network, context, resampling, transfer, row.settings)))


def _legend(table: RunsTable, block: Block, row: Runs) -> str:
    parts = [_row_name(table, block, row)]
    for key, usual in (("augmentation", ("none", block.resampling)), ("loss", ("cross_entropy",))):
        value = row.about(key)
        if value and value not in usual and f"{key}=" not in row.settings:
            parts.append(f"{key} {value}")
    parts.append(f"seed{'s' * (len(row.results) > 1)} {', '.join(row.seeds)}")
    if row.results[0].folds:
        without = f" WITHOUT {', '.join(map(str, row.missing_folds))}" if row.missing_folds else ""
        parts.append(f"{row.results[0].n_folds} folds{without}")
    for unit in ("epochs", "steps"):
        if counts := [count for run in row.runs if (count := getattr(run.record, unit)) is not None]:
            fewest, most = f"{min(counts):,}", f"{max(counts):,}"
            name = unit if max(counts) > 1 else unit.removesuffix("s")
            parts.append(f"{fewest} {name}" if fewest == most else f"{fewest} to {most} {name}")
    folders = [run.folder for run in row.runs]
    is_long = len(folders) > 2 and len({folder.parent for folder in folders}) == 1
    runs = f"{len(folders)} runs in {folders[0].parent}" if is_long else ", ".join(map(str, folders))
    return "; ".join([*parts, runs])


def _terminal(collection: Collection) -> list[Section]:
    remarks = Section(notes=[Note(remark, "caution") for remark in collection.remarks])
    return [*sections(collection), remarks]


def _plain(collection: Collection) -> str:
    from rich.console import Console

    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(render.Terminal(*_terminal(collection)))
    return capture.get()


def _csv_cell(value: Any) -> Any:
    """A text on one line, and with a quote before what a spreadsheet would take for a formula."""
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


FORMATS: dict[str, Callable[[Collection], str]] = {
    "terminal": _plain,
    "markdown": lambda collection: render.markdown(*sections(collection), remarks=collection.remarks),
    # Tidy: a line for each metric of each row, fractions with all their digits.
    "csv": lambda collection: str(frame(collection).map(_csv_cell).to_csv(index=False, lineterminator="\n")),
    "latex": lambda collection: render.latex(*sections(collection), remarks=collection.remarks),
}
ENDINGS = {".txt": "terminal", ".md": "markdown", ".csv": "csv", ".tex": "latex"}


def choose_format(name: str | None, output: Path | None) -> str:
    """The format `name`, else the one of the file's ending, else ``terminal``; ConfigError if the ending has none."""
    if name is not None or output is None:
        return name or "terminal"
    if output.suffix.lower() in ENDINGS:
        return ENDINGS[output.suffix.lower()]
    endings = ", ".join(f"{ending} ({meant})" for ending, meant in ENDINGS.items())
    raise ConfigError(f"{output} does not name a format: end it with {endings}, or give --format")


def show(collection: Collection, format_name: str, output: Path | None) -> None:
    """Print the tables in one of `FORMATS`, or write them to a file; DataError if that is not possible."""
    if output is not None:
        with atomic_write(output) as partial:
            partial.write_text(FORMATS[format_name](collection), encoding="utf-8")
        for remark in collection.remarks:
            print(clean(remark), file=sys.stderr)
    elif format_name == "terminal":
        render.show(*_terminal(collection))
    else:
        print(FORMATS[format_name](collection), end="")
