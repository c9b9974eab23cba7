"""``ecg-lightning detector …`` and ``ecg-lightning weights …``: what ships trained."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from ecg_lightning.cli.options import ConfigDir, DataDir, Json, leads_of, names, print_answer
from ecg_lightning.core.progress import progress

On = Annotated[str, Option(help="Databases with annotated beats, e.g. mitbih,svdb.")]
Records = Annotated[
    str | None, Option(help="Which records, e.g. 100,101, or the list of a split, ds1_ds2:train (default: all).")
]
Exclude = Annotated[str, Option(help="Records that are left out, e.g. 118,119.")]

detector = typer.Typer(help="The detector of R peaks: train it, and test it and others.", no_args_is_help=True)
weights = typer.Typer(
    help="Weights that ship with the package: list them, and make them of runs.", no_args_is_help=True
)


@weights.command("list")
def list_weights(as_json: Json = False) -> None:
    """Print the weights that ship: what they classify or detect, what they were trained on, and expected scores."""
    from ecg_lightning.core.weights import shipped_weights

    cards = shipped_weights()
    if as_json:
        print(json.dumps(cards, indent=2))
    else:
        from ecg_lightning.report.terminal import print_weights

        print_weights(cards)


@weights.command("make")
def make_weights_of_run(
    run: Annotated[Path, Argument(help="Folder of a finished run.")],
    name: Annotated[str, Option(help="Name of the weights.")],
    title: Annotated[str, Option(help="What they are, in a phrase.")],
    description: Annotated[str, Option(help="The same in sentences.")] = "",
    expected: Annotated[
        list[Path] | None, Option(help="Runs or a sweep whose tests show what to expect, such as folds; repeatable.")
    ] = None,
    output: Annotated[Path | None, Option(help="Folder to write to (default: that of the package).")] = None,
) -> None:
    """Write the weights of a run as .safetensors and .json, so that their name stands for them in every command."""
    from ecg_lightning.core.weights import FOLDER
    from ecg_lightning.pipeline.ship import make_weights

    print(
        make_weights(run, name, title=title, description=description, expected=expected or (), folder=output or FOLDER)
    )


@detector.command("train")
def train_detector(
    output: Annotated[Path, Option("--output", "-o", help="Writes OUTPUT.safetensors and its card OUTPUT.json.")],
    on: On = "mitbih",
    records: Records = None,
    exclude: Exclude = "",
    leads: Annotated[str, Option(help="Leads, each of which is trained on.")] = "[0,1]",
    steps: Annotated[int, Option(min=10)] = 4000,
    seed: Annotated[int, Option(min=0, max=2**32 - 1)] = 0,
    data_dir: DataDir = Path("data"),
    config_dir: ConfigDir = None,
) -> None:
    """Train the network that finds R peaks on annotated recordings, in minutes on one core."""
    import torch

    from ecg_lightning.pipeline import detector as pipeline

    torch.set_num_threads(1)  # more wait for each other, and the sums would depend on their number
    settings = {"on": on, "records": records, "exclude": exclude, "leads": leads, "steps": steps, "seed": seed}
    words = [f"--{name}={value}" for name, value in settings.items() if value not in (None, "")]
    with progress("training", steps, "steps") as step:
        pipeline.train_detector(
            on.split(","), output, records=records, exclude=names(exclude), leads=leads_of(leads) or (), steps=steps,
            seed=seed, command=shlex.join(["ecg-lightning", "detector", "train", *words, f"--output={output.name}"]),
            data_dir=data_dir, config_dir=config_dir, progress=lambda done, loss: setattr(step, "done", done),
        )  # fmt: skip
    print(f"Weights in {output.with_suffix('.safetensors')}; test them with:")
    print(f"  ecg-lightning detector test --detector network:{output.with_suffix('.safetensors')} --on {on}")


@detector.command("test")
def evaluate_detector(
    name: Annotated[
        str, Option("--detector", help="network, network:WEIGHTS by name or .safetensors, sleepecg or xqrs.")
    ] = "network",
    on: On = "mitbih",
    records: Records = None,
    exclude: Exclude = "",
    leads: Annotated[str, Option(help="Leads to detect in.")] = "[0]",
    change: Annotated[
        str, Option(help="Of the signals beforehand: inverted, gain 1000, offset 5 mV, hum 50 Hz, or a rate, 250 Hz.")
    ] = "none",
    keep: Annotated[list[str] | None, Option(help="Weights in whose card the gross result is stated.")] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="CSV to write, a row for each record.")] = None,
    as_json: Json = False,
    data_dir: DataDir = Path("data"),
    config_dir: ConfigDir = None,
) -> None:
    """Count missed and extra R peaks against the annotated ones, ± 150 ms, over whole records without flutter."""
    from ecg_lightning.pipeline import detector as pipeline
    from ecg_lightning.report import detection

    rows = pipeline.evaluate_detector(
        name, on.split(","), records=records, exclude=names(exclude), leads=leads_of(leads) or (), change=change,
        data_dir=data_dir, config_dir=config_dir,
    )  # fmt: skip
    for weights in keep or ():
        pipeline.keep_expected(weights, f"{name} on {' '.join(filter(None, (on, records)))}, leads {leads}", rows[-1])
    if output is not None:
        detection.write_csv(rows, output)
    print_answer({"records": rows}, detection.detection_section, as_json)
