"""What a transfer loads and what learns, for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from ecg_lightning.models import BeatModel
from ecg_lightning.training.transfer import Transfer


def transfer_table(model: BeatModel, transfer: Transfer, origin: Mapping[str, Any]) -> RenderableType:
    """What was loaded, what is new, what learns: a row for each part of the network."""
    learned = f", which learned {origin['task']}" if "task" in origin else ""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("part")
    table.add_column("weights", justify="right")
    table.add_column("start")
    table.add_column("learns", justify="right")
    frozen, learning = transfer.is_frozen(0), 0
    for part, module in sorted(model.named_children(), key=lambda child: model.is_head(child[0])):
        n = sum(parameter.numel() for parameter in module.parameters())
        if not n:
            continue
        loaded = any(transfer.loads(model, f"{part}.{name}") for name, _ in module.named_parameters())
        learns = model.is_head(part) or not frozen
        later = f"after epoch {transfer.frozen_epochs}" if transfer.mode == "finetune" and frozen else "frozen"
        rate = f"rate × {transfer.backbone_lr:g}" if not model.is_head(part) and transfer.backbone_lr != 1 else "yes"
        learning += n if learns else 0
        table.add_row(part, f"{n:,}", "loaded" if loaded else "new", rate if learns else later)
    table.add_section()
    table.add_row("all", f"{model.n_parameters:,}", "", f"{learning:,}")
    return Group(f"Transfer ({transfer.mode}) from {origin['file']}{learned}", table)
