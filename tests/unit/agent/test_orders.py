"""An order for the next start is obeyed once, wherever agents die; what it leaves behind does not come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from swarmkeep.agent.staged import Staged
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.store.blob_local import LocalBlobStore
from swarmkeep.store.repository import Repository

from ..objects import stamp
from .host import Container
from .room import IN_THE_ROOM, REDIS, Life, Lives, Machine, ShimIn, claim_of, room

pytestmark = IN_THE_ROOM

STOPPED = {"how": "Stopped", "at": stamp(900)}


def order(version: int | None, *, when: str = "NextStart", keep: bool = True) -> dict[str, Any]:
    return {
        "uid": "uid-of-back",
        "restore": "back",
        "version": version,
        "when": when,
        "keepCurrent": keep,
    }


def give(machine: Machine, wanted: dict[str, Any]) -> None:
    """What the operator does, however often anybody writes at the same time."""
    obj = machine.api.objects[WORKLOAD.plural, REDIS]
    machine.api.put(WORKLOAD, {**obj, "status": {**obj["status"], "order": wanted}})


async def comes_up(life: Life, machine: Machine, container: Container) -> dict[str, Any]:
    """Until the API knows how."""
    api = machine.api
    id = container.facts.id
    await life.until("the report", lambda: api.status(REDIS).get("container", {}).get("id") == id)
    await life.until("the phase", lambda: api.status(REDIS)["phase"] == "Running")
    assert len(container.came_up) == 1
    found: dict[str, Any] = api.status(REDIS)["lastStart"]
    return found


async def crash(life: Life, machine: Machine, container: Container) -> None:
    container.end(1)
    machine.changed.set()
    await life.until("the claim to be given back", lambda: claim_of(machine.api)[0] == "")


def newest(machine: Machine) -> int | None:
    found: int | None = machine.api.status(REDIS).get("newestVersion", {}).get("number")
    return found


def numbers(machine: Machine) -> list[int]:
    return list(Repository.open(LocalBlobStore(machine.location), create=False).versions(str(REDIS)))


async def at_each_step(steps: int, end_of: Callable[[int], Awaitable[tuple[Any, list[str]]]], expected: Any) -> None:
    for first in range(1, steps + 1, 8):
        batch = range(first, min(first + 8, steps + 1))
        for dies_at, (found, done) in zip(batch, await asyncio.gather(*map(end_of, batch)), strict=True):
            assert found == expected, f"died at step {dies_at}: {done}"


SCENES = {
    "to a version": (
        order(2),
        ("Rollback", "restored v2", [{"above": 2, "upTo": 3}]),
        ("Crash", "restored v2", [{"above": 2, "upTo": 3}]),
    ),
    "to nothing": (
        order(None),
        ("Forgotten", "fresh", [{"above": 0, "upTo": 3}]),
        ("Forgotten", "fresh", [{"above": 0, "upTo": 3}]),
    ),
}


@pytest.mark.parametrize(("wanted", "first", "second"), SCENES.values(), ids=SCENES)
async def test_wherever_the_agent_dies_the_order_is_obeyed_once_and_its_line_is_gone_on_with(
    tmp_path: Path,
    shim_in: ShimIn,
    wanted: dict[str, Any],
    first: tuple[Any, ...],
    second: tuple[Any, ...],
) -> None:
    def end(machine: Machine, container: Container) -> tuple[Any, ...]:
        status = machine.api.status(REDIS)
        assert "order" not in status
        return status["lastStart"]["reason"], container.came_up[0], status["leftBehind"]

    async def end_of(dies_at: int) -> tuple[Any, list[str]]:
        machine = room(tmp_path / str(dies_at), shim_in, 1, 2, 3, claim="", lastEnd=STOPPED)
        give(machine, wanted)
        ordered, after = machine.container("c1"), machine.container("c2")
        async with Lives(machine, dies_at) as lives:
            assert await machine.start(ordered) == ""
            steps = list(lives.first.fate.steps)
            life = await lives.survivor()
            start = await comes_up(life, machine, ordered)
            assert (start.get("order"), start.get("obeyed")) == ("uid-of-back", True)
            one = end(machine, ordered)
            # It dies before its first version: what was left behind does not come back.
            await crash(life, machine, ordered)
            assert await machine.start(after) == ""
            start = await comes_up(life, machine, after)
            assert start.get("order") is None
            two = end(machine, after)
            # Its first version gets a number of its own, and is what counts from then on.
            taken = await life.take_version()
            assert taken == 4
            await life.until("the version", lambda: newest(machine) == taken)
            await crash(life, machine, after)
            last = machine.container("c3")
            assert await machine.start(last) == ""
            await comes_up(life, machine, last)
            assert last.came_up == ["restored v4"]
            reasons = [item["reason"] for item in machine.api.status(REDIS)["starts"]]
            assert reasons == [one[0], two[0], "Crash"]
            return (one, two), steps

    found, steps = await end_of(0)
    assert found == (first, second)
    assert len(steps) > 12
    await at_each_step(len(steps), end_of, (first, second))


@pytest.mark.parametrize("keep", [True, False])
async def test_wherever_the_agent_dies_the_running_task_is_ended_once_and_the_next_one_obeys(
    tmp_path: Path, shim_in: ShimIn, keep: bool
) -> None:
    """With a last version that nothing loses, or without one."""

    async def end_of(dies_in: int) -> tuple[Any, list[str]]:
        machine = room(tmp_path / str(dies_in), shim_in, 1, 2, 3, claim="", lastEnd=STOPPED)
        container, following = machine.container("c1"), machine.container("c2")
        async with Lives(machine, 0) as lives:
            assert await machine.start(container) == ""
            await comes_up(lives.first, machine, container)
            begun = len(lives.first.fate.steps)
            if dies_in:
                lives.first.fate.die_in(dies_in)
            give(machine, order(2, when="Now", keep=keep))
            await container.gone(10)
            assert await machine.start(following) == ""
            steps = lives.first.fate.steps[begun:]
            life = await lives.survivor()
            start = await comes_up(life, machine, following)
            status = machine.api.status(REDIS)
            assert container.came_up == ["restored v3"]
            assert "order" not in status
            assert not life.record().ending
            end = status["lastEnd"]
            kept = [end["finalVersion"]] if keep else []
            # A number that was given out is not given out again, so a death may leave one out.
            assert numbers(machine) == [1, 2, 3, *kept]
            assert status["leftBehind"] == [{"above": 2, "upTo": max([3, *kept])}]
            return (start["reason"], following.came_up, end["how"], "finalVersion" in end), steps

    expected = ("Rollback", ["restored v2"], "Stopped", keep)
    found, steps = await end_of(0)
    assert found == expected
    assert len(steps) > 10
    await at_each_step(len(steps), end_of, expected)


async def test_a_task_whose_last_version_fails_runs_on_and_the_api_is_told_why(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, 2, claim="", lastEnd=STOPPED)
    container = machine.container("c1")
    async with machine.life() as life:
        assert await machine.start(container) == ""
        await comes_up(life, machine, container)
        machine.dump_error = "a socket that CRIU does not know"
        give(machine, order(1, when="Now"))
        await life.until("the refusal", lambda: "orderRefused" in machine.api.status(REDIS))
        refused = machine.api.status(REDIS)["orderRefused"]
        assert refused == {"uid": "uid-of-back", "message": "a socket that CRIU does not know"}
        assert container.running
        # Though the operator may be away for long.
        assert life.scheduler.can_take(life.record())
        # The operator takes the order back: all is as it was, and versions go on.
        machine.dump_error = ""
        give(machine, {})
        await life.until("the end of the ending", lambda: not life.record().ending)
        assert await life.take_version() == 4
        assert container.came_up == ["restored v2"]


class SlowStore:
    """A storage to which versions are on their way until it is let go."""

    def __init__(self, life: Life) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self._real = life.versions.store
        life.versions.store = self._store  # type: ignore[method-assign]

    async def _store(self, staged: Staged) -> None:
        self.begun.set()
        await self.go_on.wait()
        await self._real(staged)


async def begin_version(life: Life) -> SlowStore:
    """A version of what runs, until it is dumped and on its way."""
    store = SlowStore(life)
    policy = life.desired.policy(Ref("default", "redis"))
    assert policy is not None
    life.scheduler.take(life.record(), policy, Reason.SCHEDULE)
    async with asyncio.timeout(10):
        await store.begun.wait()
    return store


async def test_a_version_that_is_stored_after_a_rollback_is_left_behind_too(tmp_path: Path, shim_in: ShimIn) -> None:
    machine = room(tmp_path, shim_in, 1, 2, 3, claim="", lastEnd=STOPPED)
    first, second, third = (machine.container(id) for id in ("c1", "c2", "c3"))
    async with machine.life() as life:
        assert await machine.start(first) == ""
        await comes_up(life, machine, first)
        store = await begin_version(life)
        give(machine, order(2))
        await crash(life, machine, first)
        assert await machine.start(second) == ""
        await comes_up(life, machine, second)
        assert second.came_up == ["restored v2"]
        assert machine.api.status(REDIS)["leftBehind"] == [{"above": 2, "upTo": 4}]
        store.go_on.set()
        await life.until("the version", lambda: not life.scheduler.is_taking(REDIS))
        assert numbers(machine) == [1, 2, 3, 4]
        assert (life.record().newest or {})["number"] == 2
        # It dies before its first version.
        await crash(life, machine, second)
        assert await machine.start(third) == ""
        await comes_up(life, machine, third)
        assert third.came_up == ["restored v2"]
        assert await life.take_version() == 5


async def test_a_task_is_not_ended_without_a_last_version_while_one_is_on_its_way(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    """The next task may come up on a node that knows nothing of it."""
    machine = room(tmp_path, shim_in, 1, 2, claim="", lastEnd=STOPPED)
    container = machine.container("c1")
    async with machine.life() as life:
        assert await machine.start(container) == ""
        await comes_up(life, machine, container)
        store = await begin_version(life)
        give(machine, order(1, when="Now", keep=False))
        await life.until("the ending", lambda: life.record().ending)
        life.endings.look()
        await asyncio.sleep(0)
        assert container.running
        store.go_on.set()
        await life.until("the version", lambda: not life.scheduler.is_taking(REDIS))
        assert not life.scheduler.can_take(life.record())
        await container.gone(10)
        assert numbers(machine) == [1, 2, 3]


async def test_a_version_that_does_not_come_up_leaves_the_workload_where_it_was(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = room(tmp_path, shim_in, 1, 2, 3, claim="", attempts=2, lastEnd=STOPPED)
    machine.cannot_restore = {"v1"}
    give(machine, order(1))
    container = machine.container("c1")
    async with machine.life() as life:
        assert await machine.start(container) == ""
        start = await comes_up(life, machine, container)
    assert container.came_up == ["restored v3"]
    assert len(machine.orders) == 3
    assert (start["reason"], start["order"], start["obeyed"]) == ("RollbackFailed", "uid-of-back", False)
    assert "version 1 failed 2 times to come up" in start["message"]
    assert "order" not in machine.api.status(REDIS)
    assert "leftBehind" not in machine.api.status(REDIS)


async def test_going_back_to_a_version_that_was_left_behind_takes_the_rollback_back(
    tmp_path: Path, shim_in: ShimIn
) -> None:
    machine = room(tmp_path, shim_in, 1, 2, 3, claim="", lastEnd=STOPPED, leftBehind=[{"above": 1, "upTo": 3}])
    give(machine, order(3))
    first, second = machine.container("c1"), machine.container("c2")
    async with machine.life() as life:
        assert await machine.start(first) == ""
        await comes_up(life, machine, first)
        assert first.came_up == ["restored v3"]
        assert "leftBehind" not in machine.api.status(REDIS)
        await crash(life, machine, first)
        assert await machine.start(second) == ""
        await comes_up(life, machine, second)
    assert second.came_up == ["restored v3"]
