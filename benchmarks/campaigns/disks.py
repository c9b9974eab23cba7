"""What is written when the file system refuses: full, read-only, gone, slow to say so, or where it cannot be.

A disk of some kilobytes and a read-only one are file systems of their own in the process of the command, for which
Linux asks no rights (user namespaces); where a system forbids these, limits on the size of files take their place.
"""

import contextlib
import ctypes
import errno
import functools
import os
import resource
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from campaigns import downloads
from campaigns.frame import Case, Ended, preload, run

FITS = "what the command writes fits, or is written elsewhere"
TINY = (
    "train", "dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "trainer=cpu",
    "trainer.max_epochs=2", "optimizer.batch_size=64", "model=cnet", "report=none",
)  # fmt: skip


@cache
def place() -> Path:
    """A folder for what all cases start from, each made once; it stays until the system removes it."""
    preload()
    return Path(tempfile.mkdtemp(prefix="faults-disks-"))


def cached() -> str:
    """The setting of the cache."""
    return f"cache_dir={place() / 'cache'}"


@cache
def trained(*words: str, stops: bool = False) -> Path:
    """A small run, or one that is interrupted in its second epoch."""
    folder = place() / f"run{'_of_other_settings' * bool(words)}{'_stopped' * stops}"

    def stopping() -> None:
        from ecg_lightning.training.classifier import BeatClassifier

        step = BeatClassifier.training_step

        def interrupted(self: Any, *args: Any) -> Any:
            if self.trainer.current_epoch == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return step(self, *args)

        BeatClassifier.training_step = interrupted  # type: ignore[method-assign]

    setup = stopping if stops else lambda: None
    ended = run([*TINY, *words, cached(), f"hydra.run.dir={folder}"], cwd=place(), setup=setup)
    assert ended.status == (130 if stops else 0), ended.err
    return folder


@cache
def recordings() -> Path:
    """Two records of WFDB with annotations."""
    import numpy as np
    import wfdb

    folder = place() / "recordings"
    folder.mkdir()
    beat = np.exp(-0.5 * ((np.arange(300) - 100) / 5) ** 2)
    signal_ = np.tile(beat, 100)[:, None] + np.random.default_rng(0).normal(size=(30_000, 1)) / 50
    for name in ("r1", "r2"):
        wfdb.wrsamp(name, 360, ["mV"], ["MLII"], signal_, fmt=["16"], write_dir=str(folder))
        peaks = np.arange(100, 30_000, 300)
        wfdb.wrann(name, "atr", peaks, symbol=["N"] * len(peaks), write_dir=str(folder))
    return folder


# Commands, by what they write into a folder that the file system refuses in some way.


@dataclass(frozen=True)
class Command:
    """A command, what its output is called below the folder, and what it has written if it succeeds."""

    words: Callable[[Path, Path], list[str]]  # of the folder with the fault, and another one
    output: str
    written: str | None = None
    before: Callable[[Path], object] = lambda folder: None


def _train(out: Path, other: Path) -> list[str]:
    return [*TINY, cached(), f"hydra.run.dir={out / 'run'}"]


def _resume(out: Path, other: Path) -> list[str]:
    return [*_train(out, other), f"ckpt_path={out / 'run' / 'checkpoints' / 'last.ckpt'}"]


def _sweep(out: Path, other: Path) -> list[str]:
    return [*TINY, "seed=1,2", cached(), f"hydra.sweep.dir={out / 'sweep'}", "-m"]


def _cache(out: Path, other: Path) -> list[str]:
    return [*TINY, f"cache_dir={out / 'cache'}", f"hydra.run.dir={other / 'run'}"]


def _annotate(out: Path, other: Path) -> list[str]:
    formats = ["--format", "csv,wfdb,edf,html,json"]
    return ["annotate", f"{recordings()}", "--model", f"{trained()}", "-o", f"{out / 'a'}", *formats]


def _evaluate(out: Path, other: Path) -> list[str]:
    return ["evaluate", f"{trained()}", *_cached(), "--output", f"{out / 'e'}", "--device", "cpu"]


def _ensemble(out: Path, other: Path) -> list[str]:
    return ["ensemble", f"{trained()}", f"{trained('optimizer.lr=2e-3')}", "-o", f"{out / 'both'}", *_cached()]


def _export(out: Path, other: Path) -> list[str]:
    return ["export", f"{trained()}", "-o", f"{out / 'model.onnx'}", *_cached()]


def _cached() -> list[str]:
    return ["--cache-dir", f"{place() / 'cache'}"]


def _weights(out: Path, other: Path) -> list[str]:
    return ["weights", "make", f"{trained()}", "--name", "own", "--title", "of ours", "--output", f"{out / 'w'}"]


def _table(out: Path, other: Path) -> list[str]:
    return ["table", f"{trained()}", "--output", f"{out / 't.md'}"]


def _report(out: Path, other: Path) -> list[str]:
    return ["report", f"{trained()}", "--brief", "-o", f"{out / 'r.html'}"]


def _plot(out: Path, other: Path) -> list[str]:
    return ["plot", f"{trained()}", "--what", "confusion", "-o", f"{out / 'p.png'}"]


def _compare(out: Path, other: Path) -> list[str]:
    return ["compare-annotations", *[f"{recordings()}"] * 2, "--from", "0", "-o", f"{out / 'c.json'}"]


def _new_card(out: Path, other: Path) -> list[str]:
    return ["data", "new", f"{recordings()}", "--output", f"{out / 'c'}"]


def _data_report(out: Path, other: Path) -> list[str]:
    return ["data", "report", "synthetic", *TINY[2:4], cached(), "-o", f"{out / 'd.html'}"]


def _fetch(out: Path, other: Path) -> list[str]:
    site = downloads.Place(other / "site", downloads.Site(dict(downloads.published())))
    return [*site.command()[:3], "--data-dir", f"{out / 'data'}", "--config-dir", f"{other / 'site' / 'conf'}"]


COMMANDS: dict[str, Command] = {
    "train": Command(_train, "run", "run/scores.json"),
    "train, resumed": Command(
        _resume, "run", "run/scores.json", lambda out: shutil.copytree(trained(stops=True), out / "run")
    ),
    "train -m": Command(_sweep, "sweep"),
    "train, its cache": Command(_cache, "cache"),
    "annotate": Command(_annotate, "a", "a/r2.csv"),
    "evaluate": Command(_evaluate, "e", "e/scores.json"),
    "ensemble": Command(_ensemble, "both", "both/scores.json"),
    "export": Command(_export, "model.onnx", "model.onnx"),
    "weights make": Command(_weights, "w", "w/own.safetensors"),
    "table": Command(_table, "t.md", "t.md"),
    "report": Command(_report, "r.html", "r.html"),
    "plot": Command(_plot, "p.png", "p.png"),
    "compare-annotations": Command(_compare, "c.json", "c.json"),
    "data new": Command(_new_card, "c"),
    "data report": Command(_data_report, "d.html", "d.html"),
    "data fetch": Command(_fetch, "data", "data/clinic/101.dat"),
}


# File systems of their own


class Disk:
    """A file system in memory over a folder, which only processes that `enter` see; it ends with this process."""

    def __init__(self, folder: Path, kilobytes: int, *, before: Callable[[], object] = lambda: None) -> None:
        there, ready = os.pipe()
        asked, ask = os.pipe()
        self.folder = folder
        self.user = os.getuid() != 0
        if not (child := os.fork()):
            os.close(ask)
            try:
                ids = os.getuid(), os.getgid()
                _call("unshare", 0x00020000 | (0x10000000 if self.user else 0))  # mounts, users
                if self.user:
                    Path("/proc/self/setgroups").write_text("deny")
                    Path("/proc/self/uid_map").write_text(f"{ids[0]} {ids[0]} 1")
                    Path("/proc/self/gid_map").write_text(f"{ids[1]} {ids[1]} 1")
                _mount("none", Path("/"), 0x44000, "")  # private, recursively
                _mount("tmpfs", folder, 0, "size=100m")
                before()
                os.write(ready, b"1")
                while words := os.read(asked, 100):
                    flags, _, data = words.decode().partition(" ")
                    _mount("tmpfs", folder, 32 | int(flags), data)  # again, with other options
                    os.write(ready, b"1")
            finally:
                os._exit(0)
        os.close(asked)
        os.close(ready)
        self.pid, self._there, self._ask = child, there, ask
        if os.read(there, 1) != b"1":
            raise OSError(errno.EPERM, "namespaces are not permitted")
        self.change(kilobytes)

    def change(self, kilobytes: int, *, read_only: bool = False) -> None:
        """Make it larger, or read-only; what is there stays."""
        os.write(self._ask, f"{int(read_only)} size={kilobytes}k".encode())
        os.read(self._there, 1)

    def shrink_to(self, kilobytes: int) -> None:
        """Leave so much room beyond what is there."""
        used = sum(file.stat().st_blocks * 512 for file in self.seen().rglob("*"))
        self.change(used // 1024 + kilobytes)

    def seen(self) -> Path:
        """The folder, as other processes reach it."""
        return Path(f"/proc/{self.pid}/root{self.folder}")

    def enter(self) -> None:
        """See it in this process, too."""
        where = Path.cwd()
        kinds = ("user", "mnt") if self.user else ("mnt",)
        files = [os.open(f"/proc/{self.pid}/ns/{kind}", os.O_RDONLY) for kind in kinds]
        for file in files:
            _call("setns", file, 0)
            os.close(file)
        os.chdir(where)

    def end(self) -> None:
        os.close(self._ask)
        os.close(self._there)
        os.waitpid(self.pid, 0)


def _call(name: str, *args: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*args):
        raise OSError(ctypes.get_errno(), name)


def _mount(kind: str, at: Path, flags: int, data: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", os.fsencode(at), kind.encode(), ctypes.c_ulong(flags), data.encode()):
        raise OSError(ctypes.get_errno(), "mount")


@cache
def has_disks() -> bool:
    """Whether this system permits them."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            Disk(Path(folder), 100).end()
        except OSError:
            return False
    return True


# What is wrong. Each gives a case for a command, whose output is in `folder / "out"`.


def campaign(folder: Path, random: Random) -> Case:
    faults: list[Callable[[Path, Random, str], Case]] = [
        full, full, full, too_large, refuses_late, refuses_late, gone, read_only, in_the_way, odd_path, open_files,
        no_home, no_temporary_folder,
    ]  # fmt: skip
    out = folder / "out"
    out.mkdir()
    (folder / "site").mkdir()
    return random.choice(faults)(folder, random, random.choice([*COMMANDS]))


def words_of(folder: Path, name: str) -> list[str]:
    return COMMANDS[name].words(folder / "out", folder)


def intact(folder: Path, name: str, seen: Path, ended: Ended, *, room: bool | None = None) -> str | None:
    """No partial file is left, a success has written its output, and only a lack of room is answered with `free`."""
    command = COMMANDS[name]
    if left := [path.name for path in seen.rglob(".partial-*")]:
        return f"leaves {left}"
    if ended.status == 0 and command.written and not (seen / command.written).is_file() and room is not None:
        return f"succeeds without {command.written}"
    if room is not None and ended.status and ("free some space" in ended.err + ended.out) != room:
        return f"the remedy does not fit: {ended.err[-300:]}"
    last = seen / "run" / "checkpoints" / "last.ckpt"
    if name == "train, resumed" and last.is_file():
        import torch

        try:
            torch.load(last, weights_only=True)
        except Exception as error:
            return f"last.ckpt is damaged: {error}"
    elif name == "train, resumed" and seen.is_dir() and room:
        return "last.ckpt is gone"
    return None


def limit(what: int, most: int) -> None:
    """Lower a limit of this process."""
    resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def full(folder: Path, random: Random, name: str) -> Case:
    """Room for some kilobytes; with more, the same command succeeds."""
    if not has_disks():
        return too_large(folder, random, name)
    command, kilobytes = COMMANDS[name], random.choice([0, 4, 8, 16, 40, 80, 120, 200, 300, 500, 900, 1500])
    disk = Disk(folder / "out", 100_000, before=lambda: command.before(folder / "out"))
    disk.shrink_to(kilobytes)

    def setup() -> None:
        disk.enter()
        downloads.impatient()

    def check(ended: Ended) -> str | None:
        try:
            if wrong := intact(folder, name, disk.seen(), ended, room=True):
                return wrong
            disk.change(100_000)
            again = run(words_of(folder, name), cwd=folder, setup=setup)
            return f"does not succeed with more room: {again.err[-300:]}" if again.status else None
        finally:
            disk.end()

    what = f"{name}: room for {kilobytes} kB"
    return Case("full disk", what, words_of(folder, name), FITS, check, setup)


def too_large(folder: Path, random: Random, name: str) -> Case:
    """A limit on the size of files, as of some batch systems."""
    kilobytes = random.choice([0, 1, 4, 10, 30, 60, 100])
    COMMANDS[name].before(folder / "out")

    def setup() -> None:
        downloads.impatient()
        limit(resource.RLIMIT_FSIZE, 1024 * kilobytes)

    check = functools.partial(intact, folder, name, folder / "out", room=False)
    return Case("size of files", f"{name}: at most {kilobytes} kB", words_of(folder, name), FITS, check, setup)


def refuses_late(folder: Path, random: Random, name: str) -> Case:
    """A network drive that refuses when a file is synced or put in place: quota, fault, lost."""
    number = random.choice([errno.EDQUOT, errno.ENOSPC, errno.EIO, errno.ESTALE, errno.EACCES])
    function, times = random.choice(["fsync", "replace", "mkdir", "open"]), random.choice([0, 1, 3])
    COMMANDS[name].before(folder / "out")
    out = f"{folder / 'out'}"

    def setup() -> None:
        downloads.impatient()
        count = 0
        module: Any = __import__("io") if function == "open" else os
        right = getattr(module, function)

        def refusing(first: Any, *args: Any, **options: Any) -> Any:
            nonlocal count
            path = f"{Path(f'/proc/self/fd/{first}').readlink() if isinstance(first, int) else first}"
            writes = function != "open" or any("w" in str(arg) or "a" in str(arg) for arg in (args[:1] or ("r",)))
            if path.startswith(out) and writes and (count := count + 1) > times:
                raise OSError(number, os.strerror(number), path)
            return right(first, *args, **options)

        setattr(module, function, refusing)

    room = number in (errno.EDQUOT, errno.ENOSPC)
    what = f"{name}: {function} gives {errno.errorcode[number]} after {times} times"

    def check(ended: Ended) -> str | None:
        return intact(folder, name, folder / "out", ended, room=room)

    return Case("refuses late", what, words_of(folder, name), FITS, check, setup)


def gone(folder: Path, random: Random, name: str) -> Case:
    """The folder is removed while the command runs."""
    after_s = random.choice([0.0, 0.05, 0.2, 0.5, 1.0, 2.0])
    COMMANDS[name].before(folder / "out")

    def setup() -> None:
        downloads.impatient()

        def remove() -> None:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder / "out")
                (folder / "out").write_text("no folder")

        timer = threading.Timer(after_s, remove)
        timer.daemon = True
        timer.start()

    return Case("folder gone", f"{name}: after {after_s} s", words_of(folder, name), FITS, setup=setup)


def read_only(folder: Path, random: Random, name: str) -> Case:
    """A file system or a folder that may be read alone."""
    if not has_disks():
        return in_the_way(folder, random, name)
    command = COMMANDS[name]
    disk = Disk(folder / "out", 100_000, before=lambda: command.before(folder / "out"))
    disk.change(100_000, read_only=True)

    def setup() -> None:
        disk.enter()
        downloads.impatient()

    def check(ended: Ended) -> str | None:
        try:
            return intact(folder, name, disk.seen(), ended, room=False)
        finally:
            disk.end()

    return Case("read-only", name, words_of(folder, name), FITS if "data report" in name else None, check, setup)


def in_the_way(folder: Path, random: Random, name: str) -> Case:
    """A file where a folder is to be, a folder where a file is to be, a link to nowhere or to itself."""
    target = folder / "out" / COMMANDS[name].output
    what = random.choice(["file", "folder", "link to nowhere", "link to itself", "file above"])
    if what == "file":
        target.write_text("a file")
    elif what == "folder":
        (target / "sub").mkdir(parents=True)
    elif what == "file above":
        (folder / "out").rmdir()
        (folder / "out").write_text("a file")
    else:
        target.symlink_to(folder / "nowhere" / "at all" if what == "link to nowhere" else target)
    return Case("in the way", f"{name}: {what}", words_of(folder, name), FITS, setup=downloads.impatient)


def odd_path(folder: Path, random: Random, name: str) -> Case:
    """Paths that are long, relative, of a home, or of nobody."""
    path = random.choice(
        ["x" * 300, "a/" * 2100 + "x", "~/x", "~nobodyatall/x", "../out/x", "x\ny", "[bold]x[/bold]", " ", "\x1b[31mx",
         "%s${x}", "ü", "-x", "...", "*"]
    )  # fmt: skip
    out = Path(path) if path.startswith("~") else Path("out") / path
    downloads_words = COMMANDS[name].words(out, folder)

    def setup() -> None:
        downloads.impatient()
        os.environ["HOME"] = f"{folder}"

    return Case("odd path", f"{name}: {path[:40]!r}", downloads_words, FITS, setup=setup)


def open_files(folder: Path, random: Random, name: str) -> Case:
    """Few files may be open at once."""
    COMMANDS[name].before(folder / "out")
    more = random.choice([0, 1, 2, 4, 8, 16])

    def setup() -> None:
        downloads.impatient()
        there = len([*Path("/proc/self/fd").iterdir()])
        limit(resource.RLIMIT_NOFILE, there + more)

    check = functools.partial(intact, folder, name, folder / "out", room=False)
    return Case("open files", f"{name}: {more} more", words_of(folder, name), FITS, check, setup)


def no_home(folder: Path, random: Random, name: str) -> Case:
    """No home, or none that may be written, where the cache would be."""
    how = random.choice(["no HOME", "HOME is a file", "HOME is not there", "no user"])
    (folder / "file").write_text("")
    words = [word for word in words_of(folder, name) if "cache" not in word]

    def setup() -> None:
        downloads.impatient()
        for key in ("HOME", "ECG_CACHE_DIR", "XDG_CACHE_HOME"):
            os.environ.pop(key, None)
        if how in ("HOME is a file", "HOME is not there"):
            os.environ["HOME"] = f"{folder / ('file' if how == 'HOME is a file' else 'nowhere')}"
        elif how == "no user":

            def nobody(*_: Any) -> Any:
                raise KeyError("getpwuid(): uid not found")

            import pwd

            pwd.getpwuid = nobody

    COMMANDS[name].before(folder / "out")
    return Case("no home", f"{name}: {how}", words, FITS, setup=setup)


def no_temporary_folder(folder: Path, random: Random, name: str) -> Case:
    """Nowhere to put temporary files, or a full disk there."""
    COMMANDS[name].before(folder / "out")
    disk = Disk(folder / "site", 100_000) if has_disks() and name != "data fetch" and random.random() < 0.5 else None
    if disk is not None:
        disk.change(random.choice([0, 4, 40, 400]))

    def setup() -> None:
        downloads.impatient()
        tempfile.tempdir = None
        if disk is not None:
            disk.enter()
            tempfile.tempdir = f"{folder / 'site'}"
        else:
            tempfile._candidate_tempdir_list = lambda: ["/nowhere"]  # type: ignore[attr-defined]

    def check(ended: Ended) -> str | None:
        if disk is not None:
            disk.end()
        return intact(folder, name, folder / "out", ended, room=None if disk is None else True)

    what = "none" if disk is None else "full"
    return Case("temporary folder", f"{name}: {what}", words_of(folder, name), FITS, check, setup)
