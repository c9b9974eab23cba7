"""A stretch of an ECG on paper at 25 mm/s and 10 mm/mV, true to scale on screen and in print, with its beats named."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ecg_lightning.report.cells import clean
from ecg_lightning.report.charts import text

UNITS = 4  # of the drawing in a millimetre
SECOND, SMALL, LARGE = 25 * UNITS, UNITS, 5 * UNITS
SCALES = (10.0, 5.0, 2.5, 1.0, 0.1)  # mm/mV, the first with which a lead is at most `TALLEST` high
TALLEST = 45  # mm
HEAD, FOOT = 18, 16  # above the paper, for the names of beats, and below it
N_LEADS = 3
DENSEST = 400.0  # Hz; of faster signals, lowest and highest values of groups of samples are drawn

Signals = npt.NDArray[np.floating]


class Mark(NamedTuple):
    """A beat of a strip."""

    time_s: float  # from the start of the strip
    name: str
    look: str


def strip(
    leads: Sequence[str], signals: Signals, fs: float, marks: Iterable[Mark], *, label: str,
    bracket: tuple[float, float] | None = None,
) -> Markup:  # fmt: skip
    """Leads one below the other, each around its own median, of at most `N_LEADS`.

    Args:
        leads: their names.
        signals: ``[leads, t]`` in mV, NaN in gaps.
        fs: their rate in Hz.
        marks: the beats.
        label: what is shown, in words.
        bracket: start and stop in seconds of what is emphasised.
    """
    shown = np.asarray(signals[:N_LEADS], dtype=np.float64)
    centred = [lead - np.nanmedian(lead) if np.isfinite(lead).any() else lead for lead in shown]
    ends = [(np.nanmin(lead), np.nanmax(lead)) if np.isfinite(lead).any() else (0.0, 0.0) for lead in centred]
    for scale in SCALES:
        # In large squares above and below the median.
        squares = [
            (max(1, int(np.ceil(high * scale / 5))), max(1, int(np.ceil(-low * scale / 5)))) for low, high in ends
        ]
        if max((5 * sum(one) for one in squares), default=0) <= TALLEST:
            break
    width = LARGE * max(1, round(SECOND * shown.shape[1] / fs / LARGE))
    drawn, top = Markup(""), HEAD
    for name, lead, (above, below) in zip(leads, centred, squares, strict=False):
        height = LARGE * (above + below)
        trace = _trace(lead, fs, top + LARGE * above, scale * UNITS)
        drawn += _grid(width, top, height) + Markup('<path class="trace" d="{}"/>').format(trace)
        drawn += text(4, top + height - 5, clean(name), look="label")
        top += height
    for mark in marks:
        half = 4.0 * len(mark.name)  # of its width, so that it stays on the paper
        at = min(max(SECOND * mark.time_s, half), width - half)
        drawn += text(at, 11, mark.name, "middle", look=f"beat-mark {mark.look}")
    if bracket:
        start, stop = (min(max(SECOND * end, 0.0), width) for end in bracket)
        drawn += Markup('<path class="bracket" d="M{:.1f} 15H{:.1f}"/>').format(start, stop)
    drawn += text(0, top + 13, f"25 mm/s, {scale:g} mm/mV")
    picture = Markup(
        '<div class="strip" role="region" aria-label="{0}" tabindex="0"><svg viewBox="0 0 {1} {2}" width="{3:g}mm" '
        'height="{4:g}mm" role="img" aria-label="{0}">{5}</svg></div>'
    )
    tall = top + FOOT
    return picture.format(label, width, tall, width / UNITS, tall / UNITS, drawn)


def _grid(width: int, top: int, height: int) -> Markup:
    lines = Markup("")
    for step, look in ((SMALL, "fine"), (LARGE, "coarse")):
        upright = "".join(f"M{x} {top}v{height}" for x in range(0, width + 1, step))
        across = "".join(f"M0 {y}h{width}" for y in range(top, top + height + 1, step))
        lines += Markup('<path class="{}" d="{}{}"/>').format(look, upright, across)
    return lines


def _trace(lead: npt.NDArray[np.float64], fs: float, zero: float, scale: float) -> str:
    """The path of one lead, interrupted in gaps."""
    at = np.arange(len(lead))
    if fs > DENSEST and np.isfinite(lead).all():
        size = int(np.ceil(2 * fs / DENSEST))
        groups = lead[: len(lead) // size * size].reshape(-1, size)
        ends = np.sort(np.stack([groups.argmin(axis=1), groups.argmax(axis=1)], axis=1), axis=1)
        at = np.unique(ends + size * np.arange(len(groups))[:, None])
    x, y = np.round(SECOND * at / fs, 1), np.round(zero - scale * lead[at], 1)
    return "".join("M" + " ".join(f"{x[i]:g} {y[i]:g}" for i in piece) for piece in _whole(np.isfinite(y)))


def _whole(there: npt.NDArray[np.bool_]) -> Iterator[range]:
    """Stretches of places that are there."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]])))
    yield from map(range, edges[::2].tolist(), edges[1::2].tolist())
