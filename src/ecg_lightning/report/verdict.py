"""The verdict on a run in a few sentences: how good, how certain, where it fails, and what cannot be concluded.

Every number is in the run record or computed from the predictions; the words follow from the rules here, so that two
runs of equal metrics get equal words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from ecg_lightning.metrics.catalogue import OVERALL, Metric, metric_at, of_class
from ecg_lightning.report.analysis import Origin
from ecg_lightning.report.cells import Number, clean
from ecg_lightning.report.comparison import difference
from ecg_lightning.report.numbers import Numbers
from ecg_lightning.runs.published import published_for_run
from ecg_lightning.runs.schema import RunRecord

GOOD, FAILED = 0.9, 0.5  # F1 from which a class counts as recognised, and below which as failed
# A class with fewer test beats or patients, or with a greater share of its beats from one record, gets a warning.
FEW_BEATS, FEW_PATIENTS, MOST = 100, 5, 0.4
NARROW, WIDE = 0.03, 0.15  # widths of an interval that are mentioned
MISCALIBRATED = 0.05  # calibration error that is mentioned
LONG = {
    "N": "normal beats (N)",
    "S": "supraventricular beats (S)",
    "V": "ventricular beats (V)",
    "F": "fusion beats (F)",
    "Q": "paced and unknown beats (Q)",
    "MI": "infarction (MI)",
}


def verdict(record: RunRecord, numbers: Numbers, baselines: Sequence[Mapping[str, Any]] = ()) -> list[Markup]:
    """A few sentences on a run; `baselines` are what `compare` returned of it and of each baseline."""
    sentences = _infarction if record.positive else _arrhythmia
    compared = against_baselines(record.model, baselines, deciding(numbers))
    return [*sentences(record, numbers), people(record), *_published(record, numbers), *compared]


def deciding(numbers: Numbers) -> Metric:
    """The metric that decides which network is better: AUROC of two classes (of either the same), else macro-F1."""
    is_binary = len(numbers.value("test.per_class")) == 2 and numbers.value("test.macro_auroc") is not None
    return OVERALL["macro_auroc" if is_binary else "macro_f1"]


def name_of(metric: Metric) -> str:
    """Its label; of two classes, "macro" would say nothing."""
    return "AUROC" if metric.key == ("macro_auroc",) else metric.label


def _arrhythmia(record: RunRecord, f: Numbers) -> Iterator[Markup]:
    there = {name: one for name, one in record.test["per_class"].items() if one["support"]}
    lead = Markup("{} classifies {} % of {} beats correctly; its macro-F1 over {} classes is <strong>{} %</strong>{}.")
    yield lead.format(
        record.model, f.percent("test.accuracy", 1), f.number(f"n.{record.fold}"), len(there),
        f.percent("test.macro_f1", 1), _interval(f, OVERALL["macro_f1"]),
    )  # fmt: skip
    # Few beats of a class allow no verdict; `warnings` names them.
    enough = {name: one for name, one in there.items() if one["support"] >= FEW_BEATS} or there
    good = [name for name in enough if enough[name]["f1"] >= GOOD]
    if good and len(good) < len(enough):
        has = "has" if len(good) == 1 else "have"
        yield Markup("{} {} an F1 of {:.0f} % or more.").format(listed(good), has, 100 * GOOD)
    elif not good and enough:
        yield Markup("No class has an F1 of {:.0f} %.").format(100 * GOOD)
    failed = [name for name in enough if enough[name]["f1"] < FAILED]
    for name in failed or sorted(enough, key=lambda name: enough[name]["f1"])[:1]:
        yield _weakness(record, f, name)


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
    at = record.classes.index(name)
    missed = {i: count for i, count in enumerate(record.test["confusion"][at]) if i != at and count}
    if one["f1"] >= GOOD or not missed:
        return sentence + "."
    mostly, instead = max(missed, key=lambda i: missed[i]), Markup("; {} of {:,} missed beats are predicted as {}.")
    n = f.number(f"test.confusion.{at}.{mostly}")
    return sentence + instead.format(n, sum(missed.values()), record.classes[mostly])


def _infarction(record: RunRecord, f: Numbers) -> list[Markup]:
    name = str(record.positive)
    recall, specificity, auroc = (of_class(name, key) for key in ("recall", "specificity", "auroc"))
    phrases = (
        (recall, "detects {0} % of the beats of {2}"),
        (specificity, "has a specificity of {0} %"),
        (auroc, "has an AUROC of <strong>{0} %</strong>{1}"),
    )
    parts = [
        Markup(words).format(f.metric(metric, 1), _interval(f, metric), LONG.get(name, name))
        for metric, words in phrases
        if f.value(metric.place) is not None
    ]
    if not parts:
        return [Markup("Nothing can be measured.")]
    sentence = Markup("{} {}.").format(record.model, listed(parts))
    ends = f.interval(auroc)
    if ends and ends[0].value <= 0.5:
        sentence += Markup(" <strong>Chance level (50 %) is inside of the interval.</strong>")
    whole = metric_at(("recordings", "auroc"))
    if f.value(whole.place) is not None:
        words = Markup(" Of whole recordings, by the mean over their beats, AUROC is <strong>{} %</strong>{}.")
        sentence += words.format(f.metric(whole, 1), _interval(f, whole))
    return [sentence]


def _interval(f: Numbers, metric: Metric) -> Markup:
    """The interval in words, with a remark if it is narrow or wide."""
    ends, about = f.interval(metric), f.value("test.intervals")
    if not ends:
        return Markup("")
    width = ends[1].value - ends[0].value
    remark = "; this is narrow" if width <= NARROW else ""
    if width >= WIDE and about["resampled"] == "patients":
        remark = "; this is wide: other patients could give quite another value"
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
        where = Markup("Other beats of the same patients are in the <strong>training set</strong>: ")
        return where + "the result is no estimate for new patients."
    but = ""
    if protocol.shared_records and protocol.shared_patients == "both":
        but = f", except for one patient, whose records {' and '.join(protocol.shared_records)} are on both sides"
    return Markup("The test patients are <strong>not</strong> in the training set{}.").format(but)


def _published(record: RunRecord, f: Numbers) -> list[Markup]:
    published = published_for_run(record)
    if not published or record.protocol.name != "random":
        return []
    name, words = ("macro_f1", "macro-F1") if "macro_f1" in published else ("f1", "F1 of MI")
    if f.value(f"test.{name}") is None:
        return []
    sentence = Markup("The published {} is {:.2f} % (its epoch was chosen on the test file); here it is {} %.")
    return [sentence.format(words, 100 * published[name], f.percent(f"test.{name}"))]


def against_baselines(model: str, answers: Iterable[Mapping[str, Any]], metric: Metric) -> list[Markup]:
    """A sentence on the baselines that a network is significantly better than, by `compare`, and one on each other."""
    better, sentences = [], []
    for answer in answers:
        name, one = answer["second"].get("model", "a baseline"), answer["differences"].get(metric.key[0])
        if one is None:
            continue
        cell = difference(metric, one, 1)
        assert isinstance(cell.content, Number)
        ends = Markup(" ({} to {})").format(*cell.interval) if cell.interval else ""
        words = Markup("{}{}").format(cell.content.rounded(1), ends)
        if cell.mark and one["difference"] > 0:
            better.append(Markup("{} by {}").format(name, words))
        else:
            how = "is not significantly better than" if one["difference"] > 0 else "is not better than"
            sentence = Markup("<strong>{} {} the baseline {}</strong>: {} points of {}.")
            sentences.append(sentence.format(model, how, name, words, name_of(metric)))
    if better:
        sentence = Markup("{} is significantly better than {} points of {}.")
        sentences.insert(0, sentence.format(model, Markup(", ").join(better), name_of(metric)))
    return sentences


def warnings(record: RunRecord, f: Numbers, origins: Mapping[str, Origin]) -> Iterator[Markup]:
    """What must not be concluded from the metrics: a sentence each."""
    test = record.test
    if record.fold != "test":
        yield escape(record.not_tested)
    if record.warning:
        words = clean(record.warning).removesuffix(".")
        yield escape(f"{words[:1].upper()}{words[1:]}.")
    for name, one in test["per_class"].items():
        yield from _few(name, one["support"], origins.get(name))
    gross, without = f.percent("test.ec57.S.sensitivity", 1), f.percent("test.ec57.without_232.S.sensitivity", 1)
    if isinstance(gross, Number) and isinstance(without, Number) and abs(gross.value - without.value) >= MISCALIBRATED:
        yield Markup("Sensitivity for S is {} % with record 232, and {} % without it.").format(gross, without)
    if test.get("ece", 0) >= MISCALIBRATED and test.get("reliability"):
        confidence, accuracy = mean_confidence(record), f.percent("test.accuracy", 1)
        sentence = Markup("Its probabilities are too {}: mean confidence {:.1f} %, accuracy {} %.")
        yield sentence.format("high" if confidence > test["accuracy"] else "low", 100 * confidence, accuracy)
    about = test.get("intervals")
    if about and about["resampled"] == "beats":
        yield Markup("Patients are not known: intervals treat beats as independent, so they are too narrow.")
    elif about and about["n_resampled"] == 1:
        yield Markup("All test beats are of one patient: there are no intervals, and no statement about others.")


def mean_confidence(record: RunRecord) -> float:
    """Mean probability of the predicted classes."""
    bins = record.test["reliability"]
    mean: float = sum(one["beats"] * one["confidence"] for one in bins) / sum(one["beats"] for one in bins)
    return mean


def _few(name: str, beats: int, origin: Origin | None) -> Iterator[Markup]:
    if beats == 0:
        yield Markup("There is no test beat of class {}: nothing is known about it.").format(name)
    elif beats < FEW_BEATS or (origin is not None and origin.patients < FEW_PATIENTS):
        of = f" of {origin.patients} patient{'s' * (origin.patients > 1)}" if origin else ""
        sentence = Markup("Class {} has only {:,} test beat{}{}: its metrics may be due to chance.")
        yield sentence.format(name, beats, "s" * (beats > 1), of)
    elif origin and origin.share >= MOST:
        sentence = Markup("{:.0f} % of the {:,} test beats of class {} come from record {}, one patient.")
        yield sentence.format(100 * origin.share, beats, name, clean(origin.record))


def listed(names: Sequence[Any]) -> Any:
    """``N, V and Q``; of `Markup` again that."""
    kind = type(names[0])
    return names[0] if len(names) == 1 else kind(", ").join(names[:-1]) + kind(" and ") + names[-1]
