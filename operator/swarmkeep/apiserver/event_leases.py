"""Events go by themselves after an hour: they are put with etcd leases, one for all events of some minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from swarmkeep.etcd.port import Etcd

EVENT_LIFETIME_S = 3600
SHARED_FOR_S = 300
"""For how long new events join a lease: they live that much longer at most."""


class EventLeases:
    """Hands out the lease of the time."""

    def __init__(self, etcd: Etcd, clock: Callable[[], float] = monotonic) -> None:
        self._etcd = etcd
        self._clock = clock
        self._lock = asyncio.Lock()
        self._lease = 0
        self._granted_at = 0.0

    async def current(self) -> int:
        """The lease to put an event with."""
        async with self._lock:
            if not self._lease or self._clock() - self._granted_at >= SHARED_FOR_S:
                granted_at = self._clock()
                self._lease = await self._etcd.lease_grant(EVENT_LIFETIME_S + SHARED_FOR_S)
                self._granted_at = granted_at
            return self._lease

    def forget(self, lease: int) -> None:
        """Says that etcd does not know this lease, as after its data was restored from a backup."""
        if self._lease == lease:
            self._lease = 0
