"""Drawings of beats: well-formed, escaped, in the page's colours alone, every lead and every sample of it."""

import dataclasses
import re
from importlib.resources import files
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.explain.embedding import embed, last_features
from ecg_lightning.explain.facts import Explanation
from ecg_lightning.explain.mistakes import find_mistakes
from ecg_lightning.explain.occlusion import occlude_beats
from ecg_lightning.explain.saliency import explain_beats
from ecg_lightning.models import create_model
from ecg_lightning.report import beats as pictures
from ecg_lightning.training.tasks import task_of

HOSTILE = '<script>"a" & b</script>'


def explain(n_leads: int) -> Explanation:
    """Of random beats with context, of records with a name that is no text for HTML."""
    generator = np.random.default_rng(0)
    n, lengths = 40, generator.integers(80, 222, 40)
    signals = generator.random((n, n_leads, 221)) * (np.arange(221) < lengths[:, None, None])
    beats = Beats(
        signals=signals.astype(np.float32),
        lengths=lengths,
        labels=np.arange(n) % 5,
        classes=AAMI_CLASSES,
        fs=125.0,
        lead_names=("MLII", HOSTILE)[:n_leads],
        records=np.asarray([HOSTILE, "r1"])[np.arange(n) % 2],
        patients=np.asarray([f"{i % 7}{HOSTILE}" for i in range(n)]),
        samples=54_321 * np.arange(n),
        context=generator.normal(size=(n, 4)).astype(np.float32),
        context_names=("previous", "next", "irregularity", "correlation"),
        origin={"recorded_fs": 360.0},
    )
    probabilities = generator.dirichlet(np.full(5, 0.2), n)
    torch.manual_seed(0)
    model = create_model("cnet", n_outputs=5, length=221, leads=n_leads, n_context=4, channels=4)
    return Explanation(
        classes=beats.classes,
        fs=beats.fs,
        length=beats.length,
        lead_names=beats.lead_names,
        before=0.272,
        mistakes=find_mistakes(beats, probabilities),
        saliency=explain_beats(model, task_of({"task": "arrhythmia"}), beats, probabilities, n=1)
        if n_leads == 1
        else occlude_beats(lambda chosen: np.full((len(chosen), 5), 0.2, np.float32), [], beats, probabilities, n=1),
        embedding=embed(lambda chosen: last_features(model, chosen), beats),
    )


@pytest.fixture(scope="module", params=[1, 2])
def explanation(request: pytest.FixtureRequest) -> Explanation:
    """Of beats with one lead, and with two."""
    return explain(request.param)


def fragments(about: Explanation) -> list[str]:
    assert about.mistakes and about.saliency and about.embedding
    return [
        pictures.mistakes(about.mistakes, about),
        pictures.saliency(about.saliency, about),
        pictures.embedding(about.embedding, about),
    ]


def parsed(fragment: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{fragment}</div>")


def test_fragments_are_whole_escaped_and_the_same_every_time(explanation: Explanation) -> None:
    style = files("ecg_lightning.report").joinpath("templates/style.css").read_text()
    for fragment, again in zip(fragments(explanation), fragments(explanation), strict=True):
        assert parsed(fragment).find(".//script") is None
        assert "&lt;script&gt;" in fragment
        assert fragment == again
        # Nothing from outside, and no colour but the page's.
        assert not re.search(r"https?:|#[0-9a-fA-F]{3}|rgb\(|nan|inf ", fragment)
        assert set(re.findall(r"var\((--[a-z0-9-]+)", fragment)) <= set(re.findall(r"(--[a-z0-9-]+):", style))
        looks = {look for looks in re.findall(r'class="([^"]+)"', fragment) for look in looks.split()}
        assert looks - {"keep"} <= set(re.findall(r"\.([a-z][a-z0-9-]*)", style))


def test_an_error_is_shown_with_its_place_and_probabilities(explanation: Explanation) -> None:
    assert explanation.mistakes
    cards = parsed(pictures.mistakes(explanation.mistakes, explanation)).findall(".//figure")
    assert len(cards) == len(explanation.mistakes.shown) > 3
    for card, one in zip(cards, explanation.mistakes.shown, strict=True):
        text = "".join(card.itertext())
        minutes, seconds = divmod(one.beat.seconds or 0, 60)
        assert text.startswith(one.beat.true) and f"record {one.beat.record} at {minutes:.0f}:{seconds:04.1f}" in text
        probability = f"{one.beat.predicted} {100 * one.beat.probabilities[one.beat.predicted]:.1f} %"
        assert probability in text or "> 99.9" in text
        assert sum(float(bar.attrib["width"]) for bar in card.findall(".//rect")) == pytest.approx(300, abs=0.5)
        # Every sample of every lead, each lead on paper of its own below the one before.
        assert len(card.findall(".//g")) == len(one.beat.signals) == len(explanation.lead_names)
        for panel, signal in zip(card.findall(".//g"), one.beat.signals, strict=True):
            traces = [path.attrib["d"] for path in panel.findall("path") if "L" in path.attrib["d"]]
            assert len(signal) in [trace.count("L") + 1 for trace in traces]
        names = [name for name in explanation.lead_names if name in text]
        assert names == (list(explanation.lead_names) if len(explanation.lead_names) > 1 else [])


def test_time_is_from_the_r_peak(explanation: Explanation) -> None:
    assert explanation.mistakes
    drawn = pictures.mistakes(explanation.mistakes, explanation)
    # 272 ms before the R peak are 54.4 units; the paper begins at the small square before.
    assert re.search(r'viewBox="-56 0 \d+ \d+"', drawn) and 'd="M-54.4 ' in drawn
    at_peak = pictures.mistakes(explanation.mistakes, dataclasses.replace(explanation, before=0.0))
    assert 'd="M0 ' in at_peak


def test_saliency_shows_both_models_the_context_and_the_verdict(explanation: Explanation) -> None:
    assert explanation.saliency
    root = parsed(pictures.saliency(explanation.saliency, explanation))
    shown = [one for of_class in explanation.saliency.classes for one in of_class.beats]
    cards = root.findall(".//figure")
    assert len(cards) == len(shown) > 0
    for card, one in zip(cards, shown, strict=True):
        text = "".join(card.itertext())
        assert ("trained" in text) and ("without training" in text) == bool(one.randomised)
        rows = ["".join(row.itertext()) for row in card.findall(".//tbody/tr")]
        assert len(rows) == len(one.context)
        assert all(row.startswith(share.name) for row, share in zip(rows, one.context, strict=True))
    text = "".join(root.itertext())
    assert explanation.saliency.verdict in text and explanation.saliency.method.split()[0] in text.lower()


def test_an_embedding_has_every_beat_in_both_plots(explanation: Explanation) -> None:
    assert explanation.embedding
    by_class, by_patient = parsed(pictures.embedding(explanation.embedding, explanation)).findall(".//figure")
    for plot in (by_class, by_patient):
        assert sum(path.attrib["d"].count("h0") for path in plot.findall(".//path")) == 40
    # Seven patients: five have a colour, two are the others.
    assert len(by_patient.findall(".//li")) == 6 and "2 others" in "".join(by_patient.itertext())
    unknown = dataclasses.replace(explanation.embedding, patients=None)
    assert pictures.embedding(unknown, explanation).count("<figure") == 1


def test_no_errors_and_synthetic_beats_are_stated(explanation: Explanation) -> None:
    assert explanation.mistakes
    none = dataclasses.replace(explanation.mistakes, n=0, pairs=[], shown=[])
    assert "40" in pictures.mistakes(none, explanation) and "figure" not in pictures.mistakes(none, explanation)
    made = pictures.mistakes(explanation.mistakes, dataclasses.replace(explanation, synthetic=True))
    assert "SYNTHETIC" in made
