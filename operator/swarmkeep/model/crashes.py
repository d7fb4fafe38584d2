"""Restored processes of a workload that crashed one after the other, as status.crashes of the Workload tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from swarmkeep.model.wire import format_time, parse_time


@dataclass(frozen=True, slots=True)
class Crashes:
    """A row of crashes; it ends when a process runs well for a time, or when somebody stops the task."""

    in_row: int
    """Restored processes that crashed without one in between that ran well."""
    out_of_memory: int
    """How many of them died since they were given no more memory."""
    since: datetime
    last_at: datetime
    restore_after: datetime
    """Nothing is restored before."""
    fresh_too: bool = False
    """A process that started from nothing has crashed as well meanwhile: the versions are not the reason."""

    @property
    def memory_alone(self) -> bool:
        """Whether all of them died of memory."""
        return self.out_of_memory == self.in_row


def crashes_wire(crashes: Crashes) -> dict[str, Any]:
    """As status.crashes has it."""
    return {
        "inRow": crashes.in_row,
        "outOfMemory": crashes.out_of_memory,
        "since": format_time(crashes.since),
        "lastAt": format_time(crashes.last_at),
        "restoreAfter": format_time(crashes.restore_after),
        "freshToo": crashes.fresh_too,
    }


def parse_crashes(raw: Mapping[str, Any]) -> Crashes | None:
    """Reads status.crashes; None when it is empty."""
    if not raw:
        return None
    return Crashes(
        in_row=raw["inRow"],
        out_of_memory=raw.get("outOfMemory", 0),
        since=parse_time(raw["since"]),
        last_at=parse_time(raw["lastAt"]),
        restore_after=parse_time(raw["restoreAfter"]),
        fresh_too=raw.get("freshToo", False),
    )
