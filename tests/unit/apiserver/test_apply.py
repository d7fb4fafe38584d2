from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from swarmkeep.apiserver.apply import ApplyConflict, drop_ownership, server_side_apply
from swarmkeep.apiserver.resources import Resource
from swarmkeep.errors import UserError

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)

FREE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

Apply = Any


@pytest.fixture
def apply(widgets: Resource) -> Apply:
    def call(
        live: dict[str, Any] | None, manager: str, /, *, force: bool = False, now: datetime = NOW, **spec: Any
    ) -> dict[str, Any]:
        applied = {
            "apiVersion": "example.dev/v1",
            "kind": "Widget",
            "metadata": {"name": "w"},
            **({"spec": spec} if spec else {}),
        }
        return server_side_apply(widgets, live, applied, manager, force, now)

    return call


def managers(obj: dict[str, Any]) -> list[str]:
    return [entry["manager"] for entry in obj["metadata"].get("managedFields", [])]


def test_the_first_apply_creates_and_owns(apply: Apply) -> None:
    obj = apply(None, "alice", size=1)
    assert obj["spec"] == {"size": 1}
    assert obj["metadata"] == {
        "name": "w",
        "managedFields": [
            {
                "manager": "alice",
                "operation": "Apply",
                "apiVersion": "example.dev/v1",
                "time": "2026-11-01T12:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:size": {}}},
            }
        ],
    }


def test_applying_the_same_again_changes_nothing(apply: Apply) -> None:
    obj = apply(None, "alice", size=1, ports=[{"name": "a", "port": 1}])
    again = apply(obj, "alice", now=NOW + timedelta(hours=1), size=1, ports=[{"name": "a", "port": 1}])
    assert again == obj


def test_what_an_applier_no_longer_says_goes(apply: Apply) -> None:
    obj = apply(None, "alice", size=1, code="ab", options={"fast": True}, tags=["x", "y"])
    assert apply(obj, "alice", size=1, tags=["y"])["spec"] == {"size": 1, "tags": ["y"]}


def test_what_others_wrote_stays(apply: Apply) -> None:
    obj = apply(None, "alice", size=1, code="ab")
    obj["spec"] |= {"note": "by hand", "options": {"safe": True}}
    obj["status"] = {"ready": True}
    again = apply(obj, "alice", size=2)
    assert again["spec"] == {"size": 2, "note": "by hand", "options": {"safe": True}}
    assert again["status"] == {"ready": True}


def test_a_field_that_two_apply_goes_when_both_let_it_go(apply: Apply) -> None:
    both = apply(apply(None, "alice", size=1, code="ab"), "bob", code="ab")
    one = apply(both, "alice", size=1)
    assert one["spec"] == {"size": 1, "code": "ab"}
    none = apply(one, "bob")
    assert none["spec"] == {"size": 1}
    assert managers(none) == ["alice"]


def test_another_value_for_a_field_of_another_applier_is_a_conflict(apply: Apply) -> None:
    obj = apply(None, "alice", size=1, ports=[{"name": "a", "port": 1}])
    with pytest.raises(ApplyConflict) as caught:
        apply(obj, "bob", size=2)
    assert str(caught.value) == ('Apply failed with 1 conflict: conflict with "alice" using example.dev/v1: .spec.size')
    assert caught.value.causes[0].cause() == {
        "reason": "FieldManagerConflict",
        "field": ".spec.size",
        "message": 'conflict with "alice" using example.dev/v1',
    }
    with pytest.raises(ApplyConflict, match="Apply failed with 2 conflicts") as caught:
        apply(obj, "bob", size=2, ports=[{"name": "a", "port": 2}])
    assert [cause.path for cause in caught.value.causes] == ['.spec.ports[name="a"].port', ".spec.size"]


def test_force_takes_the_field_over(apply: Apply) -> None:
    obj = apply(apply(None, "alice", size=1, code="ab"), "bob", force=True, size=2)
    assert obj["spec"] == {"size": 2, "code": "ab"}
    fields = {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}
    assert fields == {"alice": {"f:spec": {"f:code": {}}}, "bob": {"f:spec": {"f:size": {}}}}


def test_the_same_value_is_owned_together(apply: Apply) -> None:
    obj = apply(apply(None, "alice", size=1), "bob", size=1)
    assert managers(obj) == ["alice", "bob"]
    with pytest.raises(ApplyConflict):
        apply(obj, "alice", size=2)


def test_items_of_lists_with_keys_are_owned_one_by_one(apply: Apply) -> None:
    obj = apply(None, "alice", ports=[{"name": "a", "port": 1}])
    obj = apply(obj, "bob", ports=[{"name": "b", "port": 2}])
    assert obj["spec"]["ports"] == [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    assert apply(obj, "alice")["spec"]["ports"] == [{"name": "b", "port": 2}]


def test_an_item_that_another_applier_has_a_say_in_stays(apply: Apply) -> None:
    obj = apply(apply(None, "alice", ports=[{"name": "a", "port": 1}]), "bob", ports=[{"name": "a"}])
    assert apply(obj, "alice")["spec"]["ports"] == [{"name": "a"}]


def test_atomic_lists_and_maps_are_replaced_and_fought_over_as_a_whole(apply: Apply) -> None:
    obj = apply(None, "alice", list=["a"], pair={"a": "1"})
    assert apply(obj, "alice", list=["b"], pair={"b": "2"})["spec"] == {"list": ["b"], "pair": {"b": "2"}}
    with pytest.raises(ApplyConflict) as caught:
        apply(obj, "bob", pair={"b": "2"})
    assert [cause.path for cause in caught.value.causes] == [".spec.pair"]


def test_what_another_writer_changed_is_no_longer_owned(apply: Apply) -> None:
    obj = apply(None, "alice", size=1, code="ab", ports=[{"name": "a", "port": 1}])
    edited = {**obj, "spec": {"size": 5, "code": "ab"}}
    updated = drop_ownership(obj, edited)
    assert updated["spec"] == {"size": 5, "code": "ab"}
    assert updated["metadata"]["managedFields"][0]["fieldsV1"] == {"f:spec": {"f:code": {}}}
    assert apply(updated, "bob", size=7)["spec"]["size"] == 7
    assert apply(updated, "alice", size=1, code="ab")["spec"] == {"size": 1, "code": "ab"}


def test_a_write_that_changes_nothing_owned_keeps_the_entries_as_they_are(apply: Apply) -> None:
    obj = apply(None, "alice", size=1)
    updated = drop_ownership(obj, {**obj, "status": {"ready": True}})
    assert updated["metadata"]["managedFields"] == obj["metadata"]["managedFields"]


def test_clients_cannot_write_ownership_themselves(apply: Apply) -> None:
    obj = apply(None, "alice", size=1)
    forged = {**obj, "metadata": {"name": "w", "managedFields": [{"manager": "mallory", "operation": "Apply"}]}}
    assert managers(drop_ownership(obj, forged)) == ["alice"]
    assert "managedFields" not in drop_ownership({}, forged)["metadata"]


def test_an_applied_object_must_not_bring_ownership(widgets: Resource) -> None:
    applied = {"metadata": {"name": "w", "managedFields": [{"manager": "x"}]}}
    with pytest.raises(UserError, match=r"metadata\.managedFields must be nil"):
        server_side_apply(widgets, None, applied, "alice", False, NOW)


def test_a_manager_must_have_a_name(widgets: Resource) -> None:
    with pytest.raises(UserError, match="fieldManager is required"):
        server_side_apply(widgets, None, {"metadata": {"name": "w"}}, "", False, NOW)


def test_the_status_is_owned_apart(widgets: Resource, apply: Apply) -> None:
    obj = apply(None, "alice", size=1)
    applied = {"metadata": {"name": "w"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    obj = server_side_apply(widgets, obj, applied, "alice", False, NOW, subresource="status")
    assert [entry.get("subresource") for entry in obj["metadata"]["managedFields"]] == [None, "status"]
    assert apply(obj, "alice", size=2)["status"] == applied["status"]


def test_nulls_say_nothing(apply: Apply) -> None:
    obj = apply(None, "alice", size=1, code=None, options={"fast": None})
    assert obj["spec"] == {"size": 1, "options": {}}


def test_the_inputs_stay_as_they_are(widgets: Resource, apply: Apply) -> None:
    live = apply(None, "alice", size=1, ports=[{"name": "a", "port": 1}])
    before = str(live)
    apply(live, "alice", size=2, ports=[{"name": "b", "port": 1}])
    apply(live, "bob", ports=[{"name": "a"}])
    assert str(live) == before


def test_a_plain_value_that_becomes_a_map_is_its_owners_conflict(widgets: Resource) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"free": FREE}}}}
    resource = replace(widgets, schema=schema)

    def call(live: dict[str, Any] | None, manager: str, free: dict[str, Any]) -> dict[str, Any]:
        applied = {"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"free": free}}
        return server_side_apply(resource, live, applied, manager, False, NOW)

    obj = call(None, "alice", {"a": "plain"})
    with pytest.raises(ApplyConflict, match=r"alice.*\.spec\.free\.a"):
        call(obj, "bob", {"a": {"deeper": "value"}})
