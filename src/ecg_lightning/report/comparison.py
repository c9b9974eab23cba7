"""The table of `ecg_lightning.runs.compare.compare`: two runs on the same test beats."""

from collections.abc import Mapping
from typing import Any

from ecg_lightning.metrics.catalogue import OVERALL, Metric, dig, metric_at, of_class
from ecg_lightning.report.cells import NONE, Cell, Column, Note, Number, Row, Section, Table


def difference(metric: Metric, one: Mapping[str, Any], digits: int | None = None) -> Cell:
    """A metric's entry below ``differences``: with its interval (of `digits`), marked where it is significant."""
    of_interval = metric.digits if digits is None else digits

    def number(value: float, digits: int, place: str = "") -> Number:
        return Number(value, digits, factor=metric.scale, signed=True, place=place, computed=True)

    low, high = (number(end, of_interval) for end in one["interval"] or (0, 0))
    return Cell(
        number(one["difference"], metric.digits, f"difference: {'.'.join(metric.key)}"),
        interval=(low, high) if one["interval"] else None,
        mark="significant" if is_significant(one) else "",
    )


def is_significant(one: Mapping[str, Any]) -> bool:
    """Whether there is an interval of a difference, and 0 is outside of it."""
    return bool(one["interval"]) and not one["interval"][0] <= 0 <= one["interval"][1]


def compare_section(answer: Mapping[str, Any]) -> Section:
    """What `compare` returned."""
    interval = f"{100 * answer['level']:.0f} % interval"
    columns = [Column("metric", text=True), *map(Column, ("1", "2", "1 - 2", interval, "p"))]
    metrics = [OVERALL[name] for name in ("macro_f1", "accuracy", "balanced_accuracy", "kappa", "j_kappa")]
    metrics += [of_class(name, "f1") for name in answer["differences"]["per_class"]]
    metrics += [OVERALL[name] for name in ("macro_auroc", "macro_average_precision", "ece", "brier")]
    metrics += [metric_at(("recordings", name)) for name in ("auroc", "recall_at_90_specificity", "accuracy")]
    rows = []
    for metric in metrics:
        if (one := dig(answer["differences"], metric.key)) is not None:
            cell = difference(metric, one)
            sides = (Number(one[side], metric.digits, factor=metric.scale) for side in ("first", "second"))
            ends, p = (" to ".join(map(str, cell.interval)), p_value(one["p"])) if cell.interval else (NONE, NONE)
            contents = (metric.label, *sides, cell.content, ends, p)
            rows.append(Row(Cell(content, mark=cell.mark) for content in contents))
    legend = []
    for about in (answer["first"], answer["second"]):
        text, synthetic = ", ".join(filter(None, (about.get("model"), str(about["path"])))), about.get("synthetic")
        legend.append(Note(f"{text} SYNTHETIC BEATS", "caution") if synthetic else Note(text, "plain"))
    protocol = answer["first"].get("protocol")
    notes = [f"Split {protocol}."] * bool(protocol) + bootstrap_notes(answer)
    title = f"1 minus 2, on the same {answer['n']:,} test beats, in percent"
    table = Table(columns=columns, rows=rows)
    return Section(title=title, tables=[table], legend=legend, notes=list(map(Note, notes)))


def bootstrap_notes(answer: Mapping[str, Any]) -> list[str]:
    """How the intervals of a comparison were computed, and McNemar's test."""
    if answer["n_resampled"] == 1:
        notes = ["All beats are of one patient: there are no intervals, and no statement about other patients."]
    else:
        units = f"{answer['resamples']:,} resamples of {answer['n_resampled']:,} {answer['resampled']}"
        notes = [f"Intervals and p: paired bootstrap, {units}. Bold: significant, 0 is outside of the interval."]
        notes += ["Patients are not known: the true intervals are wider."] * (answer["resampled"] == "beats")
    mcnemar = answer["mcnemar"]
    correct = f"{mcnemar['only_first']:,} beats in 1, {mcnemar['only_second']:,} in 2"
    test = f"McNemar's test, which treats beats as independent: p {p_value(mcnemar['p'])}"
    return [*notes, f"Correct in one run only: {correct} ({test})."]


def p_value(value: float) -> str:
    """``0.012``, or ``<0.001``."""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
