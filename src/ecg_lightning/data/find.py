"""Which recordings the paths on a command line are: files, folders of them, lists."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.databases.recordings import find_recordings
from ecg_lightning.data.readers import FORMATS, located
from ecg_lightning.data.readers.base import is_present

LISTS = (".list", ".lst")  # suffixes of files that list recordings, besides one called RECORDS


def find(paths: Sequence[Path]) -> dict[str, Path]:
    """Recordings by the name of their output: those given, in a folder or below, or in a list of paths.

    A list is a file ``RECORDS``, ``….list`` or ``….lst`` with a path on each line, relative to its folder. Names are
    those of the files, in folders as below the folder that was given. ConfigError for two of the same name, DataError
    where there is no recording.
    """
    found: dict[str, Path] = {}
    for given in paths:
        if is_present(given, Path.is_dir):
            listing = given / "RECORDS"
            named = _listed(listing) if listing.is_file() else _in_folder(given)
        elif is_present(given) and (given.name == "RECORDS" or given.suffix in LISTS):
            named = _listed(given)
        else:
            named = [(_without_suffix(given.name), located(given))]
        if not named:
            raise DataError(f"{given} holds no recording; expected WFDB, EDF, CSV or MATLAB files, or a list of them")
        for name, path in named:
            if path.suffix in FORMATS["wfdb"] and is_present(path.with_suffix(".hea")):
                path = path.with_suffix("")  # r.hea and r.dat are one
            if found.setdefault(name, path) != path:
                raise ConfigError(
                    f"{found[name]} and {path} would both become {name}.json; annotate them into different folders"
                )
    return found


def _listed(listing: Path) -> list[tuple[str, Path]]:
    lines = [line.strip() for line in listing.read_text(encoding="utf-8", errors="replace").splitlines()]
    if any("\0" in line for line in lines):
        raise DataError(f"{listing} is no list of recordings, but holds zero bytes; expected a path on each line")
    return [(_name_of(line), listing.parent / line) for line in lines if line and not line.startswith("#")]


def _name_of(path: str) -> str:
    """The name of a listed recording: below the folder of the output, wherever the recording is."""
    return _without_suffix("/".join(part for part in PurePosixPath(path).parts if part not in ("/", "//", "..")))


def _in_folder(folder: Path) -> list[tuple[str, Path]]:
    """Of WFDB, if there are any: then files of other formats are not recordings but belong to them."""
    for reader in FORMATS:
        if names := find_recordings(folder, reader):
            return [(name if reader == "wfdb" else _without_suffix(name), folder / name) for name in names]
    return []


def _without_suffix(name: str) -> str:
    suffixes = {suffix for own in FORMATS.values() for suffix in own}
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in suffixes else str(path)
