"""Making Checkpoint objects again out of the manifests in a location: who does it, and what becomes of each version.

Needed when etcd was lost, and when a new Swarm takes over an old one's storage. A user wishes for it (`spec.import` of
the StorageLocation), the operator gives it to a node (`status.import`), that node's agent does it and answers
(`status.imported`): one writer for each, and an order is open until the answer repeats its number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from swarmkeep.errors import InvalidObject
from swarmkeep.model.checkpoint import Checkpoint, CheckpointPhase, Reason
from swarmkeep.model.ident import Ref, checkpoint_name
from swarmkeep.model.wire import format_time, parse_time
from swarmkeep.plan.workers import Worker, choose_worker

_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_UNFINISHED = frozenset(
    {CheckpointPhase.NEW, CheckpointPhase.PENDING, CheckpointPhase.DUMPING, CheckpointPhase.STORING}
)


@dataclass(frozen=True, slots=True)
class ImportState:
    """Wish, order and answer of one location, as they stand in its object."""

    wish: Mapping[str, Any] = field(default_factory=dict)
    order: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether an order waits for its answer."""
        return "number" in self.order and self.order["number"] != self.answer.get("number")


def plan_order(name: str, state: ImportState, workers: Sequence[Worker]) -> Mapping[str, Any] | None:
    """`status.import` as it should be now: an order, or None when there is nothing to do."""
    wished = state.wish.get("requestedAt")
    answered = wished is None or state.answer.get("requestedAt") == wished
    if answered and not state.is_open:
        return None
    current = state.order if state.is_open and (answered or state.order.get("requestedAt") == wished) else None
    holder = str((current or {}).get("node") or "")
    node = choose_worker(name, workers, [holder])
    if current is not None and node == (holder or None):
        return current
    source = current if answered and current is not None else state.wish
    return {
        "number": max(int(state.order.get("number") or 0), int(state.answer.get("number") or 0)) + 1,
        "node": node,
        "requestedAt": source.get("requestedAt"),
        "dryRun": bool(source.get("dryRun")),
        "adopt": bool(source.get("adopt")),
        "message": None if node else f"cannot be imported yet: no node that is ready reaches {name}",
    }


@dataclass(frozen=True, slots=True)
class Found:
    """A version whose manifest is in storage."""

    workload: Ref
    number: int
    location: str
    taken_at: datetime
    sizes: Mapping[str, int]
    """`status.bytes`."""
    facts: Mapping[str, Any]
    """What its agent wrote down with it. From storage: anything may stand in there."""


@dataclass(frozen=True, slots=True)
class Make:
    """A Checkpoint object to be made."""

    name: str
    policy: str
    """Empty if its name cannot be a label."""
    reason: Reason
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing is made of this version."""

    known: bool
    """There is an object of it already, which may be on its way out."""
    why: str = ""


def decide(found: Found, known: Iterable[Checkpoint], importer: str, now: datetime) -> Make | Leave:
    """What becomes of a version, given the objects of its workload that were listed *after* its manifest was seen.

    A version with an object is never touched, whatever that is doing; one that is being deleted has an object until its
    manifest is gone, so it is not brought back. Raises InvalidObject when its facts make no sense.
    """
    known = tuple(known)
    if any(item.version == found.number for item in known):
        return Leave(known=True)
    usual = checkpoint_name(found.workload.name, found.number)
    facts = found.facts
    # Versions on demand have the name that the user gave them.
    name = _text(facts, "checkpoint", usual)
    holder = next((item for item in known if item.ref.name == name), None)
    if holder is not None and holder.version is None and holder.phase in _UNFINISHED and not holder.is_imported:
        return Leave(known=False, why=f"{name} is being made right now: import again when it is done")
    if holder is not None and not (holder.is_imported and holder.version is None):
        name = usual
    if not _NAME.fullmatch(name):
        raise InvalidObject(f"{name[:80]!r} is no name for an object")
    policy = _text(facts, "policy", "")
    try:
        reason = Reason(_text(facts, "reason", ""))
    except ValueError:
        raise InvalidObject(f"there is no reason {facts.get('reason')!r}") from None
    status: dict[str, Any] = {
        "phase": str(CheckpointPhase.STORED),
        "version": found.number,
        "node": importer,
        "location": found.location,
        "takenAt": format_time(parse_time(_text(facts, "takenAt", found.taken_at.isoformat()))),
        "specHash": _text(facts, "specHash"),
        "bytes": dict(found.sizes),
        "imported": {"at": format_time(now), "takenBy": _text(facts, "node", "")},
    }
    frozen = facts.get("frozenSeconds")
    if isinstance(frozen, int | float) and not isinstance(frozen, bool) and 0 <= frozen < 1e9:
        status["frozenSeconds"] = frozen
    host = facts.get("host")
    if isinstance(host, Mapping):
        status["host"] = {key: str(host[key]) for key in ("kernel", "criu", "runc", "machine") if key in host}
    return Make(name, policy if _LABEL.fullmatch(policy) else "", reason, status)


def _text(facts: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = facts.get(name, default)
    if not isinstance(value, str):
        raise InvalidObject(f"its fact {name!r} is {value!r}, which is no text")
    return value
