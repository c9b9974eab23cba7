"""The page of a database: its beats, recordings, rhythm, typical beats and signal quality, and what is odd."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.pipeline.data_report import POOR, RR_S, DataReport, RecordFacts, data_report
from ecg_lightning.pipeline.explain import Explanation
from ecg_lightning.report import charts
from ecg_lightning.report.beats import typical
from ecg_lightning.report.cells import NONE, Cell, Column, Number, Row, Table, clean
from ecg_lightning.report.page import Part, aside, columns, definitions, figure, join, note, prose, render
from ecg_lightning.report.render import html
from ecg_lightning.report.tables import SYNTHETIC_WARNING

RECORDS_SHOWN = 120  # in the table; of more records those with the lowest quality
WORST = 12  # records in the chart of signal quality
BINS = 10  # of quality


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
    records, counts = found.records, [f"{sum(found.counts.values()):,} beats"]
    counts += [f"{found.n_patients:,} people"] if found.n_patients is not None else []
    counts += [f"{len(records):,} records"] if records else []
    seconds = [one.seconds for one in records]
    rates = Counter(f"{one.fs:g} Hz" for one in records)
    leads = Counter(name for one in records for name in one.leads)
    lengths = [_time(value) for value in (min(seconds), np.median(seconds), max(seconds))] if seconds else []
    dropped = [f"{name}: {_words(value)}" for name, value in found.dropped.items()]
    facts = {
        "length": seconds and f"{sum(seconds) / 3600:,.1f} h in all; shortest record {lengths[0]}, median {lengths[1]}, longest {lengths[2]}",
        "sampled at": _counted(rates, len(records)),
        "leads": _counted(leads, len(records)),
        "leads that are read": ", ".join(found.lead_names),
        "classes": found.class_map,
        "left out": found.left_out and f"{found.left_out:,} records of other diagnoses",
        "beats that are not used": "; ".join(dropped),
    }
    for title, about in found.about.items():
        stated = "; ".join(str(about[key]) for key in ("citation", "licence", "homepage") if about.get(key))
        facts[f"source: {title}" if len(found.about) > 1 else "source"] = stated
    return join(prose([f"{', '.join(counts)}."]), definitions({name: clean(fact or "") for name, fact in facts.items()}), aside("What is odd", found.odd))


def _words(value: object) -> str:
    """Numbers by name, nested, in words."""
    return ", ".join(f"{name} {_words(one)}" for name, one in value.items()) if isinstance(value, dict) else f"{value:,}"


def _counted(names: Counter[str], n: int) -> str:
    """Names, the most frequent first, with their number of records where it is not all of them."""
    return ", ".join(name if count == n else f"{name} ({count:,})" for name, count in names.most_common(16))


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds / 60:.3g} min" if seconds < 5400 else f"{seconds / 3600:.3g} h"


def _classes(found: DataReport) -> Markup:
    whose = "records" if found.n_patients is None else "people"
    heads = [Column("class", text=True), Column("beats"), Column("share, %")]
    heads += [Column(whose)] * bool(found.owners)
    heads += [Column("median quality"), Column(f"quality below {POOR:g}, %")] * bool(found.quality)
    total, rows = sum(found.counts.values()), []
    for at, (name, count) in enumerate(found.counts.items()):
        cells: list[Cell | Number | str] = [Cell(name, swatch=at % 5), Number(count), Number(count / total, 2, factor=100)]
        cells += [Number(found.owners.get(name, 0))] if found.owners else []
        if found.quality:
            quality = found.quality.get(name, np.empty(0))
            values = (Number(float(np.median(quality)), 2), Number(float((quality < POOR).mean()), 1, factor=100))
            cells += values if len(quality) else (NONE, NONE)
        rows.append(Row(cells))
    return html(Table(columns=heads, rows=rows), "Beats of each class")


def _typical(found: DataReport) -> Markup:
    length = max(one.median.shape[1] for one in found.typical)
    about = Explanation(
        classes=tuple(found.counts), fs=found.fs, length=length, lead_names=found.lead_names, before=found.before,
        synthetic=found.synthetic,
    )  # fmt: skip
    band = note("The band holds 80 % of the beats at each time. At most 100 beats of a class are taken from each record.")
    return join(typical(found.typical, about, millivolts=found.millivolts), band if found.records else "")


def _rhythm(records: Sequence[RecordFacts]) -> Markup:
    if not any(len(one.rr) for one in records):
        return Markup("")
    intervals = np.concatenate([one.rr for one in records])
    rates = [one.heart_rate for one in records if one.heart_rate is not None]
    counts = np.histogram(np.minimum(intervals, RR_S[-1]), RR_S)[0] / len(intervals)
    steps = [(float(x), float(y)) for y, ends in zip(counts, zip(RR_S, RR_S[1:], strict=False), strict=True) for x in ends]
    quantiles = np.quantile(intervals, (0.01, 0.5, 0.99))
    words = f"RR intervals: median {quantiles[1]:.2f} s; 98 % of them are between {quantiles[0]:.2f} and {quantiles[2]:.2f} s."
    top = float(counts.max())
    shares = [tick / 100 for tick in charts.nice_ticks(0, 100 * top)]
    chart = charts.panel(
        [charts.Line(points=steps)], title="RR intervals", description=words,
        x=charts.Axis(name="RR interval, s (longer ones are in the last)", low=0, high=float(RR_S[-1]), ticks=[0, 0.5, 1, 1.5, 2, 2.5]),
        y=charts.Axis(name="share of intervals, %", low=0, high=top, ticks=shares, words=lambda share: f"{100 * share:g}"),
    )  # fmt: skip
    low, middle, high = np.quantile(rates, (0, 0.5, 1))
    slow, fast = (one(records, key=lambda of: of.heart_rate or middle).record for one in (min, max))
    heart = f"The median heart rate of a record is {middle:.0f} a minute, from {low:.0f} ({slow}) to {high:.0f} ({fast})."
    return columns(figure(chart), Markup("<p>{} {}</p>").format(words, heart))


def _quality(found: DataReport) -> Markup:
    if not found.quality:
        return note("It is not known: these beats came without their recordings.")
    quality = np.concatenate(list(found.quality.values()))
    counts, ends = np.histogram(quality, BINS, (0, 1))
    rows = [
        charts.Bar(name=f"{low:.1f}–{low + 1 / BINS:.1f}", parts={"accent faint": count}, words=f"{count:,} ({100 * count / len(quality):.1f} %)")
        for count, low in zip(reversed(counts.tolist()), reversed(ends[:-1].tolist()), strict=True)
    ]  # fmt: skip
    drawn = [figure(charts.bars(rows, title="Beats by signal quality", longest=counts.max(), left=50), "Beats by signal quality.")]
    worst = sorted((one for one in found.records if one.quality is not None), key=lambda one: one.quality or 0)[:WORST]
    bad = [
        charts.Bar(name=clean(one.record), parts={"accent faint": one.quality or 0}, words=f"{one.quality:.2f}, {100 * one.poor:.0f} % below {POOR:g}")
        for one in worst
    ]  # fmt: skip
    if bad:
        left = min(14 + 6.4 * max(len(row.name) for row in bad), 130)
        drawn.append(figure(charts.bars(bad, title="Records of lowest quality", longest=1, left=left), "Records of lowest mean quality."))
    about = note(
        "From 0 (no usable signal) to 1, around the R peak, of the worst lead that is read: flat line, clipping, noise "
        "above 25 Hz and baseline wander against the height of the QRS complex. It does not see artefacts of electrodes."
    )
    return join(columns(*drawn), about)


def _records(found: DataReport) -> Markup:
    if not found.records:
        return Markup("")
    some = list(found.records)
    if len(some) > RECORDS_SHOWN:
        some = sorted(some, key=lambda one: one.quality if one.quality is not None else -1)[:RECORDS_SHOWN]
    with_patient = any(one.patient not in (None, one.record) for one in some)
    lost = {
        name: key for name, key in (("gaps, s", "gap_s"), ("flat, s", "flat_s"), ("clipped, s", "clipped_s"))
        if any(getattr(one, key) for one in some)
    }  # fmt: skip
    heads = [Column("record", text=True), *[Column("patient", text=True)] * with_patient, *map(Column, found.counts)]
    heads += [Column(name) for name in ("length", "Hz", "beats a minute", "QRS, mV", "quality", *lost)]
    rows = []
    for one in some:
        n = sum(one.counts.values()) or 1
        cells: list[Cell | Number | str] = [one.record, *[one.patient or NONE] * with_patient]
        cells += [Cell(Number(count) if count else "", shade=0.7 * (count / n) ** 0.5) for count in one.counts.values()]
        cells += [_time(one.seconds), f"{one.fs:g}", NONE if one.heart_rate is None else Number(one.heart_rate, 0)]
        cells += [", ".join(f"{height:.2g}" for height in one.heights) or NONE]
        cells += [NONE if one.quality is None else Number(one.quality, 2)]
        cells += [Number(value, 1) if (value := getattr(one, key)) else "" for key in lost.values()]
        rows.append(Row(cells))
    about = "Beats of each class; the darker, the larger the share of the record. QRS: median height in each lead."
    shown = f"Shown: {len(some)} of {len(found.records):,} records, those of lowest quality." * (len(some) < len(found.records))
    return join(note(about, shown), html(Table(columns=heads, rows=rows), "Records", look="heat"))
