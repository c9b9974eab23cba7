"""Mistakes by rule, integrated gradients that add up, the comparison with random weights, and neighbours."""

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.explain import saliency
from ecg_lightning.explain.embedding import balanced_sample, embed, last_features
from ecg_lightning.explain.mistakes import find_mistakes
from ecg_lightning.explain.occlusion import occlude_beats, occluded
from ecg_lightning.explain.saliency import explain_beats, integrated_gradients, rank_correlation, with_random_weights
from ecg_lightning.models import BeatModel, create_model, model_names
from ecg_lightning.training.tasks import task_of

LENGTH = 187
CONTEXT = ("previous", "next", "irregularity", "correlation")


def make_beats(n: int = 60, classes: tuple[str, ...] = AAMI_CLASSES, *, context: bool = False, **columns: Any) -> Beats:
    """Beats of random samples, padded from different places on; five records of two patients."""
    generator = np.random.default_rng(0)
    lengths = generator.integers(60, LENGTH, n)
    leads = columns.pop("leads", 1)
    signals = generator.random((n, leads, LENGTH)).astype(np.float32) * (np.arange(LENGTH) < lengths[:, None, None])
    records = np.asarray([f"r{i % 5}" for i in range(n)])
    given: dict[str, Any] = {
        "signals": signals.astype(np.float32),
        "lengths": lengths if "signals" not in columns else np.full(n, LENGTH),
        "lead_names": ("II", "V1")[:leads],
        "labels": np.arange(n) % len(classes),
        "records": records,
        "patients": np.asarray([f"p{i % 2}" for i in range(n)]),
        "samples": 360 * np.arange(n),
        "context": generator.normal(size=(n, 4)).astype(np.float32) if context else None,
        "context_names": CONTEXT if context else (),
        "origin": {"recorded_fs": 360},
    }
    return Beats(classes=classes, fs=125.0, **{**given, **columns})


def certain(beats: Beats, called: list[int] | None = None, confidence: list[float] | None = None) -> np.ndarray:
    """Probabilities that name these classes, by default the true ones, with this confidence."""
    n, k = len(beats), len(beats.classes)
    names = beats.known_labels if called is None else np.asarray(called)
    sure = np.full(n, 0.9) if confidence is None else np.asarray(confidence)
    probabilities = np.tile(((1 - sure) / (k - 1))[:, None], k)
    probabilities[np.arange(n), names] = sure
    return probabilities


def test_the_surest_mistakes_in_turns_of_kind_and_not_all_of_one_record() -> None:
    records = np.asarray(["a", "a", "a", "b", "c", "a", "a", "b"])
    beats = make_beats(8, records=records, labels=np.asarray([1, 1, 1, 1, 2, 0, 0, 0]))
    #         S called N: a .99 a .98 a .97 b .70, V called N: c .80; N called V: a .95; two right ones
    probabilities = certain(beats, [0, 0, 0, 0, 0, 2, 0, 0], [0.98, 0.99, 0.97, 0.7, 0.8, 0.95, 0.9, 0.9])
    found = find_mistakes(beats, probabilities, n=4)
    assert (found.n, found.n_beats) == (6, 8)
    assert found.pairs == [("S", "N", 4), ("N", "V", 1), ("V", "N", 1)]
    # S called N gives its surest, and then not another one of record a, but that of record b.
    assert [one.beat.row for one in found.shown] == [1, 3, 5, 4]
    beat = found.shown[0].beat
    assert (beat.true, beat.predicted, beat.record, beat.sample, beat.seconds) == ("S", "N", "a", 360, 1.0)
    assert beat.probabilities["N"] == pytest.approx(0.99)
    assert len(beat.signals) == 1 and len(beat.signals[0]) == beats.lengths[1]
    assert beat.signals[0] == pytest.approx(beats.signals[1, 0, : beats.lengths[1]])
    # What it was mistaken for: the one N of record a that was called N.
    assert found.shown[0].mistaken_for is not None
    assert found.shown[0].mistaken_for[0] == pytest.approx(beats.signals[6, 0, : beats.lengths[6]])
    assert found.shown[3].mistaken_for is None, "record c has no N"
    # With room for all, all are shown, of record a too.
    assert sorted(one.beat.row for one in find_mistakes(beats, probabilities).shown) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(DataError, match="expected one row a beat"):
        find_mistakes(beats, probabilities[:3])


def test_mistakes_without_records_and_a_test_without_mistakes() -> None:
    beats = make_beats(4, records=None, patients=None, samples=None, labels=np.zeros(4, dtype=np.int64))
    found = find_mistakes(beats, certain(beats, [1, 1, 0, 2], [0.6, 0.8, 0.9, 0.7]))
    assert [one.beat.row for one in found.shown] == [1, 0, 3]
    assert found.shown[0].beat.record is found.shown[0].beat.seconds is found.shown[0].mistaken_for is None
    assert find_mistakes(beats, certain(beats)).shown == []


def test_integrated_gradients_of_a_linear_function_are_its_terms() -> None:
    generator = torch.Generator().manual_seed(0)
    weights, of_context, x, baseline, rr = (torch.randn(n, generator=generator) for n in (9, 4, 9, 9, 4))

    def logit(inputs: Any) -> Tensor:
        return inputs[0] @ weights + inputs[1] @ of_context + 3

    attributions, at, at_baseline = integrated_gradients(logit, [x, rr], [baseline, torch.zeros(4)], steps=3)
    torch.testing.assert_close(attributions[0], weights * (x - baseline))
    torch.testing.assert_close(attributions[1], of_context * rr)
    assert at == pytest.approx(float(x @ weights + rr @ of_context + 3), rel=1e-5)
    assert at_baseline == pytest.approx(float(baseline @ weights + 3), rel=1e-5)


@pytest.mark.parametrize(("task", "context", "leads"), [("arrhythmia", True, 1), ("mi", False, 2)])
@pytest.mark.parametrize("name", model_names())
def test_attributions_add_up_to_the_logit_for_every_network(name: str, context: bool, leads: int, task: str) -> None:
    asked = task_of({"task": task})
    beats = make_beats(20, asked.classes, context=context, leads=leads)
    torch.manual_seed(0)
    settings = {"length": LENGTH, "leads": leads, "n_context": 4 * context, "dropout": 0.5}
    model = create_model(name, n_outputs=asked.n_outputs, **settings)
    model.train()  # explained in evaluation mode all the same, and left as it was
    before = copy.deepcopy(model.state_dict())
    found = explain_beats(model, asked, beats, certain(beats), n=1)
    assert model.training
    assert all(before[key].equal(value) for key, value in model.state_dict().items())
    assert [one.name for one in found.classes] == list(asked.classes)
    model.eval()
    for label, one in enumerate(of_class.beats[0] for of_class in found.classes):
        total = sum(map(sum, one.attributions)) + sum(share.attribution for share in one.context)
        difference = one.logit - one.baseline
        assert total - difference == pytest.approx(one.error, abs=1e-4)
        assert abs(one.error) < 0.02 * abs(difference) + 1e-3
        for parts in (one.attributions, one.randomised, one.beat.signals):
            assert [len(lead) for lead in parts] == [beats.lengths[one.beat.row]] * leads
        assert [share.name for share in one.context] == list(beats.context_names)

        row = [one.beat.row]
        points = [torch.from_numpy(column[row]) for column in (beats.signals, beats.lengths)]
        if beats.context is not None:
            points.append(torch.from_numpy(beats.context[row]))
            assert [share.value for share in one.context] == beats.context[one.beat.row].tolist()
        with torch.no_grad():
            logits = model(*points)[0]
        # A single logit is of MI; that of normal is what speaks against it.
        expected = logits[label] if task == "arrhythmia" else logits[0] * (1 if label else -1)
        assert one.logit == pytest.approx(float(expected), abs=1e-4)


@pytest.fixture(scope="module")
def taught() -> tuple[BeatModel, Beats]:
    """A network that has learned to tell a small dent in a beat, which is beside a large peak that says nothing."""
    generator = np.random.default_rng(1)
    n = 256
    labels = np.arange(n) % 2
    t = np.arange(LENGTH)
    signals = 0.3 + 0.02 * generator.standard_normal((n, LENGTH))
    signals += np.exp(-(((t - 120) / 4) ** 2)) * generator.uniform(0.5, 0.7, (n, 1))
    signals -= np.exp(-(((t - 40) / 6) ** 2)) * 0.25 * labels[:, None]
    beats = make_beats(n, PTB_CLASSES, signals=signals.astype(np.float32)[:, None], labels=labels)
    torch.manual_seed(0)
    model = create_model("cnet", n_outputs=1, length=LENGTH, channels=8)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    x, lengths, y = torch.from_numpy(beats.signals), torch.from_numpy(beats.lengths), torch.from_numpy(labels).float()
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(x, lengths)[:, 0], y).backward()
        optimizer.step()
    assert (((model(x, lengths)[:, 0] > 0) == (y > 0.5)).float().mean()) > 0.95
    return model, beats


def test_a_trained_network_differs_from_random_weights(taught: tuple[BeatModel, Beats]) -> None:
    model, beats = taught
    found = explain_beats(model, task_of({"task": "mi"}), beats, certain(beats), n=2)
    shown = found.classes[1].beats[0]
    assert 30 < int(np.argmax(np.abs(shown.attributions[0]))) < 50, "the dent, not the peak"
    assert found.rank_correlation is not None and found.rank_correlation < 0.6
    assert found.partial_correlation is not None and found.partial_correlation < 0.3
    again = explain_beats(model, task_of({"task": "mi"}), beats, certain(beats), n=2)
    assert again == found
    assert json.loads(json.dumps(dataclasses.asdict(found)))["verdict"] == found.verdict


def test_weights_that_make_no_difference_are_said_to_make_none(
    taught: tuple[BeatModel, Beats], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, beats = taught
    monkeypatch.setattr(saliency, "with_random_weights", lambda model, seed: model)
    monkeypatch.setattr(saliency, "RANDOM_STEPS", saliency.STEPS)
    found = explain_beats(model, task_of({"task": "mi"}), beats, certain(beats), n=2)
    assert found.rank_correlation == pytest.approx(1)
    assert found.partial_correlation == pytest.approx(1)
    assert "hardly depend" in found.verdict


def test_a_class_that_was_never_recognised_has_no_beats(taught: tuple[BeatModel, Beats]) -> None:
    model, beats = taught
    found = explain_beats(model, task_of({"task": "mi"}), beats, certain(beats, [0] * len(beats)))
    assert (found.classes[1].n_correct, found.classes[1].beats, found.classes[1].rank_correlation) == (0, [], None)
    assert len({one.beat.record for one in found.classes[0].beats}) == 3, "one of each record"
    none = explain_beats(model, task_of({"task": "mi"}), beats, certain(beats, (1 - beats.known_labels).tolist()))
    assert none.rank_correlation is None and "no beat was recognised" in none.verdict


def test_rank_correlation_is_of_absolute_values() -> None:
    values = np.asarray([1.0, -2.0, 3.0, -4.0])
    assert rank_correlation(values, -values) == pytest.approx(1)
    assert rank_correlation(values, 5 - np.abs(values)) == pytest.approx(-1)
    assert rank_correlation(values, np.ones(4)) is None


@pytest.mark.parametrize("name", model_names())
def test_random_weights_are_all_new_and_follow_from_their_seed(name: str) -> None:
    model = create_model(name, n_outputs=5, length=LENGTH, n_context=4)
    state = torch.get_rng_state()
    fresh, same, other = (with_random_weights(model, seed).state_dict() for seed in (0, 0, 1))
    assert torch.get_rng_state().equal(state)
    for key, weight in model.state_dict().items():
        assert not weight.equal(fresh[key]), key
        assert fresh[key].equal(same[key]) and not fresh[key].equal(other[key])


def test_an_embedding_has_of_each_class_as_many_and_counts_neighbours() -> None:
    labels = np.repeat([0, 1, 2], [1000, 300, 20])
    rows = balanced_sample(labels, 320, seed=0)
    assert np.bincount(labels[rows]).tolist() == [150, 150, 20]
    assert np.array_equal(rows, balanced_sample(labels, 320, seed=0))
    assert not np.array_equal(rows, balanced_sample(labels, 320, seed=1))
    assert len(balanced_sample(labels, 5000, seed=0)) == 1320


def features_of(model: BeatModel) -> Callable[[Beats], Any]:
    return lambda beats: last_features(model, beats)


def test_an_embedding_tells_whether_persons_lie_together() -> None:
    n = 160
    generator = np.random.default_rng(0)
    patients = np.arange(n) % 8
    # Two classes of four patients each, whose beats are alike.
    shapes = generator.random((8, LENGTH))
    signals = (shapes[patients] + 0.001 * generator.random((n, LENGTH))).astype(np.float32)
    names = np.asarray([f"p{patient}" for patient in patients])
    beats = make_beats(n, PTB_CLASSES, signals=signals[:, None], labels=patients % 2, patients=names)
    torch.manual_seed(0)
    model = create_model("bilstm", n_outputs=1, length=LENGTH)
    found = embed(features_of(model), beats)
    assert found.method.startswith("t-SNE") and len(found.x) == len(found.y) == n == found.n_beats
    assert found.neighbours is not None
    assert found.neighbours.same_class == found.neighbours.same_patient == 1
    assert found.neighbours.same_class_chance == pytest.approx(79 / 159)
    assert found.neighbours.same_patient_chance == pytest.approx(19 / 79)
    assert "patients as well as classes" in found.verdict
    assert embed(features_of(model), beats) == found
    assert json.loads(json.dumps(dataclasses.asdict(found)))["classes"] == found.classes

    few = embed(features_of(model), beats.select(np.arange(30)))
    assert few.method == "principal components" and np.isfinite(few.x).all()
    alone = embed(features_of(model), make_beats(3, records=None, patients=None, samples=None))
    assert alone.neighbours is None and alone.patients is None and len(alone.x) == 3


def by_window(beats: Beats, *, at: slice = slice(20, 25), lead: int = 1) -> np.ndarray:
    """A model whose probability of the second class is the mean of a few samples of one lead."""
    second = beats.signals[:, lead, at].mean(axis=1)
    return np.stack([1 - second, second], axis=1).astype(np.float32)


def test_occlusion_finds_the_samples_that_a_model_looks_at() -> None:
    beats = make_beats(40, PTB_CLASSES, leads=2)
    signals = np.full_like(beats.signals, 0.2)
    signals[:, 1, 20:25] += 0.6 * beats.known_labels[:, None]
    signals *= np.arange(LENGTH) < beats.lengths[:, None, None]
    beats = dataclasses.replace(beats, signals=signals)

    def elsewhere(these: Beats) -> np.ndarray:
        return by_window(these, at=slice(50, 55), lead=0)

    found = occlude_beats(by_window, [elsewhere] * 3, beats, by_window(beats), n=1)
    assert (found.method, found.unit) == ("occlusion", "probability")
    shown = found.classes[1].beats[0]
    attributions = np.asarray(shown.attributions)
    assert attributions.shape == (2, beats.lengths[shown.beat.row])
    assert np.flatnonzero(attributions.any(axis=0)).tolist() == list(range(20, 25)) and not attributions[0].any()
    assert attributions.sum() == pytest.approx(0.6, abs=1e-6)  # replaced by the 0.2 beside the window
    assert (shown.logit, shown.baseline) == (pytest.approx(0.8), pytest.approx(0.2))
    assert shown.error == pytest.approx(0, abs=1e-6)
    assert shown.randomised and not np.asarray(shown.randomised)[1].any()


def test_occluded_beats_keep_their_length_and_their_padding() -> None:
    beats = make_beats(5, leads=2, context=True)
    variants, windows = occluded(beats, 3)
    n = beats.lengths[3]
    assert len(variants) == len(windows) + 2 and (variants.lengths == n).all()
    assert sorted((lead, at) for lead, window in windows for at in range(window.start, window.stop)) == [
        (lead, at) for lead in range(2) for at in range(n)
    ]
    np.testing.assert_array_equal(variants.signals[0], beats.signals[3])
    assert not variants.signals[:, :, n:].any() and np.ptp(variants.signals[1, :, :n], axis=1).max() == 0
    assert variants.context is not None and beats.context is not None
    np.testing.assert_array_equal(variants.context, np.repeat(beats.context[3:4], len(variants), axis=0))
    for variant, (lead, window) in zip(variants.signals[2:], windows, strict=True):
        outside = np.ones_like(variant, dtype=bool)
        outside[lead, window] = False
        np.testing.assert_array_equal(variant[outside], beats.signals[3][outside])
