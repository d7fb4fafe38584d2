"""What the operator does with a plain container whose node is lost, and that any crash in between does no harm."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmkeep.controllers.queue import Key
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT, LEASE, LOCATION, NODE, POLICY, WORKLOAD
from swarmkeep.swarm.simulated import SimulatedSwarm

from ..objects import NOW, policy_object, stamp
from .fake_api import Crash, FakeApi
from .rehearsal import Life

WEB = Ref("default", "web")
GIB = 1 << 30


def node(swarm: SimulatedSwarm, name: str, **changed: Any) -> dict[str, Any]:
    """A node that could run anything, but for what is changed."""
    status: dict[str, Any] = {
        "swarmNodeID": swarm.node(name).id,
        "versions": {"docker": "28.5.2", "runc": "1.3.6", "criu": "4.2.1", "kernel": "6.12.1"},
        "features": {"lazyPages": True, "cgroupVersion": 2, "createsContainers": True},
        "runtime": {"path": "/opt/swarmkeep/bin/swarmkeep-runtime"},
        "storageDriver": "overlay2",
        "criuCheck": {"passed": True},
        "images": [{"name": "web@sha256:aa", "id": "sha256:1"}],
        "locations": [{"name": "main", "reachable": True, "id": "abc"}],
        "conditions": [{"type": "Ready", "status": "True", "reason": "AgentAlive", "lastTransitionTime": stamp(9)}],
    }
    return {"metadata": {"name": name, "generation": 1}, "status": {**status, **changed}}


def lost(swarm: SimulatedSwarm, name: str) -> dict[str, Any]:
    gone = {"type": "Ready", "status": "Unknown", "reason": "AgentSilent", "lastTransitionTime": stamp(9)}
    report = {"name": "web", "id": "c1", "running": True, "policies": ["default/web"]}
    return node(swarm, name, conditions=[gone], containers=[report])


def scene(**changed: dict[str, Any]) -> tuple[FakeApi, SimulatedSwarm]:
    """web ran on n1, which is lost. `changed` are the statuses of the other nodes, n2 and n3."""
    swarm, api = SimulatedSwarm("n1", "n2", "n3"), FakeApi()
    api.put(POLICY, policy_object("web", selector={"container": "web"}))
    api.put(LOCATION, {"metadata": {"name": "main", "generation": 1}, "spec": {"filesystem": {"path": "/x"}}})
    for name in ("n1", "n2", "n3"):
        # One that is not seen to be renewed says nothing new of its node.
        lease = {"metadata": {"name": name, "namespace": "swarmkeep-nodes"}, "spec": {"leaseDurationSeconds": 15}}
        api.put(LEASE, lease)
    api.put(NODE, lost(swarm, "n1"))
    for name in ("n2", "n3"):
        api.put(NODE, node(swarm, name, **changed.get(name, {})))
    traits = {"image": "web:1", "imageID": "sha256:1", "name": "web", "ports": ["80/tcp"]}
    status = {
        "phase": "Running",
        "claim": {"node": "n1", "epoch": 2},
        "container": {"id": "c1", "traits": traits},
        "newestVersion": {"number": 1, "takenAt": stamp(3), "specHash": "hash"},
    }
    metadata = {"name": "web", "namespace": "default", "generation": 1, "uid": "u1"}
    spec = {"policy": "web", "type": "Container", "container": {"name": "web"}}
    api.put(WORKLOAD, {"metadata": metadata, "spec": spec, "status": status})
    taken = {"phase": "Stored", "version": 1, "node": "n1", "location": "main", "takenAt": stamp(3)}
    version = {"name": "web-v1", "namespace": "default", "finalizers": ["swarmkeep.dev/data"]}
    api.put(CHECKPOINT, {"metadata": version, "spec": {"workload": "web", "reason": "Schedule"}, "status": taken})
    return api, swarm


async def live(api: FakeApi, swarm: SimulatedSwarm) -> Life:
    life = Life(api, NOW)
    await life.know(swarm)
    await life.settle()
    return life


def web(api: FakeApi) -> dict[str, Any]:
    status: dict[str, Any] = api.objects[WORKLOAD.plural, WEB]["status"]
    return status


def placed(api: FakeApi) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in web(api)["conditions"] if item["type"] == "Placed")
    return found


async def test_it_is_given_to_the_node_that_can_and_stays_there() -> None:
    api, swarm = scene(n2={"taken": {"ports": ["80/tcp"]}})
    life = await live(api, swarm)
    assert web(api)["phase"] == "Lost"
    assert (web(api)["placement"]["node"], web(api)["placement"]["epoch"]) == ("n3", 2)
    assert placed(api)["status"] == "True"
    assert life.recorder.reasons == ["NodeLost", "Placed"]
    api.put(NODE, node(swarm, "n2"))
    before = api.writes
    again = await live(api, swarm)
    assert web(api)["placement"]["node"] == "n3"
    assert (again.recorder.reasons, api.objects[WORKLOAD.plural, WEB]["status"]["phase"]) == ([], "Lost")
    assert api.writes - before <= 1, "only what the Swarm says of the node is written again"


async def test_a_node_that_reports_that_it_cannot_loses_it_to_the_next() -> None:
    api, swarm = scene()
    await live(api, swarm)
    first = web(api)["placement"]["node"]
    report = {"workload": "default/web", "epoch": 2, "message": "no such device"}
    api.put(NODE, node(swarm, first, placements=[report]))
    await live(api, swarm)
    second = web(api)["placement"]["node"]
    assert {first, second} == {"n2", "n3"}
    api.put(NODE, node(swarm, second, placements=[report]))
    life = await live(api, swarm)
    assert web(api)["placement"]["node"] == second
    assert (placed(api)["reason"], life.recorder.reasons) == ("NoNode", ["NoNode"])
    assert "could not: no such device" in placed(api)["message"]


async def test_nodes_that_took_the_claim_for_their_tries_in_vain_try_again_when_their_reports_end() -> None:
    api, swarm = scene()
    await live(api, swarm)
    first = web(api)["placement"]["node"]
    (second,) = {"n2", "n3"} - {first}
    for epoch, name in ((3, first), (4, second)):
        assert web(api)["placement"]["node"] == name
        # It took the claim, its start was refused, and the claim went back.
        web(api).update(claim={"node": "", "epoch": epoch}, phase="Stopped")
        report = {"workload": "default/web", "epoch": epoch, "message": "no such device"}
        api.put(NODE, node(swarm, name, placements=[report]))
        await live(api, swarm)
    assert (web(api)["placement"]["node"], web(api)["placement"]["epoch"]) == (second, 4)
    assert (placed(api)["status"], placed(api)["reason"]) == ("False", "NoNode")
    api.put(NODE, node(swarm, second))
    await live(api, swarm)
    assert (web(api)["placement"]["node"], web(api)["placement"]["epoch"]) == (second, 4)
    assert (placed(api)["status"], placed(api)["reason"]) == ("True", "NodeChosen")


async def test_when_no_node_can_it_is_looked_at_again_as_soon_as_one_changes() -> None:
    taken = {"taken": {"ports": ["80/tcp"]}}
    api, swarm = scene(n2=taken, n3=taken)
    life = await live(api, swarm)
    assert "placement" not in web(api)
    assert (placed(api)["status"], placed(api)["reason"]) == ("False", "NoNode")
    assert "n3: the node's port 80/tcp is taken" in placed(api)["message"]
    wished: list[tuple[Key, float]] = []
    life.queue.add = lambda key, after_s=0.0: wished.append((key, after_s))  # type: ignore[method-assign]
    api.put(NODE, node(swarm, "n3"))
    life.cache.apply(NODE, await api.get(NODE, "n3"))
    assert Key(WORKLOAD.name, WEB) in [key for key, _ in wished]
    await life.settle()
    assert web(api)["placement"]["node"] == "n3"


async def test_a_node_that_comes_back_in_time_keeps_it() -> None:
    api, swarm = scene()
    await live(api, swarm)
    assert "placement" in web(api)
    report = {"name": "web", "id": "c1", "running": True, "policies": ["default/web"]}
    api.put(NODE, node(swarm, "n1", containers=[report]))
    await live(api, swarm)
    assert "placement" not in web(api)
    assert placed(api)["reason"] == "NodeLives"


@pytest.mark.parametrize("version_state", [{"phase": "Failed"}, {"phase": "Deleting"}])
async def test_without_a_version_there_is_nothing_to_go_on_with(version_state: dict[str, Any]) -> None:
    api, swarm = scene()
    version = api.objects[CHECKPOINT.plural, Ref("default", "web-v1")]
    api.put(CHECKPOINT, {**version, "status": {**version["status"], **version_state}})
    await live(api, swarm)
    assert "placement" not in web(api)
    assert "there is no good version" in placed(api)["message"]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 8), st.booleans()), min_size=1, max_size=4))
def test_whenever_it_dies_its_successor_gives_it_to_the_same_node(deaths: list[tuple[int, bool]]) -> None:
    async def rehearse() -> None:
        undisturbed, swarm = scene()
        await live(undisturbed, swarm)
        api, _ = scene()
        given_to = set()
        for crash_at, carried_out in deaths:
            api.writes, api.crash_at, api.carried_out = 0, crash_at, carried_out
            try:
                await live(api, swarm)
            except Crash:
                given_to |= {web(api).get("placement", {}).get("node")} - {None}
        api.crash_at = 0
        await live(api, swarm)
        assert api.state() == undisturbed.state()
        assert given_to <= {web(api)["placement"]["node"]}

    asyncio.run(rehearse())
