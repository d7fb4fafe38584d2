"""Checkpoint: one version of a workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """The first location has every byte that it needs."""
    REPLICATED = "Replicated"
    """All locations have."""
    TRIED = "Tried"
    """It was dumped, restored in isolation and thrown away: somebody only wanted to know."""
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


class How(StrEnum):
    """How thoroughly a version is verified."""

    QUICK = "Quick"
    """Its manifest, and that all packs are there with sound tables."""
    FULL = "Full"
    """Every byte that it needs."""
    RESTORE = "Restore"
    """Every byte, and then a restore in isolation."""


class Result(StrEnum):
    """What came out."""

    GOOD = "Good"
    REPAIRED = "Repaired"
    """Good everywhere by now: what was damaged in one location was written again out of another."""
    DAMAGED_COPY = "DamagedCopy"
    """Damaged in some of its locations: it is restored from the others."""
    DAMAGED = "Damaged"
    """In every location that has it."""
    UNRESTORABLE = "Unrestorable"
    """Its bytes are right, and its last test restore failed."""


class Passed(StrEnum):
    """What a test restore found."""

    PASSED = "Passed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"
    """It could not be tried, or not as it really would be."""


@dataclass(frozen=True, slots=True)
class TriedRestore:
    """A restore in isolation, done to see whether it can be done."""

    at: datetime
    node: str
    result: Passed
    message: str


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
    locations: tuple[str, ...] = ()
    """Where it is to be looked at."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the last looks at one location's copy of a version have found."""

    result: Result | None
    """Good or Damaged; None while no look has found anything out."""
    at: datetime | None
    how: How
    full_at: datetime | None
    trouble_at: datetime | None
    """When the last try found nothing out; None when it did."""
    damaged_at: datetime | None
    """When damage was last found there, whatever has become of it."""
    repaired_from: str = ""
    """The location that it was last written again out of; empty when it never was."""
    problem: str = ""
    """Why the damage could not be repaired."""
    files: tuple[str, ...] = ()
    """Paths of the first files that are hit."""


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
    restore: TriedRestore | None = None
    """Its last test restore."""
    looks: Mapping[str, Look] = field(default_factory=dict, hash=False)
    """What was found in each location, by name."""


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
    is_imported: bool = False
    """Its object was made out of the manifest, by swarmkeep import."""
    adopt: bool = False
    """A service that was made anew under the same name may go on from it."""
    wish: str = ""
    """`spec.verify.requestedAt`: a user wants it verified; empty when nobody does."""
    wish_how: How = How.FULL
    wish_location: str = ""
    """The only location that is wished to be looked at; empty for all."""
    verification: Verification | None = None
    verified: Verified | None = None
    trial: bool = False
    """It is only tried, and never becomes a version."""
    host: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What it was taken on: kernel, criu, runc, machine."""
    memory_bytes: int = 0
    """Size of its memory image; 0 when it is not known."""

    @property
    def is_damaged(self) -> bool:
        """Its bytes were found not to be what they must be, in every location that has it."""
        return self.verified is not None and self.verified.result is Result.DAMAGED

    @property
    def tried_restore(self) -> TriedRestore | None:
        """Its last test restore that found something out."""
        return self.verified.restore if self.verified is not None else None

    @property
    def is_unrestorable(self) -> bool:
        """Its last test restore failed."""
        return self.tried_restore is not None and self.tried_restore.result is Passed.FAILED

    @property
    def is_stored(self) -> bool:
        """Its bytes are in storage, right or wrong, and are to stay there."""
        return self.finished and not self.deleting and self.version is not None

    @property
    def is_good(self) -> bool:
        """It is in storage, stays there, and nobody has found it damaged: it can be restored."""
        return self.is_stored and not self.is_damaged

    @property
    def finished(self) -> bool:
        """Whether it can be restored, as far as its phase tells."""
        return self.phase in (CheckpointPhase.STORED, CheckpointPhase.REPLICATED)

    @property
    def data_in(self) -> tuple[str, ...]:
        """The locations that are known to have it: these must let go of it before the object may go."""
        return tuple(name for name, state in self.copies.items() if state is CopyState.STORED)

    @property
    def good_in(self) -> tuple[str, ...]:
        """The locations that have it and in which nobody has found it damaged."""
        return tuple(name for name in self.data_in if not self.is_damaged_in(name))

    def is_damaged_in(self, location: str) -> bool:
        """Whether that location's bytes of it were found not to be what they must be."""
        look = self.look(location)
        return look is not None and look.result is Result.DAMAGED

    def look(self, location: str) -> Look | None:
        """What was found in a location; None when nobody has looked."""
        seen = self.verified
        if seen is None:
            return None
        if not seen.looks and location == self.location:
            damaged_at = seen.at if seen.result is Result.DAMAGED else None
            return Look(seen.result, seen.at, seen.how, seen.full_at, seen.trouble_at, damaged_at, files=seen.files)
        return seen.looks.get(location)

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
        is_imported=LABEL_IMPORTED in section(meta, "labels"),
        adopt=spec.get("adopt", False),
        wish=section(spec, "verify").get("requestedAt") or "",
        wish_how=How(section(spec, "verify").get("how") or How.FULL),
        wish_location=section(spec, "verify").get("location") or "",
        verification=_verification(section(status, "verification")),
        verified=_verified(section(status, "verified")),
        trial=spec.get("trial", False),
        host=dict(section(status, "host")),
        memory_bytes=section(status, "bytes").get("memory", 0),
    )


def _verification(raw: Mapping[str, Any]) -> Verification | None:
    if "number" not in raw:
        return None
    return Verification(
        raw["number"],
        raw.get("node") or "",
        How(raw.get("how") or How.FULL),
        raw.get("requestedAt") or "",
        tuple(raw.get("locations") or ()),
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
        files=_files(raw),
        restore=_tried_restore(section(raw, "restore")),
        looks={item["name"]: _look(item) for item in raw.get("locations") or ()},
    )


def _look(raw: Mapping[str, Any]) -> Look:
    return Look(
        result=Result(raw["result"]) if raw.get("result") else None,
        at=optional_time(raw.get("at")),
        how=How(raw.get("how") or How.FULL),
        full_at=optional_time(raw.get("fullAt")),
        trouble_at=optional_time(raw.get("troubleAt")),
        damaged_at=optional_time(raw.get("damagedAt")),
        repaired_from=raw.get("repairedFrom") or "",
        problem=raw.get("notRepaired") or "",
        files=_files(raw),
    )


def _files(raw: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(item["path"] for item in raw.get("problems") or ())


def _tried_restore(raw: Mapping[str, Any]) -> TriedRestore | None:
    at = optional_time(raw.get("at"))
    if at is None:
        return None
    return TriedRestore(at, raw.get("node") or "", Passed(raw["result"]), raw.get("message") or "")


def _copies(status: Object) -> Mapping[str, CopyState]:
    listed = {item["name"]: CopyState(item["state"]) for item in status.get("locations") or ()}
    location = status.get("location")
    # Versions of before there could be several locations name only the one.
    return {location: CopyState.STORED, **listed} if location else listed
