"""Which version a Restore means, and what speaks against going back to it. Used by operator and CLI. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from swarmkeep.model.checkpoint import Checkpoint
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Workload


@dataclass(frozen=True, slots=True)
class Goal:
    """Where a workload is to be brought; without anything to its newest version."""

    version: int | None = None
    time: datetime | None = None
    fresh: bool = False


def choose(goal: Goal, workload: Workload, checkpoints: Sequence[Checkpoint]) -> Checkpoint | str | None:
    """The version to go back to, None for a start from nothing, or a sentence why that cannot be."""
    if (goal.version is not None) + (goal.time is not None) + goal.fresh > 1:
        return "version, time and fresh exclude each other: give one of them"
    if goal.fresh:
        return None
    good = [item for item in checkpoints if item.is_good and item.version is not None]
    if goal.version is not None:
        found = next((item for item in checkpoints if item.version == goal.version), None)
        chosen = next((item for item in good if item.version == goal.version), None)
        if chosen is None:
            return _why_not(goal.version, found, good)
    elif goal.time is not None:
        before = [item for item in good if item.taken_at is not None and item.taken_at <= goal.time]
        chosen = max(before, key=lambda item: (item.taken_at, item.version), default=None)
        if chosen is None:
            return f"no version was taken at {format_time(goal.time)} or before; {_there_are(good)}"
    else:
        line = [item for item in good if workload.line.has(item.version or 0)]
        chosen = max(line, key=lambda item: item.version or 0, default=None)
        if chosen is None:
            return f"no version leads to what runs now; {_there_are(good)}"
    if workload.spec_hash and chosen.spec_hash and chosen.spec_hash != workload.spec_hash:
        return (
            f"version {chosen.version} is of another specification than the task has now: image, command, environment, "
            "another setting of its process or a forced update differ. Bring the service back to that first, as docker "
            "service rollback does"
        )
    return chosen


def _why_not(number: int, found: Checkpoint | None, good: Sequence[Checkpoint]) -> str:
    if found is None:
        return f"there is no version {number}; {_there_are(good)}"
    if found.is_damaged:
        return f"version {number} is damaged; {_there_are(good)}"
    what = "being deleted" if found.deleting else f"{found.phase or 'not taken yet'}"
    return f"version {number} cannot be restored, it is {what}; {_there_are(good)}"


def _there_are(good: Sequence[Checkpoint]) -> str:
    if not good:
        return "there is none that could be restored"
    oldest, newest = (choose_by(good, key=lambda item: item.version or 0) for choose_by in (min, max))
    span = f"{oldest.version} to {newest.version}" if oldest is not newest else f"only {newest.version}"
    since = f", the oldest of {format_time(oldest.taken_at)}" if oldest.taken_at else ""
    return f"there is {span}{since}" if oldest is newest else f"there are {span}{since}"
