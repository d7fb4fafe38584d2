"""Checkpoint: one version of a workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from swarmkeep.model.ident import Ref
from swarmkeep.model.kinds import LABEL_IMPORTED
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


class How(StrEnum):
    """How thoroughly a version is verified."""

    QUICK = "Quick"
    """Its manifest, and that all packs are there with sound tables."""
    FULL = "Full"
    """Every byte that it needs."""


class Result(StrEnum):
    """What came out."""

    GOOD = "Good"
    DAMAGED = "Damaged"


@dataclass(frozen=True, slots=True)
class Verification:
    """The operator's order to a node: verify this version."""

    number: int
    """Counts the orders for one version; the answer repeats it."""
    node: str
    """Empty while no node can do it."""
    how: How
    wish: str
    """`spec.verify.requestedAt` that it answers; empty when nobody asked."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What the last verification found; only an agent writes it."""

    number: int
    """The order that was answered last, with a result or with what was in the way."""
    at: datetime | None
    """When the result was found; None before the first."""
    how: How
    result: Result | None
    full_at: datetime | None
    """When every byte was last read."""
    wish: str
    """The request that was answered last."""
    trouble: str
    """Why the last order could not be carried out; empty when it was."""
    trouble_at: datetime | None
    files: tuple[str, ...] = ()
    """Paths of the first files that are hit; an empty one stands for the version as a whole."""


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
    is_imported: bool = False
    """Its object was made out of the manifest, by swarmkeep import."""
    adopt: bool = False
    """A service that was made anew under the same name may go on from it."""
    wish: str = ""
    """`spec.verify.requestedAt`: a user wants it verified; empty when nobody does."""
    wish_how: How = How.FULL
    verification: Verification | None = None
    verified: Verified | None = None

    @property
    def is_damaged(self) -> bool:
        """Its bytes were found not to be what they must be."""
        return self.verified is not None and self.verified.result is Result.DAMAGED

    @property
    def is_stored(self) -> bool:
        """Its bytes are in storage, right or wrong, and are to stay there."""
        return self.phase is CheckpointPhase.STORED and not self.deleting and self.version is not None

    @property
    def is_good(self) -> bool:
        """It is in storage, stays there, and nobody has found it damaged: it can be restored."""
        return self.is_stored and not self.is_damaged


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
        is_imported=LABEL_IMPORTED in section(meta, "labels"),
        adopt=spec.get("adopt", False),
        wish=section(spec, "verify").get("requestedAt") or "",
        wish_how=How(section(spec, "verify").get("how") or How.FULL),
        verification=_verification(section(status, "verification")),
        verified=_verified(section(status, "verified")),
    )


def _verification(raw: Mapping[str, Any]) -> Verification | None:
    if "number" not in raw:
        return None
    return Verification(
        raw["number"], raw.get("node") or "", How(raw.get("how") or How.FULL), raw.get("requestedAt") or ""
    )


def _verified(raw: Mapping[str, Any]) -> Verified | None:
    if "number" not in raw:
        return None
    return Verified(
        number=raw["number"],
        at=optional_time(raw.get("at")),
        how=How(raw.get("how") or How.FULL),
        result=Result(raw["result"]) if raw.get("result") else None,
        full_at=optional_time(raw.get("fullAt")),
        wish=raw.get("requestedAt") or "",
        trouble=raw.get("trouble") or "",
        trouble_at=optional_time(raw.get("troubleAt")),
        files=tuple(item["path"] for item in raw.get("problems") or ()),
    )
