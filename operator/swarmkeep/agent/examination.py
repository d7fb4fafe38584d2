"""Reads one version back and says what is wrong with it. Runs in a thread; knows storage and nothing of the API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from swarmkeep.errors import CorruptData, MissingData, NotFound
from swarmkeep.store.repository import Damage, Repository

WHOLE = ""
"""The path that stands for the version as a whole: its manifest cannot be read."""


class Pace:
    """Waits after reads so that no more than `bytes_per_s` are read in the long run; None does not wait."""

    def __init__(self, bytes_per_s: int | None, stop: threading.Event, clock: Callable[[], float] = time.monotonic):
        self._bytes_per_s = bytes_per_s
        self._stop = stop
        self._clock = clock
        self._free_at = clock()
        self.bytes = 0
        """Bytes read so far."""

    def __call__(self, count: int) -> None:
        self.bytes += count
        if self._bytes_per_s is None:
            return
        # What was not used while storage was slow is not made up for.
        self._free_at = max(self._free_at, self._clock()) + count / self._bytes_per_s
        self._stop.wait(self._free_at - self._clock())


def examine(
    repository: Repository,
    workload: str,
    version: int,
    *,
    full: bool,
    limit_s: float,
    should_stop: Callable[[], bool],
) -> tuple[Damage, ...]:
    """What is wrong with a version that must be there; nothing if it can be restored.

    Damage is only what shows twice while the location is there: a mount that goes away, or a cable that flips a bit, is
    no damage. Raises Unavailable, Stopped, NewerFormat, HostError: then nothing is known.
    """
    deadline = time.monotonic() + limit_s

    def look() -> dict[str, Damage]:
        left_s = max(0.0, deadline - time.monotonic())
        try:
            found = repository.verify(workload, version, full=full, limit_s=left_s, should_stop=should_stop)
        except NotFound as error:
            return {WHOLE: Damage(WHOLE, f"its manifest is gone: {error}")}
        except (CorruptData, MissingData) as error:
            return {WHOLE: Damage(WHOLE, str(error))}
        return {damage.path: damage for damage in found}

    first = look()
    if not first:
        return ()
    repository.check()
    second = look()
    repository.check()
    return tuple(damage for path, damage in sorted(second.items()) if path in first or WHOLE in first | second)
