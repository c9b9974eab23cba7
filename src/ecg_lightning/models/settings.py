"""Types and ranges of the settings of the models in this package."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ecg_lightning.core.options import Amount, Count, Positive, Share, Units
from ecg_lightning.models.baselines import Inputs

Initialisation = Literal["uniform", "he"]
SHIPPED = ("cnet", "seq", "bilstm", "bigru", "majority", "beat_length", "logistic_regression", "gradient_boosting")


class ShippedModel(BaseModel):
    """Settings of all models of this package; the registry refuses those that the chosen one lacks."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    name: str
    channels: Units = 1
    kernel: Units = 1
    blocks: Annotated[int, Field(ge=1, le=16)] = 1
    width: Units = 1
    depth: Annotated[int, Field(ge=1, le=16)] = 1
    hidden: Units = 1
    frame_length: Count = 1
    embedding: Annotated[int, Field(ge=0, le=1024)] = 0
    dropout: Share = 0
    max_iter: Annotated[int, Field(ge=1, le=100_000)] = 1
    learning_rate: Positive = 1
    max_leaf_nodes: Annotated[int, Field(ge=2, le=100_000)] | None = None
    max_features: Annotated[float, Field(gt=0, le=1)] = 1
    l2_regularization: Amount = 0
    C: Positive = 1
    inputs: Inputs = "beat"
    initialisation: Initialisation | None = None
