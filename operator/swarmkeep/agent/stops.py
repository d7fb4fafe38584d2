"""A task is asked to stop: takes its final version and lets CRIU end it, so that no write comes after the dump."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

import structlog

from swarmkeep.agent.claims import Claims
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.shim_server import Conversation
from swarmkeep.agent.staged import Progress, Staged
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.versions import NotRunning, VersionTaker
from swarmkeep.errors import Conflict, DumpFailed, DumpHindered, NotFound, SwarmKeepError
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Policy
from swarmkeep.model.wire import section
from swarmkeep.plan.backoff import backoff
from swarmkeep.plan.protection import is_plain

log = structlog.get_logger(__name__)

SIGKILL = 9
STORE_RETRY = timedelta(seconds=2)
END_LIMIT_S = 60.0
"""How long a task that is to be ended may wait for its turn to be dumped, beside the time for which it stands still."""
LEAST_GRACE_S = 2.0
"""With less time than this before Docker kills it, a task is better left to end by itself."""
TURN_LIMIT_S = 120.0
"""How long a task that is stopped may wait for the dumps of others: of all those of a node that is drained, say.

Docker counts the grace time from the moment at which the signal was delivered; until then the task runs on.
"""


FINAL_TRIES = 5
HINDERED_PAUSE_S = 0.3
"""Between two tries of a final version: a health check that was in the way has ended by then."""


class Stops:
    """Answers `kill`."""

    def __init__(
        self,
        containers: Containers,
        desired: Desired,
        claims: Claims,
        freezes: Freezes,
        versions: VersionTaker,
        tracked: TrackedContainers,
        story: Story,
    ) -> None:
        self._containers = containers
        self._desired = desired
        self._claims = claims
        self._freezes = freezes
        self._versions = versions
        self._tracked = tracked
        self._story = story
        self._storing: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

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
        async with self._turn(tracked):
            # If it is finalizing, its processes have ended with the dump that an order made.
            ended = tracked.finalizing
            if not ended and policy is not None and self._may_take(tracked, policy):
                staged = await self._take_final(tracked, policy)
                if staged is not None:
                    self._begin_storing(staged)
                    ended = True
        do = "handled" if ended else "deliver"
        await conversation.answer({"do": do})
        return do

    async def end(self, tracked: Tracked, policy: Policy) -> None:
        """Ends a task by its final version though nobody has asked Docker to: what is written until then is kept.

        Raises SwarmKeepError, after which the task runs on.
        """
        async with self._turn(tracked):
            if tracked.finalizing or tracked.end is not None:
                raise NotRunning(f"the task of {tracked.ref} has ended")
            self._begin_storing(await self._take_ordered(tracked, policy))

    async def _take_ordered(self, tracked: Tracked, policy: Policy) -> Staged:
        staged = None
        tracked.finalizing = True
        self._tracked.save(tracked)
        try:
            limit_s = policy.max_freeze.total_seconds() + END_LIMIT_S
            async with asyncio.timeout(limit_s):
                staged = await self._versions.stage(
                    tracked, policy, Reason.FINAL, final_limit_s=policy.max_freeze.total_seconds()
                )
        except TimeoutError:
            raise DumpFailed(f"no final version of {tracked.ref} within {limit_s:g} s") from None
        finally:
            if staged is None:
                tracked.finalizing = False
                self._tracked.save(tracked)
        return staged

    def _turn(self, tracked: Tracked) -> asyncio.Lock:
        """Of Docker's wish and an order to end one container, one is carried out after the other."""
        return self._turns.setdefault(tracked.container_id, asyncio.Lock())

    def _begin_storing(self, staged: Staged) -> None:
        task = asyncio.create_task(self.store_final(staged))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    def resume(self, boot_id: str) -> list[Staged]:
        """Finds the final versions that an earlier life of this agent took; each is one for `store_final`.

        To be called before anybody acts on what is tracked: until then it does not say which claims are still needed.
        """
        finals = self._versions.clear_staging(boot_id)
        for staged in finals:
            if self._tracked.get(staged.workload) is None and staged.progress is not Progress.INTENT:
                self._tracked.save(_tracked_again(staged, boot_id))
        waiting = {(staged.workload, staged.epoch) for staged in finals}
        for tracked in self._tracked:
            finalizing = (tracked.ref, tracked.epoch) in waiting
            if tracked.finalizing != finalizing:
                tracked.finalizing = finalizing
                tracked.stop_requested |= finalizing
                self._tracked.save(tracked)
        return finals

    async def store_final(self, staged: Staged) -> None:
        """Writes a final version to storage, however long the storage is away: it is the only copy of that state.

        Ends without only when it cannot be of use any more, which an event tells.
        """
        failures = 0
        told = ""
        while True:
            try:
                found = await self._versions.settle(staged)
                if found is None or await self._is_useless(found):
                    break
                staged = found
                await self._store(staged)
                break
            except Exception as error:
                # Also what nobody has thought of: the claim would never go back, and the next task never start.
                failures += 1
                log.error(
                    "the final version is not in storage yet",
                    workload=str(staged.workload),
                    folder=str(staged.folder),
                    error=repr(error),
                )
                if str(error) != told:
                    told = str(error)
                    self._story.version_failed(
                        staged.workload,
                        "FinalVersionWaits",
                        f"final version {staged.number} waits on this node's disk for storage: {error}",
                    )
                staged = await self._prepare_to_wait(staged, error)
            await asyncio.sleep(backoff(failures, STORE_RETRY).total_seconds())
        tracked = self._tracked.get(staged.workload)
        if tracked is not None and tracked.finalizing and tracked.epoch == staged.epoch:
            tracked.finalizing = False
            self._tracked.save(tracked)

    async def _store(self, staged: Staged) -> None:
        try:
            await self._versions.store(staged)
        except NotFound:
            if staged.folder.exists():
                raise
            self._give_up(staged, f"somebody removed {staged.folder}")
        else:
            self._story.final_version(staged.workload, staged.number)

    async def _is_useless(self, staged: Staged) -> bool:
        try:
            claim = (await self._claims.read(staged.workload)).claim
        except SwarmKeepError:
            # It may be needed, and harms nobody: only an agent that reaches the API can start anything from it.
            return False
        if claim.epoch <= staged.epoch:
            return False
        node = claim.node or "another node"
        self._give_up(staged, f"{node} took the claim meanwhile, and the workload went on from an older version")
        return True

    def _give_up(self, staged: Staged, why: str) -> None:
        self._versions.give_up(staged, why)
        self._story.version_failed(staged.workload, "FinalVersionLost", f"gave up final version {staged.number}: {why}")

    async def _prepare_to_wait(self, staged: Staged, error: Exception) -> Staged:
        """Makes the best of a try that failed: another number if that is why, and the disk as a safer place."""
        try:
            if isinstance(error, Conflict):
                return await self._versions.renumber(staged)
            if staged.progress is Progress.WHOLE:
                return await asyncio.to_thread(staged.sync)
        except (SwarmKeepError, OSError) as trouble:
            log.error(
                "a waiting final version is not safe from a power cut", folder=str(staged.folder), error=str(trouble)
            )
        return staged

    def _may_take(self, tracked: Tracked, policy: Policy) -> bool:
        fenced = self._freezes.is_held(tracked.container_id, Why.FENCED)
        return policy.on_stop and tracked.epoch > 0 and not fenced

    async def _take_final(self, tracked: Tracked, policy: Policy) -> Staged | None:
        started_at = datetime.now(UTC)
        # Before the dump can end the process: the claim must not go back because it has ended.
        tracked.finalizing = True
        self._tracked.save(tracked)
        staged = None
        try:
            facts = await self._containers.cached(tracked.container_id)
            limit_s = facts.stop_timeout_s - 1.0
            if limit_s < LEAST_GRACE_S:
                return None
            async with asyncio.timeout(TURN_LIMIT_S + limit_s):
                staged = await self._stage_final(tracked, policy, limit_s)
        except SwarmKeepError as error:
            self._versions.record_failure(tracked, policy, Reason.FINAL, started_at, error)
            self._story.version_failed(tracked.ref, error.reason, f"no final version, stopping as usual: {error}")
        except TimeoutError:
            self._story.version_failed(
                tracked.ref,
                "FinalVersionTooSlow",
                f"no final version within the {limit_s:g} s that it may take, stopping as usual",
            )
        finally:
            if staged is None:
                tracked.finalizing = False
                self._tracked.save(tracked)
        return staged

    async def _stage_final(self, tracked: Tracked, policy: Policy, limit_s: float) -> Staged:
        """Tries again when something was in the way for a moment: there is no later version than this one."""
        for _ in range(FINAL_TRIES - 1):
            try:
                return await self._versions.stage(tracked, policy, Reason.FINAL, final_limit_s=limit_s)
            except DumpHindered as error:
                log.info("a final version was hindered, trying again", workload=str(tracked.ref), error=str(error))
                await asyncio.sleep(HINDERED_PAUSE_S)
        return await self._versions.stage(tracked, policy, Reason.FINAL, final_limit_s=limit_s)


def _tracked_again(staged: Staged, boot_id: str) -> Tracked:
    """Stands for a container whose record was lost: without one its claim would go back at once."""
    return Tracked(
        ref=staged.workload,
        policy=staged.policy,
        container_id=str(staged.facts["container"].get("Id", "")),
        task_id="",
        spec_hash=staged.spec_hash,
        boot_id=boot_id,
        started_at=staged.taken_at,
        epoch=staged.epoch,
        number=staged.number,
        stop_requested=True,
        plain=is_plain(section(staged.facts["container"], "Config", "Labels")),
    )
