"""`Protocol`: how beats were divided into training, validation and test, as data; its sentence is made here alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SharedPatients = Literal["both", "train", "test", "neither"]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Records that a protocol does not use, the reason in a phrase (``paced``), and how many beats they have."""

    reason: str
    records: tuple[str, ...]
    beats: int


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How beats were divided.

    `patients` are numbers by fold (``train``, ``validation``, ``test``) before `train_size` took a part; None where
    patients are on all sides or not known.
    """

    name: str  # ``random``, ``patient``, that of record lists such as ``ds1_ds2``, or ``all`` (everything is tested)
    seed: int
    by: Literal["beats", "patients", "records", "folds", "databases", "none"]  # what was divided
    test_fraction: float | None = None  # share that tests; None where folds, lists or the publisher decide
    validation_fraction: float | None = None  # share of the rest that validates
    fold: int | None = None  # which fold was tested, from 0; None without cross-validation
    n_folds: int | None = None
    inner_fold: int | None = None  # which fold of the training people was tested; None with `inner_folds`: each
    inner_folds: int | None = None  # how many there are, where these people were tested and not those of the test
    published_test: bool = False  # whether the publisher's own test file was tested
    patients: Mapping[str, int] | None = None
    shared_records: tuple[str, ...] = ()  # of one patient that the lists have on both sides
    shared_patients: SharedPatients = "both"  # left there as published, moved to one, or left out: ``neither``
    n_shared_patients: int = 0  # people who are in lists of both sides
    tested: tuple[str, ...] = ()  # names of the folds or databases that are tested
    left_out: tuple[LeftOut, ...] = ()
    train_size: int | None = None  # how many `train_unit` were trained on, where it was a part of them
    train_unit: Literal["beats", "patients"] = "beats"
    n_train_units: int | None = None  # how many there were to choose from

    def sentence(self, *, parts: bool = True, seed: bool = True) -> str:
        """The protocol in words.

        Without `parts` (fold, patients of each side, part of the training beats) and `seed`, runs that can be compared
        have equal sentences.
        """
        phrases = [self._division(parts), *self._patients(parts)]
        if self.inner_folds is not None:
            which = "each" if self.inner_fold is None else f"fold {self.inner_fold}"
            phrases.append(f"tested instead: {which} of {self.inner_folds} folds of the training patients")
        phrases += [f"{' '.join(one.records)} left out ({one.reason}, {one.beats:,} beats)" for one in self.left_out]
        if parts and self.train_size is not None:
            phrases.append(f"trained on {self.train_size:,} of {self.n_train_units:,} training {self.train_unit}")
        if seed:
            phrases.append(f"seed {self.seed}")
        return f"{self.name}: {', '.join(phrases)}"

    def _division(self, parts: bool) -> str:
        if self.by == "none":
            return "all beats are tested"
        if self.n_folds is not None:
            test = f"fold {self.fold} of {self.n_folds} (counted from 0)" if parts else f"each of {self.n_folds} folds"
            test += " is tested"
        elif self.published_test:
            test = "the published test file is tested"
        elif self.by == "records":
            test = "divided by lists of records"
        elif self.by in ("folds", "databases"):
            test = f"{self.by[:-1] if len(self.tested) == 1 else self.by} {' and '.join(self.tested)} tested"
        elif not self.test_fraction:
            test = "nothing is tested"
        else:
            test = f"{self.test_fraction:.0%} of the {self.by}{' of each class' * (self.by == 'beats')} are tested"
        if self.validation_fraction is None:
            return test
        rest = {"beats": "the rest", "patients": "the other patients"}.get(self.by, "the training patients")
        return f"{test}, {self.validation_fraction:.0%} of {rest} validate"

    def _patients(self, parts: bool) -> list[str]:
        if self.by == "beats":
            return ["patients on all sides"]
        if self.by == "none":
            return []
        phrases, sides = [], {"train": "training", "validation": "validation", "test": "test"}
        # Folds are of unequal size: without `parts` only what they have in common is named.
        if self.patients is not None and (parts or self.n_folds is None):
            counts = ", ".join(f"{self.patients.get(fold, 0)} {name}" for fold, name in sides.items())
            phrases.append(f"patients: {counts}")
        shared = f"records {' and '.join(self.shared_records)} of one patient" if self.shared_records else ""
        if shared and self.shared_patients == "both":
            return [*phrases, f"{shared} on both sides, as published"]
        if self.n_shared_patients and self.shared_patients == "both":
            return [*phrases, f"{self.n_shared_patients} patients on both sides"]
        phrases.append("no patient on two sides")
        if shared and self.shared_patients in sides:
            phrases.append(f"{shared} both on the {sides[self.shared_patients]} side")
        return phrases
