"""Resampling: the counts asked for, real beats untouched, new ones between their parents, no ghosts in the padding."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.databases.rows import beats_of_csv
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.resampling import Resampling, resample, resampled, resampled_parts, tomek_links

OVER = ("smote", "borderline_smote", "adasyn", "random_over")
LENGTH = 60


def beats_of(signals: FloatArray, ends: Any, labels: IntArray, **columns: Any) -> Beats:
    """Beats of one lead ``[n, length]``, or of several ``[n, leads, length]``, zero from their ends on."""
    leads = signals if signals.ndim == 3 else signals[:, None]
    ends = np.broadcast_to(np.asarray(ends, dtype=np.int64), len(leads)).copy()
    inside = np.arange(leads.shape[2]) < ends[:, None, None]
    names = ("II", "V1")[: leads.shape[1]]
    given = {"classes": AAMI_CLASSES[: labels.max() + 1], "fs": 125.0} | columns
    return Beats(signals=leads * inside, lengths=ends, lead_names=names, labels=labels, **given)


def fold(counts: list[int], *, seed: int = 0, spread: float = 0.3) -> Beats:
    """Beats around a level of their class, near enough for borders, with lengths from 30 to 60 samples."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    level = 0.4 + 0.05 * labels[:, None] + 0.05 * rng.standard_normal((len(labels), 1))
    signals = np.clip(level + spread * rng.uniform(-1, 1, (len(labels), LENGTH)), 0.01, 1).astype(np.float32)
    return beats_of(
        signals,
        rng.integers(30, LENGTH + 1, len(labels)),
        labels,
        classes=AAMI_CLASSES[: len(counts)],
        patients=np.full(len(labels), "p"),
        samples=np.arange(len(labels)),
        origin={"dataset": "mitbih", "synthetic": True},
    )


def of_levels(levels: list[float], ends: list[int], *, n_others: int = 20) -> Beats:
    """Beats of class S, each of one level and length; and of N more than enough, flat and far away."""
    values = np.array([*levels, *[0.01] * n_others], dtype=np.float32)
    labels = np.repeat([1, 0], [len(levels), n_others])
    return beats_of(np.tile(values[:, None], LENGTH), [*ends, *[LENGTH] * n_others], labels)


def new_beats(beats: Beats, **settings: Any) -> tuple[FloatArray, IntArray]:
    """Signals ``[m, length]`` of the first lead and lengths ``[m]`` of what is made."""
    made = resample(beats, Resampling(**settings), seed=0)
    return made.signals[len(beats) :, 0], made.lengths[len(beats) :]


@pytest.mark.parametrize("method", OVER)
def test_real_beats_stay_bit_for_bit_first_and_in_order(method: str) -> None:
    beats = fold([60, 20, 30])
    made = resample(beats, Resampling(method=method), seed=0)
    assert len(made) > len(beats)
    assert made.signals.dtype == np.float32
    np.testing.assert_array_equal(made.signals[: len(beats)], beats.signals)
    np.testing.assert_array_equal(made.lengths[: len(beats)], beats.lengths)
    np.testing.assert_array_equal(made.known_labels[: len(beats)], beats.labels)
    assert made.signals.min() >= 0 and made.signals.max() <= 1
    assert (made.classes, made.fs) == (beats.classes, beats.fs)


def test_fewer_beats_are_beats_of_the_fold_in_its_order_and_none_twice() -> None:
    beats = fold([60, 20, 30])
    made = resample(beats, Resampling(method="random_under"), seed=0)
    rows = [int(np.flatnonzero((beats.signals == signal).all(axis=(1, 2)))[0]) for signal in made.signals]
    assert rows == sorted(set(rows))
    np.testing.assert_array_equal(made.labels, beats.known_labels[rows])
    np.testing.assert_array_equal(made.lengths, beats.lengths[rows])


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        (None, [60, 60, 60, 0]),
        (45, [60, 45, 45, 0]),
        (80, [80, 80, 80, 0]),
        (0.75, [60, 45, 45, 0]),
        ({"S": 33}, [60, 33, 30, 0]),
        ({"S": 90, "V": 30}, [60, 90, 30, 0]),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", OVER)
def test_classes_grow_to_the_counts_wanted_and_absent_ones_stay_absent(
    method: str, counts: Any, wanted: list[int]
) -> None:
    beats = fold([60, 20, 30, 0])
    made = list(resample(beats, Resampling(method=method, counts=counts), seed=0).counts().values())
    # ADASYN rounds the share of each of the real beats.
    assert made == pytest.approx(wanted, abs=30 if method == "adasyn" else 0)
    if method == "adasyn":
        assert [n > have for n, have in zip(made, (60, 20, 30, 0), strict=True)] == [
            n > have for n, have in zip(wanted, (60, 20, 30, 0), strict=True)
        ]


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [(None, [20, 20, 20, 0]), (25, [25, 20, 25, 0]), (0.5, [40, 20, 30, 0]), ({"N": 7, "V": 30}, [7, 20, 30, 0])],
    ids=str,
)
def test_classes_shrink_to_the_counts_wanted(counts: Any, wanted: list[int]) -> None:
    made = resample(fold([60, 20, 30, 0]), Resampling(method="random_under", counts=counts), seed=0)
    assert list(made.counts().values()) == wanted


@pytest.mark.parametrize("method", [*OVER, "smote_tomek", "random_under"])
def test_a_seed_says_which_beats(method: str) -> None:
    beats = fold([60, 20, 30])
    first, again, other = (resample(beats, Resampling(method=method), seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_without_padding_it_is_imbalanced_learns_smote() -> None:
    from imblearn.over_sampling import SMOTE

    rng = np.random.default_rng(0)
    signals = rng.uniform(0.01, 1, (80, LENGTH)).astype(np.float32)
    beats = beats_of(signals, LENGTH, np.repeat([0, 1, 2], [50, 10, 20]))
    made = resample(beats, Resampling(method="smote", neighbours=3), seed=7)
    expected, labels = SMOTE(k_neighbors=3, random_state=7).fit_resample(signals, beats.labels)
    np.testing.assert_array_equal(made.labels, labels)
    np.testing.assert_allclose(made.signals[:, 0], expected, atol=1e-6)
    assert (made.lengths == LENGTH).all()


@pytest.mark.parametrize("method", ["smote", "borderline_smote", "adasyn"])
def test_new_beats_lie_between_two_of_their_class_and_never_of_another(method: str) -> None:
    """Each class has a level: mixed over classes, a beat would have one in between."""
    rng = np.random.default_rng(0)
    # Interleaved, so that all methods find neighbours of other classes: 0.30, 0.32, … and 0.31, 0.33, …
    levels = np.concatenate([0.3 + 0.02 * np.arange(30), 0.31 + 0.04 * np.arange(14)])
    labels = np.repeat([0, 1], [30, 14])
    signals = np.tile(levels[:, None], LENGTH).astype(np.float32)
    signals[:, -1] = np.where(labels == 0, 0.40, 0.42)  # tells the class
    rows = rng.permutation(len(labels))
    beats = beats_of(signals[rows], LENGTH, labels[rows])
    new, _ = new_beats(beats, method=method, neighbours=2)
    assert len(new) > 5
    np.testing.assert_allclose(new[:, -1], 0.42, atol=1e-6)
    assert np.ptp(new[:, :-1], axis=1).max() < 1e-6


@pytest.mark.parametrize("weight", [0.0, 0.1, 0.5, 3.0])
def test_a_new_beat_is_as_long_as_its_mixture_says_and_has_no_ghost_in_its_tail(weight: float) -> None:
    """Parents of .5 and 20 samples, and of .7 and 40: plain SMOTE would fade from 20 to 40 at any λ."""
    new, found = new_beats(of_levels([0.5, 0.7], [20, 40], n_others=300), method="smote", length_weight=weight)
    assert found.min() >= 20 and found.max() <= 40 and len(np.unique(found)) > 15
    share = (new[:, 0] - 0.5) / 0.2  # λ, by the samples that both parents have
    np.testing.assert_allclose(found, 20 + 20 * share, atol=0.51)
    for signal, end in zip(new, found, strict=True):
        np.testing.assert_allclose(signal[:20], signal[0], atol=1e-6)
        np.testing.assert_allclose(signal[20:end], 0.7, atol=1e-6)
        assert (signal[end:] == 0).all()


def test_beats_in_millivolts_keep_their_sign_and_range() -> None:
    beats = of_levels([-1.5, -0.5, 2.0], [30, 40, 50])
    new, _ = new_beats(beats, method="smote")
    assert new.min() < -0.5 and new.max() > 0.5
    assert new.min() >= -1.5 and new.max() <= 2.0


@pytest.mark.parametrize("method", [*OVER, "smote_tomek", "random_under"])
def test_two_leads_of_a_new_beat_are_mixed_alike(method: str) -> None:
    """The second lead is the first, halved and upside down: so it is in every beat that is made."""
    one = fold([60, 20, 30])
    signals = np.concatenate([one.signals, 1 - one.signals / 2], axis=1)
    beats = beats_of(signals, one.lengths, one.known_labels)
    made = resample(beats, Resampling(method=method), seed=0)
    assert made.lead_names == ("II", "V1") and len(made) != len(beats)
    inside = np.arange(LENGTH) < made.lengths[:, None]
    np.testing.assert_allclose(made.signals[:, 1][inside], 1 - made.signals[:, 0][inside] / 2, atol=1e-5)
    assert not made.signals.transpose(0, 2, 1)[~inside].any()
    assert made.lengths.min() >= 30 and made.lengths.max() <= LENGTH


def test_a_weight_on_length_keeps_neighbours_of_like_length() -> None:
    """By signal the nearest beat is one of other length; what is mixed with it has a length in between."""
    beats = of_levels([0.50, 0.51, 0.60, 0.61], [30, 34, 30, 34], n_others=100)
    beats.signals[:4, 0, 30:34] *= 0.01  # so that the tail hardly counts as signal
    _, by_signal = new_beats(beats, method="smote", neighbours=1, length_weight=0.0)
    _, by_length = new_beats(beats, method="smote", neighbours=1, length_weight=1.0)
    assert {31, 32, 33} & set(by_signal.tolist())
    assert set(by_length.tolist()) == {30, 34}


@pytest.mark.parametrize("counts", [[900, 800], [900, 80, 300, 5, 1]], ids=str)
def test_tomek_links_are_those_of_imbalanced_learn(counts: list[int]) -> None:
    from imblearn.under_sampling import TomekLinks

    beats = fold(counts, spread=0.02)
    reference = TomekLinks(sampling_strategy="all")
    reference.fit_resample(beats.signals[:, 0], beats.labels)
    kept = np.flatnonzero(~tomek_links(beats.signals, beats.known_labels))
    assert len(kept) < len(beats) - 10
    np.testing.assert_array_equal(kept, reference.sample_indices_)


def test_one_class_has_no_tomek_links() -> None:
    beats = fold([10])
    assert not tomek_links(beats.signals, beats.known_labels).any()


def test_smote_tomek_is_that_of_imbalanced_learn_where_nothing_is_padded() -> None:
    from imblearn.combine import SMOTETomek

    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [300, 100])
    signals = (0.5 + 0.1 * rng.standard_normal((400, 4)) @ rng.uniform(-1, 1, (4, LENGTH))).clip(0.01, 1)
    beats = beats_of(signals.astype(np.float32), LENGTH, labels, classes=("normal", "MI"))
    made = resample(beats, Resampling(method="smote_tomek"), seed=3)
    expected, expected_labels = SMOTETomek(random_state=3).fit_resample(beats.signals[:, 0], labels)
    np.testing.assert_array_equal(made.labels, expected_labels)
    np.testing.assert_allclose(made.signals[:, 0], expected, atol=1e-6)
    assert (made.lengths == LENGTH).all()
    assert made.counts()["normal"] < 300 and made.counts()["MI"] < 300  # both ends of a link go


def test_a_class_of_few_beats_takes_the_neighbours_it_has(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        made = resample(fold([60, 3, 30]), Resampling(method="smote"), seed=0)
    assert made.counts() == {"N": 60, "S": 60, "V": 60}
    assert [record.getMessage() for record in caplog.records] == ["smote: class S has 3 beats, so 2 neighbours each"]


def test_counts_that_change_nothing_are_said(caplog: pytest.LogCaptureFixture) -> None:
    beats = fold([60, 20])
    with caplog.at_level(logging.WARNING):
        made = resample(beats, Resampling(method="smote", counts=10), seed=0)
    np.testing.assert_array_equal(made.signals, beats.signals)
    assert "counts=10 leave all beats as they are: N 60, S 20" in caplog.text


@pytest.mark.parametrize(
    ("counts", "settings", "message"),
    [
        ([60, 1], {}, "class S has a single one to train on; use random_over"),
        ([60, 20], {"counts": {"S": 19}}, "want 19 beats of class S, which has 20, but smote can only add"),
        ([60, 20], {"method": "random_under", "counts": {"S": 21}}, "has 20, but random_under can only take from them"),
        ([60, 20], {"counts": {"F": 50}}, "counts name class F; the classes are N, S"),
        ([60, 20, 0], {"counts": {"V": 50}}, "want 50 beats of class V, which has none to train on"),
    ],
    ids=str,
)
def test_settings_that_do_not_fit_the_beats_are_one_clear_error(
    counts: list[int], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        resample(fold(counts), Resampling(**{"method": "smote", **settings}), seed=0)


def test_too_few_new_beats_to_share_out_are_one_clear_error() -> None:
    with pytest.raises(ConfigError, match="divides 2 new beats of class S among its 20, which rounds to none"):
        resample(fold([60, 20]), Resampling(method="adasyn", counts={"S": 22}), seed=0)


@pytest.mark.parametrize("method", ["adasyn", "borderline_smote"])
def test_a_class_without_neighbours_of_other_classes_is_one_clear_error(method: str) -> None:
    beats = of_levels([0.8 + 0.01 * at for at in range(12)], [60] * 12)
    with pytest.raises(
        ConfigError, match=rf"{method} starts from beats that are near other classes, and of class S \(12"
    ):
        resample(beats, Resampling(method=method, neighbours=3), seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "smoote"}, "resampling.method=smoote: expected none or smote or smote_tomek or borderline_smote"),
        ({}, "resampling.method is missing"),
        (
            {"method": "smote", "neighbors": 5},
            "resampling.neighbors=5: .*has method, counts, neighbours, length_weight",
        ),
        (
            {"method": "smote", "counts": 0},
            "counts=0: expected a number above 0 and of at most 1 or a whole number from 1 ",
        ),
        ({"method": "smote", "counts": 2.5}, "counts=2.5: expected"),
        ({"method": "smote", "counts": {"S": True}}, "counts.*: expected"),
        ({"method": "smote", "neighbours": 0}, "neighbours=0: expected a whole number from 1 "),
        ({"method": "smote", "length_weight": -1}, "length_weight=-1: expected a number from 0 "),
        ({"method": "smote", "length_weight": float("nan")}, "length_weight=nan"),
    ],
    ids=str,
)
def test_impossible_settings_are_one_clear_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Resampling(**settings)


@pytest.fixture
def count_resamplings(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    made: list[int] = []

    def counting(*arguments: Any, **named: Any) -> Iterator[Beats]:
        made.append(named["seed"])
        return resampled_parts(*arguments, **named)

    monkeypatch.setattr("ecg_lightning.data.resampling.resampled_parts", counting)
    return lambda: len(made)


def test_the_second_time_comes_from_the_cache(tmp_path: Path, count_resamplings: Callable[[], int]) -> None:
    beats, settings = fold([60, 20]), Resampling(method="smote")
    first = resampled(beats, settings, seed=0, cache_dir=tmp_path)
    second = resampled(fold([60, 20]), settings, seed=0, cache_dir=tmp_path)
    assert count_resamplings() == 1
    assert first.fingerprint == second.fingerprint == resample(beats, settings, seed=0).fingerprint
    assert not second.signals.flags.owndata
    assert [path.name.rsplit("-", 1)[0] for path in tmp_path.glob("*.arrow")] == ["mitbih-smote"]


@pytest.mark.parametrize(
    "changed",
    [{"length_weight": 0.4}, {"counts": 50}, {"counts": {"S": 50}}, {"neighbours": 4}, {"method": "random_over"}],
    ids=str,
)
def test_another_setting_is_another_cache(
    tmp_path: Path, changed: dict[str, Any], count_resamplings: Callable[[], int]
) -> None:
    beats, settings = fold([60, 20]), Resampling(method="smote")
    first = resampled(beats, settings, seed=0, cache_dir=tmp_path)
    other = resampled(beats, dataclasses.replace(settings, **changed), seed=0, cache_dir=tmp_path)
    assert count_resamplings() == 2
    assert other.fingerprint != first.fingerprint


def test_another_seed_fold_or_library_is_another_cache(
    tmp_path: Path, count_resamplings: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    beats, settings = fold([60, 20]), Resampling(method="smote")
    for number, (part, seed) in enumerate([(beats, 0), (beats, 1), (beats.select(np.arange(70)), 0)], start=1):
        resampled(part, settings, seed=seed, cache_dir=tmp_path)
        assert count_resamplings() == number
    monkeypatch.setattr("ecg_lightning.data.resampling.version", lambda package: "0.99")
    resampled(beats, settings, seed=0, cache_dir=tmp_path)
    assert count_resamplings() == 4


def test_equal_settings_written_differently_are_one_cache(tmp_path: Path, count_resamplings: Callable[[], int]) -> None:
    beats = fold([60, 20, 30])
    for counts, weight in (({"S": 50, "V": 40}, 1), ({"V": 40, "S": 50}, 1.0)):
        resampled(beats, Resampling(method="smote", counts=counts, length_weight=weight), seed=0, cache_dir=tmp_path)
    assert count_resamplings() == 1


def test_a_damaged_cache_is_made_again_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    beats, settings = fold([60, 20]), Resampling(method="smote")
    whole = resampled(beats, settings, seed=0, cache_dir=tmp_path).fingerprint
    (path,) = tmp_path.glob("*.arrow")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert resampled(beats, settings, seed=0, cache_dir=tmp_path).fingerprint == whole
    assert caplog.text.count("it is built again") == 1


def test_what_fails_leaves_nothing_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError):
        resampled(fold([60, 1]), Resampling(method="smote"), seed=0, cache_dir=tmp_path)

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        resampled(fold([60, 20]), Resampling(method="smote"), seed=0, cache_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another cache with cache_dir="):
        resampled(fold([60, 20]), Resampling(method="smote"), seed=0, cache_dir=tmp_path / "file" / "cache")


def test_beats_tell_that_they_were_resampled_how_and_of_what(tmp_path: Path) -> None:
    beats = fold([60, 20])
    made = resampled(beats, Resampling(method="smote", counts={"S": 50}), seed=3, cache_dir=tmp_path)
    told = made.origin["resampling"]
    assert (told["method"], told["counts"], told["seed"]) == ("smote", {"S": 50}, 3)
    assert told["of"] == beats.fingerprint
    assert told["imbalanced-learn"]
    assert made.origin["dataset"] == "mitbih" and made.synthetic
    assert made.columns.keys() == {"labels"}


@pytest.mark.real_data("heartbeat_sample/mitbih_train_sample.csv")
def test_new_beats_of_real_classes_are_as_long_as_real_ones(real_data_dir: Path) -> None:
    beats = beats_of_csv(
        real_data_dir / "heartbeat_sample" / "mitbih_train_sample.csv", classes=AAMI_CLASSES, origin={}
    )
    made = resample(beats, Resampling(method="smote", counts=1000), seed=0)
    assert set(made.counts().values()) == {1000}
    new, new_labels = made.lengths[len(beats) :], made.known_labels[len(beats) :]
    for label in range(5):
        of_class, real = new[new_labels == label], beats.lengths[beats.labels == label]
        assert real.min() <= of_class.min() and of_class.max() <= real.max()
        # Ghosts, as long as the longer of two parents, would make it longer.
        assert of_class.mean() == pytest.approx(real.mean(), rel=0.04)


def test_context_of_new_beats_lies_where_the_beats_do_and_chooses_no_neighbours() -> None:
    beats = of_levels([0.2, 0.4, 0.6], [40, 50, 60])
    level = np.array([0.2, 0.4, 0.6, *[0.01] * 20])
    context = np.stack([2 * level, 1 - level], axis=1).astype(np.float32)
    with_context = dataclasses.replace(beats, context=context, context_names=("previous", "next"))
    for settings in (Resampling(method="smote"), Resampling(method="smote", length_weight=0.0)):
        plain, made = (resample(one, settings, seed=0) for one in (beats, with_context))
        np.testing.assert_allclose(made.signals, plain.signals, atol=1e-6)
        assert made.context is not None and made.context_names == ("previous", "next")
        np.testing.assert_array_equal(made.context[:23], context)
        np.testing.assert_allclose(made.context[23:, 0], 2 * made.signals[23:, 0, 0], rtol=1e-3)
        np.testing.assert_allclose(made.context[23:, 1], 1 - made.signals[23:, 0, 0], rtol=1e-3)


@pytest.mark.parametrize("method", ["random_over", "random_under", "smote_tomek"])
def test_beats_that_are_kept_or_repeated_keep_their_context(method: str) -> None:
    beats = fold([60, 20])
    context = np.abs(beats.signals[:, 0, :3]) + np.float32(0.5)
    with_context = dataclasses.replace(beats, context=context, context_names=("a", "b", "c"))
    made = resample(with_context, Resampling(method=method), seed=0)
    assert made.context is not None and len(made.context) == len(made) != len(beats)
    own = {signal.tobytes(): row for row, signal in enumerate(beats.signals)}
    rows = [(at, own[signal.tobytes()]) for at, signal in enumerate(made.signals) if signal.tobytes() in own]
    assert len(rows) >= 20
    for at, row in rows:
        np.testing.assert_array_equal(made.context[at], context[row])
