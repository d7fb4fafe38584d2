"""Freezes this node's workloads before anybody else may run them, and thaws or ends them when it knows more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

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
from swarmkeep.model.workload import Claim, Phase
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.fencing import FenceAction, fence_action

log = structlog.get_logger(__name__)

TICK_S = 0.1


class Fencer:
    """Looks at every claimed container ten times a second; see plan.fencing for what is decided."""

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
        self._seen: dict[Ref, Claim] = {}

    def saw(self, ref: Ref, claim: Claim) -> None:
        """Somebody has just read a workload and found this claim."""
        self._seen[ref] = claim

    async def run(self) -> None:
        """Fences for ever. A container that cannot be frozen or ended is tried again at every tick."""
        while True:
            if self._heartbeat.age >= self._fence_after:
                # What was read before the silence says nothing about now.
                self._seen.clear()
            await asyncio.gather(*(self._look(tracked) for tracked in self._tracked if self._counts(tracked)))
            metrics.FENCED.set(sum(self._is_fenced(tracked) for tracked in self._tracked))
            await asyncio.sleep(TICK_S)

    async def _look(self, tracked: Tracked) -> None:
        fenced = self._is_fenced(tracked)
        action = self._decide(tracked, fenced)
        try:
            match action:
                case FenceAction.FREEZE:
                    await self._freeze(tracked)
                case FenceAction.KEEP_FROZEN if self._heartbeat.age < self._fence_after:
                    await self._verify(tracked)
                case FenceAction.KILL:
                    await self._kill(tracked)
                case FenceAction.RUN if fenced:
                    await self._thaw(tracked)
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
            claim=self._seen.get(tracked.ref),
        )

    async def _freeze(self, tracked: Tracked) -> None:
        facts = await self._containers.cached(tracked.container_id)
        try:
            await self._freezes.hold(facts.id, facts.pid, Why.FENCED)
        except HostError as error:
            # Running on is the one thing that it must not do; its newest version is safe.
            log.error("cannot freeze, ending it instead", workload=str(tracked.ref), error=str(error))
            await self._containers.kill_now(facts)
            return
        tracked.phase = Phase.FENCED
        self._tracked.save(tracked)
        self._story.fenced(tracked.ref, self._heartbeat.age.total_seconds())

    async def _verify(self, tracked: Tracked) -> None:
        try:
            workload = await self._claims.read(tracked.ref)
        except NotFound:
            # Nobody protects it any more, so nobody else can run it in our place.
            self._seen[tracked.ref] = tracked.claim(self._node)
            return
        self._seen[tracked.ref] = workload.claim

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
        self._story.copy_killed(tracked.ref, self._seen[tracked.ref].node)
        self._seen.pop(tracked.ref, None)
        self._tracked.drop(tracked)

    def _is_fenced(self, tracked: Tracked) -> bool:
        return self._freezes.is_held(tracked.container_id, Why.FENCED)

    @staticmethod
    def _counts(tracked: Tracked) -> bool:
        return tracked.epoch > 0 and tracked.end is None and tracked.phase is not Phase.RESTORING
