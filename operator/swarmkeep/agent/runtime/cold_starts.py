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

    def read(self) -> list[ColdStart]:
        """All notes that are not done with. Raises OSError."""
        if not self._taken.exists():
            try:
                # The shim opens the file anew for each note, so none is lost between reading and forgetting.
                os.rename(self._path, self._taken)
            except FileNotFoundError:
                return []
        notes = []
        for line in self._taken.read_text(errors="replace").splitlines():
            try:
                raw = json.loads(line)
                at = datetime.fromtimestamp(float(raw["at"]), UTC)
                notes.append(ColdStart(str(raw["id"]), at, str(raw["reason"]), str(raw["message"])))
            except (ValueError, KeyError, TypeError, OverflowError):
                log.error("a note of the runtime shim cannot be read", path=str(self._taken), line=line[:200])
        return notes

    def done(self) -> None:
        """What `read` returned last has been reported."""
        self._taken.unlink(missing_ok=True)
