"""Random objects of a made-up kind, half of them not what the schema wants."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from swarmkeep.apiserver.resources import Resource

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "default": 3},
                "text": {"type": "string", "nullable": True, "default": "x"},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "atomic": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                },
                "list": {"type": "array", "items": {"type": "string"}},
                "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "items": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["k"],
                    "items": {
                        "type": "object",
                        "required": ["k"],
                        "properties": {"k": {"type": "string"}, "v": {"type": "integer"}, "w": {"type": "string"}},
                    },
                },
                "inner": {
                    "type": "object",
                    "default": {},
                    "properties": {"deep": {"type": "boolean", "default": True}, "other": {"type": "string"}},
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
    },
}

RESOURCE = Resource(
    group="example.dev",
    version="v1",
    kind="Thing",
    plural="things",
    singular="thing",
    short_names=(),
    categories=(),
    namespaced=True,
    has_status=False,
    schema=SCHEMA,
    is_custom=True,
)

WORDS = st.sampled_from(["a", "b", "c"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def _item() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"k": WORDS}, optional={"v": st.integers(0, 3), "w": WORDS})


VALID_SPEC = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(0, 9),
        "text": WORDS,
        "map": st.dictionaries(WORDS, WORDS, max_size=3),
        "atomic": st.fixed_dictionaries({}, optional={"a": WORDS, "b": WORDS}),
        "list": st.lists(WORDS, max_size=3),
        "set": st.lists(WORDS, unique=True, max_size=3),
        "items": st.lists(_item(), unique_by=lambda item: item["k"], max_size=3),
        "inner": st.fixed_dictionaries({}, optional={"deep": st.booleans(), "other": WORDS}),
        "free": st.dictionaries(WORDS, WORDS | st.dictionaries(WORDS, WORDS, max_size=2), max_size=2),
    },
)

_FIELD_NAMES = [*SCHEMA["properties"]["spec"]["properties"], "unknown"]
ANY_SPEC = st.dictionaries(st.sampled_from(_FIELD_NAMES), JSON, max_size=5) | JSON


def thing(spec: Any) -> dict[str, Any]:
    """A whole object with this spec."""
    return {"apiVersion": "example.dev/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}
