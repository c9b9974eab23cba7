"""Beats that a trained network predicts a second: torch, its exported file, and the file in 8 bits, by threads.

    python benchmarks/inference.py [--networks cnet seq bilstm bigru] [--threads 1 2] [--output results/inference]

Each network is trained for a moment on simulated people, exported, and called as users do: `load_predictor`, softmax
and calibration included, on 4,096 beats of 187 samples. The ways take turns; the best of several rounds counts. What a
beat costs is counted in multiplications and additions of the layers with weights, and compared with the rate of a
product of matrices in torch, in single precision and the same process. Padding counts, so a share can exceed 100 %.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filed import file_table

from ecg_lightning import compose, export, load_checkpoint, load_predictor, train
from ecg_lightning.core.errors import ConfigError

NETWORKS = ("cnet", "seq", "bilstm", "bigru")
BEATS, LENGTH = 4096, 187


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def predictors(name: str, folder: Path) -> dict[str, Any]:
    """The ways of a network; without int8 where no layer of it is for that."""
    small = ["dataset=synthetic", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "trainer=cpu"]
    small += [f"model={name}", "trainer.max_epochs=1", "report=none", f"cache_dir={folder / 'cache'}"]
    train(compose(small, output_dir=folder / name))
    found = {"torch": folder / name, "onnxruntime": folder / f"{name}.onnx", "int8": folder / f"{name}_int8.onnx"}
    for way, quantize in (("onnxruntime", None), ("int8", "int8")):
        try:
            export(folder / name, found[way], quantize=quantize, cache_dir=folder / "cache")  # type: ignore[arg-type]
        except ConfigError as error:
            print(f"{name} {way}: {error}")
            del found[way]
    return {way: load_predictor(path) for way, path in found.items()}


def mflop(network: torch.nn.Module) -> float:
    """Millions of multiplications and additions of a beat, in layers with weights."""
    counted = []

    def count(layer: torch.nn.Module, _: object, output: Any) -> None:
        result = output[0] if isinstance(output, tuple) else output
        channels = result.shape[1 if isinstance(layer, torch.nn.Conv1d) else -1]
        weights = sum(one.numel() for one in layer.parameters() if one.dim() > 1)
        counted.append(2 * weights * result.numel() / channels / 1e6)

    for layer in network.modules():
        if not [*layer.children()]:
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.rand(1, 1, LENGTH), torch.tensor([LENGTH]))
    return sum(counted)


def measure(networks: list[str], threads: list[int], rounds: int) -> dict[str, Any]:
    """Beats a second of each network, way and number of threads; and the peak by threads."""
    generator = np.random.default_rng(0)
    signals, lengths = generator.random((BEATS, 1, LENGTH), dtype=np.float32), np.full(BEATS, LENGTH)
    matrix, best, cost = torch.rand(1024, 1024), dict[tuple[str, str, int], float](), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        ways = {name: predictors(name, Path(folder)) for name in networks}
        for name in networks:
            cost[name] = mflop(load_checkpoint(Path(folder) / name).classifier.model.eval())
    for _ in range(rounds):
        for n in threads:
            torch.set_num_threads(n)
            best["peak", "", n] = min(
                best.get(("peak", "", n), 9), *(seconds(lambda: matrix @ matrix) for _ in range(5))
            )
            for name, own in ways.items():
                for way, predictor in own.items():
                    call = replace(predictor, threads=n)
                    took = seconds(lambda call=call: call(signals, lengths))  # type: ignore[misc]
                    best[name, way, n] = min(best.get((name, way, n), 1e9), took)
    peak = {n: 2 * len(matrix) ** 3 / best.pop(("peak", "", n)) / 1e9 for n in threads}
    rows = [
        {"network": name, "way": way, "threads": n, "beats_per_s": BEATS / took,
         "share_of_peak": BEATS / took * cost[name] / 1e3 / peak[n]}
        for (name, way, n), took in best.items()
    ]  # fmt: skip
    return {"rows": rows, "gflops": peak, "mflop": cost, "cores": os.cpu_count(), "torch": torch.__version__}


def table(found: dict[str, Any]) -> str:
    ways, rows = ("torch", "onnxruntime", "int8"), {}
    for one in found["rows"]:
        value = f"{one['beats_per_s']:,.0f}"
        if one["way"] != "int8":
            value += f" ({100 * one['share_of_peak']:.0f} %)"
        rows.setdefault((one["network"], one["threads"]), {})[one["way"]] = value
    lines = [f"| network | MFLOP a beat | threads | {' | '.join(ways)} |", "|---|---|---|---|---|---|"]
    for (name, n), own in sorted(rows.items(), key=lambda row: (NETWORKS.index(row[0][0]), row[0][1])):
        cells = " | ".join(own.get(way, "–") for way in ways)
        lines.append(f"| `{name}` | {found['mflop'][name]:.1f} | {n} | {cells} |")
    peak = ", ".join(f"{value:.0f} on {n}" for n, value in found["gflops"].items())
    return "\n".join(lines) + f"\n\nA product of two matrices of 1,024² in torch, in GFLOP/s by threads: {peak}.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="folder with a README.md for the table; inference.json is written")
    how = parser.parse_args()
    found = measure(list(how.networks), how.threads, how.rounds)
    print(table(found))
    if how.output:
        how.output.mkdir(parents=True, exist_ok=True)
        (how.output / "inference.json").write_text(json.dumps(found, indent=1) + "\n")
        file_table(how.output, "inference", table(found))


if __name__ == "__main__":
    main()
