"""Which versions are read back to see whether they are still whole, by which node, and what the answer means.

The operator gives the order (`status.verification`), a node's agent answers it (`status.verified`), a user may wish for
one (`spec.verify`): one writer for each. An order is open until the answer repeats its number, so that any of them may
die at any time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from swarmkeep.model.checkpoint import Checkpoint, How, Passed, Result
from swarmkeep.model.conditions import Condition, Status
from swarmkeep.model.wire import format_time
from swarmkeep.model.workload import Workload
from swarmkeep.plan.actions import Plan, StatusPatch, Tell
from swarmkeep.plan.workers import LOOK_AGAIN, Worker, choose_worker

NAMED = 20
"""Damaged files that an answer names before it only counts."""
PROBLEM_CHARACTERS = 300
MESSAGE_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a restore in isolation."""

    passed: Passed
    message: str
    processes: int = 0
    """How many came up."""
    seconds: float | None = None
    """How long the restore took; None when it never came to that."""

    def wire(self, at: datetime, node: str) -> dict[str, Any]:
        """As the Checkpoint's status has it, every field named."""
        return {
            "at": format_time(at),
            "node": node,
            "result": str(self.passed),
            "message": self.message[:MESSAGE_CHARACTERS],
            "processes": self.processes or None,
            "seconds": None if self.seconds is None else round(self.seconds, 3),
        }


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
    trial: Trial | None = None
    """What came of the restore in isolation, if there was one."""


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


def intact(checkpoints: Iterable[Checkpoint]) -> Condition:
    """The workload's condition: whether any of its versions was found damaged."""
    damaged = [item for item in checkpoints if item.is_stored and item.is_damaged]
    if not damaged:
        return Condition("Intact", Status.TRUE, "NoDamageFound", "no version was found damaged")
    damaged.sort(key=lambda item: item.version or 0)
    named = [f"version {item.version} ({_files(item)})" for item in damaged[:3]]
    more = f" and {len(damaged) - 3} more" if len(damaged) > 3 else ""
    text = f"damaged in storage, hence not restored any more: {', '.join(named)}{more}"
    return Condition("Intact", Status.FALSE, "Damaged", text)


def must_stand_alone(damaged: Collection[int], clean_from: int) -> bool:
    """Whether the next version of a workload must not lean on what is in storage.

    A writer takes over unchanged pages without reading them, so damage would go on into every version to come.
    `clean_from`: the last version that was stored alone for that reason; what came after leans on none before it.
    """
    return any(number >= clean_from for number in damaged)


def next_order(items: Iterable[Checkpoint], node: str) -> Checkpoint | None:
    """Of the versions that this node has to verify, the next: what a user waits for first."""
    mine = [
        item
        for item in items
        if item.is_stored and is_open(item) and item.verification and item.verification.node == node
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
    if order.how is not How.QUICK:
        said["fullAt"] = format_time(found.at)
    elif not found.problems and before.get("result") == Result.DAMAGED and before.get("how") != How.QUICK:
        return said
    if found.trial is not None:
        said["restore"] = found.trial.wire(found.at, found.node)
    tried = (said if found.trial is not None else before).get("restore") or {}
    return said | {
        "at": format_time(found.at),
        "how": str(order.how),
        "result": str(_result(found, tried.get("result") == Passed.FAILED)),
        "node": found.node,
        "bytes": found.bytes,
        "damagedFiles": len(found.problems) or None,
        "problems": [
            {"path": path, "problem": problem[:PROBLEM_CHARACTERS]} for path, problem in found.problems[:NAMED]
        ]
        or None,
    }


def _result(found: Finding, unrestorable: bool) -> Result:
    if found.problems:
        return Result.DAMAGED
    return Result.UNRESTORABLE if unrestorable else Result.GOOD


def _give(
    item: Checkpoint,
    workload: Workload | None,
    workers: Sequence[Worker],
    location_known: bool,
    how: How,
    wish: str,
    now: datetime,
) -> Plan:
    node = worker_for(item, workload, workers)
    message = ""
    if node is None:
        what = "no node that is ready reaches" if location_known else "there is no StorageLocation"
        message = f"cannot be verified yet: {what} {item.location}"
    order = item.verification
    if node is None and order is not None and not order.node and order.wish == wish:
        return Plan("", wake_at=now + LOOK_AGAIN)
    text = f"{node} verifies {item.ref}" if node else f"{item.ref}: {message}"
    status = StatusPatch({"verification": order_for(item, node or "", how, wish, message)}, guarded=True)
    return Plan(text, status=status, wake_at=now + LOOK_AGAIN)


def _take_note(item: Checkpoint) -> Plan:
    found = item.verified
    status = StatusPatch({"verification": None}, guarded=True)
    if found is None or found.trouble:
        trouble = f"could not be verified: {found.trouble if found else ''}"
        return Plan(f"{item.ref} {trouble}", (Tell(True, "NotVerified", trouble, rarely=True),), status)
    if found.result is Result.DAMAGED:
        text = f"its bytes in storage are damaged ({_files(item)}): it is not restored any more"
        return Plan(f"{item.ref} is damaged", (Tell(True, "Damaged", text),), status)
    if item.verification is not None and item.verification.how is How.RESTORE and found.restore is not None:
        tried = found.restore
        text = f"test restore on {tried.node}: {tried.result}. {tried.message}"
        return Plan(f"{item.ref}: {text}", (Tell(tried.result is not Passed.PASSED, "TestRestore", text),), status)
    return Plan("", status=status)


def _files(item: Checkpoint) -> str:
    files = item.verified.files if item.verified else ()
    named = ", ".join(path or "the whole version" for path in files[:2])
    return named + (f" and {len(files) - 2} more" if len(files) > 2 else "") if files else "see status.verified"


def worker_for(item: Checkpoint, workload: Workload | None, workers: Iterable[Worker]) -> str | None:
    """The node that verifies it: the one that has the order, that holds the claim, that took it, or any that can."""
    preferred = [item.verification.node] if item.verification else []
    preferred += [workload.claim.node] if workload and workload.claim.node else []
    return choose_worker((item.location,), workers, [*preferred, item.node])


def order_for(item: Checkpoint, node: str, how: How, wish: str = "", message: str = "") -> dict[str, Any]:
    """`status.verification`, as the next order for that version."""
    before = [item.verification.number if item.verification else 0, item.verified.number if item.verified else 0]
    return {
        "number": max(before) + 1,
        "node": node or None,
        "how": str(how),
        "requestedAt": wish or None,
        "message": message or None,
    }
