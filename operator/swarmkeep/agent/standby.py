"""Keeps the newest versions of other nodes' workloads ready here: of those that the operator gave to this node.

The folder of the version before is changed into that of the newest, so that only new pages are read.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import structlog

from swarmkeep.agent.bases import Bases
from swarmkeep.agent.damage import KnownDamage
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.reading import SILENCE_FIRST, read_from_first
from swarmkeep.agent.room import require_room
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.errors import StorageFull, SwarmKeepError
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.model.policy import Policy
from swarmkeep.model.wire import section
from swarmkeep.model.workload import parse_workload
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.backoff import backoff
from swarmkeep.store.manifest import Manifest
from swarmkeep.store.repository import Repository

log = structlog.get_logger(__name__)

LOOK_S = 10.0
READ_LIMIT_S = 600.0


class Standby:
    """One version at a time. A workload of which that fails is tried again, ever more rarely."""

    def __init__(
        self,
        node: str,
        client: Client,
        desired: Desired,
        locations: Locations,
        cache: ImageCache,
        bases: Bases,
        containers: Containers,
        damage: KnownDamage,
    ) -> None:
        self._desired = desired
        self._locations = locations
        self._cache = cache
        self._bases = bases
        self._containers = containers
        self._damage = damage
        self._wake = asyncio.Event()
        self.news = asyncio.Event()
        """Set when the report says something else than before."""
        self._images: dict[Ref, str] = {}
        """Images that were not looked for yet."""
        self._problems: dict[Ref, str] = {}
        self._failures: dict[Ref, int] = {}
        self._not_before: dict[Ref, float] = {}
        self._mirror = Mirror(
            client, WORKLOAD, fields=f"status.standby.node={node}", on_change=lambda *_: self._wake.set()
        )

    def report(self) -> list[dict[str, Any]]:
        """`status.standbys` of the Node object."""
        entries = []
        for workload in sorted(self._mirror.objects):
            entry: dict[str, Any] = {"workload": str(workload)}
            version = self._cache.newest(workload)
            if version is not None:
                entry["version"] = version
            if workload in self._problems:
                entry["message"] = self._problems[workload]
            entries.append(entry)
        return entries

    async def run(self) -> None:
        """Keeps ready for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mirror.run())
            group.create_task(self._loop())

    async def _loop(self) -> None:
        while True:
            self._wake.clear()
            for obj in list(self._mirror.objects.values()):
                workload = parse_workload(obj)
                policy = self._desired.policy(Ref(workload.ref.namespace, workload.policy))
                if policy is None or workload.newest is None:
                    continue
                await self._try(workload.ref, policy, workload.newest.number)
            self._bases.forget_others(self._mirror.objects.keys())
            for known in (self._images, self._problems, self._failures, self._not_before):
                for ref in known.keys() - self._mirror.objects.keys():
                    del known[ref]
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _try(self, workload: Ref, policy: Policy, number: int) -> None:
        if time.monotonic() < self._not_before.get(workload, 0.0):
            return
        try:
            await self.make_ready(workload, policy, number)
        except SwarmKeepError as error:
            failures = self._failures[workload] = self._failures.get(workload, 0) + 1
            self._not_before[workload] = time.monotonic() + backoff(failures).total_seconds()
            if self._problems.get(workload) != str(error):
                log.warning("a version is not ready here", workload=str(workload), version=number, error=str(error))
                self.news.set()
            self._problems[workload] = str(error)
        else:
            self._problems.pop(workload, None)
            self._failures.pop(workload, None)

    async def make_ready(self, workload: Ref, policy: Policy, number: int) -> None:
        """Brings the version into the cache, unless it or a newer one is there, and pulls its image.

        Raises SwarmKeepError.
        """
        ready = self._cache.newest(workload)
        if ready is None or ready < number:
            await self._make(workload, policy, number)
        image = self._images.get(workload)
        if image:
            await self._containers.ensure_image(image)
            del self._images[workload]

    async def _make(self, workload: Ref, policy: Policy, number: int) -> None:
        begun = time.monotonic()
        async with self._cache.filling(workload, number):
            manifest = await self._read(workload, policy, number)
            await asyncio.to_thread(self._cache.mark, workload, number, manifest.taken_at)
        if self._cache.newest(workload) != number:
            raise StorageFull(f"{workload} version {number} does not fit into the cache: raise agent.cacheBytes")
        self._bases.note(workload, manifest)
        self.news.set()
        metrics.STANDBY_SECONDS.observe(time.monotonic() - begun)
        log.info(
            "a version is ready here",
            workload=str(workload),
            version=number,
            seconds=round(time.monotonic() - begun, 3),
        )
        self._images[workload] = str(section(manifest.facts, "container", "Config").get("Image", ""))

    async def _read(self, workload: Ref, policy: Policy, number: int) -> Manifest:
        """Makes the folder, from the first location that has the version whole."""
        target = self._cache.path(workload, number)

        def get(repository: Repository) -> Manifest:
            # A try that fails half way uses the base up: another location is then read whole.
            mine = unused.pop() if unused else None
            if mine is None:
                entries = repository.manifest(str(workload), number).entries
                require_room(target, sum(entry.size for entry in entries), f"{workload} version {number}")
            return repository.get(str(workload), number, target, durable=False, base=mine)

        names = self._damage.sound(workload, number, policy.locations)
        async with self._bases.before(workload, policy, number) as unused:
            return await read_from_first(self._locations, names, workload, number, get, READ_LIMIT_S, SILENCE_FIRST)
