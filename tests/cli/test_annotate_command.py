"""``ecg-lightning annotate``: files for one recording or for many."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from click.testing import Result
from typer.testing import CliRunner

from ecg_lightning.cli.annotate import Request, annotate_files, part_of
from ecg_lightning.cli.main import app
from ecg_lightning.core.atomic import claimed
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.find import find

FS = 250


def annotate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["annotate", *map(str, arguments)])


def write_record(path: Path, seed: int = 0, minutes: float = 1.0) -> Path:
    """A simulated lead with narrow and early wide beats, and what somebody annotated."""
    rng = np.random.default_rng(seed)
    rr = np.where(rng.random(round(minutes * 90)) < 0.1, 0.5, rng.normal(0.8, 0.02, round(minutes * 90)))
    peaks = np.cumsum(rr)
    peaks = peaks[peaks < minutes * 60 - 1]
    at = np.arange(round(minutes * 60 * FS)) / FS
    signal = rng.normal(0, 0.01, len(at))
    for peak, width in zip(peaks, np.where(rr[: len(peaks)] < 0.6, 0.03, 0.012), strict=True):
        for offset, height, scale in ((0, 1.2, width), (0.25, 0.25, 0.05), (-0.16, 0.1, 0.03)):
            signal += height * np.exp(-0.5 * ((at - peak - offset) / scale) ** 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    where = str(path.parent)
    wfdb.wrsamp(path.name, fs=FS, units=["mV"], sig_name=["II"], p_signal=signal[:, None], fmt=["16"], write_dir=where)
    wfdb.wrann(path.name, "atr", np.round(peaks * FS).astype(int), symbol=["N"] * len(peaks), write_dir=where)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two records, one of them in a folder below, and one that is cut off."""
    folder = tmp_path_factory.mktemp("recordings")
    write_record(folder / "a", 0)
    write_record(folder / "ward" / "b", 1)
    cut = write_record(folder / "cut", 2).with_suffix(".dat")
    cut.write_bytes(cut.read_bytes()[:5000])
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_one_command_gives_annotations_a_table_and_a_page(folder: Path, tmp_path: Path) -> None:
    formats = ("--format", "csv,wfdb,edf,html,json", "--probabilities")
    run = annotate(folder / "a.hea", "-o", tmp_path, *formats)
    assert run.exit_code == 0, run.output
    files = {"a.csv", "a.ecgl", "a.annotations.edf", "a.html", "a.json"}
    assert {*content(tmp_path)} == files and "a " in run.stdout
    table, stated = pd.read_csv(tmp_path / "a.csv"), json.loads((tmp_path / "a.json").read_text())
    given = wfdb.rdann(str(folder / "a"), "atr").sample
    assert len(table) == len(given) and np.abs(table["sample"] - given).max() <= 0.02 * FS
    annotations = wfdb.rdann(str(tmp_path / "a"), "ecgl")
    np.testing.assert_array_equal(annotations.sample, table["sample"])
    assert [*annotations.symbol] == [*table["symbol"]] and annotations.aux_note[3].startswith("N=")
    assert stated["summary"]["beats"] == len(table) == len(stated["beats"]["data"])
    import edfio

    marks = edfio.read_edf(tmp_path / "a.annotations.edf").annotations
    assert [mark.text.split()[0] for mark in marks] == [*table["class"]]


def test_a_second_start_does_nothing_and_other_settings_are_refused(folder: Path, tmp_path: Path) -> None:
    start = (folder / "a", "-o", tmp_path, "--format", "csv,wfdb")
    assert annotate(*start).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again, other = annotate(*start), annotate(*start, "--abstain", ".9")
    assert again.exit_code == 0 and "1 was there already" in again.stdout
    assert other.exit_code == 1 and "--overwrite" in other.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    assert annotate(*start, "--abstain", ".9", "--overwrite").exit_code == 0
    assert json.loads((tmp_path / "a.json").read_text())["about"]["threshold"] == 0.9


def test_annotations_of_somebody_else_are_never_replaced(tmp_path: Path) -> None:
    record = write_record(tmp_path / "a")
    reference = record.with_suffix(".atr").read_bytes()
    run = annotate(record, "-o", tmp_path, "--format", "wfdb", "--annotator", "atr")
    assert run.exit_code == 1 and "a.atr is there already" in run.stderr
    assert record.with_suffix(".atr").read_bytes() == reference and not (tmp_path / "a.json").exists()


def test_a_recording_is_never_replaced_by_its_own_table(tmp_path: Path) -> None:
    table = tmp_path / "r1.csv"
    np.savetxt(table, np.random.default_rng(0).normal(size=(2000, 1)), header="II", comments="")
    before = table.read_bytes()
    for more in ((), ("--overwrite",)):
        run = annotate(table, "--fs", "250", "-o", tmp_path, "--format", "csv", *more)
        assert run.exit_code == 1 and "would be replaced" in run.stderr
    (tmp_path / "r1.html").write_text("my own notes")
    assert "r1.html is there already" in annotate(table, "--fs", "250", "-o", tmp_path, "--format", "html").stderr
    assert table.read_bytes() == before and not (tmp_path / "r1.json").exists()


def test_a_bad_recording_loses_nobody_elses_work(folder: Path, tmp_path: Path) -> None:
    run = annotate(folder, "-o", tmp_path, "--format", "csv", "--json")
    answer = json.loads(run.stdout)
    assert {*answer["recordings"]} == {"a", "ward/b"} and {*answer["failed"]} == {"cut"}
    assert run.exit_code == 1 and "cut" in run.stderr
    assert {*content(tmp_path)} == {"a.csv", "a.json", "ward/b.csv", "ward/b.json"}


@pytest.mark.parametrize("how", ["processes", "dask"])
def test_recordings_side_by_side_give_the_files_of_one_after_the_other(folder: Path, tmp_path: Path, how: str) -> None:
    recordings = find([folder / "a", folder / "ward" / "b"])
    alone, many = (Request(model="cnet", output=tmp_path / name, formats=("csv",)) for name in ("alone", "many"))
    [*annotate_files(recordings, alone)]
    if how == "processes":
        outcomes = [*annotate_files(recordings, many, jobs=2)]
    else:
        from distributed import LocalCluster

        with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster:
            outcomes = [*annotate_files(recordings, many, dask=cluster.scheduler_address)]
    assert [one.error for one in outcomes] == [None, None]
    for name in ("a.csv", "b.csv"):
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_a_killed_run_goes_on_to_the_same_files(tmp_path: Path) -> None:
    recordings = find([write_record(tmp_path / "in" / name, at) for at, name in enumerate("abc")])
    whole, killed = (
        Request(model="cnet", output=tmp_path / name, formats=("csv", "wfdb")) for name in ("whole", "killed")
    )
    [*annotate_files(recordings, whole)]
    start = [sys.executable, "-m", "ecg_lightning", "annotate", *map(str, recordings.values())]
    process = subprocess.Popen([*start, "--format", "csv,wfdb", "-o", str(killed.output)], stdout=subprocess.DEVNULL)
    while process.poll() is None and not killed.stated("a").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.stated("c").exists()
    outcomes = [*annotate_files(recordings, killed)]
    assert [one.error for one in outcomes] == [None] * 3 and outcomes[0].was_done and not outcomes[-1].was_done
    for name in recordings:
        for kind, file in whole.files(name).items():
            assert file.read_bytes() == killed.files(name)[kind].read_bytes()


def test_a_recording_that_another_process_annotates_is_left_to_it(folder: Path, tmp_path: Path) -> None:
    with claimed(tmp_path, "a.json"):
        run = annotate(folder / "a.hea", "-o", tmp_path)
    assert run.exit_code == 1 and "in use" in run.stderr
    assert not [*tmp_path.iterdir()]
    assert annotate(folder / "a.hea", "-o", tmp_path).exit_code == 0


def test_an_array_job_does_its_part() -> None:
    recordings = {name: Path(name) for name in "abcdefg"}
    parts = [part_of(recordings, f"{n}/3") for n in (1, 2, 3)]
    assert sorted(name for part in parts for name in part) == [*"abcdefg"] and [*parts[0]] == [*"adg"]
    for wrong in ("0/3", "4/3", "x"):
        with pytest.raises(ConfigError, match="3/10"):
            part_of(recordings, wrong)


def test_recordings_are_found_in_folders_and_lists(folder: Path, tmp_path: Path) -> None:
    assert {*find([folder])} == {"a", "cut", "ward/b"}
    assert find([folder / "a.hea", folder / "a.dat", folder / "a"]) == {"a": folder / "a"}
    (tmp_path / "some.list").write_text(f"# two\n{folder / 'a'}\n{folder / 'ward' / 'b'}.hea\n")
    found = find([tmp_path / "some.list"])
    assert [*found.values()] == [folder / "a", folder / "ward" / "b"]
    assert not any(name.startswith("/") or ".." in name for name in found), "outputs stay in their folder"
    with pytest.raises(ConfigError, match="both become"):
        find([folder / "a", tmp_path / "a"])
    with pytest.raises(DataError, match="no recording"):
        find([tmp_path])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--format", "pdf"), "choose of"),
        (("--model", "nobody"), "nobody"),
        (("--dask", "tcp://127.0.0.1:9"), "no Dask"),
        (("--part", "5"), "3/10"),
        (("--annotator", "a/b"), "expected letters"),
        (("--fs", "nan"), "from 20 to 100000 Hz"),
        (("--unit", "furlong"), "expected mV, uV, V or nV"),
        (("--detector", "eye"), "network, sleepecg, xqrs"),
    ],
)
def test_a_wrong_option_is_one_line_and_leaves_nothing(
    folder: Path, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    run = annotate(folder / "a", "-o", tmp_path / "out", *arguments)
    assert run.exit_code == 2 and named in run.stderr
    assert run.stderr.startswith("error: ") and run.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_one_clear_error(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", refuse)
    request = Request(model="cnet", output=tmp_path, formats=("csv",))
    (outcome,) = annotate_files(find([folder / "a"]), request)
    assert outcome.error is not None and "No space left" in outcome.error and not content(tmp_path)


def test_r_peaks_of_a_longer_recording_are_refused(tmp_path: Path) -> None:
    record = write_record(tmp_path / "a", minutes=0.5)
    write_record(tmp_path / "long", minutes=1.0).with_suffix(".atr").replace(record.with_suffix(".atr"))
    run = annotate(record, "-o", tmp_path / "out", "--peaks", "atr")
    assert run.exit_code == 1 and "of a record of 7,500 samples" in run.stderr
    assert not (tmp_path / "out").exists()
