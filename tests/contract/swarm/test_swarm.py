"""What every Swarm of ours must do: its twin here, the real one on the lab (tests/e2e/test_swarm_contract.py)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from swarmkeep.errors import Conflict, NotFound
from swarmkeep.model.swarm import Mode, Service
from swarmkeep.swarm.port import Swarm
from swarmkeep.swarm.simulated import SimulatedSwarm

PATIENCE_S = 30.0
NAME = "contract"


@dataclass
class Hands:
    """A Swarm and the means to change it."""

    swarm: Swarm
    create: Callable[[int], None]
    scale: Callable[[int], None]
    force: Callable[[], None]
    remove: Callable[[], None]


@pytest.fixture
def hands() -> Hands:
    """The twin; tests/e2e puts a real Swarm in its place."""
    twin = SimulatedSwarm("n1", "n2")

    def create(replicas: int) -> None:
        twin.create(NAME, replicas=replicas, labels={"a": "b"})

    return Hands(
        twin,
        create,
        lambda replicas: twin.scale(NAME, replicas),
        lambda: twin.force(NAME),
        lambda: twin.remove(NAME),
    )


async def until(check: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = await check()
        if found:
            return found
        assert time.monotonic() < deadline, "the Swarm does not come to it"
        await asyncio.sleep(0.2)


async def service(swarm: Swarm) -> Service | None:
    return next((one for one in await swarm.services() if one.name == NAME), None)


async def slots(swarm: Swarm, service_id: str) -> list[int]:
    return sorted((task.slot or 0) for task in await swarm.tasks([service_id]) if task.wanted)


async def test_the_life_of_a_service(hands: Hands) -> None:
    swarm = hands.swarm
    assert await service(swarm) is None
    hands.create(2)
    made = await until(lambda: service(swarm))
    assert (made.mode, made.replicas, made.labels.get("a")) == (Mode.REPLICATED, 2, "b")
    assert made.created_at is not None

    async def running() -> bool:
        tasks = [task for task in await swarm.tasks([made.id]) if task.wanted]
        return [task.state for task in tasks] == ["running"] * 2

    await until(running)
    assert await slots(swarm, made.id) == [1, 2]
    nodes = {node.id for node in await swarm.nodes()}
    before = {task.id for task in await swarm.tasks([made.id])}
    assert all(task.node_id in nodes and task.state_since for task in await swarm.tasks([made.id]))

    hands.force()

    async def replaced() -> bool:
        wanted = {task.id for task in await swarm.tasks([made.id]) if task.wanted}
        return len(wanted) == 2 and not wanted & before

    await until(replaced)
    forced = await service(swarm)
    assert forced is not None
    assert forced.force_update == made.force_update + 1
    assert await slots(swarm, made.id) == [1, 2]

    hands.scale(1)

    async def one_left() -> bool:
        return len(await slots(swarm, made.id)) == 1

    await until(one_left)
    hands.remove()

    async def gone() -> bool:
        return await service(swarm) is None and await slots(swarm, made.id) == []

    await until(gone)


async def test_constraints_move_a_task_and_go_without_a_trace(hands: Hands) -> None:
    swarm = hands.swarm
    hands.create(1)
    made = await until(lambda: service(swarm))

    async def runs() -> Any:
        wanted = [task for task in await swarm.tasks([made.id]) if task.wanted and task.state == "running"]
        return wanted[0] if len(wanted) == 1 else None

    first = await until(runs)
    away = f"node.id!={first.node_id}"
    now = await service(swarm)
    assert now is not None
    with pytest.raises(Conflict):
        await swarm.constrain(made.id, [away], now.version - 1)
    await swarm.constrain(made.id, [away], now.version)
    placed = await service(swarm)
    assert placed is not None
    assert (placed.constraints, placed.version > now.version) == ((*made.constraints, away), True)
    with pytest.raises(Conflict):
        await swarm.constrain(made.id, [away], now.version)

    async def moved() -> Any:
        task = await runs()
        return task if task is not None and task.id != first.id else None

    second = await until(moved)
    assert second.node_id != first.node_id
    await swarm.release(made.id, [away], now.version)
    freed = await service(swarm)
    assert freed is not None
    assert freed.constraints == made.constraints
    await swarm.release(made.id, [away], now.version)
    unwritten = await service(swarm)
    assert unwritten is not None
    assert unwritten.version == freed.version, "what is gone is not taken away again"
    await swarm.release(made.id, [away], freed.version)
    with pytest.raises(Conflict):
        await swarm.constrain(made.id, [away], freed.version)
    assert (await runs()).id == second.id, "nothing is restarted by any of that"
    hands.remove()
    with pytest.raises(NotFound):
        await swarm.constrain("no-such-service", [away], 1)
    await swarm.release("no-such-service", [away], 1)


async def test_nodes(hands: Hands) -> None:
    nodes = await hands.swarm.nodes()
    assert nodes
    assert all(node.id and node.hostname and node.address for node in nodes)
    assert any(node.ready and node.availability == "active" for node in nodes)


async def test_tasks_of_nothing_are_none(hands: Hands) -> None:
    assert await hands.swarm.tasks([]) == ()
    assert await hands.swarm.tasks(["no-such-service"]) == ()


async def test_changes_are_told_soon(hands: Hands) -> None:
    async with aclosing(hands.swarm.changes()) as changes:
        async with asyncio.timeout(PATIENCE_S):
            await anext(changes)
        hands.create(1)
        async with asyncio.timeout(5):
            await anext(changes)
    with contextlib.suppress(Exception):
        hands.remove()
