"""Tables for the terminal: one run with the published figures beside it, the jobs of a sweep side by side and together.

Everything here takes the content of ``scores.json``, or what `pooling` made of several, and gives something that `rich`
prints. Marks are ASCII and the widths fit 80 columns, so that a table also reads well in a log file.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ecg_lightning.report.wording import CLASSES, SYNTHETIC_WARNING, conditions, context
from ecg_lightning.runs.published import FIGURES, PUBLISHED_CAVEAT, published_for_run

Scores = Mapping[str, Any]

NONE = "-"


def run_table(scores: Scores) -> RenderableType:
    """What to print when a run ends: its test scores by class, in percent, beside the published ones if it has a row.

    Args:
        scores: content of the run's ``scores.json``.
    """
    test = scores["test"]
    published = published_for_run(scores)
    table = Table(
        title=f"{scores['model']} on {scores['task']}: {_fold(scores)} scores in percent",
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("class", no_wrap=True, vertical="bottom")
    for header in ("preci-\nsion", "\nrecall", "\nF1", "\nbeats"):
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    if published:
        for header in ("publ.\npreci-\nsion", "publ.\nrecall", "publ.\nF1"):
            table.add_column(header, justify="right", style="dim", vertical="bottom")
        table.add_column("F1 minus\npubl.", justify="right", vertical="bottom")

    classes = list(test["per_class"])
    for name in classes:
        own = test["per_class"][name]
        absent = own["support"] + own["predicted"] == 0
        theirs = published["per_class"].get(name) if published else None
        figures = [None if absent else own[figure] for figure in FIGURES]
        cells = [*map(_percent, figures), f"{own['support']:,}"]
        table.add_row(
            name, *cells, *_beside(published, None if absent else own["f1"], theirs), end_section=name == classes[-1]
        )
    mean = {figure: test[f"macro_{figure}"] for figure in FIGURES}
    macro = None
    if published and "macro_f1" in published:
        macro = {figure: published[f"macro_{figure}"] for figure in FIGURES}
    table.add_row(
        "macro (mean)",
        *(_percent(mean[figure]) for figure in FIGURES),
        f"{scores['n'][_fold(scores)]:,}",
        *_beside(published, mean["f1"], macro),
        style="bold",
    )

    harmonic = f"F1 of macro precision and recall {_percent(test['f1_of_macro_precision_recall'])}"
    if published and macro:
        harmonic += f" (published {_percent(published['f1_of_macro_precision_recall'])})"
    more = [f"accuracy {_percent(test['accuracy'])}", f"weighted F1 {_percent(test['weighted_f1'])}", harmonic]
    if "auroc" in test:
        more += [f"specificity {_percent(test['specificity'])}", f"AUROC {_percent(test['auroc'])}"]
    # Of two classes the mean AUROC is that of either, which is there.
    further = [key for key in FURTHER if key in test and not (key == "macro_auroc" and "auroc" in test)]
    more += [f"{FURTHER[key]} {_percent(test[key])}" for key in further]
    epoch = "" if scores["best_epoch"] is None else f" (epoch {scores['best_epoch']})"
    more.append(f"macro-F1 on validation {_percent(scores['val']['macro_f1'])}{epoch}")
    return Group(table, Text(", ".join(more)), *_intervals(test), Text(), *_ec57(test), *_caption(scores, published))


FURTHER = {
    "balanced_accuracy": "balanced accuracy",
    "kappa": "kappa",
    "j_kappa": "j-kappa",
    "macro_auroc": "macro AUROC",
    "ece": "calibration error",
}
"""Figures in the line below a run's table, where its scores have them: those filed before they were scored do not."""


def _intervals(test: Scores) -> Iterable[RenderableType]:
    """A paragraph of the intervals of the figures that a task is judged by."""
    told = test.get("intervals")
    if not told or told["macro_f1"] is None:
        return
    named: dict[str, tuple[str, ...]] = {"macro-F1": ("macro_f1",), "accuracy": ("accuracy",)}
    if "auroc" in test:
        named["AUROC"] = ("macro_auroc",)  # of two classes that of either
    named |= {f"F1 {name}": ("per_class", name, "f1") for name in test["per_class"]}
    found = ((name, _value(told, path)) for name, path in named.items())
    ends = [f"{name} {_ends(one)}" for name, one in found if one]
    units = f"{told['n_resampled']:,} {told['resampled']}"
    by = units if told["resampled"] == "patients" else f"{units}, as patients are not known: too narrow"
    yield Text(f"{100 * told['level']:.0f} % intervals ({by}): {', '.join(ends)}")


def _ec57(test: Scores) -> Iterable[RenderableType]:
    """V and S as the standard counts them, where they were."""
    told = test.get("ec57")
    if not told:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("EC57, gross", no_wrap=True, vertical="bottom")
    for header in ("sensi-\ntivity", "95 %\ninterval", "+P", "95 %\ninterval", "FPR", "beats"):
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    rows = {of: (told[of], _value(test, ("intervals", "ec57", of))) for of in ("V", "S")}
    if "without_232" in told:
        rows["S without 232"] = (told["without_232"]["S"], None)
    for name, (one, ends) in rows.items():
        cells = []
        for figure in ("sensitivity", "positive_predictivity"):
            cells += [_percent(one[figure]), _ends(ends and ends[figure])]
        false_positives = NONE if one["false_positive_rate"] is None else f"{100 * one['false_positive_rate']:.3f}"
        table.add_row(name, *cells, false_positives, f"{one['tp'] + one['fn']:,}")
    yield table


def comparison_table(runs: Mapping[str, Scores], failures: Mapping[str, str] | None = None) -> RenderableType:
    """What to print when a sweep ends: a table for each task, the best job on validation first.

    Args:
        runs: name of the job (such as its overrides) → content of its ``scores.json``.
        failures: name of the job → its error, of which the first line is shown.
    """
    failures = failures or {}
    parts: list[RenderableType] = []
    for kind in dict.fromkeys(map(_task_and_fold, runs.values())):
        parts += _comparison(*kind, {name: scores for name, scores in runs.items() if _task_and_fold(scores) == kind})
    if failures:
        parts.append(Text(f"{len(failures)} of {len(runs) + len(failures)} jobs failed:", style="bold red"))
        for name, error in failures.items():
            first = next((line.strip() for line in error.splitlines() if line.strip()), "no message")
            parts.append(Text.assemble("  ", (name, "red"), ": ", first))
    return Group(*parts) if parts else Text("no jobs")


def _task_and_fold(scores: Scores) -> tuple[str, str]:
    return scores["task"], _fold(scores)


def _comparison(task: str, fold: str, runs: Mapping[str, Scores]) -> list[RenderableType]:
    some = next(iter(runs.values()))
    # Headers are broken so that ten columns of figures fit a terminal of 80.
    paths = {
        "macro\nF1\nval": ("val", "macro_f1"),
        **({"macro\nF1\ntest": ("test", "macro_f1")} if fold == "test" else {}),
        **{header: ("test", *path) for header, path in _figures(some["test"]).items()},
    }
    ordered = sorted(runs.items(), key=lambda run: -_rounded(run[1]["val"]["macro_f1"]))
    best = {header: max(_rounded(_dig(scores, path)) for _, scores in ordered) for header, path in paths.items()}

    title = f"{task}: {len(runs)} job{'s' * (len(runs) > 1)}, scores in percent"
    table = _numbered_table(title if fold == "test" else f"{title} on validation; the test beats were left alone")
    for header in paths:
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    table.add_column("time", justify="right", no_wrap=True, vertical="bottom")
    legend: list[RenderableType] = []
    for number, (name, scores) in enumerate(ordered, start=1):
        cells = []
        for header, path in paths.items():
            value = _dig(scores, path)
            is_best = len(ordered) > 1 and value is not None and _rounded(value) == best[header]
            cells.append(Text(_percent(value), style="bold green" if is_best else ""))
        table.add_row(str(number), _broken(scores["model"]), *cells, duration(scores["wall_s"]))
        # Names of jobs are too long for a column: a line of their own keeps them whole.
        mark = (" SYNTHETIC BEATS", "bold red") if scores["synthetic"] else ""
        legend.append(Text.assemble((f"{number:3d} ", "bold"), name, mark))

    parts: list[RenderableType] = [table, *legend, Text()]
    note = "Ordered by macro-F1 on validation, which chooses; bold is the best of its column."
    if "auroc" in some["test"]:
        note += " Precision, recall, F1 and specificity are of MI."
    parts.append(Text(note, style="dim"))
    protocols = list(
        dict.fromkeys(
            f"{scores['dataset']} from {scores['source']}, {conditions(scores, parts=False)}"
            for scores in runs.values()
        )
    )
    parts.append(Text(f"Beats: {'; '.join(protocols)}.", style="dim"))
    if len(protocols) > 1:
        parts.append(Text("Figures on different data or splits do not compare.", style="yellow"))
    if any(scores["synthetic"] for scores in runs.values()):
        parts.append(Text(SYNTHETIC_WARNING, style="bold red"))
    return [*parts, Text()]


def _figures(test: Scores) -> dict[str, tuple[str, ...]]:
    """Header → place below ``test`` of the figures that a task is judged by, beside macro-F1."""
    figures: dict[str, tuple[str, ...]] = {"accu-\nracy": ("accuracy",)}
    if "auroc" not in test:
        return figures | {f"F1\n{name}": ("per_class", name, "f1") for name in test["per_class"]}
    return figures | {
        "preci-\nsion": ("precision",),
        "\nrecall": ("recall",),
        "\nF1": ("f1",),
        "speci-\nficity": ("specificity",),
        "\nAUROC": ("auroc",),
    }


def pooled_tables(pooled: Mapping[str, Any]) -> RenderableType:
    """What to print after `comparison_table`: folds as one with their spread, and the spread over seeds.

    Args:
        pooled: what `pooling.pool` returned; of what it does not hold, nothing is printed.
    """
    parts: list[RenderableType] = []
    for task in dict.fromkeys(entry["task"] for kind in ("pooled", "repeated") for entry in pooled[kind]):
        of_folds = [entry for entry in pooled["pooled"] if entry["task"] == task]
        if of_folds:
            parts += _spread_table(
                f"{task}: test folds pooled, scores in percent",
                of_folds,
                lambda entry: {
                    f"{len(entry['folds'])} folds pooled": entry["test"],
                    "mean of folds": entry["mean"],
                    "sd of folds": entry["sd"],
                },
            )
            note = "Pooled: the test beats of all folds scored as one. sd: standard deviation of a sample."
            if "auroc" in of_folds[0]["test"]:
                note += " Pooled AUROC holds probabilities of different networks against each other."
            parts += [Text(note, style="dim"), Text()]
        of_seeds = [entry for entry in pooled["repeated"] if entry["task"] == task]
        if of_seeds:
            parts += _spread_table(
                f"{task}: spread over seeds, scores in percent",
                of_seeds,
                lambda entry: {f"mean, {len(entry['seeds'])} seeds": entry["mean"], "sd of seeds": entry["sd"]},
            )
            note = "sd: standard deviation of a sample."
            if any(entry["folds"] for entry in of_seeds):
                note += " Of folds that are pooled, the pooled scores count."
            parts += [Text(note, style="dim"), Text()]
    return Group(*parts)


def _spread_table(
    title: str, entries: list[Mapping[str, Any]], rows: Callable[[Mapping[str, Any]], Mapping[str, Scores]]
) -> list[RenderableType]:
    """A table of some rows for each entry, with a legend of what was typed for it."""
    some = next(iter(rows(entries[0]).values()))
    paths: dict[str, tuple[str, ...]] = {"macro\nF1": ("macro_f1",), **_figures(some)}
    table = _numbered_table(title)
    table.add_column("", no_wrap=True, vertical="bottom")
    for header in paths:
        table.add_column(header, justify="right", no_wrap=True, vertical="bottom")
    legend: list[RenderableType] = []
    for number, entry in enumerate(entries, start=1):
        lead, style = [str(number), _broken(entry["model"])], "bold"
        named = rows(entry)
        for name, scores in named.items():
            cells = [_percent(_dig(scores, path)) for path in paths.values()]
            table.add_row(*lead, name, *cells, style=style, end_section=name == list(named)[-1])
            lead, style = ["", ""], ""
        missing = sorted(set(range(entry["n_folds"] or 0)) - set(entry["folds"]))
        n_train = entry["n"]["train"] if "n" in entry else entry["n_train"]
        typed = " ".join(entry["overrides"])
        line = Text.assemble((f"{number:3d} ", "bold"), typed, (f" ({n_train:,.0f} training beats)", "dim"))
        if entry["synthetic"]:
            line.append(" SYNTHETIC BEATS", "bold red")
        if missing:
            line.append(f" without fold {', '.join(map(str, missing))} of {entry['n_folds']}", "yellow")
        legend.append(line)
    protocols = dict.fromkeys(
        f"{entry['dataset']} from {entry['source']}, {conditions(entry, parts=False)}" for entry in entries
    )
    return [table, *legend, Text(), Text(f"Beats: {'; '.join(protocols)}.", style="dim")]


def _caption(scores: Scores, published: Mapping[str, Any] | None) -> Iterable[RenderableType]:
    if scores["synthetic"]:
        yield Text(SYNTHETIC_WARNING, style="bold red")
    fold = _fold(scores)
    beats = f"{scores['dataset']} from {scores['source']}, {scores['n'][fold]:,} {fold} beats{context(scores)}"
    yield Text(f"Beats: {beats}, run with seed {scores['seed']}. Split {scores['protocol']}.", style="dim")
    yield Text(f"Classes: {CLASSES[scores['task']]}.", style="dim")
    if published:
        pretrained = "" if scores.get("transfer", "none") == "none" else ", from pretrained weights"
        row = f"{scores['model']}, resampling {scores['resampling']}{pretrained}"
        yield Text(f"{PUBLISHED_CAVEAT} Row: {row}.", style="dim")
        if scores["split"].startswith(("patient", "ds1")):
            yield Text(
                f"The published beats were split at random: split {scores['split']} asks a harder question, "
                "the difference is not one between the systems.",
                style="yellow",
            )
        if context(scores):
            yield Text(f"The published networks saw the beat alone, this one it{context(scores)}.", style="yellow")
        if "erratum" in published:
            yield Text(f"Published {published['erratum']}.", style="dim")


def _fold(scores: Scores) -> str:
    # `ecg-lightning evaluate` may have scored another fold than a run does.
    fold: str = scores.get("fold", "test")
    return fold


def _protocol(scores: Scores) -> str:
    return f"{scores['dataset']} from {scores['source']}{context(scores)}, split {scores['split']}"


def _beside(
    published: Mapping[str, Any] | None, own_f1: float | None, theirs: Mapping[str, float] | None
) -> tuple[str | Text, ...]:
    """The published cells of a row and the difference in F1; none when the table has no such columns."""
    if published is None:
        return ()
    if theirs is None:
        return (NONE, NONE, NONE, NONE)
    cells = (_percent(theirs[figure]) for figure in FIGURES)
    if own_f1 is None:
        return (*cells, NONE)
    difference = 100 * (own_f1 - theirs["f1"])
    return (*cells, Text(f"{difference:+.2f}", style="green" if difference >= 0 else "red"))


def _percent(fraction: float | None) -> str:
    # Five characters at most, 100.0 too: a sixth in every column would not fit 80 columns.
    return NONE if fraction is None else f"{100 * fraction:.2f}"[:5]


def _numbered_table(title: str) -> Table:
    """An empty table of runs, narrow enough for ten columns of figures on a terminal of 80."""
    table = Table(
        title=title,
        title_style="bold",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("#", justify="right", no_wrap=True, vertical="bottom")
    table.add_column("model", no_wrap=True, vertical="bottom")
    return table


def _broken(name: str) -> str:
    """``logistic_regression`` in two lines, or the figures beside it would be cut."""
    return name.replace("_", "_\n") if len(name) > 8 else name


def _rounded(fraction: float | None) -> float:
    # Equal as printed is equally good.
    return -1.0 if fraction is None else round(100 * fraction, 2)


def _dig(scores: Scores, path: tuple[str, ...]) -> float | None:
    value: Any = scores
    for key in path:
        value = value[key]
    return None if value is None else float(value)


def _ends(interval: Sequence[float] | None) -> str:
    return NONE if interval is None else "-".join(map(_percent, interval))


def _value(scores: Scores, path: tuple[str, ...]) -> Any:
    """What is there, or None."""
    value: Any = scores
    for key in path:
        value = (value or {}).get(key)
    return value


def duration(seconds: float) -> str:
    """Seconds as ``1h02m``, ``3m07s`` or ``9s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
