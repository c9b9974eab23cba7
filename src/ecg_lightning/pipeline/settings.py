"""The settings of an experiment with their types and ranges, which `validated` checks before any work.

What depends on the beats (classes, patients, lengths) or on two settings at once is checked where it is used.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import (
    Amount,
    Count,
    Fraction,
    Name,
    Natural,
    NumberOfFolds,
    Part,
    Rate,
    Seconds,
    Seed,
    Share,
    Strength,
    Task,
    Text,
    Units,
    first_error,
)  # fmt: skip
from ecg_lightning.data.databases.card import Card, Cards, Group
from ecg_lightning.data.resampling import Resampling
from ecg_lightning.data.splits import Split
from ecg_lightning.data.stored import Storage
from ecg_lightning.models.settings import SHIPPED, Initialisation, ShippedModel

Score = Literal["val/macro_f1", "val/accuracy", "val/loss"]
Direction = Literal["max", "min"]
Anneal = Literal["cos", "linear"]


class OpenGroup(Group):
    """Settings and any others, which are checked where they are used."""

    model_config = ConfigDict(extra="allow")


class TaskSettings(Group):
    name: Task
    fill_up_to: Part


class Context(Group):
    rhythm: bool
    distance: bool = False
    waves: bool = False
    morphology: bool
    causal: bool = False
    before: Seconds


class Sequence(Group):
    beats: Annotated[int, Field(ge=2, le=100_000)] | None
    layers: Literal["convolution", "s4d"]
    width: Units
    dilations: Annotated[list[Units], Field(min_length=1, max_length=16)]
    dropout: Share


class OwnModel(OpenGroup):
    """A model of another package, which checks its own settings."""

    name: Name


class Augmentation(Group):
    name: Name
    resampling: Resampling
    balance: Strength
    balance_classes: list[str] | None
    balance_patients: Strength
    balance_databases: Strength
    transforms: dict[str, dict[str, Amount] | None]
    mixup: Strength


class Loss(Group):
    name: Name
    label_smoothing: Share
    class_weights: Strength
    focal: Strength
    logit_adjustment: Strength
    prior_correction: Strength


class Transfer(Group):
    mode: Literal["none", "head_only", "last_layer", "finetune", "rhythm"]
    checkpoint: Text | None
    backbone_lr: Rate
    head_lr: Rate
    frozen_epochs: Natural
    leads: Literal["same", "repeated"]


class Recipe(Group):
    """Optimizer settings for one model on one task."""

    lr: Rate = 1  # maximum
    batch_size: Count = 1  # on each device
    steps: Count = 1  # rounded to whole epochs
    anneal: Anneal = "cos"  # of the learning rate
    warmup: Share = 0.2  # fraction of the steps in which the rate increases
    initialisation: Initialisation = "uniform"  # of the weights


class Optimizer(Group):
    lr: Rate
    weight_decay: Strength
    schedule: Literal["one_cycle", "constant"]
    anneal: Anneal = "cos"
    warmup: Share
    batch_size: Count
    steps: Count


class Target(OpenGroup):
    """A class by its import path, and its arguments."""

    target: Annotated[
        str, Field(alias="_target_", pattern=r"^\w+(\.\w+)+$", description="text that is an import path: package.Class")
    ]


Batches = Count | Annotated[float, Field(gt=0, le=1)] | None


class Trainer(Target):
    """Settings in ``conf/trainer`` and others of ``pytorch_lightning.Trainer``, which refuses those that it lacks."""

    accelerator: Text
    devices: Annotated[int, Field(ge=1, le=1024)] | Literal[-1] | Text | Annotated[list[Natural], Field(min_length=1)]
    strategy: Text = "auto"
    num_nodes: Annotated[int, Field(ge=1, le=1024)] = 1
    precision: Text | Literal[16, 32, 64]
    max_epochs: Count | None
    min_epochs: Natural | None = None
    max_steps: Count | Literal[-1]
    min_steps: Natural | None = None
    max_time: Annotated[str, Field(pattern=r"^\d\d:\d\d:\d\d:\d\d$", description="text DD:HH:MM:SS")] | None = None
    limit_train_batches: Batches = None
    limit_val_batches: Batches = None
    limit_test_batches: Batches = None
    overfit_batches: Natural | Share = 0
    fast_dev_run: bool | Natural = False
    val_check_interval: Batches
    enable_progress_bar: bool
    accumulate_grad_batches: Count = 1
    gradient_clip_val: Amount | None
    gradient_clip_algorithm: Literal["norm", "value"] | None = None
    log_every_n_steps: Natural
    check_val_every_n_epoch: Count | None
    profiler: Literal["simple", "advanced"] | None = None
    benchmark: bool | None = None
    inference_mode: bool = True
    detect_anomaly: bool = False
    sync_batchnorm: bool = False
    deterministic: bool | Literal["warn"]
    num_sanity_val_steps: Natural | Literal[-1]


class Watching(Target):
    """A callback that watches a metric."""

    monitor: Score | Literal["train/loss"] | None = None
    mode: Direction = "min"  # as in pytorch_lightning


class Saving(Watching):
    dirpath: Text | None = None
    enable_version_counter: bool = True
    save_on_train_epoch_end: bool | None = None
    every_n_epochs: Count | None = None


class Best(Saving):
    filename: Literal["best"] | None = None  # by which all commands find it


class Last(Saving):
    filename: Literal["last"] | None = None


class EarlyStopping(Watching):
    min_delta: Amount = 0
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None
    patience: Natural = 0


class Averaging(Target):
    decay: Share = 0


class Interrupt(Target):
    path: Text = "last.ckpt"


class Progress(Target):
    monitor: Score = "val/macro_f1"  # shown beside the loss


class Callbacks(BaseModel):
    """By name; null removes one."""

    best: Best | None = None
    last: Last | None = None
    early_stopping: EarlyStopping | None = None
    averaging: Averaging | None = None
    interrupt: Interrupt | None = None
    progress: Progress | None = None
    __pydantic_extra__: dict[str, Target | None]
    model_config = ConfigDict(extra="allow", strict=True)


class MetricsFile(Target):
    path: Text = "metrics.csv"  # of the file
    resumed_from: Text | None = None


class Service(Target):
    folder: Text = "."
    resumed_from: Text | None = None


class MLflow(Service):
    experiment_name: Text = "ecg_lightning"
    # A password would be kept in the configuration, which a run publishes.
    tracking_uri: (
        Annotated[str, Field(pattern=r"^[^@]+$", description="an address; MLFLOW_TRACKING_URI may have a password")]
        | None
    ) = None


class WandB(Service):
    project: Text = "ecg_lightning"
    entity: Text | None = None


class TensorBoard(Service):
    save_dir: Text = "."
    name: str = ""
    version: Text = "tensorboard"


class Loggers(BaseModel):
    """By name; null removes one."""

    csv: MetricsFile | None = None
    mlflow: MLflow | None = None
    wandb: WandB | None = None
    tensorboard: TensorBoard | None = None
    __pydantic_extra__: dict[str, Target | None]
    model_config = ConfigDict(extra="allow", strict=True)


class OperatingPoint(Group):
    folds: NumberOfFolds | None
    specificity: Fraction | None


class Settings(Group):
    """All settings of an experiment."""

    seed: Seed
    data_dir: Text
    cache_dir: Text
    storage: Storage
    output_dir: Text
    dropout: Share | None
    monitor: Score
    mode: Direction
    tested: Literal["test", "validation", "cross_validation"]
    operating_point: OperatingPoint
    report: Literal["full", "brief", "none"]
    compile: bool
    test_on: list[Text]
    ckpt_path: Text | None
    task: TaskSettings
    dataset: Annotated[
        Annotated[Card, Tag("one")] | Annotated[Cards, Tag("several")],
        Discriminator(lambda dataset: "several" if isinstance(dataset, dict) and "cards" in dataset else "one"),
    ]
    context: Context
    sequence: Sequence
    split: Split
    model: Annotated[
        Annotated[ShippedModel, Tag("shipped")] | Annotated[OwnModel, Tag("own")],
        Discriminator(lambda model: "shipped" if isinstance(model, dict) and model.get("name") in SHIPPED else "own"),
    ]
    augmentation: Augmentation
    loss: Loss
    transfer: Transfer
    recipe: dict[str, dict[str, Recipe]]
    optimizer: Optimizer
    trainer: Trainer
    callbacks: Callbacks | None
    logger: Loggers | None


def validated(cfg: DictConfig) -> dict[str, Any]:
    """The configuration in plain values with interpolations resolved.

    The first setting that is unknown, missing, of another type or out of range is a ConfigError.
    """
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(" ".join(str(error).split())) from error
    try:
        Settings.model_validate_json(json.dumps(plain, default=str))  # from Python, no dictionary is a dataclass
    except ValidationError as error:
        raise ConfigError(first_error(Settings, plain, error)) from error
    _check_together(plain)
    return dict(plain)


def _check_together(plain: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for settings that contradict each other, whatever the beats are."""
    callbacks = plain["callbacks"] or {}
    for group in (plain, *(callbacks.get(name) or {} for name in ("best", "early_stopping"))):
        monitor, mode = group.get("monitor"), group.get("mode")
        if monitor and mode and monitor.endswith("/loss") != (mode == "min"):
            raise ConfigError(f"monitor={monitor} with mode={mode} selects the worst: a loss is min, a score is max")
    where = f"{plain['output_dir']}/checkpoints"
    for name in ("best", "last"):
        if (folder := (callbacks.get(name) or {}).get("dirpath", where)) != where:
            raise ConfigError(f"callbacks.{name}.dirpath={folder}: expected {where}, where all commands look; leave it")
    n_folds = plain["operating_point"]["folds"]
    if n_folds is None and plain["tested"] == "cross_validation":
        raise ConfigError("tested=cross_validation needs a number of folds: add operating_point.folds=5")
    if n_folds is not None and plain["split"]["protocol"] == "random":
        raise ConfigError(
            f"operating_point.folds={n_folds} are of people, and split=random has the same in all: choose split=patient"
        )
