"""Pages of `explain` from a small OpenAPI document."""

from __future__ import annotations

from typing import Any

import pytest

from swarmkeep.cli.explain import page
from swarmkeep.cli.resources import Resource
from swarmkeep.errors import InvalidObject
from swarmkeep.model.kinds import POLICY

RESOURCE = Resource(POLICY, "checkpointpolicy")
IDENTITY = {"group": POLICY.group, "version": POLICY.version, "kind": POLICY.name}
SCHEMAS: dict[str, Any] = {
    "Meta": {
        "type": "object",
        "description": "Standard metadata.",
        "properties": {"creationTimestamp": {"type": "string"}},
    },
    "Policy": {
        "type": "object",
        "description": "Says what is kept alive.",
        "x-kubernetes-group-version-kind": [IDENTITY],
        "properties": {
            "metadata": {"description": "Own words.", "allOf": [{"$ref": "#/components/schemas/Meta"}]},
            "spec": {
                "type": "object",
                "description": "What is wanted.",
                "required": ["tcp"],
                "properties": {
                    "tcp": {
                        "type": "string",
                        "enum": ["Close", "Refuse"],
                        "default": "Close",
                        "description": "Sockets.",
                    },
                    "hooks": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"command": {"type": "string"}}},
                        "description": "Commands.",
                    },
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}, "description": "Labels."},
                },
            },
        },
    },
}
DOCUMENT = {"components": {"schemas": SCHEMAS}}


def test_a_kind_with_its_fields() -> None:
    assert page(DOCUMENT, RESOURCE, [], recursive=False) == (
        "GROUP:      swarmkeep.dev\nKIND:       CheckpointPolicy\nVERSION:    v1alpha1\n\n"
        "DESCRIPTION:\n    Says what is kept alive.\n\n"
        "FIELDS:\n"
        "  metadata\t<ObjectMeta>\n    Own words.\n\n"
        "  spec\t<Object>\n    What is wanted.\n\n"
    )


def test_a_field_with_choices_default_and_duty() -> None:
    text = page(DOCUMENT, RESOURCE, ["spec"], recursive=False)
    assert "FIELD: spec <Object>" in text
    assert "  tcp\t<string> -required-\n  enum: Close, Refuse\n    Sockets." in text
    assert "  hooks\t<[]Object>" in text
    assert "  labels\t<map[string]string>" in text
    assert 'VALUE:\n    by default "Close"' in page(DOCUMENT, RESOURCE, ["spec", "tcp"], recursive=False)


def test_fields_of_a_lists_items_are_reached_through_the_list() -> None:
    assert "FIELD: command <string>" in page(DOCUMENT, RESOURCE, ["spec", "hooks", "command"], recursive=False)


def test_the_whole_tree() -> None:
    assert "  spec\t<Object>\n    hooks\t<[]Object>\n      command\t<string>\n" in page(
        DOCUMENT, RESOURCE, [], recursive=True
    )


def test_a_field_that_there_is_not_is_refused_with_what_is_near() -> None:
    with pytest.raises(
        InvalidObject, match=r'field "tpc" does not exist in CheckpointPolicy\.spec, did you mean "tcp"'
    ):
        page(DOCUMENT, RESOURCE, ["spec", "tpc"], recursive=False)


def test_a_kind_without_a_schema_is_said() -> None:
    with pytest.raises(InvalidObject, match=r"no description of checkpointpolicies\.swarmkeep\.dev"):
        page({}, RESOURCE, [], recursive=False)
