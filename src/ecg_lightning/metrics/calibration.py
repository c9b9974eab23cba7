"""`Calibration`: probabilities that are as often right as they state, and the cost of classifying only confident beats.

Temperature scaling: Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017. Coverage and
error of a classifier that may abstain: El-Yaniv & Wiener, J. Mach. Learn. Res. 11, 2010.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import Count, Fraction, Positive, options
from ecg_lightning.data.beats import Beats, FloatArray, IntArray
from ecg_lightning.data.names import numbered
from ecg_lightning.data.protocol import Protocol
from ecg_lightning.metrics.confusion import N_BINS, Numbers, Probabilities, calibration_error, confidence_bins

LOWEST, HIGHEST = 0.1, 10.0  # temperatures
N_THRESHOLDS = 50
TINY = float(np.finfo(np.float32).tiny)  # a probability of 0 in single precision is at most this

Shares = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(min_length=1, max_length=N_THRESHOLDS)]


@options("calibration")
class Calibration:
    """A temperature, and coverage and error by threshold of confidence, of the beats that it was fitted on.

    The confidence of a beat is the calibrated probability of its most probable class, which the temperature does not
    change. At each threshold `coverage` is the share of beats with at least this confidence, and `error` the share of
    *them* that is predicted wrong.
    """

    temperature: Positive
    threshold_at: Shares  # ascending
    coverage: Shares  # descending from 1
    error: Shares
    ece: Annotated[float, Field(ge=0, le=1)]  # after calibration, see `confusion.calibration_error`
    ece_before: Annotated[float, Field(ge=0, le=1)]
    beats: Count  # it was fitted on
    patients: Count | None = None  # who are in no training beat; None where that is not known, or not so
    fold: str = "validation"
    protocol: str | None = None  # name of the `Protocol`

    def __post_init__(self) -> None:
        if not len(self.threshold_at) == len(self.coverage) == len(self.error):
            raise ConfigError("calibration: threshold_at, coverage and error have different lengths")

    @classmethod
    def fit(cls, beats: Beats, probabilities: Probabilities, *, protocol: Protocol) -> Self:
        """The calibration of probabilities ``[n, classes]`` on validation beats with labels.

        The temperature minimises the negative log-likelihood. Where no beat is predicted wrong this has no minimum, and
        the temperature is 1.
        """
        from scipy.optimize import minimize_scalar

        labels = beats.known_labels
        right = probabilities.argmax(axis=1) == labels
        temperature = 1.0
        if not right.all():
            logs = np.log(np.maximum(probabilities, TINY), dtype=np.float64)
            of_label = logs[np.arange(len(labels)), labels].mean()

            def loss(log_temperature: float) -> float:
                scale = np.exp(-log_temperature)
                return float(np.log(np.exp(logs * scale).sum(axis=1)).mean() - of_label * scale)

            found = minimize_scalar(loss, bounds=np.log((LOWEST, HIGHEST)), method="bounded")
            temperature = float(np.exp(found.x))
        calibrated = _scaled(probabilities, temperature)
        confidence = calibrated.max(axis=1)
        order = confidence.argsort(kind="stable")
        confidence, wrong = confidence[order], ~right[order]
        # Abstaining from the first 0, 0.1 %, … of the beats; equal confidences are kept or left out together.
        steps = np.concatenate([[0], np.geomspace(1e-3, 1, N_THRESHOLDS - 1) * (len(order) - 1)]).astype(np.int64)
        first = np.unique(np.searchsorted(confidence, confidence[steps]))
        kept = len(order) - first
        apart = beats.patients is not None and protocol.by not in ("beats", "none")
        return cls(
            temperature=temperature,
            threshold_at=tuple(confidence[first].tolist()),
            coverage=tuple((kept / len(order)).tolist()),
            error=tuple((wrong[::-1].cumsum()[kept - 1] / kept).tolist()),
            ece=_ece(labels, calibrated),
            ece_before=_ece(labels, probabilities),
            beats=len(labels),
            patients=len(numbered(beats.patients)[0]) if apart else None,  # type: ignore[arg-type]
            protocol=protocol.name,
        )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`; ConfigError if something is missing or malformed."""
        stated: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in plain.items()}
        return cls(**stated)

    def plain(self) -> dict[str, Any]:
        """As lists, text and numbers."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    def apply(self, probabilities: Probabilities) -> FloatArray:
        """Calibrated probabilities ``[n, classes]``: softmax(log p / temperature)."""
        return _scaled(probabilities, self.temperature)

    def threshold(self, coverage: Fraction) -> float:
        """The highest threshold of the curve that keeps at least this share of beats."""
        return self.threshold_at[int(np.searchsorted(-np.asarray(self.coverage), -coverage, side="right")) - 1]

    def promise(self, threshold: float) -> tuple[float, float]:
        """Share of beats with at least this confidence, and the share of these that is wrong.

        Linear between the thresholds of the curve; a coverage of 0 above all of them.
        """
        coverage = np.interp(threshold, self.threshold_at, self.coverage, right=0.0)
        return float(coverage), float(np.interp(threshold, self.threshold_at, self.error))

    def sentence(self) -> str:
        """What it was fitted on, and what it changes and promises, in words."""
        people = "" if self.patients is None else f" of {self.patients} other patients"
        threshold = self.threshold(0.95)
        coverage, error, before, after = (100 * one for one in (*self.promise(threshold), self.ece_before, self.ece))
        return (
            f"temperature {self.temperature:.2f}, fitted on {self.beats:,} {self.fold} beats{people}; "
            f"calibration error {before:.1f} → {after:.1f} %; of the {coverage:.1f} % of beats with a confidence of at "
            f"least {threshold:.3f}, {error:.1f} % are wrong"
        )


def _scaled(probabilities: Probabilities, temperature: float) -> FloatArray:
    logs: Numbers = np.log(np.maximum(probabilities, TINY), dtype=np.float64) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)  # type: ignore[no-any-return]


def _ece(labels: IntArray, probabilities: Probabilities) -> float:
    confidence, bins = confidence_bins(probabilities)
    right = probabilities.argmax(axis=1) == labels
    hits, sums = (np.bincount(bins, one, N_BINS).astype(np.float64) for one in (right, confidence))
    return float(calibration_error(hits, sums, np.asarray(len(labels))))
