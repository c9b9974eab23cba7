"""The parts of the page of a recording that show beats: events and uncertain beats on ECG paper, typical beats."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from ecg_lightning.explain.facts import AFTER_S, BEFORE_S, ClassFacts, Explanation
from ecg_lightning.metrics import rhythm
from ecg_lightning.report.beats import shares, typical
from ecg_lightning.report.cells import clean
from ecg_lightning.report.page import columns, join, note
from ecg_lightning.report.recording_view import ENDS, View
from ecg_lightning.report.render import swatch
from ecg_lightning.report.strip import Signals

STRIP_S = 7.0  # 175 mm, which fit a page of A4
LEAD_IN_S = 1.5  # before what a strip shows
UNCERTAIN, UNCERTAIN_S = 12, 3.0  # beats, and the length of their strips
TYPICAL = 30  # beats of a class


def events(view: View) -> Markup:
    """Runs, pauses and extremes of the rate, each with its strip."""
    cards = []
    for title, event in _found_events(view):
        start, stop = event["start_s"], event["stop_s"]
        cards.append(_strip_card(clean(title), view.draw(start - LEAD_IN_S, STRIP_S, title, (start, stop))))
    if not cards:
        return Markup("")
    words = (
        "The line marks the event; a longer one is shown from its start. Above each beat its class. Each lead is drawn",
        "around its own median; at 25 mm/s a small square is 40 ms, a large one 200 ms.",
    )
    return join(columns(*cards, look="strips"), note(*words))


def _found_events(view: View) -> list[tuple[str, Mapping[str, Any]]]:
    """Title and event of what is worth a look, the same stretch once."""
    found = view.summary
    events: list[tuple[str, Mapping[str, Any] | None]] = []
    for name, of in found["ectopy"].items():
        words = f"run of {name}: {{beats}} beats at {{rate:.0f}}/min"
        events += [(f"{key.capitalize()} {words}", of[key]) for key in ENDS]
        events.append((f"Fastest couplet of {name}: {{rate:.0f}}/min", of["fastest_couplet"]))
        words = f"of {name}: {{beats}} {name} in {{length:.1f}} s"
        events += [(f"Longest {key} {words}", of[key]["longest"]) for key in ("bigeminy", "trigeminy")]
    if found["pauses"]["over_2_s"]:
        events.append(("Longest RR interval: {length:.2f} s", found["pauses"]["longest"]))
    over = f"{{rate:.0f}}/min over {found['rate']['intervals']} RR intervals"
    events += [(f"{key.capitalize()} heart rate: {over}", found["rate"][key]) for key in ("highest", "lowest")]
    shown: dict[tuple[float, float], tuple[str, Mapping[str, Any]]] = {}
    for title, event in events:
        if event and event.get("rate", 0) is not None:  # beats at one time have none
            words = title.format(**event, length=event["stop_s"] - event["start_s"])
            shown.setdefault((event["start_s"], event["stop_s"]), (f"{words}, {view.clock(event['start_s'])}", event))
    return [*shown.values()]


def _strip_card(title: Markup | str, *pieces: Any) -> Markup:
    card = Markup('<figure class="keep"><figcaption class="beat-title">{}</figcaption>{}</figure>')
    return card.format(title, join(*pieces))


def uncertain(view: View) -> Markup:
    """The beats with the lowest confidence, apart from each other, each with its strip and probabilities."""
    known = np.flatnonzero(np.isfinite(view.confidence) & ~rhythm.doubtful(view.flags))
    chosen: list[int] = []
    for at in known[np.argsort(view.confidence[known], kind="stable")][:500]:
        if all(abs(view.times[at] - view.times[one]) >= UNCERTAIN_S for one in chosen):
            chosen.append(int(at))
        if len(chosen) == UNCERTAIN:
            break
    cards = []
    for at in chosen:
        when, name = view.times[at], str(view.classes[at])
        label = f"A beat of class {name} at {view.clock(when)}"
        drawn = view.draw(when - UNCERTAIN_S / 2, UNCERTAIN_S, label, (when - 0.15, when + 0.15))
        chances = dict(zip(view.names, view.probabilities[at].tolist(), strict=True))
        title = Markup("{} at {}").format(swatch(view.look(name), clean(name)), view.clock(when))
        cards.append(_strip_card(title, drawn, shares(chances, view.explanation)))
    if not cards:
        return Markup("")
    uncertain, threshold = view.summary["uncertain"], view.about.get("threshold")
    below = "" if threshold is None else f"{uncertain:,} beats are below the confidence of {threshold:g} and flagged."
    words = "The beats with the lowest confidence, at least three seconds apart, without those in noise."
    return join(note(words, below), columns(*cards, look="strips small-strips"))


def typical_beats(view: View) -> Markup:
    """Medians of beats that are spread over the recording."""
    facts: list[ClassFacts] = []
    leads, fs, n = (), 0.0, 0
    for name in view.names:
        start, last = view.times - BEFORE_S, view.about["duration_s"] - BEFORE_S - AFTER_S
        there = np.flatnonzero((view.classes == name) & (view.flags == "") & (start >= 0) & (start <= last))
        windows: list[Signals] = []
        for at in there[np.unique(np.linspace(0, len(there) - 1, TYPICAL).astype(int))] if len(there) else ():
            leads, signals, fs = view.strip(float(start[at]), BEFORE_S + AFTER_S)  # type: ignore[assignment]
            n = int((BEFORE_S + AFTER_S) * fs) - 1  # one fewer, as where it starts is rounded
            window = np.asarray(signals[:, :n], dtype=np.float64)
            if window.shape[1] == n and np.isfinite(window).all():
                windows.append(window - np.median(window, axis=1, keepdims=True))
        curves = tuple(np.quantile(windows, (0.1, 0.5, 0.9), axis=0).astype(np.float32)) if windows else None
        count, no = view.summary["classes"][name]["beats"], {"people": None, "quality": None, "poor": 0.0}
        facts.append(ClassFacts(name=name, n=count, typical=curves, n_typical=len(windows), **no))  # type: ignore[arg-type]
    if not any(one.typical for one in facts):
        return Markup("")
    about = Explanation(classes=view.names, fs=fs, lead_names=tuple(map(clean, leads)), length=n, before=BEFORE_S)
    return typical(facts, about, millivolts=True)
