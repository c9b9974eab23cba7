"""Renderings of the tables of `ecg_lightning.report.cells`: terminal, Markdown, LaTeX and HTML."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from markupsafe import Markup, escape
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Column as RichColumn
from rich.table import Table as RichTable
from rich.text import Text

from ecg_lightning.core.terminal import readable
from ecg_lightning.report.cells import NONE, Cell, Column, Mark, Number, Row, Section, Table, clean

PLAIN_HEAD = box.Box("    \n    \n -- \n" + 5 * "    \n", ascii=True)  # as rich's SIMPLE_HEAD
LONG = 20  # characters, from which on the texts of a column may be broken


def _sections(table: Table) -> Iterator[tuple[str, list[tuple[Row, bool]]]]:
    """The rows of each section, and whether those labels that are shown once repeat the row above."""
    for section, rows in groupby(table.rows, key=lambda row: row.section):
        before: list[str] | None = None
        shown = []
        for row in rows:
            labels = [clean(cell.content) for cell in row.cells[1 : table.n_labels - 1]]
            shown.append((row, labels == before))
            before = labels
        yield section, shown


# Terminal ------------------------------------------------------------------------------------------------------------

STYLES: dict[Mark, str] = {
    "": "", "best": "bold green", "significant": "bold", "better": "green", "worse": "red", "published": "dim",
    "plain": "", "missing": "yellow", "total": "bold", "caution": "yellow", "warning": "bold red",
}  # fmt: skip


class Terminal:
    """Sections for `rich`; a table that is too wide is shown as a list of its rows."""

    def __init__(self, *sections: Section) -> None:
        self.sections = sections

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield _terminal(self.sections, options)


class Output(Console):
    """Standard output; if its reader has gone, that is an error as of `print`, by which a command ends."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def show(*sections: Section) -> None:
    """Print sections to a terminal in its width, and elsewhere, where nothing breaks lines, in the width they need."""
    console = Output()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        tables = [table for section in sections for table in section.tables]
        console.width = max([80, *(_Texts(table, console.encoding).width for table in tables)])
    console.print(Terminal(*sections))


def _terminal(sections: Sequence[Section], options: ConsoleOptions) -> RenderableType:
    parts: list[RenderableType] = []
    for section in sections:
        parts += [Text(clean(section.title), style="bold")] * bool(section.title)
        for table in section.tables:
            parts += [*_rich(table, options), Text()]
        legend = RichTable.grid(padding=(0, 1, 0, 0))
        for number, note in enumerate(section.legend, start=1):
            legend.add_row(Text(str(number), style="bold"), Text(clean(note.text), overflow="fold"))
        parts += [legend, Text()] if section.legend else []
        parts += [Text(clean(note.text), style=STYLES[note.mark] if note.mark else "dim") for note in section.notes]
        parts += [Text()] if section.notes else []
    return Group(*parts)


class _Texts:
    """The texts of a table in letters of an encoding, and the columns of a terminal that they need."""

    def __init__(self, table: Table, encoding: str) -> None:
        self.lines = {id(row): list(_lines(table, row, encoding)) for row in table.rows}
        self.heads = [readable((column.head or column.name) * table.header, encoding) for column in table.columns]
        self.names = [readable(column.name, encoding) for column in table.columns]
        self.box = box.SIMPLE_HEAD if encoding.startswith("utf") else PLAIN_HEAD
        texts = [self.heads, *([text for text, _ in line] for of_row in self.lines.values() for line in of_row)]
        self.widths = [
            max(len(line) for text in column for line in text.split("\n")) for column in zip(*texts, strict=True)
        ]
        self.folds = [column.wrap and width >= LONG for column, width in zip(table.columns, self.widths, strict=True)]

    @property
    def width(self) -> int:
        """What is needed at least, with a space between columns."""
        own = [min(width, LONG) if folds else width for width, folds in zip(self.widths, self.folds, strict=True)]
        return sum(own) + len(own) - 1


def _rich(table: Table, options: ConsoleOptions) -> Iterator[RenderableType]:
    """The header, then a grid for each section below its name, for which a column would be too much in 80."""
    if table.title:
        yield Text(clean(table.title), style="bold")
    texts = _Texts(table, options.encoding)
    fits, header = texts.width <= options.max_width, table.header
    for section, rows in _sections(table):
        if section:
            if header and fits:
                yield _grid(texts, table.columns, header=True)
            header = False
            yield Text(clean(section), style="italic")
        if not fits:
            yield from _listed(table, texts, rows)
            continue
        grid = _grid(texts, table.columns, header=header)
        last: Mark = ""
        for row, repeats in rows:
            if row.mark == "total" != last and grid.row_count:
                grid.add_section()
            last = row.mark
            for number, line in enumerate(texts.lines[id(row)]):
                once = range(1, table.n_labels - 1) if repeats and not number else ()
                grid.add_row(*(Text("" if at in once else text, style=style) for at, (text, style) in enumerate(line)))
        yield grid


def _listed(table: Table, texts: _Texts, rows: Sequence[tuple[Row, bool]]) -> Iterator[RenderableType]:
    """Rows one below the other: their labels, then a line for each number, with its name in full and its spread."""
    n = max(1, table.n_labels)
    for row, _ in rows:
        line, *below = ([(text.replace("\n", ""), style) for text, style in one] for one in texts.lines[id(row)])
        yield Text(" ".join(text for text, _ in line[:n] if text), style=f"bold {line[0][1]}")
        values = RichTable.grid(*(RichColumn(overflow="fold") for _ in range(3)), padding=(0, 1))
        spreads = below[0] if below else [("", "")] * len(line)
        for name, (text, style), (spread, _) in zip(texts.names[n:], line[n:], spreads[n:], strict=True):
            if text:
                values.add_row(Text(f"  {name}"), Text(text, style=style), Text(spread, style="dim"))
        yield values


def _lines(table: Table, row: Row, encoding: str) -> Iterator[list[tuple[str, str]]]:
    """The text and style of each cell of a row, and those of its spreads where there are any."""

    def shown(text: str) -> str:
        return readable(text.replace("–", "-").replace("−", "-"), encoding)

    pairs = zip(table.columns, row.cells, strict=True)
    yield [(shown(_broken(column, cell)), STYLES[cell.mark or row.mark]) for column, cell in pairs]
    if name := table.spread_name(row):
        spreads = [(shown(cell.spread(compact=table.compact)), "dim") for cell in row.cells]
        spreads[max(0, table.n_labels - 1)] = (name, "dim")
        yield spreads
    elif any(cell.below for cell in row.cells):
        yield [(shown(clean(cell.below)), "dim") for cell in row.cells]


def _broken(column: Column, cell: Cell) -> str:
    text = clean(cell.content)
    if column.best and text == "100.00":
        return "100.0"  # a sixth character in every column would not fit 80
    # A name such as logistic_regression takes two lines, or the numbers next to it would be cut.
    long_name = column.text and column.wrap and len(text) > 10 and not {" ", "/"} & {*text}  # a path stays whole
    return text.replace("_", "_\n", 1) if long_name else text


def _grid(texts: _Texts, columns: Sequence[Column], *, header: bool) -> RichTable:
    # Widths are given, so that all grids of a table are alike; the box puts one space between columns.
    grid = RichTable(box=texts.box, padding=0, show_edge=False, show_header=header)
    for column, head, width, folds in zip(columns, texts.heads, texts.widths, texts.folds, strict=True):
        fixed = {"overflow": "fold"} if folds else {"no_wrap": True, "width": width}
        justify = "left" if column.text else "right"
        grid.add_column(Text(head), justify=justify, vertical="bottom" if header else "top", **fixed)  # type: ignore[arg-type]
    return grid


# Markdown and LaTeX --------------------------------------------------------------------------------------------------


def markdown(*sections: Section, remarks: Sequence[str] = ()) -> str:
    """For GitHub and the like; a section of a table is a column."""
    parts = []
    for section in sections:
        parts += [f"## {_markdown(section.title)}"] * bool(section.title)
        for table in section.tables:
            sectioned, n = any(row.section for row in table.rows), table.n_labels
            heads = [""] * sectioned + [_markdown(column.name) for column in table.columns]
            lines = [heads, ["---"] * (sectioned + n) + ["---:"] * (len(table.columns) - n)]
            for row in table.rows:
                cells = [_markdown_cell(cell, row.mark if at >= n - 1 else "") for at, cell in enumerate(row.cells)]
                lines.append([_markdown(row.section)] * sectioned + cells)
            parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
        for mark, notes in (("{}. ", section.legend), ("- ", section.notes)):
            shown = (f"{mark.format(n)}{_markdown(note.text)}" for n, note in enumerate(notes, start=1))
            parts += ["\n".join(shown)] if notes else []
    parts += ["\n".join(f"- {_markdown(remark)}" for remark in remarks)] if remarks else []
    return "\n\n".join(parts) + "\n"


def _markdown(text: object) -> str:
    return re.sub(r"([\\|*_`<>\[\]&#~$])", r"\\\1", clean(text))


def _markdown_cell(cell: Cell, of_row: Mark) -> str:
    text = _markdown(cell.content)
    if text in ("", NONE):
        return text
    # Own results stand out; published ones are in italics.
    shown = f"**{text}**" if cell.mark == "best" else text
    spread = f" ({cell.spread()})" if cell.interval and cell.sd is None else f" {cell.spread()}".rstrip()
    return f"*{shown}{spread}*" if of_row in ("published", "missing") else f"{shown}{spread}"


LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "–": "--", "→": r"$\to$",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "κ": r"$\kappa$", "−": "$-$",
    "[": "{[}", "*": "{*}",  # optional arguments of the \\ before a row
}  # fmt: skip


def _latex(text: object) -> str:
    return "".join(LATEX.get(character, character) for character in clean(text))


def latex(*sections: Section, remarks: Sequence[str] = ()) -> str:
    """A ``table*`` for each section; needs ``booktabs``. Nine columns fit the text of an ``article``."""
    parts = [r"% needs \usepackage{booktabs}"]
    for section in sections:
        caption = " ".join(_latex(text) for text in (f"{section.title}.", *(note.text for note in section.notes)))
        short = [f"{n}: {note.short}" for n, note in enumerate(section.legend, start=1) if note.short]
        lines = [f"% {n} {clean(note.text)}" for n, note in enumerate(section.legend, start=1)]
        lines += [r"\begin{table*}", rf"\caption{{{caption}}}", r"\centering\scriptsize\setlength{\tabcolsep}{3pt}"]
        lines.append("\n\n\\medskip\n".join(map(_tabular, section.tables)))
        lines += [f"\n\\medskip\n{_latex('. '.join(short))}."] * bool(short) + [r"\end{table*}"]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *(f"% {clean(remark)}" for remark in remarks)]) + "\n"


def _tabular(table: Table) -> str:
    n = table.n_labels
    over, rules, at = [""] * n, "", n + 1
    for group, columns in groupby(table.columns[n:], key=lambda column: column.group):
        width = len(list(columns))
        over.append(rf"\multicolumn{{{width}}}{{c}}{{{_latex(group)}}}")
        rules += rf"\cmidrule(lr){{{at}-{at + width - 1}}}"
        at += width
    lines = [rf"\begin{{tabular}}{{{'l' * n}{'r' * (len(table.columns) - n)}}}", r"\toprule", _latex_row(over), rules]
    lines.append(_latex_row([_latex(column.short or column.name) for column in table.columns]))
    for section, rows in _sections(table):
        # A line of its own: a column of these names would be too wide.
        heading = rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\textit{{{_latex(section)}}}}} \\"
        lines += [r"\midrule", *[heading] * bool(section)]
        for number, (row, repeats) in enumerate(rows):
            cells = [_latex_cell(cell, row.mark if at >= n - 1 else "") for at, cell in enumerate(row.cells)]
            lines += [r"\addlinespace"] * bool(number and n > 2 and not repeats)
            lines.append(_latex_row([*cells[:1], *([""] * (n - 2) if repeats else cells[1 : n - 1]), *cells[n - 1 :]]))
            if table.spread_name(row):
                # Below the numbers: next to them, nine columns would not fit a page.
                pairs = ((cell.sd, cell.spread(compact=True)) for cell in row.cells)
                lines.append(_latex_row([rf"$\pm${text}" if sd else text.replace("–", "--") for sd, text in pairs]))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _latex_cell(cell: Cell, of_row: Mark) -> str:
    text = _latex(cell.content)
    if text in ("", "--"):
        return text
    return rf"\textbf{{{text}}}" if cell.mark == "best" else rf"\textit{{{text}}}" if of_row == "published" else text


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


# HTML ----------------------------------------------------------------------------------------------------------------


def html(table: Table, label: str = "", *, look: str = "") -> Markup:
    """A table that scrolls by itself where there is no room; `label` names it where it has no title."""
    caption = Markup("<caption>{}</caption>").format(clean(table.title)) if table.title else ""
    body, last = Markup("<tbody>"), ""
    for row in table.rows:
        if row.mark == "total" != last:
            body += Markup('</tbody><tbody class="sum">')
        last = row.mark
        pairs = enumerate(zip(row.cells, table.columns, strict=True))
        cells = Markup("").join(_html_cell(cell, column, is_first=at == 0) for at, (cell, column) in pairs)
        body += Markup("<tr>{}</tr>\n").format(cells)
    head = _head(table.columns)
    if any(column.group for column in table.columns):
        over, alone = Markup(""), Markup('<th scope="col" rowspan="2">{}</th>')
        for name, of in groupby(table.columns, key=lambda column: column.group):
            if name:
                over += Markup('<th scope="colgroup" colspan="{}">{}</th>').format(len(list(of)), name)
            else:
                over += Markup("").join(alone.format(column.name) for column in of)
        head = over + Markup("</tr><tr>") + _head([column for column in table.columns if column.group])
    look = look or "confusion" * any(cell.shade is not None for row in table.rows for cell in row.cells)
    return Markup(
        '<div class="scroll" role="region" aria-label="{}" tabindex="0"><table{}>{}<thead><tr>{}</tr></thead>\n'
        "{}</tbody></table></div>"
    ).format(table.title or label, Markup(' class="{}"').format(look) if look else "", caption, head, body)


def swatch(look: str, name: object) -> Markup:
    """A name after the colour of its class."""
    return Markup('<span class="swatch {}" aria-hidden="true"></span>{}').format(look, name)


def _head(columns: Sequence[Column]) -> Markup:
    cells = Markup("")
    for column in columns:
        name, about = column.short or column.name, column.about or (column.name if column.short else "")
        shown = Markup('<abbr title="{}">{}</abbr>').format(about, name) if about and not column.group else escape(name)
        cells += Markup('<th scope="col"{}>{}</th>').format(Markup(' class="text"') if column.text else "", shown)
    return cells


def _html_cell(cell: Cell, column: Column, *, is_first: bool) -> Markup:
    content, small = (one if isinstance(one, Number) else clean(one) for one in (cell.content, cell.below))
    if content == NONE:
        content = Markup('<span class="none">–</span>')
    if cell.swatch is not None:
        content = swatch(f"c{cell.swatch}", content)
    if cell.link:
        content = Markup('<a href="{}">{}</a>').format(cell.link, content)
    if cell.sd is not None:
        small = Markup("± {}").format(cell.sd)
    elif cell.interval is not None:
        between = " to " if cell.interval[0].value < 0 else "–"
        small = Markup('<span class="nobreak">{}{}{}</span>').format(cell.interval[0], between, cell.interval[1])
    more = Markup("<small>{}</small>").format(small) if small != "" else ""
    looks = [cell.mark] * (cell.mark in ("best", "significant")) + ["wrap"] * column.wrap + ["text"] * column.text
    attributes = Markup(' class="{}"').format(" ".join(looks)) if looks else Markup("")
    if cell.shade is not None:
        attributes += Markup(' style="--share:{}"').format(f"{cell.shade:.3f}")
    tag = Markup('<th scope="row"{}>{}{}</th>') if is_first else Markup("<td{}>{}{}</td>")
    return tag.format(attributes, content, more)
