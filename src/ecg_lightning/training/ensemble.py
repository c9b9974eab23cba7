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
    """The weighted mean ``[n, classes]`` of probabilities ``[members, n, classes]``.

    The arithmetic mean is the linear opinion pool, the geometric one, normalised, the logarithmic opinion pool
    (Genest and Zidek, Combining probability distributions, Statistical Science 1986). Weights ``[members]``, or
    ``[members, classes]`` where a member counts more for some classes than for others, sum to 1 over members; means
    with a weight for each class are normalised.
    """
    of = weights if weights.ndim == 2 else weights[:, None]
    if mean == "geometric":
        logs = (of[:, None] * np.log(np.maximum(members, SMALLEST, dtype=np.float64))).sum(axis=0)
        return softmax(logs, axis=1).astype(np.float32)  # type: ignore[no-any-return]
    means = (of[:, None] * members).sum(axis=0)
    shares: FloatArray = means if weights.ndim == 1 else means / means.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


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
