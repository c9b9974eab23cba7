"""Testing a model on beats whose R peaks are detected, as a recording without annotations is annotated."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.progress import tracked
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.datamodule import BeatDataModule
from ecg_lightning.data.recording import WITHOUT_CLASS, Recording
from ecg_lightning.data.rpeaks import DETECTORS, detect_r_peaks
from ecg_lightning.data.windows import beats_of
from ecg_lightning.metrics import ec57
from ecg_lightning.metrics.matching import LABELS, WINDOW_S, Annotated, Q, annotated, compare, summary
from ecg_lightning.metrics.operating_point import OperatingPoint
from ecg_lightning.metrics.scoring import score
from ecg_lightning.training.estimator import Estimator


class Detected(NamedTuple):
    """The detected beats that are the same as one of the reference, and what came out of all."""

    beats: Beats  # [n], with the labels of the reference
    probabilities: FloatArray  # [n, classes]
    matched: dict[str, Any]  # `ecg_lightning.metrics.matching.summary` of all beats, missed and extra ones too


class _Found(NamedTuple):
    reference: Annotated
    labels: IntArray  # [b], class of each beat of the reference
    peaks: IntArray  # [d], detected
    fs: float
    n_samples: int


def check_detectable(source: Source, detector: str) -> None:
    """ConfigError unless there is such a detector, and `source` has recordings with annotated N, S and V."""
    if detector.partition(":")[0] not in DETECTORS:
        raise ConfigError(f"there is no detector {detector!r}; choose one of {', '.join(DETECTORS)}")
    fits = isinstance(source, Recordings) and source.class_map is not None and not source.card.separate_leads
    if not fits or not ec57.applies(source.classes):
        raise ConfigError(
            f"--peaks detect: {source.name} is not one database of recordings with annotated beats of N, S and V, or "
            "each of its leads is a recording of its own; "
            "choose one with --on, such as mitbih:ds1_ds2 or svdb"
        )


def on_detected_peaks(
    datamodule: BeatDataModule,
    given: Beats,
    of_given: FloatArray,
    estimator: Estimator,
    detector: str,
    point: OperatingPoint | None = None,
) -> Detected:
    """Detect the beats of the records of `given` ones, classify them, and compare them with the annotated ones.

    `of_given` are the probabilities of the given ones, ``[n, classes]``, whose EC57 is in ``matched`` as ``given``; if
    they are at an operating point, that is `point`.

    They are cut as the beats of the training are, with the same context. A detected beat that cannot be cut (the last
    one, a flat one, one that touches a gap) is of class Q in ``matched``, and is not among the beats.
    ConfigError if the records are not tested as a whole, or the model does not know N, S and V.
    """
    source = datamodule.source
    assert isinstance(source, Recordings) and given.records is not None
    if datamodule.folds.protocol.by == "beats":
        raise ConfigError(
            "--peaks detect: R peaks are detected in whole recordings, and this split has beats of each in all folds; "
            "choose one of patients or records, such as --split ds1_ds2"
        )
    names = estimator.task.classes
    if not ec57.applies(names):
        raise ConfigError(f"--peaks detect: {estimator.name} knows {', '.join(names)}; EC57 needs N, S and V")
    found: dict[str, _Found] = {}
    beats = beats_of(
        _with_detected_peaks(source, {*given.records.tolist()}, detector, found),
        how=source.cut,
        classes=names,
        origin=source.settings(),
        context=source.context,
    )
    estimator.input.check(beats, whose=estimator.name)
    probabilities = estimator.predict_proba(beats)
    probabilities = probabilities if point is None else point.apply(probabilities, names)
    assert beats.records is not None and beats.samples is not None

    in_matrix = np.array([LABELS.index(name) if name in LABELS[:Q] else Q for name in names])
    in_model = np.array([names.index(name) if name in names else WITHOUT_CLASS for name in source.classes] + [-1])
    labels, comparisons = np.full(len(beats), WITHOUT_CLASS), {}
    for name, (reference, classes, peaks, fs, n_samples) in found.items():
        rows = np.flatnonzero(beats.records == name)
        places = np.searchsorted(peaks, beats.samples[rows])
        predicted = np.full(len(peaks), Q)
        predicted[places] = in_matrix[probabilities[rows].argmax(axis=1)]
        one = compare(reference, Annotated(peaks, predicted), fs, end=n_samples)
        true = np.full(len(peaks), WITHOUT_CLASS)
        true[one.pairs[:, 1]] = in_model[classes[one.pairs[:, 0]]]
        labels[rows] = true[places]
        comparisons[name] = one
    known = labels >= 0
    scores = score(given.known_labels, of_given, names, records=given.records)
    matched = {"window_s": WINDOW_S, "start_s": 0.0, **summary(comparisons), "given": scores["ec57"]}
    return Detected(dataclasses.replace(beats.select(known), labels=labels[known]), probabilities[known], matched)


def _with_detected_peaks(
    source: Recordings, records: set[str], detector: str, found: dict[str, _Found]
) -> Iterator[Recording]:
    """The records with detected instead of annotated beats; those, and what was annotated, are put into `found`."""
    assert source.class_map is not None and source.card.annotator is not None
    wanted = [(path, name) for path, name in source.names(source.records()).items() if name in records]
    for path, name in tracked(wanted, f"detecting R peaks in {source.name}", "records"):
        recording = source.recording(path, name=name)
        annotations, clock = source.open(path).annotations(source.card.annotator)
        samples = np.round(annotations.samples * (recording.fs / clock)).astype(np.int64)
        annotations = dataclasses.replace(annotations, samples=samples)
        reference = annotated(annotations, source.class_map, WINDOW_S * recording.fs)
        peaks = detect_r_peaks(recording.signals, recording.fs, detector=detector).samples
        assert recording.labels is not None
        labels = recording.labels[np.searchsorted(recording.peaks, reference.samples)]
        found[name] = _Found(reference, labels, peaks, recording.fs, recording.signals.shape[1])
        if len(peaks) > 1:
            yield dataclasses.replace(recording, peaks=peaks, labels=None, symbols=None)
