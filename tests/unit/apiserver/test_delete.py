"""DELETE of objects, collections and namespaces."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmkeep.apiserver import drain

from .http_api import WIDGETS, Api, widget

W = f"{WIDGETS}/w"


async def test_an_object_without_finalizers_is_gone_at_once(api: Api) -> None:
    uid = (await api.create(WIDGETS, widget())).body["metadata"]["uid"]
    reply = await api.call("DELETE", W, {"propagationPolicy": "Background"}, gracePeriodSeconds="0")
    assert reply.code == 200
    assert (reply.body["kind"], reply.body["status"]) == ("Status", "Success")
    assert reply.body["details"] == {"name": "w", "group": "example.dev", "kind": "widgets", "uid": uid}
    assert (await api.get(W)).code == 404
    assert (await api.call("DELETE", W)).code == 404


async def test_preconditions_are_kept(api: Api) -> None:
    made = await api.create(WIDGETS, widget())
    for precondition in ({"uid": "other"}, {"resourceVersion": "1"}):
        reply = await api.call("DELETE", W, {"preconditions": precondition})
        assert (reply.code, reply.reason) == (409, "Conflict")
    right = {"uid": made.body["metadata"]["uid"], "resourceVersion": made.version}
    assert (await api.call("DELETE", W, {"preconditions": right})).code == 200


@pytest.mark.parametrize("body", [[], {"preconditions": 5}, {"dryRun": 5}])
async def test_options_that_make_no_sense_delete_nothing(api: Api, body: object) -> None:
    await api.create(WIDGETS, widget())
    assert (await api.call("DELETE", W, body)).code == 400
    assert (await api.get(W)).code == 200


@pytest.mark.parametrize("in_body", [True, False])
async def test_a_dry_run_deletes_nothing(api: Api, in_body: bool) -> None:
    await api.create(WIDGETS, widget())
    query: dict[str, Any] = {} if in_body else {"dryRun": "All"}
    reply = await api.call("DELETE", W, {"dryRun": ["All"]} if in_body else None, **query)
    assert reply.code == 200
    assert (await api.get(W)).code == 200


async def test_deleting_twice_is_no_second_deletion(api: Api) -> None:
    await api.create(WIDGETS, widget(metadata={"finalizers": ["example.dev/hold"]}))
    first, second = await api.call("DELETE", W), await api.call("DELETE", W)
    assert (second.code, second.version) == (200, first.version)


async def test_a_lost_answer_is_still_a_deletion(api: Api) -> None:
    await api.create(WIDGETS, widget())
    api.etcd.lose_answers = 1
    assert (await api.call("DELETE", W)).code == 200


async def test_a_collection_is_deleted_as_selected(api: Api) -> None:
    for name, label in (("a", "x"), ("b", "y"), ("c", "x")):
        await api.create(WIDGETS, widget(name, metadata={"labels": {"k": label}}))
    reply = await api.call("DELETE", WIDGETS, labelSelector="k=x", limit="1")
    assert (reply.code, reply.names) == (200, ["a", "c"])
    assert (await api.get(WIDGETS)).names == ["b"]


async def test_a_namespace_goes_when_it_is_empty(api: Api) -> None:
    inside = WIDGETS.replace("default", "n")
    await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
    await api.create(inside, widget("plain"))
    await api.create(inside, widget("held", metadata={"finalizers": ["example.dev/hold"]}))
    reply = await api.call("DELETE", "/api/v1/namespaces/n")
    assert (reply.code, reply.body["status"]["phase"]) == (200, "Terminating")
    refused = await api.create(inside, widget("late"))
    assert (refused.code, refused.reason) == (403, "Forbidden")
    await api.until(inside, lambda reply: reply.names == ["held"])
    await asyncio.sleep(0.6)
    assert (await api.get("/api/v1/namespaces/n")).code == 200, "something is still in it"
    await api.merge(f"{inside}/held", {"metadata": {"finalizers": None}})
    await api.until("/api/v1/namespaces/n", lambda reply: reply.code == 404)


async def test_what_finalizers_hold_in_a_namespace_hides_nothing_behind_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "PAGE", 2)
    inside = WIDGETS.replace("default", "n")
    await api.create("/api/v1/namespaces", {"metadata": {"name": "n"}})
    for number in range(5):
        held = {"finalizers": ["example.dev/hold"]} if number < 3 else {}
        assert (await api.create(inside, widget(f"w{number}", metadata=held))).code == 201
    await api.call("DELETE", "/api/v1/namespaces/n")
    await api.until(inside, lambda reply: reply.names == ["w0", "w1", "w2"])


@pytest.mark.parametrize("name", ["default", "kube-system", "swarmkeep-nodes"])
async def test_permanent_namespaces_stay(api: Api, name: str) -> None:
    reply = await api.call("DELETE", f"/api/v1/namespaces/{name}")
    assert (reply.code, reply.reason) == (403, "Forbidden")


async def test_what_the_server_defines_is_read_only(api: Api) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.dev"
    assert (await api.get(path)).code == 200
    assert (await api.call("DELETE", path)).code == 405
    assert (await api.merge(path, {"metadata": {"labels": {"a": "b"}}})).code == 405
    assert (await api.merge(f"{path}/status", {"status": {}})).code == 405
