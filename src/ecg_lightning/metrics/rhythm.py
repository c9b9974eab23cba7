"""Numbers about the rhythm of one recording: burden, runs of ectopic beats, heart rate, pauses, variability.

Counts of what the classes and times of beats are; none of them is a diagnosis. Conventions:

- Ectopic beats in a row: single, couplet (2), triplet (3), run (4 and more). Of ventricular ones, three and more at
  above 100 a minute are counted as tachycardia (Buxton et al., ACC/AHA/HRS key data elements, Circulation 114, 2006).
  Beats of other classes, fusion beats too, end a row.
- Bigeminy, trigeminy: at least three single ectopic beats, with exactly one, two, beats of class N between neighbours.
- Heart rate: mean over `RATE_INTERVALS` successive RR intervals.
- Variability: of N–N intervals, that is between neighbours of class N (Task Force of ESC and NASPE, Circulation 93,
  1996). Irregularity: the share of groups of `GROUP` differences of successive N–N intervals whose root mean square is
  above a tenth of their mean interval, the measure of Dash et al., Ann. Biomed. Eng. 37(9), 2009.

An RR interval counts if both of its beats are usable and no stretch without usable signal is between them. What is
made of several intervals is made of neighbours that count.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ecg_lightning.data.beats import BoolArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

RATE_INTERVALS = 8
PAUSES_S = (2.0, 2.5)
TACHYCARDIA = 100.0  # beats a minute
LEAST_S = 5.0  # of RR intervals, below which a period has no rate
GROUP, IRREGULAR = 128, 0.1
DOUBTFUL = ("no signal", "gap", "noisy")  # flags of beats whose time or class is not to be relied on

Numbers = npt.NDArray[np.float64]
Spans = tuple[Numbers, Numbers]  # starts and stops [s], ascending and apart


def summary_of(beats: "Mapping[str, Any] | pd.DataFrame", about: Mapping[str, Any]) -> dict[str, Any]:
    """`summarise` the beats of a recording, as `annotate` returns them, with ``beats.attrs["about"]``."""
    flags = np.asarray(beats["flag"], dtype=str)
    found = summarise(
        beats["time_s"], beats["class"], names=about["classes"], duration_s=about["duration_s"],
        usable=~doubtful(flags), unusable=[(start, stop) for start, stop, *_ in about["unusable"]],
    )  # fmt: skip
    return found | {"uncertain": int(flagged(flags, "uncertain").sum())}


def flagged(flags: npt.ArrayLike, flag: str) -> BoolArray:
    """Whether the flags of each beat, joined by commas, have this one."""
    there: BoolArray = np.char.find(np.asarray(flags, dtype=str), flag) >= 0
    return there


def doubtful(flags: npt.ArrayLike) -> BoolArray:
    """Whether the flags of each beat have one of `DOUBTFUL`."""
    any_of: BoolArray = np.any([flagged(flags, flag) for flag in DOUBTFUL], axis=0)
    return any_of


def summarise(
    times_s: npt.ArrayLike,
    classes: npt.ArrayLike,
    *,
    names: Sequence[str],
    duration_s: float,
    usable: npt.ArrayLike | None = None,
    unusable: Sequence[tuple[float, float]] = (),
) -> dict[str, Any]:
    """The rhythm of a recording in plain values, as JSON takes them; None stands for what is not defined.

    Args:
        times_s: of the R peaks ``[b]``, ascending.
        classes: name of the class of each beat ``[b]``; a beat of a class that is not in `names` has none.
        names: all classes; runs of S and V, and variability, are found where N is among them.
        duration_s: of the recording.
        usable: whether time and class of each beat ``[b]`` are to be relied on; None: all.
        unusable: starts and stops in seconds of stretches without usable signal, in any order.

    Rates are in beats a minute, shares between 0 and 1.
    """
    times, named = np.asarray(times_s, dtype=np.float64), np.asarray(classes, dtype=str)
    trusted = np.ones(len(times), dtype=bool) if usable is None else np.asarray(usable, dtype=bool)
    spans, rr = merged(unusable, duration_s), np.diff(times)
    counts = _counting(times, trusted, spans)
    usable_s = duration_s - float(np.sum(spans[1] - spans[0]))
    burdens = {name: _burden(int((named == name).sum()), len(times), usable_s) for name in names}
    ectopic = [name for name in ("V", "S") if {"N", name} <= set(names)]
    return {
        "duration_s": float(duration_s),
        "usable_s": usable_s,
        "usable_share": usable_s / duration_s if duration_s else 0.0,
        "beats": len(times),
        "doubtful": int((~trusted).sum()),
        "classes": burdens,
        "without_class": len(times) - sum(one["beats"] for one in burdens.values()),
        "ectopy": {name: _ectopy(times, named == name, named == "N", counts) for name in ectopic},
        "rate": _rate(times, rr, counts),
        "pauses": _pauses(times, rr, counts),
        "variability": _variability(rr, counts, named == "N") if "N" in names else None,
    }


def merged(spans: Sequence[tuple[float, float]], duration_s: float) -> Spans:
    """Stretches of a recording in ascending order, those that touch or overlap as one."""
    starts, stops = np.clip(np.array(sorted(spans), dtype=np.float64).reshape(-1, 2), 0, duration_s).T
    ends = np.maximum.accumulate(stops)
    first = np.ones(len(starts), dtype=bool)
    first[1:] = starts[1:] > ends[:-1]
    return starts[first], ends[np.append(first[1:], True)[: len(ends)]]


def periods(
    times_s: npt.ArrayLike,
    classes: npt.ArrayLike,
    *,
    names: Sequence[str],
    duration_s: float,
    usable: BoolArray,
    unusable: Sequence[tuple[float, float]],
    period_s: float,
    first_s: float,
) -> list[dict[str, Any]]:
    """Beats by class, rate and usable seconds of successive periods; the first, shorter one ends at `first_s`."""
    times, named = np.asarray(times_s, dtype=np.float64), np.asarray(classes, dtype=str)
    starts, stops = merged(unusable, duration_s)
    edges = np.concatenate([[0.0], np.arange(first_s, duration_s, period_s), [duration_s]])
    lost = np.cumsum(np.concatenate([[0.0], stops - starts]))
    points = np.ravel(np.stack([starts, stops], axis=1)), np.ravel(np.stack([lost[:-1], lost[1:]], axis=1))
    seconds = np.diff(edges - (np.interp(edges, *points) if len(starts) else 0.0))
    at = np.searchsorted(edges[1:-1], times, side="right")
    counted = {name: np.bincount(at[named == name], minlength=len(seconds)) for name in names}
    beats = np.bincount(at, minlength=len(seconds))
    rr, counts = np.diff(times), _counting(times, usable, (starts, stops))
    summed, intervals = (np.bincount(at[1:][counts], one, len(seconds)) for one in (rr[counts], np.ones(counts.sum())))
    return [
        {
            "start_s": float(edges[i]), "stop_s": float(edges[i + 1]), "usable_s": float(seconds[i]),
            "beats": int(beats[i]), "rate": 60 * float(intervals[i] / summed[i]) if summed[i] >= LEAST_S else None,
            "classes": {name: int(one[i]) for name, one in counted.items()},
        }
        for i in range(len(seconds))
    ]  # fmt: skip


def _counting(times: Numbers, usable: BoolArray, spans: Spans) -> BoolArray:
    """Which RR intervals ``[b - 1]`` count: both beats are usable, and no part of a stretch is between them."""
    starts, stops = spans
    following = np.searchsorted(stops, times[:-1], side="right")
    counts: BoolArray = usable[1:] & usable[:-1] & (np.append(starts, np.inf)[following] >= times[1:])
    return counts


def _burden(n: int, beats: int, usable_s: float) -> dict[str, Any]:
    return {"beats": n, "share": n / beats if beats else None, "per_hour": 3600 * n / usable_s if usable_s else None}


def _rows(member: BoolArray, joined: BoolArray) -> tuple[IntArray, IntArray]:
    """First and last place of each row of members; `joined` is whether neighbours ``[n - 1]`` can be in one row."""
    links = member[1:] & member[:-1] & joined
    firsts, lasts = member.copy(), member.copy()
    firsts[1:] &= ~links
    lasts[:-1] &= ~links
    return np.flatnonzero(firsts), np.flatnonzero(lasts)


def _event(times: Numbers, first: int, last: int, beats: int | None = None) -> dict[str, Any]:
    """A row of beats from the first to the last one; of fewer beats than are there, if some in it do not count."""
    span = float(times[last] - times[first])
    rate = 60 * (int(last) - int(first)) / span if span else None
    n = int(last - first + 1) if beats is None else beats
    return {"start_s": float(times[first]), "stop_s": float(times[last]), "beats": n, "rate": rate}


def _ectopy(times: Numbers, member: BoolArray, normal: BoolArray, joined: BoolArray) -> dict[str, Any]:
    """Rows of ectopic beats by length; bigeminy and trigeminy."""
    firsts, lasts = _rows(member, joined)
    lengths, spans = lasts - firsts + 1, times[lasts] - times[firsts]
    # Rounded, so that of equally fast ones the first is taken.
    rates = np.round(np.divide(60 * (lengths - 1), spans, out=np.zeros(len(spans)), where=spans > 0), 3)
    long, pairs = np.flatnonzero(lengths >= 3), np.flatnonzero(lengths == 2)

    def best(of: IntArray, by: npt.NDArray[Any]) -> dict[str, Any] | None:
        return _event(times, *(one[of[by[of].argmax()]] for one in (firsts, lasts))) if len(of) else None

    return {
        "single": int((lengths == 1).sum()),
        "couplets": len(pairs),
        "triplets": int((lengths == 3).sum()),
        "runs": int((lengths > 3).sum()),
        "beats_in_runs": int(lengths[long].sum()),  # of triplets, too
        "tachycardia": int((rates[long] > TACHYCARDIA).sum()),
        "longest": best(long, lengths + rates / 1e6),  # of equally long ones the fastest
        "fastest": best(long, rates),
        "fastest_couplet": best(pairs, rates),
        "bigeminy": _alternating(times, member, normal, joined, 1),
        "trigeminy": _alternating(times, member, normal, joined, 2),
    }


def _alternating(times: Numbers, member: BoolArray, normal: BoolArray, joined: BoolArray, n: int) -> dict[str, Any]:
    """Episodes of ectopic beats with `n` beats of class N between neighbours."""
    places = np.flatnonzero(member)
    between = np.diff(np.cumsum(normal)[places]) == n
    unbroken = np.diff(np.concatenate([[0], np.cumsum(~joined)])[places]) == 0
    firsts, lasts = _rows(np.ones(len(places), dtype=bool), (np.diff(places) == n + 1) & between & unbroken)
    long = np.flatnonzero(lasts - firsts >= 2)
    beats = (lasts - firsts + 1)[long]
    most = long[beats.argmax()] if len(long) else None
    return {
        "episodes": len(long),
        "beats": int(beats.sum()),
        "longest": None if most is None else _event(times, places[firsts[most]], places[lasts[most]], int(beats.max())),
    }


def episodes(
    beats: "Mapping[str, Any] | pd.DataFrame", about: Mapping[str, Any], *, uncertain: float
) -> list[dict[str, Any]]:
    """Everything in a recording that is worth a look, in order of time.

    Args:
        beats, about: as for `summary_of`.
        uncertain: confidence below which a beat is listed by itself.

    Returns:
        Of each: ``kind`` (``single``, ``couplet``, ``triplet`` or ``run`` of ectopic beats; ``pause`` of more than
        `PAUSES_S`; ``uncertain`` beat), its ``class`` (None of a pause), ``start_s``, ``stop_s``, ``beats``, ``rate``,
        the place of its ``first`` beat, and ``confidence``, the mean of its beats' (None of beats without one).
    """
    times, named = np.asarray(beats["time_s"], dtype=np.float64), np.asarray(beats["class"], dtype=str)
    confidence = np.asarray(beats["confidence"], dtype=np.float64)
    spans = merged([(start, stop) for start, stop, *_ in about["unusable"]], about["duration_s"])
    counts = _counting(times, ~doubtful(beats["flag"]), spans)
    pauses = np.flatnonzero(counts & (np.diff(times) > PAUSES_S[0]))
    doubts = np.flatnonzero(confidence < uncertain)
    found: list[tuple[str, str | None, IntArray, IntArray]] = [
        ("pause", None, pauses, pauses + 1),
        ("uncertain", None, doubts, doubts),
    ]
    for name in ("V", "S"):
        if {"N", name} <= set(about["classes"]):
            firsts, lasts = _rows(named == name, counts)
            found += [(kind, name, firsts[here], lasts[here]) for kind, here in _lengths(lasts - firsts + 1).items()]
    events = []
    for kind, ectopic, firsts, lasts in found:
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            own = confidence[first : last + 1]
            sure = float(own[np.isfinite(own)].mean()) if np.isfinite(own).any() else None
            of = ectopic or (str(named[first]) if kind == "uncertain" else None)
            event = {"kind": kind, "class": of, **_event(times, first, last), "first": first, "confidence": sure}
            events.append(event)
    return sorted(events, key=lambda event: (event["start_s"], event["stop_s"]))


def _lengths(lengths: IntArray) -> dict[str, BoolArray]:
    """Which rows of ectopic beats are of which kind."""
    return {"single": lengths == 1, "couplet": lengths == 2, "triplet": lengths == 3, "run": lengths > 3}


def _rate(times: Numbers, rr: Numbers, counts: BoolArray) -> dict[str, Any]:
    """Mean rate; lowest and highest over `RATE_INTERVALS`."""
    mean = 60 * float(counts.sum() / rr[counts].sum()) if counts.any() else None
    gaps = np.concatenate([[0], np.cumsum(~counts)])
    whole = np.flatnonzero(gaps[RATE_INTERVALS:] == gaps[:-RATE_INTERVALS])
    ends: list[dict[str, Any] | None] = [None, None]
    if len(whole):
        spans = times[whole + RATE_INTERVALS] - times[whole]
        ends = [_event(times, at, at + RATE_INTERVALS) for at in whole[[spans.argmax(), spans.argmin()]]]
    return {"mean": mean, "lowest": ends[0], "highest": ends[1], "intervals": RATE_INTERVALS}


def _pauses(times: Numbers, rr: Numbers, counts: BoolArray) -> dict[str, Any]:
    """Long RR intervals; the number of those that do not count, since signal is missing or doubtful there."""
    judged = np.where(counts, rr, 0)
    at = int(judged.argmax()) if counts.any() else None
    return {
        **{f"over_{limit:g}_s": int((judged > limit).sum()) for limit in PAUSES_S},
        "not_counted": int((rr[~counts] > PAUSES_S[0]).sum()),
        "longest": None if at is None else {**_event(times, at, at + 1), "seconds": float(rr[at])},
    }


def _variability(rr: Numbers, counts: BoolArray, normal: BoolArray) -> dict[str, Any]:
    """SDNN, RMSSD and pNN50, and how irregular successive N–N intervals are."""
    nn = counts & normal[1:] & normal[:-1]
    successive = nn[1:] & nn[:-1]
    steps, later = np.diff(rr)[successive], rr[1:][successive]
    n = len(steps) // GROUP * GROUP
    grouped, means = steps[:n].reshape(-1, GROUP), later[:n].reshape(-1, GROUP).mean(axis=1)
    irregular = np.sqrt(np.square(grouped).mean(axis=1)) > IRREGULAR * means
    return {
        "intervals": int(nn.sum()),
        "share": float(nn.mean()) if len(nn) else 0.0,
        "mean_ms": 1000 * float(rr[nn].mean()) if nn.any() else None,
        "sdnn_ms": 1000 * float(rr[nn].std(ddof=1)) if nn.sum() > 1 else None,
        "rmssd_ms": 1000 * float(np.sqrt(np.square(steps).mean())) if len(steps) else None,
        "pnn50": float((np.abs(steps) > 0.05).mean()) if len(steps) else None,
        "groups": len(grouped),
        "irregular": float(irregular.mean()) if len(grouped) else None,
    }
