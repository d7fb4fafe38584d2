"""A plain container comes up: for the first time, again after its end, or as a copy of what goes on elsewhere."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent import stale_copies
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

from ..objects import stamp
from .host import Container
from .room import IN_THE_ROOM, Life, Machine, ShimIn, room

pytestmark = IN_THE_ROOM

WEB = Ref("default", "web")


def web_room(folder: Path, shim_in: ShimIn, *versions: int, claim: str, **status: Any) -> Machine:
    """Node n2 with a policy for the plain container `web`."""
    machine = room(folder, shim_in, claim="")
    machine.policy["spec"]["selector"] = {"container": "web"}
    machine.publish()
    epoch = 3 if versions else 0
    machine.api.put(
        WORKLOAD,
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "web"},
            "spec": {"policy": "redis", "type": "Container", "container": {"name": "web"}},
            "status": {"phase": "Running", "claim": {"node": claim, "epoch": epoch}, **status},
        },
    )
    repository = Repository.open(LocalBlobStore(machine.location), create=False)
    spec_hash = container_spec_hash(Container(folder / "web", "example", "web").facts, 0)
    for number in versions:
        source = folder / f"web-v{number}"
        for name in ("image", "layer"):
            (source / name).mkdir(parents=True)
        (source / "image" / "pages").write_text(f"v{number}")
        repository.put(str(WEB), number, source, {"takenAt": stamp(60), "specHash": spec_hash, "serviceID": ""})
    return machine


async def up(life: Life, machine: Machine, container: Container) -> None:
    assert await machine.start(container) == ""
    await life.until("the report", lambda: machine.api.status(WEB).get("container", {}).get("id") == container.facts.id)


def ends(machine: Machine, container: Container, exit_code: int) -> None:
    """Its process ends; Docker writes that down."""
    container.end(exit_code)
    machine.write_down(container)


async def test_a_container_that_crashed_and_is_started_again_at_once_goes_on_from_its_newest_version(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = web_room(tmp_path, shim_in, 1, claim="n2", lastEnd={"how": "Stopped", "at": stamp(900)})
    container = machine.container("c1", "web")
    async with machine.life() as life:
        await up(life, machine, container)
        # Docker's restart policy is faster than any look of the agent.
        ends(machine, container, 139)
        await up(life, machine, container)
        await life.until("the start", lambda: machine.api.status(WEB)["lastStart"]["reason"] == "Crash")
        assert machine.api.status(WEB)["lastEnd"]["exitCode"] == 139
    assert container.came_up == ["restored v1", "restored v1"]


async def test_a_container_that_ended_by_itself_and_is_started_again_starts_fresh(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = web_room(tmp_path, shim_in, 1, claim="n2", lastEnd={"how": "Stopped", "at": stamp(900)})
    container = machine.container("c1", "web")
    async with machine.life() as life:
        await up(life, machine, container)
        ends(machine, container, 0)
        await up(life, machine, container)
        await life.until("the start", lambda: machine.api.status(WEB)["lastStart"]["reason"] == "Completed")
    assert container.came_up == ["restored v1", "fresh"]


async def test_the_end_of_an_earlier_run_is_not_taken_for_the_end_of_this_one(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = web_room(tmp_path, shim_in, 1, claim="n2", lastEnd={"how": "Stopped", "at": stamp(900)})
    container = machine.container("c1", "web")
    async with machine.life() as life:
        await up(life, machine, container)
        ends(machine, container, 139)
        begin = container.begin
        container.begin = lambda how: None  # type: ignore[method-assign]
        # The runtime has restored it, and Docker has not said yet that it runs.
        assert await machine.start(container) == ""
        await asyncio.sleep(0.3)
        tracked = life.tracked.get(WEB)
        assert tracked is not None
        assert tracked.end is None
        begin("restored v1")
        machine.changed.set()
        await life.until("the report", lambda: machine.api.status(WEB)["phase"] == "Running")


async def test_what_docker_may_still_fail_to_start_has_no_end_and_tells_of_no_start(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = web_room(tmp_path, shim_in, 1, claim="n2", lastEnd={"how": "Stopped", "at": stamp(900)})
    container = machine.container("c1", "web")
    async with machine.life() as life:
        life.tracked.starting = {"c1"}
        assert await machine.start(container) == ""
        # Docker could not attach it to its network, and it was removed.
        del machine.containers["c1"]
        life.observer.wake()
        await asyncio.sleep(0.3)
        tracked = life.tracked.get(WEB)
        assert tracked is not None
        assert tracked.end is None
        assert "lastStart" not in machine.api.status(WEB)
        life.tracked.starting.clear()
        life.observer.wake()
        await life.until("the end", lambda: machine.api.status(WEB)["phase"] == "Stopped")


async def test_the_copy_of_a_node_that_came_back_is_refused_at_once_and_removed(
    tmp_path: Path, shim_in: ShimIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_copies, "LOOK_S", 0.05)
    machine = web_room(tmp_path, shim_in, 1, claim="n2", lastEnd={"how": "Stopped", "at": stamp(900)})
    container = machine.container("c1", "web")
    async with machine.life() as life:
        await up(life, machine, container)
        epoch = machine.api.status(WEB)["claim"]["epoch"]
    # While nobody was here, the operator had n3 go on with it.
    obj = machine.api.objects[WORKLOAD.plural, WEB]
    moved = {"claim": {"node": "n3", "epoch": epoch + 1}, "placement": {"node": "n3", "epoch": epoch}}
    machine.api.put(WORKLOAD, {**obj, "status": {**obj["status"], **moved}})
    machine.api.alive.add("n3")
    ends(machine, container, 137)
    async with machine.life() as life:
        said = await machine.start(container)
        assert "n3 has gone on with default/web: this copy is stale" in said
        # Docker removes no container that it is starting.
        watching = asyncio.create_task(life.stale.run())
        await life.until("the copy to be removed", lambda: "c1" not in machine.containers)
        await life.until("the event", lambda: "StaleCopyRemoved" in machine.api.reasons())
        watching.cancel()
        await asyncio.wait({watching})
    assert container.came_up == ["restored v1"]


async def test_a_container_that_was_sent_elsewhere_does_not_start_here(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = web_room(tmp_path, shim_in, 1, claim="", placement={"node": "n3", "epoch": 3})
    machine.policy["spec"]["restore"]["holdLimit"] = "1s"
    async with machine.life():
        said = await machine.start(machine.container("c1", "web"))
    assert "n3 was told to go on with default/web" in said
    assert machine.api.status(WEB)["claim"] == {"node": "", "epoch": 3}


async def test_a_container_never_takes_the_workload_of_a_service(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, claim="")
    machine.policy["spec"] |= {"selector": {"container": "redis.1"}}
    machine.policy["spec"]["restore"]["holdLimit"] = "1s"
    machine.publish()
    async with machine.life():
        said = await machine.start(machine.container("c1", "redis.1"))
    assert "the workload default/redis.1 is that of service redis" in said


async def test_another_container_of_the_same_name_that_runs_already_is_left_alone(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = web_room(tmp_path, shim_in, 1, claim="n3")
    machine.api.alive.add("n3")
    container = machine.container("c1", "web")
    container.begin("fresh")
    async with machine.life() as life:
        await asyncio.sleep(0.3)
        assert life.tracked.get(WEB) is None
    assert container.running
    assert machine.api.status(WEB)["claim"]["node"] == "n3"
