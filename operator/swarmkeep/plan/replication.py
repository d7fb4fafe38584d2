"""Which version is copied to a further location next, and whether those keep up. Used by the agent and the operator."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint, Reason
from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.policy import Policy
from swarmkeep.model.workload import Replica, Workload
from swarmkeep.plan.schedule import overdue_after

SETTLED_AFTER = timedelta(minutes=10)
"""A version that newer ones have overtaken is copied once it is that old: then it is one that retention keeps for long.
Before that it would only keep the newest waiting, and most are pruned by then."""
NAMED = 3


@dataclass(frozen=True, slots=True)
class Original:
    """A version as the first location has it."""

    number: int
    taken_at: datetime
    reason: Reason


def next_copy(originals: Sequence[Original], present: Collection[int], now: datetime) -> int | None:
    """Which version a location gets next; None when there is nothing to do now.

    `present`: the numbers that it has, or that cannot be copied to it. The newest goes first, so however slow the
    location is, what it lacks is never more than what came up while it took one. Of those in between only final ones
    and those that a user asked for are sure to follow.
    """
    missing = [item for item in originals if item.number not in present]
    newest = max((item.number for item in originals), default=0)
    due = [
        item.number
        for item in missing
        if item.number == newest or item.reason is not Reason.SCHEDULE or now - item.taken_at >= SETTLED_AFTER
    ]
    return max(due, default=None)


def anchors(checkpoints: Iterable[Checkpoint]) -> dict[int, str]:
    """The newest version in each location that is behind, with why it stays: else that location would have nothing."""
    good = [item for item in checkpoints if item.is_good]
    newest: dict[str, int] = {}
    for item in good:
        for name in item.good_in:
            newest[name] = max(newest.get(name, 0), item.version or 0)
    top = max(newest.values(), default=0)
    return {number: f"the newest in {name}" for name, number in newest.items() if number < top}


def plan_replicated(
    policy: Policy,
    locations: Mapping[str, Sequence[Mapping[str, Any]] | None],
    members: Sequence[tuple[Workload, Sequence[Replica]]],
) -> Condition:
    """Whether the further locations of a policy keep up with the first.

    One is behind when copying to it fails, or when the newest version there is older than the newest that exists by
    more than a version may be overdue.
    """
    further = policy.locations[1:]
    if not further:
        return Condition("Replicated", Status.TRUE, "OneLocation", f"versions go to {policy.location} only")
    absent = [name for name in further if locations.get(name) is None]
    if absent:
        text = f"there is no StorageLocation {absent[0]}: create it, or take it out of spec.storage"
        return Condition("Replicated", Status.FALSE, "StorageLocationMissing", text)
    behind = [
        f"{name} lacks {workload.ref.name}: {why}"
        for workload, replicas in members
        for name in further
        if (why := _behind(policy, workload, next((item for item in replicas if item.location == name), None)))
    ]
    if behind:
        rest = len(behind) - NAMED
        text = "; ".join(behind[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
        return Condition("Replicated", Status.FALSE, "Behind", text)
    return Condition("Replicated", Status.TRUE, "Replicated", f"{', '.join(further)} keeps up with {policy.location}")


def _behind(policy: Policy, workload: Workload, replica: Replica | None) -> str:
    """Why the location counts as behind; empty when it does not."""
    newest = workload.newest
    if newest is None or replica is None:
        # Who runs it has not looked yet.
        return ""
    if replica.version is not None and replica.version >= newest.number:
        return ""
    has = f"it has version {replica.version} of {newest.number}" if replica.version else "it has no version yet"
    if replica.message:
        return f"{has}: {replica.message}"
    if replica.taken_at is not None and newest.taken_at - replica.taken_at > overdue_after(policy):
        return f"{has}: it is too slow"
    return ""
