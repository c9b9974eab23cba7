"""Collected tables in every format: whole, balanced, and with the numbers of the records."""

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.metrics.catalogue import dig
from ecg_lightning.report import render
from ecg_lightning.report.collected import FORMATS, choose_format, not_above_baselines, sections
from ecg_lightning.runs.collect import collect
from ecg_lightning.runs.published import PUBLISHED_CAVEAT
from ecg_lightning.runs.schema import ContextInfo, RunRecord
from ecg_lightning.runs.tidy import frame, published_table

Leave = Callable[..., Path]

markdown = FORMATS["markdown"]


def printed(path: Path) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(render.Terminal(*sections(collect(path))))
    text = capture.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    return text


def metric_of(table: pd.DataFrame, name: str = "macro_f1", of: str = "overall") -> pd.DataFrame:
    return table[(table["class"] == of) & (table["metric"] == name)]


def read(folder: Path, *path: str) -> float:
    return float(dig(RunRecord.read(folder / "scores.json").test, path))


def test_the_best_of_ours_is_bold_in_each_column_and_ties_are_shared(tmp_path: Path, leave_run: Leave) -> None:
    leave_run("a", model="cnet", noise=1.3)
    leave_run("b", model="seq", noise=1.2)
    leave_run("c", model="bigru", noise=1.2)
    collection = collect(tmp_path, only_run=True)
    cells = {}
    for line in markdown(collection).splitlines():
        if "1 seed" in line and (name := line.split("|")[3].strip()) not in cells:
            cells[name] = [cell.strip() for cell in line.split("|")[5:9]]
    table = published_table(tmp_path, only_run=True)
    for at, name in enumerate(("macro_precision", "macro_recall", "macro_f1", "f1_of_macro_precision_recall")):
        values = dict(zip(*metric_of(table, name)[["network", "value"]].to_numpy().T, strict=True))
        assert values["seq"] == values["bigru"] > values["cnet"]
        for network, value in values.items():
            shown = f"{100 * value:.2f}"
            assert cells[network][at] == (f"**{shown}**" if network != "cnet" else shown)
    shutil.rmtree(tmp_path / "b")
    shutil.rmtree(tmp_path / "c")
    assert "**" not in markdown(collect(tmp_path))


def test_csv_comes_back_from_pandas_to_the_digit(tmp_path: Path, leave_run: Leave) -> None:
    for seed in (0, 1, 2):
        leave_run(f"{seed}", seed=seed, noise=1.2 + seed / 7)
    collection = collect(tmp_path)
    back = pd.read_csv(
        io.StringIO(FORMATS["csv"](collection)), float_precision="round_trip", keep_default_na=False, na_values=[""]
    )
    there = frame(collection)
    assert list(back) == list(there) and len(back) == len(there)
    for column in ("value", "sd", "published"):
        assert back[column].equals(there[column]), column
    for column in ("network", "resampling", "status", "class", "metric", "runs", "published_note"):
        assert back[column].fillna("").tolist() == there[column].fillna("").tolist(), column
    assert back["published_note"].dropna().str.startswith(PUBLISHED_CAVEAT).all()


def test_markdown_rows_have_as_many_cells_as_their_header(tmp_path: Path, leave_run: Leave) -> None:
    leave_run("a|b_c", config={"optimizer": {"lr": "a|b"}})
    leave_run("d", config={"optimizer": {"lr": "*"}}, noise=1.2)
    leave_run("e", task="mi")
    text = markdown(collect(tmp_path))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 4
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1, block[0]
        assert set(block[1]) <= set("|-: ")
    assert PUBLISHED_CAVEAT in text


def test_latex_is_balanced_and_escaped(tmp_path: Path, leave_run: Leave) -> None:
    for seed in (0, 1):
        leave_run(f"a_{seed}", seed=seed, config={"optimizer": {"lr": "50%_&#"}}, noise=1.2 + seed)
    leave_run("b", config={"optimizer": {"lr": 1}}, noise=1.2)
    leave_run("c", task="mi")
    text = FORMATS["latex"](collect(tmp_path))
    assert PUBLISHED_CAVEAT in text and r"smote\_tomek" in text and r"optimizer.lr=50\%\_\&\#" in text
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[_%#]", code)
    for environment in ("table*", "tabular"):
        begun = text.count(rf"\begin{{{environment}}}")
        assert begun == text.count(rf"\end{{{environment}}}") == {"table*": 2, "tabular": 4}[environment]
    bare = re.sub(r"\\[{}]", "", code)
    assert bare.count("{") == bare.count("}")
    for tabular in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", code, re.S):
        columns, body = tabular
        for line in (line for line in body.splitlines() if line.endswith(r"\\")):
            spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(columns), line


def test_a_terminal_of_80_columns_shows_all_metrics(tmp_path: Path, leave_run: Leave) -> None:
    for seed in (0, 1):
        leave_run(f"{seed}", seed=seed, noise=1.2 + seed, resampling="borderline_smote", model="bilstm")
        leave_run(f"mi{seed}", seed=seed, task="mi", noise=1.2 + seed, transfer="last_layer")
    text = printed(tmp_path)
    assert "± sd" in text and "2 seeds" in text and PUBLISHED_CAVEAT in " ".join(text.split())
    assert " ".join(text.split()).count("resampling borderline_smote") == 3


def test_the_command_writes_what_the_ending_says(tmp_path: Path, leave_run: Leave) -> None:
    leave_run("runs/a")
    for ending, begins in (
        (".md", "## arrhythmia"),
        (".tex", "% needs"),
        (".csv", "task,dataset"),
        (".txt", "arrhythmia"),
    ):
        output = tmp_path / f"table{ending}"
        run = CliRunner().invoke(app, ["table", str(tmp_path / "runs"), "--output", str(output), "--only-run"])
        assert run.exit_code == 0 and output.read_text().startswith(begins), run.output
    run = CliRunner().invoke(app, ["table", str(tmp_path / "runs"), "--format", "csv"])
    assert "not run" in run.stdout and run.stdout.startswith("task,dataset")
    run = CliRunner().invoke(app, ["table", str(tmp_path / "empty")])
    assert run.exit_code == 2 and len(run.stderr.splitlines()) == 1
    with pytest.raises(ConfigError, match=r"table\.xlsx"):
        choose_format(None, Path("table.xlsx"))
    assert choose_format("latex", Path("table.xlsx")) == "latex"


@pytest.fixture
def apart(leave_run: Leave) -> None:
    """Runs on DS1 and DS2: three seeds of cnet alone and with context, two baselines alone, one with context."""
    with_rhythm = {"context": ContextInfo(rhythm=True), "fingerprint": "of beats with context"}
    for seed in range(3):
        leave_run(f"alone{seed}", seed=seed, split="ds1_ds2", noise=1.5 + seed / 10)
        leave_run(f"context{seed}", seed=seed, split="ds1_ds2", noise=1.1 + seed / 10, **with_rhythm)
    baseline = {"split": "ds1_ds2", "baseline": True, "n_parameters": None, "epochs": None}
    leave_run("boosting", model="gradient_boosting", noise=1.3, **baseline)
    leave_run("regression", model="logistic_regression", noise=1.7, **baseline)
    leave_run("regression_context", model="logistic_regression", noise=1.6, **baseline, **with_rhythm)


def test_metrics_of_ec57_are_in_the_columns_that_name_them(tmp_path: Path, apart: None) -> None:
    (section,) = sections(collect(tmp_path, only_run=True))
    metrics = {f"EC57 {name} {label}": ("ec57", name, key) for name in ("V", "S") for label, key in (
        ("sensitivity", "sensitivity"), ("positive predictivity", "positive_predictivity"), ("F1", "f1")
    )}  # fmt: skip
    found = set()
    for table in section.tables:
        names = [column.name for column in table.columns]
        (row,) = (
            one
            for one in table.rows
            if one.section == "context: rhythm" and one.cells[1].content == "logistic_regression"
        )
        for name in metrics.keys() & set(names):
            found.add(name)
            value = read(tmp_path / "regression_context", *metrics[name])
            assert str(row.cells[names.index(name)].content) == f"{100 * value:.2f}"
    assert found == set(metrics)


def test_a_network_that_is_not_above_the_baselines_is_named(tmp_path: Path, apart: None) -> None:
    mean = metric_of(published_table(tmp_path, only_run=True)).set_index(["context", "network"])["value"]
    alone, boosting = mean["none", "cnet"], mean["none", "gradient_boosting"]
    assert alone < boosting < mean["rhythm", "cnet"]
    found = collect(tmp_path)
    (sentence,) = not_above_baselines(found.tables[0])
    assert sentence.startswith("cnet, context none ")
    assert f"{100 * alone:.2f} against {100 * boosting:.2f} of gradient_boosting" in sentence
    assert sentence in [note.text for note in sections(found)[0].notes]


def test_what_others_printed_is_in_every_format(tmp_path: Path, apart: None) -> None:
    text = markdown(collect(tmp_path))
    assert "Niu 2020" in text and "*76.60*" in text
    assert r"\textit{76.60}" in FORMATS["latex"](collect(tmp_path))
    assert "Niu" not in markdown(collect(tmp_path, only_run=True))


def test_tables_of_other_protocols_are_whole_in_80_columns_and_in_latex(tmp_path: Path, apart: None) -> None:
    collection = collect(tmp_path)
    text = printed(tmp_path)
    assert "context: rhythm" in text and "published elsewhere" in text and "± sd" in text
    code = FORMATS["latex"](collection)
    for columns, body in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", code, re.S):
        for line in (line for line in body.splitlines() if line.endswith(r"\\")):
            spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(columns), line
    blocks = [block.splitlines() for block in markdown(collection).split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1, block[0]


@pytest.mark.parametrize(
    ("name", "options"), [("inter_patient", []), ("published", []), ("cross_database", ["--only-run"])]
)
def test_a_filed_table_is_what_its_command_writes_today(
    name: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of `results`: no number of it changes unless a record does."""
    monkeypatch.chdir(Path(__file__).parents[2])
    answer = CliRunner().invoke(app, ["table", f"results/{name}", *options, "--output", str(tmp_path / "table.md")])
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "table.md").read_bytes() == Path("results", name, "table.md").read_bytes()
