"""Ends tasks whose next start is ordered, so that it comes: Swarm makes a new one in the same place.

A task is ended by its final version, which keeps every write, or without one where the order says so. Whether the next
start obeys, and that it does so once, is not decided here: see swarmkeep.plan.orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from swarmkeep.agent.claims import Claims
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.stops import Stops
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.versions import NotRunning
from swarmkeep.errors import DumpFailed, NotFound, SwarmKeepError, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.model.workload import Order, Phase, Workload, parse_workload

log = structlog.get_logger(__name__)

LOOK_S = 1.0
REMEMBERED = 100
"""So many refusals are remembered until the API has heard of them."""


class Endings:
    """One level-triggered loop over the workloads of this node that have an order to end now."""

    def __init__(
        self,
        node: str,
        client: Client,
        containers: Containers,
        desired: Desired,
        claims: Claims,
        stops: Stops,
        tracked: TrackedContainers,
        story: Story,
        is_taking: Callable[[Ref], bool],
    ) -> None:
        """`is_taking` says whether a version of a workload is under way; of one that is to be ended none is begun."""
        self._node = node
        self._containers = containers
        self._desired = desired
        self._claims = claims
        self._stops = stops
        self._tracked = tracked
        self._story = story
        self._is_taking = is_taking
        self._wake = asyncio.Event()
        self._under_way: dict[Ref, asyncio.Task[None]] = {}
        self._refused: dict[str, str] = {}
        """Why orders were not carried out: none is tried twice."""
        self._ordered = Mirror(
            client,
            WORKLOAD,
            fields=f"status.claim.node={node},status.order.when=Now",
            on_change=lambda *_: self._wake.set(),
        )

    async def run(self) -> None:
        """Ends for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ordered.run())
            group.create_task(self._loop())

    async def _loop(self) -> None:
        await self._desired.known.wait()
        while True:
            self.look()
            self._wake.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def look(self) -> None:
        """Begins what has to be done now, each on its own: one dump that takes long keeps no other waiting."""
        ordered = dict(self._ordered.objects)
        for obj in ordered.values():
            workload = parse_workload(obj)
            tracked = self._tracked.get(workload.ref)
            if tracked is None or workload.order is None or workload.ref in self._under_way:
                continue
            if self._must_end(tracked, workload, workload.order):
                task = asyncio.create_task(self._end(tracked, workload.order))
                self._under_way[workload.ref] = task
                task.add_done_callback(partial(self._ended, workload.ref))
        if not self._ordered.synced:
            return
        for tracked in self._tracked:
            if tracked.ending and tracked.end is None and tracked.ref not in self._under_way:
                seen = ordered.get(tracked.ref)
                order = parse_workload(seen).order if seen is not None else None
                if order is None or order.id != tracked.ending:
                    # The order was taken back, and it still runs: an end from now on is its own.
                    tracked.ending = ""
                    self._tracked.save(tracked)

    def _ended(self, ref: Ref, _: asyncio.Task[None]) -> None:
        del self._under_way[ref]

    def _must_end(self, tracked: Tracked, workload: Workload, order: Order) -> bool:
        refused = workload.refusal is not None and workload.refusal.order == order.id
        return (
            not refused
            and tracked.end is None
            and tracked.order != order.id
            and tracked.claim(self._node) == workload.claim
            and tracked.phase is Phase.RUNNING
            and not tracked.finalizing
            and tracked.ref not in self._tracked.coming_up
        )

    async def _end(self, tracked: Tracked, order: Order) -> None:
        ref = tracked.ref
        if order.id in self._refused:
            await self._refuse(tracked, order, self._refused[order.id])
            return
        if tracked.ending != order.id:
            # Written down first: the end that follows is no crash, whoever sees it.
            tracked.ending = order.id
            self._tracked.save(tracked)
            self._story.ending(ref, order.restore, keep=order.keep)
        try:
            if order.keep:
                await self._end_with_version(tracked)
            elif self._is_taking(ref):
                # Asked again at the next look: stored after the next start, on another node say, it would come back.
                return
            else:
                await self._containers.kill_now(await self._containers.cached(tracked.container_id))
        except (NotRunning, NotFound):
            log.info("it has ended by itself", workload=str(ref))
        except Unavailable as error:
            log.warning("cannot end a task now, trying again", workload=str(ref), error=str(error))
        except SwarmKeepError as error:
            log.error("not ended for a Restore", workload=str(ref), restore=order.restore, error=str(error))
            self._story.order_refused(ref, order.restore, str(error))
            self._refused = {order.id: str(error)} | dict(list(self._refused.items())[:REMEMBERED])
            if self._tracked.get(ref) is tracked:
                # It runs on: versions of it are taken again, and an end from now on is its own.
                tracked.ending = ""
                self._tracked.save(tracked)
            await self._refuse(tracked, order, str(error))

    async def _end_with_version(self, tracked: Tracked) -> None:
        policy = self._desired.policy(Ref(tracked.ref.namespace, tracked.policy))
        if policy is None:
            raise DumpFailed(f"no final version without the policy {tracked.policy}, which is gone")
        await self._stops.end(tracked, policy)

    async def _refuse(self, tracked: Tracked, order: Order, why: str) -> None:
        try:
            await self._claims.refuse(tracked.ref, tracked.claim(self._node), order.id, why)
        except SwarmKeepError as error:
            log.warning("could not say so, trying again", workload=str(tracked.ref), error=str(error))
