"""What a card states about each record: its patient, its diagnosis and its fold, from names, comments and tables."""

import ast
import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.databases.card import Card, Patients, Table
from ecg_lightning.data.readers.delimited import NULLS


class Metadata:
    """What the card of a database says about its records; tables are read once, when they are first needed."""

    def __init__(self, card: Card, folder: Path) -> None:
        self._card, self._folder = card, folder
        self._people = who = card.patients if isinstance(card.patients, Patients) else Patients()
        self._rows: dict[tuple[str, str], dict[str, list[dict[str, str]]]] = {}  # table, its column → record → rows
        how = card.diagnoses
        if how and sum(map(bool, (how.comment, how.table, how.folder))) != 1:
            raise ConfigError(f"dataset {card.name}: diagnoses come from one of comment, table and folder: true")
        if sum(one is not None for one in (who.same, who.comment, who.record, who.table)) > 1:
            raise ConfigError(f"dataset {card.name}: patients are known by one of same, comment, record and table")
        self._same = {str(record): str(other) for record, other in (who.same or {}).items()}
        if chain := next((one for one in self._same.values() if self._same.get(one, one) != one), None):
            raise ConfigError(
                f"dataset {card.name}: patients.same names the patient of a record by record {chain}, and that of "
                f"{chain} by {self._same[chain]}; name all of them by one"
            )
        try:
            re.compile(who.comment or who.record or "")
        except re.error as error:
            raise ConfigError(f"dataset {card.name}: patients has no regular expression: {error}") from error

    @property
    def tables(self) -> list[Path]:
        """The files of the tables."""
        card = self._card
        tables = (self._people.table, card.folds, card.diagnoses and card.diagnoses.table)
        return [self._folder / name for name in dict.fromkeys(table.table for table in tables if table)]

    @property
    def own_people(self) -> str:
        """Name of the database whose people these are."""
        return self._people.database or self._card.name

    def patient(self, record: Path, name: str, comments: Sequence[str]) -> str | None:
        """Who was recorded; None where the card does not say how that is known.

        DataError if it is stated in a name, a comment or a table that lacks it.
        """
        how = self._people
        if self._card.patients is None:
            return None
        if self._card.patients == "folder":
            return record.parent.name
        if how.table is not None:
            return self._known_cell(how.table, record)
        pattern = how.comment or how.record
        if pattern is None:
            return self._same.get(name, name)
        for text in comments if how.comment else [name]:
            if (hit := re.search(pattern, text)) and (who := hit[min(hit.re.groups, 1)]):
                return who
        what = f"no header comment of {record} fits" if how.comment else f"the name of record {name} does not fit"
        raise DataError(
            f"{what} {pattern!r}, which the card of {self._card.name} expects to name the patient; "
            "correct dataset.patients"
        )

    def fold(self, record: Path) -> str | None:
        """The publisher's fold; None where there is no such division."""
        return None if self._card.folds is None else self._known_cell(self._card.folds, record)

    def diagnosis(self, record: Path, comments: Sequence[str]) -> tuple[str | None, str]:
        """The class of a record, None of one that is left out, and what is stated."""
        how = self._card.diagnoses
        assert how is not None
        if how.table is not None:
            stated = self._cell(how.table, record)
        elif how.folder:
            stated = record.parent.name
        else:
            stated = _comment(record, comments, how.comment or "")
        codes = _codes(stated)
        found = [name for name, own in how.classes.items() if codes & set(map(str, own))]
        return (found[-1] if found else None), stated

    def _known_cell(self, table: Table, record: Path) -> str:
        if (value := self._cell(table, record)) in NULLS:
            raise DataError(f"{self._folder / table.table}: column {table.column} is empty for record {record.name}")
        return value

    def _cell(self, table: Table, record: Path) -> str:
        path, key = self._folder / table.table, (table.table, table.record)
        if key not in self._rows:
            found = read_table(path)
            if not found or table.record not in found[0]:
                columns = ", ".join(found[0]) if found else "no row"
                raise DataError(f"{path} has no column {table.record!r}; it has {columns}")
            self._rows[key] = {}
            for row in found:
                self._rows[key].setdefault(record_in(row[table.record]), []).append(row)
        rows = self._rows[key]
        try:
            relative = record.relative_to(self._folder).as_posix()
        except ValueError:
            relative = record.name
        names = (relative, record.name) if self._card.reader == "wfdb" else (relative, record.name, record.stem)
        own = next((rows[name] for name in names if name in rows), None)
        if own is None:
            raise DataError(f"{path} has no row of record {relative} in column {table.record}")
        if table.column not in own[0]:
            raise DataError(f"{path} has no column {table.column!r}; it has {', '.join(own[0])}")
        value, *others = dict.fromkeys(row[table.column].strip() for row in own)
        if others:
            both = f"both {value!r} and {others[0]!r}"
            raise DataError(f"{path} has {both} in column {table.column} of record {relative}; expected one")
        return value.removesuffix(".0") if re.fullmatch(r"\d+\.0", value) else value  # pandas writes integers so


def _comment(record: Path, comments: Sequence[str], key: str) -> str:
    for comment in comments:
        name, _, value = comment.partition(":")
        if name.strip().lower() == key.lower() and value.strip():
            return value.strip()
    raise DataError(
        f"{record} has no header comment {key!r}, which states the diagnosis; take the record out with "
        "dataset.records, or correct dataset.diagnoses"
    )


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table, without cells beyond its header; DataError if it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            return [{name: row[name] for name in reader.fieldnames or ()} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV table: {error}") from error


def record_in(cell: str) -> str:
    """The name or path of a record that a cell states, perhaps as that of a file."""
    return cell.strip().removesuffix(".hea").removesuffix(".dat")


def _codes(stated: str) -> set[str]:
    """The codes of a comment or a cell: a list or dictionary in Python's notation, or text with commas."""
    if stated[:1] in "[{(":
        try:
            if isinstance(codes := ast.literal_eval(stated), list | tuple | set | dict):
                return set(map(str, codes))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # text that only begins like one
            pass
    return {stated, *(part.strip() for part in re.split(r"[,;]", stated))}
