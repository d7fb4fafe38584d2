"""Checkpoint: one version of a workload."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import Object, optional_time, section


class CheckpointPhase(StrEnum):
    """How far a version is."""

    NEW = ""
    """A user asked for it and the operator has not assigned it yet."""
    PENDING = "Pending"
    DUMPING = "Dumping"
    STORING = "Storing"
    STORED = "Stored"
    FAILED = "Failed"
    DELETING = "Deleting"


class Reason(StrEnum):
    """Why a version is taken."""

    SCHEDULE = "Schedule"
    ON_DEMAND = "OnDemand"
    FINAL = "Final"


DATA_FINALIZER = "swarmkeep.dev/data"
"""Keeps a Checkpoint object until its data is gone from storage."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Checkpoint as decisions need it."""

    ref: Ref
    resource_version: str
    created_at: datetime | None
    deleting: bool
    """The object has a deletion timestamp."""
    finalizers: tuple[str, ...]
    workload: str
    reason: Reason
    pinned: bool
    phase: CheckpointPhase
    version: int | None
    node: str
    location: str
    taken_at: datetime | None
    spec_hash: str
    stored_bytes: int


def parse_checkpoint(obj: Object) -> Checkpoint:
    """Reads a Checkpoint that passed schema validation."""
    meta, spec, status = section(obj, "metadata"), section(obj, "spec"), section(obj, "status")
    return Checkpoint(
        ref=Ref(meta["namespace"], meta["name"]),
        resource_version=meta.get("resourceVersion", ""),
        created_at=optional_time(meta.get("creationTimestamp")),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        workload=spec["workload"],
        reason=Reason(spec.get("reason", "OnDemand")),
        pinned=spec.get("pinned", False),
        phase=CheckpointPhase(status.get("phase", "")),
        version=status.get("version"),
        node=status.get("node", ""),
        location=status.get("location", ""),
        taken_at=optional_time(status.get("takenAt")),
        spec_hash=status.get("specHash", ""),
        stored_bytes=section(status, "bytes").get("stored", 0),
    )
