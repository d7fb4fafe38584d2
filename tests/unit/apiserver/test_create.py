"""POST of new objects."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from .http_api import EVENTS, WIDGETS, Api, widget


async def test_a_new_object_gets_what_only_the_server_can_give(api: Api) -> None:
    reply = await api.create(WIDGETS, widget())
    assert reply.code == 201
    metadata = reply.body["metadata"]
    assert re.fullmatch(r"[0-9a-f-]{36}", metadata["uid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", metadata["creationTimestamp"])
    assert (metadata["namespace"], metadata["generation"]) == ("default", 1)
    assert reply.body["spec"]["color"] == "red", "a default of the schema"
    again = await api.get(f"{WIDGETS}/w")
    assert (again.code, again.body) == (200, reply.body)


async def test_what_only_the_server_may_say_is_not_believed(api: Api) -> None:
    lies = {"uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z", "finalizers": []}
    body = {**widget(metadata={**lies, "deletionTimestamp": "2001-01-01T00:00:00Z"}), "status": {"ready": True}}
    created = (await api.create(WIDGETS, body)).body
    assert created["metadata"]["uid"] != "mine"
    assert created["metadata"]["generation"] == 1
    assert not created["metadata"]["creationTimestamp"].startswith("2001")
    assert "deletionTimestamp" not in created["metadata"]
    assert "finalizers" not in created["metadata"]
    assert "status" not in created


async def test_a_name_is_taken_once(api: Api) -> None:
    replies = await asyncio.gather(*(api.create(WIDGETS, widget(size=size)) for size in range(1, 6)))
    assert sorted(reply.code for reply in replies) == [201, 409, 409, 409, 409]
    loser = next(reply for reply in replies if reply.code == 409)
    assert loser.reason == "AlreadyExists"
    assert loser.message == 'widgets.example.dev "w" already exists'


async def test_a_name_can_be_made_up_by_the_server(api: Api) -> None:
    body = widget()
    body["metadata"] = {"generateName": "w-"}
    names = {(await api.create(WIDGETS, body)).body["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(re.fullmatch(r"w-[a-z0-9]{5}", name) for name in names)


@pytest.mark.parametrize(
    ("change", "code", "complaint"),
    [
        ({"kind": "Gadget"}, 400, "kind"),
        ({"apiVersion": "example.dev/v2"}, 400, "apiVersion"),
        ({"metadata": {"name": "w", "namespace": "other"}}, 400, "namespace"),
        ({"metadata": {"name": "w", "resourceVersion": "5"}}, 400, "resourceVersion"),
        ({"metadata": "w"}, 400, "metadata"),
        ({"metadata": {}}, 422, "name"),
        ({"metadata": {"name": "W"}}, 422, "metadata.name"),
        ({"metadata": {"name": "../w"}}, 422, "metadata.name"),
        ({"metadata": {"name": 5}}, 400, "metadata.name"),
        ({"spec": {}}, 422, "spec.size"),
        ({"spec": {"size": 0}}, 422, "spec.size"),
        ({"spec": "big"}, 422, "spec"),
    ],
)
async def test_what_is_no_such_object_is_refused(api: Api, change: dict[str, Any], code: int, complaint: str) -> None:
    reply = await api.create(WIDGETS, {**widget(), **change})
    assert (reply.code, reply.body["kind"], reply.body["status"]) == (code, "Status", "Failure")
    assert complaint in reply.message
    assert (await api.get(WIDGETS)).names == []


async def test_every_wrong_field_is_named(api: Api) -> None:
    reply = await api.create(WIDGETS, widget(size=0, color="pink"))
    assert reply.reason == "Invalid"
    assert reply.message.startswith('Widget.example.dev "w" is invalid: [')
    assert [cause["field"] for cause in reply.body["details"]["causes"]] == ["spec.size", "spec.color"]


async def test_unknown_fields_are_refused_warned_of_or_dropped(api: Api) -> None:
    body = widget(sise=5)
    strict = await api.create(WIDGETS, body, fieldValidation="Strict")
    assert (strict.code, strict.reason) == (400, "BadRequest")
    assert 'strict decoding error: unknown field "spec.sise"' in strict.message
    warned = await api.create(WIDGETS, body, fieldValidation="Warn")
    assert warned.code == 201
    assert warned.headers["Warning"].startswith('299 - "unknown field \\"spec.sise\\"')
    assert "sise" not in warned.body["spec"]
    body["metadata"]["name"] = "quiet"
    ignored = await api.create(WIDGETS, body, fieldValidation="Ignore")
    assert "Warning" not in ignored.headers
    assert (await api.create(WIDGETS, body, fieldValidation="Loud")).code == 400


async def test_a_dry_run_judges_and_stores_nothing(api: Api) -> None:
    before = api.etcd.revision
    reply = await api.create(WIDGETS, widget(), dryRun="All")
    assert (reply.code, reply.body["spec"]["color"]) == (201, "red")
    assert "resourceVersion" not in reply.body["metadata"]
    assert (await api.create(WIDGETS, widget(size=0), dryRun="All")).code == 422
    assert (await api.create(WIDGETS, widget(), dryRun="Some")).code == 400
    assert api.etcd.revision == before
    await api.create(WIDGETS, widget())
    assert (await api.create(WIDGETS, widget(), dryRun="All")).code == 409


async def test_nothing_is_made_in_a_namespace_that_is_not_there(api: Api) -> None:
    path = WIDGETS.replace("default", "nowhere")
    reply = await api.create(path, widget())
    assert (reply.code, reply.reason) == (404, "NotFound")
    assert reply.message.startswith('namespaces "nowhere" not found')
    assert "kubectl create namespace nowhere" in reply.message
    assert (await api.create("/api/v1/namespaces", {"metadata": {"name": "nowhere"}})).code == 201
    assert (await api.create(path, widget())).code == 201


async def test_a_namespace_that_another_server_made_is_seen_at_once(api: Api) -> None:
    # The view of the namespaces may be behind; etcd itself is asked before anybody is refused.
    api.services.namespaces._known.clear()
    assert (await api.create(WIDGETS, widget())).code == 201


async def test_nothing_is_made_in_a_namespace_that_goes_away_meanwhile(api: Api) -> None:
    assert (await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})).code == 201
    view = api.services.namespaces
    stale = dict(view._known)
    assert (await api.call("DELETE", "/api/v1/namespaces/n")).code == 200
    await api.until("/api/v1/namespaces/n", lambda reply: reply.code == 404)
    view._known = stale
    assert (await api.create(WIDGETS.replace("default", "n"), widget())).code == 404


async def test_an_answer_that_was_lost_is_no_conflict(api: Api) -> None:
    api.etcd.lose_answers = 1
    reply = await api.create(WIDGETS, widget())
    assert reply.code == 201
    assert (await api.get(f"{WIDGETS}/w")).body == reply.body


async def test_events_go_by_themselves_and_lose_a_namespace_that_is_none(api: Api) -> None:
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {
            "apiVersion": "swarmkeep.dev/v1alpha1",
            "kind": "Node",
            "name": "n1",
            "namespace": "default",
        },
        "reason": "Seen",
        "type": "Normal",
    }
    created = (await api.create(EVENTS, event)).body
    assert "namespace" not in created["involvedObject"]
    stored = await api.etcd.get("/registry/core/events/default/e")
    assert stored is not None
    assert stored.lease
    second = await api.create(EVENTS, {**event, "metadata": {"name": "f"}})
    assert second.code == 201
    other = await api.etcd.get("/registry/core/events/default/f")
    assert other is not None
    assert other.lease == stored.lease, "events of the same minutes share a lease"


async def test_an_event_lease_that_etcd_has_lost_is_made_anew(api: Api) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {}, "reason": "Seen"}
    await api.create(EVENTS, event)
    stored = await api.etcd.get("/registry/core/events/default/e")
    assert stored is not None
    await api.etcd.lease_revoke(stored.lease)
    assert (await api.create(EVENTS, event)).code == 201


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"metadata":{"name":"w"},"spec":{"size":NaN}}', "application/json", 400),
        (b'{"a":' * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"a: *b", "application/yaml", 400),
        (b"a: [*x]\nb: &x 1", "application/yaml", 400),
        (b"{}", "application/xml", 415),
        (b"k8s\x00", "application/vnd.kubernetes.protobuf", 415),
        (b"nonsense", "application/vnd.kubernetes.protobuf", 400),
        (b" " * 4_000_000, "application/json", 413),
    ],
)
async def test_hostile_bodies_are_refused(api: Api, body: bytes, content_type: str, code: int) -> None:
    reply = await api.call("POST", WIDGETS, body, content_type=content_type)
    assert (reply.code, reply.body["kind"]) == (code, "Status")


async def test_text_that_is_not_unicode_is_refused(api: Api) -> None:
    body = b'{"metadata":{"name":"w","annotations":{"a":"\\ud800"}},"spec":{"size":1}}'
    assert (await api.call("POST", WIDGETS, body)).code in (400, 422)


async def test_an_object_too_large_for_etcd_is_refused_as_such(api: Api) -> None:
    reply = await api.create(WIDGETS, widget(free={"text": "x" * 1_600_000}))
    assert (reply.code, reply.reason) == (413, "RequestEntityTooLarge")


async def test_yaml_bodies_are_read(api: Api) -> None:
    text = b"metadata:\n  name: w\nspec:\n  size: 3\n  at: 2026-01-01T00:00:00Z\n"
    reply = await api.call("POST", WIDGETS, text, content_type="application/yaml")
    assert (reply.code, reply.body["spec"]["size"]) == (201, 3)
    assert reply.body["spec"]["at"] == "2026-01-01T00:00:00Z", "a time stays the text that it was"
