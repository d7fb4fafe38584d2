"""Checkpoint: one version of a workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """The first location has every byte that it needs."""
    REPLICATED = "Replicated"
    """All locations have."""
    FAILED = "Failed"
    DELETING = "Deleting"


class CopyState(StrEnum):
    """What one location has of a version."""

    STORED = "Stored"
    PENDING = "Pending"
    FAILED = "Failed"


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
    """The location that it was first written to; empty when there is no data."""
    copies: Mapping[str, CopyState] = field(hash=False)
    """What each location has of it, by name; that first one too."""
    taken_at: datetime | None
    spec_hash: str
    stored_bytes: int

    @property
    def finished(self) -> bool:
        """Whether it can be restored, as far as its phase tells."""
        return self.phase in (CheckpointPhase.STORED, CheckpointPhase.REPLICATED)

    @property
    def data_in(self) -> tuple[str, ...]:
        """The locations that are known to have it: these must let go of it before the object may go."""
        return tuple(name for name, state in self.copies.items() if state is CopyState.STORED)

    @property
    def incomplete(self) -> bool:
        """Whether a location still lacks it."""
        return self.phase is CheckpointPhase.STORED and any(
            state is not CopyState.STORED for state in self.copies.values()
        )


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
        copies=_copies(status),
        taken_at=optional_time(status.get("takenAt")),
        spec_hash=status.get("specHash", ""),
        stored_bytes=section(status, "bytes").get("stored", 0),
    )


def _copies(status: Object) -> Mapping[str, CopyState]:
    listed = {item["name"]: CopyState(item["state"]) for item in status.get("locations") or ()}
    location = status.get("location")
    # Versions of before there could be several locations name only the one.
    return {location: CopyState.STORED, **listed} if location else listed
