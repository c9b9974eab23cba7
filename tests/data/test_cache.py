"""The cache: work is done once, never with stale or damaged beats, and never half."""

import dataclasses
import errno
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from made import recordings, simulated

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.cache import cache_key, cached_beats
from ecg_lightning.data.databases.base import Source

SIMULATION = {"patients": 2, "minutes": 0.5}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counting(Source):
    """A source that leaves a mark each time it is read."""

    name: ClassVar[str] = "counting"  # type: ignore[misc]
    classes: ClassVar[tuple[str, ...]] = ("a", "b")  # type: ignore[misc]
    folder: Path
    length: int = 20

    def files(self) -> list[Path]:
        return [self.folder / "values.txt"]

    def settings(self) -> dict[str, Any]:
        return {"length": self.length}

    def read(self) -> Beats:
        with (self.folder / "reads").open("a") as marks:
            marks.write("x")
        first = float(self.files()[0].read_text())
        signals = first + np.arange(300 * self.length, dtype=np.float32).reshape(300, 1, self.length)
        return Beats(
            signals=signals, lengths=np.full(300, self.length), lead_names=("II",), labels=np.arange(300) % 2,
            classes=("a", "b"), fs=1.0, origin=self.settings(),
        )  # fmt: skip

    @property
    def reads(self) -> int:
        marks = self.folder / "reads"
        return len(marks.read_text()) if marks.exists() else 0


@pytest.fixture
def source(tmp_path: Path) -> Counting:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "values.txt").write_text("1.5")
    return Counting(folder=folder)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "cache"


def cache_file(cache_dir: Path) -> Path:
    (path,) = cache_dir.glob("*.arrow")
    return path


def test_beats_are_read_once_and_then_come_from_the_cache(source: Counting, cache_dir: Path) -> None:
    first, second = cached_beats(source, cache_dir), cached_beats(source, cache_dir)
    assert source.reads == 1
    assert first.fingerprint == second.fingerprint == source.read().fingerprint
    assert not first.signals.flags.owndata and not second.signals.flags.owndata
    assert cached_beats(source, cache_dir) is second  # as for the jobs of a sweep in one process
    assert cache_file(cache_dir).name == f"counting-{cache_key(source)}.arrow"


def test_another_setting_or_content_is_another_cache_and_going_back_finds_the_first(
    source: Counting, cache_dir: Path
) -> None:
    cached_beats(source, cache_dir)
    assert cached_beats(dataclasses.replace(source, length=30), cache_dir).length == 30
    source.files()[0].write_text("2.5")
    assert cached_beats(source, cache_dir).signals[0, 0, 0] == 2.5
    assert source.reads == 3
    source.files()[0].write_text("1.5")
    assert cached_beats(source, cache_dir).signals[0, 0, 0] == 1.5
    assert source.reads == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"patients": 3},
        {"task": "mi"},
        {"noise": 0.04},
        {"cut": {"scaling": "none"}},
        {"leads": ["II", "V1"]},
    ],
    ids=str,
)
def test_every_setting_of_a_source_is_in_its_key(changed: dict[str, Any]) -> None:
    assert cache_key(simulated(**SIMULATION | changed)) != cache_key(simulated(**SIMULATION))


def test_the_name_of_a_card_does_not_leave_the_cache(tmp_path: Path) -> None:
    """A card, or a checkpoint from elsewhere, states it."""
    source = simulated(**SIMULATION)
    named = dataclasses.replace(source, card=source.card.model_copy(update={"name": "../../up (1)"}))
    cached_beats(named, tmp_path / "a" / "cache")
    assert [file.parent for file in tmp_path.rglob("*.arrow")] == [tmp_path / "a" / "cache"]


def test_content_counts_and_neither_place_nor_time(mitdb: Path, tmp_path: Path) -> None:
    key = cache_key(recordings(mitdb))
    shutil.copytree(mitdb.parent, tmp_path / "elsewhere")
    for file in (tmp_path / "elsewhere").rglob("*.*"):
        os.utime(file, (1, 1))
    assert cache_key(recordings(tmp_path / "elsewhere" / "mitdb")) == key

    annotations = tmp_path / "elsewhere" / "mitdb" / "201.atr"
    content = annotations.read_bytes()
    annotations.write_bytes(content[:10] + bytes([content[10] ^ 1]) + content[11:])
    assert cache_key(recordings(tmp_path / "elsewhere" / "mitdb")) != key


@pytest.mark.parametrize(
    "changed", [{"leads": [1]}, {"recorded_fs": 360.0}, {"patients": "record"}, {"cut": {"margin": 4}}], ids=str
)
def test_lead_rate_and_cut_are_in_the_key_of_records(mitdb: Path, changed: dict[str, Any]) -> None:
    assert cache_key(recordings(mitdb, **changed)) != cache_key(recordings(mitdb))


def test_a_record_given_to_another_patient_is_another_cache(ptbdb: Path) -> None:
    """The folder's name is the patient: the same bytes there are other beats."""
    source = recordings(ptbdb)
    before = cache_key(source)
    (ptbdb / "patient104").rename(ptbdb / "patient001b")
    listing = ptbdb / "RECORDS"
    listing.write_text(listing.read_text().replace("patient104", "patient001b"))
    assert cache_key(source) != before


def flip(path: Path, at: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 0xFF
    path.write_bytes(content)


def truncate(path: Path, at: float) -> None:
    os.truncate(path, int(at * path.stat().st_size))


@pytest.mark.parametrize(
    ("damage", "at"), [(flip, 0.5), (flip, 0.95), (truncate, 0.5), (truncate, 0.999), (truncate, 0.0)]
)
@pytest.mark.parametrize("suffix", [".arrow", ".npy"])
def test_a_damaged_cache_is_built_again_and_said_so(
    source: Counting, cache_dir: Path, caplog: pytest.LogCaptureFixture, damage: Any, at: float, suffix: str
) -> None:
    whole = cached_beats(source, cache_dir).fingerprint
    damage(cache_file(cache_dir).with_suffix(suffix), at)

    with caplog.at_level(logging.WARNING):
        assert cached_beats(source, cache_dir).fingerprint == whole
    assert source.reads == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert str(cache_file(cache_dir)) in warnings[0] and warnings[0].endswith("; it is built again")

    caplog.clear()
    assert cached_beats(source, cache_dir).fingerprint == whole
    assert (source.reads, caplog.records) == (2, [])


TOGETHER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import Counting, cached_beats

folder, own, other = Path({folder!r}), sys.argv[1], sys.argv[2]

class Slow(Counting):
    def read(self):
        deadline = time.monotonic() + 20
        while not (folder / other).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)  # the other is past its look at the cache by now
        return super().read()

source = Slow(folder=folder)
source.files()
(folder / own).touch()
print(cached_beats(source, Path({cache_dir!r})).fingerprint)
"""


def test_two_jobs_that_start_together_build_it_once(source: Counting, cache_dir: Path) -> None:
    script = TOGETHER.format(tests=str(Path(__file__).parent), folder=str(source.folder), cache_dir=str(cache_dir))
    jobs = [
        subprocess.Popen([sys.executable, "-c", script, *names], stdout=subprocess.PIPE, text=True)
        for names in (("one", "other"), ("other", "one"))
    ]
    told = [job.communicate(timeout=600)[0].strip() for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0]
    assert source.reads == 1
    assert told == [source.read().fingerprint] * 2


def test_an_error_of_the_source_leaves_nothing_and_the_next_try_can_succeed(source: Counting, cache_dir: Path) -> None:
    source.files()[0].write_text("no number")
    with pytest.raises(ValueError, match="no number"):
        cached_beats(source, cache_dir)
    assert not list(cache_dir.glob("*.arrow"))
    source.files()[0].write_text("1.5")
    assert len(cached_beats(source, cache_dir)) == 300


def test_a_full_disk_is_one_error_and_leaves_nothing_half_written(source: Counting, cache_dir: Path) -> None:
    """A limit on the size of files stands in for the end of the disk: writing stops in the middle."""
    script = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_cache import Counting, DataError, cached_beats
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    cached_beats(Counting(folder=Path({str(source.folder)!r})), Path({str(cache_dir)!r}))
except DataError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=600, check=True)
    assert run.stdout.startswith(f"cannot write {cache_dir}")
    assert "limit on the size of files" in run.stdout
    assert len(run.stdout.splitlines()) == 1
    assert [path.name for path in cache_dir.iterdir() if path.suffix != ".lock"] == []


def test_a_disk_that_is_full_only_when_flushed_is_noticed(
    source: Counting, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="No space left on device"):
            cached_beats(source, cache_dir)
    assert [path.name for path in cache_dir.iterdir() if path.suffix != ".lock"] == []
    assert len(cached_beats(source, cache_dir)) == 300


def test_a_folder_that_cannot_be_made_is_one_error_before_any_work(source: Counting, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*choose another cache with cache_dir="):
        cached_beats(source, tmp_path / "file" / "cache")
    assert source.reads == 0


def test_a_folder_without_leave_to_write_is_one_error_before_any_work(
    source: Counting, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By the system call and not by the folder's mode, which root may ignore.
    open_file = os.open

    def denied(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if str(path).startswith(str(cache_dir)) and flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_file(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(DataError, match=r"cannot write .*choose another cache with cache_dir="):
        cached_beats(source, cache_dir)
    assert source.reads == 0


def test_a_cache_that_is_there_is_read_even_where_nothing_can_be_written(
    source: Counting, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached_beats(source, cache_dir)
    for lock in cache_dir.glob("*.lock"):
        lock.unlink()
    monkeypatch.setattr("ecg_lightning.data.cache.locked", lambda path, _: pytest.fail(f"asked to write {path}"))
    assert len(cached_beats(source, cache_dir)) == 300
