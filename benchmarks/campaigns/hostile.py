"""Names that are code elsewhere (markup, formulas, escape sequences) in runs, and what a command makes of them."""

import csv
import io
import os
import re
import shutil
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from random import Random
from typing import Any

from campaigns.finished import make_run
from campaigns.frame import Case, Ended

NAMES = "Names are data: they are shown, and are no markup, command or escape sequence."
HOSTILE = (
    "[/b]", "[bold red]x[/]", "[link=https://a.example]x[/link]", "[" * 50, "[/]", ":smile:", "\\[b]",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'onmouseover='x", "</style><script>x</script>",
    "</title><script>x</script>", "<!--", "]]>", "&lt;script&gt;", "javascript:alert(1)", "{{ 7 * 7 }}", "{% raw %}",
    "{0.__class__}", "a|b", "| --- |", "`x`", "```", "[x](javascript:x)", "![x](https://a.example/x.png)", "# x",
    "- x", "1. x", "~~x~~", "$x$", "\\input{/etc/passwd}", "x\n\\input{/etc/passwd}", "x%y", "%", "~^\\", "\\\\",
    "$\\frac$", "$", "{", "}", "&", "#1", "\\end{tabular}", "[2cm]", "*", "a\nb", "a\r\nb", "\n\n", "\t",
    "\x1b[31mred\x1b[0m", "\x1b]8;;https://a.example\x07x\x1b]8;;\x07", "\x9b31m", "\x07", "\x08\x08", "\0",
    "\u202eabc", "\u200f", "\u2066x\u2069", "\u2028", "\ufeff", "\u00ad", "=1+1", "=cmd|' /C calc'!A0", "+1", "-1",
    "@SUM(1)", "\t=1", "ééé", "心電図", "💔", "a\u0301" * 20, "a" * 10**4, "w " * 5000, "", " ", ".", "..", "a.b",
    "NaN", "None", "true", "-", "--help", "'", '"', "a,b", "a;b",
)  # fmt: skip
FIELDS = (
    "model", "dataset", "title", "fingerprint", "class_map", "augmentation", "resampling", "loss", "transfer",
    "precision", "monitor", "config_digest", "started", "git", "task",
)  # fmt: skip
OF_EVALUATIONS = ("checkpoint", "trained_on", "warning")
PLACES = (
    *FIELDS, *OF_EVALUATIONS, "overrides", "leads", "versions", "dropped", "split", "left out",
    "class", "record", "config", *["folder"] * 4,
)  # fmt: skip
COMMANDS = {
    "terminal": ["table", "{}", "--only-run"],
    "markdown": ["table", "{}", "--format", "markdown"],
    "latex": ["table", "{}", "--format", "latex"],
    "csv": ["table", "{}", "--format", "csv"],
    "report of a run": ["report", "{}/a", "--brief", "--baseline", "{}/b"],
    "report of runs": ["report", "{}"],
    "plot": ["plot", "{}/a"],
    "compare": ["compare", "{}/a", "{}/b"],
}


def named(folder: Path, random: Random) -> Case:
    """Two runs in a folder, with such a name somewhere."""
    name, place, command = random.choice(HOSTILE), random.choice(PLACES), random.choice(list(COMMANDS))
    home, fields = folder / "runs", _fields(place, name)
    if place == "folder":
        name = random.choice([os.fsdecode(b"caf\xe9 \xff"), re.sub("[/\0]", "", name)[:80].strip(".") or "x"])
        home = folder / name
    try:
        make_run(home / "a", **fields)
        make_run(home / "b", seed=1, **fields)
        if "kind" in fields:  # they are tests of another run
            shutil.move(home, folder / "on")
            make_run(home / "a")
            make_run(home / "b", seed=1)
            shutil.move(folder / "on", home / "a" / "on")
    except ValueError:  # no record can have it there
        shutil.rmtree(home)
        return named(folder, random)
    words = [word.format(f"./{home.name}") for word in COMMANDS[command]]
    check = partial(_markup, folder, command)
    return Case(f"name in {command}", f"{place} is {name!r:.60}", words, NAMES, check)


def _fields(place: str, name: str) -> dict[str, Any]:
    """The fields of a record with a name at a place."""
    from ecg_lightning.data.protocol import LeftOut, Protocol

    left_out = (LeftOut(reason=name, records=(name,), beats=9),)
    split = {"seed": 0, "by": "patients", "test_fraction": 0.2}
    special: dict[str, dict[str, Any]] = {
        "overrides": {"overrides": (name, f"x={name}")},
        "leads": {"leads": (name, "V1")},
        "versions": {"versions": {name: "1", "python": name}},
        "dropped": {"dropped": {name: {name: 3}}},
        "split": {"protocol": Protocol(name=name, **split)},
        "left out": {"protocol": Protocol(name="own", left_out=left_out, **split)},
        "class": {"classes": ("A", name, "V")},
        "record": {"names": name.replace("{", "{{").replace("}", "}}") + "{}"},
        "config": {"config": {name: {name: name}, "model": {"name": name}}},
        **{one: {one: name, "kind": "evaluation", "dataset": "other"} for one in OF_EVALUATIONS},
        "folder": {},
    }
    return special.get(place, {place: name})


CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def _markup(folder: Path, command: str, ended: Ended) -> str | None:
    """What of an output is markup, a formula or a control character, and came from a name."""
    if control := CONTROL.search(ended.out + ended.err):
        return f"control character {control[0]!r} on the terminal"
    if ended.status:
        return None
    for file in folder.rglob("report.html"):
        text = file.read_text(encoding="utf-8")
        page = _Page()
        page.feed(text)
        if control := CONTROL.search(text):
            return f"control character {control[0]!r} in the page"
        if page.wrong or "</html>" not in text[-20:]:
            return f"in the page: {page.wrong}"
    wrong = {"markdown": _markdown, "latex": _latex, "csv": _csv}.get(command)
    return wrong(ended.out) if wrong else None


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


def _markdown(text: str) -> str | None:
    bare = re.sub(r"\\.", "", text)
    for table in bare.split("\n\n"):
        if len({line.count("|") for line in table.splitlines() if line.startswith("|")}) > 1:
            return "rows of different lengths in Markdown"
    found = re.search(r".{0,20}[<`\[$].{0,20}", bare)
    return f"markup in Markdown: {found[0]}" if found else None


OF_LATEX = (
    "usepackage|begin|end|caption|centering|scriptsize|setlength|tabcolsep|medskip|multicolumn|cmidrule|toprule|"
    "midrule|bottomrule|textit|textbf|addlinespace|text(?:backslash|asciitilde|asciicircum|less|greater|bar)|pm|times|to|"
    "kappa"
)


def _latex(text: str) -> str | None:
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    unknown = [one for one in re.findall(r"\\([A-Za-z]+)", body) if not re.fullmatch(OF_LATEX, one)]
    plain = body.replace("\\\\", "")
    braces = re.sub(r"\\[{}]|[^{}]", "", plain)
    while "{}" in braces:
        braces = braces.replace("{}", "")
    if unknown or braces or re.search(r"(?<!\\)%", plain) or re.search(r"\\\\\s*[\[*]", body):
        return f"LaTeX: commands {unknown}, braces {braces!r}, a comment, or an argument of \\\\"
    return None


def _csv(text: str) -> str | None:
    lines = list(csv.reader(io.StringIO(text)))
    if len({len(line) for line in lines}) != 1:
        return "lines of different lengths in CSV"
    formulas = [cell for line in lines for cell in line if re.match(r"[=@\t\r]|[-+](?![\d.e-]+$)", cell)]
    return f"a formula in CSV: {formulas[0]!r:.40}" if formulas else None
