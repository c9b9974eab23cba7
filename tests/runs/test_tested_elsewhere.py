"""Tests on other databases are collected with the runs they are of: a row for each training, a column for each test."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ecg_lightning.data.protocol import Protocol
from ecg_lightning.report.collected import sections
from ecg_lightning.report.render import markdown
from ecg_lightning.runs.collect import Collection, collect
from ecg_lightning.runs.discover import find_runs, run_of
from ecg_lightning.runs.published import published_for_run
from ecg_lightning.runs.schema import ContextInfo, RunRecord
from ecg_lightning.runs.tidy import frame

Leave = Callable[..., Path]
ALL = Protocol(name="all", seed=0, by="none")


def split(name: str, seed: int = 0) -> Protocol:
    return Protocol(name=name, seed=seed, by="records")


@pytest.fixture
def leave(leave_run: Leave) -> Leave:
    """Leave a run, of the seed `seed`, with its tests on the databases in `on`: name → split, or None for all beats."""

    def write(name: str, *, home: str, of: str, on: dict[str, str | None], seed: int = 0, **fields: Any) -> Path:
        folder = leave_run(name, dataset=home, protocol=split(of, seed), seed=seed, **fields)
        for database, division in on.items():
            protocol = ALL if division is None else split(division, seed)
            tested = f"{name}/on/{database}{f'-{division}' if division else ''}"
            noise = 2 + 0.5 * seed
            leave_run(
                tested, dataset=database, protocol=protocol, kind="evaluation", trained_on=home, seed=seed, noise=noise,
                fingerprint="fedcba9876543210", **fields,
            )  # fmt: skip
        return folder

    return write


def rows(collection: Collection) -> list[tuple[str, str, str, Sequence[str]]]:
    return [
        (one.network, one.context, one.trained_on, list(one.tests)) for table in collection.elsewhere for one in table
    ]


def test_a_row_is_a_network_a_context_and_a_training_with_its_test_at_home_among_the_others(
    leave: Leave, tmp_path: Path
) -> None:
    full = ContextInfo(rhythm=True)
    for seed in (0, 1):
        leave(f"a{seed}", home="mitbih", of="ds1_ds2", on={"svdb": "svdb_halves", "incartdb": None}, seed=seed)
        leave(f"b{seed}", home="svdb", of="svdb_halves", on={"mitbih": "ds1_ds2"}, seed=seed)
    leave("c", home="mitbih", of="ds1_ds2", on={"svdb": "svdb_halves"}, context=full)
    found = collect(tmp_path)
    assert not found.remarks
    assert rows(found) == [
        ("cnet", "none", "mitbih, ds1_ds2", ["mitbih, ds1_ds2", "incartdb", "svdb, svdb_halves"]),
        ("cnet", "none", "svdb, svdb_halves", ["svdb, svdb_halves", "mitbih, ds1_ds2"]),
        ("cnet", "rhythm", "mitbih, ds1_ds2", ["mitbih, ds1_ds2", "svdb, svdb_halves"]),
    ]
    of_seeds = found.elsewhere[0][0].tests["svdb, svdb_halves"]
    values = [RunRecord.read(tmp_path / f"a{n}/on/svdb-svdb_halves/scores.json").test["macro_f1"] for n in (0, 1)]
    assert of_seeds.mean["macro_f1"] == pytest.approx(sum(values) / 2) and of_seeds.sd["macro_f1"] > 0
    # The table of a run itself is the same as without tests elsewhere.
    assert {table.record.dataset for table in found.tables if table.record} == {"mitbih", "svdb"}


def test_the_csv_states_what_was_trained_on_and_what_was_tested(leave: Leave, tmp_path: Path) -> None:
    leave("a", home="mitbih", of="ds1_ds2", on={"svdb": "svdb_halves"})
    table = frame(collect(tmp_path, only_run=True))
    away = table[table["status"] == "tested elsewhere"]
    assert set(zip(away["trained_on"], away["dataset"], away["split"], strict=True)) == {
        ("mitbih, ds1_ds2", "svdb", "svdb_halves")
    }
    value = away[(away["class"] == "V") & (away["metric"] == "f1")]["value"].item()
    assert value == RunRecord.read(tmp_path / "a/on/svdb-svdb_halves/scores.json").test["per_class"]["V"]["f1"]
    assert set(table[table["status"] == "run"]["dataset"]) == {"mitbih"}


def test_the_printed_table_names_each_database_and_warns_of_what_was_trained_on(leave: Leave, tmp_path: Path) -> None:
    leave("a", home="mitbih", of="ds1_ds2", on={"svdb": None, "incartdb": None, "ltdb": None})
    record = RunRecord.read(tmp_path / "a/on/svdb/scores.json")
    record.model_copy(update={"warning": "some were trained on"}).write(tmp_path / "a/on/svdb/scores.json")
    last = sections(collect(tmp_path, only_run=True))[-1]
    text = markdown(last)
    assert last.title == "arrhythmia: tested on other databases" and len(last.tables) == 2
    assert "macro-F1 on svdb" in text and "F1 of V on ltdb" in text and "Warning: some were trained on." in text
    assert "A: mitbih, ds1" in text and "D: svdb" in text


def test_an_evaluation_that_is_of_no_run_here_is_left_out_and_said(leave: Leave, tmp_path: Path) -> None:
    folder = leave("a", home="mitbih", of="ds1_ds2", on={"svdb": None})
    (folder / "on" / "svdb").rename(tmp_path / "alone")
    runs, remarks = find_runs([tmp_path])
    assert [run.folder for run in runs] == [folder]
    assert len(remarks) == 1 and "alone" in remarks[0] and "evaluation" in remarks[0]


def test_a_relative_path_finds_the_same(leave: Leave, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave("a", home="mitbih", of="ds1_ds2", on={"svdb": None})
    monkeypatch.chdir(tmp_path)
    assert find_runs([Path("a")])[1] == []


def test_published_metrics_are_of_the_published_databases_and_classes_alone(
    make_record: Callable[..., RunRecord],
) -> None:
    assert published_for_run(make_record())
    assert published_for_run(make_record(dataset="svdb")) is None
    assert published_for_run(make_record(trained_on="svdb")) is None


def test_the_run_of_a_checkpoint_is_the_one_whose_folder_it_is_in(leave: Leave) -> None:
    folder = leave("a", home="mitbih", of="ds1_ds2", on={})
    for own in (folder, folder / "checkpoints" / "best.ckpt"):
        found = run_of(own)
        assert found is not None and found.folder == folder
    assert run_of(folder / "of_others" / "best.ckpt") is None
