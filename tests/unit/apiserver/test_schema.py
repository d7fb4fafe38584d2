from typing import Any

import pytest

from swarmkeep.apiserver.resources import Resource
from swarmkeep.apiserver.schema import invalid_message, prune_and_default, validate
from swarmkeep.apiserver.validation import FieldError


def widget(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "example.dev/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "default"},
        "spec": {"size": 1, **spec},
    }


def spec_of(widgets: Resource, **spec: Any) -> dict[str, Any]:
    result = prune_and_default(widgets, widget(**spec)).body["spec"]
    assert isinstance(result, dict)
    return result


def errors_of(widgets: Resource, **spec: Any) -> list[FieldError]:
    return validate(widgets, prune_and_default(widgets, widget(**spec)).body)


def test_unknown_fields_go_and_are_named_with_a_suggestion(widgets: Resource) -> None:
    body = widget(colour="red", ports=[{"name": "a", "prt": 1}], zzz={})
    result = prune_and_default(widgets, body)
    assert result.unknown_fields == [
        'unknown field "spec.colour", did you mean "spec.color"?',
        'unknown field "spec.ports[0].prt", did you mean "spec.ports[0].port"?',
        'unknown field "spec.zzz"',
    ]
    assert "colour" not in result.body["spec"]
    assert result.body["spec"]["ports"] == [{"name": "a"}]
    assert "colour" in body["spec"], "the input stays as it is"


def test_a_field_in_the_wrong_case_is_unknown_and_the_right_one_is_suggested(widgets: Resource) -> None:
    assert prune_and_default(widgets, widget(Color="red")).unknown_fields == [
        'unknown field "spec.Color", did you mean "spec.color"?'
    ]


def test_unknown_fields_beside_spec_and_in_metadata_are_named(widgets: Resource) -> None:
    body = {**widget(), "spek": {}}
    body["metadata"]["lables"] = {}
    assert prune_and_default(widgets, body).unknown_fields == [
        'unknown field "metadata.lables", did you mean "metadata.labels"?',
        'unknown field "spek", did you mean "spec"?',
    ]


def test_free_fields_keep_everything(widgets: Resource) -> None:
    spec = spec_of(widgets, free={"x": {"y": [None]}}, labels={"a": "b"})
    assert (spec["free"], spec["labels"]) == ({"x": {"y": [None]}}, {"a": "b"})


def test_defaults_come_where_nothing_was_said_also_inside_defaults(widgets: Resource) -> None:
    assert spec_of(widgets) == {"size": 1, "color": "red", "note": "none", "options": {"fast": True}}


def test_defaults_never_replace_what_was_said(widgets: Resource) -> None:
    spec = spec_of(widgets, color="green", options={"fast": False})
    assert (spec["color"], spec["options"]) == ("green", {"fast": False})


def test_null_takes_the_default_unless_null_is_allowed(widgets: Resource) -> None:
    spec = spec_of(widgets, color=None, note=None)
    assert (spec["color"], spec["note"]) == ("red", None)


def test_null_without_a_default_is_an_error(widgets: Resource) -> None:
    (error,) = errors_of(widgets, code=None)
    assert error.message == 'Invalid value: "null": spec.code in body must be of type string: "null"'


def test_null_says_nothing_in_metadata_and_builtin_kinds(widgets: Resource, events: Resource) -> None:
    body = widget()
    body["metadata"] |= {"creationTimestamp": None, "labels": None}
    assert prune_and_default(widgets, body).body["metadata"] == {"name": "w", "namespace": "default"}
    assert prune_and_default(events, {"series": None, "source": {"host": None}}).body == {"source": {}}


def test_an_integer_written_as_a_float_becomes_one(widgets: Resource) -> None:
    size = spec_of(widgets, size=3.0)["size"]
    assert isinstance(size, int)


def test_changing_what_was_defaulted_does_not_change_the_schema(widgets: Resource) -> None:
    prune_and_default(widgets, widget()).body["spec"]["options"]["fast"] = "changed"
    assert spec_of(widgets)["options"] == {"fast": True}


@pytest.mark.parametrize(
    ("spec", "path", "reason", "message"),
    [
        ({"size": "big"}, "size", "TypeInvalid", "must be of type integer"),
        ({"size": True}, "size", "TypeInvalid", "must be of type integer"),
        ({"size": 1.5}, "size", "TypeInvalid", "must be of type integer"),
        ({"size": 0}, "size", "Invalid", "Invalid value: 0: spec.size in body should be greater than or equal to 1"),
        ({"size": 11}, "size", "Invalid", "should be less than or equal to 10"),
        ({"weight": 0}, "weight", "Invalid", "should be greater than 0"),
        ({"color": "pink"}, "color", "NotSupported", 'Unsupported value: "pink": supported values: "red", "green"'),
        ({"code": "abcdef"}, "code", "TooLong", "Too long: may not be more than 5 characters"),
        ({"code": "a"}, "code", "Invalid", "should be at least 2 chars long"),
        ({"code": "ABC"}, "code", "Invalid", "should match '^[a-z]+$'"),
        ({"code": "abc\n"}, "code", "Invalid", "should match '^[a-z]+$'"),
        ({"every": "5"}, "every", "Invalid", "must be a duration: numbers with units"),
        ({"capacity": "5 MB"}, "capacity", "Invalid", "must be a size: a number of bytes"),
        ({"at": "2026-02-30T00:00:00Z"}, "at", "Invalid", "must be of type date-time"),
        ({"at": "2026-02-03"}, "at", "Invalid", "must be of type date-time"),
        ({"target": 1.5}, "target", "TypeInvalid", "must be of type integer or string"),
        ({"labels": {"a": 1}}, "labels.a", "TypeInvalid", "must be of type string"),
        ({"list": ["a"] * 4}, "list", "TooMany", "Too many: 4: must have at most 3 items"),
        ({"list": ["a", 1]}, "list[1]", "TypeInvalid", "must be of type string"),
        ({"tags": ["a", "b", "a"]}, "tags[2]", "Duplicate", 'Duplicate value: "a"'),
        ({"ports": [{"name": "a"}, {"name": "a"}]}, "ports[1]", "Duplicate", 'Duplicate value: {"name":"a"}'),
        ({"ports": [{"port": 1}]}, "ports[0].name", "Required", "Required value"),
        ({"options": {"fast": True, "safe": True, "deep": True}}, "options", "TooMany", "at most 2 items"),
        ({"choice": {}}, "choice", "Invalid", "one and only one schema (oneOf). Found none valid"),
        ({"choice": {"one": "", "two": ""}}, "choice", "Invalid", "Found 2 valid alternatives"),
    ],
)
def test_errors_name_the_field_in_kubernetes_words(
    widgets: Resource, spec: dict[str, Any], path: str, reason: str, message: str
) -> None:
    (error,) = errors_of(widgets, **spec)
    assert (error.path, error.reason) == (f"spec.{path}", f"FieldValue{reason}")
    assert message in error.message


@pytest.mark.parametrize(
    "spec",
    [
        {"size": 10, "weight": 0.1, "code": "abc", "every": "1h30m", "capacity": "512Mi"},
        {"at": "2026-01-31T12:00:00.123456Z", "target": 5},
        {"at": "2026-01-31T12:00:00+01:00", "target": "http", "note": None},
        {"tags": ["a", "b"], "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}], "choice": {"one": "1"}},
    ],
)
def test_what_is_allowed_has_no_errors(widgets: Resource, spec: dict[str, Any]) -> None:
    assert errors_of(widgets, **spec) == []


def test_all_errors_are_named_and_the_message_lists_them(widgets: Resource) -> None:
    errors = errors_of(widgets, size=0, color="pink")
    assert invalid_message(widgets, "w", errors) == (
        'Widget.example.dev "w" is invalid: [spec.size: Invalid value: 0: spec.size in body should be greater than or '
        'equal to 1, spec.color: Unsupported value: "pink": supported values: "red", "green"]'
    )
    assert errors[0].cause()["field"] == "spec.size"


def test_a_missing_spec_is_one_error(widgets: Resource) -> None:
    (error,) = validate(widgets, {"metadata": {"name": "w"}})
    assert (error.path, error.message) == ("spec", "Required value")


def test_the_status_is_judged_alone(widgets: Resource) -> None:
    body = {**widget(size=0), "status": {"ready": "yes"}}
    (error,) = validate(widgets, body, subtree="status")
    assert error.path == "status.ready"


def test_errors_that_the_stored_object_has_as_well_do_not_stop_a_write(widgets: Resource) -> None:
    old, new = widget(size=99), widget(size=99, color="pink")
    assert [error.path for error in validate(widgets, new, old=old)] == ["spec.color"]


def test_an_integer_that_no_client_could_read_is_refused(widgets: Resource) -> None:
    body = {**widget(), "metadata": {"name": "w", "generation": 2**63}}
    assert [error.path for error in validate(widgets, body)] == ["metadata.generation"]


def test_a_long_value_is_cut_in_the_message(widgets: Resource) -> None:
    (error,) = errors_of(widgets, color="x" * 10_000)
    assert len(error.message) < 400


@pytest.mark.parametrize("name", ["Web", "a_b", "-a", "a.", "", "a" * 254, "a/b", "ä"])
def test_bad_names_are_refused(widgets: Resource, name: str) -> None:
    body = widget() | {"metadata": {"name": name}}
    assert [error.path for error in validate(widgets, body)] == ["metadata.name"]


def test_namespace_names_have_no_dots(namespaces: Resource) -> None:
    assert validate(namespaces, {"metadata": {"name": "shop"}}) == []
    assert validate(namespaces, {"metadata": {"name": "shop.a"}}) != []


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"labels": {"a b": "c"}}, "metadata.labels"),
        ({"labels": {"a": "c d"}}, "metadata.labels"),
        ({"labels": {"a": "c" * 64}}, "metadata.labels"),
        ({"labels": {"Example.dev/a": "c"}}, "metadata.labels"),
        ({"labels": {"a": 1}}, "metadata.labels.a"),
        ({"annotations": {"": "c"}}, "metadata.annotations"),
        ({"annotations": {"a": "c" * 300_000}}, "metadata.annotations"),
        ({"finalizers": ["a b"]}, "metadata.finalizers[0]"),
        ({"ownerReferences": [{"kind": "X", "name": "x", "uid": "u"}]}, "metadata.ownerReferences[0].apiVersion"),
    ],
)
def test_bad_metadata_is_refused(widgets: Resource, metadata: dict[str, Any], path: str) -> None:
    body = widget() | {"metadata": {"name": "w", **metadata}}
    assert [error.path for error in validate(widgets, body)] == [path]
