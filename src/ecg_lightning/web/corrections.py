"""What users correct of a recording's beats: classes, beats that are none, beats that were missed; and saving it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.writers import write_csv, write_wfdb
from ecg_lightning.pipeline.annotate import UNCLASSIFIED, symbols_of

MODEL_CLASS = "model_class"  # column that only a corrected table has: the class that the model gave
CORRECTED = "corrected by hand"  # in the first note of a corrected annotation file
MOST = 1_000_000  # beats that one request may change
Place = Annotated[int, Field(ge=0)]


class Corrections(BaseModel):
    """Changes of the beats that the model found.

    Attributes:
        classes: place of a beat in the table → its class, or None if there is no beat.
        added: sample and class of beats that were missed.
    """

    model_config = ConfigDict(extra="forbid")

    classes: dict[Place, str | None] = Field(default_factory=dict, max_length=MOST)
    added: list[tuple[Place, str]] = Field(default_factory=list, max_length=MOST)


class Save(Corrections):
    """Corrections that are to be written, and how."""

    formats: tuple[Literal["wfdb", "csv"], ...] = Field(default=("wfdb", "csv"), min_length=1, max_length=2)


def choices(about: Mapping[str, Any]) -> list[str]:
    """The classes that a beat can be given."""
    return list(dict.fromkeys([*about["classes"], UNCLASSIFIED]))


def corrected(beats: pd.DataFrame, corrections: Corrections, class_map: Any = None) -> pd.DataFrame:
    """The beats with the corrections, in order of time.

    The table has one more column, `MODEL_CLASS`, empty of added beats, whose probabilities are NaN. RR intervals are
    those of the corrected beats. ConfigError for a beat, class or sample that there is not.
    """
    about = beats.attrs["about"]
    names, n_samples = choices(about), round(about["duration_s"] * about["fs"])
    wrong = [one for one in (*corrections.classes.values(), *(name for _, name in corrections.added))
             if one is not None and one not in names]  # fmt: skip
    if wrong:
        raise ConfigError(f"there is no class {wrong[0]!r}; expected one of {', '.join(names)}")
    if (place := max(corrections.classes, default=-1)) >= len(beats):
        raise ConfigError(f"there is no beat {place}; the recording has {len(beats):,}, from 0")
    taken = set(beats["sample"].tolist())
    for sample, _ in corrections.added:
        if sample >= n_samples or sample in taken:
            there = "there is a beat" if sample in taken else f"the recording has {n_samples:,} samples"
            raise ConfigError(f"no beat can be added at sample {sample:,}: {there}")
        taken.add(sample)

    symbol_of = dict(zip(names, [*symbols_of(about["classes"], class_map), UNCLASSIFIED], strict=False))
    classes, symbols, stays = beats["class"].tolist(), beats["symbol"].tolist(), np.ones(len(beats), dtype=bool)
    for place, name in corrections.classes.items():
        stays[place] = name is not None
        if name is not None:
            classes[place], symbols[place] = name, symbol_of[name]
    changed = beats.copy()
    changed[MODEL_CLASS], changed["class"], changed["symbol"] = beats["class"], classes, symbols
    changed = changed[stays]
    if corrections.added:
        samples, added = zip(*corrections.added, strict=True)
        rows = {"sample": samples, "time_s": np.array(samples) / about["fs"], "class": added, "flag": "added",
                "symbol": [symbol_of[name] for name in added], MODEL_CLASS: ""}  # fmt: skip
        table = pd.DataFrame(rows).reindex(columns=changed.columns)
        changed = pd.concat([changed, table.astype(changed.dtypes.to_dict())])
    changed = changed.sort_values("sample", kind="stable").reset_index(drop=True)
    changed["rr_s"] = np.diff(changed["sample"], prepend=np.nan) / about["fs"]
    changed.attrs["about"] = {**about, "model": f"{about['model']}, {CORRECTED}"}
    return changed


def save(
    beats: pd.DataFrame, corrections: Save, folder: Path, name: str, *, annotator: str, class_map: Any
) -> list[Path]:
    """Write the corrected beats as ``NAME.atr`` and ``NAME.csv`` and return their paths.

    ConfigError where there is a file that this function has not written: an original is never replaced.
    """
    changed = corrected(beats, corrections, class_map)
    paths = {one: folder / f"{name}.{annotator if one == 'wfdb' else 'csv'}" for one in corrections.formats}
    for path in paths.values():
        if path.exists() and not _is_corrected(path):
            raise ConfigError(f"{path} is there and holds no corrections; start the viewer with another --output")
    for one, path in paths.items():
        write_wfdb(changed, path) if one == "wfdb" else write_csv(changed, path)
    return list(paths.values())


def saved(beats: pd.DataFrame, table: Path) -> Corrections:
    """The corrections of these beats that ``NAME.csv`` holds; none if it is absent or of other beats."""
    if not table.is_file() or not _is_corrected(table):
        return Corrections()
    try:
        kinds = {"sample": "int64", "class": "str", MODEL_CLASS: "str"}
        found = pd.read_csv(table, usecols=[*kinds], dtype=kinds, keep_default_na=False)
    except (ValueError, OSError):
        return Corrections()
    about = beats.attrs["about"]
    known = found["class"].isin(choices(about)) & found["sample"].between(0, about["duration_s"] * about["fs"] - 1)
    found = found[known].drop_duplicates("sample").set_index("sample")
    own = found.reindex(beats["sample"])
    if own["class"].isna().mean() > 0.5:  # of another detector, or cut off
        return Corrections()
    changes: dict[int, Any] = {
        place: None if pd.isna(name) else name
        for place, (name, before) in enumerate(zip(own["class"], own[MODEL_CLASS], strict=True))
        if pd.isna(name) or name != before
    }
    added = found[(found[MODEL_CLASS] == "") & ~found.index.isin(beats["sample"])]
    return Corrections(classes=changes, added=[*zip(added.index.tolist(), added["class"], strict=True)])


def _is_corrected(path: Path) -> bool:
    """Whether `save` has written a file."""
    with path.open("rb") as file:
        begins = file.read(1000)
    return (CORRECTED if path.suffix != ".csv" else f'"{MODEL_CLASS}"').encode() in begins
