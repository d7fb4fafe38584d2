"""Which fields of an object somebody owns: sets of paths, and their form in metadata.managedFields (FieldsV1).

Called by apply.py. A path is a tuple of elements as FieldsV1 writes them: `f:name` is a field, `k:{"type":"Ready"}` an
item of a list with keys, `v:"a"` a value of a set. Lists and maps that the schema calls atomic are owned as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from swarmkeep.errors import UserError

Path = tuple[str, ...]
Schema = Mapping[str, Any]


class _Missing(Enum):
    MISSING = "MISSING"


MISSING: Final = _Missing.MISSING
"""What `value_at` finds where nothing is; null is a value."""

_SERVER_METADATA = (
    *("name", "generateName", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp"),
    *("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "managedFields"),
)
UNOWNED = frozenset({("f:apiVersion",), ("f:kind",), *(("f:metadata", f"f:{name}") for name in _SERVER_METADATA)})
"""Fields that belong to the server or name the object; nobody owns them."""

_ITSELF = "."
_EMPTY_SCHEMA: Schema = {}


def fields_of(value: Any, schema: Schema) -> frozenset[Path]:
    """The paths of everything that the object says. Null says nothing."""
    return frozenset(path for path in _walk(value, schema, ()) if path and path[:2] not in UNOWNED)


def value_at(obj: Any, path: Path) -> Any:
    """What is at the path, or MISSING."""
    value = obj
    for element in path:
        value = _child(value, element)
        if value is MISSING:
            return MISSING
    return value


def encode(paths: Iterable[Path]) -> dict[str, Any]:
    """The set as FieldsV1."""
    tree: dict[str, Any] = {}
    ends = set(paths)
    for path in sorted(ends):
        node = tree
        for depth, element in enumerate(path):
            child = node.setdefault(element, {})
            if path[: depth + 1] in ends and depth + 1 < len(path):
                child.setdefault(_ITSELF, {})
            node = child
    return tree


def decode(tree: Any) -> frozenset[Path]:
    """The set that FieldsV1 says; what is no FieldsV1 is empty."""
    return frozenset(path for path in _decode(tree, ()) if path)


def child_schema(schema: Schema, element: str) -> Schema:
    """The schema of what `element` leads to."""
    if not element.startswith("f:"):
        return _mapping(schema.get("items"))
    found = schema.get("properties", {}).get(element[2:], schema.get("additionalProperties"))
    return _mapping(found)


def is_granular_map(value: Any, schema: Schema) -> bool:
    """Whether each field is owned by itself."""
    return isinstance(value, Mapping) and schema.get("x-kubernetes-map-type") != "atomic"


def list_type(value: Any, schema: Schema) -> str:
    """`map`, `set` or `atomic`, the default; `` if the value is no list or its items do not fit its type."""
    if not isinstance(value, list):
        return ""
    kind = schema.get("x-kubernetes-list-type", "atomic")
    if kind == "map" and not all(isinstance(item, Mapping) for item in value):
        return ""
    return str(kind)


def item_element(item: Any, schema: Schema) -> str:
    """The path element of an item of a list of type set or map."""
    if schema.get("x-kubernetes-list-type") == "set":
        return f"v:{_compact(item)}"
    properties = _mapping(schema.get("items")).get("properties", {})
    keys = {}
    for key in schema.get("x-kubernetes-list-map-keys", ()):
        keys[key] = item.get(key, _mapping(properties.get(key)).get("default"))
        if keys[key] is None:
            raise UserError(f"an item of a list with keys has no {key}: {_compact(item)[:200]}")
    return f"k:{_compact(keys)}"


def as_text(path: Path) -> str:
    """The path as conflict messages name it: `.spec.ports[name="http"].port`."""
    parts = []
    for element in path:
        kind, content = element[:2], element[2:]
        if kind == "f:":
            parts.append(f".{content}")
        elif kind == "k:":
            parts.append("[" + ",".join(f"{key}={_compact(value)}" for key, value in json.loads(content).items()) + "]")
        else:
            parts.append(f"[={content}]")
    return "".join(parts)


def _walk(value: Any, schema: Schema, path: Path) -> Iterator[Path]:
    if value is None:
        return
    if is_granular_map(value, schema):
        says = {name: child for name, child in value.items() if child is not None}
        if not says:
            yield path
        for name, child in says.items():
            yield from _walk(child, child_schema(schema, f"f:{name}"), (*path, f"f:{name}"))
        return
    kind = list_type(value, schema)
    if kind not in ("map", "set") or not value:
        yield path
        return
    for item in value:
        item_path = (*path, item_element(item, schema))
        yield item_path
        if kind == "map":
            yield from _walk(item, child_schema(schema, "k:"), item_path)


def _child(value: Any, element: str) -> Any:
    kind, content = element[:2], element[2:]
    if kind == "f:":
        return value.get(content, MISSING) if isinstance(value, Mapping) else MISSING
    if not isinstance(value, list):
        return MISSING
    wanted = json.loads(content)
    if kind == "k:":
        return next((item for item in value if has_keys(item, wanted)), MISSING)
    return next((item for item in value if item == wanted), MISSING)


def has_keys(item: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a list item is the one that a `k:` element names."""
    return isinstance(item, Mapping) and all(item.get(key) == value for key, value in wanted.items())


def _decode(tree: Any, path: Path) -> Iterator[Path]:
    if not isinstance(tree, Mapping):
        return
    if not tree or _ITSELF in tree:
        yield path
    for element, child in tree.items():
        if element != _ITSELF:
            yield from _decode(child, (*path, element))


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _mapping(value: Any) -> Schema:
    return value if isinstance(value, Mapping) else _EMPTY_SCHEMA
