"""The command line ``ecg-lightning …``: data, training, and commands that start from a checkpoint or from runs.

Commands import what they need when they run, so that ``--help`` is quick.
"""

import importlib.metadata
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from ecg_lightning.cli.data import data
from ecg_lightning.cli.door import door
from ecg_lightning.cli.options import ConfigDir, DataDir, Json, leads_of, print_answer
from ecg_lightning.cli.trained import detector, weights
from ecg_lightning.core.atomic import claimed
from ecg_lightning.core.errors import DEBUG, ConfigError
from ecg_lightning.core.progress import progress

UsageError: Any = typer.BadParameter.__base__  # of the click that typer uses, which may be its own


class _Commands(TyperGroup):
    """Every command goes through the `door`, wrong words on the command line as well."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with door(), _typer():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with door(), _typer():
            return super().invoke(ctx)


@contextmanager
def _typer() -> Iterator[None]:
    """Exceptions of typer in terms of this package."""
    try:
        yield
    except typer.Exit as leaving:
        sys.exit(leaving.exit_code)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            sys.exit(2)
        raise ConfigError(f"{error.format_message().rstrip('.')}; see {error.ctx.command_path} --help") from error


app = typer.Typer(
    cls=_Commands,
    help="ECG heartbeat classification: download and check data, train, evaluate and compare.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(data, name="data")
app.add_typer(detector, name="detector")
app.add_typer(weights, name="weights")

Runs = Annotated[
    list[Path], Argument(metavar="DIR", help="Folders of runs, of sweeps, or of such folders; or scores.json files.")
]

AtPoint = Annotated[
    bool, Option("--operating-point", help="Classify at the model's operating point, not by the most probable class.")
]


def main() -> None:
    """Entry point of the console script."""
    app(sorted(sys.argv[1:], key=lambda word: word != DEBUG), prog_name="ecg-lightning")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"ecg-lightning {importlib.metadata.version('ecg-lightning')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, Option(DEBUG, help="Show the traceback of an error; also after the command.")] = False,
) -> None:
    pass


@app.command(
    "train", add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
def train_model(context: typer.Context) -> None:
    """Train and test a model, or with -m several: ecg-lightning train --help lists all choices."""
    from ecg_lightning.cli.train import main as train

    train(context.args)


@app.command("inspect")
def inspect_checkpoint(
    file: Annotated[Path, Argument(help="A checkpoint, a run's folder, or a plain PyTorch state dict.")],
    other: Annotated[Path | None, Argument(help="Another one, to print how settings and weights differ.")] = None,
    as_json: Json = False,
) -> None:
    """Print what a checkpoint contains: task, network, data, origin of its weights, scores, versions."""
    from ecg_lightning.pipeline.inspect import compare, describe
    from ecg_lightning.report.inspection import description_section, difference_section
    from ecg_lightning.training.checkpoint import malformed, read_checkpoint

    first = read_checkpoint(file)
    answer = describe(first) if other is None else compare(first, read_checkpoint(other))
    with malformed(f"{file} contains what cannot be shown; --json shows it"):
        print_answer(answer, description_section if other is None else difference_section, as_json)


@app.command("evaluate")
def evaluate_checkpoint(
    file: Annotated[Path, Argument(help="A checkpoint, or a run's folder for its best one.")],
    on: Annotated[
        list[str] | None,
        Option(
            help="Test all beats of other databases instead, e.g. svdb,incartdb, or of a folder of WFDB records; "
            "svdb:svdb_halves for the test beats of a split. Repeatable."
        ),
    ] = None,
    leads: Annotated[str | None, Option(help="Leads of other databases, e.g. '[1]' (default: as in training).")] = None,
    config_dir: Annotated[Path | None, Option(help="Folder with cards of your own, in dataset/.")] = None,
    csv: Annotated[Path | None, Option(help="Test all beats of this CSV file in Kaggle's format instead.")] = None,
    split: Annotated[str | None, Option(help="Other split, e.g. patient or ds1_ds2 (default: as in training).")] = None,
    seed: Annotated[int | None, Option(help="Other seed of the split.")] = None,
    fold: Annotated[Literal["test", "validation"], Option(help="Which beats of the split.")] = "test",
    peaks: Annotated[
        Literal["given", "detect"], Option(help="R peaks: as annotated, or detected and matched with those.")
    ] = "given",
    detector: Annotated[str, Option(help="With --peaks detect: network, sleepecg or xqrs.")] = "network",
    operating_point: AtPoint = False,
    data_dir: Annotated[Path | None, Option(help="Recordings (default: as in training, else ECG_DATA_DIR).")] = None,
    cache_dir: Annotated[Path | None, Option(help="Cache of beats (default: ECG_CACHE_DIR or the user's).")] = None,
    output: Annotated[
        Path | None,
        Option(help="Folder for scores and report (default: none); in RUN/on the commands report and table find them."),
    ] = None,
    device: Annotated[Literal["cpu", "auto"], Option(help="cpu, or the best available.")] = "auto",
) -> None:
    """Test a checkpoint on the test beats of its run, or on others."""
    from ecg_lightning.core.startup import quick_imports

    with quick_imports():
        from ecg_lightning.pipeline.evaluate import evaluate, evaluate_on
        from ecg_lightning.report import terminal, write_elsewhere, write_report
        from ecg_lightning.runs.discover import run_of

    how: dict[str, Any] = {"data_dir": data_dir, "cache_dir": cache_dir, "output_dir": output, "device": device}
    how |= {"leads": leads_of(leads), "config_dir": config_dir, "split": split, "seed": seed, "fold": fold}
    how |= {"detector": detector if peaks == "detect" else None, "operating_point": operating_point}
    databases = [name for one in on or () for name in ([one] if Path(one).is_dir() else one.split(","))]
    with claimed(output) if output is not None else nullcontext():
        if databases and csv is None:
            records = evaluate_on(file, databases, **how)
            run = run_of(file)
            home = None if run is None else run.record
            terminal.print_elsewhere(home, records)
        else:
            records = {"": evaluate(file, csv=csv, on=",".join(databases) or None, **how)}
            terminal.print_run(records[""])
        if output is not None:
            page = write_elsewhere(home, records, output) if databases else write_report([output], cache_dir=cache_dir)
            print(f"Results in {output}; {page}")
    for name, record in records.items():
        if record.warning:
            print(f"warning: {f'{name}: ' * bool(name)}{record.warning}", file=sys.stderr)


@app.command("ensemble")
def make_ensemble(
    runs: Annotated[list[Path], Argument(metavar="RUN RUN", help="Folders of runs on the same beats and people.")],
    output: Annotated[Path, Option("--output", "-o", help="Folder of the ensemble, which is then as a run's.")],
    mean: Annotated[
        Literal["arithmetic", "geometric"], Option(help="Of probabilities: theirs, or that of their logarithms.")
    ] = "arithmetic",
    weights: Annotated[
        str, Option(help="equal, validation (chosen on validation beats), or a number a run, e.g. 1,1,2.")
    ] = "equal",
    class_weights: Annotated[
        list[str] | None, Option(help="Others for the probabilities of a class, e.g. V=1,0,1. Repeatable.")
    ] = None,
    data_dir: Annotated[Path | None, Option(help="Recordings (default: as in training, else ECG_DATA_DIR).")] = None,
    cache_dir: Annotated[Path | None, Option(help="Cache of beats (default: ECG_CACHE_DIR or the user's).")] = None,
) -> None:
    """Combine finished runs, of networks or baselines, and test them as one on the beats that they were tested on."""
    from ecg_lightning.core.startup import quick_imports

    with quick_imports():
        from ecg_lightning.pipeline import ensemble
        from ecg_lightning.report import terminal, write_report

    how: Any = weights if weights in ("equal", "validation") else _numbers(weights, "--weights")
    of = {
        name: _numbers(own, "--class-weights") for name, _, own in (one.partition("=") for one in class_weights or ())
    }
    with claimed(output):
        record = ensemble.make_ensemble(
            runs, output, mean=mean, weights=how, class_weights=of, data_dir=data_dir, cache_dir=cache_dir
        )
        terminal.print_run(record)
        print(f"Results in {output}; {write_report([output], cache_dir=cache_dir)}")


def _numbers(text: str, option: str) -> list[float]:
    try:
        return list(map(float, text.split(",")))
    except ValueError as error:
        expected = "equal, validation, or a number a run, as 1,1,2" if option == "--weights" else "CLASS=1,1,2"
        raise ConfigError(f"{option} {text}: expected {expected}") from error


@app.command("annotate")
def annotate_recordings(
    recordings: Annotated[
        list[Path],
        Argument(
            metavar="RECORDING",
            help="Files, WFDB records, folders, lists (RECORDS, *.list); example: one that ships.",
        ),
    ],
    model: Annotated[str, Option(help="Weights that ship, a run's folder, a checkpoint, or a .onnx.")] = "cnet",
    output: Annotated[Path, Option("--output", "-o", help="Folder of the files that are written.")] = Path("annotated"),
    formats: Annotated[
        str, Option("--format", help="Of csv, wfdb, edf, html and json (NAME.json then holds the beats, too).")
    ] = "csv,wfdb,html",
    leads: Annotated[str | None, Option(help="E.g. '[1]' or '[\"V5\"]' (default: as in the model's training).")] = None,
    peaks: Annotated[str | None, Option(help="Annotator of the R peaks, e.g. atr (default: detect them).")] = None,
    detector: Annotated[str | None, Option(help="network (the default), sleepecg or xqrs.")] = None,
    abstain: Annotated[
        float | None, Option(min=0, max=1, help="Leave beats below this confidence unclassified, as Q.")
    ] = None,
    operating_point: AtPoint = False,
    annotator: Annotated[str, Option(help="Extension of WFDB annotation files.")] = "ecgl",
    probabilities: Annotated[bool, Option("--probabilities", help="Add those of all classes to annotations.")] = False,
    fs: Annotated[float | None, Option(help="Sampling rate in Hz of a CSV or MATLAB file without one.")] = None,
    unit: Annotated[str | None, Option(help="Unit of a CSV or MATLAB file: mV, uV, V or nV.")] = None,
    jobs: Annotated[int, Option("--jobs", "-j", min=1, help="Number of recordings at once.")] = 1,
    dask: Annotated[str | None, Option(help="Address of a Dask scheduler, tcp://…, whose workers do the work.")] = None,
    part: Annotated[str | None, Option(help="Of the recordings every n-th, e.g. 3/10 in job 3 of an array.")] = None,
    overwrite: Annotated[bool, Option("--overwrite", help="Replace files that were made otherwise.")] = False,
    as_json: Json = False,
) -> None:
    """Find and classify the beats of recordings; write annotations, tables and a page for each.

    Start the command again to go on where it was stopped. Exit code 1 if a recording failed.
    """
    from ecg_lightning.cli.annotate import Request, annotate_recordings

    given = {"leads": leads_of(leads), "peaks": peaks, "detector": detector, "abstain": abstain, "fs": fs, "unit": unit}
    given["operating_point"] = operating_point or None
    request = Request(
        model=model,
        output=output,
        formats=tuple(formats.split(",")),
        how={key: value for key, value in given.items() if value is not None},
        annotator=annotator,
        probabilities=probabilities,
        overwrite=overwrite,
        command=shlex.join(["ecg-lightning", *sys.argv[1:]]),
    )
    if not annotate_recordings(recordings, request, jobs=jobs, dask=dask, part=part, as_json=as_json):
        raise typer.Exit(1)


@app.command("view")
def view_recordings(
    recordings: Annotated[
        list[Path] | None,
        Argument(metavar="[RECORDING]", help="As of annotate; without any the page waits for files that are dropped."),
    ] = None,
    model: Annotated[str, Option(help="Weights that ship, a run's folder, a checkpoint, or a .onnx.")] = "cnet",
    output: Annotated[Path, Option("--output", "-o", help="Folder of corrected annotations.")] = Path("corrected"),
    reference: Annotated[str | None, Option(help="Annotator shown first beside the model, e.g. atr.")] = None,
    leads: Annotated[str | None, Option(help="That are classified, e.g. '[1]' (default: as in training).")] = None,
    peaks: Annotated[str | None, Option(help="Annotator of the R peaks, e.g. atr (default: detect them).")] = None,
    detector: Annotated[str, Option(help="network, sleepecg or xqrs.")] = "network",
    annotator: Annotated[str, Option(help="Extension of the annotation files that are saved.")] = "atr",
    fs: Annotated[float | None, Option(help="Sampling rate in Hz of a CSV or MATLAB file without one.")] = None,
    unit: Annotated[str | None, Option(help="Unit of a CSV or MATLAB file: mV, uV, V or nV.")] = None,
    host: Annotated[str, Option(help="Address to listen on; others than 127.0.0.1 are open to other machines.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, Option(min=0, max=65535, help="Default: 8421, or any if that is taken.")] = None,
    browser: Annotated[bool, Option(help="Open the page in the browser.")] = True,
) -> None:
    """Look at recordings and their beats in the browser, correct them, and save the corrections."""
    from ecg_lightning.cli.view import view

    view(
        recordings or [], model=model, output=output, reference=reference, leads=leads_of(leads), peaks=peaks,
        detector=detector, annotator=annotator, fs=fs, unit=unit, host=host, port=port, browser=browser,
    )  # fmt: skip


@app.command("export")
def export_network(
    model: Annotated[str, Argument(help="A run's folder, a checkpoint, or a name that ships.")],
    output: Annotated[Path, Option("--output", "-o", help="The file, e.g. model.onnx; its card is model.json.")],
    quantize: Annotated[
        Literal["int8"] | None,
        Option(help="Convolutions and LSTM in 8 bits; prints what that costs on validation beats."),
    ] = None,
    data_dir: Annotated[Path | None, Option(help="Recordings (default: as in training, else ECG_DATA_DIR).")] = None,
    cache_dir: Annotated[Path | None, Option(help="Cache of beats (default: ECG_CACHE_DIR or the user's).")] = None,
) -> None:
    """Write a network as ONNX, for onnxruntime and annotate --model; compare it with torch first."""
    from rich.filesize import decimal

    from ecg_lightning.core.startup import quick_imports

    with quick_imports():
        from ecg_lightning.pipeline.export import export

    with progress(f"exporting {model} and comparing it with torch"):
        card = export(model, output, quantize=quantize, data_dir=data_dir, cache_dir=cache_dir)
    parity = card["parity"]
    print(f"{output}: {card['name']}, {', '.join(card['classes'])}, {decimal(card['bytes'])}")
    print(
        f"in single precision: within {parity['difference']:.0e} of torch on {parity['beats']:,} {parity['of']}, "
        f"{card['speed']:.1f} × its speed"
    )
    if quantize:
        int8 = card["int8"]
        scores = int8["macro_f1"]
        cost = "macro-F1 not known without validation beats"
        if scores is not None:
            cost = f"macro-F1 {' → '.join(f'{100 * one:.2f}' for one in scores)} %"
        kept = f"{100 * int8['agreement']:.2f} % of the beats keep their class"
        print(f"int8: {cost}, {kept}, {int8['speed']:.1f} × the speed of single precision")


@app.command("compare-annotations")
def compare_annotation_files(
    reference: Annotated[
        str, Argument(help="Annotations to compare with: a file, RECORDING, FOLDER[:ANNOTATOR] or database.")
    ],
    test: Annotated[
        str, Argument(help="Those under test: a file, FOLDER or FOLDER:csv, or an annotator beside the reference.")
    ],
    start: Annotated[
        Literal["0", "5min"], Option("--from", help="Count all beats, or leave out the learning period.")
    ] = "5min",
    window: Annotated[float, Option(min=0, max=1, help="Seconds within which two beats are the same.")] = 0.15,
    class_map: Annotated[str, Option(help="How symbols become classes, e.g. aami (e, j in N).")] = "bxb",
    fs: Annotated[float | None, Option(min=1, help="Sampling rate in Hz, where no header states it.")] = None,
    data_dir: DataDir = Path("data"),
    config_dir: ConfigDir = None,
    as_json: Json = False,
    output: Annotated[Path | None, Option("--output", "-o", help="File to write: .json, .md or .tex.")] = None,
) -> None:
    """Compare annotation files beat by beat, as ANSI/AAMI EC57 asks: QRS, V and S, gross, average and by record."""
    from ecg_lightning.pipeline.compare_annotations import compare_annotations
    from ecg_lightning.report.matching import comparison_section, write_comparison

    start_s = {"0": 0.0, "5min": 300.0}[start]
    how: dict[str, Any] = {"start_s": start_s, "window_s": window, "class_map": class_map, "fs": fs}
    result = compare_annotations(reference, test, data_dir=data_dir, config_dir=config_dir, **how)
    if output is not None:
        write_comparison(result, output)
    print_answer(result, comparison_section, as_json)


@app.command("table")
def collect_table(
    folders: Runs,
    format_name: Annotated[
        Literal["terminal", "markdown", "csv", "latex"] | None,
        Option("--format", help="Output format (default: by the suffix of --output, else terminal)."),
    ] = None,
    output: Annotated[Path | None, Option(help="File to write: .md, .csv, .tex or .txt (default: print).")] = None,
    only_run: Annotated[bool, Option("--only-run", help="Leave out published results and rows without a run.")] = False,
) -> None:
    """Collect runs into tables: mean ± deviation over seeds, pooled folds, contexts, baselines, published results."""
    from ecg_lightning.report.collected import choose_format, show
    from ecg_lightning.runs.collect import collect

    chosen = choose_format(format_name, output)
    show(collect(*folders, only_run=only_run), chosen, output)


@app.command("compare")
def compare_two_runs(
    first: Annotated[Path, Argument(help="Folder of a run, or of the folds of a cross-validation.")],
    second: Annotated[Path, Argument(help="Another one, tested on the same beats.")],
    as_json: Json = False,
) -> None:
    """Test whether one is better: differences on the same test beats, with confidence intervals and p-values."""
    from ecg_lightning.report.comparison import compare_section
    from ecg_lightning.runs.compare import compare

    print_answer(compare(first, second), compare_section, as_json)


@app.command("report")
def report_runs(
    folders: Runs,
    output: Annotated[Path | None, Option("--output", "-o", help="The page (default: DIR/report.html).")] = None,
    baseline: Annotated[list[Path] | None, Option(help="Run to compare a single run with; repeatable.")] = None,
    brief: Annotated[bool, Option("--brief", help="For a single run: leave out the embedding, the slow part.")] = False,
    cache_dir: Annotated[Path | None, Option(help="Cache of beats (default: ECG_CACHE_DIR or the user's).")] = None,
) -> None:
    """Write the report of one run, or one that compares several, as a single page that needs no network."""
    from ecg_lightning.report import write_report
    from ecg_lightning.report.cells import clean

    page = write_report(folders, output, baselines=baseline or (), embedding=not brief, cache_dir=cache_dir)
    print(clean(page))


@app.command("plot")
def plot_runs(
    folders: Runs,
    what: Annotated[
        Literal["confusion", "per-class", "learning-curves", "low-data"] | None,
        Option(help="Which plot (default: the first three of each run)."),
    ] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="A .png or a folder (default: DIR).")] = None,
) -> None:
    """Plot runs as PNG: confusion matrix, F1 by class, learning curves, scores by size of the training set."""
    from ecg_lightning.report.cells import clean
    from ecg_lightning.report.plots import plot

    for path in plot(folders, what, output):
        print(clean(path))


@app.command("show")
def show_augmentation(
    overrides: Annotated[list[str] | None, Argument(help="As for train, e.g. augmentation=strong seed=1.")] = None,
    output: Annotated[Path | None, Option(help="The PNG (default: augmentation_<name>.png in this folder).")] = None,
    beats: Annotated[int, Option(min=1, max=8, help="Number of training beats of each class.")] = 3,
) -> None:
    """Plot training beats of every class before and after augmentation."""
    from ecg_lightning.pipeline.preview import preview
    from ecg_lightning.report.plots import augmentation_picture

    found = preview(overrides or [], n_beats=beats)
    path = output or Path(f"augmentation_{found.augmentation['name']}.png")
    augmentation_picture(found, path)
    print(path)
