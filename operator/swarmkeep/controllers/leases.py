"""How long this process has seen each node's lease unchanged. Told by the cache, asked by the plans.

What counts is this process' own monotonic clock from the moment when it saw the lease change: never the time that the
lease itself names, which is another machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from swarmkeep.model.wire import section
from swarmkeep.plan.nodes import LeaseView


@dataclass(slots=True)
class _Seen:
    version: str
    at: float
    duration_s: float
    renewed: bool


class Leases:
    """The node leases, by node name."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def saw(self, name: str, lease: Mapping[str, Any]) -> bool:
        """Takes a lease as the API shows it; says whether it was renewed since it was last seen."""
        version = str(lease["metadata"].get("resourceVersion") or "")
        duration_s = float(section(lease, "spec").get("leaseDurationSeconds") or 15)
        known = self._seen.get(name)
        if known is None:
            self._seen[name] = _Seen(version, self._clock(), duration_s, renewed=False)
            return False
        if known.version == version:
            return False
        self._seen[name] = _Seen(version, self._clock(), duration_s, renewed=True)
        return True

    def gone(self, name: str) -> None:
        """The lease was deleted."""
        self._seen.pop(name, None)

    def view(self, name: str) -> LeaseView | None:
        """The lease now; None when there is none."""
        seen = self._seen.get(name)
        if seen is None:
            return None
        return LeaseView(timedelta(seconds=self._clock() - seen.at), timedelta(seconds=seen.duration_s), seen.renewed)
