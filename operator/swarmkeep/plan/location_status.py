"""Whether every node can use a StorageLocation, and what is in it. Used by the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from swarmkeep.model.conditions import Condition, Status
from swarmkeep.plan.actions import Plan, StatusPatch


@dataclass(frozen=True, slots=True)
class Report:
    """What one ready node says of the location."""

    node: str
    reachable: bool
    id: str
    """The identity that it found there; empty when it found none."""
    message: str
    """Why it is not reachable; of one that is, what is worse there than it could be. Mostly empty."""


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


def where_of(spec: Mapping[str, Any]) -> str:
    """A StorageLocation's folder or bucket, for people."""
    if "s3" not in spec:
        return str(spec["filesystem"]["path"])
    s3 = spec["s3"]
    return f"s3://{s3['bucket']}/{s3.get('prefix') or ''}".rstrip("/") + f" at {s3['endpoint']}"


def plan_location(view: LocationView, now: datetime) -> Plan:  # noqa: ARG001 - every plan is a function of a view and now
    """The location's identity, its conditions and its totals."""
    found = sorted({report.id for report in view.reports if report.id})
    identity = view.id or (found[0] if len(found) == 1 else "")
    fields = {
        "observedGeneration": view.generation,
        "type": view.type,
        "where": view.where,
        "versions": view.versions,
        "storedBytes": view.stored_bytes,
    }
    if identity:
        fields["id"] = identity
    encrypted = Condition(
        "Encrypted", Status.FALSE, "NotEncrypted", "versions hold all of a process' memory and are stored as they are"
    )
    reason = f"{view.name} is known as {identity}" if identity and not view.id else ""
    return Plan(reason, status=StatusPatch(fields, (_reachable(view, found), encrypted)))


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
