"""Freezes this node's workloads before anybody else may run them, and thaws or ends them when it knows more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from swarmkeep.agent.claims import Claims
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.heartbeat import Heartbeat
from swarmkeep.agent.runtime.containers import Containers
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import HostError, NotFound, SwarmKeepError, Unavailable
from swarmkeep.model.ident import Ref
from swarmkeep.model.policy import Fencing
from swarmkeep.model.workload import Claim, End, Phase
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.ends import end_status
from swarmkeep.plan.fencing import FenceAction, fence_action

log = structlog.get_logger(__name__)

TICK_S = 0.1
NO_PROCESS_S = 0.3
"""How long until a container that has no process is looked at again: each look goes through all of the node's."""

Work = Callable[[Tracked], Awaitable[None]]


class Fencer:
    """Looks at every protected container ten times a second; see plan.fencing for what is decided.

    What has to be done is done for each on its own: one whose claim is read slowly keeps no other from being frozen.
    """

    def __init__(
        self,
        node: str,
        fence_after: timedelta,
        heartbeat: Heartbeat,
        claims: Claims,
        containers: Containers,
        freezes: Freezes,
        desired: Desired,
        tracked: TrackedContainers,
        story: Story,
    ) -> None:
        self._node = node
        self._fence_after = fence_after
        self._heartbeat = heartbeat
        self._claims = claims
        self._containers = containers
        self._freezes = freezes
        self._desired = desired
        self._tracked = tracked
        self._story = story
        self._seen: dict[tuple[str, int], Claim] = {}
        self._busy: set[str] = set()
        self._silent_ticks = 0

    def saw(self, tracked: Tracked, claim: Claim) -> None:
        """Somebody has just read the container's workload and found this claim."""
        self._seen[_copy(tracked)] = claim

    async def run(self) -> None:
        """Fences for ever. A container that cannot be frozen or ended is tried again at every tick."""
        async with asyncio.TaskGroup() as group:
            while True:
                if self._heartbeat.age >= self._fence_after:
                    # What was read before the silence says nothing about now.
                    self._silent_ticks += 1
                    self._seen.clear()
                for tracked in self._tracked:
                    if self._counts(tracked) and tracked.container_id not in self._busy:
                        self._begin(tracked, group)
                metrics.FENCED.set(sum(self._is_fenced(tracked) for tracked in self._tracked))
                await asyncio.sleep(TICK_S)

    def _begin(self, tracked: Tracked, group: asyncio.TaskGroup) -> None:
        """Starts what has to be done to a container, if anything."""
        work = self._work(tracked)
        if work is None:
            return
        self._busy.add(tracked.container_id)
        task = group.create_task(self._carry_out(tracked, *work))
        task.add_done_callback(lambda _: self._busy.discard(tracked.container_id))

    def _work(self, tracked: Tracked) -> tuple[FenceAction, Work] | None:
        fenced = self._is_fenced(tracked)
        match action := self._decide(tracked, fenced):
            case FenceAction.FREEZE:
                return action, self._freeze
            case FenceAction.KEEP_FROZEN if self._heartbeat.age < self._fence_after:
                return action, self._verify
            case FenceAction.KILL:
                return action, self._kill
            case FenceAction.RUN if fenced:
                return action, self._thaw
        return None

    @staticmethod
    async def _carry_out(tracked: Tracked, action: FenceAction, work: Work) -> None:
        try:
            await work(tracked)
        except Unavailable as error:
            log.warning("cannot do it now, trying again", workload=str(tracked.ref), action=action, error=str(error))
        except SwarmKeepError as error:
            log.error("fencing failed, trying again", workload=str(tracked.ref), action=action, error=str(error))

    def _decide(self, tracked: Tracked, fenced: bool) -> FenceAction:
        policy = self._desired.policy(Ref(tracked.ref.namespace, tracked.policy))
        return fence_action(
            policy.fencing if policy else Fencing.STRICT,
            node=self._node,
            epoch=tracked.epoch,
            lease_age=self._heartbeat.age,
            fence_after=self._fence_after,
            fenced=fenced,
            claim=self._seen.get(_copy(tracked)),
        )

    async def _freeze(self, tracked: Tracked) -> None:
        # Docker is not asked: it may be away, and tells nothing of what it is just starting, which runs already.
        facts = self._containers.known(tracked.container_id)
        pid = facts.pid if facts is not None else await self._containers.member(tracked.container_id)
        if not pid:
            await asyncio.sleep(NO_PROCESS_S)
            return
        # Written down first: the next life of an agent that dies here must not let it go.
        tracked.phase = Phase.FENCED
        self._tracked.save(tracked)
        try:
            await self._freezes.hold(tracked.container_id, pid, Why.FENCED)
        except HostError as error:
            # Running on is the one thing that it must not do; its newest version is safe.
            log.error("cannot freeze, ending it instead", workload=str(tracked.ref), error=str(error))
            if facts is not None:
                await self._containers.kill_now(facts)
            else:
                await self._containers.end_unborn(tracked.container_id)
            return
        self._story.fenced(tracked.ref, self._heartbeat.age.total_seconds())

    async def _verify(self, tracked: Tracked) -> None:
        # An answer to a question from before a silence says nothing; the limit has it asked anew in time.
        left, silent_ticks = self._fence_after - self._heartbeat.age, self._silent_ticks
        try:
            async with asyncio.timeout(left.total_seconds()):
                claim = (await self._claims.read(tracked.ref)).claim
        except NotFound:
            # Nobody protects it any more, so nobody else can run it in our place.
            claim = tracked.claim(self._node)
        except TimeoutError:
            return
        if silent_ticks == self._silent_ticks and self._heartbeat.age < self._fence_after:
            self.saw(tracked, claim)

    async def _thaw(self, tracked: Tracked) -> None:
        facts = await self._containers.cached(tracked.container_id)
        await self._freezes.let_go(facts.id, facts.pid, Why.FENCED)
        tracked.phase = Phase.RUNNING
        self._tracked.save(tracked)
        self._story.unfenced(tracked.ref)

    async def _kill(self, tracked: Tracked) -> None:
        facts = await self._containers.cached(tracked.container_id)
        await self._containers.kill_now(facts)
        self._freezes.forget(facts.id)
        metrics.KILLED_COPIES.inc()
        claim = self._seen.pop(_copy(tracked), None)
        self._story.copy_killed(tracked.ref, claim.node if claim else "")
        if tracked.plain:
            # Docker may start it again, and would be asked whether it may.
            tracked.end = end_status(End.KILLED, datetime.now(UTC))
            self._tracked.save(tracked)
            return
        self._tracked.drop(tracked)

    def _is_fenced(self, tracked: Tracked) -> bool:
        return self._freezes.is_held(tracked.container_id, Why.FENCED)

    def _counts(self, tracked: Tracked) -> bool:
        """Whether there can be a process that might have to stand still."""
        return tracked.end is None and not self._tracked.is_coming_up(tracked)


def _copy(tracked: Tracked) -> tuple[str, int]:
    """What a claim was read for: it says nothing of another container, nor of the same under a newer claim."""
    return tracked.container_id, tracked.epoch
