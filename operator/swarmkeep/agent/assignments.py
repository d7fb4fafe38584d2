"""Checkpoint objects that the operator has assigned to this node: versions to take now, versions to delete."""

from __future__ import annotations

import asyncio
from datetime import datetime

import structlog

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.image_cache import ImageCache
from swarmkeep.agent.locations import Locations
from swarmkeep.agent.scheduler import Scheduler
from swarmkeep.agent.tracked import TrackedContainers
from swarmkeep.errors import Conflict, InvalidObject, NotFound, SwarmKeepError
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.checkpoint import DATA_FINALIZER, Checkpoint, CheckpointPhase, CopyState, parse_checkpoint
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import CHECKPOINT

log = structlog.get_logger(__name__)

LOOK_S = 2.0
DELETE_LIMIT_S = 60.0
DELETE_RETRY_S = 5.0
DELETED_AT_ONCE = 2
"""Versions that are deleted from one location at the same time."""


class Assignments:
    """Carries out what Checkpoint objects of this node ask for. Everything here may be repeated."""

    def __init__(
        self,
        node: str,
        client: Client,
        desired: Desired,
        locations: Locations,
        scheduler: Scheduler,
        tracked: TrackedContainers,
        cache: ImageCache,
    ) -> None:
        self._client = client
        self._desired = desired
        self._locations = locations
        self._scheduler = scheduler
        self._tracked = tracked
        self._cache = cache
        self._wake = asyncio.Event()
        self._told: dict[Ref, str] = {}
        self._begun: dict[Ref, datetime | None] = {}
        self._removals: dict[Ref, asyncio.Task[None]] = {}
        self._at: dict[str, asyncio.Semaphore] = {}
        self._pending = self._mirror(node, CheckpointPhase.PENDING)
        self._deleting = self._mirror(node, CheckpointPhase.DELETING)

    async def run(self) -> None:
        """Works for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pending.run())
            group.create_task(self._deleting.run())
            group.create_task(self._loop())

    async def _loop(self) -> None:
        while True:
            self._begun = {ref: made for ref, made in self._begun.items() if ref in self._pending.objects}
            for obj in list(self._pending.objects.values()):
                self._take(parse_checkpoint(obj))
            for obj in list(self._deleting.objects.values()):
                self._begin_deleting(parse_checkpoint(obj))
            self._wake.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _take(self, checkpoint: Checkpoint) -> None:
        workload = Ref(checkpoint.ref.namespace, checkpoint.workload)
        tracked = self._tracked.get(workload)
        policy = self._desired.policy(Ref(workload.namespace, tracked.policy)) if tracked else None
        if self._begun.get(checkpoint.ref) == checkpoint.created_at:
            # It is under way, or done and the API has not heard of it yet.
            return
        if tracked is None or policy is None or not self._scheduler.can_take(tracked):
            # The operator gives it to another node, or fails it, when this lasts.
            return
        self._begun[checkpoint.ref] = checkpoint.created_at
        if checkpoint.trial:
            self._scheduler.try_out(tracked, policy, checkpoint.ref.name)
        else:
            self._scheduler.take(tracked, policy, checkpoint.reason, checkpoint.ref.name)

    def _begin_deleting(self, checkpoint: Checkpoint) -> None:
        """Starts it unless it is under way: one location that hangs must not keep the others full."""
        if checkpoint.ref not in self._removals:
            task = asyncio.create_task(self._delete(checkpoint))
            self._removals[checkpoint.ref] = task
            task.add_done_callback(lambda _: self._removals.pop(checkpoint.ref, None))

    async def _delete(self, checkpoint: Checkpoint) -> None:
        """The data first, then the finalizer, then the object: what is left behind is always still listed."""
        workload = str(Ref(checkpoint.ref.namespace, checkpoint.workload))
        number = checkpoint.version
        try:
            if number is not None:
                await self._delete_data(checkpoint, workload, number)
            await self._drop_object(checkpoint)
        except SwarmKeepError as error:
            if self._told.get(checkpoint.ref) != str(error):
                log.warning("cannot delete a version, trying again", checkpoint=str(checkpoint.ref), error=str(error))
            self._told[checkpoint.ref] = str(error)
            await asyncio.sleep(DELETE_RETRY_S)
            return
        self._told.pop(checkpoint.ref, None)
        log.info("deleted a version", checkpoint=str(checkpoint.ref), workload=workload, version=number)

    async def _delete_data(self, checkpoint: Checkpoint, workload: str, number: int) -> None:
        """Removes a version from every location. Raises SwarmKeepError while one that has it does not let go of it.

        The first location comes first: who copies from it looks there afterwards, and takes back what came too late.
        """

        async def delete(name: str) -> None:
            async with self._at.setdefault(name, asyncio.Semaphore(DELETED_AT_ONCE)):
                await self._locations.call(name, lambda repository: repository.delete(workload, number), DELETE_LIMIT_S)

        await asyncio.to_thread(self._cache.drop, Ref(checkpoint.ref.namespace, checkpoint.workload), number)
        first, *further = checkpoint.copies or [""]
        outcomes = list(await asyncio.gather(delete(first), return_exceptions=True)) if first else []
        outcomes += await asyncio.gather(*map(delete, further), return_exceptions=True)
        for name, outcome in zip(checkpoint.copies, outcomes, strict=True):
            if isinstance(outcome, SwarmKeepError):
                if checkpoint.copies[name] is CopyState.STORED:
                    raise outcome
            elif outcome is not None:
                raise outcome

    async def _drop_object(self, checkpoint: Checkpoint) -> None:
        namespace, name = checkpoint.ref.namespace, checkpoint.ref.name
        keep = [finalizer for finalizer in checkpoint.finalizers if finalizer != DATA_FINALIZER]
        patch = {"metadata": {"finalizers": keep or None, "resourceVersion": checkpoint.resource_version}}
        try:
            await self._client.patch(CHECKPOINT, name, patch, namespace)
            if not checkpoint.deleting:
                await self._client.delete(CHECKPOINT, name, namespace)
        except (NotFound, Conflict, InvalidObject) as error:
            log.info("the object changed meanwhile", checkpoint=str(checkpoint.ref), error=str(error))

    def _mirror(self, node: str, phase: CheckpointPhase) -> Mirror:
        return Mirror(
            self._client,
            CHECKPOINT,
            fields=f"status.node={node},status.phase={phase}",
            on_change=lambda *_: self._wake.set(),
        )
