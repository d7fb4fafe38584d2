"""Containers whose start SwarmKeep's runtime refused, and that Docker would have running."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest

from swarmkeep.agent import revivals
from swarmkeep.agent.revivals import Revivals, is_owed_a_start
from swarmkeep.agent.runtime.containers import ListedContainer
from swarmkeep.agent.runtime.facts import ContainerFacts, read_facts
from swarmkeep.errors import HostError
from swarmkeep.model.policy import Policy
from swarmkeep.plan.protection import SERVICE_NAME, find_protection

from ..objects import policy
from .runtime.test_creation import inspection

REFUSED = "failed to create task: swarmkeep: default/web may not start: waited 60 s for the API"


def facts(*, restart: str = "always", error: str = REFUSED, running: bool = False) -> ContainerFacts:
    raw = {**inspection("bridge"), "Id": "c1", "Created": "2026-01-01T00:00:00Z"}
    raw["HostConfig"] = {"RestartPolicy": {"Name": restart}}
    return read_facts({**raw, "State": {"Running": running, "Pid": 0, "ExitCode": 128, "Error": error}})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (facts(), True),
        (facts(restart="unless-stopped"), True),
        # Whoever started these by hand was told.
        (facts(restart="no"), False),
        (facts(restart="on-failure"), False),
        (facts(running=True), False),
        # Stopped by somebody, or refused by somebody else.
        (facts(error=""), False),
        (facts(error="failed to create task: port is already allocated"), False),
    ],
)
def test_only_what_we_refused_and_docker_wants_is_owed_a_start(given: ContainerFacts, expected: bool) -> None:
    assert is_owed_a_start(given) is expected


class Node:
    """Docker and what is tracked."""

    def __init__(self, **labels: str) -> None:
        self.labels = labels
        self.found = facts()
        self.ids = ["c1"]
        self.begun: list[str] = []
        self.last_begun = asyncio.Event()
        self.gates: dict[str, asyncio.Event] = {}
        """Starts that take until then."""
        self.started = 0
        self.coming_up: dict[str, str] = {}
        self.known = asyncio.Event()
        self.known.set()
        self.policies = {policy().ref: policy(selector={"container": "web"})}

    def protection(self, found: ContainerFacts) -> Any:
        return find_protection(found.name, found.labels, self.policies.values())

    async def list_all(self) -> list[ListedContainer]:
        return [ListedContainer(name, "web", self.labels, False) for name in self.ids]

    async def inspect(self, container_id: str) -> ContainerFacts:
        assert container_id not in self.begun or container_id not in self.gates, "Docker would not answer"
        return replace(self.found, id=container_id)

    async def start(self, container_id: str, _: float) -> None:
        self.begun.append(container_id)
        if container_id == self.ids[-1]:
            self.last_begun.set()
        if container_id in self.gates:
            await self.gates[container_id].wait()
        self.started += 1
        raise HostError("refused again")

    async def looked(self, times: int) -> int:
        me = cast(Any, self)
        looking = Revivals(me, me, me)
        for _ in range(times):
            async with asyncio.TaskGroup() as group:
                await looking._look(group)
        return self.started


async def test_it_is_started_again_ever_more_rarely() -> None:
    assert await Node().looked(5) == 1


async def test_a_container_that_waits_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revivals, "LOOK_S", 0.01)
    node = Node()
    node.ids = ["c1", "c2"]
    node.gates["c1"] = asyncio.Event()
    me = cast(Any, node)
    running = asyncio.create_task(Revivals(me, me, me).run())
    try:
        async with asyncio.timeout(5):
            await node.last_begun.wait()
        await asyncio.sleep(0.1)
        assert node.begun == ["c1", "c2"], "what waits is not begun a second time"
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert running.cancelled()


async def test_what_is_coming_up_is_left_alone() -> None:
    node = Node()
    node.coming_up["web"] = "c1"
    assert await node.looked(1) == 0


@pytest.mark.parametrize("selector", [{"container": "other"}, {"service": "web"}])
async def test_what_no_policy_selects_is_left_alone(selector: dict[str, str]) -> None:
    node = Node()
    only: Policy = policy(selector=selector)
    node.policies = {only.ref: only}
    assert await node.looked(1) == 0


async def test_a_task_is_left_to_the_swarm() -> None:
    assert await Node(**{SERVICE_NAME: "web"}).looked(1) == 0
