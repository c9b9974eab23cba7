"""Validation errors of settings in one sentence, with the expected type and range."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

BOUNDS = {"exclusiveMinimum": "above", "minimum": "of at least", "exclusiveMaximum": "below", "maximum": "of at most"}
KINDS = {"null": "null", "boolean": "true or false", "string": "text", "integer": "a whole number",
         "number": "a number", "array": "a list", "object": "settings by name"}  # fmt: skip


def first_mistake(model: type[Any], plain: Any, error: ValidationError) -> str:
    """The first wrong setting with its value and what is expected: ``optimizer.lr=-1: expected a number above 0``.

    Args:
        model: a pydantic model or dataclass.
        plain: nested dictionaries.
        error: of validating them with the model.
    """
    first = error.errors(include_url=False)[0]
    schema = TypeAdapter(model).json_schema()
    keys: list[str] = []
    value = plain
    for key in first["loc"]:  # which also contains names of alternatives
        if isinstance(value, dict) and key in value:
            value, keys = value[key], [*keys, str(key)]
    if first["type"] == "missing":
        keys.append(str(first["loc"][-1]))
        return f"{'.'.join(keys)} is missing: expected {_expected(_find(schema, keys), schema)}"
    setting = f"{'.'.join(keys)}={_shown(value)}"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _find(schema, keys[:-1])["properties"]
        return f"{setting}: there is no such setting; {'.'.join(keys[:-1]) or 'its group'} has {', '.join(known)}"
    return f"{setting}: expected {_expected(_find(schema, keys), schema)}"


def _shown(value: Any) -> str:
    shown = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}…"


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
        bounds = " and ".join(f"{word} {one[bound]}" for bound, word in BOUNDS.items() if bound in one)
        phrases.append(" or ".join(map(str, values)) if values else f"{KINDS[one['type']]} {bounds}".strip())
    return " or ".join(dict.fromkeys(phrases))
