"""Finding and composing configurations as the command line does. Light to import, because ``--help`` needs it."""

import logging
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.paths import home_expanded
from ecg_lightning.core.plugins import added

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from omegaconf import DictConfig

MOST_ALIASES = 20  # of a card; each may double what there is
PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> Path:
    """The folder of the package's own configurations: within an installed package, else next to ``src``."""
    packed = PACKAGE / "conf"
    return packed if packed.is_dir() else PACKAGE.parents[1] / "conf"


def added_conf_dirs() -> list[Path]:
    """Folders of the configurations that other packages add, see `ecg_lightning.core.plugins`."""
    return [Path(folder) for package in added("ecg_lightning.conf").values() for folder in package.__path__]


def conf_dirs(config_dir: Path | str | None = None) -> list[Path]:
    """All folders of configurations, that of ``--config-dir`` first."""
    own = [] if config_dir is None else [home_expanded(config_dir)]
    return [*own, conf_dir(), *added_conf_dirs()]


def choices(folders: Iterable[Path]) -> dict[str, list[str]]:
    """Configuration groups and their choices; a file whose name begins with ``_`` is a base of others."""
    found: dict[str, set[str]] = {}
    for folder in folders:
        for file in folder.glob("*/*.yaml"):
            if not file.name.startswith("_") and file.parent.name != "hydra":
                found.setdefault(file.parent.name, set()).add(file.stem)
    return {group: sorted(found[group]) for group in sorted(found)}


def expanded(overrides: Iterable[str], *, config_dir: Path | str | None = None) -> list[str]:
    """Overrides in Hydra's own terms.

    ``dataset=[mitbih,svdb]`` becomes the card of several databases with the cards of both, and ``dataset=ptbxl`` alone
    also chooses the task that its card is for.
    """
    words: list[str] = []
    chosen: list[str] = []
    for word in overrides:
        if listed := re.fullmatch(r"dataset=\[([\w,\s-]*)\]", word):
            chosen = [name.strip() for name in listed[1].split(",") if name.strip()]
            if len(set(chosen)) < len(chosen) or not chosen:
                raise ConfigError(f"{word}: expected the names of different databases, such as dataset=[mitbih,svdb]")
            if len(chosen) == 1:
                words.append(f"dataset={chosen[0]}")
                continue
            words += ["dataset=_several", f"dataset.name={'+'.join(chosen)}"]
            words += [f"+dataset@dataset.cards.{name}={name}" for name in chosen]
        else:
            words.append(word)
            if word.startswith("dataset="):
                chosen = word.removeprefix("dataset=").split(",")
    with composing():
        tasks = sorted({task for name in chosen if (task := _task_of(name, config_dir))})
    if tasks in ([], ["arrhythmia"]) or any(word.startswith("task=") for word in words):
        return words
    if len(tasks) > 1:
        raise ConfigError(f"{', '.join(chosen)} are databases of different tasks; choose those of one task")
    return [*words, f"task={tasks[0]}"]


def _task_of(name: str, config_dir: Path | str | None) -> str | None:
    """The task that the card of a database, or one of its bases, states; None of an unknown database."""
    from omegaconf import OmegaConf

    for folder in conf_dirs(config_dir):
        file = folder / "dataset" / f"{name}.yaml"
        if file.is_file():
            check_aliases(file)
            card: Any = OmegaConf.load(file)
            if "task" in card:
                return str(card.task)
            bases = [base for base in card.get("defaults", []) if isinstance(base, str) and base != "_self_"]
            return _task_of(bases[0], config_dir) if bases else None
    return None


def check_aliases(file: Path) -> None:
    """ConfigError for a file of YAML with so many aliases that what they stand for may fill the memory."""
    import yaml

    with composing(), file.open(encoding="utf-8") as text:
        aliases = sum(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))
    if aliases > MOST_ALIASES:
        raise ConfigError(f"{file} has {aliases} aliases, expected at most {MOST_ALIASES}; write out what they mean")


def compose(
    overrides: Iterable[str] = (), *, output_dir: Path | str | None = None, config_dir: Path | str | None = None
) -> "DictConfig":
    """The configuration that ``ecg-lightning train`` would run with these overrides, for notebooks and tests.

    Hydra's global state is neither needed nor changed. An unknown choice, setting or folder is a ConfigError.

    Args:
        overrides: as on the command line, such as ``model=seq``.
        output_dir: the run's folder; None names one in ``outputs`` by time, task and model.
        config_dir: folder with more choices, as ``--config-dir``.
    """
    from hydra.types import RunMode
    from omegaconf import open_dict

    words = expanded(overrides, config_dir=config_dir)
    loader = config_loader(config_dir)
    with composing():
        cfg = loader.load_configuration("train", words, run_mode=RunMode.RUN, from_shell=False)
        folder = Path(cfg.hydra.run.dir if output_dir is None else output_dir)
    cfg.output_dir = str(home_expanded(folder).absolute()).replace("${", "\\${")
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


@contextmanager
def composing() -> Iterator[None]:
    """Errors in configurations and their YAML become a ConfigError."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        yield
    except YAMLError as error:
        raise ConfigError(f"a configuration is not valid YAML: {' '.join(str(error).split())}; correct it") from error
    except (HydraException, OmegaConfBaseException) as error:
        message = " ".join(str(error).partition("Config search path")[0].split()) or str(error.__cause__)
        raise ConfigError(message + known_settings(error)) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"a configuration is no text in UTF-8, or nested too deeply: {error}; correct it") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ConfigError(f"a configuration is no mapping of settings to values: {error}; correct it") from error


def config_loader(config_dir: Path | str | None = None) -> "ConfigLoaderImpl":
    """Hydra's loader for the package's configurations, those of other packages, and a folder with more.

    ConfigError if that is no folder.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.utils import setup_globals

    setup_globals()
    search_path = create_config_search_path(str(conf_dir()))
    for folder in added_conf_dirs():
        search_path.prepend("ecg_lightning.conf", f"file://{folder}", SearchPathQuery(provider="schema"))
    if config_dir is not None:
        own = home_expanded(config_dir).absolute()
        if not own.is_dir():
            raise ConfigError(f"config_dir={config_dir} is no folder; give one that holds folders such as model/")
        search_path.prepend("command-line", f"file://{own}", SearchPathQuery(provider="schema"))
    return ConfigLoaderImpl(search_path)


def known_settings(error: BaseException | None) -> str:
    """The end of a sentence that lists the settings of the group that lacks one; empty for other errors."""
    from omegaconf import DictConfig
    from omegaconf.errors import OmegaConfBaseException

    while error is not None:
        if isinstance(error, OmegaConfBaseException) and isinstance(error.parent_node, DictConfig):
            group, _, name = str(error.full_key).rpartition(".")
            return f"; {group or 'the configuration'} has no {name}, but {', '.join(map(str, error.parent_node))}"
        error = error.__cause__ or error.__context__
    return ""


def override(setting: str, value: object) -> str:
    """``setting=value`` for Hydra's command line, quoted if its grammar asks for it."""
    text = str(value)
    plain = re.fullmatch(r"[A-Za-z_./][\w./-]*", text, re.ASCII)
    if plain and text.lower() not in ("null", "true", "false", "inf", "nan"):
        return f"{setting}={text}"
    # A backslash escapes only before a quote and at the end; a $ would begin an interpolation.
    escaped = re.sub(r"(\\*)('|$)", lambda hit: 2 * hit[1] + ("\\'" if hit[2] else ""), text).replace("${", "\\${")
    return f"{setting}='{escaped}'"


def command_again(settings: Mapping[str, object]) -> str:
    """The command line of this process, quoted for a shell, with these settings replaced or added."""
    script, python = sys.argv[0], Path(sys.executable).name
    if script.endswith("__main__.py"):
        program = [python, "-m", PACKAGE.name]
    else:
        program = [python, script] if script.endswith(".py") else [Path(script).name]
    kept = [word for word in sys.argv[1:] if word.lstrip("+").partition("=")[0] not in settings]
    return shlex.join([*program, *kept, *(override(*setting) for setting in settings.items())])


def quiet() -> None:
    """Silence warnings that do not apply here, and allow TensorFloat-32 on a GPU."""
    import torch

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    for warning in (
        ".*does not have many workers.*",  # the beats are in memory
        ".*exists and is not empty.*",  # a run's folder also holds Hydra's files
        ".*number of training batches.*log_every_n_steps.*",  # losses are logged by epoch
        ".*in eval mode at the start of training.*",  # a frozen backbone
        ".*treespec, LeafSpec.*",  # between Lightning and torch
        ".*your dataloader is not resumable.*",  # it is: see `BatchSampler`
    ):
        warnings.filterwarnings("ignore", warning)
