"""Stops plain containers that are to go on elsewhere: the orders of migrations, read from their status.

The stop is Docker's own, so the final version is taken as at any stop. An order that was withdrawn, or is of an earlier
claim, stops nothing. All of it may be repeated.
"""

from __future__ import annotations

import asyncio

import structlog

from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.errors import NotFound, SwarmKeepError
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import MIGRATION
from swarmkeep.model.migration import Migration, MigrationPhase, StopOrder, parse_migration

log = structlog.get_logger(__name__)

LOOK_S = 5.0


class Departures:
    """Of one node."""

    def __init__(self, node: str, client: Client, containers: Containers, tracked: TrackedContainers) -> None:
        self._node = node
        self._containers = containers
        self._tracked = tracked
        self._wake = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._orders = Mirror(
            client, MIGRATION, fields=f"status.stop.node={node}", on_change=lambda *_: self._wake.set()
        )

    async def run(self) -> None:
        """Carries orders out for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._orders.run())
            while True:
                self._wake.clear()
                for obj in list(self._orders.objects.values()):
                    order = self.standing_order(parse_migration(obj))
                    if order is not None and order.container_id not in self._under_way:
                        task = group.create_task(self._stop(order.container_id))
                        self._under_way[order.container_id] = task
                try:
                    async with asyncio.timeout(LOOK_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass

    def standing_order(self, migration: Migration) -> StopOrder | None:
        """What has to be stopped for this migration now; None when nothing has."""
        order = migration.stop
        if order is None or order.node != self._node or order.withdrawn_at is not None:
            return None
        if migration.phase is not MigrationPhase.MOVING or migration.deleting or migration.failure:
            return None
        tracked = self._tracked.get(Ref(migration.ref.namespace, migration.workload))
        if tracked is None or tracked.container_id != order.container_id or tracked.epoch != order.epoch:
            return None
        return None if tracked.end is not None or tracked.stop_requested else order

    async def _stop(self, container_id: str) -> None:
        """Never raises: an order that stands is looked at again."""
        try:
            log.info("stops a container that is to go on elsewhere", container=container_id)
            await self._containers.stop(container_id)
        except NotFound:
            pass  # it has ended and was removed
        except SwarmKeepError as error:
            log.warning("cannot stop a container, trying again", container=container_id, error=str(error))
        finally:
            self._under_way.pop(container_id, None)
