"""One model of every table that is shown: numbers, cells, rows, columns, and tables with their notes.

`ecg_lightning.report.render` turns it into terminal output, Markdown, LaTeX and HTML. Texts are data: they hold no
markup of any format, and each rendering escapes them.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from markupsafe import Markup, escape

NONE = "–"
"""What is shown for a metric that is not defined."""

MINUS = "−"

Mark = Literal[
    "", "plain", "best", "significant", "better", "worse", "published", "missing", "total", "caution", "warning"
]
"""What a cell, a row or a note is, beside its content; each rendering has its own look for it."""


def clean(text: object) -> str:
    """A text in one line: line breaks become spaces, other control and direction characters a replacement mark."""
    words = " ".join(str(text).split(" ")) if str(text).isprintable() else " ".join(str(text).split())
    return "".join("\ufffd" if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp", "Cs") else one for one in words)


@dataclass(frozen=True)
class Number:
    """A number, how it is printed, and where it stands.

    In HTML it is ``<data value="0.94264…" data-figure="test.macro_f1">94.26</data>``: what is read off a page can be
    looked up in ``scores.json``; ``data-computed`` where it is computed for the page.
    """

    value: float  # with all its digits
    digits: int | None = None  # after the point; None: as it is, with commas between thousands
    _: KW_ONLY
    factor: float = 1  # 100: percent
    signed: bool = False  # whether a plus is printed
    place: str = ""  # in scores.json, such as test.per_class.V.f1
    computed: bool = False

    def __str__(self) -> str:
        if self.digits is None:
            return f"{self.value:,}"
        shown = round(self.factor * self.value, self.digits) or 0.0  # no minus before a zero
        return f"{shown:{'+' if self.signed and shown else ''}.{self.digits}f}"

    def __html__(self) -> Markup:
        words = str(self).replace("-", MINUS)
        if not self.place:
            return escape(words)
        origin = "computed" if self.computed else "figure"
        element = Markup('<data value="{}" data-{}="{}">{}</data>')
        return element.format(repr(self.value), origin, clean(self.place), words)

    def rounded(self, digits: int) -> "Number":
        """The same number with other digits."""
        return replace(self, digits=digits)


@dataclass(frozen=True)
class Cell:
    """A cell; its spread is the standard deviation over seeds, else the interval."""

    content: Number | str = NONE  # NONE: not defined
    _: KW_ONLY
    sd: Number | None = None
    interval: tuple[Number, Number] | None = None
    below: Number | str = ""  # in small below the content
    mark: Mark = ""
    swatch: int | None = None  # index of the class whose colour stands before it (HTML)
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
    text: bool = False  # set left; repeated texts are shown once
    wrap: bool = False  # whether its texts may take several lines
    best: bool = False  # whether the largest number is marked, see `mark_best`


@dataclass(frozen=True)
class Row:
    """A row: a cell (or its content) for each column, the section it stands in, and what it is."""

    cells: Sequence[Cell]
    section: str
    mark: Mark

    def __init__(self, cells: Iterable[Cell | Number | str], *, section: str = "", mark: Mark = "") -> None:
        wrapped = tuple(one if isinstance(one, Cell) else Cell(one) for one in cells)
        for name, value in (("cells", wrapped), ("section", section), ("mark", mark)):
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class Note:
    """A sentence below tables; `short` is what a caption has room for of a legend's entry."""

    text: str
    mark: Mark = ""
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """Tables below one heading, what each numbered row of them is, and how to read them."""

    title: str = ""
    tables: Sequence["Table"] = ()
    legend: Sequence[Note] = ()
    notes: Sequence[Note] = ()


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
        """What stands below the numbers of a row: ``± sd``, ``95 %`` or nothing."""
        if any(cell.sd for cell in row.cells):
            return "± sd"
        return "95 %" if any(cell.interval for cell in row.cells) else ""


def mark_best(columns: Sequence[Column], rows: Iterable[Row]) -> list[Row]:
    """The rows, with the largest number of each column that asks for it marked.

    Rows with a mark, such as published ones, take no part. What is equal as printed is equally good, and where all are
    equal none is best.
    """
    rows = list(rows)
    tops: list[str | None] = []
    for column, cells in zip(columns, zip(*(row.cells for row in rows if not row.mark), strict=True), strict=False):
        numbers = [cell.content for cell in cells if isinstance(cell.content, Number)] if column.best else []
        differ = len({str(number) for number in numbers}) > 1
        tops.append(str(max(numbers, key=lambda number: number.value)) if differ else None)

    def marked(row: Row) -> Row:
        pairs = zip(row.cells, tops, strict=True)
        cells = (replace(cell, mark="best") if top and str(cell.content) == top else cell for cell, top in pairs)
        return Row(cells, section=row.section)

    return [marked(row) if tops and not row.mark else row for row in rows]


def inline(table: Table) -> str:
    """A table of two columns as one sentence: ``accuracy 97.63 (96.80–98.31), κ 0.94``."""
    return ", ".join(
        f"{name.content} {value.content}{f' ({value.spread()})' if value.spread() else ''}"
        for name, value, *_ in (row.cells for row in table.rows)
    )


def duration(seconds: float) -> str:
    """Seconds as ``1h02m``, ``3m07s`` or ``9s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
