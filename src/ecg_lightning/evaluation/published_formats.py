"""What `published_table` collected, as text: for the terminal, in Markdown, in LaTeX, in CSV.

All of them print percent but CSV, which keeps fractions. On the terminal a table fits 80 columns.
"""

import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ecg_lightning.data.aami import AAMI_CLASSES, CLASS_MAP
from ecg_lightning.errors import ConfigError
from ecg_lightning.evaluation.published import PUBLISHED_CAVEAT
from ecg_lightning.evaluation.published_table import SCRATCH, Block, Collection, Row, RunsTable, errata, frame
from ecg_lightning.evaluation.tables import NONE, SYNTHETIC_WARNING, context
from ecg_lightning.files import whole_file

NOT_RUN = "not run"

OVERALL_NOTE = "macro-F1: mean of the classes' F1. F1 of P, R: F1 of macro precision and macro recall."
OVERALL_PUBLISHED_NOTE = (
    "Of the two, macro-F1 is what was published; the other follows from the published precision and recall."
)
ARMS_NOTE = (
    "Published pretrained row: backbone frozen. head_only: new head; last_layer: the head's first layer kept and "
    "trained on, as the older system did."
)


@dataclass(frozen=True)
class Column:
    """A figure of every row.

    Attributes:
        group: what it has in common with its neighbours.
        name: its own.
        path: where it is below ``test`` of ``scores.json`` and in a published row.
    """

    group: str
    name: str
    path: tuple[str, ...]

    def of(self, scores: Mapping[str, Any] | None) -> float | None:
        """The figure; None where there is none."""
        value: Any = scores
        for key in self.path:
            value = value.get(key) if value else None
        return None if value is None else float(value)


OVERALL = (
    Column("overall", "precision", ("macro_precision",)),
    Column("overall", "recall", ("macro_recall",)),
    Column("overall", "macro-F1", ("macro_f1",)),
    Column("overall", "F1 of P, R", ("f1_of_macro_precision_recall",)),
)


def grids(table: RunsTable) -> list[tuple[Column, ...]]:
    """The columns of a table, in as many parts as are printed one below the other."""
    if table.task == "mi":
        of_mi = (Column("MI", name, ("per_class", "MI", name.lower())) for name in ("precision", "recall", "F1"))
        return [(*of_mi, *OVERALL[2:])]
    classes = list(table.scores["test"]["per_class"]) if table.scores else AAMI_CLASSES

    def by_class(figure: str) -> tuple[Column, ...]:
        return tuple(Column(f"{figure} by class", name, ("per_class", name, figure.lower())) for name in classes)

    parts = [(*OVERALL, *by_class("F1")), (*by_class("precision"), *by_class("recall"))]
    return parts if table.scores else parts[:1]


# What every format says


def title(table: RunsTable) -> str:
    """Task, data and split."""
    if table.scores is None:
        return f"{table.task}: published rows, {NOT_RUN}"
    scores = table.scores
    mark = " (SYNTHETIC)" if scores["synthetic"] else ""
    tested = "" if table.tested == "test" else f", scored on {table.tested} beats"
    beats = f"{scores['dataset']} from {scores['source']}{mark}{context(scores)}"
    return f"{table.task}: {beats}, split {scores['split']}{tested}"


def about(table: RunsTable) -> list[str]:
    """What figures mean and what they are of: a sentence each."""
    notes = []
    if table.scores is not None:
        beats = f"{' to '.join(f'{n:,}' for n in table.n_test)} {table.tested} beats"
        notes.append(f"Beats: {beats}, data fingerprint {table.scores['fingerprint']}. Split {table.protocol}.")
    if table.task == "arrhythmia":
        notes.append(f"Classes: {CLASS_MAP}.")
    several = any(len(row.results) > 1 for row in table.rows)
    notes.append("In percent." + " Mean ± standard deviation (of a sample) over seeds." * several)
    if several:
        moved = any(len(set(row.split_seeds)) > 1 for row in table.rows)
        notes[-1] += " The seed also divides the beats." * moved
    if any("/" in seed for row in table.rows for seed in row.seeds):
        notes[-1] += " Seeds 1/0: 1 to train, 0 to divide the beats."
    if any(result.folds for row in table.rows for result in row.results):
        notes[-1] += " Of a cross-validation, the test beats of all folds are scored as one."
    if len(table.rows) > 1:
        notes[-1] += " Bold: the best of our figures in its column."
    notes.append(OVERALL_NOTE)
    published = [block for block in table.blocks if block.published]
    if published:
        if table.task == "arrhythmia":
            notes.append(OVERALL_PUBLISHED_NOTE)
        notes.append(PUBLISHED_CAVEAT)
        if any(block.arm != SCRATCH for block in published):
            notes.append(ARMS_NOTE)
    notes += errata(published)
    if table.tested != "test":
        notes.append(f"Scored on {table.tested} beats, which also chose the checkpoint: to choose by, not to report.")
    if table.scores is not None and table.scores["synthetic"]:
        notes.append(SYNTHETIC_WARNING)
    return notes


def legend(table: RunsTable) -> list[str]:
    """What the rows that have been run are of, in their order."""
    return [_name(block, row) for block in table.blocks for row in block.rows]


def _name(block: Block, row: Row) -> str:
    parts = [f"{block.network}, {block.resampling}" + f", {block.arm}" * (block.arm != SCRATCH)]
    if row.settings:
        parts.append(row.settings)
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
            parts.append(f"{fewest} {unit}" if fewest == most else f"{fewest} to {most} {unit}")
    folders = [run.folder for run in row.runs]
    parents = {folder.parent for folder in folders}
    if len(folders) > 2 and len(parents) == 1:
        parts.append(f"{len(folders)} runs in {parents.pop()}")
    else:
        parts.append(", ".join(map(str, folders)))
    return "; ".join(parts)


def _seeds(row: Row) -> str:
    return f"{len(row.results)} seed{'s' * (len(row.results) > 1)}"


def percent(fraction: float | None) -> str:
    """A figure as printed."""
    return NONE if fraction is None else f"{100 * fraction:.2f}"


def best(table: RunsTable, column: Column) -> str | None:
    """The best of our figures as printed; None with fewer than two rows, of which neither is best."""
    values = [value for row in table.rows if (value := column.of(row.mean)) is not None]
    return percent(max(values)) if values and len(table.rows) > 1 else None


# Lines of cells, as they are printed


@dataclass(frozen=True)
class Cell:
    """A figure as printed, its deviation over seeds if it has one, and whether it is the best of its column."""

    figure: str
    sd: str | None = None
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row that was run, one that was not, or what was published for either.

    Attributes:
        kind: ``run``, ``not run`` or ``published``.
        block: the rows it belongs to.
        number: its place among those that were run, from 1.
        settings: what tells it from others of its block.
        whose: number of seeds, or `kind`.
        cells: one for each column.
    """

    kind: str
    block: Block
    number: int | None = None
    settings: str = ""
    whose: str
    cells: tuple[Cell, ...]

    @property
    def network(self) -> str:
        """Its name."""
        return self.block.network

    @property
    def resampling(self) -> str:
        """Of the training beats."""
        return self.block.resampling

    @property
    def weights(self) -> str:
        """What it started from."""
        return "scratch" if self.block.arm == SCRATCH else self.block.arm

    @property
    def has_sd(self) -> bool:
        """Whether it is of several seeds."""
        return any(cell.sd is not None for cell in self.cells)


def _lines(table: RunsTable, columns: Sequence[Column]) -> list[Line]:
    tops = [best(table, column) for column in columns]
    numbers = itertools.count(1)
    lines = []
    for block in table.blocks:
        for row in block.rows:
            cells = []
            for column, top in zip(columns, tops, strict=True):
                figure, spread = percent(column.of(row.mean)), column.of(row.sd)
                cells.append(Cell(figure, None if spread is None else percent(spread), figure == top))
            lines.append(
                Line(
                    kind="run",
                    block=block,
                    number=next(numbers),
                    settings=row.settings,
                    whose=_seeds(row),
                    cells=tuple(cells),
                )
            )
        if not block.rows:
            nothing = tuple(Cell(NONE) for _ in columns)
            lines.append(Line(kind=NOT_RUN, block=block, whose=NOT_RUN, cells=nothing))
        if block.published:
            theirs = tuple(Cell(percent(column.of(block.published))) for column in columns)
            lines.append(Line(kind="published", block=block, whose="published", cells=theirs))
    return lines


SHORT = {"precision": "prec.", "recall": "rec."}
"""Names of columns where there is little room."""

STYLES = {"run": "", NOT_RUN: "yellow", "published": "dim"}


# Terminal


def terminal(collection: Collection) -> RenderableType:
    """Tables for `rich`."""
    parts: list[RenderableType] = []
    for table in collection.tables:
        parts += [Text(title(table), style="bold"), Text()]
        for columns in grids(table):
            parts += _rich_grids(table, columns)
        rows = Table.grid(padding=(0, 1, 0, 0))
        for number, row in enumerate(legend(table), start=1):
            rows.add_row(Text(str(number), style="bold"), Text(row, overflow="fold"))
        if table.rows:
            parts += [rows, Text()]
        parts += [Text(note, style="bold red" if note == SYNTHETIC_WARNING else "dim") for note in about(table)]
        parts += [Text()]
    parts += [Text(remark, style="yellow", overflow="fold") for remark in collection.remarks]
    return Group(*parts)


def _rich_grids(table: RunsTable, columns: Sequence[Column]) -> Iterator[RenderableType]:
    """The header, then a grid for each resampling below its name, for which a column would be too much in 80."""
    lines = _lines(table, columns)
    yield _rich_grid(table, columns, lines, show_header=True)
    for resampling in dict.fromkeys(line.resampling for line in lines):
        grid = _rich_grid(table, columns, lines, show_header=False)
        before = None
        for line in (line for line in lines if line.resampling == resampling):
            labels = [line.network, *[line.weights] * (table.task == "mi")]
            grid.add_row(
                Text(str(line.number or ""), style="bold"),
                *(Text("" if line.block is before else label, style="bold") for label in labels),
                Text(line.whose, style=STYLES[line.kind]),
                *(Text(cell.figure[:5], style="bold green" if cell.best else STYLES[line.kind]) for cell in line.cells),
            )
            before = line.block
            if line.has_sd:
                spread = (Text(cell.sd or "", style="dim") for cell in line.cells)
                grid.add_row(Text(), *(Text() for _ in labels), Text("± sd", style="dim", justify="right"), *spread)
        yield Text(f"resampling {resampling}", style="italic")
        yield grid
    yield Text()


def _rich_grid(table: RunsTable, columns: Sequence[Column], lines: Sequence[Line], *, show_header: bool) -> Table:
    # Widths are told, so that all grids of a table are alike; box and no padding: one space between columns.
    grid = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, show_header=show_header)
    grid.add_column("#", justify="right", vertical="bottom", width=2)
    grid.add_column("network", vertical="bottom", no_wrap=True, width=max(7, *(len(line.network) for line in lines)))
    if table.task == "mi":
        grid.add_column("weights", vertical="bottom", no_wrap=True, width=max(len(line.weights) for line in lines))
    grid.add_column("", vertical="bottom", width=9)
    for column in columns:
        grid.add_column(_rich_header(column), justify="right", no_wrap=True, vertical="bottom", width=5)
    return grid


def _rich_header(column: Column) -> str:
    """In two lines of five characters."""
    broken = SHORT | {"macro-F1": "macro\nF1", "F1 of P, R": "F1 of\nP, R"}
    name = broken.get(column.name, column.name)
    if column.group == "overall":
        return name if "\n" in name else f"macro\n{name}"
    figure = column.group.partition(" ")[0]
    return f"{broken.get(figure, figure)}\n{name}"


# Markdown and LaTeX


def _labels(table: RunsTable) -> dict[str, Callable[[Line], str]]:
    """The columns that name a line."""
    labels: dict[str, Callable[[Line], str]] = {
        "network": lambda line: line.network,
        "resampling": lambda line: line.resampling,
    }
    if table.task == "mi":
        labels["weights"] = lambda line: line.weights
    if any(row.settings for row in table.rows):
        labels["settings"] = lambda line: line.settings
    return labels | {"figures": lambda line: line.whose}


def markdown(collection: Collection) -> str:
    """Tables for GitHub and the like."""
    parts = []
    for table in collection.tables:
        parts.append(f"## {_markdown_text(title(table))}")
        labels = _labels(table)
        for columns in grids(table):
            names = [*labels, *(_long_name(column) for column in columns)]
            rows = [names, ["---"] * len(labels) + ["---:"] * len(columns)]
            for line in _lines(table, columns):
                # Ours are what the eye should find; the published figures stand back.
                mark = "{}" if line.kind == "run" else "*{}*"
                figures = [
                    "–" if cell.figure == NONE else mark.format(_bold(cell.figure, cell.best) + _plus_minus(cell.sd))
                    for cell in line.cells
                ]
                told = [_markdown_text(label(line)) for label in labels.values()]
                rows.append([*told[:-1], mark.format(told[-1]), *figures])
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        if table.rows:
            parts.append("\n".join(f"{n}. {_markdown_text(text)}" for n, text in enumerate(legend(table), 1)))
        parts.append("\n".join(f"- {_markdown_text(note)}" for note in about(table)))
    if collection.remarks:
        parts.append("\n".join(f"- {_markdown_text(remark)}" for remark in collection.remarks))
    return "\n\n".join(parts) + "\n"


def _plus_minus(sd: str | None) -> str:
    return "" if sd is None else f" ± {sd}"


def _long_name(column: Column) -> str:
    if column.group.endswith("by class"):
        return f"{column.group.partition(' ')[0]} {column.name}"
    return f"MI {column.name}" if column.group == "MI" else column.name


def _bold(figure: str, is_best: bool) -> str:
    return f"**{figure}**" if is_best else figure


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|*_`<>])", r"\\\1", text)


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "–": "--", "→": r"$\to$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''",
}  # fmt: skip


def _latex_text(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def latex(collection: Collection) -> str:
    """A ``table*`` for each table; needs ``booktabs``. Nine columns fit the text of an ``article``."""
    parts = [r"% needs \usepackage{booktabs}"]
    for table in collection.tables:
        caption = " ".join(_latex_text(text) for text in (f"{title(table)}.", *about(table)))
        settings = [f"{n}: {row.settings}" for n, row in enumerate(table.rows, start=1) if row.settings]
        comments = [f"% {n} {text}" for n, text in enumerate(legend(table), start=1)]
        parts.append(
            "\n".join(
                [
                    *comments,
                    r"\begin{table*}",
                    rf"\caption{{{caption}}}",
                    r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
                    "\n\n\\medskip\n".join(_tabular(table, columns) for columns in grids(table)),
                    *[f"\n\\medskip\n{_latex_text('. '.join(settings))}."] * bool(settings),
                    r"\end{table*}",
                ]
            )
        )
    parts += [f"% {remark}" for remark in collection.remarks]
    return "\n\n".join(parts) + "\n"


def _tabular(table: RunsTable, columns: Sequence[Column]) -> str:
    numbered = any(row.settings for row in table.rows)
    labels = [*["\\#"] * numbered, "network", *["weights"] * (table.task == "mi"), ""]
    over, rules, at = [], [], len(labels) + 1
    for group in dict.fromkeys(column.group for column in columns):
        width = sum(column.group == group for column in columns)
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{_latex_text(group)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    names = [_latex_text(SHORT.get(column.name, column.name)) for column in columns]
    rows = [
        rf"\begin{{tabular}}{{{'r' * numbered}{'l' * (len(labels) - numbered)}{'r' * len(columns)}}}",
        r"\toprule",
        _latex_row([*[""] * len(labels), *over]),
        "".join(rules),
        _latex_row([*labels, *names]),
    ]
    before = None
    for line in _lines(table, columns):
        if before is None or line.resampling != before.resampling:
            # A line of its own: a column of these names would be too wide.
            heading = rf"\textit{{resampling {_latex_text(line.resampling)}}}"
            rows += [r"\midrule", rf"\multicolumn{{{len(labels) + len(columns)}}}{{l}}{{{heading}}} \\"]
        elif line.block is not before:
            rows.append(r"\addlinespace")
        told = [line.network, *[line.weights] * (table.task == "mi")]
        told = [
            *[str(line.number or "")] * numbered,
            *(_latex_text(text) if line.block is not before else "" for text in told),
        ]
        before = line.block
        mark = {"published": r"\textit{%s}"}.get(line.kind, "%s")
        figures = [
            "--" if cell.figure == NONE else (r"\textbf{%s}" if cell.best else mark) % cell.figure
            for cell in line.cells
        ]
        rows.append(_latex_row([*told, mark % line.whose, *figures]))
        if line.has_sd:
            # Below: beside it, nine columns would not fit a page.
            spread = [rf"$\pm${cell.sd}" if cell.sd is not None else "" for cell in line.cells]
            rows.append(_latex_row([*[""] * len(labels), *spread]))
    return "\n".join([*rows, r"\bottomrule", r"\end{tabular}"])


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def csv(collection: Collection) -> str:
    """`frame` as CSV: fractions with all their digits, a line for each figure."""
    text: str = frame(collection).to_csv(index=False, lineterminator="\n")
    return text


def plain(collection: Collection) -> str:
    """What `terminal` shows, without colours."""
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(terminal(collection))
    return capture.get()


FORMATS: dict[str, Callable[[Collection], str]] = {
    "terminal": plain,
    "markdown": markdown,
    "csv": csv,
    "latex": latex,
}
ENDINGS = {".txt": "terminal", ".md": "markdown", ".csv": "csv", ".tex": "latex"}


def choose_format(name: str | None, output: Path | None) -> str:
    """The format that was asked for, else the one that the file's ending means, else ``terminal``.

    Raises:
        ConfigError: the ending means none.
    """
    if name is not None or output is None:
        return name or "terminal"
    if output.suffix.lower() not in ENDINGS:
        endings = ", ".join(f"{ending} ({meant})" for ending, meant in ENDINGS.items())
        raise ConfigError(f"{output} does not say its format: end it with {endings}, or give --format")
    return ENDINGS[output.suffix.lower()]


def show(collection: Collection, format_name: str, output: Path | None) -> None:
    """Print the tables, or write them to a file.

    Args:
        collection: what `collect` returned.
        format_name: one of `FORMATS`.
        output: the file; None for standard output.

    Raises:
        DataError: the file cannot be written.
    """
    if output is not None:
        with whole_file(output) as partial:
            partial.write_text(FORMATS[format_name](collection), encoding="utf-8")
        for remark in collection.remarks:
            print(remark, file=sys.stderr)
    elif format_name == "terminal":
        Console().print(terminal(collection))
    else:
        print(FORMATS[format_name](collection), end="")
