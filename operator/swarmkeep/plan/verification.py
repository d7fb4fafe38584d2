"""Which versions are read back to see whether they are still whole, by which node, and what the answer means.

The operator gives the order (`status.verification`), a node's agent answers it (`status.verified`), a user may wish for
one (`spec.verify`): one writer for each. An order is open until the answer repeats its number, so that any of them may
die at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, How, Result
from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import Plan, StatusPatch, Tell, VerifyCheckpoint
from swarmkeep.plan.workers import LOOK_AGAIN, Worker, choose_worker

NAMED = 20
"""Damaged files that an answer names before it only counts."""
PROBLEM_CHARACTERS = 300
HEARD_WITHIN = timedelta(minutes=2)
"""A version that was taken so long after another was found damaged may still lean on the same bytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a node found out about one version."""

    at: datetime
    node: str
    bytes: int
    problems: Sequence[tuple[str, str]] = ()
    """Path and what is wrong; the path is empty for the version as a whole."""
    trouble: str = ""
    """Why nothing was found out: nothing is said about the bytes then."""


def is_stored(item: Checkpoint) -> bool:
    """Whether its bytes are in storage, right or wrong, and are to stay there."""
    return item.phase is CheckpointPhase.STORED and not item.deleting and item.version is not None


def is_open(item: Checkpoint) -> bool:
    """Whether an order waits for its answer."""
    order, answer = item.verification, item.verified
    return order is not None and (answer is None or answer.number != order.number)


def has_open_wish(item: Checkpoint) -> bool:
    """Whether a user's wish was not answered yet."""
    return bool(item.wish) and (item.verified is None or item.verified.wish != item.wish)


def plan_verification(
    item: Checkpoint, workload: Workload | None, workers: Sequence[Worker], location_known: bool, now: datetime
) -> Plan:
    """What to do about one stored version: give an order, move it to another node, or take note of its answer."""
    order = item.verification
    if has_open_wish(item) and not (is_open(item) and order is not None and order.wish == item.wish):
        return _give(item, workload, workers, location_known, item.wish_how, item.wish, now)
    if order is None:
        return Plan("")
    if not is_open(item):
        return _take_note(item)
    if any(worker.name == order.node and worker.reaches(item.location) for worker in workers):
        return Plan("", wake_at=now + LOOK_AGAIN)
    return _give(item, workload, workers, location_known, order.how, order.wish, now)


def plan_scrub(
    checkpoints: Iterable[Checkpoint],
    workload: Workload,
    workers: Sequence[Worker],
    interval: timedelta,
    now: datetime,
) -> tuple[VerifyCheckpoint | None, datetime | None]:
    """The version of a workload to be read back unasked, and when to look again.

    Where one was found damaged the others are due at once, the newest first: they lean on the same packs. Else what was
    not looked at for an interval is due, the longest ago first. Where versions come and go faster than that, the newest
    good one is read once in an interval. One at a time.
    """
    stored = [item for item in checkpoints if is_stored(item)]
    if not interval or not stored or any(item.verification is not None for item in stored):
        return None, None
    suspects = _suspects(stored, now)
    chosen = suspects[0] if suspects else min(stored, key=lambda item: (_looked_at(item, now), item.ref))
    if not suspects and _looked_at(chosen, now) + interval > now:
        newest = max(stored, key=lambda item: (item.is_good, item.version or 0))
        looks = [item.verified.full_at for item in stored if item.verified and item.verified.full_at]
        last = max([workload.scrubbed_at or min(_taken_at(item, now) for item in stored), *looks])
        due = min(last, now) + interval
        if due > now:
            return None, min(due, _looked_at(chosen, now) + interval)
        chosen = newest
    node = _worker_for(chosen, workload, workers)
    if node is None:
        return None, now + LOOK_AGAIN
    return VerifyCheckpoint(chosen.ref, chosen.resource_version, _order(chosen, node, How.FULL, "", "")), None


def intact(checkpoints: Iterable[Checkpoint]) -> Condition:
    """The workload's condition: whether any of its versions was found damaged."""
    damaged = sorted(item.version or 0 for item in checkpoints if is_stored(item) and item.is_damaged)
    if not damaged:
        return Condition("Intact", Status.TRUE, "NoDamageFound", "no version was found damaged")
    named = ", ".join(map(str, damaged[:3])) + (f" and {len(damaged) - 3} more" if len(damaged) > 3 else "")
    what = f"version {named} is" if len(damaged) == 1 else f"versions {named} are"
    return Condition("Intact", Status.FALSE, "Damaged", f"{what} damaged in storage, and will not be restored")


def must_stand_alone(damaged: Collection[int], clean_from: int) -> bool:
    """Whether the next version of a workload must not lean on what is in storage.

    A writer takes over unchanged pages without reading them, so damage would go on into every version to come.
    `clean_from`: the last version that was stored alone for that reason; what came after leans on none before it.
    """
    return any(number >= clean_from for number in damaged)


def must_note_scrub(
    checkpoints: Iterable[Checkpoint], workload: Workload, interval: timedelta, now: datetime, *, given: bool
) -> bool:
    """Whether the workload has to remember that a scrub of it begins now: one was `given`, or is open unnoted."""
    if not interval or (workload.scrubbed_at is not None and workload.scrubbed_at + interval > now):
        return False
    return given or any(
        is_open(item) and item.verification is not None and not item.verification.wish
        for item in checkpoints
        if is_stored(item)
    )


def next_order(items: Iterable[Checkpoint], node: str) -> Checkpoint | None:
    """Of the versions that this node has to verify, the next: what a user waits for first."""
    mine = [
        item
        for item in items
        if is_stored(item) and is_open(item) and item.verification and item.verification.node == node
    ]
    return min(mine, key=lambda item: (not item.verification.wish, item.verification.wish, item.ref), default=None)  # type: ignore[union-attr]


def answer(item: Checkpoint, before: Mapping[str, Any], found: Finding) -> dict[str, Any]:
    """`status.verified` as a merge patch, given what it says now.

    Whoever could not look says nothing of the bytes: the last result stands. A quick look that finds nothing does not
    take back what reading every byte has found.
    """
    order = item.verification
    if order is None:
        raise ValueError(f"nobody ordered a verification of {item.ref}")
    said: dict[str, Any] = {"number": order.number}
    if order.wish:
        said["requestedAt"] = order.wish
    if found.trouble:
        return said | {"trouble": found.trouble, "troubleAt": format_time(found.at)}
    said |= {"trouble": None, "troubleAt": None}
    if order.how is How.FULL:
        said["fullAt"] = format_time(found.at)
    elif not found.problems and before.get("result") == Result.DAMAGED and before.get("how") == How.FULL:
        return said
    return said | {
        "at": format_time(found.at),
        "how": str(order.how),
        "result": str(Result.DAMAGED if found.problems else Result.GOOD),
        "node": found.node,
        "bytes": found.bytes,
        "damagedFiles": len(found.problems) or None,
        "problems": [
            {"path": path, "problem": problem[:PROBLEM_CHARACTERS]} for path, problem in found.problems[:NAMED]
        ]
        or None,
    }


def _give(
    item: Checkpoint,
    workload: Workload | None,
    workers: Sequence[Worker],
    location_known: bool,
    how: How,
    wish: str,
    now: datetime,
) -> Plan:
    node = _worker_for(item, workload, workers)
    message = ""
    if node is None:
        what = "no node that is ready reaches" if location_known else "there is no StorageLocation"
        message = f"cannot be verified yet: {what} {item.location}"
    order = item.verification
    if node is None and order is not None and not order.node and order.wish == wish:
        return Plan("", wake_at=now + LOOK_AGAIN)
    text = f"{node} verifies {item.ref}" if node else f"{item.ref}: {message}"
    status = StatusPatch({"verification": _order(item, node or "", how, wish, message)}, guarded=True)
    return Plan(text, status=status, wake_at=now + LOOK_AGAIN)


def _take_note(item: Checkpoint) -> Plan:
    found = item.verified
    status = StatusPatch({"verification": None}, guarded=True)
    if found is None or found.trouble:
        trouble = f"could not be verified: {found.trouble if found else ''}"
        return Plan(f"{item.ref} {trouble}", (Tell(True, "NotVerified", trouble, rarely=True),), status)
    if found.result is Result.DAMAGED:
        text = "its bytes in storage are damaged (see status.verified.problems): it is not restored any more"
        return Plan(f"{item.ref} is damaged", (Tell(True, "Damaged", text),), status)
    return Plan("", status=status)


def _worker_for(item: Checkpoint, workload: Workload | None, workers: Iterable[Worker]) -> str | None:
    preferred = [item.verification.node] if item.verification else []
    preferred += [workload.claim.node] if workload and workload.claim.node else []
    return choose_worker(item.location, workers, [*preferred, item.node])


def _order(item: Checkpoint, node: str, how: How, wish: str, message: str) -> dict[str, Any]:
    before = [item.verification.number if item.verification else 0, item.verified.number if item.verified else 0]
    return {
        "number": max(before) + 1,
        "node": node or None,
        "how": str(how),
        "requestedAt": wish or None,
        "message": message or None,
    }


def _taken_at(item: Checkpoint, now: datetime) -> datetime:
    return item.taken_at or item.created_at or now


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


def _looked_at(item: Checkpoint, now: datetime) -> datetime:
    """When its bytes were last known to be right, or somebody tried to find out; writing them counts as that."""
    moments = [_taken_at(item, now), *_looks(item)]
    # A node's clock that runs ahead must not keep a version from being looked at for ever.
    return min(max(moments), now)
