"""Whether every node can use a StorageLocation, and what is in it. Used by the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from swarmkeep.model.conditions import Condition, Status
from swarmkeep.plan.actions import Plan, StatusPatch
from swarmkeep.plan.importing import ImportState, plan_order
from swarmkeep.plan.workers import LOOK_AGAIN, Worker


@dataclass(frozen=True, slots=True)
class Report:
    """What one ready node says of the location."""

    node: str
    reachable: bool
    id: str
    """The identity that it found there; empty when it found none."""
    message: str
    """Why it is not reachable; of one that is, what is worse there than it could be. Mostly empty."""
    key_id: str = ""
    """The key that it encrypts with; empty when it does not, or cannot."""
    left: int | None = None
    """How many versions are still under other keys; None when it has not looked yet."""
    key_message: str = ""
    """What is wrong with its keys."""


@dataclass(frozen=True, slots=True)
class LocationView:
    """Everything that the decision about one location needs."""

    name: str
    generation: int
    type: str
    """`filesystem` or `s3`."""
    where: str
    """The folder or bucket, for people."""
    id: str
    """The identity on record; empty before the first use."""
    reports: tuple[Report, ...]
    silent: tuple[str, ...]
    """Nodes that are ready and have not said anything of it yet."""
    versions: int
    stored_bytes: int
    encrypted: bool = False
    """Whether the spec says so."""
    importing: ImportState = field(default_factory=ImportState)
    workers: tuple[Worker, ...] = ()


def where_of(spec: Mapping[str, Any]) -> str:
    """A StorageLocation's folder or bucket, for people."""
    if "s3" not in spec:
        return str(spec["filesystem"]["path"])
    s3 = spec["s3"]
    return f"s3://{s3['bucket']}/{s3.get('prefix') or ''}".rstrip("/") + f" at {s3['endpoint']}"


def plan_location(view: LocationView, now: datetime) -> Plan:
    """The location's identity, its conditions and its totals; and who makes objects of what lies in it."""
    found = sorted({report.id for report in view.reports if report.id})
    identity = view.id or (found[0] if len(found) == 1 else "")
    fields: dict[str, Any] = {
        "observedGeneration": view.generation,
        "type": view.type,
        "where": view.where,
        "versions": view.versions,
        "storedBytes": view.stored_bytes,
    }
    if identity:
        fields["id"] = identity
    order = plan_order(view.name, view.importing, view.workers)
    fields["import"] = order
    reason = f"{view.name} is known as {identity}" if identity and not view.id else ""
    status = StatusPatch(fields, (_reachable(view, found), _encrypted(view)))
    return Plan(reason, status=status, wake_at=now + LOOK_AGAIN if order is not None else None)


def _reachable(view: LocationView, found: list[str]) -> Condition:
    if len(found) > 1:
        seen = ", ".join(f"{report.node} sees {report.id}" for report in view.reports if report.id)
        text = f"the nodes see different storage under this name ({seen}): it must be one that they share"
        return Condition("Reachable", Status.FALSE, "NotShared", text)
    bad = [report for report in view.reports if not report.reachable]
    if bad:
        said = "; ".join(f"{report.node}: {report.message or 'no reason given'}" for report in bad[:3])
        rest = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        return Condition("Reachable", Status.FALSE, "Unreachable", said + rest)
    if view.silent:
        text = f"waiting for {', '.join(view.silent[:3])} to look at it"
        return Condition("Reachable", Status.UNKNOWN, "Waiting", text)
    if not view.reports:
        return Condition("Reachable", Status.UNKNOWN, "NoNodes", "there is no node that is ready")
    notes = "".join(f"; {note}" for note in sorted({report.message for report in view.reports if report.message}))
    return Condition("Reachable", Status.TRUE, "Reachable", f"every node that is ready reads and writes it{notes}")


def _encrypted(view: LocationView) -> Condition:
    if not view.encrypted:
        text = "versions hold all of a process' memory and are stored as they are"
        return Condition("Encrypted", Status.FALSE, "NotEncrypted", text)
    using = [report for report in view.reports if report.key_id]
    if not using:
        return Condition("Encrypted", Status.UNKNOWN, "Waiting", "no node that is ready has opened it with its key yet")
    keys = sorted({report.key_id for report in using})
    if len(keys) > 1:
        seen = ", ".join(f"{report.node} has {report.key_id}" for report in using[:8])
        text = f"nodes encrypt with different keys ({seen}): put the same key file on every node"
        return Condition("Encrypted", Status.TRUE, "KeysDiffer", text)
    text = f"AES-256-GCM, key {keys[0]}"
    said = "; ".join(f"{report.node}: {report.key_message}" for report in using if report.key_message)
    # Nodes look one after the other: the largest number is true as long as any of them has not looked again.
    counts = [report.left for report in using if report.left is not None]
    if not counts or max(counts):
        how_many = f"{max(counts)} versions are" if counts else "nobody has looked yet whether versions are"
        text = f"{text}; {how_many} still under other keys" + (f" ({said})" if said else "")
        return Condition("Encrypted", Status.TRUE, "Rewrapping", text)
    if said:
        return Condition("Encrypted", Status.TRUE, "KeyExposed", f"{text}; {said}")
    return Condition("Encrypted", Status.TRUE, "Encrypted", f"{text}, for every version")
