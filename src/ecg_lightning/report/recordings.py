"""The table of annotated recordings, and what is to be considered with each."""

from collections.abc import Mapping, Sequence
from typing import Any

from ecg_lightning.report.cells import NONE, Column, Number, Row, Table
from ecg_lightning.report.recording_view import number, percent

LITTLE_SIGNAL, MANY_FLAGS = 0.9, 0.05  # share of usable signal below, of flagged beats above which a page warns


def recordings_table(recordings: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]]) -> Table:
    """A row a recording, from what is known about it and its summary by `rhythm.summary_of`.

    Of a recording that could not be annotated the summary is None, and ``about["error"]`` says why.
    """
    known = next((found for _, found in recordings if found is not None), None)  # all by one model
    burdened = ["V", "S"] if known is None or known["ectopy"] else [*known["classes"]][1:]
    names = ("minutes", "beats", *(f"{name} %" for name in burdened), "rate", "longest RR, s", "usable %")
    heads = [Column("record", text=True), *map(Column, names), Column("problems", text=True, wrap=True)]
    rows = []
    for about, found in recordings:
        if found is None:
            why = about.get("error", "not annotated")
            rows.append(Row([about["record"], *[NONE] * len(names), why], mark="caution"))
            continue
        shares = [found["classes"].get(name, {}).get("share") for name in burdened]
        longest = found["pauses"]["longest"]
        burdens = (number(one, 2, factor=100) for one in shares)
        numbers = (
            Number(found["duration_s"] / 60, 1), Number(found["beats"]), *burdens, number(found["rate"]["mean"], 0),
            number(longest and longest["seconds"], 2), Number(found["usable_share"], 1, factor=100),
        )  # fmt: skip
        rows.append(Row([about["record"], *numbers, "; ".join(problems(found))]))
    return Table(columns=heads, rows=rows)


def problems(found: Mapping[str, Any]) -> list[str]:
    """What is to be considered with the summary of a recording, in a few words each."""
    n = found["beats"]
    shares = {"noisy": found["doubtful"] / (n or 1), "uncertain": found["uncertain"] / (n or 1)}
    return [
        *["no beats"] * (not n),
        *[f"{percent(found['usable_share'])} usable signal"] * (found["usable_share"] < LITTLE_SIGNAL),
        *[f"{percent(share)} of beats {name}" for name, share in shares.items() if share > MANY_FLAGS],
    ]
