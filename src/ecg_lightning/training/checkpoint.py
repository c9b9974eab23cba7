"""Reading checkpoints, and plain network weights from elsewhere.

A file is loaded with ``weights_only=True``: tensors and plain containers, never an object whose loading runs code. The
models in it are looked up among the registered ones by name, and sizes are checked before anything is built.

Format 2 is a mapping with ``state_dict`` (the tensors, each name after ``model.``), ``epoch`` and ``global_step`` (None
of a model without them), ``hyper_parameters`` in plain values (``task``, ``model`` with its settings, ``input`` as
`InputSpec`, ``about``: classes, data, protocol, configuration, versions, git, origin; of a network also ``optimizer``,
``loss``, ``class_counts``, ``transfer``; of an ensemble also ``members``, see `members_of`) and `CHECKPOINT_KEY`:
``format``, validation ``scores`` and, once a run has fitted them, ``calibration`` and ``operating_point``, as
`ecg_lightning.metrics` describes them.
"""

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.core.weights import FOLDER as WEIGHTS
from ecg_lightning.core.weights import path_of, read_weights, shipped_weights
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.models import BeatModel, SequenceSettings, create_model, list_models, model_names
from ecg_lightning.models.baselines import REFERENCE_MODELS
from ecg_lightning.training.checkpoint_v1 import upgrade, with_card
from ecg_lightning.training.ensemble import Mean
from ecg_lightning.training.tasks import task_of

CHECKPOINT_KEY = "ecg_lightning"  # marks a file as a checkpoint of this project
FORMAT = 2  # a later one is refused, an earlier one converted
MODEL_PREFIX = "model."  # the network's place in the LightningModule, and so in the names of its weights
ENSEMBLE = "ensemble"  # name of what is made from several trained models

LARGEST_SETTING = 4096  # of a network's own settings: widths, depths, kernels
LARGEST_BEAT = 10_000_000  # samples in all leads
WEIGHTS_ARE = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16,
               torch.int32, torch.int64}  # fmt: skip
MOST_VALUES, DEEPEST = 200_000, 40  # plain values in a checkpoint, and how deeply they are nested
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # how files of torch begin that are no archives

# What using a value of another kind than expected can raise; nesting without end is a RuntimeError.
MALFORMED = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError)

# Names in the CNet of the older script-based system → ours; ``fc1`` and ``fc2`` are the same.
OLDER_CNET = ((r"^c1\.", "stem."), (r"^cresids\.(\d+)\.c([12])\.", r"blocks.\1.conv\2."))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The content of a checkpoint file, checked and in the current format; of a plain state dict only weights."""

    path: Path
    weights: Mapping[str, Tensor]  # by name, without prefix
    hyperparameters: Mapping[str, Any] | None = None  # as described at the top of the module
    scores: Mapping[str, float] | None = None  # on validation, when it was saved
    epoch: int | None = None  # the first is 1; None of a model without epochs
    step: int | None = None  # number of optimizer steps
    calibration: Mapping[str, Any] | None = None  # `Calibration` in plain values
    operating_point: Mapping[str, Any] | None = None  # `OperatingPoint` in plain values

    @property
    def about(self) -> Mapping[str, Any]:
        """Data, configuration and versions of the run; empty of a plain state dict."""
        return (self.hyperparameters or {}).get("about") or {}

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration of the run in plain values; empty where it is not known."""
        return self.about.get("config") or {}

    @property
    def model(self) -> str | None:
        """Name of the model; None of a plain state dict."""
        return None if self.hyperparameters is None else str(self.hyperparameters["model"]["name"])

    @property
    def input(self) -> InputSpec:
        """What the model takes; raises as `require`."""
        return InputSpec.from_plain(self.require()["input"])

    def require(self) -> Mapping[str, Any]:
        """The hyperparameters; raises `CheckpointError` for a plain state dict, which has none."""
        if self.hyperparameters is None:
            raise CheckpointError(
                f"{self.path} holds weights alone, without their task, classes and sampling rate; "
                "give a checkpoint of ecg_lightning"
            )
        return self.hyperparameters

    def origin(self) -> dict[str, Any]:
        """What a model that starts from this checkpoint keeps of it: enough to find it, and its own origin."""
        file: dict[str, Any] = {"file": self.path.name, "sha256": hashlib.sha256(self.path.read_bytes()).hexdigest()}
        if self.hyperparameters is None:
            return file
        data = self.about.get("data") or {}
        return {
            **file,
            "task": self.hyperparameters["task"],
            "model": self.model,
            "data": {key: data.get(key) for key in ("dataset", "synthetic", "fingerprint")},
            "protocol": self.about.get("protocol"),
            "epoch": self.epoch,
            "scores": dict(self.scores or {}),
            "origin": self.about.get("origin"),
        }


def read_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of this project, or a plain state dict of one of its networks or of the older system's CNet.

    A run's folder stands for its best checkpoint. The name of weights that ship stands for them, unless there is a file
    or folder of that name; the ``.safetensors`` of weights is read with the card beside it. Raises `CheckpointError` if
    the file is absent, cut off, damaged, would run code, asks for absurd sizes, is of a later version, or is something
    else.
    """
    source = path_of(path)
    shipped = [] if source.exists() else sorted(shipped_weights("beats"))
    if str(path) in shipped or source.suffix == ".safetensors":
        return _of_weights(WEIGHTS / f"{path}.safetensors" if str(path) in shipped else source)
    path = source / "checkpoints" / "best.ckpt" if source.is_dir() else source
    if not path.is_file():
        absent = f"{source} has no checkpoints/best.ckpt" if source.is_dir() else f"{path} is not there"
        names = f", or one of the weights that ship: {', '.join(shipped)}" * bool(shipped)
        raise CheckpointError(f"{absent}; give the folder of a finished run, a checkpoint file{names}")
    content = _load(path)
    with malformed(f"{path} is no complete checkpoint of ecg_lightning; missing or malformed", ConfigError):
        if content and all(isinstance(name, str) and isinstance(weight, Tensor) for name, weight in content.items()):
            _check_tensors(content)
            for theirs, ours in OLDER_CNET:
                content = {re.sub(theirs, ours, name): weight for name, weight in content.items()}
            return Checkpoint(path=path, weights=content)
        if CHECKPOINT_KEY not in content:
            raise CheckpointError(
                f"{path} is neither a checkpoint of ecg_lightning nor a state dict of tensors; it holds "
                f"{', '.join(sorted(map(str, content))[:6]) or 'nothing'}"
            )
        marked, stated = content[CHECKPOINT_KEY], content["hyper_parameters"]
        _check_values([stated, marked, content["epoch"], content["global_step"]])
        if type(marked["format"]) is int and marked["format"] > FORMAT:
            raise CheckpointError(
                f"{path} has format {marked['format']}, this version reads up to {FORMAT}; install a newer version"
            )
        if marked["format"] not in (1, FORMAT):
            raise ValueError(f"format {str(marked['format'])[:40]}")
        stated = upgrade(stated) if marked["format"] == 1 else dict(stated)
        if (stated.get("about") or {}).get("config"):
            stated["about"] = {**stated["about"], "config": with_card(stated["about"]["config"])}
        state = content["state_dict"].items()
        weights = {name.removeprefix(MODEL_PREFIX): one for name, one in state if name.startswith(MODEL_PREFIX)}
        epoch, saved = content["epoch"], {name: marked.get(name) for name in ("calibration", "operating_point")}
        epoch = epoch + 1 if isinstance(epoch, int) else epoch
        return _checked(path, weights, stated, marked["scores"], epoch, content["global_step"], **saved)


def _of_weights(file: Path) -> Checkpoint:
    arrays, card = read_weights(file)
    with malformed(f"the card of {file} is no description of a beat classifier; malformed", ConfigError):
        _check_values([card])
        weights = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        stated = dict(card["hyperparameters"])
        fitted = {key: card.get(key) for key in ("calibration", "operating_point")}
        return _checked(file, weights, stated, card["scores"], card["epoch"], card["step"], **fitted)


def _checked(
    path: Path,
    weights: Mapping[str, Tensor],
    stated: Mapping[str, Any],
    scores: Mapping[str, float],
    epoch: int | None,
    step: int | None,
    **fitted: Mapping[str, Any] | None,
) -> Checkpoint:
    """A checkpoint of the current format; raises one of `MALFORMED` or ConfigError."""
    _check_hyperparameters(stated)
    _check_tensors(weights)
    for name, value in {"epoch": epoch, "step": step}.items():
        if type(value) is not int and (value is not None or stated["model"]["name"] in model_names()):
            raise TypeError(name)
    for name, plain in fitted.items():
        if not isinstance(plain, Mapping | None):
            raise TypeError(name)
    return _fitting(
        Checkpoint(
            path=path,
            weights=weights,
            hyperparameters=stated,
            scores={str(name): float(value) for name, value in scores.items()},
            epoch=epoch,
            step=step,
            **fitted,
        )
    )


@contextmanager
def malformed(what: str, *others: type[Exception]) -> Iterator[None]:
    """What goes wrong because a file states other values than expected becomes a `CheckpointError` that begins so.

    `others` are exceptions that do, too: ConfigError, where nobody but the file has chosen the settings.
    """
    try:
        yield
    except MALFORMED + others as error:
        raise CheckpointError(f"{what}: {' '.join(str(error).split())[:300]}") from error


def add_fitted(path: Path, **fitted: Mapping[str, Any]) -> None:
    """Add ``calibration`` or ``operating_point`` to a run's checkpoint; DataError if it cannot be written."""
    from ecg_lightning.training.callbacks.saving import AtomicCheckpointIO  # needs Lightning

    content = AtomicCheckpointIO().load_checkpoint(path)
    content[CHECKPOINT_KEY].update({name: dict(one) for name, one in fitted.items()})
    AtomicCheckpointIO().save_checkpoint(content, path)


def members_of(checkpoint: Checkpoint) -> list[Checkpoint]:
    """The models that an ensemble is made of, each as its own checkpoint, without calibration.

    ``members`` of its hyperparameters has a mapping for each: ``hyperparameters``, ``scores``, ``epoch``, ``step`` and
    the ``overrides`` of its run; the names of its weights begin with its number.
    """
    members = checkpoint.require()["members"]
    return [
        Checkpoint(
            path=checkpoint.path,
            weights={
                name.removeprefix(f"{number}."): weight
                for name, weight in checkpoint.weights.items()
                if name.startswith(f"{number}.")
            },
            **{key: one[key] for key in ("hyperparameters", "scores", "epoch", "step")},
        )
        for number, one in enumerate(members)
    ]


def network_of(stated: Mapping[str, Any]) -> BeatModel:
    """The network of hyperparameters, with random weights; ConfigError if its settings do not fit together."""
    spec, task = InputSpec.from_plain(stated["input"]), task_of(stated)
    return create_model(
        **stated["model"],
        n_outputs=task.n_outputs,
        length=spec.length,
        leads=len(spec.leads),
        n_context=len(spec.context),
    )


def load_network(checkpoint: Checkpoint) -> BeatModel:
    """The network of a checkpoint, whose weights fit: `read_checkpoint` refuses others."""
    network = network_of(checkpoint.require())
    network.load_state_dict(checkpoint.weights)
    return network


def _fitting(checkpoint: Checkpoint) -> Checkpoint:
    """The same; a `CheckpointError` if the weights of a network, or of a member, do not fit its settings."""
    if checkpoint.model == ENSEMBLE:
        for member in members_of(checkpoint):
            _fitting(member)
    elif checkpoint.model in model_names():
        with torch.device("meta"):  # a file that asks for gigabytes must contain them
            own = network_of(checkpoint.require()).state_dict()
        here, there = (
            {n: ("" if w.is_floating_point() else "whole numbers ") + str(tuple(w.shape)) for n, w in side.items()}
            for side in (own, checkpoint.weights)
        )
        if differing := sorted({name for name, _ in here.items() ^ there.items()}):
            found, expected = (side.get(differing[0], "absent") for side in (there, here))
            raise CheckpointError(
                f"{checkpoint.path} contradicts itself: {differing[0]} is {found} there, {expected} by its settings"
            )
    return checkpoint


def guess_network(weights: Mapping[str, Tensor]) -> str | None:
    """The network with these names of weights, and of several the one with most of these shapes; None if undecided."""
    equal: dict[str, int] = {}
    for name in model_names():
        own = create_model(name, n_outputs=1, length=187).state_dict()
        if own.keys() == weights.keys():
            equal[name] = sum(own[weight].shape == weights[weight].shape for weight in own)
    best = [name for name, n_shapes in equal.items() if n_shapes == max(equal.values())]
    return best[0] if len(best) == 1 else None


def _load(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            if file.read(len(LEGACY)) == LEGACY:
                raise CheckpointError(
                    f"{path} has the format that torch wrote before 1.6, without checksums; convert it once: "
                    "torch.save(torch.load(OLD, weights_only=True), NEW)"
                )
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no ZIP archive, which torch.save writes")
        with zipfile.ZipFile(path) as archive:  # torch does not look at the checksums
            if len(set(archive.namelist())) < len(archive.namelist()):
                raise ValueError("it has two parts of one name, of which torch may read either")
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, which torch never does, and may be far larger than it looks")
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
                raise ValueError("its parts are larger than the file")
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} does not have its checksum")
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # reading something else as a pickle can raise anything
        reason = type(error).__name__
        if isinstance(error, pickle.UnpicklingError):
            if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
                raise CheckpointError(
                    f"{path} is refused, and nothing in it was run: it holds {named[1]}, and loading anything but "
                    "tensors and plain containers can run code"
                ) from error
        elif str(error).strip():  # without torch's advice to load the file in spite of all
            reason += f": {str(error).strip().splitlines()[0].split('. ')[0][:120]}"
        raise CheckpointError(
            f"{path} is cut off, damaged or no checkpoint: torch cannot read it ({reason})"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a checkpoint or a state dict")
    return content


def _check_values(value: Any) -> None:
    """Refuse what is nested without end, contains itself or repeats itself a million times, or is no plain value."""
    waiting, seen = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        seen += 1
        if seen > MOST_VALUES or depth > DEEPEST:
            raise ValueError(f"more than {MOST_VALUES:,} values, or nested more than {DEEPEST} deep")
        if isinstance(one, Mapping):
            waiting += [(child, depth + 1) for pair in one.items() for child in pair]
        elif isinstance(one, list | tuple | set):
            waiting += [(child, depth + 1) for child in one]
        elif isinstance(one, int) and one.bit_length() > 64:
            raise ValueError("a whole number of more than 64 bits")
        elif not isinstance(one, str | int | float | None):
            raise ValueError(f"a {type(one).__name__} among the settings, expected plain values")


def _check_hyperparameters(stated: Mapping[str, Any]) -> None:
    """A checkpoint names a task and a model of ours, and asks for sizes that can be built."""
    task_of(stated)
    spec = InputSpec.from_plain(stated["input"])
    if spec.fs and spec.cut:
        _ = spec.how
    if spec.length * len(spec.leads) > LARGEST_BEAT:
        raise ValueError(f"beats of {len(spec.leads)} × {spec.length:,} samples")
    if (name := stated["model"]["name"]) == ENSEMBLE:
        chosen, members = stated["model"]["weights"], stated["members"]
        if len(members) < 2 or stated["model"]["mean"] not in get_args(Mean):
            raise ValueError("an ensemble of fewer than two members, or of another mean")
        given = [] if isinstance(chosen, str) else [chosen]
        for own in [*given, *stated["model"].get("class_weights", {}).values()]:
            if [type(one) in (int, float) for one in own] != [True] * len(members):
                raise ValueError("weights of an ensemble that are no number a member")
        for member in [one["hyperparameters"] for one in members]:
            if member["model"]["name"] == ENSEMBLE or any(member[key] != stated[key] for key in ("task", "input")):
                raise ValueError("a member of the ensemble that is one itself, or is of another task or input")
            _check_hyperparameters(member)
    elif name not in list_models():
        raise ConfigError(f"there is no model {name!r}; choose one of {', '.join(list_models())}")
    for key, value in stated["model"].items():
        number = isinstance(value, int | float) and 0 <= value <= LARGEST_SETTING
        if key == "sequence":
            SequenceSettings(**value)
        elif name in REFERENCE_MODELS and key not in ("name", "inputs"):
            if value is not None and not number:
                raise ValueError(f"model.{key}={str(value)[:40]}, expected a number up to {LARGEST_SETTING:,}")
        elif name != ENSEMBLE and not number and not isinstance(value, str):
            raise ValueError(f"model.{key}={str(value)[:40]}, expected a number up to {LARGEST_SETTING:,}")
    about = stated.get("about") or {}
    for key in ("data", "config", "protocol", "origin", "versions"):
        if not isinstance(about.get(key, {}), Mapping | None):
            raise TypeError(f"about.{key}")


def _check_tensors(weights: Mapping[str, Tensor]) -> None:
    """Refuse what is no array of finite numbers, and what is larger than the numbers that the file has for it."""
    for name, weight in weights.items():
        if weight.layout != torch.strided or weight.is_nested or weight.is_meta or weight.dtype not in WEIGHTS_ARE:
            raise ValueError(f"{name} is no array of numbers ({weight.dtype}, {weight.layout}, {weight.device})")
        if weight.numel() * weight.element_size() > weight.untyped_storage().nbytes():
            raise ValueError(f"{name} has a size that the content of the file does not have")
        if not weight.isfinite().all():
            raise ValueError(f"{name} has NaN or infinity among its weights: the training has diverged")
