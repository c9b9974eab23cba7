"""The settings of an experiment with their types and ranges, which `validated` checks before any work.

What depends on the beats (classes, patients, lengths) or on two settings at once is checked where it is used.
"""

import json
from typing import Annotated, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import Amount, Count, Fraction, Natural, Part, Positive, first_error
from ecg_lightning.data.databases.card import Card, Cards, Group
from ecg_lightning.data.resampling import Resampling
from ecg_lightning.data.splits import Split
from ecg_lightning.models.baselines import Inputs

Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class OpenGroup(Group):
    """Settings and any others, which are checked where they are used."""

    model_config = ConfigDict(extra="allow")


class TaskSettings(Group):
    name: str
    fill_up_to: Part


class Context(Group):
    rhythm: bool
    distance: bool = False
    waves: bool = False
    morphology: bool
    causal: bool = False
    before: Amount


class Sequence(Group):
    beats: Annotated[int, Field(ge=2)] | None
    layers: Literal["convolution", "s4d"]
    width: Count
    dilations: Annotated[list[Count], Field(min_length=1)]
    dropout: Share


class OwnModel(OpenGroup):
    """A model of another package, which checks its own settings."""

    name: str


class ShippedModel(OwnModel):
    """Settings of all models of this package; the registry refuses those that the chosen one lacks."""

    channels: Count = 1
    kernel: Count = 1
    blocks: Count = 1
    width: Count = 1
    depth: Count = 1
    hidden: Count = 1
    frame_length: Count = 1
    embedding: Natural = 0
    dropout: Share = 0
    max_iter: Count = 1
    learning_rate: Positive = 1
    max_leaf_nodes: Annotated[int, Field(ge=2)] | None = None
    max_features: Annotated[float, Field(gt=0, le=1)] = 1
    l2_regularization: Amount = 0
    C: Positive = 1
    inputs: Inputs = "beat"


SHIPPED = ("cnet", "seq", "bilstm", "bigru", "majority", "beat_length", "logistic_regression", "gradient_boosting")


class Augmentation(Group):
    name: str
    resampling: Resampling
    balance: Amount
    balance_classes: list[str] | None
    balance_patients: Amount
    balance_databases: Amount
    transforms: dict[str, dict[str, Amount] | None]
    mixup: Amount


class Loss(Group):
    name: str
    label_smoothing: Share
    class_weights: Amount
    focal: Amount
    logit_adjustment: Amount
    prior_correction: Amount


class Transfer(Group):
    mode: Literal["none", "head_only", "last_layer", "finetune", "rhythm"]
    checkpoint: str | None
    backbone_lr: Positive
    head_lr: Positive
    frozen_epochs: Natural
    leads: Literal["same", "repeated"]


class Recipe(Group):
    """Optimizer settings for one model on one task."""

    lr: Positive = 1
    batch_size: Count = 1
    steps: Count = 1


class Optimizer(Group):
    lr: Positive
    weight_decay: Amount
    schedule: Literal["one_cycle", "constant"]
    warmup: Share
    batch_size: Count
    steps: Count


class Trainer(OpenGroup):
    """Settings in ``conf/trainer``; all others of ``pytorch_lightning.Trainer`` are allowed."""

    accelerator: str
    devices: Count | Literal[-1] | str | list[Natural]
    precision: str | Literal[16, 32, 64]
    max_epochs: Count | None
    max_steps: Count | Literal[-1]
    val_check_interval: Count | Annotated[float, Field(gt=0, le=1)] | None
    enable_progress_bar: bool
    gradient_clip_val: Amount | None
    log_every_n_steps: Natural
    check_val_every_n_epoch: Count | None
    deterministic: bool | Literal["warn"]
    num_sanity_val_steps: Natural | Literal[-1]


class Target(OpenGroup):
    """A class by its import path, and its arguments."""

    target: Annotated[str, Field(alias="_target_", pattern=r"^\w+(\.\w+)+$")]


class Averaging(Target):
    decay: Share = 0


class EarlyStopping(Target):
    patience: Natural = 0


class Callbacks(BaseModel):
    """By name; null removes one."""

    averaging: Averaging | None = None
    early_stopping: EarlyStopping | None = None
    __pydantic_extra__: dict[str, Target | None]
    model_config = ConfigDict(extra="allow", strict=True)


class OperatingPoint(Group):
    folds: Annotated[int, Field(ge=2)] | None
    specificity: Fraction | None


class Settings(Group):
    """All settings of an experiment."""

    seed: Seed
    data_dir: str
    cache_dir: str
    output_dir: str
    dropout: Share | None
    monitor: Literal["val/macro_f1", "val/accuracy", "val/loss"]
    mode: Literal["max", "min"]
    tested: Literal["test", "validation", "cross_validation"]
    operating_point: OperatingPoint
    report: Literal["full", "brief", "none"]
    compile: bool
    test_on: list[str]
    ckpt_path: str | None
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
    logger: dict[str, Target | None] | None


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
    return dict(plain)
