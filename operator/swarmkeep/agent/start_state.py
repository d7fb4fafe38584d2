"""One task on its way up: what is known of it, and what is written down of its start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from swarmkeep.agent.claims import Taken
from swarmkeep.agent.runtime.containers import ContainerFacts
from swarmkeep.agent.shim_server import Conversation
from swarmkeep.agent.tracked import Tracked
from swarmkeep.model.crashes import Crashes
from swarmkeep.model.ident import Ref
from swarmkeep.model.line import Line
from swarmkeep.model.policy import Policy
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import End, Phase
from swarmkeep.plan.orders import SeenStart, Standing
from swarmkeep.plan.protection import Protection
from swarmkeep.plan.start import Candidate, Fresh, Restore


@dataclass(slots=True)
class Start:
    """One task on its way up."""

    facts: ContainerFacts
    protection: Protection
    asked_at: datetime
    deadline: datetime
    conversation: Conversation
    taken: Taken | None = None
    spec_hash: str = ""
    end: End | None = None
    """How the task before ended; None when nobody saw it."""
    end_before: dict[str, Any] | None = None
    """The same, as status.lastEnd has it."""
    crashes: Crashes | None = None
    """Restored processes of it that crashed in a row until now."""
    seen: SeenStart | None = None
    """How the task before came up, where this node knows it."""
    given_out: int = 0
    """The highest version number that this node has given out: such a version may still be on its way to storage."""
    standing: Standing = field(default_factory=Standing)
    layer_applied: bool = False
    wrong_in: dict[int, set[str]] = field(default_factory=dict)
    """Locations in which wrong bytes of a version were met."""

    @property
    def ref(self) -> Ref:
        """The workload."""
        return self.protection.workload

    @property
    def policy(self) -> Policy:
        """Its policy."""
        return self.protection.policy

    def status(self, node: str, decision: Restore | Fresh, seconds: float) -> dict[str, Any]:
        """status.lastStart of the workload as a merge patch: it names every field, so that none of an earlier stays."""
        order, answered = self.standing.order, self.standing.answered
        version = decision.version if isinstance(decision, Restore) else None
        return {
            "how": "Restored" if isinstance(decision, Restore) else "Fresh",
            "reason": decision.reason,
            "message": decision.message,
            "version": version,
            "seconds": round(seconds, 3),
            "node": node,
            "taskID": self.protection.task_id,
            "at": format_time(datetime.now(UTC)),
            "wrongIn": sorted(self.wrong_in.get(version or 0, ())),
            "restore": order.restore if order else None,
            "order": order.id if order else answered or None,
            "obeyed": decision.ordered if order else bool(answered) or None,
        }

    def record(
        self,
        boot_id: str,
        candidates: Sequence[Candidate],
        failed: dict[int, int],
        status: dict[str, Any] | None,
        attempt: dict[str, Any] | None,
    ) -> Tracked:
        """What this node remembers of the task. `status` tells of a start that succeeded, `attempt` of one under way.

        The line that it gives counts only once there is a start.
        """
        before = self.taken.before if self.taken else None
        highest = max([self.given_out, *(item.number for item in candidates)])
        so_far = max(highest, before.newest.number if before and before.newest else 0)
        line = self._line_after(status or attempt, candidates, so_far)
        return Tracked(
            ref=self.ref,
            policy=self.policy.ref.name,
            container_id=self.facts.id,
            task_id=self.protection.task_id,
            spec_hash=self.spec_hash,
            boot_id=boot_id,
            started_at=datetime.now(UTC),
            epoch=self.taken.claim.epoch if self.taken else 0,
            phase=Phase.RUNNING if status else Phase.RESTORING,
            number=max(highest, line.top),
            number_before=max(so_far, line.top),
            newest=self._newest(candidates, line if status or attempt else self.standing.line),
            start=status,
            attempt=attempt,
            end_before=self.end_before,
            failed_restores={str(number): count for number, count in failed.items()},
            crashes=self.crashes,
            owes_hooks=bool(self.policy.hooks.after) and (attempt or status or {}).get("how") == "Restored",
            plain=self.protection.container is not None,
            line=line.wire(),
        )

    def _line_after(self, start: dict[str, Any] | None, candidates: Sequence[Candidate], highest: int) -> Line:
        line, order = self.standing.line, self.standing.order
        if start is None or order is None or not start["obeyed"]:
            return line
        own = next((item.line for item in candidates if item.number == order.version), Line())
        return own.back_to(order.version or 0, max(highest, line.top))

    def _newest(self, candidates: Sequence[Candidate], line: Line) -> dict[str, Any] | None:
        """status.newestVersion of the workload: the newest that it would be restored from."""
        before = self.taken.before.newest if self.taken else None
        if before is not None and not line.has(before.number):
            before = None
        newest = next((item for item in candidates if item.usable and line.has(item.number)), None)
        if newest is not None and (before is None or newest.number > before.number):
            return {"number": newest.number, "takenAt": format_time(newest.taken_at), "specHash": newest.spec_hash}
        if before is None:
            return None
        return {
            "number": before.number,
            "takenAt": format_time(before.taken_at),
            "specHash": before.spec_hash,
            "reason": before.reason,
        }
