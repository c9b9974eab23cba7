"""``ecg-lightning data …``: databases."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ecg_lightning.cli.options import ConfigDir, DataDir, Json

data = typer.Typer(help="Databases: list, download and check them, and add your own.", no_args_is_help=True)


@data.command("list")
def list_databases(data_dir: DataDir = Path("data"), config_dir: ConfigDir = None, as_json: Json = False) -> None:
    """Print all databases: what is published about them, their licence and citation, and which are there."""
    from ecg_lightning.pipeline.cards import describe_cards
    from ecg_lightning.report.terminal import print_databases

    databases = describe_cards(data_dir, config_dir)
    if as_json:
        print(json.dumps(databases, indent=2))
    else:
        print_databases(databases)


@data.command("fetch")
def fetch_data(
    dataset: Annotated[str, Argument(help="Name of a database, see ecg-lightning data list.")],
    data_dir: DataDir = Path("data"),
    config_dir: ConfigDir = None,
    url: Annotated[str | None, Option(help="Other server with the same files (default: the publisher's).")] = None,
    records: Annotated[str | None, Option(help="E.g. 100,101 or patient001/s0010_re (default: all).")] = None,
    connections: Annotated[int, Option(min=1, max=16, help="Number of parallel downloads.")] = 4,
) -> None:
    """Download a database. Run it again to resume, or to replace damaged files."""
    from rich.filesize import decimal

    from ecg_lightning.data.download import fetch
    from ecg_lightning.pipeline.cards import cards_to_fetch

    names = None if records is None else [name.strip() for name in records.split(",") if name.strip()]
    for card in cards_to_fetch(dataset, config_dir):
        done = fetch(card, data_dir, url=url, records=names, connections=connections)
        total = f"{done.downloaded + done.kept} files, {decimal(done.size)}"
        print(f"{done.folder}: {total}; {done.downloaded} of them were downloaded now")


@data.command("check")
def check_data(
    datasets: Annotated[list[str] | None, Argument(metavar="NAME", help="Databases (default: all there).")] = None,
    data_dir: DataDir = Path("data"),
    config_dir: ConfigDir = None,
    as_json: Json = False,
) -> None:
    """Read databases as training does; print what is in them and what is wrong.

    Exit code 1 if anything is wrong or not there.
    """
    from ecg_lightning.data.verify import check, is_there
    from ecg_lightning.pipeline.cards import load_cards, source_of
    from ecg_lightning.report.terminal import print_check

    sources = [source_of(card, data_dir) for card in load_cards(config_dir, datasets or None).values()]
    checks = []
    for source in sources if datasets else filter(is_there, sources):
        checks.append(check(source))
        if not as_json:
            print_check(checks[-1])
    right = bool(checks) and all(one.present and not one.problems for one in checks)
    if as_json:
        print(json.dumps({"ok": right, "databases": {one.source.name: one.plain() for one in checks}}, indent=2))
    elif not checks:
        print(f"{data_dir} holds no database; ecg-lightning data list shows which can be fetched")
    if not right:
        wrong = [one.source.name for one in checks if not one.present or one.problems]
        print(f"error: {', '.join(wrong) or 'no database'}: not there, or something is wrong with it", file=sys.stderr)
        raise typer.Exit(1)


@data.command("new")
def add_database(
    folder: Annotated[Path, Argument(help="Folder of recordings: WFDB, EDF or BDF, CSV, MATLAB.")],
    name: Annotated[str | None, Option(help="Name of the database (default: that of the folder).")] = None,
    output: Annotated[Path, Option(help="Folder of your cards, which go into OUTPUT/dataset.")] = Path("conf"),
) -> None:
    """Look at a folder of recordings, and write the draft of its card: the file that makes it a database."""
    from ecg_lightning.pipeline.cards import new_card

    path = new_card(folder, name, output)
    print(path.read_text(encoding="utf-8"), end="")
    where = shlex.join(["--config-dir", str(output)])
    print(f"{path} is a draft: read it, decide what it leaves open, then")
    print(f"  ecg-lightning data check {path.stem} {where}")
    print(f"  ecg-lightning train {where} dataset={path.stem}")


@data.command("report")
def report_data(
    dataset: Annotated[str, Argument(help="The name of a card, or of several: mitbih,svdb.")],
    overrides: Annotated[list[str] | None, Argument(help="As for train, e.g. dataset.leads=[0,1] data_dir=…")] = None,
    config_dir: Annotated[Path | None, Option(help="Folder with more cards, in dataset/.")] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="The page (default: data_DATASET.html).")] = None,
) -> None:
    """Write what is in a database as a single page: beats, records, rhythm, typical beats, quality, what is odd."""
    from ecg_lightning.core.startup import quick_imports

    with quick_imports():
        from ecg_lightning.report.data_page import write_data_report

    print(write_data_report(dataset, overrides or [], output, config_dir=config_dir))
