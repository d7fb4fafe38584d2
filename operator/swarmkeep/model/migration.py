"""Migration: one move of a workload to another node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import Object, format_time, optional_time, parse_time, section

FINALIZER = "swarmkeep.dev/placement"
"""Keeps a Migration object while somebody may act upon what was said for it."""


class Mode(StrEnum):
    """How the state gets to the target."""

    STOP_AND_COPY = "StopAndCopy"
    PRE_COPY = "PreCopy"


class MigrationPhase(StrEnum):
    """How far it is."""

    NEW = ""
    """The operator has not looked at it yet."""
    PENDING = "Pending"
    PRE_COPYING = "PreCopying"
    MOVING = "Moving"
    """It is being stopped."""
    RESTORING = "Restoring"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Round:
    """One version that is brought to the target while the workload runs on."""

    number: int
    checkpoint: str
    """Name of the Checkpoint that was asked for."""
    started_at: datetime
    version: int | None = None
    """None until it is stored."""
    bytes: int | None = None
    """Written to storage for it."""
    ready_at: datetime | None = None
    """When the target had it; None until then."""

    def wire(self) -> dict[str, Any]:
        """An item of `status.rounds`."""
        return {
            "number": self.number,
            "checkpoint": self.checkpoint,
            "startedAt": format_time(self.started_at),
            **({"version": self.version} if self.version is not None else {}),
            **({"bytes": self.bytes} if self.bytes is not None else {}),
            **({"readyAt": format_time(self.ready_at)} if self.ready_at is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Placement:
    """What is changed in the Swarm, noted before it is done."""

    service_id: str
    constraints: tuple[str, ...]
    """Placement constraints that the service did not have."""
    service_version: int
    """The version of the service over which they are written: a late write over another one is refused by Docker."""
    returned_at: datetime | None = None
    """When they were taken back; None while they may be there."""

    def wire(self) -> dict[str, Any]:
        """`status.placement`."""
        return {
            "serviceID": self.service_id,
            "constraints": list(self.constraints),
            "serviceVersion": self.service_version,
            **({"returnedAt": format_time(self.returned_at)} if self.returned_at is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class StopOrder:
    """Has an agent stop a plain container, with a final version as at any stop."""

    node: str
    container_id: str
    epoch: int
    """Of the claim: once anybody has taken it since, there is nothing to stop."""
    withdrawn_at: datetime | None = None
    """When no agent may begin any more; None while the order stands."""
    settled_at: datetime | None = None
    """When it was known that it runs on, or goes on elsewhere; None until then."""

    def wire(self) -> dict[str, Any]:
        """`status.stop`."""
        return {
            "node": self.node,
            "containerID": self.container_id,
            "epoch": self.epoch,
            **({"withdrawnAt": format_time(self.withdrawn_at)} if self.withdrawn_at is not None else {}),
            **({"settledAt": format_time(self.settled_at)} if self.settled_at is not None else {}),
        }


@dataclass(frozen=True, slots=True)
class Migration:
    """A Migration as decisions need it."""

    ref: Ref
    uid: str
    resource_version: str
    created_at: datetime | None
    deleting: bool
    finalizers: tuple[str, ...]
    workload: str
    to: str
    mode: Mode
    dry_run: bool
    phase: MigrationPhase
    failure: str
    """Why it is being given up; empty while it is not."""
    source: str
    """The node that it ran on when this was looked at first."""
    epoch: int
    """The epoch of the claim then."""
    phases: tuple[tuple[MigrationPhase, datetime], ...]
    """When each phase began, oldest first."""
    rounds: tuple[Round, ...]
    placement: Placement | None
    """Of a service's task."""
    stop: StopOrder | None
    """Of a plain container."""

    @property
    def workload_ref(self) -> Ref:
        """Address of the workload."""
        return Ref(self.ref.namespace, self.workload)

    @property
    def finished(self) -> bool:
        """Whether it has ended, well or not."""
        return self.phase in (MigrationPhase.DONE, MigrationPhase.FAILED)

    @property
    def is_binding(self) -> bool:
        """Whether somebody may still act upon what was said for this: the Swarm, or an agent."""
        placed = self.placement is not None and self.placement.returned_at is None
        return placed or (self.stop is not None and self.stop.settled_at is None)

    @property
    def is_open(self) -> bool:
        """Whether anything of it is still under way."""
        return self.is_binding or not (self.finished or self.deleting)

    @property
    def brings_versions(self) -> bool:
        """Whether the target keeps the workload's newest version ready for it now."""
        phases = (MigrationPhase.PRE_COPYING, MigrationPhase.MOVING, MigrationPhase.RESTORING)
        return self.mode is Mode.PRE_COPY and self.phase in phases and not self.deleting and not self.failure

    @property
    def phase_since(self) -> datetime | None:
        """When the phase that it is in began."""
        return self.phases[-1][1] if self.phases else None


def parse_migration(obj: Object) -> Migration:
    """Reads a Migration that passed schema validation."""
    meta, spec, status = section(obj, "metadata"), section(obj, "spec"), section(obj, "status")
    return Migration(
        ref=Ref(meta["namespace"], meta["name"]),
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        created_at=optional_time(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        # What it began with counts, whatever somebody makes of the spec meanwhile.
        workload=status.get("workload") or spec["workload"],
        to=status.get("to") or spec["to"]["node"],
        mode=Mode(spec.get("mode") or Mode.STOP_AND_COPY),
        dry_run=spec.get("dryRun", False),
        phase=MigrationPhase(status.get("phase") or ""),
        failure=status.get("failure") or "",
        source=status.get("from") or "",
        epoch=status.get("epoch") or 0,
        phases=tuple((MigrationPhase(item["phase"]), parse_time(item["at"])) for item in status.get("phases") or ()),
        rounds=tuple(_round(item) for item in status.get("rounds") or ()),
        placement=_placement(section(status, "placement")),
        stop=_stop(section(status, "stop")),
    )


def _round(raw: Mapping[str, Any]) -> Round:
    return Round(
        raw["number"],
        raw["checkpoint"],
        parse_time(raw["startedAt"]),
        raw.get("version"),
        raw.get("bytes"),
        optional_time(raw.get("readyAt")),
    )


def _placement(raw: Mapping[str, Any]) -> Placement | None:
    if "serviceID" not in raw:
        return None
    return Placement(
        raw["serviceID"],
        tuple(raw.get("constraints") or ()),
        raw.get("serviceVersion", 0),
        optional_time(raw.get("returnedAt")),
    )


def _stop(raw: Mapping[str, Any]) -> StopOrder | None:
    if "node" not in raw:
        return None
    return StopOrder(
        raw["node"],
        raw.get("containerID", ""),
        raw.get("epoch", 0),
        optional_time(raw.get("withdrawnAt")),
        optional_time(raw.get("settledAt")),
    )
