"""Download of the databases whose cards say where they are: on PhysioNet, on Kaggle, or on a mirror of either.

wfdb's own downloader (`wfdb.dl_database`, 4.3.1) holds each file in memory, writes it in place, compares sizes but no
checksums, does not retry, shows no progress and can use no mirror. This one streams into ``NAME.partial``, resumes
there, verifies the SHA-256 that PhysioNet publishes and only then moves the file into place.
"""

import logging
import re
import shutil
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ecg_lightning.core.atomic import atomic_write, locked, remove_leftovers
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.databases.card import Card, Download, folder_of
from ecg_lightning.data.http import Downloader, NotOnServerError, RemoteFile, is_address, size_of, writing
from ecg_lightning.data.readers.delimited import look_at

log = logging.getLogger(__name__)


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
    address = download.url if url is None else url
    if address is not None and not is_address(address):
        raise ConfigError(f"{address!r} is no address of a server; expected http://… or https://…")
    if records is not None and not download.extensions:
        raise ConfigError(f"{card.name} has no records to choose from, its files hold single beats; leave out records")
    if address is None and download.kaggle is not None:
        return _fetch_kaggle(card, download, folder)
    downloader = Downloader(connections=connections)
    if download.extensions:
        return _fetch_records(card, download, folder, address or "", downloader, records)
    return _fetch_files(card, download, folder, address or "", downloader)


def _fetch_records(
    card: Card, download: Download, folder: Path, url: str, downloader: Downloader, records: Collection[str] | None
) -> Fetched:
    sums_url, listing_url = _join(url, "SHA256SUMS.txt"), _join(url, "RECORDS")
    sums = _parse_sums(downloader.read_text(sums_url))
    listing = [*dict.fromkeys(downloader.read_text(listing_url, sha256=sums.get("RECORDS")).split())]
    if odd := [record for record in listing if not re.fullmatch(r"\w[\w-]*(/\w[\w-]*)*", record)]:
        raise DataError(f"{listing_url} lists {odd[0][:60]!r}, which is no name of a record; is the address right?")
    listing = chosen = card.chosen(listing)
    if not listing:
        raise DataError(f"{listing_url} lists no record that the card of {card.name} asks for; is the address right?")
    if records is not None:
        if not records:
            raise ConfigError(f"no record is named; name some of {card.name}, or leave out records to get all")
        if unknown := sorted(set(records) - set(listing)):
            some = f"{', '.join(listing[:3])} … {listing[-1]}"
            raise ConfigError(f"{card.name} has no record {', '.join(unknown)}; its {len(listing)} records are {some}")
    with _locked(folder):
        if records is not None:
            fetched = {r for r in listing if all((folder / f"{r}{end}").is_file() for end in download.extensions)}
            chosen = [record for record in listing if record in fetched.union(records)]
        names = download.files + [f"{record}{extension}" for record in chosen for extension in download.extensions]
        if unlisted := [name for name in names if name not in sums]:
            raise DataError(
                f"{sums_url} has no checksum of {unlisted[0]} ({len(unlisted)} of {len(names)} files are not in it); "
                "is this address the database that was asked for?"
            )
        # RECORDS first: readers and `data check` read it, so that an interrupted fetch never looks complete.
        with atomic_write(folder / "RECORDS") as partial:
            partial.write_text("".join(f"{record}\n" for record in chosen), encoding="utf-8")
        files = [RemoteFile(_join(url, name), folder / name, sums[name]) for name in names]
        downloaded = downloader.download(folder.name, files)
        remove_leftovers(folder)
        return _fetched(folder, names, downloaded)


def _fetch_files(card: Card, download: Download, folder: Path, url: str, downloader: Downloader) -> Fetched:
    try:
        sums = _parse_sums(downloader.read_text(_join(url, "SHA256SUMS.txt")))
    except NotOnServerError:
        sums = {}
    with _locked(folder):
        files = [RemoteFile(_join(url, name), folder / name, sums.get(name)) for name in download.files]
        downloaded = downloader.download(folder.name, files)
        _take(card, [file.path for file in files if file.sha256 is None])
        remove_leftovers(folder)
        return _fetched(folder, download.files, downloaded)


def _fetch_kaggle(card: Card, download: Download, folder: Path) -> Fetched:
    handle, names = download.kaggle, download.files
    by_hand = f"or put {', '.join(names)} of kaggle.com/datasets/{handle} into {folder} by hand"
    try:
        import kagglehub
    except ImportError as error:
        needed = "Kaggle's files need kagglehub, which is not installed: pip install 'ecg-lightning[kaggle]'"
        raise DataError(f"{needed}, {by_hand}") from error
    try:
        there = Path(kagglehub.dataset_download(handle))
    except Exception as error:  # kagglehub raises its own kinds, requests' and the system's
        raise DataError(
            f"kagglehub could not get {handle}: {error}; try again later, name a mirror with --url, {by_hand}"
        ) from error
    if absent := [name for name in names if not (there / name).is_file()]:
        raise DataError(f"Kaggle's {handle} has no {absent[0]} any more (looked in {there}); {by_hand}")
    with _locked(folder):
        new = [name for name in names if size_of(folder / name) != size_of(there / name)]
        for name in names:
            with writing(folder / name) as partial:
                partial.unlink(missing_ok=True)
                if name in new:
                    shutil.copyfile(there / name, partial)
        _take(card, [folder / name for name in names])
    log.info("kagglehub keeps a copy of its own in %s, which may be deleted", there)
    return _fetched(folder, names, len(new))


def _take(card: Card, paths: list[Path]) -> None:
    """Move files without checksums into place, if they have as many rows as beats are published."""
    if not paths:
        return
    partials = [path.with_name(f"{path.name}.partial") for path in paths]
    sources = [partial if partial.is_file() else path for partial, path in zip(partials, paths, strict=True)]
    published = [one.beats for one in card.about.published.classes.values() if one.beats is not None]
    if card.rows is None or {path.name for path in paths} != {*card.rows.files} or not published:
        names = ", ".join(path.name for path in paths)
        log.warning("%s: not checked, for neither checksums nor numbers of beats are published", names)
    elif sum(n_rows := [_n_rows(source) for source in sources]) != sum(published):
        found = ", ".join(f"{path.name} has {n:,} rows" for path, n in zip(paths, n_rows, strict=True))
        raise DataError(
            f"{found}, and {sum(published):,} beats are published: they are cut off or other files, and not used. Try "
            "again later, or name another server with --url"
        )
    for source, path in zip(sources, paths, strict=True):
        if source != path:
            with writing(path):
                source.replace(path)


def _n_rows(path: Path) -> int:
    """Rows of numbers in a CSV file."""
    skipped = look_at(path).skip
    with path.open("rb") as file:
        return sum(bool(line.strip()) for line in iter(lambda: file.readline(1 << 20), b"")) - skipped


def _fetched(folder: Path, names: list[str], downloaded: int) -> Fetched:
    size = sum(size_of(folder / name) for name in names)
    return Fetched(folder=folder, downloaded=downloaded, kept=len(names) - downloaded, size=size)


def _parse_sums(text: str) -> dict[str, str]:
    """File name → SHA-256, from lines ``checksum name`` (binary mode marks the name with ``*``)."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {pair[1].strip().removeprefix("*"): pair[0].lower() for pair in pairs if len(pair) == 2}


def _join(url: str, name: str) -> str:
    return f"{url.rstrip('/')}/{name}"


def _locked(folder: Path) -> AbstractContextManager[None]:
    """For one fetch at a time; another waits, and then finds the files."""
    return locked(folder.with_name(f".{folder.name}.lock"), "choose another folder with --data-dir")
