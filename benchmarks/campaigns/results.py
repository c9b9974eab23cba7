"""Damaged folders of finished runs, and names that are code elsewhere, × table, compare, report and plot.

A command may ignore damage only if it prints and writes exactly what it does without. Names are data: a command works
with them, and they are neither markup nor escape sequences in what it prints or writes.
"""

import csv
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache, partial
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from campaigns.frame import Case, Ended, run

SAME = "What the command reads is whole: it prints and writes the same as without the damage."
UNFINISHED = "A folder without scores.json is an unfinished run, which tables leave out."
LESS = "Without predictions.parquet the report leaves out what needs it, and says so."
NAMES = "Names are data: they are shown, and are no markup, command or escape sequence."
OLDER = "Runs from before the checksum of metrics.csv: their curves are drawn as the file has them."

RUNS = ("seed0", "seed1", "baseline", "fold0", "fold1", "small", "infarction")
CLASSES = ("N", "S", "V", "F", "Q")
COMMANDS: dict[str, list[str]] = {
    "table": ["table", "runs", "--format", "csv"],
    "table of a run": ["table", "runs/seed0", "--only-run"],
    "compare": ["compare", "runs/seed0", "runs/baseline", "--json"],
    "compare two": ["compare", "runs/seed0", "runs/seed1"],
    "report of a run": ["report", "runs/seed0", "--brief", "--baseline", "runs/baseline"],
    "report of runs": ["report", "runs"],
    "plot": ["plot", "runs/seed0"],
    "low data": ["plot", "runs", "--what", "low-data"],
}


# Finished runs -------------------------------------------------------------------------------------------------------


def make_run(
    folder: Path, *, classes: tuple[str, ...] = CLASSES, seed: int = 0, fold: int | None = None,
    train_size: int | None = None, names: str = "{}", **fields: Any,
) -> Path:  # fmt: skip
    """The folder of a finished run, from made-up probabilities of 300 beats; `names` is the form of those of records."""
    from ecg_lightning.data.beats import Beats
    from ecg_lightning.data.protocol import LeftOut, Protocol
    from ecg_lightning.metrics.scoring import score_beats
    from ecg_lightning.runs.schema import RunRecord, Validation
    from ecg_lightning.runs.store import save_run

    n, generator = 300, np.random.default_rng(fold or 0)
    labels = generator.integers(len(classes), size=n)
    people = np.array([names.format(100 + one) for one in generator.integers(6, size=n)])
    beats = Beats(
        signals=np.ones((n, 1, 4), dtype=np.float32), lengths=np.full(n, 4), labels=labels, classes=classes, fs=125.0,
        lead_names=("MLII",), patients=people, records=people, samples=np.arange(n) * 300 + 10**6 * (fold or 0),
    )  # fmt: skip
    raw = 0.6 * np.eye(len(classes))[labels] + np.random.default_rng(seed + 7).random((n, len(classes)))
    probabilities = (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)
    folds: dict[str, Any] = {"test_fraction": 0.2} if fold is None else {"fold": fold, "n_folds": 2}
    part: dict[str, Any] = {} if train_size is None else {"train_size": train_size, "n_train_units": 4000}
    left_out = (LeftOut(reason="paced", records=("102",), beats=9),)
    protocol = Protocol(name="patient", seed=0, by="patients", left_out=left_out, **folds, **part)
    model, positive = fields.get("model", "cnet"), classes[1] if len(classes) == 2 else None
    config = {"model": {"name": model}, "seed": seed, "split": {"seed": 0, "fold": fold, "train_size": train_size}}
    record: dict[str, Any] = {
        "task": "arrhythmia", "model": model, "baseline": False, "n_parameters": 53957, "dataset": "own", "title": "Own",
        "synthetic": False, "fingerprint": "0123456789abcdef", "classes": classes, "class_map": "own", "leads": ("MLII",),
        "protocol": protocol, "n": {"train": train_size or 4000, "validation": 300, "test": n}, "augmentation": "none",
        "resampling": "none", "loss": "cross_entropy", "transfer": "none", "precision": "32-true", "seed": seed,
        "epochs": 3, "best_epoch": 2, "monitor": "val/macro_f1", "val": Validation(macro_f1=0.6), "config": config,
        "test": score_beats(beats, probabilities, positive), "overrides": (f"model={model}",), "config_digest": "0" * 10,
        "dropped": {"of no class": {"Q": 3}}, "versions": {"python": "3.12"}, "git": "0123456789ab",
        "started": f"2026-01-0{seed + 1}T12:00:00", "wall_s": 12.0,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text(
        "epoch,step,train/loss,val/loss,val/macro_f1\n1,99,,0.9,0.4\n1,99,1.0,,\n2,199,,0.5,0.8\n2,199,0.6,,\n"
    )
    save_run(folder, RunRecord(**record | fields), beats, probabilities)
    (folder / ".hydra").mkdir()
    for part_of, text in {"config": json.dumps(config), "hydra": "{hydra: {}}", "overrides": "[model=cnet]"}.items():
        (folder / ".hydra" / f"{part_of}.yaml").write_text(text)
    return folder


@cache
def whole() -> Path:
    """A folder that nobody changes: `RUNS` in ``runs``, one of them tested elsewhere, too, and other files of a sweep."""
    top = Path(tempfile.mkdtemp(prefix="results-"))
    sweep = top / "runs"
    make_run(sweep / "seed0")
    make_run(sweep / "seed1", seed=1)
    make_run(sweep / "baseline", seed=2, model="trees", baseline=True, loss=None, epochs=None, best_epoch=None)
    make_run(sweep / "fold0", fold=0)
    make_run(sweep / "fold1", fold=1)
    make_run(sweep / "small", train_size=400)
    make_run(sweep / "infarction", classes=("normal", "MI"), task="mi")
    make_run(sweep / "seed0" / "on" / "other", seed=4, kind="evaluation", dataset="other", trained_on="own")
    (sweep / "pooled.json").write_text(json.dumps({"pooled": [], "repeated": [], "low_data": []}))
    (sweep / "failure.json").write_text(json.dumps({"error": "ValueError: no"}))
    return top


@cache
def outcome_of_whole(name: str) -> dict[str, bytes]:
    """What a command leaves and prints without damage."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(whole(), folder, dirs_exist_ok=True)
        ended = run(COMMANDS[name], cwd=Path(folder))
        assert ended.status == 0, f"{name}: {ended.err}"
        return outcome(Path(folder), ended)


def outcome(folder: Path, ended: Ended) -> dict[str, bytes]:
    written = [folder / "runs" / "report.html", *folder.glob("runs/*/report.html"), *folder.rglob("*.png")]
    files = {str(file.relative_to(folder)): file.read_bytes() for file in written if file.is_file()}
    return files | {"stdout": ended.out.encode()}


# Damage --------------------------------------------------------------------------------------------------------------

Damage = Callable[[Path, Random], str]  # changes a file, and says how


def flip(file: Path, random: Random) -> str:
    content = bytearray(file.read_bytes())
    at, bit = random.randrange(len(content)), random.randrange(8)
    content[at] ^= 1 << bit
    file.write_bytes(content)
    return f"bit {bit} of byte {at} flipped"


def digit(file: Path, random: Random) -> str:
    text = file.read_text() + " 0"
    at = random.choice([one.start() for one in re.finditer(r"\d", text)])
    other = random.choice([one for one in "0123456789" if one != text[at]])
    file.write_text(text[:at] + other + text[at + 1 :])
    return f"character {at}, {text[max(0, at - 20) : at + 3]!r}, is {other}"


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
    what = random.choice(["a folder", "a fifo", "a loop of links", "a broken link", "/dev/zero", "absent", "a socket"])
    file.unlink()
    match what:
        case "a folder":
            file.mkdir()
        case "a fifo":
            os.mkfifo(file)
        case "a socket":
            import socket

            here = os.getcwd()
            os.chdir(file.parent)  # the path of a socket has a hundred characters at most
            socket.socket(socket.AF_UNIX).bind(file.name)
            os.chdir(here)
        case "a loop of links" | "a broken link" | "/dev/zero":
            file.symlink_to({"a loop of links": file.name, "a broken link": "nowhere"}.get(what, what))
    return f"is {what}"


def encoded(file: Path, random: Random) -> str:
    encoding = random.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"])
    file.write_bytes(file.read_text().encode(encoding))
    return f"in {encoding}"


VALUES = (
    None, True, False, 0, 1, -1, 0.5, 2, 1e300, 10**30, "", "x", "0.5", "\ud800", "a" * 10**5, [], [[]], {}, {"x": 1}, [1, 2],
    {"test": {}}, "1" * 5000,
)  # fmt: skip
LITERALS = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "-0.0", "0x10", "[" * 10**5, '{"a":' * 10**5, "1_000")


def places(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before] * bool(before) + [place for key, one in below for place in places(one, (*before, key))]


def _change(content: Any, place: tuple[Any, ...], change: Callable[[Any, Any], None]) -> Any:
    changed = at = json.loads(json.dumps(content))
    for key in place[:-1]:
        at = at[key]
    change(at, place[-1])
    return changed


def _somewhere(content: Any, random: Random) -> tuple[Any, ...]:
    top = [(key,) for key in content] if isinstance(content, dict) else []
    return random.choice(random.choice([top or places(content), places(content)]))


def field(file: Path, random: Random) -> str:
    content = json.loads(file.read_text())
    place, value = _somewhere(content, random), random.choice(VALUES)
    file.write_text(json.dumps(_change(content, place, lambda at, key: at.__setitem__(key, value))))
    return f"{'.'.join(map(str, place))} is {value!r:.60}"


def literal(file: Path, random: Random) -> str:
    content = json.loads(file.read_text())
    place, value = _somewhere(content, random), random.choice(LITERALS)
    changed = _change(content, place, lambda at, key: at.__setitem__(key, "\0HERE"))
    file.write_text(json.dumps(changed).replace('"\\u0000HERE"', value))
    return f"{'.'.join(map(str, place))} is {value:.30} without quotes"


def without(file: Path, random: Random) -> str:
    content = json.loads(file.read_text())
    place = _somewhere(content, random)
    file.write_text(json.dumps(_change(content, place, lambda at, key: at.pop(key))))
    return f"without {'.'.join(map(str, place))}"


def twice(file: Path, random: Random) -> str:
    text = file.read_text()
    key, value = random.choice([("model", '"other"'), ("test", "{}"), ("n", "null"), ("seed", "7"), ("classes", "[]")])
    at = random.choice([text.index("{") + 1, text.rindex("}")])
    pair = f'"{key}": {value}'
    file.write_text(text[:at] + (f"{pair}, " if at < 5 else f", {pair}") + text[at:])
    return f"{pair} is there twice, {'first' if at < 5 else 'last'}"


def other_json(file: Path, random: Random) -> str:
    makers: dict[str, Callable[[], str]] = {
        "a list": lambda: "[]", "null": lambda: "null", "a number": lambda: "1", "a text": lambda: '"x"',
        "an empty object": lambda: "{}", "100,000 brackets": lambda: "[" * 10**5 + "]" * 10**5,
        "100 MB of blanks": lambda: " " * 10**8, "a list of 100 MB": lambda: f"[{'[],' * 33_000_000}[]]",
        "a list within the bound": lambda: f"[{'[],' * 5_000_000}[]]", "a page": lambda: "<!doctype html><title>404</title>",
        "a pointer of Git LFS": lambda: "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a merge conflict": lambda: f"<<<<<<< HEAD\n{file.read_text()}=======\n{{}}\n>>>>>>> other\n",
        "keys of a record alone": lambda: '{"task": 1, "model": 2, "test": 3}',
        "only the keys, in format 2": lambda: '{"format": 2, "task": 1, "model": 2, "test": 3}',
    }  # fmt: skip
    what = random.choice(list(makers))
    file.write_text(makers[what]())
    return f"is {what}"


def of_other(file: Path, random: Random) -> str:
    own = file.parent.name
    other = random.choice([name for name in ("seed1", "baseline", "fold0", "small", "infarction") if name != own])
    shutil.copyfile(whole() / "runs" / other / file.name, file)
    return f"is that of {other}"


def rows(file: Path, random: Random) -> str:
    """Another table of predictions, written as the program writes one."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    meta, frame = table.schema.metadata, table.to_pandas()
    probability = next(name for name in frame if name.startswith("probability_"))
    name = random.choice([*frame])
    values: Any = random.choice([np.nan, np.inf, -1.0, 7.0, 1e300])
    makers: dict[str, Callable[[], Any]] = {
        "reordered": lambda: frame[::-1], "the first half": lambda: frame[: len(frame) // 2], "none": lambda: frame[:0],
        "each twice": lambda: pd.concat([frame, frame]), f"without {name}": lambda: frame.drop(columns=name),
        f"{name} renamed": lambda: frame.rename(columns={name: f"{name}x"}),
        f"{name} as text": lambda: frame.assign(**{name: frame[name].astype(str)}),
        f"{name} as numbers": lambda: frame.assign(**{name: np.arange(len(frame))}),
        f"{name} as lists": lambda: frame.assign(**{name: [[1.0]] * len(frame)}),
        f"{name} all missing": lambda: frame.assign(**{name: None}),
        f"{name} missing once": lambda: frame.assign(**{name: frame[name].mask(np.arange(len(frame)) == 3)}),
        f"{name} as dates": lambda: frame.assign(**{name: pd.Timestamp("2026-01-01")}),
        f"a probability {values}": lambda: frame.assign(**{probability: np.float32(values)}),
        "true and predicted exchanged": lambda: frame.rename(columns={"true": "predicted", "predicted": "true"}),
        "an unknown class": lambda: frame.assign(true="Z"), "a thousand columns": lambda: frame.assign(
            **{f"x{i}": 0 for i in range(1000)}
        ),
        "probabilities exchanged": lambda: frame.assign(**{probability: frame[probability].to_numpy()[::-1]}),
    }  # fmt: skip
    what = random.choice([*makers, "other metadata", "no metadata", "a bomb", "a column twice"])
    changed = pa.Table.from_pandas(makers[what](), preserve_index=False) if what in makers else table
    match what:
        case "other metadata":
            key, value = random.choice(["format", "classes", "positive", "about"]), random.choice(VALUES)
            told = json.dumps({**json.loads(meta[b"predictions"]), key: value})
            meta, what = {**meta, b"predictions": told.encode()}, f"metadata: {key} is {value!r:.40}"
        case "no metadata":
            meta = {}
        case "a bomb":
            shutil.copyfile(bomb(), file)
            return "is 20,000,000 equal rows in some kilobytes"
        case "a column twice":
            changed = table.append_column(name, table[name])
    pq.write_table(changed.replace_schema_metadata(meta), file)
    return f"rows: {what}"


@cache
def bomb() -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(whole() / "runs" / "seed0" / "predictions.parquet")
    n, file = 20_000_000, whole() / "bomb.parquet"
    zeros = pa.array(np.zeros(n, dtype=np.int8))
    columns = {name: pa.DictionaryArray.from_arrays(zeros, table[name].combine_chunks()[:1]) for name in table.column_names}
    pq.write_table(pa.table(columns).replace_schema_metadata({b"predictions": table.schema.metadata[b"predictions"]}), file)
    return file


def curves(file: Path, random: Random) -> str:
    """Another table of metrics by epoch."""
    head, *lines = file.read_text().splitlines()
    value = random.choice(
        ["nan", "inf", "-inf", "1e308", "-1e308", "1e999", "x", "", "[/b]", "0x1F", "true", "1;2", "2026-01-01", '"', "9" * 400]
    )
    at = random.randrange(5)
    changed = [",".join(value if i == at else one for i, one in enumerate(line.split(","))) for line in lines]
    choices = {
        f"{head.split(',')[at]} is {value:.20} throughout": [head, *changed],
        f"{head.split(',')[at]} is {value:.20} once": [head, changed[0], *lines[1:]],
        "only a header": [head], "without a header": lines, "one column": ["epoch", "1", "2"], "blank": [""],
        "a header twice": [head, head, *lines], "columns twice": [f"{head},{head}", *(f"{one},{one}" for one in lines)],
        "epochs in descending order": [head, *lines[::-1]], "a line of more values": [head, lines[0] + ",1,2,3", *lines[1:]],
        "a million columns": [",".join(f"c{i}" for i in range(10**6))], "binary": ["\0\1\2\3"],
        "an epoch of 10**15": [head, f"{10**15},1,1.0,1.0,0.5", f"{2 * 10**15},1,1.0,1.0,0.5"],
        "negative epochs": [head, "-5,1,1.0,1.0,0.5", "-4,1,1.0,1.0,0.5"],
        "a million epochs": [head, *(f"{i},{i},1.0,1.0,0.5" for i in range(300_000))],
        "one epoch": [head, lines[0]], "semicolons": [line.replace(",", ";") for line in (head, *lines)],
    }  # fmt: skip
    what = random.choice(list(choices))
    file.write_text("\n".join(choices[what]) + "\n")
    return what


def yaml(file: Path, random: Random) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]" for i in range(1, 12))]
    choices = {
        "an alias bomb": "\n".join(lines), "a tag of Python": "!!python/object/apply:os.system [touch pwned]",
        "a cycle": "a: &a [*a]", "tabs": "a:\n\t- b", "binary": "\0\1\2", "a list": "[1, 2]", "text": "x", "empty": "",
        "deep": "[" * 10**5, "an interpolation": "model: ${oc.env:HOME}", "a loop": "model: ${model}", "large": "a: 1\n" * 10**6,
    }  # fmt: skip
    what = random.choice(list(choices))
    file.write_text(choices[what])
    return f"is {what}"


BINARY: tuple[Damage, ...] = (flip, flip, flip, truncate, append, zeros, replaced)
TEXT: tuple[Damage, ...] = (*BINARY, digit, digit, encoded)
JSON: tuple[Damage, ...] = (*TEXT, field, field, field, literal, literal, without, without, twice, other_json, other_json)
FILES: dict[str, tuple[Damage, ...]] = {
    "scores.json": (*JSON, of_other),
    "predictions.parquet": (*BINARY, of_other, rows, rows, rows),
    "metrics.csv": (*TEXT, curves, curves),
    ".hydra/config.yaml": (*TEXT, yaml),
    ".hydra/overrides.yaml": (*TEXT, yaml),
    ".hydra/hydra.yaml": (*TEXT, yaml),
}
OF_A_SWEEP: dict[str, tuple[Damage, ...]] = {"pooled.json": JSON, "failure.json": JSON}
WEIGHTS = (12, 8, 5, 1, 1, 1)
READ = {  # files of a command whose damage makes it refuse, or leaves its outcome as it is
    "table": RUNS, "table of a run": ["seed0"], "compare": ["seed0", "baseline"], "compare two": ["seed0", "seed1"],
    "report of a run": ["seed0", "baseline"], "report of runs": RUNS, "plot": ["seed0"], "low data": RUNS,
}  # fmt: skip


def damaged(folder: Path, random: Random) -> Case:
    """One file of a run damaged."""
    command = random.choice(list(COMMANDS))
    shutil.copytree(whole() / "runs", folder / "runs")
    if random.random() < 0.04:
        name = random.choice(list(OF_A_SWEEP))
        file, damages, kind = folder / "runs" / name, OF_A_SWEEP[name], name
    else:
        kind = random.choices(list(FILES), WEIGHTS)[0]
        of = random.choice(READ[command])
        if of == "seed0" and random.random() < 0.15:
            of = "seed0/on/other"
        file, damages = folder / "runs" / of / kind, FILES[kind]
    what = random.choice(damages)(file, random)
    because, is_same = SAME, True
    if kind == "scores.json" and not file.exists() and not file.is_symlink():
        because, is_same = UNFINISHED, False
    elif kind == "scores.json" and "is that of" in what and command.startswith(("table", "plot")):
        because, is_same = "A whole record of another run is shown as what it states to be.", False
    elif kind == "predictions.parquet" and not file.is_file():
        because, is_same = LESS, False
    check = partial(_same_as_whole, folder, command) if is_same else lambda ended: None
    what = f"{command}: {file.relative_to(folder)}: {what}"
    return Case(kind.removeprefix(".hydra/"), what, COMMANDS[command], because, check)


def _same_as_whole(folder: Path, command: str, ended: Ended) -> str | None:
    if ended.status:
        return None
    expected, found = outcome_of_whole(command), outcome(folder, ended)
    differing = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    return f"silently other: {', '.join(differing)}" if differing else None


def alone(folder: Path, random: Random) -> Case:
    """Predictions damaged that have no record beside them, or one without checksums."""
    shutil.copytree(whole() / "runs", folder / "runs")
    file = folder / "runs" / random.choice(["seed0", "baseline"]) / "predictions.parquet"
    for one in ("seed0", "baseline"):
        (folder / "runs" / one / "scores.json").unlink()
    what = random.choice((flip, flip, truncate, zeros, rows, rows, rows, rows))(file, random)
    equal = ("reordered", "as text", "x0", "thousand columns", "metadata: about")
    because = "The same beats and probabilities, or columns that no metric is of."
    del equal
    return Case("predictions alone", f"compare: {file.parent.name}: {what}", COMMANDS["compare"], because)


def older(folder: Path, random: Random) -> Case:
    """metrics.csv damaged of a run whose record has no checksum of it."""
    command = random.choice(["report of a run", "plot"])
    shutil.copytree(whole() / "runs", folder / "runs")
    file = folder / "runs" / "seed0" / "scores.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in record.items() if key not in ("sha256", "metrics_sha256")}))
    what = random.choice((*TEXT, curves, curves, curves, curves))(file.with_name("metrics.csv"), random)
    return Case("curves of older runs", f"{command}: {what}", COMMANDS[command], OLDER)


# Names ---------------------------------------------------------------------------------------------------------------

HOSTILE = (
    "[/b]", "[bold red]x[/]", "[link=https://a.example]x[/link]", "[" * 50, "[/]", ":smile:", "\\[b]",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'onmouseover='x", "</style><script>x</script>",
    "</title><script>x</script>", "<!--", "]]>", "&lt;script&gt;", "javascript:alert(1)", "{{ 7 * 7 }}", "{% raw %}", "{0.__class__}",
    "a|b", "| --- |", "`x`", "```", "[x](javascript:x)", "![x](https://a.example/x.png)", "# x", "- x", "1. x", "~~x~~", "$x$",
    "\\input{/etc/passwd}", "x\n\\input{/etc/passwd}", "x%y", "%", "~^\\", "\\\\", "$\\frac$", "$", "{", "}", "&", "#1", "\\end{tabular}", "[2cm]",
    "*", "a\nb", "a\r\nb", "\n\n", "\t", "\x1b[31mred\x1b[0m", "\x1b]8;;https://a.example\x07x\x1b]8;;\x07", "\x9b31m", "\x07", "\x08\x08\x08",
    "\0", "\u202eabc", "\u200f", "\u2066x\u2069", "\u2028", "\ufeff", "\u00ad", "=1+1", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1",
    "é" * 3, "心電図", "💔", "a\u0301" * 20, "a" * 10**4, "w " * 5000, "", " ", ".", "..", "NaN", "None", "true", "-", "--help", "'", '"', "a,b", "a;b",
)  # fmt: skip
PLACES = (
    "model", "dataset", "title", "fingerprint", "class_map", "augmentation", "resampling", "loss", "transfer", "precision", "monitor",
    "config_digest", "checkpoint", "trained_on", "warning", "started", "git", "overrides", "leads", "versions", "version", "dropped",
    "split", "left out", "class", "record", "folder", "file", "task", "override key", "config key", "context",
)  # fmt: skip
HOSTILE_COMMANDS = {
    "terminal": ["table", "{}", "--only-run"], "markdown": ["table", "{}", "--format", "markdown"], "latex": ["table", "{}", "--format", "latex"],
    "csv": ["table", "{}", "--format", "csv"], "report of a run": ["report", "{}/a", "--brief", "--baseline", "{}/b"],
    "report of runs": ["report", "{}"], "plot": ["plot", "{}"], "compare": ["compare", "{}/a", "{}/b"],
}  # fmt: skip


def named(folder: Path, random: Random) -> Case:
    """Two runs with a name that is code elsewhere."""
    name, place, command = random.choice(HOSTILE), random.choice(PLACES), random.choice(list(HOSTILE_COMMANDS))
    more: dict[str, Any] = {}
    match place:
        case "overrides" | "leads":
            more[place] = (name, f"x={name}")
        case "versions" | "version":
            more["versions"] = {name: "1"} if place == "versions" else {"python": name}
        case "dropped":
            more["dropped"] = {name: {name: 3}}
        case "split" | "left out":
            from ecg_lightning.data.protocol import LeftOut, Protocol

            left_out = (LeftOut(reason=name, records=(name,), beats=9),) if place == "left out" else ()
            own = name if place == "split" else "patient"
            more["protocol"] = Protocol(name=own, seed=0, by="patients", test_fraction=0.2, left_out=left_out)
        case "class":
            more["classes"] = ("N", name if name != "N" else "n", "V")
        case "record":
            more["names"] = name.replace("{", "{{").replace("}", "}}") + "{}"
        case "config key":
            more["config"] = {name: {name: name}, "model": {"name": name}}
        case "trained_on" | "warning" | "checkpoint":
            more |= {place: name, "kind": "evaluation"}
        case "folder" | "file" | "override key" | "context":
            pass
        case _:
            more[place] = name
    part = name.replace("/", "∕").replace("\0", "")[:80] if place == "folder" else "runs"
    if place == "folder" and random.random() < 0.15:
        part = os.fsdecode(b"caf\xe9 \xff")
    home = folder / (part if part.strip(".") else "runs")
    try:
        make_run(home / "a", **more)
        make_run(home / "b", seed=1, **{**more, **({} if "config" in more else {})})
    except (ValueError, KeyError) as error:  # a name that no record can have
        shutil.rmtree(home, ignore_errors=True)
        make_run(home / "a")
        make_run(home / "b", seed=1)
        what = f"{command}: {place} cannot be {name!r:.60}: {type(error).__name__}"
    else:
        what = f"{command}: {place} is {name!r:.60}"
    if more.get("kind") == "evaluation":
        evaluation = home / "a" / "on" / "x"
        shutil.move(home / "b", evaluation)
        shutil.rmtree(home / "a" / "on" / "x" / "on", ignore_errors=True)
        make_run(home / "b", seed=1)
        own = json.loads((whole() / "runs/seed0/scores.json").read_text())
        del own
        shutil.copytree(home / "a" / "on", home / "on-of-a")
        shutil.rmtree(home / "a")
        make_run(home / "a")
        shutil.move(home / "on-of-a", home / "a" / "on")
    path = os.path.relpath(home, folder)
    path = f"./{path}" if path.startswith("-") else path
    words = [word.replace("{}", path) for word in HOSTILE_COMMANDS[command]]
    return Case(f"name in {command}", what, words, NAMES, partial(_no_markup, folder, command))


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "link", "base", "form", "img", "foreignobject"):
            self.wrong.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or (name in ("href", "src") and ":" in (value or "").split("/")[0]):
                self.wrong.append(f"{name}={value}")


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _no_markup(folder: Path, command: str, ended: Ended) -> str | None:
    """What is wrong with an output that holds hostile names."""
    if control := CONTROL.search(ended.out + ended.err):
        return f"control character {control[0]!r} on the terminal"
    if ended.status:
        return None
    for file in folder.rglob("report.html"):
        page, text = _Page(), file.read_text(encoding="utf-8")
        page.feed(text)
        if page.wrong:
            return f"in the page: {page.wrong[0]}"
        if control := CONTROL.search(text):
            return f"control character {control[0]!r} in the page"
        if (head := text.partition("</head>")[0]).count("<title>") != 1 or head.count("</") != 2:
            return "markup in the head of the page"
        if "</html>" not in text[-20:]:
            return "the page does not end"
    if command == "markdown":
        widths = [len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) for line in ended.out.splitlines() if line.startswith("|")]
        if len(set(widths)) > 4 or (markup := re.search(r".{0,20}[<`\[].{0,20}", re.sub(r"\\.", "", ended.out))):
            return f"markup in Markdown: {widths}, {markup}"
    if command == "latex":
        return _latex(ended.out)
    if command == "csv":
        lines = list(csv.reader(io.StringIO(ended.out)))
        if len({len(line) for line in lines}) != 1:
            return "lines of different lengths in CSV"
        for cell in (cell for line in lines for cell in line):
            if cell[:1] in tuple("=+-@\t\r") and not re.fullmatch(r"[-+]?[\d.eE+-]+", cell):
                return f"a formula in CSV: {cell!r:.40}"
    return None


COMMANDS_OF_LATEX = set(
    "usepackage begin end caption centering scriptsize setlength tabcolsep medskip multicolumn cmidrule toprule midrule bottomrule textit textbf "
    "addlinespace textbackslash textasciitilde textasciicircum textless textgreater textbar pm times to kappa textasciigrave".split()
)


def _latex(text: str) -> str | None:
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    body = "\n".join(lines)
    if unknown := set(re.findall(r"\\([A-Za-z]+)", body)) - COMMANDS_OF_LATEX:
        return f"commands in LaTeX: {sorted(unknown)}"
    if re.search(r"(?<!\\)%", body.replace("\\\\", "")):
        return "a comment in LaTeX"
    if re.search(r"\\\\\s*[\[*]", body):
        return "an optional argument of \\\\ in LaTeX"
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", body.replace("\\\\", "")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return "braces in LaTeX"
    return "braces in LaTeX" if depth else None


def campaign(folder: Path, random: Random) -> Case:
    make = random.choices([damaged, alone, older, named], [60, 6, 4, 30])[0]
    return make(folder, random)
