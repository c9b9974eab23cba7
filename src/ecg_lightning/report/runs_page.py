"""The report of several runs: what is best, by how much, how sure that is, and what of it a baseline does too."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from os.path import relpath
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.labels import CLASS_MAP
from ecg_lightning.report import charts
from ecg_lightning.report.numbers import MINUS, NONE, Figures, Scores, completed, data
from ecg_lightning.report.page import render
from ecg_lightning.report.run_page import DATASETS, SOURCES
from ecg_lightning.report.tables import duration
from ecg_lightning.report.verdict import against_baselines, deciding
from ecg_lightning.report.write import REPORT
from ecg_lightning.runs.aggregate import Result, Run, groups, low_data
from ecg_lightning.runs.collect import Row, RunsTable, protocol_of, table_of, tested_of
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.discover import find_runs
from ecg_lightning.runs.predictions import score_predictions

BASELINES = ("majority", "beat_length", "logistic_regression", "gradient_boosting")
"""Of `training.baselines`, which is not imported for their names alone."""

LONGEST = 25
"""Characters of a row's name beside a chart."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the tables: a run, the pooled folds of one, or several seeds of either.

    Attributes:
        row: its runs and figures.
        name: what tells it from the others.
        network: its name.
    """

    row: Row
    name: str
    network: str

    @property
    def is_baseline(self) -> bool:
        """Whether it is what a network has to beat."""
        return self.network in BASELINES

    @cached_property
    def figures(self) -> Figures:
        """Of a single run those of its ``scores.json``; of several, pooled (with intervals) or averaged here."""
        results = self.row.results
        if len(results) > 1:
            return Figures({"test": self.row.mean}, ["test"], f"mean of {len(results)} seeds: ")
        if len(results[0].runs) > 1:
            files = results[0].predictions
            if all(file.is_file() for file in files):
                return Figures({"test": score_predictions(*files)}, ["test"], f"{len(files)} folds pooled: ")
            return Figures({"test": results[0].test}, ["test"])
        run = results[0].runs[0]
        scores, computed = completed(run.scores, run.folder / "predictions.parquet")
        # What was completed before, without intervals, is not in the file either.
        return Figures(scores, [*computed, *run.scores.get("completed", ())], f"{run.folder.name}: ")

    @property
    def validated(self) -> float:
        """Macro-F1 on validation, of several runs on average; -1 where it is not told."""
        told = [(run.scores.get("val") or {}).get("macro_f1") for run in self.row.runs]
        values = [value for value in told if value is not None]
        return fmean(values) if values else -1.0


def runs_report(paths: Sequence[Path], *, output: Path) -> str:
    """The page.

    Args:
        paths: folders of runs, of sweeps, or of such folders; or files with the content of a ``scores.json``.
        output: where the page will be, to which its links are relative.

    Returns:
        HTML, in one piece.

    Raises:
        DataError: no run is there, or a file cannot be read.
    """
    found, remarks = find_runs(paths)
    runs = [_completed(run) for run in found]
    by_key = groups(runs, lambda run: json.dumps(_key(run.scores)))
    described = [_group(number, table_of(alike, remarks)) for number, alike in enumerate(by_key, start=1)]
    curves = _low_data_charts(runs)
    contents = [(group["id"], group["title"]) for group in described]
    contents += [("low-data", "From how few beats on?")] if curves else []
    contents.append(("runs", "The runs"))
    subtitle = f"{len(runs)} runs"
    if len(described) > 1:
        subtitle += (
            f" on {len(described)} questions, each of its own data and split: figures of different sections do not "
            "compare"
        )
    return render(
        "runs.html",
        title=_title(runs),
        kicker="Report of several runs",
        subtitle=f"{subtitle}.",
        synthetic=any(run.scores["synthetic"] for run in runs),
        contents=contents,
        groups=described,
        low_data=curves,
        runs=[_line(run, output) for run in runs],
        remarks=remarks,
        origin="From the scores.json of the runs; what is of several of them, and what older ones do not hold, from "
        "their predictions.parquet.",
    )


def _completed(run: Run) -> Run:
    scores, added = completed(run.scores, run.folder / "predictions.parquet", intervals=False)
    return replace(run, scores=scores | ({"completed": added} if added else {}))


def _key(scores: Scores) -> list[Any]:
    """Equal for runs whose figures compare. Not the fingerprint: what is seen of a beat beside it changes that."""
    told = [scores[key] for key in ("task", "dataset", "source", "synthetic", "split")]
    return [*told, protocol_of(scores), tested_of(scores), list(scores["test"]["per_class"])]


def _title(runs: Sequence[Run]) -> str:
    networks = list(dict.fromkeys(run.scores["model"] for run in runs if run.scores["model"] not in BASELINES))
    datasets = dict.fromkeys(str(DATASETS.get(run.scores["dataset"], run.scores["dataset"])) for run in runs)
    named = networks if 0 < len(networks) < 5 else [f"{len(networks)} networks"] if networks else ["Baselines"]
    return f"{_and(named)} on {_and(list(datasets))}"


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# A table and what belongs to it


def _group(number: int, table: RunsTable) -> dict[str, Any]:
    scores = table.scores
    assert scores is not None
    entries = _entries(table)
    networks = [entry for entry in entries if not entry.is_baseline]
    first = max(networks or entries, key=lambda entry: entry.validated)
    answers, remarks = _compared(first, [entry for entry in entries if entry is not first])
    verdict, plain = _verdict(first, entries, answers)
    data_name = DATASETS.get(scores["dataset"], scores["dataset"])
    source = SOURCES.get(scores["source"], scores["source"])
    mark = " (SYNTHETIC)" if scores["synthetic"] else ""
    tested = "" if table.tested == "test" else f", scored on {table.tested}"
    sizes = " to ".join(f"{n:,}" for n in table.n_test)
    note = f"{sizes} {table.tested} beats. Split {table.protocol}."
    if scores["task"] == "arrhythmia":
        note += f" Classes: {CLASS_MAP}."
    if table.tested != "test":
        note += " These beats also chose the checkpoint: figures to choose by, not to report."
    several = any(len(entry.row.results) > 1 for entry in entries)
    spread = "standard deviation over seeds, or 95 % interval" if several else "95 % interval"
    missing = [entry.name for entry in entries if entry.row.missing_folds]
    if missing:
        remarks.append(f"Folds are missing of {_and(missing)}.")
    return {
        "id": f"table-{number}",
        "title": f"{data_name} from {source}{mark}, split {scores['split']}{tested}",
        "verdict": verdict,
        "plain": plain,
        "note": note,
        "chart": _chart(entries),
        "chart_note": f"Macro-F1 with {spread}{'; baselines in grey' * (0 < len(networks) < len(entries))}.",
        "grids": _grids(scores, entries),
        "differences": _differences(first, answers),
        "remarks": remarks,
    }


def _entries(table: RunsTable) -> list[Entry]:
    """The rows of a table, named; what they all have in common does not tell them apart."""
    pairs = [(block, row) for block in table.blocks for row in block.rows]
    names = []
    for block, row in pairs:
        parts = [block.network]
        context = row.runs[0].scores.get("context", "none")
        parts += [_short(context)] if context != "none" else []
        parts += [block.resampling] if block.resampling != "none" else []
        parts += [block.arm] if block.arm != "none" else []
        # How context is set is told by its words.
        told = [part for part in row.settings.split(", ") if part and not part.startswith("dataset.")]
        names.append(" + ".join([*parts, *told]))
    entries = []
    for (block, row), name in zip(pairs, names, strict=True):
        whole = name if names.count(name) == 1 else f"{name} ({row.runs[0].folder.name})"
        entries.append(Entry(row=row, name=whole, network=block.network))
    return entries


def _short(context: str) -> str:
    """``rhythm, 0.272 s before the R peak`` as ``rhythm + from −272 ms``."""
    words = re.sub(r"([\d.]+) s before the R peak", lambda told: f"from {MINUS}{1000 * float(told[1]):.0f} ms", context)
    return words.replace(", ", " + ")


def _verdict(
    first: Entry, entries: Sequence[Entry], answers: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Markup], list[Markup]]:
    f = first.figures
    figure, words = deciding(f.scores)
    spread = _spread(first, f"test.{figure}")
    lead = Markup("Best on validation is {}: {} <strong>{} %</strong>{} on the test beats.").format(
        first.name, words, f.percent(f"test.{figure}", 1), Markup(" ({})").format(spread) if spread else ""
    )
    if first.is_baseline:
        lead = Markup("There are baselines alone. ") + lead
    others = [entry for entry in entries if entry is not first and not entry.is_baseline and entry.name in answers]
    better: list[str] = []
    worse: list[str] = []
    unsure: list[str] = []
    for entry in others:
        one = answers[entry.name]["differences"][figure]
        if not one["interval"] or one["interval"][0] <= 0 <= one["interval"][1]:
            unsure.append(entry.name)
        else:
            (better if one["difference"] > 0 else worse).append(entry.name)
    sentences = [lead]
    if better:
        sentences.append(Markup("It is surely better than {}.").format(_and(better)))
    if worse:
        sentences.append(
            Markup("Surely better than it, on these test beats, {}: {}.").format(
                "is" if len(worse) == 1 else "are", _and(worse)
            )
        )
    if unsure:
        sentences.append(Markup("Whether it is better than {} these beats do not say.").format(_and(unsure)))
    told, plain = _baselines(first, entries, answers)
    return [*sentences, *told], plain


def _baselines(
    first: Entry, entries: Sequence[Entry], answers: Mapping[str, Mapping[str, Any]]
) -> tuple[list[Markup], list[Markup]]:
    """What networks beat, and a plain sentence for each that does not beat the strongest baseline."""
    baselines = [entry for entry in entries if entry.is_baseline]
    networks = [entry for entry in entries if not entry.is_baseline]
    if not baselines or not networks:
        return [], []
    figure = deciding(first.figures.scores)
    strongest = max(baselines, key=lambda entry: entry.figures.value(f"test.{figure[0]}") or 0.0)
    told: list[Markup] = []
    plain: list[Markup] = []
    for entry in networks:
        answer = (answers if entry is first else _compared(entry, [strongest])[0]).get(strongest.name)
        if answer is None:
            said = Markup("{} was not tested on the beats of the baseline {}.")
            plain.append(said.format(entry.name, strongest.name))
            continue
        # By the name that it has on this page, which tells what it saw.
        named = {**answer, "second": {**answer["second"], "model": strongest.name}}
        sentences = against_baselines(entry.name, [named], figure)
        ends = answer["differences"][figure[0]]["interval"]
        (told if ends and ends[0] > 0 else plain).extend(sentences)
    if told:
        told = [Markup("The strongest baseline is {}. ").format(strongest.name) + Markup(" ").join(told)]
    return told, plain


def _compared(first: Entry, others: Iterable[Entry]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """`compare` of a row with each of the others, by a seed that both have; and why some could not be."""
    answers, remarks = {}, []
    without = []
    for other in others:
        pair = _same_split(first.row, other.row)
        if pair is None:
            remarks.append(f"No difference to {other.name}: no seed of the split in common.")
            continue
        files = [result.predictions for result in pair]
        if not all(file.is_file() for side in files for file in side):
            without.append(other.name)
            continue
        try:
            answers[other.name] = compare(*files)
        except DataError as error:
            remarks.append(f"No difference between {first.name} and {other.name}: {error}.")
    if without:
        remarks.append(f"No difference between {first.name} and {_and(without)}: predictions are missing.")
    return answers, remarks


def _same_split(one: Row, other: Row) -> tuple[Result, Result] | None:
    """A result of each with the same seed of the split, and of training if there is one, on the same folds."""
    pairs = [
        (a, b, a.runs[0].scores["seed"] == b.runs[0].scores["seed"])
        for a, of_a in zip(one.results, one.split_seeds, strict=True)
        for b, of_b in zip(other.results, other.split_seeds, strict=True)
        if of_a == of_b and a.folds == b.folds
    ]
    pairs.sort(key=lambda pair: not pair[2])
    return pairs[0][:2] if pairs else None


# Tables


def _columns(scores: Scores) -> list[tuple[str, list[tuple[str, str, int]]]]:
    """Tables of (header, place below ``test``, 100 for percent or 1)."""
    classes = list(scores["test"]["per_class"])
    overall = [
        ("macro-F1", "macro_f1", 100), ("F1 of +P, Se", "f1_of_macro_precision_recall", 100),
        ("accuracy", "accuracy", 100), ("balanced acc.", "balanced_accuracy", 100), ("κ", "kappa", 1),
    ]  # fmt: skip
    if len(classes) == 2:
        positive = f"per_class.{classes[1]}"
        mi = [("F1", f"{positive}.f1", 100), ("+P", f"{positive}.precision", 100), ("Se", f"{positive}.recall", 100)]
        mi += [("Sp", f"{positive}.specificity", 100), ("AUROC", f"{positive}.auroc", 100)]
        mi.append(("average precision", f"{positive}.average_precision", 100))
        return [("Overall", overall), (f"{classes[1]}, in percent", mi)]
    grids = [
        ("Overall, in percent; κ and jκ as they are", [*overall, ("jκ", "j_kappa", 1)]),
        ("F1 by class, in percent", [(name, f"per_class.{name}.f1", 100) for name in classes]),
    ]
    if tuple(classes) == ("N", "S", "V", "F", "Q"):
        names = (("Se", "sensitivity"), ("+P", "positive_predictivity"), ("F1", "f1"))
        ec57 = [(f"{of} {name}", f"ec57.{of}.{figure}", 100) for of in ("V", "S") for name, figure in names]
        ec57.append(("S F1 without 232", "ec57.without_232.S.f1", 100))
        grids.append(("V and S as ANSI/AAMI EC57 counts them, gross, in percent", ec57))
    return grids


def _grids(scores: Scores, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    grids = []
    for name, columns in _columns(scores):
        there = [column for column in columns if any(e.figures.value(f"test.{column[1]}") is not None for e in entries)]
        if not there:
            continue
        tops = {}
        for _, place, scale in there:
            values = [value for e in entries if (value := e.figures.value(f"test.{place}")) is not None]
            # Where all are equal none is best.
            tops[place] = (
                _rounded(max(values), scale) if _rounded(min(values), scale) < _rounded(max(values), scale) else None
            )
        rows = []
        for entry in entries:
            cells = []
            for _, place, scale in there:
                value = entry.figures.value(f"test.{place}")
                shown = (
                    entry.figures.percent(f"test.{place}") if scale == 100 else entry.figures.number(f"test.{place}", 3)
                )
                cells.append(
                    {
                        "figure": shown,
                        "spread": None if value is None else _spread(entry, f"test.{place}", scale),
                        "best": value is not None and _rounded(value, scale) == tops[place],
                    }
                )
            rows.append({"name": _named(entry), "cells": cells})
        grids.append({"name": name, "headers": [header for header, _, _ in there], "rows": rows})
    return grids


def _rounded(value: float, scale: int) -> float:
    # Equal as printed is equally good.
    return round(100 * value, 2) if scale == 100 else round(value, 3)


def _named(entry: Entry) -> Markup:
    results = entry.row.results
    told = f"{len(results)} seeds" if len(results) > 1 else f"seed {entry.row.seeds[0]}"
    if results[0].folds:
        told += f", {len(results[0].folds)} of {results[0].n_folds} folds pooled"
    return Markup("{}<small>{}</small>").format(entry.name, told)


def _spread(entry: Entry, place: str, scale: int = 100) -> Markup | None:
    """``± sd`` over seeds, or the interval of a single result."""
    digits = 1 if scale == 100 else 3
    if len(entry.row.results) > 1:
        value: Any = entry.row.sd
        for key in place.split(".")[1:]:
            value = value.get(key) if value else None
        if value is None:
            return None
        words = f"{scale * value:.{2 if scale == 100 else 3}f}"
        return Markup("± {}").format(data(words, value, f"sd of {len(entry.row.results)} seeds: {place}", "computed"))
    if entry.figures.interval(place) is None:
        return None
    return entry.figures.ends(place, digits, scale=scale)


def _differences(first: Entry, answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    if not answers:
        return None
    some = next(iter(answers.values()))["differences"]
    wanted: list[tuple[str, tuple[str, ...]]] = [("macro-F1", ("macro_f1",)), ("accuracy", ("accuracy",))]
    classes = list(some["per_class"])
    if len(classes) == 2:
        wanted += [(f"F1 {classes[1]}", ("per_class", classes[1], "f1")), ("AUROC", ("macro_auroc",))]
    else:
        wanted += [(f"F1 {name}", ("per_class", name, "f1")) for name in classes]
    rows = []
    for name, answer in answers.items():
        cells: list[dict[str, Any]] = []
        for _, path in wanted:
            one: Any = answer["differences"]
            for key in path:
                one = (one or {}).get(key)
            if one is None:
                cells.append({"figure": NONE, "spread": None, "best": False})
                continue
            ends, place = one["interval"], f"difference: {'.'.join(path)}"
            cells.append(
                {
                    "figure": data(_signed(one["difference"], 2), one["difference"], place, "computed"),
                    "spread": f"{_signed(ends[0], 1)} to {_signed(ends[1], 1)}" if ends else None,
                    "best": bool(ends) and not ends[0] <= 0 <= ends[1],
                }
            )
        rows.append({"name": name, "cells": cells})
    answer = next(iter(answers.values()))
    units = f"{answer['resamples']:,} resamples of {answer['n_resampled']:,} {answer['resampled']}"
    note = (
        f"Points of percent, {first.name} minus the other, on the same test beats; 95 % intervals by paired bootstrap, "
        f"{units}. Bold: 0 is outside."
    )
    if answer["resampled"] == "beats":
        note += " Patients are not known: the true intervals are wider."
    if len(first.row.results) > 1:
        note += " Of several seeds, one that both have."
    headers = [header for header, _ in wanted]
    return {"title": f"{first.name} minus …", "headers": headers, "rows": rows, "note": note}


def _signed(value: float, digits: int) -> str:
    return f"{100 * value:{'+' if round(100 * value, digits) else ''}.{digits}f}".replace("-", MINUS)


# Charts


def _chart(entries: Sequence[Entry]) -> Markup:
    rows = []
    for entry in entries:
        value, ends = entry.figures.value("test.macro_f1"), entry.figures.interval("test.macro_f1")
        if len(entry.row.results) > 1 and entry.row.sd.get("macro_f1") is not None:
            ends = [value - entry.row.sd["macro_f1"], value + entry.row.sd["macro_f1"]]
        name = entry.name if len(entry.name) <= LONGEST else f"{entry.name[: LONGEST - 1]}…"
        rows.append(charts.Dot(name=name, value=value, interval=ends, look="quiet" if entry.is_baseline else "accent"))
    said = "; ".join(f"{entry.name} {100 * row.value:.1f}" for entry, row in zip(entries, rows, strict=True))
    left = 16 + 5.7 * max(len(row.name) for row in rows)
    return charts.dots(
        rows,
        title="Macro-F1 of the runs",
        description=f"In percent: {said}.",
        x="macro-F1, %",
        left=left,
        row_height=22,
    )


def _low_data_charts(runs: Sequence[Run]) -> list[tuple[Markup, str]]:
    drawn = []
    curves = low_data(runs)
    by_jobs = {run.folder.name: run for run in runs}
    for task in dict.fromkeys(curve["task"] for curve in curves):
        shown = [curve for curve in curves if curve["task"] == task]
        units = {_unit(by_jobs, point) for curve in shown for point in curve["points"]} - {""}
        unit = "patients" if units == {"patients"} else "beats"
        lines, sizes = [], []
        for i, curve in enumerate(shown):
            points = [(_size(by_jobs, point, unit), point) for point in curve["points"]]
            points = [(size, point) for size, point in points if point["mean"]["macro_f1"] is not None]
            sizes += [size for size, _ in points]
            lines.append(
                charts.Line(
                    points=[(size, point["mean"]["macro_f1"]) for size, point in points],
                    name=curve["label"].removesuffix(", from scratch"),
                    look=f"c{i % 5}",
                    dots=True,
                    bars=[
                        None if point["sd"]["macro_f1"] is None else (
                            point["mean"]["macro_f1"] - point["sd"]["macro_f1"],
                            point["mean"]["macro_f1"] + point["sd"]["macro_f1"],
                        )
                        for _, point in points
                    ],
                )
            )  # fmt: skip
        values = [value for line in lines for _, value in line.points]
        ticks: list[float] = []
        for size in sorted(set(sizes)):
            if not ticks or size > 1.5 * ticks[-1]:
                ticks.append(size)
        low = max(0.0, min(values) - 0.08)
        seeds = sorted({len(point["seeds"]) for curve in shown for point in curve["points"]})
        many = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
        chart = charts.panel(
            lines,
            title=f"Macro-F1 by number of training {unit}",
            description="; ".join(
                f"{line.name}: " + ", ".join(f"{size:,.0f} {unit} {100 * value:.1f} %" for size, value in line.points)
                for line in lines
            ),
            x=charts.Axis(
                name=f"training {unit}", low=min(sizes), high=max(sizes), ticks=ticks, words="{:,.0f}".format, log=True
            ),
            y=charts.percent_axis("macro-F1, %", low, min(1.0, max(values) + 0.05)),
            height=250,
            right=90,
        )
        note = (
            f"{shown[0]['task']}: mean of {many} seeds, bars: standard deviation."
            if seeds != [1]
            else f"{task}: one seed."
        )
        drawn.append((chart, note))
    return drawn


PART = re.compile(r"trained on (\d+) of (\d+) training (\w+)")


def _unit(runs: Mapping[str, Run], point: Mapping[str, Any]) -> str:
    """Of what a point's runs were given so many; empty where they had all."""
    told = PART.search(str(runs[point["jobs"][0]].scores.get("protocol", "")))
    return told[3] if told else ""


def _size(runs: Mapping[str, Run], point: Mapping[str, Any], unit: str) -> float:
    if unit == "patients":
        protocol = str(runs[point["jobs"][0]].scores["protocol"])
        told = PART.search(protocol) or re.search(r"(\d+) patients (?:of DS1 )?to train", protocol)
        if told:
            return float(told[1])
    return float(point["n_train"])


def _line(run: Run, output: Path) -> dict[str, Any]:
    scores, f = run.scores, Figures(run.scores, prefix=f"{run.folder.name}: ")
    own = run.folder / REPORT
    is_there = own.is_file() and own.resolve() != output.resolve()
    return {
        "name": run.folder.name,
        "about": " ".join(run.overrides) or scores["model"],
        "link": quote(Path(relpath(own, output.parent)).as_posix()) if is_there else None,
        "seed": scores["seed"],
        "train": f.number("n.train"),
        "test": f.number(f"n.{scores.get('fold', 'test')}"),
        "epochs": scores.get("epochs") or NONE,
        "validated": f.percent("val.macro_f1"),
        "tested": f.percent("test.macro_f1"),
        "time": duration(scores["wall_s"]) if scores.get("wall_s") is not None else NONE,
    }
