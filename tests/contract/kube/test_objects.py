"""What the client promises about objects, against the real API server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from swarmkeep import errors
from swarmkeep.kube.answers import AlreadyExists, ApiConflict, ApiInvalid, ApiNotFound, FencedOff
from swarmkeep.kube.client import Client, EventType, Fence, PatchType
from swarmkeep.kube.events import EventKind, EventRecorder
from swarmkeep.model.kinds import EVENT, LOCATION, POLICY, WORKLOAD

from ...integration.servers import ApiServer, Pki

pytestmark = pytest.mark.etcd

POLICY_BODY: dict[str, Any] = {
    "metadata": {"name": "redis"},
    "spec": {"selector": {"service": "redis"}, "schedule": {"every": "30s"}, "storage": ["main"]},
}


def workload(name: str, policy: str = "redis", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"policy": policy, "type": "ReplicatedTask", "service": {"id": "s1", "name": "redis"}},
    }


async def test_an_object_is_made_read_changed_and_deleted(client: Client, namespace: str) -> None:
    made = await client.create(POLICY, POLICY_BODY, namespace)
    assert made["metadata"]["namespace"] == namespace
    read = await client.get(POLICY, "redis", namespace)
    assert read == made
    read["spec"]["schedule"]["every"] = "1m"
    assert (await client.replace(POLICY, read, namespace))["spec"]["schedule"]["every"] == "1m"
    await client.delete(POLICY, "redis", namespace)
    with pytest.raises(ApiNotFound, match=r'checkpointpolicies\.swarmkeep\.dev "redis" not found'):
        await client.get(POLICY, "redis", namespace)
    with pytest.raises(ApiNotFound):
        await client.delete(POLICY, "redis", namespace)


async def test_a_second_object_of_a_name_is_refused(client: Client, namespace: str) -> None:
    await client.create(POLICY, POLICY_BODY, namespace)
    with pytest.raises(AlreadyExists):
        await client.create(POLICY, POLICY_BODY, namespace)


async def test_a_replace_of_an_old_version_is_refused(client: Client, namespace: str) -> None:
    old = await client.create(POLICY, POLICY_BODY, namespace)
    await client.patch(POLICY, "redis", {"metadata": {"labels": {"a": "b"}}}, namespace)
    with pytest.raises(ApiConflict) as caught:
        await client.replace(POLICY, old, namespace)
    assert caught.value.reason == "Conflict"


async def test_a_status_patch_changes_only_the_status(client: Client, namespace: str) -> None:
    await client.create(WORKLOAD, workload("redis.1"), namespace)
    patch = {"status": {"phase": "Running"}, "spec": {"policy": "other"}}
    patched = await client.patch(WORKLOAD, "redis.1", patch, namespace, subresource="status")
    assert (patched["status"]["phase"], patched["spec"]["policy"]) == ("Running", "redis")


async def test_a_patch_may_name_the_version_that_it_is_for(client: Client, namespace: str) -> None:
    first = await client.create(WORKLOAD, workload("redis.1"), namespace)
    version = first["metadata"]["resourceVersion"]
    patch = {"metadata": {"resourceVersion": version, "labels": {"a": "b"}}}
    await client.patch(WORKLOAD, "redis.1", patch, namespace)
    with pytest.raises(ApiConflict):
        await client.patch(WORKLOAD, "redis.1", patch, namespace)


async def test_a_json_patch_whose_test_fails_is_refused(client: Client, namespace: str) -> None:
    await client.create(WORKLOAD, workload("redis.1"), namespace)
    patch = [{"op": "test", "path": "/spec/policy", "value": "other"}]
    with pytest.raises(ApiInvalid):
        await client.patch(WORKLOAD, "redis.1", patch, namespace, patch_type=PatchType.JSON)


async def test_an_invalid_object_names_its_fields(client: Client, namespace: str) -> None:
    body = {**POLICY_BODY, "spec": {"selector": {"service": "redis"}, "schedule": {"every": 5}, "storage": ["main"]}}
    with pytest.raises(errors.InvalidObject) as caught:
        await client.create(POLICY, body, namespace)
    assert [cause["field"] for cause in caught.value.causes] == ["spec.schedule.every"]  # type: ignore[attr-defined]


async def test_an_unknown_field_is_refused_when_strict_and_dropped_with_a_warning_else(
    client: Client, namespace: str
) -> None:
    body = {**POLICY_BODY, "spec": {**POLICY_BODY["spec"], "evry": "5s"}}
    with pytest.raises(errors.InvalidObject, match=r"unknown field \"spec\.evry\""):
        await client.create(POLICY, body, namespace, strict=True)
    warnings: list[str] = []
    client.transport.on_warning = warnings.append
    made = await client.create(POLICY, body, namespace)
    assert "evry" not in made["spec"]
    assert any("spec.evry" in warning for warning in warnings)


async def test_a_dry_run_stores_nothing(client: Client, namespace: str) -> None:
    await client.create(POLICY, POLICY_BODY, namespace, dry_run=True)
    await client.apply(POLICY, POLICY_BODY, namespace, dry_run=True)
    with pytest.raises(ApiNotFound):
        await client.get(POLICY, "redis", namespace)


async def test_apply_makes_changes_and_takes_back(client: Client, namespace: str) -> None:
    body = {**POLICY_BODY, "metadata": {"name": "redis", "labels": {"a": "1", "b": "1"}}}
    await client.apply(POLICY, body, namespace, field_manager="one")
    less = {**POLICY_BODY, "metadata": {"name": "redis", "labels": {"a": "2"}}}
    applied = await client.apply(POLICY, less, namespace, field_manager="one")
    assert applied["metadata"]["labels"] == {"a": "2"}
    again = await client.apply(POLICY, less, namespace, field_manager="one")
    assert again["metadata"]["resourceVersion"] == applied["metadata"]["resourceVersion"]


async def test_a_field_of_another_applier_is_a_conflict_that_can_be_forced(client: Client, namespace: str) -> None:
    await client.apply(POLICY, POLICY_BODY, namespace, field_manager="one")
    other = {**POLICY_BODY, "spec": {**POLICY_BODY["spec"], "schedule": {"every": "9s"}}}
    with pytest.raises(ApiConflict) as caught:
        await client.apply(POLICY, other, namespace, field_manager="two")
    assert caught.value.causes[0]["reason"] == "FieldManagerConflict"
    forced = await client.apply(POLICY, other, namespace, field_manager="two", force=True)
    assert forced["spec"]["schedule"]["every"] == "9s"


async def test_a_delete_for_another_uid_is_refused(client: Client, namespace: str) -> None:
    made = await client.create(POLICY, POLICY_BODY, namespace)
    with pytest.raises(ApiConflict):
        await client.delete(POLICY, "redis", namespace, uid="another")
    await client.delete(POLICY, "redis", namespace, uid=made["metadata"]["uid"])


async def test_lists_select_and_come_whole_although_in_pages(
    client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmkeep.kube.client.PAGE_SIZE", 3)
    for number in range(8):
        await client.create(WORKLOAD, workload(f"w.{number}", f"p{number % 2}", half=str(number // 4)), namespace)
    assert len((await client.list(WORKLOAD, namespace)).items) == 8
    halves = await client.list(WORKLOAD, namespace, labels="half=1")
    assert [item["metadata"]["name"] for item in halves.items] == ["w.4", "w.5", "w.6", "w.7"]
    odd = await client.list(WORKLOAD, namespace, fields="spec.policy=p1")
    assert [item["metadata"]["name"] for item in odd.items] == ["w.1", "w.3", "w.5", "w.7"]
    assert {item["kind"] for item in odd.items} == {"Workload"}


async def test_a_watch_tells_what_comes_after_its_version_and_what_leaves_its_selection(
    client: Client, namespace: str
) -> None:
    start = (await client.list(WORKLOAD, namespace)).resource_version
    await client.create(WORKLOAD, workload("a", half="1"), namespace)
    await client.create(WORKLOAD, workload("b", half="2"), namespace)
    await client.patch(WORKLOAD, "a", {"metadata": {"labels": {"half": "2"}}}, namespace)
    await client.patch(WORKLOAD, "b", {"metadata": {"labels": {"half": "1"}}}, namespace)
    await client.delete(WORKLOAD, "b", namespace)
    seen = []
    stream = client.watch(WORKLOAD, namespace, labels="half=1", resource_version=start)
    async with asyncio.timeout(10):
        async for event in stream:
            seen.append((event.type, event.object["metadata"]["name"]))
            if len(seen) == 4:
                break
    await stream.aclose()
    assert seen == [
        (EventType.ADDED, "a"),
        (EventType.DELETED, "a"),
        (EventType.ADDED, "b"),
        (EventType.DELETED, "b"),
    ]


async def test_a_write_of_a_leader_that_is_none_is_fenced_off(client: Client, namespace: str) -> None:
    await client.create(WORKLOAD, workload("redis.1"), namespace)
    with pytest.raises(FencedOff):
        await client.patch(WORKLOAD, "redis.1", {"metadata": {"labels": {"a": "b"}}}, namespace, fence=Fence(12345))
    with pytest.raises(FencedOff):
        await client.create(WORKLOAD, workload("redis.2"), namespace, fence=Fence(12345))
    with pytest.raises(FencedOff):
        await client.delete(WORKLOAD, "redis.1", namespace, fence=Fence(12345))


async def test_an_agent_may_not_write_policies(server: ApiServer, pki: Pki, namespace: str) -> None:
    async with Client([server.url], pki.client_tls("agent", "n1"), timeout_s=5) as agent:
        with pytest.raises(errors.Forbidden):
            await agent.create(POLICY, POLICY_BODY, namespace)


async def test_a_cluster_scoped_object_needs_no_namespace(client: Client) -> None:
    body = {"metadata": {"name": "contract"}, "spec": {"filesystem": {"path": "/shared/contract"}}}
    await client.create(LOCATION, body)
    assert (await client.get(LOCATION, "contract"))["spec"]["filesystem"]["path"] == "/shared/contract"
    await client.delete(LOCATION, "contract")


async def test_events_are_kept_and_counted(client: Client, namespace: str) -> None:
    about = await client.create(WORKLOAD, workload("redis.1"), namespace)
    teller = EventRecorder(client, "swarmkeep-agent", "n1")
    for _ in range(3):
        teller.record(about, EventKind.NORMAL, "Stored", "version 1 is stored")
        await teller.flush()
    fields = f"involvedObject.name=redis.1,involvedObject.uid={about['metadata']['uid']}"
    (event,) = (await client.list(EVENT, namespace, fields=fields)).items
    assert (event["count"], event["reason"], event["type"]) == (3, "Stored", "Normal")
