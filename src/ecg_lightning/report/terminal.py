"""What training and sweeps print."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ecg_lightning.report.cells import NONE, Cell, Column, Mark, Number, Row, Section, Table, clean
from ecg_lightning.report.elsewhere import elsewhere_section
from ecg_lightning.report.matching import detected_section
from ecg_lightning.report.render import Output, show
from ecg_lightning.report.tables import pooled_sections, run_section, sweep_sections
from ecg_lightning.runs.schema import RunRecord

if TYPE_CHECKING:
    from ecg_lightning.data.verify import DatabaseCheck
    from ecg_lightning.models.contract import BeatModel
    from ecg_lightning.pipeline.build import Experiment
    from ecg_lightning.training.transfer import Transfer


def announce(experiment: "Experiment") -> None:
    """Print what is trained on what, and what a transfer loads."""
    datamodule, estimator = experiment.datamodule, experiment.estimator
    beats, folds = datamodule.beats, datamodule.folds
    sizes, counts = ("  ".join(f"{name} {n:,}" for name, n in of.items()) for of in (folds.sizes(), beats.counts()))
    kind = "baseline" if estimator.baseline else f"{estimator.n_parameters:,} parameters"
    print(f"model    {estimator.name}, {kind}")
    print(f"beats    {experiment.config['dataset']['name']}{' (SYNTHETIC)' if beats.synthetic else ''}: {counts}")
    print(f"split    {folds.protocol.sentence()}: {sizes}", flush=True)
    classifier = getattr(estimator, "classifier", None)
    if classifier is not None and (origin := classifier.hparams["about"]["origin"]):
        show(transfer_section(classifier.model, classifier.transfer, origin))


def transfer_section(model: "BeatModel", transfer: "Transfer", origin: Mapping[str, Any]) -> Section:
    """What is loaded, what is new and what is trained: a row for each part of the network."""
    columns = [Column("part", text=True), Column("start", text=True), Column("trained", text=True), Column("weights")]
    rows, frozen, learning = [], transfer.is_frozen(0), 0
    later = f"after epoch {transfer.frozen_epochs}" if transfer.mode == "finetune" else "frozen"
    slower = "yes" if transfer.backbone_lr == 1 else f"rate × {transfer.backbone_lr:g}"
    for part, module in sorted(model.named_children(), key=lambda child: model.is_head(child[0])):
        if n := sum(parameter.numel() for parameter in module.parameters()):
            loaded = any(transfer.loads(model, f"{part}.{name}") for name, _ in module.named_parameters())
            trained = "yes" if model.is_head(part) else later if frozen else slower
            learning += n * (trained != later)
            rows.append(Row([part, "loaded" if loaded else "new", trained, f"{n:,}"]))
    rows.append(Row(["all", "", f"{learning:,} weights", f"{model.n_parameters:,}"], mark="total"))
    trained_on = f", trained on {origin['task']}" if "task" in origin else ""
    title = f"Transfer ({transfer.mode}) from {origin['file']}{trained_on}"
    return Section(title=title, tables=[Table(columns=columns, rows=rows)])


def print_run(record: RunRecord) -> None:
    """Print the table of a finished run or evaluation."""
    show(run_section(record), *(detected_section(one) for one in [record] if one.matched is not None))


def print_elsewhere(home: RunRecord | None, away: Mapping[str, RunRecord]) -> None:
    """Print the table of tests on other databases beside the test of the run."""
    show(elsewhere_section(home, away), *(detected_section(one) for one in away.values() if one.matched is not None))


def print_sweep(
    runs: Mapping[str, RunRecord], failures: Mapping[str, str], pooled: Mapping[str, Any], folder: Path
) -> None:
    """Print the tables of a finished sweep (see `sweep_sections` and `pooled_sections`), and where its files are."""
    show(*sweep_sections(runs, failures), *pooled_sections(pooled))
    if pooled["low_data"]:
        print("Draw the curve:", shlex.join(["ecg-lightning", "plot", str(folder), "--what", "low-data"]))
    _line(f"Results in {folder}")


def print_databases(databases: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table of databases, and the title, licence and citation of each."""
    numbers, texts = ("records", "people", "beats", "Hz"), ("leads", "here", "tried on")
    columns = [Column("database", text=True), *map(Column, numbers), *(Column(name, text=True) for name in texts)]
    rows = []
    for name, one in databases.items():
        beats = sum(of.get("beats", 0) for of in one["classes"].values()) or None
        counts = [NONE if n is None else Number(n) for n in (one["records"], one["patients"], beats)]
        leads = ", ".join("/".join(map(str, lead)) if isinstance(lead, list) else str(lead) for lead in one["leads"])
        tried = (one["tried"] or NONE).removesuffix(" recordings")
        fs = NONE if one["fs"] is None else f"{one['fs']:g}"
        rows.append(Row([name, *counts, fs, leads, "yes" if one["here"] else "no", tried]))
    show(Section(tables=[Table(columns=columns, rows=rows)]))
    for name, one in databases.items():
        sizes = f" ({one['size']})" if one["size"] else ""
        classes = ", ".join(f"{kind} {n:,} {unit}" for kind, of in one["classes"].items() for unit, n in of.items())
        parts = (f"{name}: {one['title']}{sizes}", classes, one["citation"], one["licence"])
        _line(". ".join(part for part in parts if part))
    _line("Get one with ecg-lightning data fetch NAME; add your own with ecg-lightning data new FOLDER")


def print_weights(cards: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a row for each test of weights that ship, and what each of them was trained on."""
    columns = [Column("weights", text=True), Column("tested on", text=True), Column("lead", text=True)]
    columns += map(Column, ("beats", "macro-F1", "S", "V", "MI"))
    rows = []
    for name, card in cards.items():
        for test in card["expected"] if card["kind"] == "beats" else ():
            f1 = [test["macro_f1"], *(test["classes"].get(of, {}).get("f1") for of in ("S", "V", "MI"))]
            lead = test["leads"] if isinstance(test["leads"], str) else ", ".join(test["leads"])
            metrics = [NONE if value is None else Number(value, 1, factor=100) for value in f1]
            rows.append(Row([name, test["tested_on"], lead, Number(test["beats"]), *metrics]))
    if rows:
        show(Section(title="F1 of unseen people, percent", tables=[Table(columns=columns, rows=rows)]))
    for name, card in cards.items():
        _line(f"{name}: {card['title']}. {card['description']}".strip())
        _line(f"  {card['command']}", "cyan")


def _line(text: str, style: str = "") -> None:
    cleaned = "\n".join(map(clean, text.split("\n")))
    Output().print(Text(cleaned, style), soft_wrap=True)  # paths and commands are copied: they are never broken


def print_check(one: "DatabaseCheck", *, most_problems: int = 10) -> None:
    """Print the table of a database, its problems, and what gets or repairs it."""
    _line(f"{one.source.card.title} in {one.source.folder}", "bold")
    if not one.present:
        _line("  is not there; get it with:" if one.source.card.download else "  is not there")
        _line(f"    {one.remedy}\n", "cyan")
        return
    columns = [Column("", text=True), Column("here"), Column("published")]
    rows = []
    for count in one.counts:
        mark: Mark = "" if count.published is None else "better" if count.found == count.published else "missing"
        published = NONE if count.published is None else Number(count.published)
        rows.append(Row([count.what, Cell(Number(count.found), mark=mark), published]))
    show(Section(tables=[Table(columns=columns, rows=rows)]))
    for note in one.notes:
        _line(f"  {note}")
    for problem in one.problems[:most_problems]:
        _line(f"  wrong: {problem}", "red")
    if len(one.problems) > most_problems:
        _line(f"  … and {len(one.problems) - most_problems} more; --json lists all", "red")
    if one.problems:
        fetched = "fetch again, which replaces what is damaged and keeps the rest:"
        _line(f"  {fetched}" if one.source.card.download else "  what to do:")
        _line(f"    {one.remedy}\n", "cyan")
    elif one.complete:
        _line("  complete\n", "green")
    elif one.complete is None:
        _line("  nothing wrong with it\n", "green")
    else:
        _line("  part of what is published; nothing wrong with it\n", "yellow")
