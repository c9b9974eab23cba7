"""Settings as frozen dataclasses: types and ranges are declared once, pydantic checks them, users read the errors."""

import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ecg_lightning.core.errors import ConfigError

MOST = 10**9  # of anything that has no narrower range: more is a slip, and overflows somewhere

Positive = Annotated[float, Field(gt=0, le=MOST)]
Amount = Annotated[float, Field(ge=0, le=MOST)]
Strength = Annotated[float, Field(ge=0, le=10)]  # of a regularisation: exponents, weights, deviations of signals
Rate = Annotated[float, Field(gt=0, le=10)]  # of learning
Fraction = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=MOST)]
Natural = Annotated[int, Field(ge=0, le=MOST)]
NumberOfFolds = Annotated[int, Field(ge=2, le=1000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
FASTEST = 100_000  # Hz; no electrocardiograph samples faster
Hertz = Annotated[float, Field(ge=1, le=FASTEST)]
Seconds = Annotated[float, Field(ge=0, le=60)]  # within or around a beat
Units = Annotated[int, Field(ge=1, le=1024)]  # of a layer
Part = Annotated[float, Field(gt=0, le=1)] | Count | None
Task = Literal["arrhythmia", "mi"]
Text = Annotated[str, Field(pattern=r"^\P{Cc}{1,1000}$", description="text of 1 to 1000 characters")]
Name = Annotated[
    str,
    Field(
        pattern=r"^[^./\\\p{Cc}][^/\\\p{Cc}]{0,99}$",  # a part of the names of files
        description="a name as text without slashes, of at most 100 characters",
    ),
]

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(group: str) -> Callable[[type[T]], type[T]]:
    """Decorator: a frozen dataclass with keywords only; building it raises `ConfigError` for the first wrong setting.

    `group` begins the message: where these settings are in the configuration, such as ``dataset.cut``.
    """
    checks = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    def decorate(cls: type[T]) -> type[T]:
        made: Any = dataclass(frozen=True, kw_only=True, config=checks)(cls)
        build = made.__init__

        def checked(self: T, **settings: Any) -> None:
            try:
                build(self, **settings)
            except ValidationError as error:
                raise ConfigError(f"{group}.{first_error(made, settings, error)}") from error

        made.__init__ = checked
        return made  # type: ignore[no-any-return]

    return decorate


BOUNDS = {"exclusiveMinimum": "above", "minimum": "of at least", "exclusiveMaximum": "below", "maximum": "of at most"}
KINDS = {"null": "null", "boolean": "true or false", "string": "text", "integer": "a whole number",
         "number": "a number", "array": "a list", "object": "settings by name"}  # fmt: skip


def first_error(model: type[Any], plain: Any, error: ValidationError) -> str:
    """The first wrong setting with its value and what is expected: ``optimizer.lr=-1: expected a number above 0``.

    `error` is that of validating nested dictionaries, `plain`, with a pydantic model or dataclass.
    """
    first = error.errors(include_url=False)[0]
    schema = _schema(model)  # type: ignore[arg-type]  # a type is hashable
    keys: list[str] = []
    value, group = plain, plain
    for key in first["loc"]:  # which also contains names of alternatives
        if isinstance(value, dict) and key in value:
            group, value, keys = value, value[key], [*keys, str(key)]
    if first["type"] == "missing":
        keys.append(str(first["loc"][-1]))
        return f"{'.'.join(keys)} is missing: expected {_expected(_find(schema, keys), schema)}"
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    setting = f"{'.'.join(keys)}={shown if len(shown) <= 60 else f'{shown[:60]}…'}"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        kinds = [one.get("properties", {}) for one in _alternatives(_find(schema, keys[:-1]), schema)]
        known = max(kinds, key=lambda properties: len(group.keys() & properties.keys()))  # the one that was meant
        return f"{setting}: there is no such setting; {'.'.join(keys[:-1]) or 'its group'} has {', '.join(known)}"
    return f"{setting}: expected {_expected(_find(schema, keys), schema)}"


def accepted(model: type[Any], setting: str) -> str:
    """What a model accepts for a setting, by its dotted name, in words; any word is a name where users choose names."""
    schema = _schema(model)  # type: ignore[arg-type]  # a type is hashable
    return _expected(_find(schema, setting.split(".")), schema)


@cache
def _schema(model: type[Any]) -> dict[str, Any]:
    return TypeAdapter(model).json_schema()


def _alternatives(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    if "$ref" in node:
        return _alternatives(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    several = node.get("anyOf") or node.get("oneOf")
    return [node] if not several else [one for part in several for one in _alternatives(part, schema)]


def _find(schema: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """The JSON schema of a setting."""
    node = schema
    for key in keys:
        for group in _alternatives(node, schema):
            found = group.get("properties", {}).get(key, group.get("additionalProperties"))
            if isinstance(found, dict):
                node = found
                break
    own = [one for one in _alternatives(node, schema) if one.get("type") != "null"]
    return own[0] if len(own) == 1 and own[0].get("type") == "object" else node


def _expected(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a JSON schema accepts, in words."""
    phrases = []
    for one in _alternatives(node, schema):
        values = one.get("enum", [one["const"]] if "const" in one else None)
        bounds = " and ".join(f"{word} {one[bound]:.10g}" for bound, word in BOUNDS.items() if bound in one)
        bounds = re.sub("of at least (.+) and of at most", r"from \1 to", bounds)
        kind = KINDS.get(one.get("type", ""), "")
        if one.get("type") == "string":
            kind = one.get("description", kind)
        if items := one.get("items"):
            kind += f" of at least {one['minItems']}: " if "minItems" in one else " of "
            kind += _expected(items, schema)
        phrases.append(" or ".join(map(str, values)) if values else f"{kind} {bounds}".strip())
    return " or ".join(dict.fromkeys(phrases))
