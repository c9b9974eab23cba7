"""``ecg-lightning …``: training, and everything that starts from data or from a checkpoint.

Nothing heavy is imported before a command runs, so that ``--help`` answers at once.
"""

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from ecg_lightning.core.errors import EcgLightningError


class _Commands(TyperGroup):
    """Prints what went wrong in one sentence and ends with its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EcgLightningError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as interrupt:
            typer.echo("interrupted", err=True)
            raise typer.Exit(130) from interrupt


app = typer.Typer(
    cls=_Commands,
    help="ECG heartbeat classification: get and check the data, train, use and inspect what an experiment left.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Get the recordings, and check what is there.", no_args_is_help=True)
app.add_typer(data, name="data")

DataDir = Annotated[
    Path, typer.Option("--data-dir", envvar="ECG_DATA_DIR", help="Folder that holds mitdb/, ptbdb/ and heartbeat/.")
]


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="ecg-lightning")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ecg-lightning {importlib.metadata.version('ecg-lightning')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(
    "train",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def train_model(context: typer.Context) -> None:
    """Train, select and test a model, or with -m several: ecg-lightning train --help lists all choices."""
    from ecg_lightning.cli.train import main as train

    train(context.args)


@data.command("fetch")
def fetch_data(
    dataset: Annotated[
        Literal["mitdb", "ptbdb", "heartbeat"],
        typer.Argument(
            help="mitdb: MIT-BIH Arrhythmia (about 100 MB). ptbdb: PTB Diagnostic ECG (about 1.7 GB). "
            "heartbeat: the beats of Kaggle's shayanfazeli/heartbeat (about 580 MB)."
        ),
    ],
    data_dir: DataDir = Path("data"),
    url: Annotated[
        str | None, typer.Option(help="Another server's folder with the same files (default: the publisher's).")
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Only these records, e.g. 100,101 or patient001/s0010_re (default: all).")
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=16, help="Files downloaded at once.")] = 4,
) -> None:
    """Download a dataset. Run it again to resume, or to replace what is damaged."""
    from rich.filesize import decimal

    from ecg_lightning.data.download import fetch

    names = None if records is None else [name.strip() for name in records.split(",") if name.strip()]
    done = fetch(dataset, data_dir, url=url, records=names, connections=connections)
    n_files = done.downloaded + done.kept
    typer.echo(f"{done.folder}: {n_files} files, {decimal(done.size)}; {done.downloaded} of them were downloaded now")


@data.command("check")
def check_data(
    data_dir: DataDir = Path("data"),
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")] = False,
) -> None:
    """Print which data are there and what is wrong with them. Exit code 1 if anything is, or if nothing is there."""
    from ecg_lightning.data.verify import as_plain, check
    from ecg_lightning.report.terminal import print_checks

    checks = check(data_dir)
    if as_json:
        typer.echo(json.dumps(as_plain(checks), indent=2))
    else:
        print_checks(checks)
    if any(one.problems for one in checks) or not any(one.present for one in checks):
        raise typer.Exit(1)


@app.command("inspect")
def inspect_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint, a run's folder, or a plain PyTorch state dict.")],
    other: Annotated[Path | None, typer.Argument(help="Another one: what differs, settings and weights.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable JSON.")] = False,
) -> None:
    """Print what a checkpoint is of: task, network, data, where its weights came from, scores, versions."""
    from ecg_lightning.pipeline.inspect import compare, describe
    from ecg_lightning.report import terminal
    from ecg_lightning.report.inspection import description_section, difference_section
    from ecg_lightning.training.checkpoint import read_checkpoint

    first = read_checkpoint(file)
    answer = describe(first) if other is None else compare(first, read_checkpoint(other))
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        terminal.show(description_section(answer) if other is None else difference_section(answer))


@app.command("evaluate")
def evaluate_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint, or the folder of a run: its best one.")],
    source: Annotated[
        str | None,
        typer.Option(help="Other source of the same dataset, such as kaggle (default: the one it was trained with)."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Test all beats of this file, in the format of the Kaggle files, instead.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Other split, such as patient or ds1_ds2 (default: the one of its training)."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Other seed of the split.")] = None,
    fold: Annotated[Literal["test", "validation"], typer.Option(help="Which beats of the split.")] = "test",
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder that holds mitdb/, ptbdb/ and heartbeat/ (default: that of its run, else ECG_DATA_DIR)."
        ),
    ] = None,
    cache_dir: Annotated[
        Path | None, typer.Option(help="Where beats are kept once read (default: ECG_CACHE_DIR or the user's cache).")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder for scores.json, predictions.parquet and report.html (default: none).")
    ] = None,
    device: Annotated[Literal["cpu", "auto"], typer.Option(help="cpu, or the best there is.")] = "auto",
) -> None:
    """Test a checkpoint on the beats that its run kept for testing, or on others."""
    from ecg_lightning.core.startup import quick_imports

    with quick_imports():
        from ecg_lightning.pipeline.evaluate import evaluate
        from ecg_lightning.report import terminal, write_report

    record = evaluate(
        file,
        source=source,
        csv=csv,
        split=split,
        seed=seed,
        fold=fold,
        data_dir=data_dir,
        cache_dir=cache_dir,
        output_dir=output,
        device=device,
    )
    terminal.print_run(record)
    if output is not None:
        typer.echo(f"Results in {output}; {write_report([output])}")
    if record.warning:
        typer.secho(f"warning: {record.warning}", fg="yellow", err=True)


@app.command("table")
def collect_table(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs, of sweeps, or of such folders; or files with the content of a scores.json.",
            metavar="DIR",
        ),
    ],
    format_name: Annotated[
        Literal["terminal", "markdown", "csv", "latex"] | None,
        typer.Option("--format", help="How to write it (default: as --output ends, else terminal)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write: .md, .csv, .tex or .txt (default: print).")
    ] = None,
    only_run: Annotated[
        bool,
        typer.Option(
            "--only-run", help="Leave out the published rows that have not been run, and what others published."
        ),
    ] = False,
) -> None:
    """Collect runs into tables: mean ± deviation over seeds, folds pooled, contexts, baselines, published figures."""
    from ecg_lightning.report.collected import choose_format, show
    from ecg_lightning.runs.collect import collect

    chosen = choose_format(format_name, output)
    show(collect(*folders, only_run=only_run), chosen, output)


@app.command("compare")
def compare_two_runs(
    first: Annotated[Path, typer.Argument(help="Folder of a run, or of the folds of a cross-validation.")],
    second: Annotated[Path, typer.Argument(help="Another one, tested on the same beats.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print machine-readable JSON, with all metrics.")] = False,
) -> None:
    """Is the one better than the other? Differences on the same test beats, with intervals and p-values."""
    from ecg_lightning.report import terminal
    from ecg_lightning.report.comparison import compare_section
    from ecg_lightning.runs.compare import compare

    answer = compare(first, second)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        terminal.show(compare_section(answer))


@app.command("report")
def report_runs(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="A run's folder; or folders of runs, of sweeps, or of such folders, for one page that compares them.",
            metavar="DIR",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The page (default: report.html in DIR, or here if there is more than one DIR)."
        ),
    ] = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(help="A run on the same test beats that a single run has to beat; may be given more than once."),
    ] = None,
    brief: Annotated[
        bool, typer.Option("--brief", help="Of a single run: no layout of its test beats, which takes longest.")
    ] = False,
) -> None:
    """Write the report of a run, or one that compares several: a page that opens without network."""
    from ecg_lightning.report import write_report

    typer.echo(write_report(folders, output, baselines=baseline or (), embedding=not brief))


@app.command("plot")
def plot_runs(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of runs, of sweeps, or of such folders.", metavar="RUN")
    ],
    what: Annotated[
        Literal["confusion", "per-class", "learning-curves", "low-data"] | None,
        typer.Option(help="Which picture (default: the first three of each run)."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .png, or a folder for several (default: the run's folder).")
    ] = None,
) -> None:
    """Draw runs as PNG: confusion matrix, F1 by class, learning curves, scores by size of the training set."""
    from ecg_lightning.report.plots import plot

    for path in plot(folders, what, output):
        typer.echo(path)


@app.command("show")
def show_augmentation(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Choices and settings as for train: augmentation=strong source=synthetic seed=1 …"),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The picture, a PNG (default: augmentation_<name>.png in the current folder).")
    ] = None,
    beats: Annotated[int, typer.Option(min=1, max=8, help="Training beats of each class.")] = 3,
) -> None:
    """Draw what augmentation makes of training beats of every class."""
    from ecg_lightning.pipeline.preview import preview
    from ecg_lightning.report.plots import augmentation_picture

    found = preview(overrides or [], n_beats=beats)
    path = output or Path(f"augmentation_{found.augmentation['name']}.png")
    augmentation_picture(found, path)
    typer.echo(path)
