"""Judges a value by an OpenAPI v3 schema and says what is wrong in Kubernetes' words.

Called by schema.py. Wording and reasons follow Kubernetes' field errors (`Invalid value`, `Required value`, ...); the
formats `duration` and `quantity` are read by model/quantity.py, the same code that acts on them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from swarmkeep.apiserver.structural import INT_OR_STRING
from swarmkeep.errors import InvalidObject
from swarmkeep.model.quantity import parse_duration, parse_quantity

INVALID = "FieldValueInvalid"
TYPE_INVALID = "FieldValueTypeInvalid"
REQUIRED = "FieldValueRequired"
NOT_SUPPORTED = "FieldValueNotSupported"
TOO_LONG = "FieldValueTooLong"
TOO_MANY = "FieldValueTooMany"
DUPLICATE = "FieldValueDuplicate"
FORBIDDEN = "FieldValueForbidden"

_LONGEST_SHOWN = 200
"""Characters of an offending value that a message repeats."""
_INT64 = range(-(2**63), 2**63)
_INT32 = range(-(2**31), 2**31)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one field."""

    path: str
    """For example `spec.ports[0].name`."""
    reason: str
    """Kubernetes' word for the kind of error, for example FieldValueInvalid."""
    message: str
    """For example `Invalid value: 0: spec.size in body should be greater than or equal to 1`."""

    def cause(self) -> dict[str, str]:
        """The entry for `details.causes` of a Status."""
        return {"reason": self.reason, "field": self.path, "message": self.message}


def shown(value: Any) -> str:
    """A value as messages repeat it: JSON, cut where it gets long."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def invalid(path: str, value: Any, text: str) -> FieldError:
    """A value of the right type that is not allowed."""
    return FieldError(path, INVALID, f"Invalid value: {shown(value)}: {text}")


def schema_errors(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[FieldError]:
    """What is wrong with `value`, which is at `path` of its object. Fields unknown to the schema are ignored."""
    if value is None and schema.get("nullable"):
        return
    if not _has_type(schema, value):
        wanted = "integer or string" if schema.get(INT_OR_STRING) else schema.get("type")
        found = _type_name(value)
        message = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
        yield FieldError(path, TYPE_INVALID, message)
        return
    if "enum" in schema and not any(_same(value, allowed) for allowed in schema["enum"]):
        allowed = ", ".join(shown(choice) for choice in schema["enum"])
        yield FieldError(path, NOT_SUPPORTED, f"Unsupported value: {shown(value)}: supported values: {allowed}")
    if isinstance(value, str):
        yield from _string_errors(schema, value, path)
    elif isinstance(value, list):
        yield from _list_errors(schema, value, path)
    elif isinstance(value, Mapping):
        yield from _object_errors(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_errors(schema, value, path)
    yield from _combination_errors(schema, value, path)


def _has_type(schema: Mapping[str, Any], value: Any) -> bool:
    if schema.get(INT_OR_STRING):
        return isinstance(value, int | str) and not isinstance(value, bool)
    wanted = schema.get("type")
    if wanted is None:
        return True
    found = _type_name(value)
    return found == wanted or (wanted == "number" and found == "integer")


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def _same(left: Any, right: Any) -> bool:
    """Equality of JSON values: True is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _string_errors(schema: Mapping[str, Any], value: str, path: str) -> Iterator[FieldError]:
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield FieldError(path, TOO_LONG, f"Too long: may not be more than {schema['maxLength']} characters")
        return  # a pattern could take long on it
    if len(value) < schema.get("minLength", 0):
        yield invalid(path, value, f"{path} in body should be at least {schema['minLength']} chars long")
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        yield invalid(path, value, f"{path} in body should match '{schema['pattern']}'")
    if (reader := _FORMATS.get(schema.get("format", ""))) and (problem := reader(value)):
        yield invalid(path, value, f"{path} in body must be {problem}")


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> re.Pattern[str]:
    # In Python `$` also matches before a line feed at the end; in the engines that Kubernetes names it does not.
    strict = f"{pattern[:-1]}\\Z" if pattern.endswith("$") and not pattern.endswith("\\$") else pattern
    return re.compile(strict)


def _date_time_problem(value: str) -> str | None:
    if _DATE_TIME.fullmatch(value):
        try:
            datetime.fromisoformat(value.upper())
        except ValueError:
            pass
        else:
            return None
    return "of type date-time, for example 2026-01-31T12:00:00Z"


def _duration_problem(value: str) -> str | None:
    try:
        parse_duration(value)
    except InvalidObject:
        return "a duration: numbers with units ms, s, m, h or d, for example 90s or 1h30m"
    return None


def _quantity_problem(value: str) -> str | None:
    try:
        parse_quantity(value)
    except InvalidObject:
        return "a size: a number of bytes with a unit, for example 512Mi or 10G"
    return None


_FORMATS: dict[str, Callable[[str], str | None]] = {
    "date-time": _date_time_problem,
    "duration": _duration_problem,
    "quantity": _quantity_problem,
}


def _number_errors(schema: Mapping[str, Any], value: float, path: str) -> Iterator[FieldError]:
    if schema.get("type") == "integer":
        allowed = _INT32 if schema.get("format") == "int32" else _INT64
        if int(value) not in allowed:
            bits = "int32" if allowed is _INT32 else "int64"
            yield invalid(path, value, f"{path} in body must be an integer that fits into {bits}")
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {low}")
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid(path, value, f"{path} in body should be {than} {high}")
    if (step := schema.get("multipleOf")) and not float(value / step).is_integer():
        yield invalid(path, value, f"{path} in body should be a multiple of {step}")


def _list_errors(schema: Mapping[str, Any], value: list[Any], path: str) -> Iterator[FieldError]:
    count = len(value)
    if count < schema.get("minItems", 0):
        yield invalid(path, count, f"{path} in body should have at least {schema['minItems']} items")
    if "maxItems" in schema and count > schema["maxItems"]:
        yield FieldError(path, TOO_MANY, f"Too many: {count}: must have at most {schema['maxItems']} items")
        return
    yield from _duplicates(schema, value, path)
    if isinstance(items := schema.get("items"), Mapping):
        for index, item in enumerate(value):
            yield from schema_errors(items, item, f"{path}[{index}]")


def _duplicates(schema: Mapping[str, Any], value: list[Any], path: str) -> Iterator[FieldError]:
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in ("set", "map"):
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen: set[str] = set()
    for index, item in enumerate(value):
        if list_type == "map":
            if not isinstance(item, Mapping):
                continue
            item = {key: item.get(key) for key in keys}
        identity = json.dumps(item, sort_keys=True)
        if identity in seen:
            yield FieldError(f"{path}[{index}]", DUPLICATE, f"Duplicate value: {shown(item)}")
        seen.add(identity)


def _object_errors(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    count = len(value)
    if count < schema.get("minProperties", 0):
        yield invalid(path, count, f"{path} in body should have at least {schema['minProperties']} properties")
    if "maxProperties" in schema and count > schema["maxProperties"]:
        most = schema["maxProperties"]
        yield FieldError(path, TOO_MANY, f"Too many: {count}: must have at most {most} items")
    properties: Mapping[str, Any] = schema.get("properties", {})
    prefix = f"{path}." if path else ""
    for name in schema.get("required", ()):
        if name not in value:
            yield FieldError(f"{prefix}{name}", REQUIRED, "Required value")
    additional = schema.get("additionalProperties")
    for name, child in value.items():
        child_schema = properties.get(name, additional)
        if isinstance(child_schema, Mapping):
            yield from schema_errors(child_schema, child, f"{prefix}{name}")


def _combination_errors(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[FieldError]:
    for branch in schema.get("allOf", ()):
        yield from schema_errors(branch, value, path)
    if "anyOf" in schema and not _matches(schema["anyOf"], value):
        yield invalid(path, value, f'"{path}" must validate at least one schema (anyOf)')
    if "oneOf" in schema and (count := _matches(schema["oneOf"], value)) != 1:
        found = "Found none valid" if count == 0 else f"Found {count} valid alternatives"
        yield invalid(path, value, f'"{path}" must validate one and only one schema (oneOf). {found}')
    if "not" in schema and _matches([schema["not"]], value):
        yield invalid(path, value, f'"{path}" must not validate the schema (not)')


def _matches(branches: list[Mapping[str, Any]], value: Any) -> int:
    return sum(next(schema_errors(branch, value, ""), None) is None for branch in branches)
