"""Takes versions out of the cache that other nodes have deleted from storage."""

from __future__ import annotations

import asyncio

import structlog

from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.locations import Locations
from swarmkeep.errors import SwarmKeepError
from swarmkeep.model.ident import Ref

log = structlog.get_logger(__name__)

INTERVAL_S = 60.0
LIST_LIMIT_S = 10.0


class CacheSweeper:
    """Looks about once a minute: restore asks storage which versions there are, so this is only about space."""

    def __init__(self, cache: ImageCache, locations: Locations) -> None:
        self._cache = cache
        self._locations = locations

    async def run(self) -> None:
        """Sweeps for ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.sweep()

    async def sweep(self) -> None:
        """Drops what no location has. While one does not answer, it may have everything."""
        images = self._cache.images()
        for workload in {image.workload for image in images}:
            try:
                stored = await self._stored(workload)
            except SwarmKeepError as error:
                log.info("the cache is not swept", workload=str(workload), error=str(error))
                return
            for image in images:
                if image.workload == workload and image.number not in stored:
                    await asyncio.to_thread(self._cache.drop, workload, image.number)

    async def _stored(self, workload: Ref) -> set[int]:
        found: set[int] = set()
        for name in self._locations.names():
            found.update(
                await self._locations.call(name, lambda repository: repository.versions(str(workload)), LIST_LIMIT_S)
            )
        return found
