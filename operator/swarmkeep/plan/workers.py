"""The nodes as far as work on stored versions can be given to them: only nodes reach storage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

LOOK_AGAIN = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Worker:
    """A node as far as work can be given to it."""

    name: str
    ready: bool
    locations: frozenset[str]
    """StorageLocations that it reaches."""

    def reaches(self, location: str) -> bool:
        """Whether it can work on what lies there now."""
        return self.ready and location in self.locations


def choose_worker(locations: Iterable[str], workers: Iterable[Worker], preferred: Iterable[str]) -> str | None:
    """The node that works on a version's data: one that reaches as many of its locations as any does.

    Of several the first preferred one, else the first by name.
    """
    wanted = frozenset(locations)
    reach = {worker.name: len(wanted & worker.locations) for worker in workers if worker.ready}
    most = max(reach.values(), default=0)
    able = {name for name, count in reach.items() if count == most and most}
    return next((name for name in preferred if name in able), min(able, default=None))
