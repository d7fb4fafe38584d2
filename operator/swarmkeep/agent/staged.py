"""A version that lies whole on this node's disk and not yet in storage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from swarmkeep.agent.journal import write_atomically
from swarmkeep.model.checkpoint import Reason
from swarmkeep.model.ident import Ref
from swarmkeep.model.wire import format_time, parse_time

RECORD = "staged.json"
"""Lies beside a version's folder: a restarted agent goes on with storing it."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Everything that storing needs, so that it can go on after the agent's death."""

    workload: Ref
    policy: str
    location: str
    further: tuple[str, ...]
    """Locations that it is copied to afterwards."""
    reason: Reason
    number: int
    checkpoint: str
    """Name of the Checkpoint object."""
    folder: Path
    """Holds image/ and layer/, and is what is stored."""
    taken_at: datetime
    spec_hash: str
    frozen_s: float
    bytes: dict[str, int]
    facts: dict[str, Any]
    """Goes into the manifest."""
    status: dict[str, Any]
    """Of the Checkpoint object, as far as it is known before storing."""

    def save(self) -> None:
        """Makes it findable by `find_staged`. Raises StorageFull."""
        record = {
            "workload": str(self.workload),
            "policy": self.policy,
            "location": self.location,
            "further": list(self.further),
            "reason": str(self.reason),
            "number": self.number,
            "checkpoint": self.checkpoint,
            "takenAt": format_time(self.taken_at),
            "specHash": self.spec_hash,
            "frozenSeconds": self.frozen_s,
            "bytes": self.bytes,
            "facts": self.facts,
            "status": self.status,
        }
        write_atomically(_record_path(self.folder), json.dumps(record).encode())

    def forget(self) -> None:
        """Takes back `save`."""
        _record_path(self.folder).unlink(missing_ok=True)


def find_staged(staging: Path) -> list[Staged]:
    """Versions that were saved and not forgotten, below the staging folder."""
    found = []
    for path in sorted(staging.glob(f"*/*.{RECORD}")):
        raw = json.loads(path.read_bytes())
        found.append(
            Staged(
                workload=Ref.parse(raw["workload"]),
                policy=raw["policy"],
                location=raw["location"],
                further=tuple(raw.get("further", ())),
                reason=Reason(raw["reason"]),
                number=raw["number"],
                checkpoint=raw["checkpoint"],
                folder=path.with_name(path.name.removesuffix("." + RECORD)),
                taken_at=parse_time(raw["takenAt"]),
                spec_hash=raw["specHash"],
                frozen_s=raw["frozenSeconds"],
                bytes=raw["bytes"],
                facts=raw["facts"],
                status=raw["status"],
            )
        )
    return found


def _record_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.{RECORD}")
