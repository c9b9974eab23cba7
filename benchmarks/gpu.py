"""Whether networks train, resume and predict on a GPU as on the CPU, how fast, and how busy the GPU is.

    python benchmarks/gpu.py                          # at most 6 minutes on one GPU; simulated beats, no downloads
    python benchmarks/gpu.py --output results/gpu     # also files table.json and README.md there
    python benchmarks/gpu.py --wheels FOLDER          # installed for this command alone: hydra-core and the like
    python benchmarks/gpu.py --data mitbih            # of ECG_DATA_DIR
    python benchmarks/gpu.py --device cpu --quick     # without a GPU, to try the command itself

Every GPU row is a run that is stopped in the middle of an epoch and resumed. Parts have a process each: one that fails
or takes too long leaves the others alone. What is measured how, and the tolerances, are in gpu_parts.py.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("cnet", "large", "deterministic", "seq", "bilstm", "bigru", "s4d")  # what matters most comes first
SECONDS = 360  # of all parts
WITHIN = ("antlr4-python3-runtime", "pydantic-core", "annotated-types", "typing-inspection")  # hydra-core, pydantic
ONLY_RECORDS = {"wfdb", "edfio"}  # simulated beats do without
NEVER = {"imbalanced-learn", "requests", "urllib3", "jinja2", "markupsafe", "typer", "safetensors"}  # used here

COLUMNS = {  # key → heading, format
    "network": ("network", "{}"), "mode": ("mode", "{}"), "steps": ("steps", "{}"),
    "macro_f1": ("macro-F1", "{:.4f}"), "on_cpu": ("the same on the CPU", "{:.4f}"), "differs": ("max Δp", "{:.1e}"),
    "trains": ("training, beats/s", "{:,.0f}"), "predicts": ("inference, beats/s", "{:,.0f}"),
    "busy": ("busy", "{:.0%}"), "waits": ("waits for batches", "{:.1%}"),
    "allocated": ("allocated, MiB", "{:,.0f}"), "reserved": ("reserved, MiB", "{:,.0f}"),
    "seconds": ("seconds", "{:.0f}"), "failed": ("not as on the CPU", "{}"),
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--data", choices=["simulated", "mitbih"], default="simulated")
    parser.add_argument("--quick", action="store_true", help="few beats and steps, nothing compiled: not for results")
    parser.add_argument("--wheels", type=Path, help="folder of wheels, which replace what is installed")
    parser.add_argument("--output", type=Path, help="folder for table.json and README.md")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)  # the file of a part's rows: in its process
    arguments = parser.parse_args()
    if arguments.part:
        return measure(arguments)
    started, rows, about = time.monotonic(), list[dict[str, Any]](), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        environment = prepared(Path(folder), arguments)
        for part in arguments.only:
            found, told = run(part, Path(folder), environment, SECONDS - (time.monotonic() - started))
            if arguments.device == "cuda" and told and "GPU" not in told:
                print("torch finds no GPU; --device cpu --quick tries the command without one", file=sys.stderr)
                return 1
            print(text_of(found, heading=not rows), flush=True)
            rows, about = rows + found, about | told
    about["seconds"] = round(time.monotonic() - started)
    good = sum(not one["failed"] for one in rows)
    print(f"{good} of {len(rows)} rows as on the CPU; {', '.join(f'{name} {value}' for name, value in about.items())}")
    if arguments.output:
        write(arguments.output, about, rows, arguments)
    return 0 if good == len(rows) else 1


def run(
    part: str, folder: Path, environment: dict[str, str], seconds: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a part, measured in a process of its own, and what it tells about the machine."""
    file, why = folder / f"{part}.json", ""
    command = [sys.executable, __file__, *sys.argv[1:], "--part", str(file)]
    try:
        done = subprocess.run(command, env=environment, timeout=max(seconds, 1), capture_output=True, text=True)
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1]
            print(done.stderr, end="", file=sys.stderr)
    except subprocess.TimeoutExpired:
        why = f"not done when {SECONDS} s were over"
    found, told = json.loads(file.read_text()) if file.exists() else ([], {})
    return found + ([{"network": part, "mode": "", "failed": [why]}] if why else []), told


def prepared(folder: Path, arguments: argparse.Namespace) -> dict[str, str]:
    """The environment of the parts; leaves with status 2 if a package is missing that no wheel brings."""
    site = folder / "site"
    if arguments.wheels:
        wheels = [str(one) for one in sorted(arguments.wheels.glob("*.whl"))]
        pip = ["-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", str(site), *wheels]
        subprocess.run([sys.executable, *pip], check=True)
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    asked = [re.split(r"[^\w-]", one, maxsplit=1)[0] for one in stated]
    there = {_plain(one.metadata["Name"]) for one in distributions(path=[*sys.path, str(site)])}
    missing = {one for one in [*asked, *WITHIN] if _plain(one) not in there}
    unused = missing & (NEVER | (ONLY_RECORDS if arguments.data == "simulated" else set()))
    if unused:
        print(f"missing, and not needed here: {', '.join(sorted(unused))}")
    if needed := sorted(missing - unused):
        print(f"missing: {', '.join(needed)}; give a folder with their wheels: --wheels FOLDER", file=sys.stderr)
        raise SystemExit(2)
    path = [str(site), str(ROOT / "src"), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        **({"CUDA_VISIBLE_DEVICES": ""} if arguments.device == "cpu" else {}),
        **({"TORCH_COMPILE_DISABLE": "1"} if arguments.quick else {}),
    }


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def measure(arguments: argparse.Namespace) -> int:
    """In the process of a part: write what it tells about the machine, and its rows after each."""
    import torch

    about = {"torch": torch.__version__, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        about |= {"GPU": torch.cuda.get_device_name(), "CUDA": torch.version.cuda}
        about["cuDNN"] = torch.backends.cudnn.version()
    rows = list[dict[str, Any]]()
    arguments.part.write_text(json.dumps([rows, about]))
    if arguments.device == "cpu" or "GPU" in about:
        from gpu_parts import Options, measured

        options = Options(arguments.part.parent, arguments.device, arguments.data, arguments.quick)
        for one in measured(arguments.part.stem, options):
            rows.append(one)
            arguments.part.write_text(json.dumps([rows, about]))
    return 0


def cells(one: dict[str, Any]) -> list[str]:
    shown = {**one, "failed": ", ".join(one["failed"])}
    return [form.format(shown[key]) if shown.get(key) is not None else "" for key, (_, form) in COLUMNS.items()]


def text_of(rows: list[dict[str, Any]], *, heading: bool) -> str:
    """Columns of equal width in all parts."""
    headings = [name for name, _ in COLUMNS.values()]
    table = [headings] * heading + [cells(one) for one in rows]
    widths = [max(len(name), 22 if at < 2 else 9) for at, name in enumerate(headings)]
    return "\n".join("  ".join(f"{cell:<{n}}" for cell, n in zip(one, widths, strict=True)).rstrip() for one in table)


def write(folder: Path, about: dict[str, Any], rows: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    headings = [name for name, _ in COLUMNS.values()]
    table = [headings, ["---"] * len(headings), *map(cells, rows)]
    machine = ", ".join(f"{name} {value}" for name, value in about.items())
    (folder / "README.md").write_text(
        f"""# On a GPU as on the CPU

`python benchmarks/gpu.py --data {arguments.data} --device {arguments.device}{" --quick" * arguments.quick}`: {machine}
({platform.machine()}). {"**No GPU was there: this only tries the command.**" * (arguments.device == "cpu")}
Seed 0. How each column is measured, and the tolerances, are in `benchmarks/gpu_parts.py`.

"""
        + "\n".join(f"| {' | '.join(one)} |" for one in table)
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    sys.exit(main())
