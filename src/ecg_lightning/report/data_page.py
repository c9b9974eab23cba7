"""The page of a database: its beats, recordings, rhythm, typical beats and signal quality, and what is odd."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.data.quality import POOR
from ecg_lightning.explain.facts import BEFORE_S, Explanation
from ecg_lightning.pipeline.data_report import BINS, DataReport, RecordFacts, data_report
from ecg_lightning.report import charts
from ecg_lightning.report.beats import typical
from ecg_lightning.report.cells import NONE, Cell, Column, Number, Row, Table, clean, duration
from ecg_lightning.report.page import Part, aside, columns, definitions, figure, join, note, prose, render
from ecg_lightning.report.render import html
from ecg_lightning.report.tables import SYNTHETIC_WARNING, counted

RECORDS_SHOWN = 120  # in the table; of more records those with the lowest quality
WORST = 12  # records in the chart of signal quality


def write_data_report(
    dataset: str, overrides: Sequence[str] = (), output: Path | None = None, *, config_dir: Path | None = None
) -> Path:
    """Write the page of a database, or of several by names with commas, and return its path.

    `output` is by default ``data_DATASET.html``; other arguments and errors are those of `data_report`.
    """
    found = data_report([f"dataset=[{dataset}]", *overrides], config_dir=config_dir)
    output = output or Path(f"data_{dataset.replace(',', '+')}.html")
    with atomic_write(output) as partial:
        partial.write_text(data_page(found), encoding="utf-8")
    return output


def data_page(found: DataReport) -> str:
    """The page as HTML."""
    parts = (
        ("overview", "Overview", _overview(found)),
        ("classes", "Classes", _classes(found)),
        ("typical", "Typical beats", _typical(found)),
        ("rhythm", "Rhythm", _rhythm(found.records)),
        ("quality", "Signal quality", _quality(found)),
        ("records", "Records", _records(found)),
    )
    return render(
        title=clean(found.title),
        kicker="Report of data",
        subtitle="What is in the recordings, before any training.",
        warning=SYNTHETIC_WARNING * found.synthetic,
        parts=[Part(*part) for part in parts if part[2]],
        origin="From the recordings and the beats that are cut out of them.",
    )


def _overview(found: DataReport) -> Markup:
    records, numbers = found.records, {"beats": sum(one.n for one in found.classes), "people": found.n_patients}
    numbers["records"] = len(records) or None
    lead = ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number is not None)
    lengths = sorted(one.seconds for one in records)
    of_record = " to ".join(dict.fromkeys(duration(end) for end in (lengths[:1] + lengths[-1:])))
    read = (name for one in records for name in one.used) if records else found.lead_names
    facts = {
        "length": lengths and f"{duration(sum(lengths))}; a record {of_record}",
        "sampled at": _counted((f"{one.fs:g} Hz" for one in records), len(records)),
        "leads": _counted((name for one in records for name in one.leads), len(records)),
        "leads that are read": _counted(read, len(records) or 1),
        "classes": found.class_map,
        "left out": f"{found.left_out:,} records of other diagnoses" if found.left_out else "",
        "beats that are not used": "; ".join(f"{name}: {counted(value)}" for name, value in found.dropped.items()),
    }  # fmt: skip
    for name, about in found.about.items():
        stated = "; ".join(str(about[key]) for key in ("citation", "licence", "homepage") if about.get(key))
        facts[f"source of {name}" if len(found.about) > 1 else "source"] = stated
    shown = definitions({name: clean(fact or "") for name, fact in facts.items()})
    return join(prose([f"{lead}."]), shown, aside("What is odd", map(clean, found.odd)))


def _counted(names: Iterable[str], n: int) -> str:
    """Names, the most frequent first, with their number of records where it is not all of them."""
    counted = Counter(names).most_common(16)
    return ", ".join(name if count == n else f"{name} ({count:,})" for name, count in counted)


def _classes(found: DataReport) -> Markup:
    whose = "records" if found.n_patients is None else "people"
    names = ("beats", "%", whose, "median quality", f"quality < {POOR:g}, %")
    heads = [Column("class", text=True), *map(Column, names)]
    total, rows = sum(one.n for one in found.classes), []
    for at, one in enumerate(found.classes):
        poor = None if one.quality is None else 100 * one.poor
        numbers = (_number(one.n), _number(100 * one.n / total, 2), _number(one.people))
        rows.append(Row([Cell(one.name, swatch=at % 5), *numbers, _number(one.quality, 2), _number(poor, 1)]))
    return html(Table(columns=heads, rows=rows), "Beats of each class")


def _number(value: float | None, digits: int | None = None) -> Number | str:
    return NONE if value is None else Number(value, digits)


def _typical(found: DataReport) -> Markup:
    if not any(one.typical for one in found.classes):
        return Markup("")
    about = Explanation(
        classes=tuple(one.name for one in found.classes), fs=found.fs, lead_names=found.lead_names,
        length=max(one.typical[0].shape[1] for one in found.classes if one.typical),
        before=BEFORE_S if found.records else 0.0,
    )  # fmt: skip
    ends = "The last beats of records, which are not cut because no RR interval follows, are among them."
    return join(typical(found.classes, about, millivolts=bool(found.records)), note(ends * bool(found.records)))


def _rhythm(records: Sequence[RecordFacts]) -> Markup:
    rates = sorted((rate, one.record) for one in records if (rate := one.heart_rate) is not None)
    if not rates:
        return Markup("")
    intervals = np.concatenate([one.rr for one in records])
    ends, noise = np.linspace(0, 2.5, 51), np.random.default_rng(0)
    # A sample is spread over its width: bins that hold 6 or 7 of them would make a comb.
    spread = np.concatenate([one.rr + noise.uniform(-0.5, 0.5, len(one.rr)) / one.fs for one in records])
    shares = np.histogram(np.clip(spread, 0, ends[-1]), ends)[0] / len(spread)
    steps = [(float(x), float(share)) for share, sides in zip(shares, pairwise(ends), strict=True) for x in sides]
    first, median, last = np.quantile(intervals, (0.01, 0.5, 0.99))
    words = f"RR intervals: median {median:.2f} s; 98 % of them are between {first:.2f} and {last:.2f} s."
    chart = charts.panel(
        [charts.Line(points=steps)],
        title="RR intervals",
        description=words,
        x=charts.Axis(name="RR interval, s (longer in the last bin)", low=0, high=2.5, ticks=[0, 0.5, 1, 1.5, 2, 2.5]),
        y=charts.percent_axis("share of intervals, %", 0, float(shares.max())),
    )
    slow, fast = (f"{rate:.0f} (record {clean(record)})" for rate, record in (rates[0], rates[-1]))
    middle = np.median([rate for rate, _ in rates])
    heart = f"The median heart rate of records is {middle:.0f} a minute, from {slow} to {fast}."
    return columns(figure(chart), Markup("<p>{} {}</p>").format(words, heart))


def _quality(found: DataReport) -> Markup:
    if not found.quality:
        return note("It is not known: these beats came without their recordings.")
    n = sum(found.quality)
    of_beats = [
        charts.Bar(
            name=f"{at / BINS:.1f}–{(at + 1) / BINS:.1f}", parts={"accent faint": count},
            words=f"{count:,} ({100 * count / n:.1f} %)",
        )
        for at, count in reversed([*enumerate(found.quality)])
    ]  # fmt: skip
    of_records = [
        charts.Bar(
            name=clean(one.record), parts={"accent faint": one.quality or 0},
            words=f"{one.quality:.2f}, {100 * one.poor:.0f} % below {POOR:g}",
        )
        for one in _worst_first(found.records)[:WORST]
    ]  # fmt: skip
    drawn = [
        charts.bars(of_beats, title="Beats by signal quality", longest=max(found.quality)),
        charts.bars(of_records, title="Records of lowest mean quality", longest=1),
    ]
    about = note(
        "Left: beats by quality, from 0 (no usable signal) to 1; right: records of lowest mean quality. It is measured",
        "around the R peak in the worst lead that is read: flat line, clipping, noise above 25 Hz and baseline wander",
        "against the height of the QRS complex. It does not see artefacts of electrodes.",
    )
    return join(columns(*map(figure, drawn)), about)


def _worst_first(records: Sequence[RecordFacts]) -> list[RecordFacts]:
    return sorted((one for one in records if one.quality is not None), key=lambda one: one.quality or 0)


def _records(found: DataReport) -> Markup:
    if not found.records:
        return Markup("")
    some, n = found.records, len(found.records)
    if n > RECORDS_SHOWN:
        some = _worst_first(some)[:RECORDS_SHOWN]
    facts: dict[str, list[Cell | Number | str]] = {"patient": [one.patient or NONE for one in some]}
    facts |= {of.name: [_share(one, at) for one in some] for at, of in enumerate(found.classes)}
    facts |= {
        "length": [duration(one.seconds) for one in some],
        "Hz": [f"{one.fs:g}" for one in some],
        "beats/min": [_number(one.heart_rate, 0) for one in some],
        "QRS, mV": [", ".join(f"{height:.2f}" for height in one.heights) or NONE for one in some],
        "quality": [_number(one.quality, 2) for one in some],
    }
    for name in ("gap", "flat", "clipped"):
        facts[f"{name}, s"] = [Number(seconds, 1) if (seconds := getattr(one, f"{name}_s")) else "" for one in some]
    # What is the same of all records is said above.
    shown = {name: cells for name, cells in facts.items() if n == 1 or len(set(map(repr, cells))) > 1}
    heads = [Column("record", text=True), *(Column(name, text=name == "patient") for name in shown)]
    rows = [Row([one.record, *cells]) for one, *cells in zip(some, *shown.values(), strict=True)]
    about = "Beats of each class; the darker, the larger the share of the record. QRS: median height in each lead."
    part = f"Shown: {RECORDS_SHOWN} of {n:,} records, those of lowest quality." if n > RECORDS_SHOWN else ""
    return join(note(about, part), html(Table(columns=heads, rows=rows), "Records", look="heat"))


def _share(one: RecordFacts, at: int) -> Cell:
    counts = [*one.counts.values()]
    share = counts[at] / (sum(counts) or 1)
    return Cell(Number(counts[at]) if share else "", shade=0.7 * share**0.5)
