"""What a table of collected runs shows, whatever its format: columns, lines of cells, title and notes.

There are two kinds. Where published rows stand beside ours (beats split at random, seen alone) it has their figures,
and rows by resampling. Everywhere else it has the figures by which patients apart are judged, and rows by context.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.report.tables import NONE
from ecg_lightning.report.wording import CLASSES, SYNTHETIC_WARNING
from ecg_lightning.runs.collect import SCRATCH, Block, Row, RunsTable, errata
from ecg_lightning.runs.published import PUBLISHED_CAVEAT, Elsewhere

NOT_RUN = "not run"

ELSEWHERE_CAVEAT = (
    "Published elsewhere: as their authors print them, from other systems; beats, classes counted and what chose among "
    "settings differ, so they are a mark, not a match."
)
OVERALL_NOTE = "macro-F1: mean of the classes' F1. F1 of P, R: F1 of macro precision and macro recall."
OVERALL_PUBLISHED_NOTE = (
    "Of the two, macro-F1 is what was published; the other follows from the published precision and recall."
)
EC57_NOTE = (
    "macro-F1: mean of the classes' F1. EC57: sensitivity (Se), positive predictivity (+P) and their F1 of V and S, "
    "gross; F or Q called V, and Q called S, are no mistakes. Balanced accuracy: mean recall. κ: Cohen's; jκ: with Se "
    "and +P of S and V."
)
ARMS_NOTE = (
    "Published pretrained row: backbone frozen. head_only: new head; last_layer: the head's first layer kept and "
    "trained on, as the older system did."
)
POOLED_AUROC_NOTE = "Pooled AUROC and AP hold probabilities of different networks against each other."

# Columns


@dataclass(frozen=True)
class Column:
    """A figure of every row.

    Attributes:
        group: what it has in common with its neighbours.
        name: its own.
        path: where it is below ``test`` of ``scores.json`` and in a published row.
        head: both in two lines of six characters at most, where there is little room.
        full: both in words.
        interval: where its interval is below ``test.intervals``, if not at `path`.
    """

    group: str
    name: str
    path: tuple[str, ...]
    head: str
    full: str
    interval: tuple[str, ...] | None = None

    def of(self, scores: Mapping[str, Any] | None) -> float | None:
        """The figure; None where there is none."""
        value = _dig(scores, self.path)
        return None if value is None else float(value)

    def ends(self, intervals: Mapping[str, Any]) -> tuple[float, float] | None:
        """Its interval; None where there is none."""
        found = _dig(intervals, self.interval or self.path)
        return None if found is None else (float(found[0]), float(found[1]))


def _dig(scores: Mapping[str, Any] | None, path: Sequence[str]) -> Any:
    value: Any = scores
    for key in path:
        value = value.get(key) if value else None
    return value


MACRO_F1 = Column("overall", "macro-F1", ("macro_f1",), "macro\nF1", "macro-F1")
ACCURACY = Column("overall", "accuracy", ("accuracy",), "accu-\nracy", "accuracy")

PUBLISHED_OVERALL = (
    Column("overall", "prec.", ("macro_precision",), "macro\nprec.", "precision"),
    Column("overall", "rec.", ("macro_recall",), "macro\nrec.", "recall"),
    MACRO_F1,
    Column("overall", "F1 of P, R", ("f1_of_macro_precision_recall",), "F1 of\nP, R", "F1 of P, R"),
)
PUBLISHED_MI = tuple(
    Column("MI", short, ("per_class", "MI", name.lower()), f"{short}\nMI", f"MI {name}")
    for name, short in (("precision", "prec."), ("recall", "rec."), ("F1", "F1"))
)
APART = (
    Column("overall", "bal. acc.", ("balanced_accuracy",), "bal.\nacc.", "balanced accuracy"),
    Column("overall", "κ", ("kappa",), "\nκ", "κ"),
    Column("overall", "jκ", ("j_kappa",), "\njκ", "jκ"),
    ACCURACY,
)
APART_MI = (
    Column("ranking", "AUROC", ("auroc",), "\nAUROC", "AUROC", ("per_class", "MI", "auroc")),
    Column("ranking", "AP", ("average_precision",), "\nAP", "AP", ("per_class", "MI", "average_precision")),
    Column("MI", "F1", ("f1",), "F1\nMI", "F1 of MI", ("per_class", "MI", "f1")),
    Column("MI", "Se", ("recall",), "\nSe", "sensitivity", ("per_class", "MI", "recall")),
    Column("MI", "Sp", ("specificity",), "\nSp", "specificity", ("per_class", "MI", "specificity")),
    MACRO_F1,
    ACCURACY,
)


def grids(table: RunsTable) -> list[tuple[Column, ...]]:
    """The columns of a table, in as many parts as are printed one below the other."""
    if table.task == "mi":
        return [(*PUBLISHED_MI, *PUBLISHED_OVERALL[2:])] if table.as_published else [APART_MI]
    classes = list(table.scores["test"]["per_class"]) if table.scores else AAMI_CLASSES

    def by_class(figure: str, short: str) -> tuple[Column, ...]:
        return tuple(
            Column(
                f"{figure} by class", name, ("per_class", name, figure.lower()), f"{short}\n{name}", f"{figure} {name}"
            )
            for name in classes
        )

    if not table.as_published:
        return [(MACRO_F1, *by_class("F1", "F1")), (*_ec57("V"), *_ec57("S")), (*_ec57("S", "without_232"), *APART)]
    parts = [
        (*PUBLISHED_OVERALL, *by_class("F1", "F1")),
        (*by_class("precision", "prec."), *by_class("recall", "rec.")),
    ]
    return parts if table.scores else parts[:1]


def _ec57(of: str, *without: str) -> tuple[Column, ...]:
    named = {"Se": "sensitivity", "+P": "positive_predictivity", "F1": "f1"}
    group = f"EC57 {of}" + ", no 232" * bool(without)
    head = f"{of}-232" if without else of
    return tuple(
        Column(group, name, ("ec57", *without, of, figure), f"{head}\n{name}", f"{group} {name}")
        for name, figure in named.items()
    )


# What every format says


def title(table: RunsTable) -> str:
    """Task, data and split."""
    if table.scores is None:
        return f"{table.task}: published rows, {NOT_RUN}"
    scores = table.scores
    mark = " (SYNTHETIC)" if scores["synthetic"] else ""
    tested = "" if table.tested == "test" else f", scored on {table.tested} beats"
    return f"{table.task}: {scores['dataset']} from {scores['source']}{mark}, split {scores['split']}{tested}"


def about(table: RunsTable) -> list[str]:
    """What figures mean and what they are of: a sentence each."""
    notes = _beats(table)
    if table.task in CLASSES:
        notes.append(f"Classes: {CLASSES[table.task]}.")
    notes.append(_numbers(table))
    notes += [OVERALL_NOTE] if table.as_published else [EC57_NOTE] * (table.task == "arrhythmia")
    published = [block for block in table.blocks if block.published]
    if published:
        if table.task == "arrhythmia":
            notes.append(OVERALL_PUBLISHED_NOTE)
        notes.append(PUBLISHED_CAVEAT)
        if any(block.arm != SCRATCH for block in published):
            notes.append(ARMS_NOTE)
    notes += errata(published)
    if table.elsewhere:
        notes.append(" ".join([ELSEWHERE_CAVEAT, *(f"{one.who}: {one.note}." for one in table.elsewhere if one.note)]))
    notes += not_above_baselines(table)
    if table.tested != "test":
        notes.append(f"Scored on {table.tested} beats, which also chose the checkpoint: to choose by, not to report.")
    if table.scores is not None and table.scores["synthetic"]:
        notes.append(SYNTHETIC_WARNING)
    return notes


def _beats(table: RunsTable) -> list[str]:
    if table.scores is None:
        return []
    prints = {
        block.context: table_row.runs[0].scores["fingerprint"] for block in table.blocks for table_row in block.rows
    }
    told = ", ".join(prints.values()) if len(prints) < 2 else "; ".join(f"{of}: {name}" for of, name in prints.items())
    beats = f"Beats: {' to '.join(f'{n:,}' for n in table.n_test)} {table.tested} beats, data fingerprint {told}."
    left_out = table.scores.get("left_out")
    left = "" if left_out is None else f" Left out: {f'{left_out:,} beats' if left_out else 'none'}."
    return [f"{beats} Split {table.protocol}.{left}"]


def _numbers(table: RunsTable) -> str:
    """How to read the numbers themselves."""
    note = "In percent."
    if any(len(row.results) > 1 for row in table.rows):
        note += " Mean ± standard deviation (of a sample) over seeds."
        note += " The seed also divides the beats." * any(len(set(row.split_seeds)) > 1 for row in table.rows)
    if any("/" in seed for row in table.rows for seed in row.seeds):
        note += " Seeds 1/0: 1 to train, 0 to divide the beats."
    if any(result.folds for row in table.rows for result in row.results):
        note += " Of a cross-validation, the test beats of all folds are scored as one."
        note += f" {POOLED_AUROC_NOTE}" * (table.task == "mi" and not table.as_published)
    told = [] if table.as_published else [row.intervals for row in table.rows if row.intervals]
    if told:
        units = " or ".join(dict.fromkeys(f"{one['n_resampled']:,} {one['resampled']}" for one in told))
        note += f" Of a single seed: {100 * told[0]['level']:.0f} % interval over {units}."
    if len(table.rows) > 1:
        note += " Bold: the best of our figures in its column."
    return note


def not_above_baselines(table: RunsTable) -> list[str]:
    """A sentence for each network that a baseline equals or beats in a figure that decides."""
    deciding = [APART_MI[0], MACRO_F1] if table.task == "mi" else [MACRO_F1]
    rows = [(block, row) for block in table.blocks for row in block.rows]
    sentences = []
    for block, row in rows:
        if row.is_baseline:
            continue
        rivals = [(other, one) for other, one in rows if one.is_baseline and other.context in (block.context, SCRATCH)]
        lost = []
        for column in deciding:
            own = column.of(row.mean)
            there = [(value, other.network) for other, one in rivals if (value := column.of(one.mean)) is not None]
            if own is not None and there and max(there)[0] >= own:
                value, name = max(there)
                lost.append(f"{column.full} {percent(own)} against {percent(value)} of {name}")
        if lost:
            sentences.append(f"{_row_name(table, block, row)} does not beat the baselines: {', '.join(lost)}.")
    return sentences


def legend(table: RunsTable) -> list[str]:
    """What the rows that have been run are of, in their order."""
    return [_legend(table, block, row) for block in table.blocks for row in block.rows]


def _row_name(table: RunsTable, block: Block, row: Row) -> str:
    parts = [block.network]
    if not table.as_published:
        parts.append(f"context {block.context}")
    if table.as_published or block.resampling != "none":
        parts.append(block.resampling)
    parts += [block.arm] * (block.arm != SCRATCH)
    parts += [row.settings] * bool(row.settings)
    return ", ".join(parts)


def _legend(table: RunsTable, block: Block, row: Row) -> str:
    parts = [_row_name(table, block, row)]
    for key, usual in (("augmentation", ("none", block.resampling)), ("loss", ("cross_entropy",))):
        told = row.about(key)
        if told and told not in usual and f"{key}=" not in row.settings:
            parts.append(f"{key} {told}")
    parts.append(f"seed{'s' * (len(row.results) > 1)} {', '.join(row.seeds)}")
    if row.results[0].folds:
        without = f" WITHOUT {', '.join(map(str, row.missing_folds))}" if row.missing_folds else ""
        parts.append(f"{row.results[0].n_folds} folds{without}")
    for unit in ("epochs", "steps"):
        if counts := [run.scores[unit] for run in row.runs if run.scores.get(unit) is not None]:
            fewest, most = f"{min(counts):,}", f"{max(counts):,}"
            named = unit if max(counts) > 1 else unit.removesuffix("s")
            parts.append(f"{fewest} {named}" if fewest == most else f"{fewest} to {most} {named}")
    folders = [run.folder for run in row.runs]
    parents = {folder.parent for folder in folders}
    if len(folders) > 2 and len(parents) == 1:
        parts.append(f"{len(folders)} runs in {parents.pop()}")
    else:
        parts.append(", ".join(map(str, folders)))
    return "; ".join(parts)


def percent(fraction: float | None) -> str:
    """A figure as printed."""
    return NONE if fraction is None else f"{100 * fraction:.2f}"


def best(table: RunsTable, column: Column) -> str | None:
    """The best of our figures as printed; None with fewer than two rows, or where none is better than another."""
    values = [value for row in table.rows if (value := column.of(row.mean)) is not None]
    return percent(max(values)) if len(table.rows) > 1 and len({*map(percent, values)}) > 1 else None


# Lines of cells, as they are printed


@dataclass(frozen=True)
class Cell:
    """A figure as printed.

    Attributes:
        figure: in percent.
        sd: its deviation over seeds, if there are several.
        ends: the fractions between which it lies, if there is one seed.
        best: whether it is the best of its column.
    """

    figure: str
    sd: str | None = None
    ends: tuple[float, float] | None = None
    best: bool = False

    @property
    def spread(self) -> str:
        """``± 0.56`` or ``(41.20–63.11)``; empty without either."""
        if self.sd is not None:
            return f"± {self.sd}"
        return "" if self.ends is None else f"({percent(self.ends[0])}–{percent(self.ends[1])})"

    @property
    def below(self) -> str:
        """The spread where there is little room: ``0.56`` or ``41-63``."""
        if self.sd is not None:
            return self.sd
        return "" if self.ends is None else "-".join(f"{100 * end:.0f}" for end in self.ends)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row that was run, one that was not, or what was published for either.

    Attributes:
        kind: ``run``, ``not run`` or ``published``.
        section: what it stands below.
        names: what it is of, by the name of its column: network, resampling and so on.
        number: its place among those that were run, from 1.
        settings: what tells it from others of the same names.
        whose: number of seeds, or `kind`.
        cells: one for each column.
    """

    kind: str
    section: str
    names: Mapping[str, str]
    number: int | None = None
    settings: str = ""
    whose: str
    cells: tuple[Cell, ...]

    @property
    def spread(self) -> str:
        """What its cells have beside their figures: ``± sd``, ``95 %`` or nothing."""
        if any(cell.sd is not None for cell in self.cells):
            return "± sd"
        return "95 %" if any(cell.ends for cell in self.cells) else ""

    def labels(self) -> list[str]:
        """Its names but for those that its section says."""
        return [name for key, name in self.names.items() if key in ("network", "weights")]


def lines(table: RunsTable, columns: Sequence[Column]) -> list[Line]:
    """The lines of one part of a table."""
    tops = [best(table, column) for column in columns]
    numbers = itertools.count(1)
    shown = []
    for block in table.blocks:
        of_block: dict[str, Any] = {"section": _section(table, block), "names": _names(table, block)}
        for row in block.rows:
            cells = []
            for column, top in zip(columns, tops, strict=True):
                figure, spread = percent(column.of(row.mean)), column.of(row.sd)
                ends = None if table.as_published or spread is not None else column.ends(row.intervals)
                cells.append(Cell(figure, None if spread is None else percent(spread), ends, figure == top))
            whose = f"{len(row.results)} seed{'s' * (len(row.results) > 1)}"
            shown.append(
                Line(
                    kind="run",
                    number=next(numbers),
                    settings=row.settings,
                    whose=whose,
                    cells=tuple(cells),
                    **of_block,
                )
            )
        if not block.rows:
            shown.append(Line(kind=NOT_RUN, whose=NOT_RUN, cells=(Cell(NONE),) * len(columns), **of_block))
        if block.published:
            shown.append(
                Line(kind="published", whose="published", cells=_printed(block.published, columns), **of_block)
            )
    for one in table.elsewhere:
        cells_of_one = _printed(one.figures, columns)
        if any(cell.figure != NONE for cell in cells_of_one):
            shown.append(_line_of_others(table, one, cells_of_one))
    return shown


def _printed(figures: Mapping[str, Any], columns: Sequence[Column]) -> tuple[Cell, ...]:
    return tuple(Cell(percent(column.of(figures))) for column in columns)


def _line_of_others(table: RunsTable, one: Elsewhere, cells: tuple[Cell, ...]) -> Line:
    names = dict.fromkeys(_names(table, table.blocks[0]), "") | {"network": one.who}
    return Line(kind="published", section="published elsewhere", names=names, whose="printed", cells=cells)


def _section(table: RunsTable, block: Block) -> str:
    if table.as_published:
        return f"resampling {block.resampling}"
    return f"context: {block.context}" + f", resampling {block.resampling}" * (block.resampling != "none")


def _names(table: RunsTable, block: Block) -> dict[str, str]:
    """The columns that name a line of this block."""
    names = {} if table.as_published else {"context": block.context}
    names["network"] = block.network
    if table.as_published or any(other.resampling != "none" for other in table.blocks):
        names["resampling"] = block.resampling
    if (table.as_published and table.task == "mi") or any(other.arm != SCRATCH for other in table.blocks):
        names["weights"] = "scratch" if block.arm == SCRATCH else block.arm
    return names
