"""Is a workload not as its policy promises? Used by the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmkeep.model.checkpoint import Checkpoint
from swarmkeep.model.policy import Policy
from swarmkeep.model.swarm import Task
from swarmkeep.model.workload import Phase, Workload
from swarmkeep.plan.schedule import overdue_after

MISPLACED_AFTER = timedelta(seconds=30)
"""How long a task may run without its node having the claim: a claim is taken in a second or two."""

_MEANT_FRESH = frozenset({"SpecChanged", "NewService", "Completed", "NotInPolicy", "Forgotten"})
"""Reasons for a fresh start that a user has asked for."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How a workload differs from what its policy promises."""

    reason: str
    message: str
    keep_version: int | None = None
    """A version that must not be pruned: it holds state that would otherwise be lost."""


def unwanted_cold_start(workload: Workload, checkpoints: Sequence[Checkpoint]) -> Drift | None:
    """The task came up fresh although a version was there that fits.

    It holds for as long as such a version exists: until then its state can still be brought back.
    """
    start = workload.last_start
    if start is None or start.restored or start.at is None or start.reason in _MEANT_FRESH:
        return None
    newest = _newest_before(start.at, [item for item in checkpoints if item.spec_hash == workload.spec_hash])
    if newest is None:
        return None
    return Drift(
        "ColdStart",
        f"its task started fresh ({start.reason}) although version {newest.version} was there; that version is kept",
        newest.version,
    )


def last_of_earlier_service(workload: Workload, checkpoints: Sequence[Checkpoint]) -> int | None:
    """The newest version of an earlier service of the same name, if the task started fresh because of that.

    Its state is in no newer version. Whoever removed a service by mistake can have it back for as long as it is there.
    """
    start = workload.last_start
    if start is None or start.at is None or start.reason != "NewService":
        return None
    newest = _newest_before(start.at, checkpoints)
    return newest.version if newest is not None else None


def _newest_before(moment: datetime, checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """The newest good version that was taken before `moment`."""
    good = [item for item in checkpoints if item.is_good and item.taken_at is not None and item.taken_at < moment]
    return max(good, key=lambda item: item.version or 0, default=None)


def misplaced(
    workload: Workload, task: Task | None, task_node: str, now: datetime
) -> tuple[Drift | None, datetime | None]:
    """Swarm runs the task where nobody has the right to run it; the second value says when to look again."""
    if task is None or task.state != "running" or not task_node or task.state_since is None:
        return None, None
    holder = workload.claim.node
    if holder == task_node:
        return None, None
    due = task.state_since + MISPLACED_AFTER
    if now < due:
        return None, due
    if holder:
        return Drift("Misplaced", f"Swarm runs its task on {task_node}, but {holder} has the right to run it"), None
    text = f"its task runs on {task_node}, whose agent has not claimed it; is the agent running there?"
    return Drift("Unclaimed", text), None


def overdue(workload: Workload, policy: Policy, started_at: datetime | None, now: datetime) -> Drift | None:
    """It runs, and its newest version is older than the schedule allows."""
    if policy.suspend or workload.phase is not Phase.RUNNING or started_at is None:
        return None
    limit = overdue_after(policy)
    newest = workload.newest.taken_at if workload.newest else started_at
    if now < max(newest, started_at) + limit:
        return None
    return Drift("VersionOverdue", f"no version was taken for more than {limit.total_seconds():g} s")
