"""Download of files over HTTP from servers that may misbehave: resumed, verified, retried, and several at once."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from rich.filesize import decimal

from ecg_lightning.core.atomic import cannot_write, sha256_of
from ecg_lightning.core.errors import DataError
from ecg_lightning.core.progress import Step, progress

T = TypeVar("T")

log = logging.getLogger(__name__)

ATTEMPTS = 4  # failures in a row, without progress in between, after which a download fails
BACKOFF_S = 0.5  # before the first retry; doubled before each further one
LONGEST_WAIT_S = 60  # that a busy server may ask for
TIMEOUT_S = (10.0, 20.0)  # to connect, and between two pieces of an answer; Ctrl-C waits no longer for a silent server
PATIENCE_S, SLOWEST_BYTES = 60, 1 << 16  # a server that sends less in this time is too slow
LARGEST_LIST, LARGEST_FILE = 1 << 27, 1 << 36  # bytes, after which a server seems to send without end
CHUNK_BYTES = 1 << 14  # small, because Ctrl-C takes effect between two
MOST_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
RETRIED_STATUSES = (429, 500, 502, 503, 504)

NO_TLS = "the server's certificate is not accepted, or it has none"
FAILURES: tuple[tuple[Any, str, bool], ...] = (  # what the first kinds that fit mean, and whether to try again
    ((requests.Timeout, urllib3.exceptions.TimeoutError), "the server does not answer in time", True),
    ((requests.exceptions.SSLError, urllib3.exceptions.SSLError), NO_TLS, False),
    ((ValueError, OverflowError), "the address, or what the server answers, is malformed", False),
    (requests.ConnectionError, "no connection to the server", True),
    (Exception, "the connection broke off", True),
)


class RemoteFile(NamedTuple):
    """A file on a server."""

    url: str
    path: Path  # where it is to be
    sha256: str | None  # as published


class _Session(requests.Session):
    """Follows no redirection: requests would read the body of one, which may be without end."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class Downloader:
    """Downloads files over HTTP, several at once: resumed, verified, retried, and moved into place when whole."""

    def __init__(self, *, connections: int) -> None:
        self._connections = connections
        self._stop = threading.Event()
        self._session = _Session()
        self._session.headers["User-Agent"] = "ecg-lightning"
        # Range and Content-Length count bytes of the file only where nothing is compressed on the way.
        self._session.headers["Accept-Encoding"] = "identity"
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections))

    def download(self, name: str, files: list[RemoteFile]) -> int:
        """Get all files, and return how many were not there; those without checksum are then ``NAME.partial``.

        The first that cannot be got or written stops the others with a `DataError`.
        """
        downloaded = 0
        with progress(name, unit="bytes") as step, ThreadPoolExecutor(max_workers=self._connections) as pool:
            counter = _Counter(step, len(files))
            futures = [pool.submit(self._get, file, counter.update) for file in files]
            try:
                for future in as_completed(futures):
                    downloaded += future.result()
                    counter.count_file()
            except BaseException as error:
                self._stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                if isinstance(error, KeyboardInterrupt):
                    log.warning("what has been downloaded is kept; run the same command again to resume")
                raise
        return downloaded

    def read_text(self, url: str, *, sha256: str | None = None) -> str:
        """The text of a small file; a `DataError` if it cannot be got, or is no text."""

        def read() -> bytes:
            with self._answer(url) as response:
                return b"".join(self._chunks(response, LARGEST_LIST))

        content = self._with_retries(url, None, read)
        if sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != sha256:
            raise _damaged(url, found, sha256)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{url} is no text file; is the address right?") from error

    def _get(self, file: RemoteFile, update: Callable[[Path, int, int], None]) -> bool:
        """Whether the file had to be downloaded."""
        with writing(file.path) as partial:
            right = False
            if file.sha256 and file.path.is_file() and not (right := sha256_of(file.path) == file.sha256):
                log.warning("%s is not what is published; downloading it again", file.path)
            new = not right and self._fill(file, partial, update)
            if not new:
                partial.unlink(missing_ok=True)
            elif file.sha256:
                partial.replace(file.path)
            size = size_of(partial) or size_of(file.path)
        update(file.path, size, size)
        return new

    def _fill(self, file: RemoteFile, partial: Path, update: Callable[[Path, int, int], None]) -> bool:
        """Fill ``NAME.partial`` with the whole file; False if the one in place has the size of that on the server."""

        def transfer() -> bool:
            return self._with_retries(file.url, partial, lambda: self._transfer(file, partial, update))

        if file.sha256 is None:
            return transfer()
        for attempt in range(2):
            transfer()
            if (found := sha256_of(partial)) == file.sha256:
                return True
            # What was left of an earlier fetch may be of another file, or a connection without length ended early.
            partial.unlink()
            if not attempt:
                log.warning("what came of %s is not what is published; downloading all of it", file.url)
        raise _damaged(file.url, found, file.sha256)

    def _transfer(self, file: RemoteFile, partial: Path, update: Callable[[Path, int, int], None]) -> bool:
        start = size_of(partial) if file.sha256 else 0  # only a checksum tells whether two parts are of one file
        with self._answer(file.url, start) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return True  # nothing follows what is here: it is the whole file, or none of it
            length = response.raw.length_remaining  # None where the server does not state it
            if file.sha256 is None and file.path.is_file() and length == size_of(file.path):
                return False
            done = start if response.status_code == requests.codes.partial_content else 0
            size = done + (length or 0)
            update(file.path, done, size)
            with partial.open("ab" if done else "wb") as out:
                for chunk in self._chunks(response, LARGEST_FILE):
                    out.write(chunk)
                    done += len(chunk)
                    update(file.path, done, max(done, size))
        return True

    @contextmanager
    def _answer(self, url: str, start: int = 0) -> Iterator[requests.Response]:
        """The answer of a server, or of one that it redirects to, which is the file or its part from `start` on."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        for _ in range(MOST_REDIRECTS):
            with self._session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
                to = response.headers.get("Location")
                if response.status_code not in REDIRECTS or to is None:
                    _check_status(response, (200, 206, 416) if start else (200,))
                    yield response
                    return
            target = urljoin(url, to)
            if not is_address(target) or (url.startswith("https:") and not target.startswith("https:")):
                raise DataError(f"{url} redirects to {target[:200]}, which is not followed; name another with --url")
            url = target
        raise DataError(f"{url} redirects again and again; is the address right? Name another with --url")

    def _chunks(self, response: requests.Response, limit: int) -> Iterator[bytes]:
        """The body as it is sent, also if the server says that it is compressed; a `DataError` if it does not end."""
        n, noted, since = 0, 0, time.monotonic()
        # Not `iter_content`, which returns when a chunk is complete, be that after hours.
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            if self._stop.is_set():
                raise DataError("another download failed")
            if not n and "text/html" in response.headers.get("Content-Type", "") and chunk.lstrip().startswith(b"<"):
                raise DataError(f"{response.url} is a web page: is the address right, or does one have to log in?")
            n += len(chunk)
            if n > limit:
                raise DataError(f"{response.url} does not end after {decimal(limit)}; name another server with --url")
            if (now := time.monotonic()) > since + PATIENCE_S:
                if n < noted + SLOWEST_BYTES:
                    raise DataError(
                        f"{response.url} comes too slowly ({decimal(n - noted)} in {now - since:.0f} s); run the same "
                        "command again later, which resumes, or name another server with --url"
                    )
                noted, since = n, now
            yield chunk

    def _with_retries(self, url: str, partial: Path | None, request: Callable[[], T]) -> T:
        failures = 0
        while True:
            before = size_of(partial)
            try:
                return request()
            except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError, OverflowError) as error:
                failures = 1 if size_of(partial) >= before + SLOWEST_BYTES else failures + 1
                reason, again = next((words, again) for kinds, words, again in FAILURES if isinstance(error, kinds))
                wait = BACKOFF_S * 2 ** (failures - 1)
                if isinstance(error, requests.HTTPError) and error.response is not None:
                    asked = error.response.headers.get("Retry-After", "")
                    wait = max(wait, int(asked) if asked.isdecimal() else 0)
                    reason = f"the server answers HTTP {error.response.status_code}"
                    reason += f" and asks to wait {asked} s" * (wait > LONGEST_WAIT_S)
                if not again or failures >= ATTEMPTS or wait > LONGEST_WAIT_S or self._stop.is_set():
                    raise DataError(
                        f"{url} cannot be downloaded: {reason} ({failures} attempt{'s' * (failures > 1)}); check the "
                        "network and the address and run the same command again, which resumes, or name another server "
                        "with --url"
                    ) from error
                log.info("%s: %s; trying again", url, reason)
                self._stop.wait(wait)


class NotOnServerError(DataError):
    """The server answers, but has no such file."""


class _Counter:
    """Counts bytes and files downloaded so far."""

    def __init__(self, step: Step, n_files: int) -> None:
        self._step, self._n_files, self._n_whole = step, n_files, 0
        self._lock = threading.Lock()
        self._files: dict[Path, tuple[int, int]] = {}
        self._size = 0

    def update(self, path: Path, done: int, size: int) -> None:
        """`done` of the `size` bytes of a file are here; called from any thread."""
        with self._lock:
            done_before, size_before = self._files.get(path, (0, 0))
            self._files[path] = done, size
            self._size += size - size_before
            # A file's size is known when its download starts; until then it counts as the mean of the others.
            self._step.total = self._size / len(self._files) * self._n_files
            self._step.advance(done - done_before)

    def count_file(self) -> None:
        """One more file is in its place."""
        self._n_whole += 1
        self._step.note = f"{self._n_whole} of {self._n_files} files"


def _check_status(response: requests.Response, right: tuple[int, ...]) -> None:
    if response.status_code in RETRIED_STATUSES:
        response.raise_for_status()
    if response.status_code == requests.codes.not_found:
        raise NotOnServerError(f"{response.url} is not there (HTTP 404); is the address right? Name one with --url")
    if response.status_code not in right:
        raise DataError(
            f"{response.url} was refused (HTTP {response.status_code} {response.reason}); open it in a browser to see "
            "why, or name another server with --url"
        )


def _damaged(url: str, found: str, published: str) -> DataError:
    return DataError(
        f"{url} has SHA-256 {found[:12]}…, published is {published[:12]}…: the server's copy is damaged or something "
        "on the way changed it; it is not kept. Try again later, or name another server with --url"
    )


def is_address(url: str) -> bool:
    """Of a web server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, or a malformed IPv6 address
        return False


def size_of(path: Path | None) -> int:
    """Bytes of a file, 0 if it is not there."""
    return path.stat().st_size if path is not None and path.is_file() else 0


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """``NAME.partial`` of `path`, in a folder that is there; a refusal of the file system is a `DataError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path.with_name(f"{path.name}.partial")
    except OSError as error:
        raise cannot_write(path, error, "choose another folder with --data-dir; what was downloaded is kept") from error
