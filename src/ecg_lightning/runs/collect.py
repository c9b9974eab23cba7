"""Runs and sweeps collected into tables, with the published metrics.

A row is a network with one context, one resampling of its training beats and one initialisation of its weights; its
metrics are means over seeds. Other beats, protocols or folds make another table, other settings another row, and a
published row that has not been run is there without metrics. Contexts share a table, except on beats split at random,
where the published networks had no context.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecg_lightning.core.provenance import WITHOUT_EFFECT
from ecg_lightning.metrics.catalogue import dig
from ecg_lightning.runs.aggregate import FOLD, SEEDS, Result, Run, groups, mean_and_sd, results_of_folds
from ecg_lightning.runs.discover import find_runs, tests_elsewhere
from ecg_lightning.runs.published import (
    DATASETS,
    Elsewhere,
    of_published_beats,
    published_elsewhere,
    published_for_run,
    published_row,
    published_rows,
)
from ecg_lightning.runs.schema import ALONE, RunRecord, Scores

SCRATCH, PRETRAINED = "none", "head_only"  # the modes of transfer of the published table
MODES = (SCRATCH, PRETRAINED, "last_layer")  # that compare with it: its pretrained backbone was frozen
ASIDE = (*WITHOUT_EFFECT, "transfer.checkpoint", "ckpt_path")  # settings that may differ among repetitions


@dataclass(frozen=True, kw_only=True)
class Row:
    """Runs of equal settings, with a result for each seed."""

    results: tuple[Result, ...]
    settings: str  # what distinguishes this row from others of its block; empty if it is alone
    mean: Mapping[str, Any]  # of each metric over the seeds, nested as ``test`` of a run record
    sd: Mapping[str, Any]  # of a sample; None with one seed

    @property
    def is_baseline(self) -> bool:
        return self.results[0].record.baseline

    @property
    def intervals(self) -> Mapping[str, Any]:  # empty with several seeds, which have a deviation
        return self.results[0].intervals if len(self.results) == 1 else {}

    @property
    def runs(self) -> list[Run]:
        return [run for result in self.results for run in result.runs]

    @property
    def seeds(self) -> list[str]:  # of each result; "1/0" where that of the split is another one: 0
        pairs = [result.runs[0].seeds for result in self.results]
        return [str(seed) if seed == of_split else f"{seed}/{of_split}" for seed, of_split in pairs]

    @property
    def split_seeds(self) -> list[int]:
        return [result.record.protocol.seed for result in self.results]

    @property
    def missing_folds(self) -> list[int]:  # that some seed lacks
        n_folds = self.results[0].n_folds or 0
        return [fold for fold in range(n_folds) if not all(fold in result.folds for result in self.results)]

    def about(self, key: str) -> str:
        """A field of the records of its runs, each different value once; empty if none has it."""
        values = (getattr(run.record, key) for run in self.runs)
        return ", ".join(dict.fromkeys(str(value) for value in values if value is not None))


@dataclass(frozen=True, kw_only=True)
class Block:
    """All rows of one network, context, resampling and mode of transfer; without rows it was published, but not run."""

    network: str
    context: str = ALONE
    resampling: str
    transfer: str
    rows: tuple[Row, ...] = ()
    published: Mapping[str, Any] | None = None  # the row that compares


@dataclass(frozen=True, kw_only=True)
class RunsTable:
    """Rows that may be compared: one task, tested on the same beats divided in the same way."""

    task: str
    record: RunRecord | None  # of one of its runs, for what they have in common; None if nothing has been run
    blocks: tuple[Block, ...]  # by context, then in the published order
    elsewhere: tuple[Elsewhere, ...] = ()  # what others published of the same protocol

    @property
    def as_published(self) -> bool:
        """Whether it has the shape of the published table: beats split at random, without context."""
        return self.record is None or _as_published(self.record)

    @property
    def rows(self) -> list[Row]:
        return [row for block in self.blocks for row in block.rows]

    @property
    def tested(self) -> str:  # the fold that was scored
        return self.record.fold if self.record else "test"

    @property
    def protocol(self) -> str:
        return protocol_of(self.record) if self.record else ""

    @property
    def n_test(self) -> list[int]:  # scored beats, fewest and most of a result
        sizes = [sum(run.record.n_tested for run in result.runs) for row in self.rows for result in row.results]
        return sorted({min(sizes), max(sizes)}) if sizes else []


@dataclass(frozen=True, kw_only=True)
class Tested:
    """Runs of equal settings, and their tests on each database, their own among them, by its name."""

    network: str
    context: str
    trained_on: str
    settings: str  # as of a `Row`
    tests: Mapping[str, Row]


@dataclass(frozen=True)
class Collection:
    """The tables, those with published metrics first, and a sentence on each thing left out or kept apart."""

    tables: tuple[RunsTable, ...]
    remarks: tuple[str, ...] = ()
    elsewhere: tuple[tuple[Tested, ...], ...] = ()  # tests on other databases, a table for each set of classes


def collect(*paths: Path | str, only_run: bool = False) -> Collection:
    """Find runs and put into tables what belongs together.

    `paths` are folders of runs, of sweeps, or of such folders, at any depth; or records under other names. `only_run`
    leaves out the published rows that have not been run, and what others published. DataError if no run is there, a
    file cannot be read, or a fold is there twice.
    """
    runs, remarks = find_runs(map(Path, paths))
    by_table = [part for alike in groups(runs, _table_key) for part in _of_equal_beats(alike)]
    tables = [table_of(of_table, remarks, only_run) for of_table in by_table]
    published = {table.task for table in tables if _compares(table.record)}
    if not only_run and published:
        unrun = [task for task in DATASETS if task not in published]
        tables += [RunsTable(task=task, record=None, blocks=tuple(_not_run(task, set()))) for task in unrun]
    elif not only_run and any(table.as_published for table in tables):
        beats = "real test beats of mitbih and ptbdb, split=random"
        remarks.append(f"No row of the published table has been run: it is of {beats}.")
    return Collection(tuple(sorted(tables, key=_table_order)), tuple(remarks), tested_elsewhere(runs))


def tested_elsewhere(runs: Sequence[Run]) -> tuple[tuple[Tested, ...], ...]:
    """The runs that were tested on other databases, by task and classes."""
    away = {run.folder: tests for run in runs if (tests := tests_elsewhere(run))}
    tested = (run for run in runs if run.folder in away)
    tables = groups(tested, lambda run: (run.record.task, run.record.classes, run.record.synthetic))

    def order(one: Tested) -> tuple[int, str, str]:
        return len(one.context) if one.context != ALONE else 0, one.context, one.trained_on

    return tuple(tuple(sorted(_tested(table, away), key=order)) for table in tables)


def _tested(runs: Sequence[Run], away: Mapping[Path, Sequence[Run]]) -> Iterator[Tested]:
    for alike in groups(runs, lambda run: (run.record.model, run.record.context.phrase(), run.record.tested_on)):
        cells, record = groups(alike, lambda run: run.same_but(*FOLD, *SEEDS, *ASIDE)), alike[0].record
        for cell, settings in zip(cells, _names(cells), strict=True):
            tests = [test for run in cell for test in (run, *away[run.folder])]
            by_name = groups(tests, _name_of_test)
            yield Tested(
                network=record.model, context=record.context.phrase(), trained_on=record.tested_on, settings=settings,
                tests={_name_of_test(same[0]): _row(same, settings) for same in by_name},
            )  # fmt: skip


def _name_of_test(run: Run) -> str:
    """What was tested; of another test of the database of the training also the leads, which are what differs."""
    record = run.record
    own = record.kind == "evaluation" and record.trained_on is None
    return f"{record.tested_on}, {', '.join(record.leads)}" if own else record.tested_on


def errata(blocks: Iterable[Block]) -> list[str]:
    """Where the published metrics of these rows contradict each other."""
    wrong = [(one, one.published["erratum"]) for one in blocks if one.published and "erratum" in one.published]
    return [f"Published {block.network}, {block.resampling}, {erratum}." for block, erratum in wrong]


def _table_key(run: Run) -> tuple[Any, ...]:
    record = run.record
    about = record.task, record.dataset, record.synthetic, record.classes, record.fold
    return *about, protocol_of(record), _as_published(record)


def _of_equal_beats(runs: Sequence[Run]) -> list[list[Run]]:
    """The runs as one table; as one for each fingerprint, if beats differ in more than the context."""
    prints = {(run.record.context, run.record.fingerprint) for run in runs}
    if len(prints) == len({context for context, _ in prints}):
        return [list(runs)]
    return groups(runs, lambda run: run.record.fingerprint)


def protocol_of(record: RunRecord) -> str:
    """The protocol without the seed, the fold and the part of the training beats: equal for runs that compare."""
    return record.protocol.sentence(parts=False, seed=False)


def _as_published(record: RunRecord) -> bool:
    return record.protocol.name == "random" and record.context.phrase() == ALONE


def _compares(record: RunRecord | None) -> bool:
    """Whether published metrics compare with runs on these beats."""
    return record is not None and of_published_beats(record) and _as_published(record)


def _table_order(table: RunsTable) -> tuple[bool, bool, bool, int, str]:
    record, task = table.record, [*DATASETS, table.task].index(table.task)
    synthetic, other_split = (record.synthetic, record.protocol.name != "random") if record else (False, False)
    return synthetic, table.tested != "test", other_split, task, table.task


def table_of(runs: Sequence[Run], remarks: list[str], only_run: bool = True) -> RunsTable:
    """Runs as one table; sentences on what is kept apart are added to `remarks`; DataError if a fold is there twice."""
    record = runs[0].record
    blocks = []
    for alike in groups(runs, _block_key):
        network, context, resampling, transfer, whole = _block_key(alike[0])
        published = published_for_run(alike[0].record) if whole and _compares(record) else None
        by_settings = groups(alike, lambda run: run.same_but(*FOLD, *SEEDS, *ASIDE) + str(run.fold is not None))
        cells = [cell for same in by_settings for cell in _apart(same, remarks)]
        names = {"network": network, "context": context, "resampling": resampling, "transfer": transfer}
        blocks.append(Block(**names, rows=tuple(map(_row, cells, _names(cells))), published=published))
    if _compares(record) and not only_run:
        run = {(block.network, block.resampling, block.transfer) for block in blocks if block.published}
        blocks += _not_run(record.task, run)
    others = of_published_beats(record) and not only_run
    elsewhere = published_elsewhere(record.task, record.protocol.name) if others else ()
    blocks.sort(key=_block_order)
    return RunsTable(task=record.task, record=record, blocks=tuple(blocks), elsewhere=elsewhere)


def _block_key(run: Run) -> tuple[str, str, str, str, bool]:
    """Network, context, resampling, transfer, and whether all training beats were used, as for what is published."""
    record, whole = run.record, run.record.protocol.train_size is None
    return record.model, record.context.phrase(), record.resampling, record.transfer, whole


def _not_run(task: str, run: set[tuple[str, str, str]]) -> Iterator[Block]:
    """What was published for a task, without the rows that have been run."""
    for network, resampling in published_rows():
        for transfer in (SCRATCH, PRETRAINED):
            published = published_row(task, network, resampling, pretrained=transfer != SCRATCH)
            if published and (network, resampling, transfer) not in run:
                yield Block(network=network, resampling=resampling, transfer=transfer, published=published)


def _block_order(block: Block) -> tuple[int | str, ...]:
    """By context, then as published: by resampling, then by network; then what was not published."""
    networks, resamplings = (tuple(dict.fromkeys(names)) for names in zip(*published_rows(), strict=True))
    order: list[int | str] = [len(block.context) if block.context != ALONE else 0, block.context]
    for known, name in ((resamplings, block.resampling), (networks, block.network), (MODES, block.transfer)):
        order += [known.index(name) if name in known else len(known), name]
    return tuple(order)


def _apart(runs: Sequence[Run], remarks: list[str]) -> Sequence[Sequence[Run]]:
    """Runs of equal settings; where a seed is there twice they are no repetitions, and stay apart."""
    if not _twice(runs):
        return [runs]
    by_checkpoint = groups(runs, _checkpoint)
    if len(by_checkpoint) > 1 and not any(map(_twice, by_checkpoint)):
        return by_checkpoint
    what = "equal settings and a seed in common; remove what is not wanted to have mean and deviation over seeds"
    remarks.append(f"Not averaged: {', '.join(str(run.folder) for run in runs)} have {what}.")
    return [[run] for run in runs]


def _twice(runs: Sequence[Run]) -> bool:
    return len({(*run.seeds, run.fold) for run in runs}) < len(runs)


def _row(runs: Sequence[Run], settings: str) -> Row:
    results = [result for same in groups(runs, lambda run: run.seeds) for result in results_of_folds(same)]
    results.sort(key=lambda result: result.runs[0].seeds)
    tests = [_without_absent(result.test) for result in results]
    return Row(results=tuple(results), settings=settings, **mean_and_sd(tests))


def _without_absent(test: Scores) -> Scores:
    """The scores, with None for the metrics of classes that no beat has and none was predicted to be."""
    absent = {
        name: {key: value if isinstance(value, int) else None for key, value in scores.items()}
        for name, scores in test["per_class"].items()
        if not scores["support"] + scores["predicted"]
    }
    return {**test, "per_class": test["per_class"] | absent}


def _names(cells: Sequence[Sequence[Run]]) -> list[str]:
    """What distinguishes the rows of a block: the settings that they differ in."""
    if len(cells) == 1:
        size = dig(cells[0][0].record.config, ("split", "train_size"))
        return [f"split.train_size={size}" if size is not None else ""]
    leaves = [_leaves(cell[0].record.config) for cell in cells]
    keys = list(dict.fromkeys(key for of_cell in leaves for key in of_cell))
    names = _named_by(leaves, keys)
    if len({frozenset(key.partition(".")[0] for key in of_cell) for of_cell in leaves}) > 1:
        # Configurations of different versions have different groups: common settings are enough if they can be.
        shorter = _named_by(leaves, [key for key in keys if all(key in of_cell for of_cell in leaves)])
        names = shorter if len(set(shorter)) == len(shorter) else names
    for more in (_checkpoint, lambda run: run.folder):
        if len(set(names)) < len(names):
            names = [
                f"{name}, {more(cell[0])}".removeprefix(", ") if names.count(name) > 1 and more(cell[0]) else name
                for name, cell in zip(names, cells, strict=True)
            ]
    return names


def _named_by(leaves: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """A name for each row of the settings among `keys` in which they differ; a group's name stands for its content."""
    differing = [key for key in keys if len({_shown(of_cell.get(key)) for of_cell in leaves}) > 1]
    for group in dict.fromkeys(key.partition(".")[0] for key in differing):
        name = f"{group}.name"
        within = [key for key in differing if key.startswith(f"{group}.")]
        contents = {tuple(_shown(of_cell.get(key)) for key in within) for of_cell in leaves}
        if name in within and len({_shown(of_cell.get(name)) for of_cell in leaves}) == len(contents):
            differing = [key for key in differing if key not in within or key == name]
    return [
        ", ".join(f"{key.removesuffix('.name')}={_shown(of_cell[key])}" for key in differing if key in of_cell)
        for of_cell in leaves
    ]


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``group.setting`` → value, of all settings that can distinguish rows."""
    leaves: dict[str, Any] = {}
    for key, value in settings.items():
        path = prefix + key
        if path not in (*FOLD, *SEEDS, *ASIDE):
            leaves |= _leaves(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value}
    return leaves


def _shown(value: Any) -> str:
    return "null" if value is None or value == {} else str(value)


def _checkpoint(run: Run) -> str:
    return str(dig(run.record.config, ("transfer", "checkpoint")) or "")
