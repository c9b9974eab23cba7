"""The published table run again: what is averaged, what is kept apart, and what is said of what was not run."""

import io
import json
import re
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import CLASS_MAP
from ecg_lightning.report.formats import FORMATS, choose_format, markdown, plain, terminal
from ecg_lightning.report.layout import ELSEWHERE_CAVEAT
from ecg_lightning.runs.collect import collect, frame, published_table
from ecg_lightning.runs.predictions import score_predictions, write_predictions
from ecg_lightning.runs.published import PUBLISHED_CAVEAT, published_row

Leave = Callable[..., Path]

PROTOCOL = "random: 20% of the beats of each class to test, 10% of the rest to validate, patients on all sides, seed {}"


@pytest.fixture
def leave(tmp_path: Path, make_scores: Callable[..., dict[str, Any]]) -> Leave:
    """Leave a run's folder, with its configuration unless `config` is None; keywords go into its scores.json."""

    def write(name: str, *, config: dict[str, Any] | None = None, task: str = "arrhythmia", **entries: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        entries = {"seed": 0, "protocol": PROTOCOL.format(entries.get("seed", 0))} | entries
        scores = make_scores(task, **entries)
        (folder / "scores.json").write_text(json.dumps(scores))
        if config is not None:
            (folder / ".hydra").mkdir()
            whole = {"model": {"name": scores["model"]}, "seed": scores["seed"], "split": {"seed": "${seed}"}} | config
            (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(whole))
            (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([f"seed={scores['seed']}"]))
        return folder

    return write


def figure(table: pd.DataFrame, name: str = "macro_f1", of: str = "overall") -> pd.DataFrame:
    return table[(table["class"] == of) & (table["figure"] == name)]


def told(folder: Path, *path: str) -> float:
    value = json.loads((folder / "scores.json").read_text())["test"]
    for key in path:
        value = value[key]
    return float(value)


@pytest.mark.parametrize("config", [None, {}], ids=["from scores.json alone", "with its configuration"])
def test_repetitions_are_one_row_with_mean_and_deviation(tmp_path: Path, leave: Leave, config: Any) -> None:
    folders = [leave(f"sweep/job{seed}", seed=seed, noise=1.2 + seed / 10, config=config) for seed in (2, 0, 1)]
    table = published_table(tmp_path, only_run=True)
    for path, shown in ((("macro_f1",), figure(table)), (("per_class", "S", "recall"), figure(table, "recall", "S"))):
        values = [told(folder, *path) for folder in folders]
        (row,) = shown.to_dict("records")
        assert row["value"] == pytest.approx(statistics.fmean(values)) and row["value"] < 1
        assert row["sd"] == pytest.approx(statistics.stdev(values)) and row["sd"] > 0
        assert (row["n_seeds"], row["seeds"], row["status"]) == (3, "0, 1, 2", "run")
        assert set(row["runs"].split("; ")) == set(map(str, folders))
    line, _ = re.findall(r"^\| cnet .*3 seeds.*$", markdown(collect(tmp_path, only_run=True)), re.MULTILINE)
    assert f"{100 * statistics.fmean([told(folder, 'macro_f1') for folder in folders]):.2f} ± " in line


def test_the_best_of_ours_is_bold_in_each_column_and_ties_are_shared(tmp_path: Path, leave: Leave) -> None:
    leave("a", model="cnet", noise=1.3)
    leave("b", model="seq", noise=1.2)
    leave("c", model="bigru", noise=1.2)
    collection = collect(tmp_path, only_run=True)
    cells = {}
    for line in markdown(collection).splitlines():
        if (name := line.split("|")[1:2]) and "1 seed" in line and name[0].strip() not in cells:
            cells[name[0].strip()] = [cell.strip() for cell in line.split("|")[4:8]]
    table = published_table(tmp_path, only_run=True)
    for at, name in enumerate(("macro_precision", "macro_recall", "macro_f1", "f1_of_macro_precision_recall")):
        values = dict(zip(*figure(table, name)[["network", "value"]].to_numpy().T, strict=True))
        assert values["seq"] == values["bigru"] > values["cnet"]
        for network, value in values.items():
            shown = f"{100 * value:.2f}"
            assert cells[network][at] == (f"**{shown}**" if network != "cnet" else shown)
    shutil.rmtree(tmp_path / "b")
    shutil.rmtree(tmp_path / "c")
    assert "**" not in markdown(collect(tmp_path))


def test_every_published_row_is_there_and_says_whether_it_was_run(tmp_path: Path, leave: Leave) -> None:
    leave("a", noise=1.2)
    leave("b", task="mi", transfer="head_only", noise=1.2)
    table = published_table(tmp_path)
    rows = table.drop_duplicates(["task", "network", "resampling", "transfer"])
    assert len(rows) == 8 + 8 + 2
    run = rows[rows["status"] == "run"]
    assert run[["task", "network", "resampling", "transfer"]].to_numpy().tolist() == [
        ["arrhythmia", "cnet", "none", "none"],
        ["mi", "cnet", "none", "head_only"],
    ]
    unrun = table[table["status"] == "not run"]
    assert unrun["value"].isna().all() and unrun["runs"].isna().all() and unrun["published"].notna().all()
    for record in figure(table, "f1", "MI").to_dict("records"):
        row = published_row("mi", record["network"], record["resampling"], pretrained=record["transfer"] != "none")
        assert row and record["published"] == row["f1"]
    for text in (markdown(collect(tmp_path)), plain(collect(tmp_path))):
        # Arrhythmia is printed in two parts.
        assert len(re.findall(r"\b(?:seq|cnet|bilstm|bigru)\b.*not run", text)) == 2 * 7 + 9
    assert set(published_table(tmp_path, only_run=True)["status"]) == {"run"}
    assert "not run" not in markdown(collect(tmp_path, only_run=True))


def test_what_does_not_belong_together_is_another_table(tmp_path: Path, leave: Leave) -> None:
    differing: list[dict[str, Any]] = [
        {},
        {"fingerprint": "other"},
        {"source": "physionet"},
        {"split": "patient", "protocol": "patient: 30 patients to train, 5 to validate, 9 to test, seed 3"},
        {"protocol": PROTOCOL.format(4).replace("20%", "30%")},
        {"fold": "validation"},
        {"source": "synthetic", "synthetic": True},
    ]
    for seed, entries in enumerate(differing):
        leave(f"{seed}", seed=seed, noise=1.2 + seed / 10, **entries)
    collection = collect(tmp_path, only_run=True)
    assert len(collection.tables) == len(differing)
    table = frame(collection)
    assert (figure(table)["n_seeds"] == 1).all() and figure(table)["sd"].isna().all()
    beside = figure(table)[figure(table)["published"].notna()]
    assert sorted(beside["seeds"]) == ["0", "1", "2", "4"]
    text = markdown(collection)
    assert text.count("scored on validation beats") == 1 and "Beats: 300 validation beats" in text
    assert text.count("(SYNTHETIC)") == 1 and text.count("SYNTHETIC BEATS") == 1
    assert "\n## " in text.partition("split patient")[2] and text.count(PUBLISHED_CAVEAT) == 4


def test_of_runs_that_nothing_published_compares_with_it_is_said(tmp_path: Path, leave: Leave) -> None:
    leave("a", split="patient")
    leave("b", synthetic=True)
    collection = collect(tmp_path)
    assert not any(block.published for table in collection.tables for block in table.blocks)
    assert "No row of the published table has been run" in plain(collection)
    assert PUBLISHED_CAVEAT not in markdown(collection)


def test_it_is_told_whether_the_seeds_divide_the_beats_anew(tmp_path: Path, leave: Leave) -> None:
    for seed in (0, 1):
        leave(f"a{seed}", seed=seed, noise=1.2 + seed / 10, protocol=PROTOCOL.format(0))
    same = plain(collect(tmp_path, only_run=True))
    assert "seeds 0, 1/0;" in same and "also divides" not in same and "Seeds 1/0: 1 to train" in " ".join(same.split())
    shutil.rmtree(tmp_path / "a1")
    leave("b", seed=1, noise=1.3)
    assert "The seed also divides the beats." in " ".join(plain(collect(tmp_path, only_run=True)).split())


def test_other_settings_make_other_rows_named_by_them(tmp_path: Path, leave: Leave) -> None:
    for lr in (0.1, 0.2):
        for seed in (0, 1):
            optimizer = {"optimizer": {"lr": lr, "weight_decay": 0}, "cache_dir": str(tmp_path / f"{seed}")}
            leave(f"{lr}_{seed}", seed=seed, noise=1.2 + lr + seed / 10, config=optimizer)
    transforms = {"augmentation": {"name": "light", "transforms": {"noise": {"sigma": 0.02}, "shift": None}}}
    leave("light", config={"optimizer": {"lr": 0.1, "weight_decay": 0}} | transforms)
    rows = figure(published_table(tmp_path, only_run=True))
    assert dict(zip(rows["settings"], rows["n_seeds"], strict=True)) == {
        "optimizer.lr=0.1": 2,
        "optimizer.lr=0.2": 2,
        "optimizer.lr=0.1, augmentation=light": 1,
    }
    assert rows["published"].nunique() == 1
    assert markdown(collect(tmp_path, only_run=True)).count("*published*") == 2  # once in each part


def test_a_seed_that_is_there_twice_is_not_averaged_and_a_copy_counts_once(tmp_path: Path, leave: Leave) -> None:
    first = leave("sweep/a", config={})
    shutil.copy(first / "scores.json", tmp_path / "committed.json")
    collection = collect(tmp_path, first)
    assert figure(frame(collection))["runs"].dropna().tolist() == [str(first)]
    assert any(str(tmp_path / "committed.json") in remark for remark in collection.remarks)
    second = leave("sweep/b", config={}, noise=1.3)
    collection = collect(tmp_path, only_run=True)
    rows = figure(frame(collection))
    assert (rows["n_seeds"] == 1).all() and set(rows["settings"]) == {str(first), str(second)}
    assert any("Not averaged" in remark for remark in collection.remarks)


def test_each_seed_may_start_from_weights_of_its_own(tmp_path: Path, leave: Leave) -> None:
    def start(name: str, seed: int, checkpoint: str) -> None:
        config = {"transfer": {"arm": "head_only", "checkpoint": checkpoint}}
        leave(
            name,
            task="mi",
            transfer="head_only",
            seed=seed,
            noise=1.2 + len(list(tmp_path.iterdir())) / 20,
            config=config,
        )

    start("a", 0, "pretrained_0")
    start("b", 1, "pretrained_1")
    (row,) = figure(published_table(tmp_path, only_run=True)).to_dict("records")
    assert (row["n_seeds"], row["transfer"]) == (2, "head_only")
    start("c", 0, "longer")
    start("d", 1, "pretrained_0")
    assert sorted(figure(published_table(tmp_path, only_run=True))["n_seeds"]) == [1, 1, 2]
    for name in "bd":
        shutil.rmtree(tmp_path / name)
    assert set(figure(published_table(tmp_path, only_run=True))["settings"]) == {"pretrained_0", "longer"}


def test_only_a_frozen_backbone_stands_beside_the_published_pretrained_row(tmp_path: Path, leave: Leave) -> None:
    for arm in ("none", "head_only", "last_layer", "finetune"):
        leave(arm, task="mi", transfer=arm)
    rows = figure(published_table(tmp_path, only_run=True), "f1", "MI").set_index("transfer")["published"]
    assert rows["none"] == 0.9971479 and rows["head_only"] == rows["last_layer"] == pytest.approx(0.966399493)
    assert pd.isna(rows["finetune"])


def test_a_part_of_the_training_beats_is_no_run_of_a_published_row(tmp_path: Path, leave: Leave) -> None:
    leave("a", protocol=PROTOCOL.format(0) + ", trained on 100 of 5460 training beats")
    rows = figure(published_table(tmp_path))
    part = rows[rows["status"] == "run"]
    assert part["settings"].tolist() == ["split.train_size=100"] and part["published"].isna().all()
    assert ((rows["network"] == "cnet") & (rows["resampling"] == "none") & (rows["status"] == "not run")).any()


def test_folds_are_scored_as_one_and_missing_ones_are_named(tmp_path: Path, leave: Leave) -> None:
    folders = []
    for fold in (0, 2):
        patients = f"{30 + fold} patients to train, 5 to validate, 9 to test, no patient on two sides"
        protocol = f"patient: fold {fold} of 3 (counted from 0), {patients}, seed 0"
        config = {"split": {"seed": "${seed}", "fold": fold, "n_folds": 3}}
        folder = leave(f"{fold}", task="mi", split="patient", protocol=protocol, noise=1.2 + fold, config=config)
        rng = np.random.default_rng(fold)
        labels = np.arange(40) % 2
        chance = rng.random(40)
        beats = Beats(
            signals=np.ones((40, 1, 3), dtype=np.float32), lengths=np.full(40, 3), lead_names=("II",),
            labels=labels, classes=("normal", "MI"), fs=125.0,
            records=np.full(40, "r"), patients=np.arange(40).astype(str), samples=np.arange(40) + 40 * fold,
        )  # fmt: skip
        write_predictions(folder / "predictions.parquet", beats, np.stack([1 - chance, chance], axis=1), positive="MI")
        folders.append(folder)
    collection = collect(tmp_path)
    (row,) = figure(frame(collection), "f1", "MI").to_dict("records")
    pooled = score_predictions(*(folder / "predictions.parquet" for folder in folders))
    assert row["value"] == pooled["f1"] and (row["n_seeds"], row["folds"]) == (1, "0, 2 of 3")
    assert [row["low"], row["high"]] == pooled["intervals"]["per_class"]["MI"]["f1"]
    text = " ".join(markdown(collection).split())
    assert "3 folds WITHOUT 1" in text and "95 % interval over 40 patients" in text
    low, high = pooled["intervals"]["per_class"]["MI"]["auroc"]
    assert f"{100 * pooled['auroc']:.2f} ({100 * low:.2f}–{100 * high:.2f})" in text


def test_csv_comes_back_from_pandas_to_the_digit(tmp_path: Path, leave: Leave) -> None:
    for seed in (0, 1, 2):
        leave(f"{seed}", seed=seed, noise=1.2 + seed / 7)
    collection = collect(tmp_path)
    back = pd.read_csv(
        io.StringIO(FORMATS["csv"](collection)), float_precision="round_trip", keep_default_na=False, na_values=[""]
    )
    there = frame(collection)
    assert list(back) == list(there) and len(back) == len(there)
    for column in ("value", "sd", "published"):
        assert back[column].equals(there[column]), column
    for column in ("network", "resampling", "status", "class", "figure", "runs", "published_note"):
        assert back[column].fillna("").tolist() == there[column].fillna("").tolist(), column
    assert back["published_note"].dropna().str.startswith(PUBLISHED_CAVEAT).all()


def test_markdown_rows_have_as_many_cells_as_their_header(tmp_path: Path, leave: Leave) -> None:
    leave("a|b_c", config={"optimizer": {"lr": "a|b"}})
    leave("d", config={"optimizer": {"lr": "*"}}, noise=1.2)
    leave("e", task="mi")
    text = markdown(collect(tmp_path))
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    for block in blocks:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) == 1, block[0]
        assert set(block[1]) <= set("|-: ")
    assert PUBLISHED_CAVEAT in text and "macro-F1: mean of the classes' F1. F1 of P, R" in text


def test_latex_is_balanced_and_escaped(tmp_path: Path, leave: Leave) -> None:
    for seed in (0, 1):
        leave(f"a_{seed}", seed=seed, config={"optimizer": {"lr": "50%_&#"}}, noise=1.2 + seed)
    leave("b", config={"optimizer": {"lr": 1}}, noise=1.2)
    leave("c", task="mi")
    text = FORMATS["latex"](collect(tmp_path))
    assert PUBLISHED_CAVEAT in text and r"smote\_tomek" in text and r"optimizer.lr=50\%\_\&\#" in text
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert not re.search(r"(?<!\\)[_%#]", code)
    for environment in ("table*", "tabular"):
        begun = text.count(rf"\begin{{{environment}}}")
        assert begun == text.count(rf"\end{{{environment}}}") == {"table*": 2, "tabular": 3}[environment]
    bare = re.sub(r"\\[{}]", "", code)
    assert bare.count("{") == bare.count("}")
    for tabular in re.findall(r"\\begin\{tabular\}\{([lr]+)\}(.*?)\\end\{tabular\}", code, re.S):
        columns, body = tabular
        for line in (line for line in body.splitlines() if line.endswith(r"\\")):
            spanned = sum(int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(columns), line


def test_a_terminal_of_80_columns_shows_all_figures(tmp_path: Path, leave: Leave) -> None:
    for seed in (0, 1):
        leave(f"{seed}", seed=seed, noise=1.2 + seed, resampling="borderline_smote", model="bilstm")
        leave(f"mi{seed}", seed=seed, task="mi", noise=1.2 + seed, transfer="last_layer")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(terminal(collect(tmp_path)))
    text = capture.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    assert "± sd" in text and "2 seeds" in text and PUBLISHED_CAVEAT in " ".join(text.split())
    assert " ".join(text.split()).count("resampling borderline_smote") == 2


def test_what_is_no_run_is_left_out_or_named(tmp_path: Path, leave: Leave) -> None:
    run = leave("deep/er/run")
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "pooled.json").write_text('{"pooled": [], "repeated": []}')
    leave("evaluation", checkpoint="best.ckpt", fold="validation")
    collection = collect(tmp_path)
    assert figure(frame(collection))["runs"].dropna().tolist() == [str(run)]
    assert len(collection.remarks) == 2 and "pooled.json" in collection.remarks[0]
    assert "evaluation of a checkpoint" in collection.remarks[1]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "cannot be read as a run's scores"),
        ("[]", "holds no scores"),
        ('{"task": "mi"}', "model, dataset, source"),
    ],
)
def test_a_damaged_file_of_scores_is_named(tmp_path: Path, leave: Leave, content: str, what: str) -> None:
    damaged = leave("a") / "scores.json"
    damaged.write_text(content)
    with pytest.raises(DataError, match=f"{re.escape(str(damaged))} .*{what}"):
        collect(tmp_path)


def test_nothing_to_collect_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished run in"):
        collect(tmp_path)
    with pytest.raises(DataError, match="is not there"):
        collect(tmp_path / "nowhere")


def test_the_command_writes_what_the_ending_says(tmp_path: Path, leave: Leave) -> None:
    leave("runs/a")
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
    with pytest.raises(ConfigError, match=r"table.xlsx does not say its format"):
        choose_format(None, Path("table.xlsx"))
    assert choose_format("latex", Path("table.xlsx")) == "latex"


# Other protocols


DS1_DS2 = (
    "ds1_ds2: 18 patients of DS1 to train, 4 to validate, 22 of DS2 to test, paced 102 left out (9 beats), seed {}"
)
WITH_RHYTHM = {"context": "rhythm", "fingerprint": "of beats with context"}


@pytest.fixture
def apart(leave: Leave) -> None:
    """Runs on DS1 and DS2: three seeds of cnet alone and with context, two baselines alone, one with context."""

    def on_ds1_ds2(name: str, seed: int = 0, **entries: Any) -> None:
        leave(
            name, seed=seed, split="ds1_ds2", protocol=DS1_DS2.format(seed), left_out=9, **{"context": "none"} | entries
        )

    for seed in range(3):
        on_ds1_ds2(f"alone{seed}", seed, noise=1.5 + seed / 10)
        on_ds1_ds2(f"context{seed}", seed, noise=1.1 + seed / 10, **WITH_RHYTHM)
    baseline = {"n_parameters": None, "epochs": None}
    on_ds1_ds2("boosting", model="gradient_boosting", noise=1.3, **baseline)
    on_ds1_ds2("regression", model="logistic_regression", noise=1.7, **baseline)
    on_ds1_ds2("regression_context", model="logistic_regression", noise=1.6, **baseline, **WITH_RHYTHM)


def test_contexts_and_baselines_are_rows_of_one_table(tmp_path: Path, apart: None) -> None:
    collection = collect(tmp_path)
    (table,) = collection.tables
    assert [(block.context, block.network) for block in table.blocks] == [
        ("none", "cnet"),
        ("none", "gradient_boosting"),
        ("none", "logistic_regression"),
        ("rhythm", "cnet"),
        ("rhythm", "logistic_regression"),
    ]
    rows = figure(frame(collection)).query("status == 'run'")
    assert rows["fingerprint"].tolist() == 3 * ["0123456789abcdef"] + 2 * ["of beats with context"]
    assert set(rows["left_out"]) == {9} and set(rows["class_map"]) == {CLASS_MAP}
    assert rows["n_seeds"].tolist() == [3, 1, 1, 3, 1] and rows["sd"].notna().tolist() == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert collection.remarks == ()


def test_figures_of_ec57_stand_in_the_columns_that_name_them(tmp_path: Path, apart: None) -> None:
    text = markdown(collect(tmp_path, only_run=True))
    (header,) = (line for line in text.splitlines() if "EC57 V +P" in line)
    (row,) = re.findall(r"^\| rhythm \| logistic.*$", text.partition(header)[2].partition("\n\n")[0], re.MULTILINE)
    shown = dict(zip(*([cell.strip() for cell in line.split("|")[1:-1]] for line in (header, row)), strict=True))
    names = {"Se": "sensitivity", "+P": "positive_predictivity", "F1": "f1"}
    for of in ("V", "S"):
        for short, name in names.items():
            value = told(tmp_path / "regression_context", "ec57", of, name)
            assert shown[f"EC57 {of} {short}"].strip("*") == f"{100 * value:.2f}"


def test_a_network_that_does_not_beat_the_baselines_is_told_so(tmp_path: Path, apart: None) -> None:
    mean = figure(published_table(tmp_path, only_run=True)).set_index(["context", "network"])["value"]
    alone, boosting = mean["none", "cnet"], mean["none", "gradient_boosting"]
    assert alone < boosting < mean["rhythm", "cnet"]
    sentences = re.findall(r"^- (.*does not beat.*)$", markdown(collect(tmp_path)), re.MULTILINE)
    against = f"{100 * alone:.2f} against {100 * boosting:.2f} of gradient\\_boosting"
    assert sentences == [f"cnet, context none does not beat the baselines: macro-F1 {against}."]


def test_what_others_printed_stands_below_in_every_format(tmp_path: Path, apart: None, leave: Leave) -> None:
    others = frame(collect(tmp_path)).query("status == 'published elsewhere'")
    assert set(others["network"]) == {"Niu 2020", "Guo 2018", "Wang 2021", "Mondéjar 2019"}
    assert others.query("network == 'Niu 2020' and `class` == 'S'")["published"].tolist() == [0.766]
    text = markdown(collect(tmp_path))
    assert "Niu 2020" in text and "*76.60*" in text and ELSEWHERE_CAVEAT in text
    assert r"\textit{76.60}" in FORMATS["latex"](collect(tmp_path))
    assert "Niu" not in markdown(collect(tmp_path, only_run=True))
    for entries in ({"synthetic": True}, {"fold": "validation"}):
        leave(f"{entries}", split="ds1_ds2", protocol=DS1_DS2.format(0), noise=1.9, **entries)
    others = [bool(table.elsewhere) for table in collect(tmp_path).tables]
    assert sorted(others) == [False, False, True]


def test_other_recordings_are_not_taken_for_another_context(tmp_path: Path, apart: None, leave: Leave) -> None:
    leave("other", split="ds1_ds2", protocol=DS1_DS2.format(0), context="none", fingerprint="of other recordings")
    assert len(collect(tmp_path).tables) == 3


def test_tables_of_other_protocols_are_whole_in_80_columns_and_in_latex(tmp_path: Path, apart: None) -> None:
    collection = collect(tmp_path)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(terminal(collection))
    text = capture.get()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
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
