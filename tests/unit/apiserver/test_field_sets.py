from typing import Any

import pytest

from swarmkeep.apiserver.field_sets import MISSING, as_text, decode, encode, fields_of, value_at
from swarmkeep.apiserver.resources import Resource
from swarmkeep.errors import UserError

OBJECT: dict[str, Any] = {
    "apiVersion": "example.dev/v1",
    "kind": "Widget",
    "metadata": {"name": "w", "labels": {"a.dev/b": "c"}, "uid": "u"},
    "spec": {
        "size": 1,
        "note": None,
        "tags": ["x"],
        "list": ["a"],
        "pair": {"a": "1"},
        "labels": {},
        "ports": [{"name": "http", "port": 80}],
    },
}

FIELDS_V1 = {
    "f:metadata": {"f:labels": {"f:a.dev/b": {}}},
    "f:spec": {
        "f:size": {},
        "f:tags": {'v:"x"': {}},
        "f:list": {},
        "f:pair": {},
        "f:labels": {},
        "f:ports": {'k:{"name":"http"}': {".": {}, "f:name": {}, "f:port": {}}},
    },
}


def schema_of(resource: Resource) -> dict[str, Any]:
    assert resource.schema is not None
    return resource.schema


def test_fields_are_named_as_kubernetes_does(widgets: Resource) -> None:
    assert encode(fields_of(OBJECT, schema_of(widgets))) == FIELDS_V1


def test_the_encoded_form_reads_back(widgets: Resource) -> None:
    assert decode(FIELDS_V1) == fields_of(OBJECT, schema_of(widgets))


@pytest.mark.parametrize("nonsense", [None, [], "x", 5])
def test_what_is_no_field_set_owns_nothing(nonsense: object) -> None:
    assert decode(nonsense) == frozenset()


def test_every_path_leads_to_its_value(widgets: Resource) -> None:
    values = {as_text(path): value_at(OBJECT, path) for path in fields_of(OBJECT, schema_of(widgets))}
    assert values == {
        ".metadata.labels.a.dev/b": "c",
        ".spec.size": 1,
        '.spec.tags[="x"]': "x",
        ".spec.list": ["a"],
        ".spec.pair": {"a": "1"},
        ".spec.labels": {},
        '.spec.ports[name="http"]': {"name": "http", "port": 80},
        '.spec.ports[name="http"].name': "http",
        '.spec.ports[name="http"].port': 80,
    }


@pytest.mark.parametrize(
    "path",
    [("f:x",), ("f:spec", 'k:{"name":"a"}'), ("f:spec", "f:ports", 'k:{"name":"b"}'), ("f:spec", "f:tags", 'v:"z"')],
)
def test_a_path_to_nothing_is_missing(path: tuple[str, ...]) -> None:
    assert value_at(OBJECT, path) is MISSING


def test_an_item_without_its_key_is_refused(widgets: Resource) -> None:
    with pytest.raises(UserError, match="an item of a list with keys has no name"):
        fields_of({"spec": {"ports": [{"port": 1}]}}, schema_of(widgets))
