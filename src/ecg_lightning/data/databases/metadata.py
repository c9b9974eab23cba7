"""What a card states about each record: its patient, its diagnosis and its fold, from names, comments and tables."""

import ast
import csv
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.databases.card import Card, Table


class Metadata:
    """What the card of a database says about its records; tables are read once, when they are first needed."""

    def __init__(self, card: Card, folder: Path) -> None:
        self._card, self._folder = card, folder
        how = card.diagnoses
        if how and sum(map(bool, (how.comment, how.table, how.folder))) != 1:
            raise ConfigError(f"dataset {card.name}: diagnoses come from one of comment, table and folder: true")
        patients = card.patients
        if patients and not isinstance(patients, str):
            ways = (patients.same, patients.comment, patients.record, patients.table)
            if sum(one is not None for one in ways) > 1:
                raise ConfigError(f"dataset {card.name}: patients are known by one of same, comment, record and table")

    @property
    def tables(self) -> list[Path]:
        """The files of the tables."""
        card = self._card
        patients = card.patients.table if card.patients and not isinstance(card.patients, str) else None
        tables = [table for table in (patients, card.folds, card.diagnoses and card.diagnoses.table) if table]
        return [self._folder / name for name in dict.fromkeys(table.table for table in tables)]

    @property
    def own_people(self) -> str:
        """Name of the database whose people these are."""
        patients = self._card.patients
        other = None if patients is None or isinstance(patients, str) else patients.database
        return other or self._card.name

    def patient(self, record: Path, name: str, comments: Sequence[str]) -> str | None:
        """Who was recorded; None where the card does not say how that is known.

        DataError if it is stated in a comment or a table that lacks it.
        """
        how = self._card.patients
        if how is None:
            return None
        if isinstance(how, str):
            return record.parent.name if how == "folder" else name
        if how.table is not None:
            return self._cell(how.table, record)
        if how.comment is not None:
            for comment in comments:
                if hit := re.search(how.comment, comment):
                    return hit[1] if hit.re.groups else hit[0]
            raise DataError(
                f"no header comment of {record} fits {how.comment!r}, which the card of {self._card.name} expects to "
                "name the patient; correct dataset.patients"
            )
        if how.record is not None:
            if hit := re.search(how.record, name):
                return hit[1] if hit.re.groups else hit[0]
            raise DataError(
                f"the name of record {name} does not fit {how.record!r}, which the card of {self._card.name} "
                "expects to name the patient; correct dataset.patients"
            )
        same = {str(record): str(other) for record, other in (how.same or {}).items()}
        return same.get(name, name)

    def fold(self, record: Path) -> str | None:
        """The publisher's fold; None where there is no such division."""
        return None if self._card.folds is None else self._cell(self._card.folds, record)

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

    @cached_property
    def _rows(self) -> dict[str, dict[str, dict[str, str]]]:
        """Table and column of records → record → row."""
        return {}

    def _cell(self, table: Table, record: Path) -> str:
        path, key = self._folder / table.table, f"{table.table} {table.record}"
        if key not in self._rows:
            self._rows[key] = _read_table(path, table)
        rows: Mapping[str, dict[str, str]] = self._rows[key]
        try:
            relative = record.relative_to(self._folder).as_posix()
        except ValueError:
            relative = record.name
        names = (relative, record.name) if self._card.reader == "wfdb" else (relative, record.name, record.stem)
        row = next((rows[name] for name in names if name in rows), None)
        if row is None:
            raise DataError(f"{path} has no row of record {relative} in column {table.record}")
        if table.column not in row:
            raise DataError(f"{path} has no column {table.column!r}; it has {', '.join(row)}")
        value = row[table.column].strip()
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


def _read_table(path: Path, table: Table) -> dict[str, dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as a CSV table: {error}") from error
    if not rows or table.record not in rows[0]:
        raise DataError(f"{path} has no column {table.record!r}; it has {', '.join(rows[0]) if rows else 'no row'}")
    return {row[table.record].strip().removesuffix(".hea").removesuffix(".dat"): row for row in rows}


def _codes(stated: str) -> set[str]:
    """The codes of a comment or a cell: a list or dictionary in Python's notation, or text with commas."""
    if stated[:1] in "[{(":
        try:
            return set(map(str, ast.literal_eval(stated)))
        except (ValueError, SyntaxError):
            pass
    return {stated, *(part.strip() for part in re.split(r"[,;]", stated))}
