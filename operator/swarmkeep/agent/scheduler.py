"""Takes versions when they are due."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.runtime.restores import Restores
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.tryouts import DumpTryouts
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy
from swarmkeep.model.workload import Phase
from swarmkeep.plan.schedule import next_due

LOOK_S = 0.5


class Scheduler:
    """Starts what is due; a workload whose version is still under way waits for its next turn."""

    def __init__(
        self,
        desired: Desired,
        freezes: Freezes,
        restores: Restores,
        tracked: TrackedContainers,
        versions: VersionTaker,
        tryouts: DumpTryouts,
    ) -> None:
        self._desired = desired
        self._freezes = freezes
        self._restores = restores
        self._tracked = tracked
        self._versions = versions
        self._tryouts = tryouts
        self._under_way: dict[Ref, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Schedules for ever."""
        while True:
            now = datetime.now(UTC)
            for tracked in self._tracked:
                policy = self._desired.policy(Ref(tracked.ref.namespace, tracked.policy))
                if policy is None or not self.can_take(tracked):
                    continue
                if tracked.owes_hooks:
                    # Of a version that an earlier agent took, or of the one that it was restored from.
                    self._begin(tracked, self._versions.settle_hooks(tracked, policy))
                    continue
                due = next_due(policy, tracked.ref, tracked.schedule_base, tracked.failures)
                if due is not None and due <= now:
                    self.take(tracked, policy, Reason.SCHEDULE)
            await asyncio.sleep(LOOK_S)

    def can_take(self, tracked: Tracked) -> bool:
        """Whether a version of it can be taken now: it runs, is ours, and has all of its memory."""
        return (
            tracked.epoch > 0
            and tracked.end is None
            and tracked.phase is Phase.RUNNING
            and not tracked.stop_requested
            and not tracked.ending
            and tracked.ref not in self._under_way
            and not self._freezes.is_held(tracked.container_id, Why.FENCED)
            and not self._restores.still_reading(tracked.container_id)
        )

    def is_taking(self, ref: Ref) -> bool:
        """Whether a version of it is being taken or stored."""
        return ref in self._under_way

    def take(self, tracked: Tracked, policy: Policy, reason: Reason, checkpoint: str | None = None) -> None:
        """Begins a version; `checkpoint` is the object of a user who asked for it."""
        self._begin(tracked, self._versions.take(tracked, policy, reason, checkpoint))

    def try_out(self, tracked: Tracked, policy: Policy, checkpoint: str) -> None:
        """Begins a dump that is tried and thrown away, for a user whose object is `checkpoint`."""
        self._begin(tracked, self._tryouts.take(tracked, policy, checkpoint))

    def _begin(self, tracked: Tracked, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way[tracked.ref] = task
        task.add_done_callback(lambda _: self._under_way.pop(tracked.ref, None))
