"""What pages show of a model's beats, and of the beats of a class, in plain values; without torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecg_lightning.data.beats import FloatArray
from ecg_lightning.explain.mistakes import Mistakes

if TYPE_CHECKING:  # they need torch, which a page of an annotated recording does not
    from ecg_lightning.explain.embedding import Embedding
    from ecg_lightning.explain.saliency import Saliency

BEFORE_S, AFTER_S = 0.3, 0.6  # around the R peak, of typical beats


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What can be shown of a run's model and its test beats, in plain values."""

    classes: tuple[str, ...] = ()
    fs: float = 0.0  # Hz
    length: int = 0  # samples a beat, padding included
    lead_names: tuple[str, ...] = ()
    before: float = 0.0  # seconds before its R peak at which a beat starts
    rr_factor: float = 1.2  # a beat ends about this many RR intervals after its R peak
    scaling: str = "beat"  # what beats were scaled to [0, 1] by: beat or record; or none (mV)
    synthetic: bool = False
    baseline: bool = False  # of scikit-learn: saliency by occlusion, and an embedding of its log-probabilities
    mistakes: Mistakes | None = None  # None without the beats
    saliency: "Saliency | None" = None  # None without beats or model
    embedding: "Embedding | None" = None  # None likewise, or if it was not requested
    remarks: tuple[str, ...] = ()  # why a part is missing, in a sentence each


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassFacts:
    """One class."""

    name: str
    n: int  # beats
    people: int | None  # or records where people are not known, that have any; None where neither is known
    quality: float | None  # median
    poor: float  # share of beats with a quality below `POOR`
    typical: tuple[FloatArray, FloatArray, FloatArray] | None  # quantiles .1, .5, .9 of beats ``[leads, t]``
    n_typical: int  # beats that they are of
