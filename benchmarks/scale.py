"""Time and memory of every step of an experiment by its number of beats: cut, split, train, test, score, report.

    python benchmarks/scale.py [--sizes 100000 1000000 10000000] [--folder /tmp/scale] [--output results/scale]

The recordings of 100 simulated people of 14 minutes are read from files, under the names of as many people as are
needed, and cut as any recording is; so what is learnt is worth nothing, and the cost is that of a real database. Each
size is an experiment in a process of its own: cut; load, check and split by patient; gather all batches of an epoch;
train ``cnet`` with 2 % of them, and validate; test; score with intervals over people;
report without embedding. Other steps are calibration and saving. Times are seconds of a core, and on the clock in
brackets. Memory is the resident memory of the process, the largest within the step. How well blocks mix the beats is
measured on batches of an epoch.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from ecg_lightning.core.startup import quick_imports
from ecg_lightning.data.databases import registry
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.recording import Recording
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated

PEOPLE, MINUTES, EACH = 100, 14, 1000  # EACH: about so many beats of a person
STEPS = ("cut", "split", "batches", "epoch", "test", "scores", "report", "other")  # other: calibration, saving
GIB = 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiled(Synthetic):
    """The simulated recordings in a folder, under other names."""

    def recording(self, number: int) -> Recording:
        name, file = f"{number:06d}", self.data_dir / f"{number % PEOPLE}.npz"
        if not file.is_file():
            one = super().recording(number % PEOPLE)
            np.savez(file, signals=one.signals, peaks=one.peaks, labels=one.labels)
        with np.load(file) as read:
            return Recording(
                record=name,
                patient=name,
                lead_names=("lead 0",),
                fs=float(self.how.fs),
                **{key: read[key] for key in read},
            )


class Steps:
    """Seconds, seconds of a core, and largest resident memory of each step, as they follow each other."""

    def __init__(self) -> None:
        self.seconds, self.cores, self.memory = (defaultdict[str, float](float) for _ in range(3))
        self.now, self.children, self.used_by = "start", 0.0, dict[str, float]()
        self.began = self._clocks()
        threading.Thread(target=self._watch, daemon=True).start()

    def enter(self, step: str) -> None:
        for times, end, began in zip((self.seconds, self.cores), self._clocks(), self.began, strict=True):
            times[self.now] += end - began
        self.memory[self.now] = max(self.memory[self.now], status("self", "VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")  # the largest so far is forgotten
        self.now, self.began = step, self._clocks()

    def _clocks(self) -> tuple[float, float]:
        return time.monotonic(), time.process_time() + sum(self.used_by.values())

    def wrapped(self, function: Any, step: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.enter(step)
            try:
                return function(*arguments, **named)
            finally:
                self.enter("other")

        return call

    def _watch(self) -> None:
        while True:
            pids = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
            self.children = max(self.children, sum(status(pid, "VmRSS") for pid in pids))
            for pid in pids:
                with contextlib.suppress(OSError):
                    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                    self.used_by[pid] = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
            time.sleep(0.5)


def status(pid: str, key: str) -> float:
    """GiB of a process; 0 of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith(key))
    except (OSError, StopIteration):
        return 0.0


def measure(n: int, folder: Path, overrides: list[str]) -> dict[str, Any]:
    """One experiment with about `n` beats."""
    with quick_imports():
        from ecg_lightning.pipeline import record
        from ecg_lightning.pipeline.build import make_datamodule
        from ecg_lightning.pipeline.train import fit_and_test, prepare
        from ecg_lightning.report import write_report

    registry.READERS["tiled"] = Tiled  # type: ignore[index]
    words = [
        "dataset=synthetic", "dataset.reader=tiled", f"dataset.simulation.minutes={MINUTES}", "dataset.simulation.fs=125",
        f"dataset.simulation.patients={n // EACH}", f"data_dir={folder}", f"cache_dir={folder / 'cache'}",
        "split=patient", "trainer=cpu", "trainer.max_epochs=1", "+trainer.limit_train_batches=0.02",
 *overrides,
    ]  # fmt: skip
    run = folder / f"run-{n}"
    shutil.rmtree(run, ignore_errors=True)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    run.mkdir(parents=True)
    cfg, steps = compose(words, output_dir=run), Steps()
    make_datamodule(
        validated(compose([*words, f"dataset.simulation.patients={PEOPLE}"], output_dir=run))
    ).prepare_data()
    shutil.rmtree(folder / "cache")
    steps.enter("cut")
    make_datamodule(validated(cfg)).prepare_data()
    steps.enter("split")
    experiment = prepare(cfg)
    steps.enter("batches")
    for _ in experiment.datamodule.train_dataloader():
        pass
    steps.enter("other")
    experiment.estimator.fit = steps.wrapped(experiment.estimator.fit, "epoch")  # type: ignore[method-assign]
    experiment.estimator.predict_proba = steps.wrapped(experiment.estimator.predict_proba, "test")  # type: ignore[method-assign]
    record.score_beats = steps.wrapped(record.score_beats, "scores")
    fit_and_test(experiment)
    mixing = mixing_of(experiment.datamodule)
    beats, size = experiment.datamodule.beats, sum(file.stat().st_size for file in (folder / "cache").glob("*.npy"))
    found = {
        "beats": len(beats),
        "people": n // EACH,
        "tested": len(experiment.datamodule.folds.test),
        "GB": size / 1e9,
    }
    del experiment, beats
    steps.enter("report")
    write_report([run], embedding=False)
    steps.enter("other")
    return found | {
        "seconds": steps.seconds,
        "cores": steps.cores,
        "memory": steps.memory,
        "children": steps.children,
        "mixing": mixing,
    }


def mixing_of(datamodule: Any) -> dict[str, Any]:
    """Of batches of an epoch: different people in each, and the deviation of the share of N, in pools and altogether."""
    loader = datamodule.train_dataloader()
    sampler, rows = loader.batch_sampler, loader.dataset.rows
    people, is_n = datamodule.beats.patients.codes, datamodule.beats.known_labels == 0
    found: dict[str, Any] = {"pool": sampler.pool, "batch": sampler.batch_size}
    for name, pool in (("pools", sampler.pool), ("altogether", None)):
        sampler.pool = pool
        batches = [rows[batch] for batch, _ in zip(sampler, range(2000), strict=False)]
        different = np.mean([len(np.unique(people[batch])) for batch in batches])
        found[name] = {
            "people": float(different),
            "deviation": float(np.std([is_n[batch].mean() for batch in batches])),
        }
    return found


def text_of(found: list[dict[str, Any]]) -> str:
    """The tables of `README.md`."""
    sizes = [f"{one['beats']:,} beats" for one in found]
    lines = ["", f"| | {' | '.join(sizes)} | last ÷ one before, by beat |", "|---" * (len(found) + 2) + "|"]
    for step in (*STEPS, "all"):
        parts = STEPS if step == "all" else (step,)
        rows = [
            (one["beats"], *(sum(one[key][part] for part in parts) for key in ("cores", "seconds"))) for one in found
        ]
        memory = [max(one["memory"][part] for part in parts) for one in found]
        cells = [
            f"{cores:,.1f} s ({wall:,.1f}), {gib:.2f} GiB" for (_, cores, wall), gib in zip(rows, memory, strict=True)
        ]
        (before, once, _), (beats, now, _) = rows[-2:] if len(rows) > 1 else rows * 2
        lines.append(f"| {step} | {' | '.join(cells)} | {now / beats / (once / before):.2f} |")
    children = ", ".join(f"{one['children']:.2f}" for one in found)
    lines += ["", f"Processes that cut, together at most: {children} GiB.", ""]
    for one in found:
        pools, altogether = one["mixing"]["pools"], one["mixing"]["altogether"]
        lines.append(
            f"- {one['beats']:,} beats, {one['GB']:.2f} GB, {one['people']:,} people; batches of {one['mixing']['batch']} shuffled in "
            f"{'pools of ' + format(one['mixing']['pool'], ',') if one['mixing']['pool'] else 'one'}: "
            f"{pools['people']:.1f} people in each (altogether: {altogether['people']:.1f}), standard deviation of the "
            f"share of class N {pools['deviation']:.4f} ({altogether['deviation']:.4f})"
        )
    return "\n".join(lines) + "\n"


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Seconds and memory of each step by the number of beats."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, key, unit in zip(
        figure.subplots(1, 2), ("cores", "memory"), ("seconds of a core", "GiB resident"), strict=True
    ):
        for step in STEPS:
            axes.plot([one["beats"] for one in found], [one[key][step] for one in found], "o-", label=step)
        axes.set(xscale="log", yscale="log" if key == "cores" else "linear", xlabel="beats", ylabel=unit, ylim=None)
        axes.grid(alpha=0.3)
    axes.set_ylim(0)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp/scale"), help="for 750 bytes a beat; emptied at the end"
    )
    parser.add_argument("--output", type=Path, help="folder for README.md, scale.json and scale.png")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments, overrides = parser.parse_known_args()
    if arguments.child:
        found = measure(arguments.child, arguments.folder, overrides)
        (arguments.folder / "found.json").write_text(json.dumps(found))
        return
    every = []
    for size in arguments.sizes:
        own = ["--child", str(size), "--folder", str(arguments.folder), *overrides]
        subprocess.run([sys.executable, __file__, *own], check=True)
        every.append(json.loads((arguments.folder / "found.json").read_text()))
        print(json.dumps(every[-1]), flush=True)
    every.sort(key=lambda one: one["beats"])
    shutil.rmtree(arguments.folder)
    print(text_of(every))
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        (arguments.output / "scale.json").write_text(json.dumps(every, indent=1) + "\n")
        words = (
            f"`python benchmarks/scale.py`, {os.cpu_count()} cores: {' '.join(__doc__.split(chr(10) * 2)[2].split())}"
        )
        (arguments.output / "README.md").write_text(f"# Cost by number of beats\n\n{words}\n{text_of(every)}")
        draw(every, arguments.output / "scale.png")


if __name__ == "__main__":
    main()
