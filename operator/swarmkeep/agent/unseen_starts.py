"""Starts whose outcome no agent heard: the shim had to do without one, or the agent died before it was told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import structlog

from swarmkeep.agent.desired import Desired
from swarmkeep.agent.runtime.cold_starts import ColdStart, ColdStarts
from swarmkeep.agent.runtime.containers import ContainerFacts, Containers
from swarmkeep.agent.story import Story
from swarmkeep.agent.tracked import Tracked, TrackedContainers
from swarmkeep.errors import NotFound
from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import format_time, parse_time
from swarmkeep.model.workload import Phase
from swarmkeep.obs import agent_metrics as metrics
from swarmkeep.plan.start import Fresh, Restore

log = structlog.get_logger(__name__)

START_LIMIT = timedelta(seconds=60)
"""How long Docker may take from the shim's note to a container that runs or has ended."""


class UnseenStarts:
    """Finds out how containers came up, from what the shim noted and what the agent had in mind."""

    def __init__(
        self,
        node: str,
        cold_starts: ColdStarts,
        containers: Containers,
        desired: Desired,
        tracked: TrackedContainers,
        story: Story,
    ) -> None:
        self._node = node
        self._cold_starts = cold_starts
        self._containers = containers
        self._desired = desired
        self._tracked = tracked
        self._story = story
        self._notes: dict[str, ColdStart] = {}
        self._told: set[str] = set()

    def look(self) -> None:
        """Reads what the shim noted. A note is written before its container runs: list the containers first."""
        try:
            self._notes = {note.container_id: note for note in self._cold_starts.read()}
        except OSError as error:
            log.error("cannot read what the runtime shim noted, trying again", error=str(error))
        self._told &= self._notes.keys()

    def came_up(self, tracked: Tracked, facts: ContainerFacts) -> None:
        """The container runs, or has run: writes down how it came up if nobody has."""
        before = (tracked.start, tracked.attempt, tracked.phase)
        note = self._notes.get(tracked.container_id)
        if tracked.start is None and note is not None:
            self._started_fresh(tracked, note)
        elif tracked.start is None and tracked.attempt is not None:
            # Had the restore failed, the shim would have asked again or left a note.
            self._was_restored(tracked, tracked.attempt, facts)
        tracked.attempt = None
        if tracked.phase is Phase.RESTORING:
            tracked.phase = Phase.RUNNING
        if (tracked.start, tracked.attempt, tracked.phase) != before:
            self._tracked.save(tracked)

    async def finish(self) -> None:
        """Tells of noted containers that nobody tracks, and is done with the notes once all of them are told.

        Raises Unavailable when Docker does not answer.
        """
        waiting = False
        for note in self._notes.values():
            tracked = self._tracked.by_container(note.container_id)
            known = note.container_id in self._told or (tracked is not None and tracked.start is not None)
            if not known and not await self._tell_of_untracked(note):
                waiting = True
        if self._notes and not waiting:
            self._cold_starts.done()

    async def _tell_of_untracked(self, note: ColdStart) -> bool:
        """Whether nothing more has to be done about it."""
        try:
            facts = await self._containers.inspect(note.container_id)
        except NotFound:
            facts = None
        protection = self._desired.protection(facts) if facts is not None else None
        if protection is None or facts is None or facts.failed_to_start:
            log.warning("the shim noted a start of a container that nobody protects", container=note.container_id)
            self._told.add(note.container_id)
            return True
        if facts.ended_at is None and datetime.now(UTC) - note.at < START_LIMIT:
            return False
        self._tell(protection.workload, note)
        return True

    def _started_fresh(self, tracked: Tracked, note: ColdStart) -> None:
        tracked.start = {
            "how": "Fresh",
            "reason": note.reason,
            "message": note.message,
            "version": None,
            "seconds": None,
            "node": self._node,
            "taskID": tracked.task_id,
            "at": format_time(note.at),
            **dict.fromkeys(("restore", "order", "obeyed")),
        }
        self._tell(tracked.ref, note)

    def _tell(self, workload: Ref, note: ColdStart) -> None:
        if note.container_id in self._told:
            return
        self._told.add(note.container_id)
        metrics.COLD_STARTS.labels(note.reason).inc()
        self._story.cold_start(workload, Fresh(note.reason, note.message))

    def _was_restored(self, tracked: Tracked, attempt: dict[str, object], facts: ContainerFacts) -> None:
        asked_at = parse_time(str(attempt["at"]))
        at = facts.started_at or datetime.now(UTC)
        seconds = max(0.0, (at - asked_at).total_seconds())
        tracked.start = {**attempt, "seconds": round(seconds, 3), "at": format_time(at)}
        decision = Restore(int(str(attempt["version"])), str(attempt["reason"]), str(attempt["message"]))
        metrics.RESTORES.labels(decision.reason, "restored").inc()
        self._story.restored(tracked.ref, decision, seconds)
