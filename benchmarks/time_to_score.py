"""CPU seconds until a network that validation has chosen tests at the published score: MIT-BIH, random split, `cnet`.

    python benchmarks/time_to_score.py recipe=fast recipe=fast,optimizer.steps=6160 recipe=default [--seeds 0 1 2]

An argument is a row: settings of `ecg-lightning train`, joined by commas. Each run is a process of one thread, from its
start to its scores, the test included; beats are in the cache before. `--seeds` are of initialisation and order; the
split has seed 0, as in results/published. CPU seconds hardly depend on what else the machine does, wall seconds do.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from filed import file_table

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = 0.9283  # macro-F1 of the older system, whose epoch was chosen on the test file
COMMON = ("model=cnet", "dataset=mitbih", "split=random", "split.seed=0", "trainer=cpu", "report=none")


def measure(settings: list[str], seed: int, folder: Path) -> dict[str, Any]:
    words = [*COMMON, *settings, f"seed={seed}", f"hydra.run.dir={folder}"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    program = [sys.executable, str(ROOT / "train.py"), *words]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    scores = json.loads((folder / "scores.json").read_text())
    return {
        "settings": settings,
        "seed": seed,
        "macro_f1": scores["test"]["macro_f1"],
        "validation": scores["val"]["macro_f1"],
        "cpu_s": used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime,
        "wall_s": time.perf_counter() - start,
        "fingerprint": scores["fingerprint"],
    }


def table(runs: list[dict[str, Any]]) -> str:
    lines = ["| settings | seeds | test macro-F1 | lowest | CPU seconds | wall seconds |", "|---|---|---|---|---|---|"]
    rows: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        rows.setdefault(", ".join(run["settings"]), []).append(run)
    for name, own in rows.items():
        f1, cpu, wall = ([run[key] for run in own] for key in ("macro_f1", "cpu_s", "wall_s"))
        seeds = ", ".join(str(run["seed"]) for run in own)
        lines.append(
            f"| `{name}` | {seeds} | {100 * statistics.mean(f1):.2f} | {100 * min(f1):.2f} "
            f"| {statistics.mean(cpu):.0f} | {statistics.mean(wall):.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=["recipe=fast"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, help="folder with time_to_score.json and a README.md for the table")
    how = parser.parse_args()
    kept = how.output / "time_to_score.json" if how.output else None
    runs = json.loads(kept.read_text()) if kept and kept.exists() else []
    for row in how.rows:
        for seed in how.seeds:
            settings = row.split(",")
            with tempfile.TemporaryDirectory() as folder:
                run = measure(settings, seed, Path(folder) / "run")
            print(f"{row} seed {seed}: test macro-F1 {100 * run['macro_f1']:.2f}, {run['cpu_s']:.0f} CPU s", flush=True)
            runs = [one for one in runs if (one["settings"], one["seed"]) != (settings, seed)] + [run]
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(runs, indent=1) + "\n")
    print(f"\npublished: {100 * PUBLISHED:.2f}\n\n{table(runs)}")
    if how.output:
        file_table(how.output, "time_to_score", table(runs))


if __name__ == "__main__":
    main()
