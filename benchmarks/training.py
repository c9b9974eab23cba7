"""Beats a second that the four networks train on, under the Trainer: single precision, bfloat16, bfloat16 compiled.

    python benchmarks/training.py [--networks cnet seq bilstm bigru] [--batches 128 256 512] [--output results/speed]

MIT-BIH, split random, recipe default but for the batch size, on all cores, or as many as OMP_NUM_THREADS states. Each
figure is the best of three rounds in which the ways take turns; a round is the steps of 16,384 beats after eight that
warm up, with augmentation, clipping, optimizer and averaging, without validation. Compilation is what the first step of
the first round takes longer, from an empty cache of torch's compiler.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from filed import file_table
from pytorch_lightning.callbacks import Callback

from ecg_lightning import compose
from ecg_lightning.core.memory import keep_freed_memory
from ecg_lightning.core.threads import available_threads
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import quiet

NETWORKS = ("cnet", "seq", "bilstm", "bigru")
WAYS = {
    "fp32": ["trainer.precision=32-true"],
    "bf16": ["trainer.precision=bf16-mixed"],
    "bf16, compiled": ["trainer.precision=bf16-mixed", "compile=true"],
}
BEATS, WARM, ROUNDS = 16_384, 8, 3


class Clock(Callback):
    """Seconds of the first step, and from the end of the warm steps to that of the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_start(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())

    def on_train_batch_end(self, *_: Any) -> None:
        self.ends.append(time.perf_counter())

    @property
    def first(self) -> float:
        return self.ends[1] - self.ends[0]

    @property
    def timed(self) -> float:
        return self.ends[-1] - self.ends[WARM]


def timed(network: str, size: int, way: list[str], folder: Path) -> Clock:
    steps = BEATS // size
    settings = [f"model={network}", "dataset=mitbih", "trainer=cpu", f"optimizer.batch_size={size}", *way]
    settings += [f"+trainer.limit_train_batches={WARM + steps}", "trainer.max_epochs=1", "logger=none"]
    settings += ["trainer.check_val_every_n_epoch=2", "+trainer.enable_checkpointing=false"]
    settings += [f"callbacks.{name}=null" for name in ("best", "last", "early_stopping", "progress", "interrupt")]
    experiment = build(compose(settings, output_dir=folder / "run"))
    trainer, clock = experiment.estimator.trainer, Clock()  # type: ignore[attr-defined]
    trainer.callbacks.append(clock)
    trainer.fit(experiment.estimator.classifier, datamodule=experiment.datamodule)  # type: ignore[attr-defined]
    torch.compiler.reset()
    return clock


def measure(network: str, size: int, folder: Path) -> dict[str, Any]:
    clocks: dict[str, list[Clock]] = {way: [] for way in WAYS}
    for _ in range(ROUNDS):
        for way, settings in WAYS.items():
            clocks[way].append(timed(network, size, settings, folder))
    rates = {way: BEATS // size * size / min(clock.timed for clock in own) for way, own in clocks.items()}
    compiling = clocks["bf16, compiled"][0].first - clocks["bf16"][0].first
    found = {
        "network": network,
        "batch": size,
        "threads": available_threads(),
        "beats_s": rates,
        "compile_s": compiling,
    }
    print(json.dumps(found), flush=True)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| network | beats a batch | threads | fp32 | bf16 | ÷ fp32 | bf16, compiled | ÷ bf16 | to compile |"]
    lines.append("|---" * 9 + "|")
    for row in rows:
        single, half, compiled = (row["beats_s"][way] for way in WAYS)
        lines.append(
            f"| `{row['network']}` | {row['batch']} | {row['threads']} | {single:,.0f} | {half:,.0f} "
            f"| {half / single:.2f} | {compiled:,.0f} | {compiled / half:.2f} | {row['compile_s']:.0f} s |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batches", nargs="+", type=int, default=[128])
    parser.add_argument("--output", type=Path, help="folder with training.json and a README.md for the table")
    how = parser.parse_args()
    quiet()
    keep_freed_memory()  # as the estimator does, which calls the Trainer
    with tempfile.TemporaryDirectory() as name:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{name}/compiled"
        rows = [measure(network, size, Path(name)) for network in how.networks for size in how.batches]
    kept = how.output / "training.json" if how.output else None
    if kept:
        given = {(row["network"], row["batch"], row["threads"]) for row in rows}
        old = json.loads(kept.read_text()) if kept.exists() else []
        rows = [row for row in old if (row["network"], row["batch"], row["threads"]) not in given] + rows
        kept.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"\n{table(rows)}")
    if how.output:
        file_table(how.output, "training", table(rows))


if __name__ == "__main__":
    main()
