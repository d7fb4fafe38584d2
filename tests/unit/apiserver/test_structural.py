from typing import Any

import pytest

from swarmkeep.apiserver.structural import schema_problems


def problems_of(**fields: Any) -> list[str]:
    return schema_problems({"type": "object", "properties": fields})


@pytest.mark.parametrize(
    ("field", "problem"),
    [
        ({}, "f: has no type"),
        ({"type": "text"}, "f: type 'text' is not one of"),
        ({"type": "array"}, "f: an array needs items"),
        ({"type": "string", "format": "email"}, "f: format 'email' is not one of"),
        ({"type": "string", "pattern": "("}, "f: pattern does not compile"),
        ({"type": "string", "$ref": "#/x"}, "f: keyword $ref is not supported"),
        ({"type": "object", "required": ["x"]}, "f: requires x, which it does not define"),
        ({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}, "exclude each other"),
        ({"type": "object", "additionalProperties": False}, "additionalProperties cannot be false"),
        ({"type": "string", "x-kubernetes-list-type": "set"}, "list type 'set' is not possible here"),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            "needs x-kubernetes-list-map-keys",
        ),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"],
            },
            "map key k must be required or have a default",
        ),
        ({"type": "object", "oneOf": [{"description": "x"}]}, "keyword description is not allowed inside"),
        ("string", "f is no schema"),
    ],
)
def test_what_is_not_structural_is_named_with_its_path(field: Any, problem: str) -> None:
    found = problems_of(f=field)
    assert len(found) == 1
    assert problem in found[0]
    assert found[0].startswith("f")


def test_problems_deep_inside_are_found() -> None:
    found = problems_of(a={"type": "array", "items": {"type": "object", "properties": {"b": {}}}})
    assert found == ["a[].b: has no type"]


@pytest.mark.parametrize("name", ["on", "Yes", "n", True, False])
def test_names_that_kubectl_reads_as_booleans_are_refused(name: Any) -> None:
    found = problems_of(a={"type": "object", "properties": {name: {"type": "string"}}})
    assert len(found) == 1
    assert "is a boolean in YAML 1.1" in found[0]


def test_the_root_must_be_an_object() -> None:
    assert schema_problems({"type": "string"}) == ["the root must be of type object"]


def test_int_or_string_and_free_fields_need_no_type() -> None:
    assert problems_of(a={"x-kubernetes-int-or-string": True}, b={"x-kubernetes-preserve-unknown-fields": True}) == []
