"""Sweeps in sequence and two jobs at a time: seconds, and the share of them in which the jobs work.

    python benchmarks/sweep.py [--only networks folds demo] [--divide-steps-by 20] [--output results/sweep]

``networks`` are the four networks on MIT-BIH, each with a fraction of its steps and the default report; ``folds`` two
baselines on five folds of its people, ``demo`` two on simulated beats, whose jobs take half a second. Beats are in the
cache before. A job works from the start of its fit, which its record states, to the last file that it writes: fitting,
predicting, scoring, writing and its report. What is left are the start of processes, imports, composed configurations,
reading and splitting beats, and waiting, of which that for the last job, where an odd one runs alone, is shown apart.
Shares are of the time of all processes. What is imported only where it is needed, such as scikit-learn, counts as work
of the first job in each process. Run it alone on the machine.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import joblib
import yaml
from filed import file_table

ROOT = Path(__file__).resolve().parents[1]
DEMO = ("experiment=demo", "dataset.simulation.minutes=2", "report=none")
SWEEPS: dict[str, tuple[str, ...]] = {
    "networks": ("recipe=short", "trainer=cpu", "model=cnet,seq,bilstm,bigru"),
    "folds": ("trainer=cpu", "model=majority,beat_length", "split=patient", "split.fold=0,1,2,3,4"),
    "demo": (*DEMO, "model=logistic_regression,beat_length", "seed=0,1,2,3"),
}
WARM = {"networks": (), "folds": (), "demo": DEMO}
AT_ONCE = {
    "in sequence": (1, ()),
    "two at a time": (2, ("hydra/launcher=local", "hydra.launcher.n_jobs=2")),
}


def train(*words: str) -> float:
    """Seconds of a command, with the threads that a user gets who sets none."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    program, began = [sys.executable, str(ROOT / "train.py"), *words], time.perf_counter()
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - began


def shortened(folder: Path, divisor: int) -> str:
    """A folder of configurations with ``recipe=short``."""
    recipe = yaml.safe_load((ROOT / "conf" / "recipe" / "default.yaml").read_text(encoding="utf-8"))
    default = 24_600  # of optimizer=adamw
    for networks in recipe.values():
        for own in networks.values():
            own["steps"] = own.get("steps", default) // divisor
    (folder / "recipe").mkdir(parents=True)
    (folder / "recipe" / "short.yaml").write_text(yaml.safe_dump(recipe))
    return str(folder)


def work_of(job: Path) -> tuple[float, float]:
    """When a job's fit began and when its last file was written, in seconds since 1970."""
    started = datetime.fromisoformat(json.loads((job / "scores.json").read_text())["started"]).timestamp()
    written = [job / name for name in ("scores.json", "report.html") if (job / name).exists()]
    return started, max(file.stat().st_mtime for file in written)


def measure(name: str, folder: Path, divisor: int) -> dict[str, Any]:
    short = shortened(folder / "conf", divisor)
    train(*WARM[name], "model=majority", "report=none", f"hydra.run.dir={folder / 'warm'}")
    found: dict[str, Any] = {}
    for how, (processes, launcher) in AT_ONCE.items():
        into = folder / how.replace(" ", "_")
        seconds = train("-m", "--config-dir", short, *SWEEPS[name], *launcher, f"hydra.sweep.dir={into}")
        jobs = [work_of(file.parent) for file in into.glob("*/scores.json")]
        last = sorted(end for _, end in jobs)[-processes:]  # of each process, as jobs start in turn
        found[how] = {
            "seconds": seconds,
            "jobs": len(jobs),
            "work": sum(end - start for start, end in jobs) / (processes * seconds),
            "waiting": sum(last[-1] - end for end in last) / (processes * seconds),
        }
    return found


def table(found: dict[str, Any]) -> str:
    columns = ("sweep", "jobs", *AT_ONCE, "÷", *(f"work, {how}" for how in AT_ONCE), "waiting for the last job")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in filter(found.get, SWEEPS):
        alone, beside = (found[name][how] for how in AT_ONCE)
        lines.append(
            f"| {name} | {alone['jobs']} | {alone['seconds']:.0f} s | {beside['seconds']:.0f} s "
            f"| {beside['seconds'] / alone['seconds']:.2f} | {alone['work']:.0%} | {beside['work']:.0%} "
            + (f"| {beside['waiting']:.0%} |" if "waiting" in beside else "| |")
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=[*SWEEPS])
    parser.add_argument("--divide-steps-by", type=int, default=20, metavar="N", help="of networks; 1: full length")
    parser.add_argument("--output", type=Path, help="folder with sweep.json and a README.md for the table")
    how = parser.parse_args()
    kept = how.output / "sweep.json" if how.output else None
    found = json.loads(kept.read_text()) if kept and kept.exists() else {}
    for name in how.only:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measure(name, Path(folder), how.divide_steps_by)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
        if kept:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(found, indent=1) + "\n")
    print(f"\n{joblib.cpu_count()} cores\n\n{table(found)}")
    if how.output:
        file_table(how.output, "sweep", f"\n{table(found)}\n")


if __name__ == "__main__":
    main()
