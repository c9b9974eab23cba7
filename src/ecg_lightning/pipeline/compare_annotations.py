"""Beat-by-beat comparison of annotation files with those of a reference, of one record or of many."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.core.options import FASTEST
from ecg_lightning.core.progress import tracked
from ecg_lightning.data.databases.recordings import Recordings
from ecg_lightning.data.labels import WFDB_SYMBOLS, ClassMap, make_class_map
from ecg_lightning.data.readers import LATEST_S, located
from ecg_lightning.data.readers.annotations import OTHERS, TABLES, check_beats, read_annotations
from ecg_lightning.data.readers.base import is_present
from ecg_lightning.data.readers.wfdb import rate_and_length, read_annotation_file
from ecg_lightning.data.recording import Annotations
from ecg_lightning.metrics.matching import LEARNING_S, WINDOW_S, Comparison, annotated, compare, summary
from ecg_lightning.pipeline.cards import load_cards, source_of

REFERENCE = "atr"  # annotator of the reference in a folder
Files = Mapping[str, Path]  # by the name of their record


def compare_annotations(
    reference: Path | str,
    test: Path | str,
    *,
    start_s: float = LEARNING_S,
    window_s: float = WINDOW_S,
    class_map: Any = "bxb",
    fs: float | None = None,
    data_dir: Path = Path("data"),
    config_dir: Path | None = None,
) -> dict[str, Any]:
    """Compare the beats of a test annotator with those of a reference, as ANSI/AAMI EC57 asks.

    Files are WFDB annotation files, or CSV files with the columns ``sample`` (or ``time``) and ``symbol`` (or
    ``class``), as ``annotate`` writes them.

    Args:
        reference: a file, a recording or folder annotated by ``atr`` (or ``folder:annotator``), or the name of a
            database.
        test: a file, a folder (by default the annotation files that ``annotate`` writes, or the only kind in it, else
            ``folder:csv``), or an annotator whose files are those of the reference with another ending.
        start_s: seconds from which on beats count; the standard leaves out the first five minutes.
        window_s: seconds within which two beats are the same.
        class_map: how symbols become N, S, V, F and Q, as ``dataset.class_map``; other beats are of Q.
        fs: sampling rate of the recordings in Hz, where no header beside the files states it.
        data_dir, config_dir: where databases are, and a folder with more cards of them.

    Returns:
        `ecg_lightning.metrics.matching.summary`, with ``reference``, ``test``, ``start_s``, ``window_s``,
        ``classes``, and ``not_compared``, the records of the reference that have no test file.

    Raises:
        DataError: a file is absent, damaged or has an unknown symbol, no beat is left, or the rate is not known.
        ConfigError: a folder has files of several kinds, there is no such class map, or a number is out of range.
    """
    if not 0 <= window_s <= 1:
        raise ConfigError(f"window {window_s}: expected seconds from 0 to 1")
    if fs is not None and not 1 <= fs <= FASTEST:
        raise ConfigError(f"fs {fs}: expected a sampling rate from 1 to {FASTEST} Hz")
    classes = make_class_map(class_map)
    ours = _reference_files(str(reference), data_dir, config_dir)
    theirs = _test_files(str(test), ours)
    comparisons: dict[str, Comparison] = {}
    for name in tracked([name for name in ours if name in theirs], "comparing", "records"):
        rate, end = _clock(ours[name], theirs[name], fs)
        one, other = (
            annotated(_read(file[name], rate, end, classes), classes, window_s * rate) for file in (ours, theirs)
        )
        comparisons[name] = compare(one, other, rate, window_s=window_s, start_s=start_s, end=end)
    if not any(one.matrix.any() for one in comparisons.values()):
        raise DataError(
            f"{reference} and {test} have no beat from second {start_s:g} on: "
            "count from the start of the record with --from 0, or choose other files"
        )
    return summary(comparisons) | {
        "reference": str(reference),
        "test": str(test),
        "start_s": start_s,
        "window_s": window_s,
        "classes": classes.phrase,
        "not_compared": [name for name in ours if name not in theirs],
    }


def _reference_files(reference: str, data_dir: Path, config_dir: Path | None) -> Files:
    path, ending = _parts(reference)
    if path.is_file():
        return {path.stem: path}
    if path.is_dir():
        return _in_folder(path, ending or REFERENCE)
    record = located(path)
    if path.name and is_present(file := record.with_name(f"{record.name}.{REFERENCE}")):
        return {path.name: file}
    if "/" in reference or "." in reference:
        raise DataError(f"{reference} is not there: expected annotations, a folder of them, or the name of a database")
    source = source_of(load_cards(config_dir, [reference])[reference], data_dir)
    if not isinstance(source, Recordings) or source.card.annotator is None:
        raise ConfigError(f"{reference} has no annotated beats to compare with")
    ending = _ending(source.card.annotator) if source.card.reader == "wfdb" else source.card.annotator
    records = source.records()
    return {name: record.with_name(f"{name}{ending}") for record, name in source.names(records).items()}


def _test_files(test: str, reference: Files) -> Files:
    path, ending = _parts(test)
    if path.is_file():
        if len(reference) > 1:
            raise ConfigError(f"{test} is a single file, the reference has {len(reference)} records: expected a folder")
        return dict.fromkeys(reference, path)
    if not path.is_dir():
        beside = {} if "/" in test else reference
        found = {name: file.with_name(f"{file.stem}{_ending(test)}") for name, file in beside.items()}
        found = {name: file for name, file in found.items() if file.is_file()}
        if not found:
            raise DataError(f"{test} is neither a file nor a folder, nor an annotator of the records of the reference")
        return found
    if ending is None:
        from ecg_lightning.data.writers import ANNOTATOR

        kinds = Counter(
            file.suffix for file in path.rglob("*.*") if file.stem in reference and file.suffix not in OTHERS
        )
        own = f".{ANNOTATOR}"
        if own not in kinds and len(kinds) != 1:
            raise ConfigError(
                f"{path} has {', '.join(f'{n} files {kind}' for kind, n in kinds.items()) or 'no annotations'} of the "
                f"records of the reference; choose one kind, as {path}:{next(iter(kinds), '.atr')[1:]}"
            )
        ending = own if own in kinds else next(iter(kinds))
    found = _in_folder(path, ending)
    if not found.keys() & reference.keys():
        raise DataError(
            f"{path} has no annotations of a record of the reference: its records are {', '.join([*found][:5])}, those "
            f"of the reference {', '.join([*reference][:5])}"
        )
    return found


def _parts(text: str) -> tuple[Path, str | None]:
    """Path and annotator of ``folder:annotator``."""
    folder, _, ending = text.rpartition(":")
    if folder and not Path(text).expanduser().exists():
        return Path(folder).expanduser(), ending
    return Path(text).expanduser(), None


def _ending(annotator: str) -> str:
    return annotator if annotator[0] in "._" else f".{annotator}"


def _in_folder(folder: Path, annotator: str) -> dict[str, Path]:
    """The files of an annotator in a folder or below, by record: its name, or its path where two have the same."""
    ending = _ending(annotator)
    files = [file for file in sorted(folder.rglob(f"*{ending}")) if not file.name.startswith(".")]
    if not files:
        raise DataError(f"{folder} holds no file *{ending}: name the annotator as {folder}:ENDING")
    names = {file.relative_to(folder).as_posix().removesuffix(ending): file for file in files}
    short = {file.name.removesuffix(ending): file for file in files}
    return short if len(short) == len(names) else names


def _clock(reference: Path, test: Path, fs: float | None) -> tuple[float, int | None]:
    """The sampling rate in Hz of a recording, and its samples where they are known."""
    for file in (reference, test):
        if file.with_suffix(".hea").is_file():
            rate, length = rate_and_length(file.with_suffix(""))
            if fs not in (None, rate):
                raise DataError(f"{file.with_suffix('.hea')} states {rate:g} Hz, not {fs:g} Hz; leave out --fs")
            return rate, length
    if fs is not None:
        return fs, None
    for file in (reference, test):
        if file.suffix.lower() not in TABLES and (clock := read_annotation_file(file)[1]):
            return clock, None
    raise DataError(f"nothing states the sampling rate of {reference}: add --fs, or put the record's header beside it")


def _read(file: Path, fs: float, end: int | None, class_map: ClassMap) -> Annotations:
    """All annotations of a file on a clock of `fs` Hz, of a recording of `end` samples."""
    if not file.is_file():
        raise DataError(f"{file} is not there")
    found, clock = read_annotations(file, fs)
    for symbol, sample in zip(found.symbols, found.samples.tolist(), strict=True):
        if symbol not in WFDB_SYMBOLS and not class_map.is_beat(symbol):
            raise DataError(
                f"{file} has the unknown symbol {symbol!r} at sample {sample:,}; expected the symbols of the WFDB "
                "annotation standard, such as N, S, V, F and Q"
            )
    if clock not in (None, fs):
        found = dataclasses.replace(found, samples=np.round(found.samples * (fs / clock)).astype(np.int64))
    check_beats(class_map.beats(found)[0].samples, f"the annotations in {file}", end, late=LATEST_S * fs)
    return found
