"""Time and memory of every step of an experiment by its number of beats: cut, split, train, test, score, report.

    python benchmarks/scale.py [--quick] [--sizes 100000 1000000 10000000] [--folder /tmp/scale] [--output FOLDER]

The recordings of 100 simulated people are read from files, under the names of as many people as are needed, and cut as
any recording is: what is learnt is worth nothing, and the cost is that of a real database. Each size is an experiment
in a process of its own: cut; load, check and split by patient; gather all batches of an epoch; train ``cnet`` with 2 %
of them, and validate; test; score with intervals over people; report without embedding; and calibrate and save. Times
are seconds of a core, of all processes, and on the clock; memory is what is resident of the process at most within a
step, and of the processes that cut. How well blocks mix the beats is measured on batches of an epoch.

``--quick`` is for the steps without the network: it is trained with 300 batches, validated with 20, and predicts the
test beats of the 100 people once, for all of their names. It leaves out ``epoch`` and ``test``.
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

from ecg_lightning.data.databases import registry
from ecg_lightning.data.databases.synthetic import Synthetic
from ecg_lightning.data.recording import Recording
from ecg_lightning.pipeline import record
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.pipeline.train import fit_and_test, prepare
from ecg_lightning.report import write_report

PEOPLE, MINUTES, EACH = 100, 14, 1000  # EACH: about so many beats of a person
STEPS = ("cut", "split", "batches", "epoch", "test", "scores", "report", "other")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiled(Synthetic):
    """The simulated recordings in a folder, under other names."""

    def recording(self, number: int) -> Recording:
        file, name = self.data_dir / f"{number % PEOPLE}.npz", f"{number:06d}"
        if not file.is_file():
            one = super().recording(number % PEOPLE)
            np.savez(file, signals=one.signals, peaks=one.peaks, labels=one.labels)
        with np.load(file) as read:
            return Recording(record=name, patient=name, lead_names=("lead 0",), fs=float(self.how.fs), **read)


class Steps:
    """Seconds, seconds of a core, and largest resident memory in GiB of each step, as they follow each other."""

    def __init__(self) -> None:
        self.seconds, self.cores, self.memory = (defaultdict[str, float](float) for _ in range(3))
        self.now, self.children, self.used_by = "start", 0.0, dict[str, float]()
        self.began = self.clocks()
        threading.Thread(target=self.watch, daemon=True).start()

    def enter(self, step: str) -> None:
        for times, end, began in zip((self.seconds, self.cores), self.clocks(), self.began, strict=True):
            times[self.now] += end - began
        self.memory[self.now] = max(self.memory[self.now], gib("self", "VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")  # the largest so far is forgotten
        self.now, self.began = step, self.clocks()

    def wrapped(self, function: Any, step: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.enter(step)
            result = function(*arguments, **named)
            self.enter("other")
            return result

        return call

    def clocks(self) -> tuple[float, float]:
        return time.monotonic(), time.process_time() + sum(self.used_by.values())

    def watch(self) -> None:
        while True:
            pids = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
            with contextlib.suppress(OSError, StopIteration):  # one has ended
                self.children = max(self.children, sum(gib(pid, "VmRSS") for pid in pids))
                for pid in pids:
                    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                    self.used_by[pid] = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
            time.sleep(0.5)


def gib(pid: str, key: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 2**20


def measure(n: int, folder: Path, overrides: list[str], *, quick: bool) -> dict[str, Any]:
    """One experiment with about `n` beats."""
    registry.READERS["tiled"] = Tiled  # type: ignore[index]
    run, cache = folder / f"run-{n}", folder / "cache"
    for old in (run, cache):
        shutil.rmtree(old, ignore_errors=True)
    run.mkdir(parents=True)
    people, words = f"dataset.simulation.patients={n // EACH}", [
        "dataset=synthetic", "dataset.reader=tiled", f"dataset.simulation.minutes={MINUTES}",
        "dataset.simulation.fs=125", f"data_dir={folder}", f"cache_dir={cache}", "split=patient", "trainer=cpu",
        "trainer.precision=32-true",
        "trainer.max_epochs=1", f"+trainer.limit_train_batches={300 if quick else 0.02}",
        *["+trainer.limit_val_batches=20"] * quick, *overrides,
    ]  # fmt: skip
    cfg, steps = compose([*words, people], output_dir=run), Steps()
    source = make_datamodule(
        validated(compose([*words, f"dataset.simulation.patients={PEOPLE}"], output_dir=run))
    ).source
    source.read()  # writes the recordings
    steps.enter("cut")
    make_datamodule(validated(cfg)).prepare_data()
    steps.enter("split")
    experiment = prepare(cfg)
    estimator, datamodule = experiment.estimator, experiment.datamodule
    steps.enter("batches")
    for _ in datamodule.train_dataloader():
        pass
    steps.enter("other")
    if quick:
        estimator.predict_proba = once_for_all_names(estimator.predict_proba)  # type: ignore[method-assign]
    estimator.fit = steps.wrapped(estimator.fit, "epoch")  # type: ignore[method-assign]
    estimator.predict_proba = steps.wrapped(estimator.predict_proba, "test")  # type: ignore[method-assign]
    record.score_beats = steps.wrapped(record.score_beats, "scores")
    fit_and_test(experiment)
    found = {"beats": len(datamodule.beats), "people": n // EACH, "tested": len(datamodule.folds.test)}
    found |= {"GB": sum(file.stat().st_size for file in cache.glob("*.npy")) / 1e9, "mixing": mixing_of(datamodule)}
    del experiment, estimator, datamodule
    steps.enter("report")
    write_report([run], embedding=False, cache_dir=cache)
    steps.enter("other")
    return found | {key: getattr(steps, key) for key in ("seconds", "cores", "memory", "children")}


def once_for_all_names(predict: Any) -> Any:
    """Equal beats are predicted once."""

    def call(beats: Any) -> Any:
        people = (beats.records.words.astype(int) % PEOPLE)[beats.records.codes]
        _, first, again = np.unique(people * 10**9 + beats.samples, return_index=True, return_inverse=True)
        return predict(beats.select(first))[again]

    return call


def mixing_of(datamodule: Any) -> dict[str, Any]:
    """Of batches of an epoch: different people in each, deviation of the share of N; in pools and altogether."""
    loader = datamodule.train_dataloader()
    sampler, people, is_n = loader.batch_sampler, datamodule.beats.patients.codes, datamodule.beats.known_labels == 0
    found: dict[str, Any] = {"pool": sampler.pool, "batch": sampler.batch_size}
    for name, pool in (("pools", sampler.pool), ("altogether", None)):
        sampler.pool = pool
        batches = [loader.dataset.rows[batch] for batch, _ in zip(sampler, range(2000), strict=False)]
        different = np.mean([len(np.unique(people[batch])) for batch in batches])
        found[name] = {"people": float(different), "deviation": float(np.std([is_n[rows].mean() for rows in batches]))}
    return found


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Seconds and memory of each step by the number of beats."""
    from matplotlib.figure import Figure

    figure, beats = Figure(figsize=(11, 4.2), layout="constrained"), [one["beats"] for one in found]
    axes = figure.subplots(1, 2)
    for step in STEPS:
        axes[0].plot(beats, [one["cores"][step] for one in found], "o-", label=step)
        axes[1].plot(beats, [one["memory"][step] for one in found], "o-", label=step)
    axes[0].plot(beats, [10 * n / beats[0] for n in beats], "--", color="grey", label="ten times as many: ten times")
    axes[0].set(xscale="log", yscale="log", xlabel="beats", ylabel="seconds of a core")
    axes[1].set(xscale="log", ylim=(0, 3), xlabel="beats", ylabel="GiB resident at most")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/scale"), help="for 750 bytes a beat; emptied")
    parser.add_argument("--output", type=Path, help="folder for scale.json and scale.png")
    parser.add_argument("--quick", action="store_true", help="the steps without the network")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments, overrides = parser.parse_known_args()
    result = arguments.folder / "found.json"
    if arguments.child:
        result.write_text(json.dumps(measure(arguments.child, arguments.folder, overrides, quick=arguments.quick)))
        return
    every = []
    for size in sorted(arguments.sizes):
        own = ["--child", str(size), "--folder", str(arguments.folder), *["--quick"] * arguments.quick, *overrides]
        subprocess.run([sys.executable, __file__, *own], check=True)
        every.append(json.loads(result.read_text()))
        one = every[-1]
        print(
            f"{one['beats']:,} beats, {one['GB']:.2f} GB; processes that cut {one['children']:.2f} GiB; {one['mixing']}"
        )
        for step in [step for step in STEPS if not (arguments.quick and step in ("epoch", "test"))]:
            times = f"{one['cores'][step]:8.1f} core-s {one['seconds'][step]:8.1f} s"
            print(f"{step:<10}{times} {1e6 * one['cores'][step] / one['beats']:7.2f} core-µs a beat "
                  f"{one['memory'][step]:6.2f} GiB", flush=True)  # fmt: skip
    shutil.rmtree(arguments.folder)
    if arguments.output:
        arguments.output.mkdir(parents=True, exist_ok=True)
        name = "quick" if arguments.quick else "scale"
        (arguments.output / f"{name}.json").write_text(json.dumps(every, indent=1) + "\n")
        if not arguments.quick:
            draw(every, arguments.output / "scale.png")


if __name__ == "__main__":
    main()
