"""Removes the copy of a plain container that another node has gone on with. Of a task's the Swarm takes care.

That a container ran here under the claim is remembered beyond its end: the node may come back long after it was lost.
"""

from __future__ import annotations

import asyncio

import structlog

from swarmkeep.agent.claims import Claims
from swarmkeep.agent.journal import Journal
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked
from swarmkeep.errors import NotFound, Unavailable
from swarmkeep.model.ident import Ref
from swarmkeep.model.workload import Assignment, Claim

log = structlog.get_logger(__name__)

LOOK_S = 5.0


def is_stale(epoch: int, claim: Claim, placement: Assignment | None, node: str) -> bool:
    """Whether what ran under the claim `epoch` on `node` is a copy of what another node has gone on with.

    Only the operator's word makes it one: somebody who starts another container of that name elsewhere by hand may
    still want this one.
    """
    elsewhere = claim.node not in ("", node) and 0 < epoch < claim.epoch
    return elsewhere and placement is not None and placement.node != node and placement.epoch >= epoch


class StaleCopies:
    """Of one node."""

    def __init__(self, node: str, containers: Containers, claims: Claims, story: Story, journal: Journal) -> None:
        self._node = node
        self._containers = containers
        self._claims = claims
        self._story = story
        self._journal = journal
        self._past = {Ref.parse(key): (record["container"], record["epoch"]) for key, record in journal.items()}

    def ended(self, tracked: Tracked) -> None:
        """A container that ran under the claim has ended, and is not tracked any more."""
        if tracked.plain and tracked.epoch > 0:
            self._past[tracked.ref] = (tracked.container_id, tracked.epoch)
            self._journal.write(str(tracked.ref), {"container": tracked.container_id, "epoch": tracked.epoch})

    def epoch_of(self, tracked: Tracked | None, ref: Ref, container_id: str) -> int:
        """The claim under which a container last ran here; 0 when it never did."""
        if tracked is not None and tracked.container_id == container_id:
            return tracked.epoch if tracked.plain else 0
        past, epoch = self._past.get(ref, ("", 0))
        return epoch if past == container_id else 0

    async def run(self) -> None:
        """Looks after what has ended, for ever."""
        while True:
            for ref, (container_id, epoch) in list(self._past.items()):
                try:
                    if await self._is_done(ref, container_id, epoch):
                        self._past.pop(ref, None)
                        self._journal.remove(str(ref))
                except Unavailable as error:
                    log.warning("cannot look after an old container, trying again", workload=str(ref), error=str(error))
            await asyncio.sleep(LOOK_S)

    async def _is_done(self, ref: Ref, container_id: str, epoch: int) -> bool:
        """Whether nothing has to be remembered of it. Raises Unavailable."""
        try:
            workload = await self._claims.read(ref)
            facts = await self._containers.inspect(container_id)
        except NotFound:
            return True
        if workload.claim.node == self._node and workload.claim.epoch > epoch:
            # It, or another in its place, has come up here again.
            return True
        if not is_stale(epoch, workload.claim, workload.placement, self._node):
            return False
        await self._containers.remove(facts.id)
        self._story.stale_copy_removed(ref, workload.claim.node)
        return True
