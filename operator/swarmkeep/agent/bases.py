"""Versions in the node's cache from which newer ones are made, so that only what differs is read from storage."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.locations import Locations
from swarmkeep.errors import DataError, NotFound, Unavailable
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy
from swarmkeep.store.folder_update import Base
from swarmkeep.store.manifest import Manifest

LOOK_S = 10.0
"""The longest that asking for the manifest of a cached version may take."""


class Bases:
    """Gives cached versions away, each to one who makes the next of it."""

    def __init__(self, locations: Locations, cache: ImageCache) -> None:
        self._locations = locations
        self._cache = cache
        self._manifests: dict[Ref, Manifest] = {}
        """Of the version that is ready: storage may have deleted that one by the time the next is made of it."""

    def note(self, workload: Ref, manifest: Manifest) -> None:
        """Remembers what the newest cached version is made of."""
        self._manifests[workload] = manifest

    def forget_others(self, workloads: Collection[Ref]) -> None:
        """Keeps what is known of these workloads only."""
        self._manifests = {ref: manifest for ref, manifest in self._manifests.items() if ref in workloads}

    @asynccontextmanager
    async def before(self, workload: Ref, policy: Policy, number: int) -> AsyncIterator[list[Base]]:
        """The newest cached version if it is older than `number`, out of the cache; at most one, for who pops it.

        Whatever is left of its folder afterwards is removed.
        """
        base = await self._take(workload, policy, number)
        try:
            yield [base] if base is not None else []
        finally:
            if base is not None:
                await asyncio.to_thread(shutil.rmtree, base.folder, ignore_errors=True)

    async def _take(self, workload: Ref, policy: Policy, number: int) -> Base | None:
        ready = self._cache.newest(workload)
        if ready is None or ready >= number:
            return None
        manifest = self._manifests.get(workload)
        if manifest is None or manifest.version != ready:
            try:
                manifest = await self._locations.call(
                    policy.location, lambda repository: repository.manifest(str(workload), ready), LOOK_S
                )
            except (Unavailable, DataError, NotFound):
                return None
        folder = await asyncio.to_thread(self._cache.take, workload, ready)
        return Base(folder, manifest) if folder is not None else None
