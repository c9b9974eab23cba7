"""Pictures for slides and papers, as PNG: confusion, F1 by class, learning curves, low data, augmentation.

Each is drawn on a `matplotlib` figure of its own, without pyplot, so that nothing is kept between calls and no display
is needed; the file is written whole or not at all. Colours are of Okabe & Ito's palette.
"""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from itertools import cycle, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.metrics.catalogue import OVERALL, Metric, metric_at
from ecg_lightning.metrics.recordings import WHERE
from ecg_lightning.report.analysis import learning_curves, over_seeds, size_ticks
from ecg_lightning.report.cells import clean
from ecg_lightning.report.inspection import augmentation_phrases
from ecg_lightning.report.tables import conditions, sweep_conditions
from ecg_lightning.runs.aggregate import low_data
from ecg_lightning.runs.discover import find_runs
from ecg_lightning.runs.published import published_for_run
from ecg_lightning.runs.schema import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ecg_lightning.pipeline.preview import Preview

DPI = 120
MOST_LINES = 30  # of what a picture depends on; names may have any length
BLUE, ORANGE, VERMILION, GREY, PALE = "#0072B2", "#E69F00", "#D55E00", "#6b6b6b", "#e5e5e5"
LINES = (BLUE, VERMILION, "#009E73", ORANGE, "#CC79A7", "#56B4E9", "black")
MARKERS = "osD^vP*"
ECG_GRID, ECG_FINE_GRID = "#f0b7b0", "#fae3e0"


def plot(paths: Sequence[Path], what: str | None = None, output: Path | None = None) -> list[Path]:
    """Draw finished runs and return the files.

    Args:
        paths: folders of runs, of sweeps, or of such folders; or records under other names.
        what: ``low-data`` or one of `PICTURES`; None: all of `PICTURES` that each run has.
        output: the picture, or a folder for several; by default each is in its run's folder, and ``low_data.png`` in
            the only folder that was given, else in the current one.

    Raises DataError if there is no run or nothing to draw, ConfigError for several pictures in one file.
    """
    runs, _ = find_runs(paths)
    if what == "low-data":
        path = output or (paths[0] if len(paths) == 1 and paths[0].is_dir() else Path()) / "low_data.png"
        low_data_picture(low_data(runs), path)
        return [path]
    wanted = [
        (run, kind)
        for run in runs
        for kind in ([what] if what else PICTURES)
        if what or kind != "learning-curves" or (run.folder / "metrics.csv").is_file()
    ]
    if output is not None and output.suffix == ".png" and len(wanted) > 1:
        raise ConfigError(f"{len(wanted)} pictures do not fit one file {output}: give a folder, or --what")
    files = []
    for run, kind in wanted:
        name = f"{kind.replace('-', '_')}.png"
        if output is None:
            path = (run.folder if run.folder.is_dir() else run.folder.parent) / name
        elif output.suffix == ".png":
            path = output
        else:
            path = output / (name if len(runs) == 1 else f"{run.folder.stem}_{name}")
        PICTURES[kind](run.record, run.folder, path)
        files.append(path)
    return files


def confusion_picture(record: RunRecord, path: Path) -> None:
    """Draw the confusion matrix: percentages of each true class, and numbers of beats."""
    confusion = np.asarray(record.test["confusion"])
    support, n = confusion.sum(axis=1, keepdims=True), len(record.classes)
    share = np.divide(100 * confusion, support, out=np.zeros(confusion.shape), where=support > 0)
    figure = _figure(2.2 + 1.05 * n, 1.9 + 0.8 * n)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for (row, column), count in np.ndenumerate(confusion):
        text = f"{share[row, column]:.1f} %\n{count:,}" if count else "0"
        color = "white" if share[row, column] > 55 else "black" if count else "#a0a0a0"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    classes = list(map(clean, record.classes))
    totals = [f"{name}\n({total:,})" for name, total in zip(classes, support[:, 0], strict=True)]
    for set_ticks, names in ((axes.set_xticks, classes), (axes.set_yticks, totals)):
        set_ticks(range(n), names)
        set_ticks(np.arange(n - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class", ylabel="true class (beats)")
    _save(figure, f"Confusion on the {record.fold} beats", record, path)


def per_class_picture(record: RunRecord, path: Path) -> None:
    """Draw the F1 of each class and their mean, with the published ones as markers."""
    names = [*map(clean, record.classes), "macro"]
    own = [100 * one["f1"] for one in record.test["per_class"].values()] + [100 * record.test["macro_f1"]]
    figure = _figure(2.2 + 0.9 * len(names), 3.6)
    axes = figure.subplots()
    bars = axes.bar(names, own, width=0.62, color=[BLUE] * (len(names) - 1) + [GREY], label="this run")
    for bar, value in zip(bars, own, strict=True):
        y, va, color = (value / 2, "center", "white") if value > 8 else (value + 1, "bottom", "black")
        at = bar.get_x() + bar.get_width() / 2, y
        axes.annotate(f"{value:.1f}", at, ha="center", va=va, color=color, fontsize=10)
    if published := published_for_run(record):
        theirs = {name: one["f1"] for name, one in published["per_class"].items()}
        theirs |= {"macro": published["macro_f1"]} if "macro_f1" in published else {}
        axes.plot(
            [names.index(name) for name in theirs], [100 * value for value in theirs.values()], "D", markersize=7,
            color=ORANGE, markeredgecolor="black", label="published (epoch chosen on the test file)",
        )  # fmt: skip
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False)
    axes.set(ylim=(0, 105), ylabel="F1 in percent")
    _tidy(axes, "y")
    _save(figure, f"F1 on the {record.fold} beats", record, path)


def learning_curves_picture(record: RunRecord, metrics: Path, path: Path) -> None:
    """Draw loss and macro-F1 by epoch from ``metrics.csv``, and mark the best epoch; DataError without any epoch."""
    panels = learning_curves(metrics, record)
    if not panels:
        raise DataError(f"{metrics} has no epoch with loss or macro_f1: the run ended before its first epoch")
    figure, best = _figure(4.3 * len(panels), 3.5), record.best_epoch
    for axes, (name, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        metric = metric_at((name,))
        for words, points in curves.items():
            x, y = np.array(points).T
            look = {"color": GREY if words == "training" else BLUE, "marker": "o" if len(x) < 10 else ""}
            axes.plot(x, metric.scale * y, linewidth=1.8, markersize=4, label=words, **look)
        if best is not None:
            axes.axvline(best, color=VERMILION, linewidth=1.2, linestyle="--", label=f"best epoch: {best}")
        axes.set(xlabel="epoch", ylabel=f"{metric.label}{' in percent' * (metric.scale == 100)}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(edgecolor="none", framealpha=0.9)
        _tidy(axes, "both")
    _save(figure, "Training and validation", record, path)


PICTURES: Mapping[str, Callable[[RunRecord, Path, Path], None]] = {
    "confusion": lambda record, folder, path: confusion_picture(record, path),
    "per-class": lambda record, folder, path: per_class_picture(record, path),
    "learning-curves": lambda record, folder, path: learning_curves_picture(record, folder / "metrics.csv", path),
}
"""Pictures of one run: from its record and its folder to a file."""


def _percent(metric: Metric, scores: Mapping[str, Any]) -> float:
    value = metric.of(scores)
    return math.nan if value is None else 100 * value  # which is not drawn


def low_data_picture(curves: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the test score by the number of training beats: a line for each network and mode of transfer.

    Bars are standard deviations over seeds, faint points the single runs. Of ``mi``, AUROC by beat and by recording are
    drawn (where recordings have no scores, F1 of MI and AUROC), of other tasks macro-F1. DataError without `curves`,
    which `ecg_lightning.runs.aggregate.low_data` returns.
    """
    if not curves:
        raise DataError("there are no runs that differ in split.train_size alone: no low-data curve")
    tasks = dict.fromkeys(curve["task"] for curve in curves)
    whole = metric_at((WHERE, "auroc"))
    by_recording = all(whole.of(point["mean"]) is not None for curve in curves for point in curve["points"])
    of_mi = [metric_at(("auroc",)), whole] if by_recording else [metric_at(("f1",)), metric_at(("auroc",))]
    panels = [(task, metric) for task in tasks for metric in (of_mi if task == "mi" else [OVERALL["macro_f1"]])]
    labels = list(dict.fromkeys(curve["label"] for curve in curves))
    styles = cycle([{"color": color, "marker": marker} for color, marker in zip(LINES, MARKERS, strict=True)])
    looks = dict(zip(labels, styles, strict=False))
    width = max(4.6 * len(panels), 6.4)
    n_columns = max(1, min(len(labels), int(11 * width / (8 + max(map(len, labels))))))
    figure = _figure(width, 4.0 + 0.2 * -(-len(labels) // n_columns))
    for axes, (task, metric) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shown = [curve for curve in curves if curve["task"] == task]
        for curve in shown:
            look = looks[curve["label"]]
            points = curve["points"]
            # Lines are set apart, or their bars would hide each other, and single runs from the bar of theirs.
            aside = 1.05 ** (labels.index(curve["label"]) - (len(labels) - 1) / 2)
            for run in (run for point in points for run in point["runs"]):
                at, value = 1.025 * aside * run["n_train"], _percent(metric, run["test"])
                axes.plot([at], [value], alpha=0.4, markersize=4.5, markeredgewidth=0, **look)
            axes.errorbar(
                [aside * point["n_train"] for point in points], [_percent(metric, point["mean"]) for point in points],
                yerr=[_percent(metric, point["sd"]) for point in points], markersize=6, linewidth=1.8, elinewidth=1.2,
                capsize=3, **look,
            )  # fmt: skip
        axes.set_xscale("log")
        ticks = size_ticks((point["n_train"] for curve in shown for point in curve["points"]), 1.35)
        axes.set_xticks(ticks, [f"{size:,.0f}" for size in ticks])
        axes.set_xticks([], minor=True)
        of = " of MI" if metric.key == ("f1",) else f" of {task}" * (metric.key == ("macro_f1",))
        axes.set(xlabel="training beats", ylabel=f"{metric.label}{of} in percent")
        _tidy(axes, "both")
    handles = [axes.plot([], [], linewidth=1.8, label=clean(label), **look)[0] for label, look in looks.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9)
    what = over_seeds(curves)
    about = ["; ".join(dict.fromkeys(map(sweep_conditions, curves))), what + ", faint: single runs" * ("mean" in what)]
    _write(figure, "Test score by number of training beats", about, any(curve["synthetic"] for curve in curves), path)


ROLES: Mapping[str, Mapping[str, Any]] = {  # of a line of `augmentation_picture`, in the words of its legend
    "training beat": {"color": "black", "linewidth": 1.5, "zorder": 3},
    "after the transforms": {"color": BLUE, "linewidth": 1.1, "zorder": 4},
    "other draws": {"color": "#56B4E9", "linewidth": 0.7, "alpha": 0.8},
    "new beats": {"color": "#009E73", "linewidth": 0.9, "alpha": 0.9},
    "partner": {"color": ORANGE, "linewidth": 1.0},
    "mixed": {"color": "#CC79A7", "linewidth": 1.8, "zorder": 5},
}
UNITS = {
    "beat": "amplitude (each beat scaled to [0, 1])",
    "record": "amplitude (each record scaled to [0, 1])",
    "none": "mV",
}


def augmentation_picture(preview: "Preview", path: Path) -> None:
    """Draw training beats before and after augmentation, a row of panels a class; a line ends where its beat does."""
    rows = preview.rows
    n_columns = max(map(len, rows.values()))
    figure = _figure(max(2.9 * n_columns, 5.8), 1.55 * len(rows) + 1.6)
    grid = figure.subplots(len(rows), n_columns, sharex=True, sharey=True, squeeze=False)
    lines = [line for panels in rows.values() for panel in panels for line in panel.lines]
    low, high = min(float(signal.min()) for _, signal in lines), max(float(signal.max()) for _, signal in lines)
    margin = 0.05 * (high - low)
    for (name, panels), line_of_axes in zip(rows.items(), grid, strict=True):
        line_of_axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=10)
        for axes, panel in zip_longest(line_of_axes, panels):
            if panel is None or not panel.lines:
                axes.set_axis_off()
                continue
            axes.set_title(panel.title, fontsize=8.5, loc="left", color="#404040", pad=3)
            _ecg_paper(axes, preview.length / preview.fs, low - margin, high + margin)
            for role, signal in panel.lines:
                end = {"marker": "o", "markersize": 2.2, "markevery": [-1]}
                axes.plot(np.arange(len(signal)) / preview.fs, signal, **ROLES[role], **end)
    shown = {role for role, _ in lines}
    keys = [grid[0, 0].plot([], [], **look, label=role)[0] for role, look in ROLES.items() if role in shown]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9)
    # At the bottom the layout has room for the legend alone.
    grid[-1, (n_columns - 1) // 2].set_xlabel("time from the start of the beat in s", fontsize=9)
    figure.supylabel(UNITS[preview.scaling], fontsize=9)
    # Spaces that do not break keep a phrase on one line.
    phrases = "; ".join(phrase.replace(" ", "\u00a0") for phrase in augmentation_phrases(preview.augmentation))
    about = [preview.data, phrases or "none: beats are not changed"]
    title = f"Augmentation {preview.augmentation['name']}: training beats"
    _write(figure, title, about, preview.synthetic, path, left=True)


def _ecg_paper(axes: "Axes", duration: float, low: float, high: float) -> None:
    """Large squares of 200 ms and small ones of 40 ms, as on paper at 25 mm/s, and of 0.5 and 0.1 in height."""
    # A margin at 0, or the frame would hide an R peak there.
    axes.set(xlim=(-0.02, duration + 0.02), ylim=(low, high), xticks=np.arange(0, duration, 0.4))
    axes.set_xticks(np.arange(0, duration, 0.04), minor=True)
    for which, step, color, width in (("minor", 0.1, ECG_FINE_GRID, 0.5), ("major", 0.5, ECG_GRID, 0.8)):
        axes.set_yticks(step * np.arange(np.ceil(low / step), high / step), minor=which == "minor")
        axes.grid(which=which, color=color, linewidth=width)  # type: ignore[arg-type]
    for at in np.arange(0.2, duration, 0.4):
        axes.axvline(at, color=ECG_GRID, linewidth=0.8, zorder=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_color(ECG_GRID)
    axes.tick_params(which="both", length=0, labelsize=8)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _tidy(axes: "Axes", grid: Any) -> None:
    axes.grid(axis=grid, color=PALE)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: "Figure", title: str, record: RunRecord, path: Path) -> None:
    _write(figure, title, [f"{record.model}, seed {record.seed}; {conditions(record)}"], record.synthetic, path)


def _write(
    figure: "Figure", title: str, about: Sequence[str], synthetic: bool, path: Path, *, left: bool = False
) -> None:
    """Set the title and what the picture depends on, in lines that fit, and write the file."""
    from matplotlib.text import Text
    from PIL import Image

    width = int(14 * figure.get_figwidth())
    lines = [line for text in about for line in textwrap.wrap(clean(text), width)][:MOST_LINES]
    figure.set_figheight(figure.get_figheight() + 0.16 * max(0, len(lines) - 2))
    mark, color = (": SYNTHETIC BEATS", VERMILION) if synthetic else ("", "black")
    where: Any = {"x": 0.01, "ha": "left"} if left else {}
    figure.suptitle("\n".join([f"{title}{mark}", *lines]), fontsize=9.5, color=color, **where)
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # names are data: a dollar would start mathematics
    picture = BytesIO()
    figure.savefig(picture, format="png")
    # With a palette of 128 colours the file looks the same here and is a third as large.
    small = Image.open(picture).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    with atomic_write(path) as partial:
        small.save(partial, format="png", optimize=True, dpi=(DPI, DPI))
