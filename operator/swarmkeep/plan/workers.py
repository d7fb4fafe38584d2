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


def choose_worker(location: str, workers: Iterable[Worker], preferred: Iterable[str]) -> str | None:
    """The node that works on a version's data: the first preferred one that can, else the first by name that can."""
    able = {worker.name for worker in workers if worker.reaches(location)}
    return next((name for name in preferred if name in able), min(able, default=None))
