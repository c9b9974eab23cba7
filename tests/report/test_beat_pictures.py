"""Drawings of beats: well-formed, escaped, in the page's colours alone, and what they say."""

import dataclasses
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.explain.embedding import embed, last_features
from ecg_lightning.explain.mistakes import find_mistakes
from ecg_lightning.explain.saliency import explain_beats
from ecg_lightning.models import create_model
from ecg_lightning.pipeline.explain import Explanation
from ecg_lightning.report import beats as pictures
from ecg_lightning.training.tasks import get_task

HOSTILE = '<script>"a" & b</script>'


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    """Of random beats with context, of records with a name that is no text for HTML."""
    generator = np.random.default_rng(0)
    n = 40
    lengths = generator.integers(80, 222, (n, 1))
    signals = generator.random((n, 221)).astype(np.float32) * (np.arange(221) < lengths)
    beats = Beats(
        signals=signals.astype(np.float32),
        labels=np.arange(n) % 5,
        classes=AAMI_CLASSES,
        fs=125.0,
        records=np.asarray([HOSTILE, "r1"])[np.arange(n) % 2],
        patients=np.asarray([f"{i % 7}{HOSTILE}" for i in range(n)]),
        samples=54_321 * np.arange(n),
        context=generator.normal(size=(n, 4)).astype(np.float32),
        context_names=("previous", "next", "irregularity", "correlation"),
        origin={"recorded_fs": 360.0},
    )
    probabilities = generator.dirichlet(np.full(5, 0.2), n)
    torch.manual_seed(0)
    model = create_model("cnet", n_outputs=5, length=221, n_context=4, channels=4)
    return Explanation(
        classes=beats.classes,
        fs=beats.fs,
        length=beats.length,
        before=0.272,
        mistakes=find_mistakes(beats, probabilities),
        saliency=explain_beats(model, get_task("arrhythmia"), beats, probabilities, n=1),
        embedding=embed(lambda chosen: last_features(model, chosen), beats),
        remarks=(HOSTILE,),
    )


def fragments(about: Explanation) -> list[str]:
    assert about.mistakes and about.saliency and about.embedding
    return [
        pictures.mistakes(about.mistakes, about),
        pictures.saliency(about.saliency, about),
        pictures.embedding(about.embedding, about),
        pictures.remarks(about),
    ]


def test_fragments_are_whole_escaped_and_the_same_every_time(explanation: Explanation) -> None:
    for fragment, again in zip(fragments(explanation), fragments(explanation), strict=True):
        root = ElementTree.fromstring(f"<div>{fragment}</div>")
        assert root.find(".//script") is None
        assert "&lt;script&gt;" in fragment
        assert fragment == again
        # Nothing from outside, and no colour but the page's.
        assert not re.search(r"https?:|#[0-9a-fA-F]{3}|rgb\(|nan|inf ", fragment)
        assert set(re.findall(r"var\((--[a-z]+)", fragment)) <= {
            "--ink",
            "--muted",
            "--line",
            "--accent",
            "--ecg",
            "--class",
        }


def test_every_class_of_a_fragment_is_in_the_style_or_the_pages(explanation: Explanation) -> None:
    used = {name for fragment in fragments(explanation) for name in re.findall(r'class="([\w-]+)"', fragment)}
    assert used - {"axis"} <= set(re.findall(r"\.([a-z]+-[a-z]+)", pictures.STYLE))


def test_a_mistake_says_what_where_and_how_sure(explanation: Explanation) -> None:
    assert explanation.mistakes
    root = ElementTree.fromstring(f"<div>{pictures.mistakes(explanation.mistakes, explanation)}</div>")
    cards = root.findall(".//figure")
    assert len(cards) == len(explanation.mistakes.shown) > 3
    for card, one in zip(cards, explanation.mistakes.shown, strict=True):
        text = "".join(card.itertext())
        minutes, seconds = divmod(one.beat.seconds or 0, 60)
        assert text.startswith(f"{one.beat.true} called {one.beat.predicted}record {one.beat.record}")
        assert f"at {minutes:.0f}:{seconds:04.1f}" in text
        assert (
            f"{one.beat.predicted} {100 * one.beat.probabilities[one.beat.predicted]:.1f} %" in text or "> 99.9" in text
        )
        widths = [float(bar.attrib["width"]) for bar in card.findall(".//rect")]
        assert sum(widths) == pytest.approx(300, abs=0.5)
    said = "".join(root.itertext())
    assert f"{explanation.mistakes.n} of 40 beats" in said
    assert "height is not mV" in said and "a large square is 200 ms" in said


def test_time_is_from_the_r_peak(explanation: Explanation) -> None:
    assert explanation.mistakes
    drawn = pictures.mistakes(explanation.mistakes, explanation)
    # 272 ms before the R peak are 54.4 units; the paper begins at the small square before.
    assert re.search(r'viewBox="-56 0 \d+ \d+"', drawn)
    assert 'd="M-54.4 ' in drawn
    at_peak = pictures.mistakes(explanation.mistakes, dataclasses.replace(explanation, before=0.0))
    assert 'd="M0 ' in at_peak and "where beats begin" in at_peak


def test_saliency_has_both_networks_the_context_and_the_verdict(explanation: Explanation) -> None:
    assert explanation.saliency
    root = ElementTree.fromstring(f"<div>{pictures.saliency(explanation.saliency, explanation)}</div>")
    shown = [one for of_class in explanation.saliency.classes for one in of_class.beats]
    cards = root.findall(".//figure")
    assert len(cards) == len(shown) > 0
    for card, one in zip(cards, shown, strict=True):
        text = "".join(card.itertext())
        assert "as trained" in text and "fresh weights" in text
        rows = ["".join(row.itertext()) for row in card.findall(".//tbody/tr")]
        assert [row.startswith(share.name) for row, share in zip(rows, one.context, strict=True)] == [True] * 4
    assert explanation.saliency.verdict in "".join(root.itertext())


def test_an_embedding_has_every_beat_in_both_plots(explanation: Explanation) -> None:
    assert explanation.embedding
    root = ElementTree.fromstring(f"<div>{pictures.embedding(explanation.embedding, explanation)}</div>")
    by_class, by_patient = root.findall(".//figure")
    for plot in (by_class, by_patient):
        assert sum(path.attrib["d"].count("h0") for path in plot.findall(".//path")) == 40
    # Seven patients: five have a colour, two are the others.
    assert len(by_patient.findall(".//li")) == 6 and "2 others" in "".join(by_patient.itertext())
    unknown = dataclasses.replace(explanation.embedding, patients=None)
    assert pictures.embedding(unknown, explanation).count("<figure") == 1


def test_no_mistakes_synthetic_beats_and_remarks_are_said(explanation: Explanation) -> None:
    assert explanation.mistakes
    none = dataclasses.replace(explanation.mistakes, n=0, pairs=[], shown=[])
    assert pictures.mistakes(none, explanation) == '<p class="beat-verdict">None of 40 beats was mistaken.</p>'
    made = pictures.mistakes(explanation.mistakes, dataclasses.replace(explanation, synthetic=True))
    assert "SYNTHETIC" in made
