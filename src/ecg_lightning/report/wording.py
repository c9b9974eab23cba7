"""Phrases that tables and pictures have in common."""

import re
from collections.abc import Mapping
from typing import Any

from ecg_lightning.data.labels import CLASS_MAP

SYNTHETIC_WARNING = "SYNTHETIC BEATS: these figures say that the machinery works, and nothing about patients."

ALONE = "none"
"""``context`` in ``scores.json`` of a run that saw the beat from its R peak on and nothing else."""


def context(scores: Mapping[str, Any]) -> str:
    """What was known of beats beside what follows their R peak, as the end of a phrase; runs of before tell nothing."""
    told = scores.get("context", ALONE)
    return "" if told == ALONE else f" with {told}"


CLASSES: Mapping[str, str] = {"arrhythmia": CLASS_MAP, "mi": "MI by reason for admission"}
"""Task → how its classes came about."""


def conditions(scores: Mapping[str, Any], *, parts: bool = True) -> str:
    """What figures depend on beside beats, network and seed, in a line: protocol, what was left out, classes, context.

    Args:
        scores: content of ``scores.json``; what one of before does not tell is left out.
        parts: say which fold was tested and what part of the training beats was used, in which runs of a sweep differ.
    """
    protocol = str(scores.get("protocol", ""))
    patterns = ["20[12] moved to DS[12]", "201 and 202 of one person left out"]
    patterns += [r"fold \d+ of \d+", r"trained on \d+ of \d+ training \w+"] if parts else []
    details = [found[0] for pattern in patterns if (found := re.search(pattern, protocol))]
    if scores.get("left_out") is not None:
        details.append(f"{scores['left_out']:,} beats left out" if scores["left_out"] else "no beats left out")
    told = [", ".join([f"split {scores['split']}", *details]), CLASSES.get(scores["task"], "")]
    if "context" in scores:
        told.append(f"context: {scores['context']}")
    return "; ".join(phrase for phrase in told if phrase)
