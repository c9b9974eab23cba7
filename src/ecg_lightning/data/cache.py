"""The cache: beats are parsed, cut, simulated or resampled once, then memory-mapped from files named by a key."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ecg_lightning.core.atomic import locked, remove_leftovers, sha256_of
from ecg_lightning.core.errors import DataError
from ecg_lightning.core.progress import tracked
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.joined import Joined
from ecg_lightning.data.stored import Storage

log = logging.getLogger(__name__)

RECIPE = 5  # part of every key: raise it when the same files and settings give other beats than before


def cached_beats(source: Source, cache_dir: Path, storage: Storage | None = None) -> Beats:
    """The source's beats from the cache, built first if not there; a `DataError` if it cannot be read or written.

    They are written while they are read or cut, so that they may be larger than the memory.
    """
    if not source.cached:
        return source.read()
    # A card, or a checkpoint from elsewhere, states the name: it must not decide where the cache is written.
    name = re.sub(r"[^\w+-]", "_", source.name)
    storage = storage or Storage()
    stored = "" if storage.dtype == "float32" else f"-{storage.dtype}"
    path = cache_dir / f"{name}-{cache_key(source)}{stored}.arrow"

    def build() -> Iterable[Beats]:
        if isinstance(source, Joined):  # each part has its own place in the cache
            return source.join([cached_beats(part, cache_dir, storage) for part in source.parts])
        return source.read_parts()

    return load_or_build(path, build, storage, doing=f"reading {source.name}")


def load_or_build(path: Path, build: Callable[[], Iterable[Beats]], storage: Storage, *, doing: str) -> Beats:
    """The beats at `path`, built part by part first if they are not there, or again if damaged, with a warning.

    Jobs that start together build them once: one holds the lock, the others wait for it and read. The name of the file
    holds a key of everything that the beats depend on; the log says what is `doing`.
    """
    if (beats := _load(path, storage)) is not None:
        return beats
    with locked(path.with_suffix(".lock"), "choose another cache with cache_dir=…"):
        remove_leftovers(path.parent)
        if (beats := _load(path, storage, warn=True)) is None:
            log.info("%s; the next start takes it from the cache", doing)
            beats = Beats.write(path, build(), storage)
    return beats


def cache_key(source: Source) -> str:
    """Sixteen hexadecimal digits of everything the source's beats depend on: settings and the content of its files."""
    files = source.files()
    digest = hashlib.sha256(json.dumps([RECIPE, source.settings()], sort_keys=True).encode())
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        contents = pool.map(_digest, files, map(_stamp, files))
        for path, content in zip(tracked(files, f"checking {source.name}", "files"), contents, strict=True):
            # The name of the folder counts, which in PTB is the patient; where the data are does not.
            digest.update(os.fsencode(f"{path.parent.name}/{path.name}") + bytes.fromhex(content))
    return digest.hexdigest()[:16]


def _load(path: Path, storage: Storage, *, warn: bool = False) -> Beats | None:
    if not path.exists():
        return None
    try:
        return _loaded(path, storage, _stamp(path), _stamp(path.with_suffix(".npy")))
    except DataError as error:
        if warn:
            log.warning("%s; it is built again", error)
        return None


# The jobs of a sweep, and the report of a run, have the same files and beats.


@lru_cache(maxsize=2**17)
def _digest(path: Path, stamp: tuple[int, ...]) -> str:
    return sha256_of(path)


@lru_cache(maxsize=1)
def _loaded(path: Path, storage: Storage, *stamps: tuple[int, ...]) -> Beats:
    return Beats.load(path, storage)


def _stamp(path: Path) -> tuple[int, ...]:
    """Which file is at a path; it differs once the file has changed."""
    with suppress(OSError):
        about = path.stat()
        return about.st_ino, about.st_size, about.st_mtime_ns
    return ()
