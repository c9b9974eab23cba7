"""One model of every table that is shown: numbers, cells, rows, columns, and tables with their notes.

`ecg_lightning.report.render` turns it into terminal output, Markdown, LaTeX and HTML. Texts are data without markup
of any format; each rendering escapes them.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from markupsafe import Markup, escape

NONE = "–"  # shown for a metric that is not defined
MINUS = "−"

# What kind of cell, row or note something is; each rendering has its own look for it.
Mark = Literal[
    "", "plain", "best", "significant", "better", "worse", "published", "missing", "total", "caution", "warning"
]


def clean(text: object) -> str:
    """A text in one line: line breaks become spaces, other control and direction characters a replacement mark."""
    words = str(text) if str(text).isprintable() else " ".join(str(text).split())
    return "".join("\ufffd" if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs") else one for one in words)


@dataclass(frozen=True)
class Number:
    """A number and how it is printed; in HTML ``<data value="0.94264…" data-figure="test.macro_f1">94.26</data>``."""

    value: float  # with all its digits
    digits: int | None = None  # after the point; None: as it is, with commas between thousands
    _: KW_ONLY
    factor: float = 1  # 100: percent
    signed: bool = False  # whether a plus is printed
    place: str = ""  # in scores.json, such as test.per_class.V.f1
    computed: bool = False  # for the page: data-computed instead of data-figure

    def __str__(self) -> str:
        if self.digits is None:
            return f"{self.value:,}"
        shown = round(self.factor * self.value, self.digits) or 0.0  # no minus before a zero
        return f"{shown:{'+' if self.signed and shown else ''}.{self.digits}f}"

    def __html__(self) -> Markup:
        words, origin = str(self).replace("-", MINUS), "computed" if self.computed else "figure"
        element = Markup('<data value="{}" data-{}="{}">{}</data>')
        return element.format(repr(self.value), origin, clean(self.place), words) if self.place else escape(words)

    def rounded(self, digits: int) -> "Number":
        """The same number with other digits."""
        return replace(self, digits=digits)


@dataclass(frozen=True)
class Cell:
    """A cell; its spread is the standard deviation over seeds, else the interval."""

    content: Number | str = NONE
    _: KW_ONLY
    sd: Number | None = None
    interval: tuple[Number, Number] | None = None
    below: Number | str = ""  # in small below the content
    mark: Mark = ""
    swatch: int | None = None  # index of the class whose colour is shown before it (HTML)
    shade: float | None = None  # share of the cell's colour, from 0 to 1 (HTML)
    link: str = ""  # address of its content (HTML)

    def spread(self, *, compact: bool = False) -> str:
        """``± 0.56`` or ``41.20–63.11``, compact ``0.56`` or ``41–63``; empty without either."""
        if self.sd is not None:
            return str(self.sd) if compact else f"± {self.sd}"
        if self.interval is None:
            return ""
        ends = [str(end.rounded(0 if end.factor == 100 else 2)) if compact else str(end) for end in self.interval]
        return (" to " if "-" in "".join(ends) else "–").join(ends)


@dataclass(frozen=True)
class Column:
    """A column; the first ones of a table hold texts."""

    name: str  # in full, as it is understood without its group
    _: KW_ONLY
    group: str = ""  # what it has in common with its neighbours
    short: str = ""  # its name below the group
    head: str = ""  # the name in lines of few characters, for the terminal
    about: str = ""  # what it means, where the name is a symbol
    text: bool = False  # aligned left; repeated texts are shown once
    wrap: bool = False  # whether its texts may take several lines
    best: bool = False  # whether the largest number is marked, see `mark_best`


class Row:
    """A row: a cell, or the content of one, for each column; the section it belongs to, and its kind."""

    def __init__(self, cells: Iterable[Cell | Number | str], *, section: str = "", mark: Mark = "") -> None:
        self.cells = [one if isinstance(one, Cell) else Cell(one) for one in cells]
        self.section, self.mark = section, mark


@dataclass(frozen=True)
class Note:
    """A sentence below tables; `short` is what a LaTeX caption shows of an entry of a legend."""

    text: str
    mark: Mark = ""
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; compact spreads make ten columns of numbers fit 80 characters. Rows of a section are neighbours."""

    title: str = ""
    columns: Sequence[Column]
    rows: Sequence[Row]
    header: bool = True
    compact: bool = False

    @property
    def n_labels(self) -> int:
        """How many columns of texts come first."""
        return next((at for at, column in enumerate(self.columns) if not column.text), len(self.columns))

    def spread_name(self, row: Row) -> str:
        """What is shown below the numbers of a row: ``± sd``, ``95 %`` or nothing."""
        if any(cell.sd for cell in row.cells):
            return "± sd"
        return "95 %" if any(cell.interval for cell in row.cells) else ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Tables below one heading, a legend of their numbered rows, and notes on how to read them."""

    title: str = ""
    tables: Sequence[Table] = ()
    legend: Sequence[Note] = ()
    notes: Sequence[Note] = ()


def mark_best(columns: Sequence[Column], rows: Iterable[Row]) -> list[Row]:
    """The rows, with the largest number of each column that asks for it marked; by what is printed, unless all equal.

    Rows with a mark, such as published ones, take no part.
    """
    rows = list(rows)
    plain = [row for row in rows if not row.mark]
    for at, column in enumerate(columns):
        numbers = [content for row in plain if isinstance(content := row.cells[at].content, Number)]
        if column.best and len({str(number) for number in numbers}) > 1:
            top = str(max(numbers, key=lambda number: number.value))
            for row in plain:
                if str(row.cells[at].content) == top:
                    row.cells[at] = replace(row.cells[at], mark="best")
    return rows


def inline(table: Table) -> str:
    """A table of two columns as one sentence: ``accuracy 97.63 (96.80–98.31), κ 0.94``."""
    return ", ".join(
        f"{name.content} {value.content}{f' ({value.spread()})' if value.spread() else ''}"
        for name, value in (row.cells for row in table.rows)
    )


def duration(seconds: float | None) -> str:
    """Seconds as ``1h02m``, ``3m07s`` or ``9s``; `NONE` of None."""
    if seconds is None:
        return NONE
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
