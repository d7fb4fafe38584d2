"""Restore or fresh? The one decision about a task that comes up, and about who may run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from swarmkeep.model.line import Line
from swarmkeep.model.policy import Otherwise, RestoreOn, RestoreRules
from swarmkeep.model.workload import End, Order


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that lies whole in storage."""

    number: int
    taken_at: datetime
    spec_hash: str
    service_id: str
    usable: bool = True
    """False when it is being deleted or is damaged; spec hash and service may be empty then."""
    doubted: bool = False
    """A test restore of it has failed: it is restored only when nothing else is left."""
    line: Line = field(default_factory=Line)
    """What it came by way of."""
    order: str = ""
    """The order that the start of its task had answered."""
    connections: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """The addresses, by network, of the connections that it holds so that they can go on; empty for none."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Start from a version."""

    version: int
    reason: str
    message: str
    ordered: bool = False
    """It is what an order says."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """Start from nothing; never without a reason."""

    reason: str
    message: str
    ordered: bool = False
    """It is what an order says."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Do not start."""

    reason: str
    message: str


Decision = Restore | Fresh | Hold

_WANTED_BY: Mapping[End, RestoreOn | None] = {
    End.NODE_LOSS: RestoreOn.NODE_LOSS,
    End.CRASHED: RestoreOn.CRASH,
    End.OUT_OF_MEMORY: RestoreOn.CRASH,
    End.STOPPED: RestoreOn.RESCHEDULE,
    End.KILLED: RestoreOn.RESCHEDULE,
    End.EXITED: None,
}


def decide_start(
    rules: RestoreRules,
    end: End | None,
    spec_hash: str,
    service_id: str,
    candidates: Sequence[Candidate],
    failed_restores: Mapping[int, int],
    now: datetime,
    line: Line | None = None,
    order: Order | None = None,
) -> Decision:
    """What a task that comes up does.

    `end` is how the task before it ended; None when nobody saw it end, which counts as a crash. `failed_restores` says
    how often each version failed to come up, or died at once, since a version was last stored. What is not of the
    `line` is restored only by an `order`; one that cannot be obeyed leaves the workload where it was.
    """
    hindrance = ""
    if order is not None:
        ordered = _obey(order, rules, spec_hash, service_id, candidates, failed_restores, now)
        if not isinstance(ordered, str):
            return ordered
        hindrance = f"Restore {order.restore} could not be obeyed: {ordered}"
    if not candidates:
        return Fresh("NoVersion", _because(hindrance, "no version was ever taken"))
    count = len(candidates)
    if line is not None:
        candidates = [candidate for candidate in candidates if line.has(candidate.number)]
        if not candidates and line.begins_fresh:
            text = "it was last started fresh on purpose, and no version was taken since"
            return Fresh("Forgotten", _because(hindrance, text))
    # A damaged version tells neither its service nor its spec hash: it must not pass for a change of either.
    known = [candidate for candidate in candidates if candidate.spec_hash]
    if not known:
        return _nothing_restorable(rules, count, hindrance)
    newest = max(known, key=lambda candidate: candidate.number)
    if newest.service_id != service_id:
        text = f"version {newest.number} is of an earlier service of this name, which was removed"
        return Fresh("NewService", f"{text}; only one with spec.adopt may be gone on from")
    if newest.spec_hash != spec_hash:
        return Fresh(
            "SpecChanged",
            f"image, command, environment or another setting of its process differs from that of version "
            f"{newest.number}, or an update was forced",
        )
    wanted = _WANTED_BY[end] if end else RestoreOn.CRASH
    if order is None and wanted is None:
        return Fresh("Completed", "the task before ended by itself with exit code 0")
    if order is None and wanted not in rules.after:
        return Fresh("NotInPolicy", f"the policy's restore.after does not name {wanted}")
    fitting = [
        candidate
        for candidate in candidates
        if candidate.usable
        and candidate.spec_hash == spec_hash
        and candidate.service_id == service_id
        and failed_restores.get(candidate.number, 0) < rules.attempts
        and (rules.max_age is None or now - candidate.taken_at <= rules.max_age)
    ]
    if fitting:
        chosen = max(fitting, key=lambda candidate: (not candidate.doubted, candidate.number))
        reason = "RollbackFailed" if order is not None else str(wanted)
        return Restore(chosen.number, reason, _because(hindrance, _from(chosen, now)))
    return _nothing_restorable(rules, count, hindrance)


def _obey(
    order: Order,
    rules: RestoreRules,
    spec_hash: str,
    service_id: str,
    candidates: Sequence[Candidate],
    failed_restores: Mapping[int, int],
    now: datetime,
) -> Decision | str:
    """What the order says, or why that cannot be done. Neither how the task ended nor an age speaks against it."""
    if order.version is None:
        return Fresh("Forgotten", f"as Restore {order.restore} wants it", ordered=True)
    chosen = next((candidate for candidate in candidates if candidate.number == order.version), None)
    if chosen is None:
        return f"version {order.version} is not in storage any more"
    if not chosen.usable:
        return f"version {order.version} is damaged or being deleted"
    if (chosen.service_id, chosen.spec_hash) != (service_id, spec_hash):
        return f"version {order.version} is of another specification of the service than its task has now"
    if failed_restores.get(chosen.number, 0) >= rules.attempts:
        return f"version {order.version} failed {rules.attempts} times to come up"
    return Restore(
        chosen.number, "Rollback", f"{_from(chosen, now)}, as Restore {order.restore} wants it", ordered=True
    )


def _from(chosen: Candidate, now: datetime) -> str:
    return f"from version {chosen.number}, taken {(now - chosen.taken_at).total_seconds():.1f} s before"


def _because(hindrance: str, text: str) -> str:
    return f"{hindrance}; {text}" if hindrance else text


def _nothing_restorable(rules: RestoreRules, count: int, hindrance: str) -> Fresh | Hold:
    message = f"none of {count} versions can be restored: each is damaged, too old or failed {rules.attempts} times"
    message = _because(hindrance, message)
    if rules.otherwise is Otherwise.HOLD:
        return Hold("NoRestorableVersion", message)
    return Fresh("NoRestorableVersion", message)
