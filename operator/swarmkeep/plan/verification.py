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

from swarmkeep.model.checkpoint import Checkpoint, How, Look, Passed, Result, Verified
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
    """What a node found out about one location's copy of a version."""

    at: datetime
    node: str
    bytes: int
    problems: Sequence[tuple[str, str]] = ()
    """Path and what is wrong; the path is empty for the version as a whole."""
    trouble: str = ""
    """Why nothing was found out: nothing is said about the bytes then."""
    trial: Trial | None = None
    """What came of the restore in isolation, if there was one."""
    repaired_from: str = ""
    """The location out of which what was damaged was written again; empty when it was not."""
    not_repaired: str = ""
    """Why that could not be done."""

    @property
    def is_damaged(self) -> bool:
        """Whether the copy is damaged now."""
        return bool(self.problems) and not self.repaired_from


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
        return _give(item, workload, workers, location_known, item.wish_how, item.wish, wished_locations(item), now)
    if order is None:
        return Plan("")
    if not is_open(item):
        return _take_note(item)
    where = order.locations or (item.location,)
    if any(worker.name == order.node and any(map(worker.reaches, where)) for worker in workers):
        return Plan("", wake_at=now + LOOK_AGAIN)
    return _give(item, workload, workers, location_known, order.how, order.wish, where, now)


def wished_locations(item: Checkpoint) -> tuple[str, ...]:
    """Where a user wants it looked at: in the location that he has named, or everywhere; a restore needs only one."""
    if item.wish_location:
        return (item.wish_location,)
    return restored_from(item) if item.wish_how is How.RESTORE else item.data_in or (item.location,)


def restored_from(item: Checkpoint) -> tuple[str, ...]:
    """The one location that a test restore reads it from."""
    return (item.good_in or item.data_in or (item.location,))[:1]


def intact(checkpoints: Iterable[Checkpoint]) -> Condition:
    """The workload's condition: whether any of its versions was found damaged."""
    stored = sorted((item for item in checkpoints if item.is_stored), key=lambda item: item.version or 0)
    lost = [f"version {item.version} ({_files(item.verified)})" for item in stored if item.is_damaged]
    copies = [
        f"version {item.version} in {name} ({_files(item.look(name))})"
        for item in stored
        if not item.is_damaged
        for name in item.data_in
        if item.is_damaged_in(name)
    ]
    if not lost and not copies:
        return Condition("Intact", Status.TRUE, "NoDamageFound", "no version was found damaged")
    if not lost:
        text = f"damaged in one location and restored from another: {_some(copies)}"
        return Condition("Intact", Status.FALSE, "DamagedCopy", text)
    text = f"damaged in storage, hence not restored any more: {_some(lost)}"
    if copies:
        text += f"; damaged in one location and restored from another: {_some(copies)}"
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
        (not order.wish, order.wish, item.ref, item)
        for item in items
        if item.is_stored and is_open(item) and (order := item.verification) is not None and order.node == node
    ]
    return min(mine, key=lambda each: each[:3])[-1] if mine else None


def answer(item: Checkpoint, before: Mapping[str, Any], found: Mapping[str, Finding]) -> dict[str, Any]:
    """`status.verified` as a merge patch, given what it says now and what was found in each location.

    Whoever could not look says nothing of the bytes: the last result stands. A quick look that finds nothing does not
    take back what reading every byte has found.
    """
    order = item.verification
    if order is None:
        raise ValueError(f"nobody ordered a verification of {item.ref}")
    known = {each["name"]: each for each in before.get("locations") or ()}
    looks = known | {name: _look(name, known.get(name, {}), each, order.how) for name, each in found.items()}
    said: dict[str, Any] = {"number": order.number, "locations": [looks[name] for name in sorted(looks)]}
    if order.wish:
        said["requestedAt"] = order.wish
    trouble = [
        f"{name}: {each.trouble}" if len(found) > 1 else each.trouble for name, each in found.items() if each.trouble
    ]
    at = format_time(max(each.at for each in found.values()))
    said |= {"trouble": "; ".join(trouble) or None, "troubleAt": at if trouble else None}
    if len(trouble) == len(found):
        return said
    trial = next((each for each in found.values() if each.trial is not None), None)
    if trial is not None and trial.trial is not None:
        said["restore"] = trial.trial.wire(trial.at, trial.node)
    tried = (said if trial is not None else before).get("restore") or {}
    shown = [look for look in looks.values() if look.get("result") == Result.DAMAGED]
    problems = [problem for look in shown for problem in look.get("problems") or ()]
    return said | {
        "at": at,
        "how": str(order.how),
        "result": str(_result(item.data_in or (item.location,), looks, tried.get("result") == Passed.FAILED)),
        "node": next(each.node for each in found.values()),
        "bytes": sum(each.bytes for each in found.values()),
        "fullAt": at if order.how is not How.QUICK else before.get("fullAt"),
        "damagedFiles": sum(look.get("damagedFiles", 0) for look in shown) or None,
        "problems": problems[:NAMED] or None,
    }


def _look(name: str, before: Mapping[str, Any], found: Finding, how: How) -> dict[str, Any]:
    """What is known of one location's copy, as one of `status.verified.locations`."""
    at = format_time(found.at)
    if found.trouble:
        return {**before, "name": name, "trouble": found.trouble, "troubleAt": at}
    kept = {field: before[field] for field in ("damagedAt", "repairedAt", "repairedFrom") if field in before}
    is_doubted = before.get("result") == Result.DAMAGED and before.get("how") != How.QUICK
    if how is How.QUICK and is_doubted and not found.problems:
        return {field: value for field, value in before.items() if field not in ("trouble", "troubleAt")}
    told = {
        **kept,
        "name": name,
        "at": at,
        # Of one location's bytes a restore says no more than reading all of them.
        "how": str(How.QUICK if how is How.QUICK else How.FULL),
        "result": str(Result.DAMAGED if found.is_damaged else Result.GOOD),
        "node": found.node,
        "bytes": found.bytes,
        # A repair ends with reading every byte.
        "fullAt": at if how is not How.QUICK or found.repaired_from else before.get("fullAt"),
    }
    if found.problems:
        told["damagedAt"] = at
    if found.is_damaged:
        told["damagedFiles"] = len(found.problems)
        told["problems"] = [
            {"path": path, "problem": problem[:PROBLEM_CHARACTERS]} for path, problem in found.problems[:NAMED]
        ]
        told["notRepaired"] = found.not_repaired or None
    elif found.repaired_from:
        told |= {"repairedAt": at, "repairedFrom": found.repaired_from}
    return {field: value for field, value in told.items() if value is not None}


def _result(locations: Sequence[str], looks: Mapping[str, Mapping[str, Any]], unrestorable: bool) -> Result:
    """What is to be said of the version as a whole."""
    here = [looks.get(name, {}) for name in locations]
    damaged = [look.get("result") == Result.DAMAGED for look in here]
    if all(damaged):
        return Result.DAMAGED
    if unrestorable:
        return Result.UNRESTORABLE
    if any(damaged):
        return Result.DAMAGED_COPY
    return Result.REPAIRED if any("repairedAt" in look for look in here) else Result.GOOD


def _give(
    item: Checkpoint,
    workload: Workload | None,
    workers: Sequence[Worker],
    location_known: bool,
    how: How,
    wish: str,
    where: tuple[str, ...],
    now: datetime,
) -> Plan:
    node = worker_for(item, workload, workers, where)
    message = ""
    if node is None:
        what = "no node that is ready reaches" if location_known else "there is no StorageLocation"
        message = f"cannot be verified yet: {what} {' or '.join(where)}"
    order = item.verification
    if node is None and order is not None and not order.node and order.wish == wish:
        return Plan("", wake_at=now + LOOK_AGAIN)
    text = f"{node} verifies {item.ref}" if node else f"{item.ref}: {message}"
    status = StatusPatch({"verification": order_for(item, node or "", how, where, wish, message)}, guarded=True)
    return Plan(text, status=status, wake_at=now + LOOK_AGAIN)


def _take_note(item: Checkpoint) -> Plan:
    found = item.verified
    status = StatusPatch({"verification": None}, guarded=True)
    tells: list[Tell] = []
    if found is None or found.trouble:
        trouble = f"could not be verified: {found.trouble if found else ''}"
        tells.append(Tell(True, "NotVerified", trouble, rarely=True))
    if found is not None and found.at is not None and found.result is Result.DAMAGED and not found.trouble:
        text = f"its bytes in storage are damaged ({_files(found)}): it is not restored any more"
        tells.append(Tell(True, "Damaged", text))
    if item.verification is not None and item.verification.how is How.RESTORE and found and found.restore and not tells:
        tried = found.restore
        text = f"test restore on {tried.node}: {tried.result}. {tried.message}"
        tells.append(Tell(tried.result is not Passed.PASSED, "TestRestore", text))
    looked = item.verification.locations if item.verification else ()
    tells += [told for name in looked if (told := _told(item, name, item.look(name))) is not None]
    return Plan("; ".join(f"{item.ref}: {told.message}" for told in tells), tuple(tells), status)


def _told(item: Checkpoint, name: str, look: Look | None) -> Tell | None:
    """The news about one location's copy; None where there is nothing to say that is not said of the whole."""
    if look is None or look.trouble_at is not None:
        return None
    if look.result is Result.DAMAGED and not item.is_damaged:
        rest = f": {look.problem}" if look.problem else ""
        text = f"damaged in {name} ({_files(look)}); it is restored from {' or '.join(item.good_in)}{rest}"
        return Tell(True, "DamagedCopy", text)
    if look.repaired_from and look.damaged_at == look.at:
        return Tell(
            False, "Repaired", f"was damaged in {name}, and was written there again out of {look.repaired_from}"
        )
    return None


def _files(seen: Verified | Look | None) -> str:
    files = seen.files if seen else ()
    named = ", ".join(path or "the whole version" for path in files[:2])
    return named + (f" and {len(files) - 2} more" if len(files) > 2 else "") if files else "see status.verified"


def _some(named: Sequence[str]) -> str:
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def worker_for(
    item: Checkpoint, workload: Workload | None, workers: Iterable[Worker], locations: Sequence[str]
) -> str | None:
    """The node that looks there: the one that has the order, that holds the claim, that took it, or any that can."""
    preferred = [item.verification.node] if item.verification else []
    preferred += [workload.claim.node] if workload and workload.claim.node else []
    return choose_worker(locations, workers, [*preferred, item.node])


def order_for(
    item: Checkpoint, node: str, how: How, locations: Sequence[str], wish: str = "", message: str = ""
) -> dict[str, Any]:
    """`status.verification`, as the next order for that version."""
    before = [item.verification.number if item.verification else 0, item.verified.number if item.verified else 0]
    return {
        "number": max(before) + 1,
        "node": node or None,
        "how": str(how),
        "requestedAt": wish or None,
        "locations": list(locations),
        "message": message or None,
    }
