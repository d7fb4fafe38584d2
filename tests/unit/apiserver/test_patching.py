from typing import Any

import pytest

from swarmkeep.apiserver.patching import json_patch, merge_patch, strategic_subset
from swarmkeep.errors import InvalidObject, UserError

RFC_7386_EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("base", "patch", "result"), RFC_7386_EXAMPLES)
def test_merge_patch_does_what_rfc_7386_shows(base: Any, patch: Any, result: Any) -> None:
    assert merge_patch(base, patch) == result


def test_merge_patch_leaves_its_input_alone() -> None:
    base = {"a": {"b": 1}}
    merge_patch(base, {"a": {"b": None}})
    assert base == {"a": {"b": 1}}


def test_json_patch_changes_a_copy() -> None:
    base = {"list": [1, 2], "map": {"a": 1}}
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/map/a", "value": 1},
        {"op": "add", "path": "/list/-", "value": 3},
        {"op": "replace", "path": "/map/a", "value": 2},
        {"op": "move", "from": "/map", "path": "/moved"},
        {"op": "copy", "from": "/list/0", "path": "/first"},
        {"op": "remove", "path": "/list/1"},
    ]
    assert json_patch(base, operations) == {"list": [1, 3], "moved": {"a": 2}, "first": 1}
    assert base == {"list": [1, 2], "map": {"a": 1}}


def test_the_patch_that_kopf_sends_for_finalizers() -> None:
    obj = {"metadata": {"resourceVersion": "7", "finalizers": ["a", "b"]}}
    test: dict[str, Any] = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    patched = json_patch(obj, [test, {"op": "remove", "path": "/metadata/finalizers/0"}])
    assert patched["metadata"]["finalizers"] == ["b"]
    with pytest.raises(InvalidObject, match=r"operation 0 \(test '/metadata/resourceVersion'\).*failed: .*\"7\""):
        json_patch(obj, [{**test, "value": "6"}])


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "add", "path": "/missing/a", "value": 1},
        {"op": "add", "path": "/list/7", "value": 1},
        {"op": "test", "path": "/missing", "value": None},
        {"op": "test", "path": "/one", "value": True},
        {"op": "replace", "path": "", "value": 1},
    ],
)
def test_what_does_not_fit_the_object_is_invalid(operation: dict[str, Any]) -> None:
    with pytest.raises(InvalidObject):
        json_patch({"list": [], "one": 1}, [operation])


@pytest.mark.parametrize(
    "operations",
    [
        {"op": "add"},
        ["add"],
        [{"op": "frobnicate", "path": "/a"}],
        [{"path": "/a"}],
        [{"op": "add", "path": "/a"}],
        [{"op": "add", "path": 3, "value": 1}],
        [{"op": "copy", "from": 3, "path": "/a"}],
        [{"op": "test", "path": None, "value": 1}],
        [{"op": "move", "path": "/a"}],
        [{"op": "test", "path": "/a", "value": 0}] * 10_001,
    ],
)
def test_a_malformed_patch_is_a_bad_request(operations: Any) -> None:
    with pytest.raises(UserError) as caught:
        json_patch({"a": 0}, operations)
    assert not isinstance(caught.value, InvalidObject)


def test_copies_cannot_make_an_object_explode() -> None:
    operations = [{"op": "add", "path": "/a/-", "value": "x" * 1000}]
    operations += [{"op": "copy", "from": "/a", "path": "/a/-"}] * 60
    with pytest.raises(UserError, match="copies more than"):
        json_patch({"a": []}, operations)


def test_a_strategic_patch_loses_its_directives() -> None:
    patch = {
        "$setElementOrder/finalizers": ["a"],
        "$retainKeys": ["x"],
        "metadata": {"labels": {"a": "b", "$patch": "merge"}, "finalizers": [{"x": 1, "$patch": "delete"}]},
    }
    assert strategic_subset(patch) == {"metadata": {"labels": {"a": "b"}, "finalizers": [{"x": 1}]}}
