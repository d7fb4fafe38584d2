"""What the operator's decisions can ask for. Every action may be repeated, and it is safe to stop after any.

Made by the plan_* functions beside this module; carried out by swarmkeep.controllers.execute, the only one that knows
how.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from swarmkeep.model.checkpoint import CheckpointPhase
from swarmkeep.model.conditions import Condition
from swarmkeep.model.ident import Ref
from swarmkeep.model.workload import Order


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """The `spec` of a Workload."""

    policy: str
    service_id: str
    service_name: str
    slot: int | None
    """None for a task of a global service."""
    node_id: str | None
    """Swarm's id of the node; None for a task of a replicated service."""
    force_update: int
    container: str | None = None
    """Docker's name of a plain container; then service id and name are empty, and slot and node_id None."""

    @property
    def source(self) -> str:
        """The name of the service or container that it is made for."""
        return self.service_name if self.container is None else self.container


@dataclass(frozen=True, slots=True)
class PutWorkload:
    """Makes the Workload, or brings its spec and labels in line."""

    ref: Ref
    spec: WorkloadSpec


@dataclass(frozen=True, slots=True)
class AssignCheckpoint:
    """Has a node do what the phase says: take the version (Pending) or remove it (Deleting)."""

    ref: Ref
    resource_version: str
    phase: CheckpointPhase
    node: str
    why: str
    """`OnDemand`, `Moved`, `Pruned` or `Requested`: for the log and the metrics."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that the object must have before the node sees it."""


@dataclass(frozen=True, slots=True)
class VerifyCheckpoint:
    """Has a node read all bytes of a version."""

    ref: Ref
    resource_version: str
    order: Mapping[str, Any]
    """`status.verification`."""


@dataclass(frozen=True, slots=True)
class FailCheckpoint:
    """Says that a version will not be taken, and why."""

    ref: Ref
    resource_version: str
    message: str


@dataclass(frozen=True, slots=True)
class DropCheckpoint:
    """Removes the object of a version that has no data."""

    ref: Ref
    resource_version: str
    finalizers: tuple[str, ...]
    """What has to stay on the object: finalizers of others."""
    deleting: bool
    """It is marked as deleted already."""


@dataclass(frozen=True, slots=True)
class WishCheckpoint:
    """Asks for a version on demand, unless that was done already."""

    ref: Ref
    workload: str
    labels: Mapping[str, str]
    """Tell ours from an object of the same name that somebody else has made."""


@dataclass(frozen=True, slots=True)
class SetFinalizers:
    """Says what keeps a Migration from going."""

    ref: Ref
    resource_version: str
    finalizers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SendContainer:
    """Has a node go on with a plain container that runs nowhere."""

    ref: Ref
    resource_version: str
    placement: Mapping[str, Any]
    """`status.placement` of the Workload."""


@dataclass(frozen=True, slots=True)
class Constrain:
    """Adds placement constraints to a service of the Swarm, noted in the status before."""

    service_id: str
    constraints: tuple[str, ...]
    version: int
    """The version of the service that is written over; none other."""


@dataclass(frozen=True, slots=True)
class Release:
    """Takes placement constraints away again."""

    service_id: str
    constraints: tuple[str, ...]
    version: int
    """That of the Constrain which must not come after this."""


@dataclass(frozen=True, slots=True)
class GiveOrder:
    """Says what the next start of a workload has to do, or takes that back."""

    ref: Ref
    """The Workload."""
    resource_version: str
    order: Order | None


@dataclass(frozen=True, slots=True)
class Tell:
    """An Event about the object that the plan is for, or about a workload."""

    warning: bool
    reason: str
    message: str
    rarely: bool = False
    """Once a minute is enough: it happens all the time."""
    workload: Ref | None = None
    """Whose story it belongs to; None for the object that the plan is for."""


Action = (
    PutWorkload
    | GiveOrder
    | AssignCheckpoint
    | VerifyCheckpoint
    | FailCheckpoint
    | DropCheckpoint
    | WishCheckpoint
    | SetFinalizers
    | SendContainer
    | Constrain
    | Release
    | Tell
)


@dataclass(frozen=True, slots=True)
class StatusPatch:
    """What the object's status is to say. Only the fields named here are ours; a None removes one."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    guarded: bool = False
    """Write only over the version of the object that was looked at: a field belongs to somebody else as well."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one object now."""

    reason: str
    """The one sentence; empty when there is nothing to say."""
    actions: tuple[Action, ...] = ()
    """In this order. The status is written after all of them went through."""
    status: StatusPatch | None = None
    wake_at: datetime | None = None
    """When to look again although nothing has happened."""
