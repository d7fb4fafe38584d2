"""What the shim noted while no agent answered: protected containers that started from nothing. Read by the agent."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ColdStart:
    """One start that has to be reported."""

    container_id: str
    at: datetime
    reason: str
    """`AgentAway` or `ShimFailed`."""
    message: str


class ColdStarts:
    """The notes; one that is read stays until it is done with, also over the agent's death."""

    def __init__(self, path: Path) -> None:
        """`path` is the file `cold-starts` in the shim's state folder."""
        self._path = path
        self._taken = path.with_name(f"{path.name}.taken")
        self._read_bytes = 0

    def read(self) -> list[ColdStart]:
        """All notes that are not done with. Raises OSError."""
        if not self._taken.exists():
            try:
                os.rename(self._path, self._taken)
            except FileNotFoundError:
                return []
        notes = []
        data = self._taken.read_bytes()
        self._read_bytes = len(data)
        for line in data.decode(errors="replace").splitlines():
            try:
                raw = json.loads(line)
                at = datetime.fromtimestamp(float(raw["at"]), UTC)
                notes.append(ColdStart(str(raw["id"]), at, str(raw["reason"]), str(raw["message"])))
            except (ValueError, KeyError, TypeError, OverflowError):
                log.error("a note of the runtime shim cannot be read", path=str(self._taken), line=line[:200])
        return notes

    def done(self) -> None:
        """What `read` returned last has been reported; when a shim wrote on meanwhile, all are read once more."""
        if self._taken.exists() and self._taken.stat().st_size == self._read_bytes:
            self._taken.unlink()
