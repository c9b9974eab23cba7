"""How fast the parts are that users wait for, each beside the floor or ratio that the project holds itself to.

    make bench                                      # with ECG_DATA_DIR set, on MIT-BIH; without, on simulated beats
    python benchmarks/bench.py --only loader trainer
    python benchmarks/bench.py --only demo test     # how long the two commands of the README take once installed

Compare ratios, or two figures of one run: machines differ and are noisy.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Figure(NamedTuple):
    what: str
    value: str
    target: str
    met: bool


def real_data() -> Path | None:
    folder = Path(os.environ.get("ECG_DATA_DIR", "data")).expanduser()
    return folder if (folder / "mitdb" / "RECORDS").is_file() else None


def overrides() -> list[str]:
    """MIT-BIH where it is, and a simulation of about its size elsewhere."""
    if folder := real_data():
        return [f"data_dir={folder.resolve()}"]
    return ["dataset=synthetic", "dataset.simulation.patients=47", "dataset.simulation.minutes=30"]


def compose(folder: Path, *more: str) -> "DictConfig":  # noqa: F821
    from ecg_lightning.pipeline.config import compose

    settings = [*overrides(), f"cache_dir={folder / 'cache'}", "trainer=cpu", *more]
    return compose(settings, output_dir=folder / "run")


def cutting(folder: Path) -> Iterable[Figure]:
    """Records to beats, the first time."""
    from ecg_lightning.pipeline.build import build

    started = time.perf_counter()
    build(compose(folder))
    seconds = time.perf_counter() - started
    yield Figure("first start: records read, cut and cached", f"{seconds:.1f} s", "≤ 20 s", seconds <= 20)


def start(folder: Path) -> Iterable[Figure]:
    """A new process, beats from the cache."""
    cutting_done = (folder / "cache").exists()
    if not cutting_done:
        list(cutting(folder))
    child = [sys.executable, __file__, "--child", str(folder)]
    runs = [[float(word) for word in subprocess.check_output(child, text=True).split()[-3:]] for _ in range(3)]
    imports, ready, first_step = (statistics.median(column) for column in zip(*runs, strict=True))
    yield Figure("second start: imports", f"{imports:.2f} s", "", True)
    yield Figure("second start: dataset ready after the imports", f"{ready:.2f} s", "≤ 0.5 s", ready <= 0.5)
    yield Figure(
        "second start: process start to first training step", f"{first_step:.2f} s", "≤ 3.5 s", first_step <= 3.5
    )


def start_child(folder: Path) -> None:
    """Print seconds for the imports, for the dataset, and from the process's start to the end of its first step."""
    born = time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - _start_of_process())
    from ecg_lightning.core.startup import quick_imports

    with quick_imports():
        import pyarrow  # noqa: F401  # with what loading the cache imports

        from ecg_lightning.pipeline.build import build
        from ecg_lightning.pipeline.config import quiet

    cfg = compose(
        folder, "trainer.max_steps=1", "trainer.check_val_every_n_epoch=2", "+trainer.enable_checkpointing=false"
    )
    cfg.callbacks = {}
    imported = time.time()
    from ecg_lightning.data.datamodule import BeatDataModule

    seconds = 0.0
    setup = BeatDataModule.setup

    def timed_setup(self: BeatDataModule, stage: str | None = None) -> None:
        nonlocal seconds
        before = time.perf_counter()
        setup(self, stage)
        seconds += time.perf_counter() - before

    BeatDataModule.setup = timed_setup  # type: ignore[method-assign]
    quiet()
    parts = build(cfg)
    parts.estimator.trainer.fit(parts.estimator.classifier, datamodule=parts.datamodule)
    print(imported - born, seconds, time.time() - born)


def _start_of_process() -> float:
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def kaggle(folder: Path) -> Iterable[Figure]:
    """The arrhythmia training CSV in the published size and format: 87,554 rows of 188 numbers, 411 MB."""
    import numpy as np

    from ecg_lightning.data.databases.rows import LENGTH, beats_of_csv

    path = folder / "mitbih_train.csv"
    rng = np.random.default_rng(0)
    block = np.column_stack([rng.random((1000, LENGTH)), rng.integers(0, 5, 1000)])
    lines = "\n".join(",".join(f"{value:.18e}" for value in row) for row in block) + "\n"
    rows = lines.splitlines(keepends=True)
    with path.open("w") as file:
        for _ in range(87):
            file.write(lines)
        file.writelines(rows[:554])
    path.read_bytes()  # warms the disk cache
    seconds = min(_timed(lambda: beats_of_csv(path, classes=tuple("NSVFQ"), origin={})) for _ in range(2))
    size = path.stat().st_size / 1e6
    path.unlink()
    yield Figure(f"Kaggle training CSV ({size:.0f} MB) parsed", f"{seconds:.2f} s", "≤ 3 s", seconds <= 3)


def resampling(folder: Path) -> Iterable[Figure]:
    """SMOTE of the training fold up to the largest class: the first time, and from the cache."""
    from ecg_lightning.pipeline.build import build

    build(compose(folder))  # which cuts the records
    for method, target in (("smote", 30), ("smote_tomek", 600)):
        settings = [f"augmentation={method}", "augmentation.resampling.counts=null"]
        first, again = (_timed(lambda: build(compose(folder, *settings))) for _ in range(2))  # noqa: B023
        shared = _timed(lambda: build(compose(folder)))
        seconds = first - shared
        yield Figure(f"{method}, the first time", f"{seconds:.1f} s", f"≤ {target} s", seconds <= target)
        seconds = again - shared
        yield Figure(f"{method}, from the cache", f"{seconds:.2f} s", "≤ 1 s", seconds <= 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Figure("memory at its highest", f"{peak:.2f} GiB", "≤ 3 GiB", peak <= 3)


def loader(folder: Path) -> Iterable[Figure]:
    """Batches from the datamodule alone."""
    from ecg_lightning.pipeline.build import build

    datamodule = build(compose(folder)).datamodule
    rates = []
    for _ in range(5):
        beats = 0
        started = time.perf_counter()
        for batch in datamodule.train_dataloader():
            beats += len(batch.labels)
        rates.append(beats / (time.perf_counter() - started))
    rate = statistics.median(rates)
    yield Figure("batches from the datamodule", f"{rate:,.0f} beats/s", "≥ 1,000,000", rate >= 1e6)


def trainer(folder: Path, batches: int = 100, pairs: int = 5) -> Iterable[Figure]:
    """The same batches through the Trainer and through a bare loop that does the same, in turn."""
    import torch
    from pytorch_lightning.callbacks import Callback

    from ecg_lightning.core.memory import keep_freed_memory
    from ecg_lightning.pipeline.build import build
    from ecg_lightning.pipeline.config import quiet

    quiet()
    keep_freed_memory()  # as the estimator does, which calls the Trainer

    class Clock(Callback):
        """Times the training batches of each epoch, with whatever the Trainer does between them."""

        def __init__(self) -> None:
            self.seconds: list[float] = []

        def on_train_epoch_start(self, *_: object) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self, *_: object) -> None:
            self.seconds.append(time.perf_counter() - self.started)

    limits = [f"+trainer.limit_train_batches={batches}", "trainer.check_val_every_n_epoch=2", "callbacks.best=null"]
    limits += ["callbacks.last=null", "callbacks.early_stopping=null", "callbacks.progress=null", "logger=none"]
    limits += ["trainer.max_epochs=1", "+trainer.enable_checkpointing=false", "trainer.enable_progress_bar=false"]

    def under_trainer() -> float:
        parts = build(compose(folder, *limits))
        clock = Clock()
        parts.estimator.trainer.callbacks.append(clock)
        parts.estimator.trainer.fit(parts.estimator.classifier, datamodule=parts.datamodule)
        return clock.seconds[0]

    def bare() -> float:
        parts = build(compose(folder, *limits))
        network, task, data = parts.estimator.classifier.model, parts.estimator.classifier.task, parts.datamodule
        loss_of = parts.estimator.classifier.loss
        bfloat16 = parts.config["trainer"]["precision"] == "bf16-mixed"
        average = [parameter.detach().clone() for parameter in network.parameters()]
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=batches + 1)
        network.train()
        started = time.perf_counter()
        for _, batch in zip(range(batches), data.train_dataloader(), strict=False):
            signals, lengths = batch.signals, batch.lengths
            for transform in data.transforms:
                signals, lengths = transform(signals, lengths)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits = task.class_logits(network(signals, lengths))
            loss = loss_of(logits, batch.labels).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                torch._foreach_lerp_(average, list(network.parameters()), 0.001)
        return time.perf_counter() - started

    size = compose(folder).optimizer.batch_size
    under_trainer(), bare()
    ratios, rates = [], []
    for _ in range(pairs):
        ours, plain = under_trainer(), bare()
        ratios.append(ours / plain)
        rates.append(size * batches / ours)
    ratio, rate = statistics.median(ratios), statistics.median(rates)
    yield Figure("training (cnet) under the Trainer ÷ bare loop", f"{ratio:.3f}", "≤ 1.05", ratio <= 1.05)
    yield Figure("training (cnet) under the Trainer", f"{rate:,.0f} beats/s", "", True)


def transforms(folder: Path, batches: int = 20, pairs: int = 5) -> Iterable[Figure]:
    """All transforms and mixup beside the training (cnet) of the same batches, in turn."""
    import torch

    from ecg_lightning.pipeline.build import build

    parts = build(compose(folder, "augmentation=strong", "augmentation.mixup=0.2"))
    network, task, data = parts.estimator.classifier.model, parts.estimator.classifier.task, parts.datamodule
    loss_of = parts.estimator.classifier.loss
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network.train()
    shown = [batch for _, batch in zip(range(batches), data.train_dataloader(), strict=False)]
    n_beats = sum(len(batch.labels) for batch in shown)

    def change() -> None:
        for batch in shown:
            signals, lengths = batch.signals, batch.lengths
            for transform in data.transforms:
                signals, lengths = transform(signals, lengths)
            data.mixup(signals, lengths)

    def train() -> None:
        for batch in shown:
            loss = loss_of(task.class_logits(network(batch.signals, batch.lengths)), batch.labels).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    change()
    train()
    costs = [(_timed(change), _timed(train)) for _ in range(pairs)]
    ratio = statistics.median(changing / training for changing, training in costs)
    micros = 1e6 * statistics.median(changing for changing, _ in costs) / n_beats
    yield Figure("transforms (strong, mixup) ÷ training (cnet)", f"{ratio:.3f}", "≤ 0.15", ratio <= 0.15)
    yield Figure("transforms (strong, mixup)", f"{micros:.1f} µs/beat", "", True)


def report(folder: Path) -> Iterable[Figure]:
    """The page of thirty runs, on as many test beats and patients as DS2 has, with made-up probabilities."""
    import numpy as np

    from ecg_lightning.data.beats import Beats
    from ecg_lightning.data.labels import AAMI_CLASSES, PHRASES
    from ecg_lightning.data.protocol import Protocol
    from ecg_lightning.metrics.scoring import score_beats
    from ecg_lightning.report import write_report
    from ecg_lightning.runs.schema import RunRecord, Validation
    from ecg_lightning.runs.store import save_run

    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(5), (44_259, 1_837, 3_221, 366, 7)))
    records = np.sort(rng.integers(100, 122, len(labels))).astype(np.str_)
    beats = Beats(
        signals=np.ones((len(labels), 1, 2), np.float32), lengths=np.full(len(labels), 2), lead_names=("lead 0",),
        labels=labels, classes=AAMI_CLASSES, fs=125.0, records=records, patients=records,
        samples=np.arange(len(labels)),
    )  # fmt: skip
    protocol = Protocol(name="ds1_ds2", seed=0, by="records", validation_fraction=0.1)
    for number in range(30):
        model, seed = f"network{number // 3}", number % 3
        logits = 3 * np.eye(5)[labels] + (1 + number / 30) * rng.standard_normal((len(labels), 5))
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        record = RunRecord(
            task="arrhythmia", model=model, baseline=number >= 27, n_parameters=1, dataset="mitbih",
            synthetic=False, fingerprint=beats.fingerprint, classes=AAMI_CLASSES, class_map=PHRASES["aami"],
            protocol=protocol,
            n={"train": 1, "validation": 1, "test": len(labels)}, augmentation="none", resampling="none", loss=None,
            transfer="none", precision=None, seed=seed, monitor="val/macro_f1", val=Validation(macro_f1=0.5),
            test=score_beats(beats, probabilities),
            config={"model": {"name": model}, "seed": seed, "split": {"seed": 0}},
        )  # fmt: skip
        save_run(folder / "runs" / f"run{number}", record, beats, probabilities)
    seconds = _timed(lambda: write_report([folder / "runs"]))
    yield Figure("page of 30 runs on 49,690 test beats", f"{seconds:.1f} s", "≤ 30 s", seconds <= 30)


def demo(folder: Path) -> Iterable[Figure]:
    """The README's first command, after installation."""
    command = [sys.executable, "train.py", "experiment=demo", f"cache_dir={folder / 'none'}", f"output_dir={folder}"]
    seconds = _timed(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))
    yield Figure("make demo, installed", f"{seconds:.0f} s", "≤ 90 s", seconds <= 90)


def test(folder: Path) -> Iterable[Figure]:
    """The README's second command, after installation."""
    command = [sys.executable, "-m", "pytest", "-q"]
    seconds = _timed(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))
    yield Figure("make test, installed", f"{seconds:.0f} s", "≤ 240 s", seconds <= 240)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


PARTS = {
    part.__name__: part
    for part in (cutting, start, kaggle, resampling, loader, trainer, transforms, report, demo, test)
}

USUAL = ["cutting", "start", "kaggle", "resampling", "loader", "trainer", "transforms", "report"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=USUAL)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        start_child(arguments.child)
        return

    print(f"beats: {'MIT-BIH' if real_data() else 'simulated (ECG_DATA_DIR has no mitdb)'}; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.only:
            for figure in PARTS[name](Path(folder)):
                verdict = "" if not figure.target else "met" if figure.met else "MISSED"
                print(f"{figure.what:<52} {figure.value:>18}  {figure.target:<12} {verdict}", flush=True)


if __name__ == "__main__":
    main()
