"""Whether every node can use a StorageLocation, and what is in it. Used by the operator."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class LocationView:
    """Everything that the decision about one location needs."""

    name: str
    generation: int
    id: str
    """The identity on record; empty before the first use."""
    reports: tuple[Report, ...]
    silent: tuple[str, ...]
    """Nodes that are ready and have not said anything of it yet."""
    versions: int
    stored_bytes: int
    importing: ImportState = field(default_factory=ImportState)
    workers: tuple[Worker, ...] = ()


def plan_location(view: LocationView, now: datetime) -> Plan:
    """The location's identity, its conditions and its totals; and who makes objects of what lies in it."""
    found = sorted({report.id for report in view.reports if report.id})
    identity = view.id or (found[0] if len(found) == 1 else "")
    fields: dict[str, Any] = {
        "observedGeneration": view.generation,
        "type": "filesystem",
        "versions": view.versions,
        "storedBytes": view.stored_bytes,
    }
    if identity:
        fields["id"] = identity
    order = plan_order(view.name, view.importing, view.workers)
    fields["import"] = order
    encrypted = Condition(
        "Encrypted", Status.FALSE, "NotEncrypted", "versions hold all of a process' memory and are stored as they are"
    )
    reason = f"{view.name} is known as {identity}" if identity and not view.id else ""
    status = StatusPatch(fields, (_reachable(view, found), encrypted))
    return Plan(reason, status=status, wake_at=now + LOOK_AGAIN if order is not None else None)


def _reachable(view: LocationView, found: list[str]) -> Condition:
    if len(found) > 1:
        seen = ", ".join(f"{report.node} sees {report.id}" for report in view.reports if report.id)
        text = f"the nodes see different folders under this path ({seen}): it must be one shared folder"
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
    return Condition("Reachable", Status.TRUE, "Reachable", "every node that is ready reads and writes it")
