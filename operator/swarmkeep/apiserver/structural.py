"""Holds a CRD's schema against Kubernetes' rules for structural schemas: only then is pruning well defined.

Called when the registry is built: a definition that breaks a rule is refused at start, by name, and not met by the
first user of the field. Rules: Kubernetes' "Specifying a structural schema", for the keywords that we obey.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

TYPES = ("object", "array", "string", "integer", "number", "boolean")
FORMATS = ("date-time", "duration", "quantity", "int32", "int64", "float", "double")

_NUMBER_KEYWORDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_STRING_KEYWORDS = frozenset({"minLength", "maxLength", "pattern", "format"})
_CONTAINER_KEYWORDS = frozenset({"minItems", "maxItems", "minProperties", "maxProperties", "required"})
_BRANCH_KEYWORDS = frozenset({"enum", "anyOf", "oneOf", "allOf", "not", "properties", "items"})

VALUE_KEYWORDS = _NUMBER_KEYWORDS | _STRING_KEYWORDS | _CONTAINER_KEYWORDS | _BRANCH_KEYWORDS
"""Keywords that only judge a value; inside anyOf, oneOf, allOf and not nothing else is allowed."""

YAML_BOOLEANS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false"})

INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE_UNKNOWN = "x-kubernetes-preserve-unknown-fields"

STRUCTURE_KEYWORDS = frozenset(
    {"type", "title", "description", "default", "example", "nullable", "additionalProperties", "x-kubernetes-list-type"}
    | {"x-kubernetes-list-map-keys", "x-kubernetes-map-type", INT_OR_STRING, PRESERVE_UNKNOWN}
)


def schema_problems(schema: Mapping[str, Any]) -> list[str]:
    """What is wrong with the schema, one sentence per problem, each with the path; empty if it is structural."""
    if schema.get("type") != "object":
        return ["the root must be of type object"]
    return list(_problems(schema, ""))


def _problems(schema: Any, path: str) -> Iterator[str]:
    where = path or "the root"
    if not isinstance(schema, Mapping):
        yield f"{where} is no schema"
        return
    for keyword in schema.keys() - VALUE_KEYWORDS - STRUCTURE_KEYWORDS:
        yield f"{where}: keyword {keyword} is not supported"
    yield from _type_problems(schema, where)
    yield from _keyword_problems(schema, where)
    yield from _list_problems(schema, where)
    for name, child in schema.get("properties", {}).items():
        if not isinstance(name, str) or name.lower() in YAML_BOOLEANS:
            yield f"{where}: the name {name!r} is a boolean in YAML 1.1, which kubectl reads: no user could write it"
            continue
        yield from _problems(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from _problems(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _problems(schema["additionalProperties"], f"{path}.*")
    for name in ("anyOf", "oneOf", "allOf", "not"):
        branches = schema.get(name, [])
        for branch in branches if isinstance(branches, list) else [branches]:
            yield from _judgement_problems(branch, where, allow_type=INT_OR_STRING in schema)


def _type_problems(schema: Mapping[str, Any], where: str) -> Iterator[str]:
    kind = schema.get("type")
    if kind is None:
        if not schema.get(INT_OR_STRING) and not schema.get(PRESERVE_UNKNOWN):
            yield f"{where}: has no type"
        return
    if kind not in TYPES:
        yield f"{where}: type {kind!r} is not one of {', '.join(TYPES)}"
    if kind == "array" and "items" not in schema:
        yield f"{where}: an array needs items"
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{where}: properties and additionalProperties exclude each other"
    if schema.get("additionalProperties") is False:
        yield f"{where}: additionalProperties cannot be false, unknown fields are pruned anyway"


def _keyword_problems(schema: Mapping[str, Any], where: str) -> Iterator[str]:
    if schema.get("format", FORMATS[0]) not in FORMATS:
        yield f"{where}: format {schema['format']!r} is not one of {', '.join(FORMATS)}"
    try:
        re.compile(schema.get("pattern", ""))
    except (re.error, TypeError) as error:
        yield f"{where}: pattern does not compile: {error}"
    missing = [name for name in schema.get("required", ()) if name not in schema.get("properties", {})]
    if missing:
        yield f"{where}: requires {', '.join(missing)}, which it does not define"


def _list_problems(schema: Mapping[str, Any], where: str) -> Iterator[str]:
    list_type = schema.get("x-kubernetes-list-type")
    if list_type is None:
        return
    if schema.get("type") != "array" or list_type not in ("atomic", "set", "map"):
        yield f"{where}: list type {list_type!r} is not possible here"
    if list_type != "map":
        return
    keys, items = schema.get("x-kubernetes-list-map-keys") or (), schema.get("items", {})
    if not keys:
        yield f"{where}: a list of type map needs x-kubernetes-list-map-keys"
    for key in keys:
        child = items.get("properties", {}).get(key, {})
        if child.get("type") not in ("string", "integer", "boolean", "number"):
            yield f"{where}: map key {key} must be a scalar field of the items"
        elif key not in items.get("required", ()) and "default" not in child:
            yield f"{where}: map key {key} must be required or have a default"


def _judgement_problems(branch: Any, where: str, *, allow_type: bool) -> Iterator[str]:
    if not isinstance(branch, Mapping):
        yield f"{where}: a branch is no schema"
        return
    allowed = VALUE_KEYWORDS | {"type"} if allow_type else VALUE_KEYWORDS
    for keyword in branch.keys() - allowed:
        yield f"{where}: keyword {keyword} is not allowed inside anyOf, oneOf, allOf or not"
