"""Malformed recordings, tables of beats and cards: WFDB, EDF, CSV and MATLAB files, and what is around them."""

import json
import re
from functools import cache, partial
from pathlib import Path
from random import Random
from tempfile import mkdtemp

import pandas as pd

import ecg_lightning.cli.annotate  # these are imported here so that no case has to
import ecg_lightning.cli.data
import ecg_lightning.data.rpeak_network
import ecg_lightning.models.seq
import ecg_lightning.report.recording_page  # noqa: F401
from campaigns import odd_edf, odd_folders, odd_tables, odd_wfdb
from campaigns.frame import Case, Ended, run
from campaigns.odd import ANNOTATORS, SUFFIXES, Fault, Odd, put
from ecg_lightning.data.writers import NO_BEAT

FORMATS = ("csv", "wfdb", "edf", "html", "json")
READERS: dict[str, dict[str, list[Fault]]] = {
    "wfdb": odd_wfdb.FAULTS,
    "edf": odd_edf.FAULTS,
    "csv": {kind: own for kind, own in odd_tables.FAULTS.items() if kind != "MATLAB"},
    "mat": {kind: own for kind, own in odd_tables.FAULTS.items() if kind == "MATLAB"},
}
TINY = ("trainer.max_epochs=1", "++trainer.limit_train_batches=1", "++trainer.limit_val_batches=1")


def campaign(folder: Path, random: Random) -> Case:
    """A case of one of the kinds, the richer ones more often."""
    make = random.choices(
        [damaged_recording, damaged_database, one_among_others, odd_name, contradiction, rows, lists],
        [60, 20, 5, 5, 3, 5, 2],
    )[0]
    return make(folder, random)


def damaged_recording(folder: Path, random: Random) -> Case:
    """A fault of one recording, and a command that reads it."""
    reader = random.choices([*READERS], [5, 2, 3, 1])[0]
    own = folder / "own"
    put(own, reader)
    kind = random.choices([*READERS[reader]], [4 if "annot" not in one else 2 for one in READERS[reader]])[0]
    odd = random.choice(READERS[reader][kind])(own, random)
    name = next((path.name for path in own.glob("r1.*z*")), f"r1{SUFFIXES[reader]}")
    told = ["--fs", "250", "--unit", "mV"] if reader == "mat" else []
    annotators = "annotations" in kind
    command = random.choices(
        ["annotate", "check", "new", "evaluate", "train", "report", "compare"], [10, 4, 1, 1, 1, 1, 2]
    )[0]
    if command == "compare" and annotators and reader in ("wfdb", "csv"):
        file = "own/r1.atr" if reader == "wfdb" else "own/r1_beats.csv"
        put(folder / "other", "wfdb")
        pair = random.sample([file, "other/r1.atr"], 2)
        because = odd.accepted_because
        if reader == "csv" and "after the end" in odd.what:
            because = "how long a recording is, only a WFDB header says to compare-annotations"
        return Case(kind, odd.what, ["compare-annotations", *pair, "--from", "0", "--fs", "250"], because)
    if command in ("check", "evaluate", "train", "report"):
        for seed in (2, 3, 4):
            put(own, reader, seed)
        return _of_database(folder, random, kind, odd, reader, command)
    if command == "new" and not annotators:
        because = odd.accepted_because or "a draft of a card names what cannot be read"
        return Case(kind, odd.what, ["data", "new", "own", "--output", "cards"], because)
    peaks = ["--peaks", ANNOTATORS[reader]] if annotators else []
    return annotated(kind, odd, [f"own/{name}", *told, *peaks], random, folder)


def annotated(kind: str, odd: Odd, arguments: list[str], random: Random, folder: Path, *, good: int = 0) -> Case:
    """``annotate``, in one format or all; `good` recordings are annotated whatever becomes of the odd one."""
    formats = random.choice([*FORMATS, ",".join(FORMATS)])
    check = partial(sane, folder / "out", good)
    return Case(kind, odd.what, ["annotate", *arguments, "-o", "out", "--format", formats], odd.accepted_because, check)


def sane(out: Path, good: int, ended: Ended) -> str | None:
    """What is wrong with what `annotate` has written: all formats have the same beats, in order, without NaN."""
    import edfio
    import wfdb

    stated = [*out.rglob("*.json")]
    if ended.status == 0 and not stated:
        return "nothing was written"
    if len(stated) < good:
        return f"{len(stated)} of {good} sound recordings were annotated"
    for path in stated:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: 1 / 0)
        counts = {"json": content["summary"]["beats"]}
        if (table := path.with_suffix(".csv")).is_file():
            beats = pd.read_csv(table)
            counts["csv"] = len(beats)
            if "nan" in table.read_text() or "inf" in table.read_text():
                return "NaN or infinity in a table"
            classified = beats[~beats["flag"].fillna("").str.contains("gap|no signal")]
            if classified.filter(like="p_").isna().any(axis=None) or not beats["sample"].is_monotonic_increasing:
                return "a beat without probabilities, or out of order"
            if len(beats) and not 0 <= beats["sample"].iloc[0] <= beats["time_s"].iloc[-1] * content["about"]["fs"] + 1:
                return "a beat outside the recording"
        if (marks := path.with_suffix(".ecgl")).is_file():
            counts["wfdb"] = len(wfdb.rdann(str(marks.with_suffix("")), "ecgl").sample)
        if (marks := path.with_suffix(".annotations.edf")).is_file():
            counts["edf"] = sum(mark.text != NO_BEAT for mark in edfio.read_edf(marks).annotations)
        if "beats" in content:
            counts["rows"] = len(content["beats"]["data"])
        if len(set(counts.values())) > 1:
            return f"different numbers of beats: {counts}"
        if (page := path.with_suffix(".html")).is_file():
            text = page.read_text(encoding="utf-8")
            if "<script>alert" in text or re.search(r"\bnan\b", text):
                return "a name is markup in a page, or NaN is in it"
    return None


def _of_database(
    folder: Path, random: Random, kind: str, odd: Odd, reader: str, command: str, text: str | None = None
) -> Case:
    """A command that reads a whole database, of which one recording or the card is odd."""
    if text is None and not (folder / "conf").is_dir():
        how = {"reader": reader, "annotator": ANNOTATORS[reader]} | (
            {"csv": "{fs: 250, unit: mV}"} if reader == "mat" else {}
        )
        odd_folders.write_card(folder, odd_folders.card(how))
    because = odd.accepted_because
    match command:
        case "check":
            words = [
                "data",
                "check",
                "own",
                "--config-dir",
                "conf",
                "--data-dir",
                ".",
                *random.choice([[], ["--json"]]),
            ]
        case "evaluate":
            words = [
                "evaluate",
                str(trained()),
                "--on",
                "own",
                "--config-dir",
                "conf",
                "--data-dir",
                ".",
                "--cache-dir",
                "c",
            ]
        case "report":
            words = ["data", "report", "own", "--config-dir", "conf", "-o", "page.html", "data_dir=.", "cache_dir=c"]
        case "train":
            words = ["train", "--config-dir", "conf", "dataset=own", "data_dir=.", "cache_dir=c", "output_dir=run",
                "trainer=cpu",
                     "split=random", *TINY]  # fmt: skip
        case "list":
            words = ["data", "list", "--config-dir", "conf", "--data-dir", "."]
            because = because or "what is listed is not read"
        case _:
            raise ValueError(command)
    return Case(kind, f"{command}: {odd.what}", words, because)


@cache
def trained() -> Path:
    """A run of seconds, for ``evaluate``."""
    run_dir = Path(mkdtemp(prefix="faults-run-"))
    ended = run(
        ["train", "experiment=demo", f"output_dir={run_dir}", f"cache_dir={run_dir}/cache", *TINY], timeout_s=600
    )
    if ended.status:
        raise RuntimeError(ended.err)
    return run_dir


def damaged_database(folder: Path, random: Random) -> Case:
    """A fault of a card, or of what stands beside the recordings."""
    for seed in (1, 2, 3, 4):
        put(folder / "own", "wfdb", seed)
    odd_folders.write_card(folder, odd_folders.card())
    odd = random.choice(odd_folders.DATABASE)(folder, random)
    command = random.choices(["check", "train", "evaluate", "report", "list"], [6, 2, 1, 1, 1])[0]
    return _of_database(folder, random, "card or folder", odd, "wfdb", command)


def one_among_others(folder: Path, random: Random) -> Case:
    """A recording that is refused loses nobody else's work."""
    put(folder / "own", "wfdb")
    kinds = ["WFDB header", "WFDB signals"]
    odd = random.choice(READERS["wfdb"][random.choice(kinds)])(folder / "own", random)
    put(folder / "own", "wfdb", 8)
    put(folder / "own" / "ward", "wfdb", 9)
    jobs = random.choice([[], [], ["--jobs", "2"]])
    return annotated("one among others", odd, ["own", *jobs], random, folder, good=2)


def odd_name(folder: Path, random: Random) -> Case:
    """Characters in names."""
    odd, path = odd_folders.odd_name(folder, random)
    if random.random() < 0.3:
        return annotated("name", odd, ["own"], random, folder)
    name = str(path)
    return annotated("name", odd, [name], random, folder)


def contradiction(folder: Path, random: Random) -> Case:
    """A rate or unit on the command line that the file contradicts, or repeats."""
    reader = random.choice(["wfdb", "edf", "csv"])
    put(folder / "own", reader)
    words, because = random.choice(
        [(["--fs", "360"], None), (["--fs", "250"], "the file states the same"), (["--unit", "uV"], None),
        (["--unit", "MV"], "the file states the same"),
         (["--fs", "249.9"], None)]
    )  # fmt: skip
    if reader == "csv" and "--unit" in words:
        words, because = ["--fs", "500"], None
    odd = Odd(f"{reader} at 250 Hz in mV with {' '.join(words)}", because)
    return annotated("contradiction", odd, [f"own/r1{SUFFIXES[reader]}", *words], random, folder)


def rows(folder: Path, random: Random) -> Case:
    """Files in Kaggle's format."""
    odd = odd_tables.beats_in_rows(folder, random)
    if random.random() < 0.6:
        return Case("Kaggle's rows", odd.what, ["evaluate", str(trained()), "--csv", "beats.csv"], odd.accepted_because)
    card = (
        "reader: rows\nfolder: .\nrows: {files: [beats.csv], classes: [N, S, V, F, Q]}\nleads: [II]\nclass_map: aami\n"
    )
    odd_folders.write_card(folder, f"defaults: [_database, _self_]\nname: own\n{card}")
    return _of_database(folder, random, "Kaggle's rows", odd, "rows", random.choice(["check", "report"]), text=card)


def lists(folder: Path, random: Random) -> Case:
    """Lists of recordings for ``annotate``."""
    for seed in (1, 2):
        put(folder / "own", "wfdb", seed)
    what, lines, because = random.choice(
        [
            ("names that are not there", ["own/r1", "own/r9"], None), ("comments and blank lines", ["# two", "",
             "own/r1", "own/r2"], "comments and blank lines are none"),
            ("a name twice", ["own/r1", "own/r1"], "a recording twice is one"),
            ("a name in two notations", ["own/r1", "own/r1.hea"], "a recording twice is one"),
            ("itself", ["some.list"], None), ("no name", [], None), ("a folder", ["own"], None),
            ("out of the folder", ["own/r1", "../../../etc/passwd"], None),
            ("binary", ["\x00\x01\x02"], None), ("long", ["x" * 5000], None),
            ("names of escapes", ["own/r1", "own/\x1b[31m"], None),
            ("dots", ["own/../own/r1", "own/./r2"], "a path may be written in many ways"),
        ]
    )  # fmt: skip
    (folder / "some.list").write_text("".join(line + "\n" for line in lines))
    return annotated("list", Odd(f"list: {what}", because), ["some.list"], random, folder)
