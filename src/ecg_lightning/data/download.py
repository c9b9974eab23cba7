"""Download of the databases whose cards say where they are: on PhysioNet, on Kaggle, or on a mirror of either.

wfdb's own downloader (`wfdb.dl_database`, 4.3.1) holds each file in memory, writes it in place, compares sizes but no
checksums, does not retry, shows no progress and can use no mirror. This one streams into ``NAME.partial``, resumes
there, verifies the SHA-256 that PhysioNet publishes and only then moves the file into place.
"""

import logging
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import requests
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from ecg_lightning.core.atomic import sha256_of
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.databases.card import Card, Download, folder_of

T = TypeVar("T")

log = logging.getLogger(__name__)

ATTEMPTS = 4  # failures in a row, without a byte received in between, after which a download fails
BACKOFF_S = 0.5  # before the first retry; doubled before each further one
TIMEOUT_S = (10.0, 20.0)  # to connect, and between two pieces of an answer; Ctrl-C waits no longer for a silent server
CHUNK_BYTES = 1 << 14  # small, because Ctrl-C takes effect between two
RETRIED_STATUSES = (429, 500, 502, 503, 504)

FAILURES = {
    requests.Timeout: "the server does not answer in time",
    requests.exceptions.SSLError: "the server's certificate is not accepted",
    requests.ConnectionError: "no connection to the server",
    requests.RequestException: "the connection broke off",
}


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch did: numbers of files downloaded and of right ones that were there, and bytes of both together."""

    folder: Path
    downloaded: int
    kept: int
    size: int


def fetch(
    card: Card, data_dir: Path, *, url: str | None = None, records: Collection[str] | None = None, connections: int = 4
) -> Fetched:
    """Download a database into its folder: right files stay, partial ones are resumed.

    Args:
        card: of the database; its `download` says what there is, its `records` which of them are used.
        data_dir: folder of all databases.
        url: folder on another server that holds the files under their published names; None is the publisher.
        records: records to get, as ``RECORDS`` names them; None gets all that the card asks for. The ``RECORDS``
            written then lists these and those that had been fetched before.
        connections: files downloaded at once.

    Raises:
        DataError: the server does not answer, lacks a file or sends another than published; or the file system refuses.
            Only ``.partial`` files are left, from which the next fetch resumes.
        ConfigError: the card names no download, an unknown record, or a malformed address.
    """
    folder, download = folder_of(card, data_dir), card.download
    if download is None or not (url or download.url or download.kaggle):
        raise ConfigError(f"the card of {card.name} names no download; put its files into {folder}")
    if url is not None and not url.startswith(("http://", "https://")):
        raise ConfigError(f"url {url!r} is no address; expected http://… or https://…")
    if download.extensions:
        return _fetch_records(card, download, folder, url or download.url or "", records, connections)
    if records is not None:
        raise ConfigError(f"{card.name} has no records to choose from, its files hold single beats; leave out records")
    if url is None and download.kaggle is not None:
        return _fetch_kaggle(download.kaggle, download.files, folder)
    return _fetch_files(download.files, folder, url or download.url or "", connections)


def _fetch_records(
    card: Card, download: Download, folder: Path, url: str, records: Collection[str] | None, connections: int
) -> Fetched:
    downloader = Downloader(connections=connections)
    sums_url, listing_url = _join(url, "SHA256SUMS.txt"), _join(url, "RECORDS")
    sums = _parse_sums(downloader.read_text(sums_url))
    listing = downloader.read_text(listing_url, sha256=sums.get("RECORDS")).split()
    if odd := [record for record in listing if not re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", record)]:
        raise DataError(f"{listing_url} lists {odd[0]!r}, which is no name of a record; is the address right?")
    listing = chosen = card.chosen(listing)
    if not listing:
        raise DataError(f"{listing_url} lists no record that the card of {card.name} asks for; is the address right?")
    if records is not None:
        if not records:
            raise ConfigError(f"no record is named; name some of {card.name}, or leave out records to get all")
        if unknown := sorted(set(records) - set(listing)):
            some = f"{', '.join(listing[:3])} … {listing[-1]}"
            raise ConfigError(f"{card.name} has no record {', '.join(unknown)}; its {len(listing)} records are {some}")
        extensions = download.extensions
        fetched = {r for r in listing if all((folder / f"{r}{extension}").is_file() for extension in extensions)}
        chosen = [record for record in listing if record in fetched.union(records)]

    names = download.files + [f"{record}{extension}" for record in chosen for extension in download.extensions]
    if unlisted := [name for name in names if name not in sums]:
        raise DataError(
            f"{sums_url} has no checksum of {unlisted[0]} ({len(unlisted)} of {len(names)} files are not in it); "
            "is this address the database that was asked for?"
        )
    # RECORDS first: readers and `data check` read it, so that an interrupted fetch never looks complete.
    with _writing(folder / "RECORDS") as partial:
        partial.write_text("".join(f"{record}\n" for record in chosen), encoding="utf-8")
        partial.replace(folder / "RECORDS")
    return downloader.download(folder, [RemoteFile(_join(url, name), folder / name, sums[name]) for name in names])


def _fetch_files(names: list[str], folder: Path, url: str, connections: int) -> Fetched:
    downloader = Downloader(connections=connections)
    try:
        sums = _parse_sums(downloader.read_text(_join(url, "SHA256SUMS.txt")))
    except _NotOnServerError:
        log.info("%s publishes no checksums; only sizes are compared", url)
        sums = {}
    return downloader.download(folder, [RemoteFile(_join(url, name), folder / name, sums.get(name)) for name in names])


def _fetch_kaggle(handle: str, names: list[str], folder: Path) -> Fetched:
    by_hand = f"or put {', '.join(names)} of kaggle.com/datasets/{handle} into {folder} by hand"
    try:
        import kagglehub
    except ImportError as error:
        needed = "Kaggle's files need kagglehub, which is not installed: pip install 'ecg-lightning[kaggle]'"
        raise DataError(f"{needed}, {by_hand}") from error
    try:
        downloaded = Path(kagglehub.dataset_download(handle))
    except Exception as error:  # kagglehub raises its own kinds, requests' and the system's
        raise DataError(
            f"kagglehub could not get {handle}: {error}; try again later, name a mirror with --url, {by_hand}"
        ) from error

    copied = size = 0
    for name in names:
        source, path = downloaded / name, folder / name
        if not source.is_file():
            raise DataError(f"Kaggle's {handle} has no {name} any more (looked in {downloaded}); {by_hand}")
        size += _size(source)
        if not path.is_file() or _size(path) != _size(source):
            with _writing(path) as partial:
                shutil.copyfile(source, partial).replace(path)
            copied += 1
    log.info("kagglehub keeps a copy of its own in %s, which may be deleted", downloaded)
    return Fetched(folder=folder, downloaded=copied, kept=len(names) - copied, size=size)


class RemoteFile(NamedTuple):
    """A file on a server."""

    url: str
    path: Path  # where it is to be
    sha256: str | None  # as published


class Downloader:
    """Downloads files over HTTP, several at once: resumed, verified, retried, and moved into place when whole."""

    def __init__(self, *, connections: int) -> None:
        self._connections = connections
        self._stop = threading.Event()
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "ecg-lightning"
        # Range and Content-Length count bytes of the file only where nothing is compressed on the way.
        self._session.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))

    def download(self, folder: Path, files: list[RemoteFile]) -> Fetched:
        """Get all files; the first that cannot be got or written stops the others with a `DataError`."""
        downloaded = 0
        progress = _Progress(folder.name, len(files))
        with progress.bar, ThreadPoolExecutor(max_workers=self._connections) as pool:
            futures = [pool.submit(self._get, file, progress.update) for file in files]
            try:
                for future in as_completed(futures):
                    downloaded += future.result()
                    progress.count_file()
            except BaseException as error:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, KeyboardInterrupt):
                    log.warning("what has been downloaded is kept; run the same command again to resume")
                raise
        size = sum(file.path.stat().st_size for file in files)
        return Fetched(folder=folder, downloaded=downloaded, kept=len(files) - downloaded, size=size)

    def read_text(self, url: str, *, sha256: str | None = None) -> str:
        """The text of a small file; a `DataError` if it cannot be got, or is no text."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "text"
            self._get(RemoteFile(url, path, sha256), lambda *_: None)
            try:
                return path.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise DataError(f"{url} is no text file; is the address right?") from error

    def _get(self, file: RemoteFile, update: Callable[[Path, int, int], None]) -> bool:
        """Whether the file had to be downloaded."""
        with _writing(file.path) as partial:
            if right := self._is_right(file):
                partial.unlink(missing_ok=True)
            else:
                self._get_verified(file, partial, update)
                partial.replace(file.path)
        size = _size(file.path)
        update(file.path, size, size)
        return not right

    def _is_right(self, file: RemoteFile) -> bool:
        if not file.path.is_file():
            return False
        if file.sha256:
            right = sha256_of(file.path) == file.sha256
        else:
            right = _size(file.path) == self._size_on_server(file.url)
        if not right:
            log.warning("%s is not what is published; downloading it again", file.path)
        return right

    def _get_verified(self, file: RemoteFile, partial: Path, update: Callable[[Path, int, int], None]) -> None:
        """Fill ``NAME.partial``, from where it ends, with the whole file."""
        from_before = _size(partial) > 0
        self._with_retries(file.url, partial, lambda: self._transfer(file, partial, update))
        if file.sha256 is None or (found := sha256_of(partial)) == file.sha256:
            return
        partial.unlink()
        if not from_before:
            raise DataError(
                f"{file.url} has SHA-256 {found[:12]}…, published is {file.sha256[:12]}…: the server's copy is damaged "
                "or something on the way changed it; it is not kept. Try again later, or name another server with --url"
            )
        log.warning("what was left in %s does not fit the rest; downloading all of it", partial)
        self._get_verified(file, partial, update)

    def _transfer(self, file: RemoteFile, partial: Path, update: Callable[[Path, int, int], None]) -> None:
        start = _size(partial)
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._session.get(file.url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable and start:
                # Nothing follows what is here: it is the whole file, or none of it, which the checksum decides.
                if file.sha256 is None:
                    partial.unlink()
                    self._transfer(file, partial, update)
                return
            _raise_for_status(response)
            resumed = response.status_code == requests.codes.partial_content
            done = start if resumed else 0
            size = done + int(response.headers.get("Content-Length", 0))
            update(file.path, done, size)
            with partial.open("ab" if resumed else "wb") as out:
                for chunk in response.iter_content(CHUNK_BYTES):
                    if self._stop.is_set():
                        raise DataError("another download failed")
                    out.write(chunk)
                    done += len(chunk)
                    update(file.path, done, size)

    def _size_on_server(self, url: str) -> int:
        def ask() -> int:
            with self._session.head(url, allow_redirects=True, timeout=TIMEOUT_S) as response:
                _raise_for_status(response)
                return int(response.headers.get("Content-Length", -1))

        return self._with_retries(url, None, ask)

    def _with_retries(self, url: str, partial: Path | None, request: Callable[[], T]) -> T:
        failures = 0
        while True:
            before = _size(partial)
            try:
                return request()
            except requests.RequestException as error:
                failures = 1 if _size(partial) > before else failures + 1
                reason = next(words for kind, words in FAILURES.items() if isinstance(error, kind))
                if error.response is not None:
                    reason = f"the server answers HTTP {error.response.status_code}"
                if failures >= ATTEMPTS or self._stop.is_set():
                    raise DataError(
                        f"{url} cannot be downloaded: {reason} ({failures} attempts); check the network and the "
                        "address and run the same command again, which resumes, or name another server with --url"
                    ) from error
                log.info("%s: %s; trying again", url, reason)
                self._stop.wait(BACKOFF_S * 2 ** (failures - 1))


class _NotOnServerError(DataError):
    """The server answers, but has no such file."""


class _Progress:
    """Bytes and files downloaded so far, on stderr: a bar on a terminal, else a line for each tenth of the files."""

    def __init__(self, name: str, n_files: int) -> None:
        self._name = name
        self._n_files = n_files
        self._n_whole = self._done = self._size = 0
        self._lock = threading.Lock()
        self._files: dict[Path, tuple[int, int]] = {}
        console = Console(stderr=True)
        columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        silent = not console.is_terminal
        self.bar = Progress("{task.description}", *columns, "{task.fields[files]}", console=console, disable=silent)
        self._task = self.bar.add_task(name, total=None, files="")

    def update(self, path: Path, done: int, size: int) -> None:
        """`done` of the `size` bytes of a file are here; called from any thread."""
        with self._lock:
            done_before, size_before = self._files.get(path, (0, 0))
            self._files[path] = done, size
            self._done += done - done_before
            self._size += size - size_before
            # A file's size is known when its download starts; until then it counts as the mean of the others.
            total = self._size / len(self._files) * self._n_files
            self.bar.update(self._task, completed=self._done, total=total)

    def count_file(self) -> None:
        """One more file is in its place."""
        self._n_whole += 1
        self.bar.update(self._task, files=f"{self._n_whole}/{self._n_files} files")
        tenths_before, tenths = (n * 10 // self._n_files for n in (self._n_whole - 1, self._n_whole))
        if self.bar.disable and tenths > tenths_before:
            line = f"{self._name}: {self._n_whole} of {self._n_files} files, {decimal(self._done)}"
            print(line, file=sys.stderr, flush=True)


def _raise_for_status(response: requests.Response) -> None:
    if response.status_code in RETRIED_STATUSES:
        response.raise_for_status()
    if response.status_code == requests.codes.not_found:
        raise _NotOnServerError(f"{response.url} is not there (HTTP 404); is the address right? Name one with --url")
    if not response.ok:
        raise DataError(
            f"{response.url} was refused (HTTP {response.status_code} {response.reason}); open it in a browser to see "
            "why, or name another server with --url"
        )


def _parse_sums(text: str) -> dict[str, str]:
    """File name → SHA-256, from lines ``checksum name`` (binary mode marks the name with ``*``)."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {pair[1].strip().removeprefix("*"): pair[0].lower() for pair in pairs if len(pair) == 2}


def _join(url: str, name: str) -> str:
    return f"{url.rstrip('/')}/{name}"


def _size(path: Path | None) -> int:
    return path.stat().st_size if path is not None and path.is_file() else 0


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """``NAME.partial`` of `path`, in a folder that is there; a refusal of the file system is a `DataError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path.with_name(f"{path.name}.partial")
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free some space, or choose another folder with "
            "--data-dir (what has been downloaded is kept)"
        ) from error
