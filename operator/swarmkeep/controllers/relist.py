"""Lists every kind anew, first to know all objects before anything is decided, then against ghosts.

kopf keeps no objects: one that was deleted while its watch was interrupted is never mentioned again.
"""

from __future__ import annotations

import asyncio

import structlog

from swarmkeep.controllers.cache import KINDS, Cache
from swarmkeep.errors import SwarmKeepError, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.model.kinds import LEASE, NODE_LEASE_NAMESPACE
from swarmkeep.obs import operator_metrics as metrics

log = structlog.get_logger(__name__)

EVERY_S = 180.0
RETRY_S = 1.0


class Relist:
    """Holds the cache against the API."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    async def first(self) -> None:
        """Lists all kinds, trying until the API answers."""
        while True:
            try:
                await self.all_kinds()
            except SwarmKeepError as error:
                log.warning("cannot list the objects yet", error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def run(self) -> None:
        """Relists for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.all_kinds()
            except Unavailable as error:
                log.warning("could not list the objects anew", error=str(error))

    async def all_kinds(self) -> None:
        """Lists each kind once. Raises Unavailable, Forbidden, NotFound."""
        for kind in KINDS:
            namespace = NODE_LEASE_NAMESPACE if kind is LEASE else None
            listed = await self._client.list(kind, namespace)
            version = int(listed.resource_version) if listed.resource_version.isdigit() else 0
            ghosts = self._cache.replace_all(kind, listed.items, version)
            metrics.OBJECTS.labels(kind.name).set(len(listed.items))
            if ghosts:
                metrics.GHOSTS.labels(kind.name).inc(ghosts)
                log.info("found objects that were gone unnoticed", kind=kind.name, count=ghosts)
