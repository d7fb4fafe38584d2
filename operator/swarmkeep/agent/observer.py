"""Holds what is tracked against what Docker shows: adopts, settles ends, reports, and gives claims back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog

from swarmkeep.agent.claims import Claims, Taken
from swarmkeep.agent.desired import Desired
from swarmkeep.agent.fencer import Fencer
from swarmkeep.agent.freezes import Freezes, Why
from swarmkeep.agent.postmortem import Postmortem
from swarmkeep.agent.runtime.containers import ContainerFacts, Containers
from swarmkeep.agent.runtime.traits import TraitsReader
from swarmkeep.agent.shim_server import OUTCOME_LIMIT_S
from swarmkeep.agent.specifications import container_spec_hash
from swarmkeep.agent.stale_copies import StaleCopies
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.agent.unseen_starts import UnseenStarts
from swarmkeep.errors import Conflict, InvalidObject, NotFound, Unavailable
from swarmkeep.kube.client import Client
from swarmkeep.kube.mirror import Mirror
from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import WORKLOAD
from swarmkeep.model.traits import traits_wire
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import End, Phase, Workload, parse_workload
from swarmkeep.plan.crashes import ran_well
from swarmkeep.plan.ends import end_status
from swarmkeep.plan.protection import Protection

log = structlog.get_logger(__name__)

INTERVAL_S = 2.0
START_GRACE_S = 60.0
"""How long Docker may take from the runtime's create to a running container."""


class Observer:
    """One level-triggered loop: what it does depends on what is, never on which event woke it."""

    def __init__(
        self,
        node: str,
        boot_id: str,
        client: Client,
        containers: Containers,
        desired: Desired,
        claims: Claims,
        freezes: Freezes,
        fencer: Fencer,
        unseen: UnseenStarts,
        postmortem: Postmortem,
        stale: StaleCopies,
        tracked: TrackedContainers,
        traits: TraitsReader,
    ) -> None:
        self._node = node
        self._boot_id = boot_id
        self._containers = containers
        self._desired = desired
        self._claims = claims
        self._freezes = freezes
        self._fencer = fencer
        self._unseen = unseen
        self._postmortem = postmortem
        self._stale = stale
        self._tracked = tracked
        self._traits = traits
        self._reported: dict[Ref, dict[str, Any]] = {}
        self._wake = asyncio.Event()
        self._own = Mirror(client, WORKLOAD, fields=f"status.claim.node={node}", on_change=self._own_changed)

    def wake(self) -> None:
        """Something has changed: look now."""
        self._wake.set()

    async def run(self) -> None:
        """Observes for ever."""
        await self._take_over_frozen()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._own.run())
            group.create_task(self._follow_docker())
            group.create_task(self._loop())

    async def _loop(self) -> None:
        await self._desired.known.wait()
        docker_away = False
        while True:
            try:
                await self._reconcile()
                docker_away = False
            except Unavailable as error:
                if not docker_away:
                    log.warning("cannot look at the containers", error=str(error))
                docker_away = True
            self._wake.clear()
            try:
                async with asyncio.timeout(INTERVAL_S):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _follow_docker(self) -> None:
        async for _ in self._containers.events():
            self.wake()

    async def _take_over_frozen(self) -> None:
        """Containers that an earlier life of this agent had fenced must stand still until the claim is known."""
        for tracked in self._tracked:
            if tracked.phase is not Phase.FENCED:
                continue
            try:
                facts = await self._containers.inspect(tracked.container_id)
                if facts.running:
                    await self._freezes.hold(facts.id, facts.pid, Why.FENCED)
            except (NotFound, Unavailable) as error:
                log.warning("cannot look at a fenced container", workload=str(tracked.ref), error=str(error))

    async def _reconcile(self) -> None:
        running = {facts.id: facts for facts in await self._containers.list_running()}
        self._unseen.look()
        for tracked in self._tracked:
            if not self._tracked.is_unsettled(tracked) and tracked.end is None and tracked.container_id not in running:
                await self._settle_end(tracked)
        for facts in running.values():
            await self._adopt(facts)
        await self._unseen.finish()
        for tracked in self._tracked:
            if tracked.ref not in self._tracked.coming_up and not self._tracked.is_unsettled(tracked):
                self._end_row(tracked)
                await self._report(tracked, running.get(tracked.container_id))
        if self._own.synced:
            for obj in list(self._own.objects.values()):
                workload = parse_workload(obj)
                if self._tracked.get(workload.ref) is None and workload.ref not in self._tracked.coming_up:
                    await self._give_back(workload, running)

    async def _settle_end(self, tracked: Tracked) -> None:
        now = datetime.now(UTC)
        try:
            facts: ContainerFacts | None = await self._containers.inspect(tracked.container_id)
        except NotFound:
            facts = None
        if facts is not None and facts.running:
            return
        if facts is not None and not _has_ended(tracked, facts):
            grace_s = START_GRACE_S if tracked.attempt is None else OUTCOME_LIMIT_S
            # Of a container that is started again it may be an earlier start that failed.
            failed = facts.failed_to_start and not tracked.plain
            if not failed and (now - tracked.started_at).total_seconds() < grace_s:
                return
            # It never ran: its end is that of the task before, so that the next one is decided alike.
            tracked.end = tracked.end_before or end_status(End.CRASHED, now)
        else:
            if facts is not None:
                self._unseen.came_up(tracked, facts)
            self._postmortem.settle(tracked, facts, now)
        self._tracked.save(tracked)
        self._freezes.forget(tracked.container_id)
        self._containers.forget(tracked.container_id)
        self._traits.forget(tracked.container_id)
        log.info("a protected task has ended", workload=str(tracked.ref), end=tracked.end)

    def _end_row(self, tracked: Tracked) -> None:
        """A process that runs well ends a row of crashes before it."""
        if tracked.crashes is not None and tracked.end is None and ran_well(datetime.now(UTC) - tracked.started_at):
            log.info("runs well after crashes", workload=str(tracked.ref), in_row=tracked.crashes.in_row)
            tracked.crashes = None
            self._tracked.save(tracked)

    async def _adopt(self, facts: ContainerFacts) -> None:
        """Protects a running container that came up before its policy did, and claims what is unclaimed."""
        protection = self._desired.protection(facts)
        tracked = self._tracked.by_container(facts.id)
        if protection is None:
            if tracked is not None and not self._freezes.is_held(facts.id, Why.FENCED):
                log.info("no policy selects it any more", workload=str(tracked.ref))
                self._tracked.drop(tracked)
            return
        if protection.workload in self._tracked.coming_up:
            return
        if tracked is None:
            if self._tracked.get(protection.workload) is not None:
                return
            if protection.container is not None and not await self._may_adopt(protection):
                return
            # Known before it is claimed: a node that is cut off now freezes it like any other.
            tracked = Tracked(
                ref=protection.workload,
                policy=protection.policy.ref.name,
                container_id=facts.id,
                task_id=protection.task_id,
                spec_hash="",
                boot_id=self._boot_id,
                started_at=datetime.now(UTC),
                plain=protection.container is not None,
            )
            self._tracked.save(tracked)
        self._unseen.came_up(tracked, facts)
        if tracked.epoch > 0 or self._freezes.is_held(facts.id, Why.FENCED):
            return
        try:
            taken = await self._claims.take(protection.workload, Phase.RUNNING, container=protection.container)
        except (NotFound, Unavailable):
            # The operator has not made the workload yet, or the API is away: at the next look.
            return
        if not isinstance(taken, Taken):
            log.warning("a running container has no claim", workload=str(protection.workload), why=taken.message)
            if protection.container is not None and tracked.epoch == 0:
                # It only has the name of the one that was faster, and never ran under a claim: no copy to be ended.
                self._tracked.drop(tracked)
                return
            if taken.holder is not None:
                self._fencer.saw(tracked, taken.holder)
            return
        newest = taken.before.newest
        if tracked.newest is None and newest is not None:
            tracked.newest = {
                "number": newest.number,
                "takenAt": format_time(newest.taken_at),
                "specHash": newest.spec_hash,
            }
        tracked.spec_hash = container_spec_hash(facts, taken.before.force_update)
        tracked.line = taken.before.line.wire()
        tracked.epoch = taken.claim.epoch
        self._tracked.save(tracked)
        log.info("took a running container under protection", workload=str(tracked.ref), container=facts.name)

    async def _may_adopt(self, protection: Protection) -> bool:
        """Whether nobody has the claim of a plain container that came up before its policy.

        On another node an unrelated container may have the same name: such a one is left alone, never ended.
        """
        try:
            workload = await self._claims.read(protection.workload)
        except (NotFound, Unavailable):
            return False
        mine = workload.container_name == protection.container and not workload.is_placed_elsewhere(self._node)
        return mine and workload.claim.node in ("", self._node)

    async def _report(self, tracked: Tracked, facts: ContainerFacts | None) -> None:
        if tracked.epoch == 0:
            if tracked.end is not None:
                self._tracked.drop(tracked)
            return
        if tracked.finalizing and tracked.end is not None:
            # The claim goes back with this report: not before the final version is safe.
            return
        if tracked.end is not None and tracked.final_version is not None:
            tracked.end["finalVersion"] = tracked.final_version
        traits = {"traits": traits_wire(self._traits.read(facts))} if facts is not None else {}
        status = tracked.status(self._node)
        if status["container"] is not None:
            status["container"] |= traits
        if self._reported.get(tracked.ref) == status and self._is_shown(tracked):
            return
        try:
            other = await self._claims.report(tracked.ref, tracked.claim(self._node), status)
        except NotFound:
            if tracked.end is not None:
                self._forget(tracked)
            return
        except (Unavailable, Conflict, InvalidObject) as error:
            log.warning("could not report a workload", workload=str(tracked.ref), error=str(error))
            return
        if other is not None:
            if tracked.end is not None:
                self._forget(tracked)
            else:
                self._fencer.saw(tracked, other.claim)
            return
        if tracked.end is not None:
            self._forget(tracked)
        else:
            self._reported[tracked.ref] = status

    def _is_shown(self, tracked: Tracked) -> bool:
        """Whether the API shows the claim as ours: not so when the workload was deleted and made anew."""
        if not self._own.synced:
            return True
        obj = self._own.objects.get(tracked.ref)
        return obj is not None and parse_workload(obj).claim == tracked.claim(self._node)

    async def _give_back(self, workload: Workload, running: dict[str, ContainerFacts]) -> None:
        """A claim of ours that nothing here runs under: our records were lost, with the disk or a reinstallation.

        Or it was taken for a task that never came up; then the end of the one before still counts.
        """
        ref, claim = workload.ref, workload.claim
        for facts in running.values():
            protection = self._desired.protection(facts)
            if protection is not None and protection.workload == ref:
                return
        status: dict[str, Any] = {
            "phase": str(Phase.STOPPED),
            "claim": {"node": "", "epoch": claim.epoch},
            "container": None,
        }
        if workload.phase is not Phase.RESTORING:
            status["lastEnd"] = end_status(End.NODE_LOSS, datetime.now(UTC))
        try:
            if (await self._claims.read(ref)).claim != claim:
                # Given back already, or taken by another: what was listed is a moment old.
                return
            await self._claims.report(ref, claim, status)
        except (NotFound, Unavailable, Conflict) as error:
            log.warning("could not give a claim back", workload=str(ref), error=str(error))
            return
        log.info("gave back a claim that nothing here ran under", workload=str(ref))

    def _own_changed(self, *_: object) -> None:
        self.wake()

    def _forget(self, tracked: Tracked) -> None:
        self._stale.ended(tracked)
        self._tracked.drop(tracked)
        self._reported.pop(tracked.ref, None)


def _has_ended(tracked: Tracked, facts: ContainerFacts) -> bool:
    """Whether the process of that start has ended. A plain container may have earlier ones behind it."""
    return facts.has_ended_since(tracked.started_at) if tracked.plain else facts.exit_code is not None
