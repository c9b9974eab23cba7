"""The verdict on a run in a few sentences: how good, how sure, where it fails, and what not to read into it.

Every number in them is a figure of ``scores.json`` or follows from the predictions; the words between follow from rules
that stand here, so that two runs of equal figures get equal words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from ecg_lightning.report.analysis import Whose
from ecg_lightning.report.numbers import MINUS, Figures
from ecg_lightning.runs.published import published_for_run

WELL, HARDLY = 0.9, 0.5
"""F1 from which a class is told well, and below which it is hardly told."""

FEW_BEATS, FEW_PATIENTS, MOST = 100, 5, 0.4
"""A class with fewer test beats or patients, or with a greater share of its beats from one record, is warned of."""

NARROW, WIDE = 0.03, 0.15
"""Widths of an interval of macro-F1 that are worth a word."""

MISCALIBRATED = 0.05
"""Calibration error that is worth a sentence."""

LONG = {
    "N": "normal beats (N)",
    "S": "supraventricular beats (S)",
    "V": "ventricular beats (V)",
    "F": "fusion beats (F)",
    "Q": "paced and unknown beats (Q)",
    "MI": "infarction (MI)",
    "normal": "healthy hearts",
}
"""Classes in the words of a reader who does not know the letters."""


def verdict(figures: Figures, baselines: Sequence[Mapping[str, Any]] | None = None) -> list[Markup]:
    """A few sentences.

    Args:
        figures: of the run.
        baselines: what `comparing.compare` said of the run and of each baseline, if there were any.
    """
    scores = figures.scores
    binary = "per_class" in scores["test"] and len(scores["test"]["per_class"]) == 2
    sentences = [*(_infarction(figures) if binary else _arrhythmia(figures)), _people(scores)]
    if published := published_for_run(scores):
        sentences += _beside(figures, published)
    return sentences + (
        against_baselines(scores["model"], baselines, deciding(scores)) if baselines is not None else []
    )


def deciding(scores: Mapping[str, Any]) -> tuple[str, str]:
    """What a network is told better by, with its name: AUROC of two classes (of either the same), else macro-F1."""
    test = scores["test"]
    binary = len(test["per_class"]) == 2 and test.get("macro_auroc") is not None
    return ("macro_auroc", "AUROC") if binary else ("macro_f1", "macro-F1")


def _arrhythmia(figures: Figures) -> list[Markup]:
    test = figures.scores["test"]
    there = {name: one for name, one in test["per_class"].items() if one["support"]}
    lead = Markup(
        "{} calls {} % of {} beats right; its macro-F1, the mean over {} classes, is <strong>{} %</strong>{}."
    )
    sentences = [
        lead.format(
            figures.scores["model"],
            figures.percent("test.accuracy", 1),
            figures.number(f"n.{figures.scores.get('fold', 'test')}"),
            {5: "five", 4: "four", 3: "three"}.get(len(there), len(there)),
            figures.percent("test.macro_f1", 1),
            _sure(figures, "test.macro_f1"),
        )
    ]
    # What few beats say of a class is no verdict; `warnings` tells of it.
    enough = {name: one for name, one in there.items() if one["support"] >= FEW_BEATS} or there
    well = [name for name, one in enough.items() if one["f1"] >= WELL]
    weakest = min(enough, key=lambda name: enough[name]["f1"])
    if well and len(well) < len(enough):
        sentences.append(Markup("It tells {} well (F1 of {} % or more).").format(_listed(well), f"{100 * WELL:.0f}"))
    elif not well:
        sentences.append(Markup("It tells no class well: none has an F1 of {} %.").format(f"{100 * WELL:.0f}"))
    failed = [name for name, one in enough.items() if one["f1"] < HARDLY]
    return [*sentences, *(_weakness(figures, name, enough) for name in failed or [weakest])]


def _weakness(figures: Figures, name: str, enough: Mapping[str, Any]) -> Markup:
    """What it misses of a class, and what it takes it for."""
    place, words, f1 = f"test.per_class.{name}", LONG.get(name, name), enough[name]["f1"]
    if not enough[name]["recall"]:
        return Markup("It finds <strong>none</strong> of {} {}.").format(figures.number(f"{place}.support"), words)
    opening = "It tells every class well, least so" if f1 >= WELL else "It is weakest at"
    if f1 < HARDLY:
        opening = "It <strong>fails</strong> at"
    sentence = Markup("{} {}: it finds {} % of them, and {} % of what it calls {} is {}").format(
        Markup(opening),
        words,
        figures.percent(f"{place}.recall", 1),
        figures.percent(f"{place}.precision", 1),
        name,
        name,
    )
    confusion, classes = figures.value("test.confusion"), list(figures.value("test.per_class"))
    at = classes.index(name)
    missed = (
        {other: count for i, (other, count) in enumerate(zip(classes, confusion[at], strict=True)) if i != at}
        if confusion
        else {}
    )
    mostly = max(missed, key=lambda other: missed[other], default=None)
    if f1 >= WELL or mostly is None or not missed[mostly]:
        return sentence + "."
    where = f"test.confusion.{at}.{classes.index(mostly)}"
    return sentence + Markup("; of {} missed it calls {} {}.").format(
        f"{sum(missed.values()):,}", figures.number(where), mostly
    )


def _infarction(figures: Figures) -> list[Markup]:
    per_class = figures.scores["test"]["per_class"]
    negative, positive = per_class
    auroc = f"test.per_class.{positive}.auroc"
    if figures.value(auroc) is None:
        auroc = "test.auroc"
    lead = Markup(
        "{} finds {} % of the beats of {} and lets {} % of those of {} pass; its AUROC is <strong>{} %</strong>{}."
    ).format(
        figures.scores["model"],
        figures.percent(f"test.per_class.{positive}.recall", 1),
        LONG.get(positive, positive),
        figures.percent(f"test.per_class.{positive}.specificity", 1),
        LONG.get(negative, negative),
        figures.percent(auroc, 1),
        _sure(figures, auroc),
    )
    ends = figures.interval(auroc)
    if ends and ends[0] <= 0.5:
        lead += Markup(" <strong>Guessing, at 50 %, is not ruled out.</strong>")
    return [lead]


def _sure(figures: Figures, place: str) -> Markup:
    """The interval in words, with a remark if it is narrow or wide."""
    ends, about = figures.interval(place), figures.value("test.intervals")
    if not ends or not about:
        return Markup("")
    width = ends[1] - ends[0]
    remark = ""
    if width >= WIDE and about["resampled"] == "patients":
        remark = ", which is wide: with other patients it could well have been another figure"
    elif width <= NARROW:
        remark = ", which is narrow"
    return Markup(" ({:.0f} % interval over {} {}: {} to {}{})").format(
        100 * about["level"],
        figures.number("test.intervals.n_resampled"),
        about["resampled"],
        figures.percent(f"{place.replace('test.', 'test.intervals.', 1)}.0", 1),
        figures.percent(f"{place.replace('test.', 'test.intervals.', 1)}.1", 1),
        remark,
    )


def _people(scores: Mapping[str, Any]) -> Markup:
    """Whether the test beats are of people whose other beats were trained on."""
    split = str(scores["split"])
    if scores["synthetic"]:
        return Markup("The beats are simulated: this says that the machinery works, and nothing about patients.")
    if str(scores.get("protocol", "")).startswith("none:"):
        return Markup("All beats of a file were tested; whose they are it does not tell.")
    if split.startswith(("patient", "ds1")):
        but = ""
        if "as published" in str(scores.get("protocol")):
            but = ", but for one person, whose record 201 it learned from and whose record 202 is tested"
        return Markup("It was tested on people it has <strong>not</strong> learned from{}.").format(but)
    return Markup(
        "Other beats of the same patients were <strong>trained on</strong>: this says how well it knows people it has "
        "learned from, and nothing about new ones."
    )


def _beside(figures: Figures, published: Mapping[str, Any]) -> list[Markup]:
    name = "macro_f1" if "macro_f1" in published else "f1"
    if figures.scores["split"] != "random" or figures.value(f"test.{name}") is None:
        return []
    words = "macro-F1" if name == "macro_f1" else "F1 of MI"
    theirs = f"{100 * published[name]:.2f}"
    return [
        Markup("The published {} is {} % (its epoch chosen on the test file), here it is {} %.").format(
            words, theirs, figures.percent(f"test.{name}")
        )
    ]


def against_baselines(model: str, answers: Sequence[Mapping[str, Any]], figure: tuple[str, str]) -> list[Markup]:
    """A sentence on the baselines that a network beats, and one on each that it does not surely beat.

    Args:
        model: the network.
        answers: what `comparing.compare` said of it and of each baseline.
        figure: what decides, and its name.
    """
    beaten, sentences = [], []
    for answer in answers:
        name, one = answer["second"].get("model", "a baseline"), answer["differences"][figure[0]]
        ends = f" ({100 * one['interval'][0]:+.1f} to {100 * one['interval'][1]:+.1f})" if one["interval"] else ""
        difference = f"{100 * one['difference']:+.1f}{ends}".replace("-", MINUS)
        if one["interval"] and one["interval"][0] > 0:
            beaten.append(Markup("{} by {}").format(name, difference))
        elif one["difference"] <= 0:
            sentences.append(
                Markup("<strong>{} does not beat the baseline {}</strong>: {} points of {}.").format(
                    model, name, difference, figure[1]
                )
            )
        else:
            sentences.append(
                Markup("<strong>{} does not surely beat the baseline {}</strong>: {} points of {}.").format(
                    model, name, difference, figure[1]
                )
            )
    if beaten:
        sentences.insert(0, Markup("{} beats {} points of {}.").format(model, Markup(", ").join(beaten), figure[1]))
    return sentences


def warnings(figures: Figures, whose: Mapping[str, Whose]) -> list[Markup]:
    """What not to read into the figures: a sentence each."""
    scores, test = figures.scores, figures.scores["test"]
    found: list[Markup] = []
    if scores.get("fold", "test") != "test":
        found.append(
            Markup("Scored on {} beats, which also chose the checkpoint: to choose by, not to report.").format(
                scores["fold"]
            )
        )
    if scores.get("warning"):
        found.append(Markup(escape(_sentence(scores["warning"]))))
    for name, one in test["per_class"].items():
        found += _few(name, one["support"], whose.get(name))
    found += _without_232(figures)
    if figures.value("test.ece") is not None and test["ece"] >= MISCALIBRATED and test.get("reliability"):
        bins = test["reliability"]
        said = sum(one["beats"] * one["confidence"] for one in bins) / sum(one["beats"] for one in bins)
        found.append(
            Markup(
                "Its probabilities are too {}: on average it gives {} % to what it says, and is right in {} %."
            ).format(
                "high" if said > test["accuracy"] else "low", f"{100 * said:.1f}", figures.percent("test.accuracy", 1)
            )
        )
    about = figures.value("test.intervals")
    if about and about["resampled"] == "beats":
        found.append(
            Markup(
                "Patients are not known here, so intervals are over beats, as if these were independent: too narrow."
            )
        )
    elif about and about["n_resampled"] == 1:
        found.append(
            Markup("All test beats are of one patient: nothing can be said of others, and there are no intervals.")
        )
    return found


def _few(name: str, beats: int, of_whom: Whose | None) -> list[Markup]:
    if beats == 0:
        return [Markup("There is no test beat of class {}: nothing is known of it.").format(name)]
    few_patients = of_whom is not None and of_whom.patients < FEW_PATIENTS
    if beats < FEW_BEATS or few_patients:
        whose = f" of {of_whom.patients} patient{'s' * (of_whom.patients > 1)}" if of_whom else ""
        return [
            Markup("Class {} has only {} test beat{}{}: its figures may be chance.").format(
                name, f"{beats:,}", "s" * (beats > 1), whose
            )
        ]
    if of_whom and of_whom.share >= MOST:
        return [
            Markup(
                "{} % of the {} test beats of class {} are of record {}: its figures are largely those of one heart."
            ).format(f"{100 * of_whom.share:.0f}", f"{beats:,}", name, of_whom.most)
        ]
    return []


def _without_232(figures: Figures) -> list[Markup]:
    gross, without = figures.value("test.ec57.S.sensitivity"), figures.value("test.ec57.without_232.S.sensitivity")
    if gross is None or without is None or abs(gross - without) < MISCALIBRATED:
        return []
    return [
        Markup("The sensitivity to S is {} % with record 232, and {} % without it.").format(
            figures.percent("test.ec57.S.sensitivity", 1), figures.percent("test.ec57.without_232.S.sensitivity", 1)
        )
    ]


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") else ".")


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
