"""Settings as frozen dataclasses: types and ranges are declared once, pydantic checks them, users read the errors."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.mistakes import first_mistake

Positive = Annotated[float, Field(gt=0)]
Amount = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Part = Annotated[float, Field(gt=0, le=1)] | Count | None

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(group: str) -> Callable[[type[T]], type[T]]:
    """Decorator: a frozen dataclass with keywords only; building it raises `ConfigError` for the first wrong setting.

    Args:
        group: where these settings are in the configuration, such as ``dataset.cut``; begins the message.
    """
    checks = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def decorate(cls: type[T]) -> type[T]:
        made: Any = dataclass(frozen=True, kw_only=True, config=checks)(cls)
        build = made.__init__

        def checked(self: T, **settings: Any) -> None:
            try:
                build(self, **settings)
            except ValidationError as error:
                raise ConfigError(f"{group}.{first_mistake(made, settings, error)}") from error

        made.__init__ = checked
        return made  # type: ignore[no-any-return]

    return decorate
