"""One life of an operator over a FakeApi: lists everything, then looks at all objects until nothing changes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from swarmkeep.controllers.cache import KINDS, Cache
from swarmkeep.controllers.dependents import Dependents
from swarmkeep.controllers.driver import Driver
from swarmkeep.controllers.execute import Executor
from swarmkeep.controllers.leases import Leases
from swarmkeep.controllers.queue import Key, KeyedQueue
from swarmkeep.controllers.world import World
from swarmkeep.kube.client import Client
from swarmkeep.kube.events import EventRecorder
from swarmkeep.model.kinds import LEASE
from swarmkeep.model.swarm import Snapshot
from swarmkeep.swarm.simulated import SimulatedSwarm

from .fake_api import FakeApi

ROUNDS = 20


class Recorder:
    """Stands for the EventRecorder."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def record(self, about: Any, kind: str, reason: str, message: str) -> None:
        self.reasons.append(reason)


class Life:
    """One process, from its start to its death."""

    def __init__(self, api: FakeApi, now: datetime, swarm: SimulatedSwarm | None = None) -> None:
        self.api = api
        self.swarm = swarm or SimulatedSwarm()
        self.recorder = Recorder()
        self.cache = Cache()
        self.world = World(self.cache, Leases(), timedelta(days=1))
        self.queue = KeyedQueue()
        self.cache.on_change = Dependents(self.world, self.queue).changed
        client = cast(Client, api)
        executor = Executor(client, self.cache, cast(EventRecorder, self.recorder), None, self.swarm)
        self.driver = Driver(self.world, self.queue, executor, client, now=lambda: now)

    async def know(self, swarm: SimulatedSwarm) -> None:
        self.swarm = swarm
        for kind in KINDS:
            listed = await self.api.list(kind)
            self.cache.replace_all(kind, listed.items, int(listed.resource_version))
        await self.look(swarm)

    async def look(self, swarm: SimulatedSwarm) -> None:
        services = await swarm.services()
        ids = [service.id for service in services]
        self.world.swarm = Snapshot.of(await swarm.nodes(), services, await swarm.tasks(ids), ids)

    async def settle(self) -> None:
        """Looks at everything over and over, until a whole round wrote nothing."""
        for _ in range(ROUNDS):
            before = self.api.writes
            for kind in KINDS:
                for ref in sorted(self.cache.all(kind)):
                    if kind is not LEASE:
                        await self.driver.step(Key(kind.name, ref))
            await self.look(self.swarm)
            if self.api.writes == before:
                return
        raise AssertionError(f"it still writes after {ROUNDS} rounds")
