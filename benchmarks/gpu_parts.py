"""What `gpu.py` measures, a part in a process of its own: see there."""

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from torch.profiler import ProfilerActivity, profile

from ecg_lightning.data.beats import Beats
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.predictor import checkpoint_predictor
from ecg_lightning.pipeline.train import fit_and_test, prepare
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.callbacks.interrupt import Interrupt
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.estimator import load_estimator

NETWORKS = {name: [f"model={name}"] for name in ("cnet", "seq", "bilstm", "bigru")}
NETWORKS["s4d"] = ["model=cnet", "sequence=s4d", "split=patient"]  # cnet over the sequence of beats
MODES = {
    "CPU fp32": ["trainer=cpu", "trainer.precision=32-true"],
    "fp32": ["trainer=gpu", "trainer.precision=32-true"],
    "bf16": ["trainer=gpu"],
    "bf16 compiled": ["trainer=gpu", "compile=true"],
    "CPU, then GPU": ["trainer=cpu", "trainer.precision=32-true"],
    "GPU, then CPU": ["trainer=gpu", "trainer.precision=32-true"],
}
RESUMED_IN = {"CPU, then GPU": "fp32", "GPU, then CPU": "CPU fp32"}  # the others as they began
# Largest differences that pass: of macro-F1 from the CPU's own training; of macro-F1 and probabilities of one
# checkpoint on both devices, in fp32 (on a GPU with TensorFloat-32) and in bf16.
TRAINED, EVALUATED, PROBABILITY = 0.03, {"fp32": 0.005, "bf16": 0.02}, {"fp32": 0.02, "bf16": 0.15}
LARGE, LARGE_STEPS, BUSY = 4096, 25, 0.6  # beats a batch, steps an epoch, share of time that the GPU is to compute
PROFILED = 20  # steps at most


class Options(NamedTuple):
    folder: Path
    device: str
    data: str
    quick: bool

    @property
    def epochs(self) -> int:
        return 3 if self.quick or self.data == "mitbih" else 8

    def settings(self, mode: str) -> list[str]:
        chosen = [*MODES[mode], *(["trainer.accelerator=cpu"] if self.device == "cpu" else [])]
        chosen += ["logger=none", "report=none", "callbacks.early_stopping=null", "callbacks.progress=null"]
        chosen += [f"cache_dir={self.folder / 'cache'}", f"trainer.max_epochs={self.epochs}"]
        if self.data == "mitbih":
            return [*chosen, f"data_dir={os.environ['ECG_DATA_DIR']}"]
        few = ["dataset.simulation.patients=6", "dataset.simulation.minutes=1", "optimizer.batch_size=64"]
        return [*chosen, "dataset=synthetic", *(few if self.quick else [])]


class Watch(pl.Callback):
    """Times the steps of all but the first epoch, profiles some of the last; may stop the run in the middle of one.

    It begins and ends between two steps, once the GPU has nothing left to do.
    """

    def __init__(self, folder: Path, *, stop: bool) -> None:
        self.folder, self.stop = folder, stop
        self.warm, self.began = False, 0.0
        self.steps, self.beats, self.seconds = 0, 0, 0.0  # timed
        self.shares: dict[str, float] = {}

    def on_train_epoch_end(self, *_: Any) -> None:
        self.warm = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        last_batch, last_epoch = trainer.num_training_batches - 1, trainer.current_epoch == trainer.max_epochs - 1
        if self.stop and trainer.current_epoch == trainer.max_epochs // 4 and batch_idx == last_batch // 2:
            next(one for one in trainer.callbacks if isinstance(one, Interrupt)).asked = KeyboardInterrupt
        if self.began and not last_epoch:
            self.beats += batch.rows.numel()
        if batch_idx == 0 and self.warm:
            if last_epoch:
                gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
                self.profile = profile(activities=[ProfilerActivity.CPU, *gpu])
                self.profile.start()
            self.began = _now()
        elif self.began and batch_idx == (min(last_batch, PROFILED) if last_epoch else last_batch):
            seconds, self.began = _now() - self.began, 0.0
            if last_epoch:
                self.profile.stop()
                self.profile.export_chrome_trace(str(self.folder / "trace.json"))
                step = self.seconds / max(self.steps, 1) if self.steps else seconds / batch_idx
                self.shares = shares(self.folder / "trace.json", seconds, batch_idx, step)
            else:
                self.steps += batch_idx
                self.seconds += seconds


def shares(trace: Path, seconds: float, steps: int, step: float) -> dict[str, float]:
    """Share of time that the GPU computes, and that it has nothing to do while the next batch is gathered.

    Of the profiled `seconds` and `steps`. The profiler slows the host down, not the GPU: its time of computing is
    compared with that of a `step` without the profiler. The CPU waits for batches as long as it gathers them.
    """
    events = [one for one in json.loads(trace.read_text())["traceEvents"] if one.get("ph") == "X"]

    def spans(kinds: Sequence[str], name: str = "") -> list[tuple[float, float]]:
        chosen = [one for one in events if one.get("cat") in kinds and one["name"].startswith(name)]
        return [(one["ts"], one["ts"] + one["dur"]) for one in chosen]

    gathering = spans(("cpu_op", "user_annotation"), "enumerate(DataLoader)")
    computing = spans(("kernel", "gpu_memcpy", "gpu_memset"))
    if not computing:
        return {"waits": covered(gathering) / 1e6 / seconds}
    computed = covered(computing)
    waits = covered(computing + gathering) - computed
    return {"busy": computed / 1e6 / steps / step, "waits": waits / 1e6 / seconds}


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Total length of the union of some spans."""
    total, reached = 0.0, -np.inf
    for begin, end in sorted(spans):
        total += max(end - max(begin, reached), 0.0)
        reached = max(reached, end)
    return total


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def fit(
    folder: Path, settings: Sequence[str], then: Sequence[str] | None = None, *, tiled: int = 0
) -> tuple[RunRecord, Watch, Beats]:
    """Train and test; where there is a `then`, stop in the middle of an epoch and resume with these settings."""
    for half, chosen in enumerate([settings] if then is None else [settings, then]):
        resume = [f"ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"] if half else []
        experiment = prepare(compose([*chosen, *resume], output_dir=folder))
        data = experiment.datamodule
        if tiled:  # so many of the training beats an epoch, again and again
            data.use(data.beats, replace(data.folds, train=np.resize(data.folds.train, tiled)))
        watch = Watch(folder, stop=then is not None and not half)
        experiment.estimator.trainer.callbacks.insert(0, watch)  # type: ignore[attr-defined]
        try:
            record = fit_and_test(experiment)
        except KeyboardInterrupt:
            if not watch.stop:
                raise
    return record, watch, data.beats.select(np.sort(data.folds.test))


def row(options: Options, network: str, mode: str, *more: str, tiled: int = 0) -> dict[str, Any]:
    """Train, evaluate; but for the reference, stop in the middle of an epoch and resume."""
    folder, chosen = options.folder / re.sub(r"\W+", "_", f"{network} {mode} {tiled}"), [*NETWORKS[network], *more]
    begins, ends = options.settings(mode) + chosen, options.settings(RESUMED_IN.get(mode, mode)) + chosen
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    record, watch, beats = fit(folder, begins, None if tiled or mode == "CPU fp32" else ends, tiled=tiled)
    found: dict[str, Any] = {"network": network, "mode": mode, "seconds": time.perf_counter() - began}
    found |= {"steps": record.steps, "trains": watch.beats / watch.seconds if watch.seconds else None, **watch.shares}
    ends_there = options.device == "cpu" or RESUMED_IN.get(mode, mode) == "CPU fp32"
    device: Literal["cpu", "auto"] = "cpu" if ends_there else "auto"
    if device == "auto":
        found["allocated"] = torch.cuda.max_memory_allocated() / 2**20  # MiB
        found["reserved"] = torch.cuda.max_memory_reserved() / 2**20
    for name, where in (("macro_f1", device), ("on_cpu", "cpu")):
        found[name] = evaluate(folder, device=where, cache_dir=options.folder / "cache").test["macro_f1"]
    checkpoint = replace(read_checkpoint(folder), calibration=None)
    estimator = load_estimator(checkpoint, device=device)
    if "compiled" in mode:
        estimator.classifier.model.compile()  # type: ignore[union-attr]
    many = len(beats) if device == "cpu" or network == "s4d" else 100_000
    shown = beats.select(np.resize(np.arange(len(beats)), many))
    estimator.predict_proba(shown)
    began = _now()
    probabilities = estimator.predict_proba(shown)[: len(beats)]
    found["predicts"] = many / (_now() - began)
    found["differs"] = float(np.abs(probabilities - checkpoint_predictor(checkpoint).of(beats)).max())
    return found


def judged(found: dict[str, Any], reference: dict[str, Any] | None) -> dict[str, Any]:
    """The row with what is not as on the CPU."""
    precision = "bf16" if "bf16" in found["mode"] else "fp32"
    limits = {
        "macro-F1 as trained on the CPU": (TRAINED, abs(found["macro_f1"] - (reference or found)["macro_f1"])),
        "macro-F1 as evaluated on the CPU": (EVALUATED[precision], abs(found["macro_f1"] - found["on_cpu"])),
        "probabilities as on the CPU": (PROBABILITY[precision], found["differs"]),
    }
    return {**found, "failed": [what for what, (limit, value) in limits.items() if not value <= limit]}


def compared(options: Options, network: str) -> Iterator[dict[str, Any]]:
    """One network on the CPU, and in each precision on the GPU."""
    yield judged(reference := row(options, network, "CPU fp32"), None)
    modes = list(MODES)[1:] if network == "cnet" else ["fp32", "bf16", "bf16 compiled"]
    for mode in ["bf16 compiled", "GPU, then CPU"] if options.quick else modes:
        yield judged(row(options, network, mode), reference)


def large(options: Options) -> Iterator[dict[str, Any]]:
    """Large batches of `cnet`, with which a GPU is to be busy."""
    size, steps = (256, 3) if options.quick else (LARGE, LARGE_STEPS)
    how: Any = {"tiled": size * steps}
    settings = [f"optimizer.batch_size={size}", "trainer.max_epochs=3"]
    reference = {**row(options, "cnet", "CPU fp32", *settings, **how), "network": f"cnet, batches of {size:,}"}
    yield judged(reference, None)
    found = row(options, "cnet", "bf16 compiled", *settings, **how)
    found = judged({**found, "network": reference["network"]}, reference)
    found["failed"] += [f"busy at least {BUSY:.0%}"] if options.device != "cpu" and found["busy"] < BUSY else []
    yield found


def deterministic(options: Options) -> Iterator[dict[str, Any]]:
    """Two runs of each network, of which the second is stopped and resumed, are equal to the bit."""
    for network in list(NETWORKS)[: 1 if options.quick else None]:
        settings = [*options.settings("fp32"), *NETWORKS[network], "trainer.deterministic=true"]
        settings += [f"trainer.max_epochs={2 if options.data == 'mitbih' else 3}"]
        began, weights = time.perf_counter(), []
        for number, then in enumerate((None, settings)):
            folder = options.folder / f"deterministic_{network}_{number}"
            fit(folder, settings, then)
            weights.append(read_checkpoint(folder / "checkpoints" / "last.ckpt").weights)
        equal = all(one.equal(weights[1][name]) for name, one in weights[0].items())
        found = {"network": network, "mode": "fp32 deterministic", "seconds": time.perf_counter() - began}
        yield {**found, "failed": [] if equal else ["the weights of a second, resumed run"]}


def measured(part: str, options: Options) -> Iterator[dict[str, Any]]:
    """The rows of a part."""
    match part:
        case "large":
            return large(options)
        case "deterministic":
            return deterministic(options)
    return compared(options, part)
