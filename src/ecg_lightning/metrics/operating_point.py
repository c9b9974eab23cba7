"""`OperatingPoint`: factors on the odds of rare classes, chosen over people whom the predicting models have not seen.

The most probable class is the best choice where all errors cost the same and classes as frequent as in training. The
metrics of rare classes, and other people, ask for another point. A factor on the odds of a class is a change of its
prior: Saerens, Latinne & Decaestecker, Neural Computation 14, 2002; of two classes it is a threshold (Youden, Cancer 3,
1950). What a handful of people prefer is mostly luck: factors are few, and of all that are not significantly worse than
the best, over resampled people, the one nearest to 1 is taken (Breiman et al., Classification and Regression Trees,
1984, do so with one standard error).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import Count, options
from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.data.names import Column, numbered
from ecg_lightning.metrics import ec57
from ecg_lightning.metrics.bootstrap import interval
from ecg_lightning.metrics.confusion import Numbers, Probabilities, confusion_metrics, ratio

# Exponents of 2 that are tried for one factor, and for each of two.
TRIED = {1: np.linspace(-6, 6, 97), 2: np.linspace(-4, 4, 25)}
RESAMPLES = 200  # of the people
SIGNIFICANT = 1.645  # standard errors of a difference, one-sided 95 %
FEW = 5  # people with a class, below whom its factor is called doubtful


@options("operating_point")
class OperatingPoint:
    """Factors by which the odds of classes are multiplied before the most probable class is taken.

    `between` has the middle 95 % of the best factors of resampled people, `people_with` who has a beat of the class.
    """

    factors: dict[str, Annotated[float, Field(gt=0)]]  # of other classes 1
    between: dict[str, list[float]]
    objective: str
    beats: Count
    people: Count
    people_with: dict[str, int]
    folds: Count

    def __post_init__(self) -> None:
        if self.factors.keys() != self.between.keys():
            raise ConfigError("operating_point: factors and between are of different classes")

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`; ConfigError if something is missing or malformed."""
        return cls(**plain)

    def plain(self) -> dict[str, Any]:
        """As dictionaries, lists, text and numbers."""
        return dict(vars(self))

    def apply(self, probabilities: Probabilities, classes: Sequence[str], *, temperature: float = 1.0) -> FloatArray:
        """Probabilities ``[n, classes]`` at this point; those that a `temperature` has calibrated decide alike."""
        factors = np.array([self.factors.get(name, 1.0) for name in classes]) ** (1 / temperature)
        scaled = probabilities * factors
        return (scaled / scaled.sum(axis=1, keepdims=True)).astype(np.float32)  # type: ignore[no-any-return]

    def sentence(self) -> str:
        """The factors, how certain they are and how they were chosen, in words."""
        factors = ", ".join(
            f"{name} × {factor:.2g} ({' to '.join(f'{end:.2g}' for end in self.between[name])})"
            for name, factor in self.factors.items()
        )
        few = [f"{n} with {name}" for name, n in self.people_with.items() if n < FEW]
        doubt = "; none is significantly better than the most probable class" * (set(self.factors.values()) == {1.0})
        doubt += f"; doubtful, for there are only {' and '.join(few)}" * bool(few)
        return (
            f"odds of {factors}, in brackets those best for 95 % of resampled people; chosen by {self.objective} over "
            f"{self.beats:,} beats of {self.people} training people, predicted by models that have not seen them "
            f"({self.folds} folds){doubt}"
        )


def choose(
    labels: IntArray,
    probabilities: Probabilities,
    classes: tuple[str, ...],
    people: Column,
    folds: IntArray,
    *,
    specificity: float | None = None,
    seed: int = 0,
) -> tuple[OperatingPoint, FloatArray]:
    """The operating point of beats that were predicted by models that have not seen their people.

    With N, S and V one factor for V and one for S, and the mean of their EC57 F1 decides. Of two classes a factor for
    the second: the largest sum of sensitivity and specificity, or the sensitivity where `specificity` is reached.
    Otherwise one factor for all classes but the first, and macro-F1.

    Args:
        labels, probabilities: ``[n]`` and ``[n, classes]``.
        people: ``[n]``, who is resampled.
        folds: ``[n]``, equal for the beats that one model has predicted.

    Returns:
        The point, and the probabilities ``[n, classes]`` at the points that are chosen without the fold of each beat,
        whose scores are honest.
    """
    groups = [("V",), ("S",)] if ec57.applies(classes) else [classes[1:]]
    names, owner = numbered(people)
    axes = np.meshgrid(*[TRIED[len(groups)]] * len(groups), indexing="ij")
    tried = np.stack(axes, axis=-1).reshape(-1, len(groups))
    tried = tried[np.abs(tried).sum(axis=1).argsort(kind="stable")]  # of equally good points the one nearest to 1
    k = len(classes)
    confusions = np.empty((len(names), len(tried), k, k), dtype=np.float32)
    for at, exponents in enumerate(tried):
        factors = np.ones(k, dtype=np.float32)
        for group, exponent in zip(groups, exponents, strict=True):
            factors[[classes.index(name) for name in group]] = 2**exponent
        cells = (owner * k + labels) * k + (probabilities * factors).argmax(axis=1)
        confusions[:, at] = np.bincount(cells, minlength=len(names) * k * k).reshape(-1, k, k)

    def chosen(kept: IntArray) -> tuple[Numbers, Numbers]:
        """Exponents ``[groups]``, and ``[resamples, groups]``: those best for each resample of some people."""
        of_kept, generator, values = confusions[kept].reshape(len(kept), -1), np.random.default_rng(seed), []
        for _ in range(RESAMPLES):
            times = np.bincount(generator.integers(len(kept), size=len(kept)), minlength=len(kept))
            total = (times.astype(np.float32) @ of_kept).reshape(-1, k, k)
            values.append(_objective(total, classes, specificity))
        best = tried[np.argmax(values, axis=1)]
        if specificity is not None:  # a point to be met, not a best one
            return np.median(best, axis=0), best
        lost = np.stack(values)[:, [np.mean(values, axis=0).argmax()]] - values
        equal = lost.mean(axis=0) <= SIGNIFICANT * lost.std(axis=0)
        return tried[equal.argmax()], best

    def by_class(values: Sequence[Any]) -> dict[str, Any]:
        return {name: value for group, value in zip(groups, values, strict=True) for name in group}

    about = {"beats": len(labels), "people": len(names), "folds": len(np.unique(folds))}
    label_of = {name: classes.index(name) for group in groups for name in group}
    with_class = {name: len(np.unique(owner[labels == label])) for name, label in label_of.items()}

    def point(kept: IntArray) -> OperatingPoint:
        exponents, resampled = chosen(kept)
        return OperatingPoint(
            factors=by_class((2**exponents).tolist()),
            between=by_class([interval(column) for column in 2**resampled.T]),
            objective=_name(classes, specificity),
            people_with=with_class,
            **about,
        )

    apart = np.empty(probabilities.shape, dtype=np.float32)
    for fold in np.unique(folds):
        rows = folds == fold
        others = np.setdiff1d(np.arange(len(names)), owner[rows])
        apart[rows] = point(others).apply(probabilities[rows], classes)
    return point(np.arange(len(names))), apart


def _objective(confusions: npt.NDArray[Any], classes: tuple[str, ...], specificity: float | None) -> Numbers:
    """What is maximised, ``[points, k, k]`` → ``[points]``."""
    if ec57.applies(classes):
        f1 = [ec57.metrics(ec57.counts(confusions, name, classes))[..., -1] for name in ec57.ECTOPIC]
        return np.nan_to_num(np.stack(f1)).mean(axis=0)  # type: ignore[no-any-return]
    if len(classes) == 2:
        right = confusions[:, [0, 1], [0, 1]]
        sp, se = ratio(right, confusions.sum(axis=2), 0.0).T
        return se + sp if specificity is None else np.where(sp >= specificity, 1 + se, sp)  # type: ignore[no-any-return]
    return confusion_metrics(confusions)[0]["macro_f1"]


def _name(classes: tuple[str, ...], specificity: float | None) -> str:
    if ec57.applies(classes):
        return "the mean EC57 F1 of V and S"
    if len(classes) == 2:
        return "sensitivity + specificity" if specificity is None else f"a specificity of {specificity:g}"
    return "macro-F1"
