"""Faults around recordings: cards, tables of patients, lists, names of files, several recordings at once.

Each gets a folder with ``own``, a database of four sound recordings, and its card in ``conf/dataset/own.yaml``.
"""

import os
import shutil
from pathlib import Path
from random import Random

from campaigns.odd import Odd, put

ESCAPED = "a name is data, whatever characters it has"
SOUND = {
    "reader": "wfdb",
    "folder": "own",
    "annotator": "atr",
    "class_map": "aami",
    "patients": "record",
    "leads": "[0]",
}

# Settings of a card with odd values.
CARD: dict[str, list[tuple[str, str | None]]] = {
    "reader": [(one, None) for one in ("wav", "edf", "csv", "mat", "rows", "[wfdb]", "1", "null", "''", "simulation",
        "people", "../wfdb")],
    "folder": [(one, None) for one in ("absent", "[own]", "5", "own/r1.hea", "'own\\0'", '"\\e[31m"',
        "/proc/self/fd")]
              + [(one, "without a folder it is that of all databases") for one in ("null", "''")]
              + [("own/../own", "a path may be written in many ways"), ("./own", "a path may be written in many ways")],
    "annotator": [(one, None) for one in ("qrs", "''", "null", "5", "[atr]", "../r2.atr", "hea", "dat", "'a b'",
        "/etc/passwd")],
    "class_map": [(one, None) for one in ("aamii", "null", "''", "5", "[]", "{}", "{N: [N]}", "{N: [], V: [V]}",
        "{N: [N], V: [N]}",
                                          "{N: [N], V: null}", "{N: {a: b}, V: [V]}", "{N: [N], V: [[V]]}",
                                          "{1: [N], 2: [V]}",
                                          "{N: [N], V: ['']}", "{'': [N], V: [V]}")]
                 + [("{N: [Z], V: [Y]}", "classes without a beat are said"), ("{'[b]N[/b]': [N], V: [V]}", ESCAPED)],
    "patients": [(one, None) for one in ("recrd", "5", "[]", "{}", "{same: {r1: r2, r2: r3}}", "{comment: '('}",
        "{comment: 'nobody (x)'}",
                                         "{record: '['}", "{record: '(z)'}",
                                         "{table: {table: absent.csv, record: a, column: b}}",
                                         "{table: people.csv}", "{record: '(a+)+$'}", "{same: 5}",
                                         "{record: 'r', comment: 'p'}",
                                         "{same: {r1: null}}")]
                + [("{same: {x9: r1}}", "a rule for records that are not there changes nothing"),
                ("folder", "all are of one folder"),
                   ("{record: 'r(.)'}", "sound"), ("{comment: 'patient (.)'}", "sound"),
                   ("null", "patients that are not known are said")],
    "leads": [(one, None) for one in ("[]", "[9]", "[-1]", "[1.5]", "[VX]", "MLII", "0", "null", "[[]]", "[[[0]]]",
        "[0, 0]", "[true]",
                                      "[99999999999999999999]", "{a: 1}", "['\\e']")] + [("[0, 1]", "both leads"),
                                      ("[MLII]", "sound")],
    "records": [(one, None) for one in ("[]", "x*", "5", "[[a]]", "''", "'['", "{a: b}")]
               + [("'r[12]'", "some records are enough to be read"), ("'*'", "all of them")],
    "recorded_fs": [(one, None) for one in ("360", "0", "-1", ".nan", ".inf", "abc", "1e99", "[250]")] + [("250",
        "sound")],
    "gaps": [(one, None) for one in ("fill", "5", "null", "true")],
    "csv": [(one, None) for one in ("5", "{fs: -1}", "{fs: .nan}", "{fs: 360}", "{unit: furlong}", "{unit: uV}",
        "{gain: 0}", "{x: 1}", "[]",
                                    "{gain: 100}", "{baseline: .inf}")]
           + [("{time: 7}", "a column of time is only looked for in text files")],
    "detector": [(one, None) for one in ("eye", "5", "null", "[xqrs]")],
    "diagnoses": [(one, None) for one in ("{folder: true, classes: {N: [own], V: [x]}}", "5", "{}", "{classes: {}}")],
    "cut": [(one, None) for one in ("{fs: 0}", "{fs: 1.0e+9}", "{length: 1}", "{length: 10000000000}",
        "{rr_factor: -1}", "{margin: -1}", "{x: 1}",
                                    "{scaling: all}", "5", "null")],
    "name": [(one, None) for one in ("''", "5", "null", "[a]")]
            + [(one, ESCAPED) for one in ("'[b]own[/b]'", "'a/b'", "'../x'", "\"a\\nb\"", "'<script>'", "'%s'",
            "other")],
    "title": [(one, None) for one in ("5", "null", "[a]")] + [(one, ESCAPED) for one in ("'[b]own[/b]'", '"\\e[31m"',
        "'<script>'", "''")],
    "task": [(one, None) for one in ("mii", "5", "null")],
    "about": [(one, None) for one in ("5", "{x: 1}", "{published: {records: -1}}")]
             + [("{published: {records: 99}}", "a part of what is published may be there, and is said to be one")],
    "own": [(one, None) for one in ("5", "[a]")],
    "wrong": [("1", None)],
    "defaults": [("[absent]", None), ("5", None)],
}  # fmt: skip


def card(changes: dict[str, str] | None = None, more: str = "") -> str:
    """The text of the card."""
    settings = {"name": "own", **SOUND, **(changes or {})}
    defaults = "" if "defaults" in settings else "defaults: [_database, _self_]\n"
    return defaults + "".join(f"{key}: {value}\n" for key, value in settings.items()) + more


def write_card(folder: Path, text: str) -> None:
    path = folder / "conf" / "dataset" / "own.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def setting_of_a_card(folder: Path, random: Random) -> Odd:
    key = random.choice([*CARD])
    value, because = random.choice(CARD[key])
    write_card(folder, card({key: value}))
    return Odd(f"card: {key}: {value}", because)


def text_of_a_card(folder: Path, random: Random) -> Odd:
    text = card()
    what, changed = random.choice(
        [
            ("empty", ""), ("a list", "- a\n- b\n"), ("a number", "5"), ("no YAML", "a: [b\nc: {"),
            ("a tab", "\tname: own"), ("binary", "\x00\x01"),
            ("a tag", text + "own: !!python/object/apply:os.system ['true']\n"),
            ("an alias to itself", text + "own: &a {b: *a}\n"),
            ("aliases of aliases", text + "own:\n  a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
                f"  {chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8))),
            ("deep", text + "own: {a: " + "[" * 2000 + "]" * 2000 + "}\n"), ("a key twice", text + "name: other\n"),
            ("an interpolation to nowhere", card({"title": "${absent}"})),
            ("a resolver", card({"title": "${oc.env:HOME_SWEET_HOME}"})),
            ("an interpolation to itself", card({"title": "${.title}"})), ("no name", text.replace("name: own\n", "")),
            ("no text at all", "\udcff\udcfe"), ("two documents", text + "---\nname: b\n"),
        ]
    )  # fmt: skip
    write_card(folder, changed)
    return Odd(f"card: {what}")


def listing(folder: Path, random: Random) -> Odd:
    path, names = folder / "own" / "RECORDS", ["r1", "r2", "r3", "r4"]
    notes = "what is not in RECORDS is not used, and said to be there"
    what, lines, because = random.choice(
        [
            ("a name that is not there", [*names, "r9"], None), ("a name twice", [*names, "r1"], None),
            ("a name in two notations", [*names, "./r1"], None),
            ("a comment", ["# of us", *names], None), ("no line", [], None),
            ("blank lines", ["", *names, "  ", ""], "blank lines are none"),
            ("paths out of the folder", [*names, "../own/r1"], None), ("an absolute path", [*names, "/etc/passwd"],
             None),
            ("itself", [*names, "RECORDS"], None), ("suffixes", [f"{name}.hea" for name in names], None),
            ("some", names[:2], notes),
            ("binary", ["\x00\x01\udcff"], None), ("a long name", [*names, "x" * 5000], None),
            ("a folder", [*names, "."], None),
            ("100000 names", [f"r{at}" for at in range(9, 100_009)], None),
            ("other notation", [f" {name}\r" for name in names], notes),
        ]
    )  # fmt: skip
    path.write_bytes("".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape"))
    return Odd(f"RECORDS: {what}", because)


def table_of_patients(folder: Path, random: Random) -> Odd:
    write_card(folder, card({"patients": "{table: {table: people.csv, record: record, column: person}}"}))
    rows = ["record,person", "r1,Ada", "r2,Bo", "r3,Cy", "r4,Di"]
    free = "a table may have more rows and columns than are used"
    what, lines, because = random.choice(
        [
            ("is sound", rows, free), ("has no row", rows[:1], None), ("has no byte", [], None),
            ("lacks a record", rows[:-1], None),
            ("has other columns", ["a,b", *rows[1:]], None), ("names two people of one record", [*rows, "r1,Eve"],
             None),
            ("has a row twice", [*rows, rows[1]], free), ("has an empty cell", [*rows[:-1], "r4,"], None),
            ("has one cell in a row", [*rows[:-1], "r4"], None),
            ("has long rows", [row + ",x,y" for row in rows], free), ("is binary", ["\x00\x01\udcff\udcfe"], None),
            ("has an open quote", [*rows[:2], '"r2,Bo', *rows[3:]], None),
            ("has a huge field", [*rows[:-1], "r4," + "x" * 200_000], None),
            ("has semicolons", [row.replace(",", ";") for row in rows], None),
            ("has NUL bytes", [row + "\x00" for row in rows], ESCAPED),
            ("has names of markup", [row.replace("Ada", "[b]Ada[/b]<script>") for row in rows], ESCAPED),
        ]
    )  # fmt: skip
    (folder / "own" / "people.csv").write_bytes(
        "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
    )
    return Odd(f"table of patients: {what}", because)


def folder_of_a_database(folder: Path, random: Random) -> Odd:
    own = folder / "own"
    match random.randrange(6):
        case 0:
            os.mkfifo(own / "r5.hea")
            return Odd("a pipe r5.hea")
        case 1:
            (own / "sub").symlink_to(own)
            return Odd("a link to the folder itself", "links to folders are not followed")
        case 2:
            (own / "r5.hea").symlink_to("r5.hea")
            return Odd("a link r5.hea to itself")
        case 3:
            shutil.rmtree(own)
            own.mkdir()
            return Odd("an empty folder")
        case 4:
            shutil.copytree(own, own / "sub")
            return Odd("a copy of all recordings in a folder below")
        case _:
            (own / "r5.hea").mkdir()
            return Odd("a folder r5.hea")


DATABASE = [
    setting_of_a_card,
    setting_of_a_card,
    setting_of_a_card,
    text_of_a_card,
    listing,
    table_of_patients,
    folder_of_a_database,
]

NAMES = [
    "a b", "a=b", "a,b", "[b]x[/b]", "<script>alert(1)<", "a\nb", "a\x1b[31mb", "a\tb", "%s%n", "$(id)", "-rf",
    "--help", "a'b\"c", "\N{SNOWMAN}", "a\udcffb",
    "x" * 240, "x" * 251, ".hidden", "a#b", "~", "*", "?", "a:b", "a|b", "con", " a", "a ", "a\\b", "${x}", "{x}",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc", "é" * 100,
]  # fmt: skip


def odd_name(folder: Path, random: Random) -> tuple[Odd, Path]:
    """A sound recording with an odd name."""
    reader, name = random.choice(["wfdb", "edf", "csv"]), random.choice(NAMES)
    put(folder / "own", reader)
    suffix = {"wfdb": ".hea", "edf": ".edf", "csv": ".csv"}[reader]
    path = folder / "own" / f"{name}{suffix}"
    if random.random() < 0.3 and reader != "wfdb":  # in a folder of this name
        path = folder / "own" / name / f"r1{suffix}"
    try:
        path.parent.mkdir(exist_ok=True)
        content = (folder / "own" / f"r1{suffix}").read_bytes()
        path.write_bytes(
            content.replace(b"r1 ", f"{name} ".encode("utf-8", "surrogateescape"), 1) if reader == "wfdb" else content
        )
        (folder / "own" / f"r1{suffix}").unlink()
    except OSError:
        return Odd(f"a name too long for the disk: {name[:20]!r}…"), folder / "own" / name
    return Odd(f"{reader} called {name[:60]!r}", ESCAPED), path.relative_to(folder)
