"""Which versions are read back unasked, to find damage before a restore does. Pure; part of what is planned for a
workload."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from swarmkeep.model.checkpoint import Checkpoint, How, Look
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
    """The copy of a version of a workload to be read back unasked, and when to look again.

    Due at once is what failed to be restored, what showed wrong bytes to a restore, and, where a copy was found
    damaged, all others in that location, the newest first: they lean on the same packs. Damage that could be repaired
    is due again after a while. Else what was not looked at for an interval is due, the longest ago first. Where
    versions come and go faster than that, the newest good one is read once in an interval, in one location after the
    other. One at a time.
    """
    stored = [item for item in checkpoints if item.is_stored]
    busy = any(item.verification is not None or has_open_wish(item) for item in stored)
    if not interval or not stored or busy:
        return None, None
    copies = [_Copy(item, name) for item in stored for name in item.data_in or (item.location,)]
    # What nobody reaches must not keep the rest from being looked at.
    copies = [copy for copy in copies if copy.node(workload, workers) is not None]
    if not copies:
        return None, now + LOOK_AGAIN
    suspects = _failed(copies, workload, now) + _suspects(copies, now) + _repairable(copies, now)
    chosen = suspects[0] if suspects else min(copies, key=lambda copy: (copy.looked_at(now), copy.item.ref))
    if not suspects and chosen.looked_at(now) + interval > now:
        newest = max(copies, key=lambda copy: (copy.item.is_good, copy.item.version or 0)).item
        looks = [look.full_at for copy in copies if (look := copy.look) is not None and look.full_at]
        last = max([workload.scrubbed_at or min(_taken_at(item, now) for item in stored), *looks])
        due = min(last, now) + interval
        if due > now:
            return None, min(due, chosen.looked_at(now) + interval)
        chosen = min((copy for copy in copies if copy.item is newest), key=lambda copy: _read_there(copies, copy, now))
    node = chosen.node(workload, workers) or ""
    order = order_for(chosen.item, node, How.FULL, (chosen.location,))
    return VerifyCheckpoint(chosen.item.ref, chosen.item.resource_version, order), None


@dataclass(frozen=True, slots=True)
class _Copy:
    """What one location has of a version."""

    item: Checkpoint
    location: str

    @property
    def look(self) -> Look | None:
        return self.item.look(self.location)

    def node(self, workload: Workload, workers: Iterable[Worker]) -> str | None:
        return worker_for(self.item, workload, workers, (self.location,))

    def looks(self) -> list[datetime]:
        look = self.look
        return [moment for moment in (look.full_at, look.trouble_at) if moment is not None] if look else []

    def looked_at(self, now: datetime) -> datetime:
        """When its bytes were last known to be right, or somebody tried to find out; writing them counts as that."""
        moments = [_taken_at(self.item, now), *self.looks()]
        # A node's clock that runs ahead must not keep a version from being looked at for ever.
        return min(max(moments), now)

    @property
    def is_damaged(self) -> bool:
        return self.item.is_damaged_in(self.location)


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


def _failed(copies: Sequence[_Copy], workload: Workload, now: datetime) -> list[_Copy]:
    """What could not be restored of late, and whose bytes nobody has looked at since: are they to blame?"""
    start = workload.last_start
    wrong = {(start.version, name) for name in start.wrong_in} if start is not None else set()
    return [
        copy
        for copy in copies
        if ((copy.item.version, copy.location) in wrong or workload.failed_restores.get(copy.item.version or 0))
        and not copy.is_damaged
        and not any(moment > now - DOUBTED_FOR for moment in copy.looks())
    ]


def _suspects(copies: Sequence[_Copy], now: datetime) -> list[_Copy]:
    """What may lean on the bytes that another version in the same location was found to have lost, the newest first."""
    alarms: dict[str, datetime] = {}
    for copy in copies:
        if copy.look is not None and copy.look.damaged_at is not None:
            alarms[copy.location] = max(copy.look.damaged_at, alarms.get(copy.location, copy.look.damaged_at))
    return sorted(
        (
            copy
            for copy in copies
            if (alarm := alarms.get(copy.location)) is not None
            and not copy.is_damaged
            and _taken_at(copy.item, now) < alarm + HEARD_WITHIN
            and not any(moment >= alarm for moment in copy.looks())
        ),
        key=lambda copy: -(copy.item.version or 0),
    )


def _repairable(copies: Sequence[_Copy], now: datetime) -> list[_Copy]:
    """What is damaged though another location has it good: the last try to repair it was a while ago, or went wrong."""
    return [
        copy
        for copy in copies
        if copy.is_damaged and copy.item.good_in and not any(moment > now - DOUBTED_FOR for moment in copy.looks())
    ]


def _read_there(copies: Sequence[_Copy], wanted: _Copy, now: datetime) -> tuple[datetime, str]:
    """When anything of the workload was last read in that location."""
    looks = [moment for copy in copies if copy.location == wanted.location for moment in copy.looks()]
    return min(max(looks, default=datetime.min.replace(tzinfo=now.tzinfo)), now), wanted.location


def _taken_at(item: Checkpoint, now: datetime) -> datetime:
    return item.taken_at or item.created_at or now
