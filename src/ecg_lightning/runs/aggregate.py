"""Several runs as one result: test folds pooled, mean and deviation over seeds, metrics by number of training beats.

The configuration in each record decides which runs belong together: those that differ only in ``split.fold`` are folds
of one cross-validation, those that differ only in their seed are repetitions, and those that differ only in
``split.train_size`` are points of one curve.
"""

import json
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, TypeVar

from ecg_lightning.core.errors import DataError
from ecg_lightning.core.provenance import WITHOUT_EFFECT, without
from ecg_lightning.runs.predictions import PREDICTIONS, RECORD, score_predictions
from ecg_lightning.runs.schema import RunRecord, Scores

T = TypeVar("T")
FOLD = ("split.fold",)
SEEDS = ("seed", "split.seed")
SIZE = ("split.train_size",)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: its folder, or the file of a record that was copied elsewhere under another name."""

    folder: Path
    record: RunRecord

    @property
    def predictions(self) -> Path:
        return self.folder / PREDICTIONS

    @property
    def fold(self) -> int | None:
        return self.record.protocol.fold

    @property
    def seeds(self) -> tuple[int, int]:  # of the run and of its split
        return self.record.seed, self.record.protocol.seed

    def same_but(self, *settings: str) -> str:
        """Equal for runs on the same beats with configurations that differ only in these settings."""
        kept = without(self.record.config, (*WITHOUT_EFFECT, *settings))
        return json.dumps([kept, self.record.fingerprint], sort_keys=True)

    def overrides_but(self, *settings: str) -> list[str]:
        """The overrides of other settings than these."""
        return [text for text in self.record.overrides if text.lstrip("+").partition("=")[0] not in settings]


@dataclass(frozen=True)
class Result:
    """One test: a run, or several folds of a cross-validation as one."""

    runs: tuple[Run, ...]

    @property
    def record(self) -> RunRecord:
        return self.runs[0].record

    @cached_property
    def test(self) -> Scores:
        """As `RunRecord.scores`; of several folds the scores of all their beats together, without intervals."""
        return self.record.scores if len(self.runs) == 1 else score_predictions(*self.predictions, resamples=0)

    @cached_property
    def intervals(self) -> Scores:
        """Of the metrics of `test`, over the patients of all its beats; empty where the record has none."""
        scores = self.record.test if len(self.runs) == 1 else score_predictions(*self.predictions)
        intervals: Scores = scores.get("intervals", {})
        return intervals

    @property
    def predictions(self) -> list[Path]:
        return [run.predictions for run in self.runs]

    @property
    def n_train(self) -> float:  # beats, of several folds on average
        return fmean(run.record.n["train"] for run in self.runs)

    @property
    def folds(self) -> list[int]:  # that were tested; none without cross-validation
        return [run.fold for run in self.runs if run.fold is not None]

    @property
    def n_folds(self) -> int | None:
        return self.record.protocol.n_folds

    def same_but(self, *settings: str) -> str:
        """As `Run.same_but`, and equal only where both have folds or neither has."""
        return self.runs[0].same_but(*FOLD, *settings) + str(bool(self.folds))


def read_runs(folder: Path) -> list[Run]:
    """The finished runs of a sweep, in the order in which they were started; DataError if a record cannot be read."""
    files = sorted(folder.glob(f"*/{RECORD}"), key=lambda file: natural_order(file.parent.name))
    runs = [Run(folder=file.parent, record=RunRecord.read(file)) for file in files]
    return sorted(runs, key=lambda run: run.record.started or "")


def varying_overrides(runs: Iterable[Run]) -> dict[Path, str]:
    """The overrides of each run, by its folder, without those that all of them have."""
    return _varying({run.folder: run.record.overrides for run in runs})


def pool(runs: Iterable[Run]) -> dict[str, Any]:
    """Folds pooled, repetitions averaged, and curves over the number of training beats.

    Returns plain values, ready for JSON, in three lists; an entry has what its runs have in common, the names of their
    folders as ``jobs``, and

    - ``pooled``, for several folds: ``n``, ``test`` of all their test beats together, ``mean`` and ``sd``;
    - ``repeated``, for several seeds: ``seeds``, ``n_train``, ``runs`` (``n_train`` and ``test`` of each, of folds
      pooled), ``mean`` and ``sd``;
    - ``low_data``, for several sizes of the training set: ``label`` and ``points`` as in ``repeated``, by ``n_train``.

    Standard deviations are those of a sample; folds in which a metric is not defined are left out of its mean.
    DataError if a fold or a beat is there twice, or predictions cannot be read.
    """
    results = _results(runs)
    repetitions = _repetitions(results)
    return {
        "pooled": [_pooled(result) for result in results if len(result.runs) > 1],
        "repeated": [_repeated(same) for same in repetitions if len(same) > 1],
        "low_data": _low_data(repetitions),
    }


def low_data(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """The list ``low_data`` of `pool` alone."""
    return _low_data(_repetitions(_results(runs)))


def _results(runs: Iterable[Run]) -> list[Result]:
    return [result for group in groups(runs, lambda run: run.same_but(*FOLD)) for result in results_of_folds(group)]


def _repetitions(results: Sequence[Result]) -> list[list[Result]]:
    return groups(results, lambda result: result.same_but(*SEEDS))


def results_of_folds(runs: Sequence[Run]) -> list[Result]:
    """The folds among runs that differ in nothing else as one result, and each of the others as one."""
    folds = sorted((run for run in runs if run.fold is not None), key=lambda run: run.fold or 0)
    for one, other in pairwise(folds):
        if one.fold == other.fold:
            both = f"{one.folder} and {other.folder}"
            raise DataError(f"{both} are the same fold {one.fold} of the same settings: remove one of them")
    return [Result(tuple(folds))] * bool(folds) + [Result((run,)) for run in runs if run.fold is None]


def _pooled(result: Result) -> dict[str, Any]:
    name, seed = result.record.protocol.name, result.record.seed
    return _about([result], FOLD) | {
        "protocol": f"{name}: {len(result.folds)} of {result.n_folds} folds pooled, seed {seed}",
        "seed": seed,
        "n": {"train": result.n_train, "test": sum(run.record.n["test"] for run in result.runs)},
        "test": score_predictions(*result.predictions),
        **mean_and_sd([run.record.test for run in result.runs]),
    }


def _repeated(results: Sequence[Result]) -> dict[str, Any]:
    return _about(results, (*FOLD, *SEEDS)) | {
        "seeds": [result.record.seed for result in results],
        "n_train": fmean(result.n_train for result in results),
        "runs": [{"n_train": result.n_train, "test": result.test} for result in results],
        **mean_and_sd([result.test for result in results]),
    }


def _low_data(repetitions: Sequence[Sequence[Result]]) -> list[dict[str, Any]]:
    lines = groups(repetitions, lambda same: same[0].same_but(*SEEDS, *SIZE))
    lines = [line for line in lines if len({same[0].record.protocol.train_size for same in line}) > 1]
    firsts = [line[0][0].runs[0] for line in lines]
    transfers = [(run.record.model, run.record.transfer) for run in firsts]
    names = [f"{model}, {'from scratch' if mode == 'none' else mode}" for model, mode in transfers]
    but = (*FOLD, *SEEDS, *SIZE, "model", "transfer", "transfer.checkpoint")
    typed = _varying({number: run.overrides_but(*but) for number, run in enumerate(firsts)})
    return [
        {
            **_about([result for same in line for result in same], (*FOLD, *SEEDS, *SIZE)),
            "label": name if names.count(name) == 1 else f"{name} {typed[number]}".strip(),
            "points": sorted(map(_repeated, line), key=lambda point: point["n_train"]),
        }
        for number, (name, line) in enumerate(zip(names, lines, strict=True))
    ]


def _about(results: Sequence[Result], but: Sequence[str]) -> dict[str, Any]:
    """What the results have in common."""
    record = results[0].record
    return {
        **{name: getattr(record, name) for name in ("task", "model", "dataset", "synthetic", "class_map")},
        "split": record.protocol.name,
        "protocol": record.protocol.sentence(parts=False, seed=False),
        "left_out": record.n_left_out,
        "context": record.context.phrase(),
        **{name: getattr(record, name) for name in ("augmentation", "resampling", "transfer")},
        "overrides": results[0].runs[0].overrides_but(*but),
        "jobs": [run.folder.name for result in results for run in result.runs],
        # Of results with different folds the fewest: a metric must not promise more than there was.
        "folds": min((result.folds for result in results), key=len),
        "n_folds": results[0].n_folds,
    }


def mean_and_sd(tests: Sequence[Scores]) -> dict[str, Any]:
    """``mean`` and ``sd`` (of a sample; None of a single value) of the metrics that all have, nested as the scores."""
    sd = _each_metric(tests, lambda values: stdev(values) if len(values) > 1 else None)
    return {"mean": _each_metric(tests, fmean), "sd": sd}


def _each_metric(tests: Sequence[Scores], statistic: Callable[[Sequence[float]], float | None]) -> dict[str, Any]:
    """Without numbers of beats and intervals: the spread of several tests is not the uncertainty of one."""
    answer: dict[str, Any] = {}
    for key, value in tests[0].items():
        if key == "intervals" or not all(key in test for test in tests):
            continue
        if isinstance(value, Mapping):
            answer[key] = _each_metric([test[key] for test in tests], statistic)
        elif not isinstance(value, int | list):
            values = [float(test[key]) for test in tests if test[key] is not None]
            answer[key] = statistic(values) if values else None
    return answer


def groups(things: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Those of equal key together, in the order in which they come."""
    groups: dict[Hashable, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return list(groups.values())


def _varying(overrides: Mapping[T, Sequence[str]]) -> dict[T, str]:
    common = set.intersection(*map(set, overrides.values())) if len(overrides) > 1 else set()
    return {key: " ".join(text for text in texts if text not in common) for key, texts in overrides.items()}


def natural_order(name: str) -> list[tuple[int, str]]:
    """Key to sort names by: job 10 comes after job 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
