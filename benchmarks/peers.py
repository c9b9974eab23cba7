"""This package beside deepecgkit, torch_ecg and MiniRocket of aeon, on the same beats of MIT-BIH and the same split.

    python benchmarks/peers.py                                # installs, measures and writes results/peers
    python benchmarks/peers.py --only torch_ecg_crnn          # one of them
    python benchmarks/peers.py --only                         # the table alone, from the files
    python benchmarks/peers.py --train-size 2000 --minutes 1 --output /tmp/peers   # a trial

A peer is a script in benchmarks/peers, written as its documentation recommends. It runs in an environment of its own
(in the cache folder) and a process of its own, on two threads; `peers/run.py` times it. CPU seconds are comparable
where other programs use the machine too, wall seconds are not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

HERE = Path(__file__).resolve().parent
THREADS = 2
RESULTS = HERE.parent / "results/peers"
MARK = "<!-- written by benchmarks/peers.py -->\n"
REPORTED = ("aeon", "deepecgkit", "ecg-lightning", "numba", "numpy", "scikit-learn", "torch", "torch-ecg")


class Peer(NamedTuple):
    title: str
    packages: tuple[str, ...]  # none: this environment
    epoch_s: int = 0  # CPU seconds of an epoch, where there are any; without other programs
    default_epochs: int = 0

    def epochs(self, minutes: float) -> int:
        """As many as take so many CPU minutes."""
        return min(self.default_epochs, max(1, round(60 * minutes / self.epoch_s))) if self.epoch_s else 0


# Where pip would install the build of torch for GPUs, gigabytes, put that for CPUs into the environment first.
PEERS = {
    "ecg_lightning_cnet": Peer("ecg_lightning, `cnet`", (), 38, 40),
    "aeon_minirocket": Peer("aeon, MiniRocket and ridge regression", ("aeon==1.6.0",)),
    "deepecgkit_kanres": Peer("deepecgkit, `kanres`", ("torch==2.13.0", "deepecgkit==0.3.0"), 185, 50),
    "torch_ecg_crnn": Peer("torch_ecg, `ECG_CRNN`", ("torch==2.13.0", "torch-ecg==0.0.33"), 170, 30),
}


def export(path: Path, overrides: list[str]) -> None:
    """Write the beats of each fold as this package divides them."""
    from ecg_lightning.pipeline.build import build
    from ecg_lightning.pipeline.config import compose, quiet

    quiet()
    with tempfile.TemporaryDirectory() as folder:
        datamodule = build(compose([*overrides, "trainer=cpu"], output_dir=folder)).datamodule
    beats, arrays = datamodule.beats, {"overrides": np.array(overrides)}
    for fold, rows in datamodule.folds.named().items():
        columns = {"x": beats.signals, "y": beats.labels, "lengths": beats.lengths}
        arrays |= {f"{fold}_{name}": column[np.sort(rows)] for name, column in columns.items()}
    np.savez(path, classes=np.array(beats.classes), fingerprint=np.array(beats.fingerprint), **arrays)


def environment(name: str, packages: tuple[str, ...], folder: Path) -> Path:
    """The Python of a peer, with its packages installed; CalledProcessError with the end of what pip says."""
    if not packages:
        return Path(sys.executable)
    python = folder / name / "bin/python"
    if not python.exists():
        venv.create(folder / name, with_pip=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    subprocess.run(install, check=True, capture_output=True, text=True)
    return python


def measure(name: str, beats: Path, python: Path, seed: int, epochs: int) -> dict:
    """Train and test once in a process of its own."""
    # A thread of OpenMP that waits must not count as one that computes, nor keep the core from other programs.
    threads = {f"{library}_NUM_THREADS": str(THREADS) for library in ("OMP", "OPENBLAS", "NUMBA")}
    env = {**os.environ, **threads, "GOMP_SPINCOUNT": "0", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder) / "output.npz", Path(folder) / "log"
        command = [python, HERE / "peers/run.py", name, beats, output, str(seed), str(epochs), Path(folder) / "run"]
        with log.open("w") as file:
            child = subprocess.Popen(command, env=env, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
            _, status, usage = os.wait4(child.pid, 0)
        if status:
            raise subprocess.CalledProcessError(status, command, stderr=log.read_text())
        metrics = Path(folder) / "run/metrics.csv"
        by_epoch = pd.read_csv(metrics)["val/macro_f1"].dropna().round(4).tolist() if metrics.exists() else None
        with np.load(output) as file, np.load(beats) as truth:
            results = {
                fold: scores(truth[f"{fold}_y"], file[fold], truth["classes"]) for fold in ("validation", "test")
            }
            times = {key: [round(float(value), 2) for value in file[key]] for key in ("fit_s", "predict_s")}
            n = {fold: len(truth[f"{fold}_y"]) for fold in ("train", "validation", "test")}
            about = {"fingerprint": str(truth["fingerprint"]), "overrides": truth["overrides"].tolist(), "n": n}
    return {
        "script": name, "seed": seed, "epochs": epochs, **results, **times, "lines": lines(name), "threads": THREADS,
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1), "memory_mib": usage.ru_maxrss // 1024,
        "validation_by_epoch": by_epoch, **about, "versions": versions(python), "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }  # fmt: skip


def scores(labels: np.ndarray, predicted: np.ndarray, classes: np.ndarray) -> dict:
    per_class = f1_score(labels, predicted, average=None, labels=range(len(classes)), zero_division=0)
    found = {"macro_f1": per_class.mean(), "accuracy": (labels == predicted).mean()}
    return {key: round(float(value), 4) for key, value in found.items()} | {
        "f1": {str(name): round(float(value), 4) for name, value in zip(classes, per_class, strict=True)}
    }


def lines(name: str) -> int:
    """Lines of a script that have code; its docstring is none."""
    text = (HERE / f"peers/{name}.py").read_text().split('"""', 2)[2]
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())


def versions(python: Path) -> dict[str, str]:
    command = [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    installed = {one["name"]: one["version"] for one in json.loads(subprocess.check_output(command, text=True))}
    return {name: installed[name] for name in REPORTED if name in installed}


def table(folder: Path) -> str:
    """The measurements in a folder as Markdown, the best macro-F1 first."""
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    done = sorted((one for one in found if "test" in one), key=lambda one: -one["test"]["macro_f1"])
    classes = list(done[0]["test"]["f1"]) if done else []
    head = ["method", "split", "epochs", "macro-F1", *(f"F1 of {name}" for name in classes), "accuracy",
            "training, CPU s", "wall s", "beats per CPU s", "MiB", "lines"]  # fmt: skip
    rows = [head, ["---", "---", *["---:"] * (len(head) - 2)]]
    for one in done:
        peer, test, (wall, cpu) = PEERS[one["script"]], one["test"], one["fit_s"]
        method = peer.title + f", seed {one['seed']}" * (one["seed"] != 0)
        percent = [test["macro_f1"], *test["f1"].values(), test["accuracy"]]
        split, epochs = one["overrides"][0].split("=")[1], f"{one['epochs']} of {peer.default_epochs}"
        numbers = (cpu, wall, one["n"]["test"] / one["predict_s"][1], one["memory_mib"], one["lines"])
        cells = [*(f"{100 * value:.2f}" for value in percent), *(f"{value:,.0f}" for value in numbers)]
        rows.append([method, split, epochs if peer.epoch_s else "–", *cells])
    rows += [[PEERS[one["script"]].title, one["failed"], *[""] * (len(head) - 2)] for one in found if "failed" in one]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows) + passing(done)


def passing(done: list[dict]) -> str:
    """When this package's macro-F1 on validation passes that of the best peer; its epochs take equally long."""
    done = [one for one in done if one["overrides"][0] == "split=random"]
    own = [one for one in done if one["validation_by_epoch"]]
    peers = [one["validation"]["macro_f1"] for one in done if not one["validation_by_epoch"]]
    if not own or not peers:
        return ""
    scores, best = own[0]["validation_by_epoch"], max(peers)
    epoch = next((epoch for epoch, score in enumerate(scores, 1) if score > best), None)
    if epoch is None:
        return f"\nOn validation `cnet` does not pass the best peer, which has {100 * best:.2f}.\n"
    seconds = own[0]["fit_s"][1] * epoch / len(scores)
    passes = f"On validation `cnet` passes the best peer ({100 * best:.2f}) in epoch {epoch} of {len(scores)}"
    return f"\n{passes}, after about {seconds:,.0f} CPU seconds.\n"


def write_table(folder: Path) -> None:
    """Write it into the README of the folder, between its two marks."""
    readme = folder / "README.md"
    before, _, after = (readme.read_text() if readme.exists() else 2 * MARK).split(MARK)
    readme.write_text(f"{before}{MARK}{table(folder)}{MARK}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="*", default=list(PEERS), choices=PEERS, metavar="SCRIPT", help=", ".join(PEERS)
    )
    parser.add_argument("--split", default="random", help="random or ds1_ds2")
    parser.add_argument("--train-size", default="null", help="beats to train on")
    parser.add_argument("--minutes", type=float, default=6, help="CPU minutes that a network may train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=RESULTS)
    cache = Path(os.environ.get("ECG_CACHE_DIR", "~/.cache/ecg_lightning")).expanduser()
    parser.add_argument("--environments", type=Path, default=cache / "peers")
    settings = parser.parse_args()
    settings.output.mkdir(parents=True, exist_ok=True)
    overrides = [f"split={settings.split}", "split.seed=0", f"split.train_size={settings.train_size}"]
    overrides.append("trainer.precision=32-true")  # of all measurements that are filed
    with tempfile.TemporaryDirectory() as folder:
        beats = Path(folder) / "beats.npz"
        export(beats, overrides)
        for name in settings.only:
            for seed in settings.seeds:
                try:
                    python = environment(name, PEERS[name].packages, settings.environments)
                    found = measure(name, beats, python, seed, PEERS[name].epochs(settings.minutes))
                except subprocess.CalledProcessError as error:
                    print(error.stderr, file=sys.stderr)
                    found = {"script": name, "seed": seed, "failed": error.stderr.strip().splitlines()[-1]}
                path = settings.output / f"{settings.split}_{name}_seed{seed}.json"
                path.write_text(json.dumps(found, indent=1) + "\n")
                print(path.name, found.get("failed") or found["test"]["macro_f1"], flush=True)
    write_table(settings.output)
    print(table(settings.output))


if __name__ == "__main__":
    main()
