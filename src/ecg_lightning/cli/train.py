"""``ecg-lightning train …`` and ``python train.py …``: one experiment or a sweep, configured by Hydra.

Nothing heavy is imported before the configuration is checked, so that ``--help`` and errors are quick.
"""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from ecg_lightning.cli.door import door, leave
from ecg_lightning.core.atomic import cannot_write
from ecg_lightning.core.errors import DEBUG, ConfigError
from ecg_lightning.pipeline.config import choices, composing, conf_dir, conf_dirs, expanded

EXAMPLES = {
    "{program}": "cnet on MIT-BIH, random split",
    "{program} model=seq dataset=svdb seed=1": "another network, database and seed",
    "{program} task=mi split=patient": "infarction, split by patient",
    "{program} trainer.max_epochs=5 optimizer.lr=1e-3": "any setting",
    "{program} -m model=cnet,seq,bilstm,bigru": "a sweep, which ends with one table",
    "… hydra.sweep.dir=multirun/mine": "started again, it resumes",
    "… hydra/launcher=local hydra.launcher.n_jobs=4": "four jobs at a time; slurm for a cluster",
    "{program} logger=[mlflow,tensorboard]": "also curves, scores and files in these, or in wandb",
    "{program} experiment=demo": "a minute on simulated beats",
    "{program} --config-dir FOLDER model=mine": "your own choices, here FOLDER/model/mine.yaml",
    "{program} --cfg job [choices and settings]": "shows the configuration without running it",
    "{program} --info searchpath | --hydra-help": "Hydra's own",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; its exit status is that of the `door`, or 1 if a job of a sweep failed."""
    words = [word for word in (sys.argv[1:] if arguments is None else arguments) if word != DEBUG]
    with door():
        if {"-h", "--help"} & set(words):
            print(help_text(words))
        else:
            _start_hydra(words)


def help_text(arguments: Sequence[str]) -> str:
    """What ``--help`` prints: examples, and the choices of this package, of other packages and of ``--config-dir``."""
    program = "python train.py" if sys.argv[0].endswith("train.py") else "ecg-lightning train"
    commands = {command.format(program=program): what for command, what in EXAMPLES.items()}
    width = max(map(len, commands))
    groups = choices([*conf_dirs(), *_config_dirs(arguments)])
    return "\n".join(
        [
            "Train and test a heartbeat classifier.\n",
            *(f"  {command:<{width}}  {what}" for command, what in commands.items()),
            f"\nChoices (group=choice; each is a file group/choice.yaml that lists its settings, in {conf_dir()}):\n",
            *(f"{group}: {', '.join(names)}" for group, names in groups.items()),
            "\nData: ecg-lightning data list, data fetch NAME, then ECG_DATA_DIR or data_dir=…",
        ]
    )


def _config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders of ``--config-dir``."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    return [Path(folder) for option, folder in pairwise(words) if option in ("--config-dir", "-cd")]


def _start_hydra(arguments: Sequence[str]) -> None:
    from concurrent.futures.process import BrokenProcessPool

    from hydra import version
    from hydra._internal.utils import _run_hydra, get_args_parser
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.core.plugins import Plugins

    from ecg_lightning.cli.job import AddedConf, run_job
    from ecg_lightning.pipeline.jobs import how_to_resume, saving_jobs

    Plugins.instance().register(AddedConf)
    version.setbase("1.3")
    GlobalHydra.instance().clear()  # of a notebook
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raises what Hydra would print with a traceback
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    try:
        # Not hydra.main, which reads sys.argv: there it includes "train", which Lightning needs for further processes.
        own = _config_dirs(arguments)
        words = expanded(arguments, config_dir=own[-1] if own else None)
        with composing(), saving_jobs():
            _run_hydra(parser.parse_args(words), parser, run_job, str(conf_dir()), "train")
    except KeyboardInterrupt as stop:
        if not HydraConfig.initialized():
            raise
        leave(stop, how_to_resume(HydraConfig.get()))
    except BrokenProcessPool as error:
        raise ConfigError(
            "a process of hydra/launcher=local was killed, perhaps for want of memory: lower hydra.launcher.n_jobs; "
            f"{how_to_resume(HydraConfig.get())}"
        ) from error
    except OSError as error:  # of Hydra's folder and log; what a job raises does not come here
        if error.filename is None:
            raise
        raise cannot_write(Path(error.filename), error, "choose another hydra.run.dir or hydra.sweep.dir") from error
    except ValueError as error:  # of Hydra's options, and of sweepers: what a job raises does not come here
        raise ConfigError(str(error)) from error
    except (AssertionError, AttributeError, RuntimeError, TypeError) as error:  # of Hydra, which does not check these
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"Hydra cannot use a setting of its own, hydra.…: {reason}; correct or omit it") from error


def _refuse(message: str) -> NoReturn:
    raise ConfigError(f"{message}; ecg-lightning train --help lists the choices")
