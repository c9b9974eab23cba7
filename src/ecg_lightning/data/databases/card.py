"""The card of a database: all that the program knows about it, as ``conf/dataset/NAME.yaml`` states it.

A card of a single database is a `Card`. Several databases at once are a `Cards`: their cards by name, and settings that
hold for all of them.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ecg_lightning.core.options import Hertz, Name, Natural, Positive, Seed, Strength, Task, Text
from ecg_lightning.core.paths import home_expanded
from ecg_lightning.data.labels import AAMI_CLASSES, PHRASES, PTB_CLASSES, make_class_map
from ecg_lightning.data.readers.base import COUNTS, MILLIVOLTS

Word = Text | Natural  # name of a lead, a record or a symbol; YAML reads 100 as a number
Words = Annotated[list[Word], Field(min_length=1)]
ClassMap = Annotated[dict[Text, Text | Words], Field(min_length=1)]
Unit = Annotated[
    str, Field(pattern=f"^(?i:{'|'.join((*MILLIVOLTS, *COUNTS))})$", description="mV, uV, V or nV, or adu with a gain")
]

SHARED = ("class_map", "leads", "separate_leads")  # settings of several databases that replace those of each

# Of beats that came with their classes, by task.
AS_MADE = {
    "arrhythmia": (AAMI_CLASSES, PHRASES["aami"]),
    "mi": (PTB_CLASSES, "MI by reason for admission"),
}


class Group(BaseModel):
    """Settings without others; types are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class PublishedClass(Group):
    """What a publisher states of one class."""

    beats: Natural | None = None  # of this class
    records: Natural | None = None  # that have it
    patients: Natural | None = None  # who have it


class Published(Group):
    """What a publisher states of a whole database, with which ``data check`` compares; null where it is not known."""

    records: Natural | None = None  # in total
    patients: Natural | None = None  # in total
    classes: dict[Text, PublishedClass] = {}  # by name
    left_out: Natural | None = None  # records of none of the classes


class About(Group):
    """What ``data list`` shows; nothing here changes what is read."""

    licence: Text | None = None  # of the data
    citation: Text | None = None  # whom to cite
    homepage: Text | None = None  # address
    tried: Literal["real recordings", "simulated recordings"] | None = None  # on which the card was tried
    published: Published = Published()


class Download(Group):
    """Where ``data fetch`` gets the files."""

    url: Text | None = None  # folder with SHA256SUMS.txt and RECORDS
    kaggle: Text | None = None  # or the handle of a Kaggle dataset
    extensions: list[Text] = []  # of the files of each record
    files: list[Text] = []  # further files
    size: Text | None = None  # in words


class Table(Group):
    """A column of a CSV file in the database's folder, of the row that names the record."""

    table: Text  # name of the file
    record: Text  # column with the record's name or path
    column: Text  # with the value


class Patients(Group):
    """How the people of a database are known, in one of these ways."""

    same: dict[Word, Word] | None = None  # record → the record that names its patient; every other is a patient
    comment: Text | None = None  # regular expression of a header comment, whose first group is the patient
    record: Text | None = None  # regular expression of a record's name, whose first group is the patient
    table: Table | None = None  # column of a CSV file
    database: Text | None = None  # whose people these are, if it is another


class Diagnoses(Group):
    """A class for each record instead of annotated beats, from a header comment or a table.

    A comment or a cell may hold several codes, as a list, as keys, or separated by commas. Of several classes that fit,
    the last counts; records that fit none are left out.
    """

    comment: Text | None = None  # key of a header comment: ``Reason for admission``
    table: Table | None = None  # column of a CSV file
    folder: bool = False  # the name of the record's folder
    classes: Annotated[dict[Text, Words], Field(min_length=1)]  # class → codes


class Csv(Group):
    """What a CSV file, or a MATLAB file, of one recording does not state."""

    fs: Hertz | None = None  # null computes it from the column of time
    time: Word | None = None  # column of seconds, or of milliseconds if it is called so; null looks for one
    unit: Unit | None = None  # null: as stated, or mV if values are small
    gain: Positive | None = None  # analog-to-digital units a millivolt
    baseline: float = 0.0  # analog-to-digital units at 0 mV


class Rows(Group):
    """CSV files whose rows are beats, already cut, of `cut.length` samples."""

    files: Annotated[list[Text], Field(min_length=1)]  # their names
    test_file: Text | None = None  # of the publisher
    labels: Literal["last", "none"] = "last"  # the last column is the class, or there is none
    classes: Annotated[list[Text], Field(min_length=2)]  # by number from 0, name, or symbol of the class_map
    outside: Literal["refuse", "rescale"] = "refuse"  # values outside [0, 1]: an error, or each beat is scaled


class Simulation(Group):
    """Simulated patients."""

    patients: Annotated[int, Field(ge=2, le=100_000)]  # how many
    minutes: Annotated[float, Field(gt=0, le=1440)]  # of each patient
    fs: Hertz
    noise: Strength  # mV, standard deviation
    seed: Seed  # the same gives the same signals


class People(Group):
    """Simulated people without signals."""

    people: Annotated[int, Field(ge=2, le=1_000_000)]  # how many
    beats: Annotated[int, Field(ge=2, le=100_000)]  # of each
    seed: Seed  # the same gives the same people


class CutSettings(Group):
    """How beats are cut, see `ecg_lightning.data.windows.Cut`."""

    fs: Hertz
    length: Annotated[int, Field(ge=2, le=10_000)]
    rr_factor: Positive
    margin: Natural
    scaling: Literal["beat", "record", "none"]


class Card(Group):
    """A database."""

    name: Name  # in tables and in the cache
    title: Text  # on pages
    task: Task  # that its classes belong to
    about: About = About()
    download: Download | None = None
    reader: Name  # wfdb, edf, csv, mat; rows (CSV files of beats), simulation, people; or one of another package
    folder: Text | None  # in data_dir, or an absolute path
    records: Text | Annotated[list[Text], Field(min_length=1)] | None = None  # patterns of those used; null: all
    annotator: Annotated[str, Field(pattern=r"^[\w.-]*\w$", description="the end of a file's name")] | None = None
    detector: Literal["network", "sleepecg", "xqrs"] = "xqrs"  # of R peaks, where they are not annotated
    class_map: Text | ClassMap | None = None
    diagnoses: Diagnoses | None = None
    patients: Literal["record", "folder"] | Patients | None = None  # null: not known
    folds: Table | None = None  # division that the publisher recommends
    leads: Annotated[list[Word | Words], Field(min_length=1)]
    separate_leads: bool = False  # each lead is a recording of its own, of the same record and patient
    recorded_fs: Hertz | None = None
    gaps: Literal["leave_out", "refuse"] = "leave_out"  # beats that touch a gap, or recordings with one
    drop_duplicates: bool = False
    csv: Csv | None = None
    rows: Rows | None = None
    simulation: Simulation | None = None
    people: People | None = None
    own: dict[str, Any] = {}  # settings of a reader of another package
    cut: CutSettings

    def chosen(self, names: Sequence[str]) -> list[Text]:
        """The names of records that fit a pattern of ``records``."""
        patterns = [self.records] if isinstance(self.records, str) else self.records
        return [name for name in names if patterns is None or any(fnmatch(name, pattern) for pattern in patterns)]


class Cards(Group):
    """Several databases as one."""

    name: Name
    title: Text
    task: Task
    cards: Annotated[dict[Name, Card], Field(min_length=2)]
    class_map: Text | ClassMap | None = None  # null: as each card states
    leads: Annotated[list[Word | Words], Field(min_length=1)] | None = None  # null: as each card states
    separate_leads: bool | None = None  # null: as each card states
    drop_duplicates: bool = False
    cut: CutSettings


def cards_of(dataset: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The cards of ``dataset`` by the name of their database, with the settings that hold for all of them."""
    if "cards" not in dataset:
        return {dataset["name"]: dict(dataset)}
    shared = {key: dataset[key] for key in SHARED if dataset.get(key) is not None}
    return {card["name"]: {**card, **shared, "cut": dataset["cut"]} for card in dataset["cards"].values()}


def leads_of(dataset: Mapping[str, Any]) -> list[Any]:
    """The leads of a beat of ``dataset``; of several databases those of the first."""
    card = next(iter(cards_of(dataset).values()))
    return list(card["leads"])[: 1 if card.get("separate_leads") else None]


def class_map_of(dataset: Mapping[str, Any]) -> str:
    """How symbols or diagnoses become classes, in words."""
    phrases = []
    for card in cards_of(dataset).values():
        if card.get("class_map"):
            phrases.append(make_class_map(card["class_map"]).phrase)
        elif how := card.get("diagnoses"):
            table = how.get("table")
            where = how.get("comment") or (table and table["column"]) or "folder"
            phrases.append(f"{[*how['classes']][-1]} by {where.lower()}")
        else:
            classes, phrase = AS_MADE.get(card["task"], ((), ""))
            rows = card.get("rows")
            phrases.append("as its files state" if rows and tuple(rows["classes"]) != classes else phrase)
    return "; ".join(dict.fromkeys(phrases))


def title_of(dataset: Mapping[str, Any]) -> str:
    """The title of ``dataset``, of several databases those of all."""
    return " + ".join(str(card["title"]) for card in cards_of(dataset).values())


def folder_of(card: Card, data_dir: Path) -> Path:
    """Where the files of a card are."""
    return data_dir / home_expanded(card.folder or "")
