"""Brings an incoming object into the form of its schema, and judges whether it is what the schema allows.

Called by every write, in this order: `prune_and_default` (unknown fields go, defaults come), then `validate`. Both are
pure and never change their input. Semantics: Kubernetes' structural schemas; validation.py words the errors.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from swarmkeep.apiserver.object_meta import metadata_errors
from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.structural import PRESERVE_UNKNOWN
from swarmkeep.apiserver.validation import FieldError, schema_errors

Subtree = Literal["all", "status"]

MAX_ERRORS = 50
"""More would only make the answer unreadable."""

_ROOT_FIELDS = ("apiVersion", "kind", "metadata")
_LARGEST_EXACT_FLOAT = 2**53


@dataclass(frozen=True, slots=True)
class PruneResult:
    """An object in the form of its schema, and what had to go."""

    body: dict[str, Any]
    unknown_fields: list[str]
    """One text per unknown field, as Kubernetes words it: `unknown field "spec.schedul", did you mean ...?`."""


def prune_and_default(resource: Resource, body: Mapping[str, Any]) -> PruneResult:
    """`body` without fields that the schema does not know, with the schema's defaults where nothing was said.

    The result may share parts with `body`. Fields of a wrong type are left for `validate` to name.
    """
    if resource.schema is None:
        return PruneResult(dict(body), [])
    unknown: list[str] = []
    pruned = _shape_object(body, resource.schema, "", unknown, drop_nulls=not resource.is_custom)
    return PruneResult(pruned, unknown)


def validate(
    resource: Resource, body: Mapping[str, Any], *, old: Mapping[str, Any] | None = None, subtree: Subtree = "all"
) -> list[FieldError]:
    """What is wrong with the object, at most MAX_ERRORS; empty if nothing is.

    `subtree="status"` looks at `.status` only, for writes of the status subresource. Errors that `old`, the stored
    object, has as well are not named: who changes one field is not to be stopped by another that a newer schema
    forbids (Kubernetes calls this ratcheting).
    """
    errors = list(islice(_errors(resource, body, subtree), MAX_ERRORS))
    if errors and old is not None:
        known = set(_errors(resource, old, subtree))
        errors = [error for error in errors if error not in known]
    return errors


def invalid_message(resource: Resource, name: str, errors: Iterable[FieldError]) -> str:
    """The message of a 422 answer, as kubectl takes it apart: `Kind.group "name" is invalid: [field: ..., ...]`."""
    texts = [f"{error.path}: {error.message}" for error in errors]
    problems = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return f'{resource.qualified_kind} "{name}" is invalid: {problems}'


def _errors(resource: Resource, body: Mapping[str, Any], subtree: Subtree) -> Iterator[FieldError]:
    schema = resource.schema or {"type": "object", PRESERVE_UNKNOWN: True}
    if subtree == "status":
        if "status" in body:
            yield from schema_errors(schema.get("properties", {}).get("status", {}), body["status"], "status")
        return
    yield from metadata_errors(resource, body.get("metadata"))
    yield from schema_errors(schema, body, "")


def _shape(value: Any, schema: Mapping[str, Any], path: str, unknown: list[str], *, drop_nulls: bool) -> Any:
    if isinstance(value, Mapping):
        return _shape_object(value, schema, path, unknown, drop_nulls=drop_nulls)
    if isinstance(value, list) and isinstance(items := schema.get("items"), Mapping):
        return [
            _shape(item, items, f"{path}[{index}]", unknown, drop_nulls=drop_nulls) for index, item in enumerate(value)
        ]
    if isinstance(value, float) and schema.get("type") == "integer" and _is_exact_integer(value):
        return int(value)  # 5.0 is an integer in JSON Schema; readers of the object get one
    return value


def _shape_object(
    value: Mapping[str, Any], schema: Mapping[str, Any], path: str, unknown: list[str], *, drop_nulls: bool
) -> dict[str, Any]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    additional = schema.get("additionalProperties")
    shaped: dict[str, Any] = {}
    for name, child in value.items():
        child_path = f"{path}.{name}" if path else name
        in_metadata = drop_nulls or child_path == "metadata"
        child_schema = properties.get(name, additional if isinstance(additional, Mapping) else None)
        if child_schema is None:
            if additional is True or schema.get(PRESERVE_UNKNOWN) or (not path and name in _ROOT_FIELDS):
                shaped[name] = child
            else:
                unknown.append(_unknown_field(child_path, name, properties))
        elif child is None and not child_schema.get("nullable") and (in_metadata or "default" in child_schema):
            continue  # for typed kinds and metadata null says nothing; elsewhere the default takes its place
        else:
            shaped[name] = _shape(child, child_schema, child_path, unknown, drop_nulls=in_metadata)
    for name, child_schema in properties.items():
        if name not in shaped and "default" in child_schema:
            # Defaults inside a default count as well, so `default: {}` fills a whole section.
            shaped[name] = _shape(child_schema["default"], child_schema, name, [], drop_nulls=drop_nulls)
    return shaped


def _is_exact_integer(value: float) -> bool:
    return value.is_integer() and abs(value) <= _LARGEST_EXACT_FLOAT


def _unknown_field(path: str, name: str, properties: Mapping[str, Any]) -> str:
    by_lower_case = {known.lower(): known for known in properties}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    if not near:
        return f'unknown field "{path}"'
    return f'unknown field "{path}", did you mean "{path.removesuffix(name)}{by_lower_case[near[0]]}"?'
