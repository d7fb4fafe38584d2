"""Everything that runs while this operator leads, inside kopf's event loop. Started and stopped by the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import kopf
import structlog

from swarmkeep.config import Config
from swarmkeep.controllers.cache import Cache
from swarmkeep.controllers.dependents import Dependents
from swarmkeep.controllers.driver import Deposed, Driver
from swarmkeep.controllers.execute import Executor
from swarmkeep.controllers.leases import Leases
from swarmkeep.controllers.queue import KeyedQueue
from swarmkeep.controllers.relist import Relist
from swarmkeep.controllers.swarm_watch import SwarmWatch
from swarmkeep.controllers.world import World, newest_version_ages
from swarmkeep.errors import SwarmKeepError
from swarmkeep.kube.client import Client, Fence
from swarmkeep.kube.connect import client_from_settings
from swarmkeep.kube.events import EventRecorder
from swarmkeep.obs import operator_metrics as metrics
from swarmkeep.swarm.port import Swarm

log = structlog.get_logger(__name__)

FIELD_MANAGER = "swarmkeep-operator"
WORKERS = 8
HEALTH_S = 1.0
FIRST_LOOK_S = 5.0
"""How long the first decisions wait for the first look at the Swarm."""
SWARM_AWAY_S = 30.0
"""A leader that cannot see the Swarm for this long lets another try, whose Docker may be better."""
PROBE_LIMIT_S = 1.0
BUSY_S = 30.0
"""A key that has waited this long is worth a warning: the operator does not keep up."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a leader stops leading."""

    reason: str
    deposed: bool
    """Somebody else leads, or may: nothing more may be written."""


class Leader:
    """Puts the parts together. `end` is called at most once, from the loop, when it cannot go on."""

    def __init__(
        self, config: Config, swarm: Swarm, token: int, beat: Callable[[], None], end: Callable[[Ending], None]
    ) -> None:
        self._config = config
        self._swarm = swarm
        self._token = token
        self._beat = beat
        self._end = end
        self._tasks: list[asyncio.Task[Any]] = []
        self._client: Client | None = None
        self._probes: dict[str, Client] = {}
        """One client for each server alone, to know which of them answers."""
        self._ended = False
        self._server = config.api.servers[0]
        """The one that kopf is connected to."""
        self.cache = Cache()
        self.world = World(self.cache, Leases(), config.operator.scrub_interval)
        self.queue = KeyedQueue()
        self.dependents = Dependents(self.world, self.queue)
        self.cache.on_change = self.dependents.changed

    async def start(self) -> None:
        """Knows everything first, then begins to decide."""
        self._beat()
        self._spawn(self._keep_beating(), "beat")
        client = self._client = self._connect()
        relist = Relist(client, self.cache)
        await relist.first()
        recorder = EventRecorder(client, FIELD_MANAGER, self._config.node)
        executor = Executor(client, self.cache, recorder, Fence(self._token), self._swarm)
        driver = Driver(self.world, self.queue, executor, client)
        watch = SwarmWatch(self._swarm, self.world, self.queue, self.dependents)
        self._spawn(watch.run(), "swarm")
        try:
            async with asyncio.timeout(FIRST_LOOK_S):
                await watch.looked.wait()
        except TimeoutError:
            log.warning("begins without having seen the Swarm")
        for number in range(WORKERS):
            self._spawn(driver.work(), f"worker-{number}")
        self._spawn(relist.run(), "relist")
        self._spawn(recorder.run(), "events")
        self._spawn(self._watch_health(watch), "health")
        metrics.LEADER.set(1)
        log.info("leads", node=self._config.node, token=self._token, policies=len(self.world.policies()))

    async def stop(self) -> None:
        """Ends all tasks. What was half done is done by whoever leads next."""
        metrics.LEADER.set(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in (self._client, *self._probes.values()):
            if client is not None:
                await client.close()

    async def connection(self) -> kopf.ConnectionInfo:
        """For kopf: the first API server that answers."""
        while True:
            for server in self._config.api.servers:
                if await self._answers(server):
                    self._server = server
                    settings = self._config.operator
                    if not server.startswith("https://"):
                        return kopf.ConnectionInfo(server=server, default_namespace="default")
                    return kopf.ConnectionInfo(
                        server=server,
                        ca_path=self._config.api.ca,
                        certificate_path=settings.certificate,
                        private_key_path=settings.key,
                        default_namespace="default",
                    )
            log.warning("no API server answers", servers=self._config.api.servers)
            await asyncio.sleep(HEALTH_S)

    def version_ages(self) -> list[tuple[tuple[str, ...], float]]:
        """For the metrics; may be called from another thread."""
        ages = newest_version_ages(self.cache, datetime.now(UTC))
        return [((namespace, name), age) for namespace, name, age in ages]

    def damaged_versions(self) -> list[tuple[tuple[str, ...], float]]:
        """For the metrics; may be called from another thread."""
        return [((ref.namespace, ref.name), count) for ref, count in self.cache.damaged().items()]

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(self._guard(work, name), name=name))

    async def _guard(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """None of the parts ends by itself: if one does, the operator must not go on without it."""
        try:
            await work
            self._finish(Ending(f"{name} ended", deposed=False))
        except Deposed as error:
            self._finish(Ending(str(error), deposed=True))
        except Exception as error:
            log.exception("a part of the operator failed", part=name)
            self._finish(Ending(f"{name} failed: {error}", deposed=False))

    def _finish(self, ending: Ending) -> None:
        if not self._ended:
            self._ended = True
            self._end(ending)

    async def _keep_beating(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(HEALTH_S)

    async def _watch_health(self, watch: SwarmWatch) -> None:
        blind_since: float | None = None
        loop = asyncio.get_running_loop()
        patience_s = self._config.operator.election_ttl.total_seconds()
        complained = False
        while True:
            await asyncio.sleep(HEALTH_S)
            metrics.QUEUE_DEPTH.set(len(self.queue))
            metrics.QUEUE_OLDEST_SECONDS.set(self.queue.oldest_s)
            metrics.QUEUE_SCHEDULED.set(self.queue.scheduled)
            if (self.queue.oldest_s > BUSY_S) != complained:
                complained = not complained
                if complained:
                    log.warning("does not keep up", waiting=len(self.queue), oldest_s=round(self.queue.oldest_s, 1))
            if watch.away_s > SWARM_AWAY_S:
                self._finish(Ending(f"the Swarm was out of sight for {SWARM_AWAY_S:g} s", deposed=False))
            if await self._answers(self._server):
                if blind_since is not None:
                    log.info("the API server is back", server=self._server)
                blind_since = None
                continue
            if blind_since is None:
                log.warning("the API server does not answer", server=self._server)
                blind_since = loop.time()
            if loop.time() - blind_since > patience_s and await self._another_answers():
                self._finish(Ending(f"{self._server}, which it watches, is away while others answer", deposed=False))

    async def _another_answers(self) -> bool:
        others = [server for server in self._config.api.servers if server != self._server]
        return any([await self._answers(server) for server in others])

    async def _answers(self, server: str) -> bool:
        client = self._probes.get(server) or self._probes.setdefault(server, self._connect(server))
        try:
            await client.transport.request("GET", "/version", repeatable=True, timeout_s=PROBE_LIMIT_S)
        except SwarmKeepError:
            return False
        return True

    def _connect(self, server: str | None = None) -> Client:
        settings = self._config.operator
        api = self._config.api if server is None else replace(self._config.api, servers=(server,))
        return client_from_settings(api, settings.certificate, settings.key, field_manager=FIELD_MANAGER)
