"""The cycle: what it writes, what it does when it cannot, and that any crash in between does no harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.controllers.driver import Deposed
from swarmkeep.controllers.queue import Key
from swarmkeep.errors import Forbidden, Unavailable
from swarmkeep.kube.answers import FencedOff
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LEASE, LOCATION, NODE, POLICY, WORKLOAD
from swarmkeep.swarm.simulated import SimulatedSwarm

from ..objects import NOW, policy_object, stamp, workload_object
from .fake_api import Crash, FakeApi
from .rehearsal import Life

READY = {"type": "Ready", "status": "True", "reason": "AgentAlive", "message": "", "lastTransitionTime": stamp(9)}


def scene(
    *,
    replicas: int = 1,
    versions: int = 4,
    keep_last: int = 2,
    more_rules: dict[str, Any] | None = None,
    pinned: int = 0,
    deleted: int = 0,
    wish: bool = False,
    claim: str = "n1",
    verify: str = "",
    age_s: float = 9,
    constraints: tuple[str, ...] = (),
) -> tuple[FakeApi, SimulatedSwarm]:
    """A Swarm and an API in the middle of their lives."""
    swarm = SimulatedSwarm("n1", "n2")
    service = swarm.create("redis", replicas=replicas, constraints=constraints)
    api = FakeApi()
    api.put(POLICY, policy_object(retention={"keepLast": keep_last, **(more_rules or {})}))
    api.put(LOCATION, {"metadata": {"name": "main", "generation": 1}, "spec": {"filesystem": {"path": "/x"}}})
    for name in ("n1", "n2"):
        said = [{"name": "main", "reachable": True, "id": "abc"}]
        status = {"conditions": [READY], "locations": said, "swarmNodeID": swarm.node(name).id}
        lease = {"metadata": {"name": name, "namespace": "swarmkeep-nodes"}, "spec": {"leaseDurationSeconds": 15}}
        api.put(LEASE, lease)
        api.put(NODE, {"metadata": {"name": name, "generation": 1}, "status": status})
    newest = {"number": versions or 1, "takenAt": stamp(3), "specHash": "hash"}
    api.put(WORKLOAD, workload_object(claim=claim, service_id=service.id, newestVersion=newest))
    for number in range(1, versions + 1):
        metadata: dict[str, Any] = {
            "name": f"redis.1-v{number}",
            "namespace": "default",
            "finalizers": ["swarmkeep.dev/data"],
            "labels": {"swarmkeep.dev/node": "n2"},
            "creationTimestamp": stamp(100 - number),
        }
        if number <= deleted:
            metadata["deletionTimestamp"] = stamp(1)
        found: dict[str, Any] = {"phase": "Stored", "version": number, "node": "n2", "location": "main"}
        found["takenAt"] = stamp(age_s + 1800 * (versions - number))
        spec: dict[str, Any] = {"workload": "redis.1", "pinned": number == pinned}
        if verify:
            spec["verify"] = {"requestedAt": stamp(5), "how": "Full"}
        if verify in ("Good", "Damaged"):
            found["verification"] = {"number": 1, "node": "n2", "requestedAt": stamp(5)}
            found["verified"] = {"number": 1, "result": verify, "at": stamp(1), "requestedAt": stamp(5)}
        api.put(CHECKPOINT, {"metadata": metadata, "spec": spec, "status": found})
    if wish:
        metadata = {"name": "now", "namespace": "default", "creationTimestamp": stamp(1)}
        api.put(CHECKPOINT, {"metadata": metadata, "spec": {"workload": "redis.1"}})
    return api, swarm


async def live(api: FakeApi, swarm: SimulatedSwarm) -> Life:
    life = Life(api, NOW)
    await life.know(swarm)
    await life.settle()
    return life


def status(api: FakeApi, kind: Any, name: str, namespace: str = "default") -> dict[str, Any]:
    found: dict[str, Any] = api.objects[kind.plural, Ref(namespace, name)].get("status", {})
    return found


async def test_everything_is_brought_in_line_and_then_left_alone() -> None:
    api, swarm = scene(replicas=2, wish=True)
    life = await live(api, swarm)
    assert status(api, POLICY, "redis")["workloads"] == 2
    assert status(api, WORKLOAD, "redis.2")["phase"] == "Pending"
    assert status(api, CHECKPOINT, "redis.1-v1")["phase"] == "Deleting"
    assert status(api, CHECKPOINT, "redis.1-v3")["phase"] == "Stored"
    assert status(api, CHECKPOINT, "now") == {"phase": "Pending", "node": "n1"}
    assert status(api, LOCATION, "main", "")["id"] == "abc"
    before = api.writes
    again = await live(api, swarm)
    assert api.writes == before, "a new leader that finds all well writes nothing"
    assert life.recorder.reasons == ["Pruned"]
    assert again.recorder.reasons == []


async def test_a_removed_version_carries_the_name_of_the_node_that_removes_it() -> None:
    api, swarm = scene(deleted=1)
    await live(api, swarm)
    obj = api.objects["checkpoints", Ref("default", "redis.1-v1")]
    assert obj["metadata"]["labels"]["swarmkeep.dev/node"] == obj["status"]["node"] == "n1"


async def test_a_wish_to_verify_becomes_an_order_and_its_answer_ends_it() -> None:
    api, swarm = scene(versions=2, verify="wished")
    await live(api, swarm)
    assert status(api, CHECKPOINT, "redis.1-v2")["verification"]["node"] == "n1"
    api, swarm = scene(versions=2, verify="Damaged")
    life = await live(api, swarm)
    assert "verification" not in status(api, CHECKPOINT, "redis.1-v2")
    assert sorted(life.recorder.reasons) == ["Damaged", "Damaged", "VersionDamaged"]
    assert life.cache.damaged() == {Ref("default", "redis.1"): 2}


async def test_one_old_version_is_given_out_to_be_read_back() -> None:
    api, swarm = scene(versions=2, age_s=90_000)
    await live(api, swarm)
    ordered = [number for number in (1, 2) if "verification" in status(api, CHECKPOINT, f"redis.1-v{number}")]
    assert ordered == [1]
    assert status(api, WORKLOAD, "redis.1")["scrubbedAt"] == stamp()


async def test_a_wish_to_import_is_given_to_a_node() -> None:
    api, swarm = scene()
    location = api.objects["storagelocations", Ref("", "main")]
    api.put(LOCATION, {**location, "spec": {**location["spec"], "import": {"requestedAt": stamp(5), "adopt": True}}})
    await live(api, swarm)
    assert status(api, LOCATION, "main", "")["import"]["node"] == "n1"


async def test_a_version_that_is_no_longer_pinned_goes_without_waiting_for_the_next() -> None:
    api, swarm = scene(pinned=1)
    ref = Ref("default", "redis.1-v1")
    life = await live(api, swarm)
    assert status(api, CHECKPOINT, ref.name)["phase"] == "Stored"
    assert status(api, CHECKPOINT, "redis.1-v2")["phase"] == "Deleting"
    while len(life.queue):
        life.queue.done(await life.queue.take())
    unpinned = await api.patch(CHECKPOINT, ref.name, {"spec": {"pinned": False}}, "default")
    life.cache.apply(CHECKPOINT, unpinned)
    async with asyncio.timeout(5):
        key = await life.queue.take()
    assert key == Key(WORKLOAD.name, Ref("default", "redis.1"))
    await life.driver.step(key)
    assert status(api, CHECKPOINT, ref.name)["phase"] == "Deleting"


async def test_an_object_that_changed_meanwhile_is_read_and_decided_again() -> None:
    api, swarm = scene(wish=True)
    life = Life(api, NOW)
    await life.know(swarm)
    moved = workload_object(claim="n2", service_id=swarm.service("redis").id)
    api.put(CHECKPOINT, api.objects["checkpoints", Ref("default", "now")])
    api.put(WORKLOAD, moved)
    key = Key(CHECKPOINT.name, Ref("default", "now"))
    await life.driver.step(key)
    assert "phase" not in status(api, CHECKPOINT, "now")
    life.cache.apply(WORKLOAD, api.objects["workloads", Ref("default", "redis.1")])
    await life.driver.step(key)
    assert status(api, CHECKPOINT, "now")["node"] == "n2"


@pytest.mark.parametrize(("error", "pause_s"), [(Unavailable("away"), 0.2), (Forbidden("no"), 10)])
@pytest.mark.looptime
async def test_what_cannot_be_written_is_tried_again(error: Any, pause_s: float) -> None:
    api, swarm = scene()
    life = Life(api, NOW)
    await life.know(swarm)
    while len(life.queue):
        life.queue.done(await life.queue.take())
    api.error = error
    key = Key(POLICY.name, Ref("default", "redis"))
    await life.driver.step(key)
    begun = asyncio.get_running_loop().time()
    while await life.queue.take() != key:
        pass
    assert asyncio.get_running_loop().time() - begun <= pause_s + 0.01


async def test_a_deposed_leader_ends() -> None:
    api, swarm = scene()
    life = Life(api, NOW)
    await life.know(swarm)
    api.error = FencedOff("another leads")
    with pytest.raises(Deposed, match="another leads"):
        await life.driver.step(Key(POLICY.name, Ref("default", "redis")))


async def test_a_bug_in_one_object_does_not_stop_the_others() -> None:
    api, swarm = scene()
    broken = workload_object("broken.1")
    broken["status"]["phase"] = "NoSuchPhase"
    api.put(WORKLOAD, broken)
    broken["spec"]["policy"] = "other"
    api.put(WORKLOAD, broken)
    await live(api, swarm)
    assert status(api, POLICY, "redis")["workloads"] == 1


scenes = st.fixed_dictionaries(
    {
        "replicas": st.integers(0, 3),
        "versions": st.integers(0, 6),
        "keep_last": st.integers(1, 3),
        "more_rules": st.fixed_dictionaries(
            {},
            optional={
                "keepHourly": st.integers(0, 3),
                "keepDaily": st.integers(0, 2),
                "maxAge": st.sampled_from(["1s", "45m", "2h"]),
            },
        ),
        "pinned": st.integers(0, 3),
        "deleted": st.integers(0, 2),
        "wish": st.booleans(),
        "claim": st.sampled_from(["", "n1", "n2"]),
        "verify": st.sampled_from(["", "wished", "Good", "Damaged"]),
        "age_s": st.sampled_from([9.0, 90_000.0]),
    }
)


@settings(max_examples=25, deadline=None)
@given(scenes, st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=4))
def test_whenever_it_dies_its_successor_comes_to_the_same_end(
    parts: dict[str, Any], deaths: list[tuple[int, bool]]
) -> None:
    async def rehearse() -> None:
        undisturbed, swarm = scene(**parts)
        await live(undisturbed, swarm)
        api, _ = scene(**parts)
        for crash_at, carried_out in deaths:
            api.writes, api.crash_at, api.carried_out = 0, crash_at, carried_out
            try:
                await live(api, swarm)
            except Crash:
                continue
        api.crash_at = 0
        await live(api, swarm)
        assert api.state() == undisturbed.state()
        if parts["versions"] > parts["deleted"]:
            # Only a user may take the newest one.
            assert status(api, CHECKPOINT, f"redis.1-v{parts['versions']}")["phase"] == "Stored"

    asyncio.run(rehearse())


async def test_another_node_is_asked_to_keep_a_workload_ready_and_its_word_is_passed_on() -> None:
    api, swarm = scene(keep_last=9)
    api.put(POLICY, policy_object(retention={"keepLast": 9}, restore={"warmStandby": 1}))
    life = await live(api, swarm)
    assert status(api, WORKLOAD, "redis.1")["standby"] == {"node": "n2"}
    assert condition(api, "Standby") == "Filling"
    node = api.objects["nodes", Ref("", "n2")]
    ready = {**node, "status": {**node["status"], "standbys": [{"workload": "default/redis.1", "version": 4}]}}
    api.put(NODE, ready)
    life.cache.apply(NODE, api.objects["nodes", Ref("", "n2")])
    await life.settle()
    assert condition(api, "Standby") == "Ready"
    api.put(POLICY, policy_object(retention={"keepLast": 9}))
    await live(api, swarm)
    assert "standby" not in status(api, WORKLOAD, "redis.1")
    assert condition(api, "Standby") == "NotWanted"


async def test_a_standby_is_a_node_that_the_service_may_run_on() -> None:
    api, swarm = scene(keep_last=9, constraints=("node.hostname!=n2",))
    api.put(POLICY, policy_object(retention={"keepLast": 9}, restore={"warmStandby": 1}))
    await live(api, swarm)
    assert "standby" not in status(api, WORKLOAD, "redis.1")
    assert condition(api, "Standby") == "NoNode"


async def test_a_lost_nodes_versions_that_a_location_lacks_go_to_who_runs_the_workload_now() -> None:
    api, swarm = scene(keep_last=9, claim="n1")
    for number in range(1, 5):
        obj = api.objects["checkpoints", Ref("default", f"redis.1-v{number}")]
        copies = [{"name": "main", "state": "Stored"}, {"name": "far", "state": "Stored" if number < 4 else "Pending"}]
        phase = "Replicated" if number < 4 else "Stored"
        api.put(CHECKPOINT, {**obj, "status": {**obj["status"], "phase": phase, "locations": copies}})
    node = api.objects["nodes", Ref("", "n2")]
    lost = {**READY, "status": "False", "reason": "NodeLost"}
    api.put(NODE, {**node, "status": {**node["status"], "conditions": [lost]}})
    del api.objects["leases", Ref("swarmkeep-nodes", "n2")]
    await live(api, swarm)
    given = api.objects["checkpoints", Ref("default", "redis.1-v4")]
    assert (given["status"]["node"], given["status"]["phase"]) == ("n1", "Stored")
    assert given["metadata"]["labels"]["swarmkeep.dev/node"] == "n1"
    assert status(api, CHECKPOINT, "redis.1-v3")["node"] == "n2"


def condition(api: FakeApi, type_: str) -> str:
    conditions = status(api, WORKLOAD, "redis.1")["conditions"]
    return next((str(item["reason"]) for item in conditions if item["type"] == type_), "")


async def test_a_plain_container_that_a_node_reports_becomes_a_workload_and_ends_as_one() -> None:
    api, swarm = scene()
    api.put(POLICY, policy_object("web", selector={"container": "web"}))
    node = api.objects[NODE.plural, Ref("", "n1")]
    report = {"name": "web", "id": "c1", "running": True, "policies": ["default/web"]}
    api.put(NODE, {**node, "status": {**node["status"], "containers": [report]}})
    life = Life(api, NOW)
    await life.know(swarm)
    await life.settle()
    made = api.objects[WORKLOAD.plural, Ref("default", "web")]
    assert made["spec"] == {"policy": "web", "type": "Container", "container": {"name": "web"}}
    assert made["metadata"]["labels"] == {"swarmkeep.dev/policy": "web", "swarmkeep.dev/container": "web"}
    assert made["status"]["phase"] == "Pending"
    api.put(NODE, {**node, "status": {**node["status"], "containers": []}})
    life = Life(api, NOW)
    await life.know(swarm)
    await life.settle()
    gone = api.objects[WORKLOAD.plural, Ref("default", "web")]["status"]
    assert gone["phase"] == "Stopped"
    assert [item["reason"] for item in gone["conditions"] if item["type"] == "Protected"] == ["ContainerGone"]
