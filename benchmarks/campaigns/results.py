"""Damaged folders of finished runs, and names that are code elsewhere, × table, compare, report and plot.

A command may ignore damage only if it prints and writes exactly what it does without.
"""

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from campaigns.finished import COMMANDS, READS, RUNS, outcome, outcome_of_whole, whole
from campaigns.frame import Case, Ended, run
from campaigns.hostile import named

SAME = "What the command reads is whole: it prints and writes the same as without the damage."
UNFINISHED = "A folder without scores.json is an unfinished run, which tables leave out."
LESS = "Without predictions.parquet or metrics.csv, reports leave out what needs them, and say so."
OLDER = "A run from before the checksums: what is possible by type and range is believed."
ALONE = "Other metadata, order or columns without effect: the differences are the same as without the damage."

Damage = Callable[[Path, Random], str]  # changes a file, and says how


def campaign(folder: Path, random: Random) -> Case:
    make = random.choices([damaged, alone, older, named], [58, 7, 7, 28])[0]
    return make(folder, random)


def damaged(folder: Path, random: Random) -> Case:
    """One file of a run, or of a sweep, damaged."""
    command = random.choices(list(COMMANDS), OF_COMMANDS)[0]
    kind = random.choices(list(FILES), WEIGHTS)[0]
    of = random.choice(READS.get(command, RUNS))
    of += "/on/other" * (of == "seed0" and random.random() < 0.15)
    shutil.copytree(whole() / "runs", folder / "runs")
    file = folder / "runs" / ("" if kind in OF_SWEEPS else of) / kind
    what = random.choice(FILES[kind])(file, random)
    because, check = SAME, partial(_same_as_whole, folder, command, str(file.relative_to(folder)))
    if kind == "scores.json" and not os.path.lexists(file):
        because, check = UNFINISHED, _anything
    elif kind in ("predictions.parquet", "metrics.csv") and not file.is_file():
        because, check = LESS, _anything
    return Case(file.name, f"{command}: {file.relative_to(folder)}: {what}", COMMANDS[command], because, check)


def alone(folder: Path, random: Random) -> Case:
    """Predictions damaged that have no record beside them."""
    shutil.copytree(whole() / "runs", folder / "runs")
    of = random.choice(["seed0", "baseline"])
    for one in ("seed0", "baseline"):
        (folder / "runs" / one / "scores.json").unlink()
    what = random.choice((flip, flip, truncate, zeros, *[rows] * 6))(
        folder / "runs" / of / "predictions.parquet", random
    )
    return Case("predictions alone", f"{of}: {what}", COMMANDS["compare"], ALONE, _same_differences)


def older(folder: Path, random: Random) -> Case:
    """A record without checksums, and it or its learning curves damaged."""
    command = random.choice(["table", "report of a run", "report of runs", "plot"])
    shutil.copytree(whole() / "runs", folder / "runs")
    file = folder / "runs" / "seed0" / "scores.json"
    record = json.loads(file.read_text())
    sums = ("sha256", "metrics_sha256", "predictions_sha256")
    file.write_text(json.dumps({key: value for key, value in record.items() if key not in sums}))
    if command in ("plot", "report of a run") and random.random() < 0.6:
        file = file.with_name("metrics.csv")
        what = random.choice((*TEXT, *[curves] * 6))(file, random)
    else:
        what = random.choice((digit, field, field, literal, without))(file, random)
    return Case("older runs", f"{command}: {file.name}: {what}", COMMANDS[command], OLDER)


def _anything(ended: Ended) -> str | None:
    return None


def _same_as_whole(folder: Path, command: str, file: str, ended: Ended) -> str | None:
    """What differs from the outcome without damage; a page that names the damaged file may lack numbers."""
    if ended.status:
        return None
    expected, found = outcome_of_whole(command), outcome(folder, ended)
    for name in expected.keys() | found.keys():
        ours, theirs = found.get(name, b""), expected.get(name, b"")
        if ours != theirs and not (file.encode() in ours and _numbers(ours) <= _numbers(theirs)):
            return f"silently other: {name}"
    return None


def _numbers(page: bytes) -> set[tuple[bytes, bytes]]:
    return set(re.findall(rb'data-(?:figure|computed)="([^"]*)">([^<]*)<', page))


def _same_differences(ended: Ended) -> str | None:
    if ended.status:
        return None
    expected = _differences_without_records()
    return None if _differences(ended) == expected else "silently other differences"


@cache
def _differences_without_records() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        for one in ("seed0", "baseline"):
            Path(folder, "runs", one).mkdir(parents=True)
            shutil.copy(whole() / "runs" / one / "predictions.parquet", Path(folder, "runs", one))
        return _differences(run(COMMANDS["compare"], cwd=Path(folder)))


def _differences(ended: Ended) -> dict[str, Any]:
    return {key: value for key, value in json.loads(ended.out).items() if key not in ("first", "second")}


# Of any file ---------------------------------------------------------------------------------------------------------


def flip(file: Path, random: Random) -> str:
    content = bytearray(file.read_bytes())
    at, bit = random.randrange(len(content)), random.randrange(8)
    content[at] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {at} flipped"


def truncate(file: Path, random: Random) -> str:
    content = file.read_bytes()
    kept = random.choice([0, 1, 4, len(content) // 2, len(content) - 1, random.randrange(len(content))])
    file.write_bytes(content[:kept])
    return f"cut to {kept} of {len(content)} bytes"


def append(file: Path, random: Random) -> str:
    more = random.choice([b"\0", b"}", b"{}", b"PAR1", b"\n1,2,3", random.randbytes(50)])
    file.write_bytes(file.read_bytes() + more)
    return f"{more!r} appended"


def zeros(file: Path, random: Random) -> str:
    content = bytearray(file.read_bytes())
    at = random.randrange(len(content))
    content[at : at + 512] = bytes(len(content[at : at + 512]))
    file.write_bytes(content)
    return f"512 zeros from byte {at}, as after a power cut"


def replaced(file: Path, random: Random) -> str:
    what = random.choice(["a folder", "a pipe", "a socket", "a loop of links", "a broken link", "/dev/zero", "absent"])
    file.unlink()
    if what == "a folder":
        file.mkdir()
    elif what == "a pipe":
        os.mkfifo(file)
    elif what == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(file) if len(str(file)) > 100 else str(file))
    elif what != "absent":
        file.symlink_to({"a loop of links": file.name, "a broken link": "nowhere"}.get(what, what))
    return f"is {what}"


def of_other(file: Path, random: Random) -> str:
    other = random.choice([name for name in RUNS if name != file.parent.name])
    shutil.copyfile(whole() / "runs" / other / file.name, file)
    return f"is that of {other}"


def digit(file: Path, random: Random) -> str:
    text = file.read_text()
    at = random.choice([one.start() for one in re.finditer(r"\d", text)] or [0])
    other = random.choice([one for one in "0123456789" if one != text[at]])
    file.write_text(text[:at] + other + text[at + 1 :])
    return f"character {at}, {text[max(0, at - 20) : at + 3]!r}, is {other}"


def encoded(file: Path, random: Random) -> str:
    encoding = random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"])
    file.write_bytes(file.read_text().encode(encoding))
    return f"in {encoding}"


# JSON ----------------------------------------------------------------------------------------------------------------

VALUES = (
    None, True, False, 0, 1, -1, 0.5, 2, 1e300, 10**30, "", "x", "0.5", "\ud800", "a" * 10**5, [], [[]], {}, {"x": 1},
    [1, 2], {"test": {}},
)  # fmt: skip
LITERALS = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "-0.0", "0x10", "1_0", "[" * 10**5, '{"a":' * 10**5)


def places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above] * bool(above) + [place for key, one in below for place in places(one, (*above, key))]


def _changed(file: Path, random: Random, change: Callable[[Any, Any], Any]) -> tuple[str, str]:
    """The text after a change somewhere, half of them at the top, and where it is."""
    content = at = json.loads(file.read_text())
    place = random.choice(random.choice([places(content), [(key,) for key in content]]))
    for key in place[:-1]:
        at = at[key]
    change(at, place[-1])
    return json.dumps(content), ".".join(map(str, place))


def field(file: Path, random: Random) -> str:
    value = random.choice(VALUES)
    text, place = _changed(file, random, lambda at, key: at.__setitem__(key, value))
    file.write_text(text)
    return f"{place} is {value!r:.40}"


def literal(file: Path, random: Random) -> str:
    value = random.choice(LITERALS)
    text, place = _changed(file, random, lambda at, key: at.__setitem__(key, "HERE"))
    file.write_text(text.replace('"HERE"', value))
    return f"{place} is {value:.40}"


def without(file: Path, random: Random) -> str:
    text, place = _changed(file, random, lambda at, key: at.pop(key))
    file.write_text(text)
    return f"without {place}"


def twice(file: Path, random: Random) -> str:
    pairs = ('"model": "other"', '"test": {}', '"n": null', '"seed": 7', '"classes": []', '"error": 1', '"pooled": {}')
    pair, text, is_first = random.choice(pairs), file.read_text().strip(), random.random() < 0.5
    file.write_text(f"{{{pair}, {text[1:]}" if is_first else f"{text[:-1]}, {pair}}}")
    return f"{pair} {'first' if is_first else 'last'}, perhaps a second time"


def other_json(file: Path, random: Random) -> str:
    contents: dict[str, Callable[[], str]] = {
        "a list": lambda: "[]",
        "null": lambda: "null",
        "a number": lambda: "1",
        "an empty object": lambda: "{}",
        "100,000 brackets": lambda: "[" * 10**5 + "]" * 10**5,
        "100 MB of blanks": lambda: " " * 10**8,
        "a list of 100 MB": lambda: f"[{'[],' * 33_000_000}[]]",
        "a list of 15 MB": lambda: f"[{'[],' * 5_000_000}[]]",
        "a page": lambda: "<!doctype html><title>404</title>",
        "a pointer of Git LFS": lambda: "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a conflict of Git": lambda: f"<<<<<<< HEAD\n{file.read_text()}=======\n{{}}\n>>>>>>> other\n",
        "of format 1": lambda: '{"task": 1, "model": 2, "test": 3}',
        "of format 2, without content": lambda: '{"format": 2, "task": 1, "model": 2, "test": 3}',
    }
    what = random.choice(list(contents))
    file.write_text(contents[what]())
    return f"is {what}"


# Parquet -------------------------------------------------------------------------------------------------------------


def rows(file: Path, random: Random) -> str:
    """Another table of predictions, written as the program writes one."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    frame, meta = table.to_pandas(), table.schema.metadata
    name, one = random.choice([*frame]), random.choice([name for name in frame if name.startswith("probability_")])
    value = random.choice([np.nan, np.inf, -1.0, 7.0, 1e300])
    made: dict[str, Callable[[], pd.DataFrame]] = {
        "reordered": lambda: frame[::-1],
        "the first half": lambda: frame[: len(frame) // 2],
        "none": lambda: frame[:0],
        "each twice": lambda: pd.concat([frame, frame]),
        f"without {name}": lambda: frame.drop(columns=name),
        f"{name} renamed": lambda: frame.rename(columns={name: f"{name}x"}),
        f"{name} as text": lambda: frame.assign(**{name: frame[name].astype(str)}),
        f"{name} as numbers": lambda: frame.assign(**{name: np.arange(len(frame))}),
        f"{name} as lists": lambda: frame.assign(**{name: [[1.0]] * len(frame)}),
        f"{name} as dates": lambda: frame.assign(**{name: pd.Timestamp("2026-01-01")}),
        f"{name} missing": lambda: frame.assign(**{name: None}),
        f"{name} missing once": lambda: frame.assign(**{name: frame[name].mask(np.arange(len(frame)) == 3)}),
        f"{one} is {value} once": lambda: frame.assign(**{one: frame[one].mask(np.arange(len(frame)) == 3, value)}),
        f"{one} in another order": lambda: frame.assign(**{one: frame[one].to_numpy()[::-1]}),
        "true and predicted exchanged": lambda: frame.rename(columns={"true": "predicted", "predicted": "true"}),
        "of an unknown class": lambda: frame.assign(true="Z"),
        "a thousand columns more": lambda: frame.join(pd.DataFrame({f"x{i}": 0 for i in range(1000)}, frame.index)),
    }
    what = random.choice([*made, "other metadata", "no metadata", "a bomb", "a column twice"])
    if what == "a bomb":
        shutil.copyfile(bomb(), file)
        return "20,000,000 equal rows in some kilobytes"
    if what == "a column twice":
        table = table.append_column(name, table[name])
    elif what == "other metadata":
        key, value = random.choice(["format", "classes", "positive", "about"]), random.choice(VALUES)
        meta = {b"predictions": json.dumps({**json.loads(meta[b"predictions"]), key: value}).encode()}
        what = f"{key} is {value!r:.40}"
    elif what == "no metadata":
        meta = {}
    else:
        table = pa.Table.from_pandas(made[what](), preserve_index=False)
    pq.write_table(table.replace_schema_metadata(meta), file)
    return f"rows: {what}"


@cache
def bomb() -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, file = pq.read_table(whole() / "runs" / "seed0" / "predictions.parquet"), whole() / "bomb.parquet"
    first = pa.array(np.zeros(20_000_000, dtype=np.int8))
    columns = {
        one: pa.DictionaryArray.from_arrays(first, table[one].combine_chunks()[:1]) for one in table.column_names
    }
    pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), file)
    return file


# metrics.csv and YAML ------------------------------------------------------------------------------------------------

NUMBERS = ("nan", "inf", "-inf", "1e308", "-1e308", "1e999", "x", "", "[/b]", "0x1F", "true", "1;2", '"', "9" * 400)


def curves(file: Path, random: Random) -> str:
    """Another table of metrics by epoch."""
    head, *lines = file.read_text().splitlines()
    value, at = random.choice(NUMBERS), random.randrange(5)
    other = [",".join(value if i == at else one for i, one in enumerate(line.split(","))) for line in lines]
    made = {
        f"column {at} is {value:.20}": [head, *other],
        f"column {at} is {value:.20} once": [head, other[0], *lines[1:]],
        "only a header": [head],
        "without a header": lines,
        "one column": ["epoch", "1", "2"],
        "a header twice": [head, head, *lines],
        "columns twice": [f"{head},{head}", *(f"{one},{one}" for one in lines)],
        "a line of more values": [head, f"{lines[0]},1,2,3", *lines[1:]],
        "a million columns": [",".join(f"c{i}" for i in range(10**6))],
        "binary": ["\0\1\2\3"],
        "large epochs": [head, f"{10**15},1,1.0,1.0,0.5", f"{2 * 10**15},1,1.0,1.0,0.5"],
        "negative epochs": [head, "-5,1,1.0,1.0,0.5", "-4,1,1.0,1.0,0.5"],
        "100,000 epochs": [head, *(f"{i},{i},1.0,1.0,0.5" for i in range(100_000))],
        "semicolons": [line.replace(",", ";") for line in (head, *lines)],
    }
    what = random.choice(list(made))
    file.write_text("\n".join(made[what]) + "\n")
    return what


def yaml(file: Path, random: Random) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]" for i in range(1, 12))]
    contents = {
        "an alias bomb": "\n".join(lines),
        "a tag of Python": "!!python/object/apply:os.system [touch pwned]",
        "a cycle": "a: &a [*a]",
        "tabs": "a:\n\t- b",
        "binary": "\0\1\2",
        "a list": "[1, 2]",
        "100,000 brackets": "[" * 10**5,
        "10 MB": "a: 1\n" * 2 * 10**6,
    }
    what = random.choice(list(contents))
    file.write_text(contents[what])
    return f"is {what}"


BINARY: tuple[Damage, ...] = (flip, flip, flip, truncate, append, zeros, replaced)
TEXT: tuple[Damage, ...] = (*BINARY, digit, digit, encoded)
JSON: tuple[Damage, ...] = (*TEXT, *[field] * 3, *[literal] * 2, *[without] * 2, twice, *[other_json] * 2)
FILES: dict[str, tuple[Damage, ...]] = {
    "scores.json": (*JSON, of_other),
    "predictions.parquet": (*BINARY, of_other, *[rows] * 3),
    "metrics.csv": (*TEXT, *[curves] * 2),
    **dict.fromkeys((".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"), (*TEXT, *[yaml] * 3)),
    **dict.fromkeys(OF_SWEEPS := ("pooled.json", "failure.json"), JSON),
}
WEIGHTS = (12, 8, 5, 1, 1, 1, 1, 1)
OF_COMMANDS = (3, 3, 4, 4, 4, 4, 1, 1)  # so that of all cases table, report and compare have about 3 in 10 each
