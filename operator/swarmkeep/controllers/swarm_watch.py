"""Keeps the operator's picture of the Swarm true, and wakes whoever a change concerns.

Docker's events tell of services and nodes but not of tasks: those are polled. Runs as one task beside the workers.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace

import structlog

from swarmkeep.controllers.cache import is_under_way
from swarmkeep.controllers.dependents import Dependents
from swarmkeep.controllers.queue import Key, KeyedQueue
from swarmkeep.controllers.world import World
from swarmkeep.errors import Unavailable
from swarmkeep.model.kinds import MIGRATION, NODE, POLICY, WORKLOAD
from swarmkeep.model.swarm import Service, Snapshot
from swarmkeep.obs import operator_metrics as metrics
from swarmkeep.plan.resolve import matches
from swarmkeep.swarm.port import Swarm

log = structlog.get_logger(__name__)

INTERVAL_S = 1.0
"""Between two looks while nothing calls for one: as soon as a task's move can be noticed."""
SHORTEST_GAP_S = 0.1
"""Between any two looks: a stack that is deployed makes hundreds of events at once."""
SHARE = 5
"""A look is followed by a rest of this many times its own length: a large Swarm is asked less often."""
BELIEVED_S = 15.0
"""How long the last picture counts while the Swarm cannot be asked."""


class SwarmWatch:
    """Looks at the Swarm over and over."""

    def __init__(self, swarm: Swarm, world: World, queue: KeyedQueue, dependents: Dependents) -> None:
        self._swarm = swarm
        self._world = world
        self._queue = queue
        self._dependents = dependents
        self._news = asyncio.Event()
        self._seen_at: float | None = None
        self.looked = asyncio.Event()
        """Set after the first look, whether it succeeded or not."""

    @property
    def away_s(self) -> float:
        """Seconds since the Swarm was last seen; 0 before the first look."""
        return 0.0 if self._seen_at is None else time.monotonic() - self._seen_at

    async def run(self) -> None:
        """Looks for ever."""
        self._seen_at = time.monotonic()
        listener = asyncio.create_task(self._listen())
        try:
            while True:
                begun = time.monotonic()
                await self.look()
                took_s = time.monotonic() - begun
                await self._rest(max(INTERVAL_S, SHARE * took_s), max(SHORTEST_GAP_S, took_s))
        finally:
            listener.cancel()

    async def look(self) -> None:
        """One look."""
        try:
            seen = await self._read()
        except Unavailable as error:
            metrics.SWARM_LOOKS.labels("failed").inc()
            self._away(str(error))
        else:
            metrics.SWARM_LOOKS.labels("seen").inc()
            self._seen(seen)
        self.looked.set()

    async def _listen(self) -> None:
        async with aclosing(self._swarm.changes()) as changes:
            async for _ in changes:
                self._news.set()

    async def _rest(self, longest_s: float, shortest_s: float) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < longest_s:
            if self._dependents.looks_wanted or self._news.is_set():
                break
            await asyncio.sleep(SHORTEST_GAP_S)
        self._dependents.looks_wanted = False
        self._news.clear()
        await asyncio.sleep(max(0.0, shortest_s - (time.monotonic() - begun)))

    async def _read(self) -> Snapshot:
        nodes, services = await asyncio.gather(self._swarm.nodes(), self._swarm.services())
        selectors = [policy.selector for policy in self._world.policies()]
        known = self._world.cache.services()
        wanted = {
            service.id
            for service in services
            if service.id in known or any(matches(selector, service) for selector in selectors)
        }
        tasks = await self._swarm.tasks(wanted) if wanted else ()
        return Snapshot.of(nodes, services, tasks, wanted)

    def _away(self, problem: str) -> None:
        if self._world.swarm_problem != problem:
            log.warning("cannot look at the Swarm", error=problem)
        self._world.swarm_problem = problem
        if self._world.swarm is not None and self.away_s < BELIEVED_S:
            return
        if self._world.swarm is not None or not self.looked.is_set():
            self._world.swarm = None
            self._wake_all()

    def _seen(self, new: Snapshot) -> None:
        old = self._world.swarm
        if old is not None and old.services == new.services:
            # What was worked out from the services stays true.
            new = replace(new, services=old.services)
        self._world.swarm = new
        self._seen_at = time.monotonic()
        if self._world.swarm_problem:
            log.info("sees the Swarm", nodes=len(new.nodes), services=len(new.services))
        self._world.swarm_problem = ""
        if old is None:
            self._wake_all()
            return
        for service_id in old.services.keys() | new.services.keys():
            before, after = old.services.get(service_id), new.services.get(service_id)
            if before != after or old.tasks.get(service_id) != new.tasks.get(service_id):
                self._wake_service(service_id, before, after)
        if old.nodes != new.nodes:
            for ref in self._world.cache.all(NODE):
                self._queue.add(Key(NODE.name, ref))
            for ref, obj in self._world.cache.all(MIGRATION).items():
                if is_under_way(obj):
                    self._queue.add(Key(MIGRATION.name, ref))

    def _wake_service(self, service_id: str, before: Service | None, after: Service | None) -> None:
        for policy in self._world.policies():
            if any(service is not None and matches(policy.selector, service) for service in (before, after)):
                self._queue.add(Key(POLICY.name, policy.ref))
        for ref in self._world.cache.workloads_of_service(service_id):
            self._queue.add(Key(WORKLOAD.name, ref))
            for migration in self._world.cache.open_migrations_of(ref):
                self._queue.add(Key(MIGRATION.name, migration))

    def _wake_all(self) -> None:
        for kind in (POLICY, WORKLOAD, NODE, MIGRATION):
            for ref in self._world.cache.all(kind):
                self._queue.add(Key(kind.name, ref))
