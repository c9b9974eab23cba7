"""What `published_table` collected, as text: for the terminal, in Markdown, in LaTeX, in CSV.

All of them print percent but CSV, which keeps fractions. On the terminal a table fits 80 columns.
"""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.report.layout import NOT_RUN, Column, Line, about, grids, legend, lines, title
from ecg_lightning.report.tables import NONE
from ecg_lightning.report.wording import SYNTHETIC_WARNING
from ecg_lightning.runs.collect import Collection, RunsTable, frame

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
    """The header, then a grid for each section below its name, for which a column would be too much in 80."""
    shown = lines(table, columns)
    yield _rich_grid(columns, shown, show_header=True)
    for section, of_section in groupby(shown, lambda line: line.section):
        grid = _rich_grid(columns, shown, show_header=False)
        before: list[str] = []
        for line in of_section:
            labels = line.labels()
            grid.add_row(
                Text(str(line.number or ""), style="bold"),
                *(Text("" if labels == before else label, style="bold") for label in labels),
                Text(line.whose, style=STYLES[line.kind]),
                *(Text(cell.figure[:5], style="bold green" if cell.best else STYLES[line.kind]) for cell in line.cells),
            )
            before = labels
            if line.spread:
                spread = (Text(cell.below, style="dim") for cell in line.cells)
                kind = Text(line.spread, style="dim", justify="right")
                grid.add_row(Text(), *(Text() for _ in labels), kind, *spread)
        yield Text(section, style="italic")
        yield grid
    yield Text()


def _rich_grid(columns: Sequence[Column], shown: Sequence[Line], *, show_header: bool) -> Table:
    # Widths are told, so that all grids of a table are alike; box and no padding: one space between columns.
    grid = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, show_header=show_header)
    grid.add_column("#", justify="right", vertical="bottom", width=2)
    for name, *labels in zip(("network", "weights"), *(line.labels() for line in shown), strict=False):
        grid.add_column(name, vertical="bottom", no_wrap=True, width=max(map(len, (name, *labels))))
    grid.add_column("", vertical="bottom", width=max(len(line.whose) for line in shown))
    for column in columns:
        width = max(5, *(len(line.cells[columns.index(column)].below) for line in shown))
        grid.add_column(column.head, justify="right", no_wrap=True, vertical="bottom", width=width)
    return grid


# Markdown and LaTeX


def markdown(collection: Collection) -> str:
    """Tables for GitHub and the like."""
    parts = []
    for table in collection.tables:
        parts.append(f"## {_markdown_text(title(table))}")
        told_apart = any(row.settings for row in table.rows)
        for columns in grids(table):
            shown = lines(table, columns)
            labels = [*shown[0].names, *["settings"] * told_apart, "figures"]
            rows = [[*labels, *(column.full for column in columns)], ["---"] * len(labels) + ["---:"] * len(columns)]
            for line in shown:
                # Ours are what the eye should find; the published figures stand back.
                mark = "{}" if line.kind == "run" else "*{}*"
                figures = [
                    "–"
                    if cell.figure == NONE
                    else mark.format(f"{_bold(cell.figure, cell.best)} {cell.spread}".strip())
                    for cell in line.cells
                ]
                told = map(_markdown_text, [*line.names.values(), *[line.settings] * told_apart])
                rows.append([*told, mark.format(line.whose), *figures])
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        if table.rows:
            parts.append("\n".join(f"{n}. {_markdown_text(text)}" for n, text in enumerate(legend(table), 1)))
        parts.append("\n".join(f"- {_markdown_text(note)}" for note in about(table)))
    if collection.remarks:
        parts.append("\n".join(f"- {_markdown_text(remark)}" for remark in collection.remarks))
    return "\n\n".join(parts) + "\n"


def _bold(figure: str, is_best: bool) -> str:
    return f"**{figure}**" if is_best else figure


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|*_`<>])", r"\\\1", text)


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "–": "--", "→": r"$\to$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "κ": r"$\kappa$",
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
    shown = lines(table, columns)
    numbered = any(row.settings for row in table.rows)
    labels = [*["\\#"] * numbered, *(name for name in shown[0].names if name in ("network", "weights")), ""]
    over, rules, at = [], [], len(labels) + 1
    for group, of_group in groupby(column.group for column in columns):
        width = len(list(of_group))
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{_latex_text(group)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    rows = [
        rf"\begin{{tabular}}{{{'r' * numbered}{'l' * (len(labels) - numbered)}{'r' * len(columns)}}}",
        r"\toprule",
        _latex_row([*[""] * len(labels), *over]),
        "".join(rules),
        _latex_row([*labels, *(_latex_text(column.name) for column in columns)]),
    ]
    for section, of_section in groupby(shown, lambda line: line.section):
        # A line of its own: a column of these names would be too wide.
        heading = rf"\textit{{{_latex_text(section)}}}"
        rows += [r"\midrule", rf"\multicolumn{{{len(labels) + len(columns)}}}{{l}}{{{heading}}} \\"]
        before: list[str] = []
        for line in of_section:
            told = line.labels()
            if before and told != before:
                rows.append(r"\addlinespace")
            named = (_latex_text(text) if told != before else "" for text in told)
            before = told
            mark = {"published": r"\textit{%s}"}.get(line.kind, "%s")
            figures = [
                "--" if cell.figure == NONE else (r"\textbf{%s}" if cell.best else mark) % cell.figure
                for cell in line.cells
            ]
            rows.append(_latex_row([*[str(line.number or "")] * numbered, *named, mark % line.whose, *figures]))
            if line.spread:
                # Below: beside it, nine columns would not fit a page.
                spread = [
                    rf"$\pm${cell.sd}" if cell.sd is not None else cell.below.replace("-", "--") for cell in line.cells
                ]
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
        with atomic_write(output) as partial:
            partial.write_text(FORMATS[format_name](collection), encoding="utf-8")
        for remark in collection.remarks:
            print(remark, file=sys.stderr)
    elif format_name == "terminal":
        Console().print(terminal(collection))
    else:
        print(FORMATS[format_name](collection), end="")
