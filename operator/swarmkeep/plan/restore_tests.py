"""Which versions are restored in isolation unasked, and what that says of a workload. Part of what is planned for it.

The order goes the way of every verification (see verification.py), and so does its answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from swarmkeep.model.checkpoint import Checkpoint, How, Passed
from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import VerifyCheckpoint
from swarmkeep.plan.verification import has_open_wish, is_open, order_for, restored_from, worker_for
from swarmkeep.plan.workers import Worker

AGAIN_AFTER = timedelta(hours=1)
"""A version of which nothing could be found out is not tried again within this time."""


def plan_test_restore(
    checkpoints: Iterable[Checkpoint],
    workload: Workload,
    workers: Sequence[Worker],
    every: int,
    now: datetime,
) -> VerifyCheckpoint | None:
    """The version to be test-restored now: the newest with a number that `every` divides, unless it or a newer one was.

    Where versions come faster than they can be tried, those between are left out. One of a workload at a time.
    """
    stored = [item for item in checkpoints if item.is_stored]
    if not every or any(is_open(item) or item.verification is not None or has_open_wish(item) for item in stored):
        return None
    newest = max((item.version or 0 for item in stored if item.is_good), default=0)
    due = [item for item in stored if item.is_good and item.version == newest - newest % every]
    tried = max((item.version or 0 for item in stored if _was_tried(item, now)), default=0)
    if not due or (due[0].version or 0) <= tried:
        return None
    where = restored_from(due[0])
    node = worker_for(due[0], workload, workers, where)
    if node is None:
        return None
    return VerifyCheckpoint(due[0].ref, due[0].resource_version, order_for(due[0], node, How.RESTORE, where))


def restorable(checkpoints: Iterable[Checkpoint]) -> Condition | None:
    """The workload's condition `Restorable`: what the newest test restore said; None when there was none."""
    tried = [item for item in checkpoints if item.is_stored and item.tried_restore is not None]
    newest = max(tried, key=lambda item: item.version or 0, default=None)
    if newest is None or newest.tried_restore is None:
        return None
    found = newest.tried_restore
    text = f"version {newest.version} in a test restore on {found.node}: {found.message}"
    if found.result is Passed.PASSED:
        return Condition("Restorable", Status.TRUE, "TestRestored", text)
    if found.result is Passed.UNKNOWN:
        return Condition("Restorable", Status.UNKNOWN, "CannotBeTested", text)
    proven = newest_proven(tried)
    left = f"version {proven} is the newest that came up in one" if proven else "none has come up in one"
    return Condition("Restorable", Status.FALSE, "TestRestoreFailed", f"{text}; {left}")


def newest_proven(checkpoints: Iterable[Checkpoint]) -> int | None:
    """Number of the newest version that came up in a test restore: whatever becomes of the others, that one stays."""
    proven = [
        item.version or 0
        for item in checkpoints
        if item.is_good and item.tried_restore is not None and item.tried_restore.result is Passed.PASSED
    ]
    return max(proven, default=None)


def _was_tried(item: Checkpoint, now: datetime) -> bool:
    trouble_at = item.verified.trouble_at if item.verified is not None else None
    return item.tried_restore is not None or (trouble_at is not None and trouble_at + AGAIN_AFTER > now)
