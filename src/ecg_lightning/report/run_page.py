"""The report of one run, from what lies in its folder."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.labels import AAMI_SYMBOLS, CLASS_MAP
from ecg_lightning.report import analysis as answers
from ecg_lightning.report import charts
from ecg_lightning.report.numbers import NONE, Figures, Scores, completed
from ecg_lightning.report.page import render
from ecg_lightning.report.tables import duration
from ecg_lightning.report.verdict import verdict, warnings
from ecg_lightning.runs.aggregate import read_run
from ecg_lightning.runs.compare import compare
from ecg_lightning.runs.discover import read_scores
from ecg_lightning.runs.predictions import read_predictions
from ecg_lightning.runs.published import PUBLISHED_CAVEAT, published_for_run

if TYPE_CHECKING:
    import pandas as pd

NO_PREDICTIONS = "Without the predictions.parquet of the run this cannot be drawn."

TASKS = {"arrhythmia": "Which of the five AAMI classes is this heartbeat?", "mi": "Is this beat of an infarcted heart?"}

DATASETS = {"mitbih": "MIT-BIH", "ptbdb": "PTB Diagnostic"}

SOURCES = {"physionet": "PhysioNet", "kaggle": "the Kaggle files", "synthetic": "a simulation"}

SURE = (0.01, 0.03)
"""Differences between confidence and accuracy that are none, and that are little."""

COMMONEST = 6
"""Mistakes in their table."""

RECORDS_DRAWN = 32
"""Records whose mistakes are drawn, those with most of them."""


def run_report(path: Path | str, *, baselines: Sequence[Path | str] = (), embedding: bool = True) -> str:
    """The page.

    Args:
        path: the run's folder, or a file with the content of its ``scores.json``.
        baselines: runs on the same test beats that it has to beat.
        embedding: whether to lay out test beats, which takes longer than all the rest.

    Returns:
        HTML, in one piece.

    Raises:
        DataError: the run's files cannot be read, or do not fit each other.
    """
    path = Path(path)
    file = path if path.is_file() else path / "scores.json"
    filed = read_scores(file)
    folder = file.parent
    predictions = folder / "predictions.parquet"
    scores, computed = completed(filed, predictions)
    figures = Figures(scores, computed)
    table = read_predictions(predictions)[0] if predictions.is_file() else None
    classes = tuple(scores["test"]["per_class"])
    compared = [compare(folder, baseline) for baseline in baselines] if baselines else None
    overrides = read_run(folder, scores).overrides if (folder / ".hydra").is_dir() else None

    whose = answers.whose(table, classes) if table is not None else {}
    data = DATASETS.get(scores["dataset"], scores["dataset"])
    fold = scores.get("fold", "test")
    of_beats = _beats_parts(folder, embedding) if table is not None else []
    parts = {"records": _records(figures, table, classes), "learning": _learning(folder / "metrics.csv", scores)}
    contents = [
        ("verdict", "Verdict"), ("run", "What was run"), ("figures", "Figures"), ("confusion", "Confusion"),
        ("curves", "Precision and recall"), ("calibration", "Calibration"), ("records", "Records"),
        ("training", "Training"), *((part["id"], part["title"]) for part in of_beats),
        ("provenance", "To do it again"),
    ]  # fmt: skip
    return render(
        "run.html",
        f=figures,
        title=f"{scores['model']} on {data}",
        kicker="Report of a run",
        subtitle=f"{TASKS.get(scores['task'], scores['task'])} Split {scores['split']}, seed {scores['seed']}, "
        f"{scores['n'][fold]:,} {fold} beats.",
        synthetic=scores["synthetic"],
        contents=contents,
        verdict=verdict(figures, compared),
        warnings=warnings(figures, whose),
        about=_about(figures),
        fold=fold,
        classes=classes,
        binary=len(classes) == 2,
        intervals=_intervals(figures),
        level=_level(figures),
        computed=_computed(computed),
        published=_published(scores),
        published_remarks=_published_remarks(scores),
        f1_chart=_f1_chart(figures, classes),
        overall=_overall(figures, classes),
        ec57_rows=_ec57_rows(figures),
        averages=_averages(figures),
        confusion=_confusion(figures),
        mistakes=_mistakes(figures, classes),
        pr_charts=_precision_recall(figures, table, classes),
        no_predictions=NO_PREDICTIONS,
        reliability=_reliability(figures),
        calibration=_calibration(figures),
        **parts["records"],
        **parts["learning"],
        beats_parts=of_beats,
        command=None if overrides is None else " ".join(["python train.py", *overrides]),
        provenance=_provenance(figures, folder),
        origin=f"From {file.name}{' and predictions.parquet' if table is not None else ''} of the run. Every number "
        "is one of scores.json, where it can be looked up under the name that its element carries.",
    )


def _beats_parts(folder: Path, embedding: bool) -> list[dict[str, Any]]:
    """The sections that need the beats, and the network."""
    # Both pull in the whole of training.
    from ecg_lightning.pipeline.explain import explain_run
    from ecg_lightning.report import beats

    found = explain_run(folder, embedding=embedding)
    parts = []
    for name, title, drawn in (
        ("mistakes", "Its most confident mistakes", found.mistakes and beats.mistakes(found.mistakes, found)),
        ("saliency", "What it looks at", found.saliency and beats.saliency(found.saliency, found)),
        ("embedding", "How it sees the test beats", found.embedding and beats.embedding(found.embedding, found)),
    ):
        if drawn:
            parts.append({"id": name, "title": title, "html": drawn})
    if found.remarks:
        parts.append({"id": "beats", "title": "Beats that cannot be shown", "html": beats.remarks(found)})
    return parts


# What was run


def _about(f: Figures) -> list[tuple[str, Any]]:
    scores = f.scores
    folds = {"train": "train", "validation": "validate", "test": "test"}
    sizes = Markup(", ").join(
        Markup("{} to {}").format(f.number(f"n.{fold}"), verb)
        for fold, verb in folds.items()
        if f.value(f"n.{fold}") is not None
    )
    data, source = DATASETS.get(scores["dataset"], scores["dataset"]), SOURCES.get(scores["source"], scores["source"])
    said: list[tuple[str, Any]] = [("beats", Markup("{} from {}: {}").format(data, source, sizes))]
    said.append(("split", _spaced(str(scores.get("protocol", scores["split"])))))
    if scores.get("left_out"):
        said.append(("left out", Markup("{} beats, on no side").format(f.number("left_out"))))
    if scores["task"] == "arrhythmia":
        symbols = "; ".join(f"{name}: {' '.join(of)}" for name, of in AAMI_SYMBOLS.items())
        said.append(("classes", f"{CLASS_MAP}, where WFDB’s bxb can count them as S ({symbols})"))
    context = scores.get("context", "none")
    seen = "the beat alone, from its R peak on" if context == "none" else f"the beat, with {context}"
    said.append(("input", seen))
    network = scores["model"]
    if scores.get("n_parameters"):
        network = Markup("{}, {} parameters").format(network, f.number("n_parameters"))
    said.append(("network", network))
    transfer = scores.get("transfer", "none")
    said.append(("weights", "from scratch" if transfer == "none" else f"pretrained, transfer {transfer}"))
    trained = [f"augmentation {scores.get('augmentation', 'none')}", f"resampling {scores.get('resampling', 'none')}"]
    trained += [f"loss {scores['loss']}"] if scores.get("loss") else []
    said.append(("training", ", ".join(trained)))
    if scores.get("epochs"):
        chosen = f", of which validation chose {scores['best_epoch']}" if scores.get("best_epoch") else ""
        steps = f" ({scores['steps']:,} steps)" if scores.get("steps") else ""
        said.append(("epochs", f"{scores['epochs']}{steps}{chosen}"))
    if f.value("val.macro_f1") is not None:
        said.append(("validation", Markup("macro-F1 {} %").format(f.percent("val.macro_f1"))))
    said.append(("seed", str(scores["seed"])))
    return said


def _spaced(protocol: str) -> str:
    """``patient: 30 patients to train`` with room to break lines."""
    return protocol.replace(":", ": ").replace("  ", " ")


def _provenance(f: Figures, folder: Path) -> list[tuple[str, Any]]:
    scores = f.scores
    said: list[tuple[str, Any]] = [("data fingerprint", _code(scores["fingerprint"]))]
    if scores.get("config_digest"):
        said.append(("settings", Markup("digest {}").format(_code(scores["config_digest"]))))
    if scores.get("git"):
        dirty = ", with changes that were not committed" if scores["git"].endswith("-dirty") else ""
        said.append(("code", Markup("revision {}{}").format(_code(scores["git"].removesuffix("-dirty")), dirty)))
    if scores.get("versions"):
        said.append(("versions", ", ".join(f"{name} {number}" for name, number in scores["versions"].items())))
    if scores.get("precision"):
        said.append(("arithmetic", scores["precision"]))
    if scores.get("started"):
        said.append(("started", scores["started"].replace("T", " ").partition(".")[0] + " UTC"))
    if scores.get("wall_s") is not None:
        said.append(("took", duration(scores["wall_s"])))
    if scores.get("checkpoint"):
        said.append(("checkpoint", _code(scores["checkpoint"])))
    said.append(("folder", _code(folder.absolute().name)))
    return said


def _code(words: str) -> Markup:
    return Markup("<code>{}</code>").format(words)


# Figures


def _intervals(f: Figures) -> str:
    about = f.value("test.intervals")
    if not about or about["macro_f1"] is None:
        return ""
    units = f"{about['n_resampled']:,} {about['resampled']}"
    return f"Intervals: {_level(f)}, percentiles of {about['resamples']:,} resamples of the {units}."


def _level(f: Figures) -> str:
    level = f.value("test.intervals.level")
    return f"{100 * level:.0f} %" if level else ""


def _computed(computed: Sequence[str]) -> str:
    if not computed:
        return ""
    words = dict.fromkeys(WORDS.get(place.rpartition(".")[2], "") for place in computed)
    return (
        "The scores.json of this run is older and does not hold all of them: "
        f"{', '.join(filter(None, words))} were computed from its predictions for this page."
    )


WORDS = {
    "balanced_accuracy": "balanced accuracy", "kappa": "κ", "j_kappa": "jκ", "macro_auroc": "AUROC", "auroc": "AUROC",
    "average_precision": "average precision", "macro_average_precision": "average precision", "ec57": "EC57",
    "ece": "calibration", "brier": "calibration", "reliability": "calibration", "intervals": "intervals",
}  # fmt: skip


def _overall(f: Figures, classes: tuple[str, ...]) -> list[tuple[str, str, int, int]]:
    wanted = [
        ("macro-F1, mean of the classes’ F1", "test.macro_f1", 2, 100),
        ("F1 of macro +P and macro Se", "test.f1_of_macro_precision_recall", 2, 100),
        ("macro +P", "test.macro_precision", 2, 100),
        ("macro Se", "test.macro_recall", 2, 100),
        ("weighted F1", "test.weighted_f1", 2, 100),
        ("accuracy", "test.accuracy", 2, 100),
        ("balanced accuracy", "test.balanced_accuracy", 2, 100),
        ("Cohen’s κ", "test.kappa", 3, 1),
        ("jκ", "test.j_kappa", 3, 1),
        ("AUROC" if len(classes) == 2 else "macro AUROC", "test.macro_auroc", 2, 100),
        ("macro average precision", "test.macro_average_precision", 2, 100),
        ("calibration error (ECE)", "test.ece", 2, 100),
        ("Brier score", "test.brier", 3, 1),
    ]
    if len(classes) == 2 and f.value("test.macro_auroc") is None:
        wanted.append(("AUROC", "test.auroc", 2, 100))
    return [row for row in wanted if f.value(row[1]) is not None]


def _published(scores: Scores) -> Mapping[str, Any] | None:
    return published_for_run(scores)


def _published_remarks(scores: Scores) -> list[str]:
    published = _published(scores)
    if not published:
        return []
    remarks = [PUBLISHED_CAVEAT]
    if scores["split"] != "random":
        remarks.append(
            f"The published beats were split at random: split {scores['split']} asks a harder question, the difference "
            "is not one between the systems."
        )
    if scores.get("context", "none") != "none":
        remarks.append("The published networks saw the beat alone, this one more.")
    if "erratum" in published:
        remarks.append(f"Published {published['erratum']}.")
    return [" ".join(remarks)]


def _f1_chart(f: Figures, classes: tuple[str, ...]) -> Markup:
    published = _published(f.scores) or {"per_class": {}}
    rows = [
        charts.Dot(
            name=name,
            value=f.value(f"test.per_class.{name}.f1"),
            interval=f.interval(f"test.per_class.{name}.f1"),
            beside=published["per_class"].get(name, {}).get("f1"),
            look=f"c{i}",
        )
        for i, name in enumerate(classes)
    ]
    rows.append(
        charts.Dot(
            name="macro-F1",
            value=f.value("test.macro_f1"),
            interval=f.interval("test.macro_f1"),
            beside=published.get("macro_f1"),
            look="ink",
        )
    )
    if len(classes) == 2 and f.value("test.macro_auroc") is not None:
        auroc = charts.Dot(
            name="AUROC", value=f.value("test.macro_auroc"), interval=f.interval("test.macro_auroc"), look="ink"
        )
        rows.append(auroc)
    said = "; ".join(f"{row.name} {100 * row.value:.1f}" for row in rows)
    return charts.dots(rows, title="F1 of each class", description=f"In percent: {said}.", x="percent")


def _ec57_rows(f: Figures) -> list[tuple[str, str]]:
    if not f.value("test.ec57"):
        return []
    rows = [("V", "test.ec57.V"), ("S", "test.ec57.S")]
    if f.value("test.ec57.without_232"):
        rows += [(f"{of} without 232", f"test.ec57.without_232.{of}") for of in ("V", "S")]
    return rows


def _averages(f: Figures) -> list[Markup]:
    return [
        Markup("{} Se {}, +P {}").format(
            of,
            f.percent(f"test.ec57.{of}.average_sensitivity", 1),
            f.percent(f"test.ec57.{of}.average_positive_predictivity", 1),
        )
        for of in ("V", "S")
        if f.value(f"test.ec57.{of}.average_sensitivity") is not None
    ]


def _confusion(f: Figures) -> list[list[tuple[float, str]]]:
    """Of each cell its share of the row, and that in words."""
    rows = []
    for row in f.value("test.confusion") or []:
        total = sum(row)
        shares = [count / total if total else 0.0 for count in row]
        rows.append([(share, _share(share)) for share in shares])
    return rows


def _mistakes(f: Figures, classes: tuple[str, ...]) -> list[tuple[str, str, str, str]]:
    """True class, what it was called, where that is counted, and its share of the class; the commonest first."""
    confusion = f.value("test.confusion")
    cells = [(count, i, j) for i, row in enumerate(confusion or []) for j, count in enumerate(row) if i != j and count]
    cells.sort(key=lambda cell: (-cell[0], cell[1:]))
    return [
        (classes[i], classes[j], f"test.confusion.{i}.{j}", _share(count / sum(confusion[i])))
        for count, i, j in cells[:COMMONEST]
    ]


def _share(share: float) -> str:
    if share == 0:
        return "0"
    return "<0.1" if share < 0.0005 else f"{100 * share:.1f}"


# Charts


def _precision_recall(f: Figures, table: "pd.DataFrame | None", classes: tuple[str, ...]) -> list[tuple[str, Markup]]:
    if table is None:
        return []
    curves = answers.precision_recall(table, classes)
    axes = [
        charts.Axis(name=name, low=0, high=1, ticks=(0, 0.5, 1), words=lambda v: f"{100 * v:g}")
        for name in ("recall, %", "precision, %")
    ]
    drawn = []
    for i, name in enumerate(classes):
        if name not in curves:
            continue
        place = f"test.per_class.{name}"
        now = (f.value(f"{place}.recall"), f.value(f"{place}.precision"))
        others = [
            charts.Line(points=_points(curve), look="faded thin") for other, curve in curves.items() if other != name
        ]
        own = charts.Line(points=_points(curves[name]), look=f"c{i}")
        dot = charts.Line(points=[now], look="ink", joined=False, dots=True)
        chart = charts.panel(
            [*others, own, dot],
            title=f"Precision over recall of class {name}",
            description=f"Called now with recall {100 * now[0]:.1f} % and precision {100 * now[1]:.1f} %.",
            x=axes[0],
            y=axes[1],
            width=176,
            height=168,
            left=30,
            right=8,
        )
        drawn.append((name, chart))
    return drawn


def _points(curve: answers.Curve) -> list[charts.Point]:
    return list(zip(curve.recall, curve.precision, strict=True))


def _reliability(f: Figures) -> Markup | None:
    bins = f.value("test.reliability")
    if not bins:
        return None
    low = math.floor(10 * bins[0]["above"] + 1e-9) / 10
    return _with_counts(bins, low)


def _with_counts(bins: Sequence[Mapping[str, Any]], low: float) -> Markup:
    """The curve, and below it a bar for each bin, whose height is the logarithm of its beats."""
    x, y = charts.percent_axis("probability of what a beat was called, %", low, 1), charts.percent_axis("", 0, 1)
    left, right, height, bar_room = charts.LEFT, charts.WIDTH - charts.RIGHT, 300.0, 52.0
    y0, y1 = height - charts.BOTTOM - bar_room - 8, charts.TOP + 8
    foot = height - charts.BOTTOM
    parts = [charts.text(left, y1 - 9, "called right, %", "axis")]
    for tick in y.ticks:
        at = y.at(tick, y0, y1)
        parts += [charts.rule(left, at, right, at), charts.text(left - 6, at + 3.5, y.words(tick), "axis", "end")]
    corner = max(low, 0.0)
    parts.append(
        charts.rule(x.at(corner, left, right), y.at(corner, y0, y1), x.at(1, left, right), y.at(1, y0, y1), "reference")
    )
    points = [(x.at(one["confidence"], left, right), y.at(one["accuracy"], y0, y1)) for one in bins]
    parts.append(f'<g class="accent">{charts.path(points, "line")}')
    parts += [f'<circle cx="{at:.1f}" cy="{to:.1f}" r="3.2" class="dot"/>' for at, to in points]
    most = max(math.log10(one["beats"] + 1) for one in bins)
    for one in bins:
        start, end = x.at(one["above"], left, right), x.at(one["to"], left, right)
        tall = (bar_room - 14) * math.log10(one["beats"] + 1) / most
        parts.append(
            f'<rect x="{start + 1:.1f}" y="{foot - tall:.1f}" width="{end - start - 2:.1f}" height="{tall:.1f}" '
            'class="block faint"/>'
        )
    parts.append("</g>")
    shown = [bins[0], bins[-1]] if len(bins) > 1 else bins
    for one in shown:
        tall = (bar_room - 14) * math.log10(one["beats"] + 1) / most
        middle = (x.at(one["above"], left, right) + x.at(one["to"], left, right)) / 2
        anchor = "end" if one is bins[-1] else "middle"
        at = x.at(one["to"], left, right) if anchor == "end" else middle
        parts.append(charts.text(at, foot - tall - 4, f"{one['beats']:,}", "axis", anchor))
    parts.append(charts.rule(left, foot, right, foot, "tick"))
    for tick in x.ticks:
        at = x.at(tick, left, right)
        parts += [
            charts.rule(at, foot, at, foot + 4, "tick"),
            charts.text(at, foot + 15, x.words(tick), "axis", "middle"),
        ]
    parts.append(charts.text((left + right) / 2, height - 5, x.name, "axis", "middle"))
    said = "; ".join(
        f"said {100 * one['confidence']:.0f} %, right {100 * one['accuracy']:.0f} % of {one['beats']:,} beats"
        for one in bins
    )
    return charts.drawing("Reliability", said, parts, height=height)


def _calibration(f: Figures) -> Markup:
    if f.value("test.ece") is None:
        return NONE
    bins = f.value("test.reliability")
    said = sum(one["beats"] * one["confidence"] for one in bins) / sum(one["beats"] for one in bins)
    words = Markup("Its calibration error is {} %{}, its Brier score {}{}. ").format(
        f.percent("test.ece"),
        Markup(" ({})").format(f.ends("test.ece", 2)) if f.interval("test.ece") else "",
        f.number("test.brier", 3),
        Markup(" ({})").format(f.ends("test.brier", 3, scale=1)) if f.interval("test.brier") else "",
    )
    right = f.value("test.accuracy")
    little = "a little " if abs(said - right) < SURE[1] else ""
    if abs(said - right) < SURE[0]:
        how = "as sure as it should be"
    else:
        how = f"{little}too sure of itself" if said > right else f"{little}less sure than it could be"
    return words + Markup("To what it says it gives {} % on average, and is right in {} %: it is {}.").format(
        f"{100 * said:.1f}", f.percent("test.accuracy", 1), how
    )


def _records(f: Figures, table: "pd.DataFrame | None", classes: tuple[str, ...]) -> dict[str, Any]:
    per_record = f.value("test.ec57.per_record") or []
    told: dict[str, Any] = {
        "record_charts": [],
        "per_record": list(range(len(per_record))),
        "records_note": "",
        "no_records": NO_PREDICTIONS if table is None else "The source of these beats does not tell their records.",
    }
    errors = answers.errors_by_record(table, classes) if table is not None else []
    if not errors:
        return told
    worst = [one for one in errors if one.total][:RECORDS_DRAWN]
    rest = errors[len(worst) :]
    total = sum(one.total for one in errors)
    longest = max((one.total for one in worst), default=1)
    rows = [
        charts.Bar(
            name=_short(one.record),
            parts={f"c{i}": one.wrong[name] for i, name in enumerate(classes)},
            words=f"{one.total:,} of {one.beats:,} ({100 * one.total / one.beats:.1f} %)",
        )
        for one in worst
    ]
    half = (len(rows) + 1) // 2 if len(rows) > 12 else len(rows)
    left = 14 + 6.4 * max((len(row.name) for row in rows), default=3)
    for part in (rows[:half], rows[half:]):
        if part:
            said = "; ".join(f"{row.name}: {row.words}" for row in part)
            title = "Mistakes by record, the worst first"
            told["record_charts"].append(
                charts.bars(part, title=title, description=said, longest=longest, left=min(left, 110))
            )
    if not total:
        told["records_note"] = f"In none of {len(errors)} records is a beat called wrong."
        return told
    note = f"Beats called wrong in each record, by what they are; the record with most of them first. {total:,} in all"
    upto = np.cumsum([one.total for one in errors])
    note += f", half of them in {int((2 * upto < total).sum()) + 1} of {len(errors)} records."
    if left_out := sum(one.total for one in rest):
        note += f" Not drawn: {len(rest)} records with {left_out:,} such beats."
    elif rest:
        note += f" {len(rest)} {'record has' if len(rest) == 1 else 'records have'} none."
    told["records_note"] = note
    return told


def _short(record: str) -> str:
    """``patient001/s0010_re`` as ``001/s0010``."""
    return record.removeprefix("patient").removesuffix("_re").removesuffix("lre")


def _learning(metrics: Path, scores: Scores) -> dict[str, Any]:
    told: dict[str, Any] = {"learning_charts": [], "learning_note": "This run left no learning curves."}
    if not metrics.is_file():
        if scores.get("epochs") is None and "best_epoch" in scores and not scores.get("checkpoint"):
            told["learning_note"] = "A classifier of scikit-learn: it learns in one go, and has no learning curves."
        return told
    import pandas as pd

    try:
        table = pd.read_csv(metrics)
        epochs = table.groupby("epoch").last()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{metrics} is no readable table of metrics: {error}") from error
    if len(epochs) == 1:
        told["learning_note"] = "This run saw its training beats once: an epoch alone makes no curve."
        return told
    best = scores.get("best_epoch")
    for name, label, scale in (("loss", "loss", 1), ("macro_f1", "macro-F1, %", 100)):
        lines = []
        for fold, named, look in (("train", "training", "quiet"), ("val", "validation", "accent")):
            column = f"{fold}/{name}"
            if column not in epochs or epochs[column].dropna().empty:
                continue
            curve = scale * epochs[column].dropna()
            # Lightning counts epochs from 0, scores.json and people from 1.
            points = [(float(epoch) + 1, float(value)) for epoch, value in zip(curve.index, curve, strict=True)]
            lines.append(charts.Line(points=points, name=named, look=look, dots=len(points) < 12))
        if not lines:
            continue
        values = [value for line in lines for _, value in line.points]
        low, high = min(values), max(values)
        margin = 0.05 * (high - low or 1)
        last = max(epoch for line in lines for epoch, _ in line.points)
        x = charts.Axis(
            name="epoch", low=min(1, last), high=max(last, 2), words="{:.0f}".format,
            ticks=[tick for tick in charts.nice_ticks(1, max(last, 2), 6) if tick == round(tick)],
        )  # fmt: skip
        y = charts.Axis(name=label, low=low - margin, high=high + margin, ticks=charts.nice_ticks(low, high))
        marks = [charts.Mark(at=best, name=f"epoch {best} chosen")] if best else []
        said = [f"{line.name}: last {line.points[-1][1]:.3g}" for line in lines]
        said += [f"epoch {best} was chosen"] if best else []
        told["learning_charts"].append(
            charts.panel(
                lines, title=f"{label} over the epochs", description="; ".join(said), x=x, y=y, right=62, marks=marks
            )
        )
    if told["learning_charts"]:
        monitor = scores.get("monitor", "val/macro_f1").replace("val/", "").replace("macro_f1", "macro-F1")
        told["learning_note"] = f"The epoch was chosen by {monitor} on validation; the test beats had no say in it."
    return told
