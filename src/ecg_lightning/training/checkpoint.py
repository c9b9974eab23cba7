"""Reading and writing checkpoints, and plain network weights that somebody brings along.

A file is loaded with ``weights_only=True``: tensors and plain containers, never an object whose loading runs code. The
models in it are looked up among the registered ones by name, and sizes are checked before anything is built.

Format 2 is a mapping with ``state_dict`` (the tensors, each name after ``model.``), ``epoch`` and ``global_step`` (None
of a model without them), ``hyper_parameters`` in plain values (``task``, ``model`` with its settings, ``input`` as
`InputSpec`, ``about``: classes, data, protocol, configuration, versions, git, origin; of a network also ``optimizer``,
``loss``, ``class_counts``, ``transfer``) and `CHECKPOINT_KEY`: ``format`` and validation ``scores``.
"""

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.data.beats import Beats
from ecg_lightning.models import create_model, list_models, model_names
from ecg_lightning.training.checkpoint_v1 import upgrade
from ecg_lightning.training.tasks import TASKS

CHECKPOINT_KEY = "ecg_lightning"
"""The key that marks a file as a checkpoint of this project."""

FORMAT = 2
"""Version of the layout; a higher one is refused, a lower one converted."""

MODEL_PREFIX = "model."
"""The network's place in the LightningModule, and so in the names of its weights."""

LONGEST = 1_000_000
"""Samples of a beat."""

LARGEST_SETTING = 4096
"""Of a network's own settings: widths, depths, kernels."""

LONGEST_CHAIN = 32
"""Checkpoints that started from one another."""

MOST_VALUES, DEEPEST = 200_000, 100
"""Plain values in a checkpoint, and how deeply they are nested."""

OLDER_CNET = ((r"^c1\.", "stem."), (r"^cresids\.(\d+)\.c([12])\.", r"blocks.\1.conv\2."))
"""Names of the older script-based system's CNet → ours; ``fc1`` and ``fc2`` have the same."""


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What a model is given of each beat: enough to make the same of a recording.

    Attributes:
        length: samples a beat, padding included.
        fs: sampling rate in Hz; None where it is not known.
        leads: what was asked for, by name, position or a list of alternatives, one entry a lead.
        context: names of the values that come with each beat; empty without.
        cut: settings of the window, such as ``before``, ``rr_factor``, ``margin`` and ``scaling``.
    """

    length: int
    fs: float | None = None
    leads: tuple[Any, ...] = (0,)
    context: tuple[str, ...] = ()
    cut: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, beats: Beats, leads: Sequence[Any]) -> Self:
        """The input that these beats are, cut from the leads that were asked for."""
        cut = beats.origin.get("cut", beats.origin)
        return cls(
            length=beats.length,
            fs=beats.fs,
            leads=tuple(leads),
            context=beats.context_names,
            cut={key: cut[key] for key in ("rr_factor", "margin", "before", "scaling") if key in cut},
        )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The spec from what `plain` gave."""
        lists = {key: tuple(plain[key]) for key in ("leads", "context") if key in plain}
        return cls(**{**plain, **lists})

    def plain(self) -> dict[str, Any]:
        """In plain values."""
        return {**asdict(self), "leads": list(self.leads), "context": list(self.context), "cut": dict(self.cut)}

    def check(self, beats: Beats, *, whose: str) -> None:
        """Refuse beats of another length, sampling rate, number of leads or context.

        Raises:
            ConfigError: they differ.
        """
        if (self.length, self.fs or beats.fs) != (beats.length, beats.fs):
            raise ConfigError(
                f"{whose} takes beats of {self.length} samples at {self.fs or 0:g} Hz, these have {beats.length} at "
                f"{beats.fs:g} Hz; choose the source that it was trained with"
            )
        if len(self.leads) != len(beats.lead_names):
            raise ConfigError(
                f"{whose} takes {len(self.leads)} leads ({', '.join(map(str, self.leads))}), these beats have "
                f"{', '.join(beats.lead_names)}; choose the source that it was trained with"
            )
        if self.context != beats.context_names:
            named = [f"({', '.join(names)})" if names else "none" for names in (self.context, beats.context_names)]
            raise ConfigError(
                f"{whose} takes beats with the context {named[0]}, these have {named[1]}; choose the context that it "
                "was trained with"
            )


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file, checked and in the current format.

    Attributes:
        path: the file.
        weights: the model's tensors by name, without prefix.
        hyperparameters: see the module; None of a plain state dict.
        scores: validation scores the checkpoint was saved with.
        epoch: the epoch in which it was saved, the first being 1; None where there are none.
        step: number of optimizer steps; None likewise.
    """

    path: Path
    weights: Mapping[str, Tensor]
    hyperparameters: Mapping[str, Any] | None = None
    scores: Mapping[str, float] | None = None
    epoch: int | None = None
    step: int | None = None

    @property
    def about(self) -> Mapping[str, Any]:
        """What the run states of data, configuration and versions; empty of a plain state dict."""
        return (self.hyperparameters or {}).get("about") or {}

    @property
    def model(self) -> str | None:
        """Name of the model; None of a plain state dict."""
        return None if self.hyperparameters is None else str(self.hyperparameters["model"]["name"])

    @property
    def input(self) -> InputSpec:
        """What the model takes.

        Raises:
            CheckpointError: a plain state dict, which does not state it.
        """
        return InputSpec.from_plain(self.require()["input"])

    def require(self) -> Mapping[str, Any]:
        """The hyperparameters.

        Raises:
            CheckpointError: a plain state dict, which has none.
        """
        if self.hyperparameters is None:
            raise CheckpointError(
                f"{self.path} holds weights alone, without their task, classes and sampling rate; "
                "give a checkpoint of ecg_lightning"
            )
        return self.hyperparameters

    def origin(self) -> dict[str, Any]:
        """What a model that starts from this checkpoint keeps of it: enough to find it, and what it came from."""
        stated = {}
        if self.hyperparameters is not None:
            data = self.about.get("data", {})
            stated = {
                "task": self.hyperparameters["task"],
                "model": self.model,
                "data": {key: data.get(key) for key in ("source", "dataset", "synthetic", "fingerprint")},
                "protocol": self.about.get("protocol"),
                "epoch": self.epoch,
                "scores": dict(self.scores or {}),
                "origin": self.about.get("origin"),
            }
        return {"file": self.path.name, "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest(), **stated}


def find_checkpoint(path: Path | str) -> Path:
    """The file itself, or the best checkpoint of a run's folder.

    Raises:
        CheckpointError: there is no such file, or no checkpoint in the folder.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        best = path / "checkpoints" / "best.ckpt"
        if not best.is_file():
            raise CheckpointError(f"{path} has no checkpoints/best.ckpt; give the folder of a finished run, or a file")
        return best
    if not path.is_file():
        raise CheckpointError(f"{path} is not there; give a checkpoint file or the folder of a finished run")
    return path


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of this project, or a plain state dict of one of its networks or of the older system's CNet.

    Args:
        path: a file, or a run's folder, which stands for its best checkpoint.

    Raises:
        CheckpointError: the file is absent, cut off, damaged, would run code, asks for absurd sizes, is of a later
            version, or is something else.
    """
    path = find_checkpoint(path)
    content = _load(path)
    if _is_state_dict(content):
        _check_tensors(path, content)
        return Checkpoint(path=path, weights=_our_names(content))
    if CHECKPOINT_KEY not in content:
        raise CheckpointError(
            f"{path} is neither a checkpoint of ecg_lightning nor a state dict of tensors; it holds "
            f"{', '.join(sorted(map(str, content))[:6]) or 'nothing'}"
        )
    try:
        marked = content[CHECKPOINT_KEY]
        if marked["format"] > FORMAT:
            raise CheckpointError(
                f"{path} has format {marked['format']}, this version reads up to {FORMAT}; install a newer version"
            )
        _check_values(path, {key: content[key] for key in ("hyper_parameters", CHECKPOINT_KEY)})
        hyperparameters = content["hyper_parameters"]
        if marked["format"] == 1:
            hyperparameters = upgrade(hyperparameters)
        _check_hyperparameters(path, hyperparameters)
        weights = {
            n.removeprefix(MODEL_PREFIX): w for n, w in content["state_dict"].items() if n.startswith(MODEL_PREFIX)
        }
        _check_tensors(path, weights)
        epoch, step = content["epoch"], content["global_step"]
        if not (isinstance(epoch, int) or (epoch is None and hyperparameters["model"]["name"] not in model_names())):
            raise TypeError("epoch")
        return Checkpoint(
            path=path,
            weights=weights,
            hyperparameters=hyperparameters,
            scores={str(name): float(value) for name, value in marked["scores"].items()},
            epoch=None if epoch is None else epoch + 1,
            step=step,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a complete checkpoint of ecg_lightning: missing or malformed: {error}"
        ) from error


def guess_network(weights: Mapping[str, Tensor]) -> str | None:
    """The network of a plain state dict: the one with the same names and, of several, the most shapes of its own.

    Returns:
        The network's name; None if no network has these names, or several with equal right.
    """
    alike: dict[str, int] = {}
    for name in model_names():
        own = create_model(name, n_outputs=1, length=187).state_dict()
        if own.keys() == weights.keys():
            alike[name] = sum(own[weight].shape == weights[weight].shape for weight in own)
    best = [name for name, n_shapes in alike.items() if n_shapes == max(alike.values())]
    return best[0] if len(best) == 1 else None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        if zipfile.is_zipfile(path):  # as torch writes since 1.6; it does not look at the checksums
            with zipfile.ZipFile(path) as archive:
                if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                    raise ValueError("it is compressed, which torch never does, and may be far larger than it looks")
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} does not have its checksum")
        with warnings.catch_warnings(action="ignore"):  # of what the error says anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is read as a pickle and is none can end in any
        if isinstance(error, pickle.UnpicklingError) and (named := re.search(r"GLOBAL ([\w.]+)", str(error))):
            raise CheckpointError(
                f"{path} is refused, and nothing in it was run: it holds {named[1]}, and loading anything but tensors "
                "and plain containers can run code"
            ) from error
        raise CheckpointError(
            f"{path} is cut off, damaged or no checkpoint: torch cannot read it ({_reason(error)})"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a checkpoint or a state dict")
    return content


def _reason(error: Exception) -> str:
    """What torch says in its own words, without its advice to load the file in spite of all."""
    if isinstance(error, pickle.UnpicklingError) or not str(error).strip():
        return type(error).__name__
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0].split('. ')[0][:120]}"


def _is_state_dict(content: Mapping[str, Any]) -> bool:
    return bool(content) and all(isinstance(n, str) and isinstance(w, Tensor) for n, w in content.items())


def _our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not any(name.startswith("cresids.") for name in weights):
        return dict(weights)
    renamed = {}
    for name, weight in weights.items():
        for theirs, ours in OLDER_CNET:
            name = re.sub(theirs, ours, name)
        renamed[name] = weight
    return renamed


def _check_values(path: Path, value: Any) -> None:
    """Refuse what is nested without end, refers to itself or repeats itself a million times; the rest is plain."""
    waiting, seen = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise CheckpointError(
                f"{path} states more than {MOST_VALUES:,} values or nests them more than {DEEPEST} deep; "
                "it was not written by ecg_lightning"
            )
        if isinstance(one, Mapping):
            waiting += [(child, depth + 1) for pair in one.items() for child in pair]
        elif isinstance(one, list | tuple | set):
            waiting += [(child, depth + 1) for child in one]
        elif isinstance(one, Tensor):
            raise CheckpointError(f"{path} has a tensor among its settings, expected plain values")


def _check_hyperparameters(path: Path, stated: Mapping[str, Any]) -> None:
    """A checkpoint names a task and a model of ours, and asks for sizes that can be built."""
    model, task = dict(stated["model"]), stated["task"]
    name = model.pop("name")
    if name not in list_models():
        raise CheckpointError(f"{path} is of the model {name!r}, which is none of {', '.join(list_models())}")
    if task not in TASKS:
        raise CheckpointError(f"{path} is of the task {task!r}, which is none of {', '.join(TASKS)}")
    spec = InputSpec.from_plain(stated["input"])
    sizes = {
        "input.length": (spec.length, LONGEST),
        "leads": (len(spec.leads), 1000),
        "context": (len(spec.context), 1000),
    }
    if name in model_names():
        sizes |= {
            f"model.{key}": (value, LARGEST_SETTING) for key, value in model.items() if not isinstance(value, str)
        }
    for key, (value, largest) in sizes.items():
        if not isinstance(value, int | float) or not 0 <= value <= largest:
            raise CheckpointError(f"{path} has {key}={str(value)[:40]}, expected a number up to {largest:,}")
    chain, origin = 0, stated["about"] and stated["about"].get("origin")
    while origin:
        chain, origin = chain + 1, origin.get("origin")
        if chain > LONGEST_CHAIN:
            raise CheckpointError(f"{path} states more than {LONGEST_CHAIN} checkpoints that it came from")


def _check_tensors(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuse a tensor that is larger than the numbers that the file has for it."""
    for name, weight in weights.items():
        if weight.layout != torch.strided or weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
            raise CheckpointError(f"{path} states a size of {name} that its content does not have")
