"""When long work has to stop: asked between chunks by everything here that moves bytes."""

from __future__ import annotations

import time
from collections.abc import Callable

from swarmkeep.errors import Unavailable


class Stopped(Unavailable):
    """The caller asked to stop, or the time limit was reached; nothing was left half done."""

    reason = "Stopped"


def never() -> bool:
    """The `should_stop` of a caller that has no reason to."""
    return False


class Deadline:
    """A time limit together with the caller's wish to stop.

    It is looked at between chunks: a system call that storage does not answer is not interrupted by it.
    """

    def __init__(self, limit_s: float, should_stop: Callable[[], bool], doing: str) -> None:
        self._limit_s = limit_s
        self._ends_at = time.monotonic() + limit_s
        self._should_stop = should_stop
        self._doing = doing

    def check(self) -> None:
        """Raises Stopped when it is time."""
        if self._should_stop():
            raise Stopped(f"stopped while {self._doing}")
        if time.monotonic() > self._ends_at:
            raise Stopped(
                f"{self._doing} took longer than {self._limit_s:g} s: storage is too slow or the limit too low"
            )
