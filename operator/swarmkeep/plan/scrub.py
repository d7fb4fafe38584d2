"""Which versions are read back unasked, to find damage before a restore does. Pure; part of what is planned for a
workload."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from swarmkeep.model.checkpoint import Checkpoint, How
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import VerifyCheckpoint
from swarmkeep.plan.verification import has_open_wish, is_open, order_for, worker_for
from swarmkeep.plan.workers import LOOK_AGAIN, Worker

DOUBTED_FOR = timedelta(hours=1)
"""A version that fails to be restored is not looked at again within this time."""
HEARD_WITHIN = timedelta(minutes=2)
"""A version that was taken so long after another was found damaged may still lean on the same bytes."""


def plan_scrub(
    checkpoints: Iterable[Checkpoint],
    workload: Workload,
    workers: Sequence[Worker],
    interval: timedelta,
    now: datetime,
) -> tuple[VerifyCheckpoint | None, datetime | None]:
    """The version of a workload to be read back unasked, and when to look again.

    Due at once is what failed to be restored, and, where one was found damaged, all others, the newest first: they lean
    on the same packs. Else what was not looked at for an interval is due, the longest ago first. Where versions come
    and go faster than that, the newest good one is read once in an interval. One at a time.
    """
    stored = [item for item in checkpoints if item.is_stored]
    busy = any(item.verification is not None or has_open_wish(item) for item in stored)
    if not interval or not stored or busy:
        return None, None
    suspects = _failed(stored, workload, now) + _suspects(stored, now)
    chosen = suspects[0] if suspects else min(stored, key=lambda item: (_looked_at(item, now), item.ref))
    if not suspects and _looked_at(chosen, now) + interval > now:
        newest = max(stored, key=lambda item: (item.is_good, item.version or 0))
        looks = [item.verified.full_at for item in stored if item.verified and item.verified.full_at]
        last = max([workload.scrubbed_at or min(_taken_at(item, now) for item in stored), *looks])
        due = min(last, now) + interval
        if due > now:
            return None, min(due, _looked_at(chosen, now) + interval)
        chosen = newest
    node = worker_for(chosen, workload, workers)
    if node is None:
        return None, now + LOOK_AGAIN
    return VerifyCheckpoint(chosen.ref, chosen.resource_version, order_for(chosen, node, How.FULL)), None


def must_note_scrub(
    checkpoints: Iterable[Checkpoint], workload: Workload, interval: timedelta, now: datetime, *, given: bool
) -> bool:
    """Whether the workload has to remember that a scrub of it begins now: one was `given`, or is open unnoted."""
    if not interval or (workload.scrubbed_at is not None and workload.scrubbed_at + interval > now):
        return False
    return given or any(
        is_open(item) and item.verification is not None and not item.verification.wish
        for item in checkpoints
        if item.is_stored
    )


def _failed(stored: Sequence[Checkpoint], workload: Workload, now: datetime) -> list[Checkpoint]:
    """Versions that could not be restored of late, and whose bytes nobody has looked at since: are they to blame?"""
    return [
        item
        for item in stored
        if workload.failed_restores.get(item.version or 0)
        and not item.is_damaged
        and not any(moment > now - DOUBTED_FOR for moment in _looks(item))
    ]


def _suspects(stored: Sequence[Checkpoint], now: datetime) -> list[Checkpoint]:
    """Versions that may lean on the bytes that another was found to have lost, the newest first."""
    found = [item.verified.at for item in stored if item.is_damaged and item.verified and item.verified.at]
    if not found:
        return []
    alarm = max(found)
    return sorted(
        (
            item
            for item in stored
            if not item.is_damaged
            and _taken_at(item, now) < alarm + HEARD_WITHIN
            and not any(moment >= alarm for moment in _looks(item))
        ),
        key=lambda item: -(item.version or 0),
    )


def _looks(item: Checkpoint) -> list[datetime]:
    seen = item.verified
    return [moment for moment in (seen.full_at, seen.trouble_at) if moment is not None] if seen else []


def _taken_at(item: Checkpoint, now: datetime) -> datetime:
    return item.taken_at or item.created_at or now


def _looked_at(item: Checkpoint, now: datetime) -> datetime:
    """When its bytes were last known to be right, or somebody tried to find out; writing them counts as that."""
    moments = [_taken_at(item, now), *_looks(item)]
    # A node's clock that runs ahead must not keep a version from being looked at for ever.
    return min(max(moments), now)
