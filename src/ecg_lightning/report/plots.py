"""Pictures of a run (confusion, F1 by class, learning curves, what beats look like and become) and of a sweep.

Each function draws on a `matplotlib` figure of its own, without pyplot, so that nothing is kept between calls and no
display is asked for; the file is written whole or not at all. Colours are of Okabe & Ito's palette, which readers with
any colour vision can tell apart.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.report.wording import conditions
from ecg_lightning.runs.published import published_for_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scores = Mapping[str, Any]

DPI = 120
BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#6b6b6b"
LINES = (BLUE, VERMILION, "#009E73", ORANGE, "#CC79A7", "#56B4E9", "black")
MARKERS = "osD^vP*"
ECG_GRID, ECG_FINE_GRID = "#f0b7b0", "#fae3e0"
EXAMPLES = 4
"""Single beats drawn behind the mean of their class."""


def confusion_picture(scores: Scores, path: Path) -> None:
    """Draw the confusion matrix on the test fold: percentages of each true class, and numbers of beats.

    Args:
        scores: content of ``scores.json``.
        path: destination, a PNG.

    Raises:
        DataError: the file cannot be written.
    """
    confusion = np.asarray(scores["test"]["confusion"])
    classes = list(scores["test"]["per_class"])
    support = confusion.sum(axis=1, keepdims=True)
    share = np.divide(100 * confusion, support, out=np.zeros(confusion.shape), where=support > 0)

    n = len(classes)
    figure = _figure(2.2 + 1.05 * n, 1.9 + 0.8 * n)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row in range(n):
        for column in range(n):
            dark = share[row, column] > 55
            count = confusion[row, column]
            text = f"{share[row, column]:.1f} %\n{count:,}" if count else "0"
            color = "white" if dark else "black" if count else "#a0a0a0"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(n), classes)
    axes.set_yticks(range(n), [f"{name}\n({total:,})" for name, total in zip(classes, support[:, 0], strict=True)])
    axes.set_xticks(np.arange(n - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(n - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (beats)")
    _title(figure, f"Confusion on the {scores.get('fold', 'test')} beats", scores)
    _save(figure, path)


def per_class_picture(scores: Scores, path: Path) -> None:
    """Draw the F1 of each class and their mean as bars, with the published figures as markers where there are some.

    Args:
        scores: content of ``scores.json``.
        path: destination, a PNG.

    Raises:
        DataError: the file cannot be written.
    """
    test = scores["test"]
    names = [*test["per_class"], "macro"]
    own = [100 * entry["f1"] for entry in test["per_class"].values()] + [100 * test["macro_f1"]]

    figure = _figure(2.2 + 0.9 * len(names), 3.6)
    axes = figure.subplots()
    bars = axes.bar(names, own, width=0.62, color=[BLUE] * (len(names) - 1) + [GREY], label="this run")
    for bar, value in zip(bars, own, strict=True):
        fits = value > 8
        at = (bar.get_x() + bar.get_width() / 2, value / 2 if fits else value + 1)
        va, color = ("center", "white") if fits else ("bottom", "black")
        axes.annotate(f"{value:.1f}", at, ha="center", va=va, color=color, fontsize=10)
    published = published_for_run(scores)
    if published:
        theirs = {name: entry["f1"] for name, entry in published["per_class"].items()}
        if "macro_f1" in published:
            theirs["macro"] = published["macro_f1"]
        axes.plot(
            [names.index(name) for name in theirs],
            [100 * value for value in theirs.values()],
            linestyle="none",
            marker="D",
            markersize=7,
            color=ORANGE,
            markeredgecolor="black",
            label="published (epoch chosen on the test file)",
        )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False)
    axes.set_ylim(0, 105)
    axes.set_ylabel("F1 in percent")
    axes.grid(axis="y", color="#e5e5e5")
    _tidy(axes)
    _title(figure, f"F1 on the {scores.get('fold', 'test')} beats", scores)
    _save(figure, path)


def learning_curves_picture(scores: Scores, metrics: Path, path: Path) -> None:
    """Draw loss and macro-F1 over the epochs, and mark the epoch of the best macro-F1 on validation.

    Args:
        scores: content of ``scores.json``.
        metrics: ``metrics.csv`` of Lightning's CSVLogger; of its sparse rows the last value of each epoch counts.
        path: destination, a PNG.

    Raises:
        DataError: there is no such table or no epoch in it, or the picture cannot be written.
    """
    import pandas as pd

    try:
        table = pd.read_csv(metrics)
    except (OSError, ValueError) as error:
        raise DataError(f"{metrics} is no readable table of metrics: {error}") from error
    panels = {"loss": "loss", "macro_f1": "macro-F1 in percent"}
    wanted = [f"{fold}/{name}" for name in panels for fold in ("train", "val")]
    found = [name for name in wanted if name in table.columns and table[name].notna().any()]
    if "epoch" not in table.columns or not found:
        raise DataError(f"{metrics} has no epoch with any of {', '.join(wanted)}: the run ended before its first epoch")
    epochs = table.groupby("epoch")[found].last()
    best: Any = epochs["val/macro_f1"].idxmax() if "val/macro_f1" in found else None

    drawn = {name: label for name, label in panels.items() if any(column.endswith(f"/{name}") for column in found)}
    figure = _figure(4.3 * len(drawn), 3.5)
    for axes, (name, label) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
        scale = 100 if name == "macro_f1" else 1
        for fold, color in (("train", GREY), ("val", BLUE)):
            if f"{fold}/{name}" in found:
                curve = scale * epochs[f"{fold}/{name}"].dropna()
                fold_name = {"train": "training", "val": "validation"}[fold]
                marker = "o" if len(curve) < 10 else ""
                axes.plot(curve.index, curve, color=color, linewidth=1.8, marker=marker, markersize=4, label=fold_name)
        if best is not None:
            axes.axvline(best, color=VERMILION, linewidth=1.2, linestyle="--", label=f"best epoch: {best:.0f}")
            if name == "macro_f1":
                value = scale * epochs.loc[best, "val/macro_f1"]
                axes.plot([best], [value], "o", color=VERMILION, markersize=6)
                axes.annotate(
                    f"{value:.1f}", (best, value), xytext=(-7, -14), textcoords="offset points", ha="right", fontsize=10
                )
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="#e5e5e5")
        axes.legend(edgecolor="none", framealpha=0.9)
        _tidy(axes)
    _title(figure, "Training and validation", scores)
    _save(figure, path)


def low_data_picture(curves: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the test score by the number of training beats: a line for each network and way of transfer.

    Bars are standard deviations over seeds, faint points the single runs. Of `mi`, F1 of MI and AUROC are drawn, of
    other tasks macro-F1.

    Args:
        curves: ``low_data`` of what `pooling.pool` returned, at least one.
        path: destination, a PNG.

    Raises:
        DataError: the file cannot be written.
    """
    panels: list[tuple[str, str, str]] = []
    for task in dict.fromkeys(curve["task"] for curve in curves):
        if task == "mi":
            panels += [(task, "f1", "F1 of MI in percent"), (task, "auroc", "AUROC in percent")]
        else:
            panels.append((task, "macro_f1", f"macro-F1 of {task} in percent"))
    labels = list(dict.fromkeys(curve["label"] for curve in curves))
    looks = {label: (LINES[i % len(LINES)], MARKERS[i % len(MARKERS)]) for i, label in enumerate(labels)}

    width = max(4.6 * len(panels), 6.4)
    n_columns = max(1, min(len(labels), int(11 * width / (8 + max(map(len, labels))))))
    figure = _figure(width, 4.0 + 0.2 * -(-len(labels) // n_columns))
    for axes, (task, name, title) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        shown = [curve for curve in curves if curve["task"] == task]
        for curve in shown:
            color, marker = looks[curve["label"]]
            points = [point for point in curve["points"] if point["mean"][name] is not None]
            # Lines are set apart, or their bars would hide each other, and single runs from the bar of theirs.
            aside = 1.05 ** (labels.index(curve["label"]) - (len(labels) - 1) / 2)
            for run in (run for point in points for run in point["runs"] if run["test"][name] is not None):
                at, value = 1.025 * aside * run["n_train"], 100 * run["test"][name]
                axes.plot([at], [value], marker, color=color, alpha=0.4, markersize=4.5, markeredgewidth=0)
            axes.errorbar(
                [aside * point["n_train"] for point in points],
                [100 * point["mean"][name] for point in points],
                yerr=[100 * (point["sd"][name] or 0) for point in points],
                color=color,
                marker=marker,
                markersize=6,
                linewidth=1.8,
                elinewidth=1.2,
                capsize=3,
            )
        axes.set_xscale("log")
        _mark_sizes(axes, [point["n_train"] for curve in shown for point in curve["points"]])
        axes.set_xlabel("training beats")
        axes.set_ylabel(title)
        axes.grid(color="#e5e5e5")
        _tidy(axes)

    handles = [
        axes.plot([], [], color=color, marker=marker, linewidth=1.8, label=label)[0]
        for label, (color, marker) in looks.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=n_columns, frameon=False, fontsize=9)
    n_seeds = sorted({len(point["seeds"]) for curve in curves for point in curve["points"]})
    seeds = f"{n_seeds[0]} to {n_seeds[-1]}" if len(n_seeds) > 1 else str(n_seeds[0])
    what = "one seed" if n_seeds == [1] else f"mean of {seeds} seeds, bars: standard deviation, faint: single runs"
    protocols = dict.fromkeys(_sweep_protocol(curve) for curve in curves)
    synthetic = any(curve["synthetic"] for curve in curves)
    title = f"Test score by number of training beats{': SYNTHETIC BEATS' if synthetic else ''}"
    color = VERMILION if synthetic else "black"
    figure.suptitle(f"{title}\n{'; '.join(protocols)}\n{what}", fontsize=11, color=color)
    _save(figure, path)


def _sweep_protocol(entry: Mapping[str, Any]) -> str:
    folds = f", {len(entry['folds'])} of {entry['n_folds']} folds pooled" if entry["folds"] else ""
    return f"{entry['dataset']} from {entry['source']}, {conditions(entry, parts=False)}{folds}"


def _mark_sizes(axes: "Axes", sizes: Sequence[float]) -> None:
    """Ticks at the numbers of beats that were trained on, but where they would run into each other."""
    ticks: list[float] = []
    for size in sorted(sizes):
        if not ticks or size > 1.35 * ticks[-1]:
            ticks.append(size)
    axes.set_xticks(ticks, [f"{size:,.0f}" for size in ticks])
    axes.set_xticks([], minor=True)


def beats_picture(beats: Beats, path: Path) -> None:
    """Draw the mean beat of each class over a few single ones, on a grid like that of ECG paper.

    The zero padding is left out: at each instant the mean is over the beats that last so long, and it ends where
    fewer than half of them do.

    Args:
        beats: any beats; examples are taken at even distances, so equal beats give an equal picture.
        path: destination, a PNG.

    Raises:
        DataError: the file cannot be written.
    """
    ms = 1000 * np.arange(beats.length) / beats.fs
    columns = min(3, len(beats.classes))
    rows = -(-len(beats.classes) // columns)
    figure = _figure(3.3 * columns, 2.4 * rows + 0.5)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for label, (name, axes) in enumerate(zip(beats.classes, panels, strict=False)):
        chosen = np.flatnonzero(beats.known_labels == label)
        axes.set_title(f"{name}  ({len(chosen):,} beats)", fontsize=10, loc="left")
        _ecg_paper(axes, float(ms[-1]))
        if len(chosen) == 0:
            continue
        signals, lengths = beats.signals[chosen, 0], beats.lengths[chosen]
        for i in np.linspace(0, len(chosen) - 1, min(EXAMPLES, len(chosen))).astype(int):
            end = lengths[i]
            axes.plot(ms[:end], signals[i, :end], color=GREY, linewidth=0.8, alpha=0.6)
        # Padding is zero and adds nothing to a sum, so only the number of beats that last to t is to be counted.
        lasting = (lengths[:, None] > np.arange(beats.length)).sum(axis=0)
        end = int((lasting >= len(chosen) / 2).sum())
        mean = signals.sum(axis=0, dtype=np.float64)[:end] / lasting[:end]
        axes.plot(ms[:end], mean, color=BLUE, linewidth=2.2)
    for axes in panels[len(beats.classes) :]:
        axes.set_axis_off()
    # Shared axes are labelled in the last row only, which may be shorter than the others.
    for axes in panels[: len(beats.classes)][-columns:]:
        axes.tick_params(labelbottom=True)
    keys = [
        panels[0].plot([], [], color=BLUE, linewidth=2.2, label="mean of the class")[0],
        panels[0].plot([], [], color=GREY, linewidth=0.8, label="single beats")[0],
    ]
    figure.legend(handles=keys, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    figure.supxlabel("time from the start of the beat in ms", fontsize=10)
    figure.supylabel("amplitude (scaled)", fontsize=10)
    source = f", from {beats.origin['source']}" if "source" in beats.origin else ""
    title = "SYNTHETIC BEATS by class" if beats.synthetic else f"Beats by class{source}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, color=VERMILION if beats.synthetic else "black")
    _save(figure, path)


@dataclass(frozen=True)
class Panel:
    """One panel of `augmentation_picture`.

    Attributes:
        title: what beat it is of.
        lines: each line's role, a key of `ROLES`, and its signal ``[t]`` without its padding; none leave the panel's
            place empty.
    """

    title: str
    lines: Sequence[tuple[str, npt.NDArray[np.float32]]]


ROLES: Mapping[str, Mapping[str, Any]] = {
    "training beat": {"color": "black", "linewidth": 1.5, "zorder": 3},
    "after the transforms": {"color": BLUE, "linewidth": 1.1, "zorder": 4},
    "other draws": {"color": "#56B4E9", "linewidth": 0.7, "alpha": 0.8},
    "new beats": {"color": "#009E73", "linewidth": 0.9, "alpha": 0.9},
    "partner": {"color": ORANGE, "linewidth": 1.0},
    "mixed": {"color": "#CC79A7", "linewidth": 1.8, "zorder": 5},
}
"""What a line of `augmentation_picture` can be, in the words of its legend, and how it is drawn."""


def augmentation_picture(
    rows: Mapping[str, Sequence[Panel]],
    path: Path,
    *,
    fs: float,
    length: int,
    unit: str,
    about: Sequence[str],
    synthetic: bool,
) -> None:
    """Draw what augmentation makes of beats, a row of panels a class, on a grid like that of ECG paper.

    A line ends, in a dot, where its beat does: the zero padding is left out.

    Args:
        rows: the panels of each class; rows may differ in length.
        path: destination, a PNG.
        fs: sampling rate in Hz.
        length: samples a beat, padding included.
        unit: of the signals' height.
        about: the title and what stands below it; long lines are broken.
        synthetic: whether a simulation made the beats.

    Raises:
        DataError: the file cannot be written.
    """
    columns = max(len(panels) for panels in rows.values())
    width = max(2.9 * columns, 5.8)
    told = [line for text in about[1:] for line in textwrap.wrap(text, int(15 * width))]
    figure = _figure(width, 1.55 * len(rows) + 0.17 * len(told) + 1.1)
    grid = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    signals = [signal for panels in rows.values() for panel in panels for _, signal in panel.lines if len(signal)]
    low, high = min(float(signal.min()) for signal in signals), max(float(signal.max()) for signal in signals)
    margin = 0.05 * (high - low)
    for (name, panels), line_of_axes in zip(rows.items(), grid, strict=True):
        line_of_axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, labelpad=10)
        for axes, panel in zip_longest(line_of_axes, panels):
            if panel is None or not panel.lines:
                axes.set_axis_off()
                continue
            axes.set_title(panel.title, fontsize=8.5, loc="left", color="#404040", pad=3)
            _ecg_paper(axes, length / fs, second=1, heights=(low - margin, high + margin))
            axes.set_xlim(-0.02, length / fs + 0.02)  # an R peak at 0 is not to hide in the frame
            axes.tick_params(labelsize=8)
            for role, signal in panel.lines:
                end = [-1] if len(signal) else []  # a blanked beat has none
                axes.plot(np.arange(len(signal)) / fs, signal, **ROLES[role], marker="o", markersize=2.2, markevery=end)
    shown = {role for panels in rows.values() for panel in panels for role, _ in panel.lines}
    keys = [grid[0, 0].plot([], [], **look, label=role)[0] for role, look in ROLES.items() if role in shown]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9)
    # At the bottom the layout has room for the legend alone.
    grid[-1, (columns - 1) // 2].set_xlabel("time from the start of the beat in s", fontsize=9)
    figure.supylabel(unit, fontsize=9)
    title = f"{about[0]}: SYNTHETIC BEATS" if synthetic else about[0]
    figure.suptitle("\n".join([title, *told]), x=0.01, ha="left", fontsize=9, color=VERMILION if synthetic else "black")
    _save(figure, path)


def _ecg_paper(
    axes: "Axes", duration: float, *, second: float = 1000, heights: tuple[float, float] = (-0.05, 1.1)
) -> None:
    """Large squares of 200 ms and small ones of 40 ms, as on paper at 25 mm/s, and of 0.5 and 0.1 in height.

    Args:
        axes: to draw on.
        duration: where they end, in a unit of which a second has `second`.
        second: 1000 for milliseconds.
        heights: where they begin and end in height.
    """
    low, high = heights
    axes.set_xlim(0, duration)
    axes.set_ylim(low, high)
    axes.set_xticks(np.arange(0, duration, 0.4 * second))
    axes.set_xticks(np.arange(0, duration, 0.04 * second), minor=True)
    axes.set_yticks(0.5 * np.arange(np.ceil(low / 0.5), high / 0.5))
    axes.set_yticks(0.1 * np.arange(np.ceil(low / 0.1), high / 0.1), minor=True)
    axes.grid(which="minor", color=ECG_FINE_GRID, linewidth=0.5)
    axes.grid(which="major", color=ECG_GRID, linewidth=0.8)
    for at in np.arange(0.2 * second, duration, 0.4 * second):
        axes.axvline(at, color=ECG_GRID, linewidth=0.8, zorder=0.5)
    axes.set_axisbelow(True)
    axes.spines[:].set_color(ECG_GRID)
    axes.tick_params(which="both", length=0, labelsize=9)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _title(figure: "Figure", title: str, scores: Scores) -> None:
    about = f"{scores['model']} on {scores['dataset']}, seed {scores['seed']}, {conditions(scores)}"
    told = "\n".join(textwrap.wrap(about, int(13 * figure.get_figwidth())))
    mark, color = (": SYNTHETIC BEATS", VERMILION) if scores["synthetic"] else ("", "black")
    figure.suptitle(f"{title}{mark}\n{told}", fontsize=10, color=color)


def _tidy(axes: "Axes") -> None:
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: "Figure", path: Path) -> None:
    from PIL import Image

    picture = BytesIO()
    figure.savefig(picture, format="png")
    # A palette of 128 colours cannot be told from the original here and is a third of its size.
    small = Image.open(picture).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    with atomic_write(path) as partial:
        small.save(partial, format="png", optimize=True, dpi=(DPI, DPI))
