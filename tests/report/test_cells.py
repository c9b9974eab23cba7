"""One table in every format: nothing of it is lost, and a name is never markup."""

import re
from collections.abc import Iterator

import pytest
from rich.console import Console
from rich.text import Text

from ecg_lightning.report import render
from ecg_lightning.report.cells import NONE, Cell, Column, Note, Number, Row, Section, Table, clean, mark_best

HOSTILE = '<script>[red]"a"|b_c\\{$}%#&~^\n\x1b[31m\u202e`*'


def printed(*sections: Section, width: int = 80) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render.Terminal(*sections))
    return capture.get()


@pytest.fixture
def table() -> Table:
    """Two runs, one of them of several seeds, what was published for them and what was not run."""
    columns = [Column("#", text=True), Column("network", text=True, wrap=True), Column("results", text=True)]
    columns += [Column(f"F1 of {name}", group="F1", short=name, head=f"F1\n{name}", best=True) for name in "NS"]

    def percent(value: float, place: str = "") -> Number:
        return Number(value, 2, factor=100, place=place)

    rows = [
        Row([Cell("1"), Cell("cnet"), Cell("3 seeds"), Cell(percent(0.91), sd=percent(0.0123)), Cell(percent(0.5))]),
        Row(["2", HOSTILE, "1 seed", Cell(percent(0.9, "test.<x>"), interval=(percent(0.8), percent(0.95))), Cell()]),
        Row([Cell(), Cell("cnet"), Cell("published"), Cell(percent(0.99)), Cell(percent(0.98))], mark="published"),
    ]  # fmt: skip
    sectioned = [Row(row.cells, section="context: none", mark=row.mark) for row in mark_best(columns, rows)]
    return Table(title="A table", columns=columns, rows=sectioned)


@pytest.mark.parametrize("width", [32, 40, 80])
def test_no_number_is_lost_in_a_narrow_terminal(table: Table, width: int) -> None:
    text = printed(Section(tables=[table]), width=width)
    assert max(map(len, text.splitlines())) <= width
    for number in ("91.00", "1.23", "50.00", "90.00", "80.00", "95.00", "99.00", "98.00"):
        assert number.rstrip("0") in text


def test_a_file_gets_lines_as_long_as_a_table_is_wide(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    row = [Cell(Number(10**9 + n)) for n in range(20)]
    render.show(Section(tables=[Table(columns=[Column(f"column {n}") for n in range(20)], rows=[Row(row)])]))
    assert [f"{10**9 + n:,}" for n in range(20)] in [line.split() for line in capsys.readouterr().out.splitlines()]


@pytest.fixture
def section(table: Table) -> Section:
    """The table with a legend and notes."""
    return Section(
        title=HOSTILE, tables=[table], legend=[Note(HOSTILE, short="lr=1")], notes=[Note(HOSTILE, "warning")]
    )


def numbers() -> Iterator[str]:
    yield from ("91.00", "90.00", "99.00", "98.00", "50.00")


def test_every_number_is_in_every_format(section: Section, table: Table) -> None:
    for text in (printed(section), render.markdown(section), render.latex(section), render.html(table)):
        assert all(number in text for number in numbers()), text
        assert "1.23" in text and "95" in text


def test_names_are_text_in_every_format(section: Section, table: Table) -> None:
    terminal = printed(section, width=200)
    assert "[red]" in terminal and "\x1b" not in terminal and "\u202e" not in terminal
    page = render.html(table)
    assert "<script>" not in page and "&lt;script&gt;" in page and "\x1b" not in page
    assert 'data-figure="test.&lt;x&gt;"' in page
    markdown = render.markdown(section)
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1
    assert not re.search(r"(?<!\\)[<>`]", markdown)
    latex = render.latex(section)
    code = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[_%#]", code) and all("\x1b" not in line for line in latex.splitlines())
    bare = re.sub(r"\\[{}]", "", code)
    assert bare.count("{") == bare.count("}")
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", code, re.S):
        for line in (line for line in body.splitlines() if line.endswith(r"\\")):
            spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(columns), line


def test_the_best_is_marked_among_runs_and_where_they_differ(table: Table) -> None:
    marks = [[cell.mark for cell in row.cells[3:]] for row in table.rows]
    # Published numbers take no part, and one number alone is no best.
    assert marks == [["best", ""], ["", ""], ["", ""]]
    assert "**91.00**" in render.markdown(Section(tables=[table])) and "**99.00**" not in render.markdown(
        Section(tables=[table])
    )
    assert r"\textbf{91.00}" in render.latex(Section(tables=[table])) and 'class="best"' in render.html(table)
    column = [Column("F1", best=True)]
    equal = mark_best(column, [Row([Cell(Number(value, 2))]) for value in (0.9001, 0.9002)])
    assert [row.cells[0].mark for row in equal] == ["", ""]


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (Number(1234567), "1,234,567"),
        (Number(0.94264, 2, factor=100), "94.26"),
        (Number(-0.00001, 2, factor=100, signed=True), "0.00"),
        (Number(0.0123, 1, factor=100, signed=True), "+1.2"),
        (Number(-0.0123, 1, factor=100), "-1.2"),
    ],
)
def test_numbers_are_printed_with_their_digits(number: Number, shown: str) -> None:
    assert str(number) == shown


def test_what_is_not_defined_is_a_dash() -> None:
    table = Table(columns=[Column("a", text=True), Column("b")], rows=[Row([Cell("x"), Cell()])])
    assert "nan" not in render.html(table).lower() and NONE in render.html(table)
    assert printed(Section(tables=[table])).split()[-1] == "-"


def test_clean_keeps_words_and_drops_control_characters() -> None:
    assert clean("a\nb\tc") == "a b c"
    assert clean("κ − é") == "κ − é"
    assert not re.search("[\x00-\x1f\u202e\u2028]", clean("\x1b[31m\u202eabc\u2028d\x00"))
    assert Text(clean("[bold]x")).plain == "[bold]x"
