"""Fencing is in time whatever hangs, and holds over the agent's death."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmkeep.agent import fencer
from swarmkeep.agent.fencer import Fencer
from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import HostError, Unavailable
from swarmkeep.model.ident import Ref
from swarmkeep.model.workload import Claim, Phase
from swarmkeep.obs import agent_metrics as metrics

from .room import FENCE_AFTER, IN_THE_ROOM, REDIS, Life, ShimIn, room

pytestmark = IN_THE_ROOM

SLOW = Ref("default", "slow.1")


class Node:
    """Two workloads: the claim of `slow.1` is read only when `answer` says what it is."""

    def __init__(self, folder: Path) -> None:
        self.age = timedelta(0)
        self.answer: asyncio.Future[Claim] = asyncio.get_running_loop().create_future()
        self.frozen: set[str] = set()
        self.held: dict[str, int] = {}
        """By which process each is held."""
        self.starting = ""
        """What Docker is still starting, of which it tells nothing."""
        self.members: dict[str, int] = {}
        self.unfreezable = ""
        self.killed: list[str] = []
        self.tracked = TrackedContainers(Journal(folder))
        self.freezes = Freezes(self)
        for ref in (REDIS, SLOW):
            now = datetime.now(UTC)
            self.tracked.save(Tracked(ref, "redis", ref.name, "task", "hash", "boot", now, epoch=4))
        desired = SimpleNamespace(policy=lambda _: None)
        story = SimpleNamespace(fenced=_said, unfenced=_said, copy_killed=_said)
        parts: list[Any] = [self, self, self, self.freezes, desired, self.tracked, story]
        self.fencer = Fencer("n2", FENCE_AFTER, *parts)

    async def read(self, ref: Ref) -> Any:
        return SimpleNamespace(claim=await asyncio.shield(self.answer) if ref == SLOW else Claim("n2", 4))

    async def cached(self, container_id: str) -> Any:
        if container_id == self.starting:
            raise Unavailable("Docker does not answer")
        return SimpleNamespace(id=container_id, pid=1, running=True)

    def known(self, container_id: str) -> Any:
        return None if container_id == self.starting else SimpleNamespace(id=container_id, pid=1, running=True)

    async def member(self, container_id: str) -> int:
        return self.members.get(container_id, 0)

    async def end_unborn(self, container_id: str) -> None:
        self.killed.append(container_id)
        self.members.pop(container_id, None)

    async def kill_now(self, facts: Any) -> None:
        self.frozen.discard(facts.id)

    async def freeze(self, container_id: str, pid: int, *, keep: bool, beforehand: object = None) -> None:
        if container_id == self.unfreezable:
            raise HostError("a thread does not stand still")
        self.frozen.add(container_id)
        self.held[container_id] = pid

    async def thaw(self, container_id: str, pid: int) -> None:
        self.frozen.discard(container_id)


def _said(*_: object) -> None:
    pass


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    await node.freezes.hold(SLOW.name, 1, Why.FENCED)
    running = asyncio.create_task(node.fencer.run())
    yield node
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_claim_that_is_read_slowly_keeps_no_other_workload_from_being_frozen(node: Node) -> None:
    await asyncio.sleep(0.1)
    assert node.frozen == {SLOW.name}
    node.age = timedelta(seconds=3)
    await asyncio.sleep(0.1)
    assert node.frozen == {SLOW.name, REDIS.name}
    assert metrics.FENCED._value.get() == 2


async def test_an_answer_that_comes_after_the_lease_has_run_out_lets_nothing_go(node: Node) -> None:
    late = node.answer
    node.age = FENCE_AFTER - timedelta(seconds=0.1)
    await asyncio.sleep(0.05)
    node.age = FENCE_AFTER
    await asyncio.sleep(0.15)
    node.answer = asyncio.get_running_loop().create_future()
    node.age = timedelta(0)
    late.set_result(Claim("n2", 4))
    await asyncio.sleep(0.1)
    assert node.frozen == {SLOW.name}, "it goes on only after its claim was read under the new lease"
    node.answer.set_result(Claim("n2", 4))
    await asyncio.sleep(0.1)
    assert not node.frozen


async def test_what_was_read_of_a_claim_says_nothing_of_the_copy_that_comes_later(node: Node) -> None:
    old = node.tracked.get(REDIS)
    assert old is not None
    node.tracked.drop(old)
    node.fencer.saw(old, Claim("n3", 5))
    new = Tracked(REDIS, "redis", "new", "task", "hash", "boot", datetime.now(UTC), epoch=6)
    node.tracked.save(new)
    await asyncio.sleep(0.1)
    assert node.tracked.get(REDIS) is new


async def test_what_docker_is_still_starting_is_frozen_by_its_cgroup(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fencer, "NO_PROCESS_S", 0.01)
    node.starting = REDIS.name
    node.age = timedelta(seconds=3)
    await asyncio.sleep(0.15)
    tracked = node.tracked.get(REDIS)
    assert tracked is not None
    assert (tracked.phase, REDIS.name in node.frozen) == (Phase.RUNNING, False), "it has no process yet"
    node.members[REDIS.name] = 7
    await asyncio.sleep(0.3)
    assert tracked.phase is Phase.FENCED
    assert node.held[REDIS.name] == 7
    assert not node.killed


async def test_what_docker_is_still_starting_and_cannot_be_frozen_is_ended(node: Node) -> None:
    node.starting = node.unfreezable = REDIS.name
    node.members[REDIS.name] = 7
    node.age = timedelta(seconds=3)
    await asyncio.sleep(0.3)
    assert node.killed == [REDIS.name]
    assert REDIS.name not in node.frozen


@pytest.mark.parametrize("steps", range(1, 9))
async def test_a_copy_stays_frozen_when_the_agent_dies_while_it_is_cut_off(
    tmp_path: Path, shim_in: ShimIn, steps: int
) -> None:
    machine = room(tmp_path, shim_in, 1, claim="n1")
    container = machine.container("c1")
    async with machine.life() as life:
        assert await machine.start(container) == ""
        await life.until("quiet", lambda: life.observer._is_shown(life.record()))
        life.client.cut = True
        life.fate.die_in(steps)
        machine.lease_age = timedelta(seconds=10)
        await until_dead_or(life, lambda: container.frozen and life.record().phase is Phase.FENCED)
    stood_still = container.frozen
    successor = machine.life()
    successor.client.cut = True
    async with successor as life:
        assert container.frozen == stood_still, "the next agent let it go before it knew"
        await life.until("the freeze", lambda: container.frozen)
        life.client.cut = False
        life.fate.die_in(steps)
        machine.lease_age = timedelta(0)
        await until_dead_or(life, lambda: not container.frozen and life.record().phase is Phase.RUNNING)
    async with machine.life() as life:
        await life.until("the thaw", lambda: not container.frozen and life.record().phase is Phase.RUNNING)
        assert life.scheduler.can_take(life.record())


async def until_dead_or(life: Life, done: Any) -> None:
    async with asyncio.timeout(10):
        while True:
            if life.fate.dead.is_set() or done():
                return
            await asyncio.sleep(0.005)
