"""Starts plain containers again that the shim could not let up when Docker wanted them to run.

At boot Docker starts what has a restart policy, whether the agent and the API are there yet or not, and tries once. A
start that SwarmKeep refused is SwarmKeep's to repeat. A task's is the Swarm's.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import structlog

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.placements import START_LIMIT_S
from swarmkeep.agent.runtime.containers import ContainerFacts, Containers
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.errors import NotFound, SwarmKeepError
from swarmkeep.plan.backoff import backoff
from swarmkeep.plan.protection import is_plain

log = structlog.get_logger(__name__)

LOOK_S = 3.0
FIRST_PAUSE = timedelta(seconds=2)
OURS = "swarmkeep"
"""How every refusal of the shim begins, in the error that Docker keeps of a container."""


def is_owed_a_start(facts: ContainerFacts) -> bool:
    """Whether Docker would have it running, if SwarmKeep's runtime had let it."""
    return facts.restart_policy in ("always", "unless-stopped") and not facts.running and OURS in facts.start_error


class Revivals:
    """Of one node."""

    def __init__(self, containers: Containers, desired: Desired, tracked: TrackedContainers) -> None:
        self._containers = containers
        self._desired = desired
        self._tracked = tracked
        self._tries: dict[str, tuple[int, float]] = {}
        """How often each container was started in vain, and when it is next."""
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Looks for ever. Each start is on its own: one that waits for the right to run keeps no other waiting."""
        await self._desired.known.wait()
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    await self._look(group)
                except SwarmKeepError as error:
                    log.warning("cannot look for containers to start", error=str(error))
                await asyncio.sleep(LOOK_S)

    async def _look(self, group: asyncio.TaskGroup) -> None:
        if not any(policy.selector.is_for_containers for policy in self._desired.policies.values()):
            return
        for item in await self._containers.list_all():
            if item.running or not is_plain(item.labels) or self._is_coming_up(item.id):
                # Docker does not answer about what it is just starting.
                continue
            try:
                facts = await self._containers.inspect(item.id)
            except NotFound:
                continue
            if self._desired.protection(facts) is not None and is_owed_a_start(facts):
                self._begin(facts, group)

    def _is_coming_up(self, container_id: str) -> bool:
        return container_id in self._under_way or container_id in self._tracked.coming_up.values()

    def _begin(self, facts: ContainerFacts, group: asyncio.TaskGroup) -> None:
        task = group.create_task(self._start(facts))
        self._under_way[facts.id] = task
        task.add_done_callback(lambda _: self._under_way.pop(facts.id, None))

    async def _start(self, facts: ContainerFacts) -> None:
        count, due = self._tries.get(facts.id, (0, 0.0))
        if time.monotonic() < due:
            return
        self._tries[facts.id] = (count + 1, time.monotonic() + backoff(count + 1, FIRST_PAUSE).total_seconds())
        log.info("starts a container again that was refused before", container=facts.name, why=facts.start_error[:300])
        try:
            await self._containers.start(facts.id, START_LIMIT_S)
        except SwarmKeepError as error:
            log.warning("a container was refused again", container=facts.name, error=str(error))
        else:
            self._tries.pop(facts.id, None)
