"""Restore or fresh? The one decision about a task that comes up, and about who may run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from swarmkeep.model.policy import Otherwise, RestoreOn, RestoreRules
from swarmkeep.model.workload import End


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


@dataclass(frozen=True, slots=True)
class Restore:
    """Start from a version."""

    version: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Fresh:
    """Start from nothing; never without a reason."""

    reason: str
    message: str


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
) -> Decision:
    """What a task that comes up does.

    `end` is how the task before it ended; None when nobody saw it end, which counts as a crash. `failed_restores` says
    how often each version failed to come up, or died at once, since a version was last stored.
    """
    if not candidates:
        return Fresh("NoVersion", "no version was ever taken")
    # A damaged version tells neither its service nor its spec hash: it must not pass for a change of either.
    known = [candidate for candidate in candidates if candidate.spec_hash]
    if not known:
        return _nothing_restorable(rules, len(candidates))
    newest = max(known, key=lambda candidate: candidate.number)
    if newest.service_id != service_id:
        text = f"version {newest.number} is of an earlier service of this name, which was removed"
        return Fresh("NewService", f"{text}; only one with spec.adopt may be gone on from")
    if newest.spec_hash != spec_hash:
        return Fresh(
            "SpecChanged",
            f"image, command, environment, mounts or a forced update differ from those of version {newest.number}",
        )
    wanted = _WANTED_BY[end] if end else RestoreOn.CRASH
    if wanted is None:
        return Fresh("Completed", "the task before ended by itself with exit code 0")
    if wanted not in rules.after:
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
        age = (now - chosen.taken_at).total_seconds()
        return Restore(chosen.number, str(wanted), f"from version {chosen.number}, taken {age:.1f} s before")
    return _nothing_restorable(rules, len(candidates))


def _nothing_restorable(rules: RestoreRules, count: int) -> Fresh | Hold:
    message = f"none of {count} versions can be restored: each is damaged, too old or failed {rules.attempts} times"
    if rules.otherwise is Otherwise.HOLD:
        return Hold("NoRestorableVersion", message)
    return Fresh("NoRestorableVersion", message)
