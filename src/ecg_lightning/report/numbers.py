"""Figures of ``scores.json`` as a page prints them: each number carries its place and all its digits with it.

``<data value="0.94264…" data-figure="test.macro_f1">94.26</data>``: what is read off a page can be looked up in the
file, and a test does so for every number.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ecg_lightning.core.errors import DataError
from ecg_lightning.runs.predictions import score_predictions

Scores = Mapping[str, Any]

MINUS = "−"

NONE = Markup('<span class="none">–</span>')


class Figures:
    """The numbers of one file of scores, by their place in it: ``test.per_class.V.f1``.

    Args:
        scores: content of ``scores.json``, perhaps `completed`.
        computed: places of what does not stand in the file.
        prefix: what comes before a place in ``data-figure``, to tell several files on a page apart.
    """

    def __init__(self, scores: Scores, computed: Sequence[str] = (), prefix: str = "") -> None:
        self.scores = scores
        self.computed = tuple(computed)
        self.prefix = prefix

    def value(self, place: str) -> Any:
        """What is there, or None."""
        value: Any = self.scores
        for key in place.split("."):
            if isinstance(value, Mapping):
                value = value.get(key)
            elif isinstance(value, Sequence) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                return None
        return value

    def interval(self, place: str) -> Sequence[float] | None:
        """The interval of a figure below ``test``, or None."""
        ends: Sequence[float] | None = self.value(_interval_place(place))
        return ends

    def percent(self, place: str, digits: int = 2) -> Markup:
        """A fraction in percent, without its sign."""
        return self._data(place, lambda value: f"{100 * value:.{digits}f}")

    def number(self, place: str, digits: int | None = None) -> Markup:
        """A number as it is; a count with commas between its thousands."""
        return self._data(place, lambda value: f"{value:,}" if digits is None else f"{value:.{digits}f}")

    def ends(self, place: str, digits: int = 1, *, scale: float = 100) -> Markup:
        """The interval of a figure: ``90.1–96.0``, or ``−0.2 to 0.1``."""
        ends = self.interval(place)
        if ends is None:
            return NONE
        between = " to " if ends[0] < 0 else "–"
        low, high = (
            self._data(f"{_interval_place(place)}.{end}", lambda value: f"{scale * value:.{digits}f}") for end in (0, 1)
        )
        return Markup(f'<span class="nobreak">{low}{escape(between)}{high}</span>')

    def _data(self, place: str, words: Any) -> Markup:
        value = self.value(place)
        if value is None:
            return NONE
        origin = "computed" if any(f"{place}.".startswith(f"{known}.") for known in self.computed) else "figure"
        return data(words(value), value, f"{self.prefix}{place}", origin)


def data(words: str, value: float, place: str, origin: str = "figure") -> Markup:
    """A number with its digits and its place."""
    return Markup(f'<data value="{value!r}" data-{origin}="{escape(place)}">{escape(words.replace("-", MINUS))}</data>')


def _interval_place(place: str) -> str:
    return place.replace("test.", "test.intervals.", 1)


def completed(scores: Scores, predictions: Path, *, intervals: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Scores with the figures that a run of an older version did not file, computed from its predictions.

    Args:
        scores: content of ``scores.json``; what it says stands.
        predictions: the run's ``predictions.parquet``, which may be absent.
        intervals: whether they are wanted too.

    Returns:
        The scores, and the places of what was added.

    Raises:
        DataError: the predictions cannot be read, or are not those that were scored.
    """
    test = scores["test"]
    lacking = [key for key in ("balanced_accuracy", "reliability", "ece") if key not in test]
    wanted = intervals and "intervals" not in test
    if not (lacking or wanted) or not predictions.is_file():
        return dict(scores), []
    found = score_predictions(predictions, **({} if wanted else {"resamples": 0}))
    if abs(found["macro_f1"] - test["macro_f1"]) > 1e-6:
        raise DataError(
            f"{predictions} gives a macro-F1 of {found['macro_f1']:.6f}, the scores beside it say "
            f"{test['macro_f1']:.6f}: they are of two runs"
        )
    added: list[str] = []
    return {**scores, "test": _merged(test, found, "test", added)}, added


def _merged(ours: Scores, found: Scores, place: str, added: list[str]) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in found.items():
        if key not in ours:
            merged[key] = value
            added.append(f"{place}.{key}")
        elif isinstance(value, Mapping) and isinstance(ours[key], Mapping):
            merged[key] = _merged(ours[key], value, f"{place}.{key}", added)
    return merged
