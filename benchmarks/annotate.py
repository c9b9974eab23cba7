"""Time and memory of `ecg-lightning annotate` on a day of ECG: two leads at 250 Hz, joined of the records of SVDB.

    python benchmarks/annotate.py [--hours 24] [--models cnet model.onnx] [--chunks]

Each figure is of a whole process, imports included, with a table of beats as its output. The first row of each model is
on one core, the second on two. `--chunks` compares the beats of several lengths of what is read at once instead.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

FS = 250
CHUNKS_S = (120, 600, 3600, 10**6)


def joined(folder: Path, hours: float, data_dir: Path) -> Path:
    """Write the record."""
    import wfdb

    from ecg_lightning.data.readers import open_recording
    from ecg_lightning.data.windows import resample

    names = (data_dir / "svdb/RECORDS").read_text().split()
    n, parts = round(hours * 3600 * FS), []
    for at in range(10**6):
        if sum(part.shape[1] for part in parts) >= n:
            break
        file = open_recording(data_dir / "svdb" / names[at % len(names)])
        parts.append(np.stack([resample(lead, 128, FS) for lead in file.read([0, 1])]))
    signals = np.concatenate(parts, axis=1)[:, :n]
    wfdb.wrsamp(
        "day", fs=FS, units=["mV"] * 2, sig_name=["ECG1", "ECG2"], p_signal=signals.T.astype(np.float64),
        fmt=["16"] * 2, adc_gain=[200.0] * 2, baseline=[0, 0], write_dir=str(folder),
    )  # fmt: skip
    return folder / "day"


def measured(command: list[str], cores: int) -> tuple[float, float]:
    """Seconds and MiB of a process that has so many cores."""
    few = {*sorted(os.sched_getaffinity(0))[:cores]}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": str(cores)}, stdout=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, few),
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--models", nargs="+", default=["cnet"])
    parser.add_argument("--chunks", action="store_true")
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("ECG_DATA_DIR", "data")))
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        day = joined(folder, settings.hours, settings.data_dir)
        if settings.chunks:
            compare_chunks(day, settings.models[0])
            return
        print(f"{'model':<24} cores  seconds   MiB   beats")
        for model in settings.models:
            for cores in (1, 2):
                output = folder / f"out{cores}"
                program = [sys.executable, "-m", "ecg_lightning", "annotate", str(day), "--model", model]
                took, memory = measured([*program, "--output", str(output), "--format", "csv", "--overwrite"], cores)
                beats = json.loads((output / "day.json").read_text())["summary"]["beats"]
                print(f"{Path(model).name:<24} {cores:>5} {took:>8.1f} {memory:>5.0f} {beats:>7,}", flush=True)


def compare_chunks(day: Path, model: str) -> None:
    from ecg_lightning import annotate, load_predictor

    predictor, first = load_predictor(model), None
    for chunk_s in CHUNKS_S:
        beats = annotate(day, predictor, chunk_s=chunk_s)
        first = beats if first is None else first
        print(f"read {chunk_s:>9,} s at once: {len(beats):,} beats, {'equal' if beats.equals(first) else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
