"""Opinions of several models as one: how the probabilities of the members of an ensemble are combined."""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import softmax

from ecg_lightning.data.beats import FloatArray, IntArray

Mean = Literal["arithmetic", "geometric"]

# Of a probability in a geometric mean: a class that one member has never seen is not excluded for all of them.
SMALLEST = 1e-6


def combine(members: npt.NDArray[Any], weights: npt.NDArray[Any], mean: Mean) -> FloatArray:
    """The weighted mean ``[n, classes]`` of probabilities ``[members, n, classes]``; weights ``[members]`` sum to 1.

    The arithmetic mean is the linear opinion pool, the geometric one, normalised, the logarithmic opinion pool
    (Genest and Zidek, Combining probability distributions, Statistical Science 1986).
    """
    if mean == "arithmetic":
        return np.tensordot(weights, members, 1).astype(np.float32)
    logs = np.tensordot(weights, np.log(np.maximum(members, SMALLEST, dtype=np.float64)), 1)
    shares: FloatArray = softmax(logs, axis=1).astype(np.float32)
    return shares


def best_weights(members: npt.NDArray[Any], labels: IntArray, mean: Mean) -> npt.NDArray[np.float64]:
    """Weights ``[members]`` with the least cross-entropy on beats of these labels ``[n]``, by quasi-Newton steps."""

    def loss(logits: npt.NDArray[Any]) -> float:
        true = combine(members, softmax(logits), mean)[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(true, SMALLEST, dtype=np.float64)).mean())

    # Gradients by differences large enough for single precision.
    found = minimize(
        loss, np.zeros(len(members)), method="L-BFGS-B", bounds=[(-6, 6)] * len(members), options={"eps": 1e-3}
    )
    weights: npt.NDArray[np.float64] = softmax(found.x)
    return weights
