"""PUT and PATCH."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmkeep.apiserver import codec
from swarmkeep.etcd.records import Delete, KeyValue, Put

from .http_api import APPLY, JSON_PATCH, WIDGETS, Api, Reply, serving, widget

W = f"{WIDGETS}/w"


@pytest.fixture
async def made(api: Api) -> Reply:
    return await api.create(WIDGETS, widget(metadata={"labels": {"a": "1"}, "finalizers": ["example.dev/hold"]}))


async def test_a_replacement_takes_the_place_but_not_the_system_fields(api: Api, made: Reply) -> None:
    body = widget(size=2, metadata={"resourceVersion": made.version, "creationTimestamp": None, "generation": 9})
    reply = await api.call("PUT", W, body)
    assert reply.code == 200
    assert reply.body["metadata"].get("labels") is None
    assert reply.body["metadata"]["uid"] == made.body["metadata"]["uid"]
    assert reply.body["metadata"]["creationTimestamp"] == made.body["metadata"]["creationTimestamp"]
    assert reply.body["metadata"]["generation"] == 2
    assert int(reply.version) > int(made.version)


async def test_a_replacement_of_an_old_version_is_refused(api: Api, made: Reply) -> None:
    await api.merge(W, {"spec": {"size": 3}})
    reply = await api.call("PUT", W, widget(size=2, metadata={"resourceVersion": made.version}))
    assert (reply.code, reply.reason) == (409, "Conflict")
    assert "the object has been modified" in reply.message
    assert (await api.get(W)).body["spec"]["size"] == 3


async def test_without_a_version_the_newest_is_replaced(api: Api, made: Reply) -> None:
    assert (await api.call("PUT", W, widget(size=2))).code == 200


async def test_an_object_of_the_same_name_but_another_uid_is_left_alone(api: Api, made: Reply) -> None:
    for method, content_type in (("PUT", "application/json"), ("PATCH", "application/merge-patch+json")):
        reply = await api.call(method, W, widget(size=2, metadata={"uid": "other"}), content_type=content_type)
        assert (reply.code, reply.reason) == (409, "Conflict")


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_what_is_not_there_cannot_be_changed(api: Api, method: str) -> None:
    reply = await api.call(
        method, W, widget(), content_type="application/json" if method == "PUT" else "application/merge-patch+json"
    )
    assert (reply.code, reply.message) == (404, 'widgets.example.dev "w" not found')


async def test_status_and_the_rest_are_written_apart(api: Api, made: Reply) -> None:
    ignored = await api.merge(W, {"status": {"ready": True}})
    assert (ignored.code, ignored.version) == (200, made.version)
    patch = {"status": {"ready": True}, "spec": {"size": 9}, "metadata": {"labels": {"b": "2"}}}
    written = await api.merge(f"{W}/status", patch)
    assert written.body["status"] == {"ready": True}
    assert written.body["spec"]["size"] == 1
    assert written.body["metadata"]["labels"] == {"a": "1"}
    assert written.body["metadata"]["generation"] == 1
    changed = await api.merge(W, {"spec": {"size": 2}, "status": None})
    assert changed.body["status"] == {"ready": True}
    assert changed.body["metadata"]["generation"] == 2
    assert (await api.get(f"{W}/status")).body == changed.body
    assert (await api.merge(f"{W}/status", {"status": {"ready": "yes"}})).code == 422
    replaced = await api.call("PUT", f"{W}/status", {"metadata": {"name": "w"}, "status": {"ready": False}})
    assert replaced.body["status"] == {"ready": False}


async def test_a_write_that_changes_nothing_writes_nothing(api: Api, made: Reply) -> None:
    before = api.etcd.revision
    same: list[Any] = [
        {},
        {"spec": {"size": 1}},
        {"metadata": {"labels": {"a": "1"}}},
        {"metadata": {"annotations": {}}},
    ]
    for patch in same:
        reply = await api.merge(W, patch)
        assert (reply.code, reply.version) == (200, made.version)
    assert api.etcd.revision == before


async def test_true_is_not_one(api: Api, made: Reply) -> None:
    await api.merge(W, {"spec": {"free": {"flag": True}}})
    changed = await api.merge(W, {"spec": {"free": {"flag": 1}}})
    assert changed.body["spec"]["free"]["flag"] is not True


async def test_a_patch_that_names_a_version_is_refused_when_it_is_old(api: Api, made: Reply) -> None:
    await api.merge(W, {"spec": {"size": 2}})
    reply = await api.merge(W, {"metadata": {"resourceVersion": made.version}, "spec": {"size": 3}})
    assert (reply.code, reply.reason) == (409, "Conflict")
    assert (await api.merge(f"{W}/status", {"metadata": {"resourceVersion": made.version}, "status": {}})).code == 409


async def test_patches_without_a_version_never_conflict(api: Api, made: Reply) -> None:
    patches = [{"metadata": {"annotations": {f"n{number}": "x"}}} for number in range(30)]
    replies = await asyncio.gather(*(api.merge(W, patch) for patch in patches))
    assert {reply.code for reply in replies} == {200}
    assert len((await api.get(W)).body["metadata"]["annotations"]) == 30


async def test_a_writer_of_another_server_only_costs_another_try(
    api: Api, made: Reply, widget_crd: dict[str, Any]
) -> None:
    async with serving(widget_crd, api.etcd) as other:
        replies = await asyncio.gather(
            *(
                server.merge(W, {"metadata": {"annotations": {f"{server is api}{n}": "x"}}})
                for n in range(15)
                for server in (api, other)
            )
        )
    assert {reply.code for reply in replies} == {200}
    assert len((await api.get(W)).body["metadata"]["annotations"]) == 30


async def test_what_was_written_between_reading_and_writing_is_kept(api: Api, made: Reply) -> None:
    read = api.etcd.get

    async def read_then_be_overtaken(key: str) -> KeyValue | None:
        found = await read(key)
        if found is not None and found.mod_revision == int(made.version):
            overtaking = codec.decode(found.value, 0)
            overtaking["spec"]["color"] = "green"
            await api.etcd.txn([], [Put(key, codec.encode(overtaking))])
        return found

    await api.services.recent.load(api.etcd)  # forgets, so that it has to read
    api.etcd.get = read_then_be_overtaken  # type: ignore[method-assign]
    reply = await api.merge(f"{W}/status", {"status": {"ready": True}})
    assert reply.code == 200
    assert (reply.body["spec"]["color"], reply.body["status"]) == ("green", {"ready": True})


@pytest.fixture
async def behind(api: Api, made: Reply) -> str:
    """The server has not seen that another wrote size 2; the version of that write."""
    key = "/registry/example.dev/widgets/default/w"
    stored = await api.etcd.get(key)
    assert stored is not None
    api.services.recent.observe = lambda event: None  # type: ignore[method-assign]
    obj = codec.decode(stored.value, 0)
    obj["spec"]["size"] = 2
    return str((await api.etcd.txn([], [Put(key, codec.encode(obj))])).revision)


async def test_nobody_is_refused_for_what_the_server_has_not_seen(api: Api, behind: str) -> None:
    test = [{"op": "test", "path": "/spec/size", "value": 2}, {"op": "add", "path": "/spec/code", "value": "ab"}]
    reply = await api.call("PATCH", W, test, content_type=JSON_PATCH)
    assert (reply.code, reply.body["spec"]["code"]) == (200, "ab")


async def test_the_newest_version_is_accepted_unseen(api: Api, behind: str) -> None:
    assert (await api.call("PUT", W, widget(size=3, metadata={"resourceVersion": behind}))).code == 200


async def test_nothing_changes_only_if_that_is_so(api: Api, behind: str) -> None:
    reply = await api.merge(W, {"spec": {"size": 1}})
    assert (reply.code, reply.body["spec"]["size"]) == (200, 1)
    assert int(reply.version) > int(behind)


async def test_what_was_deleted_unseen_is_not_there(api: Api, behind: str) -> None:
    await api.etcd.txn([], [Delete("/registry/example.dev/widgets/default/w")])
    assert (await api.merge(W, {"spec": {"size": 5}})).code == 404


async def test_an_answer_that_was_lost_is_no_conflict(api: Api, made: Reply) -> None:
    api.etcd.lose_answers = 1
    body = {"metadata": {"resourceVersion": made.version}, "spec": {"size": 4}}
    reply = await api.merge(W, body)
    assert (reply.code, reply.body["spec"]["size"]) == (200, 4)
    assert reply.version == (await api.get(W)).version


async def test_json_patches(api: Api, made: Reply) -> None:
    async def patch(*operations: dict[str, Any]) -> Reply:
        return await api.call("PATCH", W, list(operations), content_type=JSON_PATCH)

    test = {"op": "test", "path": "/metadata/resourceVersion", "value": made.version}
    done = await patch(test, {"op": "replace", "path": "/spec/size", "value": 2})
    assert (done.code, done.body["spec"]["size"]) == (200, 2)
    failed = await patch(test, {"op": "replace", "path": "/spec/size", "value": 3})
    assert (failed.code, failed.reason) == (422, "Invalid")
    assert (await patch({"op": "remove", "path": "/spec/nothing"})).code == 422
    assert (await patch({"op": "jump", "path": "/spec"})).code in (400, 422)
    assert (await api.call("PATCH", W, {"op": "add"}, content_type=JSON_PATCH)).code in (400, 422)
    assert (await patch({"op": "replace", "path": "", "value": 5})).code in (400, 422)
    assert (await patch({"op": "remove", "path": "/metadata"})).code == 200, "the system keeps what it needs"


async def test_a_custom_kind_takes_no_strategic_patch(api: Api, made: Reply) -> None:
    kind = "application/strategic-merge-patch+json"
    reply = await api.call("PATCH", W, {"spec": {"size": 2}}, content_type=kind)
    assert (reply.code, reply.reason) == (415, "UnsupportedMediaType")
    namespace = await api.call(
        "PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": {"x": "y"}}}, content_type=kind
    )
    assert (namespace.code, namespace.body["metadata"]["labels"]["x"]) == (200, "y")
    assert (await api.call("PATCH", W, {}, content_type="application/json")).code == 415
    assert (await api.merge(W, [1])).code == 400


async def test_names_in_body_and_path_must_agree(api: Api, made: Reply) -> None:
    assert (await api.call("PUT", W, widget("other"))).code == 400
    assert (await api.merge(W, {"metadata": {"name": "other"}})).code == 400
    assert (await api.merge(W, {"kind": "Gadget"})).code == 400
    assert (await api.merge(W, {"metadata": {"namespace": "other"}})).code == 400


async def test_a_dry_run_changes_nothing(api: Api, made: Reply) -> None:
    reply = await api.merge(W, {"spec": {"size": 5}}, dryRun="All")
    assert (reply.code, reply.body["spec"]["size"], reply.version) == (200, 5, made.version)
    assert (await api.get(W)).body == made.body


async def test_applying_creates_updates_and_removes(api: Api) -> None:
    async def apply(body: dict[str, Any], manager: str = "me", **query: Any) -> Reply:
        return await api.call("PATCH", W, body, content_type=APPLY, fieldManager=manager, **query)

    created = await apply(widget(code="ab"))
    assert (created.code, created.body["spec"]["code"]) == (201, "ab")
    again = await apply(widget(code="ab"))
    assert (again.code, again.version) == (200, created.version)
    without = await apply(widget())
    assert "code" not in without.body["spec"]
    conflict = await apply(widget(size=2), "other")
    assert (conflict.code, conflict.reason) == (409, "Conflict")
    assert conflict.body["details"]["causes"][0] == {
        "reason": "FieldManagerConflict",
        "field": ".spec.size",
        "message": 'conflict with "me" using example.dev/v1',
    }
    forced = await apply(widget(size=2), "other", force="true")
    assert (forced.code, forced.body["spec"]["size"]) == (200, 2)
    assert (await apply(widget(), "")).code == 400
    assert (await apply(widget(metadata={"resourceVersion": created.version}))).code == 409


async def test_applying_to_a_version_of_nothing_is_a_conflict(api: Api) -> None:
    body = widget(metadata={"resourceVersion": "5"})
    assert (await api.call("PATCH", W, body, content_type=APPLY, fieldManager="me")).code == 409


async def test_a_deleted_object_goes_with_its_last_finalizer(api: Api, made: Reply) -> None:
    deleted = await api.call("DELETE", W)
    assert deleted.code == 200
    assert deleted.body["metadata"]["deletionTimestamp"]
    assert deleted.body["metadata"]["generation"] == 2
    more = await api.merge(W, {"metadata": {"finalizers": ["example.dev/hold", "example.dev/new"]}})
    assert (more.code, more.reason) == (422, "Invalid")
    assert (await api.merge(W, {"metadata": {"deletionTimestamp": None}})).version == deleted.version
    gone = await api.merge(W, {"metadata": {"finalizers": None}})
    assert (gone.code, gone.body["metadata"]["name"]) == (200, "w")
    assert int(gone.version) > int(deleted.version)
    assert (await api.get(W)).code == 404
