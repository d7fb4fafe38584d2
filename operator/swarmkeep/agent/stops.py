"""A task is asked to stop: takes its final version and lets CRIU end it, so that no write comes after the dump."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.shim_server import Conversation
from swarmkeep.agent.staged import Staged
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.versions import VersionTaker
from swarmkeep.errors import SwarmKeepError
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy

log = structlog.get_logger(__name__)

SIGKILL = 9
STORE_RETRY_S = 2.0
LEAST_GRACE_S = 2.0
"""With less time than this before Docker kills it, a task is better left to end by itself."""


class Stops:
    """Answers `kill`."""

    def __init__(
        self,
        containers: Containers,
        desired: Desired,
        freezes: Freezes,
        versions: VersionTaker,
        tracked: TrackedContainers,
        story: Story,
    ) -> None:
        self._containers = containers
        self._desired = desired
        self._freezes = freezes
        self._versions = versions
        self._tracked = tracked
        self._story = story
        self._storing: set[asyncio.Task[None]] = set()

    async def converse(self, conversation: Conversation) -> str:
        """Holds one conversation; returns `handled` or `deliver`."""
        tracked = self._tracked.by_container(conversation.container_id)
        if tracked is None or tracked.end is not None or conversation.question.get("signal") == SIGKILL:
            await conversation.answer({"do": "deliver"})
            return "deliver"
        tracked.stop_requested = True
        self._tracked.save(tracked)
        policy = self._desired.policy(Ref(tracked.ref.namespace, tracked.policy))
        conversation.waiting_for = f"the final version of {tracked.ref}"
        staged = await self._take_final(tracked, policy) if policy and self._may_take(tracked, policy) else None
        if staged is None:
            await conversation.answer({"do": "deliver"})
            return "deliver"
        task = asyncio.create_task(self.store_final(staged))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)
        await conversation.answer({"do": "handled"})
        return "handled"

    async def store_final(self, staged: Staged) -> None:
        """Writes a final version to storage, however long the storage is away: it is the only copy of that state."""
        while True:
            try:
                await self._versions.store(staged)
                break
            except SwarmKeepError as error:
                log.error(
                    "the final version is not in storage yet; it is safe on this node's disk",
                    workload=str(staged.workload),
                    folder=str(staged.folder),
                    error=str(error),
                )
                self._story.version_failed(
                    staged.workload, "FinalVersionWaits", f"final version {staged.number} waits for storage: {error}"
                )
            await asyncio.sleep(STORE_RETRY_S)
        tracked = self._tracked.get(staged.workload)
        if tracked is not None and tracked.finalizing:
            tracked.finalizing = False
            self._tracked.save(tracked)
        self._story.final_version(staged.workload, staged.number)

    def _may_take(self, tracked: Tracked, policy: Policy) -> bool:
        fenced = self._freezes.is_held(tracked.container_id, Why.FENCED)
        return policy.on_stop and tracked.epoch > 0 and not fenced

    async def _take_final(self, tracked: Tracked, policy: Policy) -> Staged | None:
        started_at = datetime.now(UTC)
        try:
            facts = await self._containers.cached(tracked.container_id)
            limit_s = facts.stop_timeout_s - 1.0
            if limit_s < LEAST_GRACE_S:
                return None
            async with asyncio.timeout(limit_s):
                staged = await self._versions.stage(tracked, policy, Reason.FINAL, final_limit_s=limit_s)
        except SwarmKeepError as error:
            self._versions.record_failure(tracked, policy, Reason.FINAL, started_at, error)
            self._story.version_failed(tracked.ref, error.reason, f"no final version, stopping as usual: {error}")
            return None
        except TimeoutError:
            self._story.version_failed(
                tracked.ref, "FinalVersionTooSlow", f"no final version within {limit_s:g} s, stopping as usual"
            )
            return None
        # From here on the process is gone: what is staged must survive this agent.
        staged.save()
        tracked.finalizing = True
        self._tracked.save(tracked)
        return staged
