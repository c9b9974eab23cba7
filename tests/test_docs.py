"""The pages are what newcomers type from: what is printed there runs, or at least is a command that there is.

- ``python``: runs, in the order of the page. With a title it is a file of that name, as are ``yaml`` and ``toml``.
- ``bash`` on a tutorial: each line runs. With a title (*needs MIT-BIH*, *on a cluster*), and on all other pages, it is
  checked: the settings of ``train`` are composed and validated, options and choices of other commands are parsed.
- Other blocks, such as ``text``, show output.

The notebook runs as well; ``jupyter execute --inplace`` renews the outputs that are kept in it.
"""

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

from ecg_lightning.cli.main import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
WRITTEN = ("*.md", "tutorials/*.md", "how-to/*.md", "explanation/*.md")  # by hand
PAGES = [ROOT / "README.md", *(page for name in WRITTEN for page in sorted(DOCS.glob(name)))]
TUTORIALS = [page for page in PAGES if page.parent.name == "tutorials"]
BLOCK = re.compile(r"^( *)```(\w+)(?: title=\"(.*?)\")?\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
LONG = re.compile(r"(dataset\.simulation\.minutes|trainer\.max_epochs)=\d+")  # with less of it the same works
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def blocks(page: Path) -> Iterator[tuple[str, str, str]]:
    """Language, title and text of each block."""
    for indent, language, title, text in BLOCK.findall(page.read_text(encoding="utf-8")):
        yield language, title, re.sub(f"^{indent}", "", text, flags=re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command in a block."""
    for line in text.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def check(words: list[str]) -> None:
    """Fail if this is no command of the project with options and settings that it has."""
    program, *rest = words
    if words[:2] in (["ecg-lightning", "train"], ["python", "train.py"]):
        check_settings(*rest[1:])
    elif program == "ecg-lightning":
        group: click.Command = typer.main.get_command(app)
        while isinstance(group, click.Group):
            _, found, rest = group.resolve_command(click.Context(group), rest)
            assert found is not None
            group = found
        group.make_context(group.name, [re.sub(r"\$\w+", "1", word) for word in rest])
    elif program == "python":
        assert (ROOT / rest[0]).is_file()
    elif program == "make":
        assert re.search(f"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        extras = re.findall(r"ecg-lightning\[([\w,]+)\]", " ".join(rest))
        assert {name for listed in extras for name in listed.split(",")} <= set(PROJECT["optional-dependencies"])
    else:
        assert program == "source", f"{program} is no command of the project"


@cache
def check_settings(*words: str) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from ecg_lightning.pipeline.config import compose
    from ecg_lightning.pipeline.settings import validated

    given = [word for word in words if not word.startswith("-")]
    parsed = OverridesParser.create().parse_overrides(given)
    alternatives = [
        [f"{one.key_or_group}={value}" for value in one.sweep_string_iterator()] if one.is_sweep_override() else [word]
        for one, word in zip(parsed, given, strict=True)
    ]
    for at in {0, -1} if any(len(values) > 1 for values in alternatives) else {0}:  # not their product
        cfg = compose([values[at] for values in alternatives], output_dir="outputs/docs")
        if "published_transfer" not in " ".join(words):  # which takes its checkpoints from the sweep's folder
            validated(cfg)


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader's empty folder; beats that are cut once are shared."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECG_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache-of-docs"))
    monkeypatch.delenv("ECG_DATA_DIR", raising=False)
    return tmp_path


@pytest.fixture
def run(folder: Path, command: Callable[..., int], plugin: Callable[..., None]) -> Callable[[list[str]], None]:
    def run(words: list[str]) -> None:
        if words == ["pip", "install", "-e", "."]:  # as it leaves a package for Python: entry points and a path
            project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
            for group, entries in project["entry-points"].items():
                entry = "\n".join(f"{name} = {value}" for name, value in entries.items())
                plugin(group, entry, name=f"{project['name']}-{group}")
        elif words[:2] == ["ecg-lightning", "train"]:
            assert command(*(LONG.sub(r"\1=1", word) for word in words[2:])) == 0, shlex.join(words)
        elif words[0] == "ecg-lightning":
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, f"{shlex.join(words)}\n{done.output}"
        else:
            check(words)

    return run


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_prints_works(
    page: Path, folder: Path, run: Callable[[list[str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    names: dict[str, object] = {}
    for language, title, text in blocks(page):
        if language in ("python", "yaml", "toml") and title:
            (folder / title).parent.mkdir(parents=True, exist_ok=True)
            (folder / title).write_text(text)
        elif language == "python":
            exec(text, names)
        elif language == "bash":
            for words in commands(text):
                (run if page in TUTORIALS and not title else check)(words)


def test_the_notebook_of_the_first_hour_runs(folder: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(DOCS / "tutorials" / "first_hour.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert sum(cell.cell_type == "code" and bool(cell.outputs) for cell in notebook.cells) >= 8
