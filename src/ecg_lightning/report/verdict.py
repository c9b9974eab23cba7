"""The verdict on a run in a few sentences: how good, how certain, where it fails, and what cannot be concluded.

Every number is one of the run record or follows from the predictions; the words follow from the rules here, so that two
runs of equal metrics get equal words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from ecg_lightning.metrics.catalogue import OVERALL, Metric, of_class
from ecg_lightning.report.analysis import Origin
from ecg_lightning.report.cells import Number, clean
from ecg_lightning.report.comparison import difference
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.runs.published import published_for_run
from ecg_lightning.runs.schema import RunRecord

GOOD, FAILED = 0.9, 0.5
"""F1 from which a class counts as recognised, and below which as failed."""

FEW_BEATS, FEW_PATIENTS, MOST = 100, 5, 0.4
"""A class with fewer test beats or patients, or with a greater share of its beats from one record, gets a warning."""

NARROW, WIDE = 0.03, 0.15
"""Widths of an interval that are worth a remark."""

MISCALIBRATED = 0.05
"""Calibration error that is worth a sentence."""

LONG = {
    "N": "normal beats (N)",
    "S": "supraventricular beats (S)",
    "V": "ventricular beats (V)",
    "F": "fusion beats (F)",
    "Q": "paced and unknown beats (Q)",
    "MI": "infarction (MI)",
}


def verdict(record: RunRecord, numbers: Numbers, baselines: Sequence[Mapping[str, Any]] | None = None) -> list[Markup]:
    """A few sentences.

    Args:
        record: of the run.
        numbers: of the same.
        baselines: what `compare` returned of the run and of each baseline, if there were any.
    """
    sentences = _infarction(record, numbers) if record.positive else _arrhythmia(record, numbers)
    sentences = [*sentences, people(record), *_published(record, numbers)]
    return sentences + against_baselines(record.model, baselines or [], deciding(numbers))


def deciding(numbers: Numbers) -> Metric:
    """The metric that decides which network is better: AUROC of two classes (of either the same), else macro-F1."""
    is_binary = len(numbers.value("test.per_class")) == 2 and numbers.value("test.macro_auroc") is not None
    return OVERALL["macro_auroc" if is_binary else "macro_f1"]


def name_of(metric: Metric) -> str:
    """Its label; of two classes, "macro" would say nothing."""
    return "AUROC" if metric.key == ("macro_auroc",) else metric.label


def _arrhythmia(record: RunRecord, f: Numbers) -> list[Markup]:
    there = {name: one for name, one in record.test["per_class"].items() if one["support"]}
    lead = Markup("{} classifies {} % of {} beats correctly; its macro-F1 over {} classes is <strong>{} %</strong>{}.")
    sentences = [
        lead.format(
            record.model, f.percent("test.accuracy", 1), f.number(f"n.{record.fold}"), len(there),
            f.percent("test.macro_f1", 1), _interval(f, OVERALL["macro_f1"]),
        )
    ]  # fmt: skip
    # Few beats of a class allow no verdict; `warnings` names them.
    enough = {name: one for name, one in there.items() if one["support"] >= FEW_BEATS} or there
    good = [name for name, one in enough.items() if one["f1"] >= GOOD]
    if good and len(good) < len(enough):
        sentences.append(
            Markup("{} {} an F1 of {} % or more.").format(
                listed(good), "has" if len(good) == 1 else "have", f"{100 * GOOD:.0f}"
            )
        )
    elif not good and enough:
        sentences.append(Markup("No class has an F1 of {} %.").format(f"{100 * GOOD:.0f}"))
    failed = [name for name, one in enough.items() if one["f1"] < FAILED]
    weakest = [min(enough, key=lambda name: enough[name]["f1"])] if enough else []
    return [*sentences, *(_weakness(record, f, name) for name in failed or weakest)]


def _weakness(record: RunRecord, f: Numbers, name: str) -> Markup:
    """How a class is missed, and what is predicted instead."""
    place, words, one = f"test.per_class.{name}", LONG.get(name, name), record.test["per_class"][name]
    if not one["recall"]:
        return Markup("It detects <strong>none</strong> of {} {}.").format(f.number(f"{place}.support"), words)
    opening = "Every class is recognised; the weakest is" if one["f1"] >= GOOD else "The weakest class is"
    sentence = Markup("{} {}: recall {} %, precision {} %").format(
        Markup("It <strong>fails</strong> on" if one["f1"] < FAILED else opening), words,
        f.percent(f"{place}.recall", 1), f.percent(f"{place}.precision", 1),
    )  # fmt: skip
    at, row = record.classes.index(name), record.test["confusion"][record.classes.index(name)]
    missed = {i: count for i, count in enumerate(row) if i != at and count}
    if one["f1"] >= GOOD or not missed:
        return sentence + "."
    mostly = max(missed, key=lambda i: missed[i])
    return sentence + Markup("; {} of {} missed beats are predicted as {}.").format(
        f.number(f"test.confusion.{at}.{mostly}"), f"{sum(missed.values()):,}", record.classes[mostly]
    )


def _infarction(record: RunRecord, f: Numbers) -> list[Markup]:
    recall, specificity, auroc = (of_class(str(record.positive), key) for key in ("recall", "specificity", "auroc"))
    parts = []
    if f.value(recall.place) is not None:
        words = LONG.get(str(record.positive), record.positive)
        parts.append(Markup("detects {} % of the beats of {}").format(f.metric(recall, 1), words))
    if f.value(specificity.place) is not None:
        parts.append(Markup("has a specificity of {} %").format(f.metric(specificity, 1)))
    if f.value(auroc.place) is not None:
        parts.append(Markup("has an AUROC of <strong>{} %</strong>{}").format(f.metric(auroc, 1), _interval(f, auroc)))
    sentence = (
        Markup("{} {}.").format(record.model, Markup(listed(parts))) if parts else Markup("Nothing can be measured.")
    )
    ends = f.interval(auroc)
    if ends and ends[0].value <= 0.5:
        sentence += Markup(" <strong>Chance level (50 %) is inside of the interval.</strong>")
    return [sentence]


def _interval(f: Numbers, metric: Metric) -> Markup:
    """The interval in words, with a remark if it is narrow or wide."""
    ends, about = f.interval(metric, 1), f.value("test.intervals")
    if not ends or not about:
        return Markup("")
    width = ends[1].value - ends[0].value
    remark = ""
    if width >= WIDE and about["resampled"] == "patients":
        remark = "; this is wide: other patients could give quite another value"
    elif width <= NARROW:
        remark = "; this is narrow"
    units = f.number("test.intervals.n_resampled"), about["resampled"]
    return Markup(" ({:.0f} % interval over {} {}: {} to {}{})").format(100 * about["level"], *units, *ends, remark)


def people(record: RunRecord) -> Markup:
    """Whether the patients of the test beats are in the training set."""
    protocol = record.protocol
    if record.synthetic:
        return Markup("The beats are simulated: the result shows that the program works, and nothing about patients.")
    if protocol.by == "none":
        return Markup("All beats of a file were tested; their patients are not known.")
    if protocol.by == "beats":
        return Markup(
            "Other beats of the same patients are in the <strong>training set</strong>: the result says nothing about "
            "new patients."
        )
    but = ""
    if protocol.shared_records and protocol.shared_patients == "both":
        but = f", except for one patient, whose records {' and '.join(protocol.shared_records)} are on both sides"
    return Markup("The test patients are <strong>not</strong> in the training set{}.").format(but)


def _published(record: RunRecord, f: Numbers) -> list[Markup]:
    published = published_for_run(record)
    if not published or record.protocol.name != "random":
        return []
    name, words = ("macro_f1", "macro-F1") if "macro_f1" in published else ("f1", "F1 of MI")
    sentence = Markup("The published {} is {} % (its epoch was chosen on the test file); here it is {} %.")
    return [sentence.format(words, f"{100 * published[name]:.2f}", f.percent(f"test.{name}"))]


def against_baselines(model: str, answers: Sequence[Mapping[str, Any]], metric: Metric) -> list[Markup]:
    """A sentence on the baselines that a network is significantly better than, and one on each other.

    Args:
        model: the network.
        answers: what `compare` returned of it and of each baseline.
        metric: what decides.
    """
    better, sentences = [], []
    for answer in answers:
        name, one = answer["second"].get("model", "a baseline"), (answer["differences"].get(metric.key[0]))
        if one is None:
            continue
        cell = difference(metric, one, 1)
        ends = Markup(" ({} to {})").format(*cell.interval) if cell.interval else ""
        assert isinstance(cell.content, Number)
        words = Markup("{}{}").format(cell.content.rounded(1), ends)
        if one["interval"] and one["interval"][0] > 0:
            better.append(Markup("{} ({})").format(name, words) if not ends else Markup("{} by {}").format(name, words))
        else:
            how = "is not significantly better than" if one["difference"] > 0 else "is not better than"
            sentence = Markup("<strong>{} {} the baseline {}</strong>: {} points of {}.")
            sentences.append(sentence.format(model, how, name, words, name_of(metric)))
    if better:
        sentence = Markup("{} is significantly better than {} points of {}.")
        sentences.insert(0, sentence.format(model, Markup(", ").join(better), name_of(metric)))
    return sentences


def warnings(record: RunRecord, f: Numbers, origins: Mapping[str, Origin]) -> list[Markup]:
    """What must not be concluded from the metrics: a sentence each."""
    test = record.test
    found: list[Markup] = []
    if record.fold != "test":
        found.append(
            Markup("Scored on {} beats, which also chose the checkpoint: for choosing settings only.").format(
                record.fold
            )
        )
    if record.warning:
        words = clean(record.warning).removesuffix(".")
        found.append(Markup("{}.").format(escape(words[:1].upper() + words[1:])))
    for name, one in test["per_class"].items():
        found += _few(name, one["support"], origins.get(name))
    gross, without = f.percent("test.ec57.S.sensitivity", 1), f.percent("test.ec57.without_232.S.sensitivity", 1)
    if isinstance(gross, Number) and isinstance(without, Number) and abs(gross.value - without.value) >= MISCALIBRATED:
        found.append(Markup("Sensitivity for S is {} % with record 232, and {} % without it.").format(gross, without))
    if test.get("ece", 0) >= MISCALIBRATED and test.get("reliability"):
        confidence = mean_confidence(record)
        sentence = Markup("Its probabilities are too {}: mean confidence {} %, accuracy {} %.")
        high = "high" if confidence > test["accuracy"] else "low"
        found.append(sentence.format(high, f"{100 * confidence:.1f}", f.percent("test.accuracy", 1)))
    about = test.get("intervals")
    if about and about["resampled"] == "beats":
        found.append(Markup("Patients are not known: intervals treat beats as independent, so they are too narrow."))
    elif about and about["n_resampled"] == 1:
        found.append(
            Markup("All test beats are of one patient: there are no intervals, and no statement about others.")
        )
    return found


def mean_confidence(record: RunRecord) -> float:
    """Mean probability of the predicted classes."""
    bins = record.test["reliability"]
    mean: float = sum(one["beats"] * one["confidence"] for one in bins) / sum(one["beats"] for one in bins)
    return mean


def _few(name: str, beats: int, origin: Origin | None) -> list[Markup]:
    if beats == 0:
        return [Markup("There is no test beat of class {}: nothing is known about it.").format(name)]
    if beats < FEW_BEATS or (origin is not None and origin.patients < FEW_PATIENTS):
        of = f" of {origin.patients} patient{'s' * (origin.patients > 1)}" if origin else ""
        sentence = Markup("Class {} has only {} test beat{}{}: its metrics may be due to chance.")
        return [sentence.format(name, f"{beats:,}", "s" * (beats > 1), of)]
    if origin and origin.share >= MOST:
        sentence = Markup("{} % of the {} test beats of class {} come from record {}, one patient.")
        return [sentence.format(f"{100 * origin.share:.0f}", f"{beats:,}", name, clean(origin.record))]
    return []


def listed(names: Sequence[Any]) -> Any:
    """``N, V and Q``; of `Markup` again that."""
    kind = type(names[0])
    return names[0] if len(names) == 1 else kind(", ").join(names[:-1]) + kind(" and ") + names[-1]
