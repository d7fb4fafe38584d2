"""A made-up kind that has every feature of a schema, so that tests do not depend on what our own kinds need today."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from swarmkeep.apiserver.resources import Registry, Resource, load_registry

from .http_api import Api, serving

WIDGET_CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.dev"},
    "spec": {
        "group": "example.dev",
        "scope": "Namespaced",
        "names": {
            "kind": "Widget",
            "plural": "widgets",
            "singular": "widget",
            "shortNames": ["wdg"],
            "categories": ["keep"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.color"}, {"jsonPath": ".status.ready"}],
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {
                        "name": "Ready",
                        "type": "string",
                        "jsonPath": '.status.conditions[?(@.type=="Ready")].status',
                        "priority": 1,
                    },
                    {"name": "Seen", "type": "date", "jsonPath": ".status.seenAt", "description": "When"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "apiVersion": {"type": "string"},
                            "kind": {"type": "string"},
                            "metadata": {"type": "object"},
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "maximum": 10},
                                    "weight": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                                    "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                                    "code": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5, "minLength": 2},
                                    "every": {"type": "string", "format": "duration"},
                                    "capacity": {"type": "string", "format": "quantity"},
                                    "at": {"type": "string", "format": "date-time"},
                                    "target": {"x-kubernetes-int-or-string": True},
                                    "note": {"type": "string", "nullable": True, "default": "none"},
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                                    "list": {"type": "array", "maxItems": 3, "items": {"type": "string"}},
                                    "tags": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "set",
                                        "items": {"type": "string"},
                                    },
                                    "ports": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string"},
                                                "port": {"type": "integer"},
                                            },
                                        },
                                    },
                                    "options": {
                                        "type": "object",
                                        "default": {},
                                        "minProperties": 1,
                                        "maxProperties": 2,
                                        "properties": {
                                            "fast": {"type": "boolean", "default": True},
                                            "safe": {"type": "boolean"},
                                            "deep": {"type": "boolean"},
                                        },
                                    },
                                    "pair": {
                                        "type": "object",
                                        "x-kubernetes-map-type": "atomic",
                                        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                                    },
                                    "choice": {
                                        "type": "object",
                                        "properties": {"one": {"type": "string"}, "two": {"type": "string"}},
                                        "oneOf": [{"required": ["one"]}, {"required": ["two"]}],
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "ready": {"type": "boolean"},
                                    "seenAt": {"type": "string", "format": "date-time"},
                                    "conditions": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                        "items": {
                                            "type": "object",
                                            "required": ["type"],
                                            "properties": {
                                                "type": {"type": "string"},
                                                "status": {"type": "string"},
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture
def widget_crd() -> dict[str, Any]:
    """The definition; a test may change it."""
    return copy.deepcopy(WIDGET_CRD)


@pytest.fixture
def registry(widget_crd: dict[str, Any]) -> Registry:
    return load_registry([widget_crd])


@pytest.fixture
def widgets(registry: Registry) -> Resource:
    resource = registry.by_plural("example.dev", "v1", "widgets")
    assert resource is not None
    return resource


@pytest.fixture
def events(registry: Registry) -> Resource:
    resource = registry.by_plural("", "v1", "events")
    assert resource is not None
    return resource


@pytest.fixture
def namespaces(registry: Registry) -> Resource:
    resource = registry.by_plural("", "v1", "namespaces")
    assert resource is not None
    return resource


@pytest.fixture
async def api(widget_crd: dict[str, Any]) -> AsyncIterator[Api]:
    """A whole server over etcd's twin, with all kinds and the made-up one."""
    async with serving(widget_crd) as running:
        yield running
