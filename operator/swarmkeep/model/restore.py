"""Restore: somebody wants a workload back at a version, at a time, or at nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from swarmkeep.model.ident import Ref
from swarmkeep.model.quantity import parse_duration
from swarmkeep.model.wire import Object, optional_time, section

LONGEST = timedelta(days=365)
"""A longer timeout counts as this: no date comes after the year 9999."""


class RestorePhase(StrEnum):
    """How far it is."""

    NEW = ""
    """The operator has not looked at it yet."""
    PENDING = "Pending"
    """It waits for the next start, or for what has to be known first."""
    STOPPING = "Stopping"
    RESTORING = "Restoring"
    DONE = "Done"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """A Restore as decisions need it."""

    ref: Ref
    id: str
    """Its uid: what its order is known by."""
    generation: int
    workload: str
    version: int | None
    time: datetime | None
    fresh: bool
    now: bool
    """Whether the task that runs is ended for it; else it is for whenever one starts."""
    keep: bool
    """Whether a last version is taken before that."""
    timeout: timedelta
    phase: RestorePhase
    chosen: int | None
    """The version that it came to mean; None for a start from nothing."""
    started_at: datetime | None
    """When the workload got its order; None before."""
    epoch: int
    """The workload's claim then."""
    conditions: tuple[Mapping[str, Any], ...]

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens for it."""
        return self.phase in (RestorePhase.DONE, RestorePhase.FAILED)


def parse_restore(obj: Object) -> RestoreRequest:
    """Reads a Restore that passed schema validation. Raises InvalidObject for a timeout that is none."""
    meta, spec, status = section(obj, "metadata"), section(obj, "spec"), section(obj, "status")
    return RestoreRequest(
        ref=Ref(meta["namespace"], meta["name"]),
        id=meta.get("uid", ""),
        generation=meta.get("generation") or 1,
        workload=spec["workload"],
        version=spec.get("version"),
        time=optional_time(spec.get("time")),
        fresh=spec.get("fresh", False),
        now=spec.get("when", "Now") == "Now",
        keep=spec.get("keepCurrent", True),
        timeout=min(parse_duration(spec.get("timeout", "5m")), LONGEST),
        phase=RestorePhase(status.get("phase", "")),
        chosen=status.get("version"),
        started_at=optional_time(status.get("startedAt")),
        epoch=status.get("epoch", 0),
        conditions=tuple(status.get("conditions") or ()),
    )
